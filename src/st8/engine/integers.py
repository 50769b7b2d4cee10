"""A set of 64-bit integers that takes eight bytes for each.

A set of Python's takes about 70. It is kept as many small sorted arrays: what is added
waits in an array beside them, and is merged when that is half as long. So adding costs
about as much as sorting does, no step takes long, and what is looked for is found by
halving.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["Integers"]

_PARTS: Final = 1 << 12
"""At a hundred million integers a part has 25,000, which are sorted in milliseconds."""
_MASK: Final = _PARTS - 1
_WAITING: Final = 16


class Integers:
    """A growing set of integers; for one thread at a time."""

    __slots__ = ("_added", "_room", "_sorted")

    def __init__(self, integers: Iterable[int] = ()) -> None:
        """Hold ``integers``."""
        self._sorted = [array("q")] * _PARTS  # a part of its own once it has any
        self._added: list[array[int] | None] = [None] * _PARTS
        self._room = array("i", [_WAITING]) * _PARTS
        self.update(integers)

    def update(self, integers: Iterable[int]) -> None:
        """Add ``integers``."""
        added, room = self._added, self._room
        for integer in integers:
            place = integer & _MASK
            waiting = added[place]
            if waiting is None:
                added[place] = array("q", (integer,))
            else:
                waiting.append(integer)
                if len(waiting) > room[place]:
                    self._merge(place)

    def __contains__(self, integer: object) -> bool:
        """Return whether an integer is one of them."""
        if not isinstance(integer, int):
            return False
        place = integer & _MASK
        if self._added[place] is not None:
            self._merge(place)
        part = self._sorted[place]
        at = bisect_left(part, integer)
        return at < len(part) and part[at] == integer

    def __len__(self) -> int:
        """Return how many there are."""
        for place, waiting in enumerate(self._added):
            if waiting is not None:
                self._merge(place)
        return sum(map(len, self._sorted))

    def _merge(self, place: int) -> None:
        waiting = self._added[place]
        if waiting is not None:
            part = array("q", sorted({*self._sorted[place], *waiting}))
            self._sorted[place] = part
            self._added[place] = None
            self._room[place] = max(_WAITING, len(part) // 2)
