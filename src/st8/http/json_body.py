"""Strict JSON: a request body is taken as it was meant, or not at all.

The usual decoders let two different texts mean one thing (the last of two equal
fields wins, ``NaN`` becomes a number, half a surrogate pair becomes a character).
Here each of these is an error that says where. A well-formed body is paid for once;
only a bad one is looked at again, to say what is wrong with it.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, Final, NoReturn, TypeAlias, TypeVar, cast

import msgspec

from st8.core import limits
from st8.core.errors import (
    InvalidValue,
    LimitExceeded,
    MalformedRequest,
    St8Error,
    UnknownField,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = ["decode"]

T = TypeVar("T", bound=msgspec.Struct)

_Trail: TypeAlias = "tuple[_Trail, str | int] | None"
"""The way to a value: that to what holds it, and its name or place in there."""

_BOM: Final = b"\xef\xbb\xbf"
_INTEGER_DIGITS_SAFE: Final = 18
_NAME_SHOWN_CHARACTERS: Final = 100
_REASON_SHOWN_CHARACTERS: Final = 200
_SHORT_BYTES: Final = 64 * 1024
_SURROGATE_ESCAPE = re.compile(rb"\\u[dD][89a-fA-F]")
_UNKNOWN = re.compile(r"(?s)Object contains unknown field `(?P<name>.*)`")
_MISSING = re.compile(r"(?s)Object missing required field `(?P<name>.*)`")
_STEP = re.compile(r"\.([^.\[\]]+)|\[(\d+|\.\.\.)\]")


class _Repeated(Exception):
    """An object has one field twice."""


class _Mark:
    """Stands in a parsed tree where an object has one field twice."""

    def __init__(self, name: str) -> None:
        self.name = name


def decode(body: bytes, kind: type[T], what: str = "the body") -> T:
    """Return the request that ``body`` holds, which errors call ``what``.

    Raises:
        MalformedRequest: It is not JSON by the letter of RFC 8259, names a field
            twice, has a number that no 64-bit integer holds, or half a surrogate
            pair.
        LimitExceeded: It is nested deeper than ``json_depth_max``.
        UnknownField: It has a field that ``kind`` lacks.
        InvalidValue: A field is missing or of the wrong type.
    """
    if not body:
        raise MalformedRequest(f"{what} is empty; send a JSON object, '{{}}' at least")
    if body.startswith(_BOM):
        raise MalformedRequest(
            f"{what} begins with a byte order mark; JSON is UTF-8 without one"
        )
    if len(body) > _SHORT_BYTES:
        _refuse_early(body, kind, what)
    tree = _parse(body, what)
    if _SURROGATE_ESCAPE.search(body) is not None:
        _refuse_depth(tree, what)
        _refuse_lone_surrogates(tree, what)
    try:
        return msgspec.convert(tree, kind)
    except msgspec.ValidationError as error:
        _refuse_depth(tree, what)
        raise _explain(str(error), kind, what) from None


def _explain(message: str, kind: type[msgspec.Struct], where: str) -> St8Error:
    """Return the error that says what msgspec's ``message`` says."""
    what, at, path = message.rpartition(" - at `")
    if at and path.startswith("$") and path.endswith("`"):
        path = path[:-1]
    else:
        what, path = message, "$"
    if (unknown := _UNKNOWN.fullmatch(what)) is not None:
        place = where if path == "$" else f"{path} of {where}"
        return UnknownField(_shown(unknown["name"]), place, _fields_at(kind, path))
    if (missing := _MISSING.fullmatch(what)) is not None:
        return InvalidValue(f"{path}.{missing['name']}", "is required")
    if len(what) > _REASON_SHOWN_CHARACTERS:
        what = what[:_REASON_SHOWN_CHARACTERS] + "…"
    return InvalidValue(path, what[:1].lower() + what[1:])


def _refuse_early(body: bytes, kind: type[msgspec.Struct], what: str) -> None:
    """Raise at the first place where ``body`` can't be a ``kind``.

    A tree of a body that is made of millions of empty arrays takes thirty times its
    size and holds everybody up while it is built. What is not refused here has the
    shape of a request, though it may say a thing twice.
    """
    try:
        msgspec.json.decode(body, type=kind)
    except msgspec.ValidationError as error:
        raise _explain(str(error), kind, what) from None
    except msgspec.DecodeError as error:
        raise MalformedRequest(f"{what} is not valid JSON: {error}") from None
    except UnicodeDecodeError:
        return  # which is told with its place


def _parse(body: bytes, what: str) -> object:
    """Return the tree of ``body``, with every object's fields seen once."""
    try:
        text = body.decode()
    except UnicodeDecodeError as error:
        raise MalformedRequest(
            f"{what} is not valid UTF-8 at byte {error.start}"
        ) from None
    try:
        return _tree(text, _DECODER, what)
    except _Repeated:
        raise _repetition(text, what) from None


def _tree(text: str, decoder: json.JSONDecoder, what: str) -> object:
    """Return the tree of ``text``.

    Raises:
        MalformedRequest: It is no JSON.
        LimitExceeded: It is nested too deep.
    """
    try:
        return decoder.decode(text)
    except json.JSONDecodeError as error:
        raise MalformedRequest(
            f"{what} is not valid JSON: {error.msg} at line {error.lineno}, "
            f"column {error.colno}"
        ) from None
    except RecursionError:
        raise LimitExceeded(limits.JSON_DEPTH, f"nesting of {what}") from None


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise _Repeated
    return fields


