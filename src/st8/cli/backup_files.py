"""Backups in files: read to their end, and written so that none is ever a part."""

from __future__ import annotations

import os
import stat
import sys
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final

from st8.cli import output
from st8.cli.ending import in_order
from st8.cli.progress import Flow
from st8.core.backup import Summary
from st8.core.errors import BadBackup, InvalidInput

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Sequence

__all__ = [
    "STDOUT",
    "check_free",
    "check_not_base",
    "read_all",
    "sizes",
    "summary_of",
    "write_whole",
]

STDOUT: Final = "-"
_PIECE_BYTES: Final = 1024 * 1024
_MODE: Final = 0o600


def sizes(paths: Sequence[str]) -> int:
    """Return how large files are together.

    Raises:
        InvalidInput: One can't be read, or is no file.
    """
    total = 0
    for path in paths:
        with _reading(path) as file:
            total += os.fstat(file).st_size
    return total


def read_all(paths: Sequence[str], flow: Flow) -> Iterator[bytes]:
    """Yield the bytes of files, one file after the other.

    Raises:
        InvalidInput: One can't be read.
    """
    for path in paths:
        with _reading(path) as file:
            while data := os.read(file, _PIECE_BYTES):
                flow.add(len(data))
                yield data


def summary_of(path: str, flow: Flow) -> Summary:
    """Return what a backup is and has; all of it was compared with its digest.

    Raises:
        InvalidInput: It can't be read, or is no backup.
    """
    summary = Summary()
    try:
        for data in read_all([path], flow):
            summary.feed(data)
        summary.finish()
    except BadBackup as error:
        raise InvalidInput(f"{path!r} is no whole backup: {error.wrong}") from None
    return summary


@contextmanager
def _reading(path: str) -> Generator[int]:
    try:
        # Of a pipe that has no writer the opening would never end.
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC | getattr(os, "O_NONBLOCK", 0))
        try:
            if not stat.S_ISREG(os.fstat(file).st_mode):
                raise InvalidInput(f"{path!r} is no file")
            yield file
        finally:
            os.close(file)
    except OSError as error:
        raise InvalidInput(f"can't read {path!r}: {error.strerror}") from None


def check_free(path: str, *, force: bool) -> None:
    """Return if a backup may be written to ``path``.

    Raises:
        InvalidInput: It may not.
    """
    if not path:
        raise InvalidInput("the name of the file is empty; name one, or - for a pipe")
    if path == STDOUT:
        if output.on_terminal():
            raise InvalidInput(
                "a backup is no text for a terminal; name a file, or let a pipe take it"
            )
    elif os.path.isdir(path):
        raise InvalidInput(f"{path!r} is a directory; name a file in it")
    elif os.path.exists(path) and not os.path.isfile(path):
        # As /dev/null, which would be gone.
        raise InvalidInput(f"{path!r} is no file, and is not replaced; name a new file")
    elif not force and os.path.lexists(path):
        raise InvalidInput(
            f"{path!r} is there already; name a new file, or replace it with --force"
        )


def check_not_base(path: str, base: str) -> None:
    """Return if an increment at ``path`` would not replace its base.

    Raises:
        InvalidInput: It would, and could never be restored.
    """
    with suppress(OSError):
        # A link to the base would be replaced, and the base stay.
        if os.path.samestat(os.lstat(path), os.stat(base)):
            raise InvalidInput(
                f"{path!r} is the base, without which the increment can't be restored; "
                "name a new file"
            )


def write_whole(pieces: Iterator[bytes], path: str, *, force: bool) -> Summary:
    """Write a backup to a file and return what it has, when all of it is on disk.

    Until then there is nothing under its name; a backup of before stays. Only its owner
    may read it. However it ends, but by SIGKILL, no part is left.

    Args:
        pieces: The bytes of the backup.
        path: The file, or ``-`` for standard output.
        force: Replace a file that is there.

    Raises:
        InvalidInput: The file can't be written.
        BadBackup: What came is not a whole backup.
        St8Error: The backup failed.
    """
    summary = Summary()
    with Flow("backing up") as flow:
        if path == STDOUT:
            for data in pieces:
                summary.feed(data)
                output.write_bytes(data)
                flow.add(len(data))
            summary.finish()
            output.flush()
            return summary
        temporary = f"{path}.{os.getpid()}.part"
        with in_order():
            try:
                _write(pieces, temporary, summary, flow)
                _put(temporary, path, force=force)
            except OSError as error:
                raise InvalidInput(f"can't write {path!r}: {error.strerror}") from None
            finally:
                with suppress(OSError):
                    os.unlink(temporary)
    return summary


def _write(
    pieces: Iterator[bytes], temporary: str, summary: Summary, flow: Flow
) -> None:
    made = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    with suppress(FileNotFoundError):
        os.unlink(temporary)  # of a process of this number that was killed
    with open(os.open(temporary, made, _MODE), "wb", buffering=0) as file:
        for data in pieces:
            summary.feed(data)
            rest = memoryview(data)
            while rest:
                rest = rest[file.write(rest) :]
            flow.add(len(data))
        summary.finish()
        os.fsync(file.fileno())


def _put(temporary: str, path: str, *, force: bool) -> None:
    """Give a file its name, durably.

    Raises:
        InvalidInput: The name was taken meanwhile.
        OSError: It can't be done.
    """
    if force:
        os.replace(temporary, path)
    else:
        try:
            os.link(temporary, path)
        except FileExistsError:
            check_free(path, force=False)
            raise
        except OSError:  # a file system without links
            check_free(path, force=False)
            os.replace(temporary, path)
    if sys.platform != "win32":
        handle = os.open(os.path.dirname(path) or ".", os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
