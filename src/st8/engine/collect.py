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

from contextlib import suppress
from typing import TYPE_CHECKING, Final, NamedTuple

from st8.core import limits
from st8.core.errors import (
    BranchNotFound,
    InvalidValue,
    LimitExceeded,
    NamespaceNotFound,
    RevisionCollected,
    Unavailable,
)
from st8.core.failpoints import failpoint
from st8.core.ids import (
    DEFAULT_NAMESPACE,
    Digest,
    Namespace,
    RevisionNumber,
    Scope,
    digest_prefix,
)
from st8.core.node import EMPTY_ROOT
from st8.core.ports import Stale
from st8.engine import pages
from st8.engine.history import head_of, history
from st8.engine.results import Collected

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from st8.core.ports import Store
    from st8.core.revisions import Branch, Revision
    from st8.engine.commit import Committer
    from st8.engine.objects import Objects
    from st8.engine.refs import Refs

__all__ = ["collect"]

_REMOVED_AT_ONCE: Final = 1_000
_SWEPT_AT_ONCE: Final = 500
_ATTEMPTS: Final = 16
"""How often the epoch is looked up anew when others collect in the same store."""


class _Named(NamedTuple):
    """Revisions of a namespace that something names.

    Attributes:
        branches: The branches.
        numbers: Their heads and bases, and the checkpoints.
    """

    branches: list[Branch]
    numbers: set[int]


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
        NamespaceNotFound: Nothing was ever applied in ``only``.
        Corrupt: Something that is to be kept is damaged.
        Unavailable: Other daemons kept collecting in the same store.
    """
    if keep < 1:
        raise InvalidValue("keep", f"{keep} must be at least 1")
    if keep > limits.GC_KEEP.maximum:
        raise LimitExceeded(limits.GC_KEEP, "keep", keep)
    if only is not None and not store.namespace(only).last_revision:
        raise NamespaceNotFound(only)
    revisions = 0
    every = [only] if only is not None else [i.name for i in pages.namespaces(store)]
    for namespace in every:
        revisions += _remove_revisions(store, refs, committer, namespace, keep)
    # Always a new epoch: what was stamped in the old one may be swept now.
    epoch = 0

    def next_epoch() -> None:
        nonlocal epoch
        epoch = _raise_epoch(store, refs, DEFAULT_NAMESPACE, list)

    failpoint("collect.before_epoch")
    committer.between_batches(next_epoch).result()
    failpoint("collect.after_epoch")
    marked = _mark(store, refs, objects)
    failpoint("collect.marked")
    return Collected(revisions, _sweep(store, marked, epoch))


def _remove_revisions(
    store: Store, refs: Refs, committer: Committer, namespace: Namespace, keep: int
) -> int:
    """Delete the revisions of a namespace that are not kept; return how many."""
    # Read first: what is made from now on is not looked at.
    last = store.namespace(namespace).last_revision
    named = _named(store, namespace)
    kept = named.numbers
    for branch in named.branches:
        with suppress(BranchNotFound):  # it was taken away meanwhile
            head = head_of(refs, Scope(namespace, branch.name), branch)
            kept.update(revision.number for revision in history(refs, head, keep))
    old = [n for n in pages.numbers(store, namespace) if n <= last and n not in kept]
    removed = 0

    for start in range(0, len(old), _REMOVED_AT_ONCE):
        some = old[start : start + _REMOVED_AT_ONCE]

        def remove(some: list[RevisionNumber] = some) -> None:
            nonlocal removed
            gone: list[RevisionNumber] = []

            def choose() -> list[RevisionNumber]:
                # A checkpoint or branch may have been set since.
                named_now = _named(store, namespace).numbers
                gone[:] = [number for number in some if number not in named_now]
                return gone

            _raise_epoch(store, refs, namespace, choose)
            removed += len(gone)

        failpoint("collect.before_removal")
        committer.between_batches(remove).result()
        failpoint("collect.after_removal")
    return removed


def _raise_epoch(
    store: Store,
    refs: Refs,
    namespace: Namespace,
    choose: Callable[[], Sequence[RevisionNumber]],
) -> int:
    """Count up the epoch and delete revisions of a namespace; return the epoch.

    ``choose`` says which revisions. It is asked anew each time that another daemon
    was quicker.

    Raises:
        Unavailable: Others were quicker each time.
    """
    for _ in range(_ATTEMPTS):
        expected = refs.namespace(namespace).epoch
        gone = choose()
        try:
            epoch = store.raise_epoch({namespace: gone}, expected)
        except Stale:
            refs.forget_refs()
            continue
        refs.forget_revisions(namespace, gone, epoch)
        return epoch
    raise Unavailable(
        "other daemons kept collecting in the same store: gave up after "
        f"{_ATTEMPTS} attempts, and what was left was not removed. Try again when "
        "they are done"
    )


def _named(store: Store, namespace: Namespace) -> _Named:
    """Return the revisions that a branch or checkpoint names."""
    branches = list(pages.branches(store, namespace))
    numbers: set[int] = set()
    numbers.update(n for branch in branches for n in (branch.base, branch.head))
    numbers.update(c.revision for c in pages.checkpoints(store, namespace))
    return _Named(branches, numbers)


def _mark(store: Store, refs: Refs, objects: Objects) -> set[int]:
    """Mark all that the stored revisions refer to, in all namespaces."""
    marks: set[int] = set()
    walked: set[Digest] = set()
    for namespace, _ in pages.namespaces(store):
        for number in pages.numbers(store, namespace):
            revision = refs.revision(namespace, number)
            if revision is not None:
                walked |= _mark_trees(objects, revision, walked, marks)
    return marks


def _mark_trees(
    objects: Objects, revision: Revision, walked: set[Digest], marks: set[int]
) -> set[Digest]:
    """Mark a revision's state, and the one before, but for what was ``walked``.

    Returns the nodes that were walked now: none where another daemon collects the
    revision meanwhile, since then it can't be told what is below them.

    Digests that begin alike keep each other alive, which is safe.
    """
    source = objects.of(revision)
    new: set[Digest] = set()
    waiting = [revision.root, revision.parent_root]
    while waiting:
        digest = waiting.pop()
        if digest in walked or digest in new or digest == EMPTY_ROOT:
            continue
        new.add(digest)
        marks.add(digest_prefix(digest))
        try:
            node = source.node(digest)
        except RevisionCollected:
            return set()
        if node.level:
            waiting += node.children()
        else:
            marks.update(map(digest_prefix, node.children()))
    return new


def _sweep(store: Store, marks: set[int], epoch: int) -> int:
    deleted = 0
    position = 0
    while True:
        failpoint("collect.before_sweep")
        position, some = store.sweep(marks, epoch, position, _SWEPT_AT_ONCE)
        failpoint("collect.after_sweep")
        deleted += some
        if not position:
            return deleted
