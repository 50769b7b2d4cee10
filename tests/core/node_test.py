"""The bytes of a node, and where nodes begin."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from st8.core import varint
from st8.core.errors import Corrupt
from st8.core.ids import digest_of
from st8.core.limits import KEY_BYTES, NODE_ENTRIES, TREE_LEVEL
from st8.core.node import EMPTY, EMPTY_ROOT, Node, decode, encode, level_of
from tests.core.trees import KEYS, LEVEL_4, LEVEL_5, Nodes, folder, keys_by_level, value

V1 = digest_of(b"v1\n")
E_ACUTE = digest_of("é".encode())

LEAF = Node(0, [b"app/config.yaml", "app/é".encode()], V1 + E_ACUTE, None)
LEAF_HEX = (
    "ff4e31"  # tag
    "00"  # level
    "02"  # entries
    "0f06"  # lengths of the keys
    "6170702f636f6e6669672e79616d6c"  # app/config.yaml
    "6170702fc3a9"  # app/é
    "2d27fbdf4e8ca207afbfa388ca9172fbcc6c70e534af2476b3b704f87debadcf"
    "4a99557e4033c3539de2eb65472017cad5f9557f7a0625a09f1c3f6e2ba69c4c"
)
LEAF_DIGEST = "311ea32cc75c3c75410692ff6025ef46d1626962115d84c9de6f68819c594cd8"

INNER = Node(2, [b"a", b"k" * 200], V1 + E_ACUTE, [3, 70_000])
INNER_HEX = (
    "ff4e31"
    "02"
    "02"
    "01c801"
    "03f0a204"  # documents below each
    "61"
    + "6b"
    * 200
    + "2d27fbdf4e8ca207afbfa388ca9172fbcc6c70e534af2476b3b704f87debadcf"
    "4a99557e4033c3539de2eb65472017cad5f9557f7a0625a09f1c3f6e2ba69c4c"
)
INNER_DIGEST = "bb6439dc9aad3abc56b386efe2904a8573021d07aa34aaf00c6056ef2c816272"


@st.composite
def _nodes(draw: st.DrawFn) -> Node:
    keys = sorted(draw(st.sets(KEYS, max_size=20)))
    level = draw(st.integers(0, TREE_LEVEL.maximum)) if keys else 0
    counts = draw(st.lists(st.integers(1, 2**40), min_size=20, max_size=20))
    return Node(
        level,
        keys,
        b"".join(value(index) for index in range(len(keys))),
        counts[: len(keys)] if level else None,
    )


NODES = _nodes()


def _parts(node: Node) -> tuple[object, ...]:
    return node.level, node.keys, node.digests, node.counts, node.count


# --- bytes --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("node", "data", "digest"),
    [
        (LEAF, LEAF_HEX, LEAF_DIGEST),
        (INNER, INNER_HEX, INNER_DIGEST),
        (
            EMPTY,
            "ff4e310000",
            "21a0f84ff35282151bae0eeb1e6d8d545db1e1f9a0ac1aa57f4885df1dc5c467",
        ),
    ],
    ids=["leaf", "inner", "empty"],
)
def test_bytes_are_those_of_the_format(node: Node, data: str, digest: str) -> None:
    """A node's bytes and digest are what they were when the format was fixed.

    A change here is a change of the format: every stored root gets another digest.
    """
    assert data == encode(node).hex()
    assert digest == digest_of(encode(node)).hex()
    assert _parts(node) == _parts(decode(bytes.fromhex(data)))


@pytest.mark.parametrize(
    ("size", "root"),
    [
        (1, "4d7d34c13aab3ee1e11c9faea9aef3738852c52259f1e60410c5fff795d9cd24"),
        (1_000, "2ddcc6d54e5af9fd9b07308731aef702dc300d1ee32cb01b0680aa3b80da19ed"),
    ],
)
def test_roots_are_those_of_the_format(size: int, root: str) -> None:
    """The root of given documents is what it was when the format was fixed."""
    assert root == Nodes().build(folder(size)).hex()


def test_the_empty_root_is_that_of_the_empty_node() -> None:
    """EMPTY_ROOT is the digest of a leaf without entries."""
    assert digest_of(encode(EMPTY)) == EMPTY_ROOT
    assert 0 == EMPTY.count


@given(node=NODES)
def test_decoding_undoes_encoding(node: Node) -> None:
    """A node's bytes decode to the node, and those encode to the same bytes."""
    data = encode(node)

    assert _parts(node) == _parts(decode(data))
    assert data == encode(decode(data))


