"""What ``st8ctl backup`` and ``st8ctl restore-backup`` show."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.transcripts.stage import Stage


@pytest.fixture
def applied(stage: Stage) -> Stage:
    """Two namespaces."""
    stage.pipe("apply", "-v", "a=1", "-v", "b=1")
    stage.pipe("apply", "-v", "k=v", "--namespace", "payments/prod")
    return stage


def sized(text: str) -> str:
    """Return what is shown with N for the size."""
    return re.sub(r"\d+ bytes", "N bytes", text)


BACKUP = (
    "FILE: the backup has 2 namespace(s), 2 revision(s) and 4 object(s) in N bytes\n"
)
CHECKED = """\
2 namespace(s) with 2 branch(es), 0 checkpoint(s) and 2 revision(s) can be restored
"""
RESTORED = """\
restored 2 namespace(s) with 2 branch(es), 0 checkpoint(s) and 2 revision(s)
"""


def test_backup_and_restore(applied: Stage) -> None:
    """What was written, and restored, in a pipe and on a terminal."""
    code, out, err = applied.pipe("backup", "one")
    terminal = applied.terminal("backup", "two", columns=120)

    assert (0, BACKUP.replace("FILE", "one"), "") == (code, sized(out), err)
    shown = sized(terminal.text).replace("\r\x1b[K", "")
    assert (0, BACKUP.replace("FILE", "two")) == (terminal.code, shown)
    assert (0, CHECKED, "") == applied.pipe("restore-backup", "--check", "one")
    local = ("--local", "--state-dir", "other")
    assert (0, RESTORED, "") == applied.pipe(*local, "restore-backup", "one", server="")


def test_what_can_not_be(applied: Stage) -> None:
    """A terminal gets no bytes, and what is there is not overwritten."""
    terminal = applied.terminal("backup", "-", columns=120)
    assert (
        7,
        "error: a backup is no text for a terminal; name a file, or let a pipe take it\n",
    ) == (terminal.code, terminal.text)
    applied.pipe("backup", "one")
    for shown in (
        applied.pipe("backup", "one").err,
        applied.terminal("backup", "one", columns=120).text,
    ):
        assert (
            "error: 'one' is there already; name a new file, or replace it with --force\n"
        ) == shown
    assert (
        4,
        "",
        (
            "error: namespace 'default' is there already, and a backup is never "
            "restored over what is there; restore it into a store that does not have "
            "it\n"
        ),
    ) == applied.pipe("restore-backup", "one")
