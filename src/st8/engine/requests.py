"""What can be asked of the engine.

All are immutable values, checked when they are made; what they ask may still fail.
"""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

from st8.core import limits
from st8.core.documents import content_bytes
from st8.core.errors import InvalidValue, LimitExceeded
from st8.core.ids import (
    Author,
    BranchName,
    CheckpointName,
    Digest,
    IdempotencyKey,
    Key,
    Message,
    Namespace,
    Scope,
    digest_of,
)
from st8.core.key_set import ALL_KEYS, KeySet

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Self

    from st8.core.documents import Document

__all__ = [
    "HEAD",
    "NOW",
    "NO_AUTHOR",
    "NO_MESSAGE",
    "THE_HEAD",
    "Apply",
    "CreateBranch",
    "DeleteBranch",
    "DeleteCheckpoint",
    "Freshness",
    "Guard",
    "Overlay",
    "PutCheckpoint",
    "Redact",
    "Reset",
    "Selector",
    "Side",
    "Sight",
    "WriteRequest",
]

Sight = Callable[[BranchName], KeySet]
"""Which keys of a branch somebody may see; none where they may not see the branch."""

Guard = Callable[[BranchName], None]
"""Raises if somebody may not do what is about a branch that is only now known."""


@dataclass(frozen=True, slots=True)
class Selector:
    """Names a revision.

    Attributes:
        revision: A number; 0 the head; negative that many before the head.
        checkpoint: A checkpoint of the namespace.
        at_ns: A time; the newest revision that is not younger.
        branch: The branch meant, where it is not the scope's own.
        sight: What may be seen, where that is not everything: of the branch that
            is read, and of the one that a checkpoint was made on.
    """

    revision: int | None = None
    checkpoint: CheckpointName | None = None
    at_ns: int | None = None
    branch: BranchName | None = None
    sight: Sight | None = field(default=None, compare=False, repr=False)

    def __post_init__(self) -> None:
        """Refuse to guess which of two is meant.

        Raises:
            InvalidValue: More than one way to name the revision is given.
        """
        given = [
            name
            for name, value in (
                ("revision", self.revision),
                ("checkpoint", self.checkpoint),
                ("at", self.at_ns),
            )
            if value is not None
        ]
        if len(given) > 1:
            raise InvalidValue(
                given[1], f"can't be combined with {given[0]}; give one of them"
            )

    @property
    def is_head(self) -> bool:
        """Whether the head of a branch is meant."""
        return (
            self.checkpoint is None
            and self.at_ns is None
            and self.revision in (None, 0)
        )


class Freshness(NamedTuple):
    """How fresh the head of a branch has to be that is read.

    Attributes:
        max_stale_s: What was the head at most so long ago will do, if it is at hand;
            0 is the head as it is now.
        min_revision: The branch has to have come to this revision; 0 to none.
    """

    max_stale_s: float = 0.0
    min_revision: int = 0


HEAD: Final = Selector()
NOW: Final = Freshness()
NO_MESSAGE: Final = Message("")
NO_AUTHOR: Final = Author("")


@dataclass(frozen=True, slots=True)
class Overlay:
    """Documents that are laid over a state.

    Attributes:
        edits: Key as UTF-8 → content digest, or None to delete.
        contents: The contents by digest.
        size: Bytes of keys and contents.
    """

    edits: dict[bytes, Digest | None]
    contents: dict[Digest, bytes]
    size: int

    @classmethod
    def of(cls, documents: Iterable[Document], deletes: Iterable[Key]) -> Overlay:
        """Hash the documents. Of two with one key the last counts.

        Raises:
            InvalidValue: A key is both given and deleted, or a content is not
                valid Unicode.
            LimitExceeded: There are too many, or one is too large.
        """
        edits: dict[bytes, Digest | None] = {}
        contents: dict[Digest, bytes] = {}
        size = 0
        number = 0
        for key, content in documents:
            data = content_bytes(key, content)
            digest = digest_of(data)
            edits[key.encode()] = digest
            contents[digest] = data
            size += len(data)
            number += 1
        for key in deletes:
            encoded = key.encode()
            if edits.get(encoded) is not None:
                raise InvalidValue("deletes", f"{key!r} is also among the documents")
            edits[encoded] = None
            number += 1
        if number > limits.APPLY_DOCUMENTS.maximum:
            raise LimitExceeded(limits.APPLY_DOCUMENTS, "documents and deletes", number)
        return cls(edits, contents, size + sum(map(len, edits)))


@dataclass(frozen=True, slots=True)
class Side:
    """One side of a diff: a state, and what is laid over it.

    Attributes:
        selector: The state.
        documents: Documents that are added to it or take the place of its own.
        deletes: Keys that are taken away.
        exact: The documents alone are meant, without the state.
    """

    selector: Selector = HEAD
    documents: tuple[Document, ...] = ()
    deletes: tuple[Key, ...] = ()
    exact: bool = False


THE_HEAD: Final = Side()


