"""Times as people give them: RFC 3339, days, and how long ago."""

from __future__ import annotations

import pytest

from st8.cli.moments import moment
from st8.core.errors import InvalidValue
from st8.testing.clock import FakeClock


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-01-31T12:00:00Z", "2026-01-31T12:00:00Z"),
        (" 2026-01-31t12:00:00+01:00 ", "2026-01-31t12:00:00+01:00"),
        ("2026-01-31", "2026-01-31T00:00:00Z"),
        ("90m", "2025-12-31T22:30:00Z"),
        ("1h30m", "2025-12-31T22:30:00Z"),
        ("3d", "2025-12-29T00:00:00Z"),
        ("1w", "2025-12-25T00:00:00Z"),
        ("0", "2026-01-01T00:00:00Z"),
    ],
)
def test_moment(text: str, expected: str) -> None:
    """A time goes as it is, a day begins at midnight in UTC, a duration lies back."""
    assert expected == moment(text, "--since", clock=FakeClock())


def test_end_of_a_day() -> None:
    """Where a time is the last one wanted, the whole day is."""
    assert "2026-01-31T23:59:59.999999999Z" == moment("2026-01-31", "--until", end=True)
    assert "2026-01-31T12:00:00Z" == moment("2026-01-31T12:00:00Z", "x", end=True)


@pytest.mark.parametrize("text", ["", "yesterday", "2 days", "-2h", "31.1.2026", "2"])
def test_no_moment(text: str) -> None:
    """What is no time is told how one is written."""
    with pytest.raises(InvalidValue) as caught:
        moment(text, "--since")

    assert (
        f"--since: {text!r} is no time; write it like 2026-01-31T12:00:00Z, 2026-01-31, "
        "or 2h for two hours ago"
    ) == caught.value.detail


def test_too_far_back() -> None:
    """A duration that leads out of the calendar is an error, not a fault."""
    with pytest.raises(InvalidValue, match="lies too far back"):
        moment("999999w", "--since")
