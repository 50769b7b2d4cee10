"""``st8ctl rollback``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.cli.st8ctl import St8ctl


@pytest.fixture
def applied(st8ctl: St8ctl) -> St8ctl:
    """Two revisions, the first with a checkpoint."""
    st8ctl("apply", "-v", "a=1", "-v", "b=1")
    st8ctl("checkpoint", "good")
    st8ctl("apply", "-v", "a=2", "-v", "c=2", "--delete", "b", "--yes")
    return st8ctl


@pytest.mark.parametrize(
    "target", [["--revision", "1"], ["--revision", "-1"], ["--checkpoint", "good"]]
)
def test_rollback(applied: St8ctl, target: list[str]) -> None:
    """The old state becomes a new revision; documents it lacked go."""
    assert (
        0,
        "Rolled back at revision 3.\nUPDATE a\nCREATE b\nDELETE c\n",
        "",
    ) == applied("rollback", *target)
    assert "1" == applied("get", "a").out
    assert 3 == applied("get", "c").code


def test_already_there(applied: St8ctl) -> None:
    """A rollback to the state that is makes no revision."""
    assert (0, "Already at requested state.\n", "") == applied(
        "rollback", "--revision", "2"
    )
    assert "revision: 2\n" in applied("get").out


def test_message_and_author(applied: St8ctl) -> None:
    """Who and why are in the log."""
    applied("rollback", "--revision", "1", "-m", "bad change", "--author", "me")

    assert (
        'rev=3 parent=2 branch=main at=2026-01-01T00:00:00Z message="bad change" '
        'changes=3 author="me"\n'
    ) == applied("log", "--limit", "1").out


def test_dry_run(applied: St8ctl) -> None:
    """A dry run shows what would change, and changes nothing."""
    assert (
        0,
        "Would make 3 change(s); nothing was changed.\nUPDATE a\nCREATE b\nDELETE c\n",
        "",
    ) == applied("rollback", "--revision", "1", "--dry-run")
    assert "2" == applied("get", "a").out


def test_expected_revision(applied: St8ctl) -> None:
    """Where the head has moved, nothing is rolled back."""
    assert 4 == applied("rollback", "--revision", "1", "--expect-revision", "1").code
    assert "2" == applied("get", "a").out


def test_target_that_is_not_there(applied: St8ctl) -> None:
    """An unknown target changes nothing; an unknown branch is not made."""
    assert 3 == applied("rollback", "--revision", "7").code
    assert (3, "", "error: checkpoint 'bad' not found in namespace 'default'\n") == (
        applied("rollback", "--checkpoint", "bad")
    )
    assert (3, "", "error: branch 'mistyped' not found in namespace 'default'\n") == (
        applied("rollback", "--branch", "mistyped", "--revision", "1")
    )
    assert "main head=2 base=0 *\n" == applied("branch").out


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ([], "say where to: --revision N (-1 for the one before) or --checkpoint NAME"),
        (["--revision", "0"], "--revision: there is no revision 0; they begin with 1"),
        (["--revision", "1", "--checkpoint", "good"],
         "--revision and --checkpoint can't be used together"),
        (["good"], "unexpected extra argument (good)"),
        (["--revision", "1", "stable"], "unexpected extra argument (stable)"),
    ],
)  # fmt: skip
def test_wrong_usage(applied: St8ctl, args: list[str], message: str) -> None:
    """A rollback that does not say where to is never a silent no-op."""
    code, out, err = applied("rollback", *args)

    assert (2, "") == (code, out)
    assert err.startswith(f"error: {message}")
