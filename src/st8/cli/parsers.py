"""Whether documents that say they are JSON, YAML or TOML are.

What a document is, the end of its key says. Nothing is made of what is read, and
nothing is changed: it is only looked at before it is applied, since a service that
can't read its configuration finds out too late. JSON and YAML with a name twice in
one object are refused: readers differ on which of the two counts.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final, NamedTuple, cast

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    import yaml

__all__ = ["Fault", "fault_of"]

_TOO_DEEP: Final = "is nested too deeply"
_DEPTH_MAX: Final = 1_000
"""Levels of YAML; the parser's time grows with the square of the depth."""


class Fault(NamedTuple):
    """Why a text does not parse, and where.

    Attributes:
        line: Counted from 1.
        column: Counted from 1, in characters.
        problem: What is wrong there.
    """

    line: int
    column: int
    problem: str

    def at(self, place: str) -> str:
        """Return it as a sentence about ``place``, a file or a key."""
        return f"{place}:{self.line}:{self.column}: {self.problem}"


def fault_of(key: str, text: str) -> Fault | None:
    """Return what is wrong with a document, or None.

    Args:
        key: Its key; unless it ends in ``.json``, ``.yaml``, ``.yml`` or ``.toml``
            nothing is.
        text: Its content.
    """
    check = _CHECKS.get(key[key.rfind(".") + 1 :].lower()) if "." in key else None
    return check(text) if check else None


def _at(text: str, offset: int, problem: str) -> Fault:
    """Return a fault at a place in ``text``."""
    before = text[:offset]
    return Fault(before.count("\n") + 1, offset - (before.rfind("\n") + 1) + 1, problem)


# --- JSON -----------------------------------------------------------------------

_JSON_PART: Final = r'"(?:[^"\\]|\\.)*"|[{}\[\],:]|[^\s{}\[\],:"]+'
_NUMBERS_THAT_ARE_NONE: Final = frozenset({"NaN", "Infinity", "-Infinity"})


class _TwiceError(Exception):
    """An object has a name twice, or there is a number that JSON has not."""


def _json_fault(text: str) -> Fault | None:
    import json

    try:
        json.loads(
            text,
            object_pairs_hook=_once_each,
            parse_constant=_no_constant,
            # Digits stay text: a number may have more of them than Python reads.
            parse_int=str,
            parse_float=str,
        )
    except json.JSONDecodeError as error:
        problem = error.msg[:1].lower() + error.msg[1:].removesuffix(" at")
        if text.startswith("\ufeff"):
            problem = "begins with a byte order mark"
        return Fault(error.lineno, error.colno, f"not JSON: {problem}")
    except _TwiceError:
        return _json_oddity(text)
    except RecursionError:
        return Fault(1, 1, f"not JSON that can be checked: {_TOO_DEEP}")
    return None


def _once_each(pairs: list[tuple[str, object]]) -> None:
    """Raise if a name is there twice."""
    if len({name for name, _ in pairs}) != len(pairs):
        raise _TwiceError


def _no_constant(_: str) -> None:
    raise _TwiceError


def _json_oddity(text: str) -> Fault:
    """Return the first odd thing in a text that is JSON otherwise.

    It is looked for only once something is known to be there.
    """
    import json

    objects: list[set[str] | None] = []
    name_next = False
    for match in re.finditer(_JSON_PART, text):
        part = match[0]
        if part in "{[":
            objects.append(set() if part == "{" else None)
        elif part in "}]":
            objects.pop()
        elif part in _NUMBERS_THAT_ARE_NONE:
            return _at(text, match.start(), f"not JSON: {part} is no number in it")
        elif name_next and part[0] == '"' and objects[-1] is not None:
            name = cast("str", json.loads(part, strict=False))
            if name in objects[-1]:
                problem = (
                    f"not JSON that is safe to use: the name {name!r} is there twice"
                )
                return _at(text, match.start(), problem)
            objects[-1].add(name)
        name_next = part == "{" or (part == "," and objects[-1] is not None)
    return Fault(1, 1, "not JSON")


# --- YAML -----------------------------------------------------------------------


def _yaml_fault(text: str) -> Fault | None:
    import yaml

    loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        # Events, not nodes: the composer in C goes as deep as the text and crashes.
        return _yaml_oddity(iter(loader(text).get_event, None))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        problem = f"not YAML: {error.problem or error.context or 'it does not parse'}"
        if mark is None:
            return Fault(1, 1, problem)
        return Fault(mark.line + 1, mark.column + 1, problem)
    except yaml.reader.ReaderError as error:
        code = (
            ord(error.character)
            if isinstance(error.character, str)
            else error.character
        )
        # Readers count in units of their own, so the character is looked for.
        offset = max(text.find(chr(code)), 0)
        return _at(text, offset, f"not YAML: the character U+{code:04X} is not allowed")
    except (yaml.YAMLError, RecursionError):
        return Fault(1, 1, f"not YAML that can be checked: {_TOO_DEEP}")


