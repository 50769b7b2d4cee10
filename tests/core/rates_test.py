"""Rates as people write them."""

from __future__ import annotations

import re

import pytest

from st8.core.limits import RATE
from st8.core.rates import UNLIMITED, Rate, parse_rate


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("100", Rate(100.0, 100)),
        ("100:500", Rate(100.0, 500)),
        ("0.5", Rate(0.5, 1)),
        ("0", Rate(0.0, 1)),
        ("1:1", Rate(1.0, 1)),
        (f"{RATE.maximum}:1", Rate(RATE.maximum, 1)),
        (f"1:{RATE.maximum}", Rate(1.0, RATE.maximum)),
    ],
)
def test_rates_that_are_read(text: str, expected: Rate) -> None:
    """A rate is requests a second, with those at once behind a colon."""
    assert expected == parse_rate(text)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        *(
            (text, "is no rate; write 100")
            for text in ("", "x", "-1", "1:", ":1", "1/s")
        ),
        ("1:0", "lets nothing through"),
        (f"{RATE.maximum + 1}", "is more than 1000000 (rate_max)"),
        (f"1:{RATE.maximum + 1}", "is more than 1000000 (rate_max)"),
    ],
)
def test_no_rates(text: str, said: str) -> None:
    """What is no rate is refused, and is told why."""
    with pytest.raises(ValueError, match=re.escape(f"{text!r} {said}")):
        parse_rate(text)


def test_no_limit_is_a_rate_of_zero() -> None:
    """What stands for no limit is what a rate of 0 says."""
    assert parse_rate("0") == UNLIMITED
