"""The stream of a backup: its blocks and records; no I/O.

This is the one module that knows their bytes; ``docs/format.md`` says the same in
words. Blocks are packed and taken apart by whoever can: the head, the namespaces and
the end stand in plain ones, so a backup can be told, and compared with its digest,
without decompressing anything.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Final, NamedTuple, TypeVar, cast

from st8.core import varint
from st8.core.errors import BadBackup, InvalidInput, St8Error
from st8.core.fields import Fields
from st8.core.ids import (
    DIGEST_BYTES,
    Author,
    BranchName,
    CheckpointName,
    Digest,
    Key,
    Message,
    Namespace,
    RevisionNumber,
)
from st8.core.limits import CONTENT_BYTES
from st8.core.redactions import Redaction
from st8.core.revisions import TIME_NS_MAX, Branch, Checkpoint, Link

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

__all__ = [
    "BLOCK_BYTES_MAX",
    "BROKEN_OFF",
    "MAGIC",
    "PLAIN",
    "ZSTD",
    "Blocks",
    "Counts",
    "Head",
    "Kind",
    "NamespacePart",
    "Records",
    "Summary",
    "block",
    "broken_off",
    "decode_branch",
    "decode_checkpoint",
    "decode_counts",
    "decode_head",
    "decode_namespace",
    "decode_redaction",
    "encode_branch",
    "encode_checkpoint",
    "encode_counts",
    "encode_head",
    "encode_namespace",
    "encode_redaction",
    "record",
]

MAGIC: Final = b"\xffst8-backup 1\n"

PLAIN: Final = 0
ZSTD: Final = 1
BROKEN_OFF: Final = 2

BLOCK_BYTES_MAX: Final = CONTENT_BYTES.maximum
"""Bytes of records in a block."""
_SAID_CHARACTERS: Final = 200
_PACKED_BYTES_MAX: Final = BLOCK_BYTES_MAX + 64 * 1024
"""Bytes of a block as it is packed: a frame may be a little larger than what it holds."""
_RECORD_BYTES_MAX: Final = CONTENT_BYTES.maximum
_SIZE_BYTES: Final = 4
_TIME_BYTES: Final = 8
_VARINT_BYTES_MAX: Final = 11
_NO_DIGEST: Final = bytes(DIGEST_BYTES)

_T = TypeVar("_T")


class Kind:
    """What a record is; its first byte."""

    END: Final = 0
    HEAD: Final = 1
    NAMESPACE: Final = 2
    BRANCH: Final = 3
    CHECKPOINT: Final = 4
    OBJECT: Final = 5
    REVISION: Final = 6
    REDACTION: Final = 7


_KINDS: Final = 8
_IN_PLAIN_BLOCKS: Final = (Kind.HEAD, Kind.NAMESPACE, Kind.END)


class Head(NamedTuple):
    """The first record.

    Attributes:
        time_ns: When it was begun, in nanoseconds since 1970-01-01 UTC.
        base: The digest of the backup that this one stands on; None for none.
    """

    time_ns: int
    base: Digest | None


class NamespacePart(NamedTuple):
    """What a backup says of a namespace.

    Attributes:
        name: Its name.
        last_revision: The newest number given in it.
        newest: A revision with a number as great as can be, by which the history is
            known again; number 0 where none was left.
        after: Only revisions above this number are here; the others are in the base.
    """

    name: Namespace
    last_revision: RevisionNumber
    newest: Link
    after: RevisionNumber


class Counts(NamedTuple):
    """How many records of each kind there are: the last record."""

    namespaces: int
    branches: int
    checkpoints: int
    objects: int
    revisions: int
    redactions: int


# --- records --------------------------------------------------------------------


def record(kind: int, payload: bytes) -> bytes:
    """Return a record: its kind, the length of the payload, and this."""
    return b"".join((bytes((kind,)), varint.encode(len(payload)), payload))


def is_plain(kind: int) -> bool:
    """Return whether records of a kind stand in plain blocks."""
    return kind in _IN_PLAIN_BLOCKS


def encode_head(head: Head) -> bytes:
    """Return the payload of the first record."""
    base = b"\x00" if head.base is None else b"\x01" + head.base
    return head.time_ns.to_bytes(_TIME_BYTES, "big") + base


def encode_namespace(part: NamespacePart) -> bytes:
    """Return the payload of a namespace's record."""
    number, digest = part.newest
    return b"".join(
        (
            _text(part.name),
            varint.encode(part.last_revision),
            varint.encode(number),
            digest if number else _NO_DIGEST,
            varint.encode(part.after),
        )
    )


