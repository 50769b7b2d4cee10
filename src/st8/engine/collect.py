"""Garbage collection: old revisions, and then the objects nobody refers to.

Kept are, in each namespace, every branch's head and base, every checkpoint, and
the newest ``keep`` revisions of each branch; of those also the state before, so
that a log can still say what each of them changed.

Three steps, of which only short pieces hold up writes. (1) Revisions that are not
kept are deleted, a few at a time between two commits, and the collection epoch is
counted up. (2) What the remaining revisions refer to is marked; nothing is locked.
(3) Objects that are not marked and were not stamped since are deleted in small
batches. A commit stamps every object that it makes with the epoch it was prepared
in, so nothing that it needs can go: what it did not make is below a kept revision.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from st8.core import limits
from st8.core.errors import InvalidValue, LimitExceeded
from st8.core.ids import (
    DEFAULT_NAMESPACE,
    Digest,
    Namespace,
    RevisionNumber,
    digest_prefix,
)
from st8.core.node import EMPTY_ROOT
from st8.engine.history import history
from st8.engine.results import Collected

if TYPE_CHECKING:
    from collections.abc import Iterator

    from st8.core.ports import Store
    from st8.engine.commit import Committer
    from st8.engine.objects import Objects
    from st8.engine.refs import Refs

__all__ = ["collect"]

_PAGE: Final = 1_000
_REMOVED_AT_ONCE: Final = 1_000
_SWEPT_AT_ONCE: Final = 500
_FIRST: Final = RevisionNumber(0)


def collect(
    store: Store,
    refs: Refs,
    objects: Objects,
    committer: Committer,
    *,
    keep: int,
    only: Namespace | None,
) -> Collected:
    """Collect in all namespaces, or in one; see above.

    May take long; reads and writes go on. One collection at a time.

    Raises:
        InvalidValue: ``keep`` is less than 1.
        LimitExceeded: ``keep`` is greater than ``gc_keep_max``.
    """
    if keep < 1:
        raise InvalidValue("keep", f"{keep} must be at least 1")
    if keep > limits.GC_KEEP.maximum:
        raise LimitExceeded(limits.GC_KEEP, "keep", keep)
    revisions = 0
    for namespace in [only] if only is not None else list(_namespaces(store)):
        revisions += _remove_revisions(store, refs, committer, namespace, keep)
    # Always a new epoch: what was stamped in the old one may be swept now.
    epoch = 0

    def next_epoch() -> None:
        nonlocal epoch
        expected = refs.namespace(DEFAULT_NAMESPACE).epoch
        epoch = store.raise_epoch({}, expected)
        refs.forget_revisions(DEFAULT_NAMESPACE, (), epoch)

    committer.between_batches(next_epoch).result()
    marked = _mark(store, refs, objects)
    return Collected(revisions, _sweep(store, marked, epoch))


def _remove_revisions(
    store: Store, refs: Refs, committer: Committer, namespace: Namespace, keep: int
) -> int:
    """Delete the revisions of a namespace that are not kept; return how many."""
    # Read first: what is made from now on is not looked at.
    last = store.namespace(namespace).last_revision
    kept = _referred_to(store, namespace)
    for branch in _branches_heads(store, namespace):
        head = refs.revision(namespace, branch)
        if head is not None:
            kept.update(revision.number for revision in history(refs, head, keep))
    old = [n for n in _numbers(store, namespace) if n <= last and n not in kept]
    removed = 0

    for start in range(0, len(old), _REMOVED_AT_ONCE):
        some = old[start : start + _REMOVED_AT_ONCE]

        def remove(some: list[RevisionNumber] = some) -> None:
            nonlocal removed
            # A checkpoint or branch may have been set since.
            kept_now = _referred_to(store, namespace)
            gone = [number for number in some if number not in kept_now]
            expected = refs.namespace(namespace).epoch
            raised = store.raise_epoch({namespace: gone}, expected)
            refs.forget_revisions(namespace, gone, raised)
            removed += len(gone)

        committer.between_batches(remove).result()
    return removed


def _referred_to(store: Store, namespace: Namespace) -> set[int]:
    """Return the numbers that a branch or checkpoint names."""
    numbers: set[int] = set()
    after = ""
    while page := store.branches(namespace, "", after, _PAGE):
        numbers.update(n for branch in page for n in (branch.base, branch.head))
        after = page[-1].name
    after = ""
    while checkpoints := store.checkpoints(namespace, "", after, _PAGE):
        numbers.update(checkpoint.revision for checkpoint in checkpoints)
        after = checkpoints[-1].name
    return numbers


def _branches_heads(store: Store, namespace: Namespace) -> Iterator[RevisionNumber]:
    after = ""
    while page := store.branches(namespace, "", after, _PAGE):
        yield from (branch.head for branch in page)
        after = page[-1].name


def _namespaces(store: Store) -> Iterator[Namespace]:
    after = ""
    while page := store.namespaces("", after, _PAGE):
        yield from (info.name for info in page)
        after = page[-1].name


def _numbers(store: Store, namespace: Namespace) -> Iterator[RevisionNumber]:
    after = _FIRST
    while page := store.numbers(namespace, after, _PAGE):
        yield from page
        after = page[-1]


def _mark(store: Store, refs: Refs, objects: Objects) -> set[int]:
    """Mark all that the stored revisions refer to, in all namespaces."""
    marks: set[int] = set()
    walked: set[Digest] = set()
    for namespace in _namespaces(store):
        for number in _numbers(store, namespace):
            revision = refs.revision(namespace, number)
            if revision is not None:
                _mark_tree(objects, revision.root, walked, marks)
                _mark_tree(objects, revision.parent_root, walked, marks)
    return marks


def _mark_tree(
    objects: Objects, root: Digest, walked: set[Digest], marks: set[int]
) -> None:
    """Mark a tree but for the subtrees that were walked already.

    Digests that begin alike keep each other alive, which is safe.
    """
    waiting = [] if root == EMPTY_ROOT else [root]
    while waiting:
        digest = waiting.pop()
        if digest in walked:
            continue
        walked.add(digest)
        marks.add(digest_prefix(digest))
        node = objects.node(digest)
        if node.level:
            waiting += node.children()
        else:
            marks.update(map(digest_prefix, node.children()))


def _sweep(store: Store, marks: set[int], epoch: int) -> int:
    deleted = 0
    position = 0
    while True:
        position, some = store.sweep(marks, epoch, position, _SWEPT_AT_ONCE)
        deleted += some
        if not position:
            return deleted
