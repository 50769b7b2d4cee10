"""A reader of st8's stores, written from docs/format.md and nothing else.

It imports nothing of st8: what it can't find out from the page, the page lacks.
It takes the stdlib's SQLite, a Zstandard library and SHA-256, and checks every
digest on its way.
"""

from __future__ import annotations

import hashlib
import sqlite3
from typing import TYPE_CHECKING, Any, NamedTuple

import zstandard

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

EMPTY_NODE = bytes.fromhex("ff4e310000")
DIGEST_BYTES = 32
OBJECT_BYTES_MAX = 4_194_304


class BrokenStoreError(Exception):
    """The store is not as the page says."""


class Node(NamedTuple):
    """A node: what it holds, column by column."""

    level: int
    keys: list[bytes]
    digests: list[bytes]
    counts: list[int]


class Parent(NamedTuple):
    """What a revision says of one it follows."""

    number: int
    digest: bytes
    root: bytes


class Skip(NamedTuple):
    """What a revision says of an ancestor further back."""

    number: int
    digest: bytes


class Revision(NamedTuple):
    """A revision's fields, in the order of its bytes, and its digest."""

    number: int
    kind: str
    time_ns: int
    depth: int
    parents: list[Parent]
    skip: Skip | None
    root: bytes
    namespace: str
    branch: str
    author: str
    message: str
    digest: bytes


class Branch(NamedTuple):
    """What a row says of a branch."""

    base: int
    since: int
    head: int
    digest: bytes


class Reader:
    """Takes bytes one field at a time; the end of them must be reached."""

    def __init__(self, data: bytes) -> None:
        """Begin with the first byte."""
        self._data = data
        self._at = 0

    def take(self, size: int) -> bytes:
        """Return the next ``size`` bytes."""
        end = self._at + size
        if end > len(self._data):
            raise BrokenStoreError("ends too early")
        taken, self._at = self._data[self._at : end], end
        return taken

    def varint(self) -> int:
        """Return the next integer; it must be in its shortest form."""
        value = shift = 0
        while True:
            (byte,) = self.take(1)
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                if shift and not byte:
                    raise BrokenStoreError("an integer has needless bytes")
                return value
            shift += 7

    def text(self) -> str:
        """Return the next text."""
        return self.take(self.varint()).decode("utf-8")

    def rest(self) -> bytes:
        """Return all the bytes that are left."""
        return self.take(len(self._data) - self._at)

    def finish(self) -> None:
        """Refuse bytes that nothing has asked for."""
        if self._at != len(self._data):
            raise BrokenStoreError("has bytes after its end")


def sha256(data: bytes) -> bytes:
    """Return a digest."""
    return hashlib.sha256(data).digest()


def varint(value: int) -> bytes:
    """Return the bytes of an integer."""
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def level_of(key: bytes) -> int:
    """Return the level of a key: zeros at the end of half its digest, 12 at most."""
    half = hashlib.sha256(key).hexdigest()[:16]
    return min(len(half) - len(half.rstrip("0")), 12)


def read_node(data: bytes) -> Node:
    """Return the node that ``data`` are the bytes of."""
    reader = Reader(data)
    if reader.take(3) != b"\xffN1":
        raise BrokenStoreError("not a node")
    (level,) = reader.take(1)
    size = reader.varint()
    lengths = [reader.varint() for _ in range(size)]
    counts = [reader.varint() if level else 1 for _ in range(size)]
    keys = [reader.take(length) for length in lengths]
    digests = [reader.take(DIGEST_BYTES) for _ in range(size)]
    reader.finish()
    return Node(level, keys, digests, counts)


def write_node(node: Node) -> bytes:
    """Return the bytes of a node."""
    parts = [b"\xffN1", bytes([node.level]), varint(len(node.keys))]
    parts += [varint(len(key)) for key in node.keys]
    if node.level:
        parts += [varint(count) for count in node.counts]
    parts += node.keys
    parts += node.digests
    return b"".join(parts)


def read_revision(data: bytes) -> Revision:
    """Return the revision that ``data`` are the bytes of."""
    reader = Reader(data)
    if reader.take(3) != b"\xffR1":
        raise BrokenStoreError("not a revision")
    number = reader.varint()
    kind = ("apply", "rollback", "restore")[reader.take(1)[0]]
    time_ns = int.from_bytes(reader.take(8), "big")
    depth = reader.varint()
    parents = [
        Parent(reader.varint(), reader.take(DIGEST_BYTES), reader.take(DIGEST_BYTES))
        for _ in range(reader.varint())
    ]
    skip = read_skip(reader, parents[0]) if parents else None
    root = reader.take(DIGEST_BYTES)
    namespace, branch, author, message = (reader.text() for _ in range(4))
    reader.finish()
    return Revision(
        number,
        kind,
        time_ns,
        depth,
        parents,
        skip,
        root,
        namespace,
        branch,
        author,
        message,
        sha256(data),
    )


