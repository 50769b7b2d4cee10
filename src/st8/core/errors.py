"""The one error tree of st8.

::

    St8Error
    ├── InvalidInput            the request can't be right as it stands
    │   ├── MalformedRequest      not even well-formed
    │   ├── UnsupportedMedia      a body in an encoding that is not read
    │   ├── InvalidValue          a field has a value that is not allowed
    │   ├── UnknownField          a field, parameter or setting nobody knows
    │   ├── BadBackup             a backup that is not whole, or not right
    │   └── LimitExceeded         larger than a limit; names it
    │       └── HeaderTooLarge
    ├── RequestTimeout          the request did not arrive in time
    ├── Refused                 who asks may not
    │   ├── Unauthenticated
    │   ├── Forbidden
    │   └── ExpectationRequired   a protected branch wants the expected head
    ├── NotFound                what was named is not there
    │   ├── RouteNotFound
    │   ├── MethodNotAllowed
    │   ├── NothingApplied        a scope that nothing was ever applied to
    │   ├── NamespaceNotFound
    │   ├── BranchNotFound
    │   ├── CheckpointNotFound
    │   ├── RevisionNotFound
    │   ├── NoRevisionAt          the branch is younger than the time
    │   ├── RevisionCollected     was there; garbage collection removed it
    │   └── KeyNotFound
    ├── Conflict                the store has moved on
    │   ├── HeadMoved
    │   ├── NotReached            the branch has not come to a revision yet
    │   ├── BranchExists
    │   ├── CheckpointExists
    │   ├── NamespaceExists
    │   ├── BeingRestored         a namespace that a backup is restored into
    │   ├── OtherHistory          a base that is not of this history
    │   ├── Overtaken             by a collection, or another restore
    │   ├── ContentRedacted       what was redacted does not come back
    │   ├── ContentInUse          a head has what should be redacted
    │   └── IdempotencyMismatch
    ├── Unavailable             not now
    │   ├── Overloaded
    │   ├── RateLimited           who asks has sent too many requests
    │   ├── ShuttingDown
    │   ├── Unreachable           (client) no connection
    │   ├── TimedOut              (client) no answer in time
    │   ├── AuditUnavailable      it can't be recorded, so it is not done
    │   ├── OutcomeUnknown        it may or may not have been done
    │   ├── StorageFull
    │   ├── StorageFailed
    │   └── StoreFenced           writes stopped after a failed write
    ├── StateDirectoryInUse     another process holds it
    ├── NewerFormat             written by a newer st8
    ├── Corrupt                 bytes that do not match their digest
    └── InternalError           a fault of st8 itself

Each class carries a stable ``code``, the HTTP status a server answers with, the
exit code of the command line, whether the same request may succeed later
(``retryable``), and what is known of its effect (``outcome``: ``none``, nothing
was changed, or ``unknown``). The server renders an error as an RFC 9457 problem;
the client rebuilds the same class from ``code``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from st8.core.error import BY_STATUS, CLASSES, St8Error, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Iterable

    from st8.core.limits import Limit

__all__ = [
    "CLASSES",
    "AuditUnavailable",
    "BadBackup",
    "BeingRestored",
    "BranchExists",
    "BranchNotFound",
    "CheckpointExists",
    "CheckpointNotFound",
    "Conflict",
    "ContentInUse",
    "ContentRedacted",
    "Corrupt",
    "ExpectationRequired",
    "Forbidden",
    "HeadMoved",
    "HeaderTooLarge",
    "IdempotencyMismatch",
    "InternalError",
    "InvalidInput",
    "InvalidValue",
    "KeyNotFound",
    "LimitExceeded",
    "MalformedRequest",
    "MethodNotAllowed",
    "NamespaceExists",
    "NamespaceNotFound",
    "NewerFormat",
    "NoRevisionAt",
    "NotFound",
    "NotReached",
    "NothingApplied",
    "OtherHistory",
    "OutcomeUnknown",
    "Overloaded",
    "Overtaken",
    "RateLimited",
    "Refused",
    "RequestTimeout",
    "RevisionCollected",
    "RevisionNotFound",
    "RouteNotFound",
    "ShuttingDown",
    "St8Error",
    "StateDirectoryInUse",
    "StorageFailed",
    "StorageFull",
    "StoreFenced",
    "TimedOut",
    "Unauthenticated",
    "Unavailable",
    "UnknownField",
    "Unreachable",
    "UnsupportedMedia",
]

# --- the request can't be right as it stands --------------------------------


class InvalidInput(St8Error):
    """The request can't be right as it stands; sending it again won't help."""

    code = "invalid"
    title = "Invalid request"
    http_status = 422
    exit_code = 7


class MalformedRequest(InvalidInput):
    """The request is not well-formed: bad JSON, bad encoding, bad framing."""

    code = "malformed_request"
    title = "Malformed request"
    http_status = 400


class UnsupportedMedia(InvalidInput):
    """The body is in an encoding that is not read."""

    code = "unsupported_media"
    title = "Unsupported media"
    http_status = 415


class InvalidValue(InvalidInput):
    """A field has a value that is not allowed."""

    code = "invalid_value"
    title = "Invalid value"
    field: str

    def __init__(self, field: str, problem: str) -> None:
        """Say that ``field`` is wrong, and how."""
        super().__init__(f"{field}: {problem}", field=field)


class UnknownField(InvalidInput):
    """A field, query parameter or setting that does not exist."""

    code = "unknown_field"
    title = "Unknown field"
    field: str

    def __init__(self, field: str, where: str, known: Iterable[str]) -> None:
        """Name the field and the nearest one that does exist."""
        names = sorted(known)
        super().__init__(
            f"{where} has no field {field!r}; " + did_you_mean(field, names),
            field=field,
            known=names,
        )


class LimitExceeded(InvalidInput):
    """Something is larger than a limit; names the limit and its number."""

    code = "limit_exceeded"
    title = "Limit exceeded"
    http_status = 413
    limit: str
    maximum: int

    def __init__(self, limit: Limit, what: str, actual: int | None = None) -> None:
        """Name the limit, what passed it and, if known, by how much."""
        size = "more" if actual is None else str(actual)
        fields: dict[str, object] = {"limit": limit.name, "maximum": limit.maximum}
        if actual is not None:
            fields["actual"] = actual
        super().__init__(
            f"{what}: {size}, where {limit.name} is {limit.maximum}", **fields
        )


class HeaderTooLarge(LimitExceeded):
    """The request line and headers are larger than their limit."""

    code = "header_limit_exceeded"
    http_status = 431


class BadBackup(InvalidInput):
    """A backup that is not whole, or in which something is not right."""

    code = "bad_backup"
    title = "Bad backup"

    def __init__(self, wrong: str) -> None:
        """Say what is wrong with it."""
        super().__init__(
            f"the backup can't be restored: {wrong}; take another copy of it, or "
            "another backup"
        )
        self.wrong = wrong


class RequestTimeout(St8Error):
    """The request did not arrive in time."""

    code = "request_timeout"
    title = "Request timeout"
    http_status = 408
    exit_code = 6
    retryable = True


# --- who asks may not --------------------------------------------------------


class Refused(St8Error):
    """Who asks may not do this."""

    code = "refused"
    title = "Refused"
    http_status = 403
    exit_code = 5


class Unauthenticated(Refused):
    """No token, or one that is not known."""

    code = "unauthenticated"
    title = "Unauthenticated"
    http_status = 401

    def __init__(self, problem: str) -> None:
        """Say what was wrong with the credentials, never what they were."""
        super().__init__(
            f"{problem}; send the header 'Authorization: Bearer <token>' "
            "(st8ctl: --token or server.token in its config file)"
        )


class Forbidden(Refused):
    """The token is known but may not do this."""

    code = "forbidden"
    title = "Forbidden"


class ExpectationRequired(Refused):
    """A write to this branch has to say which head it expects."""

    code = "expect_revision_required"
    title = "Expected revision required"
    http_status = 428
    namespace: str
    branch: str

    def __init__(self, namespace: str, branch: str) -> None:
        """Name the branch that asks for it."""
        super().__init__(
            f"branch {branch!r} of namespace {namespace!r} is protected: say which "
            "head you have looked at with expect_revision (st8ctl: --expect-revision)",
            namespace=namespace,
            branch=branch,
        )


# --- what was named is not there ---------------------------------------------


class NotFound(St8Error):
    """What was named is not there."""

    code = "not_found"
    title = "Not found"
    http_status = 404
    exit_code = 3


class RouteNotFound(NotFound):
    """No such path in the API."""

    code = "route_not_found"
    path: str

    def __init__(self, path: str) -> None:
        """Name the path."""
        super().__init__(
            f"there is nothing at {path!r}; /openapi.json lists every route", path=path
        )


class MethodNotAllowed(NotFound):
    """The path exists, but not with this method."""

    code = "method_not_allowed"
    title = "Method not allowed"
    http_status = 405
    exit_code = 7
    method: str
    path: str
    allowed: list[str]

    def __init__(self, method: str, path: str, allowed: Iterable[str]) -> None:
        """Name the methods that are allowed."""
        names = sorted(allowed)
        super().__init__(
            f"{path} does not take {method}; it takes {', '.join(names)}",
            method=method,
            path=path,
            allowed=names,
        )


class NothingApplied(NotFound):
    """The scope is empty because nothing was ever applied to it."""

    code = "nothing_applied"
    namespace: str
    branch: str

    def __init__(self, namespace: str, branch: str) -> None:
        """Name the scope, which may be mistyped."""
        super().__init__(
            f"nothing has been applied to namespace {namespace!r}, branch {branch!r} "
            "yet; check the names, or apply a first document",
            namespace=namespace,
            branch=branch,
        )


class NamespaceNotFound(NotFound):
    """No such namespace."""

    code = "namespace_not_found"
    namespace: str

    def __init__(self, namespace: str) -> None:
        """Name the namespace."""
        super().__init__(f"namespace {namespace!r} not found", namespace=namespace)


class BranchNotFound(NotFound):
    """No such branch in the namespace."""

    code = "branch_not_found"
    namespace: str
    branch: str

    def __init__(self, namespace: str, branch: str) -> None:
        """Name the branch and its namespace."""
        super().__init__(
            f"branch {branch!r} not found in namespace {namespace!r}",
            namespace=namespace,
            branch=branch,
        )


class CheckpointNotFound(NotFound):
    """No such checkpoint in the namespace."""

    code = "checkpoint_not_found"
    namespace: str
    checkpoint: str

    def __init__(self, namespace: str, checkpoint: str) -> None:
        """Name the checkpoint and its namespace."""
        super().__init__(
            f"checkpoint {checkpoint!r} not found in namespace {namespace!r}",
            namespace=namespace,
            checkpoint=checkpoint,
        )


class RevisionNotFound(NotFound):
    """No such revision in the branch's history."""

    code = "revision_not_found"
    namespace: str
    branch: str
    revision: int

    def __init__(self, namespace: str, branch: str, revision: int, why: str) -> None:
        """Name the revision and why this branch does not have it."""
        super().__init__(
            f"revision {revision} not found in namespace {namespace!r}, "
            f"branch {branch!r}: {why}",
            namespace=namespace,
            branch=branch,
            revision=revision,
        )


