"""Group commit: all writes that wait go into one store transaction with one fsync.

Writes are taken in the order of their arrival. While one batch is being made
durable the next one gathers, so under load a batch grows to what arrives during an
fsync; with one writer it holds one write and nobody waits for company.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING, Final, NamedTuple

from st8.core import limits
from st8.core.errors import (
    Conflict,
    Corrupt,
    InternalError,
    OutcomeUnknown,
    Overloaded,
    ShuttingDown,
    St8Error,
)
from st8.core.failpoints import failpoint
from st8.core.ids import Scope
from st8.core.ports import Stale
from st8.engine.draft import Draft
from st8.engine.guesses import Guesses
from st8.engine.requests import Apply, DeleteCheckpoint, WriteRequest
from st8.engine.results import WriteResult
from st8.engine.stats import BATCH_BOUNDS, SYNC_BOUNDS_S, Histogram
from st8.engine.writes import Written, write

if TYPE_CHECKING:
    from st8.core.ids import Namespace
    from st8.core.ports import Batch, BranchAt, Clock, Store, Threads
    from st8.engine.objects import Objects
    from st8.engine.refs import Refs

__all__ = ["Committer", "Done", "Listener"]

_BATCH_REQUESTS: Final = 256
_BATCH_BYTES: Final = 32 * 1024 * 1024
_ATTEMPTS: Final = 16
"""How often a batch is prepared anew when others write to the same store."""


Done = Callable[["Written | St8Error"], None]
"""Is told how a write ended, on the committing thread; must not block or raise."""


Listener = Callable[["Sequence[Scope] | None"], None]
"""Is told which branches have moved; None is that any may have."""


class _Waiting(NamedTuple):
    request: WriteRequest
    done: Done
    size: int


class Committer:
    """Carries out writes, in batches, on one thread of its own.

    :meth:`submit` may be called from any thread.
    """

    def __init__(
        self,
        store: Store,
        clock: Clock,
        refs: Refs,
        objects: Objects,
        threads: Threads = ThreadPoolExecutor,
    ) -> None:
        """Write to ``store``, on one of ``threads``."""
        self._store = store
        self._clock = clock
        self._refs = refs
        self._objects = objects
        self._guesses = Guesses(refs)
        self._thread = threads(1, "st8-commit")
        self._lock = threading.Lock()
        self._queue: deque[_Waiting] = deque()
        self._queued_bytes = 0
        self._draining = False
        self._closing = False
        self.listeners: list[Listener] = []
        self.commits = 0
        self.requests = 0
        self.stale = 0
        self.batch_sizes = Histogram(BATCH_BOUNDS)
        self.write_seconds = Histogram(SYNC_BOUNDS_S)
        self.sync_seconds = Histogram(SYNC_BOUNDS_S)

    @property
    def pending(self) -> int:
        """Writes that wait now."""
        return len(self._queue)

    def submit(self, request: WriteRequest, done: Done) -> None:
        """Queue a write; ``done`` is told when it is durable, or was refused.

        Raises:
            Overloaded: Too much waits already.
            ShuttingDown: The engine is being closed.
        """
        size = request.overlay.size if isinstance(request, Apply) else 0
        with self._lock:
            if self._closing:
                raise ShuttingDown
            if (
                len(self._queue) >= limits.PENDING_WRITES.maximum
                or self._queued_bytes + size > limits.PENDING_BYTES.maximum
            ):
                raise Overloaded(
                    f"{len(self._queue)} writes of {self._queued_bytes} bytes wait "
                    f"already, where {limits.PENDING_WRITES.name} is "
                    f"{limits.PENDING_WRITES.maximum} and {limits.PENDING_BYTES.name} "
                    f"{limits.PENDING_BYTES.maximum}; this one was not begun. Try "
                    "again in a second"
                )
            self._queue.append(_Waiting(request, done, size))
            self._queued_bytes += size
            self._start()

    def between_batches(self, work: Callable[[], None]) -> Future[None]:
        """Run ``work`` on the committing thread, soon and between two batches.

        Raises:
            ShuttingDown: The engine is being closed.
        """
        with self._lock:
            if self._closing:
                raise ShuttingDown
            return self._thread.submit(work)

    def commit_aside(self, batch: Batch) -> None:
        """Commit a batch that no request has made, and wait until it is durable.

        Raises:
            Stale: It does not fit what is there; nothing was written.
            St8Error: See :meth:`Store.commit`.
        """

        def work() -> None:
            try:
                self._store.commit(batch)
            finally:
                self._refs.forget_refs()
                self._guesses.forget(None)
            self.tell([Scope(*at) for at in batch.branches])

        self.between_batches(work).result()

    def close(self) -> None:
        """Refuse new writes, finish those that wait, and stop the thread."""
        with self._lock:
            self._closing = True
        self._thread.shutdown(wait=True)

    def _start(self) -> None:
        if not self._draining:
            self._draining = True
            self._thread.submit(self._drain)

    def _drain(self) -> None:
        """Write a batch; what waits then comes behind the works that wait already."""
        while True:
            self._write()
            with self._lock:
                if not self._queue:
                    self._draining = False
                    return
                with suppress(RuntimeError):  # nothing is taken any more: go on here
                    self._thread.submit(self._drain)
                    return

    def _take(self) -> list[_Waiting]:
        batch: list[_Waiting] = []
        size = 0
        with self._lock:
            while self._queue and len(batch) < _BATCH_REQUESTS:
                if batch and size + self._queue[0].size > _BATCH_BYTES:
                    break
                waiting = self._queue.popleft()
                self._queued_bytes -= waiting.size
                size += waiting.size
                batch.append(waiting)
        return batch

    def _write(self) -> None:
        """Prepare and commit what waits, and answer each of its requests."""
        batch: list[_Waiting] = []
        answers: Sequence[Written | St8Error]
        failure: St8Error
        try:
            failpoint("write.before_turn")
            with self._store.turn():
                failpoint("write.in_turn")
                batch = self._take()  # while it waited for its turn, more has come
                failpoint("write.taken")
                answers = self._commit(batch)
        except St8Error as error:
            batch = batch or self._take()
            answers = [error] * len(batch)
        except BaseException as error:  # noqa: BLE001 - whoever waits must hear of it
            failure = _fault(error)
            if batch:  # nobody knows how far it came
                failure = OutcomeUnknown(
                    f"a fault in st8d while it committed ({type(error).__name__}): it "
                    "may or may not have been done. Look at the branch, or try again "
                    "with the same idempotency key"
                )
            failure.__cause__ = error
            batch = batch or self._take()
            answers = [failure] * len(batch)
        for waiting, answer in zip(batch, answers, strict=True):
            with suppress(Exception):
                failpoint("answer.before")
            with suppress(Exception):  # who can't be told must not harm the others
                waiting.done(answer)
                failpoint("answer.after")

    def _commit(self, batch: list[_Waiting]) -> list[Written | St8Error]:
        guess = self._may_guess(batch)
        for _ in range(_ATTEMPTS):
            try:
                draft, answers = self._prepare(batch, guess=guess)
                if draft.batch:
                    failpoint("write.prepared")
                    times = self._store.commit(draft.batch)
                    failpoint("write.durable")
                    self.write_seconds.observe(times.write_s)
                    self.sync_seconds.observe(times.sync_s)
                    self.batch_sizes.observe(len(batch))
                    self.commits += 1
                    self.requests += len(batch)
                    self._refs.committed(
                        draft.new_branches(), draft.new_revisions(), times.moves
                    )
                    if times.moves is None:  # else it is known whether that holds
                        self._guesses.learn(draft.batch)
                    failpoint("notify.before")
                    self.tell([Scope(*at) for at in draft.new_branches()])
                    failpoint("notify.after")
            except Stale:
                self.stale += 1
                self._refs.forget_refs()
                self._guesses.mistrust()
                guess = False
                continue
            except BaseException:
                self._refs.forget_refs()
                self._guesses.forget(None)
                raise
            return answers
        raise Conflict(
            f"other daemons kept writing to the same namespace: gave up after "
            f"{_ATTEMPTS} attempts, and nothing was changed. Try again"
        )

    def heard(self, branches: Collection[BranchAt] | None) -> None:
        """Guess nothing any more of branches that others have moved; None: of any."""
        self._guesses.forget(branches)

    def _may_guess(self, batch: list[_Waiting]) -> bool:
        """Return whether what the batch reads may be guessed first.

        Applies read a branch and move it, so the commit compares what they have read.
        Others also read what they leave as it is.
        """
        return all(
            isinstance(waiting.request, Apply) and not waiting.request.dry_run
            for waiting in batch
        ) and self._guesses.are_worth(_namespace_of(batch[0].request))

    def tell(self, scopes: Sequence[Scope] | None) -> None:
        """Tell the listeners which branches moved; None is that any may have."""
        for listener in self.listeners if scopes != [] else ():
            with suppress(Exception):  # it must not harm what is durable
                listener(scopes)

    def _prepare(
        self, batch: list[_Waiting], *, guess: bool
    ) -> tuple[Draft, list[Written | St8Error]]:
        """Return a draft of the batch and the answers for when it is durable.

        Raises:
            Stale: Another daemon has collected what was read, or a guess was wrong.
            St8Error: Nothing can be prepared, and nothing was changed.
        """
        try:
            now_ns = self._clock.now_ns()
            if guess:
                draft, answers = self._drawn(batch, self._guesses, now_ns)
                if _all_revise(draft, answers):
                    return draft, answers
                # The commit would not prove the others, or there would be none.
            draft, answers = self._drawn(batch, self._refs, now_ns)
            damaged = any(isinstance(answer, Corrupt) for answer in answers)
            collected = damaged and _epoch(batch, self._refs) != draft.batch.epoch
        except (St8Error, Stale):
            raise
        except BaseException as error:
            raise _fault(error) from error
        if collected:
            raise Stale
        return draft, answers

    def _drawn(
        self, batch: list[_Waiting], refs: Refs | Guesses, now_ns: int
    ) -> tuple[Draft, list[Written | St8Error]]:
        draft = Draft(refs, _epoch(batch, refs), now_ns)
        return draft, [self._draw(draft, waiting.request) for waiting in batch]

    def _draw(self, draft: Draft, request: WriteRequest) -> Written | St8Error:
        """Do one request in the draft; its error is its own."""
        try:
            return write(draft, self._objects, request)
        except St8Error as error:
            return error
        except Stale:
            raise
        except Exception as error:  # noqa: BLE001 - a fault harms no other request
            failure = _fault(error)
            failure.__cause__ = error
            return failure


def _epoch(batch: list[_Waiting], refs: Refs | Guesses) -> int:
    """Return the collection epoch that the batch is prepared in."""
    return refs.namespace(_namespace_of(batch[0].request)).epoch


def _all_revise(draft: Draft, answers: Sequence[Written | St8Error]) -> bool:
    """Return whether each answer is a revision that the batch makes."""
    made = {id(revision) for revision in draft.new_revisions()}
    return all(
        isinstance(answer, WriteResult) and id(answer.revision) in made
        for answer in answers
    )


def _fault(error: BaseException) -> InternalError:
    return InternalError(
        f"a fault in st8d while it prepared a write ({type(error).__name__}): nothing "
        "was changed. The log of st8d has more"
    )


def _namespace_of(request: WriteRequest) -> Namespace:
    if isinstance(request, DeleteCheckpoint):
        return request.namespace
    return request.scope.namespace