def read_skip(reader: Reader, parent: Parent) -> Skip:
    """Return a revision's skip; the parent's digest is not there a second time."""
    number = reader.varint()
    if number == parent.number:
        return Skip(number, parent.digest)
    return Skip(number, reader.take(DIGEST_BYTES))


def build_root(documents: Mapping[str, bytes], objects: dict[bytes, bytes]) -> bytes:
    """Return the root of a state, made from nothing; adds its nodes to ``objects``."""
    entries: list[tuple[bytes, bytes, int]] = sorted(
        (key.encode(), sha256(data), 1) for key, data in documents.items()
    )
    if not entries:
        return sha256(EMPTY_NODE)
    level = 0
    while True:
        nodes: list[list[tuple[bytes, bytes, int]]] = []
        for entry in entries:
            if not nodes or level_of(entry[0]) > level:
                nodes.append([])
            nodes[-1].append(entry)
        entries = []
        for part in nodes:
            node = Node(
                level,
                [key for key, _, _ in part],
                [digest for _, digest, _ in part],
                [count for _, _, count in part],
            )
            data = write_node(node)
            objects[sha256(data)] = data
            entries.append((part[0][0], sha256(data), sum(entry[2] for entry in part)))
        if len(entries) == 1:
            return entries[0][1]
        level += 1


def skip_length(depth: int) -> int:
    """Return how far the skip of a revision at ``depth`` leads back."""
    rest = depth - 1
    length = 0
    while rest:
        length = 1
        while 2 * length + 1 <= rest:
            length = 2 * length + 1
        rest -= length
    return length


