"""A TCP proxy that cuts its connections after so many bytes, either way."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from types import TracebackType

__all__ = ["CuttingProxy"]

_PIECE = 65_536


class CuttingProxy:
    """Passes bytes to a port of this machine and back, until it is told to cut.

    A context manager: on leaving, all connections and threads end.
    """

    def __init__(self, target_port: int) -> None:
        """Listen on a free port and pass on to ``target_port``."""
        self._target = ("127.0.0.1", target_port)
        self._lock = threading.Lock()
        self._left: dict[str, int | None] = {"up": None, "down": None}
        self.passed = {"up": 0, "down": 0}
        self._sockets: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._spawn(self._accept)

    def cut_after(self, *, up: int | None = None, down: int | None = None) -> None:
        """Cut before more bytes than these pass to the server, or back; None never.

        So what is no longer than that passes whole, and nobody wonders about its end.
        What was passed is counted from now.
        """
        with self._lock:
            self._left = {"up": up, "down": down}
            self.passed = {"up": 0, "down": 0}

    def close(self) -> None:
        """End everything."""
        # A listener that somebody waits at is woken by its end of reading only.
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        with self._lock:
            some = list(self._sockets)
        for each in some:
            _end(each)
        for thread in list(self._threads):
            thread.join()

    def __enter__(self) -> Self:
        """Return the proxy."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End everything."""
        self.close()

    def _spawn(self, work: object, *arguments: object) -> None:
        thread = threading.Thread(target=work, args=arguments)  # type: ignore[arg-type]
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            try:
                server = socket.create_connection(self._target)
            except OSError:  # nobody is there just now
                client.close()
                continue
            with self._lock:
                self._sockets += [client, server]
            self._spawn(self._pass, client, server, "up")
            self._spawn(self._pass, server, client, "down")

    def _pass(self, source: socket.socket, target: socket.socket, way: str) -> None:
        """Pass on until either side ends, or it is cut; then end both."""
        with suppress(OSError):
            while data := source.recv(_PIECE):
                kept, cut = self._take(data, way)
                target.sendall(kept)
                if cut:
                    break
        _end(source)
        _end(target)

    def _take(self, data: bytes, way: str) -> tuple[bytes, bool]:
        """Return what of ``data`` may pass, and whether that was the last of it."""
        with self._lock:
            left = self._left[way]
            if left is None or len(data) <= left:
                self.passed[way] += len(data)
                if left is not None:
                    self._left[way] = left - len(data)
                return data, False
            self.passed[way] += left
            self._left[way] = 0
            return data[:left], True


def _end(of: socket.socket) -> None:
    with suppress(OSError):
        of.shutdown(socket.SHUT_RDWR)
    of.close()
