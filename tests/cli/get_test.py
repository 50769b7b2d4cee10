"""``st8ctl get``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.cli.st8ctl import St8ctl


@pytest.fixture
def applied(st8ctl: St8ctl) -> St8ctl:
    """Three revisions and a checkpoint."""
    st8ctl("apply", "-v", "b=1", "-v", "a/b=no newline")
    st8ctl("apply", "-v", "b=2")
    st8ctl("checkpoint", "good")
    st8ctl("apply", "-v", "b=3", "-v", "é=x", "--delete", "a/b", "--yes")
    return st8ctl


def test_keys(applied: St8ctl) -> None:
    """Without a key, the revision and the keys are listed, in the order of bytes."""
    assert (0, "revision: 3\nb\né\n", "") == applied("get")
    assert (0, "revision: 1\na/b\nb\n", "") == applied("get", "--revision", "1")
    assert (0, "revision: 2\na/b\nb\n", "") == applied("get", "--checkpoint", "good")
    assert (0, "revision: 2\na/b\nb\n", "") == applied("get", "--revision", "-1")


def test_document(applied: St8ctl) -> None:
    """With a key, the content is written and nothing is added to it."""
    assert (0, "3", "") == applied("get", "b")
    assert (0, "1", "") == applied("get", "b", "--revision=1")
    assert (0, "2", "") == applied("get", "--checkpoint", "good", "./b")
    assert (0, "no newline", "") == applied("get", "a//b/", "--revision", "1")


def test_what_is_not_there(applied: St8ctl) -> None:
    """A key, revision, checkpoint or scope that is not there has exit code 3."""
    assert (3, "", "error: key 'a/b' not found at revision 3\n") == applied(
        "get", "a/b"
    )
    assert (
        3,
        "",
        (
            "error: revision 9 not found in namespace 'default', branch 'main': the newest "
            "of the namespace is 3\n"
        ),
    ) == applied("get", "--revision", "9")
    assert (3, "", "error: checkpoint 'bad' not found in namespace 'default'\n") == (
        applied("get", "--checkpoint", "bad")
    )
    for args in ([], ["b"]):
        assert (
            3,
            "",
            (
                "error: nothing has been applied to namespace 'mistyped', branch 'main' "
                "yet; check the names, or apply a first document\n"
            ),
        ) == applied("get", *args, "--namespace", "mistyped")


def test_empty_state(applied: St8ctl) -> None:
    """A state whose documents were all deleted is a state without keys."""
    applied("apply", "--delete", "b", "--delete", "é", "-y")

    assert (0, "revision: 4\n", "") == applied("get")


def test_many_keys(st8ctl: St8ctl) -> None:
    """Keys beyond a page are listed too, under one revision."""
    for part in range(2):
        values = [f"--value=k{part}{n:04}=" for n in range(6_000)]
        assert 0 == st8ctl("apply", *values).code
    lines = st8ctl("get").out.splitlines()

    assert "revision: 2" == lines[0]
    assert [f"k{p}{n:04}" for p in range(2) for n in range(6_000)] == lines[1:]


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["a", "--prefix", "b"], "KEY and --prefix can't be used together"),
        (["a", "--keys"], "--keys and KEY can't be used together"),
        (["--out", "x", "--keys"], "--keys and --out can't be used together"),
        (["--force"], "--force is for --out DIR"),
        (["--at", "2h", "--checkpoint", "c"],
         "--checkpoint and --at can't be used together"),
        (["--revision", "1", "--checkpoint", "c"],
         "--revision and --checkpoint can't be used together"),
        (["--revision", "one"], "--revision: 'one' is no revision; write 12, or -1; see"),
        (["--revison", "1"], "there is no flag '--revison' (did you mean '--revision'?)"),
    ],
)  # fmt: skip
def test_wrong_usage(st8ctl: St8ctl, args: list[str], message: str) -> None:
    """Wrong usage has exit code 2 and says where to read on."""
    code, out, err = st8ctl("get", *args)

    assert (2, "") == (code, out)
    assert err.startswith(f"error: {message}")
    assert err.endswith("; see 'st8ctl get --help'\n")


def test_key_that_is_no_key(applied: St8ctl) -> None:
    """What can't be a key is invalid input."""
    for key in ("", "..", "a/../../b"):
        code, out, err = applied("get", key)
        assert (7, "") == (code, out)
        assert err.startswith("error: key: ")
