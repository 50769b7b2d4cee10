"""What was noted of a branch elsewhere, compared with its history.

Nobody can tell a store from an earlier copy of it by the store alone: all digests of
the copy are right. Who has noted a head somewhere else can. A digest stands for the
whole history before it, so one head of each branch is enough.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from st8.core.errors import Corrupt
from st8.core.findings import Finding
from st8.core.ids import digest_of
from st8.core.revisions import Link

if TYPE_CHECKING:
    from st8.core.findings import Head
    from st8.core.ids import Namespace, RevisionNumber
    from st8.core.revisions import Branch
    from st8.engine.checked import CheckedStore

__all__ = ["find_missed"]


def find_missed(checked: CheckedStore, expected: Head) -> Finding | None:
    """Return what is said of a branch that does not have what is expected of it.

    None: the revision is the head, or an ancestor of it along first parents. Damage
    that is met on the way is reported, too.
    """
    namespace, name, number, digest = expected

    def missed(code: str, how: str) -> Finding:
        detail = f"branch {name!r} of namespace {namespace!r} {how}"
        return Finding(code, detail, namespace, number, branch=name)

    try:
        branch = checked.store.branch(namespace, name)
    except Corrupt:
        return missed("head_unproven", f"is damaged; it has been at revision {number}")
    if branch is None:
        return missed(
            "head_unexpected", f"is not there, and has been at revision {number}"
        )
    if branch.head < number:
        return missed(
            "head_unexpected",
            f"is at revision {branch.head}, and has been at {number}: the store is an "
            "earlier one, or the branch was made anew",
        )
    link = _ancestor(checked, namespace, branch, number)
    if link is None:
        return missed(
            "head_unproven",
            f"is at revision {branch.head}, and revisions between that and {number} "
            "are not there, so it can't be told whether it comes from the one that is "
            "expected; expect a newer one, or keep more revisions",
        )
    if link != (number, digest):
        return missed(
            "head_unexpected",
            f"does not come from the revision {number} that is expected: its history "
            "is another one",
        )
    return None


def _ancestor(
    checked: CheckedStore, namespace: Namespace, branch: Branch, number: RevisionNumber
) -> Link | None:
    """Return the nearest ancestor of a head that is not newer than ``number``.

    As its successors name it; itself it need not be there. None where the walk meets
    a revision that is not there, or is another one.
    """
    link = branch.link
    while link.number > number:
        found = checked.revisions(namespace, [link.number])
        if link.number not in found:
            return None
        revision = found[link.number].revision
        if revision.digest != link.digest:
            return None
        if not revision.parents:
            return Link(revision.parent_number, digest_of(b""))
        link, skip = Link(*revision.parents[0][:2]), revision.skip
        # A long step, if it leads to what is there.
        if skip is not None and (
            skip.number == number
            or (skip.number > number and checked.revisions(namespace, [skip.number]))
        ):
            link = skip
    return link
