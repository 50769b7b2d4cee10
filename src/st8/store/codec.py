"""How an object's bytes are packed for a store: compressed where that helps.

A packed object is one byte that says how, then the rest:

- ``0``: the bytes as they are;
- ``1``: a Zstandard frame that states its content size;
- ``2``: the length of such a frame as LEB128, the frame, and then the digests of a
  tree node as they are. Digests are noise, which takes as long to compress as
  the text and gains nothing.

The digest of an object is of its bytes before packing.
"""

from __future__ import annotations

import threading
from typing import Final

import zstandard

from st8.core import varint
from st8.core.errors import Corrupt
from st8.core.limits import CONTENT_BYTES, KEY_BYTES, NODE_ENTRIES
from st8.core.node import digests_offset

__all__ = ["pack", "unpack", "unpacked"]

_PLAIN: Final = b"\x00"
_ZSTD: Final = b"\x01"
_NODE: Final = b"\x02"
_LEVEL: Final = 6
_SMALL: Final = 48
"""Bytes below which a frame's own header costs more than it can save."""
_OBJECT_BYTES_MAX: Final = max(
    CONTENT_BYTES.maximum, NODE_ENTRIES.maximum * (KEY_BYTES.maximum + 64)
)

_local = threading.local()


def pack(data: bytes) -> bytes:
    """Return ``data`` packed; any thread."""
    if len(data) < _SMALL:
        return _PLAIN + data
    digests = digests_offset(data)
    if not digests:
        frame = _compress(data)
        return _ZSTD + frame if len(frame) < len(data) else _PLAIN + data
    frame = _compress(data[:digests])
    if len(frame) + 1 >= digests:
        return _PLAIN + data
    return b"".join((_NODE, varint.encode(len(frame)), frame, data[digests:]))


def unpack(packed: bytes) -> bytes:
    """Return the bytes that were packed; any thread.

    Raises:
        Corrupt: ``packed`` is not what :func:`pack` makes, or states a size that
            no object has.
    """
    if type(packed) is not bytes:  # SQLite keeps what it is given
        raise Corrupt("a stored object is not bytes")
    kind = packed[:1]
    if kind == _PLAIN:
        return packed[1:]
    if kind == _ZSTD:
        return _decompress(packed[1:])
    if kind != _NODE:
        raise Corrupt("a stored object does not say how it is packed")
    try:
        size, at = varint.decode(packed, 1)
    except IndexError:
        raise Corrupt("a stored object ends too early") from None
    return _decompress(packed[at : at + size]) + packed[at + size :]


def unpacked(packed: bytes) -> bytes | None:
    """Return the bytes that were packed; None where they can't be told; any thread."""
    try:
        return unpack(packed)
    except Corrupt:
        return None


def _compress(data: bytes) -> bytes:
    compressor: zstandard.ZstdCompressor | None = getattr(_local, "compressor", None)
    if compressor is None:
        compressor = _local.compressor = zstandard.ZstdCompressor(
            level=_LEVEL,
            write_content_size=True,
            write_checksum=False,
            write_dict_id=False,
        )
    return compressor.compress(data)


def _decompress(frame: bytes) -> bytes:
    try:
        size = zstandard.frame_content_size(frame)
        if not 0 <= size <= _OBJECT_BYTES_MAX:
            raise Corrupt(f"a stored object claims a size of {size} bytes")
        decompressor: zstandard.ZstdDecompressor | None = getattr(
            _local, "decompressor", None
        )
        if decompressor is None:
            decompressor = _local.decompressor = zstandard.ZstdDecompressor()
        return decompressor.decompress(frame)
    except zstandard.ZstdError as error:
        raise Corrupt(f"a stored object does not decompress: {error}") from None
