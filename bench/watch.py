"""What thousands of watchers cost, and how soon they hear of a change.

A crowd of watchers in a process of its own, which does as little as it can, on one
daemon: from the publishing of a revision to when half of them and 99 of 100 have
seen it, the memory and the processor time of the daemon for each, and what they cost
while nothing happens. Beside it, in the same run, a bare uvicorn app that sends the
same bytes to as many clients in the simplest way, a queue for each::

    python bench/watch.py [--quick] [--folder DIRECTORY]
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from http.client import HTTPConnection
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Self, cast

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import uvicorn
import uvloop

from bench.measure import Report, cpu_s, say, show_bytes, show_s
from st8.testing.child import ChildDaemon, call, free_port

if TYPE_CHECKING:
    from collections.abc import Sequence

_ROOT: Final = Path(__file__).resolve().parent.parent
_BARE: Final = "from bench.watch import serve_bare; serve_bare()"
_CROWD: Final = "from bench.watch import crowd; crowd()"
_CONTENT: Final = "timeout_ms: 250\n"
_CONNECTING: Final = 100
_LIKE: Final = {
    "namespace": "default",
    "id": 1000,
    "parent_id": 999,
    "message": "apply",
    "created_at": "2026-01-01T00:00:00.000000000Z",
    "branch": "main",
    "author": "",
    "kind": "apply",
    "digest": "0" * 64,
    "root": "0" * 64,
    "parents": [999],
    "changes": [{"key": "watched.yaml", "type": "update"}],
}
"""What st8d tells of a revision, for the bare app to send."""


class Plan(NamedTuple):
    """How much to measure: sizes of the crowd, publishes, seconds of idleness."""

    sizes: tuple[int, ...]
    publishes: int
    idle_s: float


QUICK: Final = Plan((100,), 5, 0.5)
USUAL: Final = Plan((1_000, 10_000), 30, 16.0)


class Cost(NamedTuple):
    """What a crowd costs.

    Attributes:
        median_s, most_s: From publishing to when half, and 99 of 100, have seen it;
            medians over the publishes.
        watcher_bytes: Memory for each watcher.
        event_s: Processor time for each event of each watcher.
        idle: Share of a processor while nothing happens.
    """

    median_s: float
    most_s: float
    watcher_bytes: float
    event_s: float
    idle: float


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; see the module."""
    parser = argparse.ArgumentParser(description="Measure many watchers.")
    parser.add_argument("--quick", action="store_true", help="a small crowd")
    parser.add_argument("--folder", type=Path, help="where the store is made")
    options = parser.parse_args(arguments)
    report = Report("Watch")
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        measure(QUICK if options.quick else USUAL, Path(name), report)
    report.print()
    return 0


def measure(plan: Plan, folder: Path, report: Report) -> None:
    """Measure everything and add it to ``report``."""
    for size in plan.sizes:
        costs: dict[str, Cost] = {}
        for name, kind in (("bare uvicorn", _Bare), ("st8d", _St8d)):
            say(f"{size} watchers of {name}")
            with kind(folder / str(size)) as server, _Crowd() as watchers:
                costs[name] = _cost(plan, size, server, watchers)
        _add(size, plan, costs, report)


def _add(size: int, plan: Plan, costs: dict[str, Cost], report: Report) -> None:
    rows = [
        ("published → seen by half", *(show_s(c.median_s) for c in costs.values())),
        ("published → seen by 99 %", *(show_s(c.most_s) for c in costs.values())),
        (
            "memory a watcher",
            *(show_bytes(c.watcher_bytes) for c in costs.values()),
        ),
        (
            "processor time an event and watcher",
            *(f"{c.event_s * 1e6:.1f} µs" for c in costs.values()),
        ),
        ("processor while idle", *(f"{c.idle:.1%}" for c in costs.values())),
    ]
    heading = f"{size:,} watchers, medians of {plan.publishes} publishes"
    report.add_table(heading, ("", *costs), rows)
    ratio = costs["st8d"].most_s / costs["bare uvicorn"].most_s
    report.add_bar(f"{size:,} watchers, seen by 99 %: st8d / bare", ratio, 1.5)


def _cost(plan: Plan, size: int, server: _Server, watchers: _Crowd) -> Cost:
    server.publish()
    before = _memory_bytes(server.process.pid)
    watchers.connect(server.port, size)
    server.publish_to(watchers)  # the first takes longer
    memory = (_memory_bytes(server.process.pid) - before) / size
    time.sleep(1)
    idle = -cpu_s(server.process.pid)
    time.sleep(plan.idle_s)
    idle += cpu_s(server.process.pid)
    spent = -cpu_s(server.process.pid)
    seen = [server.publish_to(watchers) for _ in range(plan.publishes)]
    spent += cpu_s(server.process.pid)
    return Cost(
        statistics.median(half for half, _ in seen),
        statistics.median(most for _, most in seen),
        memory,
        spent / size / plan.publishes,
        idle / plan.idle_s,
    )


def _memory_bytes(process: int) -> int:
    """Return the memory that a process has in use."""
    pages = Path(f"/proc/{process}/statm").read_text("ascii").split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


# --- the servers ------------------------------------------------------------------


