"""What one state tree has and another has not, object by object.

Where two trees share a subtree at the same place it is not looked at, so the cost
follows what differs. Every node that is met is compared with what its parent says of
it and with the rules of ``docs/format.md``: a tree that this goes through without an
error, and whose other part was gone through before, is the one tree of its documents.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from itertools import pairwise
from typing import TYPE_CHECKING, Final, NamedTuple

from st8.core.errors import Corrupt
from st8.core.limits import NODE_ENTRIES
from st8.core.node import EMPTY_ROOT, Node, level_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from st8.core.ids import Digest
    from st8.core.tree import NodeSource

__all__ = ["CONTENT", "Part", "Shape", "check_node", "new_parts", "shape_of"]


class Part(NamedTuple):
    """An object of a tree: a node, or with None the content of a document."""

    digest: Digest
    node: Node | None


class Shape(NamedTuple):
    """What a parent must say of an object.

    Attributes:
        level: The level of a node; -1 for a content.
        key: A node's first key; empty for a content, which any key may have.
        documents: How many are in it.
        entries: How many entries it has.
    """

    level: int
    key: bytes
    documents: int
    entries: int


CONTENT: Final = Shape(-1, b"", 1, 0)


def shape_of(node: Node) -> Shape:
    """Return the shape of a node that has an entry."""
    return Shape(node.level, node.keys[0], node.count, len(node.keys))


def _nothing(_digest: Digest) -> Shape | None:
    return None


def new_parts(
    source: NodeSource,
    before: Digest,
    after: Digest,
    known: Callable[[Digest], Shape | None] = _nothing,
) -> Iterator[Part]:
    """Yield what the tree ``after`` is made of and ``before`` does not share with it.

    Children come before their parents. What stands elsewhere in ``before`` is yielded
    too, and what is twice in ``after`` twice. O(differences · log n).

    Args:
        source: Where both trees are read from, but for what is known.
        before: The root of a tree that is there already, with all that is in it.
        after: The root of the other one, or any node.
        known: Returns the shape of an object that need not be gone into, with all
            below it; None for any other.

    Raises:
        Corrupt: ``after`` is not a tree as this version writes it.
    """
    if after in (before, EMPTY_ROOT):
        return
    shape = known(after)
    node = None if shape is not None else source.node(after)
    if node is not None:
        check_node(node)
        shape = shape_of(node)
    if shape is None or shape.level < 0:
        raise Corrupt(f"object {after.hex()} is not a node")
    if node is not None:
        old = [] if before == EMPTY_ROOT else [source.node(before)]
        yield from _below(source, Part(after, node), old, None, known)


def _below(
    source: NodeSource,
    part: Part,
    old: Sequence[Node],
    end: bytes | None,
    known: Callable[[Digest], Shape | None],
) -> Iterator[Part]:
    """Yield the new parts of a node that was checked, itself last.

    ``old`` are nodes of one level of the other tree, among them all that may have a
    key of this one; ``end`` is the first key behind the node.
    """
    digest, node = part
    if node is None:
        raise TypeError(part)
    keys, level = node.keys, node.level
    while old and old[0].level > level:
        old = _children(source, old, keys[0], end)
    counts = node.counts or [1] * len(keys)
    entries = list(zip(keys, node.children(), counts, strict=True))
    level_with = bool(old) and old[0].level == level
    shared = {entry for other in old for entry in _entries(other)} if level_with else ()
    missing: list[tuple[int, Digest]] = []
    for at, entry in enumerate(entries):
        if entry in shared:
            continue
        key, child, documents = entry
        shape = known(child)
        if shape is None:
            missing.append((at, child))
        elif shape[:3] != (level - 1, key if level else b"", documents):
            raise _misplaced(child, digest)
    if not level:
        for _, child in missing:
            yield Part(child, None)
    else:
        nodes = source.nodes([child for _, child in missing])
        for (at, child), below in zip(missing, nodes, strict=True):
            key, _, documents = entries[at]
            child_end = keys[at + 1] if at + 1 < len(keys) else end
            check_node(below)
            if shape_of(below)[:3] != (level - 1, key, documents) or (
                child_end is not None and below.keys[-1] >= child_end
            ):
                raise _misplaced(child, digest)
            other = _children(source, old, key, child_end) if level_with else old
            yield from _below(source, Part(child, below), other, child_end, known)
    yield part


def _entries(node: Node) -> Iterator[tuple[bytes, Digest, int]]:
    counts = node.counts or [1] * len(node.keys)
    return zip(node.keys, node.children(), counts, strict=True)


def _children(
    source: NodeSource, nodes: Sequence[Node], start: bytes, end: bytes | None
) -> list[Node]:
    """Return those children of nodes that may have a key from ``start`` to ``end``."""
    if not nodes[0].level:
        return []
    wanted: list[Digest] = []
    for node in nodes:
        first = max(0, bisect_right(node.keys, start) - 1)
        last = len(node.keys) if end is None else bisect_left(node.keys, end)
        wanted += node.children(first, max(first, last))
    return list(source.nodes(wanted)) if wanted else []


def check_node(node: Node) -> None:
    """Return if a node is as this version writes it, as far as it shows by itself.

    Raises:
        Corrupt: It is not.
    """
    keys, level = node.keys, node.level
    if not 0 < len(keys) <= NODE_ENTRIES.maximum:
        raise Corrupt(f"a tree node has {len(keys)} entries")
    if any(key >= following for key, following in pairwise(keys)):
        raise Corrupt("the keys of a tree node do not ascend")
    if node.counts is not None and 0 in node.counts:
        raise Corrupt("a tree node has an entry without documents")
    # A key of a lower level begins no child, and one of a higher level a new node.
    if any(level_of(key) != level for key in keys[1:]):
        raise Corrupt("a tree node does not end where it should")


def _misplaced(child: Digest, parent: Digest) -> Corrupt:
    return Corrupt(f"object {child.hex()} is not what its parent {parent.hex()} says")
