"""Durations as people write them."""

from __future__ import annotations

import pytest

from st8.core.durations import format_age, parse_age, parse_duration


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0", 0.0),
        ("0s", 0.0),
        ("30s", 30.0),
        ("1m30s", 90.0),
        ("500ms", 0.5),
        ("1.5h", 5400.0),
        (".5s", 0.5),
        ("2h45m", 9900.0),
        ("1us", 1e-6),
        ("3\u00b5s", 3e-6),
        ("3\u03bcs", 3e-6),
        ("7ns", 7e-9),
        ("0.4ns", 0.0),
        ("0" * 999 + "s", 0.0),
        ("2562047h47m16.854775807s", (2**63 - 1) / 1e9),
    ],
)
def test_durations(text: str, expected: float) -> None:
    """Durations are read as Go reads them."""
    assert expected == pytest.approx(parse_duration(text))


@pytest.mark.parametrize(
    "text",
    ["", "30", "s", "-1s", "1d", "1s ", "1 s", "1s2", ".", "\u0663s", "1e3s"],
)
def test_no_durations(text: str) -> None:
    """What is no duration is refused with an example."""
    with pytest.raises(ValueError, match=r"is not a duration such as .*30s"):
        parse_duration(text)


def test_a_missing_unit_is_offered() -> None:
    """A bare number is told what to write."""
    with pytest.raises(ValueError, match="write 30s"):
        parse_duration("30")
    for other in ("half", "3.5", "\u0663"):
        with pytest.raises(ValueError, match=r"or 1m30s$"):
            parse_duration(other)


def test_a_long_text_is_refused_as_soon_as_a_short_one() -> None:
    """A million digits without a unit are looked at once."""
    with pytest.raises(ValueError, match="is not a duration"):
        parse_duration("9" * 1_000_000)


@pytest.mark.parametrize("text", ["1ns" * 334, "0" * 1_000 + "s", "1h" * 5_000_000])
def test_what_is_longer_than_any_sum_is_no_duration(text: str) -> None:
    """More than 1,000 characters are not added up, and are not repeated."""
    for read in (parse_duration, parse_age):
        with pytest.raises(ValueError, match="is not a") as caught:
            read(text)

        assert len(str(caught.value)) < 120


@pytest.mark.parametrize("text", ["9" * 400 + "s", "2562047h48m", "1000w" * 2])
def test_what_go_can_not_count_is_no_duration(text: str) -> None:
    """A duration of more than 63 bits of nanoseconds is refused, however long."""
    with pytest.raises(ValueError, match="is not a"):
        parse_duration(text)
    with pytest.raises(ValueError, match="is not an age"):
        parse_age(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0", 0.0),
        ("90s", 90.0),
        ("12h", 43_200.0),
        ("1d", 86_400.0),
        ("30d", 2_592_000.0),
        ("2w", 1_209_600.0),
        ("999999d", 86_399_913_600.0),
    ],
)
def test_ages(text: str, expected: float) -> None:
    """An age is a duration, or whole days or weeks."""
    assert expected == parse_age(text)


@pytest.mark.parametrize("text", ["", "d", "1.5d", "-1d", "1d12h", "1000000d", "1y"])
def test_no_ages(text: str) -> None:
    """What is no age is refused with an example."""
    with pytest.raises(ValueError, match=r"is not an age such as .*30d"):
        parse_age(text)


@pytest.mark.parametrize(
    "age", ["1ns", "500ms", "1s", "90061.25s", "1m", "36h", "1d", "14d", "0s"]
)
def test_an_age_is_written_as_it_is_read(age: str) -> None:
    """What is written for people reads as the same age."""
    assert parse_age(age) == parse_age(format_age(parse_age(age)))


def test_an_age_has_the_largest_unit_that_fits() -> None:
    """Whole units are written as such, and the rest in seconds."""
    written = [format_age(age) for age in (1e-9, 0.5, 61.0, 120.0, 7_200.0, 86_400.0)]
    assert ["0.000000001s", "0.5s", "61s", "2m", "2h", "1d"] == written
