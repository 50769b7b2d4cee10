"""Durations as people write them in flags and files: ``1m30s``, ``500ms``, ``0``."""

from __future__ import annotations

import re
from typing import Final

__all__ = ["format_age", "parse_age", "parse_duration"]

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
_LONGEST_S: Final = (2**63 - 1) / 1e9
_LONG_S: Final = {"d": 86_400, "w": 7 * 86_400}
_LONG: Final = re.compile(r"(\d{1,6})([dw])", re.ASCII)
_CHARACTERS_MAX: Final = 1_000
_SHOWN_CHARACTERS: Final = 40
# Nothing of it can be read in two ways, so long texts are refused as soon as short ones.
_PART: Final = re.compile(
    r"(\d++(?:\.\d*+)?|\.\d++)(ns|[u\u00b5\u03bc]s|ms|s|m|h)", re.ASCII
)
_WHOLE: Final = re.compile(f"(?:{_PART.pattern})++", re.ASCII)


def parse_duration(text: str) -> float:
    """Return the seconds of a duration as Go writes it.

    That is one or more numbers with a unit from ``ns`` to ``h``, or ``0``, of 1,000
    characters at most; of what is less than a nanosecond nothing remains.

    Raises:
        ValueError: It is no duration, or one of more than 292 years, which are all
            that Go can count; says what one looks like.
    """
    if text == "0":
        return 0.0
    shown = text[:_SHOWN_CHARACTERS]
    if len(text) > _CHARACTERS_MAX:
        raise ValueError(
            f"{shown!r} is not a duration of at most {_CHARACTERS_MAX} characters"
        )
    if not _WHOLE.fullmatch(text):
        hint = f"; write {shown}s" if text.isascii() and text.isdigit() else ""
        raise ValueError(
            f"{shown!r} is not a duration such as 500ms, 30s or 1m30s{hint}"
        )
    parts = _PART.findall(text)
    seconds = sum(float(number) * _UNITS_S[unit] for number, unit in parts)
    if seconds > _LONGEST_S:
        raise ValueError(f"{shown!r} is not a duration of at most 292 years")
    return round(seconds, 9)


def parse_age(text: str) -> float:
    """Return the seconds of an age: a duration, or whole days or weeks as ``30d``.

    Raises:
        ValueError: It is none; says what one looks like.
    """
    long = _LONG.fullmatch(text)
    if long:
        return float(int(long[1]) * _LONG_S[long[2]])
    try:
        return parse_duration(text)
    except ValueError:
        raise ValueError(
            f"{text[:_SHOWN_CHARACTERS]!r} is not an age such as 12h, 30d or 2w"
        ) from None


def format_age(seconds: float) -> str:
    """Return an age as :func:`parse_age` reads it, in the largest unit that fits."""
    whole = int(seconds)
    if whole != seconds:
        return f"{seconds:.9f}".rstrip("0") + "s"
    for unit, size in (("d", _LONG_S["d"]), ("h", 3_600), ("m", 60)):
        if whole and not whole % size:
            return f"{whole // size}{unit}"
    return f"{whole}s"
