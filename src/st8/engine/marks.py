"""Marking what revisions refer to, so that the rest can be swept.

A revision's tree is compared with one that was marked before it: what both have is
skipped, as in a diff, and only the rest is read. So nothing has to be remembered of
what was walked but the last tree of each branch, and what is marked takes eight bytes
an object (:class:`~st8.engine.integers.Integers`). Digests that begin alike keep each
other alive, which is safe.
"""

from __future__ import annotations

from struct import Struct
from typing import TYPE_CHECKING, Final, NamedTuple

from st8.core.errors import Corrupt, RevisionCollected
from st8.core.ids import digest_prefix
from st8.core.node import EMPTY_ROOT
from st8.core.revisions import decode
from st8.engine import pages
from st8.engine.integers import Integers

if TYPE_CHECKING:
    from collections.abc import Container, Iterator

    from st8.core.ids import BranchName, Digest, Namespace, RevisionNumber
    from st8.core.node import Node
    from st8.core.ports import Store
    from st8.core.revisions import Revision
    from st8.engine.objects import Objects, ObjectSource
    from st8.engine.pace import Pace

__all__ = ["mark"]

_PREFIXES: Final = Struct(">q24x")
"""Of the digests of a node, as :func:`digest_prefix` has them."""
_NODES_AT_ONCE: Final = 32
_RECORDS_AT_ONCE: Final = 100
_BRANCHES_KEPT: Final = 4_096


class _Known(NamedTuple):
    """A tree that is marked to the last leaf; None is the empty one."""

    root: Digest
    revision: Revision | None


_NOTHING: Final = _Known(EMPTY_ROOT, None)


def mark(
    store: Store,
    objects: Objects,
    without: dict[Namespace, Container[int]],
    pace: Pace,
) -> Integers:
    """Return the prefixes of all objects that the stored revisions need.

    Of each revision its state and the one before. Revisions ``without`` are passed
    over, and so is one that another daemon collects meanwhile.

    Raises:
        Corrupt: Something that is to be kept is damaged.
        ShuttingDown: It is time to stop.
    """
    marks = Integers()
    for namespace, _ in pages.namespaces(store):
        walk = _Walk(objects, marks, pace)
        for revision in _revisions(store, namespace, without.get(namespace, ())):
            walk.take(revision)
            pace.rest()
    return marks


def _revisions(
    store: Store, namespace: Namespace, without: Container[int]
) -> Iterator[Revision]:
    """Yield the revisions that a namespace has now, ascending.

    Those that are made meanwhile may come more quickly than they could be marked, and
    need not be: what they are made of is stamped.
    """
    last = store.namespace(namespace).last_revision
    numbers: list[RevisionNumber] = []
    for number in pages.numbers(store, namespace):
        if number > last:
            break
        if number not in without:
            numbers.append(number)
        if len(numbers) == _RECORDS_AT_ONCE:
            yield from _records(store, namespace, numbers)
            numbers = []
    yield from _records(store, namespace, numbers)


def _records(
    store: Store, namespace: Namespace, numbers: list[RevisionNumber]
) -> Iterator[Revision]:
    found = store.revisions(namespace, numbers)
    for number in numbers:
        if number in found:
            revision = decode(found[number])
            if (revision.scope.namespace, revision.number) != (namespace, number):
                raise Corrupt(
                    f"the record of revision {number} of namespace {namespace!r} is "
                    f"that of another one"
                )
            yield revision


class _Walk:
    """Marks the revisions of one namespace, one after the other."""

    def __init__(self, objects: Objects, marks: Integers, pace: Pace) -> None:
        self._objects = objects
        self._marks = marks
        self._pace = pace
        self._last = _NOTHING
        self._of_branch: dict[BranchName, _Known] = {}

    def take(self, revision: Revision) -> None:
        """Mark what a revision needs."""
        known = self._of_branch.get(revision.scope.branch, self._last)
        for root in (revision.parent_root, revision.root):
            if root != known.root:
                if not self._mark(root, revision, known):
                    return
                known = _Known(root, revision)
        self._last = known
        if len(self._of_branch) >= _BRANCHES_KEPT:
            self._of_branch.clear()
        self._of_branch[revision.scope.branch] = known

    def _mark(self, root: Digest, revision: Revision, known: _Known) -> bool:
        """Mark a tree of a revision but for what it has in common with ``known``.

        Returns false if the revision was collected meanwhile, by another daemon: then
        it can't be told what is below it, and nothing is.
        """
        try:
            source = self._objects.of(revision, known.revision)
            self._mark_new(source, root, known.root)
        except RevisionCollected:
            if not self._objects.is_stored(revision):
                return False
            # The other tree is gone.
            return self._mark(root, revision, _NOTHING)
        return True

    def _mark_new(self, source: ObjectSource, root: Digest, known: Digest) -> None:
        """Mark all nodes and contents of the tree ``root`` that ``known`` has not.

        Level by level. A node stands for the same keys wherever it is, and a tree has
        no key twice; so what two trees have in common is found by comparing the nodes
        of a level that are not below something in common.
        """
        new: list[Digest] = [] if root == EMPTY_ROOT else [root]
        old: list[Digest] = [] if known == EMPTY_ROOT else [known]
        level = source.node(root).level
        old_level = source.node(known).level
        while new:
            while old and old_level > level:
                old, old_level = self._children(source, old), old_level - 1
            if old and old_level == level:
                common = set(new) & set(old)
                if common:
                    new = [digest for digest in new if digest not in common]
                    old = [digest for digest in old if digest not in common]
            self._marks.update(map(digest_prefix, new))
            if not level:
                for node in self._nodes(source, new):
                    self._marks.update(
                        p for (p,) in _PREFIXES.iter_unpack(node.digests)
                    )
                return
            new, level = self._children(source, new), level - 1
            self._pace.rest()

    def _children(self, source: ObjectSource, digests: list[Digest]) -> list[Digest]:
        """Return the children of nodes of a level above the leaves."""
        return [d for node in self._nodes(source, digests) for d in node.children()]

    def _nodes(self, source: ObjectSource, digests: list[Digest]) -> Iterator[Node]:
        for start in range(0, len(digests), _NODES_AT_ONCE):
            yield from source.nodes(digests[start : start + _NODES_AT_ONCE])
            self._pace.rest()
