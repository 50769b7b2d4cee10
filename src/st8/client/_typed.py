"""Documents of JSON as values of a program's own types, checked."""

from __future__ import annotations

import dataclasses
import json
import sys
import types
from typing import TYPE_CHECKING, Any, Literal, Union, cast, get_args, get_origin

from st8.core.errors import InvalidValue

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["convert"]


def convert(key: str, content: str, kind: Callable[..., object]) -> object:
    """Return what a document holds as a value of ``kind``.

    A dataclass takes an object with its fields: those without a default must be
    there, and others are passed over, so that a document may have what only a newer
    program knows. Types are compared strictly, but a whole number is also a float.

    Args:
        key: The document's key, for error texts.
        content: JSON.
        kind: A dataclass, a ``msgspec.Struct``, or a function of the parsed JSON.

    Raises:
        InvalidValue: It is not JSON, or does not fit.
    """
    name = getattr(kind, "__name__", "value")
    try:
        return _converted(content, kind)
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise InvalidValue(key, f"is no {name}: {error}") from error


def _converted(content: str, kind: Any) -> object:
    msgspec: Any = sys.modules.get("msgspec")  # it is loaded if there is a Struct
    if msgspec and isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        return cast("object", msgspec.json.decode(content, type=kind))
    value = cast("object", json.loads(content))
    if isinstance(kind, type) and dataclasses.is_dataclass(kind):
        return _fitted(value, kind, "")
    return cast("object", kind(value))


def _fitted(value: object, kind: Any, place: str) -> object:
    """Return ``value`` as ``kind``, a type as annotations have it.

    Raises:
        ValueError: It does not fit; says where.
    """
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in {Union, types.UnionType}:
        return _one_of(value, arguments, place)
    if origin is Literal:
        if any(value == a and type(value) is type(a) for a in arguments):
            return value
        raise _misfit(place, " or ".join(map(repr, arguments)))
    if dataclasses.is_dataclass(kind):
        return _object(value, kind, place)
    if kind in {list, tuple, dict} or origin in {list, tuple, dict}:
        return _collection(value, origin or kind, arguments, place)
    if kind is Any or kind is object:
        return value
    return _scalar(value, kind, place)


def _scalar(value: object, kind: Any, place: str) -> object:
    if kind is None or kind is type(None):
        if value is None:
            return None
        raise _misfit(place, "null")
    if kind is float and type(value) is int:
        return float(value)
    if kind in {str, int, float, bool}:
        if type(value) is kind:
            return value
        raise _misfit(place, kind.__name__)
    raise TypeError(f"{place or 'the type'}: {kind!r} can't be read from JSON")


def _one_of(value: object, kinds: tuple[Any, ...], place: str) -> object:
    problems: list[str] = []
    for kind in kinds:
        try:
            return _fitted(value, kind, place)
        except ValueError as error:
            problems.append(str(error))
    raise ValueError("; or ".join(problems))


def _object(value: object, kind: Any, place: str) -> object:
    from typing import get_type_hints  # noqa: PLC0415 - reads what annotations name

    if not isinstance(value, dict):
        raise _misfit(place, "an object")
    given = cast("dict[str, object]", value)
    hints = get_type_hints(kind)
    arguments: dict[str, object] = {}
    for field in dataclasses.fields(kind):
        if not field.init:
            continue
        inner = f"{place}.{field.name}" if place else field.name
        if field.name in given:
            arguments[field.name] = _fitted(given[field.name], hints[field.name], inner)
        elif (
            field.default is dataclasses.MISSING
            and field.default_factory is dataclasses.MISSING
        ):
            raise ValueError(f"{inner} is missing")
    made: object = kind(**arguments)
    return made


def _collection(
    value: object, kind: Any, arguments: tuple[Any, ...], place: str
) -> object:
    if kind is dict:
        if not isinstance(value, dict):
            raise _misfit(place, "an object")
        of = arguments[1] if arguments else Any
        pairs = cast("dict[str, object]", value)
        return {name: _fitted(v, of, f"{place}[{name!r}]") for name, v in pairs.items()}
    if not isinstance(value, list):
        raise _misfit(place, "a list")
    items = cast("list[object]", value)
    if kind is tuple and arguments and arguments[-1] is not Ellipsis:
        if len(items) != len(arguments):
            raise _misfit(place, f"a list of {len(arguments)}")
        kinds = arguments
    else:
        kinds = (arguments[0] if arguments else Any,) * len(items)
    fitted = [
        _fitted(item, of, f"{place}[{number}]")
        for number, (item, of) in enumerate(zip(items, kinds, strict=True))
    ]
    return tuple(fitted) if kind is tuple else fitted


def _misfit(place: str, expected: str) -> ValueError:
    return ValueError(f"{place or 'it'} must be {expected}")
