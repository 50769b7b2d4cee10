"""Durations as people write them in flags and files: ``1m30s``, ``500ms``, ``0``."""

from __future__ import annotations

import re
from typing import Final

__all__ = ["parse_duration"]

_UNITS_S: Final = {
    "ns": 1e-9,
    "us": 1e-6,
    "\u00b5s": 1e-6,
    "\u03bcs": 1e-6,
    "ms": 1e-3,
    "s": 1.0,
    "m": 60.0,
    "h": 3600.0,
}
_PART: Final = re.compile(r"(\d+\.?\d*|\.\d+)(ns|[u\u00b5\u03bc]s|ms|s|m|h)", re.ASCII)


def parse_duration(text: str) -> float:
    """Return the seconds of a duration as Go writes it.

    That is one or more numbers with a unit from ``ns`` to ``h``, or ``0``.

    Raises:
        ValueError: It is no duration; says what one looks like.
    """
    if text == "0":
        return 0.0
    parts = _PART.findall(text)
    if not text or "".join(number + unit for number, unit in parts) != text:
        hint = f"; write {text}s" if text.isascii() and text.isdigit() else ""
        raise ValueError(
            f"{text!r} is not a duration such as 500ms, 30s or 1m30s{hint}"
        )
    return sum(float(number) * _UNITS_S[unit] for number, unit in parts)
