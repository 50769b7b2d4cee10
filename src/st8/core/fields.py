"""Reading what stands in some bytes, part by part."""

from __future__ import annotations

from st8.core import varint

__all__ = ["Fields"]


class Fields:
    """Takes parts from the front of some bytes."""

    def __init__(self, data: bytes) -> None:
        """Begin at the front of ``data``."""
        self._data = data
        self._at = 0

    def take(self, size: int) -> bytes:
        """Return the next ``size`` bytes.

        Raises:
            IndexError: There are fewer.
        """
        part = self._data[self._at : self._at + size]
        if len(part) != size:
            raise IndexError
        self._at += size
        return part

    def integer(self) -> int:
        """Return the next integer of variable length.

        Raises:
            IndexError: It does not end.
        """
        value, self._at = varint.decode(self._data, self._at)
        return value

    def text(self) -> str:
        """Return the next text, its length in bytes before it.

        Raises:
            IndexError: There is less.
            UnicodeDecodeError: It is not UTF-8.
        """
        return self.take(self.integer()).decode()

    def at_end(self) -> bool:
        """Return whether nothing is left."""
        return self._at == len(self._data)
