"""A cache that is bounded by bytes and that one long scan can't empty."""

from __future__ import annotations

import threading
from collections import OrderedDict
from contextlib import suppress
from typing import Final, Generic, TypeVar

__all__ = ["ByteCache"]

_KeyT = TypeVar("_KeyT")
_ValueT = TypeVar("_ValueT")

_NEW_SHARE: Final = 4
"""What is new may take a quarter of the room until it is asked for again."""


class ByteCache(Generic[_KeyT, _ValueT]):
    """A segmented LRU (Karedla, Love, Wherry 1994) of immutable values.

    A value comes into the segment of the new; when it is asked for again it moves
    to the segment of the kept. A scan over a million documents passes through the
    first and leaves the second alone. Any thread may call at any time.
    """

    def __init__(self, maximum: int) -> None:
        """Make a cache of at most ``maximum`` bytes, by the costs it is told."""
        self.maximum = maximum
        self.hits = 0
        self.misses = 0
        self._lock = threading.Lock()
        self._new: OrderedDict[_KeyT, _ValueT] = OrderedDict()
        self._kept: OrderedDict[_KeyT, _ValueT] = OrderedDict()
        # Apart, since Python's collector would look at each pair again and again.
        self._costs: dict[_KeyT, int] = {}
        self._new_bytes = 0
        self._kept_bytes = 0

    @property
    def size(self) -> int:
        """The bytes that it holds now."""
        return self._new_bytes + self._kept_bytes

    def get(self, key: _KeyT) -> _ValueT | None:
        """Return the value of ``key``, or None."""
        value = self._kept.get(key)
        if value is not None:
            self.hits += 1
            with suppress(KeyError):  # another thread may just have evicted it
                self._kept.move_to_end(key)
            return value
        if key not in self._new:
            self.misses += 1
            return None
        return self._promote(key)

    def put(self, key: _KeyT, value: _ValueT, cost: int) -> None:
        """Keep ``value``, which costs ``cost`` bytes; one too large is not kept."""
        if cost > self.maximum // _NEW_SHARE:
            return
        with self._lock:
            if key in self._kept or key in self._new:
                return
            self._new[key] = value
            self._costs[key] = cost
            self._new_bytes += cost
            while self._new_bytes > self.maximum // _NEW_SHARE:
                gone, _ = self._new.popitem(last=False)
                self._new_bytes -= self._costs.pop(gone)

    def clear(self) -> None:
        """Keep nothing of what is in it."""
        with self._lock:
            self._new.clear()
            self._kept.clear()
            self._costs.clear()
            self._new_bytes = self._kept_bytes = 0

    def _promote(self, key: _KeyT) -> _ValueT | None:
        with self._lock:
            value = self._new.pop(key, None)
            if value is None:
                return self._kept.get(key)
            self.hits += 1
            cost = self._costs[key]
            self._new_bytes -= cost
            self._kept[key] = value
            self._kept_bytes += cost
            while self._kept_bytes > self.maximum - self.maximum // _NEW_SHARE:
                gone, _ = self._kept.popitem(last=False)
                self._kept_bytes -= self._costs.pop(gone)
        return value
