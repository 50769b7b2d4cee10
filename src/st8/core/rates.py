"""Rates as people write them in settings and policies: ``100``, ``100:500``, ``0``."""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from st8.core import limits

__all__ = ["UNLIMITED", "Rate", "parse_rate"]

_RATE: Final = re.compile(r"(\d{1,9}(?:\.\d{1,6})?)(?::(\d{1,9}))?", re.ASCII)


class Rate(NamedTuple):
    """How many requests may be sent.

    Attributes:
        per_s: A second, in the long run; 0 for no limit.
        burst: At once, after a while without any; at least 1.
    """

    per_s: float
    burst: int


UNLIMITED: Final = Rate(0.0, 1)


def parse_rate(text: str) -> Rate:
    """Return the rate of ``RATE`` or ``RATE:BURST``, requests a second and at once.

    Without a burst it is what the rate gives in a second, and at least 1.

    Raises:
        ValueError: It is no rate; says what one looks like.
    """
    found = _RATE.fullmatch(text)
    if found is None:
        raise ValueError(
            f"{text!r} is no rate; write 100 for a hundred requests a second, 100:500 "
            "for so many and five hundred at once, or 0 for no limit"
        )
    per_s = float(found[1])
    burst = max(1, int(per_s)) if found[2] is None else int(found[2])
    most = limits.RATE.maximum
    if per_s > most or burst > most:
        raise ValueError(f"{text!r} is more than {most} ({limits.RATE.name})")
    if burst < 1:
        raise ValueError(f"{text!r} lets nothing through: the burst is at least 1")
    return Rate(per_s, burst)
