"""How benchmarks take turns, compare and print."""

from __future__ import annotations

from functools import partial

import pytest

from bench.measure import Bar, Report, in_turns, show_bytes, show_s, table


@pytest.mark.parametrize(
    ("bar", "holds"),
    [
        (Bar("claim", 2.9, 3), True),
        (Bar("claim", 3.1, 3), False),
        (Bar("claim", 0.61, 0.6, at_least=True), True),
        (Bar("claim", 0.59, 0.6, at_least=True), False),
    ],
)
def test_a_bar_holds_on_one_side(bar: Bar, holds: bool) -> None:
    """A ratio at most, or at least, its limit holds."""
    assert holds == bar.holds


def test_works_take_turns_in_changing_order() -> None:
    """Every work has one turn a round, and none is always the first."""
    turns: list[str] = []
    times = {"a": iter([1.0, 9.0, 2.0]), "b": iter([5.0, 4.0, 6.0])}

    def measure(name: str) -> float:
        turns.append(name)
        return next(times[name])

    actual = in_turns({name: partial(measure, name) for name in times}, 3)

    assert {"a": 2.0, "b": 5.0} == actual
    assert ["a", "b", "b", "a", "a", "b"] == turns


def test_a_table_is_markdown() -> None:
    """Columns, a line, and a line for each row."""
    assert "| a | b |\n| --- | --- |\n| 1 | 2 |" == table(("a", "b"), [("1", "2")])


def test_a_report_says_what_does_not_hold(capsys: pytest.CaptureFixture[str]) -> None:
    """A ratio beyond its limit is printed as such, with its limit."""
    report = Report("Title")
    report.add_table("Heading", ("a",), [("1",)])
    report.add_bar("fast", 4.0, 3)

    report.print()

    printed = capsys.readouterr().out
    assert printed.startswith("## Title\n\nMeasured on ")
    assert "### Heading\n\n| a |" in printed
    assert "| fast | 4.00 | ≤ 3 | **does not hold** |" in printed


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (2.345, "2.35 s"),
        (0.234, "234 ms"),
        (0.0234, "23 ms"),
        (0.0012, "1.2 ms"),
        (0.000123, "0.123 ms"),
    ],
)
def test_times_have_a_unit(seconds: float, text: str) -> None:
    """A time has two or three figures that count."""
    assert text == show_s(seconds)


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (12, "12 B"),
        (4_096, "4.0 KiB"),
        (-2_048, "-2.0 KiB"),
        (3 << 20, "3.0 MiB"),
        (3 << 30, "3.00 GiB"),
    ],
)
def test_sizes_have_a_unit(size: int, text: str) -> None:
    """A size has the largest unit that leaves it above one."""
    assert text == show_bytes(size)
