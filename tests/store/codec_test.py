"""How objects are packed for a store."""

from __future__ import annotations

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from st8.core.errors import Corrupt
from st8.core.node import Node, encode
from st8.store.codec import pack, unpack
from tests.core.trees import Nodes, folder, value

DATA = st.one_of(
    st.binary(max_size=200),
    st.text(max_size=100).map(str.encode),
    st.integers(0, 3_000).map(lambda size: b"x" * size),
    st.binary(max_size=120).map(b"\xffN1".__add__),
    st.integers(0, 40).map(
        lambda size: encode(
            Node(
                0,
                [b"services/%d" % n for n in range(size)],
                b"".join(map(value, range(size))),
                None,
            )
        )
    ),
)


@given(data=DATA)
def test_unpacking_undoes_packing(data: bytes) -> None:
    """Any bytes come back, be they a content, a node, or look like one."""
    assert data == unpack(pack(data))


@given(data=DATA)
def test_packing_costs_a_byte_at_most(data: bytes) -> None:
    """Packed bytes are never more than one longer."""
    assert len(pack(data)) <= len(data) + 1


def test_nodes_are_smaller_packed() -> None:
    """The nodes of a real tree take less than two thirds of their bytes."""
    nodes = Nodes()
    root = nodes.build(folder(2_000))
    plain = [encode(nodes.node(digest)) for digest in nodes.reachable(root)]
    packed = [pack(data) for data in plain]

    assert sum(map(len, packed)) < sum(map(len, plain)) * 2 / 3


@given(packed=st.binary(max_size=120))
def test_garbage_is_corrupt_and_nothing_worse(packed: bytes) -> None:
    """Whatever is stored, unpacking gives bytes or raises Corrupt."""
    try:
        data = unpack(packed)
    except Corrupt:
        return
    assert isinstance(data, bytes)


@given(data=DATA, at=st.integers(0, 5_000), bit=st.integers(0, 7))
def test_a_flipped_bit_is_corrupt_or_other_bytes(
    data: bytes, at: int, bit: int
) -> None:
    """Damage ends as bytes, which a digest then tells apart, or as Corrupt."""
    packed = bytearray(pack(data))
    packed[at % len(packed)] ^= 1 << bit
    try:
        unpack(bytes(packed))
    except Corrupt:
        return


@given(data=DATA, cut=st.integers(0, 5_000))
def test_a_cut_is_corrupt_or_other_bytes(data: bytes, cut: int) -> None:
    """So does what was cut short."""
    packed = pack(data)
    try:
        unpack(packed[: cut % len(packed)])
    except Corrupt:
        return


def test_a_frame_that_claims_a_huge_size_is_refused() -> None:
    """A small frame that would grow beyond any object is Corrupt before it grows."""
    bomb = zstandard.ZstdCompressor(level=19).compress(bytes(64 * 1024 * 1024))
    assert len(bomb) < 10_000

    with pytest.raises(Corrupt, match="claims a size"):
        unpack(b"\x01" + bomb)


def test_a_frame_that_does_not_say_its_size_is_refused() -> None:
    """A frame without a content size could grow without end, so it is Corrupt."""
    compressor = zstandard.ZstdCompressor(write_content_size=False)

    with pytest.raises(Corrupt):
        unpack(b"\x01" + compressor.compress(b"x" * 1000))
