"""Unsigned LEB128 integers: the only integer of variable length in st8's bytes.

Seven bits a byte, least significant first, the high bit set on all but the last
byte (as in DWARF and Protocol Buffers).
"""

from __future__ import annotations

__all__ = ["decode", "encode"]

_SHIFT_MAX = 70
_SINGLE = [bytes((value,)) for value in range(128)]


def encode(value: int) -> bytes:
    """Return the shortest encoding of ``value``, which is not negative."""
    if value < 128:
        return _SINGLE[value]
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


def decode(data: bytes, offset: int) -> tuple[int, int]:
    """Return the integer at ``offset`` and the offset after it.

    Raises:
        IndexError: ``data`` ends within the integer, it is longer than any is, or
            longer than it has to be.
    """
    byte = data[offset]
    if byte < 128:
        return byte, offset + 1
    value = byte & 127
    shift = 7
    while True:
        offset += 1
        byte = data[offset]
        value |= (byte & 127) << shift
        if byte < 128:
            if not byte:  # a shorter form says the same: it is nobody's encoding
                raise IndexError
            return value, offset + 1
        shift += 7
        if shift > _SHIFT_MAX:  # else some bytes could keep us busy for hours
            raise IndexError
