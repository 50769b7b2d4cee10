"""Zeros wherever a SQLite file has bytes that it does not use.

``secure_delete`` overwrites a row where it is deleted. But when SQLite balances a tree it
copies rows to other pages and leaves their bytes behind, between those that stay; and
what was deleted at other times is still in pages that are free, or at the end of others
that have taken their place. So after a redaction all that is unused is overwritten.

What is used is read off the pages themselves ("Database File Format", sqlite.org). A
page that does not add up is left as it is: it is damaged, and the verification says so.
"""

from __future__ import annotations

import struct
from struct import Struct, unpack_from
from typing import TYPE_CHECKING, Final, Protocol

from st8.core.errors import Corrupt
from st8.store.schema import PAGE_BYTES

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["PageFile", "erase"]

_U32: Final = Struct(">I")

_INTERIOR_INDEX: Final = 2
_INTERIOR_TABLE: Final = 5
_LEAF_INDEX: Final = 10
_LEAF_TABLE: Final = 13
_HEADER_BYTES: Final = {
    _INTERIOR_INDEX: 12,
    _INTERIOR_TABLE: 12,
    _LEAF_INDEX: 8,
    _LEAF_TABLE: 8,
}
_LOCAL_MAX: Final = {
    _INTERIOR_INDEX: (PAGE_BYTES - 12) * 64 // 255 - 23,
    _LEAF_INDEX: (PAGE_BYTES - 12) * 64 // 255 - 23,
    _LEAF_TABLE: PAGE_BYTES - 35,
}
_LOCAL_MIN: Final = (PAGE_BYTES - 12) * 32 // 255 - 23
_CELL_BYTES_MIN: Final = 4
_OVERFLOW_BYTES: Final = PAGE_BYTES - 4

_MAPPED: Final = PAGE_BYTES // 5
"""Pages whose kinds are in one page of the pointer map, which is before them."""
_FIRST_MAP: Final = 2
_ROOT, _FREE, _OVERFLOW, _OVERFLOW_ON, _TREE = range(1, 6)
_LOCKS: Final = (1 << 30) // PAGE_BYTES + 1
"""The page that is there for locks, and has nothing."""


class PageFile(Protocol):
    """What is read and written of a file; see :class:`apsw.VFSFile`."""

    def xRead(self, amount: int, offset: int) -> bytes:  # noqa: N802 - SQLite's name
        """Return bytes of it."""
        ...

    def xWrite(self, data: bytes, offset: int) -> None:  # noqa: N802
        """Write bytes to it."""
        ...


def erase(file: PageFile, first: int, pages: int) -> int:
    """Overwrite what is unused in up to ``pages`` pages; return where to go on.

    That is 0 at the end; begin with 1. Nobody may write to the file meanwhile, and its
    log must be empty; whoever reads finds the same. It is not synced.

    Raises:
        Corrupt: It is cut off where it says what is free.
        apsw.Error: It can't be read or written.
    """
    try:
        eraser = _Eraser(file)
    except _Damaged:
        raise Corrupt("SQLite's file ends before a page that it says is free") from None
    return eraser.erase(first, pages)


class _Damaged(Exception):
    """A page does not add up."""