def encode_branch(namespace: Namespace, branch: Branch) -> bytes:
    """Return the payload of a branch's record."""
    numbers = map(varint.encode, (branch.base, branch.since, branch.head))
    return b"".join(
        (_text(namespace), _text(branch.name), *numbers, branch.head_digest)
    )


def encode_checkpoint(namespace: Namespace, checkpoint: Checkpoint) -> bytes:
    """Return the payload of a checkpoint's record."""
    return b"".join(
        (
            _text(namespace),
            _text(checkpoint.name),
            varint.encode(checkpoint.revision),
            checkpoint.digest,
            _text(checkpoint.branch),
            _text(checkpoint.description),
            _text(checkpoint.author),
            checkpoint.time_ns.to_bytes(_TIME_BYTES, "big"),
        )
    )


def encode_redaction(redaction: Redaction) -> bytes:
    """Return the payload of a redaction's record."""
    return b"".join(
        (
            redaction.digest,
            _text(redaction.namespace),
            _text(redaction.key),
            _text(redaction.author),
            _text(redaction.reason),
            redaction.time_ns.to_bytes(_TIME_BYTES, "big"),
        )
    )


def encode_counts(counts: Counts) -> bytes:
    """Return the payload of the last record."""
    return b"".join(map(varint.encode, counts))


def decode_head(payload: bytes) -> Head:
    """Return the first record.

    Raises:
        BadBackup: It is none.
    """

    def read(fields: Fields) -> Head:
        time_ns = _time(fields)
        base = Digest(fields.take(DIGEST_BYTES)) if fields.integer() else None
        return Head(time_ns, base)

    return _decoded(payload, "head", read, encode_head)


def decode_namespace(payload: bytes) -> NamespacePart:
    """Return what is said of a namespace.

    Raises:
        BadBackup: It can't be so.
    """

    def read(fields: Fields) -> NamespacePart:
        name = Namespace(fields.text())
        last = _number(fields)
        newest = Link(_number(fields), Digest(fields.take(DIGEST_BYTES)))
        after = _number(fields)
        if not last or newest.number > last or after > last:
            raise IndexError
        return NamespacePart(name, last, newest, after)

    return _decoded(payload, "namespace", read, encode_namespace)


def decode_branch(payload: bytes) -> tuple[Namespace, Branch]:
    """Return a branch and its namespace.

    Raises:
        BadBackup: It can't be so.
    """

    def read(fields: Fields) -> tuple[Namespace, Branch]:
        namespace, name = Namespace(fields.text()), BranchName(fields.text())
        base, since, head = _number(fields), _number(fields), _number(fields)
        if not head or base > min(since, head):
            raise IndexError
        digest = Digest(fields.take(DIGEST_BYTES))
        return namespace, Branch(name, base, since, head, digest)

    return _decoded(payload, "branch", read, lambda found: encode_branch(*found))


def decode_checkpoint(payload: bytes) -> tuple[Namespace, Checkpoint]:
    """Return a checkpoint and its namespace.

    Raises:
        BadBackup: It can't be so.
    """

    def read(fields: Fields) -> tuple[Namespace, Checkpoint]:
        namespace, name = Namespace(fields.text()), CheckpointName(fields.text())
        number, digest = _number(fields), Digest(fields.take(DIGEST_BYTES))
        if not number:
            raise IndexError
        checkpoint = Checkpoint(
            name,
            number,
            digest,
            BranchName(fields.text()),
            Message(fields.text()),
            Author(fields.text()),
            _time(fields),
        )
        return namespace, checkpoint

    return _decoded(
        payload, "checkpoint", read, lambda found: encode_checkpoint(*found)
    )


def decode_redaction(payload: bytes) -> Redaction:
    """Return a redaction.

    Raises:
        BadBackup: It can't be so.
    """

    def read(fields: Fields) -> Redaction:
        return Redaction(
            Digest(fields.take(DIGEST_BYTES)),
            Namespace(fields.text()),
            Key(fields.text()),
            Author(fields.text()),
            Message(fields.text()),
            _time(fields),
        )

    return _decoded(payload, "redaction", read, encode_redaction)


