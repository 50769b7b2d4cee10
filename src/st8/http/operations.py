"""THE table: every operation of the daemon, in one place.

Routing, permissions, metrics labels and OpenAPI are made from it, so an operation
that is not here does not exist, and one that is here is routed, guarded, counted
and described.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

from st8.core import errors
from st8.http import backups, handlers, queries, shapes, wire

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from st8.core.errors import St8Error
    from st8.http.replies import OpenReply
    from st8.http.service import Call, Service

    Handler = Callable[[Service, Any, Call], Awaitable[OpenReply]]

__all__ = ["ALWAYS", "EVERY_METHOD", "OPERATIONS", "Operation", "Verb"]

Verb = Literal["open", "read", "write", "admin"]
"""What a token must be allowed to do; ``open`` needs no token."""

EVERY_METHOD: Final = "*"


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """What clients can ask of the daemon.

    Attributes:
        name: Its name in metrics and OpenAPI.
        method: The HTTP method; :data:`EVERY_METHOD` for any. HEAD goes with GET.
        path: The path; it is compared as it stands.
        verb: What a token must be allowed to do.
        handler: Carries it out.
        summary: What it does, in a few words.
        description: The rest.
        query: The parameters of its query string.
        body: The JSON it takes; None for no body, or for one that streams.
        upload: The media type of a body of any length, which is taken as it comes;
            None for no such body.
        answer: The JSON it answers, or the media type if it is not JSON.
        errors: What it may answer instead, beside :data:`ALWAYS`.
        idempotent: True if it takes the header ``Idempotency-Key``.
        conditional: True if it takes the header ``If-None-Match``.
        resumable: True if it takes the header ``Last-Event-ID``.
    """

    name: str
    method: str
    path: str
    verb: Verb
    handler: Handler
    summary: str
    description: str = ""
    query: type[queries.Query] = queries.NoQuery
    body: type[wire.Body] | None = None
    upload: str | None = None
    answer: type[shapes.Shape] | str
    errors: tuple[type[St8Error], ...] = ()
    idempotent: bool = False
    conditional: bool = False
    resumable: bool = False

    def all_errors(self) -> tuple[type[St8Error], ...]:
        """Return every class of error that this operation may answer."""
        found: list[type[St8Error]] = list(self.errors)
        if self.verb != "open":
            found += [
                errors.Unauthenticated,
                errors.Forbidden,
                errors.AuditUnavailable,
                errors.RateLimited,
            ]
        if self.body is not None or self.upload is not None:
            found += [
                errors.UnsupportedMedia,
                errors.RequestTimeout,
                errors.ShuttingDown,
            ]
        return (*ALWAYS, *found)


ALWAYS: Final = (
    errors.MalformedRequest,
    errors.UnknownField,
    errors.InvalidValue,
    errors.LimitExceeded,
    errors.HeaderTooLarge,
    errors.Overloaded,
    errors.InternalError,
)
_READ: Final = (errors.StorageFailed, errors.Corrupt)
_WRITE: Final = (
    *_READ,
    errors.StorageFull,
    errors.StoreFenced,
    errors.OutcomeUnknown,
    errors.Conflict,
)
_SELECT: Final = (
    errors.BranchNotFound,
    errors.CheckpointNotFound,
    errors.RevisionNotFound,
    errors.RevisionCollected,
    errors.NoRevisionAt,
)
_HEAD: Final = (errors.HeadMoved, errors.ExpectationRequired)
_ONCE: Final = (*_HEAD, errors.IdempotencyMismatch)

OPERATIONS: Final[tuple[Operation, ...]] = (
    Operation(
        name="apply",
        method="POST",
        path="/v1/apply",
        verb="write",
        handler=handlers.write_state,
        summary="Put and delete documents as one revision",
        description="All of it is done or nothing. What is not named stays as it is. "
        "Where nothing differs no revision is made (`noop`). Of two documents with one "
        "key the last counts. The branch comes to be with its first revision.",
        body=wire.ApplyBody,
        answer=shapes.Result,
        errors=(
            *_WRITE,
            *_ONCE,
            errors.RevisionCollected,
            errors.ContentRedacted,
            errors.BeingRestored,
        ),
        idempotent=True,
    ),
    Operation(
        name="get",
        method="GET",
        path="/v1/state",
        verb="read",
        handler=handlers.get_state,
        summary="Read the documents of a branch at a revision",
        description="The head, or what `revision`, `checkpoint` or `at` names. Large "
        "states are streamed. A branch that nothing was applied to is revision 0 with "
        "nothing in it.",
        query=queries.StateQuery,
        answer=shapes.State,
        errors=(*_READ, *_SELECT, errors.NotReached),
        conditional=True,
    ),
    Operation(
        name="watch",
        method="GET",
        path="/v1/watch",
        verb="read",
        handler=handlers.watch,
        summary="Hear of every revision as it is made",
        description="Server-Sent Events, for as long as the client stays. `start` tells "
        "where the stream begins; `revision` has one revision and its changes; `resync` "
        "says that the state has to be read anew, at the revision it names, since what "
        "lies between was collected or the branch has another history. The `id` of an "
        "event, given back as `Last-Event-ID`, goes on behind it.",
        query=queries.WatchQuery,
        answer="text/event-stream",
        errors=_READ,
        resumable=True,
    ),
    Operation(
        name="diff",
        method="POST",
        path="/v1/diff",
        verb="read",
        handler=handlers.diff,
        summary="Compare two states",
        description="Each side is the head, a revision, a checkpoint, a time or another "
        "branch, with documents laid over it if given. Writes nothing.",
        body=wire.DiffBody,
        answer=shapes.Diff,
        errors=(*_READ, *_SELECT),
    ),
    Operation(
        name="rollback",
        method="POST",
        path="/v1/rollback",
        verb="write",
        handler=handlers.write_state,
        summary="Go back to an earlier state",
        description="Makes a new revision whose state is that of the target; history "
        "is not rewritten. Without a target nothing changes.",
        body=wire.RollbackBody,
        answer=shapes.Result,
        errors=(*_WRITE, *_SELECT, *_ONCE),
        idempotent=True,
    ),
    Operation(
        name="restore",
        method="POST",
        path="/v1/restore",
        verb="write",
        handler=handlers.write_state,
        summary="Take over a state, from another branch too",
        description="Makes a new revision whose state is that of the source. "
        "`from_branch` may stand alone, for that branch's head, or with "
        "`from_revision` or `from_at`.",
        body=wire.RestoreBody,
        answer=shapes.Result,
        errors=(*_WRITE, *_SELECT, *_ONCE),
        idempotent=True,
    ),
    Operation(
        name="log",
        method="GET",
        path="/v1/log",
        verb="read",
        handler=handlers.log,
        summary="Read the history of a branch, newest first",
        description="It goes on into the history of the branch that this one was made "
        "from. With `key`, `prefix` or `author` a page looks at no more than 10,000 "
        "revisions: it may be short, even empty, and still have a `next`.",
        query=queries.LogQuery,
        answer=shapes.Log,
        errors=(*_READ, *_SELECT),
    ),
    Operation(
        name="list_branches",
        method="GET",
        path="/v1/branches",
        verb="read",
        handler=handlers.list_branches,
        summary="List the branches of a namespace",
        query=queries.BranchesQuery,
        answer=shapes.Branches,
        errors=_READ,
    ),
    Operation(
        name="create_branch",
        method="POST",
        path="/v1/branches",
        verb="write",
        handler=handlers.create_branch,
        summary="Create a branch at a revision",
        description="A branch is a pointer: nothing is copied and no revision is made.",
        body=wire.CreateBranchBody,
        answer=shapes.BranchCreated,
        errors=(*_WRITE, *_SELECT, errors.BranchExists, errors.ContentRedacted),
    ),
    Operation(
        name="delete_branch",
        method="DELETE",
        path="/v1/branches",
        verb="write",
        handler=handlers.delete_ref,
        summary="Delete a branch",
        description="Its revisions stay until a garbage collection; checkpoints keep "
        "theirs.",
        body=wire.DeleteBranchBody,
        answer=shapes.Nothing,
        errors=(*_WRITE, *_HEAD, errors.BranchNotFound),
    ),
    Operation(
        name="list_checkpoints",
        method="GET",
        path="/v1/checkpoints",
        verb="read",
        handler=handlers.list_checkpoints,
        summary="List the checkpoints of a namespace, or show one",
        query=queries.CheckpointsQuery,
        answer=shapes.Checkpoints,
        errors=(*_READ, errors.CheckpointNotFound),
    ),
    Operation(
        name="checkpoint",
        method="POST",
        path="/v1/checkpoints",
        verb="write",
        handler=handlers.put_checkpoint,
        summary="Name a revision",
        description="A name that is taken answers 409 unless `replace` is set; the same "
        "revision and description again is no change.",
        body=wire.PutCheckpointBody,
        answer=shapes.CheckpointInfo,
        errors=(*_WRITE, *_SELECT, errors.CheckpointExists),
    ),
    Operation(
        name="delete_checkpoint",
        method="DELETE",
        path="/v1/checkpoints",
        verb="write",
        handler=handlers.delete_ref,
        summary="Delete a checkpoint",
        description="The revision that it names stays.",
        body=wire.DeleteCheckpointBody,
        answer=shapes.Nothing,
        errors=(*_WRITE, errors.CheckpointNotFound),
    ),
    Operation(
        name="list_namespaces",
        method="GET",
        path="/v1/namespaces",
        verb="read",
        handler=handlers.list_namespaces,
        summary="List the namespaces",
        query=queries.NamespacesQuery,
        answer=shapes.Namespaces,
        errors=_READ,
    ),
    Operation(
        name="gc",
        method="POST",
        path="/v1/gc",
        verb="admin",
        handler=handlers.collect,
        summary="Collect garbage",
        description="Removes revisions that are neither among the newest `keep` of a "
        "branch, nor young, nor named by a branch or a checkpoint, and what only they "
        "used. Reads and writes go on meanwhile. A dry run changes nothing, and tells "
        "what goes and what stays and why.",
        body=wire.CollectBody,
        answer=shapes.Collected,
        errors=(*_WRITE, errors.NamespaceNotFound, errors.Unavailable),
    ),
    Operation(
        name="backup",
        method="POST",
        path="/v1/backup",
        verb="admin",
        handler=backups.backup,
        summary="Back up the store, or a namespace",
        description="A stream of bytes that `POST /v1/restore-backup` takes, with a "
        "digest at its end. It is of the moment of the request, while writes go on. It "
        "has all contents in clear. What fails halfway does not come to its end.",
        body=wire.BackupBody,
        answer=backups.MEDIA_TYPE,
        errors=(
            *_WRITE,
            errors.NamespaceNotFound,
            errors.OtherHistory,
            errors.Overtaken,
        ),
    ),
    Operation(
        name="restore_backup",
        method="POST",
        path="/v1/restore-backup",
        verb="admin",
        handler=backups.restore_backup,
        summary="Restore a backup",
        description="The body is a backup, or a backup and those that stand on it, one "
        "after the other; it may be of any length. Its namespaces appear whole, with "
        "the last commit, or not at all. None of them may be there already.",
        query=queries.RestoreBackupQuery,
        upload=backups.MEDIA_TYPE,
        answer=shapes.BackupRestored,
        errors=(
            *_WRITE,
            errors.BadBackup,
            errors.NamespaceExists,
            errors.ContentInUse,
            errors.ContentRedacted,
            errors.Overtaken,
        ),
    ),
    Operation(
        name="redact",
        method="POST",
        path="/v1/redact",
        verb="admin",
        handler=handlers.redact,
        summary="Take the content of a document out of all revisions",
        description="The content that `key` has in the revision that is named, wherever "
        "else it stands, in all namespaces. A line that says who redacted it and when is "
        "read in its place; every digest stays what it was. It can't be stored again. "
        "What the head of a branch has is not redacted: apply another content first. "
        "Takes as long as a collection.",
        body=wire.RedactBody,
        answer=shapes.Redacted,
        errors=(
            *_WRITE,
            *_SELECT,
            errors.KeyNotFound,
            errors.ContentInUse,
            errors.Unavailable,
        ),
    ),
    Operation(
        name="verify",
        method="POST",
        path="/v1/verify",
        verb="admin",
        handler=handlers.verify,
        summary="Read the whole store and tell what is damaged",
        description="JSON lines, sent as it goes on: `finding` for what is damaged, `head` "
        "for a branch if `heads` is set, `progress` some times a second, and last a "
        "`summary`, or `failed` with a problem. Reads and writes go on meanwhile. Without "
        "`full`, all revisions, branches, checkpoints and trees are read, and contents "
        "need only be there. One verification at a time.",
        body=wire.VerifyBody,
        answer="application/x-ndjson",
        errors=(*_READ, errors.Conflict),
    ),
    Operation(
        name="version",
        method="GET",
        path="/v1/version",
        verb="read",
        handler=handlers.version,
        summary="Tell the versions of daemon, API and store",
        answer=shapes.Version,
    ),
    Operation(
        name="health",
        method=EVERY_METHOD,
        path="/healthz",
        verb="open",
        handler=handlers.health,
        summary="Tell that the process runs",
        answer="text/plain",
    ),
    Operation(
        name="ready",
        method=EVERY_METHOD,
        path="/readyz",
        verb="open",
        handler=handlers.ready,
        summary="Tell that the store can serve",
        answer="text/plain",
        errors=(errors.ShuttingDown, errors.StorageFailed, errors.StoreFenced),
    ),
    Operation(
        name="metrics",
        method="GET",
        path="/metrics",
        verb="read",
        handler=handlers.metrics,
        summary="Tell the metrics, in Prometheus' text format",
        answer="text/plain",
    ),
    Operation(
        name="openapi",
        method="GET",
        path="/openapi.json",
        verb="open",
        handler=handlers.openapi,
        summary="Describe this API",
        answer="application/json",
    ),
    Operation(
        name="docs",
        method="GET",
        path="/docs",
        verb="open",
        handler=handlers.docs,
        summary="Describe this API to people",
        description="One page without scripts, which loads nothing from elsewhere.",
        answer="text/html",
    ),
)
