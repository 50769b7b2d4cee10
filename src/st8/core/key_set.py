"""Sets of keys: what of a state somebody may see or touch.

A set is a few ranges of keys in the order of their UTF-8 bytes, so it cuts a tree as
cheaply as a prefix does.
"""

from __future__ import annotations

from bisect import bisect_right
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = ["ALL_KEYS", "NO_KEYS", "KeyRange", "KeySet", "prefix_end"]

KeyRange = tuple[bytes, bytes | None]
"""Every key from the first, inclusive, to the second, exclusive; None is no end."""


def prefix_end(prefix: bytes) -> bytes | None:
    """Return the first key after all keys that begin with ``prefix``.

    None when there is none, as for the empty prefix. UTF-8 has no ``0xff``, so the
    last byte can always be counted up.
    """
    return prefix[:-1] + bytes((prefix[-1] + 1,)) if prefix else None


class KeySet(NamedTuple):
    """A set of keys. Equal sets are equal values.

    Attributes:
        ranges: Ascending; no two overlap or touch, and none is empty.
    """

    ranges: tuple[KeyRange, ...]

    @classmethod
    def of(cls, ranges: Iterable[KeyRange]) -> KeySet:
        """Return the set of all keys in ``ranges``, which may overlap."""
        joined: list[KeyRange] = []
        for start, end in sorted(ranges, key=_start_of):
            if end is not None and end <= start:
                continue
            if joined:
                last_start, last_end = joined[-1]
                if last_end is None:
                    break
                if start <= last_end:
                    longer = None if end is None else max(end, last_end)
                    joined[-1] = (last_start, longer)
                    continue
            joined.append((start, end))
        return cls(tuple(joined))

    @classmethod
    def under(cls, path: str) -> KeySet:
        """Return the keys at and under ``path``.

        ``app/`` is every key that begins so. ``app`` is the key ``app`` and every
        key that begins with ``app/``, and never ``apple``. The empty path is every
        key.
        """
        encoded = path.encode()
        if not path or path.endswith("/"):
            return cls.of([(encoded, prefix_end(encoded))])
        folder = encoded + b"/"
        return cls.of([(encoded, encoded + b"\0"), (folder, prefix_end(folder))])

    def __or__(self, other: KeySet) -> KeySet:
        """Return the keys that are in one of the two, or in both."""
        return KeySet.of((*self.ranges, *other.ranges))

    def __and__(self, other: KeySet) -> KeySet:
        """Return the keys that are in both."""
        if self is ALL_KEYS or other is ALL_KEYS:
            return other if self is ALL_KEYS else self
        return KeySet.of(
            part for start, end in other.ranges for part in self.clip(start, end)
        )

    def __bool__(self) -> bool:
        """Return whether any key can be in it."""
        return bool(self.ranges)

    def __le__(self, other: object) -> bool:
        """Return whether every key of this set is in ``other``."""
        return isinstance(other, KeySet) and self & other == self

    @property
    def is_all(self) -> bool:
        """Whether every key is in it."""
        return self.ranges == ALL_KEYS.ranges

    def has(self, key: bytes) -> bool:
        """Return whether ``key`` is in it; O(log n) of its ranges."""
        at = bisect_right(self.ranges, key, key=_start_of) - 1
        if at < 0:
            return False
        _, end = self.ranges[at]
        return end is None or key < end

    def clip(self, start: bytes, end: bytes | None) -> Iterator[KeyRange]:
        """Yield what the set has of a range, in order."""
        for first, last in self.ranges:
            low = max(first, start)
            high = last if end is None else end if last is None else min(last, end)
            if high is None or low < high:
                yield low, high


def _start_of(keys: KeyRange) -> bytes:
    return keys[0]


ALL_KEYS: Final = KeySet(((b"", None),))
NO_KEYS: Final = KeySet(())
