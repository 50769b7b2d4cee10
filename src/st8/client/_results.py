"""What the operations return: plain values that never change.

Named tuples, because making a dataclass takes four times as long and every start
of ``st8ctl`` would pay for each. Digests are 64 hexadecimal digits; times are RFC
3339 in UTC with up to nine decimals, as the daemon wrote them
(:func:`moment_of` gives a ``datetime``, which keeps six). What an older daemon
does not send is empty: ``""``, ``()`` or None.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:
    from datetime import datetime

    from st8.core.documents import Change

__all__ = [
    "BackupRestored",
    "Branch",
    "Checkpoint",
    "Collected",
    "CollectedNamespace",
    "CollectedRange",
    "Diff",
    "Kind",
    "LogEntry",
    "LogPage",
    "NamespaceInfo",
    "Place",
    "Redacted",
    "ServerVersion",
    "State",
    "StatePage",
    "Written",
    "moment_of",
]

Kind = Literal["apply", "rollback", "restore"]


class Written(NamedTuple):
    """What an apply, a rollback or a restore did.

    Attributes:
        revision: The branch's head afterwards; for a dry run, as it is.
        changes: What it changed, in key order; empty when ``noop``.
        noop: The state was already as asked for, and no revision was made.
        dry_run: Nothing was written; ``changes`` says what would have been.
        digest: Digest of the revision, ``""`` where none was made.
        root: Digest of the whole state.
        created_at: When the revision was made.
        kept: Keys that a rollback or restore left as they were, since what it would
            have put there was redacted.
    """

    revision: int
    changes: tuple[Change, ...]
    noop: bool
    dry_run: bool = False
    digest: str = ""
    root: str = ""
    created_at: str = ""
    kept: tuple[str, ...] = ()


class State(NamedTuple):
    """The documents of a branch at a revision, or those that were asked for.

    Attributes:
        revision: The revision they were read at.
        documents: Key to content, in key order.
        total: How many documents the whole state has.
        digest: Digest of the revision.
        root: Digest of the whole state; equal for equal states.
        etag: Names this answer; see :meth:`st8.Client.state_if_changed`.
    """

    revision: int
    documents: dict[str, str]
    total: int = 0
    digest: str = ""
    root: str = ""
    etag: str = ""


class StatePage(NamedTuple):
    """One page of a state: documents, or their keys alone.

    Attributes:
        revision: The revision it was read at.
        root: Digest of the whole state.
        items: Pairs of key and content, or of key and ``""``, in key order.
        next: The key to go on after, or None on the last page.
    """

    revision: int
    root: str
    items: tuple[tuple[str, str], ...]
    next: str | None


class Diff(NamedTuple):
    """The difference of two states.

    Attributes:
        from_revision: Revision of the earlier side.
        to_revision: Revision of the later side.
        changes: What differs, in key order.
        from_root: Digest of the earlier state.
        to_root: Digest of the later state.
        next: The key to go on after, where ``limit`` cut the changes.
    """

    from_revision: int
    to_revision: int
    changes: tuple[Change, ...]
    from_root: str = ""
    to_root: str = ""
    next: str | None = None


class LogEntry(NamedTuple):
    """One revision, as the log has it.

    Attributes:
        revision: Its number.
        parent: The revision before it; 0 for the first.
        message: Why it was made.
        created_at: When it was made.
        branch: The branch it was made on.
        changes: What it changed, in key order; without contents, unless they
            were asked for.
        author: Who made it; may be empty.
        kind: What made it.
        digest: Digest of the revision, which covers its whole history.
        root: Digest of its state.
        parents: Every revision it follows.
    """

    revision: int
    parent: int
    message: str
    created_at: str
    branch: str
    changes: tuple[Change, ...] = ()
    author: str = ""
    kind: Kind = "apply"
    digest: str = ""
    root: str = ""
    parents: tuple[int, ...] = ()


class LogPage(NamedTuple):
    """A stretch of the log, newest first.

    Attributes:
        entries: The revisions.
        next: The revision to go on after, or None at the end.
        collected: The newest revision that garbage collection removed from this
            history, where the log ends because of it.
    """

    entries: tuple[LogEntry, ...]
    next: int | None = None
    collected: int | None = None


class Checkpoint(NamedTuple):
    """A name for a revision.

    Attributes:
        name: Its name.
        revision: What it names.
        branch: The branch that the revision was taken from.
        description: What it is good for; may be empty.
        created_at: When it was made or last moved.
        author: Who did; may be empty.
    """

    name: str
    revision: int
    branch: str = ""
    description: str = ""
    created_at: str = ""
    author: str = ""


class Branch(NamedTuple):
    """A movable pointer to a revision.

    Attributes:
        name: Its name.
        base: The revision it started from; 0 if from nothing.
        head: The revision it points at.
        current: It is the branch that the client is set to.
        head_digest: Digest of the head revision.
    """

    name: str
    base: int
    head: int
    current: bool = False
    head_digest: str = ""


class NamespaceInfo(NamedTuple):
    """A namespace that something was applied to.

    Attributes:
        name: Its name.
        last_revision: The highest number given in it.
    """

    name: str
    last_revision: int


class CollectedRange(NamedTuple):
    """Revisions that go, with none between them that stays.

    Attributes:
        first, last: The oldest and the newest.
        revisions: How many there are; others may have gone before.
    """

    first: int
    last: int
    revisions: int


class CollectedNamespace(NamedTuple):
    """What a garbage collection would do in a namespace.

    Attributes:
        namespace: Its name.
        retention: What is kept of it, as in a setting of st8d.
        revisions: Revisions that go.
        kept: How many stay, by the first reason that holds: ``never`` (nothing of the
            namespace goes), ``head``, ``base``, ``checkpoint``, ``newest``, ``young``.
        ranges: What goes, from the oldest on; the daemon names a limited number.
        ranges_all: How many of these there are.
    """

    namespace: str
    retention: str
    revisions: int
    kept: dict[str, int]
    ranges: tuple[CollectedRange, ...]
    ranges_all: int


class Collected(NamedTuple):
    """What a garbage collection removed, or would remove.

    Attributes:
        revisions: Revisions that are gone.
        objects: Stored objects that nothing needed any more.
        size: About how many bytes these had, as they were stored.
        dry_run: Nothing was changed.
        namespaces: Of a dry run, what goes and what stays and why, by name; the daemon
            names a limited number.
        namespaces_all: How many of these there are.
    """

    revisions: int
    objects: int = 0
    size: int = 0
    dry_run: bool = False
    namespaces: tuple[CollectedNamespace, ...] = ()
    namespaces_all: int = 0


class BackupRestored(NamedTuple):
    """What the restore of a backup has put there.

    Attributes:
        backups: How many files, each on top of the one before.
        namespaces: How many.
        branches: How many.
        checkpoints: How many.
        revisions: How many.
        objects: Tree nodes and contents; some may have come twice.
    """

    backups: int
    namespaces: int
    branches: int
    checkpoints: int
    revisions: int
    objects: int


class Place(NamedTuple):
    """Where a content stood.

    Attributes:
        namespace: In which namespace.
        key: Under which key.
    """

    namespace: str
    key: str


class Redacted(NamedTuple):
    """A content that was redacted, or with a dry run would be.

    Attributes:
        digest: SHA-256 of the content, hexadecimal.
        places: Where it stood, in some revision or other.
        dry_run: Nothing was changed.
    """

    digest: str
    places: tuple[Place, ...]
    dry_run: bool


class ServerVersion(NamedTuple):
    """What the daemon says of itself.

    Attributes:
        version: Version of the daemon.
        api: Version of its API.
        store: Where it keeps things.
    """

    version: str
    api: str
    store: str


def moment_of(created_at: str) -> datetime:
    """Return a time of the daemon as a ``datetime`` in UTC, to the microsecond.

    Raises:
        ValueError: It is not an RFC 3339 time in UTC.
    """
    from datetime import datetime  # noqa: PLC0415 - rarely wanted; costs start-up time

    whole, _, decimals = created_at.removesuffix("Z").partition(".")
    if not created_at.endswith("Z"):
        raise ValueError(f"{created_at!r} is not a time in UTC")
    return datetime.fromisoformat(f"{whole}.{decimals[:6]:0<6}+00:00")
