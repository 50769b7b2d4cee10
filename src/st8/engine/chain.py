"""Whether a revision follows those that it names.

The digest of a revision covers what it says of others. Whether that is so is told by
comparing it with them, as far as they are there: a collection may have removed them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from st8.core.revisions import Link

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from st8.core.ids import RevisionNumber
    from st8.core.revisions import Revision

__all__ = ["links_of", "problem"]


def links_of(revision: Revision) -> list[Link]:
    """Return what a revision names others by: its parents and its skip."""
    links = [Link(parent.number, parent.digest) for parent in revision.parents]
    return links if revision.skip is None else [*links, revision.skip]


def problem(revision: Revision, known: Mapping[RevisionNumber, Revision]) -> str | None:
    """Return how a revision does not follow those that are known; None if it does.

    To say all, ``known`` has to have its parents, its skip, and the skip of its first
    parent, where they are there.
    """
    return next(_wrong_links(revision, known), None) or next(
        _wrong_steps(revision, known), None
    )


def _wrong_links(
    revision: Revision, known: Mapping[RevisionNumber, Revision]
) -> Iterator[str]:
    """Yield which revisions are not those that it names."""
    roots = {parent.number: parent.root for parent in revision.parents}
    for link in links_of(revision):
        other = known.get(link.number)
        if link.number >= revision.number:
            yield f"it follows revision {link.number}, which is not older"
        elif other is not None and (
            other.link != link or other.root != roots.get(other.number, other.root)
        ):
            yield f"revision {other.number} is not the one that it follows"


def _wrong_steps(
    revision: Revision, known: Mapping[RevisionNumber, Revision]
) -> Iterator[str]:
    """Yield what it can't have from its first parent."""
    if not revision.parents:
        if revision.depth != 1:
            yield f"it follows nothing, and its depth is {revision.depth}"
        return
    parent = known.get(revision.parent_number)
    if parent is None:
        return
    if revision.time_ns < parent.time_ns:
        yield f"it is older than revision {parent.number}, which it follows"
    if revision.depth != parent.depth + 1:
        yield f"its depth is {revision.depth}, and that of its parent {parent.depth}"
    # The rule of make_revision: so each skip leads to an ancestor, if those before do.
    further: Link | None = None
    if parent.skip is not None:
        if parent.skip.number not in known:
            return  # what it may skip to can't be told any more
        further = known[parent.skip.number].skip
    if revision.skip not in (parent.link, further):
        yield "it skips to a revision that it does not come from"
