"""How answers are shown: as text for people, as JSON or YAML for programs.

Every command says what it has to tell once, as a value and as text; ``-o`` picks.
A listing is one document too, ``{"entries": [...]}``, written item by item, so that
a long one costs no memory and its first lines come at once. Field names are those of
the library's results.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar, cast

from st8.cli import output
from st8.core.documents import Change

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from st8.cli.flags import Flags

__all__ = ["listing", "mapping", "one_of_many", "plain", "record"]

T = TypeVar("T")


def record(flags: Flags, value: Mapping[str, Any], text: Callable[[], str]) -> None:
    """Write one answer.

    Args:
        flags: Say the format.
        value: What programs get: texts, numbers, booleans, None, lists and
            mappings of these.
        text: Makes what people get; called for them alone.
    """
    if flags.output == "text":
        output.write(text())
    elif flags.output == "json":
        output.write(_json(value, indent=2) + "\n")
    else:
        output.write(_yaml(value))


def one_of_many(
    flags: Flags, value: Mapping[str, Any], text: Callable[[], str]
) -> None:
    """Write one of answers that come one after the other, without an end.

    As :func:`record`, but JSON is on one line, and YAML a document of its own.
    """
    if flags.output == "text":
        output.write(text())
    elif flags.output == "json":
        output.write(_json(value) + "\n")
    else:
        output.write("---\n" + _yaml(value))


def listing(
    flags: Flags,
    name: str,
    items: Iterable[T],
    *,
    value: Callable[[T], Any],
    text: Callable[[T], str],
    head: Mapping[str, Any] | None = None,
) -> int:
    """Write a list, item by item, and return how many there were.

    Args:
        flags: Say the format.
        name: The field that programs find the list in.
        items: The items; an error they raise on the way is the caller's.
        value: Makes what programs get of an item.
        text: Makes what people get of an item, its line end included.
        head: Fields that programs find before the list.
    """
    count = 0
    if flags.output == "text":
        for item in items:
            count += 1
            output.write(text(item))
    elif flags.output == "json":
        opening = "".join(
            f"  {_json(k)}: {_json(v)},\n" for k, v in (head or {}).items()
        )
        separator = "{\n" + opening + f"  {_json(name)}: ["
        for item in items:
            count += 1
            output.write(f"{separator}\n    {_json(value(item))}")
            separator = ","
        output.write("\n  ]\n}\n" if count else separator + "]\n}\n")
    else:
        output.write(_yaml(head) if head else "")
        for item in items:
            output.write(
                _yaml([value(item)]) if count else _yaml({name: [value(item)]})
            )
            count += 1
        output.write("" if count else _yaml({name: []}))
    return count


def mapping(
    flags: Flags,
    name: str,
    items: Iterable[tuple[str, str]],
    *,
    head: Mapping[str, Any],
) -> int:
    """Write texts by name for programs, one by one, and return how many.

    Args:
        flags: Say the format; not for text.
        name: The field that programs find them in.
        items: Pairs of name and text.
        head: Fields that programs find before them.
    """
    count = 0
    if flags.output == "json":
        opening = "".join(f"  {_json(k)}: {_json(v)},\n" for k, v in head.items())
        separator = "{\n" + opening + f"  {_json(name)}: {{"
        for key, text in items:
            count += 1
            output.write(f"{separator}\n    {_json(key)}: {_json(text)}")
            separator = ","
        output.write("\n  }\n}\n" if count else separator + "}\n}\n")
    else:
        output.write(_yaml(head))
        for key, text in items:
            lines = _yaml({name: {str(key): text}})
            output.write(lines.partition("\n")[2] if count else lines)
            count += 1
        output.write("" if count else _yaml({name: {}}))
    return count


def plain(value: Any) -> Any:
    """Return a result of the library as what :func:`record` takes."""
    whole: object = value  # cast from, as isinstance tells nothing of the members
    if isinstance(value, tuple):
        items = cast("tuple[Any, ...]", whole)
        names: tuple[str, ...] | None = getattr(items, "_fields", None)
        if names is None:
            return [plain(item) for item in items]
        pairs = list(zip(names, items, strict=True))
        if names == Change._fields:
            # What is not there, or was not asked for, is left out as on the wire.
            pairs = [(name, item) for name, item in pairs if item is not None]
        return {name: plain(item) for name, item in pairs}
    if isinstance(value, dict):
        entries = cast("dict[Any, Any]", whole)
        return {str(name): plain(item) for name, item in entries.items()}
    if isinstance(value, list):
        return [plain(item) for item in cast("list[Any]", whole)]
    return str(value) if isinstance(value, str) else value


def _json(value: object, indent: int | None = None) -> str:
    import json

    return json.dumps(value, ensure_ascii=False, indent=indent)


def _yaml(value: object) -> str:
    import yaml

    dumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
    text: str = yaml.dump(
        value,
        Dumper=dumper,
        sort_keys=False,
        allow_unicode=True,
        default_flow_style=False,
    )
    return text
