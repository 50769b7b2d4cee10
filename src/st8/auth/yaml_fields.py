"""YAML read strictly: every mistake is told with its file and line.

A policy that is half understood is worse than none, so nothing is passed over:
unknown fields, fields given twice and values of another kind are refused. Scalars
are taken as the text that stands there, so that a token of digits stays one. No
error repeats a value that may be a secret.
"""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, Final, cast

import yaml

from st8.core.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator
    from pathlib import Path

__all__ = ["FILE_BYTES_MAX", "Field", "nearest", "read_bounded", "read_fields"]

FILE_BYTES_MAX: Final = 1024 * 1024
"""Of a policy file or a set of keys: thousands of entries, and no accident."""

_DEPTH_MAX: Final = 32
_TAG: Final = "tag:yaml.org,2002:"
_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class Field:
    """A value of the file, and where it stands."""

    __slots__ = ("_file", "_mark", "_node", "name")

    def __init__(
        self, file: str, node: yaml.Node, name: str, mark: yaml.Mark | None = None
    ) -> None:
        """Hold ``node``, which errors call ``name`` and look for at ``mark``."""
        self._file = file
        self._node = node
        self._mark = mark or node.start_mark
        self.name = name

    def wrong(self, problem: str) -> InvalidInput:
        """Return the error that says what is wrong with it, and where it is."""
        return _wrong(self._file, self._mark, problem)

    @property
    def is_null(self) -> bool:
        """Whether nothing stands there."""
        return bool(self._node.tag == _TAG + "null")

    @property
    def is_list(self) -> bool:
        """Whether it is a list."""
        return isinstance(self._node, yaml.SequenceNode)

    def fields(
        self, known: Collection[str], required: Collection[str] = ()
    ) -> dict[str, Field]:
        """Return its fields by name; those without a value are left out.

        Raises:
            InvalidInput: It has none, one that is not known, one twice, or lacks one
                that is required.
        """
        found: dict[str, Field] = {}
        for key, field in self.pairs():
            if key not in known:
                raise field.wrong(
                    f"{self.name} has no field {key!r}; {nearest(key, known)}"
                )
            if not field.is_null:
                found[key] = field
        for name in required:
            if name not in found:
                raise self.wrong(f"{self.name} needs the field {name!r}")
        return found

    def pairs(self) -> Iterator[tuple[str, Field]]:
        """Yield names with their values; the place of a value is its name's.

        Raises:
            InvalidInput: It holds none, or one of them twice.
        """
        if not isinstance(self._node, yaml.MappingNode):
            raise self.wrong(f"{self.name} must hold names with values")
        seen: set[str] = set()
        pairs = cast("list[tuple[yaml.Node, yaml.Node]]", self._node.value)
        for key_node, value in pairs:
            place = Field(self._file, key_node, "a name")
            key = place.text()
            if key in seen:
                raise place.wrong(f"{self.name} has {key!r} twice")
            seen.add(key)
            yield key, Field(self._file, value, key, key_node.start_mark)

    def items(self, each: str) -> list[Field]:
        """Return the items of a list; errors call one ``each``.

        Raises:
            InvalidInput: It is no list.
        """
        if not isinstance(self._node, yaml.SequenceNode):
            raise self.wrong(f"{self.name} must be a list")
        nodes = cast("list[yaml.Node]", self._node.value)
        return [Field(self._file, node, each) for node in nodes]

    def text(self) -> str:
        """Return it as the text that stands there.

        Raises:
            InvalidInput: It is no text, or none stands there.
        """
        if not isinstance(self._node, yaml.ScalarNode) or self.is_null:
            raise self.wrong(f"{self.name} must be a text")
        return cast("str", self._node.value)

    def texts(self) -> list[tuple[str, Field]]:
        """Return a list of texts, each with its place.

        Raises:
            InvalidInput: It is something else.
        """
        return [(item.text(), item) for item in self.items(f"an item of {self.name}")]

    def flag(self) -> bool:
        """Return whether it is true.

        Raises:
            InvalidInput: It is neither true nor false.
        """
        if self._node.tag == _TAG + "bool" and self.text() in {"true", "false"}:
            return self.text() == "true"
        raise self.wrong(f"{self.name} must be true or false")


def read_fields(path: Path, what: str) -> Field:
    """Return what a YAML file holds; errors call the file ``what``.

    Raises:
        InvalidInput: It can't be read, is too large or is no YAML.
    """
    file = f"{what} {str(path)!r}"
    data = read_bounded(path, what)
    try:
        _check_depth(file, data)
        root = yaml.compose(data, _Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise _wrong(file, mark, _without_values(error.problem)) from None
    except (yaml.YAMLError, RecursionError, ValueError):
        raise _wrong(file, None, "is no YAML in UTF-8") from None
    if root is None or Field(file, root, "").is_null:
        raise _wrong(file, None, "is empty")
    return Field(file, root, "the file")


def read_bounded(path: Path, what: str) -> bytes:
    """Return the bytes of a file, which errors call ``what``.

    Raises:
        InvalidInput: It can't be read, or is larger than :data:`FILE_BYTES_MAX`.
    """
    try:
        with path.open("rb") as file:
            data = file.read(FILE_BYTES_MAX + 1)
    except OSError as error:
        raise InvalidInput(f"can't read {what} {str(path)!r}: {error.strerror}") from (
            None
        )
    if len(data) > FILE_BYTES_MAX:
        raise InvalidInput(
            f"{what} {str(path)!r} is larger than {FILE_BYTES_MAX} bytes"
        )
    return data


def nearest(name: str, known: Collection[str]) -> str:
    """Return the end of a sentence that offers the nearest of ``known``."""
    near = difflib.get_close_matches(name, known, n=1)
    return f"did you mean {near[0]!r}?" if near else f"known are {', '.join(known)}"


def _check_depth(file: str, data: bytes) -> None:
    """Refuse what is nested deeper than any policy; composing it could end st8d.

    The events are read one after the other, which needs no stack.
    """
    depth = 0
    for event in yaml.parse(data, _Loader):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        if depth > _DEPTH_MAX:
            mark = cast("yaml.Mark", event.start_mark)
            raise _wrong(file, mark, f"is nested deeper than {_DEPTH_MAX}")


def _without_values(problem: str | None) -> str:
    """Return a YAML parser's problem, unless it repeats what stands in the file."""
    if problem is None or "'" in problem or '"' in problem:
        return "is no YAML"
    return f"is no YAML: {problem}"


def _wrong(file: str, mark: yaml.Mark | None, problem: str) -> InvalidInput:
    line = f", line {mark.line + 1}" if mark is not None else ""
    return InvalidInput(f"{file}{line}: {problem}")
