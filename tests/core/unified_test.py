"""Unified diffs: right by the rules, and by the judgement of patch and git."""

from __future__ import annotations

import re
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from st8.core.unified import (
    _anchors,
    differing_blocks,
    has_no_lines,
    split_lines,
    unified_diff,
)

if TYPE_CHECKING:
    from pathlib import Path

TOOLS = [
    pytest.param(
        command,
        marks=pytest.mark.skipif(
            shutil.which(command[0]) is None, reason=f"{command[0]} is not installed"
        ),
    )
    for command in (["patch", "-p0"], ["git", "apply", "-p0"])
]

# Few different lines, so that they repeat; ends and terminators of every kind.
lines = st.sampled_from(
    ["a", "b", "c", "", "-- a", "++ b", "@@", "\\ No", "d\r", "\x0c"]
)
texts = st.builds(
    lambda parts, end: "\n".join(parts) + end,
    st.lists(lines, max_size=12),
    st.sampled_from(["", "\n"]),
)
numbers = st.lists(st.integers(0, 400), max_size=30)
contents = st.none() | texts | st.text(max_size=30)


def apply_unified(diff: str, before: str) -> str:
    """Apply ``diff`` by the letter: every count, context line and marker must fit."""
    source = split_lines(before)
    result: list[str] = []
    at = 0
    rows = split_lines(diff)[2:]
    while rows:
        header = re.fullmatch(
            r"@@ -(\d+)(?:,(\d+))? \+(\d+)(?:,(\d+))? @@\n", rows.pop(0)
        )
        assert header is not None
        old_start, old_count, new_start, new_count = (
            1 if group is None else int(group) for group in header.groups()
        )
        start = old_start - 1 if old_count else old_start
        result += source[at:start]
        at = start
        assert (new_start - 1 if new_count else new_start) == len(result)
        old = new = 0
        while old < old_count or new < new_count:
            row = rows.pop(0)
            mark, line = row[0], row[1:]
            if rows and rows[0] == "\\ No newline at end of file\n":
                rows.pop(0)
                line = line.removesuffix("\n")
            if mark in " -":
                assert source[at] == line
                at += 1
                old += 1
            if mark in " +":
                result.append(line)
                new += 1
        assert (old, new) == (old_count, new_count)
    return "".join(result + source[at:])


def longest_common(before: list[str], after: list[str]) -> int:
    """Return the length of the longest common subsequence, the slow way."""
    row = [0] * (len(after) + 1)
    for line in before:
        previous = row
        row = [0]
        for j, other in enumerate(after):
            row.append(
                previous[j] + 1 if line == other else max(previous[j + 1], row[j])
            )
    return row[-1]


@given(contents, contents)
@example("", "a")
@example("a", "a\n")
@example("a\n", "")
def test_applied_to_the_one_it_gives_the_other(
    before: str | None, after: str | None
) -> None:
    """A diff of two contents, applied to the first, gives the second, to the byte."""
    diff = unified_diff("k", before, after)

    if before == after:
        assert "" == diff
    elif before or after:
        assert (after or "") == apply_unified(diff, before or "")
        assert diff.endswith("\n")


@given(st.lists(lines, max_size=14), st.lists(lines, max_size=14))
def test_smallest(before: list[str], after: list[str]) -> None:
    """A diff of few lines keeps as many of them as can be kept."""
    blocks = differing_blocks(before, after)

    removed = sum(block.before_end - block.before_start for block in blocks)
    assert longest_common(before, after) == len(before) - removed


@given(numbers, numbers)
@settings(max_examples=20)
def test_long_contents(few: list[int], more: list[int]) -> None:
    """Long contents, which are cut at lines that occur once, give right diffs too."""
    before = [f"{n}\n" for n in [*range(900), *few, *range(2_000, 2_900), *more]]
    after = [f"{n}\n" for n in [*more, *range(2_000, 2_900), *few, *range(900)]]
    rebuilt: list[str] = []
    at = 0
    for block in differing_blocks(before, after):
        rebuilt += before[at : block.before_start]
        rebuilt += after[block.after_start : block.after_end]
        at = block.before_end

    assert after == rebuilt + before[at:]