class NoRevisionAt(NotFound):
    """The branch had no revision yet at the time asked for."""

    code = "no_revision_at"
    namespace: str
    branch: str
    at: str

    def __init__(self, namespace: str, branch: str, at: str) -> None:
        """Name the branch and the time."""
        super().__init__(
            f"namespace {namespace!r}, branch {branch!r} had no revision at {at}; "
            "its history starts later",
            namespace=namespace,
            branch=branch,
            at=at,
        )


class RevisionCollected(NotFound):
    """The revision existed; garbage collection has removed it."""

    code = "revision_collected"
    title = "Revision collected"
    namespace: str
    revision: int

    def __init__(self, namespace: str, revision: int, detail: str = "") -> None:
        """Name the revision that is gone, and say so unless ``detail`` says more."""
        super().__init__(
            detail
            or f"revision {revision} of namespace {namespace!r} was removed by garbage "
            "collection; checkpoints and the newest revisions are kept",
            namespace=namespace,
            revision=revision,
        )


class KeyNotFound(NotFound):
    """The state has no document with this key."""

    code = "key_not_found"
    key: str
    revision: int

    def __init__(self, key: str, revision: int) -> None:
        """Name the key and the revision that lacks it."""
        super().__init__(
            f"key {key!r} not found at revision {revision}", key=key, revision=revision
        )


