"""A disk below SQLite on which one chosen call fails, and all are counted."""

from __future__ import annotations

import itertools
from collections import Counter
from typing import TYPE_CHECKING, Any, Final

import apsw

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["FailingDisk"]

_NAMES: Final = itertools.count()


class FailingDisk(apsw.VFS):
    """Passes all on to the system's VFS, but for the call that is to fail.

    Attributes:
        name: What to open a store with.
        calls: How often each kind of call was made: write, sync, truncate, delete.
        failed: What failed, with the file's end; empty if nothing has.
        system: The VFS behind it: what SQLite took by default before.
    """

    def __init__(self, *, default: bool = False) -> None:
        """Register a VFS that fails nothing, as what SQLite takes by ``default``."""
        self.name = f"failing-{next(_NAMES)}"
        self.calls: Counter[str] = Counter()
        self.failed = ""
        self._kinds: frozenset[str] = frozenset()
        self._left = 0
        self._for_good = False
        self._short = False
        self._error: Callable[[], Exception] = apsw.IOError
        self.system = apsw.vfs_names()[0]
        super().__init__(self.name, self.system, makedefault=default)

    def fail(
        self, *kinds: str, after: int, error: Callable[[], Exception] = apsw.IOError
    ) -> None:
        """Let the next call of ``kinds`` but ``after`` fail, once."""
        self._kinds = frozenset(kinds)
        self._left = after + 1
        self._error = error

    def die(self, *, after: int) -> None:
        """Let every call that changes something fail, but the next ``after``.

        What is on the disk then stays as it is, as when the process was killed.
        """
        self.fail("write", "sync", "truncate", "delete", after=after)
        self._for_good = True

    def fail_no_more(self) -> None:
        """Let all calls pass from now on."""
        self._left = 0
        self._for_good = False

    def shorten(self) -> None:
        """Let the next write fail when half of it is written."""
        self._short = True

    def takes_half(self) -> bool:
        """Return whether a write is the one that is cut short."""
        short, self._short = self._short, False
        return short

    def take_space(self, size: int) -> None:
        """Do nothing, before a write of so many bytes; for those who inherit."""

    def after(self, kind: str, file: str) -> None:
        """Do nothing, after a call has succeeded; for those who inherit."""

    def before(self, kind: str, file: str) -> None:
        """Note a call, and raise if it is the one."""
        self.calls[kind] += 1
        self.calls[f"{kind} {file}"] += 1
        if kind not in self._kinds:
            return
        if self._left > 1:
            self._left -= 1
        elif self._left:
            self._left = int(self._for_good)
            self.failed = self.failed or f"{kind} {file}"
            raise self._error()

    def xOpen(  # noqa: N802 - apsw's name
        self, name: str | apsw.URIFilename | None, flags: list[int]
    ) -> apsw.VFSFile:
        """Open a file whose calls are counted."""
        return _File(self, name, flags)

    def xDelete(self, filename: str, syncdir: bool) -> None:  # noqa: N802
        """Delete a file, or fail."""
        self.before("delete", _end(filename))
        super().xDelete(filename, syncdir)


class _File(apsw.VFSFile):
    def __init__(
        self,
        vfs: FailingDisk,
        name: str | apsw.URIFilename | None,
        flags: list[int],
    ) -> None:
        self._vfs = vfs
        path = name.filename() if isinstance(name, apsw.URIFilename) else name
        self._end = _end(path or "")
        super().__init__(vfs.system, name, flags)

    def xWrite(self, data: Any, offset: int) -> None:  # noqa: N802
        self._vfs.before("write", self._end)
        self._vfs.take_space(len(data))
        if self._vfs.takes_half():
            half = bytes(data)[: len(data) // 2]
            super().xWrite(half, offset)  # pyright: ignore[reportUnknownMemberType]
            raise apsw.IOError
        # apsw's hints name a buffer type that type checkers can't follow.
        super().xWrite(data, offset)  # pyright: ignore[reportUnknownMemberType]
        self._vfs.after("write", self._end)

    def xSync(self, flags: int) -> None:  # noqa: N802
        self._vfs.before("sync", self._end)
        super().xSync(flags)
        self._vfs.after("sync", self._end)

    def xTruncate(self, newsize: int) -> None:  # noqa: N802
        self._vfs.before("truncate", self._end)
        super().xTruncate(newsize)

    def xLock(self, level: int) -> None:  # noqa: N802
        try:
            super().xLock(level)
        except apsw.IOError as error:
            # A file that is open for reading can't be locked for writing. SQLite tries
            # that as it closes one and is content, but apsw would not be.
            raise apsw.BusyError from error


def _end(name: str) -> str:
    """Return which of a database's files this is: db, wal or journal."""
    return name.rpartition("-")[2] if name.endswith(("-wal", "-journal")) else "db"
