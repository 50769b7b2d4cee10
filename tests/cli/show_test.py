"""``st8ctl show``: one revision, or a document as it was in it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from st8.cli.show import Revision, revision_of

if TYPE_CHECKING:
    from tests.cli.st8ctl import St8ctl


@pytest.fixture
def applied(st8ctl: St8ctl) -> St8ctl:
    """Two revisions and a checkpoint at the first."""
    st8ctl("apply", "-v", "a=1\n", "-v", "b:c=é")
    st8ctl("checkpoint", "good")
    st8ctl(
        "apply", "-v", "a=2\n", "-m", "longer timeout\n\nwhy: \x1b[31m", "--author=me"
    )
    return st8ctl


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("12", Revision(12)),
        ("head", Revision()),
        ("HEAD", Revision()),
        ("head~2", Revision(-2)),
        ("head~0", Revision()),
        ("good", Revision(checkpoint="good")),
        ("head~", Revision(checkpoint="head~")),
        ("1.2", Revision(checkpoint="1.2")),
        ("٣", Revision(checkpoint="٣")),
    ],
)
def test_names_of_revisions(text: str, expected: Revision) -> None:
    """A revision is a number, the head, one before it, or a checkpoint."""
    assert expected == revision_of(text)


def test_page(applied: St8ctl) -> None:
    """All there is to say of a revision is shown, with its changes."""
    code, out, err = applied("show")

    lines = out.splitlines()
    assert (0, "", "revision 2") == (code, err, lines[0])
    fields = dict(line.split(None, 1) for line in lines[1:9])
    assert {
        "parent": "1",
        "branch": "main",
        "kind": "apply",
        "author": "me",
        "date": "2026-01-01T00:00:00Z",
        "changes": "1",
    } == {name: fields[name] for name in fields if name not in {"digest", "state"}}
    assert 64 == len(fields["digest"]) == len(fields["state"])
    assert [
        "", "    longer timeout", "", "    why: \\x1b[31m", "",
        "--- a", "+++ a", "@@ -1 +1 @@", "-1", "+2",
    ] == lines[9:]  # fmt: skip


@pytest.mark.parametrize(
    ("what", "number"),
    [("1", 1), ("-1", 1), ("head~1", 1), ("good", 1), ("checkpoint:good", 1)],
)
def test_which_one(applied: St8ctl, what: str, number: int) -> None:
    """It is found by number, distance from the head, or checkpoint."""
    assert f"revision {number}" == applied("show", what).out.splitlines()[0]


@pytest.mark.parametrize(
    ("what", "content"),
    [
        ("1:a", "1\n"),
        ("head:a", "2\n"),
        ("-1:./a", "1\n"),
        ("good:b:c", "é"),
        ("checkpoint:good:a", "1\n"),
    ],
)
def test_document(applied: St8ctl, what: str, content: str) -> None:
    """REV:KEY writes that document as it was, byte for byte."""
    assert (0, content, "") == applied("show", what)


@pytest.mark.parametrize(
    ("code", "what", "message"),
    [
        (3, "nothing", "checkpoint 'nothing' not found in namespace 'default'"),
        (3, "9", "revision 9 not found in namespace 'default', branch 'main'"),
        (3, "-9", "revision -9 not found"),
        (3, "1:x", "key 'x' not found at revision 1"),
        (2, "0", "REV '0' is none; name a number from 1, -1, head or a checkpoint"),
        (2, "", "REV '' is none"),
        (2, ":a", "REV '' is none"),
        (2, "--nothing", "there is no flag '--nothing'"),
    ],
)
def test_not_there(applied: St8ctl, code: int, what: str, message: str) -> None:
    """What is not there is told; nothing else is shown instead."""
    actual, out, err = applied("show", what)

    assert (code, "") == (actual, out)
    assert err.startswith(f"error: {message}")


def test_nothing_applied(st8ctl: St8ctl) -> None:
    """A scope without history has nothing to show."""
    assert 3 == st8ctl("show").code
