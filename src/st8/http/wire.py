"""What clients send in bodies, and the plans it stands for.

Fields are Go-compatible: everything is optional unless said, ``null``, ``0`` and
the empty string stand for "not given", and a blank namespace or branch takes its
default. Unlike there, an unknown field is refused.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Annotated, TypeVar

from msgspec import Meta, Struct, field

from st8.core import limits
from st8.core.documents import Document
from st8.core.durations import parse_age
from st8.core.errors import InvalidValue, LimitExceeded
from st8.core.findings import Head, parse_head
from st8.core.ids import (
    DIGEST_BYTES,
    Author,
    BranchName,
    CheckpointName,
    Description,
    Digest,
    IdempotencyKey,
    Key,
    Message,
    Namespace,
    Reason,
    RevisionNumber,
    Scope,
)
from st8.core.revisions import Link, parse_time
from st8.engine.backup import Base
from st8.engine.requests import (
    Apply,
    CreateBranch,
    DeleteBranch,
    DeleteCheckpoint,
    PutCheckpoint,
    Redact,
    Reset,
    Selector,
    Side,
)
from st8.engine.retention import KEEP_DEFAULT, Retention
from st8.http.fields import (
    AfterField,
    AtField,
    AuthorField,
    BranchField,
    ChangesField,
    CheckpointField,
    ContentField,
    DryRunField,
    ExpectField,
    KeyField,
    MessageField,
    NameField,
    NamespaceField,
    RevisionField,
    StateLimitField,
)
from st8.http.plans import (
    BackupPlan,
    CollectPlan,
    DiffPlan,
    Plan,
    Reach,
    RedactPlan,
    RefPlan,
    VerifyPlan,
    WritePlan,
    page_size,
)

__all__ = [
    "ApplyBody",
    "BackupBody",
    "BaseBody",
    "Body",
    "CollectBody",
    "CreateBranchBody",
    "DeleteBranchBody",
    "DeleteCheckpointBody",
    "DiffBody",
    "DocumentBody",
    "HeadBody",
    "NewestBody",
    "PutCheckpointBody",
    "RedactBody",
    "RestoreBody",
    "RollbackBody",
    "ScopeBody",
    "ScopedBody",
    "SelectorBody",
    "VerifyBody",
    "Wire",
    "namespace_of",
    "scope_of",
    "selector_of",
]

N = TypeVar("N", BranchName, CheckpointName)

_SCOPES_REMEMBERED = 1_024


class Wire(Struct, forbid_unknown_fields=True):
    """A JSON object that a client sends."""


class Body(Wire):
    """The JSON object that is the body of a request."""

    def plan(self, _idempotency_key: str | None = None, /) -> Plan:
        """Return what to do.

        Raises:
            InvalidInput: A name or a number is not allowed.
        """
        raise NotImplementedError


@lru_cache(_SCOPES_REMEMBERED)
def scope_of(namespace: str | None, branch: str | None) -> Scope:
    """Return the scope of these names; a blank one takes its default."""
    return Scope.parse(namespace or "", branch or "")


def namespace_of(name: str | None) -> Namespace:
    """Return the namespace of this name; a blank one is the default."""
    return scope_of(name, None).namespace


def selector_of(
    revision: int | None,
    checkpoint: str | None,
    at: str | None,
    branch: str | None = None,
    at_field: str = "at",
) -> Selector:
    """Return the selector of these fields, blanks and 0 being not given."""
    return Selector(
        revision or None,
        CheckpointName(checkpoint) if checkpoint else None,
        parse_time(at, at_field) if at else None,
        BranchName(branch) if branch else None,
    )


def _documents(documents: list[DocumentBody] | None) -> tuple[Document, ...]:
    return tuple(Document(Key(d.key), d.content) for d in documents or ())


def _deletes(keys: list[str] | None) -> tuple[Key, ...]:
    return tuple(Key(key) for key in keys or ())


def _idempotency_key(value: str | None) -> IdempotencyKey | None:
    return None if value is None else IdempotencyKey(value)


# --- bodies -------------------------------------------------------------------


class ScopeBody(Wire):
    """A namespace and a branch in it."""

    namespace: NamespaceField | None = None
    branch: BranchField | None = None


class DocumentBody(Wire):
    """A document; its content is kept byte for byte."""

    key: KeyField
    content: ContentField


class SelectorBody(Wire):
    """A state: at most one of revision, checkpoint and time; the head if none.

    Documents and deletes are laid over it.
    """

    revision: RevisionField | None = None
    checkpoint: CheckpointField | None = None
    at: AtField | None = None
    branch: (
        Annotated[str, Meta(description="Of this branch instead of the scope's.")]
        | None
    ) = None
    documents: list[DocumentBody] | None = None
    deletes: list[KeyField] | None = None
    exact: (
        Annotated[bool, Meta(description="The documents alone are the state.")] | None
    ) = None

    def side(self) -> Side:
        """Return the engine's word for it."""
        return Side(
            selector_of(self.revision, self.checkpoint, self.at, self.branch),
            _documents(self.documents),
            _deletes(self.deletes),
            bool(self.exact),
        )


