"""Clients that know which worker of a daemon they are connected to."""

from __future__ import annotations

import json
import time
from http.client import HTTPConnection, HTTPException
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Self

from st8.core.errors import St8Error

if TYPE_CHECKING:
    from collections.abc import Mapping

    from st8.core.ids import Scope
    from st8.engine.requests import Apply
    from tests.daemon.process import Daemon

__all__ = ["Connected", "Gone", "one_of_each"]

_PATIENCE_S: Final = 60.0


class Gone(St8Error):
    """The connection broke before the answer came."""

    outcome = "unknown"


class _Applied(NamedTuple):
    number: int


class _State(NamedTuple):
    number: int
    documents: Mapping[str, str]

    def items(self) -> list[tuple[str, bytes]]:
        """Return all documents."""
        return [(key, content.encode()) for key, content in self.documents.items()]


class Connected:
    """A keep-alive connection that can be asked as an engine can.

    Connects anew when it is broken, to whichever worker accepts.
    """

    def __init__(self, daemon: Daemon, token: str | None = None) -> None:
        self.token = token
        self._daemon = daemon
        self._connection = HTTPConnection("127.0.0.1", daemon.port, timeout=60)

    def call(
        self, method: str, target: str, body: object = None
    ) -> tuple[int, dict[str, Any]]:
        """Return status and body of an answer.

        Raises:
            Gone: None came.
        """
        data = None if body is None else json.dumps(body).encode()
        headers = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        try:
            self._connection.request(method, target, data, headers)
            answer = self._connection.getresponse()
            text = answer.read()
        except (OSError, HTTPException) as error:
            self._connection.close()
            raise Gone(str(error)) from None
        return answer.status, json.loads(text) if text.startswith(b"{") else {}

    def apply(self, request: Apply) -> _Applied:
        """See :meth:`st8.engine.engine.Engine.apply`."""
        body = {
            "scope": request.scope._asdict(),
            "documents": [
                {"key": document.key, "content": document.content}
                for document in request.documents
            ],
        }
        status, answer = self.call("POST", "/v1/apply", body)
        assert 200 == status, answer
        return _Applied(answer["revision"])

    def state(self, at: Scope) -> _State:
        """See :meth:`st8.engine.engine.Engine.state`."""
        status, answer = self.call(
            "GET", f"/v1/state?namespace={at.namespace}&branch={at.branch}"
        )
        assert 200 == status, answer
        return _State(answer["revision"], answer["objects"])

    def worker(self) -> int:
        """Return the number of the worker at the other end, as its log tells."""
        self.call("GET", "/healthz")
        host, port = self._connection.sock.getsockname()
        deadline = time.monotonic() + _PATIENCE_S
        while True:
            for event in reversed(self._daemon.events()):
                if event.get("remote") == f"{host}:{port}":
                    number: int = event["worker"]
                    return number
            assert time.monotonic() < deadline, self._daemon.lines
            time.sleep(0.005)

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def one_of_each(
    daemon: Daemon, number: int = 2, token: str | None = None
) -> list[Connected]:
    """Return a connection to each worker, in the order of their numbers."""
    found: dict[int, Connected] = {}
    deadline = time.monotonic() + _PATIENCE_S
    while len(found) < number:
        assert time.monotonic() < deadline, f"only {set(found)} accept"
        made = Connected(daemon, token)
        if found.setdefault(made.worker(), made) is not made:
            made.close()
    return [found[n] for n in sorted(found)]
