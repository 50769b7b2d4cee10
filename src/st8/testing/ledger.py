"""What clients know of what they wrote: acknowledged, refused, or unknown.

A ledger outlives the daemon, and is the only thing that says what the daemon's
files must hold after a crash.
"""

from __future__ import annotations

import threading
import time
from collections import defaultdict, deque
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final, Literal

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from st8.testing.checker import Read

__all__ = ["Attempt", "Kind", "Ledger"]

_REVISIONS: Final = 1_000
"""So many of each branch are remembered, for writes to go back to."""

Fate = Literal["unknown", "acknowledged", "refused"]
Kind = Literal["apply", "rollback", "restore", "branch", "checkpoint"]


@dataclass(slots=True)
class Attempt:
    """A write that was sent, once or, with the same name, again.

    Attributes:
        name: Tells it from every other: its message, or the name that it makes.
        kind: What it is.
        namespace, branch: Where.
        body: What was sent.
        edits: Key → content, or None where it is deleted.
        source: The revision that it goes back to or begins at.
        called_ns: When it was first sent.
        returned_ns: When it was answered.
        sent: How often it was sent.
        fate: What is known of it.
        answer: What was answered.
    """

    name: str
    kind: Kind
    namespace: str
    branch: str
    body: Mapping[str, Any]
    edits: Mapping[str, str | None] = field(default_factory=dict[str, str | None])
    source: int | None = None
    called_ns: int = 0
    returned_ns: int | None = None
    sent: int = 0
    fate: Fate = "unknown"
    answer: Mapping[str, Any] = field(default_factory=dict[str, Any])

    @property
    def revises(self) -> bool:
        """Whether it makes a revision, and so has an idempotency key."""
        return self.kind in {"apply", "rollback", "restore"}


class Ledger:
    """Everything that all clients did. Any thread may write to it.

    Attributes:
        now_ns: Tells the time of all that is noted; it never goes back.
        attempts: Every write, by name.
        reads: Every read that was answered.
        faults: What a client saw that is wrong by itself.
    """

    def __init__(
        self,
        *,
        outages: Collection[int] = (),
        now_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        """Begin with nothing.

        ``outages`` are the statuses by which a daemon may say that its store, or it
        itself, can't answer.
        """
        self.now_ns = now_ns
        self._outages = frozenset(outages)
        self.attempts: dict[str, Attempt] = {}
        self.reads: list[Read] = []
        self.faults: list[str] = []
        self._lock = threading.Lock()
        self._revisions: defaultdict[tuple[str, str], deque[int]] = defaultdict(
            lambda: deque(maxlen=_REVISIONS)
        )

    def begin(self, attempt: Attempt) -> None:
        """Note that a write is about to be sent."""
        if not attempt.called_ns:
            attempt.called_ns = self.now_ns()
        attempt.sent += 1
        attempt.fate = "unknown"
        with self._lock:
            self.attempts[attempt.name] = attempt

    def end(self, attempt: Attempt, status: int, answer: Mapping[str, Any]) -> None:
        """Note the answer to a write."""
        if status != HTTPStatus.OK:
            self._refused(attempt, status, answer)
            return
        attempt.returned_ns = self.now_ns()
        attempt.answer = answer
        with self._lock:
            attempt.fate = "acknowledged"
            if attempt.kind == "branch":
                scope = (attempt.namespace, attempt.name)
                self._revisions[scope].append(int(answer["base_revision"]))
            elif attempt.revises and not answer["noop"]:
                scope = (attempt.namespace, attempt.branch)
                self._revisions[scope].append(int(answer["revision"]))

    def _refused(
        self, attempt: Attempt, status: int, answer: Mapping[str, Any]
    ) -> None:
        if not self.is_outage(status):
            if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
                self.faults.append(f"{attempt.name}: answered {status}: {answer}")
        elif answer["outcome"] != "none":
            return
        # What was sent before, and never answered, may be made all the same.
        if attempt.sent == 1:
            attempt.fate = "refused"
            attempt.answer = answer

    def is_outage(self, status: int) -> bool:
        """Return whether an answer says, as it may, that it can't be answered."""
        return status in self._outages

    def saw(self, read: Read) -> None:
        """Note the answer to a read."""
        with self._lock:
            self.reads.append(read)

    def branches(self, namespace: str) -> list[str]:
        """Return the branches that are known to be there."""
        with self._lock:
            return [branch for name, branch in self._revisions if name == namespace]

    def revisions(self, namespace: str, branch: str) -> list[int]:
        """Return the newest revisions that are known to be in a branch's history."""
        with self._lock:
            return list(self._revisions.get((namespace, branch), ()))