class ScopedBody(Body):
    """A body that is about one branch."""

    scope: ScopeBody | None = None

    def where(self) -> Scope:
        """Return the scope, with defaults filled in."""
        scope = self.scope
        return (
            scope_of(scope.namespace, scope.branch) if scope else scope_of(None, None)
        )


class ApplyBody(ScopedBody):
    """Documents to put and keys to delete, as one revision."""

    documents: list[DocumentBody] | None = None
    deletes: list[KeyField] | None = None
    message: MessageField | None = None
    author: AuthorField | None = None
    expect_revision: ExpectField | None = None
    dry_run: DryRunField | None = None
    changes: ChangesField | None = None

    def plan(self, idempotency_key: str | None = None, /) -> WritePlan:
        """Return what to do."""
        scope = self.where()
        given = len(self.documents or ()) + len(self.deletes or ())
        if given > limits.APPLY_DOCUMENTS.maximum:
            raise LimitExceeded(
                limits.APPLY_DOCUMENTS, "documents and deletes of one apply", given
            )
        request = Apply(
            scope,
            _documents(self.documents),
            _deletes(self.deletes),
            Message(self.message or ""),
            Author(self.author or ""),
            self.expect_revision,
            bool(self.dry_run),
            _idempotency_key(idempotency_key),
        )
        return WritePlan((Reach(*scope),), request, self.changes or "full")


class RollbackBody(ScopedBody):
    """A state of the same namespace to go back to."""

    revision_id: RevisionField | None = None
    checkpoint_name: CheckpointField | None = None
    at: AtField | None = None
    message: MessageField | None = None
    author: AuthorField | None = None
    expect_revision: ExpectField | None = None
    dry_run: DryRunField | None = None
    changes: ChangesField | None = None

    def plan(self, idempotency_key: str | None = None, /) -> WritePlan:
        """Return what to do; without a target, nothing changes."""
        scope = self.where()
        request = Reset(
            scope,
            selector_of(self.revision_id, self.checkpoint_name, self.at),
            "rollback",
            Message(self.message or ""),
            Author(self.author or ""),
            self.expect_revision,
            bool(self.dry_run),
            _idempotency_key(idempotency_key),
        )
        return WritePlan((Reach(*scope),), request, self.changes or "full")


