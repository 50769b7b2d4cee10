"""A disk that can lose its power: what is written is recorded, and cut anywhere.

While a store works, a :class:`Recorder` notes all that reaches the file system: what
SQLite does, by a VFS that passes everything on, and what the store does by itself, by
standing before ``os.open``, ``os.mkdir`` and ``os.fsync``. A :class:`Disk` takes up
these notes one by one and knows at each of them what a loss of power would leave: all
that was synced, and of the rest what chance wants.

The model: each write and truncation that its file was not synced after is lost
(40 %), torn at 512 bytes (20 %, each sector there or not), or there; in any
combination, since a disk keeps no order. So is each name that was made or deleted
since its directory was synced: lost (40 %) or there. What a sync that failed was to make
durable is lost for good, though it can be read as long as there is power: the kernel
takes such pages for clean, and a second sync does not write them. SQLite's shared
memory is in no image, as it is memory. Every eighth image has nothing that was not synced, and every
eighth all of it.
"""

from __future__ import annotations

import errno
import itertools
import os
import stat
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import apsw

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator
    from random import Random  # noqa: TID251 - is handed one

__all__ = ["Disk", "Image", "Note", "Recorder", "place"]

Image = dict[str, bytes | bytearray]
"""What a loss of power leaves: path below the root → content."""

_LOST: Final = 0.4
_TORN: Final = 0.2
_SECTOR: Final = 512
_EXTREME: Final = 0.125
"""The share of images that lose all, and of those that lose nothing."""
_SHARED_MEMORY: Final = "-shm"

_vfs_numbers = itertools.count()


class Note(NamedTuple):
    """One thing that was done.

    Attributes:
        what: ``write``, ``truncate``, ``sync``, ``sync failed``: of a file. ``make``,
            ``make folder``, ``delete``: a name. ``sync names``: of a directory.
        path: The file or directory, below the root; ``.`` is the root.
        offset: Where was written; how long the file is after a truncation.
        data: What was written.
    """

    what: str
    path: str
    offset: int = 0
    data: bytes = b""


# --- recording ----------------------------------------------------------------------


class Recorder(apsw.VFS):
    """Notes what is done below a directory; passes everything on.

    One thread may write at a time, as one does in a store; any may read. Used with
    :meth:`watching`.

    Attributes:
        vfs: What to open a store with.
        notes: What was done, in order.
        sync_fails: How many syncs from now the next one is that fails; 0: none does.
        dead: Whether nothing can be changed any more, as when the process was killed.
    """

    def __init__(self, root: Path) -> None:
        """Note what is done below ``root``, which is there."""
        self.vfs = f"recorder-{next(_vfs_numbers)}"
        self.notes: list[Note] = []
        self.sync_fails = 0
        self.dead = False
        self._root = root.absolute()
        self._handles: dict[int, str] = {}
        super().__init__(self.vfs, "")

    def check_alive(self) -> None:
        """Return if something can be changed.

        Raises:
            apsw.IOError: It can't.
        """
        if self.dead:
            raise apsw.IOError

    def excepthook(self, *_: Any, **__: Any) -> bool:
        """Say nothing of errors that nobody can be told of."""
        return True

    def below(self, path: str | os.PathLike[str] | None) -> str | None:
        """Return a path below the root, or None if it is not."""
        if path is None:
            return None
        whole = Path(path).absolute()
        if not whole.is_relative_to(self._root):
            return None
        return whole.relative_to(self._root).as_posix()

    def xOpen(  # noqa: N802 - apsw's name
        self, name: str | apsw.URIFilename | None, flags: list[int]
    ) -> apsw.VFSFile:
        """Open a file whose changes are noted."""
        path = name.filename() if isinstance(name, apsw.URIFilename) else name
        inside = self.below(path)
        if inside is None:
            return apsw.VFSFile("", name, flags)
        creates = bool(flags[0] & apsw.SQLITE_OPEN_CREATE)
        new = creates and path is not None and not os.path.lexists(path)
        file = _File(self, inside, name, flags, syncs_name=creates)
        if new:
            self.notes.append(Note("make", inside))
        return file

    def xDelete(self, filename: str, syncdir: bool) -> None:  # noqa: N802
        """Delete a file."""
        self.check_alive()
        super().xDelete(filename, syncdir)
        inside = self.below(filename)
        if inside is not None:
            self.notes.append(Note("delete", inside))
            if syncdir:
                self.notes.append(Note("sync names", _folder(inside)))

    @contextmanager
    def watching(self) -> Generator[None]:
        """Note also what is done without SQLite, by four functions of ``os``."""
        with ExitStack() as stack:
            for name in ("open", "mkdir", "pwrite", "fsync"):
                really = getattr(os, name)
                noting = partial(getattr(self, f"_{name}"), really)
                setattr(os, name, noting)
                stack.callback(setattr, os, name, really)
            yield

    def _open(self, really: Any, path: Any, flags: int, *args: Any, **more: Any) -> int:
        new = flags & os.O_CREAT and not os.path.lexists(path)
        handle: int = really(path, flags, *args, **more)
        inside = self.below(path)
        self._handles.pop(handle, None)
        if inside is not None:
            self._handles[handle] = inside
            if new:
                self.notes.append(Note("make", inside))
        return handle

    def _mkdir(self, really: Any, path: Any, *args: Any, **more: Any) -> None:
        really(path, *args, **more)
        inside = self.below(path)
        if inside is not None:
            self.notes.append(Note("make folder", inside))

    def _pwrite(self, really: Any, handle: int, data: Any, offset: int) -> int:
        written: int = really(handle, data, offset)
        inside = self._handles.get(handle)
        if inside is not None:
            self.notes.append(Note("write", inside, offset, bytes(data[:written])))
        return written

    def _fsync(self, really: Any, handle: int) -> None:
        inside = self._handles.get(handle)
        if inside is None:
            really(handle)
        elif stat.S_ISDIR(os.fstat(handle).st_mode):
            self.notes.append(Note("sync names", inside))
        elif not self.sync(inside):
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    def sync(self, inside: str) -> bool:
        """Note a sync of a file; return whether it is one that does not fail."""
        if self.sync_fails:
            self.sync_fails -= 1
            if not self.sync_fails:
                self.notes.append(Note("sync failed", inside))
                return False
        self.notes.append(Note("sync", inside))
        return True


