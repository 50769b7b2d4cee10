"""The exclusive lock on a state directory."""

from __future__ import annotations

import fcntl
import os
from typing import TYPE_CHECKING, Final

from st8.core.errors import StateDirectoryInUse, StorageFailed

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["DirectoryLock"]

LOCK_NAME: Final = "lock"


class DirectoryLock:
    """Holds a state directory for this process until it is released or dies.

    The kernel lets go when the process ends, however it ends, so a lock file that
    was left behind is no obstacle.
    """

    def __init__(self, directory: Path) -> None:
        """Take the lock.

        Raises:
            StateDirectoryInUse: Another process holds it; says which.
            StorageFailed: The lock file can't be made or locked.
        """
        path = directory / LOCK_NAME
        try:
            self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise StorageFailed(
                f"can't open {path}: {error.strerror}; the state directory must be "
                "writable by the user that st8d runs as"
            ) from None
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(self._file, 256, 0).decode(errors="replace").strip()
            os.close(self._file)
            raise StateDirectoryInUse(
                f"state directory {directory} is in use by "
                f"{holder or 'another process'}; stop that one or choose another "
                "--state-dir",
                holder=holder,
            ) from None
        except OSError as error:
            os.close(self._file)
            raise StorageFailed(f"can't lock {path}: {error.strerror}") from None
        os.ftruncate(self._file, 0)
        os.pwrite(self._file, f"process {os.getpid()}\n".encode(), 0)

    def release(self) -> None:
        """Let go; the file stays, since deleting it would let two processes in."""
        if self._file >= 0:
            os.ftruncate(self._file, 0)
            os.close(self._file)
            self._file = -1
