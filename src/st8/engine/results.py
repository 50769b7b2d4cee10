"""What the engine answers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, NamedTuple, TypeVar

if TYPE_CHECKING:
    from collections.abc import Sequence

    from st8.core.ids import Digest, Key, Namespace, RevisionNumber
    from st8.core.revisions import Revision
    from st8.engine.retention import Retention
    from st8.engine.state import ChangeList

__all__ = [
    "Collected",
    "Diff",
    "Explained",
    "Page",
    "Redacted",
    "Share",
    "Stretch",
    "WriteResult",
]

_ItemT = TypeVar("_ItemT")


class WriteResult(NamedTuple):
    """What an apply, rollback or restore did.

    Attributes:
        number: The head afterwards.
        revision: The head's revision; None on a branch that has none.
        noop: Nothing differed, so no revision was made.
        dry_run: Nothing was written; the changes are what would be.
        changes: What changed; empty for a no-op.
        kept: Keys that stayed as they were, since what a rollback or restore would
            have put there was redacted.
    """

    number: RevisionNumber
    revision: Revision | None
    noop: bool
    dry_run: bool
    changes: ChangeList
    kept: Sequence[Key] = ()

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
        size: About how many bytes these had, as they were stored.
    """

    revisions: int
    objects: int
    size: int


class Stretch(NamedTuple):
    """Revisions that go, with none between them that stays.

    Attributes:
        first, last: Their lowest and highest number.
        revisions: How many there are; others may have gone before.
    """

    first: RevisionNumber
    last: RevisionNumber
    revisions: int


class Share(NamedTuple):
    """What a collection would do in one namespace.

    Attributes:
        namespace: Its name.
        retention: What holds for it.
        kept: How many revisions stay, by the first of :data:`REASONS` that holds.
        revisions: How many go.
        stretches: Where, from the oldest on; ``gc_ranges_max`` at most.
        stretches_all: How many of these there are.
    """

    namespace: Namespace
    retention: Retention
    kept: dict[str, int]
    revisions: int
    stretches: list[Stretch]
    stretches_all: int


class Explained(NamedTuple):
    """What a collection would do.

    Attributes:
        shares: Of each namespace, by name; ``page_entries_max`` at most.
        shares_all: How many namespaces there are.
        collected: What would be removed, where nobody writes meanwhile.
    """

    shares: list[Share]
    shares_all: int
    collected: Collected


class Redacted(NamedTuple):
    """A content that was redacted, or would be.

    Attributes:
        digest: The content's.
        places: The namespaces and keys where it stood, in order.
        dry_run: Nothing was changed.
    """

    digest: Digest
    places: list[tuple[Namespace, Key]]
    dry_run: bool
