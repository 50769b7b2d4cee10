"""A store that is read to the end, and everything said of it that is wrong.

Five steps. (1) The records of all revisions, what each of them names, and what names
them: branches and checkpoints. Below each revision the tree is walked, node by node,
each compared with its digest and with the shape that it has to have. What the leaves
name, the contents, is only noted. (2) The answers to idempotency keys. (3) All objects
that the store holds are listed; what was noted and is not among them is missing, what
was not noted nothing needs. With ``full`` each is read as it is listed and compared
with its digest, needed or not. (4) The trees are walked again, only where something is
missing or damaged, to tell which revision and which key need it. (5) With ``full``, the
store checks itself, below all that.

Nothing is written, and no cache is asked. Others may write and collect meanwhile: what
a collection has removed is looked for among the revisions that are left before it is
called missing.

In memory are the digests of all objects that are needed: as measured, 100 bytes for a
content and 170 for a node.
"""

from __future__ import annotations

from collections import deque
from contextlib import suppress
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeVar

from st8.core.errors import Corrupt, RevisionCollected
from st8.core.findings import Event, Finding, Head, Progress, Verified
from st8.core.ids import PREFIX_BYTES, digest_of
from st8.core.revisions import Branch, Checkpoint
from st8.engine.anchors import find_missed
from st8.engine.checked import Census, CheckedStore
from st8.engine.claim import check_whole

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from st8.core.ids import BranchName, Digest, Namespace, RevisionNumber
    from st8.core.node import Node
    from st8.core.ports import HeldObject, Store
    from st8.core.redactions import Redaction
    from st8.core.revisions import NamespaceInfo, Revision
from st8.engine.checked import Stored

__all__ = ["verify"]

_REVISIONS: Final = 256
_REFS: Final = 500
_HELD: Final = 1_000
_BYTES: Final = 4 * 1024 * 1024
_SEARCHES: Final = 4
"""How often it is looked anew who needs something, as collections go on."""

_MOVES_MAX: Final = 8
"""How often a branch is looked up anew that moves while it is looked at."""


_T = TypeVar("_T")
_RefT = TypeVar("_RefT", Branch, Checkpoint)


def verify(
    store: Store,
    place: str,
    *,
    full: bool = False,
    heads: bool = False,
    expected: Sequence[Head] = (),
) -> Iterator[Event]:
    """Verify a store; yield findings as they are found, and how far it is.

    Args:
        store: The store; it is only read.
        place: Where it is, for people.
        full: Read every object, and have the store check itself.
        heads: Tell the head of every branch.
        expected: Revisions that have to be in the histories of branches. Without them
            nobody can tell a store from an earlier copy of it.

    Yields:
        Events, of which the last one is :class:`Verified`; progress many times a
        second.

    Raises:
        StorageFailed: The store can't be read at all, or is half a copy of another.
    """
    with suppress(Corrupt):
        check_whole(store)
    return _Verification(store, place, full=full, heads=heads, expected=expected).run()


class _BadRow(NamedTuple):
    """A row of the store's objects whose bytes are not those it is found by.

    Attributes:
        position: Where it stands.
        begins: What it is found by.
        digest: That of its bytes; None where they can't be unpacked.
        how: What is wrong.
    """

    position: int
    begins: bytes
    digest: Digest | None
    how: str = "does not match its digest"

    def is_of(self, digest: Digest) -> bool:
        """Return whether it is, or should be, the row of an object."""
        return digest == self.digest or (
            bool(self.begins) and digest.startswith(self.begins)
        )


class _Search(Census):
    """A census that finds who needs some contents.

    Attributes:
        found: What was looked for and found: each with a revision and a key.
    """

    def __init__(self, wanted: set[bytes]) -> None:
        """Look for contents whose digests begin with one of ``wanted``."""
        super().__init__()
        self._wanted = wanted
        self.found: dict[Digest, tuple[Revision, bytes]] = {}

    def leaf(self, found: Node, revision: Revision) -> None:
        """Look for them in a leaf."""
        for child, key in zip(found.children(), found.keys, strict=True):
            if child[:PREFIX_BYTES] in self._wanted:
                self.found.setdefault(child, (revision, key))


