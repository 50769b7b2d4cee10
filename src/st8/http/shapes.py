"""What the daemon answers: every 200 body, as OpenAPI describes it.

The fields of the Go st8 come first and mean what they meant there; the rest are
additions that its client ignores. Small answers are encoded from these; large ones
are written piece by piece (``encoding``) in the same shape, which a test compares.
"""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

from st8.core import limits
from st8.core.documents import ChangeType
from st8.core.revisions import Kind

__all__ = [
    "BackupRestored",
    "BranchCreated",
    "BranchInfo",
    "Branches",
    "ChangeInfo",
    "CheckpointInfo",
    "Checkpoints",
    "Collected",
    "Diff",
    "Log",
    "LogEntry",
    "NamespaceInfo",
    "Namespaces",
    "Nothing",
    "Place",
    "Problem",
    "Redacted",
    "Result",
    "Shape",
    "State",
    "Version",
]

Number = Annotated[int, Meta(description="A revision number; 0 for none.")]
DigestText = Annotated[
    str, Meta(description="SHA-256 in hexadecimal digits.", pattern="^[0-9a-f]{64}$")
]
Time = Annotated[str, Meta(description="RFC 3339, UTC.")]
NextName = Annotated[
    str,
    Meta(description="Pass it as `after` for the next page; absent on the last one."),
]


class Shape(Struct):
    """A JSON object that the daemon answers."""


class ChangeInfo(Shape):
    """What happened to one document."""

    key: str
    type: ChangeType
    before: (
        Annotated[str, Meta(description="Absent if created, or not asked for.")]
        | UnsetType
    ) = UNSET
    after: (
        Annotated[str, Meta(description="Absent if deleted, or not asked for.")]
        | UnsetType
    ) = UNSET


class Result(Shape):
    """What a write did."""

    revision: Annotated[int, Meta(description="The branch's head afterwards.")]
    changes: Annotated[
        list[ChangeInfo] | None, Meta(description="In key order; null for a no-op.")
    ]
    noop: Annotated[bool, Meta(description="True if nothing differed.")]
    digest: Annotated[
        DigestText | None, Meta(description="Of the head; null where there is none.")
    ]
    root: Annotated[DigestText, Meta(description="Of the state tree.")]
    created_at: Annotated[
        Time | None, Meta(description="When the head was made; null without one.")
    ]
    dry_run: Annotated[bool, Meta(description="True if nothing was written.")]
    kept: (
        Annotated[
            list[str],
            Meta(
                description="Keys that stay as they were, since what the target has "
                "there was redacted; not given when there are none."
            ),
        ]
        | UnsetType
    ) = UNSET


class State(Shape):
    """A state, or the asked part of it."""

    revision: Number
    digest: Annotated[
        DigestText | None, Meta(description="Of the revision; null for revision 0.")
    ]
    root: Annotated[DigestText, Meta(description="Of the state tree.")]
    count: Annotated[int, Meta(description="Documents of the whole state.")]
    objects: (
        Annotated[dict[str, str], Meta(description="Content by key, in key order.")]
        | UnsetType
    ) = UNSET
    keys: (
        Annotated[list[str], Meta(description="Instead, with `contents=false`.")]
        | UnsetType
    ) = UNSET
    next: NextName | UnsetType = UNSET


class Diff(Shape):
    """The changes that lead from one state to another."""

    from_revision: Number
    to_revision: Number
    changes: Annotated[list[ChangeInfo], Meta(description="In key order.")]
    from_root: Annotated[DigestText, Meta(description="Of the first state's tree.")]
    to_root: Annotated[DigestText, Meta(description="Of the second state's tree.")]
    next: NextName | UnsetType = UNSET


class LogEntry(Shape):
    """A revision."""

    id: Annotated[int, Meta(description="Its number.")]
    parent_id: Annotated[int, Meta(description="The one before it; 0 for the first.")]
    message: str
    created_at: Time
    branch: Annotated[str, Meta(description="The branch it was made on.")]
    changes: Annotated[list[ChangeInfo], Meta(description="In key order.")]
    author: str
    kind: Kind
    digest: DigestText
    root: DigestText
    parents: list[int]


class Log(Shape):
    """A page of history, the newest revision first."""

    entries: Annotated[
        list[LogEntry] | None, Meta(description="Null when there are none.")
    ]
    next: (
        Annotated[
            int,
            Meta(
                description="Pass it as `after` for the next page; absent on the last "
                "one."
            ),
        ]
        | UnsetType
    ) = UNSET
    collected: (
        Annotated[
            int,
            Meta(
                description="The parent of the last entry, where garbage collection "
                "has removed it; absent where history goes back to its beginning."
            ),
        ]
        | UnsetType
    ) = UNSET


