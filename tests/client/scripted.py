"""A server that does what a test tells it to, right or wrong, byte by byte."""

from __future__ import annotations

import contextlib
import json
import socket
import struct
import threading
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Generator

__all__ = ["Seen", "Server", "Wire", "always", "answer", "once", "problem", "scripted"]

PATIENCE_S = 60.0


class Seen(NamedTuple):
    """A request that came in."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes

    def json(self) -> object:
        """Return the body."""
        return json.loads(self.body)


def answer(
    body: object = None,
    *,
    status: int = 200,
    headers: dict[str, str] | None = None,
    raw: bytes | None = None,
) -> bytes:
    """Return the bytes of an answer with a JSON body."""
    data = json.dumps(body).encode() if raw is None else raw
    fields = {
        "content-type": "application/json",
        "content-length": str(len(data)),
        **(headers or {}),
    }
    head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    return f"HTTP/1.1 {status} Any\r\n{head}\r\n".encode() + data


def problem(status: int, code: str, detail: str = "it is so", **more: object) -> bytes:
    """Return the bytes of a problem."""
    body = {"detail": detail, "code": code, "status": status, **more}
    return answer(
        body, status=status, headers={"content-type": "application/problem+json"}
    )


class Wire:
    """The server's end of one connection."""

    def __init__(self, sock: socket.socket, requests: list[Seen]) -> None:
        self._sock = sock
        self._file = sock.makefile("rb")
        self._requests = requests

    def request(self) -> Seen:
        """Read a request; raises EOFError if the client closed instead."""
        first = self._file.readline()
        if not first:
            raise EOFError
        method, target, _ = first.decode().split(" ")
        headers: dict[str, str] = {}
        while (line := self._file.readline()) != b"\r\n":
            if not line:
                raise EOFError
            name, _, value = line.decode().partition(":")
            headers[name.lower()] = value.strip()
        body = self._file.read(int(headers.get("content-length", "0")))
        seen = Seen(method, target, headers, body)
        self._requests.append(seen)
        return seen

    def chunked(self) -> bytes:
        """Read a body in chunks to its end; raises EOFError if it has none."""
        parts: list[bytes] = []
        while size := int(self._file.readline() or b"-1", 16):
            if size < 0:
                raise EOFError
            parts.append(self._file.read(size))
            self._file.readline()
        self._file.readline()
        return b"".join(parts)

    def send(self, data: bytes) -> None:
        """Send ``data``; a client that went away does not matter."""
        with contextlib.suppress(OSError):
            self._sock.sendall(data)

    def reset(self) -> None:
        """Break the connection off, as a crash does."""
        self._sock.setsockopt(
            socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
        )
        self.close()

    def wait_for_close(self) -> None:
        """Wait until the client closes."""
        with contextlib.suppress(OSError):
            while self._file.read(4096):
                pass

    def close(self) -> None:
        """Close the connection."""
        self._file.close()
        self._sock.close()


class Server:
    """A scripted server.

    Attributes:
        url: Where it is.
        requests: What came in, in order.
        connections: How many connections there were.
    """

    def __init__(
        self, *scripts: Callable[[Wire], None], tls: ssl.SSLContext | None = None
    ) -> None:
        self._tls = tls
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.settimeout(PATIENCE_S)
        self._scripts = scripts
        self._threads: list[threading.Thread] = []
        self._wires: list[Wire] = []
        self.requests: list[Seen] = []
        self.connections = 0
        scheme = "https" if tls else "http"
        self.url = f"{scheme}://127.0.0.1:{self._listener.getsockname()[1]}"
        self._thread = threading.Thread(target=self._accept)
        self._thread.start()

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            script = self._scripts[min(self.connections, len(self._scripts) - 1)]
            self.connections += 1
            sock.settimeout(PATIENCE_S)
            if self._tls is not None:
                try:
                    sock = self._tls.wrap_socket(sock, server_side=True)
                except OSError:
                    sock.close()
                    continue
            wire = Wire(sock, self.requests)
            thread = threading.Thread(target=self._play, args=(script, wire))
            self._wires.append(wire)
            self._threads.append(thread)
            thread.start()

    @staticmethod
    def _play(script: Callable[[Wire], None], wire: Wire) -> None:
        with contextlib.suppress(EOFError, OSError, ValueError):
            script(wire)
        with contextlib.suppress(OSError):
            wire.close()

    def refuse(self) -> None:
        """Take no more connections; those that are open stay open."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(PATIENCE_S)

    def stop(self) -> None:
        """Stop listening and end every connection."""
        self.refuse()
        for wire in self._wires:
            with contextlib.suppress(OSError):
                wire._sock.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(PATIENCE_S)


@contextlib.contextmanager
def scripted(
    *scripts: Callable[[Wire], None], tls: ssl.SSLContext | None = None
) -> Generator[Server]:
    """Run a server whose n-th connection follows the n-th script, or the last."""
    server = Server(*scripts, tls=tls)
    try:
        yield server
    finally:
        server.stop()


def always(data: bytes) -> Callable[[Wire], None]:
    """Return the script that answers every request with ``data``."""

    def script(wire: Wire) -> None:
        while True:
            wire.request()
            wire.send(data)

    return script


def once(data: bytes) -> Callable[[Wire], None]:
    """Return the script that answers one request with ``data`` and closes."""

    def script(wire: Wire) -> None:
        wire.request()
        wire.send(data)

    return script
