"""Objects as the engine sees them: nodes and contents, each checked by its digest."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

from st8.core.errors import Corrupt, RevisionCollected
from st8.core.ids import Digest, digest_of
from st8.core.node import EMPTY, EMPTY_ROOT, Node, decode
from st8.engine.cache import ByteCache
from st8.engine.redactions import Redactions

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from st8.core.ports import Store
    from st8.core.revisions import Revision
    from st8.core.tree import NewNode

__all__ = [
    "ObjectMissing",
    "ObjectSource",
    "Objects",
    "OverlaidObjects",
    "RevisionObjects",
]

_CONTENT_OVERHEAD: Final = 320
"""Bytes that Python and the cache need beside a content's own."""
_NODE_OVERHEAD: Final = 400
"""The same of a node, and :data:`_ENTRY_OVERHEAD` of each of its entries."""
_ENTRY_OVERHEAD: Final = 56


class ObjectMissing(Corrupt):
    """The store does not have an object that something refers to."""

    def __init__(self, digest: Digest) -> None:
        """Name the object."""
        super().__init__(
            f"object {digest.hex()} is missing from the store; run a verification and "
            "restore from a backup",
            object=digest.hex(),
        )
        self.digest = digest


class ObjectSource(Protocol):
    """Nodes and contents by digest."""

    def node(self, digest: Digest) -> Node:
        """Return a node."""
        ...

    def nodes(self, digests: Sequence[Digest]) -> Iterable[Node]:
        """Return nodes in the order of ``digests``."""
        ...

    def contents(
        self, digests: Iterable[Digest], size_max: int | None = None
    ) -> dict[Digest, bytes]:
        """Return the content of every one of ``digests``.

        With ``size_max``, some of those that follow one with which the sizes pass
        that many bytes may be left out.
        """
        ...


