"""A directory of files made of documents, all of it or nothing.

Everything is written into a new directory beside the one that is wanted, and is on
disk before that is moved to its place. A directory that is empty gives way in one
step; one that is replaced is first moved aside, and moved back should that fail.
Nothing that was there is written into, so no link in it can lead anywhere.

What may be replaced is a directory of files and directories and nothing else: without
links or special files, without hidden names other than those of the documents, and
not the working directory, the home or what they are in.
"""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from st8.cli.progress import counted
from st8.core.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

__all__ = ["Folder"]

_FILE_MODE: Final = 0o644
_FOLDER_MODE: Final = 0o755
_NAME_BYTES_MAX: Final = 255


class Folder:
    """A directory to be written. Every key has been checked once it is made."""

    def __init__(
        self, path: str, keys: Sequence[str], prefix: str, *, replace: bool
    ) -> None:
        """Check where it goes and what goes in; nothing is written.

        Args:
            path: Where it shall be; what it is in must be there.
            keys: Of the documents.
            prefix: What all keys begin with; up to its last ``/`` it is left off.
            replace: What is there may be replaced, if it may be.

        Raises:
            InvalidInput: It can't be made there, or a key can't be a file's path.
        """
        self._path = os.path.normpath(path)
        self._skipped = prefix.rfind("/") + 1
        self._parent = os.path.dirname(self._path) or "."
        folders = self._check_keys(keys)
        if not os.path.isdir(self._parent):
            raise InvalidInput(
                f"can't write {path!r}: there is no directory {self._parent!r}"
            )
        self._old = self._check_place(replace, folders.union(map(self._name, keys)))
        self._keys = keys

    def _name(self, key: str) -> str:
        return key[self._skipped :]

    def _check_keys(self, keys: Iterable[str]) -> set[str]:
        """Return every directory that the keys need.

        Raises:
            InvalidInput: A key can't be a path below a directory, or is that of a
                directory which another one needs.
        """
        folders: set[str] = set()
        for key in keys:
            name = self._name(key)
            parts = name.split("/")
            if not all(parts) or {".", ".."}.intersection(parts) or "\0" in name:
                raise InvalidInput(
                    f"key {key!r} can't be a path below a directory; leave it out "
                    "with --prefix, or name the keys"
                )
            if max(len(part.encode()) for part in parts) > _NAME_BYTES_MAX:
                raise InvalidInput(
                    f"key {key!r} can't be a path: a name in it is longer than "
                    f"{_NAME_BYTES_MAX} bytes"
                )
            folder = os.path.dirname(name)
            while folder and folder not in folders:
                folders.add(folder)
                folder = os.path.dirname(folder)
        for key in keys:
            if self._name(key) in folders:
                raise InvalidInput(
                    f"key {key!r} can't be a file, as other keys begin with "
                    f"{key + '/'!r}; name the keys that are wanted"
                )
        return folders

    def _check_place(self, replace: bool, names: set[str]) -> bool:
        """Return whether there is something to be replaced.

        Raises:
            InvalidInput: There is, and it may not be.
        """
        path = self._path
        if os.path.realpath(path) == os.path.realpath(os.curdir):
            raise InvalidInput(f"{path!r} is the working directory; name another one")
        if os.path.islink(path) or (os.path.lexists(path) and not os.path.isdir(path)):
            raise InvalidInput(f"{path!r} is there and is no directory")
        try:
            if not os.path.isdir(path) or not os.listdir(path):
                return False
            if not replace:
                raise InvalidInput(
                    f"the directory {path!r} is not empty; name another one, or add "
                    "--force to replace it and all that is in it"
                )
            _check_replaceable(path, names)
        except OSError as error:
            raise _failed(path, error) from error
        return True

    def write(self, documents: Iterable[tuple[str, str]]) -> None:
        """Write the documents; the directory is there with all of them, or as it was.

        Raises:
            InvalidInput: They can't be written.
        """
        fresh = self._beside("new")
        try:
            os.mkdir(fresh, _FOLDER_MODE)
            self._fill(fresh, documents)
            self._put_in_place(fresh)
        except OSError as error:
            raise _failed(self._path, error) from error
        finally:
            shutil.rmtree(fresh, ignore_errors=True)

    def _beside(self, what: str) -> str:
        """Return a name next to the directory that nobody has."""
        name = os.path.basename(os.path.abspath(self._path))
        return os.path.join(
            self._parent, f".{name[:100]}.st8-{what}-{os.urandom(8).hex()}"
        )

    def _fill(self, fresh: str, documents: Iterable[tuple[str, str]]) -> None:
        made = {fresh}
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
        for key, content in counted("writing files", documents, len(self._keys)):
            path = os.path.join(fresh, self._name(key))
            folder = os.path.dirname(path)
            if folder not in made:
                os.makedirs(folder, _FOLDER_MODE, exist_ok=True)
                while folder not in made:
                    made.add(folder)
                    folder = os.path.dirname(folder)
            with open(os.open(path, flags, _FILE_MODE), "wb") as file:
                file.write(content.encode())
                file.flush()
                os.fsync(file.fileno())
        for folder in made:
            _sync(folder)

    def _put_in_place(self, fresh: str) -> None:
        if self._old:
            aside = self._beside("old")
            os.rename(self._path, aside)
            try:
                os.rename(fresh, self._path)
            except OSError:
                os.rename(aside, self._path)
                raise
            shutil.rmtree(aside, ignore_errors=True)
        else:
            os.rename(fresh, self._path)
        _sync(self._parent)


def _check_replaceable(path: str, names: set[str]) -> None:
    """Check that a directory holds what documents were written to, and no more.

    Raises:
        InvalidInput: It may be something else.
        OSError: It can't be read.
    """
    real = os.path.realpath(path)
    for place in (os.getcwd(), os.path.expanduser("~")):
        if os.path.commonpath([real, os.path.realpath(place)]) == real:
            raise InvalidInput(
                f"{path!r} is not replaced, as the working directory or the home is in it"
            )
    for entry, name in _entries(path, ""):
        if entry.name.startswith(".") and name not in names:
            reason = "has a hidden name that is no document's"
        elif entry.is_file(follow_symlinks=False) or entry.is_dir(
            follow_symlinks=False
        ):
            continue
        else:
            reason = "is a link or a special file"
        raise InvalidInput(
            f"{path!r} is not replaced, as {name!r} in it {reason}; remove the "
            "directory yourself if it may go"
        )


def _entries(path: str, below: str) -> Iterator[tuple[os.DirEntry[str], str]]:
    """Yield what is in a directory and below, with its path from there."""
    with os.scandir(path) as found:
        entries = sorted(found, key=lambda entry: entry.name)
    for entry in entries:
        name = below + entry.name
        yield entry, name
        if entry.is_dir(follow_symlinks=False):
            yield from _entries(entry.path, f"{name}/")


def _sync(folder: str) -> None:
    """See that the names in a directory are on disk, where a directory can say so."""
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _failed(path: str, error: OSError) -> InvalidInput:
    return InvalidInput(f"can't write {path!r}: {error.strerror or error}")