class _Verification:
    """One run of :func:`verify`; one thread."""

    def __init__(
        self,
        store: Store,
        place: str,
        *,
        full: bool,
        heads: bool,
        expected: Sequence[Head],
    ) -> None:
        """Do nothing yet."""
        self._found: deque[Finding | Head] = deque()
        self._store = store
        self._checked = CheckedStore(
            store, place, "", bytes_at_once=_BYTES, hear=self._found.append
        )
        self._full = full
        self._tell_heads = heads
        self._expected = expected
        self._census = Census()
        self._bad_rows: list[_BadRow] = []
        self._left: set[bytes] = set()  # how what is needed and not there begins
        self._held = 0
        self._done = Verified()
        self._total = 0

    def run(self) -> Iterator[Event]:
        """Take one step after the other."""
        steps = [self._revisions, self._answers, self._objects]
        if self._full:
            steps.append(self._itself)
        steps.append(self._expectations)
        for step in steps:
            for event in step():
                yield from self._heard()
                yield event
            yield from self._heard()
        yield self._done

    def _heard(self) -> Iterator[Finding | Head]:
        while self._found:
            heard = self._found.popleft()
            if isinstance(heard, Finding):
                self._count(findings=1)
            yield heard

    def _count(
        self,
        *,
        findings: int = 0,
        namespaces: int = 0,
        revisions: int = 0,
        branches: int = 0,
        checkpoints: int = 0,
        answers: int = 0,
    ) -> None:
        done = self._done
        self._done = done._replace(
            findings=done.findings + findings,
            namespaces=done.namespaces + namespaces,
            revisions=done.revisions + revisions,
            branches=done.branches + branches,
            checkpoints=done.checkpoints + checkpoints,
            answers=done.answers + answers,
        )

    # --- revisions and what names them --------------------------------------------

    def _revisions(self) -> Iterator[Event]:
        """Look at the histories of all namespaces."""
        infos = list(self._checked.namespaces())
        for info in infos:
            for _ in self._checked.numbers(info.name):
                self._total += 1
        for info in infos:
            self._count(namespaces=1)
            yield from self._namespace(info)

    def _namespace(self, info: NamespaceInfo) -> Iterator[Event]:
        namespace = info.name
        newest: dict[BranchName, RevisionNumber] = {}
        highest = 0
        for numbers in _chunks(self._checked.numbers(namespace), _REVISIONS):
            highest = numbers[-1]
            stored = self._checked.revisions(namespace, numbers)
            self._checked.check_chain(namespace, stored)
            for number, (_, revision) in stored.items():
                newest[revision.scope.branch] = number
            yield from self._walk(namespace, numbers, stored, self._census)
            self._count(revisions=len(numbers))
            yield self._progress()
        last = self._last(namespace) if info.last_revision else None
        if last is not None and last < highest:
            self._checked.report(
                Finding(
                    "last_revision_behind",
                    f"namespace {namespace!r} has revision {highest}, and says that "
                    f"its newest one is {last}",
                    namespace,
                    highest,
                )
            )
        yield from self._refs(namespace, newest, last)

    def _progress(self) -> Progress:
        done = self._done.revisions
        return Progress("revisions", done, max(done, self._total))

    def _last(self, namespace: Namespace) -> int | None:
        """Return the newest number of a namespace; None where it can't be told."""
        try:
            return self._store.namespace(namespace).last_revision
        except Corrupt as error:
            what = f"namespace {namespace!r}: {error.detail}"
            self._checked.report(Finding("row_damaged", what, namespace))
            return None

    def _walk(
        self,
        namespace: Namespace,
        numbers: Sequence[RevisionNumber],
        stored: dict[RevisionNumber, Stored],
        census: Census,
    ) -> Iterator[Event]:
        """Walk below some revisions, as long as they are there."""
        while stored:
            revisions = [one.revision for one in stored.values()]
            try:
                for _ in self._checked.objects_of(revisions, census):
                    yield self._progress()
            except RevisionCollected:
                stored = self._checked.revisions(namespace, numbers)
                continue
            return

    def _refs(
        self,
        namespace: Namespace,
        newest: dict[BranchName, RevisionNumber],
        last: int | None,
    ) -> Iterator[Event]:
        store = self._store
        for branches in _chunks(self._checked.branches(namespace), _REFS):
            self._count(branches=len(branches))
            for branch, stored in self._settled(
                namespace, branches, lambda name: store.branch(namespace, name)
            ):
                self._branch(namespace, branch, stored, newest.get(branch.name), last)
            yield self._progress()
        for checkpoints in _chunks(self._checked.checkpoints(namespace), _REFS):
            self._count(checkpoints=len(checkpoints))
            for checkpoint, stored in self._settled(
                namespace, checkpoints, lambda name: store.checkpoint(namespace, name)
            ):
                self._checked.check_ref(namespace, checkpoint, stored)
            yield self._progress()

    def _settled(
        self,
        namespace: Namespace,
        refs: Sequence[_RefT],
        reread: Callable[[Any], _RefT | None],
    ) -> Iterator[tuple[_RefT, dict[RevisionNumber, Stored]]]:
        """Yield refs, each with the revision that it names, if that is there.

        One that has moved, so that a collection could remove what it named, is looked
        at where it is now.
        """
        numbers = [ref.link.number for ref in refs]
        found = self._checked.revisions(namespace, numbers)
        for ref in refs:
            now, stored = ref, found
            for _ in range(_MOVES_MAX):
                if now.link.number in stored:
                    break
                moved = reread(now.name)
                if moved is None or moved == now:
                    break
                now = moved
                stored = self._checked.revisions(namespace, [now.link.number])
            else:
                continue  # it moves all the time, so it is well
            if now.link.number in stored or reread(now.name) is not None:
                yield now, stored

    def _branch(
        self,
        namespace: Namespace,
        ref: Branch,
        stored: dict[RevisionNumber, Stored],
        newest: RevisionNumber | None,
        last: int | None,
    ) -> None:
        """Look at a branch; ``newest`` is the newest revision that was made on it."""
        if not self._checked.check_ref(namespace, ref, stored):
            return
        how = None
        if not (ref.base <= ref.since and (last is None or ref.since <= last)):
            how = (
                f"was made from revision {ref.base} when {ref.since} was the newest; "
                "that can't be"
            )
        elif ref.head > ref.since:
            made_on = stored[ref.head].revision.scope.branch
            if made_on != ref.name:
                how = f"points at revision {ref.head}, which was made on {made_on!r}"
        elif ref.head != ref.base:
            how = f"points at revision {ref.head}, and began at {ref.base}"
        if how is not None:
            self._checked.bad_ref("ref_wrong", namespace, ref, how)
        elif newest is not None and newest > max(ref.since, ref.head):
            self._checked.bad_ref(
                "branch_behind",
                namespace,
                ref,
                f"points at revision {ref.head}, though {newest} was made on it later",
            )
        elif self._tell_heads:
            self._found.append(Head(namespace, ref.name, ref.head, ref.head_digest))

    def _answers(self) -> Iterator[Event]:
        for answers in _chunks(self._checked.answers(), _REFS):
            self._count(answers=len(answers))
            yield Progress("answers", self._done.answers)

    # --- objects ------------------------------------------------------------------

    def _objects(self) -> Iterator[Event]:
        """List all objects; find what is missing, damaged and not needed."""
        census = self._census
        nodes, contents = census.nodes, census.contents
        self._done = self._done._replace(objects=len(nodes) + len(contents))
        yield from self._read_all() if self._full else self._list_all()
        redacted = {one.digest: one for one in self._checked.redactions()}
        for some in (self._checked.damaged_objects, redacted):
            self._left.difference_update(digest[:PREFIX_BYTES] for digest in some)
        self._redactions(redacted)
        if self._left or self._bad_rows:
            yield from self._name()
        for _ in range(_SEARCHES):
            if self._left:
                yield from self._name()
        for row in self._bad_rows:
            self._report_row(row, None)

    def _redactions(self, redacted: Mapping[Digest, Redaction]) -> None:
        """Report what was redacted and is there nevertheless."""
        for some in _chunks(redacted, _REFS):
            try:
                there = self._store.objects(some, _BYTES)
            except Corrupt:
                continue  # what can't be unpacked nobody can read
            for digest in there.keys() & redacted.keys():
                _, namespace, key, *_ = redacted[digest]
                self._checked.report(
                    Finding(
                        "redacted_there",
                        f"object {digest.hex()}, which was redacted in namespace "
                        f"{namespace!r}, key {key!r}, is there",
                        namespace,
                        key=key,
                        object=digest.hex(),
                    )
                )

    def _list_all(self) -> Iterator[Event]:
        """Compare what the store holds with what is needed, by their beginnings."""
        left = self._left
        for some in (self._census.nodes, self._census.contents):
            while some:
                left.add(some.pop()[:PREFIX_BYTES])
        for page in self._pages(0):
            for held in page:
                begins = held.begins[:PREFIX_BYTES]
                if begins in left:
                    left.remove(begins)
                else:
                    self._unneeded(held)
            yield self._listed()

    def _read_all(self) -> Iterator[Event]:
        """Read all that the store holds; each is compared with its digest."""
        nodes, contents = self._census.nodes, self._census.contents
        for page in self._pages(_BYTES):
            for held in page:
                digest = None if held.data is None else digest_of(held.data)
                row = _BadRow(held.position, held.begins, digest)
                whole = bool(held.begins) and (digest or b"").startswith(held.begins)
                if not whole:
                    self._bad_rows.append(row)
                elif digest in contents and not _is_text(held.data):
                    self._bad_rows.append(row._replace(how="is not UTF-8"))
                if digest is not None and digest in nodes:
                    nodes.remove(digest)
                elif digest is not None and digest in contents:
                    contents.remove(digest)
                elif whole:
                    self._unneeded(held)
            yield self._listed()
        for some in (nodes, contents):
            self._left.update(digest[:PREFIX_BYTES] for digest in some)
            some.clear()

    def _pages(self, size_max: int) -> Iterator[Sequence[HeldObject]]:
        """Yield all objects of the store, page by page."""
        after = 0
        while True:
            try:
                page = self._store.held_objects(after, _HELD, size_max)
            except Corrupt as error:
                what = f"the objects behind position {after} can't be listed"
                self._checked.report(
                    Finding("store_damaged", f"{what}: {error.detail}")
                )
                return
            if not page:
                return
            self._held += len(page)
            yield page
            before, after = after, page[-1].position
            if after <= before:
                what = f"the list of objects goes back, from {before} to {after}"
                self._checked.report(Finding("store_damaged", what))
                return

    def _listed(self) -> Progress:
        return Progress("objects", self._held, max(self._held, self._done.objects))

    def _unneeded(self, held: HeldObject) -> None:
        done = self._done
        self._done = done._replace(
            unneeded=done.unneeded + 1, unneeded_bytes=done.unneeded_bytes + held.size
        )

    def _name(self) -> Iterator[Event]:
        """Tell who needs what is missing or damaged; what nobody needs stays as it is.

        What was looked for and not found is needed no more: it was collected. If a
        revision is collected just now, another one may still need it.
        """
        wanted, self._left = self._left, set()
        for row in self._bad_rows:
            wanted.update(
                some[:PREFIX_BYTES] for some in (row.begins, row.digest or b"")
            )
        search = _Search(wanted)
        for namespace, _ in self._checked.namespaces():
            for numbers in _chunks(self._checked.numbers(namespace), _REVISIONS):
                stored = self._checked.revisions(namespace, numbers)
                for _ in self._walk(namespace, numbers, stored, search):
                    yield Progress("who needs what is damaged", len(search.found))
        for digest, (revision, key) in search.found.items():
            rows = [row for row in self._bad_rows if row.is_of(digest)]
            try:
                for row in rows:
                    self._report_row(row, (digest, revision, key))
                    self._bad_rows.remove(row)
                if not rows:
                    self._checked.look(digest, revision, key)
            except RevisionCollected:
                self._left.add(digest[:PREFIX_BYTES])

    def _report_row(
        self, row: _BadRow, needed: tuple[Digest, Revision, bytes] | None
    ) -> None:
        """Report an object whose bytes are not its own, if it is still there."""
        if any(row.is_of(digest) for digest in self._checked.damaged_objects):
            return
        page = self._store.held_objects(row.position - 1, 1, _BYTES)
        if not page or page[0].position != row.position:
            return
        if needed is not None:
            self._checked.bad_object(*needed, row.how)
            return
        begins = row.begins.hex() or "nobody knows what"
        self._checked.report(
            Finding(
                "object_damaged",
                f"an object that nothing needs, found by {begins}, {row.how}",
                object=row.begins.hex() or None,
            )
        )

    def _itself(self) -> Iterator[Event]:
        """Have the store look below what it shows."""
        yield Progress("the store itself", 0)
        found = self._store.check_itself()
        for problem in found.problems:
            self._checked.report(Finding("store_damaged", problem))
        self._done = self._done._replace(skipped=found.skipped)

    def _expectations(self) -> Iterator[Event]:
        """Compare histories with what was noted of them elsewhere."""
        for expected in self._expected:
            missed = find_missed(self._checked, expected)
            if missed is not None:
                self._checked.report(missed)
            yield Progress("expected heads", 0)


def _is_text(data: bytes | None) -> bool:
    try:
        (data or b"").decode()
    except UnicodeDecodeError:
        return False
    return True


def _chunks(items: Iterable[_T], size: int) -> Iterator[list[_T]]:
    """Yield items, ``size`` at a time."""
    iterator = iter(items)
    while some := list(islice(iterator, size)):
        yield some
