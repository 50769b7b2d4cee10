"""A store that is read to the last byte and believed nothing.

Everything that comes out was compared with its digest, and what is damaged is named:
where it is, which revision needs it, and under which key. No cache stands between.

Each damage is a :class:`~st8.core.findings.Finding`. Whoever copies a store stops at the first one: it is
raised. Whoever verifies one hears of each, and the reading goes on without what is
damaged.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeVar, cast

from st8.core import node
from st8.core.errors import Corrupt, RevisionCollected
from st8.core.findings import Finding
from st8.core.ids import Digest, Namespace, RevisionNumber, digest_of
from st8.core.node import EMPTY_ROOT
from st8.core.ports import DamagedRow
from st8.core.revisions import Branch, NamespaceInfo, Revision, decode
from st8.engine import chain, pages
from st8.engine.chain import links_of
from st8.engine.shape import ROOT, Place, places_below, problem

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from st8.core.node import Node
    from st8.core.ports import Answer, AnswerAt, Store
    from st8.core.redactions import Redaction
    from st8.core.revisions import Checkpoint

__all__ = ["Census", "CheckedStore", "Stored"]

_T = TypeVar("_T")

_READ_AT_ONCE: Final = 256
"""Nodes, each with 16 children on average, or contents."""

_LISTED_AT_ONCE: Final = 1_000


class Stored(NamedTuple):
    """A revision, with the bytes it is stored as."""

    data: bytes
    revision: Revision


class _Wanted(NamedTuple):
    """An object that is to be read, and who needs it.

    Attributes:
        digest: Its digest.
        revision: A revision that needs it.
        key: The key it has in the node above, empty for a root.
        place: Where a node stands; None for a content.
    """

    digest: Digest
    revision: Revision
    key: bytes
    place: Place | None


class Census:
    """What was met below some revisions, where contents are not read but counted.

    Attributes:
        nodes: The digests of nodes.
        contents: The digests of contents that leaves name.
    """

    def __init__(self) -> None:
        """Nothing was met yet."""
        self.nodes: set[Digest] = set()
        self.contents: set[Digest] = set()
        self._places: set[int] = set()

    def is_new(self, digest: Digest, place: Place, marks: list[int]) -> bool:
        """Return whether a node was not met in this place; from now on it was.

        ``marks`` grows by what :meth:`forget` takes.
        """
        # Not the place itself, for its size: that two of 2^64 are alike is not to be
        # expected, as Python mixes chance into what it makes of bytes.
        mark = hash((digest, place))
        if mark in self._places:
            return False
        self._places.add(mark)
        marks.append(mark)
        self.nodes.add(digest)
        return True

    def forget(self, marks: list[int]) -> None:
        """Take places for new again: what is below them was not all met."""
        self._places.difference_update(marks)

    def leaf(self, found: Node, revision: Revision) -> None:
        """Meet a leaf that a revision needs."""
        del revision
        self.contents.update(found.children())


class CheckedStore:
    """Reads a store; one thread at a time. Lists are read page by page.

    Every method may raise what the store raises, and, if nobody hears of damage,
    :class:`~st8.core.errors.Corrupt` with a sentence that begins with the store's
    place.

    Attributes:
        store: The store itself.
        place: Where it is, for people.
    """

    def __init__(
        self,
        store: Store,
        place: str,
        remedy: str,
        *,
        bytes_at_once: int,
        hear: Callable[[Finding], None] | None = None,
    ) -> None:
        """Read a store.

        Args:
            store: The store.
            place: Where it is, for people.
            remedy: What is to be done where it is damaged.
            bytes_at_once: How many bytes of objects are in memory at once, about.
            hear: Is told what is damaged, each thing once; None: it is raised.
        """
        self.store = store
        self.place = place
        self._remedy = remedy
        self._bytes_at_once = bytes_at_once
        self._hear = hear
        self._damaged_rows: set[Finding] = set()
        self._damaged_records: set[tuple[str, int]] = set()
        self.damaged_objects: set[Digest] = set()

    def report(self, finding: Finding) -> None:
        """Have a finding heard, or raise it."""
        if self._hear is None:
            raise Corrupt(f"{self.place} is damaged: {finding.detail}; {self._remedy}")
        self._hear(finding)

    # --- lists -----------------------------------------------------------------

    def namespaces(self) -> Iterator[NamespaceInfo]:
        """Yield every namespace, in byte order of their names.

        Of one whose row is damaged, the newest number is 0.
        """
        store = self.store
        return self._listed(
            read=lambda after, limit: store.namespaces("", after, limit),
            place_of=lambda info: info.name,
            after="",
            damage=Finding("row_damaged", "the list of namespaces"),
            field="namespace",
            instead=lambda names: NamespaceInfo(
                cast("Namespace", names[0]), RevisionNumber(0)
            ),
        )

    def numbers(self, namespace: Namespace) -> Iterator[RevisionNumber]:
        """Yield the number of every stored revision, ascending."""
        try:
            yield from pages.numbers(self.store, namespace)
        except Corrupt as error:
            what = f"the revisions of namespace {namespace!r}: {error.detail}"
            self._bad_row(Finding("row_damaged", what, namespace))

    def branches(self, namespace: Namespace) -> Iterator[Branch]:
        """Yield every branch, in byte order of their names."""
        store = self.store
        what = f"the branches of namespace {namespace!r}"
        return self._listed(
            read=lambda after, limit: store.branches(namespace, "", after, limit),
            place_of=lambda branch: branch.name,
            after="",
            damage=Finding("row_damaged", what, namespace),
            field="branch",
        )

    def checkpoints(self, namespace: Namespace) -> Iterator[Checkpoint]:
        """Yield every checkpoint, in byte order of their names."""
        store = self.store
        what = f"the checkpoints of namespace {namespace!r}"
        return self._listed(
            read=lambda after, limit: store.checkpoints(namespace, "", after, limit),
            place_of=lambda checkpoint: checkpoint.name,
            after="",
            damage=Finding("row_damaged", what, namespace),
            field="checkpoint",
        )

    def answers(self) -> Iterator[tuple[AnswerAt, Answer]]:
        """Yield every answer to an idempotency key, by namespace and key."""
        return self._listed(
            read=self.store.answers,
            place_of=lambda item: item[0],
            after=("", ""),
            damage=Finding("row_damaged", "the answers to idempotency keys"),
            field="namespace",
        )

    def redactions(self) -> list[Redaction]:
        """Return what was redacted: its contents are missing, and are not missed."""
        try:
            return list(self.store.redactions())
        except Corrupt as error:
            self._bad_row(Finding("row_damaged", f"the redactions: {error.detail}"))
            return []

    def _bad_row(self, finding: Finding) -> None:
        if finding not in self._damaged_rows:
            self._damaged_rows.add(finding)
            self.report(finding)

    def _listed(
        self,
        *,
        read: Callable[[Any, int], Sequence[_T]],
        place_of: Callable[[_T], Any],
        after: Any,
        damage: Finding,
        field: str,
        instead: Callable[[Sequence[str]], _T] | None = None,
    ) -> Iterator[_T]:
        """Yield a list of rows, but for those that are damaged, which are reported.

        Args:
            read: Returns the page behind a place, of so many at most.
            place_of: Returns the place of an item.
            after: The place before all.
            damage: What is said of a damaged row, but for its name.
            field: The field of the finding that has the row's name.
            instead: Returns what stands for a damaged row; None for nothing.
        """
        limit = _LISTED_AT_ONCE
        while True:
            try:
                page = read(after, limit)
            except Corrupt as error:
                if limit > 1:
                    limit = 1  # as far as the row that is damaged
                    continue
                names = error.names if isinstance(error, DamagedRow) else ()
                self._bad_row(_of_row(damage, field, names, error.detail))
                passed: Any = names[0] if len(names) == 1 else names
                if not passed or passed <= after:
                    return
                if instead is not None:
                    yield instead(names)
                after, limit = passed, _LISTED_AT_ONCE
                continue
            if not page:
                return
            yield from page
            before, after = after, place_of(page[-1])
            if after <= before:
                self._bad_row(damage._replace(detail=f"{damage.detail} do not ascend"))
                return

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
                self._bad_record(namespace, number, error.detail)
                continue
            if (revision.scope.namespace, revision.number) != (namespace, number):
                self._bad_record(
                    namespace,
                    number,
                    f"it is the record of revision {revision.number} of namespace "
                    f"{revision.scope.namespace!r}",
                )
                continue
            found[number] = Stored(data, revision)
        return found

    def _one_by_one(
        self, namespace: Namespace, numbers: Sequence[RevisionNumber]
    ) -> Mapping[RevisionNumber, bytes]:
        """Return revisions as the store does, and report those that it can't read."""
        found: dict[RevisionNumber, bytes] = {}
        for number in numbers:
            try:
                found.update(self.store.revisions(namespace, [number]))
            except Corrupt as error:
                self._bad_record(namespace, number, error.detail)
        return found

    def _bad_record(self, namespace: Namespace, number: int, how: str) -> None:
        at = (namespace, number)
        if at not in self._damaged_records:
            self._damaged_records.add(at)
            self._bad_revision("record_damaged", namespace, number, how)

    def _bad_revision(self, code: str, namespace: str, number: int, how: str) -> None:
        what = f"revision {number} of namespace {namespace!r}: {how}"
        self.report(Finding(code, what, namespace, number))

    def check_chain(
        self, namespace: Namespace, stored: Mapping[RevisionNumber, Stored]
    ) -> None:
        """Compare revisions with those that they name, as far as these are there.

        The parents and their roots, what a revision has from its first parent, and
        the skip: it has to be an ancestor along first parents.
        """
        known = {number: one.revision for number, one in stored.items()}
        revisions = list(known.values())

        def learn(numbers: Iterable[RevisionNumber]) -> None:
            missing = sorted(set(numbers) - known.keys())
            for number, one in self.revisions(namespace, missing).items():
                known[number] = one.revision

        learn(link.number for revision in revisions for link in links_of(revision))
        first = [known.get(revision.parent_number) for revision in revisions]
        learn(parent.skip.number for parent in first if parent and parent.skip)
        for revision in revisions:
            how = chain.problem(revision, known)
            if how is not None:
                self._bad_revision("chain_broken", namespace, revision.number, how)

    def check_ref(
        self,
        namespace: Namespace,
        ref: Branch | Checkpoint,
        stored: Mapping[RevisionNumber, Stored],
    ) -> bool:
        """Return whether what a branch or checkpoint names is among ``stored``.

        If it is not, that is reported.
        """
        link = ref.link
        found = stored.get(link.number)
        if found is not None and found.revision.digest == link.digest:
            return True
        code = "revision_missing" if found is None else "ref_wrong"
        problem = "is missing" if found is None else "is another one"
        if (namespace, link.number) in self._damaged_records:
            code, problem = "ref_wrong", "is damaged"
        self.bad_ref(
            code, namespace, ref, f"names revision {link.number}, which {problem}"
        )
        return False

    def bad_ref(
        self, code: str, namespace: Namespace, ref: Branch | Checkpoint, how: str
    ) -> None:
        """Report a branch or checkpoint."""
        is_branch = isinstance(ref, Branch)
        kind = "branch" if is_branch else "checkpoint"
        self.report(
            Finding(
                code,
                f"{kind} {ref.name!r} of namespace {namespace!r} {how}",
                namespace,
                ref.link.number,
                branch=ref.name if is_branch else None,
                checkpoint=None if is_branch else ref.name,
            )
        )

    # --- objects ---------------------------------------------------------------

    def objects_of(
        self, revisions: Sequence[Revision], seen: set[Digest] | Census
    ) -> Iterator[dict[Digest, bytes]]:
        """Yield what the states of revisions, and those before them, are made of.

        In pieces, each object once and but for those that are ``seen``, which grows.
        With a census, contents are not read, and the shape of the trees is looked at.

        Raises:
            RevisionCollected: One of the revisions is gone, and objects of it too. A
                census takes what was met for its sake as not met.
        """
        marks: list[int] = []
        try:
            yield from self._below(revisions, seen, marks)
        except RevisionCollected:
            if isinstance(seen, Census):
                seen.forget(marks)
            raise

    def _below(
        self,
        revisions: Sequence[Revision],
        seen: set[Digest] | Census,
        marks: list[int],
    ) -> Iterator[dict[Digest, bytes]]:
        redacted = self._redacted()
        nodes = _unseen(
            (
                _Wanted(root, revision, b"", ROOT)
                for revision in revisions
                for root in (revision.root, revision.parent_root)
                if root != EMPTY_ROOT
            ),
            seen,
            marks,
        )
        contents: list[_Wanted] = []
        while nodes or contents:
            while nodes and len(contents) < _READ_AT_ONCE:
                # From the end, so that what waits is a few levels and not a state.
                some = nodes[-_READ_AT_ONCE:]
                del nodes[-_READ_AT_ONCE:]
                for piece in self._pieces(some):
                    for wanted, data in piece:
                        level, below = self._children(wanted, data, seen)
                        below = [one for one in below if one.digest not in redacted]
                        (nodes if level else contents).extend(
                            _unseen(below, seen, marks)
                        )
                    yield {wanted.digest: data for wanted, data in piece}
            some = contents[-_READ_AT_ONCE:]
            del contents[-_READ_AT_ONCE:]
            for piece in self._pieces(some):
                yield {wanted.digest: data for wanted, data in piece}

    def _children(
        self, wanted: _Wanted, data: bytes, seen: set[Digest] | Census
    ) -> tuple[int, Iterable[_Wanted]]:
        """Return the level of a node, and what is below it and to be read."""
        place = wanted.place or ROOT
        try:
            found = node.decode(data)
        except Corrupt as error:
            self._bad_object(wanted, error.detail)
            return 0, ()
        revision = wanted.revision
        if isinstance(seen, Census):
            how = problem(found, place)
            if how is not None:
                self._bad_object(wanted, how, "node_wrong")
            if not found.level:
                seen.leaf(found, revision)
                return 0, ()
        if found.level:
            return found.level, (
                _Wanted(child, revision, below.key, below)
                for child, below in places_below(found, place)
            )
        pairs = zip(found.children(), found.keys, strict=True)
        return 0, (_Wanted(child, revision, key, None) for child, key in pairs)

    def _pieces(
        self, objects: Sequence[_Wanted]
    ) -> Iterator[list[tuple[_Wanted, bytes]]]:
        """Yield objects in pieces of a bounded size, each compared with its digest."""
        waiting = list(objects)
        while waiting:
            digests = [wanted.digest for wanted in waiting]
            try:
                found = self.store.objects(digests, self._bytes_at_once)
            except Corrupt:
                found = self._readable(waiting)
            if not found:
                for wanted in waiting:
                    self._bad_object(wanted, "is missing", "object_missing")
                return
            piece: list[tuple[_Wanted, bytes]] = []
            left: list[_Wanted] = []
            for wanted in waiting:
                data = found.get(wanted.digest)
                if data is None:
                    left.append(wanted)
                elif digest_of(data) == wanted.digest:
                    piece.append((wanted, data))
                else:
                    self._bad_object(wanted, "does not match its digest")
            yield piece
            waiting = [w for w in left if w.digest not in self.damaged_objects]

    def _readable(self, objects: Sequence[_Wanted]) -> dict[Digest, bytes]:
        """Return what can be read, up to a bounded size, and report what can't."""
        found: dict[Digest, bytes] = {}
        size = 0
        for wanted in objects:
            try:
                one = self.store.objects([wanted.digest])
            except Corrupt as error:
                self._bad_object(wanted, f"can't be read: {error.detail}")
                continue
            found.update(one)
            size += sum(map(len, one.values()))
            if size > self._bytes_at_once:
                break
        return found

    def look(self, digest: Digest, revision: Revision, key: bytes) -> None:
        """Read a content that a revision needs under a key; report it if it is bad.

        Raises:
            RevisionCollected: It is not there, and neither is the revision.
        """
        for _ in self._pieces([_Wanted(digest, revision, key, None)]):
            pass

    def _redacted(self) -> set[Digest]:
        return {redaction.digest for redaction in self.redactions()}

    def _bad_object(
        self, wanted: _Wanted, how: str, code: str = "object_damaged"
    ) -> None:
        """Report an object, unless its revision was collected meanwhile.

        Raises:
            RevisionCollected: It was.
        """
        self.bad_object(wanted.digest, wanted.revision, wanted.key, how, code)

    def bad_object(
        self,
        digest: Digest,
        revision: Revision,
        key: bytes,
        how: str,
        code: str = "object_damaged",
    ) -> None:
        """Report an object that a revision needs; see :meth:`look`."""
        namespace, number = revision.scope.namespace, revision.number
        try:
            stored = self.store.revisions(namespace, [number])
        except Corrupt:
            stored = {number: b""}
        if not stored:
            raise RevisionCollected(namespace, number)
        if digest in self.damaged_objects or (
            code == "object_missing" and digest in self._redacted()
        ):
            return
        self.damaged_objects.add(digest)
        name = key.decode(errors="replace")
        at = f", key {name!r}" if key else ""
        self.report(
            Finding(
                code,
                f"revision {number} of namespace {namespace!r}: object "
                f"{digest.hex()}{at}, {how}",
                namespace,
                number,
                name or None,
                object=digest.hex(),
            )
        )


def _of_row(damage: Finding, field: str, names: Sequence[str], how: str) -> Finding:
    """Return the finding of one row of a list, which ``names`` tell from others."""
    if not names:
        return damage._replace(detail=f"{damage.detail}: {how}")
    found = damage._replace(detail=f"{damage.detail}, {names[-1]!r}: {how}")
    facts: dict[str, Any] = {field: names[0]}
    return found._replace(**facts)


def _unseen(
    objects: Iterable[_Wanted], seen: set[Digest] | Census, marks: list[int]
) -> list[_Wanted]:
    """Return those that were not seen; from now on they were."""
    if isinstance(seen, Census):
        return [o for o in objects if seen.is_new(o.digest, o.place or ROOT, marks)]
    new = {o.digest: o for o in objects if o.digest not in seen}
    seen.update(new)
    return list(new.values())
