"""``st8ctl redact``."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.cli.st8ctl import St8ctl

MARK = "[st8: redacted 2026-01-01T00:00:00Z by ops: it leaked]\n"
WHERE = """content f52fbd32b2b3, which stood in:
  password  in namespace default
  spare  in namespace default
"""


@pytest.fixture
def leaked(st8ctl: St8ctl) -> St8ctl:
    """A secret that stood under two keys, and has been changed."""
    st8ctl("apply", "-v", "password=hunter2", "-v", "spare=hunter2", "-v", "host=a")
    st8ctl("checkpoint", "good")
    st8ctl("apply", "-v", "password=new", "-v", "host=b", "--delete", "spare", "--yes")
    return st8ctl


WHY = ("--reason", "it leaked", "--author", "ops", "--yes")


def test_redact(leaked: St8ctl) -> None:
    """The content is gone wherever it stood, and its mark is there instead."""
    ended = leaked("redact", "password", "--revision", "1", *WHY)

    assert (0, f"Redacted {WHERE}", "") == ended
    assert MARK == leaked("get", "password", "--revision", "1").out
    assert MARK == leaked("get", "spare", "--checkpoint", "good").out
    assert "new" == leaked("get", "password").out
    assert f"-{MARK}" in leaked("show", "2").out


def test_dry_run(leaked: St8ctl) -> None:
    """A dry run says where it stands, and changes nothing; it needs nobody's yes."""
    ended = leaked("redact", "password", "--checkpoint", "good", "--dry-run")

    assert (0, f"Would redact {WHERE}", "") == ended
    assert "hunter2" == leaked("get", "password", "--revision", "1").out


def test_for_programs(leaked: St8ctl) -> None:
    """As JSON it has the whole digest and the places."""
    out = leaked("redact", "spare", "--revision", "1", "--yes", "-o", "json").out
    told = json.loads(out)

    assert {"digest", "places", "dry_run"} == told.keys()
    assert {"namespace": "default", "key": "spare"} in told["places"]


def test_a_rollback_says_what_it_left(leaked: St8ctl) -> None:
    """What was redacted stays as it is, and that is said; nothing else is lost."""
    leaked("redact", "password", "--revision", "1", *WHY)

    assert (
        0,
        """\
Rolled back at revision 3.
Left password as it is: what was there then is redacted.
Left spare as it is: what was there then is redacted.
UPDATE host
""",
        "",
    ) == leaked("rollback", "--checkpoint", "good")
    assert "new" == leaked("get", "password").out


@pytest.mark.parametrize(
    ("args", "code", "message"),
    [
        (["password", "--yes"], 2, "say in which revision the content stands: --rev"),
        (["password", "--revision", "1"], 2, "a redaction can't be undone and there"),
        (["--revision", "1"], 2, "KEY is missing; see"),
        (["pasword", "--revision", "1", "--yes"], 3, "key 'pasword' not found at rev"),
        (["password", "--revision", "2", "--yes"], 4, "the content is current: key 'p"),
        (["password", "--revision", "9", "--yes"], 3, "revision 9 not found in"),
    ],
)
def test_what_can_not_be_redacted(
    leaked: St8ctl, args: list[str], code: int, message: str
) -> None:
    """Nothing is redacted by mistake, and the remedy is said."""
    ended = leaked("redact", *args)

    assert (code, "") == ended[:2]
    assert message in ended.err
    assert "hunter2" == leaked("get", "password", "--revision", "1").out


def test_it_does_not_come_back(leaked: St8ctl) -> None:
    """Applying it again is a conflict that says who redacted it."""
    leaked("redact", "password", "--revision", "1", *WHY)
    ended = leaked("apply", "-v", "other=hunter2")

    assert 4 == ended.code
    assert "'other' can't be stored: it was redacted" in ended.err
