"""What the engine needs from the outside world, as protocols.

A store is small on purpose: a bag of immutable objects by digest, a table of
revisions, two tables of refs, and one atomic :meth:`Store.commit`. Whoever writes
a new one runs ``st8.testing.contract`` over it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple, Protocol

from st8.core.errors import Corrupt
from st8.core.ids import (
    BranchName,
    CheckpointName,
    Digest,
    IdempotencyKey,
    Namespace,
    RevisionNumber,
)
from st8.core.revisions import Branch, Checkpoint, NamespaceInfo

if TYPE_CHECKING:
    from collections.abc import Container, Mapping
    from concurrent.futures import Executor
    from contextlib import AbstractContextManager

    from st8.core.redactions import Redaction

__all__ = [
    "Answer",
    "AnswerAt",
    "Batch",
    "BranchAt",
    "Clock",
    "CommitTimes",
    "DamagedRow",
    "Heard",
    "HeldObject",
    "NamespaceState",
    "Pointers",
    "Raised",
    "Record",
    "SelfCheck",
    "Shrunk",
    "Stale",
    "Store",
    "Swept",
    "Threads",
    "Timer",
]


class Clock(Protocol):
    """Tells the time."""

    def now_ns(self) -> int:
        """Return nanoseconds since 1970-01-01 UTC."""
        ...


class Timer(Protocol):
    """Measures how long work takes, and lets time pass; any thread may use it."""

    def time(self) -> float:
        """Return seconds since some moment; they never go back."""
        ...

    def wait(self, wait: Callable[[float], bool], at_most_s: float) -> bool:
        """Return what ``wait`` does, which waits for something so long at most."""
        ...


class Threads(Protocol):
    """Makes threads that work is given to: ``ThreadPoolExecutor``, or what stands in.

    Whoever waits for work of the engine or the daemon waits for its future, on one of
    these threads.
    """

    def __call__(self, max_workers: int, thread_name_prefix: str) -> Executor:
        """Return so many threads, with a name for people."""
        ...


class Record(NamedTuple):
    """A revision as stored: its canonical bytes, and what they are found by."""

    number: RevisionNumber
    data: bytes


class NamespaceState(NamedTuple):
    """What a commit must know of a namespace.

    Attributes:
        last_revision: The newest number; 0 where the namespace does not exist.
        epoch: The store's collection epoch.
    """

    last_revision: RevisionNumber
    epoch: int


class Pointers(NamedTuple):
    """What can move in a store, as it was at one moment.

    Attributes:
        namespaces: Those that have a revision, with the newest number of each.
        branches: Their branches, each with its namespace.
        checkpoints: Their checkpoints, likewise.
    """

    namespaces: Sequence[NamespaceInfo]
    branches: Sequence[tuple[Namespace, Branch]]
    checkpoints: Sequence[tuple[Namespace, Checkpoint]]


class Answer(NamedTuple):
    """What an idempotency key was answered with.

    Attributes:
        request: SHA-256 of the request, to tell a retry from another request.
        revision: The head after it.
        noop: Nothing was changed.
        expires_ns: When it may be forgotten.
    """

    request: Digest
    revision: RevisionNumber
    noop: bool
    expires_ns: int


BranchAt = tuple[Namespace, BranchName]
CheckpointAt = tuple[Namespace, CheckpointName]
AnswerAt = tuple[Namespace, IdempotencyKey]


Heard = Callable[[Collection[BranchAt] | None], None]
"""Is told which branches others have moved; None is that any may have moved."""


class DamagedRow(Corrupt):
    """A row that does not match its seal.

    Attributes:
        names: What tells the row from others of its list, as it stands there: the
            name, or the namespace and key of an answer. Empty where that can't be
            read. No part of what clients are told.
    """

    def __init__(self, owner: str, names: tuple[str, ...]) -> None:
        """Name the namespace, and the row in it."""
        super().__init__(f"a row of the store, of {owner!r}, does not match its seal")
        self.names = names


class HeldObject(NamedTuple):
    """A row of a store's objects, as a verification wants it.

    Attributes:
        position: Where it stands; ascending, never reused while the store is open.
        begins: What it is found by: its digest, or the first eight bytes of that.
        size: How many bytes it takes, packed.
        data: Its bytes, compared with nothing; None where they were not asked for,
            or can't be unpacked.
    """

    position: int
    begins: bytes
    size: int
    data: bytes | None


class SelfCheck(NamedTuple):
    """What a store finds wrong with itself, below what its methods show.

    Attributes:
        problems: A sentence for each.
        skipped: Why a part was not looked at; empty where all was.
    """

    problems: Sequence[str]
    skipped: str = ""


class Stale(Exception):
    """What a batch was prepared from is no longer so; nothing was written."""


@dataclass(slots=True)
class Batch:
    """One atomic change of a store.

    Every ``expected`` is compared first; if one does not hold, nothing is written
    and :class:`Stale` is raised.

    Attributes:
        epoch: Expected collection epoch; objects are stamped with it.
        now_ns: Answers that expired before this may be forgotten.
        objects: Canonical bytes by digest. An object that is there already is only
            stamped.
        namespaces: Expected and new last revision; expected 0 creates it.
        revisions: New records by namespace, in ascending order of number.
        branches: Expected and new pointer; None is absence.
        checkpoints: Expected and new checkpoint, likewise.
        answers: What idempotency keys were answered with.
    """

    epoch: int
    now_ns: int
    objects: dict[Digest, bytes] = field(default_factory=dict[Digest, bytes])
    namespaces: dict[Namespace, tuple[RevisionNumber, RevisionNumber]] = field(
        default_factory=dict[Namespace, tuple[RevisionNumber, RevisionNumber]]
    )
    revisions: dict[Namespace, list[Record]] = field(
        default_factory=dict[Namespace, list[Record]]
    )
    branches: dict[BranchAt, tuple[Branch | None, Branch | None]] = field(
        default_factory=dict[BranchAt, tuple[Branch | None, Branch | None]]
    )
    checkpoints: dict[CheckpointAt, tuple[Checkpoint | None, Checkpoint | None]] = (
        field(
            default_factory=dict[
                CheckpointAt, tuple[Checkpoint | None, Checkpoint | None]
            ]
        )
    )
    answers: dict[AnswerAt, Answer] = field(default_factory=dict[AnswerAt, Answer])

    def __bool__(self) -> bool:
        """Return whether there is anything to write."""
        return bool(
            self.namespaces or self.branches or self.checkpoints or self.answers
        )


class CommitTimes(NamedTuple):
    """How long a commit took, in seconds, and since when it holds.

    Attributes:
        write_s: Until the last row was handed over.
        sync_s: Until it was durable, fsync included.
        moves: What :meth:`Store.moves` says as long as nobody has written after it;
            None where that can't be told.
    """

    write_s: float
    sync_s: float
    moves: int | None = None


class Raised(NamedTuple):
    """A collection epoch that was counted up.

    Attributes:
        epoch: The new one.
        revisions: How many were deleted.
    """

    epoch: int
    revisions: int


class Swept(NamedTuple):
    """A piece of a sweep.

    Attributes:
        position: Where to go on; 0 at the end.
        objects: How many were deleted.
        size: About how many bytes they had, as they were stored.
        held_s: How long commits were held up by it, at most.
    """

    position: int
    objects: int
    size: int
    held_s: float = 0.0


class Shrunk(NamedTuple):
    """Space that was given back to the file system.

    Attributes:
        size: In bytes; 0 when there is no more.
        held_s: How long commits were held up by it, at most.
    """

    size: int
    held_s: float = 0.0


class Store(Protocol):
    """Where objects, revisions and refs live.

    Every method may be called from any thread at any time. Reads see all that was
    committed before they began and never wait for a commit. Names are stored as
    they are: no two of them ever share a row.

    All raise :class:`~st8.core.errors.StorageFailed` when the store can't answer.
    """

    @property
    def name(self) -> str:
        """What it is, with its version, for people."""
        ...

    @property
    def exclusive(self) -> bool:
        """Whether nobody else can write to it."""
        ...

    def moves(self) -> int | None:
        """Return a number that is another one once somebody else has written.

        What was read from the store since it was asked for is current as long as it
        stays the same: it has changed before a write of others is answered, or read
        by anyone; it may change with writes of one's own, too. None where that can't
        be told without asking the store. Never waits.
        """
        ...

    def turn(self) -> AbstractContextManager[None]:
        """Return a block in which others that share the store do not write.

        A favour and no promise: what is prepared and committed inside is rarely
        overtaken, and :class:`Stale` says when it was. Others wait meanwhile.
        """
        ...

    def hear(self, heard: Heard) -> None:
        """Call ``heard`` soon after others have moved branches, until it is closed.

        On a thread of the store. Others may go unheard, when a connection or one of
        them fails; it is None, once, when that may have been. ``heard`` must not
        block. Called once at most.
        """
        ...

    def objects(
        self, digests: Sequence[Digest], size_max: int | None = None
    ) -> dict[Digest, bytes]:
        """Return the bytes of those objects that are there, unchecked.

        With ``size_max`` it may stop after the one with which the sizes pass that
        many bytes, so a long list can be read in pieces of a bounded size; at least
        the first one of the list that is there is returned.
        """
        ...

    def namespace(self, name: Namespace) -> NamespaceState:
        """Return what a commit must know of a namespace."""
        ...

    def namespaces(
        self, prefix: str, after: str, limit: int
    ) -> Sequence[NamespaceInfo]:
        """Return namespaces in byte order of their names, ``after`` excluded.

        Those with a revision. Every row on the way is compared with its seal, here as
        in all that follows.

        Raises:
            DamagedRow: One does not match.
        """
        ...

    def branch(self, namespace: Namespace, name: BranchName) -> Branch | None:
        """Return a branch, or None."""
        ...

    def branches(
        self, namespace: Namespace, prefix: str, after: str, limit: int
    ) -> Sequence[Branch]:
        """Return branches in byte order of their names, ``after`` excluded."""
        ...

    def checkpoint(
        self, namespace: Namespace, name: CheckpointName
    ) -> Checkpoint | None:
        """Return a checkpoint, or None."""
        ...

    def checkpoints(
        self, namespace: Namespace, prefix: str, after: str, limit: int
    ) -> Sequence[Checkpoint]:
        """Return checkpoints in byte order of their names, ``after`` excluded."""
        ...

    def revisions(
        self, namespace: Namespace, numbers: Sequence[RevisionNumber]
    ) -> Mapping[RevisionNumber, bytes]:
        """Return the canonical bytes of those revisions that are there, unchecked."""
        ...

    def answer(self, namespace: Namespace, key: IdempotencyKey) -> Answer | None:
        """Return what an idempotency key was answered with, expired or not."""
        ...

    def answers(
        self, after: tuple[str, str], limit: int
    ) -> Sequence[tuple[AnswerAt, Answer]]:
        """Return answers, expired or not, in byte order of namespace and then key.

        ``after``, a namespace and a key, is excluded; of two empty texts it is the
        beginning. Those of a namespace without revisions are there too.
        """
        ...

    def commit(self, batch: Batch) -> CommitTimes:
        """Write a batch, all of it or nothing, and return when it is durable.

        Raises:
            Stale: An expectation does not hold; nothing was written.
            StorageFull: No space; nothing was written, and later writes may work.
            StoreFenced: A write or sync failed, now or earlier. Every later commit
                raises this until the store is opened anew.
            OutcomeUnknown: It can't be told whether the batch was written.
        """
        ...

    def numbers(
        self, namespace: Namespace, after: RevisionNumber, limit: int
    ) -> Sequence[RevisionNumber]:
        """Return the numbers of stored revisions above ``after``, ascending."""
        ...

    def collecting(self) -> AbstractContextManager[bool]:
        """Return a block for a collection, which hears whether it is the only one.

        Of all who share the store: true is given to one at a time, and to the next
        one when the block ends or its process does. Never waits.
        """
        ...

    def raise_epoch(
        self, removed: Mapping[Namespace, Sequence[RevisionNumber]], expected: int
    ) -> Raised:
        """Atomically count up the collection epoch and delete revisions.

        A revision that a branch or a checkpoint names stays, also one that was named
        only just now. Objects put from then on bear the new epoch.

        Raises:
            Stale: The epoch is not ``expected``.
        """
        ...

    def redactions(self) -> Sequence[Redaction]:
        """Return what was redacted, by digest, namespace and key."""
        ...

    def redact(self, choose: Callable[[], Sequence[Redaction]]) -> int:
        """Atomically store redactions, delete their contents, count up the epoch.

        ``choose`` says which. While it runs nobody commits, and it may read the store:
        what it finds is still so when they are stored. What it raises is raised, and
        nothing is changed then. One that is there already stays as it is. Returns the
        new epoch: a batch of an earlier one is :class:`Stale`. Others that share the
        store soon hear that anything may have moved. The bytes of what is deleted may
        still be where it was, see :meth:`erase`.

        Raises:
            St8Error: See :meth:`commit`.
        """
        ...

    def erase(self, position: int, limit: int) -> int:
        """Overwrite what deletions have left of bytes, in a piece of the store.

        In up to ``limit`` pages of it from ``position``, 1 at first; durable on return.
        Returns where to go on, 0 at the end, and where it is not the store that sees
        to that.

        Raises:
            OutcomeUnknown: They may still be there: it failed, there is no space, or
                somebody goes on for seconds to read what was before.
            StoreFenced: A write has failed before.
        """
        ...

    def sweep(
        self, marked: Container[int], epoch: int, after: int, limit: int
    ) -> Swept:
        """Delete objects that are not marked and were stamped before ``epoch``.

        ``marked`` holds the prefixes of digests; see
        :func:`~st8.core.ids.digest_prefix`.

        Looks at some objects that follow position ``after`` (0 at the beginning), and
        deletes ``limit`` of them at most, in one short transaction.
        """
        ...

    def weigh(self, marked: Container[int], after: int, limit: int) -> Swept:
        """Tell what :meth:`sweep` would delete, whatever its stamp; deletes nothing."""
        ...

    def shrink(self, limit: int) -> Shrunk:
        """Give space that is free back to the file system, a piece of it.

        Up to ``limit`` pages of the store's, in one short transaction; always none
        where it is not the store that sees to that.
        """
        ...

    def tidy(self) -> None:
        """Do what writes have put off, beside them, so that none has to do it.

        To be called after each piece of work that writes much; most find nothing to do.
        """
        ...

    def held_objects(
        self, after: int, limit: int, size_max: int
    ) -> Sequence[HeldObject]:
        """Return up to ``limit`` objects that follow position ``after``, 0 at first.

        It may stop after the one with which the sizes pass ``size_max``; with 0 the
        bytes are left out. One that can't be read does not hide those behind it.
        """
        ...

    def check_itself(self) -> SelfCheck:
        """Return what is wrong below what the other methods show: files, indexes.

        And rows that no list shows. May take long; reads and writes go on.
        """
        ...

    def pointers(self, namespace: Namespace | None) -> Pointers:
        """Return what can move, of one namespace or of all, as of one moment.

        Each list is in byte order of namespaces and names. All of it is in memory.
        """
        ...

    def ping(self) -> None:
        """Return if the store can read, and write unless it is fenced."""
        ...

    def close(self) -> None:
        """Give everything back. The store is not used afterwards."""
        ...