# --- the store has moved on --------------------------------------------------


class Conflict(St8Error):
    """The store is not as the request expects; nothing was changed."""

    code = "conflict"
    title = "Conflict"
    http_status = 409
    exit_code = 4


class HeadMoved(Conflict):
    """The branch head is not the revision that was expected."""

    code = "head_moved"
    namespace: str
    branch: str
    expected: int
    actual: int

    def __init__(self, namespace: str, branch: str, expected: int, actual: int) -> None:
        """Name the scope, what was expected and where the head is."""
        super().__init__(
            f"the head of namespace {namespace!r}, branch {branch!r} is revision "
            f"{actual}, not {expected}; look at what changed and try again",
            namespace=namespace,
            branch=branch,
            expected=expected,
            actual=actual,
        )


class NotReached(Conflict):
    """The branch has not come to the revision that a read asks for at least."""

    code = "revision_not_reached"
    title = "Precondition failed"
    http_status = 412
    namespace: str
    branch: str
    revision: int

    def __init__(self, namespace: str, branch: str, revision: int) -> None:
        """Name the scope and the revision that was asked for."""
        super().__init__(
            f"namespace {namespace!r}, branch {branch!r} has not come to revision "
            f"{revision}; try again, wait for it, or ask for an older one",
            namespace=namespace,
            branch=branch,
            revision=revision,
        )


