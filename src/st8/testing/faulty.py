"""A store that does what a test says it should: fail, wait, count, or tell.

It stands in front of a real store and passes every call on, so what is tested is
the real thing with one thing going wrong.
"""

from __future__ import annotations

import threading
from collections import Counter, defaultdict, deque
from typing import TYPE_CHECKING, Final, Self, final

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Mapping, Sequence
    from contextlib import AbstractContextManager

    from st8.core.ids import (
        BranchName,
        CheckpointName,
        Digest,
        IdempotencyKey,
        Namespace,
        RevisionNumber,
    )
    from st8.core.ports import (
        Answer,
        AnswerAt,
        Batch,
        CommitTimes,
        Heard,
        HeldObject,
        NamespaceState,
        Pointers,
        Raised,
        SelfCheck,
        Shrunk,
        Store,
        Swept,
    )
    from st8.core.redactions import Redaction
    from st8.core.revisions import Branch, Checkpoint, NamespaceInfo

__all__ = ["FaultyStore", "Gate"]

_PATIENCE_S: Final = 60.0
"""How long a gate waits before it takes the test for broken."""


class Gate:
    """Holds up whoever comes to it until it is opened.

    A context manager, so that a test that fails does not leave a thread behind it.
    """

    def __init__(self) -> None:
        """Make a closed gate."""
        self._reached = threading.Event()
        self._opened = threading.Event()

    def __call__(self) -> None:
        """Wait until the gate is open.

        Raises:
            TimeoutError: Nobody opened it.
        """
        self._reached.set()
        if not self._opened.wait(_PATIENCE_S):
            raise TimeoutError("a gate was never opened")

    def wait_until_reached(self) -> None:
        """Return once somebody waits, or has waited, at the gate.

        Raises:
            TimeoutError: Nobody came.
        """
        if not self._reached.wait(_PATIENCE_S):
            raise TimeoutError("nobody came to a gate")

    def open(self) -> None:
        """Let through who waits and whoever comes later."""
        self._opened.set()

    def __enter__(self) -> Self:
        """Return the gate."""
        return self

    def __exit__(self, *_: object) -> None:
        """Open the gate."""
        self.open()


