"""A file system for SQLite on which one chosen call fails, and all are counted."""

from __future__ import annotations

import itertools
from collections import Counter
from typing import TYPE_CHECKING, Any

import apsw

if TYPE_CHECKING:
    from collections.abc import Callable

_NAMES = itertools.count()


class FailingVFS(apsw.VFS):
    """Passes all on to the system's VFS, but for the call that is to fail.

    Attributes:
        name: What to open a store with.
        calls: How often each kind of call was made: write, sync, truncate, delete.
        failed: What failed, with the file's end; empty if nothing has.
    """

    def __init__(self) -> None:
        """Register a VFS that fails nothing."""
        self.name = f"failing-{next(_NAMES)}"
        self.calls: Counter[str] = Counter()
        self.failed = ""
        self._kinds: frozenset[str] = frozenset()
        self._left = 0
        self._for_good = False
        self._error: Callable[[], Exception] = apsw.IOError
        super().__init__(self.name, "")

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

    def count(self, kind: str, file: str) -> None:
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
        self.count("delete", _end(filename))
        super().xDelete(filename, syncdir)


class _File(apsw.VFSFile):
    def __init__(
        self,
        vfs: FailingVFS,
        name: str | apsw.URIFilename | None,
        flags: list[int],
    ) -> None:
        self._vfs = vfs
        path = name.filename() if isinstance(name, apsw.URIFilename) else name
        self._end = _end(path or "")
        super().__init__("", name, flags)

    def xWrite(self, data: Any, offset: int) -> None:  # noqa: N802
        self._vfs.count("write", self._end)
        super().xWrite(data, offset)

    def xSync(self, flags: int) -> None:  # noqa: N802
        self._vfs.count("sync", self._end)
        super().xSync(flags)

    def xTruncate(self, newsize: int) -> None:  # noqa: N802
        self._vfs.count("truncate", self._end)
        super().xTruncate(newsize)


def _end(name: str) -> str:
    """Return which of a database's files this is: db, wal or journal."""
    return name.rpartition("-")[2] if name.endswith(("-wal", "-journal")) else "db"