class BranchExists(Conflict):
    """A branch of this name exists."""

    code = "branch_exists"
    namespace: str
    branch: str

    def __init__(self, namespace: str, branch: str) -> None:
        """Name the branch."""
        super().__init__(
            f"branch {branch!r} already exists in namespace {namespace!r}",
            namespace=namespace,
            branch=branch,
        )


class CheckpointExists(Conflict):
    """A checkpoint of this name exists and points elsewhere."""

    code = "checkpoint_exists"
    namespace: str
    checkpoint: str
    revision: int

    def __init__(self, namespace: str, checkpoint: str, revision: int) -> None:
        """Name the checkpoint and where it points."""
        super().__init__(
            f"checkpoint {checkpoint!r} already exists in namespace {namespace!r} at "
            f"revision {revision}; choose another name, or replace it explicitly",
            namespace=namespace,
            checkpoint=checkpoint,
            revision=revision,
        )


class NamespaceExists(Conflict):
    """A namespace of a backup is there already."""

    code = "namespace_exists"
    title = "Namespace exists"
    namespace: str

    def __init__(self, namespace: str) -> None:
        """Name the namespace."""
        super().__init__(
            f"namespace {namespace!r} is there already, and a backup is never restored "
            "over what is there; restore it into a store that does not have it",
            namespace=namespace,
        )


class BeingRestored(Conflict):
    """A namespace is kept free, as a backup is restored into it."""

    code = "being_restored"
    title = "Being restored"
    namespace: str

    def __init__(self, namespace: str) -> None:
        """Name the namespace."""
        super().__init__(
            f"a backup is being restored into namespace {namespace!r}: wait until that "
            "is done; if it was broken off, begin it again, or collect garbage to give "
            "it up",
            namespace=namespace,
        )


class OtherHistory(Conflict):
    """The base of a backup is not of the history that is in the store."""

    code = "other_history"
    title = "Other history"
    namespace: str

    def __init__(self, namespace: str, revision: int) -> None:
        """Name the revision that is another one, or not there."""
        super().__init__(
            f"the base is not of this history: its revision {revision} of namespace "
            f"{namespace!r} is not the one that is here; take a base that was made "
            "from this store, or make a backup without one",
            namespace=namespace,
            revision=revision,
        )


