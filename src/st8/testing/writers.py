"""Clients that write without a pause, until the daemon is gone."""

from __future__ import annotations

import threading
from http import HTTPStatus
from http.client import HTTPException
from typing import TYPE_CHECKING, Any, Final, Protocol
from urllib.parse import urlencode

from st8.testing.checker import Read
from st8.testing.child import call
from st8.testing.ledger import Attempt

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from http.client import HTTPConnection
    from random import Random  # noqa: TID251 - is handed one

    from st8.testing.ledger import Kind, Ledger

__all__ = ["BRANCHES", "NAMESPACES", "RETRIES", "ROUTES", "Outage", "Serves", "Writer"]

# Names that would alias if they were ever joined with a slash.
NAMESPACES: Final = ("rig", "rig/main", "rig/a/b")
BRANCHES: Final = ("main", "main/x", "a/b")
_KEYS: Final = tuple(f"services/service-{number:02d}.yaml" for number in range(24))
ROUTES: Final = {
    "apply": "/v1/apply",
    "rollback": "/v1/rollback",
    "restore": "/v1/restore",
    "branch": "/v1/branches",
    "checkpoint": "/v1/checkpoints",
}
RETRIES: Final = 0.5
"""The share of unanswered writes that are sent again, with the same key."""
_READS: Final = 0.08
_DELETES: Final = 0.2
# Of the writes, the share of each kind.
_KINDS: Final[dict[Kind, float]] = {
    "apply": 0.80,
    "rollback": 0.07,
    "restore": 0.05,
    "branch": 0.03,
    "checkpoint": 0.05,
}


_PAUSE_S: Final = 0.01
"""Before the next daemon, so that nobody knocks all the time at one that is gone."""


class Serves(Protocol):
    """A daemon that can be talked to."""

    def connect(self) -> HTTPConnection:
        """Return a connection to it, which connects when first used."""
        ...


class Outage(Exception):
    """The daemon says that its store does not answer."""


