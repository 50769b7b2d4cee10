"""``st8ctl restore``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.cli.st8ctl import St8ctl


@pytest.fixture
def applied(st8ctl: St8ctl) -> St8ctl:
    """A branch with two revisions of its own."""
    st8ctl("apply", "-v", "a=1")
    st8ctl("checkpoint", "first")
    st8ctl("branch", "create", "test")
    st8ctl("--branch", "test", "apply", "-v", "a=2")
    st8ctl("--branch", "test", "apply", "-v", "b=3")
    return st8ctl


def test_branch(applied: St8ctl) -> None:
    """The state of a branch is taken over."""
    assert (0, "Restored into revision 4.\nUPDATE a\nCREATE b\n", "") == applied(
        "restore", "--from-branch", "test"
    )
    assert (0, "Already at requested state.\n", "") == applied(
        "restore", "--from-branch", "test"
    )


def test_revision_of_a_branch(applied: St8ctl) -> None:
    """With a branch, the revision is one of that branch."""
    assert (0, "Restored into revision 4.\nUPDATE a\n", "") == applied(
        "restore", "--from-branch", "test", "--revision", "2"
    )
    assert 3 == applied("restore", "--revision", "3").code


def test_revision_and_checkpoint(applied: St8ctl) -> None:
    """A revision of this branch, or a checkpoint, is taken over."""
    applied("apply", "-v", "a=9")

    assert (
        "Restored into revision 5.\nUPDATE a\n"
        == applied("restore", "--revision", "1", "--message", "back").out
    )
    assert (
        "Already at requested state.\n"
        == applied("restore", "--checkpoint", "first").out
    )


def test_dry_run(applied: St8ctl) -> None:
    """A dry run shows what would change, and changes nothing."""
    assert "Would make 2 change(s); nothing was changed.\nUPDATE a\nCREATE b\n" == (
        applied("restore", "--from-branch", "test", "--dry-run").out
    )
    assert "1" == applied("get", "a").out


def test_source_that_is_not_there(applied: St8ctl) -> None:
    """An unknown source changes nothing."""
    assert (3, "", "error: branch 'nope' not found in namespace 'default'\n") == (
        applied("restore", "--from-branch", "nope")
    )
    assert 3 == applied("restore", "--checkpoint", "nope").code
    assert "revision: 1\na\n" == applied("get").out


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ([], "say from where: --from-branch NAME, --revision N or --checkpoint NAME"),
        (["--revision", "1", "--checkpoint", "c"],
         "--revision and --checkpoint can't be used together"),
        (["--from-branch", "b", "--checkpoint", "c"],
         "--from-branch and --checkpoint can't be used together"),
        (["test"], "unexpected extra argument (test)"),
    ],
)  # fmt: skip
def test_wrong_usage(applied: St8ctl, args: list[str], message: str) -> None:
    """A restore says from where, once."""
    code, out, err = applied("restore", *args)

    assert (2, "") == (code, out)
    assert err.startswith(f"error: {message}")
