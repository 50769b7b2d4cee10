"""What one tree has and another lacks: enough to make it, and little more."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from st8.core import tree
from st8.core.ids import Digest, digest_of
from st8.core.node import EMPTY_ROOT
from st8.core.parts import CONTENT, Shape, new_parts
from tests.core.trees import LEVEL_4, LEVEL_5, Nodes

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


def test_one_change_costs_a_path() -> None:
    """One document of many costs its content and a node of each level."""
    nodes = Nodes()
    many = {b"k/%05d" % n: digest_of(b"%d" % n) for n in range(3_000)}
    before = nodes.edit(EMPTY_ROOT, many).root
    after = nodes.edit(before, {b"k/01234": digest_of(b"new")}).root
    levels = [
        -1 if part.node is None else part.node.level
        for part in new_parts(nodes, before, after)
    ]

    assert list(range(-1, nodes.node(after).level + 1)) == levels
    assert 3_000 == tree.count(nodes, after)
