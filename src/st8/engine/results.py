"""What the engine answers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, NamedTuple, TypeVar

if TYPE_CHECKING:
    from st8.core.ids import Digest, RevisionNumber
    from st8.core.revisions import Revision
    from st8.engine.state import ChangeList

__all__ = ["Collected", "Diff", "Page", "WriteResult"]

_ItemT = TypeVar("_ItemT")


class WriteResult(NamedTuple):
    """What an apply, rollback or restore did.

    Attributes:
        number: The head afterwards.
        revision: The head's revision; None on a branch that has none.
        noop: Nothing differed, so no revision was made.
        dry_run: Nothing was written; the changes are what would be.
        changes: What changed; empty for a no-op.
    """

    number: RevisionNumber
    revision: Revision | None
    noop: bool
    dry_run: bool
    changes: ChangeList

    @property
    def root(self) -> Digest:
        """The root of the state afterwards."""
        return self.changes.after


class Diff(NamedTuple):
    """The difference between two states.

    Attributes:
        from_number: The revision on the first side; 0 for none.
        to_number: The revision on the second side, what was laid over it apart.
        changes: From the first to the second.
    """

    from_number: RevisionNumber
    to_number: RevisionNumber
    changes: ChangeList

    @property
    def from_root(self) -> Digest:
        """The root of the first side."""
        return self.changes.before

    @property
    def to_root(self) -> Digest:
        """The root of the second side."""
        return self.changes.after


@dataclass(frozen=True, slots=True)
class Page(Generic[_ItemT]):
    """A page of a list.

    Attributes:
        items: In byte order of their names.
        next: Give this as ``after`` to go on; None at the end.
    """

    items: list[_ItemT]
    next: str | None


class Collected(NamedTuple):
    """What a collection removed.

    Attributes:
        revisions: Revision records.
        objects: Tree nodes and contents.
    """

    revisions: int
    objects: int
