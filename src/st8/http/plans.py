"""What a request asks for, once its names are checked and its defaults filled in.

``wire`` makes plans, handlers carry them out. A plan is immutable and says what it
reaches, so that permission is decided in one place, before anything is done.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from st8.core import limits
from st8.core.errors import InvalidValue, LimitExceeded
from st8.core.ids import RevisionNumber
from st8.core.key_set import ALL_KEYS, KeySet
from st8.engine.requests import NOW

if TYPE_CHECKING:
    from collections.abc import Callable

    from st8.core.findings import Head
    from st8.core.ids import BranchName, CheckpointName, Key, Namespace, Scope
    from st8.engine.backup import Base
    from st8.engine.history import LogFilter
    from st8.engine.requests import (
        Apply,
        CreateBranch,
        DeleteBranch,
        DeleteCheckpoint,
        Freshness,
        PutCheckpoint,
        Redact,
        Reset,
        Selector,
        Side,
        Sight,
    )
    from st8.engine.retention import Retention

__all__ = [
    "LOG_ENTRIES_DEFAULT",
    "BackupPlan",
    "CheckpointsPlan",
    "CollectPlan",
    "Detail",
    "DiffPlan",
    "Feed",
    "ListPlan",
    "LogPlan",
    "NoPlan",
    "Plan",
    "Reach",
    "RedactPlan",
    "RefPlan",
    "RestoreBackupPlan",
    "Selection",
    "StatePlan",
    "VerifyPlan",
    "WatchPlan",
    "WritePlan",
    "page_size",
]

Detail = Literal["full", "keys", "none"]
"""How much of each change is answered: all of it, its key and type, or nothing."""

LOG_ENTRIES_DEFAULT = 20
_DIGITS_MAX = 19
_SHOWN_CHARACTERS = 100


class Reach(NamedTuple):
    """What a request touches: a branch, a whole namespace, or everything.

    Attributes:
        namespace: None for all of them.
        branch: None for the whole namespace.
        verb: What is done there, where that is not what the operation does.
    """

    namespace: Namespace | None = None
    branch: BranchName | None = None
    verb: Literal["read"] | None = None


class Selection(NamedTuple):
    """Which documents of a state are asked for, and how much of each.

    Attributes:
        keys: These alone; empty for all.
        prefix: Only keys that begin with it.
        after: Only keys behind this one.
        limit: At most so many documents; 0 for all.
        contents: False for the keys without their contents.
    """

    keys: tuple[Key, ...] = ()
    prefix: str = ""
    after: str = ""
    limit: int = 0
    contents: bool = True


class StatePlan(NamedTuple):
    """A read of a state.

    Attributes:
        reach: What it touches.
        scope: Where.
        selector: Which state.
        selection: Which of its documents.
        tag: A digest of the selection.
        visible: The keys of the branch that may be seen.
        wait_s: How long to wait for what the client does not have.
        freshness: How fresh the head has to be.
    """

    reach: tuple[Reach, ...]
    scope: Scope
    selector: Selector
    selection: Selection
    tag: bytes
    visible: KeySet = ALL_KEYS
    wait_s: float = 0.0
    freshness: Freshness = NOW


class Feed(NamedTuple):
    """A branch that is watched.

    Attributes:
        scope: The branch.
        prefix: Only revisions that changed a key under it.
        after: The revision that is known; None for the head as it is.
        resumed: ``after`` is from an event that the client had.
        contents: Changes with what was before and what is after.
        visible: The keys that may be seen.
    """

    scope: Scope
    prefix: str = ""
    after: RevisionNumber | None = None
    resumed: bool = False
    contents: bool = False
    visible: KeySet = ALL_KEYS


class WatchPlan(NamedTuple):
    """A stream of what happens to some branches."""

    reach: tuple[Reach, ...]
    feeds: tuple[Feed, ...]

    def resumed(self, last_event_id: str) -> WatchPlan:
        """Return the plan from where the header ``Last-Event-ID`` says.

        Raises:
            InvalidValue: It is not an id that such a stream gives.
        """
        positions = last_event_id.split(",")
        if len(positions) != len(self.feeds) or not all(
            position.isascii() and position.isdigit() and len(position) < _DIGITS_MAX
            for position in positions
        ):
            raise InvalidValue(
                "Last-Event-ID",
                f"{last_event_id[:_SHOWN_CHARACTERS]!r} is not an id of this stream, "
                f"which has {len(self.feeds)} number(s) with commas between",
            )
        # The id of a stream that has waited since is the start that it was given.
        return self._replace(
            feeds=tuple(
                feed._replace(after=number, resumed=number != feed.after)
                for feed, number in zip(
                    self.feeds, map(RevisionNumber, map(int, positions)), strict=True
                )
            )
        )


class DiffPlan(NamedTuple):
    """A comparison of two states; ``limit`` 0 stands for all changes."""

    reach: tuple[Reach, ...]
    scope: Scope
    source: Side
    target: Side
    changes: Detail
    limit: int
    after: Key | None


class LogPlan(NamedTuple):
    """A page of a branch's history."""

    reach: tuple[Reach, ...]
    scope: Scope
    start: Selector
    limit: int
    after: int | None
    wanted: LogFilter
    changes: Detail


