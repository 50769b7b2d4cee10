"""The library: a typed client for every operation of the daemon.

``_core`` says what each operation sends and how its answer is read, and ``_retry``
what a failed attempt means, both without any I/O; ``_transport`` and
``_connection`` do the I/O, with the standard library.
"""

from __future__ import annotations

from st8.client._results import (
    Branch,
    Checkpoint,
    Collected,
    Diff,
    LogEntry,
    LogPage,
    NamespaceInfo,
    ServerVersion,
    State,
    StatePage,
    Written,
    moment_of,
)
from st8.client._selection import Select
from st8.client._sync import Client

__all__ = [
    "Branch",
    "Checkpoint",
    "Client",
    "Collected",
    "Diff",
    "LogEntry",
    "LogPage",
    "NamespaceInfo",
    "Select",
    "ServerVersion",
    "State",
    "StatePage",
    "Written",
    "moment_of",
]
