"""Times as people give them on the command line, as the daemon takes them.

``2026-01-31T12:00:00Z`` (RFC 3339) goes as it is; ``2026-01-31`` is a day in UTC;
``90m``, ``2h``, ``3d`` and ``1w`` are that long ago.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from st8.core.errors import InvalidValue

if TYPE_CHECKING:
    from st8.core.ports import Clock

__all__ = ["moment"]

_DAY: Final = r"\d{4}-\d{2}-\d{2}"
_NS: Final = 1_000_000_000


def moment(
    text: str, field: str, *, end: bool = False, clock: Clock | None = None
) -> str:
    """Return a time in RFC 3339.

    Args:
        text: What was given.
        field: What it was given for, for the error.
        end: A day stands for its last moment, not its first.
        clock: Says what "ago" counts from; the machine's if None.

    Raises:
        InvalidValue: It is no time.
    """
    text = text.strip()
    if re.fullmatch(_DAY, text, re.ASCII):
        return f"{text}T23:59:59.999999999Z" if end else f"{text}T00:00:00Z"
    if re.match(rf"{_DAY}[Tt ]", text, re.ASCII):
        return text  # the daemon reads it, and says what is wrong with it
    seconds = _seconds(text)
    if seconds is None:
        raise InvalidValue(
            field,
            f"{text!r} is no time; write it like 2026-01-31T12:00:00Z, 2026-01-31, or "
            "2h for two hours ago",
        )
    from datetime import UTC, datetime, timedelta

    from st8.clock import SystemClock

    now_ns = (clock or SystemClock()).now_ns()
    now = datetime.fromtimestamp(now_ns // _NS, UTC)
    try:
        then = now - timedelta(seconds=seconds)
    except OverflowError:
        raise InvalidValue(field, f"{text!r} lies too far back") from None
    return then.strftime("%Y-%m-%dT%H:%M:%SZ")


def _seconds(text: str) -> float | None:
    """Return the seconds of an age; None if it is none."""
    from st8.core.durations import parse_age

    try:
        return parse_age(text)
    except ValueError:
        return None