def decode_counts(payload: bytes) -> Counts:
    """Return the last record.

    Raises:
        BadBackup: It is none.
    """

    def read(fields: Fields) -> Counts:
        return Counts(*(fields.integer() for _ in Counts._fields))

    return _decoded(payload, "end", read, encode_counts)


def _decoded(
    payload: bytes,
    what: str,
    read: Callable[[Fields], _T],
    encode: Callable[[_T], bytes],
) -> _T:
    fields = Fields(payload)
    try:
        found = read(fields)
    except (IndexError, UnicodeDecodeError):
        raise BadBackup(f"the record of a {what} is garbled") from None
    except InvalidInput as error:
        raise BadBackup(f"the record of a {what}: {error.detail}") from None
    if not fields.at_end() or encode(found) != payload:
        raise BadBackup(f"the record of a {what} is garbled")
    return found


def _text(text: str) -> bytes:
    data = text.encode()
    return varint.encode(len(data)) + data


def _number(fields: Fields) -> RevisionNumber:
    number = fields.integer()
    if number > TIME_NS_MAX:  # the largest that a store holds
        raise IndexError
    return RevisionNumber(number)


def _time(fields: Fields) -> int:
    time_ns = int.from_bytes(fields.take(_TIME_BYTES), "big")
    if time_ns > TIME_NS_MAX:
        raise IndexError
    return time_ns


# --- blocks ---------------------------------------------------------------------


def block(packing: int, packed: bytes) -> bytes:
    """Return a block: its length, how it is packed, and what is packed."""
    size = (len(packed) + 1).to_bytes(_SIZE_BYTES, "big")
    return b"".join((size, bytes((packing,)), packed))


def broken_off(problem: Mapping[str, object]) -> bytes:
    """Return the block with which a stream ends that can't be finished."""
    return block(BROKEN_OFF, json.dumps(problem).encode())


class Blocks:
    """Takes a backup apart into its blocks, however it comes in pieces.

    Attributes:
        digest: The SHA-256 of all before it, which it ends with; None until the end
            was there.
        rest: What came behind the end.
    """

    def __init__(self) -> None:
        """Begin at the front of a backup."""
        self.digest: Digest | None = None
        self.rest = b""
        self._buffer = bytearray()
        self._hash = hashlib.sha256()
        self._begun = False
        self._ending = False

    def feed(self, data: bytes) -> list[tuple[int, bytes]]:
        """Take some bytes; return the blocks that are whole: how packed, and what.

        Raises:
            BadBackup: It is no backup, or does not have its digest.
            St8Error: It was broken off, by this error.
        """
        self._buffer += data
        if not self._begun and not self._begin():
            return []
        found: list[tuple[int, bytes]] = []
        while not self._ending and (size := self._next_size()) is not None:
            if size:
                found.append(self._block(size))
            else:
                self._ending = True
                self._drop(_SIZE_BYTES)
        if self._ending and self.digest is None:
            self._end()
        return found

    def _begin(self) -> bool:
        """Return whether the magic bytes are there."""
        start = bytes(self._buffer[: len(MAGIC)])
        if not MAGIC.startswith(start):
            raise BadBackup("it does not begin as one that this version of st8 makes")
        self._begun = start == MAGIC
        if self._begun:
            self._drop(len(MAGIC))
        return self._begun

    def _next_size(self) -> int | None:
        """Return the size of the next block if all of it is there, 0 for the end."""
        buffer = self._buffer
        if len(buffer) < _SIZE_BYTES:
            return None
        size = int.from_bytes(buffer[:_SIZE_BYTES], "big")
        if size > _PACKED_BYTES_MAX:
            raise BadBackup(f"a block of it claims a size of {size} bytes")
        return size if len(buffer) >= _SIZE_BYTES + size else None

    def _block(self, size: int) -> tuple[int, bytes]:
        end = _SIZE_BYTES + size
        packing = self._buffer[_SIZE_BYTES]
        packed = bytes(self._buffer[_SIZE_BYTES + 1 : end])
        if packing == BROKEN_OFF:
            raise _error_of(packed)
        if packing not in (PLAIN, ZSTD):
            raise BadBackup("a block of it does not say how it is packed")
        self._drop(end)
        return packing, packed

    def _end(self) -> None:
        """Compare the digest, if all of it is there."""
        if len(self._buffer) >= DIGEST_BYTES:
            digest = Digest(bytes(self._buffer[:DIGEST_BYTES]))
            if digest != self._hash.digest():
                raise BadBackup("it does not have the digest that it ends with")
            self.digest = digest
            self.rest = bytes(self._buffer[DIGEST_BYTES:])

    def _drop(self, size: int) -> None:
        self._hash.update(self._buffer[:size])
        del self._buffer[:size]


