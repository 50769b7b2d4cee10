"""What one state tree has and another has not, object by object.

Where two trees share a subtree at the same place it is not looked at, so the cost
follows what differs. Every node that is met is compared with what its parent says of
it and with the rules of ``docs/format.md``: a tree that this goes through without an
error, and whose other part was gone through before, is the one tree of its documents.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from itertools import pairwise, starmap
from typing import TYPE_CHECKING, Final, NamedTuple

from st8.core.errors import Corrupt
from st8.core.limits import NODE_ENTRIES
from st8.core.node import EMPTY_ROOT, Node, level_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from st8.core.ids import Digest
    from st8.core.tree import NodeSource

__all__ = ["CONTENT", "Part", "Shape", "check_node", "new_parts"]


class Part(NamedTuple):
    """An object of a tree: a node, or with None the content of a document."""

    digest: Digest
    node: Node | None


class Shape(NamedTuple):
    """What a parent must say of an object.

    Attributes:
        level: The level of a node; -1 for a content.
        documents: How many are below it.
        first: The first key below a node; empty for a content, which has none.
        last: The last one, likewise.
    """

    level: int
    documents: int
    first: bytes
    last: bytes


CONTENT: Final = Shape(-1, 1, b"", b"")


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
    if shape == CONTENT:
        raise Corrupt(f"object {after.hex()} is not a node")
    if shape is None:
        node = source.node(after)
        check_node(node)
        old = [] if before == EMPTY_ROOT else [_Placed(source.node(before), None)]
        walk = _Walk(source, known)
        yield from walk.below(after, _Placed(node, None), old)


class _Placed(NamedTuple):
    """A node, and the first key behind it in its tree; None where there is none."""

    node: Node
    end: bytes | None

    def entries(self) -> list[_Entry]:
        """Return the entries of the node."""
        keys, counts = self.node.keys, self.node.counts or [1] * len(self.node.keys)
        # Where a content ends says nothing: each has its key to itself.
        ends = [*keys[1:], self.end] if self.node.level else [None] * len(keys)
        parts = zip(keys, self.node.children(), counts, ends, strict=True)
        return list(starmap(_Entry, parts))


class _Entry(NamedTuple):
    """What a node says of a child: two trees share it where they say the same."""

    key: bytes
    digest: Digest
    documents: int
    end: bytes | None

    def fits(self, shape: Shape, level: int) -> bool:
        """Return whether the child is what a node of this level says of it."""
        if not level:
            return shape == CONTENT
        return shape[:3] == (level - 1, self.documents, self.key) and (
            self.end is None or shape.last < self.end
        )


class _Walk(NamedTuple):
    """One going through two trees."""

    source: NodeSource
    known: Callable[[Digest], Shape | None]

    def below(
        self, digest: Digest, placed: _Placed, old: Sequence[_Placed]
    ) -> Iterator[Part]:
        """Yield the new parts of a node that was checked, itself last.

        ``old`` are nodes of one level of the other tree, among them all that may have
        a key of this one.
        """
        node = placed.node
        while old and old[0].node.level > node.level:
            old = self._children(old, node.keys[0], placed.end)
        beside = bool(old) and old[0].node.level == node.level
        shared = {entry for one in old for entry in one.entries()} if beside else ()
        missing = [
            entry
            for entry in placed.entries()
            if entry not in shared and not self._is_known(entry, digest, node.level)
        ]
        if not node.level:
            for entry in missing:
                yield Part(entry.digest, None)
            yield Part(digest, node)
            return
        nodes = self.source.nodes([entry.digest for entry in missing])
        for entry, child in zip(missing, nodes, strict=True):
            check_node(child)
            # In a leaf this is the last key; elsewhere the last child's first one,
            # and what follows it is looked at there.
            shape = Shape(child.level, child.count, child.keys[0], child.keys[-1])
            if not entry.fits(shape, node.level):
                raise _misplaced(entry.digest, digest)
            under = self._children(old, entry.key, entry.end) if beside else old
            yield from self.below(entry.digest, _Placed(child, entry.end), under)
        yield Part(digest, node)

    def _is_known(self, entry: _Entry, parent: Digest, level: int) -> bool:
        """Return whether a child of a node need not be gone into.

        Raises:
            Corrupt: It is known, and not what the node says of it.
        """
        shape = self.known(entry.digest)
        if shape is None:
            return False
        if not entry.fits(shape, level):
            raise _misplaced(entry.digest, parent)
        return True

    def _children(
        self, placed: Sequence[_Placed], start: bytes, end: bytes | None
    ) -> list[_Placed]:
        """Return the children that may have a key from ``start`` to before ``end``."""
        wanted: list[_Entry] = []
        for one in placed:
            keys = one.node.keys
            first = max(0, bisect_right(keys, start) - 1)
            last = len(keys) if end is None else bisect_left(keys, end)
            wanted += one.entries()[first:last] if one.node.level else []
        nodes = self.source.nodes([entry.digest for entry in wanted])
        ends = [entry.end for entry in wanted]
        return list(map(_Placed, nodes, ends))


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
