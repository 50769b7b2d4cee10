"""Calls the app as a server would, in the process, over the memory store."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from st8.engine.engine import Engine
from st8.http.app import App, create_app
from st8.store.memory import MemoryStore
from st8.testing.clock import SECOND_NS, FakeClock
from st8.testing.simnet import scope_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Iterable

    from st8.auth.access import Authoriser
    from st8.core.ports import Store
    from st8.http.audit import AuditLog

T = TypeVar("T")

VERSION = "1.2.3"
TOKEN = "open-sesame"
FIRST_NS = 1_767_225_601 * SECOND_NS  # the first write is at 2026-01-01T00:00:01Z


class CutShortError(Exception):
    """The app left a response unfinished; a server would drop the connection."""


class Answer(NamedTuple):
    """A whole response."""

    status: int
    headers: dict[str, str]
    body: bytes
    chunks: int

    @property
    def json(self) -> Any:
        """The body, decoded."""
        return json.loads(self.body)

    @property
    def code(self) -> str:
        """The code of a problem."""
        return str(self.json["code"])


class Api:
    """A client of one app; calls run on an event loop of its own."""

    def __init__(self, store: Store | None = None, *, token: str | None = None) -> None:
        self.clock = FakeClock(FIRST_NS, tick_ns=SECOND_NS)
        self.engine = Engine(store or MemoryStore(), self.clock)
        self.app: App = create_app(self.engine, token=token, version=VERSION)
        self.runner = asyncio.Runner()
        self.token = token

    def close(self) -> None:
        """Stop everything."""
        self.runner.close()
        self.app.close()
        self.engine.close()

    def serve(
        self, authoriser: Authoriser | None = None, audit: AuditLog | None = None
    ) -> None:
        """Go on with the same engine and another policy."""
        self.app.close()
        self.app = create_app(
            self.engine, version=VERSION, authoriser=authoriser, audit=audit
        )

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine on this client's loop."""
        return self.runner.run(work)

    def get(self, target: str, **headers: str) -> Answer:
        """GET a target."""
        return self.call("GET", target, None, **headers)

    def post(self, target: str, body: object = None, **headers: str) -> Answer:
        """POST a JSON value, or bytes as they are."""
        return self.call("POST", target, {} if body is None else body, **headers)

    def delete(self, target: str, body: object) -> Answer:
        """DELETE with a JSON body."""
        return self.call("DELETE", target, body)

    def call(
        self, method: str, target: str, body: object = None, **headers: str
    ) -> Answer:
        """Make one request; underscores in header names stand for dashes."""
        fields = [
            (name.replace("_", "-").encode(), value.encode())
            for name, value in headers.items()
        ]
        if self.token is not None and "authorization" not in headers:
            fields.append((b"authorization", f"Bearer {self.token}".encode()))
        if body is None:
            data = b""
        else:
            data = body if isinstance(body, bytes) else json.dumps(body).encode()
        return self.run(exchange(self.app, method, target, [data], fields))

    def apply(self, documents: dict[str, str], **fields: object) -> Any:
        """Apply documents to default/main, or to the scope given."""
        listed = [{"key": k, "content": v} for k, v in documents.items()]
        answer = self.post("/v1/apply", {"documents": listed, **fields})
        assert 200 == answer.status, answer.body
        return answer.json

    def state(self, query: str = "") -> Any:
        """Return a state's JSON."""
        answer = self.get(f"/v1/state?{query}" if query else "/v1/state")
        assert 200 == answer.status, answer.body
        return answer.json


async def exchange(
    app: Callable[..., Awaitable[None]],
    method: str,
    target: str,
    body: Iterable[bytes] = (b"",),
    headers: Iterable[tuple[bytes, bytes]] = (),
    *,
    http_version: str = "1.1",
) -> Answer:
    """Call the app once and return its whole response.

    Raises:
        CutShortError: It ended without a whole one, as the app does where it can't
            say any more that something went wrong.
    """
    parts = list(body)
    scope = connection(method, target, headers, http_version)
    scope["headers"].append((b"content-length", b"%d" % sum(map(len, parts))))
    gone = asyncio.Event()

    async def receive() -> dict[str, Any]:
        if parts:
            part = parts.pop(0)
            return {"type": "http.request", "body": part, "more_body": bool(parts)}
        await gone.wait()
        return {"type": "http.disconnect"}

    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)
        await asyncio.sleep(0)

    try:
        await app(scope, receive, send)
    except Exception as error:
        raise CutShortError from error
    if not sent or sent[-1].get("more_body", False):
        raise CutShortError
    return Answer(
        sent[0]["status"],
        {name.decode(): value.decode() for name, value in sent[0]["headers"]},
        b"".join(message["body"] for message in sent[1:]),
        len(sent) - 1,
    )


async def nothing_comes() -> dict[str, Any]:
    """Receive from a client that is there and says nothing more."""
    await asyncio.Event().wait()
    return {"type": "http.disconnect"}


def connection(
    method: str,
    target: str,
    headers: Iterable[tuple[bytes, bytes]] = (),
    http_version: str = "1.1",
) -> dict[str, Any]:
    """Return the ASGI scope of a request."""
    scope = scope_of(method, target, b"", {})
    return {**scope, "headers": list(headers), "http_version": http_version}


def subset(expected: object, actual: object, path: str = "$") -> list[str]:
    """Return where ``actual`` lacks something of ``expected``; more is welcome."""
    if isinstance(expected, dict) and isinstance(actual, dict):
        found: list[str] = []
        for name, value in expected.items():
            if name not in actual:
                found.append(f"{path}.{name} is missing")
            else:
                found += subset(value, actual[name], f"{path}.{name}")
        return found
    if isinstance(expected, list) and isinstance(actual, list):
        if len(expected) != len(actual):
            return [f"{path} has {len(actual)} items, not {len(expected)}"]
        return [
            line
            for n, (one, other) in enumerate(zip(expected, actual, strict=True))
            for line in subset(one, other, f"{path}[{n}]")
        ]
    return [] if expected == actual else [f"{path} is {actual!r}, not {expected!r}"]
