"""``st8ctl branch``, with ``list``, ``create`` and ``delete``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.cli.st8ctl import St8ctl


@pytest.fixture
def applied(st8ctl: St8ctl) -> St8ctl:
    """Two revisions, the first with a checkpoint."""
    st8ctl("apply", "-v", "a=1")
    st8ctl("checkpoint", "first")
    st8ctl("apply", "-v", "a=2")
    return st8ctl


def test_create_and_list(applied: St8ctl) -> None:
    """A branch starts at the head, a revision or a checkpoint; the list shows it."""
    assert (0, "Created branch plain at revision 2.\n", "") == applied(
        "branch", "create", "plain"
    )
    assert (
        "Created branch release/1 at revision 1.\n"
        == applied("branch", "create", "release/1", "--revision", "1").out
    )
    assert (
        "Created branch test at revision 1.\n"
        == applied("branch", "create", "--checkpoint", "first", "test").out
    )
    applied("--branch", "test", "apply", "-v", "b=1")

    listed = (
        "main head=2 base=0 *\n"
        "plain head=2 base=2\n"
        "release/1 head=1 base=1\n"
        "test head=3 base=1\n"
    )
    assert (0, listed, "") == applied("branch")
    assert (0, listed, "") == applied("branch", "list")
    assert "test head=3 base=1 *\n" in applied("branch", "--branch", "test").out


def test_create_what_exists(applied: St8ctl) -> None:
    """A branch is made once."""
    assert (4, "", "error: branch 'main' already exists in namespace 'default'\n") == (
        applied("branch", "create", "main")
    )


def test_create_from_what_is_not_there(applied: St8ctl) -> None:
    """An unknown source makes no branch."""
    for args in (["--revision", "9"], ["--checkpoint", "no"], ["--branch", "no"]):
        assert 3 == applied("branch", "create", "new", *args).code
    assert "main head=2 base=0 *\n" == applied("branch").out


def test_delete(applied: St8ctl) -> None:
    """A branch is deleted, if need be only at the revision expected."""
    applied("branch", "create", "test")

    assert 4 == applied("branch", "delete", "test", "--expect-revision", "1").code
    assert (0, "Deleted branch test\n", "") == applied("branch", "delete", "test")
    assert (3, "", "error: branch 'test' not found in namespace 'default'\n") == (
        applied("branch", "delete", "test")
    )


def test_delete_the_current_one(applied: St8ctl) -> None:
    """The branch that commands are about is deleted only by who says its head."""
    code, out, err = applied("branch", "delete", "main")

    assert (2, "") == (code, out)
    assert err.startswith("error: 'main' is the current branch; say which head ")
    assert 2 == applied("--branch", "test", "branch", "delete", "test").code
    assert "main head=2 base=0 *\n" == applied("branch").out
    assert (0, "Deleted branch main\n", "") == applied(
        "branch", "delete", "main", "--expect-revision", "2"
    )


def test_mistyped_namespace(applied: St8ctl) -> None:
    """A namespace that nobody used has no empty list of branches."""
    code, out, err = applied("--namespace", "mistyped", "branch")

    assert (3, "") == (code, out)
    assert err.startswith("error: nothing has been applied to namespace 'mistyped'")


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["foo"], "'st8ctl branch' has no command 'foo'; see 'st8ctl branch --help'"),
        (["creat", "x"], "'st8ctl branch' has no command 'creat' (did you mean 'create'?)"),
        (["create"], "NAME is missing; see 'st8ctl branch create --help'"),
        (["create", "a", "b"], "unexpected extra argument (b)"),
        (["create", "a", "--revision", "1", "--checkpoint", "c"],
         "--revision and --checkpoint can't be used together"),
        (["list", "x"], "unexpected extra argument (x)"),
        (["delete"], "NAME is missing"),
    ],
)  # fmt: skip
def test_wrong_usage(st8ctl: St8ctl, args: list[str], message: str) -> None:
    """A stray word never lists silently."""
    code, out, err = st8ctl("branch", *args)

    assert (2, "") == (code, out)
    assert err.startswith(f"error: {message}")