class ListPlan(NamedTuple):
    """A page of a list of names; ``sees`` tells which, None that all may be seen."""

    reach: tuple[Reach, ...]
    namespace: Namespace | None
    branch: BranchName | None
    prefix: str
    after: str
    limit: int
    sees: Callable[[Any], bool] | None = None


class CheckpointsPlan(NamedTuple):
    """A page of the checkpoints of a namespace, or the one of that name.

    ``sight`` tells which branches' may be seen; None is all.
    """

    reach: tuple[Reach, ...]
    namespace: Namespace
    name: CheckpointName | None
    prefix: str
    after: str
    limit: int
    sight: Sight | None = None


class WritePlan(NamedTuple):
    """A change of a branch's state; contents of ``shown`` keys alone are answered."""

    reach: tuple[Reach, ...]
    request: Apply | Reset
    changes: Detail
    shown: KeySet = ALL_KEYS


class RefPlan(NamedTuple):
    """A change of a branch pointer or a checkpoint."""

    reach: tuple[Reach, ...]
    request: CreateBranch | DeleteBranch | PutCheckpoint | DeleteCheckpoint


class CollectPlan(NamedTuple):
    """A garbage collection, or the explanation of one.

    Attributes:
        reach: What it touches.
        retention: What is kept instead of what st8d is set to; None: as that says.
        namespace: The only one; None for all.
        dry_run: Change nothing.
    """

    reach: tuple[Reach, ...]
    retention: Retention | None
    namespace: Namespace | None
    dry_run: bool = False


class BackupPlan(NamedTuple):
    """A backup of one namespace or of all, alone or on top of another one."""

    reach: tuple[Reach, ...]
    namespace: Namespace | None
    base: Base | None


def _any_namespace(_namespace: Namespace) -> None:
    """Let every namespace be restored."""


class RestoreBackupPlan(NamedTuple):
    """A restore of whatever comes; ``check`` raises if a namespace may not be."""

    reach: tuple[Reach, ...] = ()
    check: Callable[[Namespace], None] = _any_namespace


class RedactPlan(NamedTuple):
    """A redaction."""

    reach: tuple[Reach, ...]
    request: Redact


class VerifyPlan(NamedTuple):
    """A verification of the whole store; see :mod:`st8.engine.verify`."""

    reach: tuple[Reach, ...]
    full: bool
    heads: bool
    expected: tuple[Head, ...]


class NoPlan(NamedTuple):
    """Nothing is asked but the operation itself."""

    reach: tuple[Reach, ...] = ()


Plan = (
    StatePlan
    | DiffPlan
    | LogPlan
    | ListPlan
    | CheckpointsPlan
    | WritePlan
    | RefPlan
    | CollectPlan
    | BackupPlan
    | RestoreBackupPlan
    | RedactPlan
    | VerifyPlan
    | WatchPlan
    | NoPlan
)


def page_size(
    asked: int | None, default: int, limit: limits.Limit = limits.PAGE_ENTRIES
) -> int:
    """Return how many entries a page has; 0 and None ask for the default.

    Raises:
        InvalidValue: It is below 0.
        LimitExceeded: It is above ``limit``.
    """
    if not asked:
        return default
    if asked < 0:
        raise InvalidValue("limit", "must not be negative")
    if asked > limit.maximum:
        raise LimitExceeded(limit, "limit", asked)
    return asked