class RestoreBody(ScopedBody):
    """A state, of this branch or another, to take over."""

    from_revision: RevisionField | None = None
    from_checkpoint: CheckpointField | None = None
    from_branch: (
        Annotated[str, Meta(description="Of this branch instead of the scope's.")]
        | None
    ) = None
    from_at: AtField | None = None
    message: MessageField | None = None
    author: AuthorField | None = None
    expect_revision: ExpectField | None = None
    dry_run: DryRunField | None = None
    changes: ChangesField | None = None

    def plan(self, idempotency_key: str | None = None, /) -> WritePlan:
        """Return what to do; without a source, nothing changes."""
        scope = self.where()
        source = selector_of(
            self.from_revision,
            self.from_checkpoint,
            self.from_at,
            self.from_branch,
            "from_at",
        )
        request = Reset(
            scope,
            source,
            "restore",
            Message(self.message or ""),
            Author(self.author or ""),
            self.expect_revision,
            bool(self.dry_run),
            _idempotency_key(idempotency_key),
        )
        return WritePlan(_reach(scope, source), request, self.changes or "full")


def _reach(scope: Scope, *selectors: Selector) -> tuple[Reach, ...]:
    """Return the scope and every other branch that the selectors read."""
    others = {s.branch for s in selectors if s.branch} - {scope.branch}
    return (
        Reach(*scope),
        *(Reach(scope.namespace, branch, "read") for branch in sorted(others)),
    )


class DiffBody(ScopedBody):
    """Two states to compare.

    Either ``from`` and ``to``, each the scope's head when not given; or the short
    form, which compares the head with a revision, a checkpoint, or the head with
    documents laid over it.
    """

    revision_id: RevisionField | None = None
    checkpoint_name: CheckpointField | None = None
    documents: list[DocumentBody] | None = None
    deletes: list[KeyField] | None = None
    source: SelectorBody | None = field(default=None, name="from")
    target: SelectorBody | None = field(default=None, name="to")
    changes: ChangesField | None = None
    limit: StateLimitField | None = None
    after: AfterField | None = None

    def plan(self, _idempotency_key: str | None = None, /) -> DiffPlan:
        """Return what to compare."""
        scope = self.where()
        source = self.source.side() if self.source else Side()
        target = self._target()
        return DiffPlan(
            _reach(scope, source.selector, target.selector),
            scope,
            source,
            target,
            self.changes or "full",
            page_size(self.limit, 0, limits.STATE_PAGE_DOCUMENTS),
            Key(self.after) if self.after else None,
        )

    def _target(self) -> Side:
        short = bool(self.revision_id or self.checkpoint_name)
        laid_over = bool(self.documents or self.deletes)
        if self.source is not None or self.target is not None:
            if short or laid_over:
                raise InvalidValue(
                    "from/to",
                    "can't be combined with revision_id, checkpoint_name, documents or "
                    "deletes; put those inside 'from' or 'to'",
                )
            return self.target.side() if self.target else Side()
        if short and laid_over:
            raise InvalidValue(
                "documents",
                "can't be combined with revision_id or checkpoint_name; use "
                "'from': {'revision': …} and 'to': {'documents': […]}",
            )
        return Side(
            selector_of(self.revision_id, self.checkpoint_name, None),
            _documents(self.documents),
            _deletes(self.deletes),
        )


class PutCheckpointBody(ScopedBody, kw_only=True):
    """A name for a revision, the branch's head when none is given."""

    name: NameField
    description: (
        Annotated[str, Meta(description="What the checkpoint is good for.")] | None
    ) = None
    author: AuthorField | None = None
    replace: (
        Annotated[bool, Meta(description="Move a checkpoint that exists.")] | None
    ) = None
    revision: RevisionField | None = None
    at: AtField | None = None

    def plan(self, _idempotency_key: str | None = None, /) -> RefPlan:
        """Return what to do."""
        scope = self.where()
        request = PutCheckpoint(
            scope,
            _required(CheckpointName, self.name),
            selector_of(self.revision, None, self.at),
            Description(self.description or ""),
            Author(self.author or ""),
            bool(self.replace),
        )
        return RefPlan((Reach(*scope),), request)


