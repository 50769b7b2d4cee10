"""Revisions, branches and checkpoints; the canonical bytes of a revision.

This is the one module that knows the bytes of a revision; ``docs/format.md`` says
the same in words. A revision's digest covers every field and its parents' digests,
so a history is a hash chain: change one byte of one record and no later digest
holds.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Final, Literal, NamedTuple, cast

from st8.core import varint
from st8.core.errors import Corrupt, InvalidValue
from st8.core.fields import Fields
from st8.core.ids import (
    DIGEST_BYTES,
    Author,
    BranchName,
    CheckpointName,
    Digest,
    Message,
    Namespace,
    RevisionNumber,
    Scope,
    digest_of,
)
from st8.core.node import EMPTY_ROOT

__all__ = [
    "TIME_NS_MAX",
    "Branch",
    "Checkpoint",
    "Kind",
    "Link",
    "NamespaceInfo",
    "Parent",
    "Revision",
    "decode",
    "encode",
    "format_time",
    "make_revision",
    "parse_time",
]

Kind = Literal["apply", "rollback", "restore"]

TAG: Final = b"\xffR1"
_KINDS: Final[tuple[Kind, ...]] = ("apply", "rollback", "restore")
_TIME_BYTES: Final = 8
_NS: Final = 1_000_000_000
TIME_NS_MAX: Final = 2**63 - 1
_SHOWN_CHARACTERS: Final = 60
_RFC3339 = re.compile(
    r"(\d{4}-\d\d-\d\d)[Tt ](\d\d:\d\d:\d\d)(?:\.(\d{1,9})\d*)?([Zz]|[+-]\d\d:\d\d)",
    re.ASCII,
)


class Link(NamedTuple):
    """A revision that another one names, and the digest that proves it."""

    number: RevisionNumber
    digest: Digest


class Parent(NamedTuple):
    """A revision that another one follows.

    Its root stands here too, so that what a revision changed can still be told
    when garbage collection has removed its parent.
    """

    number: RevisionNumber
    digest: Digest
    root: Digest


class Revision(NamedTuple):
    """An immutable record of a state and how it came to be.

    Attributes:
        number: Counts 1, 2, 3 … in the namespace, over all its branches.
        scope: The namespace, and the branch it was made on.
        parents: What it follows, the branch's former head first; empty for the
            first revision of a branch that was not made from another.
        root: The digest of the root of its state tree.
        kind: What made it.
        message: Why, in the words of who made it.
        author: Who, likewise; may be empty.
        time_ns: When, in nanoseconds since 1970-01-01 UTC; never before a parent's.
        depth: How many revisions a walk along first parents meets from here, this
            one included.
        skip: An ancestor further back, so that such a walk can take long steps;
            None when there is no parent. See :func:`make_revision`.
        digest: SHA-256 of the canonical bytes of all the above.
    """

    number: RevisionNumber
    scope: Scope
    parents: tuple[Parent, ...]
    root: Digest
    kind: Kind
    message: Message
    author: Author
    time_ns: int
    depth: int
    skip: Link | None
    digest: Digest

    @property
    def link(self) -> Link:
        """What another revision names this one by."""
        return Link(self.number, self.digest)

    @property
    def parent_root(self) -> Digest:
        """The root of the first parent's state, or of the empty state."""
        return self.parents[0].root if self.parents else EMPTY_ROOT

    @property
    def parent_number(self) -> RevisionNumber:
        """The number of the first parent, or 0."""
        return self.parents[0].number if self.parents else RevisionNumber(0)


class Branch(NamedTuple):
    """A named, movable pointer to a revision.

    Attributes:
        name: Its name in the namespace.
        base: The revision it was made from, 0 for none; never changes.
        since: The newest number of the namespace when it was made; every revision
            of its name above it is its own, not that of an earlier branch.
        head: The revision it points at.
        head_digest: That revision's digest.
    """

    name: BranchName
    base: RevisionNumber
    since: RevisionNumber
    head: RevisionNumber
    head_digest: Digest

    @property
    def link(self) -> Link:
        """The revision it points at."""
        return Link(self.head, self.head_digest)


class Checkpoint(NamedTuple):
    """A name for a revision.

    Attributes:
        name: Its name in the namespace.
        revision: What it names.
        digest: That revision's digest.
        branch: The branch it was made from.
        description: What it is good for.
        author: Who made it.
        time_ns: When, in nanoseconds since 1970-01-01 UTC.
    """

    name: CheckpointName
    revision: RevisionNumber
    digest: Digest
    branch: BranchName
    description: Message
    author: Author
    time_ns: int

    @property
    def link(self) -> Link:
        """The revision it names."""
        return Link(self.revision, self.digest)


class NamespaceInfo(NamedTuple):
    """A namespace and the newest number in it."""

    name: Namespace
    last_revision: RevisionNumber


