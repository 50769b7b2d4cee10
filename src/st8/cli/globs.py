"""Patterns that select files of a directory, and the keys made of them.

``*`` and ``?`` stand for characters of one name, ``[abc]`` and ``[!abc]`` for one of
some, ``**`` for any number of folders. A pattern without ``/`` is about the name of a
file or folder at any depth, one with ``/`` about the path from the directory. What
matches a folder takes all that is below it.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from st8.core.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["Selection", "pattern_of"]


class Selection(NamedTuple):
    """Which files of a directory are read, and which keys go with them.

    Attributes:
        prefix: What stands before the relative path in a key; empty, or it ends
            in ``/``.
        include: Patterns of which one must match; any will do if there is none.
        exclude: Patterns of which none may.
        hidden: Names that begin with a dot are selected too.
    """

    prefix: str = ""
    include: tuple[re.Pattern[str], ...] = ()
    exclude: tuple[re.Pattern[str], ...] = ()
    hidden: bool = False

    @classmethod
    def of(
        cls,
        prefix: str,
        include: Iterable[str],
        exclude: Iterable[str],
        *,
        hidden: bool,
    ) -> Selection:
        """Return what flags say."""
        return cls(
            prefix,
            tuple(map(pattern_of, include)),
            tuple(map(pattern_of, exclude)),
            hidden,
        )

    def leaves_out(self, path: str) -> bool:
        """Return whether a file or folder, and all below it, is left out."""
        name = path.rpartition("/")[2]
        if name.startswith(".") and not self.hidden:
            return True
        return any(pattern.fullmatch(path) for pattern in self.exclude)

    def takes(self, path: str) -> bool:
        """Return whether a file is selected whose folders are not left out."""
        if self.leaves_out(path):
            return False
        return not self.include or any(
            pattern.fullmatch(part)
            for part in _with_folders(path)
            for pattern in self.include
        )

    def takes_key(self, key: str) -> bool:
        """Return whether a file of this key would be selected."""
        if not key.startswith(self.prefix) or key == self.prefix:
            return False
        path = key[len(self.prefix) :]
        return self.takes(path) and not any(map(self.leaves_out, _with_folders(path)))


def _with_folders(path: str) -> list[str]:
    """Return ``path`` and the folders it is in."""
    found = [path]
    while "/" in path:
        path = path.rpartition("/")[0]
        found.append(path)
    return found


def pattern_of(glob: str) -> re.Pattern[str]:
    """Return what matches the whole path of a file or folder.

    Raises:
        InvalidInput: It is no pattern.
    """
    text = glob.removeprefix("./").rstrip("/")
    anchored = "/" in text
    text = text.lstrip("/")
    parts: list[str] = [] if anchored else ["(?:.*/)?"]
    at = 0
    while at < len(text):
        at, part = _next(text, at)
        parts.append(part)
    try:
        return re.compile("".join(parts), re.DOTALL)
    except re.error as error:
        raise InvalidInput(f"{glob!r} is no pattern: {error.msg}") from None


def _next(glob: str, at: int) -> tuple[int, str]:
    """Return the place after the next part of a glob, and its regular expression."""
    if glob.startswith("**", at):
        end = at + len(glob[at:]) - len(glob[at:].lstrip("*"))
        whole = at == 0 or glob[at - 1] == "/"
        if whole and glob.startswith("/", end):
            return end + 1, "(?:.*/)?"
        return end, ".*"
    char = glob[at]
    if char == "*":
        return at + 1, "[^/]*"
    if char == "?":
        return at + 1, "[^/]"
    if char == "[":
        end = glob.find("]", at + 2)
        if end > 0:
            inside = glob[at + 1 : end]
            negated = inside[0] in "!^"
            chars = inside[negated:]
            if chars:
                safe = re.sub(r"([\\\[\]^&~|])", r"\\\1", chars)
                return end + 1, f"(?!/)[{'^' if negated else ''}{safe}]"
    return at + 1, re.escape(char)