class DeleteCheckpointBody(Body, kw_only=True):
    """A checkpoint to delete; the revision it names stays."""

    namespace: NamespaceField | None = None
    name: NameField

    def plan(self, _idempotency_key: str | None = None, /) -> RefPlan:
        """Return what to do."""
        namespace = namespace_of(self.namespace)
        request = DeleteCheckpoint(namespace, _required(CheckpointName, self.name))
        return RefPlan((Reach(namespace),), request)


class CreateBranchBody(ScopedBody, kw_only=True):
    """A new branch at a state of the scope, its head when none is given."""

    name: NameField
    from_revision: RevisionField | None = None
    from_checkpoint: CheckpointField | None = None
    from_at: AtField | None = None

    def plan(self, _idempotency_key: str | None = None, /) -> RefPlan:
        """Return what to do."""
        scope = self.where()
        name = _required(BranchName, self.name)
        source = selector_of(
            self.from_revision, self.from_checkpoint, self.from_at, at_field="from_at"
        )
        reach = (Reach(*scope, "read"), Reach(scope.namespace, name))
        return RefPlan(reach, CreateBranch(scope, name, source))


class DeleteBranchBody(Body, kw_only=True):
    """A branch to delete; checkpoints keep what they name."""

    namespace: NamespaceField | None = None
    name: NameField
    expect_revision: ExpectField | None = None

    def plan(self, _idempotency_key: str | None = None, /) -> RefPlan:
        """Return what to do."""
        scope = Scope(namespace_of(self.namespace), _required(BranchName, self.name))
        return RefPlan((Reach(*scope),), DeleteBranch(scope, self.expect_revision))


class CollectBody(Body):
    """How much history to keep."""

    keep: (
        Annotated[
            int,
            Meta(
                description="The newest revisions of each branch that stay. 0 or not "
                "given, and no `younger_than` either: as st8d is set to. Else it "
                "takes the place of that, 10 where it is not given, but for "
                "namespaces of which nothing ever goes.",
                extra_json_schema={"minimum": 0, "maximum": limits.GC_KEEP.maximum},
            ),
        ]
        | None
    ) = None
    younger_than: (
        Annotated[
            str,
            Meta(
                description="Whatever is younger stays too: an age as `12h`, `30d` or "
                "`2w`.",
                examples=["30d"],
            ),
        ]
        | None
    ) = None
    namespace: (
        Annotated[str, Meta(description="Only of this one; all when not given.")] | None
    ) = None
    dry_run: (
        Annotated[bool, Meta(description="Change nothing; tell what would go and why.")]
        | None
    ) = None

    def plan(self, _idempotency_key: str | None = None, /) -> CollectPlan:
        """Return what to do."""
        namespace = Namespace(self.namespace) if self.namespace else None
        if self.keep is not None and self.keep < 0:
            raise InvalidValue("keep", "must not be negative")
        retention = None
        if self.keep or self.younger_than:
            retention = Retention(
                self.keep or KEEP_DEFAULT, _age("younger_than", self.younger_than)
            )
            retention.check()
        return CollectPlan(
            (Reach(namespace),), retention, namespace, dry_run=bool(self.dry_run)
        )


def _age(field: str, text: str | None) -> float:
    """Return the seconds of an age that may not be given."""
    try:
        return parse_age(text) if text else 0.0
    except ValueError as error:
        raise InvalidValue(field, str(error)) from None


class NewestBody(Wire):
    """The revision by which a namespace of a backup is known again."""

    namespace: NamespaceField
    revision: Annotated[int, Meta(description="Its number; 0 if there was none.")]
    digest: Annotated[str, Meta(description="Its digest, in hexadecimal.")]

    def link(self) -> Link:
        """Return the revision.

        Raises:
            InvalidValue: It can't be one.
        """
        if self.revision < 0:
            raise InvalidValue("revision", "must not be negative")
        return Link(RevisionNumber(self.revision), _digest(self.digest))


