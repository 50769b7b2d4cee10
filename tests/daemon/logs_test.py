"""What st8d logs: a line an event, text or JSON, complete, and never a secret."""

from __future__ import annotations

import contextlib
import io
import json
import logging
import os
import pty
import re
import socket
import subprocess
import sys
import time
import urllib.error
from typing import TYPE_CHECKING, Any

import pytest

from st8.clock import SystemClock
from st8.http.logs import open_logs
from tests.daemon.process import Daemon

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

TOKEN = "tiger-in-the-tank-93"


@pytest.fixture
def stream() -> Iterator[io.BytesIO]:
    """A stream for logs; how the process logged before comes back afterwards."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield io.BytesIO()
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.captureWarnings(False)


def requests_of(daemon: Daemon, count: int) -> list[dict[str, Any]]:
    """Return the lines of requests once there are ``count``."""
    deadline = time.monotonic() + 60
    while True:
        lines = [e for e in daemon.events() if e["event"] == "request"]
        if len(lines) >= count:
            return lines
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_line_of_a_request(tmp_path: Path) -> None:
    """Each request is one line that says what was asked, answered, and how fast."""
    with Daemon(tmp_path / "state") as daemon:
        daemon.get("/v1/state?namespace=payments&branch=canary")
        with pytest.raises(urllib.error.HTTPError) as missing:
            daemon.get("/v1/nothing%0aat%20all?secret=1")
        missing.value.close()
        first, second = requests_of(daemon, 2)

    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", first.pop("time"))
    assert re.fullmatch(r"127\.0\.0\.1:\d+", first.pop("remote"))
    assert isinstance(first.pop("latency_ms"), float)
    assert first.pop("bytes") > 0
    assert {
        "level": "info",
        "event": "request",
        "method": "GET",
        "path": "/v1/state",
        "route": "/v1/state",
        "status": 200,
        "namespace": "payments",
        "branch": "canary",
    } == first
    assert ("/v1/nothing%0aat%20all", 404) == (second["path"], second["status"])
    assert "route_not_found" == second["code"]
    assert "route" not in second


def test_text(tmp_path: Path) -> None:
    """Text lines say the same in words, one line each."""
    with Daemon(tmp_path / "state", "--log-format", "text") as daemon:
        daemon.get("/v1/state")
        daemon.stop()
        request = next(line for line in daemon.lines if "request" in line)

    assert "method=GET path=/v1/state status=200" in request
    assert "namespace=default branch=main" in request
    assert "\x1b" not in "".join(daemon.lines)


def test_terminal(tmp_path: Path) -> None:
    """On a terminal it is text, coloured unless NO_COLOR is set."""
    plain = _on_terminal(tmp_path / "a", {"NO_COLOR": "1"})
    coloured = _on_terminal(tmp_path / "b", {})

    assert re.match(r"\d{4}-\d\d-\d\dT\S+Z \[info +\] st8d listening on ", plain)
    assert "\x1b[" in coloured


def _on_terminal(state: Path, environment: dict[str, str]) -> str:
    """Return the first line that st8d logs on a terminal."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "st8.daemon", "--listen", "127.0.0.1:0"),
            *("--state-dir", str(state)),
        ],
        stderr=theirs,
        env={k: v for k, v in os.environ.items() if k != "NO_COLOR"} | environment,
    )
    os.close(theirs)
    with os.fdopen(ours, "rb") as terminal:
        line = terminal.readline().decode()
        process.terminate()
        process.wait(60)
    return line


@pytest.mark.parametrize("level", ["warning", "error"])
def test_level(tmp_path: Path, level: str) -> None:
    """Above info there are neither requests nor the ready line."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        address = probe.getsockname()
    command = [sys.executable, "-m", "st8.daemon", "--log-level", level]
    process = subprocess.Popen(
        [*command, f"--listen=127.0.0.1:{address[1]}", f"--state-dir={tmp_path / 's'}"],
        stderr=subprocess.PIPE,
    )
    deadline = time.monotonic() + 60
    while True:
        with (
            contextlib.suppress(OSError),
            socket.create_connection(address, 10) as wire,
        ):
            wire.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
            assert wire.recv(65536).startswith(b"HTTP/1.1 200 ")
            break
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.terminate()
    _, text = process.communicate(timeout=60)

    assert (0, b"") == (process.returncode, text)


@pytest.mark.parametrize("log_format", ["json", "text"])
def test_secrets_are_absent(tmp_path: Path, log_format: str) -> None:
    """A token is in no line, wherever a client puts it."""
    with Daemon(
        tmp_path / "state",
        *("--log-format", log_format, "--log-level", "debug"),
        environment={"ST8D_TOKEN": TOKEN},
    ) as daemon:
        daemon.get("/v1/state", token=TOKEN)
        for path in (f"/{TOKEN}", f"/v1/state?key={TOKEN}", f"/v1/log?token={TOKEN}"):
            with contextlib.suppress(urllib.error.HTTPError):
                daemon.get(path, token=TOKEN)
        daemon.stop()

    assert 5 <= len(daemon.lines)
    assert TOKEN not in "".join(daemon.lines)


@pytest.mark.parametrize("as_json", [True, False])
def test_what_modules_log(stream: io.BytesIO, as_json: bool) -> None:
    """Secrets in messages, facts and tracebacks are blacked out; the rest is kept."""
    open_logs(stream, SystemClock(), as_json=as_json, level="info", secrets=[TOKEN])
    log = logging.getLogger("st8.somewhere")

    log.info("token %s", TOKEN, extra={"authorization": "x1", "key": "a"})
    log.warning("header Authorization: Bearer abc.def")
    log.debug("not at this level")
    try:
        int(f"no number, {TOKEN}")
    except ValueError:
        log.exception("it failed")

    text = stream.getvalue().decode()
    assert [] == [secret for secret in (TOKEN, "x1", "abc.def") if secret in text]
    assert "not at this level" not in text
    assert "no number, [redacted]" in text
    if as_json:
        lines = [json.loads(line) for line in text.splitlines()]
        assert ["info", "warning", "error"] == [line["level"] for line in lines]
        assert ("token [redacted]", "a") == (lines[0]["event"], lines[0]["key"])
        assert ["time", "level", "event"] == list(lines[0])[:3]


def test_nobody_reads_the_log(tmp_path: Path) -> None:
    """A log that can't be written is no reason to stop serving, or to fail."""
    with Daemon(tmp_path / "state", "--log-format", "json") as daemon:
        daemon.stop_reading()
        for _ in range(3):
            assert b"ok\n" == daemon.get("/healthz")

        assert 0 == daemon.stop()


def test_writer_survives_a_broken_stream() -> None:
    """Lines for a stream that fails are lost; nothing else is."""
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "wb", buffering=0) as broken:
        root = logging.getLogger()
        handlers, level = root.handlers[:], root.level
        try:
            open_logs(broken, SystemClock(), as_json=True, level="info")
            logging.getLogger("st8").warning("into the void")
        finally:
            root.handlers[:] = handlers
            root.setLevel(level)
            logging.captureWarnings(False)
