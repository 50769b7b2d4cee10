"""A state directory that is read without a byte of it being changed.

SQLite changes files even where it only reads: next to a log it makes the index of the
log, and whoever closes the file last tidies up. So a file without a log is opened as
one that can't change. One with a log, as a killed daemon leaves it, is opened without
locks, with the index of the log in memory, and nothing is tidied up.

Neither would notice somebody who writes. So the directory is locked, together with
others that only read.
"""

from __future__ import annotations

import fcntl
import os
from typing import TYPE_CHECKING, Final

import apsw

from st8.core.errors import StateDirectoryInUse, StorageFailed
from st8.store.lock import LOCK_NAME

if TYPE_CHECKING:
    from pathlib import Path

    from st8.store.sql import Connection

__all__ = ["Reading"]

_UNLOCKED: Final = "unix-none"
"""SQLite's own access to files, without its locks."""


class Reading:
    """Keeps writers out of a state directory, and opens its file."""

    def __init__(self, directory: Path, path: Path) -> None:
        """Lock ``directory``, whose file is ``path``, if it was ever locked.

        Raises:
            StateDirectoryInUse: Somebody has it who may write.
            StorageFailed: It can't be locked or read.
        """
        self._directory = directory
        self._path = path
        self._file = -1
        try:
            self._file = os.open(directory / LOCK_NAME, os.O_RDONLY | os.O_CLOEXEC)
            fcntl.flock(self._file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except FileNotFoundError:
            pass  # nobody has ever written here; check() sees who begins to
        except BlockingIOError:
            holder = os.pread(self._file, 256, 0).decode(errors="replace").strip()
            self.close()
            raise StateDirectoryInUse(
                f"state directory {directory} is in use by "
                f"{holder or 'another process'}; ask that one, or stop it first",
                holder=holder,
            ) from None
        except OSError as error:
            self.close()
            raise StorageFailed(f"can't lock {directory}: {error.strerror}") from None
        log = path.with_name(f"{path.name}-wal")
        self._has_log = log.exists() and log.stat().st_size > 0

    def path_and_vfs(self) -> tuple[str, str | None]:
        """Return what SQLite is told to open, and through which VFS."""
        if self._has_log:
            return os.fspath(self._path), _UNLOCKED
        return f"{self._path.absolute().as_uri()}?immutable=1", None

    def prepare(self, connection: Connection) -> None:
        """Set up a connection before it reads anything."""
        connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
        if self._has_log:
            connection.execute("PRAGMA locking_mode = EXCLUSIVE")

    def check(self) -> None:
        """Return if nobody can have written since.

        Raises:
            StorageFailed: What was read may have been changed meanwhile.
        """
        if self._file < 0 and (self._directory / LOCK_NAME).exists():
            raise StorageFailed(
                f"a st8d was started on {self._directory} meanwhile, so what was read "
                "may be torn; begin again"
            )

    def close(self) -> None:
        """Let others write."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1
