"""The state tree: a persistent, ordered, content-addressed map of key to digest.

A prolly tree as in Noms and Dolt, with boundaries chosen by the key alone as in a
Merkle search tree. Two rules make it canonical, so that the same documents have
the same root digest whatever happened before:

1. At level L a new node begins at every key whose level (:func:`node.level_of`)
   is greater than L. What the very first key says does not matter.
2. The root is the lowest node that has everything below it.

An entry above the leaves stands for one node below it and carries its first key,
its digest and the number of documents in it.

Every function here is pure: it reads nodes from a :class:`NodeSource` and returns
new nodes as values. In the costs below, n is the number of documents.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from itertools import islice
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

from st8.core.errors import LimitExceeded
from st8.core.ids import DIGEST_BYTES, Digest, digest_of
from st8.core.limits import NODE_ENTRIES
from st8.core.node import EMPTY_ROOT, Node, encode, level_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

__all__ = [
    "Difference",
    "Edit",
    "NewNode",
    "NodeSource",
    "count",
    "diff",
    "edit",
    "get",
    "items",
    "leaves",
]


_LEAVES_AT_ONCE: Final = 32


class NodeSource(Protocol):
    """Where nodes are read from. ``EMPTY_ROOT`` always gives the empty leaf."""

    def node(self, digest: Digest) -> Node:
        """Return the node with this digest, checked against it."""
        ...

    def nodes(self, digests: Sequence[Digest]) -> Iterable[Node]:
        """Return the nodes with these digests, in their order."""
        ...


class NewNode(NamedTuple):
    """A node that an edit made, with its canonical bytes."""

    node: Node
    data: bytes


class Difference(NamedTuple):
    """One key that differs between two states; None where it is absent."""

    key: bytes
    before: Digest | None
    after: Digest | None


class Edit(NamedTuple):
    """What an edit gives.

    Attributes:
        root: The digest of the new root.
        nodes: Every node of the new tree that the old one lacked, by digest.
        differences: What really changed, by key.
    """

    root: Digest
    nodes: dict[Digest, NewNode]
    differences: list[Difference]


class _Entry(NamedTuple):
    """What an entry holds beside its key."""

    digest: Digest
    documents: int


_Edits = list[tuple[bytes, _Entry | None]]
"""Keys, ascending, with their new entries; None takes the entry away."""


def get(source: NodeSource, root: Digest, key: bytes) -> Digest | None:
    """Return the content digest of ``key``, or None; O(log n)."""
    node = source.node(root)
    while node.level:
        index = bisect_right(node.keys, key) - 1
        if index < 0:
            return None
        node = source.node(node.digest_at(index))
    index = bisect_left(node.keys, key)
    if index < len(node.keys) and node.keys[index] == key:
        return node.digest_at(index)
    return None


def count(
    source: NodeSource, root: Digest, start: bytes = b"", end: bytes | None = None
) -> int:
    """Return the number of documents with ``start`` <= key < ``end``; O(log n)."""
    last = source.node(root).count if end is None else _rank(source, root, end)
    return max(0, last - _rank(source, root, start))


def leaves(
    source: NodeSource, root: Digest, start: bytes = b"", end: bytes | None = None
) -> Iterator[tuple[Sequence[bytes], list[Digest]]]:
    """Yield keys and digests with ``start`` <= key < ``end``, a leaf at a time.

    In key order; O(log n) to begin. Leaves are read one by one at first, then more
    and more at once, up to 32.
    """
    digests = _leaf_digests(source, root, start, end)
    batch = 1
    while wanted := list(islice(digests, batch)):
        for leaf in source.nodes(wanted):
            at = bisect_left(leaf.keys, start)
            stop = len(leaf.keys) if end is None else bisect_left(leaf.keys, end)
            if at < stop:
                yield leaf.keys[at:stop], leaf.children(at, stop)
        batch = min(2 * batch, _LEAVES_AT_ONCE)


def items(
    source: NodeSource, root: Digest, start: bytes = b"", end: bytes | None = None
) -> Iterator[tuple[bytes, Digest]]:
    """Yield (key, content digest) with ``start`` <= key < ``end``, in key order."""
    for keys, digests in leaves(source, root, start, end):
        yield from zip(keys, digests, strict=True)


def diff(
    source: NodeSource,
    before: Digest,
    after: Digest,
    start: bytes = b"",
    end: bytes | None = None,
) -> Iterator[Difference]:
    """Yield every key in [``start``, ``end``) whose digest differs, in key order.

    O(d log n) for d differences: equal subtrees are skipped by their digest. They
    are found because a key that both states have begins a node in both or in
    neither; where nodes do not begin alike, one of the keys is a difference.
    """
    a = _Cursor(source, before, start, end)
    b = _Cursor(source, after, start, end)
    while a.live or b.live:
        if not b.live or (a.live and a.key < b.key):
            if a.level < 0:
                yield Difference(a.key, a.digest, None)
            a.advance()
        elif not a.live or b.key < a.key:
            if b.level < 0:
                yield Difference(b.key, None, b.digest)
            b.advance()
        elif a.level != b.level:
            (a if a.level > b.level else b).advance()
        elif a.digest == b.digest:
            a.skip()
            b.skip()
        else:
            if a.level < 0:
                yield Difference(a.key, a.digest, b.digest)
            a.advance()
            b.advance()


def edit(
    source: NodeSource, root: Digest, edits: Mapping[bytes, Digest | None]
) -> Edit:
    """Return the tree ``root`` with ``edits`` made; a None digest deletes.

    O(k log n) for k edits. Each level is edited in the same way: the nodes that
    hold an edited key are merged with the edits and cut anew, and what that does
    to the list of nodes is the edits of the level above.

    Raises:
        LimitExceeded: A node would have more than ``node_entries_max`` entries.
    """
    pending: _Edits = [
        (key, None if digest is None else _Entry(digest, 1))
        for key, digest in sorted(edits.items())
    ]
    editor = _Editor(source, root)
    for level in range(editor.top.level + 1):
        pending = editor.edit_level(level, pending)
        if not pending:
            return Edit(root, {}, [])
    return Edit(editor.finish(pending), editor.made, editor.differences)


def _by_key(edit: tuple[bytes, _Entry | None]) -> bytes:
    return edit[0]


def _leaf_digests(
    source: NodeSource, root: Digest, start: bytes, end: bytes | None
) -> Iterator[Digest]:
    """Yield the digests of the leaves that may hold keys in [start, end)."""
    node = source.node(root)
    if not node.level:
        yield root
        return
    at = max(0, bisect_right(node.keys, start) - 1)
    stop = len(node.keys) if end is None else bisect_left(node.keys, end)
    for child in node.children(at, stop):
        if node.level == 1:
            yield child
        else:
            yield from _leaf_digests(source, child, start, end)


def _rank(source: NodeSource, root: Digest, key: bytes) -> int:
    """Return the number of documents whose key is less than ``key``."""
    rank = 0
    node = source.node(root)
    while node.counts is not None:
        index = max(0, bisect_right(node.keys, key) - 1)
        rank += sum(node.counts[:index])
        node = source.node(node.digest_at(index))
    return rank + bisect_left(node.keys, key)


class _Cursor:
    """A place in a tree: an entry, and the path to it.

    Attributes:
        live: False at the end; the others then mean nothing.
        level: Of the node that the entry stands for; -1 for a document.
        key: The entry's key.
        digest: The entry's digest.
    """

    __slots__ = ("_end", "_path", "_source", "_start", "digest", "key", "level", "live")

    def __init__(
        self, source: NodeSource, root: Digest, start: bytes, end: bytes | None
    ) -> None:
        self._source = source
        self._start = start
        self._end = end
        top = source.node(root)
        self._path: list[tuple[Node, int]] = []
        self.live = bool(top.keys)
        if self.live:
            self.level = top.level
            self.key = top.keys[0]
            self.digest = root

    def advance(self) -> None:
        """Move to the first entry below this one in the range; past a document."""
        if self.level < 0:
            self.skip()
            return
        node = self._source.node(self.digest)
        if node.level:
            at = max(0, bisect_right(node.keys, self._start) - 1)
        else:
            at = bisect_left(node.keys, self._start)
        self._path.append((node, at))
        self._settle()

    def skip(self) -> None:
        """Move to the entry after everything below this one."""
        if not self._path:
            self.live = False
            return
        node, at = self._path[-1]
        self._path[-1] = (node, at + 1)
        self._settle()

    def _settle(self) -> None:
        path = self._path
        while path:
            node, at = path[-1]
            if at < len(node.keys):
                self.level = node.level - 1
                self.key = node.keys[at]
                self.digest = node.digest_at(at)
                self.live = self._end is None or self.key < self._end
                return
            path.pop()
            if path:
                above, at = path[-1]
                path[-1] = (above, at + 1)
        self.live = False


class _Place(NamedTuple):
    """A node of the old tree at some level.

    Attributes:
        digest: Its digest.
        node: The node.
        end: The first key of the next node at this level; None for the last.
        first: True when no node at this level is before it.
    """

    digest: Digest
    node: Node
    end: bytes | None
    first: bool


class _Run:
    """Neighbouring nodes of one level that are merged with edits and cut anew.

    Attributes:
        first: True when the run begins with the first node of its level.
        end: The first key after it; None at the end of the level.
        old: The first key of each old node, and the node's digest.
        keys, entries: What the run holds now.
        undecided: Keys that may or may not begin a node: new ones, and those that
            began one. All others never did and never will.
    """

    __slots__ = ("end", "entries", "first", "keys", "old", "undecided")

    def __init__(self, place: _Place) -> None:
        self.first = place.first
        self.end: bytes | None = None
        self.old: dict[bytes, Digest] = {}
        self.keys: list[bytes] = []
        self.entries: list[_Entry] = []
        self.undecided: set[bytes] = set()


class _Editor:
    """One edit of one tree, level by level from the leaves."""

    def __init__(self, source: NodeSource, root: Digest) -> None:
        self._source = source
        self._root = root
        self.top = source.node(root)
        self.made: dict[Digest, NewNode] = {}
        self.differences: list[Difference] = []
        self._replaced: dict[bytes, Node] = {}

    def edit_level(self, level: int, edits: _Edits) -> _Edits:
        """Make ``edits`` at ``level`` and return the edits of the level above."""
        above: dict[bytes, _Entry | None] = {}
        self._replaced = {}
        run: _Run | None = None
        at = 0
        while at < len(edits):
            place = self._find(level, edits[at][0])
            stop = at + 1
            end = place.end
            while stop < len(edits) and (end is None or edits[stop][0] < end):
                stop += 1
            group = edits[at:stop]
            at = stop
            if self._replace(place.node, group, above):
                continue
            if run is None or not place.node.keys or run.end != place.node.keys[0]:
                if run is not None:
                    self._cut(level, run, above)
                run = _Run(place)
            self._merge(run, place, group)
        if run is not None:
            self._cut(level, run, above)
        return sorted(above.items(), key=_by_key)

    def finish(self, edits: _Edits) -> Digest:
        """Return the root of what the edits above the old top leave.

        Builds levels until one node is left, then drops roots with one child.
        """
        above = dict(edits)
        if self.top.keys:
            above.setdefault(self.top.keys[0], _Entry(self._root, self.top.count))
        entries = [
            (key, entry)
            for key, entry in sorted(above.items(), key=_by_key)
            if entry is not None
        ]
        level = self.top.level
        while len(entries) > 1:
            level += 1
            keys = [key for key, _ in entries]
            entries = self._build(
                level, keys, [entry for _, entry in entries], set(keys)
            )
        if not entries:
            return EMPTY_ROOT
        root = entries[0][1].digest
        node = self._node(root)
        while node.level and len(node.keys) == 1:
            self.made.pop(root, None)
            root = node.digest_at(0)
            node = self._node(root)
        return root

    def _node(self, digest: Digest) -> Node:
        new = self.made.get(digest)
        return new.node if new is not None else self._source.node(digest)

    def _find(self, level: int, key: bytes) -> _Place:
        """Return the old node at ``level`` where ``key`` is or would be."""
        place = _Place(self._root, self.top, None, first=True)
        while place.node.level > level:
            place = self._below(place, bisect_right(place.node.keys, key) - 1)
        return place

    def _before(self, level: int, key: bytes) -> _Place:
        """Return the last old node at ``level`` that begins before ``key``."""
        place = _Place(self._root, self.top, None, first=True)
        while place.node.level > level:
            place = self._below(place, bisect_left(place.node.keys, key) - 1)
        return place

    def _below(self, place: _Place, index: int) -> _Place:
        """Return the child of a place, the first one for an index below 0."""
        index = max(0, index)
        keys = place.node.keys
        digest = place.node.digest_at(index)
        return _Place(
            digest,
            self._source.node(digest),
            keys[index + 1] if index + 1 < len(keys) else place.end,
            first=place.first and index == 0,
        )

    def _replace(
        self, node: Node, edits: _Edits, above: dict[bytes, _Entry | None]
    ) -> bool:
        """Make edits that leave the keys as they are: no boundary can move.

        Returns False, with nothing done, when a key comes or goes.
        """
        keys = node.keys
        digests = bytearray(node.digests)
        counts = None if node.counts is None else list(node.counts)
        differences: list[Difference] = []
        for key, entry in edits:
            index = bisect_left(keys, key)
            if index == len(keys) or keys[index] != key:
                if entry is None:
                    continue
                return False
            if entry is None:
                return False
            at = index * DIGEST_BYTES
            if counts is None:
                before = node.digest_at(index)
                if before != entry.digest:
                    differences.append(Difference(key, before, entry.digest))
            else:
                counts[index] = entry.documents
            digests[at : at + DIGEST_BYTES] = entry.digest
        new = Node(node.level, keys, bytes(digests), counts)
        if new.digests == node.digests and new.counts == node.counts:
            return True
        self.differences += differences
        above[keys[0]] = self._add(new)
        self._replaced[keys[0]] = new
        return True

    def _merge(self, run: _Run, place: _Place, edits: _Edits) -> None:
        """Append the place's node to the run, with ``edits`` made in it."""
        node = place.node
        run.end = place.end
        if node.keys:
            run.old[node.keys[0]] = place.digest
            run.undecided.add(node.keys[0])
        at = 0
        for key, entry in edits:
            index = bisect_left(node.keys, key, at)
            self._keep(run, node, at, index)
            at = index
            before = None
            if index < len(node.keys) and node.keys[index] == key:
                before = node.digest_at(index)
                at += 1
            if entry is not None:
                run.keys.append(key)
                run.entries.append(entry)
                if before is None:
                    run.undecided.add(key)
            after = None if entry is None else entry.digest
            if not node.level and before != after:
                self.differences.append(Difference(key, before, after))
        self._keep(run, node, at, len(node.keys))

    @staticmethod
    def _keep(run: _Run, node: Node, start: int, stop: int) -> None:
        """Append entries of ``node`` that are not edited."""
        if start == stop:
            return
        run.keys += node.keys[start:stop]
        counts = node.counts
        for index in range(start, stop):
            run.entries.append(
                _Entry(node.digest_at(index), 1 if counts is None else counts[index])
            )

    def _cut(self, level: int, run: _Run, above: dict[bytes, _Entry | None]) -> None:
        """Cut a run into nodes and note what changes on the level above."""
        if run.keys and not run.first and level_of(run.keys[0]) <= level:
            # Its first key went away, so what is left belongs to the node before.
            # That one gained and lost no key: otherwise it would be in this run.
            place = self._before(level, next(iter(run.old)))
            first = place.node.keys[0]
            replaced = self._replaced.get(first)
            if replaced is not None:
                entry = above[first]
                if entry is not None:
                    del self.made[entry.digest]
                place = place._replace(node=replaced)
            head = _Run(place)
            self._merge(head, place, [])
            head.old.update(run.old)
            head.keys += run.keys
            head.entries += run.entries
            head.undecided |= run.undecided
            run = head
        above.update(dict.fromkeys(run.old))
        for key, entry in self._build(level, run.keys, run.entries, run.undecided):
            if run.old.get(key) == entry.digest:
                del above[key], self.made[entry.digest]
            else:
                above[key] = entry

    def _build(
        self,
        level: int,
        keys: list[bytes],
        entries: list[_Entry],
        undecided: set[bytes],
    ) -> list[tuple[bytes, _Entry]]:
        """Return the nodes that these entries make at ``level``."""
        starts = [
            index
            for index, key in enumerate(keys)
            if index == 0 or (key in undecided and level_of(key) > level)
        ]
        built: list[tuple[bytes, _Entry]] = []
        if not keys:
            return built
        for start, stop in zip(starts, [*starts[1:], len(keys)], strict=True):
            size = stop - start
            if size > NODE_ENTRIES.maximum:
                raise LimitExceeded(
                    NODE_ENTRIES,
                    f"the keys from {keys[start].decode()!r} on would share one node",
                    size,
                )
            part = entries[start:stop]
            node = Node(
                level,
                keys[start:stop],
                b"".join([entry.digest for entry in part]),
                [entry.documents for entry in part] if level else None,
            )
            built.append((keys[start], self._add(node)))
        return built

    def _add(self, node: Node) -> _Entry:
        data = encode(node)
        digest = digest_of(data)
        self.made[digest] = NewNode(node, data)
        return _Entry(digest, node.count)