class CheckpointInfo(Shape):
    """A name for a revision."""

    name: str
    revision_id: Number
    branch: Annotated[str, Meta(description="The branch it was made from.")]
    description: str
    created_at: Time
    author: str


class Checkpoints(Shape):
    """A page of checkpoints, by name."""

    checkpoints: list[CheckpointInfo]
    next: NextName | UnsetType = UNSET


class BranchInfo(Shape):
    """A pointer to a revision."""

    name: str
    base_revision: Annotated[
        int, Meta(description="What it was made from; 0 for nothing.")
    ]
    head_revision: Number
    current: Annotated[bool, Meta(description="True for the branch of the request.")]
    head_digest: DigestText


class Branches(Shape):
    """A page of branches, by name."""

    branches: list[BranchInfo]
    next: NextName | UnsetType = UNSET


class BranchCreated(Shape):
    """A new branch; it begins at its base and takes no revision of its own."""

    name: str
    base_revision: Number
    head_revision: Number


class NamespaceInfo(Shape):
    """A namespace."""

    name: str
    last_revision: Annotated[int, Meta(description="The newest number in it.")]


class Namespaces(Shape):
    """A page of namespaces, by name."""

    namespaces: list[NamespaceInfo]
    next: NextName | UnsetType = UNSET


class CollectedRange(Shape):
    """Revisions that go, with none between them that stays."""

    first: Annotated[int, Meta(description="The oldest.")]
    last: Annotated[int, Meta(description="The newest.")]
    revisions: Annotated[int, Meta(description="How many; others went before.")]


class CollectedShare(Shape):
    """What would go of a namespace, and what stays and why."""

    namespace: Annotated[str, Meta(description="Its name.")]
    retention: Annotated[
        str, Meta(description="What is kept of it.", examples=["keep=10"])
    ]
    pruned: Annotated[int, Meta(description="Revisions that go.")]
    kept: Annotated[
        dict[str, int],
        Meta(
            description="Revisions that stay, each under the first reason of: `never` "
            "(nothing of the namespace goes), `head` or `base` of a branch, "
            "`checkpoint`, `newest` of a branch, `young`."
        ),
    ]
    ranges: Annotated[
        list[CollectedRange],
        Meta(
            description="What goes, from the oldest on; "
            f"{limits.GC_RANGES.maximum} at most."
        ),
    ]
    ranges_all: Annotated[int, Meta(description="How many ranges there are.")]


class Collected(Shape):
    """What a garbage collection removed, or would remove."""

    pruned: Annotated[int, Meta(description="Revisions.")]
    objects_deleted: Annotated[int, Meta(description="Tree nodes and contents.")]
    bytes_freed: Annotated[
        int, Meta(description="About how many bytes these had, as they were stored.")
    ]
    dry_run: Annotated[
        bool | UnsetType, Meta(description="Present when nothing was changed.")
    ] = UNSET
    namespaces: Annotated[
        list[CollectedShare] | UnsetType,
        Meta(
            description="Of a dry run: each namespace, by name; "
            f"{limits.PAGE_ENTRIES.maximum} at most."
        ),
    ] = UNSET
    namespaces_all: Annotated[
        int | UnsetType, Meta(description="Of a dry run: how many namespaces.")
    ] = UNSET


class BackupRestored(Shape):
    """What a restore has put there."""

    backups: Annotated[int, Meta(description="Backups, each on top of the one before.")]
    namespaces: int
    branches: int
    checkpoints: int
    revisions: int
    objects: Annotated[
        int, Meta(description="Tree nodes and contents; some may have come twice.")
    ]


class Place(Shape):
    """Where a content stood."""

    namespace: str
    key: str


class Redacted(Shape):
    """A content that was redacted, or with a dry run would be."""

    digest: Annotated[DigestText, Meta(description="Of the content.")]
    places: Annotated[
        list[Place], Meta(description="Where it stood, in some revision or other.")
    ]
    dry_run: Annotated[bool, Meta(description="True if nothing was changed.")]


class Version(Shape):
    """What answers."""

    version: Annotated[str, Meta(description="Of the daemon.")]
    api: Literal["v1"]
    store: Annotated[str, Meta(description="The store and its version.")]


class Nothing(Shape):
    """Done."""


class Problem(Shape):
    """Why a request failed, after RFC 9457; further fields depend on the code."""

    detail: Annotated[str, Meta(description="One sentence, with the remedy.")]
    code: Annotated[str, Meta(description="Stable; tells errors apart.")]
    title: str
    status: int
    retryable: Annotated[
        bool, Meta(description="True if the same request may succeed later.")
    ]
    outcome: Annotated[
        Literal["none", "unknown"],
        Meta(description="`none` if nothing was changed; `unknown` if nobody knows."),
    ]
