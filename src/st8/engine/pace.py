"""How background work leaves room for requests.

Python runs one thread at a time, and a thread that computes is asked to let go only
after 5 ms, so one that never waits makes each step of all others that much longer.
Whoever works in the background therefore works for a millisecond and rests as long,
and what holds up writes it does in pieces that are as large as the time they take
allows.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from st8.core.errors import ShuttingDown

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable

    from st8.core.ports import Timer

__all__ = ["Pace", "Pieces", "SystemTimer"]

_SLICE_S: Final = 0.001
_REST_S_MAX: Final = 0.1
_PIECE_S: Final = 0.01
"""What a piece should take; a commit that waits for it does so once."""


class SystemTimer:
    """The timer of the machine; see :class:`~st8.core.ports.Timer`."""

    time = staticmethod(time.perf_counter)

    def wait(self, wait: Callable[[float], bool], at_most_s: float) -> bool:
        """See :class:`~st8.core.ports.Timer`."""
        return wait(at_most_s)


class Pace:
    """The pace of one thread that works in the background."""

    def __init__(self, stopping: threading.Event, timer: Timer) -> None:
        """Begin to work, until ``stopping`` is set."""
        self._stopping = stopping
        self._timer = timer
        self._since_s = timer.time()

    def rest(self, at_least_s: float = 0.0) -> None:
        """Rest as long as was worked, if that was long enough; call it often.

        But for a tenth of a second at most. Where somebody was held up, rest for
        ``at_least_s``.

        Raises:
            ShuttingDown: It is time to stop.
        """
        worked_s = max(self._timer.time() - self._since_s, at_least_s)
        if worked_s >= _SLICE_S:
            if self._timer.wait(self._stopping.wait, min(worked_s, _REST_S_MAX)):
                raise ShuttingDown(
                    "the daemon is shutting down, and what it was doing in the "
                    "background is not done; the next time it goes on from there"
                )
            self._since_s = self._timer.time()


class Pieces:
    """How large the next piece of some work is, by the time the last one took."""

    def __init__(self, least: int, most: int) -> None:
        """Begin with ``least``, and never leave the bounds."""
        self._least = least
        self._most = most
        self.size = least

    def took(self, seconds: float) -> None:
        """Learn how long a piece of the size took."""
        if seconds > _PIECE_S:
            wanted = int(self.size * _PIECE_S / seconds)
            self.size = max(self._least, wanted)
        elif seconds < _PIECE_S / 2:
            self.size = min(self._most, self.size * 2)
