"""Redaction: a content taken out of all revisions, which still verify.

A content is stored once, under whatever keys and in whatever revisions it stands, and
is named by its digest everywhere. So it is enough to delete that one object: every
digest above it stays what it was, and a mark is read in its place from then on. What
was redacted can't be stored again, as it would be back in every revision.

First all trees are looked through for where it stands, beside what else goes on. Then,
while nobody commits, what has been made meanwhile is looked through too, and if no
head of a branch has the content it is deleted, in the same transaction in which the
collection epoch is counted up: a write that was prepared before is prepared anew, and
refused if it would bring the content back.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from st8.core import limits, tree
from st8.core.errors import (
    ContentInUse,
    KeyNotFound,
    LimitExceeded,
    RevisionCollected,
)
from st8.core.ids import Key, RevisionNumber
from st8.core.node import EMPTY_ROOT
from st8.core.redactions import Redaction
from st8.engine import pages
from st8.engine.history import resolve
from st8.engine.results import Redacted

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterator

    from st8.core.ids import Digest, Namespace
    from st8.core.ports import Store
    from st8.core.revisions import Revision
    from st8.engine.commit import Committer
    from st8.engine.objects import Objects
    from st8.engine.refs import Refs
    from st8.engine.requests import Redact

__all__ = ["Places", "Search", "erase"]

_NODES_AT_ONCE: Final = 64
_PAGES_AT_ONCE: Final = 64
"""Commits wait for so many: some 20 ms, with the syncs."""
_SHOWN: Final = 5
"""Branches that are named where a content is in use."""


def erase(store: Store, committer: Committer) -> None:
    """Overwrite what deletions have left in a store, while others write between pieces.

    Raises:
        OutcomeUnknown: It may still be there.
        St8Error: See :meth:`Store.erase`.
    """
    position = 1

    def work() -> None:
        nonlocal position
        position = store.erase(position, _PAGES_AT_ONCE)

    while position:
        committer.between_batches(work).result()


class Places:
    """Where contents stand in what is visible; used by one thread."""

    def __init__(
        self,
        store: Store,
        refs: Refs,
        objects: Objects,
        digests: Container[Digest],
        found: Callable[[Namespace, bytes, Digest], None],
    ) -> None:
        """Look at nothing yet.

        Args:
            store: What is looked through.
            refs: What is remembered of it.
            objects: Its objects.
            digests: The contents'.
            found: Told of each place, of some again; what it raises is raised.
        """
        self._store = store
        self._refs = refs
        self._objects = objects
        self._digests = digests
        self._tell = found
        self._looked: dict[Namespace, RevisionNumber] = {}
        self._walked: dict[Namespace, set[Digest]] = {}

    def look(self) -> None:
        """Look through all revisions that were made since it was called before.

        Raises:
            Corrupt: A tree is damaged.
        """
        for namespace, _ in pages.namespaces(self._store):
            after = self._looked.get(namespace, RevisionNumber(0))
            for number in pages.numbers(self._store, namespace, after):
                revision = self._refs.revision(namespace, number)
                if revision is not None:
                    self._look_through(revision)
                self._looked[namespace] = number

    def _look_through(self, revision: Revision) -> None:
        namespace = revision.scope.namespace
        walked = self._walked.setdefault(namespace, set())
        new: set[Digest] = set()
        try:
            for key, digest in self._found_in(revision, walked, new):
                self._tell(namespace, key, digest)
        except RevisionCollected:
            return  # with all that stood in it alone; what was seen may not be whole
        walked |= new

    def _found_in(
        self, revision: Revision, walked: set[Digest], new: set[Digest]
    ) -> Iterator[tuple[bytes, Digest]]:
        """Yield keys that have one, below nodes that were not walked yet."""
        source = self._objects.of(revision)
        waiting = [revision.root, revision.parent_root]
        while waiting:
            some = [
                digest
                for digest in dict.fromkeys(waiting[-_NODES_AT_ONCE:])
                if digest != EMPTY_ROOT and digest not in walked and digest not in new
            ]
            del waiting[-_NODES_AT_ONCE:]
            new.update(some)
            for node in source.nodes(some):
                if node.level:
                    waiting += node.children()
                    continue
                for key, digest in zip(node.keys, node.children(), strict=True):
                    if digest in self._digests:
                        yield key, digest


class Search:
    """Where the content of a :class:`Redact` stands; used by one thread.

    Attributes:
        digest: The content's.
    """

    def __init__(
        self, store: Store, refs: Refs, objects: Objects, request: Redact
    ) -> None:
        """Find the content, and nothing yet of where it stands.

        Raises:
            NotFound: The revision is not there, or has no such document.
        """
        self._store = store
        self._refs = refs
        self._objects = objects
        self._request = request
        found, visible = resolve(refs, request.scope, request.source)
        number = RevisionNumber(0) if found is None else found.number
        root = EMPTY_ROOT if found is None else found.root
        key = request.key.encode()
        digest = None
        if visible.has(key):
            digest = tree.get(objects.of(found), root, key)
        if digest is None:
            raise KeyNotFound(request.key, number)
        self.digest: Digest = digest
        self._through = Places(store, refs, objects, {digest}, self._found)
        self._keys: dict[Namespace, set[bytes]] = {}
        self._places = 0

    @property
    def places(self) -> list[tuple[Namespace, Key]]:
        """Where it stands, as far as was looked: namespaces and keys, in order."""
        return [
            (namespace, Key(key.decode()))
            for namespace, keys in sorted(self._keys.items())
            for key in sorted(keys)
        ]

    def look(self) -> None:
        """Look through all revisions that were made since it was called before.

        Raises:
            LimitExceeded: It stands in more than ``redacted_places_max`` places.
            Corrupt: A tree is damaged.
        """
        self._through.look()

    def check(self) -> None:
        """Return if it may be redacted where it stands.

        Raises:
            ContentInUse: A branch's head has it.
            St8Error: The request's guard objects.
        """
        guard = self._request.guard
        live: list[str] = []
        for namespace, keys in sorted(self._keys.items()):
            if guard is not None:
                guard(namespace)
            for branch in pages.branches(self._store, namespace):
                head = self._refs.revision(namespace, branch.head)
                if head is None:
                    continue
                source = self._objects.of(head)
                live += [
                    f"key {key.decode()!r} of branch {branch.name!r} of namespace "
                    f"{namespace!r}"
                    for key in sorted(keys)
                    if tree.get(source, head.root, key) == self.digest
                ]
        if live:
            more = f" and {len(live) - _SHOWN} more" if len(live) > _SHOWN else ""
            raise ContentInUse(
                f"the content is current: {', '.join(live[:_SHOWN])}{more}; apply "
                "another one there first, and redact it then",
                key=self._request.key,
            )

    def redactions(self, time_ns: int) -> list[Redaction]:
        """Return what redacts it wherever it stands, as of ``time_ns``."""
        return [
            Redaction(
                self.digest,
                namespace,
                key,
                self._request.author,
                self._request.reason,
                time_ns,
            )
            for namespace, key in self.places
        ]

    def result(self) -> Redacted:
        """Return what was found."""
        return Redacted(self.digest, self.places, self._request.dry_run)

    def _found(self, namespace: Namespace, key: bytes, _digest: Digest) -> None:
        keys = self._keys.setdefault(namespace, set())
        self._places += key not in keys
        keys.add(key)
        if self._places > limits.REDACTED_PLACES.maximum:
            raise LimitExceeded(limits.REDACTED_PLACES, "places of the content")