class _Server:
    """What publishes and is watched; ends with the block."""

    process: subprocess.Popen[bytes]
    port: int

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._connection: HTTPConnection | None = None
        self._count = 0

    def publish(self) -> None:
        """Publish once, and return when that was answered."""
        if self._connection is None:
            self._connection = HTTPConnection("127.0.0.1", self.port, timeout=60)
        self._count += 1
        document = {"key": "watched.yaml", "content": f"{_CONTENT}# {self._count}\n"}
        body = {"documents": [document]}
        status, _ = call(self._connection, "POST", "/v1/apply", body)
        assert status == 200

    def publish_to(self, watchers: _Crowd) -> tuple[float, float]:
        """Return when half and 99 of 100 have seen what is published now."""
        watchers.arm()
        begun = time.monotonic()
        self.publish()
        return watchers.seen(begun)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._connection is not None:
            self._connection.close()
        self._end()

    def _end(self) -> None:
        with self.process:  # which closes its pipes
            self.process.kill()


class _St8d(_Server):
    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._daemon = ChildDaemon(folder, "--log-level", "warning", port=free_port())
        self.process = self._daemon.process
        self.port = self._daemon.port

    def _end(self) -> None:
        self._daemon.kill()


class _Bare(_Server):
    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.process = subprocess.Popen(
            [sys.executable, "-c", _BARE], cwd=_ROOT, stdout=subprocess.PIPE
        )
        assert self.process.stdout is not None
        self.port = int(self.process.stdout.readline())


def serve_bare() -> None:
    """Serve a bare app: what is published goes into a queue of each watcher."""
    queues: set[asyncio.Queue[bytes]] = set()
    event = f"id: 1000\nevent: revision\ndata: {json.dumps(_LIKE)}\n\n".encode()
    events = [(b"content-type", b"text/event-stream; charset=utf-8")]

    async def watched(send: Any) -> None:
        queue: asyncio.Queue[bytes] = asyncio.Queue()
        queues.add(queue)
        piece = b"event: start\ndata: {}\n\n"
        while True:
            await send({"type": "http.response.body", "body": piece, "more_body": True})
            piece = await queue.get()

    async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
        headers = events if scope["method"] == "GET" else []
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        if scope["method"] == "GET":
            await watched(send)
        await receive()
        for queue in queues:
            queue.put_nowait(event)
        await send({"type": "http.response.body", "body": b"{}"})

    listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
    print(listener.getsockname()[1], flush=True)
    config = uvicorn.Config(
        app,
        loop="uvloop",
        http="httptools",
        lifespan="off",
        log_level="critical",
        timeout_keep_alive=120,
    )
    uvicorn.Server(config).run(sockets=[listener])


# --- the crowd --------------------------------------------------------------------


class _Crowd:
    """Watchers in a process of their own."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", _CROWD],
            cwd=_ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        self._size = 0

    def connect(self, port: int, size: int) -> None:
        """Have so many watch, and return once all have begun."""
        self._size = size
        self._say(f"connect {port} {size}")
        assert self._hear() == [size]

    def arm(self) -> None:
        """Expect an event for each."""
        self._say("arm")
        assert self._hear() == []

    def seen(self, begun: float) -> tuple[float, float]:
        """Return how long after ``begun`` half and 99 of 100 had seen it."""
        half, most = self._hear()
        return half - begun, most - begun

    def _say(self, line: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{line}\n".encode())
        self._process.stdin.flush()

    def _hear(self) -> list[float]:
        assert self._process.stdout is not None
        found: list[float] = json.loads(self._process.stdout.readline())
        return found

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with self._process:  # which closes its pipes
            self._process.kill()


class _Watcher(asyncio.Protocol):
    """Says when it has begun, and when it has seen an event; forgets the rest."""

    def __init__(self, times: list[float], begun: asyncio.Future[None]) -> None:
        self._times = times
        self._begun = begun

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask for events."""
        stream = cast("asyncio.WriteTransport", transport)
        stream.write(b"GET /v1/watch HTTP/1.1\r\nHost: localhost\r\n\r\n")

    def data_received(self, data: bytes) -> None:
        """Look for the name of an event; events come whole here."""
        if b"event: revision" in data:
            self._times.append(time.monotonic())
        elif b"event: start" in data and not self._begun.done():
            self._begun.set_result(None)


def crowd() -> None:
    """Watch as standard input says."""
    uvloop.run(_obey())


async def _obey() -> None:
    loop = asyncio.get_running_loop()
    times: list[float] = []
    size = 0
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        order, *numbers = line.split()
        if order == "connect":
            port, size = map(int, numbers)
            await _connect(port, size, times)
            print(json.dumps([size]), flush=True)
            continue
        times.clear()
        print("[]", flush=True)
        while len(times) < size:  # noqa: ASYNC110 - each watcher would have to tell
            await asyncio.sleep(0.005)
        ordered = sorted(times)
        print(json.dumps([ordered[size // 2], ordered[size * 99 // 100]]), flush=True)


async def _connect(port: int, size: int, times: list[float]) -> None:
    loop = asyncio.get_running_loop()
    for first in range(0, size, _CONNECTING):
        begun = [loop.create_future() for _ in range(min(_CONNECTING, size - first))]
        for one in begun:
            await loop.create_connection(
                lambda one=one: _Watcher(times, one),  # type: ignore[misc]
                "127.0.0.1",
                port,
            )
        await asyncio.gather(*begun)


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        sys.exit(main())
