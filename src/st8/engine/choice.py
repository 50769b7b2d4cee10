"""Choosing which revisions of a namespace a collection removes."""

from __future__ import annotations

from array import array
from contextlib import suppress
from typing import TYPE_CHECKING, Final, NamedTuple, TypeVar

from st8.core import limits
from st8.core.errors import BranchNotFound
from st8.core.ids import RevisionNumber, Scope
from st8.core.revisions import decode
from st8.engine import pages
from st8.engine.history import head_of, history
from st8.engine.integers import Integers
from st8.engine.results import Share, Stretch

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from st8.core.ids import Namespace
    from st8.core.ports import Store
    from st8.engine.pace import Pace
    from st8.engine.refs import Refs
    from st8.engine.retention import Retention

__all__ = ["Choice", "choose"]

_PAGE: Final = 1_000
_ItemT = TypeVar("_ItemT")


class Choice(NamedTuple):
    """What is to go of a namespace, and what stays.

    Attributes:
        share: All that can be said of it.
        going: The numbers that go, ascending.
    """

    share: Share
    going: array[int]


def choose(
    store: Store,
    refs: Refs,
    namespace: Namespace,
    retention: Retention,
    *,
    now_ns: int,
    pace: Pace,
) -> Choice:
    """Choose what goes of a namespace by what is so now.

    What is made from now on is not looked at. It takes eight bytes for each revision
    that is among the newest or goes.

    Raises:
        Corrupt: A branch's head, or a record that could go, is damaged.
        ShuttingDown: It is time to stop.
    """
    last = store.namespace(namespace).last_revision
    chooser = _Chooser(store, namespace, retention.oldest_ns(now_ns))
    if retention.never:
        chooser.reasons["never"] = _Everything()
    else:
        chooser.name(refs, retention.keep, pace)
    after = RevisionNumber(0)
    while after < last and (page := store.numbers(namespace, after, _PAGE)):
        chooser.judge([number for number in page if number <= last], pace)
        after = page[-1]
    return chooser.choice(retention)


class _Everything:
    """Holds every number."""

    def __contains__(self, number: object) -> bool:
        return True


class _Chooser:
    """Judges the revisions of a namespace in the order of their numbers."""

    def __init__(
        self, store: Store, namespace: Namespace, oldest_ns: int | None
    ) -> None:
        self._store = store
        self._namespace = namespace
        self._oldest_ns = oldest_ns
        self.reasons: dict[str, Integers | _Everything] = {}
        self._kept: dict[str, int] = {}
        self._going = array("q")
        self._stretches: list[Stretch] = []
        self._stretches_all = 0
        self._open = False

    def name(self, refs: Refs, keep: int, pace: Pace) -> None:
        """Look up what stays because something names it or it is among the newest."""
        branches = list(pages.branches(self._store, self._namespace))
        checkpoints = pages.checkpoints(self._store, self._namespace)
        heads = self.reasons["head"] = Integers(branch.head for branch in branches)
        self.reasons["base"] = Integers(branch.base for branch in branches)
        self.reasons["checkpoint"] = Integers(
            checkpoint.revision for checkpoint in _rested(checkpoints, pace)
        )
        newest = self.reasons["newest"] = Integers()
        for branch in branches:
            with suppress(BranchNotFound):  # it was taken away meanwhile
                head = head_of(refs, Scope(self._namespace, branch.name), branch)
                heads.update((head.number,))
                past = _rested(history(refs, head, keep), pace)
                newest.update(revision.number for revision in past)

    def judge(self, numbers: Sequence[RevisionNumber], pace: Pace) -> None:
        """Judge revisions, which follow those that were judged before."""
        why = {number: self._named(number) for number in numbers}
        if self._oldest_ns is not None:
            left = [number for number, reason in why.items() if reason is None]
            for number, data in self._store.revisions(self._namespace, left).items():
                if decode(data).time_ns > self._oldest_ns:
                    why[number] = "young"
                pace.rest()
        for number, reason in why.items():
            if reason is None:
                self._let_go(number)
            else:
                self._kept[reason] = self._kept.get(reason, 0) + 1
                self._open = False
        pace.rest()

    def choice(self, retention: Retention) -> Choice:
        """Return what was chosen."""
        share = Share(
            self._namespace,
            retention,
            self._kept,
            len(self._going),
            self._stretches,
            self._stretches_all,
        )
        return Choice(share, self._going)

    def _named(self, number: RevisionNumber) -> str | None:
        for reason, numbers in self.reasons.items():
            if number in numbers:
                return reason
        return None

    def _let_go(self, number: RevisionNumber) -> None:
        self._going.append(number)
        if not self._open:
            self._open = True
            self._stretches_all += 1
            if self._stretches_all <= limits.GC_RANGES.maximum:
                self._stretches.append(Stretch(number, number, 1))
        elif self._stretches_all <= limits.GC_RANGES.maximum:
            first, _, revisions = self._stretches[-1]
            self._stretches[-1] = Stretch(first, number, revisions + 1)


def _rested(items: Iterable[_ItemT], pace: Pace) -> Iterator[_ItemT]:
    """Yield ``items``, resting between them."""
    for item in items:
        yield item
        pace.rest()