class _File(apsw.VFSFile):
    """A file whose changes are noted."""

    def __init__(
        self,
        recorder: Recorder,
        inside: str,
        name: str | apsw.URIFilename | None,
        flags: list[int],
        *,
        syncs_name: bool,
    ) -> None:
        self._recorder = recorder
        self._notes = recorder.notes
        self._inside = inside
        # SQLite on Unix syncs the directory of a log or journal that it may have made
        # with the first sync of the file (UNIXFILE_DIRSYNC), below this VFS.
        self._syncs_name = syncs_name and inside.endswith(("-wal", "-journal"))
        super().__init__("", name, flags)

    def excepthook(self, *_: Any, **__: Any) -> bool:
        """Say nothing of errors that nobody can be told of."""
        return True

    def xWrite(self, data: Any, offset: int) -> None:  # noqa: N802
        self._recorder.check_alive()
        # apsw's hints name a buffer type that type checkers can't follow.
        super().xWrite(data, offset)  # pyright: ignore[reportUnknownMemberType]
        self._notes.append(Note("write", self._inside, offset, bytes(data)))

    def xTruncate(self, newsize: int) -> None:  # noqa: N802
        self._recorder.check_alive()
        super().xTruncate(newsize)
        self._notes.append(Note("truncate", self._inside, newsize))

    def xSync(self, flags: int) -> None:  # noqa: ARG002, N802
        self._recorder.check_alive()
        # Nothing is really synced: the record is the disk.
        if not self._recorder.sync(self._inside):
            raise apsw.IOError
        if self._syncs_name:
            self._syncs_name = False
            self._notes.append(Note("sync names", _folder(self._inside)))

    def xLock(self, level: int) -> None:  # noqa: N802
        try:
            super().xLock(level)
        except apsw.IOError as error:
            # A file that is open for reading can't be locked for writing. SQLite tries
            # that as it closes one and is content, but apsw would not be.
            raise apsw.BusyError from error


def _folder(path: str) -> str:
    return path.rpartition("/")[0] or "."


# --- what is left ---------------------------------------------------------------------


