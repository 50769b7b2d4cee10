"""The revisions of all branches as one graph, as ``git log --graph --all`` has it.

Numbers of revisions only grow, so the newest first is the highest number first, and
a revision comes before those it follows. A branch's log is read only when its next
revision is due, and given up where it meets a revision that was shown already: from
there on its history is that of another branch.
"""

from __future__ import annotations

from heapq import heappop, heappush
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from st8.client import LogEntry

__all__ = ["Lanes", "merge_logs"]


def merge_logs(
    heads: Iterable[tuple[str, int]],
    read: Callable[[str, int], Iterator[LogEntry]],
) -> Iterator[LogEntry]:
    """Yield the revisions of all branches, each once, newest first.

    Args:
        heads: Name and head of each branch.
        read: Returns the log of a branch, from a revision on.
    """
    due: list[tuple[int, int, str, LogEntry | None, Iterator[LogEntry] | None]] = []
    for place, (name, head) in enumerate(heads):
        heappush(due, (-head, place, name, None, None))
    seen: set[int] = set()
    while due:
        number, place, name, entry, rest = heappop(due)
        if -number in seen:
            continue
        if rest is None or entry is None:
            rest = read(name, -number)
            entry = next(rest, None)
            if entry is None:
                continue
        seen.add(entry.revision)
        yield entry
        following = next(rest, None) if entry.parent not in seen else None
        if following is not None:
            heappush(due, (-following.revision, place, name, following, rest))


class Lanes:
    """The lines left of the revisions: one for each history that is under way."""

    def __init__(self) -> None:
        """Begin with none."""
        self._lanes: list[int] = []  # the revision that is next on each; 0 for none

    def rows(self, revision: int, parent: int) -> tuple[list[str], str]:
        """Return what stands left of the next revision.

        Args:
            revision: Its number; lower than that of any before.
            parent: The revision before it; 0 for none.

        Returns:
            The rows that stand before it, where histories meet, and the beginning
            of its own row.
        """
        before: list[str] = []
        if revision not in self._lanes:
            self._lanes.append(revision)  # a branch's head: nothing has led to it
        at = self._lanes.index(revision)
        while (last := _last(self._lanes, revision)) != at:
            near = _last(self._lanes[:last], revision)
            before.append(_joint(self._lanes, near, last))
            del self._lanes[last]
        own = self.beside()
        own = f"{own[: 2 * at]}*{own[2 * at + 1 :]}"
        self._lanes[at] = parent
        while self._lanes and not self._lanes[-1]:
            self._lanes.pop()
        return before, own

    def beside(self) -> str:
        """Return what stands left of text below a revision."""
        return "".join("| " if lane else "  " for lane in self._lanes)


def _last(lanes: list[int], revision: int) -> int:
    """Return the rightmost lane that leads to a revision."""
    return len(lanes) - 1 - lanes[::-1].index(revision)


def _joint(lanes: list[int], at: int, joining: int) -> str:
    """Return the row in which one lane goes over into one further left."""
    row = [" "] * (2 * len(lanes))
    for place, lane in enumerate(lanes):
        if place <= joining - 1:
            row[2 * place] = "|" if lane else " "
        elif lane:
            row[2 * place - 1] = "/"
    for place in range(at + 1, joining):
        row[2 * place - 1] = "_"
    return "".join(row).rstrip()