@final
class FaultyStore:
    """Passes calls on to another store; see the module.

    Methods are named by their names in :class:`~st8.core.ports.Store`. What is
    arranged before a call happens even if the call then fails. Any thread.

    Attributes:
        calls: How often each method was called.
        batches: Every batch that was committed, in order.
        exclusive: As the store behind it, until a test sets it.
        heard: What is to be told of others, once somebody has asked for it; a test
            may call it in their place.
    """

    def __init__(self, store: Store) -> None:
        """Stand in front of ``store``."""
        self._store = store
        self._lock = threading.Lock()
        self._before: defaultdict[str, deque[Callable[[], None]]] = defaultdict(deque)
        self._after: defaultdict[str, deque[Callable[[], None]]] = defaultdict(deque)
        self.calls: Counter[str] = Counter()
        self.batches: list[Batch] = []
        self.exclusive: bool = store.exclusive
        self.heard: Heard | None = None

    @property
    def name(self) -> str:
        """See :class:`~st8.core.ports.Store`."""
        return self._store.name

    def moves(self) -> int | None:
        """See :class:`~st8.core.ports.Store`; None where a test says there are others."""
        return self._store.moves() if self.exclusive else None

    def turn(self) -> AbstractContextManager[None]:
        """See :class:`~st8.core.ports.Store`."""
        return self._store.turn()

    def hear(self, heard: Heard) -> None:
        """See :class:`~st8.core.ports.Store`; see :attr:`heard`."""
        self.heard = heard
        self._store.hear(heard)

    # --- what a test arranges --------------------------------------------------

    def before(self, method: str, *actions: Callable[[], None]) -> None:
        """Do ``actions`` before the next calls of ``method``, one before each."""
        with self._lock:
            self._before[method].extend(actions)

    def after(self, method: str, *actions: Callable[[], None]) -> None:
        """Do ``actions`` after the next calls of ``method``, one after each.

        When the call has its answer and has not given it yet.
        """
        with self._lock:
            self._after[method].extend(actions)

    def fail(self, method: str, *errors: BaseException) -> None:
        """Raise ``errors`` from the next calls of ``method``, which do nothing."""
        self.before(method, *(_raiser(error) for error in errors))

    def fail_late(self, method: str, *errors: BaseException) -> None:
        """Raise ``errors`` from the next calls of ``method``, which were done."""
        self.after(method, *(_raiser(error) for error in errors))

    def hold(self, method: str) -> Gate:
        """Return a gate that the next call of ``method`` waits at, before it."""
        gate = Gate()
        self.before(method, gate)
        return gate

    def hold_late(self, method: str) -> Gate:
        """Return a gate that the next call of ``method`` waits at with its answer."""
        gate = Gate()
        self.after(method, gate)
        return gate

    def _enter(self, method: str) -> None:
        with self._lock:
            self.calls[method] += 1
            actions = self._before[method]
            action = actions.popleft() if actions else None
        if action is not None:
            action()

    def _leave(self, method: str) -> None:
        with self._lock:
            actions = self._after[method]
            action = actions.popleft() if actions else None
        if action is not None:
            action()

    # --- the store -------------------------------------------------------------

    def objects(
        self, digests: Sequence[Digest], size_max: int | None = None
    ) -> dict[Digest, bytes]:
        """See :class:`~st8.core.ports.Store`."""
        self._enter("objects")
        found = self._store.objects(digests, size_max)
        self._leave("objects")
        return found

    def namespace(self, name: Namespace) -> NamespaceState:
        """See :class:`~st8.core.ports.Store`."""
        self._enter("namespace")
        found = self._store.namespace(name)
        self._leave("namespace")
        return found

    def namespaces(
        self, prefix: str, after: str, limit: int
    ) -> Sequence[NamespaceInfo]:
        """See :class:`~st8.core.ports.Store`."""
        self._enter("namespaces")
        found = self._store.namespaces(prefix, after, limit)
        self._leave("namespaces")
        return found

    def branch(self, namespace: Namespace, name: BranchName) -> Branch | None:
        """See :class:`~st8.core.ports.Store`."""
        self._enter("branch")
        found = self._store.branch(namespace, name)
        self._leave("branch")
        return found

    def branches(
        self, namespace: Namespace, prefix: str, after: str, limit: int
    ) -> Sequence[Branch]:
        """See :class:`~st8.core.ports.Store`."""
        self._enter("branches")
        found = self._store.branches(namespace, prefix, after, limit)
        self._leave("branches")
        return found

    def checkpoint(
        self, namespace: Namespace, name: CheckpointName
    ) -> Checkpoint | None:
        """See :class:`~st8.core.ports.Store`."""
        self._enter("checkpoint")
        found = self._store.checkpoint(namespace, name)
        self._leave("checkpoint")
        return found

    def checkpoints(
        self, namespace: Namespace, prefix: str, after: str, limit: int
    ) -> Sequence[Checkpoint]:
        """See :class:`~st8.core.ports.Store`."""
        self._enter("checkpoints")
        found = self._store.checkpoints(namespace, prefix, after, limit)
        self._leave("checkpoints")
        return found

    def revisions(
        self, namespace: Namespace, numbers: Sequence[RevisionNumber]
    ) -> Mapping[RevisionNumber, bytes]:
        """See :class:`~st8.core.ports.Store`."""
        self._enter("revisions")
        found = self._store.revisions(namespace, numbers)
        self._leave("revisions")
        return found

    def answer(self, namespace: Namespace, key: IdempotencyKey) -> Answer | None:
        """See :class:`~st8.core.ports.Store`."""
        self._enter("answer")
        found = self._store.answer(namespace, key)
        self._leave("answer")
        return found

    def answers(
        self, after: tuple[str, str], limit: int
    ) -> Sequence[tuple[AnswerAt, Answer]]:
        """See :class:`~st8.core.ports.Store`."""
        self._enter("answers")
        found = self._store.answers(after, limit)
        self._leave("answers")
        return found

    def commit(self, batch: Batch) -> CommitTimes:
        """See :class:`~st8.core.ports.Store`."""
        self._enter("commit")
        times = self._store.commit(batch)
        with self._lock:
            self.batches.append(batch)
        self._leave("commit")
        return times if self.exclusive else times._replace(moves=None)

    def numbers(
        self, namespace: Namespace, after: RevisionNumber, limit: int
    ) -> Sequence[RevisionNumber]:
        """See :class:`~st8.core.ports.Store`."""
        self._enter("numbers")
        found = self._store.numbers(namespace, after, limit)
        self._leave("numbers")
        return found

    def collecting(self) -> AbstractContextManager[bool]:
        """See :class:`~st8.core.ports.Store`."""
        self._enter("collecting")
        return self._store.collecting()

    def raise_epoch(
        self, removed: Mapping[Namespace, Sequence[RevisionNumber]], expected: int
    ) -> Raised:
        """See :class:`~st8.core.ports.Store`."""
        self._enter("raise_epoch")
        raised = self._store.raise_epoch(removed, expected)
        self._leave("raise_epoch")
        return raised

    def redactions(self) -> Sequence[Redaction]:
        """See :class:`~st8.core.ports.Store`."""
        self._enter("redactions")
        found = self._store.redactions()
        self._leave("redactions")
        return found

    def redact(self, choose: Callable[[], Sequence[Redaction]]) -> int:
        """See :class:`~st8.core.ports.Store`."""
        self._enter("redact")
        epoch = self._store.redact(choose)
        self._leave("redact")
        return epoch

    def sweep(
        self, marked: Container[int], epoch: int, after: int, limit: int
    ) -> Swept:
        """See :class:`~st8.core.ports.Store`."""
        self._enter("sweep")
        swept = self._store.sweep(marked, epoch, after, limit)
        self._leave("sweep")
        return swept

    def weigh(self, marked: Container[int], after: int, limit: int) -> Swept:
        """See :class:`~st8.core.ports.Store`."""
        self._enter("weigh")
        swept = self._store.weigh(marked, after, limit)
        self._leave("weigh")
        return swept

    def shrink(self, limit: int) -> Shrunk:
        """See :class:`~st8.core.ports.Store`."""
        self._enter("shrink")
        shrunk = self._store.shrink(limit)
        self._leave("shrink")
        return shrunk

    def erase(self, position: int, limit: int) -> int:
        """See :class:`~st8.core.ports.Store`."""
        self._enter("erase")
        after = self._store.erase(position, limit)
        self._leave("erase")
        return after

    def tidy(self) -> None:
        """See :class:`~st8.core.ports.Store`."""
        self._enter("tidy")
        self._store.tidy()
        self._leave("tidy")

    def held_objects(
        self, after: int, limit: int, size_max: int
    ) -> Sequence[HeldObject]:
        """See :class:`~st8.core.ports.Store`."""
        self._enter("held_objects")
        found = self._store.held_objects(after, limit, size_max)
        self._leave("held_objects")
        return found

    def check_itself(self) -> SelfCheck:
        """See :class:`~st8.core.ports.Store`."""
        self._enter("check_itself")
        found = self._store.check_itself()
        self._leave("check_itself")
        return found

    def pointers(self, namespace: Namespace | None) -> Pointers:
        """See :class:`~st8.core.ports.Store`."""
        self._enter("pointers")
        found = self._store.pointers(namespace)
        self._leave("pointers")
        return found

    def ping(self) -> None:
        """See :class:`~st8.core.ports.Store`."""
        self._enter("ping")
        self._store.ping()
        self._leave("ping")

    def close(self) -> None:
        """See :class:`~st8.core.ports.Store`."""
        self._enter("close")
        self._store.close()
        self._leave("close")


def _raiser(error: BaseException) -> Callable[[], None]:
    def act() -> None:
        raise error

    return act
