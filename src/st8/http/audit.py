"""The audit log: who did what to which scope from where, and how it ended.

One JSON object a line for every request to an operation that needs permission,
allowed or refused, written before the answer is sent. So nobody hears of a change
that the log does not have. Lines have names and numbers only: no contents, no keys,
no messages, no tokens. Where a line can't be written nothing more is done: requests
are refused until it can.
"""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec

from st8.core.errors import AuditUnavailable, Unavailable
from st8.core.revisions import format_time
from st8.engine.requests import (
    Apply,
    CreateBranch,
    DeleteCheckpoint,
    PutCheckpoint,
    Reset,
    Selector,
)
from st8.http.plans import CollectPlan, RedactPlan, RefPlan, WritePlan

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Self

    from st8.auth.access import Principal
    from st8.core.errors import St8Error
    from st8.core.ports import Clock
    from st8.http.operations import Operation
    from st8.http.plans import Plan

__all__ = ["STDOUT", "AuditLog"]

STDOUT: Final = "-"
_MODE: Final = 0o600
_ENCODER: Final = msgspec.json.Encoder(enc_hook=str)


class AuditLog:
    """Writes audit lines to a file or to standard output; from any thread.

    A line is with the operating system when :meth:`record` returns, so it survives
    the end of the process; it is not synced to the disk.
    """

    def __init__(self, target: str, clock: Clock) -> None:
        """Write to the file ``target``, or to standard output if it is ``-``.

        The file is made if it is not there, for its owner alone, and added to.

        Raises:
            Unavailable: It can't be opened.
        """
        self._target = target
        self._clock = clock
        self._lock = threading.Lock()
        self._unwritten = b""
        self._file = self._open()

    @classmethod
    def open(cls, target: str, clock: Clock) -> Self:
        """Return the audit log at ``target``."""
        return cls(target, clock)

    def reopen(self) -> None:
        """Open the file anew, after it was renamed by whoever rotates it.

        Raises:
            Unavailable: It can't be; lines go on where they went.
        """
        opened = self._open()
        with self._lock:
            old, self._file = self._file, opened
        os.close(old)

    def close(self) -> None:
        """Close the file."""
        os.close(self._file)

    def ensure(self) -> None:
        """Return if everything recorded so far is written.

        Raises:
            AuditUnavailable: It is not, and still can't be.
        """
        if self._unwritten:
            self._write(b"")

    def record(
        self,
        operation: Operation,
        principal: Principal | None,
        plan: Plan | None,
        connection: Mapping[str, Any],
        *,
        status: int,
        error: St8Error | None = None,
        revision: int | None = None,
    ) -> None:
        """Write a line.

        Args:
            operation: What was asked for.
            principal: Who asked; None if that could not be told.
            plan: The particulars; None if they could not be read.
            connection: The ASGI connection scope.
            status: The status that is answered.
            error: Why it was not done.
            revision: The head after a write.

        Raises:
            AuditUnavailable: It could not be written; it will be, with the next.
        """
        line: dict[str, object] = {
            "time": format_time(self._clock.now_ns()),
            "who": "" if principal is None else principal.name,
            "method": "none" if principal is None else principal.method,
            "from": _address(connection),
            "operation": operation.name,
            "verb": operation.verb,
        }
        if plan is not None:
            line |= _place(plan) | _particulars(plan)
        line["outcome"] = _outcome(error)
        line["status"] = status
        if error is not None:
            line["code"] = error.code
        if revision is not None:
            line["revision"] = revision
        self._write(_ENCODER.encode(line) + b"\n")

    def _open(self) -> int:
        if self._target == STDOUT:
            return os.dup(1)
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        try:
            return os.open(Path(self._target), flags, _MODE)
        except OSError as error:
            raise Unavailable(
                f"can't open the audit log {self._target!r}: {error.strerror}; choose "
                "a file that st8d can write"
            ) from None

    def _write(self, line: bytes) -> None:
        with self._lock:
            # What a failed write has not taken comes first, so no line is torn.
            self._unwritten += line
            try:
                while self._unwritten:
                    written = os.write(self._file, self._unwritten)
                    self._unwritten = self._unwritten[written:]
            except OSError as error:
                cause = error.strerror or str(error)
                raise AuditUnavailable(
                    f"the audit log can't be written ({cause}), so nothing is done; "
                    "see that st8d can write it"
                ) from None


def _address(connection: Mapping[str, Any]) -> str:
    client = connection.get("client")
    if not client:
        return "unix"
    host, port = client
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _place(plan: Plan) -> dict[str, object]:
    """Return what is asked for: a scope or several, and branches only read."""
    place: dict[str, object] = {}
    sources = [reach.branch for reach in plan.reach if reach.verb == "read"]
    if sources:
        place["reads"] = sources
    scopes = [
        {"namespace": reach.namespace}
        if reach.branch is None
        else {"namespace": reach.namespace, "branch": reach.branch}
        for reach in plan.reach
        if reach.verb is None and reach.namespace is not None
    ]
    if len(scopes) > 1:
        return {**place, "scopes": scopes}
    return place | scopes[0] if scopes else place


def _particulars(plan: Plan) -> dict[str, object]:
    """Return what tells one request of an operation from another."""
    found: dict[str, object] = {}
    if isinstance(plan, CollectPlan):
        if plan.retention is not None:
            found["retention"] = plan.retention.text
        found["dry_run"] = plan.dry_run
    elif isinstance(plan, RedactPlan):
        found["target"] = _selector(plan.request.source)
        found["author"] = plan.request.author
        found["dry_run"] = plan.request.dry_run
    elif isinstance(plan, WritePlan | RefPlan):
        request = plan.request
        if isinstance(request, Apply):
            found["puts"] = len(request.documents)
            found["deletes"] = len(request.deletes)
        if isinstance(request, Apply | Reset):
            found["author"] = request.author
            found["dry_run"] = request.dry_run
        if isinstance(request, CreateBranch | PutCheckpoint | DeleteCheckpoint):
            found["name"] = request.name
        if isinstance(request, Reset):
            found["target"] = _selector(request.target)
        if isinstance(request, CreateBranch | PutCheckpoint):
            found["target"] = _selector(request.source)
    return found


def _selector(selector: Selector) -> dict[str, object]:
    given = {
        "revision": selector.revision,
        "checkpoint": selector.checkpoint,
        "at": None if selector.at_ns is None else format_time(selector.at_ns),
        "branch": selector.branch,
    }
    return {name: value for name, value in given.items() if value is not None}


def _outcome(error: St8Error | None) -> str:
    if error is None:
        return "allowed"
    if error.http_status in {401, 403, 428}:
        return "refused"
    return "unknown" if error.outcome == "unknown" else "failed"
