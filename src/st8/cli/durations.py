"""Durations as people write them in flags and files: ``1m30s``, ``500ms``, ``0``."""

from __future__ import annotations

import re
from typing import Final

from st8.core.errors import InvalidValue

__all__ = ["timeout_s"]

_UNITS_S: Final = {
    "ns": 1e-9,
    "us": 1e-6,
    "µs": 1e-6,
    "ms": 1e-3,
    "s": 1.0,
    "m": 60.0,
    "h": 3600.0,
}
_PART: Final = re.compile(r"(\d+\.?\d*|\.\d+)(ns|us|µs|ms|s|m|h)", re.ASCII)


def timeout_s(text: str, where: str) -> float | None:
    """Return the seconds of a timeout, or None if it is 0: no limit.

    Args:
        text: A duration as Go has it.
        where: The flag or setting, for the error.

    Raises:
        InvalidValue: It is no duration.
    """
    text = text.strip()
    if text == "0":
        return None
    parts = _PART.findall(text)
    if not text or "".join(number + unit for number, unit in parts) != text:
        hint = f"; write {text}s" if text.isascii() and text.isdigit() else ""
        raise InvalidValue(
            where, f"{text!r} is not a duration such as 500ms, 30s or 1m30s{hint}"
        )
    return sum(float(number) * _UNITS_S[unit] for number, unit in parts) or None
