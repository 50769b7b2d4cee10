"""The nodes of the state tree: their canonical bytes and where they end.

This is the one module that knows the bytes of a node; ``docs/format.md`` says the
same in words. A node is hashed as encoded here; compression comes later and is
no part of its identity.

A node's bytes begin with ``0xff``, which no UTF-8 text contains, so a document's
content is never taken for a node, whatever a client sends.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING, Final

from st8.core import varint
from st8.core.errors import Corrupt
from st8.core.ids import DIGEST_BYTES, Digest, digest_of
from st8.core.limits import TREE_LEVEL

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = [
    "EMPTY",
    "EMPTY_ROOT",
    "Node",
    "decode",
    "digests_offset",
    "encode",
    "level_of",
]

TAG: Final = b"\xffN1"
_HEADER_BYTES: Final = len(TAG) + 1


class Node:
    """One node of the tree; never changed once made.

    Attributes:
        level: 0 for a leaf, one more for each level above.
        keys: The key of each entry as UTF-8, ascending. In a leaf the keys of the
            documents; above it the first key below each child.
        digests: 32 bytes for each entry, in the order of ``keys``: of a content
            in a leaf, of a child node above it.
        counts: The number of documents below each entry; None in a leaf, where
            each entry is one.
        count: The number of documents below this node.
    """

    __slots__ = ("count", "counts", "digests", "keys", "level")

    def __init__(
        self,
        level: int,
        keys: Iterable[bytes],
        digests: bytes,
        counts: Iterable[int] | None,
    ) -> None:
        """Keep the parts.

        In tuples: unlike a list, Python's collector looks at a tuple of such values
        once only, and thousands of nodes are cached.
        """
        self.level = level
        self.keys = tuple(keys)
        self.digests = digests
        self.counts = None if counts is None else tuple(counts)
        self.count = len(self.keys) if self.counts is None else sum(self.counts)

    def digest_at(self, index: int) -> Digest:
        """Return the digest of entry ``index``."""
        start = index * DIGEST_BYTES
        return Digest(self.digests[start : start + DIGEST_BYTES])

    def children(self, start: int = 0, stop: int | None = None) -> list[Digest]:
        """Return the digests of the entries from ``start`` to before ``stop``."""
        digests = self.digests
        end = len(digests) if stop is None else stop * DIGEST_BYTES
        return [
            Digest(digests[at : at + DIGEST_BYTES])
            for at in range(start * DIGEST_BYTES, end, DIGEST_BYTES)
        ]


def encode(node: Node) -> bytes:
    """Return the canonical bytes of ``node``.

    Tag, level (one byte), number of entries, length of each key, above the leaves
    the count of each entry, the keys, and last the digests. Numbers are LEB128.
    """
    keys = node.keys
    lengths = list(map(len, keys))
    parts = [TAG, bytes((node.level,)), varint.encode(len(keys)), _integers(lengths)]
    if node.counts is not None:
        parts.append(_integers(node.counts))
    parts += keys
    parts.append(node.digests)
    return b"".join(parts)


def decode(data: bytes) -> Node:
    """Return the node whose canonical bytes are ``data``.

    Raises:
        Corrupt: They are not the bytes of a node.
    """
    try:
        if data[: len(TAG)] != TAG:
            raise Corrupt("a tree node does not begin with its tag")
        level = data[len(TAG)]
        size, at = varint.decode(data, _HEADER_BYTES)
        lengths, at = _read_integers(data, at, size)
        counts = None
        if level:
            counts, at = _read_integers(data, at, size)
        keys = [data[a:b] for a, b in pairwise(accumulate(lengths, initial=at))]
        at += sum(lengths)
        digests = data[at:]
    except IndexError:
        raise Corrupt("a tree node ends too early") from None
    if len(digests) != DIGEST_BYTES * size or at > len(data):
        raise Corrupt("a tree node has the wrong length")
    return Node(level, keys, digests, counts)


def digests_offset(data: bytes) -> int:
    """Return where the digests begin in a node's bytes; 0 if it is no node.

    They are noise to a compressor; what stands before them is text.
    """
    if data[: len(TAG)] != TAG:
        return 0
    size, _ = varint.decode(data, _HEADER_BYTES)
    return max(0, len(data) - DIGEST_BYTES * size)


@lru_cache(maxsize=1 << 15)
def level_of(key: bytes) -> int:
    """Return the highest level at which ``key`` begins a node, plus nothing else.

    At level L a node ends before every key whose ``level_of`` is greater than L.
    It is the number of zero nibbles at the end of the first eight bytes (big
    endian) of the key's SHA-256, at most ``tree_level_max``: each level keeps one
    key in sixteen, as in a skip list (Pugh 1990) or a Merkle search tree (Auvolat
    and Taïani 2019), and the choice depends on the key alone.
    """
    bits = int.from_bytes(hashlib.sha256(key).digest()[:8], "big")
    if bits & 15:
        return 0
    if not bits:
        return TREE_LEVEL.maximum
    return min(((bits & -bits).bit_length() - 1) // 4, TREE_LEVEL.maximum)


def _integers(values: Sequence[int]) -> bytes:
    """Return the LEB128 encodings of ``values``, one after the other."""
    if not values or max(values) < 128:
        return bytes(values)
    return b"".join(map(varint.encode, values))


def _read_integers(data: bytes, at: int, size: int) -> tuple[list[int], int]:
    """Return ``size`` integers from ``at`` on, and the offset after them."""
    short = data[at : at + size]
    if len(short) == size and (not size or max(short) < 128):
        return list(short), at + size
    values: list[int] = []
    for _ in range(size):
        value, at = varint.decode(data, at)
        values.append(value)
    return values, at


EMPTY: Final = Node(0, [], b"", None)
"""The root of a state without documents. It is never stored."""

EMPTY_ROOT: Final = digest_of(encode(EMPTY))