def _error_of(packed: bytes) -> St8Error:
    try:
        problem = cast("object", json.loads(packed))
    except (ValueError, RecursionError):
        problem = None
    if not isinstance(problem, dict):
        problem = {"detail": "the backup was broken off", "status": 500}
    error = St8Error.from_problem(cast("dict[str, object]", problem))
    if isinstance(error, BadBackup):  # which says of itself what is wrong
        return BadBackup(f"it was broken off: {error.detail[:_SAID_CHARACTERS]}")
    return error


class Records:
    """Takes the records of a backup out of its blocks, in which they may begin and end.

    Attributes:
        ended: The last record was there.
    """

    def __init__(self) -> None:
        """Begin at the first block."""
        self.ended = False
        self._buffer = bytearray()
        self._plain = True

    def feed(self, data: bytes, *, plain: bool) -> Iterator[tuple[int, bytes]]:
        """Yield the records that are whole with another block: kind and payload.

        Raises:
            BadBackup: They can't be so.
        """
        if plain != self._plain and self._buffer:
            raise BadBackup("a record of it does not end where it should")
        self._plain = plain
        self._buffer += data
        buffer = bytes(self._buffer)
        at = 0
        while at < len(buffer):
            if self.ended:
                raise BadBackup("something follows its last record")
            try:
                kind = buffer[at]
                size, start = varint.decode(buffer, at + 1)
            except IndexError:
                if len(buffer) - at > _VARINT_BYTES_MAX:
                    raise BadBackup("a record of it has no length") from None
                break
            if size > _RECORD_BYTES_MAX:
                raise BadBackup(f"a record of it claims a size of {size} bytes")
            if len(buffer) < start + size:
                break
            if kind >= _KINDS:
                raise BadBackup(
                    f"it has records of kind {kind}, which this version of st8 does "
                    "not know"
                )
            if is_plain(kind) != plain:
                raise BadBackup("a record of it stands in the wrong kind of block")
            self.ended = kind == Kind.END
            yield kind, buffer[start : start + size]
            at = start + size
        del self._buffer[:at]


class Summary:
    """What a backup is and has, read as it goes by; nothing is decompressed.

    Attributes:
        head: The first record, once it was there.
        namespaces: What it says of each namespace.
        counts: The last record, once it was there.
        size: Bytes so far.
        digest: As of :class:`Blocks`.
    """

    def __init__(self) -> None:
        """Begin at the front of a backup."""
        self.head: Head | None = None
        self.namespaces: list[NamespacePart] = []
        self.counts: Counts | None = None
        self.size = 0
        self._blocks = Blocks()
        self._records = Records()

    @property
    def digest(self) -> Digest | None:
        """The digest that it ends with, once it was there and was right."""
        return self._blocks.digest

    def feed(self, data: bytes) -> None:
        """Take some bytes.

        Raises:
            BadBackup: It is no backup, or not whole.
            St8Error: It was broken off, by this error.
        """
        self.size += len(data)
        for packing, packed in self._blocks.feed(data):
            if packing != PLAIN:
                continue
            for kind, payload in self._records.feed(packed, plain=True):
                if kind == Kind.HEAD:
                    self.head = decode_head(payload)
                elif kind == Kind.NAMESPACE:
                    self.namespaces.append(decode_namespace(payload))
                else:
                    self.counts = decode_counts(payload)
        if self._blocks.rest:
            raise BadBackup("something follows its end")

    def finish(self) -> Digest:
        """Return its digest, when all of it was there.

        Raises:
            BadBackup: It ends too early.
        """
        if self.digest is None or self.head is None or self.counts is None:
            raise BadBackup("it ends too early")
        return self.digest
