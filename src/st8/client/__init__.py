"""The library: a typed client for every operation of the daemon.

``_core`` says what each operation sends and how its answer is read, and ``_retry``
what a failed attempt means, both without any I/O; ``_transport`` and
``_connection`` do the I/O, with the standard library. ``_async`` is the same client
for event loops, whose I/O ``_async_connection`` does with httpx. What a watch receives
is read in ``_events``, ``_watch`` follows it, and ``_live`` keeps a copy by it. What only
some programs use is loaded when it is first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from st8.client._results import (
    BackupRestored,
    Branch,
    Checkpoint,
    Collected,
    CollectedNamespace,
    CollectedRange,
    Diff,
    LogEntry,
    LogPage,
    NamespaceInfo,
    Place,
    Redacted,
    ServerVersion,
    State,
    StatePage,
    Written,
    moment_of,
)
from st8.client._selection import Select
from st8.client._sync import Client

if TYPE_CHECKING:
    from st8.client._async import AsyncClient
    from st8.client._events import ResyncEvent, RevisionEvent, WatchEvent
    from st8.client._live import LiveState
    from st8.client._watch import Watch

__all__ = [
    "AsyncClient",
    "BackupRestored",
    "Branch",
    "Checkpoint",
    "Client",
    "Collected",
    "CollectedNamespace",
    "CollectedRange",
    "Diff",
    "LiveState",
    "LogEntry",
    "LogPage",
    "NamespaceInfo",
    "Place",
    "Redacted",
    "ResyncEvent",
    "RevisionEvent",
    "Select",
    "ServerVersion",
    "State",
    "StatePage",
    "Watch",
    "WatchEvent",
    "Written",
    "moment_of",
]

_HOMES = {
    "AsyncClient": "st8.client._async",
    "LiveState": "st8.client._live",
    "ResyncEvent": "st8.client._events",
    "RevisionEvent": "st8.client._events",
    "Watch": "st8.client._watch",
    "WatchEvent": "st8.client._events",
}

if not TYPE_CHECKING:  # else a name that does not exist would pass as anything

    def __getattr__(name: str) -> object:
        """Load what only some programs use, and keep it.

        Raises:
            AttributeError: It is not a public name.
        """
        home = _HOMES.get(name)
        if home is not None:
            from importlib import import_module  # noqa: PLC0415 - start-up time

            value: object = getattr(import_module(home), name)
            globals()[name] = value
            return value
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
