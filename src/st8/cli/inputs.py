"""What people name on the command line: keys, files, values.

One rule makes a key of a path, for files, values and every other key alike, so that
whatever was applied as ``./a`` is read as ``./a``. Contents are kept byte for byte.
"""

from __future__ import annotations

import os
import posixpath
import stat
from typing import TYPE_CHECKING, BinaryIO, TypeVar

import click

from st8.core import limits
from st8.core.errors import InvalidInput, InvalidValue, LimitExceeded

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

__all__ = ["document_options", "key_of", "read_documents"]

F = TypeVar("F", bound="Callable[..., None]")


def key_of(path: str) -> str:
    """Return the key of a path: cleaned, with ``/`` between its parts.

    ``./a``, ``a/``, ``b/../a`` are ``a``. An absolute path stays one. What leads
    out of the folder (``../a``) stays too, and is refused as a key.
    """
    if os.name == "nt":
        path = path.replace("\\", "/")
    key = posixpath.normpath(path)
    # POSIX lets two leading slashes mean something of their own; here they don't.
    return key[1:] if key.startswith("//") else key


def document_options(function: F) -> F:
    """Add the options that name documents, and the argument FILE."""
    for add in (
        click.argument("paths", metavar="[FILE]...", nargs=-1),
        click.option(
            "--delete",
            "deletes",
            metavar="KEY",
            multiple=True,
            help="A document to delete; may be repeated.",
        ),
        click.option(
            "-v",
            "--value",
            "values",
            metavar="KEY=VALUE",
            multiple=True,
            help="A document given here; may be repeated.",
        ),
        click.option(
            "-f",
            "--file",
            "files",
            metavar="FILE",
            multiple=True,
            help="A file whose path becomes the key; may be repeated.",
        ),
    ):
        function = add(function)
    return function


def read_documents(
    files: Iterable[str], values: Iterable[str], deletes: Iterable[str]
) -> tuple[dict[str, str], list[str]]:
    """Return the documents to put and the keys to delete.

    Of two documents with one key the last counts; values come after files.

    Raises:
        UsageError: A value has no key, or a key is both put and deleted.
        InvalidInput: A file can't be read, is too large, or is not UTF-8.
    """
    documents = {key_of(path): _read(path) for path in files}
    for value in values:
        key, equals, content = value.partition("=")
        if not key or not equals:
            raise click.UsageError(f"--value {value!r}: expected KEY=VALUE")
        documents[key_of(key)] = content
    keys = [key_of(key) for key in deletes if key]
    both = documents.keys() & set(keys)
    if both:
        raise click.UsageError(f"{min(both)!r} is both given and deleted")
    return documents, keys


def _read(path: str) -> str:
    """Return the content of a file, exactly as it is."""
    maximum = limits.CONTENT_BYTES.maximum
    try:
        with open(path, "rb") as file:
            size = _size(file)
            if size > maximum:
                raise LimitExceeded(limits.CONTENT_BYTES, f"{path!r} in bytes", size)
            data = file.read(maximum + 1)
    except IsADirectoryError:
        raise InvalidInput(f"{path!r} is a directory; name its files") from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise InvalidInput(f"can't read {path!r}: {reason}") from error
    if len(data) > maximum:
        raise LimitExceeded(limits.CONTENT_BYTES, f"{path!r} in bytes")
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise InvalidValue(
            repr(path),
            f"not UTF-8 text: byte 0x{data[error.start]:02x} at offset {error.start}",
        ) from None


def _size(file: BinaryIO) -> int:
    """Return the size of a regular file; 0 for a pipe, which can't tell."""
    status = os.fstat(file.fileno())
    return status.st_size if stat.S_ISREG(status.st_mode) else 0
