"""How an object's bytes are packed for a store: compressed where that helps.

A packed object is one byte that says how, then the rest: ``0`` the bytes as they
are, ``1`` a Zstandard frame that states its content size. The digest of an object
is of its bytes before packing.
"""

from __future__ import annotations

import threading
from typing import Final

import zstandard

from st8.core.errors import Corrupt
from st8.core.limits import CONTENT_BYTES, KEY_BYTES, NODE_ENTRIES

__all__ = ["pack", "unpack"]

_PLAIN: Final = b"\x00"
_ZSTD: Final = b"\x01"
_LEVEL: Final = 3
_SMALL: Final = 48
"""Bytes below which a frame's own header costs more than it can save."""
_OBJECT_BYTES_MAX: Final = max(
    CONTENT_BYTES.maximum, NODE_ENTRIES.maximum * (KEY_BYTES.maximum + 64)
)

_local = threading.local()


def pack(data: bytes) -> bytes:
    """Return ``data`` packed; any thread."""
    if len(data) >= _SMALL:
        compressor: zstandard.ZstdCompressor | None = getattr(
            _local, "compressor", None
        )
        if compressor is None:
            compressor = _local.compressor = zstandard.ZstdCompressor(
                level=_LEVEL,
                write_content_size=True,
                write_checksum=False,
                write_dict_id=False,
            )
        frame = compressor.compress(data)
        if len(frame) < len(data):
            return _ZSTD + frame
    return _PLAIN + data


def unpack(packed: bytes) -> bytes:
    """Return the bytes that were packed; any thread.

    Raises:
        Corrupt: ``packed`` is not what :func:`pack` makes, or states a size that
            no object has.
    """
    kind, rest = packed[:1], packed[1:]
    if kind == _PLAIN:
        return rest
    if kind != _ZSTD:
        raise Corrupt("a stored object does not say how it is packed")
    try:
        size = zstandard.frame_content_size(rest)
        if not 0 <= size <= _OBJECT_BYTES_MAX:
            raise Corrupt(f"a stored object claims a size of {size} bytes")
        decompressor: zstandard.ZstdDecompressor | None = getattr(
            _local, "decompressor", None
        )
        if decompressor is None:
            decompressor = _local.decompressor = zstandard.ZstdDecompressor()
        return decompressor.decompress(rest)
    except zstandard.ZstdError as error:
        raise Corrupt(f"a stored object does not decompress: {error}") from None
