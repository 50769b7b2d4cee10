"""Files and directories that become documents.

What would be read is listed first, with keys and sizes, so that what can't be applied
is known before much is read. Nothing is passed over in silence: what can't be a
document is a problem, and all problems are found before anything is sent.

Of a directory, regular files are read. A link to a file is followed if the file is in
the directory too; other links to files are problems. Links to directories are not
followed, and a note says so. Devices, sockets and pipes are problems.
"""

from __future__ import annotations

import os
import stat
import sys
from typing import TYPE_CHECKING, Final, NamedTuple

from st8.cli import output
from st8.core import limits
from st8.core.errors import InvalidInput, InvalidValue, LimitExceeded, St8Error
from st8.core.ids import Key

if TYPE_CHECKING:
    from collections.abc import Iterator

    from st8.cli.globs import Selection

__all__ = [
    "STDIN",
    "Problems",
    "Source",
    "list_directory",
    "list_file",
    "read_source",
]

STDIN: Final = "-"
_SHOWN_MAX: Final = 20


class Source(NamedTuple):
    """Where a document comes from.

    Attributes:
        key: Its key.
        path: The file; ``-`` for standard input.
        size: In bytes; 0 for what can't tell.
    """

    key: str
    path: str
    size: int


class Problems:
    """Why documents can't be applied, all of them."""

    def __init__(self) -> None:
        """Begin with none."""
        self._errors: list[St8Error] = []

    def add(self, error: St8Error) -> None:
        """Keep an error, to go on and find the others."""
        self._errors.append(error)

    def check(self, *, spoken: bool) -> None:
        """Raise if there are any; nothing was sent yet.

        Args:
            spoken: Several are told line by line; else in one sentence.

        Raises:
            InvalidInput: The one problem itself, or what they come to.
        """
        if not self._errors:
            return
        if len(self._errors) == 1:
            raise self._errors[0]
        shown = [error.detail for error in self._errors[:_SHOWN_MAX]]
        hidden = len(self._errors) - len(shown)
        if hidden:
            shown.append(f"and {hidden} more")
        summary = f"{len(self._errors)} documents can't be applied as they are; nothing was sent"
        if not spoken:
            raise InvalidInput(f"{summary}: {'; '.join(shown)}")
        for sentence in shown:
            output.complain(sentence)
        raise InvalidInput(summary)


def list_file(path: str, key: str) -> Source:
    """Return one file that was named.

    Raises:
        InvalidInput: It is not there, is a directory, is too large, or its path
            makes no key.
    """
    try:
        status = os.stat(path)
    except (OSError, ValueError) as error:
        raise _unreadable(path, error) from error
    if stat.S_ISDIR(status.st_mode):
        raise InvalidInput(
            f"{path!r} is a directory; name its files, or read all of them with -R"
        )
    return _source(path, key, status)


def list_directory(
    directory: str, selection: Selection, problems: Problems
) -> Iterator[Source]:
    """Yield the files of a directory that are selected, in a fixed order.

    Args:
        directory: Its path; it may be a link itself.
        selection: Which files, and what stands before their keys.
        problems: Takes what is wrong with one of them.
    """
    root = os.path.realpath(directory)
    left: list[tuple[str, str]] = [(directory, "")]
    while left:
        folder, below = left.pop()
        try:
            with os.scandir(folder) as found:
                entries = sorted(found, key=lambda entry: entry.name)
        except OSError as error:
            problems.add(_unreadable(folder, error))
            continue
        folders: list[tuple[str, str]] = []
        for entry in entries:
            relative = f"{below}{entry.name}"
            if selection.leaves_out(relative):
                continue
            if entry.is_dir(follow_symlinks=False):
                folders.append((entry.path, f"{relative}/"))
            elif entry.is_symlink() and os.path.isdir(entry.path):
                output.note(
                    f"note: the link {entry.path!r} to a directory is not followed"
                )
            elif selection.takes(relative):
                try:
                    yield _entry(entry, root, f"{selection.prefix}{relative}")
                except St8Error as error:
                    problems.add(error)
        left.extend(reversed(folders))


def _entry(entry: os.DirEntry[str], root: str, key: str) -> Source:
    """Return a file of a directory.

    Raises:
        InvalidInput: It can't be a document.
    """
    path = entry.path
    try:
        status = entry.stat()
        if entry.is_symlink():
            target = os.path.realpath(path)
            if os.path.commonpath([root, target]) != root:
                raise InvalidInput(
                    f"{path!r} is a link to {target!r}, which is outside of the "
                    "directory; name the file itself, or leave the link out with --exclude"
                )
    except OSError as error:
        raise _unreadable(path, error) from error
    if not stat.S_ISREG(status.st_mode):
        raise InvalidInput(f"{path!r} is no regular file; leave it out with --exclude")
    return _source(path, key, status)


def _source(path: str, key: str, status: os.stat_result) -> Source:
    size = status.st_size if stat.S_ISREG(status.st_mode) else 0
    if size > limits.CONTENT_BYTES.maximum:
        raise LimitExceeded(limits.CONTENT_BYTES, f"{path!r} in bytes", size)
    return Source(Key(key), path, size)


def read_source(source: Source) -> str:
    """Return the content of a file or of standard input, exactly as it is.

    Raises:
        InvalidInput: It can't be read, is too large, or is not UTF-8.
    """
    maximum = limits.CONTENT_BYTES.maximum
    path = source.path
    place = "standard input" if path == STDIN else repr(path)
    try:
        if path != STDIN:
            with open(path, "rb") as file:
                data = file.read(maximum + 1)
        elif sys.stdin is None:
            raise InvalidInput("there is no standard input to read")
        else:
            data = sys.stdin.buffer.read(maximum + 1)
    except (OSError, ValueError) as error:
        raise _unreadable(path, error) from error
    if len(data) > maximum:
        raise LimitExceeded(limits.CONTENT_BYTES, f"{place} in bytes")
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise InvalidValue(
            place,
            f"not UTF-8 text: byte 0x{data[error.start]:02x} at offset {error.start}",
        ) from None


def _unreadable(path: str, error: Exception) -> InvalidInput:
    reason = error.strerror if isinstance(error, OSError) else str(error)
    return InvalidInput(f"can't read {path!r}: {reason}")
