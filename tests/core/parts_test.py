"""What one tree has and another lacks: enough to make it, and little more."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from st8.core import tree
from st8.core.errors import Corrupt
from st8.core.ids import Digest, digest_of
from st8.core.node import EMPTY_ROOT, Node, encode, level_of
from st8.core.parts import CONTENT, Part, Shape, new_parts
from tests.core.trees import LEVEL_4, LEVEL_5, Nodes

if TYPE_CHECKING:
    from collections.abc import Sequence

_KEYS = [b"k/%03d" % n for n in range(200)] + [*LEVEL_4, *LEVEL_5]
_EDITS = st.dictionaries(
    st.sampled_from(_KEYS),
    st.sampled_from([None, *(digest_of(b"%d" % n) for n in range(3))]),
    max_size=120,
)


def _objects(nodes: Nodes, root: Digest) -> set[Digest]:
    """Return every object of a tree, contents included."""
    found: set[Digest] = set()
    waiting = [] if root == EMPTY_ROOT else [root]
    while waiting:
        digest = waiting.pop()
        found.add(digest)
        node = nodes.node(digest)
        if node.level:
            waiting += node.children()
        else:
            found.update(node.children())
    return found


@given(first=_EDITS, second=_EDITS)
def test_parts_make_the_tree(
    first: dict[bytes, Digest | None], second: dict[bytes, Digest | None]
) -> None:
    """With what the first tree has they are all of the second, children first.

    Whatever is known already, with all below it, is left out.
    """
    nodes = Nodes()
    before = nodes.edit(EMPTY_ROOT, first).root
    after = nodes.edit(before, second).root
    parts = list(new_parts(nodes, before, after))

    assert _objects(nodes, after) <= _objects(nodes, before) | {p.digest for p in parts}
    assert {part.digest for part in parts} <= _objects(nodes, after)
    there = _objects(nodes, before)
    shapes: dict[Digest, Shape] = {}
    for digest, node in parts:
        if node is None:
            shapes[digest] = CONTENT
            there.add(digest)
            continue
        assert set(node.children()) <= there
        there.add(digest)
        last, below = node.keys[-1], node
        while below.level:
            below = nodes.node(below.digest_at(len(below.keys) - 1))
            last = below.keys[-1]
        shapes[digest] = Shape(node.level, node.count, node.keys[0], last)
    assert [] == list(new_parts(nodes, before, after, shapes.get))
    assert [] == list(new_parts(nodes, after, after))
    if shapes.pop(after, None):
        root = Part(after, nodes.node(after))
        assert [root] == list(new_parts(nodes, before, after, shapes.get))


def test_one_change_costs_a_path() -> None:
    """One document of many is its content and a node of each level, and no more is read."""
    nodes = Nodes()
    many = {b"k/%05d" % n: digest_of(b"%d" % n) for n in range(3_000)}
    before = nodes.edit(EMPTY_ROOT, many).root
    after = nodes.edit(before, {b"k/01234": digest_of(b"new")}).root
    nodes.start_counting()
    levels = [
        -1 if part.node is None else part.node.level
        for part in new_parts(nodes, before, after)
    ]

    assert 2 * len(levels[1:]) == nodes.reads
    assert list(range(-1, nodes.node(after).level + 1)) == levels
    assert 3_000 == tree.count(nodes, after)


@pytest.mark.parametrize("size", [1, 2, 40, 400])
def test_trees_of_other_heights_share_what_they_can(size: int) -> None:
    """Some documents of many cost nodes alone, and the rest of them only the rest."""
    nodes = Nodes()
    many = {b"k/%05d" % n: digest_of(b"%d" % n) for n in range(3_000)}
    few = dict(list(many.items())[1500 : 1500 + size])
    large = nodes.build(many)
    small = nodes.build(few)
    assert nodes.node(small).level < nodes.node(large).level
    left = [part.digest for part in new_parts(nodes, large, small) if not part.node]
    more = [part.digest for part in new_parts(nodes, small, large) if not part.node]

    assert [] == left
    assert sorted({*many.values()} - {*few.values()}) == sorted(more)


A = Node(0, [b"k/000", b"k/001"], digest_of(b"1") * 2, None)
B = Node(0, [next(k for k in _KEYS if level_of(k) == 1)], digest_of(b"2"), None)
UNORDERED = Node(0, [b"k/001", b"k/000"], digest_of(b"1") * 2, None)
A_DIGEST = digest_of(encode(A))
B_DIGEST = digest_of(encode(B))


def _above(level: int, keys: Sequence[bytes], counts: Sequence[int]) -> Node:
    """Return a node above A and B, or above A alone."""
    digests = A_DIGEST + B_DIGEST
    return Node(level, keys, digests[: 32 * len(keys)], counts)


@pytest.mark.parametrize(
    ("root", "wrong"),
    [
        (UNORDERED, "do not ascend"),
        (Node(1, [b"k/001"], digest_of(encode(UNORDERED)), [2]), "do not ascend"),
        (Node(1, [], b"", []), "0 entries"),
        (_above(2, A.keys[:1], [2]), "is not what its parent"),
        (_above(1, A.keys[1:], [2]), "is not what its parent"),
        (_above(1, [A.keys[0], *B.keys], [3, 1]), "is not what its parent"),
        (_above(1, [A.keys[0], *B.keys], [2, 2]), "is not what its parent"),
    ],
)
def test_what_is_no_tree_is_corrupt(root: Node, wrong: str) -> None:
    """Every node has to be right by itself, and what its parent says of it."""
    nodes = Nodes()
    digest = [nodes.add(node) for node in (A, B, UNORDERED, root)][-1]
    with pytest.raises(Corrupt, match=wrong):
        list(new_parts(nodes, EMPTY_ROOT, digest))
    right = nodes.add(_above(1, [A.keys[0], *B.keys], [2, 1]))

    assert right in [part.digest for part in new_parts(nodes, EMPTY_ROOT, right)]


def test_a_content_is_no_tree() -> None:
    """Where a root should be, what is known to be a content is refused."""
    content = digest_of(b"1")
    with pytest.raises(Corrupt, match="is not a node"):
        list(new_parts(Nodes(), EMPTY_ROOT, content, {content: CONTENT}.get))
