"""What a request asks for, once its names are checked and its defaults filled in.

``wire`` makes plans, handlers carry them out. A plan is immutable and says what it
reaches, so that permission is decided in one place, before anything is done.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

from st8.core import limits
from st8.core.errors import InvalidValue, LimitExceeded

if TYPE_CHECKING:
    from st8.core.ids import BranchName, CheckpointName, Key, Namespace, Scope
    from st8.engine.history import LogFilter
    from st8.engine.requests import (
        Apply,
        CreateBranch,
        DeleteBranch,
        DeleteCheckpoint,
        PutCheckpoint,
        Reset,
        Selector,
        Side,
    )

__all__ = [
    "LOG_ENTRIES_DEFAULT",
    "CheckpointsPlan",
    "CollectPlan",
    "Detail",
    "DiffPlan",
    "ListPlan",
    "LogPlan",
    "NoPlan",
    "Plan",
    "Reach",
    "RefPlan",
    "Selection",
    "StatePlan",
    "WritePlan",
    "page_size",
]

Detail = Literal["full", "keys", "none"]
"""How much of each change is answered: all of it, its key and type, or nothing."""

LOG_ENTRIES_DEFAULT = 20


class Reach(NamedTuple):
    """What a request touches: a branch, a whole namespace, or everything.

    Attributes:
        namespace: None for all of them.
        branch: None for the whole namespace.
    """

    namespace: Namespace | None = None
    branch: BranchName | None = None


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
    """A read of a state; ``tag`` is a digest of the selection."""

    reach: tuple[Reach, ...]
    scope: Scope
    selector: Selector
    selection: Selection
    tag: bytes


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
    """A page of a list of names."""

    reach: tuple[Reach, ...]
    namespace: Namespace | None
    branch: BranchName | None
    prefix: str
    after: str
    limit: int


class CheckpointsPlan(NamedTuple):
    """A page of the checkpoints of a namespace, or the one of that name."""

    reach: tuple[Reach, ...]
    namespace: Namespace
    name: CheckpointName | None
    prefix: str
    after: str
    limit: int


class WritePlan(NamedTuple):
    """A change of a branch's state."""

    reach: tuple[Reach, ...]
    request: Apply | Reset
    changes: Detail


class RefPlan(NamedTuple):
    """A change of a branch pointer or a checkpoint."""

    reach: tuple[Reach, ...]
    request: CreateBranch | DeleteBranch | PutCheckpoint | DeleteCheckpoint


class CollectPlan(NamedTuple):
    """A garbage collection."""

    reach: tuple[Reach, ...]
    keep: int
    namespace: Namespace | None


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
