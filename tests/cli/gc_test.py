"""``st8ctl gc``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.cli.st8ctl import St8ctl


@pytest.fixture
def applied(st8ctl: St8ctl) -> St8ctl:
    """Two namespaces of 15 and 5 revisions; the third of the first has a name."""
    for n in range(15):
        st8ctl("--namespace", "a/b", "apply", "-v", f"k={n}")
        if n == 2:
            st8ctl("--namespace", "a/b", "checkpoint", "third")
    for n in range(5):
        st8ctl("--namespace", "c", "apply", "-v", f"k={n}")
    return st8ctl


def test_all_namespaces(applied: St8ctl) -> None:
    """Ten revisions of each branch are kept, and whatever has a name."""
    assert (0, "pruned=4\n", "") == applied("gc")
    assert (0, "pruned=0\n", "") == applied("gc")
    assert "2" == applied("get", "k", "--revision", "3", "--namespace", "a/b").out


def test_one_namespace(applied: St8ctl) -> None:
    """With --namespace, only that one is collected."""
    assert (0, "pruned=3\n", "") == applied("gc", "--keep", "2", "--namespace", "c")
    assert (0, "pruned=11\n", "") == applied("gc", "--keep", "3")


def test_what_is_gone(applied: St8ctl) -> None:
    """A revision that was removed is told apart from one that never was."""
    applied("gc", "--keep", "1")

    assert (
        3,
        "",
        (
            "error: revision 2 of namespace 'c' was removed by garbage collection; "
            "checkpoints and the newest revisions are kept\n"
        ),
    ) == applied("--namespace", "c", "rollback", "--revision", "2")


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--keep", "0"], "--keep: 0 is no whole number from 1 on; see"),
        (["now"], "unexpected extra argument (now)"),
    ],
)
def test_wrong_usage(st8ctl: St8ctl, args: list[str], message: str) -> None:
    """Nothing is removed by mistake."""
    code, out, err = st8ctl("gc", *args)

    assert (2, "") == (code, out)
    assert err.startswith(f"error: {message}")
