"""Is what clients saw of one document one that a single copy could have shown?

:mod:`~st8.testing.checker` goes by the revisions in the answers. This one believes no
revision: it looks only at values and at times, and searches for an order. The search is
that of Wing and Gong (Testing and verifying concurrent objects, 1993), which Lowe
(Testing for linearizability, 2017) made bearable by remembering which sets of
operations have led to which value before.
"""

from __future__ import annotations

from itertools import pairwise
from math import inf
from typing import NamedTuple

__all__ = ["Access", "explains"]

_END = -1


class Access(NamedTuple):
    """One read or write of a document.

    Attributes:
        value: What was written, or read; None is absence.
        writes: Whether it was written.
        called: When it began, in any unit.
        returned: When it was answered; inf if it never was: it may have been done at
            any time since it began, or never.
    """

    value: str | None
    writes: bool
    called: float
    returned: float = inf


def explains(accesses: list[Access], value: str | None = None) -> bool:
    """Return whether some order of ``accesses`` explains what the reads saw.

    In it each takes place between its call and its return, and each read returns what
    was written last, or ``value`` if nothing was. Exponential at worst; a history of
    which few operations overlap takes a time proportional to its length.
    """
    history = _History(accesses)
    seen: set[tuple[int, str | None]] = set()
    done: list[tuple[int, str | None]] = []
    linearized = 0
    event = history.first
    while history.first != _END:
        access, is_return = divmod(event, 2)
        if is_return:
            # Nothing that could come first explains it: take the last one back.
            if not done:
                return False
            access, value = done.pop()
            linearized ^= 1 << access
            history.put_back(access)
            event = history.after[2 * access]
            continue
        wanted = accesses[access]
        state = (linearized | 1 << access, wanted.value)
        if (wanted.writes or wanted.value == value) and state not in seen:
            seen.add(state)
            done.append((access, value))
            linearized, value = state
            history.take_out(access)
            event = history.first
        else:
            event = history.after[event]
    return True


class _History:
    """Calls and returns in order of time; event 2n is the call of n, 2n + 1 its return.

    At one time calls come first: what touches counts as overlapping.
    """

    def __init__(self, accesses: list[Access]) -> None:
        events = sorted(
            range(2 * len(accesses)),
            key=lambda e: (accesses[e // 2][2 + e % 2], e % 2),
        )
        self.first = events[0] if events else _END
        self.after = [_END] * len(events)
        self._before = [_END] * len(events)
        for one, other in pairwise(events):
            self.after[one], self._before[other] = other, one

    def take_out(self, access: int) -> None:
        """Leave out call and return of an access."""
        for event in (2 * access, 2 * access + 1):
            self._join(self._before[event], self.after[event])

    def put_back(self, access: int) -> None:
        """Undo the last :meth:`take_out` that was not undone, which was of ``access``."""
        for event in (2 * access + 1, 2 * access):
            self._join(self._before[event], event)
            self._join(event, self.after[event])

    def _join(self, one: int, other: int) -> None:
        if one == _END:
            self.first = other
        else:
            self.after[one] = other
        if other != _END:
            self._before[other] = one
