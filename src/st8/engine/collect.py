"""Garbage collection: old revisions, and then the objects nobody refers to.

Kept are, in each namespace, every branch's head and base, every checkpoint, and what
its :class:`~st8.engine.retention.Retention` says: the newest revisions of each branch,
and what is young. Of those also the state before, so that a log can still say what each
of them changed.

Four steps, of which only short pieces hold up writes. (1) Revisions that are not
kept are deleted, some at a time between two commits, and the collection epoch is
counted up. (2) What the remaining revisions refer to is marked; nothing is locked.
(3) Objects that are not marked and were not stamped since are deleted in small
batches. A commit stamps every object that it makes with the epoch it was prepared
in, so nothing that it needs can go: what it did not make is below a kept revision.
(4) Free space is given back to the file system, page by page.

How many go at a time is decided by the time that the last ones took
(:class:`~st8.engine.pace.Pieces`), and after each piece the others have more time than
it took.
"""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Final

from st8.core import limits
from st8.core.errors import Corrupt, NamespaceNotFound, Unavailable
from st8.core.failpoints import failpoint
from st8.core.ids import DEFAULT_NAMESPACE, Namespace, RevisionNumber
from st8.core.ports import Stale
from st8.engine import pages, unfinished
from st8.engine.choice import Choice, choose
from st8.engine.integers import Integers
from st8.engine.marks import mark
from st8.engine.pace import Pace, Pieces
from st8.engine.results import Collected, Explained, Share

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Container, Iterator

    from st8.core.ports import Raised, Store, Timer
    from st8.engine.commit import Committer
    from st8.engine.objects import Objects
    from st8.engine.refs import Refs
    from st8.engine.retention import Rules

__all__ = ["GarbageCollection"]

_REMOVED_AT_ONCE: Final = (50, 10_000)
_SWEPT_AT_ONCE: Final = (16, 256)
_GIVEN_BACK_AT_ONCE: Final = (4, 1_024)
_REST: Final = 2
"""After a piece that held up writes, so many times what it took."""
_ATTEMPTS: Final = 16
"""How often the epoch is looked up anew when others collect in the same store."""


