"""A clock that a test sets."""

from __future__ import annotations

import threading
from typing import Final

__all__ = ["SECOND_NS", "FakeClock"]

SECOND_NS: Final = 1_000_000_000
_START_NS: Final = 1_767_225_600 * SECOND_NS  # 2026-01-01T00:00:00Z


class FakeClock:
    """Stands still, or ticks a fixed step each time it is read. Any thread."""

    def __init__(self, start_ns: int = _START_NS, *, tick_ns: int = 0) -> None:
        """Show ``start_ns`` first, and ``tick_ns`` more on each later look."""
        self._lock = threading.Lock()
        self._now_ns = start_ns
        self._tick_ns = tick_ns

    def now_ns(self) -> int:
        """Return nanoseconds since 1970-01-01 UTC."""
        with self._lock:
            now_ns = self._now_ns
            self._now_ns += self._tick_ns
        return now_ns

    def set(self, now_ns: int) -> None:
        """Show ``now_ns`` next, which may be earlier than now."""
        with self._lock:
            self._now_ns = now_ns

    def advance(self, seconds: float) -> None:
        """Let ``seconds`` pass."""
        with self._lock:
            self._now_ns += round(seconds * SECOND_NS)
