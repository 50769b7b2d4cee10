"""Runs st8d as a process of its own, the way people do."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from pathlib import Path

_PLAIN = {
    name: value for name, value in os.environ.items() if not name.startswith("ST8")
}


def run(
    *arguments: str, environment: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run st8d to its end, which is expected to come by itself."""
    return subprocess.run(
        [sys.executable, "-m", "st8.daemon", *arguments],
        capture_output=True,
        check=False,
        env={**_PLAIN, **(environment or {})},
        stdin=subprocess.DEVNULL,
        text=True,
        timeout=120,
    )


class Daemon:
    """st8d, running.

    Attributes:
        lines: What it has logged so far.
        process: The process.
        url: Where it listens.
    """

    def __init__(
        self,
        state_dir: Path | None,
        *arguments: str,
        environment: dict[str, str] | None = None,
        listen: str = "127.0.0.1:0",
        pass_fds: tuple[int, ...] = (),
        wrapper: tuple[str, ...] = (),
    ) -> None:
        """Start it, by way of ``wrapper``, and wait until it is ready.

        Without ``state_dir`` it is told of its store in another way.
        """
        self.lines: list[str] = []
        self._closing = False
        self._ready = threading.Event()
        command = [*wrapper, sys.executable, "-m", "st8.daemon"]
        command += ["--listen", listen] if listen else []
        command += ["--state-dir", str(state_dir)] if state_dir is not None else []
        self.process = subprocess.Popen(
            [*command, *arguments],
            env={**_PLAIN, **(environment or {})},
            stderr=subprocess.PIPE,
            stdin=subprocess.DEVNULL,
            text=True,
            pass_fds=pass_fds,
        )
        self.url = ""
        self._reader = threading.Thread(target=self._read)
        self._reader.start()
        if not self._ready.wait(120) or not self.url:
            self.process.kill()
            self.wait()
            raise AssertionError("st8d did not get ready:\n" + "".join(self.lines))

    def _read(self) -> None:
        assert self.process.stderr is not None
        with self.process.stderr as stream:
            for line in stream:
                self.lines.append(line)
                if self._closing:
                    return
                found = re.search(r"st8d listening on (\S+?:\d+|unix:[^ \",]+)", line)
                if found is not None and found[1].startswith("unix:"):
                    self.url = found[1]
                    self._ready.set()
                elif found is not None:
                    scheme = (
                        "https" if re.search(r'tls"?[:=] ?[tT]rue', line) else "http"
                    )
                    self.url = f"{scheme}://{found[1].replace('[::]', '127.0.0.1')}"
                    self._ready.set()
        self._ready.set()

    @property
    def port(self) -> int:
        """The port that it listens on."""
        return int(self.url.rpartition(":")[2])

    def events(self) -> list[dict[str, Any]]:
        """Return what it has logged so far, as JSON."""
        return [json.loads(line) for line in self.lines]

    def get(self, path: str, *, token: str | None = None) -> bytes:
        """Return the body of a GET that succeeds."""
        request = urllib.request.Request(self.url + path)  # noqa: S310 - our own
        if token is not None:
            request.add_header("Authorization", f"Bearer {token}")
        with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310
            body: bytes = answer.read()
            return body

    def stop_reading(self) -> None:
        """Close the pipe that it logs to, as a log collector does that dies."""
        self._closing = True
        self.get("/healthz")  # wakes the reader, which closes it
        self._reader.join()

    def wait_for(self, event: str, count: int = 1) -> list[dict[str, Any]]:
        """Return the log's events that begin so, once there are ``count``."""
        deadline = time.monotonic() + 120
        while True:
            found = [e for e in self.events() if e["event"].startswith(event)]
            if len(found) >= count:
                return found
            assert time.monotonic() < deadline, "".join(self.lines)
            time.sleep(0.01)

    def signal(self, number: signal.Signals = signal.SIGTERM) -> None:
        """Send it a signal."""
        self.process.send_signal(number)

    def wait(self) -> int:
        """Return its exit code once it has ended."""
        code = self.process.wait(120)
        self._reader.join()
        return code

    def stop(self) -> int:
        """Ask it to stop; return its exit code."""
        self.signal()
        return self.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.wait()
