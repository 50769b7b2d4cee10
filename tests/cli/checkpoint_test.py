"""``st8ctl checkpoint``, with ``create``, ``list`` and ``delete``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.cli.st8ctl import St8ctl


@pytest.fixture
def applied(st8ctl: St8ctl) -> St8ctl:
    """Two revisions."""
    st8ctl("apply", "-v", "a=1")
    st8ctl("apply", "-v", "a=2")
    return st8ctl


def test_create(applied: St8ctl) -> None:
    """A name is given to the head; there again, it stays."""
    assert (0, "Checkpoint good -> revision 2\n", "") == applied("checkpoint", "good")
    assert (0, "Checkpoint good -> revision 2\n", "") == applied("checkpoint", "good")
    assert (0, "1", "") == applied("get", "a", "--revision", "1")


def test_flags_before_the_name(applied: St8ctl) -> None:
    """Flags may stand before the name, also when their values are command names."""
    assert (0, "Checkpoint good -> revision 2\n", "") == applied(
        "checkpoint", "--description", "delete", "--author", "list", "good"
    )
    assert (
        'good revision=2 branch=main description="delete"\n'
        == applied("checkpoint", "list").out
    )


def test_name_that_is_a_command(applied: St8ctl) -> None:
    """A checkpoint may have the name of a command."""
    assert (
        "Checkpoint delete -> revision 2\n"
        == applied("checkpoint", "create", "delete").out
    )
    assert "Checkpoint list -> revision 2\n" == applied("checkpoint", "--", "list").out
    assert (0, "Deleted checkpoint delete\n", "") == applied(
        "checkpoint", "delete", "delete"
    )


def test_name_that_exists(applied: St8ctl) -> None:
    """A name is moved only when asked to."""
    applied("checkpoint", "good")
    applied("apply", "-v", "a=3")

    assert (
        4,
        "",
        (
            "error: checkpoint 'good' already exists in namespace 'default' at revision "
            "2; choose another name, or replace it explicitly\n"
        ),
    ) == applied("checkpoint", "good")
    assert (0, "Checkpoint good -> revision 3\n", "") == applied(
        "checkpoint", "good", "--replace"
    )


def test_list(applied: St8ctl) -> None:
    """Checkpoints are listed by name with what they name."""
    assert (0, "", "") == applied("checkpoint", "list")
    applied("checkpoint", "b")
    applied("checkpoint", "a/ä", "--description", 'the "good" one\n')

    assert (
        0,
        (
            'a/ä revision=2 branch=main description="the \\"good\\" one\\n"\n'
            "b revision=2 branch=main\n"
        ),
        "",
    ) == applied("checkpoint", "list")


def test_delete(applied: St8ctl) -> None:
    """A name that is not there can't be deleted."""
    applied("checkpoint", "good")

    assert (0, "Deleted checkpoint good\n", "") == applied(
        "checkpoint", "delete", "good"
    )
    assert (3, "", "error: checkpoint 'good' not found in namespace 'default'\n") == (
        applied("checkpoint", "delete", "good")
    )


def test_mistyped_scope(applied: St8ctl) -> None:
    """A scope that nobody used has no checkpoints to make or list."""
    for args in (["good"], ["list"]):
        code, out, err = applied("--namespace", "mistyped", "checkpoint", *args)
        assert (3, "") == (code, out)
        assert "mistyped" in err


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ([], "NAME is missing; see 'st8ctl checkpoint create --help'"),
        (["delete"], "NAME is missing; see 'st8ctl checkpoint delete --help'"),
        (["a", "b"], "unexpected extra argument (b); see"),
        (["list", "b"], "unexpected extra argument (b); see"),
        (["delete", "a", "b"], "unexpected extra argument (b); see"),
    ],
)
def test_wrong_usage(st8ctl: St8ctl, args: list[str], message: str) -> None:
    """One name is wanted, no more and no less."""
    code, out, err = st8ctl("checkpoint", *args)

    assert (2, "") == (code, out)
    assert err.startswith(f"error: {message}")


@pytest.mark.parametrize("word", ["lst", "lists", "delte", "shw", "creat"])
def test_mistyped_command(applied: St8ctl, word: str) -> None:
    """A mistyped subcommand makes no checkpoint of that name; ``create`` does."""
    code, out, err = applied("checkpoint", word)

    assert (2, "") == (code, out)
    assert err.startswith(f"error: 'st8ctl checkpoint' has no command {word!r} (did ")
    assert "; a name like that goes after 'create'; see" in err
    assert 0 == applied("checkpoint", "create", word).code


@pytest.mark.parametrize("name", ["last", "release", "good-list", "v1"])
def test_name_that_is_no_command(applied: St8ctl, name: str) -> None:
    """Names that only resemble a subcommand need no ``create``."""
    assert 0 == applied("checkpoint", name).code


def test_name_that_can_not_be(applied: St8ctl) -> None:
    """A name of blanks is invalid input."""
    assert 7 == applied("checkpoint", " ").code
