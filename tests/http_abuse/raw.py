"""A server in a thread, and a client that sends any bytes."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

import uvloop

from st8.http.connections import GuardSettings
from st8.http.server import HttpServer
from st8.http.sockets import listen

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Coroutine, Iterator

    from st8.http.connections import AccessRecorder

CALM = GuardSettings(linger_s=0.5, sweep_s=0.05)
"""The real limits of time, which a busy machine does not come near."""

QUICK = GuardSettings(
    header_timeout_s=0.8,
    read_timeout_s=2.0,
    write_timeout_s=0.5,
    idle_timeout_s=0.6,
    body_grace_s=0.4,
    linger_s=0.5,
    sweep_s=0.05,
)
"""Limits of time that a test can wait for: only where something is to be cut."""

HOST = b"Host: st8\r\n"


@dataclass
class Answer:
    """One response as it came.

    Attributes:
        status: Its status.
        headers: Its headers, names in lower case.
        body: Its body, unchunked.
    """

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def problem(self) -> dict[str, Any]:
        """The body as a problem; fails unless it says that it is one."""
        assert "application/problem+json" == self.headers["content-type"]
        problem: dict[str, Any] = json.loads(self.body)
        assert "detail" == next(iter(problem))
        assert self.status == problem["status"]
        return problem


class Wire:
    """A connection to the server."""

    def __init__(
        self,
        port: int,
        *,
        receive_bytes: int | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        """Connect, over TLS if asked; ``receive_bytes`` makes the buffer small."""
        self.socket = socket.socket()
        if receive_bytes is not None:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        self.socket.settimeout(60)
        self.socket.connect(("127.0.0.1", port))
        if tls is not None:
            self.socket = tls.wrap_socket(self.socket, server_hostname="127.0.0.1")
        self._file = self.socket.makefile("rb")

    def send(self, data: bytes) -> None:
        """Send ``data``."""
        self.socket.sendall(data)

    def answer(self, *, head_only: bool = False) -> Answer | None:
        """Read one response; None if the connection ends before it begins."""
        line = self._file.readline()
        if not line:
            return None
        headers: dict[str, str] = {}
        while (field_line := self._file.readline()) not in (b"\r\n", b""):
            name, _, value = field_line.decode("latin-1").partition(":")
            headers[name.lower()] = value.strip()
        status = int(line.split()[1])
        return Answer(status, headers, b"" if head_only else self._body(headers))

    def _body(self, headers: dict[str, str]) -> bytes:
        if headers.get("transfer-encoding") != "chunked":
            length = headers.get("content-length")
            return self._file.read() if length is None else self._file.read(int(length))
        body = b""
        while size := int(self._file.readline(), 16):
            body += self._file.read(size)
            self._file.readline()
        self._file.readline()
        return body

    def ends(self) -> bool:
        """Return True if the server ends the connection and says nothing more."""
        with contextlib.suppress(ConnectionError):
            return self._file.read(1) == b""
        return True

    def close(self) -> None:
        """Give the socket back."""
        self._file.close()
        self.socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


@dataclass
class Echo:
    """An app that says what it was asked.

    ``POST`` reads the body and tells its length and digits; ``/early`` answers 413
    without reading; ``/slow`` waits for :attr:`go`; ``/big`` sends 64 MiB,
    ``/large`` 8 MiB.

    Attributes:
        requests: Method and path of every request that reached it.
        disconnects: Paths whose client went before all of the body was there.
        go: What ``/slow`` waits for.
    """

    requests: list[str] = field(default_factory=list)
    disconnects: list[str] = field(default_factory=list)
    go: threading.Event = field(default_factory=threading.Event)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer one request."""
        method, path = scope["method"], scope["path"]
        self.requests.append(f"{method} {path}")
        if path == "/early":
            await reply(send, 413, b"too much\n")
            return
        if path in {"/big", "/large"}:
            await self._big(send, 1024 if path == "/big" else 128)
            return
        if path == "/fault":
            raise ValueError("a secret of the app")
        while path == "/slow" and not self.go.is_set():  # noqa: ASYNC110 - a thread's
            await asyncio.sleep(0.01)
        body = b""
        while method == "POST":
            message = await receive()
            if message["type"] == "http.disconnect":
                self.disconnects.append(path)
                return
            body += message["body"]
            if not message["more_body"]:
                break
        names = ",".join(name.decode() for name, _ in scope["headers"])
        text = f"{method} {scope['raw_path'].decode()} {len(body)} {names}\n"
        await reply(send, 200, text.encode())

    async def _big(self, send: Any, pieces: int) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for _ in range(pieces):
            await send(
                {"type": "http.response.body", "body": bytes(65536), "more_body": True}
            )
        await send({"type": "http.response.body"})


async def reply(send: Any, status: int, body: bytes) -> None:
    """Send a whole response."""
    headers = [(b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


@dataclass
class Served:
    """A server that runs.

    Attributes:
        port: Where.
        server: The server; look, but don't touch, it lives in another thread.
        app: What it serves.
        loop: Where it runs.
    """

    port: int
    server: HttpServer
    app: Any
    loop: asyncio.AbstractEventLoop

    def call(self, coroutine: Coroutine[Any, Any, None]) -> None:
        """Run ``coroutine`` where the server runs."""
        asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(30)

    def wire(self, *, receive_bytes: int | None = None) -> Wire:
        """Connect to it."""
        return Wire(self.port, receive_bytes=receive_bytes)

    def ask(self, data: bytes) -> Answer:
        """Send ``data`` on a connection of its own and return the one answer."""
        with self.wire() as wire:
            wire.send(data)
            answer = wire.answer()
            assert answer is not None
            return answer


@contextlib.contextmanager
def served(
    app: Any,
    settings: GuardSettings = CALM,
    *,
    access: AccessRecorder | None = None,
    tls: ssl.SSLContext | None = None,
    loop_factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop,
) -> Iterator[Served]:
    """Serve ``app`` in a thread."""
    listener = listen("127.0.0.1", 0)
    port = listener.getsockname()[1]
    server = HttpServer(app, [listener], settings=settings, tls=tls, access=access)
    stop = threading.Event()
    ready = threading.Event()
    loop = loop_factory()

    async def main() -> None:
        await server.start()
        ready.set()
        while not stop.is_set():  # noqa: ASYNC110 - set by another thread
            await asyncio.sleep(0.01)
        await server.stop(1)

    def run() -> None:
        with asyncio.Runner(loop_factory=lambda: loop) as runner:
            runner.run(main())

    thread = threading.Thread(target=run, name="served")
    thread.start()
    try:
        assert ready.wait(60)
        yield Served(port, server, app, loop)
    finally:
        stop.set()
        thread.join()
