"""Looks at what a crash left in the store, and compares it with what clients know.

Reads the store's own records with the daemon gone, and trusts nothing in them: every
record, node and content is hashed again, every link followed.
"""

from __future__ import annotations

from bisect import bisect_right, insort
from itertools import pairwise
from typing import TYPE_CHECKING, Final

from st8.core.errors import Corrupt
from st8.core.ids import BranchName, CheckpointName, Namespace, RevisionNumber
from st8.core.ids import digest_of as hash_of
from st8.core.node import EMPTY_ROOT
from st8.core.node import decode as decode_node
from st8.core.revisions import decode as decode_revision
from st8.core.revisions import encode as encode_revision
from st8.testing.checker import Fork, Operation, Read, Write, check

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Iterator, Mapping

    from st8.core.ids import Digest
    from st8.core.node import Node
    from st8.core.ports import Store
    from st8.core.revisions import Revision
    from st8.testing.ledger import Attempt, Ledger

__all__ = ["Oracle"]

_PAGE: Final = 1_000
_READ_BACK: Final = 8
"""States of each namespace that are read back whole at each look."""


class Oracle:
    """Judges a store by a ledger, once or after each of many crashes.

    Objects are immutable, so what was found right once is not read again, except
    by a thorough look.

    Attributes:
        revisions: How many records were checked at the last look.
        objects: How many nodes and contents were ever found right.
        stored: What was found at the last look, by message.
        applied: Writes without an answer that were found made.
        unapplied: Writes without an answer that were not.
    """

    def __init__(
        self,
        ledger: Ledger,
        *,
        kept: int | None = None,
        redacted: Mapping[Digest, str] | None = None,
    ) -> None:
        """Judge by ``ledger``.

        With ``kept`` revisions may have been collected that have as many newer ones
        on their branch. Contents that are in ``redacted``, then or at a look, may be
        missing where the store says that they were redacted.
        """
        self._ledger = ledger
        self._kept = kept
        self._redacted: Mapping[Digest, str] = {} if redacted is None else redacted
        self._out: dict[Digest, bytes] = {}
        self._right: set[Digest] = set()
        self.stored: dict[str, Revision] = {}
        self._reads: list[Read] = []
        self._numbers: dict[tuple[str, str], list[int]] = {}
        self.revisions = 0
        self.applied = 0
        self.unapplied = 0

    @property
    def objects(self) -> int:
        """How many nodes and contents were found right."""
        return len(self._right)

    def look(
        self,
        store: Store,
        *,
        thorough: bool = False,
        aside: Container[str] = (),
        gone: Iterable[Revision] = (),
    ) -> list[str]:
        """Return everything that is wrong in ``store``, a sentence each.

        Args:
            store: What the daemon left, opened.
            thorough: Read every object again, and every branch's head whole.
            aside: Namespaces that others write to than those of the ledger.
            gone: Revisions that are known to have been there, and are not any more.
        """
        if thorough:
            self._right.clear()
        self.stored = {}
        self.revisions = 0
        self._out = {
            redaction.digest: self._redacted[redaction.digest].encode()
            for redaction in store.redactions()
            if redaction.digest in self._redacted
        }
        wrong: list[str] = []
        for name in _namespaces(store):
            if name in aside:
                continue
            try:
                wrong += self._look_at(store, name, thorough=thorough)
            except Corrupt as error:
                wrong.append(f"{name}: {error.detail}")
        self._count_numbers([*self.stored.values(), *gone])
        for revision in gone:
            if not self._may_be_collected(*revision.scope, revision.number):
                wrong.append(f"{revision.scope}: {revision.number} should have stayed")
            self.stored[revision.message] = revision
        return [*wrong, *self._compare_ledger(store)]

    def explain(self) -> list[str]:
        """Return what no order of the operations of all clients explains.

        After :meth:`look`, which tells which unanswered writes were made.
        """
        return [
            f"{finding.namespace}: {finding.rule}: {finding.detail}"
            for finding in check(self._operations(), self._forks())
        ]

    # --- the store by itself -----------------------------------------------------

    def _look_at(
        self, store: Store, namespace: Namespace, *, thorough: bool
    ) -> Iterator[str]:
        """Check one namespace; yield what is wrong."""
        records: dict[int, Revision] = {}
        for number, data in _records(store, namespace):
            revision = decode_revision(data)
            if encode_revision(revision) != data:
                yield f"{namespace}: the bytes of revision {number} are not canonical"
            if (revision.number, revision.scope.namespace) != (number, namespace):
                yield f"{namespace}: the record of {number} is another revision's"
            records[number] = revision
        self.revisions += len(records)
        last = store.namespace(namespace).last_revision
        missing = sorted(set(range(1, last + 1)) ^ set(records))
        if self._kept is not None:
            missing = [number for number in missing if number > last]
        if missing:
            yield f"{namespace}: of 1 to {last} these do not fit: {missing[:10]}"
        for revision in records.values():
            yield from self._check_parents(namespace, revision, records)
            yield from self._check_tree(store, revision.root)
            yield from self._check_tree(store, revision.parent_root)
            if revision.message in self.stored:
                yield f"{namespace}: {revision.message!r} was made twice"
            self.stored[revision.message] = revision
        yield from _check_refs(store, namespace, records)
        heads = {each.scope.branch: each for each in records.values()}
        some = list(records.values())[:: max(1, len(records) // _READ_BACK)]
        some += list(heads.values())[-(len(heads) if thorough else _READ_BACK) :]
        for revision in some:
            self._read_back(store, revision)

    def _check_tree(self, store: Store, root: Digest) -> Iterator[str]:
        """Hash every node and content below ``root`` that was not seen before."""
        waiting = [] if root == EMPTY_ROOT or root in self._right else [root]
        while waiting:
            digest = waiting.pop()
            node = _node(store, digest)
            self._right.add(digest)
            if any(a >= b for a, b in pairwise(node.keys)):
                yield f"node {digest.hex()} is not in order"
            new = [each for each in node.children() if each not in self._right]
            if node.level or not new:
                waiting += new
                continue
            for content, data in store.objects(new).items():
                if hash_of(data) != content:
                    yield f"content {content.hex()} does not match its digest"
                self._right.add(content)
            for content in new:
                if content not in self._right and content not in self._out:
                    yield f"content {content.hex()} is missing"

    def _check_parents(
        self, namespace: str, revision: Revision, records: dict[int, Revision]
    ) -> Iterator[str]:
        for parent in revision.parents:
            found = records.get(parent.number)
            if found is None:
                if self._kept is None:
                    which = f"{parent.number}, parent of {revision.number}"
                    yield f"{namespace}: {which}, is gone"
            elif (found.digest, found.root) != (parent.digest, parent.root):
                yield f"{namespace}: {revision.number} has another digest of its parent"
            elif parent.number >= revision.number:
                yield f"{namespace}: {revision.number} is not after its parent"

    def _read_back(self, store: Store, revision: Revision) -> None:
        """Read a whole state, for :meth:`explain` to compare."""
        now_ns = self._ledger.now_ns()
        self._reads.append(
            Read(
                revision.scope.namespace,
                revision.scope.branch,
                revision.number,
                now_ns,
                now_ns,
                {key: data.decode() for key, data in self._items(store, revision.root)},
                at=revision.number,
                name="the state on disk",
            )
        )

    def _items(self, store: Store, root: Digest) -> Iterator[tuple[str, bytes]]:
        """Yield keys and contents of a state that was found right.

        Contents that were redacted are what they were.
        """
        if root == EMPTY_ROOT:
            return
        node = _node(store, root)
        children = node.children()
        if node.level:
            for child in children:
                yield from self._items(store, child)
            return
        contents = self._out | store.objects(children)
        for key, child in zip(node.keys, children, strict=True):
            yield key.decode(), contents[child]

    # --- the store and the ledger --------------------------------------------------

    def _compare_ledger(self, store: Store) -> Iterator[str]:
        """Check that what was acknowledged is there, and nothing that was not sent."""
        attempts = self._ledger.attempts
        self.applied = self.unapplied = 0
        for name, revision in self.stored.items():
            attempt = attempts.get(name)
            if attempt is None or not attempt.revises:
                yield f"revision {revision.number} ({name!r}) was never sent"
            elif (attempt.namespace, attempt.branch) != revision.scope:
                yield f"{name!r} was made in {revision.scope}"
        for attempt in list(attempts.values()):
            if attempt.revises:
                yield from self._compare_revision(attempt)
            elif attempt.fate == "acknowledged":
                yield from _compare_ref(store, attempt)

    def _compare_revision(self, attempt: Attempt) -> Iterator[str]:
        stored = self.stored.get(attempt.name)
        if attempt.fate == "unknown":
            self.applied += stored is not None
            self.unapplied += stored is None
        elif attempt.fate == "refused" or attempt.answer["noop"]:
            if stored is not None:
                yield (
                    f"{attempt.name}: was answered as not made, and was made: "
                    f"{attempt.answer}"
                )
        elif stored is None and not self._may_be_collected(
            attempt.namespace, attempt.branch, attempt.answer["revision"]
        ):
            yield (
                f"{attempt.name}: acknowledged as revision "
                f"{attempt.answer['revision']}, and lost"
            )
        elif stored is not None:
            expected = attempt.answer
            actual = (stored.number, stored.digest.hex(), stored.root.hex())
            if actual != (expected["revision"], expected["digest"], expected["root"]):
                yield f"{attempt.name}: acknowledged as {expected}, stored as {actual}"

    def _count_numbers(self, revisions: Iterable[Revision]) -> None:
        self._numbers.clear()
        for revision in revisions:
            insort(self._numbers.setdefault(revision.scope, []), revision.number)

    def _may_be_collected(self, namespace: str, branch: str, number: int) -> bool:
        """Return whether so many revisions follow one that it need not be there."""
        if self._kept is None:
            return False
        numbers = self._numbers.get((namespace, branch), [])
        return len(numbers) - bisect_right(numbers, number) >= self._kept

    def _operations(self) -> Iterator[Operation]:
        """Yield what all clients did and saw, as the checker wants it."""
        for attempt in self._ledger.attempts.values():
            number = self._number(attempt)
            if number:
                yield Write(
                    attempt.namespace,
                    attempt.branch,
                    number,
                    attempt.called_ns,
                    attempt.returned_ns,
                    attempt.edits,
                    attempt.source,
                    attempt.name,
                )
            elif attempt.revises and attempt.fate == "acknowledged":
                yield Read(
                    attempt.namespace,
                    attempt.branch,
                    attempt.answer["revision"],
                    attempt.called_ns,
                    attempt.returned_ns or attempt.called_ns,
                    name=attempt.name,
                )
        yield from self._ledger.reads
        yield from self._reads

    def _number(self, attempt: Attempt) -> int:
        """Return the revision that a write made, though it be collected; 0 if none."""
        stored = self.stored.get(attempt.name)
        if stored is not None:
            return stored.number
        made = attempt.revises and attempt.fate == "acknowledged"
        return attempt.answer["revision"] if made and not attempt.answer["noop"] else 0

    def _forks(self) -> Iterator[Fork]:
        for attempt in self._ledger.attempts.values():
            if attempt.kind == "branch" and attempt.fate == "acknowledged":
                yield Fork(attempt.namespace, attempt.name, attempt.source or 0)


def _check_refs(
    store: Store, namespace: Namespace, records: dict[int, Revision]
) -> Iterator[str]:
    """Check that branches and checkpoints name revisions by their digests."""
    newest = {revision.scope.branch: revision.number for revision in records.values()}
    seen: set[str] = set()
    after = ""
    while branches := store.branches(namespace, "", after, _PAGE):
        for branch in branches:
            seen.add(branch.name)
            head = records.get(branch.head)
            if head is None or head.digest != branch.head_digest:
                yield f"{namespace}: branch {branch.name!r} has a wrong head"
            if branch.base and branch.base not in records:
                yield f"{namespace}: the base of branch {branch.name!r} is gone"
            if branch.head != newest.get(branch.name, branch.base):
                yield f"{namespace}: branch {branch.name!r} is not at its newest"
        after = branches[-1].name
    for name in newest.keys() - seen:
        yield f"{namespace}: branch {name!r} has revisions, and is not there"
    after = ""
    while checkpoints := store.checkpoints(namespace, "", after, _PAGE):
        for checkpoint in checkpoints:
            found = records.get(checkpoint.revision)
            if found is None or found.digest != checkpoint.digest:
                yield f"{namespace}: checkpoint {checkpoint.name!r} is wrong"
        after = checkpoints[-1].name


def _compare_ref(store: Store, attempt: Attempt) -> Iterator[str]:
    """Check that an acknowledged branch or checkpoint is there."""
    namespace = Namespace(attempt.namespace)
    if attempt.kind == "branch":
        branch = store.branch(namespace, BranchName(attempt.name))
        found = None if branch is None else branch.base
    else:
        checkpoint = store.checkpoint(namespace, CheckpointName(attempt.name))
        found = None if checkpoint is None else checkpoint.revision
    if found != attempt.source:
        yield f"{attempt.name}: acknowledged at {attempt.source}, found at {found}"


def _namespaces(store: Store) -> Iterator[Namespace]:
    after = ""
    while page := store.namespaces("", after, _PAGE):
        yield from (info.name for info in page)
        after = page[-1].name


def _records(store: Store, namespace: Namespace) -> Iterator[tuple[int, bytes]]:
    after = RevisionNumber(0)
    while numbers := store.numbers(namespace, after, _PAGE):
        yield from sorted(store.revisions(namespace, numbers).items())
        after = numbers[-1]


def _node(store: Store, digest: Digest) -> Node:
    data = store.objects([digest]).get(digest)
    if data is None:
        raise Corrupt(f"node {digest.hex()} is missing")
    if hash_of(data) != digest:
        raise Corrupt(f"node {digest.hex()} does not match its digest")
    return decode_node(data)
