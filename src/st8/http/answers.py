"""What large answers hold while they are sent, and how much that may be.

An answer of more than ``STREAM_FROM_BYTES`` is made as it is sent. Meanwhile it holds
what it was reading and the chunk that its client takes, however long that takes. So
what all of them hold is estimated, and bounded.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Final

from st8.core import limits
from st8.core.errors import Overloaded

if TYPE_CHECKING:
    from st8.http.connections import Connections

__all__ = ["Answers", "Place"]

_READ_BYTES: Final = 1024 * 1024
"""What is read at once for an answer, contents and nodes."""
_COPIES: Final = 3
"""Of what is in a chunk: as it was read, as it is sent, and what comes next."""
_EXCESS: Final = 2
"""What was begun goes on, though it holds more than expected, up to so many times."""


class Answers:
    """Counts what large answers hold; any thread may call.

    Attributes:
        held_bytes: About how much it is.
    """

    def __init__(self) -> None:
        """Begin with none."""
        self.held_bytes = 0
        self._lock = threading.RLock()  # a place may be dropped while one is made
        self._shared: Connections | None = None

    def watch(self, shared: Connections) -> None:
        """Look at what the connections of a server have left, too."""
        self._shared = shared

    def check(self) -> None:
        """Return if one more may be begun.

        Raises:
            Overloaded: They hold too much, or clients have left too much.
        """
        limit = limits.ANSWERS_BYTES
        if self.held_bytes >= limit.maximum:
            raise _overloaded("large answers that are being sent hold", limit)
        shared = self._shared
        if shared is None:
            return
        limit = limits.UNSENT_BYTES
        if shared.unsent_bytes > shared.settings.unsent_bytes_max:
            raise _overloaded("clients have not taken, of their answers,", limit)

    def place(self, chunk_bytes: int) -> Place:
        """Return what counts a large answer, which begins with a chunk of that size."""
        return Place(self, chunk_bytes)

    def add(self, size: int) -> None:
        """Count ``size`` bytes more, or less."""
        with self._lock:
            self.held_bytes += size


class Place:
    """Counts one answer, for as long as somebody has this.

    It counts no more when it is dropped, whichever way its request ends.
    """

    __slots__ = ("_answers", "_size")

    def __init__(self, answers: Answers, chunk_bytes: int) -> None:
        """Count an answer among ``answers``."""
        self._answers = answers
        self._size = _READ_BYTES + _COPIES * chunk_bytes
        answers.add(self._size)

    def hold(self, chunk_bytes: int) -> None:
        """Count a chunk that is larger than those before.

        Raises:
            Overloaded: This is too much; the answer is to be cut off.
        """
        more = _READ_BYTES + _COPIES * chunk_bytes - self._size
        if more <= 0:
            return
        self._size += more
        self._answers.add(more)
        limit = limits.ANSWERS_BYTES
        if self._answers.held_bytes > _EXCESS * limit.maximum:
            raise _overloaded("large answers that are being sent hold", limit)

    def __del__(self) -> None:
        self._answers.add(-self._size)


def _overloaded(what: str, limit: limits.Limit) -> Overloaded:
    return Overloaded(
        f"{what} more than the {limit.maximum} bytes of {limit.name}; this one was not "
        "begun. Try again in a second"
    )
