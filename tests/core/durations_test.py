"""Durations as people write them."""

from __future__ import annotations

import pytest

from st8.core.durations import parse_duration


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
