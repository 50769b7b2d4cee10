"""What a branch has had since a revision: the engine's side of watches.

A watcher knows the number of the newest revision it was told of, and nothing else.
That is enough: a number names one revision of the namespace for ever, so either it
is in the branch's history, and what follows it is what the watcher lacks, or it is
not, and the watcher's copy belongs to another history and has to be read anew. The
same holds for a history of which garbage collection has removed a part. A watcher is
never told less than all, and never nothing where something is missing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal, NamedTuple

from st8.core.errors import BranchNotFound, RevisionCollected
from st8.core.ids import RevisionNumber
from st8.engine.history import head_of, history, walk_back, walk_to_number

if TYPE_CHECKING:
    from st8.core.ids import Scope
    from st8.core.revisions import Revision
    from st8.engine.refs import RefSource

__all__ = ["News", "Reason", "read_news"]

Reason = Literal["collected", "history"]
"""Why a copy has to be read anew: a part of what it lacks was removed by garbage
collection, or it belongs to a history that the branch does not have."""

_NONE: Final = RevisionNumber(0)


class News(NamedTuple):
    """What a watcher is told.

    Attributes:
        revisions: What follows its position, oldest first.
        position: Where it is then; 0 where the branch has nothing.
        more: There is more behind it already.
        resync: It has to read the state at ``position`` anew; None if it does not.
    """

    revisions: list[Revision]
    position: RevisionNumber
    more: bool = False
    resync: Reason | None = None


def read_news(
    refs: RefSource, scope: Scope, after: RevisionNumber, limit: int, *, floor: bool
) -> News:
    """Return up to ``limit`` revisions of a branch that follow revision ``after``.

    O(limit + log n). ``after`` 0 is before the first one.

    Args:
        refs: Where branches and revisions are.
        scope: The branch; one that is not there has nothing.
        after: The newest revision that is known.
        limit: At most so many; at least 1.
        floor: ``after`` was given before the namespace had come to it, so it is
            nobody's position but a number below which nothing is wanted.
    """
    head = _head(refs, scope)
    number = _NONE if head is None else head.number
    if after == number or (floor and after > number):
        return News([], after)
    if head is None or after > number:
        return News([], number, resync="history")
    try:
        return _following(refs, head, after, limit, floor=floor)
    except RevisionCollected:
        return News([], number, resync="collected")


def _following(
    refs: RefSource, head: Revision, after: RevisionNumber, limit: int, *, floor: bool
) -> News:
    """Return what follows ``after``, which is below the head.

    Raises:
        RevisionCollected: Some of it is gone.
    """
    known = walk_to_number(refs, head, after) if after else None
    if after and not floor and (known is None or known.number != after):
        return News([], head.number, resync="history")
    first = 0 if known is None else known.depth
    last = min(head.depth, first + limit)
    newest = walk_back(refs, head, lambda older: older.depth <= last)
    found = [] if newest is None else list(history(refs, newest, last - first))
    if len(found) < last - first:
        raise RevisionCollected(head.scope.namespace, after)
    return News(found[::-1], found[0].number, last < head.depth)


def _head(refs: RefSource, scope: Scope) -> Revision | None:
    branch = refs.branch(*scope)
    if branch is None:
        return None
    try:
        return head_of(refs, scope, branch)
    except BranchNotFound:
        return None  # taken away since
