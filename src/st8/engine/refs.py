"""Reading refs and revision records, through a memory of those that can't change.

Revisions never change, so they may always be remembered. Branches do, and so do the
newest numbers of namespaces and the collection epoch: what is remembered of them
counts only while the store can tell that nobody else has written since. Whoever is
content with what was so a while ago says so, and is answered from memory.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

from st8.core.errors import Corrupt
from st8.core.ids import (
    BranchName,
    CheckpointName,
    Digest,
    IdempotencyKey,
    Namespace,
    RevisionNumber,
)
from st8.core.ports import NamespaceState
from st8.core.revisions import Branch, Revision, decode

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from st8.core.ports import Answer, Store
    from st8.core.revisions import Checkpoint

__all__ = ["RecentRefs", "RefSource", "Refs"]

_REVISIONS_KEPT: Final = 2_048
"""Each is seven objects to Python's own collector, which stops everybody to see them."""
_BRANCHES_KEPT: Final = 65_536
_NAMESPACES_KEPT: Final = 65_536
_PROVEN_KEPT: Final = 65_536

_At = tuple[Namespace, BranchName]


class RefSource(Protocol):
    """Where refs and revisions are read from: as committed, or with a draft's own."""

    def last_revision(self, namespace: Namespace) -> RevisionNumber:
        """Return the newest number of a namespace; 0 where there is none."""
        ...

    def branch(self, namespace: Namespace, name: BranchName) -> Branch | None:
        """Return a branch, or None."""
        ...

    def checkpoint(
        self, namespace: Namespace, name: CheckpointName
    ) -> Checkpoint | None:
        """Return a checkpoint, or None."""
        ...

    def revision(self, namespace: Namespace, number: RevisionNumber) -> Revision | None:
        """Return a revision; None when it is not there, or not any more."""
        ...

    def is_proven(self, revision: Revision) -> bool:
        """Return whether the revision's digest is known to stand in the chain."""
        ...

    def prove(self, revision: Revision) -> None:
        """Note that a later revision, or a ref, names this one by its digest."""
        ...


class _Seen(NamedTuple):
    """A branch as the store had it.

    Attributes:
        branch: None if it was not there.
        moves: What :meth:`Store.moves` said before it was read.
        at_s: When reading it began, by the monotonic clock.
    """

    branch: Branch | None
    moves: int | None
    at_s: float