class Objects:
    """The store's objects behind a cache.

    Whatever enters the cache was compared with its digest, so whatever leaves it
    is right. Any thread may call at any time; a miss reads from the store.
    """

    def __init__(self, store: Store, cache_bytes: int) -> None:
        """Read from ``store``, keeping at most ``cache_bytes`` in memory."""
        self._store = store
        self.cached_nodes: ByteCache[Digest, Node] = ByteCache(cache_bytes // 2)
        self.cached_contents: ByteCache[Digest, bytes] = ByteCache(cache_bytes // 2)
        self.redactions = Redactions(store)
        self._forgotten = 0

    def node(self, digest: Digest) -> Node:
        """Return a node.

        Raises:
            Corrupt: It is missing or does not match its digest.
        """
        node = self._cached(digest)
        if node is not None:
            return node
        return self._enter(digest, self._read([digest])[digest])

    def nodes(self, digests: Sequence[Digest]) -> list[Node]:
        """Return nodes in the order of ``digests``; see :meth:`node`."""
        found = {digest: self._cached(digest) for digest in digests}
        missing = [digest for digest, node in found.items() if node is None]
        if missing:
            for digest, data in self._read(missing).items():
                found[digest] = self._enter(digest, data)
        return [node for digest in digests if (node := found[digest]) is not None]

    def contents(
        self, digests: Iterable[Digest], size_max: int | None = None
    ) -> dict[Digest, bytes]:
        """See :class:`ObjectSource`. What was redacted is read as its mark.

        Raises:
            Corrupt: One is missing or does not match its digest.
        """
        found: dict[Digest, bytes] = {}
        missing: dict[Digest, None] = {}
        for digest in digests:
            data = self.cached_contents.get(digest)
            if data is None:
                missing[digest] = None
            else:
                found[digest] = data
        if not missing:
            return found
        forgotten = self._forgotten
        try:
            read = self._read(list(missing), size_max)
        except ObjectMissing as error:
            marks = self.redactions.marks(error.digest)
            if error.digest not in marks:
                raise
            found.update((d, marks[d]) for d in missing if d in marks)
            rest = [digest for digest in missing if digest not in marks]
            return found | self.contents(rest, size_max)
        found.update(read)
        for digest, data in read.items():
            self.cached_contents.put(digest, data, len(data) + _CONTENT_OVERHEAD)
        if forgotten != self._forgotten:  # it may have been redacted meanwhile
            self.cached_contents.clear()
        return found

    def forget_contents(self) -> None:
        """Keep no content in memory: some may have been redacted."""
        self._forgotten += 1
        self.cached_contents.clear()
        self.redactions.forget_count()

    def of(
        self, *revisions: Revision | None, over: ObjectSource | None = None
    ) -> RevisionObjects:
        """Return the objects of some revisions; see :class:`RevisionObjects`.

        None stands for no revision. With ``over`` they are read from there.
        """
        known = [revision for revision in revisions if revision is not None]
        return RevisionObjects(self, over or self, known)

    def is_stored(self, revision: Revision) -> bool:
        """Return whether a revision is there still; always asks the store."""
        at = revision.scope.namespace, revision.number
        return bool(self._store.revisions(at[0], [at[1]]))

    def bytes_at_hand(self, digest: Digest, absent: int) -> int:
        """Return the size of a content that is in memory, else ``absent``."""
        data = self.cached_contents.get(digest)
        return absent if data is None else len(data)

    def add(
        self, nodes: Mapping[Digest, NewNode], contents: Mapping[Digest, bytes]
    ) -> None:
        """Keep objects that have just been made, since they are read next."""
        for digest, new in nodes.items():
            self.cached_nodes.put(digest, new.node, _node_cost(new.node))
        for digest, data in contents.items():
            self.cached_contents.put(digest, data, len(data) + _CONTENT_OVERHEAD)

    def _cached(self, digest: Digest) -> Node | None:
        node = self.cached_nodes.get(digest)
        return EMPTY if node is None and digest == EMPTY_ROOT else node

    def _enter(self, digest: Digest, data: bytes) -> Node:
        node = decode(data)
        self.cached_nodes.put(digest, node, _node_cost(node))
        return node

    def _read(
        self, digests: Sequence[Digest], size_max: int | None = None
    ) -> dict[Digest, bytes]:
        """Return objects from the store, each compared with its digest."""
        found = self._store.objects(digests, size_max)
        for digest in digests:
            data = found.get(digest)
            if data is None:
                if size_max is not None and found:
                    continue  # left out, or missing: it will be asked for first
                raise ObjectMissing(digest)
            if digest_of(data) != digest:
                raise Corrupt(
                    f"object {digest.hex()} does not match its digest; it is not "
                    "served. Run a verification and restore from a backup",
                    object=digest.hex(),
                )
        return found


class RevisionObjects:
    """What the states of some revisions, and those before them, are made of.

    A long reading may find that garbage collection has removed its revision
    meanwhile, on this daemon or on another one, and then the objects. So where one
    is missing the store is asked for the revisions: if one of them is gone, that is
    said; if all are there, the object should be there too.
    """

    def __init__(
        self, objects: Objects, below: ObjectSource, revisions: Sequence[Revision]
    ) -> None:
        """Read from ``below``; ``objects`` tell which of ``revisions`` are there."""
        self._objects = objects
        self._below = below
        self._revisions = revisions

    def node(self, digest: Digest) -> Node:
        """See :class:`ObjectSource`.

        Raises:
            RevisionCollected: A revision was removed, and this object with it.
            Corrupt: The object is missing or does not match its digest.
        """
        try:
            return self._below.node(digest)
        except ObjectMissing:
            self._check_revisions()
            raise

    def nodes(self, digests: Sequence[Digest]) -> list[Node]:
        """See :class:`ObjectSource`; raises as :meth:`node` does."""
        try:
            return list(self._below.nodes(digests))
        except ObjectMissing:
            self._check_revisions()
            raise

    def contents(
        self, digests: Iterable[Digest], size_max: int | None = None
    ) -> dict[Digest, bytes]:
        """See :class:`ObjectSource`; raises as :meth:`node` does."""
        try:
            return self._below.contents(digests, size_max)
        except ObjectMissing:
            self._check_revisions()
            raise

    def bytes_at_hand(self, digest: Digest, absent: int) -> int:
        """See :meth:`Objects.bytes_at_hand`."""
        return self._objects.bytes_at_hand(digest, absent)

    def _check_revisions(self) -> None:
        for revision in self._revisions:
            if not self._objects.is_stored(revision):
                raise RevisionCollected(
                    revision.scope.namespace, revision.number
                ) from None


class OverlaidObjects:
    """Objects that are not stored, before those that are: for diffs and dry runs."""

    def __init__(
        self,
        below: ObjectSource,
        nodes: Mapping[Digest, NewNode],
        contents: Mapping[Digest, bytes],
    ) -> None:
        """Lay ``nodes`` and ``contents`` over ``below``."""
        self._below = below
        self._nodes = nodes
        self._contents = contents

    def node(self, digest: Digest) -> Node:
        """See :class:`ObjectSource`."""
        new = self._nodes.get(digest)
        return self._below.node(digest) if new is None else new.node

    def nodes(self, digests: Sequence[Digest]) -> Iterable[Node]:
        """See :class:`ObjectSource`."""
        return map(self.node, digests)

    def contents(
        self, digests: Iterable[Digest], size_max: int | None = None
    ) -> dict[Digest, bytes]:
        """See :class:`ObjectSource`."""
        wanted = list(digests)
        found = {d: self._contents[d] for d in wanted if d in self._contents}
        below = (d for d in wanted if d not in found)
        return found | self._below.contents(below, size_max)


def _node_cost(node: Node) -> int:
    """Return about how many bytes a node takes in memory."""
    entries = len(node.keys) * _ENTRY_OVERHEAD + sum(map(len, node.keys))
    return _NODE_OVERHEAD + len(node.digests) + entries