class Overtaken(Conflict):
    """Something that takes long was overtaken, and has to be begun again."""

    code = "overtaken"
    title = "Overtaken"


class ContentRedacted(Conflict):
    """What should become current again was redacted."""

    code = "content_redacted"
    key: str


class ContentInUse(Conflict):
    """What should be redacted is current somewhere."""

    code = "content_in_use"
    key: str


class IdempotencyMismatch(Conflict):
    """The idempotency key was used for a different request."""

    code = "idempotency_mismatch"

    def __init__(self) -> None:
        """Say what a key is for."""
        super().__init__(
            "this idempotency key was already used for a different request; use a "
            "new key for each new change"
        )


# --- not now -----------------------------------------------------------------


class Unavailable(St8Error):
    """It can't be done now; the same request may succeed later."""

    code = "unavailable"
    title = "Unavailable"
    http_status = 503
    exit_code = 6
    retryable = True


class Overloaded(Unavailable):
    """Too many requests wait already; this one was not begun."""

    code = "overloaded"
    title = "Overloaded"


class RateLimited(Unavailable):
    """Whoever asks has sent too many requests; this one was not begun."""

    code = "rate_limited"
    title = "Too many requests"
    http_status = 429
    name: str
    retry_after: int

    def __init__(self, name: str, per_s: float, retry_after: int) -> None:
        """Say how many are allowed, and in how many seconds one will be."""
        who = repr(name) if name else "this address"
        super().__init__(
            f"{who} has sent more than the {per_s:g} requests a second that it may; "
            f"this one was not begun. Try again in {retry_after} s",
            name=name,
            retry_after=retry_after,
        )


class ShuttingDown(Unavailable):
    """The daemon is stopping; this request was not begun."""

    code = "shutting_down"
    title = "Shutting down"

    def __init__(self, detail: str = "") -> None:
        """Say that nothing was done, unless ``detail`` says more."""
        super().__init__(
            detail or "the daemon is shutting down and did not begin this; try again"
        )


class Unreachable(Unavailable):
    """No connection to the daemon could be made."""

    code = "unreachable"
    title = "Unreachable"


class TimedOut(Unavailable):
    """A read got no answer in time."""

    code = "timed_out"
    title = "Timed out"


class AuditUnavailable(Unavailable):
    """What is done can't be recorded, so nothing is done."""

    code = "audit_unavailable"
    title = "Audit unavailable"


class OutcomeUnknown(Unavailable):
    """A write was sent, or a commit begun, and its end is not known."""

    code = "outcome_unknown"
    title = "Outcome unknown"
    exit_code = 8
    outcome = "unknown"


class StorageFull(Unavailable):
    """The store has no space left; nothing was changed."""

    code = "storage_full"
    title = "Storage full"
    http_status = 507


class StorageFailed(Unavailable):
    """The store failed; nothing was changed."""

    code = "storage_failed"
    title = "Storage failed"


class StoreFenced(Unavailable):
    """A write to disk failed earlier, so the store refuses writes until reopened."""

    code = "store_fenced"
    title = "Store fenced"
    retryable = False

    def __init__(self, cause: str) -> None:
        """Name what failed."""
        super().__init__(
            f"writes are refused since the store failed ({cause}); check the disk, "
            "then restart st8d. Reads go on",
            cause=cause,
        )


class StateDirectoryInUse(St8Error):
    """Another process holds the state directory."""

    code = "state_directory_in_use"
    title = "State directory in use"
    http_status = 503
    exit_code = 6


class NewerFormat(St8Error):
    """The store was written by a newer st8."""

    code = "newer_format"
    title = "Newer format"
    http_status = 503


class Corrupt(St8Error):
    """Stored bytes do not match their digest; they are not served."""

    code = "corrupt"
    title = "Corrupt"


class InternalError(St8Error):
    """A fault of st8 itself."""

    code = "internal_error"
    title = "Internal error"


# The class for a status is the first of the tree that answers with it.
for _cls in CLASSES.values():
    BY_STATUS.setdefault(_cls.http_status, _cls)
