"""Strict query strings: every byte is understood, or the request is refused.

Lenient decoders turn invalid UTF-8 into U+FFFD, so that two keys become one, and
drop what they do not know, so that a mistyped parameter widens a read. Here a
parameter has a name and a type that a Struct declares, and appears once unless it
is a list.
"""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

import msgspec

from st8.core import limits
from st8.core.errors import InvalidValue, MalformedRequest, UnknownField

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from st8.http.queries import Query

__all__ = ["QueryParser"]

Q = TypeVar("Q", bound="Query")

_ESCAPE = re.compile(rb"%([0-9a-fA-F]{2})?")
_INTEGER = re.compile(r"-?[0-9]{1,19}")
_INTEGER_MAX: Final = (1 << (limits.JSON_INTEGER_BITS.maximum - 1)) - 1
_SHOWN_CHARACTERS: Final = 100
_REASON_SHOWN_CHARACTERS: Final = 200


class QueryParser(Generic[Q]):
    """Reads the query strings of one operation.

    Attributes:
        kind: The Struct that declares the parameters.
        where: What an error calls the query, such as ``query of GET /v1/state``.
    """

    def __init__(self, kind: type[Q], where: str) -> None:
        """Learn the parameters of ``kind``."""
        self.kind = kind
        self.where = where
        self._readers = _readers(kind)

    def parse(self, query: bytes) -> Q:
        """Return the parameters.

        Raises:
            MalformedRequest: A percent escape is broken, or is not UTF-8; or a
                number has more than 64 bits.
            UnknownField: A parameter does not exist.
            InvalidValue: One is given twice, or its value is of the wrong type.
        """
        if not query:
            return self.kind()
        values: dict[str, Any] = {}
        for part in query.split(b"&"):
            if not part:
                continue
            raw_name, _, raw_value = part.partition(b"=")
            name = _decoded(raw_name)
            text = _decoded(raw_value)
            reader = self._readers.get(name)
            if reader is None:
                raise UnknownField(name[:_SHOWN_CHARACTERS], self.where, self._readers)
            if reader is _list:
                values.setdefault(name, []).append(text)
            elif name in values:
                raise InvalidValue(name, "is given twice; which is meant?")
            else:
                values[name] = reader(name, text)
        try:
            return msgspec.convert(values, self.kind)
        except msgspec.ValidationError as error:
            what, _, path = str(error).rpartition(" - at ")
            field = path.strip("`").removeprefix("$.")
            shown = what[:1].lower() + what[1:_REASON_SHOWN_CHARACTERS]
            raise InvalidValue(field, shown) from None


def _decoded(raw: bytes) -> str:
    """Return the text that a percent-encoded part of a query stands for."""
    if b"%" in raw or b"+" in raw:
        raw = _ESCAPE.sub(_byte, raw.replace(b"+", b" "))
    try:
        return raw.decode()
    except UnicodeDecodeError:
        raise MalformedRequest(
            "the query is not valid UTF-8 once its percent escapes are resolved"
        ) from None


def _byte(match: re.Match[bytes]) -> bytes:
    digits = match[1]
    if digits is None:
        raise MalformedRequest(
            "the query has a '%' without two hexadecimal digits behind it; a '%' "
            "itself is written %25"
        )
    return bytes((int(digits, 16),))


@cache  # looking into a type takes longer than all else of making an app
def _readers(kind: type[Query]) -> Mapping[str, Callable[[str, str], Any]]:
    """Return what reads the parameters of ``kind``, by their names.

    Raises:
        TypeError: It is no Struct.
    """
    info = msgspec.inspect.type_info(kind)
    if not isinstance(info, msgspec.inspect.StructType):
        raise TypeError(kind)
    return {f.encode_name: _reader(f.type) for f in info.fields}


def _reader(kind: msgspec.inspect.Type) -> Callable[[str, str], Any]:
    """Return what reads values of ``kind``."""
    while isinstance(kind, msgspec.inspect.Metadata):
        kind = kind.type
    if isinstance(kind, msgspec.inspect.IntType):
        return _integer
    if isinstance(kind, msgspec.inspect.BoolType):
        return _boolean
    if isinstance(kind, msgspec.inspect.ListType):
        return _list
    return _text


def _text(_name: str, text: str) -> str:
    return text


def _list(_name: str, text: str) -> str:
    return text


def _integer(name: str, text: str) -> int:
    if _INTEGER.fullmatch(text) is None:
        digits = text.removeprefix("-")
        if digits.isascii() and digits.isdigit():
            raise _too_large(name)
        shown = text[:_SHOWN_CHARACTERS]
        raise InvalidValue(name, f"{shown!r} is not a whole number")
    number = int(text)
    if not -_INTEGER_MAX - 1 <= number <= _INTEGER_MAX:
        raise _too_large(name)
    return number


def _too_large(name: str) -> MalformedRequest:
    limit = limits.JSON_INTEGER_BITS
    return MalformedRequest(
        f"the number of {name} does not fit into {limit.maximum} bits ({limit.name})",
        limit=limit.name,
        maximum=limit.maximum,
    )


def _boolean(name: str, text: str) -> bool:
    if text not in {"true", "false"}:
        shown = text[:_SHOWN_CHARACTERS]
        raise InvalidValue(name, f"{shown!r} is neither 'true' nor 'false'")
    return text == "true"
