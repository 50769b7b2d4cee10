"""Finding revisions: by number, checkpoint, time or distance, and along the log.

Walks go along first parents. Each revision also names an ancestor further back, so
that a walk to a far one takes O(log n) steps; see
:func:`st8.core.revisions.make_revision`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from st8.core import limits, tree
from st8.core.errors import (
    BranchNotFound,
    CheckpointNotFound,
    Corrupt,
    InvalidValue,
    LimitExceeded,
    NoRevisionAt,
    RevisionCollected,
    RevisionNotFound,
)
from st8.core.ids import Author, Key, RevisionNumber, Scope
from st8.core.revisions import Link, format_time
from st8.engine.requests import HEAD, Selector
from st8.engine.state import ChangeList

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from st8.core.ids import Digest
    from st8.core.revisions import Branch, Revision
    from st8.engine.objects import ObjectSource
    from st8.engine.refs import RefSource

__all__ = [
    "ALL",
    "LogEntry",
    "LogFilter",
    "LogPage",
    "check_limit",
    "follow",
    "head_of",
    "history",
    "read_log",
    "resolve",
]


class LogEntry(NamedTuple):
    """A revision and what it changed."""

    revision: Revision
    changes: ChangeList


class LogPage(NamedTuple):
    """A page of a log, newest first.

    Attributes:
        entries: The revisions that the filter lets through.
        next: Give this as ``after`` to go on; None at the end.
        collected: The number of the first parent that was collected, where the
            page ends there.
    """

    entries: list[LogEntry]
    next: RevisionNumber | None
    collected: RevisionNumber | None


class LogFilter(NamedTuple):
    """Which revisions a log shows.

    Attributes:
        key: Those that changed this document.
        prefix: Those that changed a document whose key begins so.
        author: Those of this author.
        since_ns: Those that are not older.
        until_ns: Those that are not younger.
    """

    key: Key | None = None
    prefix: str | None = None
    author: Author | None = None
    since_ns: int | None = None
    until_ns: int | None = None


ALL: Final = LogFilter()
"""Lets every revision through."""


def resolve(refs: RefSource, scope: Scope, selector: Selector) -> Revision | None:
    """Return the revision that ``selector`` names; None for a head without one.

    Raises:
        BranchNotFound: A branch was named, or is needed, and is not there.
        CheckpointNotFound: No such checkpoint.
        RevisionNotFound: The branch has no such revision.
        RevisionCollected: It had one.
        NoRevisionAt: The branch is younger than the time.
    """
    namespace = scope.namespace
    if selector.branch is not None:
        scope = Scope(namespace, selector.branch)
    if selector.checkpoint is not None:
        checkpoint = refs.checkpoint(namespace, selector.checkpoint)
        if checkpoint is None:
            raise CheckpointNotFound(namespace, selector.checkpoint)
        return _load(refs, scope, checkpoint.revision, checkpoint.digest)
    branch = refs.branch(*scope)
    if branch is None:
        if selector.is_head and selector.branch is None:
            return None
        raise BranchNotFound(*scope)
    if selector.is_head:
        return head_of(refs, scope, branch)
    head = head_of(refs, scope, branch)
    if selector.at_ns is not None:
        return _at_time(refs, head, scope, selector.at_ns)
    number = selector.revision or 0
    if number < 0:
        return _before_head(refs, head, scope, number)
    return _numbered(refs, scope, branch, RevisionNumber(number))


def head_of(refs: RefSource, scope: Scope, branch: Branch) -> Revision:
    """Return the revision that a branch points at, checked by its digest."""
    return _load(refs, scope, branch.head, branch.head_digest)


def read_log(
    refs: RefSource,
    objects: ObjectSource,
    scope: Scope,
    *,
    limit: int,
    after: int | None = None,
    start: Selector = HEAD,
    wanted: LogFilter = ALL,
) -> LogPage:
    """Return a page of the log from ``start`` on; see :class:`LogFilter`.

    O(limit) without a filter by key, prefix or author; with one, at most
    ``log_scan_revisions_max`` revisions are looked at, so a page may be short, or
    even empty, and still have a ``next``.

    Raises:
        LimitExceeded: ``limit`` is greater than ``page_entries_max``.
        InvalidValue: ``limit`` is less than 1.
        St8Error: ``start`` is not there; see :func:`resolve`.
    """
    check_limit(limit)
    revision = resolve(refs, scope, start)
    try:
        revision = _first_wanted(refs, revision, after, wanted.until_ns)
    except RevisionCollected as error:
        return LogPage([], None, RevisionNumber(error.revision))
    entries: list[LogEntry] = []
    seen = 0
    while revision is not None:
        if wanted.since_ns is not None and revision.time_ns < wanted.since_ns:
            break
        changes = ChangeList(objects, revision.parent_root, revision.root)
        if _matches(objects, revision, changes, wanted):
            entries.append(LogEntry(revision, changes))
        seen += 1
        if len(entries) == limit or seen == limits.LOG_SCAN_REVISIONS.maximum:
            more = revision.number if revision.parents else None
            return LogPage(entries, more, None)
        if not revision.parents:
            break
        older = _parent_of(refs, revision)
        if older is None:
            return LogPage(entries, None, revision.parent_number)
        revision = older
    return LogPage(entries, None, None)


def check_limit(limit: int) -> None:
    """Raise unless ``limit`` is that of a page."""
    if limit < 1:
        raise InvalidValue("limit", f"{limit} must be at least 1")
    if limit > limits.PAGE_ENTRIES.maximum:
        raise LimitExceeded(limits.PAGE_ENTRIES, "limit", limit)


def walk_back(
    refs: RefSource, revision: Revision, reached: Callable[[Revision], bool]
) -> Revision | None:
    """Return the first of ``revision`` and its ancestors for which ``reached``.

    ``reached`` must stay true from there on back. None when it is true of none.
    O(log n).

    Raises:
        RevisionCollected: The walk came to a revision that is gone.
    """
    while not reached(revision):
        if revision.skip is None:
            return None
        far = follow(refs, revision, revision.skip)
        if far is None or reached(far):
            far = _parent_of(refs, revision)
            if far is None:
                raise RevisionCollected(
                    revision.scope.namespace, revision.parent_number
                )
        revision = far
    return revision


def walk_to_number(refs: RefSource, revision: Revision, number: int) -> Revision | None:
    """Return the first of ``revision`` and its ancestors that is at most ``number``.

    As :func:`walk_back`, but a link tells its number, so no step is read in vain.
    """
    while revision.number > number:
        if revision.skip is None:
            return None
        found = None
        if revision.skip.number >= number:
            found = follow(refs, revision, revision.skip)
        if found is None:
            found = _parent_of(refs, revision)
        if found is None:
            raise RevisionCollected(revision.scope.namespace, revision.parent_number)
        revision = found
    return revision


def history(refs: RefSource, revision: Revision, limit: int) -> Iterator[Revision]:
    """Yield ``revision`` and its ancestors, ``limit`` in all, until one is gone."""
    found: Revision | None = revision
    for _ in range(limit):
        if found is None:
            return
        yield found
        found = _parent_of(refs, found) if found.parents else None


def _load(
    refs: RefSource, scope: Scope, number: RevisionNumber, digest: Digest
) -> Revision:
    revision = refs.revision(scope.namespace, number)
    if revision is None:
        raise Corrupt(
            f"revision {number} of namespace {scope.namespace!r} is referred to but "
            "missing from the store"
        )
    if revision.digest != digest:
        raise Corrupt(
            f"revision {number} of namespace {scope.namespace!r} does not match the "
            "digest it is referred to by"
        )
    return revision


def _parent_of(refs: RefSource, revision: Revision) -> Revision | None:
    parent = revision.parents[0]
    return follow(refs, revision, Link(parent.number, parent.digest))


def follow(refs: RefSource, revision: Revision, link: Link) -> Revision | None:
    """Return what a revision names; None if it was collected."""
    found = refs.revision(revision.scope.namespace, link.number)
    if found is not None and found.digest != link.digest:
        raise Corrupt(
            f"revision {link.number} of namespace {revision.scope.namespace!r} does "
            f"not match the digest that revision {revision.number} has of it"
        )
    if found is not None:
        refs.prove(found)
    return found


def _numbered(
    refs: RefSource, scope: Scope, branch: Branch, number: RevisionNumber
) -> Revision:
    head = head_of(refs, scope, branch)
    namespace = scope.namespace
    revision = refs.revision(namespace, number)
    if revision is None:
        last = refs.last_revision(namespace)
        if number > last:
            raise RevisionNotFound(
                *scope, number, f"the newest of the namespace is {last}"
            )
        raise RevisionCollected(namespace, number)
    own = revision.scope.branch == branch.name and branch.since < number <= branch.head
    if own and refs.is_proven(revision):
        return revision
    try:
        found = walk_to_number(refs, head, number)
    except RevisionCollected:
        # What leads there is gone, but a checkpoint or a branch has kept it.
        found = revision if own or number == branch.base else None
    if found is None or found.number != number:
        raise RevisionNotFound(
            *scope,
            number,
            f"it was made on branch {revision.scope.branch!r} and is not in this "
            "branch's history",
        )
    return found


def _before_head(
    refs: RefSource, head: Revision, scope: Scope, number: int
) -> Revision:
    depth = head.depth + number
    if depth < 1:
        raise RevisionNotFound(*scope, number, f"its history has {head.depth} in all")
    found = walk_back(refs, head, lambda older: older.depth <= depth)
    if found is None:  # depths count down to 1 without gaps
        raise Corrupt(f"the history of {scope} has a gap at depth {depth}")
    return found


def _at_time(refs: RefSource, head: Revision, scope: Scope, at_ns: int) -> Revision:
    found = walk_back(refs, head, lambda older: older.time_ns <= at_ns)
    if found is None:
        raise NoRevisionAt(*scope, format_time(at_ns))
    return found


def _first_wanted(
    refs: RefSource,
    revision: Revision | None,
    after: int | None,
    until_ns: int | None,
) -> Revision | None:
    """Return where a log page begins."""
    if revision is not None and after is not None:
        revision = walk_to_number(refs, revision, after - 1)
    if revision is not None and until_ns is not None:
        revision = walk_back(refs, revision, lambda older: older.time_ns <= until_ns)
    return revision


def _matches(
    objects: ObjectSource,
    revision: Revision,
    changes: ChangeList,
    wanted: LogFilter,
) -> bool:
    if wanted.author is not None and revision.author != wanted.author:
        return False
    if wanted.key is not None:
        key = wanted.key.encode()
        before = tree.get(objects, changes.before, key)
        if before == tree.get(objects, changes.after, key):
            return False
    if wanted.prefix is not None:
        return next(changes.differences(prefix=wanted.prefix), None) is not None
    return True
