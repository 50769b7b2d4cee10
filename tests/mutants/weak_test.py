"""A test that looks at little, in which the rig finds what it leaves out."""

from __future__ import annotations

from st8.core.rates import Rate, parse_rate


def test_a_rate_is_read() -> None:
    """A rate with a burst is read; nothing is said of what is refused."""
    assert Rate(7.0, 9) == parse_rate("7:9")
