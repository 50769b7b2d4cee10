"""Names of st8 as names in a git repository, and back.

Git does not take every name for a branch or a file, and none beside a longer one that
goes on with ``/``, as a file is no directory. So what git does not take is written as
``%`` and the two hexadecimal digits of each byte, as is ``%`` itself, and a name that
is also a directory of others has a single ``%`` at its end. A part of a name that is
too long for a file system is broken up by ``%%/%%``.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["Names", "path_of", "ref_of", "unescaped"]

_REF: Final = re.compile(
    r"[\0-\x20\x7f~^:?*\[\\%]"
    r"|(?:^|(?<=/))\.|\.(?=\.|/|$|lock(?:/|$))|(?<=\.)\."
    r"|^-|^/|/$|(?<=/)/|@(?=\{)|^@$|^HEAD$"
)
# What file systems leave out of names, so that .git could be written in other ways,
# as it could by the short names of others.
_IGNORED: Final = "[\u200c-\u200f\u202a-\u202e\u2060-\u206f\ufeff]*"
_GIT: Final = _IGNORED.join(["", *"git", ""])
_MODULES: Final = _IGNORED.join([*"modules", ""])
# With them git would read and write other bytes than those that st8 has.
_ATTRIBUTES: Final = _IGNORED.join([*"attributes", ""])
_PATH: Final = re.compile(
    rf"[%\\]|^/|/$|(?<=/)/"
    rf"|(?:^|(?<=/))(?:{_IGNORED}\.(?={_GIT}(?:{_MODULES}|{_ATTRIBUTES})?[ .]*(?:[/:]|$))"
    rf"|g(?=i[^/]{{0,6}}~[0-9]))",
    re.IGNORECASE,
)
_PART_MAX: Final = 240
"""Bytes in a part of a name: file systems take 255, and git writes ``.lock`` behind."""
_BREAK: Final = "%%/%%"
_UNIT: Final = re.compile(r"%[0-9A-F]{2}|[^%]")
_LONG: Final = re.compile(rf"[^/]{{{_PART_MAX // 4},}}")
_ESCAPED: Final = re.compile(r"(?:%[0-9A-F]{2})+")


class Names:
    """The names of one kind, written so that none is a directory of another.

    Args:
        names: All of them, as git may have them.
    """

    def __init__(self, names: Iterable[str]) -> None:
        """Learn which of the names are directories of others."""
        self._directories: set[str] = set()
        for name in names:
            end = name.rfind("/")
            while end > 0 and name[:end] not in self._directories:
                self._directories.add(name[:end])
                end = name.rfind("/", 0, end)

    def __getitem__(self, name: str) -> str:
        """Return how a name is written."""
        return f"{name}%" if name in self._directories else name


def ref_of(name: str) -> str:
    """Return the name of a branch or checkpoint as git has it, without its ``refs/``."""
    return _LONG.sub(_broken, _REF.sub(_escape, name))


def path_of(key: str) -> str:
    """Return a document's key as the path of a file in git."""
    return _LONG.sub(_broken, _PATH.sub(_escape, key))


def unescaped(written: str) -> str:
    """Return the name that was written so."""
    whole = written.replace(_BREAK, "").removesuffix("%")
    return _ESCAPED.sub(_unescape, whole)


def _broken(match: re.Match[str]) -> str:
    """Return a part of a name in as many parts as it needs."""
    parts, size = [""], 0
    for unit in _UNIT.findall(match[0]):
        size += len(unit.encode())
        if size > _PART_MAX:
            parts.append("")
            size = len(unit.encode())
        parts[-1] += unit
    return _BREAK.join(parts)


def _escape(match: re.Match[str]) -> str:
    return "".join(f"%{byte:02X}" for byte in match[0].encode())


def _unescape(match: re.Match[str]) -> str:
    return bytes.fromhex(match[0].replace("%", "")).decode(errors="replace")
