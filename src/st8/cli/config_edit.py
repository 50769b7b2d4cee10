"""Changes to the configuration file that leave the rest of it as it is.

A value is put in its place in the text, so comments, order and spelling of
everything else stay. What comes out is read again before it is written: a file that
st8ctl would refuse is never left behind.
"""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, Final, cast

from st8.cli.config_file import parse
from st8.core.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Sequence

    import yaml

    Pairs = list[tuple[yaml.Node, yaml.Node]]

__all__ = ["put", "read_text", "remove", "save"]

_INDENT: Final = 2
_MODE: Final = 0o600


def read_text(path: str) -> str:
    """Return the text of the file; ``""`` if there is none.

    Raises:
        InvalidInput: It can't be read.
    """
    try:
        with open(path, encoding="utf-8", newline="") as file:
            return file.read()
    except FileNotFoundError:
        return ""
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise InvalidInput(
            f"can't read configuration file {path!r}: {reason}"
        ) from error


def put(text: str, path: Sequence[str], value: str) -> str:
    """Return ``text`` with ``value`` at ``path``, such as ``("server", "url")``.

    Args:
        text: A file that can be read.
        path: The names that lead there; those that are missing are added.
        value: A text.
    """
    root = _compose(text)
    if root is None or _is_null(root):
        return _with_line_end(text) + _block(path, value, 0)
    node = root
    is_flow = False
    for depth, name in enumerate(path):
        is_flow = is_flow or bool(getattr(node, "flow_style", False))
        pairs = cast("Pairs", node.value)
        found = next(((k, v) for k, v in pairs if k.value == name), None)
        rest = path[depth:]
        if found is None:
            return _with_entry(text, node, rest, value)
        key, below = found
        if len(rest) == 1:
            return _with_value(text, below, _scalar(value, is_flow=is_flow))
        if _is_null(below):
            return _with_first_entry(text, key, below, rest[1:], value)
        node = below
    return text


def remove(text: str, path: Sequence[str]) -> str:
    """Return ``text`` without what is at ``path``; as it is if nothing is there."""
    node = _compose(text)
    for depth, name in enumerate(path):
        if node is None or _is_null(node):
            return text
        pairs = cast("Pairs", node.value)
        found = next(((k, v) for k, v in pairs if k.value == name), None)
        if found is None:
            return text
        key, below = found
        if depth == len(path) - 1:
            if getattr(node, "flow_style", False):
                return text[: below.start_mark.index] + "null" + _from(text, below)
            start = text.rfind("\n", 0, key.start_mark.index) + 1
            return text[:start] + text[_end_of(text, key, below) :]
        node = below
    return text


def save(path: str, text: str) -> None:
    """Write the file, whole or not at all, for its owner alone to read.

    Raises:
        InvalidInput: It would be no good, or can't be written.
    """
    parse(path, text.encode())
    place = os.path.realpath(path)
    folder = os.path.dirname(place)
    temporary = os.path.join(
        folder, f".{os.path.basename(place)}.{os.urandom(4).hex()}"
    )
    try:
        os.makedirs(folder, mode=0o700, exist_ok=True)
        try:
            number = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _MODE)
            with open(number, "wb") as file:
                file.write(text.encode())
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, place)
        except OSError:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
            raise
    except OSError as error:
        raise InvalidInput(
            f"can't write configuration file {path!r}: {error.strerror}"
        ) from error


def _compose(text: str) -> yaml.Node | None:
    """Return the root; its marks count the characters of ``text``."""
    import yaml

    return yaml.compose(text, yaml.SafeLoader)


def _with_value(text: str, node: yaml.Node, scalar: str) -> str:
    """Return ``text`` with another scalar in place of one."""
    start, end = node.start_mark.index, node.end_mark.index
    old = text[start:end]
    gap = " " if text[start - 1 : start] == ":" else ""
    line_end = "\n" if old.endswith("\n") else ""
    return text[:start] + gap + scalar + line_end + text[end:]


def _with_entry(text: str, node: yaml.Node, rest: Sequence[str], value: str) -> str:
    """Return ``text`` with one more entry at the end of a mapping."""
    pairs = cast("Pairs", node.value)
    if getattr(node, "flow_style", False) or not pairs:
        end = node.end_mark.index - 1
        before = text[:end].rstrip()
        comma = "" if before.endswith(("{", ",")) else ","
        space = "" if before.endswith("{") else " "
        return f"{before}{comma}{space}{_flow(rest, value)}{text[end:]}"
    key, last = pairs[-1]
    end = _end_of(text, key, last)
    return (
        _with_line_end(text[:end])
        + _block(rest, value, node.start_mark.column)
        + text[end:]
    )


def _with_first_entry(
    text: str, key: yaml.Node, null: yaml.Node, rest: Sequence[str], value: str
) -> str:
    """Return ``text`` with an entry where there was nothing, or ``null``."""
    if null.start_mark.index < null.end_mark.index:
        flow = "{" + _flow(rest, value) + "}"
        return text[: null.start_mark.index] + flow + _from(text, null)
    end = _line_end(text, key.end_mark.index)
    block = _block(rest, value, key.start_mark.column + _INDENT)
    return _with_line_end(text[:end]) + block + text[end:]


def _from(text: str, node: yaml.Node) -> str:
    return text[node.end_mark.index :]


def _end_of(text: str, key: yaml.Node, value: yaml.Node) -> int:
    """Return where the line after an entry begins, its comment included."""
    if getattr(value, "flow_style", None) is False and value.value:
        pairs = cast("Pairs", value.value)
        return _end_of(text, *pairs[-1])
    end = max(key.end_mark.index, value.end_mark.index)
    if text[end - 1 : end] == "\n":
        return end
    return _line_end(text, end)


def _line_end(text: str, index: int) -> int:
    """Return where the next line begins."""
    found = text.find("\n", index)
    return len(text) if found < 0 else found + 1


def _with_line_end(text: str) -> str:
    return text if not text or text.endswith("\n") else text + "\n"


def _block(path: Sequence[str], value: str, column: int) -> str:
    """Return the lines of an entry."""
    lines = [
        " " * (column + _INDENT * depth) + _scalar(name) + ":\n"
        for depth, name in enumerate(path)
    ]
    return "".join(lines)[:-1] + f" {_scalar(value)}\n"


def _flow(path: Sequence[str], value: str) -> str:
    """Return an entry within braces."""
    opened = ": {".join(_scalar(name, is_flow=True) for name in path)
    return f"{opened}: {_scalar(value, is_flow=True)}" + "}" * (len(path) - 1)


def _scalar(value: str, *, is_flow: bool = False) -> str:
    """Return a text as YAML has it, in quotation marks where it needs them."""
    import yaml

    if is_flow:
        text = yaml.safe_dump(
            [value], default_flow_style=True, allow_unicode=True, width=1_000_000
        )
        return str(text).strip()[1:-1]
    text = yaml.safe_dump(value, allow_unicode=True, width=1_000_000)
    return str(text).removesuffix("...\n").strip()


def _is_null(node: yaml.Node) -> bool:
    return bool(node.tag == "tag:yaml.org,2002:null")
