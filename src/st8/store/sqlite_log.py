"""SQLite's log, made durable as it is found.

When a sync fails, Linux takes the pages for clean: what they hold can be read, and
later syncs do not write it (PostgreSQL learnt this in 2018; Rebello et al., "Can
applications recover from fsync failures?", 2020). So the next process may find commits
in the log that are in the kernel's memory alone. Whatever it put behind them, or moved
into the file because of them, a loss of power would leave without them.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["NAME", "renew", "sync"]

NAME: Final = "st8.db-wal"
"""The file, in a state directory."""

_CHUNK: Final = 1024 * 1024


def renew(log: Path) -> None:
    """Write a log over itself, so that what can be read of it is durable on return.

    If there is one. Nobody else may write to it meanwhile.

    Raises:
        OSError: It can't be read or written, or a sync has failed again.
    """
    try:
        handle = os.open(log, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        position = 0
        while chunk := os.pread(handle, _CHUNK, position):
            position += os.pwrite(handle, chunk, position)
        os.fsync(handle)
    finally:
        os.close(handle)


def sync(log: Path) -> None:
    """Make durable what was done to a log: SQLite does not, where it cuts it off.

    Raises:
        OSError: It can't be, and what is on the disk is not known.
    """
    handle = os.open(log, os.O_RDWR | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
