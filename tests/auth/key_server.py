"""A server on the loopback that publishes keys, and remembers who asked."""

from __future__ import annotations

import json
import queue
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable

_PATIENCE_S = 60.0
_LOOK_AGAIN_S = 0.005


class KeyServer:
    """Answers every request with ``status`` and ``body``.

    Attributes:
        status: The status of the next answers.
        headers: Their headers.
        body: Their bodies.
        asked: The paths that were asked for, in order; each is there before its
            answer is sent.
    """

    def __init__(self, document: object, tls: ssl.SSLContext | None = None) -> None:
        self.status = 200
        self.headers: dict[str, str] = {}
        self.body = b""
        self.asked: queue.SimpleQueue[str] = queue.SimpleQueue()
        self.publish(document)
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        if tls is not None:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True)
        self.port: int = self._server.server_address[1]
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def publish(self, document: object) -> None:
        """Answer with ``document`` from now on."""
        self.body = json.dumps(document).encode()

    def next_asked(self) -> str:
        """Return the path of the next request that was not yet returned."""
        return self.asked.get(timeout=_PATIENCE_S)

    def _serve(self) -> None:
        self._server.serve_forever(poll_interval=0.01)

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        keys = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                keys.asked.put(self.path)
                self.send_response(keys.status)
                for name, value in keys.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(keys.body)))
                self.end_headers()
                self.wfile.write(keys.body)

            def log_message(self, *_: Any) -> None:
                """Say nothing."""

        return Handler


def until(condition: Callable[[], bool]) -> None:
    """Return once ``condition`` holds; it is what another thread is bringing about."""
    end_s = time.monotonic() + _PATIENCE_S
    while not condition():
        assert time.monotonic() < end_s, "it does not come about"
        time.sleep(_LOOK_AGAIN_S)