class Refs:
    """The store's refs and revisions. Any thread may call at any time."""

    def __init__(self, store: Store) -> None:
        """Read from ``store``."""
        self._store = store
        self._lock = threading.Lock()
        self._moves = 0
        self._collections = 0
        self._epoch = 0
        self._last: OrderedDict[Namespace, tuple[RevisionNumber, int | None]] = (
            OrderedDict()
        )
        self._branches: OrderedDict[_At, _Seen] = OrderedDict()
        self._revisions: OrderedDict[tuple[Namespace, RevisionNumber], Revision] = (
            OrderedDict()
        )
        self._proven: OrderedDict[Digest, None] = OrderedDict()

    def namespace(self, name: Namespace) -> NamespaceState:
        """Return what a commit must know of a namespace.

        A new collection epoch tells that somebody has collected: what is remembered
        of revisions may be gone.
        """
        moves = self._store.moves()
        known = self._last.get(name)
        if known is not None and known[1] == moves:
            return NamespaceState(known[0], self._epoch)
        own_moves = self._moves
        state = self._store.namespace(name)
        with self._lock:
            if state.epoch > self._epoch:
                self._epoch = state.epoch
                self._collections += 1
                self._revisions.clear()
            # As with branches below.
            if moves is not None and own_moves == self._moves:
                self._remember_last(name, state.last_revision, moves)
        return state

    def last_revision(self, namespace: Namespace) -> RevisionNumber:
        """See :class:`RefSource`."""
        return self.namespace(namespace).last_revision

    def peek_branch(self, at: _At, max_age_s: float) -> tuple[bool, Branch | None]:
        """Return whether a branch is remembered, and what it is; never waits.

        With ``max_age_s`` it may be what it was at most so long ago.
        """
        seen = self._branches.get(at)
        if seen is None:
            return False, None
        moves = self._store.moves()
        if (seen.moves == moves and moves is not None) or (
            max_age_s and time.monotonic() - seen.at_s <= max_age_s
        ):
            return True, seen.branch
        return False, None

    def branch(
        self, namespace: Namespace, name: BranchName, max_age_s: float = 0.0
    ) -> Branch | None:
        """See :class:`RefSource` and :meth:`peek_branch`."""
        at = (namespace, name)
        known, branch = self.peek_branch(at, max_age_s)
        if known:
            return branch
        own_moves = self._moves
        moves, begun_s = self._store.moves(), time.monotonic()
        branch = self._store.branch(namespace, name)
        with self._lock:
            # A commit in between may have moved it: then it is not remembered.
            if own_moves == self._moves:
                self._remember_branch(at, _Seen(branch, moves, begun_s))
        return branch

    def checkpoint(
        self, namespace: Namespace, name: CheckpointName
    ) -> Checkpoint | None:
        """See :class:`RefSource`."""
        return self._store.checkpoint(namespace, name)

    def answer(self, namespace: Namespace, key: IdempotencyKey) -> Answer | None:
        """Return what an idempotency key was answered with."""
        return self._store.answer(namespace, key)

    def peek_revision(
        self, namespace: Namespace, number: RevisionNumber
    ) -> Revision | None:
        """Return a revision if it is remembered; never waits."""
        return self._revisions.get((namespace, number))

    def revision(self, namespace: Namespace, number: RevisionNumber) -> Revision | None:
        """See :class:`RefSource`.

        Raises:
            Corrupt: The record is not the one that was asked for.
        """
        revision = self._revisions.get((namespace, number))
        if revision is not None:
            return revision
        collections = self._collections
        data = self._store.revisions(namespace, [number]).get(number)
        if data is None:
            return None
        revision = decode(data)
        if revision.number != number or revision.scope.namespace != namespace:
            raise Corrupt(
                f"the record of revision {number} of namespace {namespace!r} is that "
                f"of {revision.number} of {revision.scope.namespace!r}"
            )
        with self._lock:
            # A collection in between may have removed it: then it is not remembered.
            if collections == self._collections:
                self._remember_revision(revision)
        return revision

    def is_proven(self, revision: Revision) -> bool:
        """See :class:`RefSource`."""
        return revision.digest in self._proven

    def prove(self, revision: Revision) -> None:
        """See :class:`RefSource`."""
        if revision.digest not in self._proven:
            with self._lock:
                self._remember_proof(revision)

    def committed(
        self,
        branches: Mapping[_At, Branch | None],
        revisions: list[Revision],
        moves: int | None,
    ) -> None:
        """Learn what a commit has written; ``moves`` is as in :class:`CommitTimes`."""
        with self._lock:
            self._moves += 1
            for revision in revisions:
                self._remember_revision(revision)
                self._remember_proof(revision)
            if moves is None:  # others may have written since
                for at in branches:
                    self._branches.pop(at, None)
                return
            now_s = time.monotonic()
            for revision in revisions:
                self._remember_last(revision.scope.namespace, revision.number, moves)
            for at, branch in branches.items():
                self._remember_branch(at, _Seen(branch, moves, now_s))

    def heard(self, branches: Collection[_At] | None) -> None:
        """Forget branches that others have moved; None: all of them.

        But for those that were read since, which the store can tell.
        """
        moves = self._store.moves()
        with self._lock:
            self._moves += 1
            if branches is None:
                self._branches.clear()
                if moves is None:
                    # After a failover that lost revisions their numbers are others'.
                    self._epoch = 0
                    self._collections += 1
                    self._revisions.clear()
                    self._proven.clear()
            for at in branches or ():
                seen = self._branches.get(at)
                if seen is not None and (moves is None or seen.moves != moves):
                    del self._branches[at]

    def forget_refs(self) -> None:
        """Forget all that can move: how the last commit ended is not known."""
        with self._lock:
            self._moves += 1
            self._last.clear()
            self._branches.clear()

    def forget_revisions(
        self, namespace: Namespace, numbers: Iterable[RevisionNumber], epoch: int
    ) -> None:
        """Forget revisions that were just collected, which made this epoch."""
        with self._lock:
            self._epoch = epoch
            self._collections += 1
            for number in numbers:
                self._revisions.pop((namespace, number), None)

    def _remember_last(
        self, namespace: Namespace, last: RevisionNumber, moves: int | None
    ) -> None:
        self._last[namespace] = (last, moves)
        if len(self._last) > _NAMESPACES_KEPT:
            self._last.popitem(last=False)

    def _remember_branch(self, at: _At, seen: _Seen) -> None:
        self._branches[at] = seen
        if len(self._branches) > _BRANCHES_KEPT:
            self._branches.popitem(last=False)

    def _remember_proof(self, revision: Revision) -> None:
        self._proven[revision.digest] = None
        if len(self._proven) > _PROVEN_KEPT:
            self._proven.popitem(last=False)

    def _remember_revision(self, revision: Revision) -> None:
        self._revisions[revision.scope.namespace, revision.number] = revision
        if len(self._revisions) > _REVISIONS_KEPT:
            self._revisions.popitem(last=False)


class RecentRefs:
    """Refs to read from where branches may be what they were a while ago.

    What is read through it is as consistent as ever: a state, of one revision.
    """

    def __init__(self, refs: Refs, max_age_s: float) -> None:
        """Read from ``refs`` branches that are at most so old."""
        self._refs = refs
        self._max_age_s = max_age_s
        self.last_revision = refs.last_revision
        self.checkpoint = refs.checkpoint
        self.revision = refs.revision
        self.is_proven = refs.is_proven
        self.prove = refs.prove

    def branch(self, namespace: Namespace, name: BranchName) -> Branch | None:
        """See :class:`RefSource`."""
        return self._refs.branch(namespace, name, self._max_age_s)
