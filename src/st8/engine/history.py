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
from st8.core.key_set import ALL_KEYS, KeySet
from st8.core.revisions import Link, format_time
from st8.engine.requests import HEAD, Selector, Sight
from st8.engine.state import ChangeList

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from st8.core.ids import Digest
    from st8.core.revisions import Branch, Revision
    from st8.engine.objects import Objects, ObjectSource
    from st8.engine.refs import RefSource

__all__ = [
    "ALL",
    "LogEntry",
    "LogFilter",
    "LogPage",
    "Resolved",
    "check_limit",
    "follow",
    "head_of",
    "history",
    "read_log",
    "resolve",
    "walk_back",
    "walk_to_number",
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


class Resolved(NamedTuple):
    """What a selector names.

    Attributes:
        revision: The revision; None for a head without one.
        visible: The keys of its state that may be seen.
    """

    revision: Revision | None
    visible: KeySet


def resolve(refs: RefSource, scope: Scope, selector: Selector) -> Resolved:
    """Return the revision that ``selector`` names, and what may be seen of it.

    A checkpoint shows no more than both branches do, the one that is asked and the
    one that it was made on; where that is nothing, it is as if not there.

    Raises:
        BranchNotFound: A branch was named, or is needed, and is not there.
        CheckpointNotFound: No such checkpoint.
        RevisionNotFound: The branch has no such revision.
        RevisionCollected: It had one.
        NoRevisionAt: The branch is younger than the time.
    """
    namespace = scope.namespace
    sight = selector.sight
    if selector.branch is not None:
        scope = Scope(namespace, selector.branch)
    visible = ALL_KEYS if sight is None else sight(scope.branch)
    if selector.checkpoint is None:
        return Resolved(_on_branch(refs, scope, selector), visible)
    checkpoint = refs.checkpoint(namespace, selector.checkpoint)
    if checkpoint is not None and sight is not None:
        visible &= sight(checkpoint.branch)
    if checkpoint is None or not visible:
        raise CheckpointNotFound(namespace, selector.checkpoint)
    found = _load(refs, scope, checkpoint.revision, checkpoint.digest)
    if found is None:
        if refs.checkpoint(namespace, selector.checkpoint) == checkpoint:
            raise _dangling(scope, checkpoint.revision)
        return resolve(refs, scope, selector)  # it was moved or taken away meanwhile
    return Resolved(found, visible)


def _on_branch(refs: RefSource, scope: Scope, selector: Selector) -> Revision | None:
    """Return the revision of a branch that a selector without checkpoint names."""
    branch = refs.branch(*scope)
    if branch is None:
        if selector.is_head and selector.branch is None:
            return None
        raise BranchNotFound(*scope)
    if selector.is_head:
        return head_of(refs, scope, branch)
    _notice_collections(refs, scope)
    head = head_of(refs, scope, branch)
    if selector.at_ns is not None:
        return _at_time(refs, head, scope, selector.at_ns)
    number = selector.revision or 0
    if number < 0:
        return _before_head(refs, head, scope, number)
    return _numbered(refs, scope, branch, RevisionNumber(number), selector.sight)


def _notice_collections(refs: RefSource, scope: Scope) -> None:
    """Have forgotten, on return, what others have collected before.

    Whoever asks for the newest number hears of a new collection epoch, too.
    """
    refs.last_revision(scope.namespace)


def head_of(refs: RefSource, scope: Scope, branch: Branch) -> Revision:
    """Return the revision that a branch points at, checked by its digest.

    Where that was collected since ``branch`` was read, the one it points at now.

    Raises:
        BranchNotFound: It was taken away meanwhile, and its head collected.
        Corrupt: What it points at is not there, or is another.
    """
    head = _load(refs, scope, branch.head, branch.head_digest)
    while head is None:
        again = refs.branch(*scope)
        if again is None:
            raise BranchNotFound(*scope)
        if again == branch:
            raise _dangling(scope, branch.head)
        branch = again
        head = _load(refs, scope, branch.head, branch.head_digest)
    return head


def read_log(
    refs: RefSource,
    objects: Objects,
    scope: Scope,
    *,
    limit: int,
    after: int | None = None,
    start: Selector = HEAD,
    wanted: LogFilter = ALL,
) -> LogPage:
    """Return a page of the log from ``start`` on; see :class:`LogFilter`.

    Where not all keys may be seen, only revisions that changed one of those that
    may are in it. O(limit) without a filter by key, prefix or author; with one, at most
    ``log_scan_revisions_max`` revisions are looked at, so a page may be short, or
    even empty, and still have a ``next``.

    Raises:
        LimitExceeded: ``limit`` is greater than ``page_entries_max``.
        InvalidValue: ``limit`` is less than 1.
        St8Error: ``start`` is not there; see :func:`resolve`.
    """
    check_limit(limit)
    _notice_collections(refs, scope)
    revision, visible = resolve(refs, scope, start)
    page = LogPage([], None, None)
    try:
        revision = _first_wanted(refs, revision, after, wanted.until_ns)
        return _fill(
            page, refs, objects, revision, limit=limit, visible=visible, wanted=wanted
        )
    except RevisionCollected as error:
        return page._replace(collected=RevisionNumber(error.revision))


def _fill(
    page: LogPage,
    refs: RefSource,
    objects: Objects,
    revision: Revision | None,
    *,
    limit: int,
    visible: KeySet,
    wanted: LogFilter,
) -> LogPage:
    """Add entries to an empty page, and return it with its end.

    Raises:
        RevisionCollected: The page ends there, since the next revision is gone.
    """
    seen = 0
    while revision is not None:
        if wanted.since_ns is not None and revision.time_ns < wanted.since_ns:
            break
        source = objects.of(revision)
        changes = ChangeList(
            source, revision.parent_root, revision.root, visible=visible
        )
        if _matches(source, revision, changes, wanted):
            page.entries.append(LogEntry(revision, changes))
        seen += 1
        if len(page.entries) == limit or seen == limits.LOG_SCAN_REVISIONS.maximum:
            return page._replace(next=revision.number if revision.parents else None)
        if not revision.parents:
            break
        revision = _step(refs, revision, None)
    return page


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
        revision = _step(refs, revision, None if far is None or reached(far) else far)
    return revision


def walk_to_number(refs: RefSource, revision: Revision, number: int) -> Revision | None:
    """Return the first of ``revision`` and its ancestors that is at most ``number``.

    As :func:`walk_back`, but a link tells its number, so no step is read in vain.
    """
    while revision.number > number:
        if revision.skip is None:
            return None
        far = None
        if revision.skip.number >= number:
            far = follow(refs, revision, revision.skip)
        revision = _step(refs, revision, far)
    return revision


def _step(refs: RefSource, revision: Revision, far: Revision | None) -> Revision:
    """Return ``far``, or where there is none the parent of ``revision``.

    Raises:
        RevisionCollected: The parent is gone.
    """
    older = _parent_of(refs, revision) if far is None else far
    if older is None:
        raise RevisionCollected(revision.scope.namespace, revision.parent_number)
    return older


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
) -> Revision | None:
    """Return what a ref points at; None if it is not there, or not any more."""
    revision = refs.revision(scope.namespace, number)
    if revision is not None and revision.digest != digest:
        raise Corrupt(
            f"revision {number} of namespace {scope.namespace!r} does not match the "
            "digest it is referred to by"
        )
    return revision