def test_large_contents() -> None:
    """A hundred thousand lines, some changed and many moved, keep the others."""
    before = [f"line {n}\n" for n in range(100_000)]
    after = before[:20_000] + before[20_500:70_000] + before[20_000:20_500]
    after += before[70_000:]
    after[40_000] = "changed\n"
    blocks = differing_blocks(before, after)

    assert 500 + 1 == sum(b.before_end - b.before_start for b in blocks)


def test_contents_without_order() -> None:
    """Contents of many lines that repeat at random end soon, and right."""
    before = [f"{n * n % 97}\n" for n in range(30_000)]
    after = [f"{n * n * n % 89}\n" for n in range(30_000)]
    rebuilt: list[str] = []
    at = 0
    for block in differing_blocks(before, after):
        rebuilt += before[at : block.before_start]
        rebuilt += after[block.after_start : block.after_end]
        at = block.before_end

    assert after == rebuilt + before[at:]


def test_looks_like_diff() -> None:
    """Three lines of context, ranges counted as diff counts them, hunks apart."""
    before = "".join(f"{n}\n" for n in range(1, 31))
    after = before.replace("5\n", "five\n", 1).replace("29\n30\n", "29\n30\n31")

    assert (
        "--- conf/a.txt\n"
        "+++ conf/a.txt\n"
        "@@ -2,7 +2,7 @@\n"
        " 2\n 3\n 4\n-5\n+five\n 6\n 7\n 8\n"
        "@@ -28,3 +28,4 @@\n"
        " 28\n 29\n 30\n+31\n"
        "\\ No newline at end of file\n"
    ) == unified_diff("conf/a.txt", before, after)


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        (None, "v", "--- /dev/null\n+++ k\n@@ -0,0 +1 @@\n+v\n\\ No newline at end of"),
        ("a\nb\n", None, "--- k\n+++ /dev/null\n@@ -1,2 +0,0 @@\n-a\n-b\n"),
        ("", "x\n", "--- k\n+++ k\n@@ -0,0 +1 @@\n+x\n"),
        ("x\n", "", "--- k\n+++ k\n@@ -1 +0,0 @@\n-x\n"),
        (None, "", "diff --git k k\nnew file mode 100644\nindex 0000000..e69de29\n"),
        ("", None, "diff --git k k\ndeleted file mode 100644\nindex e69de29..0000000"),
        ("a\r\n", "a\n", "--- k\n+++ k\n@@ -1 +1 @@\n-a\r\n+a\n"),
        ("a\x0cb\u2028c\n", "d\n", "--- k\n+++ k\n@@ -1 +1 @@\n-a\x0cb\u2028c\n+d\n"),
    ],
)
def test_edges(before: str | None, after: str | None, expected: str) -> None:
    """Absent and empty contents, missing newlines and odd separators are told apart."""
    assert unified_diff("k", before, after).startswith(expected)


def test_insertion_stands_as_low_as_possible() -> None:
    """A block added to a row of like blocks is shown whole, not across two."""
    before = "{\n a\n}\n{\n b\n}\n"
    after = "{\n a\n}\n{\n b\n}\n{\n b\n}\n"

    assert unified_diff("k", before, after).endswith("}\n+{\n+ b\n+}\n")


@pytest.mark.parametrize(
    ("before", "after", "anchors"),
    [
        ("", "", []),
        ("abc", "abc", [(0, 0)]),
        ("abcd", "cdab", [(2, 0)]),
        ("abcxde", "xabcde", [(0, 1), (4, 4)]),
        ("axbc", "abxc", [(0, 0), (2, 1), (3, 3)]),
        ("aab", "ab", [(2, 1)]),
        ("ab", "abb", [(0, 0)]),
    ],
)
def test_long_contents_are_cut_at_lines_that_occur_once(
    before: str, after: str, anchors: list[tuple[int, int]]
) -> None:
    """The longest run of them that rises on both sides, and of neighbours the first."""
    assert anchors == _anchors([ord(line) for line in before], [*map(ord, after)])


