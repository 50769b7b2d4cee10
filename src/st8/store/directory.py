"""The state directory: made, durable, and held."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from st8.core.errors import StorageFailed
from st8.store import sqlite_log
from st8.store.lock import DirectoryLock

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["hold_directory", "make_directory", "sync_directory"]


def hold_directory(directory: Path) -> DirectoryLock:
    """Make ``directory`` if it is not there, and hold it for those who will share it.

    Processes that are forked from this one hold it too; see :class:`DirectoryLock`. What
    is in SQLite's log is durable; see :mod:`~st8.store.sqlite_log`.

    Raises:
        StateDirectoryInUse: Another process holds it.
        StorageFailed: It can't be made or locked.
    """
    changed = make_directory(directory)
    lock = DirectoryLock(directory)
    try:
        for above in changed:
            sync_directory(above)
        sqlite_log.renew(directory / sqlite_log.NAME)
    except OSError as error:
        lock.close()
        raise StorageFailed(f"can't sync {directory}: {error.strerror}") from None
    return lock


def make_directory(directory: Path) -> list[Path]:
    """Make a directory and those above it; return those that have a new name in them.

    The directory itself is one of them: files will be made in it.

    Raises:
        StorageFailed: It can't be made.
    """
    above = [directory, *directory.absolute().parents]
    changed = [directory, *(path.parent for path in above if not path.exists())]
    try:
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise StorageFailed(
            f"can't make state directory {directory}: {error.strerror}"
        ) from None
    return changed


def sync_directory(directory: Path) -> None:
    """Make the names of new files durable."""
    handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
