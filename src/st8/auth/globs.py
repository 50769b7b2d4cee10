r"""Patterns of names, as Go's ``filepath.Match`` has them.

The original's policy files are full of them, so they mean here what they mean there:

- ``*`` alone matches every name; elsewhere it matches any characters but ``/``.
- ``?`` matches one character but ``/``.
- ``[a-z]`` matches one of these characters, ``[^a-z]`` one of all others.
- ``\`` takes the character after it for itself.

What the original passes over in silence, a pattern that can't be read or a range
that holds nothing, is refused.
"""

from __future__ import annotations

import re
from typing import Final

__all__ = ["CHARACTERS_MAX", "Glob"]

CHARACTERS_MAX: Final = 1_024
"""Of one pattern: the longest name with every character escaped, and room."""


class Glob:
    """A pattern that was read once. Immutable; equal patterns are equal.

    Matching costs at most the length of the name times that of the pattern: what a
    ``*`` has taken is not given back once the part after it is found, which finds
    all that there is, as every other part has a fixed length.
    """

    __slots__ = ("_match", "pattern")

    def __init__(self, pattern: str) -> None:
        """Read ``pattern``.

        Raises:
            ValueError: It is no pattern; says why.
        """
        if len(pattern) > CHARACTERS_MAX:
            raise ValueError(
                f"a pattern of {len(pattern)} characters is longer than "
                f"{CHARACTERS_MAX}"
            )
        self.pattern = pattern
        self._match = re.compile(_expression(pattern), re.DOTALL).fullmatch

    def matches(self, name: str, /) -> bool:
        """Return whether ``name`` matches."""
        return self._match(name) is not None

    @property
    def matches_all(self) -> bool:
        """Whether it is ``*``, which matches every name."""
        return self.pattern == "*"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Glob) and self.pattern == other.pattern

    def __hash__(self) -> int:
        return hash(self.pattern)

    def __repr__(self) -> str:
        return f"Glob({self.pattern!r})"


def _expression(pattern: str) -> str:
    """Return the regular expression of ``pattern``.

    Every ``*`` but the last makes an atomic group with what follows it up to the
    next one, so that no match is ever tried in two ways.
    """
    if pattern == "*":
        return ".*"
    parts = _parts(pattern)
    first, *starred = parts
    if not starred:
        return first
    *middle, last = starred
    groups = "".join(f"(?>[^/]*?{part})" for part in middle if part)
    return f"{first}{groups}[^/]*{last}"


def _parts(pattern: str) -> list[str]:
    """Return the expressions between the stars of ``pattern``."""
    parts = [""]
    at = 0
    while at < len(pattern):
        character = pattern[at]
        at += 1
        if character == "*":
            parts.append("")
            continue
        if character == "?":
            expression = "[^/]"
        elif character == "[":
            expression, at = _character_class(pattern, at)
        else:
            if character == "\\":
                if at == len(pattern):
                    raise ValueError(f"the pattern {pattern!r} ends with a backslash")
                character = pattern[at]
                at += 1
            expression = re.escape(character)
        parts[-1] += expression
    return parts


def _character_class(pattern: str, at: int) -> tuple[str, int]:
    """Return the expression of a class that begins before ``at``, and its end."""
    negated = pattern.startswith("^", at)
    at += negated
    ranges = ""
    while not ranges or not pattern.startswith("]", at):
        low, at = _class_character(pattern, at)
        high = low
        if pattern.startswith("-", at):
            high, at = _class_character(pattern, at + 1)
        if high < low:
            raise ValueError(
                f"the range {low}-{high} in the pattern {pattern!r} holds nothing"
            )
        ranges += f"{re.escape(low)}-{re.escape(high)}"
    return f"[{'^' if negated else ''}{ranges}]", at + 1


def _class_character(pattern: str, at: int) -> tuple[str, int]:
    """Return a character of a class, and where the next one is."""
    escaped = pattern.startswith("\\", at)
    at += escaped
    if at >= len(pattern):
        raise ValueError(f"the pattern {pattern!r} has a [ without its ]")
    if not escaped and pattern[at] in "-]":
        raise ValueError(
            f"the pattern {pattern!r} has {pattern[at]!r} where a character of a "
            "class must stand; write a backslash before it"
        )
    return pattern[at], at + 1
