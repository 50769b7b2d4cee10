"""``st8ctl log``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.cli.st8ctl import St8ctl

FIRST = 'rev=1 parent=0 branch=main at=2026-01-01T00:00:00Z message="apply" changes=1\n'
SECOND = (
    "rev=2 parent=1 branch=main at=2026-01-01T00:01:30Z "
    'message="longer \\"timeout\\"" changes=2 author="me"\n'
)
THIRD = (
    'rev=3 parent=2 branch=main at=2026-01-01T00:03:00Z message="rollback" changes=2\n'
)


@pytest.fixture
def applied(st8ctl: St8ctl) -> St8ctl:
    """Three revisions, a minute and a half apart."""
    st8ctl("apply", "-v", "a=1")
    st8ctl.clock.advance(90.25)
    st8ctl("apply", "-v", "a=2", "-v", "b/c=2", "-m", 'longer "timeout"', "--author=me")
    st8ctl.clock.advance(90)
    st8ctl("rollback", "--revision", "1")
    return st8ctl


def test_log(applied: St8ctl) -> None:
    """Revisions are shown newest first, one a line."""
    assert (0, THIRD + SECOND + FIRST, "") == applied("log")


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        (["--limit", "2"], THIRD + SECOND),
        (["--after", "3"], SECOND + FIRST),
        (["--key", "./b//c"], THIRD + SECOND),
        (["--prefix", "b/"], THIRD + SECOND),
        (["--author", "me"], SECOND),
        (
            ["--since", "2026-01-01T00:01:00Z", "--until", "2026-01-01T00:02:00Z"],
            SECOND,
        ),
        (["--key", "nothing"], ""),
        (["--after", "1"], ""),
    ],
)
def test_part_of_it(applied: St8ctl, args: list[str], expected: str) -> None:
    """The log is cut and filtered."""
    assert (0, expected, "") == applied("log", *args)


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        (["--", "a"], THIRD + SECOND + FIRST),
        (["b/c"], THIRD + SECOND),
        (["b/"], THIRD + SECOND),
        (["a", "b/c", "b/"], THIRD + SECOND + FIRST),
        (["b/c", "a", "--limit", "1"], THIRD),
        (["a", "b/c", "--author", "me"], SECOND),
        (["--since", "2026-01-01"], THIRD + SECOND + FIRST),
        (["--until", "2025-12-31"], ""),
        (["--until", "2026-01-01"], THIRD + SECOND + FIRST),
        (["--until", "2026-01-01T00:03:00Z", "--limit", "1"], SECOND),
    ],
)
def test_keys_and_days(applied: St8ctl, args: list[str], expected: str) -> None:
    """Keys are named as arguments, several at once; times may be days."""
    assert (0, expected, "") == applied("log", *args)


def test_keys_that_nothing_touched(applied: St8ctl) -> None:
    """Who takes a branch for a key is told, beside an empty log."""
    assert (
        0,
        "",
        "no revision touched these keys; a branch is named by --branch\n",
    ) == applied("log", "test")


def test_patch(applied: St8ctl) -> None:
    """With --patch, each line has its diff below it."""
    diff = (
        "\n--- a\n+++ a\n@@ -1 +1 @@\n-2\n\\ No newline at end of file\n+1\n"
        "\\ No newline at end of file\n\n--- b/c\n+++ /dev/null\n@@ -1 +0,0 @@\n-2\n"
        "\\ No newline at end of file\n\n"
    )
    assert (0, THIRD + diff, "") == applied("log", "-p", "--limit", "1")


def test_patch_of_many(st8ctl: St8ctl) -> None:
    """Diffs are read in small pages; all of them come."""
    for n in range(23):
        st8ctl("apply", "-v", f"a={n}\n")

    out = st8ctl("log", "--patch", "--limit", "21").out
    assert [f"+{n}" for n in range(22, 1, -1)] == [
        line for line in out.splitlines() if line[:1] == "+" and line[:2] != "++"
    ]


def test_graph(applied: St8ctl) -> None:
    """All branches are shown, with their names and those of checkpoints."""
    applied("branch", "create", "test", "--revision", "1")
    applied("--branch", "test", "apply", "-v", "x=1", "-m", "tried\nlong")
    applied("checkpoint", "good")
    at = "2026-01-01T00:0"
    expected = (
        f"* 4 {at}3:00Z (test) tried\n"
        f"| * 3 {at}3:00Z (main, checkpoint good) rollback\n"
        f'| * 2 {at}1:30Z longer "timeout"\n'
        "|/\n"
        f"* 1 {at}0:00Z apply\n"
    )

    assert (0, expected, "") == applied("log", "--graph")
    assert (0, expected, "") == applied("log", "--graph", "--branch", "test")
    assert expected.splitlines()[:2] == (
        applied("log", "--graph", "--limit", "2").out.splitlines()
    )


def test_graph_with_patches(applied: St8ctl) -> None:
    """Diffs stand beside the lines of the graph."""
    applied("branch", "create", "test", "--revision", "1")
    applied("--branch", "test", "apply", "-v", "x=1\n")
    lines = applied("log", "--graph", "--patch").out.splitlines()

    assert ["|", "| --- /dev/null", "| +++ x", "| @@ -0,0 +1 @@", "| +1", "|"] == (
        lines[1:7]
    )
    assert "| * 3 " == lines[7][:6]
    assert "| | --- a" == lines[9]


def test_graph_that_was_collected(applied: St8ctl) -> None:
    """Where garbage collection cut the graph, a note says so."""
    applied("gc", "--keep", "1")

    assert (
        0,
        "* 3 2026-01-01T00:03:00Z (main) rollback\n",
        "revision 2 and older were removed by garbage collection\n",
    ) == applied("log", "--graph")


def test_beyond_a_page(st8ctl: St8ctl) -> None:
    """More revisions than a page holds are shown, if so many are asked for."""
    for n in range(25):
        st8ctl("apply", "-v", f"a={n}")

    assert 20 == st8ctl("log").out.count("\n")
    assert 25 == st8ctl("log", "--limit", "5000").out.count("\n")


def test_branch(applied: St8ctl) -> None:
    """The log of a branch goes on into that of the branch it was made from."""
    applied("branch", "create", "test", "--revision", "1")
    applied("--branch", "test", "apply", "-v", "x=1")

    assert (
        "rev=4 parent=1 branch=test at=2026-01-01T00:03:00Z "
        'message="apply" changes=1\n' + FIRST
    ) == applied("log", "--branch", "test").out


def test_collected(applied: St8ctl) -> None:
    """Where garbage collection cut the log, a note says so beside the data."""
    applied("gc", "--keep", "1")

    assert (
        0,
        THIRD,
        "revision 2 and older were removed by garbage collection\n",
    ) == applied("log")


def test_messages_can_not_drive_a_terminal(st8ctl: St8ctl) -> None:
    """Control characters and direction marks in a message are shown as escapes."""
    st8ctl("apply", "-v", "a=1", "-m", "\x1b[31mred\r\n\u202egnp\t\\ ü 😀")

    assert ('message="\\x1b[31mred\\r\\n\\u202egnp\\t\\\\ ü 😀" changes=1\n') in st8ctl(
        "log"
    ).out


def test_mistyped_scope(applied: St8ctl) -> None:
    """A scope that nobody used has no empty log, filtered or not."""
    for args in ([], ["--key", "a"]):
        assert (
            3,
            "",
            (
                "error: nothing has been applied to namespace 'default', branch 'mian' "
                "yet; check the names, or apply a first document\n"
            ),
        ) == applied("log", "--branch", "mian", *args)


@pytest.mark.parametrize(
    ("code", "args", "message"),
    [
        (2, ["a", "--key", "b"], "KEY can't be used together with --key or --pref"),
        (2, ["--graph", "a"], "--graph shows all branches as they are; of the filt"),
        (2, ["--graph", "--since", "1h"], "--graph shows all branches as they are"),
        (2, ["--limit", "0"], "--limit: 0 is no whole number from 1 on; see"),
        (2, ["--limit", "x"], "--limit: 'x' is no whole number from 1 on; see"),
        (2, ["--key", "a", "--prefix", "b"], "--key and --prefix can't be used togeth"),
        (7, ["--since", "yesterday"], "--since: 'yesterday' is no time; write it like"),
        (7, ["--until", "2026-02-30"], "until: '2026-02-30T23:59:59.999999999Z' is n"),
    ],
)
def test_wrong_usage(st8ctl: St8ctl, code: int, args: list[str], message: str) -> None:
    """Wrong usage is told, and so is a time that is none."""
    actual, out, err = st8ctl("log", *args)

    assert (code, "") == (actual, out)
    assert err.startswith(f"error: {message}")
