"""Times as text: RFC 3339 in UTC, nanoseconds, and back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from st8.core.errors import InvalidValue
from st8.core.revisions import format_time, parse_time

S = 1_000_000_000
START_2026 = 1_767_225_600 * S


@pytest.mark.parametrize(
    ("time_ns", "text"),
    [
        (0, "1970-01-01T00:00:00Z"),
        (1, "1970-01-01T00:00:00.000000001Z"),
        (100_000_000, "1970-01-01T00:00:00.1Z"),
        (START_2026, "2026-01-01T00:00:00Z"),
        (START_2026 + 123_456_789, "2026-01-01T00:00:00.123456789Z"),
        (START_2026 - 1, "2025-12-31T23:59:59.999999999Z"),
        (951_782_400 * S, "2000-02-29T00:00:00Z"),
        (2**63 - 1, "2262-04-11T23:47:16.854775807Z"),
    ],
)
def test_times_are_rfc_3339(time_ns: int, text: str) -> None:
    """A time is shown in UTC with as many digits as it needs, and read back."""
    assert text == format_time(time_ns)
    assert time_ns == parse_time(text)


@given(time_ns=st.integers(0, 2**63 - 1))
def test_no_nanosecond_is_lost(time_ns: int) -> None:
    """Every time that can be stored comes back from its text exactly."""
    assert time_ns == parse_time(format_time(time_ns))


@given(first=st.integers(0, 2**63 - 1), second=st.integers(0, 2**63 - 1))
def test_seconds_sort_as_their_texts_do(first: int, second: int) -> None:
    """Whole seconds are in the same order as their texts."""
    first, second = first // S * S, second // S * S

    assert (first < second) == (format_time(first) < format_time(second))


@pytest.mark.parametrize(
    ("text", "time_ns"),
    [
        ("2026-01-01t00:00:00z", START_2026),
        ("2026-01-01 00:00:00Z", START_2026),
        ("2026-01-01T00:00:00+00:00", START_2026),
        ("2026-01-01T00:00:00-00:00", START_2026),
        ("2026-01-01T05:30:00+05:30", START_2026),
        ("2025-12-31T16:00:00-08:00", START_2026),
        ("2026-01-01T00:00:00.5Z", START_2026 + S // 2),
        ("2026-01-01T00:00:00.000000000Z", START_2026),
        ("2026-01-01T00:00:00.1234567899999Z", START_2026 + 123_456_789),
        ("1970-01-01T01:00:00+01:00", 0),
    ],
)
def test_other_spellings_are_understood(text: str, time_ns: int) -> None:
    """Offsets, lower case and a space are read; digits beyond the ninth are cut."""
    assert time_ns == parse_time(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "now",
        "yesterday",
        "1767225600",
        "2026-01-01",
        "2026-01-01T00:00:00",  # no zone
        "2026-01-01T00:00Z",
        "2026-1-1T00:00:00Z",
        "2026-13-01T00:00:00Z",
        "2026-02-29T00:00:00Z",
        "2026-01-01T24:00:01Z",
        "2026-01-01T00:60:00Z",
        "2026-01-01T00:00:61Z",
        "2026-01-01T00:00:00.Z",
        "2026-01-01T00:00:00,5Z",
        "2026-01-01T00:00:00+0100",
        "2026-01-01T00:00:00+25:00",
        " 2026-01-01T00:00:00Z",
        "2026-01-01T00:00:00Z\n",
        "2026-01-01T00:00:00ZZ",
        "0000-01-01T00:00:00Z",
        "\u0662\u0660\u0662\u0666-01-01T00:00:00Z",  # Arabic digits
        "2026-01-01T00:00:00.\u0661Z",
        "2026-01-01T00:00:00\uff0b01:00",
    ],
)
def test_what_is_no_time_is_refused(text: str) -> None:
    """Anything else is an invalid value that shows a right one."""
    with pytest.raises(InvalidValue, match=r"at: .*is not an RFC 3339 time such as"):
        parse_time(text, "at")


@pytest.mark.parametrize(
    "text",
    [
        "1969-12-31T23:59:59Z",
        "1969-12-31T23:59:59.999999999Z",
        "1970-01-01T00:00:00+00:01",
        "0001-01-01T00:00:00+23:59",
        "2262-04-11T23:47:16.854775808Z",
        "9999-12-31T23:59:59-23:59",
    ],
)
def test_times_that_cannot_be_stored_are_refused(text: str) -> None:
    """Times before 1970 or after 64 bits of nanoseconds are invalid values."""
    with pytest.raises(InvalidValue, match="outside the years 1970 to 2262"):
        parse_time(text)
