"""st8: configuration and operational state, versioned.

::

    from st8 import Client

    with Client("http://127.0.0.1:8748", namespace="payments/prod") as client:
        client.apply({"config.json": text})

This package holds the public names and nothing else. Each is loaded when it is
first used, so that ``import st8`` costs next to nothing. Everything that goes
wrong is a :class:`St8Error`; ``st8.core.errors`` draws their tree.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from st8.client import (
        AsyncClient,
        BackupRestored,
        Branch,
        Checkpoint,
        Client,
        Collected,
        CollectedNamespace,
        CollectedRange,
        Diff,
        LiveState,
        LogEntry,
        LogPage,
        NamespaceInfo,
        Place,
        Redacted,
        ResyncEvent,
        RevisionEvent,
        Select,
        ServerVersion,
        State,
        StatePage,
        Watch,
        WatchEvent,
        Written,
        moment_of,
    )
    from st8.core.documents import Change, Document
    from st8.core.errors import (
        AuditUnavailable,
        BadBackup,
        BeingRestored,
        BranchExists,
        BranchNotFound,
        CheckpointExists,
        CheckpointNotFound,
        Conflict,
        ContentInUse,
        ContentRedacted,
        Corrupt,
        ExpectationRequired,
        Forbidden,
        HeaderTooLarge,
        HeadMoved,
        IdempotencyMismatch,
        InternalError,
        InvalidInput,
        InvalidValue,
        KeyNotFound,
        LimitExceeded,
        MalformedRequest,
        MethodNotAllowed,
        NamespaceExists,
        NamespaceNotFound,
        NewerFormat,
        NoRevisionAt,
        NotFound,
        NothingApplied,
        NotReached,
        OtherHistory,
        OutcomeUnknown,
        Overloaded,
        Overtaken,
        RateLimited,
        Refused,
        RequestTimeout,
        RevisionCollected,
        RevisionNotFound,
        RouteNotFound,
        ShuttingDown,
        St8Error,
        StateDirectoryInUse,
        StorageFailed,
        StorageFull,
        StoreFenced,
        TimedOut,
        Unauthenticated,
        Unavailable,
        UnknownField,
        Unreachable,
        UnsupportedMedia,
    )

__version__ = "0.1.0"

__all__ = [
    "AsyncClient",
    "AuditUnavailable",
    "BackupRestored",
    "BadBackup",
    "BeingRestored",
    "Branch",
    "BranchExists",
    "BranchNotFound",
    "Change",
    "Checkpoint",
    "CheckpointExists",
    "CheckpointNotFound",
    "Client",
    "Collected",
    "CollectedNamespace",
    "CollectedRange",
    "Conflict",
    "ContentInUse",
    "ContentRedacted",
    "Corrupt",
    "Diff",
    "Document",
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
    "LiveState",
    "LogEntry",
    "LogPage",
    "MalformedRequest",
    "MethodNotAllowed",
    "NamespaceExists",
    "NamespaceInfo",
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
    "Place",
    "RateLimited",
    "Redacted",
    "Refused",
    "RequestTimeout",
    "ResyncEvent",
    "RevisionCollected",
    "RevisionEvent",
    "RevisionNotFound",
    "RouteNotFound",
    "Select",
    "ServerVersion",
    "ShuttingDown",
    "St8Error",
    "State",
    "StateDirectoryInUse",
    "StatePage",
    "StorageFailed",
    "StorageFull",
    "StoreFenced",
    "TimedOut",
    "Unauthenticated",
    "Unavailable",
    "UnknownField",
    "Unreachable",
    "UnsupportedMedia",
    "Watch",
    "WatchEvent",
    "Written",
    "__version__",
    "moment_of",
]

if not TYPE_CHECKING:  # else a name that does not exist would pass as anything

    def __getattr__(name: str) -> object:
        """Load a public name from where it lives, and keep it.

        Raises:
            AttributeError: It is not a public name.
        """
        from importlib import import_module

        if name in __all__:
            for home in ("st8.core.errors", "st8.core.documents", "st8.client"):
                module = import_module(home)
                if name in module.__all__:
                    value = globals()[name] = getattr(module, name)
                    return value
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

    def __dir__() -> list[str]:
        """List the public names, loaded or not."""
        return sorted({*globals(), *__all__})