class GarbageCollection:
    """One collection, or the explanation of one; used once, by one thread.

    May take long; reads and writes go on.
    """

    def __init__(
        self,
        store: Store,
        refs: Refs,
        objects: Objects,
        committer: Committer,
        *,
        rules: Rules,
        only: Namespace | None,
        now_ns: int,
        stopping: threading.Event,
        timer: Timer,
    ) -> None:
        """Collect by ``rules``, in all namespaces or in one.

        Args:
            store: Where.
            refs: What is remembered of it.
            objects: See ``refs``.
            committer: Writes to the store.
            rules: What is kept.
            only: The one namespace; None for all.
            now_ns: What an age counts from.
            stopping: Ends it when it is set.
            timer: Tells how long its pieces take.

        Raises:
            NamespaceNotFound: Nothing was ever applied in ``only``.
        """
        if only is not None and not store.namespace(only).last_revision:
            raise NamespaceNotFound(only)
        self._store = store
        self._refs = refs
        self._objects = objects
        self._committer = committer
        self._rules = rules
        self._only = only
        self._now_ns = now_ns
        self._timer = timer
        self._pace = Pace(stopping, timer)

    def run(self) -> Collected:
        """Collect.

        Raises:
            InvalidValue: A rule can't be gone by.
            LimitExceeded: See ``InvalidValue``.
            Corrupt: Something that is to be kept is damaged.
            ShuttingDown: It was stopped; the next one does what is left.
            Unavailable: Other daemons kept collecting in the same store.
        """
        if self._only is None:
            self._clear_unfinished()
        revisions = 0
        pieces = Pieces(*_REMOVED_AT_ONCE)
        for choice in self._choices():
            revisions += self._remove(choice, pieces)
        # Always a new epoch: what was stamped in the old one may be swept now.
        work = partial(self._raise_epoch, DEFAULT_NAMESPACE, [])
        failpoint("collect.before_epoch")
        epoch = self._between_batches(work).epoch
        failpoint("collect.after_epoch")
        marks = mark(self._store, self._objects, {}, self._pace)
        failpoint("collect.marked")
        objects, size = self._sweep(marks, epoch)
        if objects:
            self._give_back()
        return Collected(revisions, objects, size)

    def explain(self) -> Explained:
        """Tell what :meth:`run` would do, and change nothing.

        Raises:
            St8Error: See :meth:`run`.
        """
        shares: list[Share] = []
        going: dict[Namespace, Container[int]] = {}
        revisions = number = 0
        for choice in self._choices():
            number += 1
            if number <= limits.PAGE_ENTRIES.maximum:
                shares.append(choice.share)
            if choice.going:
                revisions += len(choice.going)
                going[choice.share.namespace] = Integers(choice.going)
        marks = mark(self._store, self._objects, going, self._pace)
        objects = size = position = 0
        while True:
            position, some, weight, _ = self._store.weigh(
                marks, position, _SWEPT_AT_ONCE[1]
            )
            objects += some
            size += weight
            if not position:
                break
            self._pace.rest()
        return Explained(shares, number, Collected(revisions, objects, size))

    def _choices(self) -> Iterator[Choice]:
        """Choose what goes, in one namespace after the other."""
        every = (
            (info.name for info in pages.namespaces(self._store))
            if self._only is None
            else [self._only]
        )
        for namespace in every:
            retention = self._rules(namespace)
            retention.check()
            yield choose(
                self._store,
                self._refs,
                namespace,
                retention,
                now_ns=self._now_ns,
                pace=self._pace,
            )

    def _clear_unfinished(self) -> None:
        """Remove what restores that were broken off have left."""
        raise_epoch = unfinished.epoch_raiser(self._store, self._refs, self._committer)
        for _ in range(_ATTEMPTS):
            with suppress(Stale):
                unfinished.clear_marked(self._store, raise_epoch)
                return

    def _remove(self, choice: Choice, pieces: Pieces) -> int:
        """Delete the revisions that go; return how many did."""
        removed = start = 0
        while start < len(choice.going):
            some = [
                RevisionNumber(number)
                for number in choice.going[start : start + pieces.size]
            ]
            start += len(some)
            work = partial(self._raise_epoch, choice.share.namespace, some)
            failpoint("collect.before_removal")
            removed += self._between_batches(work, pieces).revisions
            failpoint("collect.after_removal")
        return removed

    def _between_batches(
        self, work: Callable[[], Raised], pieces: Pieces | None = None
    ) -> Raised:
        """Do ``work`` while nothing is committed, and then rest; return what it does."""
        done: list[tuple[Raised, float]] = []

        def do() -> None:
            begun_s = self._timer.time()
            raised = work()
            done.append((raised, self._timer.time() - begun_s))

        self._committer.between_batches(do).result()
        [(raised, took_s)] = done
        self._done(took_s, pieces)
        return raised

    def _done(self, took_s: float, pieces: Pieces | None) -> None:
        """Tidy up and rest after a piece that writes have waited for."""
        if pieces is not None:
            pieces.took(took_s)
        self._store.tidy()
        self._pace.rest(_REST * took_s)

    def _raise_epoch(self, namespace: Namespace, gone: list[RevisionNumber]) -> Raised:
        """Count up the epoch and delete revisions.

        Raises:
            Unavailable: Others were quicker each time.
        """
        for _ in range(_ATTEMPTS):
            expected = self._refs.namespace(namespace).epoch
            try:
                raised = self._store.raise_epoch({namespace: gone}, expected)
            except Stale:
                self._refs.forget_refs()
                continue
            self._refs.forget_revisions(namespace, gone, raised.epoch)
            return raised
        raise Unavailable(
            "other daemons kept collecting in the same store: gave up after "
            f"{_ATTEMPTS} attempts, and what was left was not removed. Try again when "
            "they are done"
        )

    def _sweep(self, marks: Integers, epoch: int) -> tuple[int, int]:
        """Delete what is not marked; return how many objects and bytes."""
        objects = size = position = 0
        pieces = Pieces(*_SWEPT_AT_ONCE)
        while True:
            before = position
            failpoint("collect.before_sweep")
            position, some, weight, held_s = self._store.sweep(
                marks, epoch, position, pieces.size
            )
            failpoint("collect.after_sweep")
            self._done(held_s, pieces)
            objects += some
            size += weight
            if not position:
                return objects, size
            if position <= before:
                raise Corrupt("the list of objects does not ascend; run a verification")

    def _give_back(self) -> None:
        """Give back the space that is free."""
        pieces = Pieces(*_GIVEN_BACK_AT_ONCE)
        while True:
            failpoint("collect.before_shrink")
            size, held_s = self._store.shrink(pieces.size)
            if not size:
                return
            self._done(held_s, pieces)