class _Eraser:
    """Overwrites some of a file, as it is now."""

    def __init__(self, file: PageFile) -> None:
        self._file = file
        header = self._read(1)[:100]
        self._count: int = _U32.unpack_from(header, 28)[0]
        self._maps: dict[int, bytes] = {}
        self._trunks: set[int] = set()
        self._free: set[int] = set()
        self._find_free(_U32.unpack_from(header, 32)[0])

    def erase(self, first: int, pages: int) -> int:
        after = min(self._count + 1, first + pages)
        for number in range(max(first, _FIRST_MAP), after):
            try:
                self._erase_page(number)
            except (_Damaged, IndexError, struct.error):
                continue
        return after if after <= self._count else 0

    def _erase_page(self, number: int) -> None:
        if number == _LOCKS or _is_map(number):
            return
        kind, _ = self._kind(number)
        if kind in (_ROOT, _TREE):
            page = self._read(number)
            chains: list[tuple[int, int]] = []
            self._put(number, page, _rebuilt(page, chains))
            for first, size in chains:
                self._erase_end(number, first, size)
        elif kind == _FREE and number in self._free:
            self._put(number, self._read(number), bytes(PAGE_BYTES))
        elif kind == _FREE and number in self._trunks:
            page = self._read(number)
            used = 8 + 4 * _U32.unpack_from(page, 4)[0]
            self._put(number, page, page[:used].ljust(PAGE_BYTES, b"\0"))

    def _erase_end(self, owner: int, first: int, size: int) -> None:
        """Overwrite what is behind the end of a chain of overflow pages."""
        before, number, known = owner, first, _OVERFLOW
        while self._kind(number) == (known, before):
            page = self._read(number)
            following = _U32.unpack_from(page)[0]
            if size <= _OVERFLOW_BYTES:
                if not following:
                    used = 4 + size
                    self._put(number, page, page[:used].ljust(PAGE_BYTES, b"\0"))
                return
            size -= _OVERFLOW_BYTES
            before, number, known = number, following, _OVERFLOW_ON

    def _find_free(self, trunk: int) -> None:
        """Find the pages that are free, and those that list them."""
        while trunk and trunk not in self._trunks and trunk <= self._count:
            self._trunks.add(trunk)
            page = self._read(trunk)
            following, listed = unpack_from(">II", page)
            if listed > PAGE_BYTES // 4 - 2:
                return
            self._free.update(unpack_from(f">{listed}I", page, 8))
            trunk = following

    def _kind(self, number: int) -> tuple[int, int]:
        """Return the kind of a page, and which page points to it."""
        if not _FIRST_MAP < number <= self._count:
            raise _Damaged
        at = (number - _FIRST_MAP) // (_MAPPED + 1) * (_MAPPED + 1) + _FIRST_MAP
        page = self._maps.get(at)
        if page is None:
            page = self._maps[at] = self._read(at)
        kind, owner = unpack_from(">BI", page, 5 * (number - at - 1))
        return kind, owner

    def _read(self, number: int) -> bytes:
        data = self._file.xRead(PAGE_BYTES, (number - 1) * PAGE_BYTES)
        if len(data) != PAGE_BYTES:
            raise _Damaged
        return data

    def _put(self, number: int, before: bytes, after: bytes) -> None:
        if before != after:
            self._file.xWrite(after, (number - 1) * PAGE_BYTES)


def _is_map(number: int) -> bool:
    return (number - _FIRST_MAP) % (_MAPPED + 1) == 0


def _rebuilt(page: bytes, chains: list[tuple[int, int]]) -> bytes:
    """Return a page of a tree with zeros where it has nothing.

    ``chains`` gets the overflow pages of its cells: the first of each, and how many bytes
    are in them.

    Raises:
        _Damaged: It does not add up.
    """
    header = _HEADER_BYTES.get(page[0])
    if header is None:
        raise _Damaged
    block, cells, begin = unpack_from(">HHH", page, 1)
    pointers = header + 2 * cells
    rebuilt = bytearray(PAGE_BYTES)
    rebuilt[:pointers] = page[:pointers]
    extents = list(_extents(page, header, cells, chains))
    for start, end in extents:
        rebuilt[start:end] = page[start:end]
    while block:
        following, size = unpack_from(">HH", page, block)
        if size < _CELL_BYTES_MIN or 0 < following < block + size:
            raise _Damaged
        extents.append((block, block + size))
        rebuilt[block : block + 4] = page[block : block + 4]
        block = following
    if not pointers <= begin:
        raise _Damaged
    gaps, position = 0, begin
    for start, end in sorted(extents):
        if not position <= start < end <= PAGE_BYTES:
            raise _Damaged
        gaps += start - position
        position = end
    if gaps + PAGE_BYTES - position != page[7]:
        raise _Damaged
    return bytes(rebuilt)


def _extents(
    page: bytes, header: int, cells: int, chains: list[tuple[int, int]]
) -> Iterator[tuple[int, int]]:
    """Yield where each cell begins and ends."""
    kind = page[0]
    for start in unpack_from(f">{cells}H", page, header):
        at = start + 4 if kind in (_INTERIOR_TABLE, _INTERIOR_INDEX) else start
        size, at = _varint(page, at)  # of an interior table page, the row number
        if kind == _LEAF_TABLE:
            _, at = _varint(page, at)
        if kind != _INTERIOR_TABLE:
            local = _local(kind, size)
            at += local
            if local < size:
                chains.append((_U32.unpack_from(page, at)[0], size - local))
                at += 4
        yield start, max(at, start + _CELL_BYTES_MIN)


def _local(kind: int, size: int) -> int:
    """Return how many bytes of a payload are in the cell itself."""
    most = _LOCAL_MAX[kind]
    if size <= most:
        return size
    some = _LOCAL_MIN + (size - _LOCAL_MIN) % _OVERFLOW_BYTES
    return some if some <= most else _LOCAL_MIN


def _varint(page: bytes, at: int) -> tuple[int, int]:
    """Return an integer of one to nine bytes, and where it ends."""
    value = 0
    for end in range(at, at + 8):
        byte = page[end]
        value = value << 7 | byte & 0x7F
        if byte < 0x80:  # noqa: PLR2004 - the highest bit says that more follow
            return value, end + 1
    return value << 8 | page[at + 8], at + 9
