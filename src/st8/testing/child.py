"""st8d as a process of its own, to be talked to, stopped and killed."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from http.client import HTTPConnection
from typing import TYPE_CHECKING, Any, Final, Self

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

__all__ = ["LISTENING", "ST8D", "ChildDaemon", "call", "free_port"]

ST8D: Final = (sys.executable, "-m", "st8.daemon")
"""The command that runs st8d with this interpreter."""

_START_S: Final = 60.0
_STOP_S: Final = 60.0
_LOOK_S: Final = 0.004
LISTENING: Final = re.compile(rb"st8d listening on \S+:(\d+)")
"""What a daemon logs, at ``info``, when it is ready, with its port."""


class ChildDaemon:
    """A daemon on a loopback port of its own; killed when the block is left.

    Attributes:
        process: The process.
        host, port: Where it listens, once it is ready.
    """

    def __init__(
        self,
        state_dir: Path | None,
        *arguments: str,
        command: Sequence[str] = ST8D,
        port: int = 0,
        wait: bool = True,
    ) -> None:
        """Start it on ``state_dir`` and wait until it is ready.

        Args:
            state_dir: Its state directory; None if ``arguments`` name another store.
            arguments: More flags of st8d.
            command: What to run instead of st8d, with st8d's flags.
            port: Where it listens; 0 is a free one, which its log tells, so that
                it must log at ``info``.
            wait: Whether to wait; otherwise call :meth:`wait_until_ready`.

        Raises:
            RuntimeError: It did not get ready; says what it logged.
        """
        self.host = "127.0.0.1"
        self.port = port
        # A file, so that nobody has to keep reading what it logs.
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the process
        self.process = subprocess.Popen(  # noqa: S603 - our own daemon
            [
                *command,
                "--listen",
                f"{self.host}:{port}",
                *(() if state_dir is None else ("--state-dir", str(state_dir))),
                *arguments,
            ],
            env=_plain_environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=self._log,
        )
        if wait:
            self.wait_until_ready()

    @property
    def url(self) -> str:
        """Its base URL."""
        return f"http://{self.host}:{self.port}"

    def wait_until_ready(self) -> None:
        """Return once it listens.

        Raises:
            RuntimeError: It ended, or takes too long; it is killed then.
        """
        deadline = time.monotonic() + _START_S
        while self.process.poll() is None and time.monotonic() < deadline:
            if self._is_ready():
                return
            time.sleep(_LOOK_S)
        log = self.log().decode(errors="replace")
        self.kill()
        raise RuntimeError(f"st8d did not get ready:\n{log}")

    def _is_ready(self) -> bool:
        """Return whether it listens; learn the port if it is not known."""
        if self.port:
            with socket.socket() as probe:
                return probe.connect_ex((self.host, self.port)) == 0
        found = LISTENING.search(self.log())
        if found is not None:
            self.port = int(found[1])
        return found is not None

    def log(self) -> bytes:
        """Return what it has logged so far; nothing once it is gone."""
        if self._log.closed:
            return b""
        size = os.fstat(self._log.fileno()).st_size
        return os.pread(self._log.fileno(), size, 0)

    def connect(self, timeout_s: float = 60.0) -> HTTPConnection:
        """Return a keep-alive connection to it; connects when first used."""
        return HTTPConnection(self.host, self.port, timeout=timeout_s)

    def kill(self) -> None:
        """Kill it at once, as kill -9 does, and wait until it is gone."""
        self.process.kill()
        self._gone()

    def stop(self) -> int:
        """Ask it to stop, and return its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self._gone()

    def _gone(self) -> int:
        try:
            return self.process.wait(_STOP_S)
        finally:
            self.process.kill()
            self.process.wait()
            self._log.close()

    def __enter__(self) -> Self:
        """Return the daemon."""
        return self

    def __exit__(self, *_: object) -> None:
        """Kill it, if it still runs."""
        self.kill()


def call(
    connection: HTTPConnection,
    method: str,
    target: str,
    body: object = None,
    headers: dict[str, str] | None = None,
) -> tuple[int, Any]:
    """Send a request and return the status and the JSON of its answer.

    Raises:
        OSError: The connection broke.
        HTTPException: The answer was cut short.
    """
    data = None if body is None else json.dumps(body).encode()
    connection.request(method, target, data, headers or {})
    answer = connection.getresponse()
    text = answer.read()
    return answer.status, json.loads(text) if text else None


def free_port() -> int:
    """Return a loopback port that nobody listens on just now."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def _plain_environment() -> dict[str, str]:
    """Return the environment without what would change st8d's settings."""
    return {
        name: value
        for name, value in os.environ.items()  # noqa: TID251 - for the child, not us
        if not name.startswith("ST8")
    }
