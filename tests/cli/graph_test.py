"""The graph of revisions: its order, its lanes, and what is read for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from st8.cli.graph import Lanes, merge_logs
from st8.client import LogEntry

if TYPE_CHECKING:
    from collections.abc import Iterator


def entry(revision: int, parent: int) -> LogEntry:
    """Return a revision."""
    return LogEntry(revision, parent, "", "2026-01-01T00:00:00Z", "main")


def drawing(*pairs: tuple[int, int]) -> str:
    """Return the graph of revisions and their parents."""
    lanes = Lanes()
    lines: list[str] = []
    for revision, parent in pairs:
        before, own = lanes.rows(revision, parent)
        lines += [*before, f"{own}{revision}"]
    return "\n".join(lines)


@pytest.mark.parametrize(
    ("pairs", "expected"),
    [
        ([(3, 2), (2, 1), (1, 0)], "* 3\n* 2\n* 1"),
        ([(3, 1), (2, 1), (1, 0)], "* 3\n| * 2\n|/\n* 1"),
        (
            [(5, 1), (4, 2), (3, 1), (2, 1), (1, 0)],
            "* 5\n| * 4\n| | * 3\n| * | 2\n| |/\n|/\n* 1",
        ),
        (
            [(9, 5), (8, 4), (7, 6), (6, 5), (5, 4), (4, 0)],
            "* 9\n| * 8\n| | * 7\n| | * 6\n|_|/\n* | 5\n|/\n* 4",
        ),
        ([(4, 0), (3, 1), (2, 0), (1, 0)], "* 4\n* 3\n| * 2\n* 1"),
        ([(4, 3), (5, 1), (3, 0), (1, 0)], "* 4\n| * 5\n* | 3\n  * 1"),
    ],
    ids=["line", "fork", "three", "crossing", "roots", "first root goes"],
)
def test_drawing(pairs: list[tuple[int, int]], expected: str) -> None:
    """Lines lead from each revision down to its parent, and meet where it stands."""
    assert expected == drawing(*pairs)


def test_beside() -> None:
    """Text below a revision stands right of the lines that go on."""
    lanes = Lanes()
    lanes.rows(3, 1)
    lanes.rows(2, 1)

    assert "| | " == lanes.beside()


histories = st.lists(st.integers(0, 30), max_size=30).map(
    lambda picks: {n: pick % n for n, pick in enumerate(picks, 1)}
)


@given(histories)
def test_any_history_can_be_drawn(parents: dict[int, int]) -> None:
    """Whatever the shape, each revision has its row, with one star in it."""
    lines = drawing(*sorted(parents.items(), reverse=True)).splitlines()
    rows = [line for line in lines if "*" in line]

    assert [str(n) for n in sorted(parents, reverse=True)] == [
        row.split()[-1] for row in rows
    ]
    assert {1} <= {row.count("*") for row in rows} | {1}


@given(histories, st.data())
def test_merge(parents: dict[int, int], data: st.DataObject) -> None:
    """All that the heads lead to is there once, newest first, and is read once."""
    heads = data.draw(st.lists(st.sampled_from([*parents]))) if parents else []
    read: list[int] = []

    def history(name: str, head: int) -> Iterator[LogEntry]:
        del name
        while head:
            read.append(head)
            yield entry(head, parents[head])
            head = parents[head]

    expected: set[int] = set()
    for head in heads:
        number = head
        while number and number not in expected:
            expected.add(number)
            number = parents[number]
    named = [(f"b{n}", head) for n, head in enumerate(heads)]
    actual = [found.revision for found in merge_logs(named, history)]

    assert sorted(expected, reverse=True) == actual
    assert len(read) <= len(expected) + len(heads)
