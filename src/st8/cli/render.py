"""How answers are shown: as text for people, as JSON or YAML for programs.

Every command says what it has to tell once, as a value and as text; ``-o`` picks.
A listing is one document too, ``{"entries": [...]}``, written item by item, so that
a long one costs no memory and its first lines come at once. Field names are those of
the library's results.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from st8.cli import output

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from st8.cli.flags import Flags

__all__ = ["listing", "plain", "record"]

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


def plain(value: Any) -> Any:
    """Return a result of the library as what :func:`record` takes."""
    if isinstance(value, tuple):
        names = getattr(value, "_fields", None)
        if names is None:
            return [plain(item) for item in value]
        return {name: plain(getattr(value, name)) for name in names}
    if isinstance(value, dict):
        return {str(name): plain(item) for name, item in value.items()}
    if isinstance(value, list):
        return [plain(item) for item in value]
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
