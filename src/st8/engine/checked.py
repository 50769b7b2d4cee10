"""A store that is read to the last byte and believed nothing.

Everything that comes out was compared with its digest, and what is damaged is named:
where it is, which revision needs it, and under which key. No cache stands between.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Final, NamedTuple, TypeVar

from st8.core import node
from st8.core.errors import Corrupt, RevisionCollected
from st8.core.ids import Digest, Namespace, RevisionNumber, digest_of
from st8.core.node import EMPTY_ROOT
from st8.core.revisions import Branch, Link, Revision, decode
from st8.engine import pages

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from st8.core.ports import Answer, AnswerAt, Store
    from st8.core.redactions import Redaction
    from st8.core.revisions import Checkpoint, NamespaceInfo

__all__ = ["CheckedStore", "Stored"]

_T = TypeVar("_T")

_READ_AT_ONCE: Final = 256
"""Nodes, each with 16 children on average, or contents."""


class Stored(NamedTuple):
    """A revision, with the bytes it is stored as."""

    data: bytes
    revision: Revision


class _Damaged(Exception):
    """An object is not what it should be; the message says how."""

    def __init__(self, digest: Digest, how: str) -> None:
        super().__init__(how)
        self.digest = digest
        self.how = how


class CheckedStore:
    """Reads a store; any thread. Lists are read page by page.

    Every method may raise :class:`~st8.core.errors.Corrupt`, with a sentence that
    begins with the store's place, and what the store raises.

    Attributes:
        store: The store itself.
        place: Where it is, for people.
    """

    def __init__(
        self, store: Store, place: str, remedy: str, *, bytes_at_once: int
    ) -> None:
        """Read a store.

        Args:
            store: The store.
            place: Where it is, for people.
            remedy: What is to be done where it is damaged.
            bytes_at_once: How many bytes of objects are in memory at once, about.
        """
        self.store = store
        self.place = place
        self._remedy = remedy
        self._bytes_at_once = bytes_at_once

    # --- lists -----------------------------------------------------------------

    def namespaces(self) -> Iterator[NamespaceInfo]:
        """Yield every namespace, in byte order of their names."""
        return self._placed(pages.namespaces(self.store), "list of namespaces")

    def numbers(self, namespace: Namespace) -> Iterator[RevisionNumber]:
        """Yield the number of every stored revision, ascending."""
        return pages.numbers(self.store, namespace)

    def branches(self, namespace: Namespace) -> Iterator[Branch]:
        """Yield every branch, in byte order of their names."""
        found = pages.branches(self.store, namespace)
        return self._placed(found, f"branches of namespace {namespace!r}")

    def checkpoints(self, namespace: Namespace) -> Iterator[Checkpoint]:
        """Yield every checkpoint, in byte order of their names."""
        found = pages.checkpoints(self.store, namespace)
        return self._placed(found, f"checkpoints of namespace {namespace!r}")

    def answers(self) -> Iterator[tuple[AnswerAt, Answer]]:
        """Yield every answer to an idempotency key, by namespace and key."""
        return self._placed(pages.answers(self.store), "answers to idempotency keys")

    def redactions(self) -> list[Redaction]:
        """Return what was redacted: its contents are missing, and are not missed."""
        return list(self._placed(iter(self.store.redactions()), "redactions"))

    def _placed(self, found: Iterator[_T], what: str) -> Iterator[_T]:
        try:
            yield from found
        except Corrupt as error:
            raise self._corrupt(f"the {what}: {error.detail}") from None

    # --- revisions -------------------------------------------------------------

    def revisions(
        self, namespace: Namespace, numbers: Sequence[RevisionNumber]
    ) -> dict[RevisionNumber, Stored]:
        """Return those of some revisions that are there, each what its place says."""
        try:
            records = self.store.revisions(namespace, numbers)
        except Corrupt:
            records = self._one_by_one(namespace, numbers)
        found: dict[RevisionNumber, Stored] = {}
        for number in sorted(records):
            data = records[number]
            try:
                revision = decode(data)
            except Corrupt as error:
                raise self._bad_revision(namespace, number, error.detail) from None
            if (revision.scope.namespace, revision.number) != (namespace, number):
                raise self._bad_revision(
                    namespace,
                    number,
                    f"it is the record of revision {revision.number} of namespace "
                    f"{revision.scope.namespace!r}",
                )
            found[number] = Stored(data, revision)
        return found

    def _one_by_one(
        self, namespace: Namespace, numbers: Sequence[RevisionNumber]
    ) -> Mapping[RevisionNumber, bytes]:
        """Return revisions as the store does, and name the one that it can't read."""
        found: dict[RevisionNumber, bytes] = {}
        for number in numbers:
            try:
                found.update(self.store.revisions(namespace, [number]))
            except Corrupt as error:
                raise self._bad_revision(namespace, number, error.detail) from None
        return found

    def check_chain(
        self, namespace: Namespace, stored: Mapping[RevisionNumber, Stored]
    ) -> None:
        """Return if every revision that these name is what they say, or is gone."""
        links = {
            number: [Link(p.number, p.digest) for p in revision.parents]
            + ([] if revision.skip is None else [revision.skip])
            for number, (_, revision) in stored.items()
        }
        named = {link.number for some in links.values() for link in some}
        known = self.revisions(namespace, sorted(named - stored.keys())) | dict(stored)
        for number, (_, revision) in stored.items():
            roots = {parent.number: parent.root for parent in revision.parents}
            for link in links[number]:
                other = known[link.number].revision if link.number in known else None
                if other is not None and (
                    other.link != link
                    or other.number >= number
                    or other.root != roots.get(other.number, other.root)
                ):
                    raise self._bad_revision(
                        namespace,
                        number,
                        f"revision {other.number} is not the one that it follows",
                    )

    def check_ref(
        self,
        namespace: Namespace,
        ref: Branch | Checkpoint,
        stored: Mapping[RevisionNumber, Stored],
    ) -> None:
        """Return if what a branch or checkpoint names is among ``stored``."""
        link = ref.link
        found = stored.get(link.number)
        if found is None or found.revision.digest != link.digest:
            problem = "is missing" if found is None else "is another one"
            kind = "branch" if isinstance(ref, Branch) else "checkpoint"
            raise self._corrupt(
                f"{kind} {ref.name!r} of namespace {namespace!r} names revision "
                f"{link.number}, which {problem}"
            )

    def _bad_revision(self, namespace: str, number: int, how: str) -> Corrupt:
        return self._corrupt(f"revision {number} of namespace {namespace!r}: {how}")

    def _corrupt(self, what: str) -> Corrupt:
        return Corrupt(f"{self.place} is damaged: {what}; {self._remedy}")

    # --- objects ---------------------------------------------------------------

    def objects_of(
        self, revisions: Sequence[Revision], seen: set[Digest]
    ) -> Iterator[dict[Digest, bytes]]:
        """Yield what the states of revisions, and those before them, are made of.

        In pieces, each object once and but for those that are ``seen``, which grows.

        Raises:
            RevisionCollected: One of the revisions is gone, and its objects too.
        """
        roots = [r for one in revisions for r in (one.root, one.parent_root)]
        try:
            yield from self._below(roots, seen)
        except _Damaged as error:
            raise self._told(revisions, error) from None

    def _below(
        self, roots: Iterable[Digest], seen: set[Digest]
    ) -> Iterator[dict[Digest, bytes]]:
        redacted = {redaction.digest for redaction in self.redactions()}
        nodes = _unseen((root for root in roots if root != EMPTY_ROOT), seen)
        seen.update(nodes)
        contents: list[Digest] = []
        while nodes or contents:
            while nodes and len(contents) < _READ_AT_ONCE:
                # From the end, so that what waits is a few levels and not a state.
                some = nodes[-_READ_AT_ONCE:]
                del nodes[-_READ_AT_ONCE:]
                for piece in self._pieces(some):
                    for digest, data in piece.items():
                        level, children = _children(digest, data)
                        new = _unseen((c for c in children if c not in redacted), seen)
                        seen.update(new)
                        (nodes if level else contents).extend(new)
                    yield piece
            some = contents[-_READ_AT_ONCE:]
            del contents[-_READ_AT_ONCE:]
            yield from self._pieces(some)

    def _pieces(self, digests: Sequence[Digest]) -> Iterator[dict[Digest, bytes]]:
        """Yield objects in pieces of a bounded size, each compared with its digest."""
        wanted = list(digests)
        while wanted:
            try:
                found = self.store.objects(wanted, self._bytes_at_once)
            except Corrupt as error:
                self._find_unreadable(wanted)
                raise _Damaged(wanted[0], error.detail) from None
            if not found:
                raise _Damaged(wanted[0], "is missing")
            for digest, data in found.items():
                if digest_of(data) != digest:
                    raise _Damaged(digest, "does not match its digest")
            yield found
            wanted = [digest for digest in wanted if digest not in found]

    def _find_unreadable(self, digests: Sequence[Digest]) -> None:
        for digest in digests:
            try:
                self.store.objects([digest])
            except Corrupt as error:
                raise _Damaged(digest, f"can't be read: {error.detail}") from None

    def _told(
        self, revisions: Sequence[Revision], error: _Damaged
    ) -> Corrupt | RevisionCollected:
        """Return the error that says whose object it is."""
        for revision in revisions:
            namespace, number = revision.scope.namespace, revision.number
            if not self.store.revisions(namespace, [number]):
                return RevisionCollected(namespace, number)
        revision, key = self._whose(revisions, error.digest)
        at = f", key {key.decode(errors='replace')!r}" if key else ""
        return self._bad_revision(
            revision.scope.namespace,
            revision.number,
            f"object {error.digest.hex()}{at}, {error.how}",
        )

    def _whose(
        self, revisions: Sequence[Revision], wanted: Digest
    ) -> tuple[Revision, bytes]:
        """Return the first revision that an object is of, and its first key."""
        seen: set[Digest] = set()
        for revision in revisions:
            waiting = [(revision.root, b""), (revision.parent_root, b"")]
            while waiting:
                digest, key = waiting.pop()
                if digest == wanted:
                    return revision, key
                if digest in seen:
                    continue
                seen.add(digest)
                found = self._node_or_none(digest)
                if found is not None:
                    pairs = list(zip(found.children(), found.keys, strict=True))
                    for child, child_key in pairs:
                        if child == wanted:
                            return revision, child_key
                    waiting += pairs if found.level else []
        return revisions[0], b""

    def _node_or_none(self, digest: Digest) -> node.Node | None:
        with suppress(Corrupt):
            for data in self.store.objects([digest]).values():
                if digest_of(data) == digest:
                    return node.decode(data)
        return None


def _children(digest: Digest, data: bytes) -> tuple[int, list[Digest]]:
    try:
        found = node.decode(data)
    except Corrupt as error:
        raise _Damaged(digest, error.detail) from None
    return found.level, found.children()


def _unseen(digests: Iterable[Digest], seen: set[Digest]) -> list[Digest]:
    return list(dict.fromkeys(d for d in digests if d not in seen))