def _yaml_oddity(events: Iterable[yaml.Event]) -> Fault | None:
    """Return the first alias of nothing, or name that is twice in one mapping."""
    import yaml

    scalar = yaml.ScalarEvent
    anchors: set[str] = set()
    open_ones = [_Collection(mapping=False)]
    for event in events:
        if type(event) is scalar:  # most are, and most of them are fine
            if not open_ones[-1].has_twice(event) and event.anchor is None:
                continue
        elif isinstance(event, yaml.CollectionEndEvent):
            open_ones.pop()
            continue
        elif not isinstance(event, yaml.NodeEvent):
            anchors.clear()  # between two documents
            continue
        problem = _node_problem(event, anchors, open_ones)
        if problem is not None:
            return _at_mark(event, problem)
    return None


def _node_problem(
    event: yaml.NodeEvent, anchors: set[str], open_ones: list[_Collection]
) -> str | None:
    """Return what is wrong with the next value, name or alias; open what begins."""
    import yaml

    anchor = event.anchor
    if isinstance(event, yaml.AliasEvent):
        if anchor not in anchors:
            return f"not YAML: nothing is named by the anchor {anchor!r}"
    elif anchor is not None:
        anchors.add(anchor)
    if isinstance(event, yaml.ScalarEvent):
        if open_ones[-1].twice:
            name = str(event.value)
            return f"not YAML that is safe to use: the name {name!r} is there twice"
        return None
    open_ones[-1].has_twice(event)
    if isinstance(event, yaml.CollectionStartEvent):
        if len(open_ones) > _DEPTH_MAX:
            return f"not YAML that can be checked: {_TOO_DEEP}"
        open_ones.append(_Collection(isinstance(event, yaml.MappingStartEvent)))
    return None


def _at_mark(event: yaml.Event, problem: str) -> Fault:
    mark = event.start_mark
    line, column = (0, 0) if mark is None else (mark.line, mark.column)
    return Fault(line + 1, column + 1, problem)


class _Collection:
    """A mapping or sequence whose end has not come, and the names it has so far.

    Attributes:
        twice: What came last is a name that was there before.
    """

    __slots__ = ("_mapping", "_name_next", "_names", "twice")

    def __init__(self, mapping: bool) -> None:
        self.twice = False
        self._mapping = mapping
        self._name_next = mapping
        self._names: dict[str, yaml.NodeEvent] = {}

    def has_twice(self, event: yaml.NodeEvent) -> bool:
        """Take what comes next, and return whether it is a name that was there."""
        if not self._name_next:
            self._name_next = self._mapping
            return False
        self._name_next = False
        name = getattr(event, "value", None)
        if name is None:  # a mapping, a sequence or an alias as a name
            return False
        earlier = self._names.setdefault(name, event)
        if earlier is event or name == "<<":  # which may be repeated
            return False
        # 1 is not "1", as only what is plain may be a number.
        self.twice = _form(earlier) == _form(event)
        return self.twice


def _form(event: yaml.NodeEvent) -> tuple[object, object]:
    """Return how a scalar is written: its tag, and whether it is plain."""
    return getattr(event, "tag", None), getattr(event, "implicit", None)


# --- TOML -----------------------------------------------------------------------

_TOML_DEEP: Final = (
    r"""(?<![\w.\-"'])(?:(?:[\w-]++|"[^"\n]*+"|'[^'\n]*+')[ \t]*+\.[ \t]*+){1000}"""
)
"""A name of so many parts; the parser's time grows with the square of their number."""

_TOML_PLACE: Final = r" \(at (?:line (\d+), column (\d+)|end of document)\)$"


def _toml_fault(text: str) -> Fault | None:
    import tomllib

    deep = re.search(_TOML_DEEP, text)
    if deep is not None:
        return _at(text, deep.start(), f"not TOML that can be checked: {_TOO_DEEP}")
    try:
        tomllib.loads(text, parse_float=str)
    except tomllib.TOMLDecodeError as error:
        message = str(error)
        place = re.search(_TOML_PLACE, message)
        problem = message if place is None else message[: place.start()]
        problem = f"not TOML: {problem[:1].lower()}{problem[1:]}"
        if place is None or place[1] is None:
            return _at(text, len(text), problem)
        return Fault(int(place[1]), int(place[2]), problem)
    except RecursionError:
        return Fault(1, 1, f"not TOML that can be checked: {_TOO_DEEP}")
    except ValueError:
        return Fault(1, 1, "not TOML: a number has too many digits")
    return None


_CHECKS: Final[dict[str, Callable[[str], Fault | None]]] = {
    "json": _json_fault,
    "yaml": _yaml_fault,
    "yml": _yaml_fault,
    "toml": _toml_fault,
}
