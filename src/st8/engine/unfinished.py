"""Namespaces that a backup is being restored into, and what a broken-off restore left.

While its newest number is 0 a namespace is not there: it is in no list and has no
branch, so what revisions it has already are seen by nobody. A mark keeps others from
making its first revision meanwhile. The mark is a checkpoint, in a namespace whose name
no client can say; it is looked at only before a first revision.

The collection epoch decides who may go on. Whoever restores counts it up when the marks
stand, so that no commit is left that was prepared without looking at them; and each of
their own commits expects that epoch. Whoever wants to clear the namespace counts it up
first, and then nobody who was restoring can make it visible any more.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol, cast

from st8.core.errors import BeingRestored
from st8.core.ids import (
    Author,
    BranchName,
    CheckpointName,
    Message,
    Namespace,
    RevisionNumber,
    digest_of,
)
from st8.core.ports import Batch
from st8.core.revisions import Checkpoint
from st8.engine import pages

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from st8.core.ports import Store
    from st8.engine.commit import Committer
    from st8.engine.refs import Refs

    RaiseEpoch = Callable[[Mapping[Namespace, Sequence[RevisionNumber]], int], int]

__all__ = [
    "MARKS",
    "check_free",
    "clear_marked",
    "epoch_raiser",
    "mark",
    "remove_revisions",
    "without_marks",
]

MARKS: Final = cast("Namespace", "\x01restore")
"""Where the marks are; a name that was checked could not be this."""

_NOTHING: Final = RevisionNumber(0)
_REMOVED_AT_ONCE: Final = 1_000


class _HasCheckpoints(Protocol):
    def checkpoint(
        self, namespace: Namespace, name: CheckpointName
    ) -> Checkpoint | None: ...


def check_free(refs: _HasCheckpoints, namespace: Namespace) -> None:
    """Return if a first revision may be made in a namespace.

    Raises:
        BeingRestored: It is kept free.
    """
    if refs.checkpoint(MARKS, _name(namespace)) is not None:
        raise BeingRestored(namespace)


def mark(store: Store, namespaces: Iterable[Namespace], epoch: int) -> None:
    """Keep namespaces free, whoever did so before.

    Raises:
        Stale: The epoch is another one, or others mark just now.
    """
    batch = Batch(epoch, 0)
    batch.namespaces[MARKS] = (_NOTHING, _NOTHING)
    for namespace in namespaces:
        name = _name(namespace)
        before = store.checkpoint(MARKS, name)
        batch.checkpoints[MARKS, name] = (before, _mark(name))
    store.commit(batch)


def without_marks(namespaces: Iterable[Namespace], epoch: int) -> Batch:
    """Return the batch that takes marks away, which all stand; more may be added."""
    batch = Batch(epoch, 0)
    batch.namespaces[MARKS] = (_NOTHING, _NOTHING)
    for namespace in namespaces:
        name = _name(namespace)
        batch.checkpoints[MARKS, name] = (_mark(name), None)
    return batch


def epoch_raiser(store: Store, refs: Refs, committer: Committer) -> RaiseEpoch:
    """Return what counts up the epoch, between two commits of the committer's.

    It returns the new epoch, and raises Stale if the old one is not as expected.
    """

    def raise_epoch(
        removed: Mapping[Namespace, Sequence[RevisionNumber]], expected: int
    ) -> int:
        raised = 0

        def work() -> None:
            nonlocal raised
            raised = store.raise_epoch(removed, expected).epoch
            for namespace, numbers in (removed or {MARKS: ()}).items():
                refs.forget_revisions(namespace, numbers, raised)

        committer.between_batches(work).result()
        return raised

    return raise_epoch


def remove_revisions(
    store: Store, namespace: Namespace, epoch: int, raise_epoch: RaiseEpoch
) -> int:
    """Remove what a namespace has that is not there; return the epoch that is then.

    The caller has seen that it is not there, after the epoch was counted up to
    ``epoch``.

    Raises:
        Stale: The epoch is another one.
    """
    numbers = list(pages.numbers(store, namespace))
    for start in range(0, len(numbers), _REMOVED_AT_ONCE):
        some = numbers[start : start + _REMOVED_AT_ONCE]
        epoch = raise_epoch({namespace: some}, epoch)
    return epoch


def clear_marked(store: Store, raise_epoch: RaiseEpoch) -> None:
    """Give up every restore that is under way or was broken off.

    Those that are under way hear of it at their next commit.

    Raises:
        Stale: Others count up the epoch just now, or mark.
    """
    marked = [cast("Namespace", c.name) for c in pages.checkpoints(store, MARKS)]
    if not marked:
        return
    epoch = raise_epoch({}, store.namespace(MARKS).epoch)
    for namespace in marked:
        if not store.namespace(namespace).last_revision:
            epoch = remove_revisions(store, namespace, epoch, raise_epoch)
    store.commit(without_marks(marked, epoch))


def _name(namespace: Namespace) -> CheckpointName:
    return cast("CheckpointName", namespace)


def _mark(name: CheckpointName) -> Checkpoint:
    return Checkpoint(
        name,
        _NOTHING,
        digest_of(b""),
        cast("BranchName", ""),
        cast("Message", "a backup is being restored into this namespace"),
        cast("Author", ""),
        0,
    )