@dataclass(frozen=True, slots=True)
class Apply:
    """Puts and deletes documents, as one revision.

    Attributes:
        scope: Where; the branch comes to be with its first revision.
        documents: What to put.
        deletes: What to delete; a key that is not there is no change.
        message: Why; blank becomes ``apply``.
        author: Who.
        expect_revision: The head that must be found; 0 is a branch without any.
        dry_run: Tell what would change, and change nothing.
        idempotency_key: Makes a retry safe for a day.
        overlay: The documents and deletes, hashed; made from them.
    """

    scope: Scope
    documents: tuple[Document, ...] = ()
    deletes: tuple[Key, ...] = ()
    message: Message = NO_MESSAGE
    author: Author = NO_AUTHOR
    expect_revision: int | None = None
    dry_run: bool = False
    idempotency_key: IdempotencyKey | None = None
    overlay: Overlay = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Hash the documents.

        Raises:
            InvalidValue: There is nothing to apply, or see :meth:`Overlay.of`.
            LimitExceeded: See :meth:`Overlay.of`.
        """
        if not self.documents and not self.deletes:
            raise InvalidValue("documents", "apply needs at least one document")
        object.__setattr__(self, "overlay", Overlay.of(self.documents, self.deletes))

    def by(self, author: Author) -> Self:
        """Return the same request of another author, without hashing it again."""
        made = copy.copy(self)
        object.__setattr__(made, "author", author)
        return made

    def fingerprint(self) -> Digest:
        """Return a digest that another request does not have."""
        edits = [
            part
            for key, digest in sorted(self.overlay.edits.items())
            for part in (key, digest or b"")
        ]
        return _fingerprint(
            b"apply",
            *(text.encode() for text in (*self.scope, self.message, self.author)),
            repr(self.expect_revision).encode(),
            *edits,
        )


@dataclass(frozen=True, slots=True)
class Reset:
    """Makes a new revision whose state is that of another one.

    Attributes:
        scope: Where; the branch must exist.
        target: Whose state. The head itself gives a no-op.
        kind: ``rollback`` or ``restore``: what the log says.
        message: Why; blank becomes the kind.
        author: Who.
        expect_revision: The head that must be found.
        dry_run: Tell what would change, and change nothing.
        idempotency_key: Makes a retry safe for a day.
        keys: Documents of these keys alone are reset, those of them that may be
            seen in the target; the others stay as they are.
        guard: Called with the branch where the target is in its history already;
            raises if it may not go back. None where it may.
    """

    scope: Scope
    target: Selector
    kind: Literal["rollback", "restore"]
    message: Message = NO_MESSAGE
    author: Author = NO_AUTHOR
    expect_revision: int | None = None
    dry_run: bool = False
    idempotency_key: IdempotencyKey | None = None
    keys: KeySet = ALL_KEYS
    guard: Guard | None = field(default=None, compare=False, repr=False)

    def fingerprint(self) -> Digest:
        """Return a digest that another request does not have."""
        target = self.target
        return _fingerprint(
            self.kind.encode(),
            *(text.encode() for text in (*self.scope, self.message, self.author)),
            repr(self.expect_revision).encode(),
            repr((target.revision, target.at_ns)).encode(),
            (target.checkpoint or "").encode(),
            (target.branch or "").encode(),
            repr(self.keys.ranges).encode(),
        )


@dataclass(frozen=True, slots=True)
class CreateBranch:
    """Makes a branch that points at a revision.

    Attributes:
        scope: The namespace, and the branch that ``source`` is of.
        name: The new branch.
        source: Where it begins.
    """

    scope: Scope
    name: BranchName
    source: Selector = HEAD


@dataclass(frozen=True, slots=True)
class DeleteBranch:
    """Takes a branch away; revisions stay until they are collected.

    Attributes:
        scope: Which.
        expect_revision: The head that must be found.
    """

    scope: Scope
    expect_revision: int | None = None


@dataclass(frozen=True, slots=True)
class PutCheckpoint:
    """Names a revision.

    Attributes:
        scope: The namespace, and the branch that ``source`` is of.
        name: The name.
        source: Which revision.
        description: What it is good for.
        author: Who says so.
        replace: Move a checkpoint that points elsewhere.
        guard: Looks at the branch of the checkpoint that would be moved.
    """

    scope: Scope
    name: CheckpointName
    source: Selector = HEAD
    description: Message = NO_MESSAGE
    author: Author = NO_AUTHOR
    replace: bool = False
    guard: Guard | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class DeleteCheckpoint:
    """Takes a checkpoint away.

    Attributes:
        namespace: Of which namespace.
        name: Which.
        guard: Looks at the branch that it was made on.
    """

    namespace: Namespace
    name: CheckpointName
    guard: Guard | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Redact:
    """Takes a content out of all revisions of all namespaces.

    Attributes:
        scope: The namespace, and the branch that ``source`` is of.
        key: The document whose content is meant.
        source: In which revision.
        reason: Why.
        author: Who says so.
        dry_run: Tell where it stands, and change nothing.
        guard: Called with each namespace where it stands; raises if what is there is
            not to be redacted.
    """

    scope: Scope
    key: Key
    source: Selector
    reason: Message = NO_MESSAGE
    author: Author = NO_AUTHOR
    dry_run: bool = False
    guard: Callable[[Namespace], None] | None = field(
        default=None, compare=False, repr=False
    )


WriteRequest = (
    Apply | Reset | CreateBranch | DeleteBranch | PutCheckpoint | DeleteCheckpoint
)


def _fingerprint(*parts: bytes) -> Digest:
    """Return a digest of ``parts`` that no other list of parts has."""
    hasher = hashlib.sha256()
    for part in parts:
        hasher.update(len(part).to_bytes(8, "big"))
        hasher.update(part)
    return Digest(hasher.digest())
