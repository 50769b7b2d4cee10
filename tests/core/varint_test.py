"""Integers of variable length."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from st8.core import varint

INTEGERS = st.one_of(
    st.integers(0, 300),
    st.integers(0, 2**70),
    st.integers(0, 10).map(lambda groups: 128**groups),
    st.integers(1, 10).map(lambda groups: 128**groups - 1),
)


@pytest.mark.parametrize(
    ("value", "data"),
    [
        (0, "00"),
        (1, "01"),
        (127, "7f"),
        (128, "8001"),
        (300, "ac02"),
        (16_383, "ff7f"),
        (16_384, "808001"),
        (2**63 - 1, "ffffffffffffffff7f"),
    ],
)
def test_encoding_is_leb128(value: int, data: str) -> None:
    """The bytes are those of DWARF and Protocol Buffers."""
    assert data == varint.encode(value).hex()
    assert (value, len(data) // 2) == varint.decode(bytes.fromhex(data), 0)


@given(value=INTEGERS, before=st.binary(max_size=3), after=st.binary(max_size=3))
def test_decoding_undoes_encoding(value: int, before: bytes, after: bytes) -> None:
    """An integer is read back from anywhere, and says where it ends."""
    data = varint.encode(value)

    assert (value, len(before) + len(data)) == varint.decode(
        before + data + after, len(before)
    )


@given(value=INTEGERS)
def test_encoding_is_the_shortest(value: int) -> None:
    """An integer takes seven bits a byte, and one byte at least."""
    assert max(1, -(-value.bit_length() // 7)) == len(varint.encode(value))


@given(value=st.integers(128, 2**70), lost=st.integers(1, 10))
def test_an_integer_cut_short_is_noticed(value: int, lost: int) -> None:
    """Where the bytes end within an integer, decoding says so."""
    data = varint.encode(value)

    with pytest.raises(IndexError):
        varint.decode(data[: max(0, len(data) - lost)], 0)


@pytest.mark.parametrize("data", ["8000", "ff00", "ffff00", "80808000"])
def test_a_form_that_is_too_long_is_noticed(data: str) -> None:
    """Each integer has one encoding; others that would say the same are refused."""
    with pytest.raises(IndexError):
        varint.decode(bytes.fromhex(data), 0)