class StoreReader:
    """An open store. Every object and revision is checked when it is read.

    Attributes:
        database: The connection, for reading alone.
    """

    def __init__(self, directory: Path) -> None:
        """Open the store in a state directory, for reading alone."""
        path = directory / "st8.db"
        self.database = sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)
        if self.number("PRAGMA application_id") != 0x53543864:
            raise BrokenStoreError("not a store of st8")
        if self.number("PRAGMA user_version") != 2:
            raise BrokenStoreError("of a format that this reader does not know")

    def close(self) -> None:
        """Give the file back."""
        self.database.close()

    def number(self, sql: str) -> int:
        """Return the one integer that ``sql`` gives."""
        (row,) = self.database.execute(sql).fetchall()
        return int(row[0])

    def object(self, digest: bytes) -> bytes:
        """Return the bytes of an object."""
        prefix = int.from_bytes(digest[:8], "big", signed=True)
        rows = self.database.execute(
            "SELECT data FROM objects WHERE prefix = ?", (prefix,)
        )
        for (packed,) in rows:
            data = unpack(packed)
            if sha256(data) == digest:
                return data
        raise BrokenStoreError(f"object {digest.hex()} is missing")

    def all_objects(self) -> Iterator[tuple[int, int, bytes]]:
        """Yield prefix, epoch and bytes of every object."""
        for prefix, epoch, packed in self.database.execute(
            "SELECT prefix, epoch, data FROM objects ORDER BY id"
        ):
            yield prefix, epoch, unpack(packed)

    def node(self, digest: bytes) -> Node:
        """Return a node; the empty one is stored nowhere."""
        if digest == sha256(EMPTY_NODE):
            return read_node(EMPTY_NODE)
        return read_node(self.object(digest))

    def documents(self, root: bytes) -> dict[str, bytes]:
        """Return the state below ``root``, in key order."""
        return {
            key.decode("utf-8"): self.object(digest)
            for key, digest in self._entries(self.node(root))
        }

    def document(self, root: bytes, key: str) -> bytes | None:
        """Return one document, down one path of the tree."""
        wanted = key.encode()
        node = self.node(root)
        while node.level:
            at = sum(first <= wanted for first in node.keys) - 1
            if at < 0:
                return None
            node = self.node(node.digests[at])
        if wanted not in node.keys:
            return None
        return self.object(node.digests[node.keys.index(wanted)])

    def namespaces(self) -> dict[str, int]:
        """Return the newest number of each namespace."""
        rows = self.database.execute("SELECT name, last_revision, seal FROM namespaces")
        return dict(map(unsealed, rows))

    def answers(self) -> Iterator[tuple[Any, ...]]:
        """Yield namespace, key, request, revision, noop and expiry of each answer."""
        yield from map(
            unsealed,
            self.database.execute(
                "SELECT n.name, a.key, a.request, a.revision, a.noop, a.expires_ns, "
                "a.seal "
                "FROM answers a JOIN namespaces n ON n.id = a.namespace"
            ),
        )

    def redactions(self) -> dict[bytes, list[tuple[Any, ...]]]:
        """Return what was redacted: all but the digest of each row, by digest."""
        found: dict[bytes, list[tuple[Any, ...]]] = {}
        for digest, *rest in self.database.execute(
            "SELECT digest, namespace, key, author, reason, time_ns, seal "
            "FROM redactions ORDER BY digest, namespace, key"
        ):
            row = unsealed(("redactions", digest, *rest))
            found.setdefault(digest, []).append(row[2:])
        return found

    def revisions(self, namespace: str) -> dict[int, Revision]:
        """Return the stored revisions of a namespace, ascending."""
        found: dict[int, Revision] = {}
        for row in self.database.execute(
            "SELECT n.name, r.number, r.data, r.seal FROM revisions r "
            "JOIN namespaces n ON n.id = r.namespace "
            "WHERE n.name = ? ORDER BY r.number",
            (namespace,),
        ):
            _, number, data = unsealed(row)
            revision = read_revision(data)
            if (revision.number, revision.namespace) != (number, namespace):
                raise BrokenStoreError(f"revision {number} is another one")
            found[number] = revision
        return found

    def branches(self, namespace: str) -> dict[str, Branch]:
        """Return the branches of a namespace."""
        rows = self.database.execute(
            "SELECT n.name, b.name, b.base, b.since, b.head, b.head_digest, b.seal "
            "FROM branches b JOIN namespaces n ON n.id = b.namespace WHERE n.name = ?",
            (namespace,),
        )
        return {
            name: Branch(base, since, head, digest)
            for _, name, base, since, head, digest in map(unsealed, rows)
        }

    def checkpoints(self, namespace: str) -> dict[str, tuple[int, bytes, str]]:
        """Return revision, its digest and the branch of each checkpoint."""
        rows = self.database.execute(
            "SELECT n.name, c.name, c.revision, c.digest, c.branch, c.description, "
            "c.author, c.time_ns, c.seal FROM checkpoints c "
            "JOIN namespaces n ON n.id = c.namespace WHERE n.name = ?",
            (namespace,),
        )
        return {
            name: (number, digest, branch)
            for _, name, number, digest, branch, *_ in map(unsealed, rows)
        }

    def _entries(self, node: Node) -> Iterator[tuple[bytes, bytes]]:
        if not node.level:
            yield from zip(node.keys, node.digests, strict=True)
            return
        for key, digest, count in zip(
            node.keys, node.digests, node.counts, strict=True
        ):
            child = self.node(digest)
            if (child.level, child.keys[0], sum(child.counts)) != (
                node.level - 1,
                key,
                count,
            ):
                raise BrokenStoreError("a node is not as the one above says")
            yield from self._entries(child)


def seal_of(values: Iterable[object]) -> int:
    """Return the seal of a row's values."""
    sealed = b""
    for value in values:
        data = value if isinstance(value, bytes) else str(value).encode()
        sealed += b"%d:%b" % (len(data), data)
    return int.from_bytes(sha256(sealed)[:8], "big", signed=True)


def unsealed(row: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return the values of a row, whose seal must be theirs."""
    *values, seal = row
    if seal != seal_of(values):
        raise BrokenStoreError("a row does not match its seal")
    return tuple(values)


def unpack(packed: bytes) -> bytes:
    """Return the bytes of an object from its row."""
    reader = Reader(packed)
    (kind,) = reader.take(1)
    if kind == 0:
        return packed[1:]
    if kind == 1:
        return decompress(packed[1:])
    if kind != 2:
        raise BrokenStoreError("an object is packed in an unknown way")
    frame = reader.take(reader.varint())
    return decompress(frame) + reader.rest()


def decompress(frame: bytes) -> bytes:
    """Return what a frame holds; it must state how much that is."""
    size = zstandard.frame_content_size(frame)
    if not 0 <= size <= OBJECT_BYTES_MAX:
        raise BrokenStoreError(f"a frame claims a size of {size} bytes")
    return zstandard.ZstdDecompressor().decompress(frame)