class BaseBody(Wire):
    """A backup that another one shall stand on."""

    digest: Annotated[
        str, Meta(description="The digest that it ends with, in hexadecimal.")
    ]
    namespaces: Annotated[
        list[NewestBody], Meta(description="What it says of each of its namespaces.")
    ]

    def base(self) -> Base:
        """Return the backup.

        Raises:
            InvalidInput: It can't be one.
        """
        return Base(
            _digest(self.digest),
            {Namespace(one.namespace): one.link() for one in self.namespaces},
        )


class BackupBody(Body):
    """What is to be backed up."""

    namespace: (
        Annotated[str, Meta(description="Only this one; all when not given.")] | None
    ) = None
    base: (
        Annotated[
            BaseBody,
            Meta(description="Only what this backup lacks; all when not given."),
        ]
        | None
    ) = None

    def plan(self, _idempotency_key: str | None = None, /) -> BackupPlan:
        """Return what to do."""
        namespace = Namespace(self.namespace) if self.namespace else None
        base = None if self.base is None else self.base.base()
        return BackupPlan((Reach(namespace),), namespace, base)


def _digest(text: str) -> Digest:
    try:
        digest = bytes.fromhex(text)
    except ValueError:
        digest = b""
    if len(digest) != DIGEST_BYTES or len(text) != 2 * DIGEST_BYTES:
        raise InvalidValue("digest", "is not a SHA-256 in hexadecimal")
    return Digest(digest)


class RedactBody(ScopedBody, kw_only=True):
    """A document whose content is to be gone from all revisions."""

    key: Annotated[str, Meta(description="The document's key.")]
    revision: RevisionField | None = None
    checkpoint: CheckpointField | None = None
    at: AtField | None = None
    reason: (
        Annotated[str, Meta(description="Why; it stands in the mark that is left.")]
        | None
    ) = None
    author: AuthorField | None = None
    dry_run: DryRunField | None = None

    def plan(self, _idempotency_key: str | None = None, /) -> RedactPlan:
        """Return what to do.

        Raises:
            InvalidValue: It does not say in which revision the content stands.
        """
        scope = self.where()
        source = selector_of(self.revision, self.checkpoint, self.at)
        if source.is_head:
            raise InvalidValue(
                "revision",
                "say in which revision the content stands, with revision, checkpoint "
                "or at; what the head has is changed first",
            )
        request = Redact(
            scope,
            Key(self.key),
            source,
            Reason(self.reason or ""),
            Author(self.author or ""),
            bool(self.dry_run),
        )
        return RedactPlan((Reach(scope.namespace),), request)


def _required(kind: type[N], name: str) -> N:
    """Return a name that has no default."""
    if not name.strip():
        raise InvalidValue("name", "is required")
    return kind(name)


class HeadBody(Wire, kw_only=True):
    """A revision that was a branch's head once, as somebody noted elsewhere."""

    namespace: NamespaceField | None = None
    branch: BranchField | None = None
    revision: Annotated[
        int,
        Meta(
            description="Its number.",
            extra_json_schema={"minimum": 1},
        ),
    ]
    digest: Annotated[str, Meta(description="Its digest, 64 hexadecimal digits.")]

    def head(self) -> Head:
        """Return the engine's word for it."""
        scope = scope_of(self.namespace, self.branch)
        return Head(*scope, *parse_head(f"{self.revision}:{self.digest}"))


class VerifyBody(Body):
    """How much of the store is verified, and what is expected of it."""

    full: (
        Annotated[
            bool,
            Meta(description="Read every object, and have the store check itself."),
        ]
        | None
    ) = None
    heads: (
        Annotated[bool, Meta(description="Tell the head of every branch too.")] | None
    ) = None
    expect: (
        Annotated[
            list[HeadBody],
            Meta(description="Revisions that have to be in the branches' histories."),
        ]
        | None
    ) = None

    def plan(self, _idempotency_key: str | None = None, /) -> VerifyPlan:
        """Return what to do."""
        expected = tuple(one.head() for one in self.expect or ())
        return VerifyPlan((Reach(),), bool(self.full), bool(self.heads), expected)