def _dangling(scope: Scope, number: RevisionNumber) -> Corrupt:
    return Corrupt(
        f"revision {number} of namespace {scope.namespace!r} is referred to but "
        "missing from the store"
    )


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
    refs: RefSource,
    scope: Scope,
    branch: Branch,
    number: RevisionNumber,
    sight: Sight | None,
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
        revision = refs.revision(namespace, number)
        if revision is None:  # not made between the two looks, either
            raise RevisionCollected(namespace, number)
    own = revision.scope.branch == branch.name and branch.since < number <= branch.head
    if own and refs.is_proven(revision):
        return revision
    try:
        found = walk_to_number(refs, head, number)
    except RevisionCollected:
        # What leads there is gone, but a checkpoint or a branch has kept it.
        if own or number == branch.base:
            return revision
        found = _inherited(refs, scope, branch, number)
    if found is None or found.number != number:
        other = revision.scope.branch
        seen = sight is None or bool(sight(other))
        made = f"it was made on branch {other!r} and " if seen else "it "
        raise RevisionNotFound(*scope, number, f"{made}is not in this branch's history")
    return found


def _inherited(
    refs: RefSource, scope: Scope, branch: Branch, number: RevisionNumber
) -> Revision | None:
    """Return a revision from before a branch's base, looked for from the base.

    For where the way from the head is broken. If the branch does not have it, None
    or another revision.

    Raises:
        RevisionCollected: It can't be told, since the way from the base is broken.
    """
    base = refs.revision(scope.namespace, branch.base)
    if base is None:
        return None
    try:
        return walk_to_number(refs, base, number)
    except RevisionCollected as error:
        if error.revision < number:  # the history goes on below it
            return None
        raise _gone_on_the_way(scope, number, error.revision) from None


def _gone_on_the_way(
    scope: Scope, wanted: RevisionNumber, revision: int
) -> RevisionCollected:
    namespace, branch = scope
    return RevisionCollected(
        namespace,
        revision,
        f"whether revision {wanted} is in the history of namespace {namespace!r}, "
        f"branch {branch!r} can't be told: revision {revision}, which is on the way to "
        "it, was removed by garbage collection. Name it by a checkpoint, or on the "
        "branch that it was made on",
    )


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
        if not changes.visible.has(key):
            return False
        before = tree.get(objects, changes.before, key)
        if before == tree.get(objects, changes.after, key):
            return False
    if wanted.prefix is not None or not changes.visible.is_all:
        differences = changes.differences(prefix=wanted.prefix or "")
        return next(differences, None) is not None
    return True
