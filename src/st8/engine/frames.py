"""Zstandard frames of a bounded size, as the blocks of a backup are."""

from __future__ import annotations

from typing import Final

import zstandard

from st8.core.backup import BLOCK_BYTES_MAX, PLAIN
from st8.core.errors import BadBackup

__all__ = ["compressed", "unpacked"]

_LEVEL: Final = 6


def compressed(data: bytes) -> bytes:
    """Return a frame of ``data`` that states its size; any thread."""
    return zstandard.ZstdCompressor(level=_LEVEL).compress(data)


def unpacked(packing: int, packed: bytes) -> bytes:
    """Return what a block holds; any thread.

    Raises:
        BadBackup: It is not a frame, or states a size that no block has.
    """
    if packing == PLAIN:
        return packed
    try:
        size = zstandard.frame_content_size(packed)
        if not 0 <= size <= BLOCK_BYTES_MAX:
            raise BadBackup(f"a block of it claims to hold {size} bytes")
        return zstandard.ZstdDecompressor().decompress(packed)
    except zstandard.ZstdError as error:
        raise BadBackup(f"a block of it does not decompress: {error}") from None