@pytest.mark.parametrize(
    ("before", "after", "blocks"),
    [
        # One line, several lines, put in and taken out, between others that differ.
        ("haatz", "HaaatZ", [(0, 1, 0, 1), (3, 3, 3, 4), (4, 5, 5, 6)]),
        ("haaatz", "HaatZ", [(0, 1, 0, 1), (3, 4, 3, 3), (5, 6, 4, 5)]),
        ("hababtz", "HabababtZ", [(0, 1, 0, 1), (5, 5, 5, 7), (6, 7, 8, 9)]),
        ("habababtz", "HababtZ", [(0, 1, 0, 1), (5, 7, 5, 5), (8, 9, 6, 7)]),
        ("cbcbac", "acbc", [(0, 0, 0, 1), (3, 6, 4, 4)]),
        ("cccbaaa", "cbaccba", [(1, 1, 1, 3), (5, 7, 7, 7)]),
        # Down to the next one, with which it becomes one.
        ("haz", "HaaZ", [(0, 1, 0, 1), (2, 3, 2, 4)]),
        ("haaz", "HaZ", [(0, 1, 0, 1), (2, 4, 2, 3)]),
    ],
)
def test_blocks_stand_as_low_as_possible(
    before: str, after: str, blocks: list[tuple[int, int, int, int]]
) -> None:
    """What repeats the lines below it stands below them, as far as it can go."""
    assert blocks == differing_blocks(list(before), list(after))


@pytest.mark.parametrize("command", TOOLS)
@pytest.mark.parametrize(
    "key", ["a.txt", "d/a b.txt", 'q"uo\\te', " lead", "trail ", "ü/ö", '"q"', "a\xa0b"]
)
@pytest.mark.parametrize(
    ("before", "after"),
    [
        (None, "1\n2"),
        ("1\n2", None),
        (None, ""),
        ("", None),
        ("", "x"),
        ("x", ""),
        ("x\r\ny\n", "x\ny\r\n"),
        ("-- a\n++ b\n@@ -1 +1 @@\n", "++ b\n-- a"),
        ("\n\n\n", "\n\n\n\n"),
    ],
)
def test_tools_apply_it(
    tmp_path: Path, command: list[str], key: str, before: str | None, after: str | None
) -> None:
    """What `patch` and `git apply` make of it is the later content, byte for byte."""
    path = tmp_path / key
    path.parent.mkdir(exist_ok=True)
    if before is not None:
        path.write_bytes(before.encode())
    text = f"Diff from revision 1 to 2\n\n{unified_diff(key, before, after)}\n"
    subprocess.run(
        command, cwd=tmp_path, input=text.encode(), check=True, capture_output=True
    )

    assert (after if after is None else after.encode()) == (
        path.read_bytes() if path.exists() else None
    )


@pytest.mark.parametrize("command", TOOLS)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["a", "b", "c d", 'e"']),
            st.none() | st.sampled_from(["", "x\n", "x", "--- a\n"]),
            st.none() | st.sampled_from(["", "y\n", "y", "+++ b\n"]),
        ).filter(lambda change: change[1] != change[2]),
        min_size=1,
        unique_by=lambda change: change[0],
    )
)
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_tools_apply_several(
    tmp_path_factory: pytest.TempPathFactory,
    command: list[str],
    changes: list[tuple[str, str | None, str | None]],
) -> None:
    """Diffs one after the other, with and without lines, apply as one patch."""
    folder = tmp_path_factory.mktemp("several")
    text = "Diff from revision 1 to 2\n"
    lineless = False
    for key, before, after in changes:
        if before is not None:
            (folder / key).write_bytes(before.encode())
        text += "\n" + unified_diff(key, before, after, headed=lineless)
        lineless = has_no_lines(before, after)
    subprocess.run(
        command, cwd=folder, input=text.encode(), check=True, capture_output=True
    )

    assert {k: after.encode() for k, _, after in changes if after is not None} == {
        path.name: path.read_bytes() for path in folder.iterdir()
    }