def make_revision(
    number: RevisionNumber,
    scope: Scope,
    parent: Revision | None,
    parent_skip: Revision | None,
    *,
    root: Digest,
    kind: Kind,
    message: Message,
    author: Author,
    time_ns: int,
) -> tuple[Revision, bytes]:
    """Return the revision that follows ``parent``, and its canonical bytes.

    ``parent_skip`` is the revision that the parent's ``skip`` names, None if there
    is none any more. The skips make a skew-binary list (Myers, "An applicative
    random-access stack", 1983): any ancestor is reached in O(log depth) steps by
    taking the skip unless it leads too far.
    """
    parents: tuple[Parent, ...] = ()
    depth = 1
    skip: Link | None = None
    if parent is not None:
        parents = (Parent(parent.number, parent.digest, parent.root),)
        depth = parent.depth + 1
        skip = parent.link
        time_ns = max(time_ns, parent.time_ns)
        if parent_skip is not None and parent_skip.skip:
            first = parent.depth - parent_skip.depth
            # The depth of the skip's skip is known from the shape of the list.
            if _is_equal_jump(parent_skip, first):
                skip = parent_skip.skip
    revision = Revision(
        number,
        scope,
        parents,
        root,
        kind,
        message,
        author,
        min(time_ns, TIME_NS_MAX),
        depth,
        skip,
        Digest(b""),
    )
    data = encode(revision)
    return revision._replace(digest=digest_of(data)), data


def _is_equal_jump(revision: Revision, length: int) -> bool:
    """Return whether ``revision``'s own skip is ``length`` long.

    In a skew-binary list the length of the skip at depth d depends on d alone:
    greedily take away from d - 1 the largest 2^k - 1; the last one taken is it.
    """
    rest = revision.depth - 1
    step = 0
    while rest:
        step = (1 << (rest + 1).bit_length() - 1) - 1
        rest -= step
    return step == length


def encode(revision: Revision) -> bytes:
    """Return the canonical bytes of a revision; its digest is no part of them."""
    parts = [
        TAG,
        varint.encode(revision.number),
        bytes((_KINDS.index(revision.kind),)),
        revision.time_ns.to_bytes(_TIME_BYTES, "big"),
        varint.encode(revision.depth),
        varint.encode(len(revision.parents)),
    ]
    for parent in revision.parents:
        parts += (varint.encode(parent.number), parent.digest, parent.root)
    if revision.skip is not None:
        # Half of all skips lead to the parent, whose digest stands here already.
        parts.append(varint.encode(revision.skip.number))
        if revision.skip.number != revision.parent_number:
            parts.append(revision.skip.digest)
    parts.append(revision.root)
    for text in (*revision.scope, revision.author, revision.message):
        data = text.encode()
        parts += (varint.encode(len(data)), data)
    return b"".join(parts)


def decode(data: bytes) -> Revision:
    """Return the revision whose canonical bytes are ``data``.

    Raises:
        Corrupt: They are not the bytes of a revision.
    """
    try:
        reader = Fields(data)
        if reader.take(len(TAG)) != TAG:
            raise Corrupt("a revision does not begin with its tag")
        number = RevisionNumber(reader.integer())
        kind = _KINDS[reader.take(1)[0]]
        time_ns = int.from_bytes(reader.take(_TIME_BYTES), "big")
        depth = reader.integer()
        parents = tuple(
            Parent(
                RevisionNumber(reader.integer()),
                Digest(reader.take(DIGEST_BYTES)),
                Digest(reader.take(DIGEST_BYTES)),
            )
            for _ in range(reader.integer())
        )
        skip = _read_skip(reader, parents[0]) if parents else None
        root = Digest(reader.take(DIGEST_BYTES))
        # These were checked when the revision was made; the digest vouches for them.
        scope = Scope(
            cast("Namespace", reader.text()), cast("BranchName", reader.text())
        )
        author = cast("Author", reader.text())
        message = cast("Message", reader.text())
    except (IndexError, UnicodeDecodeError):
        raise Corrupt("a revision record ends too early or is garbled") from None
    if not reader.at_end():
        raise Corrupt("a revision record is too long")
    return Revision(
        number,
        scope,
        parents,
        root,
        kind,
        message,
        author,
        time_ns,
        depth,
        skip,
        digest_of(data),
    )


def _read_skip(reader: Fields, parent: Parent) -> Link:
    number = RevisionNumber(reader.integer())
    if number == parent.number:
        return Link(number, parent.digest)
    return Link(number, Digest(reader.take(DIGEST_BYTES)))


def format_time(time_ns: int) -> str:
    """Return a time as RFC 3339 in UTC, with as many digits as it needs."""
    seconds, nanos = divmod(time_ns, _NS)
    whole = datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    fraction = f".{nanos:09d}".rstrip("0") if nanos else ""
    return f"{whole}{fraction}Z"


def parse_time(text: str, field: str = "time") -> int:
    """Return the nanoseconds since 1970-01-01 UTC of an RFC 3339 time.

    Raises:
        InvalidValue: It is not one, or lies outside 1970 to 2262.
    """
    match = _RFC3339.fullmatch(text)
    shown = text[:_SHOWN_CHARACTERS]
    try:
        if match is None:
            raise ValueError  # noqa: TRY301 - joins the other ways to be wrong
        date, clock, fraction, zone = match.groups()
        zone = "+00:00" if zone in "Zz" else zone
        whole = datetime.fromisoformat(f"{date}T{clock}{zone}")
    except ValueError:
        raise InvalidValue(
            field, f"{shown!r} is not an RFC 3339 time such as 2026-01-31T12:00:00Z"
        ) from None
    seconds = int((whole - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds())
    time_ns = seconds * _NS + int((fraction or "0").ljust(9, "0"))
    if not 0 <= time_ns <= TIME_NS_MAX:
        raise InvalidValue(field, f"{shown!r} lies outside the years 1970 to 2262")
    return time_ns
