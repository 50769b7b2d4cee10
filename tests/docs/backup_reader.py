"""A reader of st8's backups, written from docs/format.md and nothing else.

It imports nothing of st8. It believes the page: a backup that is not as that says is
refused, and every digest in one is compared.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, NamedTuple

import zstandard

from tests.docs.reader import BrokenStoreError, Reader, read_node, read_revision

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.docs.reader import Revision

MAGIC = b"\xffst8-backup 1\n"
BLOCK_BYTES_MAX = 4_194_304
EMPTY = hashlib.sha256(bytes.fromhex("ff4e310000")).digest()


class BrokenBackupError(Exception):
    """The backup is not as the page says."""


class Space(NamedTuple):
    """What a backup says of a namespace."""

    last: int
    newest: tuple[int, bytes]
    after: int


class Backup:
    """A backup, or one and those that stand on it, read to the last byte.

    Attributes:
        digest: The digest of the last one.
        spaces: Namespaces.
        branches: By namespace and name: base, since, head, its digest.
        checkpoints: By namespace and name: revision, digest, branch, description,
            author, time.
        redacted: Digests of contents that were redacted.
        revisions: By namespace and number.
        objects: By digest.
    """

    def __init__(self, *files: bytes) -> None:
        """Read files, oldest first."""
        self.digest = b""
        self.revisions: dict[tuple[str, int], Revision] = {}
        self.objects: dict[bytes, bytes] = {EMPTY: bytes.fromhex("ff4e310000")}
        self.redacted: set[bytes] = set()
        for file in files:
            self._read(file)

    def documents(self, namespace: str, number: int) -> dict[str, bytes | None]:
        """Return the state of a revision; None is what was redacted."""
        return dict(self._below(self.revisions[namespace, number].root))

    def _below(self, digest: bytes) -> Iterator[tuple[str, bytes | None]]:
        node = read_node(self.objects[digest])
        for key, child in zip(node.keys, node.digests, strict=True):
            if node.level:
                yield from self._below(child)
            elif child in self.redacted:
                yield key.decode(), None
            else:
                yield key.decode(), self.objects[child]

    def _read(self, file: bytes) -> None:
        if not file.startswith(MAGIC):
            raise BrokenBackupError("magic")
        if hashlib.sha256(file[:-32]).digest() != file[-32:]:
            raise BrokenBackupError("digest")
        self.spaces: dict[str, Space] = {}
        self.branches: dict[tuple[str, str], tuple[int, int, int, bytes]] = {}
        self.checkpoints: dict[
            tuple[str, str], tuple[int, bytes, str, str, str, int]
        ] = {}
        counts = dict.fromkeys((2, 3, 4, 5, 6, 7), 0)
        kinds: list[int] = []
        for kind, data in _records(file[len(MAGIC) : -32]):
            fields = Reader(data)
            kinds.append(kind)
            if kind in counts:
                counts[kind] += 1
            if kind == 0:
                if [fields.varint() for _ in counts] != list(counts.values()):
                    raise BrokenBackupError("counts")
            else:
                self._take(kind, fields, data)
            if kind not in (5, 6):
                fields.finish()
        if kinds[0] != 1 or kinds.count(1) != 1 or kinds[-1] or kinds.count(0) != 1:
            raise BrokenBackupError("order")
        self.digest = file[-32:]

    def _take(self, kind: int, fields: Reader, data: bytes) -> None:
        if kind == 1:
            fields.take(8)
            base = fields.take(32) if fields.take(1) == b"\x01" else b""
            if base != self.digest:
                raise BrokenBackupError("base")
        elif kind == 2:
            name, last = fields.text(), fields.varint()
            newest = fields.varint(), fields.take(32)
            self.spaces[name] = Space(last, newest, fields.varint())
        elif kind == 3:
            at = fields.text(), fields.text()
            numbers = fields.varint(), fields.varint(), fields.varint()
            self.branches[at] = (*numbers, fields.take(32))
        elif kind == 4:
            at = fields.text(), fields.text()
            link = fields.varint(), fields.take(32)
            texts = fields.text(), fields.text(), fields.text()
            self.checkpoints[at] = (*link, *texts, int.from_bytes(fields.take(8)))
        elif kind == 5:
            self.objects[hashlib.sha256(data).digest()] = data
        elif kind == 6:
            self._take_revision(data)
        elif kind == 7:
            self.redacted.add(fields.take(32))
            for _ in range(4):
                fields.text()
            fields.take(8)
        else:
            raise BrokenBackupError("kind")

    def _take_revision(self, data: bytes) -> None:
        """Take a revision, all of whose state has come."""
        revision = read_revision(data)
        at = revision.namespace, revision.number
        if self.revisions.get(at, revision) != revision:
            raise BrokenBackupError("history")
        self.revisions[at] = revision
        for parent in revision.parents:
            known = self.revisions.get((revision.namespace, parent.number))
            if known is not None and known.digest != parent.digest:
                raise BrokenBackupError("chain")
        dict(self._below(revision.root))
        for parent in revision.parents:
            dict(self._below(parent.root))


def _records(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield kind and rest of each record."""
    pending = b""
    for packing, some in _blocks(data):
        pending += some
        while pending:
            fields = Reader(pending)
            try:
                kind = fields.take(1)[0]
                rest = fields.take(fields.varint())
            except BrokenStoreError:
                break
            if (packing == 0) != (kind in (0, 1, 2)):
                raise BrokenBackupError("packing")
            yield kind, rest
            pending = fields.rest()
    if pending:
        raise BrokenBackupError("a record that does not end")


def _blocks(data: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    while size := int.from_bytes(data[at : at + 4]):
        packing, packed = data[at + 4], data[at + 5 : at + 4 + size]
        at += 4 + size
        if packing == 1:
            if zstandard.frame_content_size(packed) > BLOCK_BYTES_MAX:
                raise BrokenBackupError("block")
            packed = zstandard.ZstdDecompressor().decompress(packed)
        elif packing:
            raise BrokenBackupError("broken off")
        yield packing, packed
    if at + 4 != len(data):
        raise BrokenBackupError("end")