def _marked_object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    for name, value in pairs:
        fields[name] = _Mark(name) if name in fields else value
    return fields


def _integer(digits: str) -> int:
    """Return a number, refusing what no store could keep before it is computed."""
    if len(digits) > _INTEGER_DIGITS_SAFE:
        bits = limits.JSON_INTEGER_BITS.maximum
        edge = 1 << (bits - 1)
        if len(digits) > bits or not -edge <= int(digits) < edge:
            shown = digits if len(digits) <= bits else digits[:bits] + "…"
            raise MalformedRequest(
                f"the number {shown} does not fit into {bits} bits "
                f"({limits.JSON_INTEGER_BITS.name})",
                limit=limits.JSON_INTEGER_BITS.name,
                maximum=bits,
            )
    return int(digits)


def _constant(name: str) -> NoReturn:
    raise MalformedRequest(f"{name} is not JSON")


_DECODER: Final = json.JSONDecoder(
    object_pairs_hook=_object, parse_int=_integer, parse_constant=_constant
)
_MARKING_DECODER: Final = json.JSONDecoder(
    object_pairs_hook=_marked_object, parse_int=_integer, parse_constant=_constant
)


def _repetition(text: str, what: str) -> MalformedRequest:
    """Return the error that says which field of which object is there twice.

    Or what is wrong further on: the text was read only up to the repetition.
    """
    tree = _tree(text, _MARKING_DECODER, what)
    _refuse_depth(tree, what)
    for trail, value in _walk(tree):
        if isinstance(value, _Mark):
            return MalformedRequest(
                f"{what} has the field {_path(trail)} more than once; which is meant?"
            )
    return MalformedRequest(f"{what} has a field more than once")


def _refuse_lone_surrogates(tree: object, what: str) -> None:
    for trail, value in _walk(tree):
        if isinstance(value, str):
            try:
                value.encode()
            except UnicodeEncodeError as error:
                raise MalformedRequest(
                    f"{_path(trail)} of {what} has a lone surrogate at character "
                    f"{error.start}; no UTF-8 can carry it"
                ) from None


def _refuse_depth(tree: object, what: str) -> None:
    """Raise if ``tree`` has more levels of objects and arrays than are allowed."""
    level = [tree]
    for _ in range(limits.JSON_DEPTH.maximum + 1):
        level = [
            child
            for node in level
            for child in _children(node)
            if isinstance(child, (dict, list))
        ]
        if not level:
            return
    raise LimitExceeded(limits.JSON_DEPTH, f"nesting of {what}")


def _children(node: object) -> Iterable[object]:
    if isinstance(node, dict):
        return cast("dict[str, object]", node).values()
    if isinstance(node, list):
        return cast("list[object]", node)
    return ()


def _walk(tree: object) -> Iterator[tuple[_Trail, object]]:
    """Yield every field name and value below ``tree`` with the way to it.

    Names are yielded as values too: they are text that a body brings. Only objects and
    arrays are remembered, each in a few words, however many values there are and
    however long their names.
    """
    waiting: list[tuple[_Trail, object]] = [(None, tree)]
    while waiting:
        trail, node = waiting.pop()
        steps: Iterable[tuple[str | int, object]] = ()
        if isinstance(node, dict):
            steps = cast("dict[str, object]", node).items()
        elif isinstance(node, list):
            steps = enumerate(cast("list[object]", node))
        for step, value in steps:
            yield (trail, step), step
            if isinstance(value, (dict, list)):
                waiting.append(((trail, step), cast("object", value)))
            else:
                yield (trail, step), value


def _path(trail: _Trail) -> str:
    """Return the way to a value as text, such as ``$.documents[1].key``."""
    steps: list[str] = []
    while trail is not None:
        trail, step = trail
        if isinstance(step, int):
            steps.append(f"[{step}]")
        else:
            shown = _shown(step).encode("ascii", "backslashreplace").decode()
            steps.append(f".{shown}")
    return "$" + "".join(reversed(steps))


def _fields_at(kind: type[msgspec.Struct], path: str) -> list[str]:
    """Return the names of the fields of the object at ``path`` of a ``kind``."""
    current: Any = msgspec.inspect.type_info(kind)
    for name, _ in _STEP.findall(path):
        if name:
            fields = {f.encode_name: f.type for f in current.fields}
            current = _one_type(fields.get(name))
        else:
            current = _one_type(current.item_type)
    return [field.encode_name for field in getattr(current, "fields", ())]


def _one_type(kind: Any) -> Any:
    """Return the type without ``None`` and descriptions around it."""
    while True:
        if isinstance(kind, msgspec.inspect.Metadata):
            kind = kind.type
        elif isinstance(kind, msgspec.inspect.UnionType):
            kind = next(
                k for k in kind.types if not isinstance(k, msgspec.inspect.NoneType)
            )
        else:
            return kind


def _shown(name: str) -> str:
    """Return ``name``, or its beginning where it is too long to show."""
    if len(name) <= _NAME_SHOWN_CHARACTERS:
        return name
    return name[:_NAME_SHOWN_CHARACTERS] + "…"
