"""What the contract suite commits: small batches whose every part can be told again.

All is made from a namespace and a number, so a test that reads number 7 knows what
bytes it must find.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final, NamedTuple

from st8.core.ids import (
    Author,
    BranchName,
    CheckpointName,
    Digest,
    IdempotencyKey,
    Key,
    Message,
    Namespace,
    RevisionNumber,
    digest_of,
    digest_prefix,
)
from st8.core.ports import Answer, Batch, Record
from st8.core.redactions import Redaction
from st8.core.revisions import Branch, Checkpoint, NamespaceInfo

if TYPE_CHECKING:
    from collections.abc import Iterable

    from st8.core.ports import Store

__all__ = [
    "CP",
    "DEV",
    "KEY",
    "MAIN",
    "NO_MARKS",
    "OTHER",
    "A",
    "B",
    "C",
    "Dump",
    "N",
    "answer_of",
    "branch_at",
    "broken_batches",
    "checkpoint_at",
    "content_of",
    "dump",
    "empty_batch",
    "epoch_of",
    "full_batch",
    "key_of",
    "named",
    "next_batch",
    "objects_of",
    "put",
    "record_of",
    "redaction_of",
    "remember",
    "set_branch",
    "set_checkpoint",
    "sweep_all",
    "write",
    "write_everywhere",
    "write_named",
]

N = RevisionNumber
A: Final = Namespace("a")
B: Final = Namespace("b")
C: Final = Namespace("c")
MAIN: Final = BranchName("main")
DEV: Final = BranchName("dev")
CP: Final = CheckpointName("cp")
OTHER: Final = CheckpointName("other")
KEY: Final = IdempotencyKey("key")

NO_MARKS: Final[frozenset[int]] = frozenset()
"""What a sweep is told that shall spare nothing."""

_ALL: Final = 100_000
_NEVER_NS: Final = 10**18


class Dump(NamedTuple):
    """All that can be seen of a store from outside, objects by what was asked for."""

    namespaces: list[NamespaceInfo]
    branches: dict[Namespace, list[Branch]]
    checkpoints: dict[Namespace, list[Checkpoint]]
    revisions: dict[Namespace, dict[RevisionNumber, bytes]]
    answers: dict[tuple[Namespace, IdempotencyKey], Answer | None]
    objects: dict[Digest, bytes]
    epoch: int


def dump(
    store: Store,
    objects: Iterable[Digest] = (),
    answers: Iterable[tuple[Namespace, IdempotencyKey]] = (),
) -> Dump:
    """Return what a store holds, read through its public methods."""
    infos = list(store.namespaces("", "", _ALL))
    names = [info.name for info in infos]
    numbers = {name: store.numbers(name, N(0), _ALL) for name in names}
    wanted = list(objects)
    return Dump(
        infos,
        {name: list(store.branches(name, "", "", _ALL)) for name in names},
        {name: list(store.checkpoints(name, "", "", _ALL)) for name in names},
        {name: dict(store.revisions(name, numbers[name])) for name in names},
        {at: store.answer(*at) for at in answers},
        store.objects(wanted) if wanted else {},
        store.namespace(A).epoch,
    )


# --- parts --------------------------------------------------------------------------


def epoch_of(store: Store) -> int:
    """Return the collection epoch."""
    return store.namespace(A).epoch


def record_of(namespace: Namespace, number: int) -> bytes:
    """Return what stands for the bytes of a revision."""
    return f"record {number} of {namespace}".encode()


def content_of(namespace: Namespace, number: int) -> bytes:
    """Return the bytes of the object that comes with a revision."""
    return f"content {number} of {namespace}".encode()


def objects_of(*contents: bytes) -> dict[Digest, bytes]:
    """Return objects by their digests."""
    return {digest_of(content): content for content in contents}


def branch_at(number: int, name: BranchName = MAIN, base: int = 0) -> Branch:
    """Return a branch that points at a revision."""
    return Branch(name, N(base), N(base), N(number), _head_digest(number))


def checkpoint_at(
    number: int, name: CheckpointName = CP, description: str = ""
) -> Checkpoint:
    """Return a checkpoint that names a revision."""
    return Checkpoint(
        name,
        N(number),
        _head_digest(number),
        MAIN,
        Message(description),
        Author("ops"),
        1_000 + number,
    )


def answer_of(number: int, expires_ns: int = _NEVER_NS) -> Answer:
    """Return an answer to an idempotency key."""
    return Answer(_head_digest(number), N(number), number % 2 == 0, expires_ns)


def redaction_of(content: bytes, namespace: Namespace) -> Redaction:
    """Return that a content was redacted, which stood in a namespace."""
    return Redaction(
        digest_of(content),
        namespace,
        Key("a/key"),
        Author("ops"),
        Message("it leaked"),
        _NEVER_NS,
    )


def named(name: str, number: int) -> tuple[Branch, Checkpoint, Answer]:
    """Return a branch, a checkpoint and an answer that share a name."""
    return (
        branch_at(number, BranchName(name)),
        checkpoint_at(number, CheckpointName(name)),
        answer_of(number),
    )


def key_of(name: str) -> IdempotencyKey:
    """Return the idempotency key that stands for any name."""
    return IdempotencyKey(hashlib.sha256(name.encode()).hexdigest())


def _head_digest(number: int) -> Digest:
    return Digest(hashlib.sha256(b"head %d" % number).digest())


# --- batches ------------------------------------------------------------------------


def empty_batch(store: Store, now_ns: int = 0) -> Batch:
    """Return a batch for the store as it is."""
    return Batch(epoch_of(store), now_ns)


def full_batch(store: Store) -> Batch:
    """Return a first batch with something of everything, in two namespaces."""
    batch = empty_batch(store)
    batch.objects = objects_of(b"", b"x", b"y" * 1000)
    batch.namespaces = {A: (N(0), N(2)), B: (N(0), N(1))}
    batch.revisions = {
        A: [Record(N(1), record_of(A, 1)), Record(N(2), record_of(A, 2))],
        B: [Record(N(1), record_of(B, 1))],
    }
    batch.branches = {
        (A, MAIN): (None, branch_at(2)),
        (A, DEV): (None, branch_at(1, DEV, 1)),
        (B, MAIN): (None, branch_at(1)),
    }
    batch.checkpoints = {(A, CP): (None, checkpoint_at(1))}
    batch.answers = {(A, KEY): answer_of(2)}
    return batch


def next_batch(store: Store) -> Batch:
    """Return a batch that follows the full one, with something of everything."""
    batch = empty_batch(store)
    batch.objects = objects_of(b"new", b"newer")
    batch.namespaces = {A: (N(2), N(3)), C: (N(0), N(1))}
    batch.revisions = {
        A: [Record(N(3), record_of(A, 3))],
        C: [Record(N(1), record_of(C, 1))],
    }
    batch.branches = {
        (C, MAIN): (None, branch_at(1)),
        (A, DEV): (branch_at(1, DEV, 1), None),
        (A, MAIN): (branch_at(2), branch_at(3)),
    }
    batch.checkpoints = {
        (A, OTHER): (None, checkpoint_at(2, OTHER)),
        (A, CP): (checkpoint_at(1), None),
    }
    batch.answers = {(B, KEY): answer_of(9)}
    return batch


def broken_batches(store: Store) -> dict[str, Batch]:
    """Return batches of which one expectation is wrong, by what it is.

    All follow the full one, and would be written but for that.
    """
    batches: dict[str, Batch] = {}

    def make(how: str) -> Batch:
        return batches.setdefault(how, next_batch(store))

    make("epoch ahead").epoch += 1
    make("epoch behind").epoch -= 1
    make("namespace is further on").namespaces[A] = (N(1), N(3))
    make("namespace exists").namespaces[A] = (N(0), N(3))
    make("namespace does not exist").namespaces[C] = (N(4), N(5))
    make("branch exists").branches[A, MAIN] = (None, branch_at(3))
    make("branch is elsewhere").branches[A, MAIN] = (branch_at(1), branch_at(3))
    make("branch does not exist").branches[C, MAIN] = (branch_at(1), branch_at(2))
    make("deleted branch is elsewhere").branches[A, DEV] = (branch_at(2, DEV, 1), None)
    make("deleted branch is not there").branches[B, DEV] = (branch_at(1, DEV), None)
    make("checkpoint exists").checkpoints[A, CP] = (None, checkpoint_at(2))
    make("checkpoint is elsewhere").checkpoints[A, CP] = (checkpoint_at(2), None)
    make("checkpoint is not there").checkpoints[A, OTHER] = (
        checkpoint_at(1, OTHER),
        None,
    )
    return batches


# --- commits ------------------------------------------------------------------------


def write(store: Store, namespace: Namespace = A, branch: BranchName = MAIN) -> int:
    """Commit one more revision to a branch, with an object, and return its number.

    Raises:
        Stale: Another thread was quicker.
    """
    state = store.namespace(namespace)
    before = store.branch(namespace, branch)
    number = N(state.last_revision + 1)
    base = 0 if before is None else before.base
    batch = Batch(state.epoch, 0)
    batch.objects = objects_of(content_of(namespace, number))
    batch.namespaces[namespace] = (state.last_revision, number)
    batch.revisions[namespace] = [Record(number, record_of(namespace, number))]
    batch.branches[namespace, branch] = (before, branch_at(number, branch, base))
    store.commit(batch)
    return number


def put(store: Store, *contents: bytes) -> None:
    """Commit objects, beside an answer, since a batch of objects alone is nothing."""
    if not store.namespace(A).last_revision:
        write(store)
    batch = empty_batch(store)
    batch.objects = objects_of(*contents)
    batch.answers[A, KEY] = answer_of(1)
    store.commit(batch)


def write_named(store: Store, *names: tuple[str, str]) -> None:
    """Commit, for each namespace and name, a branch, checkpoint and answer.

    All in one batch. The first name of a namespace has revision 1, and so on.
    """
    batch = empty_batch(store)
    for namespace_name, name in names:
        namespace = Namespace(namespace_name)
        _, last = batch.namespaces.get(namespace, (N(0), N(0)))
        number = N(last + 1)
        branch, checkpoint, answer = named(name, number)
        record = Record(number, record_of(namespace, number))
        batch.namespaces[namespace] = (N(0), number)
        batch.revisions.setdefault(namespace, []).append(record)
        batch.branches[namespace, branch.name] = (None, branch)
        batch.checkpoints[namespace, checkpoint.name] = (None, checkpoint)
        batch.answers[namespace, key_of(name)] = answer
    store.commit(batch)


def write_everywhere(store: Store, number: int) -> None:
    """Set two branches and a checkpoint to ``number`` in one commit."""
    batch = empty_batch(store)
    old = number - 1
    batch.objects = objects_of(content_of(A, number))
    batch.namespaces[A] = (N(old), N(number))
    batch.revisions[A] = [Record(N(number), record_of(A, number))]
    for name in (MAIN, DEV):
        before = branch_at(old, name) if old else None
        batch.branches[A, name] = (before, branch_at(number, name))
    checkpoint = checkpoint_at(old) if old else None
    batch.checkpoints[A, CP] = (checkpoint, checkpoint_at(number))
    store.commit(batch)


def set_branch(
    store: Store,
    before: Branch | None,
    after: Branch | None,
    namespace: Namespace = A,
    name: BranchName = MAIN,
) -> None:
    """Commit one branch."""
    batch = empty_batch(store)
    batch.branches[namespace, name] = (before, after)
    store.commit(batch)


def set_checkpoint(
    store: Store, before: Checkpoint | None, after: Checkpoint | None
) -> None:
    """Commit one checkpoint."""
    batch = empty_batch(store)
    batch.checkpoints[A, CP] = (before, after)
    store.commit(batch)


def remember(
    store: Store, now_ns: int, answers: dict[str, Answer], namespace: Namespace = A
) -> None:
    """Commit answers at a time."""
    batch = empty_batch(store, now_ns)
    for key, answer in answers.items():
        batch.answers[namespace, IdempotencyKey(key)] = answer
    store.commit(batch)


def sweep_all(
    store: Store, kept: Iterable[Digest], epoch: int, limit: int = 100
) -> int:
    """Sweep to the end, sparing ``kept``, and return how many objects went."""
    marks = {digest_prefix(digest) for digest in kept}
    # What write() makes is no part of the count.
    marks.update(digest_prefix(digest_of(content_of(A, n))) for n in range(500))
    position = deleted = 0
    while True:
        position, some, *_ = store.sweep(marks, epoch, position, limit)
        deleted += some
        if not position:
            return deleted