class Writer:
    """One client on one keep-alive connection.

    What it does is decided by its chance alone, as far as the answers are the same.
    """

    def __init__(
        self,
        name: str,
        chance: Random,
        ledger: Ledger,
        scopes: Sequence[tuple[str, str]] = (),
        *,
        kinds: Collection[Kind] = tuple(_KINDS),
    ) -> None:
        """Make a client that writes into ``ledger`` what it does.

        To ``scopes``, or else to some branches of some namespaces and to those that
        are made on the way. Its writes are of ``kinds``.
        """
        self._scopes = scopes
        self._kinds: dict[Kind, float] = {kind: _KINDS[kind] for kind in kinds}
        self._name = name
        self._chance = chance
        self._ledger = ledger
        self._count = 0
        self._unanswered: Attempt | None = None
        self._thread: threading.Thread | None = None

    def start(self, daemon: Serves) -> None:
        """Write to ``daemon`` from now on, in a thread of its own."""
        self._thread = threading.Thread(
            target=self._run, args=(daemon.connect(),), name=self._name
        )
        self._thread.start()

    def join(self) -> None:
        """Wait until the daemon's end has reached the client."""
        if self._thread is not None:
            self._thread.join()

    def roam(self, daemons: Sequence[Serves], done: threading.Event) -> None:
        """Write until ``done``, in a thread of its own.

        To one of ``daemons``, which may be exchanged meanwhile; and to another one
        once that is gone or its store does not answer.
        """

        def run() -> None:
            while not done.is_set():
                self._run(self._chance.choice(daemons).connect(), done)
                done.wait(_PAUSE_S)

        self._thread = threading.Thread(target=run, name=self._name)
        self._thread.start()

    def _run(
        self, connection: HTTPConnection, done: threading.Event | None = None
    ) -> None:
        try:
            connection.connect()
            while done is None or not done.is_set():
                self._step(connection)
        except (OSError, HTTPException, Outage):
            pass  # the daemon is gone; what was not answered stays unknown
        finally:
            connection.close()

    def _step(self, connection: HTTPConnection) -> None:
        attempt, self._unanswered = self._unanswered, None
        again = attempt is not None and attempt.revises
        if attempt is not None and again and self._chance.random() < RETRIES:
            self._send(connection, attempt)
        elif self._chance.random() < _READS:
            self._read(connection)
        else:
            self._send(connection, self._next())

    def _send(self, connection: HTTPConnection, attempt: Attempt) -> None:
        self._ledger.begin(attempt)
        self._unanswered = attempt
        headers = {"Idempotency-Key": attempt.name} if attempt.revises else {}
        route = ROUTES[attempt.kind]
        status, answer = call(connection, "POST", route, attempt.body, headers)
        self._ledger.end(attempt, status, answer)
        if self._ledger.is_outage(status):
            raise Outage
        self._unanswered = None

    def _read(self, connection: HTTPConnection) -> None:
        namespace, branch = self._scope()
        query = urlencode({"namespace": namespace, "branch": branch})
        called_ns = self._ledger.now_ns()
        status, answer = call(connection, "GET", f"/v1/state?{query}")
        self._saw(namespace, branch, called_ns, status, answer)

    def _saw(
        self, namespace: str, branch: str, called_ns: int, status: int, answer: Any
    ) -> None:
        """Note the answer to a read of a branch's state.

        Raises:
            Outage: It is none.
        """
        if self._ledger.is_outage(status):
            raise Outage
        if status != HTTPStatus.OK:
            self._ledger.faults.append(f"a read was answered {status}: {answer}")
            return
        self._ledger.saw(
            Read(
                namespace,
                branch,
                answer["revision"],
                called_ns,
                self._ledger.now_ns(),
                answer["objects"],
                name=f"read by {self._name}",
            )
        )

    # --- what to write ---------------------------------------------------------

    def _scope(self) -> tuple[str, str]:
        if self._scopes:
            return self._chance.choice(self._scopes)
        namespace = self._chance.choice(NAMESPACES)
        known = [*BRANCHES, *self._ledger.branches(namespace)]
        return namespace, self._chance.choice(known)

    def _next(self) -> Attempt:
        """Return the next write."""
        self._count += 1
        name = f"{self._name}-{self._count}"
        namespace, branch = self._scope()
        revisions = self._ledger.revisions(namespace, branch)
        [kind] = self._chance.choices(list(self._kinds), list(self._kinds.values()))
        if not revisions or kind == "apply":
            return self._apply(name, namespace, branch)
        source = self._chance.choice(revisions)
        scope = {"namespace": namespace, "branch": branch}
        body: dict[str, Any]
        if kind == "rollback":
            body = {"scope": scope, "revision_id": source, "message": name}
        elif kind == "restore":
            body = {
                "scope": {**scope, "branch": self._chance.choice(BRANCHES)},
                "from_branch": branch,
                "from_revision": source,
                "message": name,
            }
        elif kind == "branch":
            body = {"scope": scope, "name": name, "from_revision": source}
        else:
            body = {"scope": scope, "name": name, "revision": source}
        where = body["scope"]["branch"]
        return Attempt(name, kind, namespace, where, body, source=source)

    def _apply(self, name: str, namespace: str, branch: str) -> Attempt:
        edits: dict[str, str | None] = {}
        for key in self._chance.sample(_KEYS, self._chance.randint(1, 4)):
            filling = "x" * self._chance.randrange(200)
            content = f"written by {name}\n{filling}\n"
            edits[key] = None if self._chance.random() < _DELETES else content
        body: dict[str, Any] = {
            "scope": {"namespace": namespace, "branch": branch},
            "documents": [
                {"key": key, "content": content}
                for key, content in edits.items()
                if content is not None
            ],
            "deletes": [key for key, content in edits.items() if content is None],
            "message": name,
            "author": self._name,
            "changes": "none",
        }
        return Attempt(name, "apply", namespace, branch, body, edits)