def test_a_node_at_every_limit_is_read_back() -> None:
    """A node of 1,024 keys of 1 KiB with counts of many bytes is read back."""
    size = NODE_ENTRIES.maximum
    keys = [b"%04d" % number + b"k" * (KEY_BYTES.maximum - 4) for number in range(size)]
    node = Node(1, keys, b"".join(map(value, range(size))), [2**40] * size)

    assert _parts(node) == _parts(decode(encode(node)))
    assert size * 2**40 == node.count


@given(content=st.text())
def test_no_content_is_a_node(content: str) -> None:
    """No UTF-8 text decodes as a node, so a content never passes for one."""
    with pytest.raises(Corrupt):
        decode(content.encode())


@given(node=NODES, cut=st.integers(0, 10_000))
def test_a_node_cut_short_is_noticed(node: Node, cut: int) -> None:
    """Any beginning of a node's bytes that is not all of them is Corrupt."""
    data = encode(node)

    with pytest.raises(Corrupt):
        decode(data[: cut % len(data)])


@given(node=NODES, more=st.binary(min_size=1, max_size=40))
def test_bytes_behind_a_node_are_noticed(node: Node, more: bytes) -> None:
    """A node with anything behind it is Corrupt."""
    with pytest.raises(Corrupt):
        decode(encode(node) + more)


@given(data=st.binary(max_size=200) | st.binary(max_size=60).map(b"\xffN1".__add__))
def test_garbage_is_corrupt_and_nothing_worse(data: bytes) -> None:
    """Whatever the bytes, decoding gives a node or raises Corrupt."""
    try:
        node = decode(data)
    except Corrupt:
        return
    assert len(node.keys) * 32 == len(node.digests)


@given(node=NODES, at=st.integers(0, 10_000), bit=st.integers(0, 7))
def test_a_flipped_bit_changes_the_digest(node: Node, at: int, bit: int) -> None:
    """A node with one bit flipped is Corrupt or has other bytes, so no digest holds."""
    data = bytearray(encode(node))
    data[at % len(data)] ^= 1 << bit
    assert digest_of(bytes(data)) != digest_of(encode(node))
    try:
        flipped = decode(bytes(data))
    except Corrupt:
        return
    assert encode(flipped) != encode(node)


def test_a_claim_of_many_entries_costs_nothing() -> None:
    """A few bytes that promise 2^60 entries are refused before room is made."""
    data = b"\xffN1\x00" + varint.encode(2**60) + b"\x01" * 20

    with pytest.raises(Corrupt):
        decode(data)


@given(node=NODES, start=st.integers(0, 25))
def test_children_are_the_digests(node: Node, start: int) -> None:
    """digest_at and children give the digests, each 32 bytes, in order."""
    every = [node.digest_at(index) for index in range(len(node.keys))]

    assert b"".join(every) == node.digests
    assert every[start:] == node.children(start)


# --- levels -------------------------------------------------------------------------


def _plain_level(key: bytes) -> int:
    """Return the zero hex digits at the end of the first 16, twelve at most."""
    first = hashlib.sha256(key).hexdigest()[:16]
    return min(len(first) - len(first.rstrip("0")), TREE_LEVEL.maximum)


@given(key=KEYS | st.binary(max_size=40))
def test_level_counts_zero_nibbles(key: bytes) -> None:
    """The level of a key is the zero nibbles at the end of eight bytes of its hash."""
    assert _plain_level(key) == level_of(key)


@pytest.mark.parametrize(
    ("key", "level"), [*((key, 4) for key in LEVEL_4), *((key, 5) for key in LEVEL_5)]
)
def test_high_levels_are_found(key: bytes, level: int) -> None:
    """Keys that were searched for have the level that they were searched for."""
    assert level == level_of(key)


def test_one_key_in_sixteen_goes_up() -> None:
    """Each level keeps about a sixteenth of the keys of the one below."""
    on_0, on_1, on_2, *_ = (len(keys) for keys in keys_by_level().values())

    assert (18_762, 1_169, 66) == (on_0, on_1, on_2)
