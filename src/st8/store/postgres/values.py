"""How values are sent: each with one type, in binary, so that each statement is one.

psycopg sends an integer in the smallest type that holds it, and arrays in the type
of their largest member; a statement would be planned for each mix of types.
"""

from __future__ import annotations

from struct import Struct
from typing import TYPE_CHECKING, Final

import psycopg
from psycopg.adapt import AdaptersMap, Dumper
from psycopg.pq import Format
from psycopg.types.string import StrBinaryDumper

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["ADAPTERS", "Bigints", "Binaries", "Texts"]

_BIGINT_OID: Final = 20
_TEXT_OID: Final = 25
_BYTEA_OID: Final = 17
_BIGINTS_OID: Final = 1016
_TEXTS_OID: Final = 1009
_BINARIES_OID: Final = 1001

_HEAD: Final = Struct("!iiIii")
"""Dimensions, whether there is a null, the type; length and lowest index of one."""
_EMPTY: Final = Struct("!iiI")
_LENGTH: Final = Struct("!i")
_BIGINT: Final = Struct("!q")
_LONG_BIGINT: Final = Struct("!iq")


class Bigints(list[int]):
    """Sent as bigint[]."""


class Texts(list[str]):
    """Sent as text[]."""


class Binaries(list[bytes]):
    """Sent as bytea[]."""


class _BigintDumper(Dumper):
    format = Format.BINARY
    oid = _BIGINT_OID

    def dump(self, obj: int) -> bytes:
        return _BIGINT.pack(obj)


class _BigintsDumper(Dumper):
    format = Format.BINARY
    oid = _BIGINTS_OID

    def dump(self, obj: Bigints) -> bytes:
        members = [_LONG_BIGINT.pack(_BIGINT.size, number) for number in obj]
        return _array(_BIGINT_OID, len(obj), members)


class _BinariesDumper(Dumper):
    format = Format.BINARY
    oid = _BINARIES_OID

    def dump(self, obj: Binaries) -> bytes:
        return _array(_BYTEA_OID, len(obj), _measured(obj))


class _TextsDumper(Dumper):
    format = Format.BINARY
    oid = _TEXTS_OID

    def dump(self, obj: Texts) -> bytes:
        return _array(_TEXT_OID, len(obj), _measured([text.encode() for text in obj]))


def _measured(members: Iterable[bytes]) -> list[bytes]:
    return [part for data in members for part in (_LENGTH.pack(len(data)), data)]


def _array(element: int, size: int, members: list[bytes]) -> bytes:
    """Return an array without nulls as PostgreSQL reads it in binary."""
    if not size:
        return _EMPTY.pack(0, 0, element)
    return b"".join((_HEAD.pack(1, 0, element, size, 1), *members))


def _adapters() -> AdaptersMap:
    found = AdaptersMap(psycopg.adapters)
    found.register_dumper(int, _BigintDumper)
    found.register_dumper(str, StrBinaryDumper)
    found.register_dumper(Bigints, _BigintsDumper)
    found.register_dumper(Texts, _TextsDumper)
    found.register_dumper(Binaries, _BinariesDumper)
    return found


ADAPTERS: Final = _adapters()
"""What a connection is made with."""
