"""The exclusive lock on a state directory, and turns of those who share it."""

from __future__ import annotations

import fcntl
import os
import threading
from typing import TYPE_CHECKING, Final

from st8.core.errors import StateDirectoryInUse, StorageFailed

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["LOCK_NAME", "Claim", "DirectoryLock", "Turns"]

LOCK_NAME: Final = "lock"
_CLAIM_NAME: Final = "collecting"


class DirectoryLock:
    """Holds a state directory for this process until it is released or dies.

    The kernel lets go when the process ends, however it ends, so a lock file that
    was left behind is no obstacle. Processes that are forked meanwhile hold it too,
    until the last of them ends.
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

    def close(self) -> None:
        """Let go; the file stays, since deleting it would let two processes in."""
        if self._file >= 0:
            os.ftruncate(self._file, 0)
            os.close(self._file)
            self._file = -1


class Turns:
    """Turns of several processes in one directory: a block that one is in at a time.

    And one thread of it, which may enter again. Whoever waits sleeps until the turn
    is free; it is free when its process ends, however it ends. The directory itself
    is locked, so there is no file to be made.
    """

    def __init__(self, directory: Path) -> None:
        """Take part in the turns of ``directory``.

        Raises:
            StorageFailed: It can't be opened.
        """
        try:
            self._file = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            raise StorageFailed(f"can't open {directory}: {error.strerror}") from None
        self._directory = directory
        self._thread = threading.RLock()
        self._depth = 0

    def __enter__(self) -> None:
        """Wait for the turn, and take it.

        Raises:
            StorageFailed: The file system has no locks.
        """
        self._thread.acquire()
        try:
            self._lock(fcntl.LOCK_EX)
        except BaseException as error:
            self._thread.release()
            if isinstance(error, OSError):
                raise StorageFailed(
                    f"can't lock {self._directory}: {error.strerror}; nothing was changed"
                ) from None
            raise
        self._depth += 1

    def __exit__(self, *_: object) -> None:
        """End the turn."""
        self._depth -= 1
        self._lock(fcntl.LOCK_UN)
        self._thread.release()

    def close(self) -> None:
        """Take part no longer; from now on there are turns of threads only."""
        with self._thread:
            os.close(self._file)
            self._file = -1

    def _lock(self, operation: int) -> None:
        if not self._depth and self._file >= 0:
            fcntl.flock(self._file, operation)


class Claim:
    """The claim of one process to collect, of those that share a directory."""

    def __init__(self, directory: Path) -> None:
        """Claim it when the block is entered."""
        self._path = directory / _CLAIM_NAME
        self._file = -1

    def __enter__(self) -> bool:
        """Return whether nobody else has it; it is held until the block ends.

        Raises:
            StorageFailed: The file can't be made or locked.
        """
        try:
            self._file = os.open(
                self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600
            )
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError as error:
            self._close()
            raise StorageFailed(f"can't lock {self._path}: {error.strerror}") from None
        return True

    def __exit__(self, *_: object) -> None:
        """Let go."""
        self._close()

    def _close(self) -> None:
        if self._file >= 0:
            os.close(self._file)
            self._file = -1
