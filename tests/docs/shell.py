"""Runs lines of documents as a reader would: in a shell, in an empty home."""

from __future__ import annotations

import itertools
import os
import re
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Self

if TYPE_CHECKING:
    from collections.abc import Mapping

ROOT = Path(__file__).resolve().parents[2]
PRINTED_PORT = "8748"
_READY = b"st8d listening on"
_LOOK_AGAIN_S = 0.02


class Done(NamedTuple):
    """How a command ended."""

    code: int
    output: str
    errors: str


class Block(NamedTuple):
    """A fenced block of a page: its language, its text, the heading above it."""

    heading: str
    language: str
    text: str


class Shell:
    """A reader's shell.

    Its home and working directory are one empty folder, and st8's programs are on
    its path. What a page prints is run as it is, but for ``replace``: texts that
    can't be used as printed, such as a port that may be taken.
    """

    def __init__(self, home: Path, replace: Mapping[str, str] | None = None) -> None:
        self.home = home
        self.replace = dict(replace or {})
        self._daemons: list[subprocess.Popen[bytes]] = []
        self._logs = itertools.count()
        programs = Path(sys.executable).parent
        self._environment = {
            "HOME": str(home),
            "LANG": "C.UTF-8",
            "PATH": f"{programs}{os.pathsep}{os.defpath}",
        }

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for daemon in self._daemons:
            if daemon.poll() is None:
                daemon.kill()
            daemon.wait()

    def as_run(self, text: str) -> str:
        """Return ``text`` with what must be replaced."""
        for printed, usable in self.replace.items():
            text = text.replace(printed, usable)
        return text

    def run(self, command: str) -> Done:
        """Run a command, of one line or several, and wait for its end."""
        done = subprocess.run(
            ["sh", "-ec", self.as_run(command)],
            cwd=self.home,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
        )
        return Done(done.returncode, done.stdout.decode(), done.stderr.decode())

    def start(self, command: str) -> int:
        """Start st8d in the background and return its process id when it listens."""
        log = self.home / f"st8d-{next(self._logs)}.log"
        *variables, last = self.as_run(command).strip().replace("\\\n", "").splitlines()
        with log.open("wb") as errors:
            daemon = subprocess.Popen(
                ["sh", "-ec", "\n".join((*variables, f"exec {last}"))],
                cwd=self.home,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stderr=errors,
            )
        self._daemons.append(daemon)
        while _READY not in log.read_bytes():
            assert daemon.poll() is None, log.read_text(encoding="utf-8")
            time.sleep(_LOOK_AGAIN_S)
        return daemon.pid

    def stop(self, pid: int | None = None) -> int:
        """End a st8d as a service manager does; return its exit code.

        It is the last one that was started, if no process id is given.
        """
        daemon = next(d for d in reversed(self._daemons) if pid in {None, d.pid})
        self._daemons.remove(daemon)
        daemon.terminate()
        return daemon.wait()

    def write(self, name: str, text: str) -> None:
        """Write a file below the home."""
        path = self.home / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(self.as_run(text), encoding="utf-8")


def free_port() -> str:
    """Return a port of the loopback that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return str(probe.getsockname()[1])


def on_loopback(port: str) -> dict[str, str]:
    """Return what to replace so that a printed daemon listens on ``port``."""
    return {
        "--listen :8748": f"--listen 127.0.0.1:{port}",
        "--listen 127.0.0.1:8748": f"--listen 127.0.0.1:{port}",
        "127.0.0.1:8748": f"127.0.0.1:{port}",
        "st8d.internal:8748": f"127.0.0.1:{port}",
    }


def blocks_of(page: Path) -> list[Block]:
    """Return the fenced blocks of a page, in order."""
    heading = ""
    found: list[Block] = []
    for match in re.finditer(
        r"^(?:#+ (?P<heading>[^\n]+)|```(?P<language>\w*)\n(?P<text>.*?)^```)$",
        page.read_text(encoding="utf-8"),
        re.MULTILINE | re.DOTALL,
    ):
        if match["heading"]:
            heading = match["heading"]
        else:
            found.append(Block(heading, match["language"], match["text"]))
    return found


def without_times(text: str) -> str:
    """Return ``text`` with every time the same."""
    return re.sub(r"\d{4}-\d\d-\d\dT[\d:.]+Z", "TIME", text)