@dataclass(slots=True)
class _Inode:
    """A file or directory, whatever its name.

    Attributes:
        folder: Whether it is a directory.
        durable: What was there at the last sync.
        pending: What was done to it since.
    """

    folder: bool = False
    durable: bytearray = field(default_factory=bytearray)
    pending: list[Note] = field(default_factory=list[Note])

    def sync(self) -> None:
        """Make durable what is pending."""
        for note in self.pending:
            _do(note, self.durable)
        self.pending.clear()

    def after(self, chance: Random, lost: float, torn: float) -> bytearray:
        """Return the content that a loss of power leaves; it is not to be changed."""
        if not self.pending or lost == 1:
            return self.durable
        content = bytearray(self.durable)
        for note in self.pending:
            fate = chance.random()
            if fate < lost:
                continue
            if fate < lost + torn and note.what == "write":
                for piece in _torn(note, chance):
                    _do(piece, content)
            else:
                _do(note, content)
        return content


class Disk:
    """A disk that takes up notes, and tells what a loss of power would leave.

    One thread.
    """

    def __init__(self, start: Image) -> None:
        """Begin with what an image has, all of it durable."""
        self._names = {".": _Inode(folder=True)}
        self._pending: dict[str, list[tuple[str, _Inode | None]]] = {}
        self._open: dict[str, _Inode] = {}
        for path, content in start.items():
            for parent in Path(path).parents:
                self._names.setdefault(parent.as_posix(), _Inode(folder=True))
            self._names[path] = _Inode(durable=bytearray(content))
        self._open.update(self._names)

    def take(self, note: Note) -> None:
        """Do what a note says."""
        if note.what in {"write", "truncate"}:
            self._open[note.path].pending.append(note)
        elif note.what == "sync":
            self._open[note.path].sync()
        elif note.what == "sync failed":
            self._open[note.path].pending.clear()
        elif note.what in {"make", "make folder"}:
            made = _Inode(folder=note.what == "make folder")
            self._open[note.path] = made
            self._name(note.path, made)
        elif note.what == "delete":
            self._open.pop(note.path, None)
            self._name(note.path, None)
        elif note.what == "sync names":
            for path, inode in self._pending.pop(note.path, []):
                _rename(self._names, path, inode)

    def _name(self, path: str, inode: _Inode | None) -> None:
        self._pending.setdefault(_folder(path), []).append((path, inode))

    def image(self, chance: Random) -> Image:
        """Return what a loss of power now would leave, one of many possibilities.

        It holds until the next note is taken up.
        """
        extreme = chance.random()
        lost, torn = _LOST, _TORN
        if extreme < _EXTREME:
            lost = 1.0
        elif extreme < 2 * _EXTREME:
            lost = torn = 0.0
        names = dict(self._names)
        for path, inode in itertools.chain.from_iterable(self._pending.values()):
            if chance.random() >= lost:
                _rename(names, path, inode)
        return {
            path: inode.after(chance, lost, torn)
            for path, inode in names.items()
            if not inode.folder
            and not path.endswith(_SHARED_MEMORY)
            and all(above.as_posix() in names for above in Path(path).parents)
        }


def _rename(names: dict[str, _Inode], path: str, inode: _Inode | None) -> None:
    """Let a name stand for a file, or for none."""
    if inode is None:
        names.pop(path, None)
    else:
        names[path] = inode


def _do(note: Note, content: bytearray) -> None:
    """Write to a file, or truncate it; what lies between is zeros."""
    end = note.offset
    if note.what == "truncate":
        del content[end:]
    if len(content) < end:
        content.extend(bytes(end - len(content)))
    content[end : end + len(note.data)] = note.data


def _torn(note: Note, chance: Random) -> Iterator[Note]:
    """Yield the sectors of a write that reach the disk."""
    position = 0
    while position < len(note.data):
        at = note.offset + position
        size = _SECTOR - at % _SECTOR
        if chance.random() < 0.5:  # noqa: PLR2004 - there or not
            yield note._replace(offset=at, data=note.data[position : position + size])
        position += size


def place(image: Image, root: Path) -> None:
    """Make the files below ``root`` what an image has, and no others.

    Files that are there are written over, which takes half as long as making them.
    """
    top = os.fspath(root)
    left = {f"{top}/{path}": content for path, content in image.items()}
    for folder, _, names in os.walk(top):
        for name in names:
            path = f"{folder}/{name}"
            content = left.pop(path, None)
            if content is None:
                Path(path).unlink()
            else:
                _fill(path, content)
    for path, content in left.items():
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        _fill(path, content)


def _fill(path: str, content: bytes | bytearray) -> None:
    """Make a file what ``content`` is."""
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        view = memoryview(content)
        while view:
            view = view[os.write(handle, view) :]
        os.ftruncate(handle, len(content))
    finally:
        os.close(handle)
