"""Keeps a daemon busy for long and looks whether it stays what it was.

Writers, readers, and watchers that reconnect all the time work on it, and old
revisions are collected again and again, so that the store stays as large as it is. At
every interval its memory, descriptors, threads and log file are measured, and how long
its answers took; :func:`judge` says whether any of it grew. At the end the oracle
compares the store with what was acknowledged, and what each watcher was told with what
was written to its branch::

    script/soak --minutes 60 --seed 42

The seed decides what is written; how fast is the machine's affair.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import secrets
import statistics
import sys
import tempfile
import threading
import time
from http import HTTPStatus
from http.client import HTTPException
from itertools import product
from pathlib import Path
from random import Random  # noqa: TID251 - seeded: a run can be had again
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from urllib.parse import urlencode

from st8.client._events import EventParser
from st8.store.open import open_store
from st8.testing.child import ST8D, ChildDaemon, call
from st8.testing.ledger import Ledger
from st8.testing.oracle import Oracle
from st8.testing.writers import BRANCHES, NAMESPACES, Writer

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from http.client import HTTPConnection

    from st8.core.ports import Store

__all__ = ["Outcome", "Row", "Sample", "judge", "main", "run"]

_MIB: Final = 1 << 20
_CHURN: Final = "soak/churn"
"""Of this the ledger knows nothing."""
_COLLECT_S: Final = 1.0
"""Between two collections."""
_STATUSES: Final = (HTTPStatus.OK, HTTPStatus.NOT_FOUND)
"""Not found is what nobody has written to yet."""
_STAY_S: Final = (0.2, 4.0)
_REST_S: Final = 60.0
_GROWTH_MIB_PER_HOUR: Final = 1.0
_BREATH_MIB: Final = 4.0
"""How far memory goes up and down without a leak."""
_WAL_MIB: Final = 64.0
_SLOWER: Final = 1.2
_LEAST: Final = 6
"""Samples without which nothing can be said of growth."""


class Sample(NamedTuple):
    """What was measured at the end of an interval.

    Attributes:
        at_s: When, in seconds since the beginning.
        rss_bytes: Memory of all processes of the daemon.
        descriptors, threads: Of them all; without the connections of clients.
        wal_bytes: Size of SQLite's log.
        p99_s: 99 of 100 answers of the interval took less; of what a client waits
            for, which a collection is not.
        answers: How many there were.
        collect_s: The longest collection that ended in the interval.
    """

    at_s: float
    rss_bytes: int
    descriptors: int
    threads: int
    wal_bytes: int
    p99_s: float
    answers: int
    collect_s: float


class Row(NamedTuple):
    """One line of a verdict: what is held against which limit, and whether it holds."""

    what: str
    found: str
    limit: str
    good: bool


class Outcome(NamedTuple):
    """What a run did and found.

    Attributes:
        seed: What to give to have it again.
        samples: What was measured.
        acknowledged, reads, events, connections: What was done: writes, reads, and
            what watchers were told on how many connections.
        resyncs: How often a watcher was told that a collection had overtaken it.
        collections, collected: How many there were, and of how many revisions.
        rows: The verdict on the samples.
        wrong: Everything else that is not as it should be.
    """

    seed: int
    samples: Sequence[Sample]
    acknowledged: int
    reads: int
    events: int
    connections: int
    resyncs: int
    collections: int
    collected: int
    rows: Sequence[Row]
    wrong: Sequence[str]

    def __str__(self) -> str:
        """Return it as a few lines of text."""
        lines = [
            f"{self.acknowledged:,} writes acknowledged, {self.reads:,} other requests",
            f"{self.events:,} events on {self.connections:,} watch connections",
            f"watchers overtaken {self.resyncs:,} times by collections",
            f"{self.collected:,} revisions removed by {self.collections:,} collections",
            f"{'':14}{'found':>24}  {'limit':>24}",
            *(
                f"{row.what:14}{row.found:>24}  {row.limit:>24}  "
                f"{'good' if row.good else 'BAD'}"
                for row in self.rows
            ),
            *(f"WRONG: {sentence}" for sentence in self.wrong[:50]),
            f"seed {self.seed}",
            f"{len(self.wrong)} wrong" if self.wrong else "nothing wrong",
        ]
        return "\n".join(lines)


def judge(samples: Sequence[Sample], warm_up_s: float) -> list[Row]:
    """Return what the samples say, of those that were taken after ``warm_up_s``.

    Of memory only the later half of them counts: caches fill to their limits before.
    """
    warm = [sample for sample in samples if sample.at_s >= warm_up_s]
    if len(warm) < _LEAST:
        return [Row("samples", str(len(warm)), f"at least {_LEAST}", good=False)]
    third = len(warm) // 3
    early, late = warm[:third], warm[-third:]
    filled = warm[len(warm) // 2 :]
    hours = (filled[-1].at_s - filled[0].at_s) / 3600
    slope = statistics.linear_regression(
        [sample.at_s / 3600 for sample in filled],
        [sample.rss_bytes / _MIB for sample in filled],
    ).slope
    rate = _GROWTH_MIB_PER_HOUR + _BREATH_MIB / hours
    wal = max(sample.wal_bytes for sample in samples) / _MIB
    first, last = (statistics.median(s.p99_s for s in some) for some in (early, late))
    return [
        Row("memory", f"{slope:+.1f} MiB/h", f"< {rate:.1f} MiB/h", slope < rate),
        *(
            _flat(
                what,
                [getattr(s, what) for s in early],
                [getattr(s, what) for s in late],
            )
            for what in ("descriptors", "threads")
        ),
        Row("wal", f"{wal:.1f} MiB", f"< {_WAL_MIB:.0f} MiB", wal < _WAL_MIB),
        Row(
            "p99",
            f"{last * 1e3:.1f} ms",
            f"<= {first * _SLOWER * 1e3:.1f} ms",
            last <= first * _SLOWER,
        ),
    ]


def _flat(what: str, early: Sequence[int], late: Sequence[int]) -> Row:
    limit = max(early) + 2 + max(early) // 20
    found = statistics.median(late)
    return Row(what, f"{found:.0f}", f"<= {limit}", found <= limit)


class _Times:
    """How long answers took since it was last asked. Any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._seconds: list[float] = []
        self.total = 0

    def add(self, seconds: float) -> None:
        with self._lock:
            self._seconds.append(seconds)
            self.total += 1

    def take(self) -> tuple[float, int]:
        """Return the 99th percentile and the count, and begin anew."""
        with self._lock:
            seconds, self._seconds = sorted(self._seconds), []
        return (seconds[len(seconds) * 99 // 100] if seconds else 0.0), len(seconds)


class _Client:
    """Somebody who asks one thing after the other, on one connection."""

    _pause_s = 0.0

    def __init__(self, times: _Times, faults: list[str]) -> None:
        self._times = times
        self._faults = faults

    def run(self, daemon: ChildDaemon, done: threading.Event) -> None:
        """Ask until ``done``."""
        connection = daemon.connect()
        try:
            while not done.is_set():
                self._step(connection)
                done.wait(self._pause_s)
        except (OSError, HTTPException) as error:
            if not done.is_set():
                self._faults.append(f"a client was cut off: {error!r}")
        finally:
            connection.close()

    def _step(self, connection: HTTPConnection) -> None:
        raise NotImplementedError

    def _ask(
        self, connection: HTTPConnection, method: str, target: str, body: object = None
    ) -> Any:
        began = time.monotonic()
        status, answer = call(connection, method, target, body)
        self._times.add(time.monotonic() - began)
        if status not in _STATUSES:
            self._faults.append(f"{method} {target} was answered {status}: {answer}")
        return answer


class _Collector(_Client):
    """Collects old revisions again and again.

    Attributes:
        keep: How many of each branch stay.
        revisions: How many were removed.
    """

    _pause_s = _COLLECT_S

    def __init__(self, keep: int, times: _Times, faults: list[str]) -> None:
        super().__init__(times, faults)
        self.keep = keep
        self.revisions = 0

    def _step(self, connection: HTTPConnection) -> None:
        answer = self._ask(connection, "POST", "/v1/gc", {"keep": self.keep})
        self.revisions += answer.get("pruned", 0)


class _Reader(_Client):
    """Reads all it can, and writes what the ledger does not know of."""

    def __init__(
        self, name: str, chance: Random, times: _Times, faults: list[str]
    ) -> None:
        super().__init__(times, faults)
        self._name = name
        self._chance = chance
        self._etags: dict[str, str] = {}
        self._count = 0

    def _step(self, connection: HTTPConnection) -> None:
        namespace = self._chance.choice(NAMESPACES)
        query = urlencode({"namespace": namespace})
        act = self._chance.random()
        if act < 0.6:  # noqa: PLR2004
            self._read(connection, f"/v1/state?{query}")
        elif act < 0.75:  # noqa: PLR2004
            self._ask(connection, "GET", f"/v1/log?{query}&limit=5&changes=none")
        elif act < 0.85:  # noqa: PLR2004
            scope = {"namespace": namespace, "branch": "main"}
            body = {"scope": scope, "from": {"revision": -1}}
            self._ask(connection, "POST", "/v1/diff", body)
        elif act < 0.98:  # noqa: PLR2004
            self._count += 1
            document = {"key": f"k{self._count % 50}", "content": f"{self._count}\n"}
            scope = {"namespace": _CHURN, "branch": "main"}
            body = {"scope": scope, "documents": [document], "changes": "none"}
            self._ask(connection, "POST", "/v1/apply", body)
        else:
            self._name_and_forget(connection)

    def _name_and_forget(self, connection: HTTPConnection) -> None:
        """Make a branch and a checkpoint, and delete them."""
        place = {"namespace": _CHURN, "name": self._name}
        for route in ("/v1/branches", "/v1/checkpoints"):
            body = {"scope": {"namespace": _CHURN}, "name": self._name}
            self._ask(connection, "POST", route, body)
            self._ask(connection, "DELETE", route, place)

    def _read(self, connection: HTTPConnection, target: str) -> None:
        headers = {"If-None-Match": self._etags.get(target, '"none"')}
        began = time.monotonic()
        connection.request("GET", target, headers=headers)
        answer = connection.getresponse()
        answer.read()
        self._times.add(time.monotonic() - began)
        if answer.status not in {HTTPStatus.OK, HTTPStatus.NOT_MODIFIED}:
            self._faults.append(f"GET {target} was answered {answer.status}")
        self._etags[target] = answer.headers["ETag"] or '"none"'


class _Watcher:
    """Watches a branch from its beginning, over many short connections.

    Attributes:
        seen: The numbers that it was told, in order.
        skipped: What it was not told, as that was collected: behind a number, up to
            another.
        opened: How many connections there were.
    """

    def __init__(self, namespace: str, branch: str, chance: Random) -> None:
        self.namespace = namespace
        self.branch = branch
        self.seen: list[int] = []
        self.skipped: list[tuple[int, int]] = []
        self.opened = 0
        self.faults: list[str] = []
        self._chance = chance

    async def run(self, port: int, done: asyncio.Event) -> None:
        """Watch until ``done``."""
        while not done.is_set():
            stay_s = self._chance.uniform(*_STAY_S)
            with contextlib.suppress(TimeoutError, OSError):
                async with asyncio.timeout(stay_s):
                    await self._connect(port)

    async def _connect(self, port: int) -> None:
        query = {"namespace": self.namespace, "branch": self.branch, "after": self.at}
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        self.opened += 1
        try:
            writer.write(
                f"GET /v1/watch?{urlencode(query)} HTTP/1.1\r\nHost: st8\r\n\r\n".encode()
            )
            head = await reader.readuntil(b"\r\n\r\n")
            if not head.startswith(b"HTTP/1.1 200"):
                self.faults.append(f"a watch was answered {head[:40]!r}")
                return
            await self._listen(reader)
        finally:
            writer.transport.abort()

    @property
    def at(self) -> int:
        """Up to which number it knows all."""
        return max([0, *self.seen[-1:], *(to for _, to in self.skipped[-1:])])

    def expected(self, history: Sequence[int]) -> list[int]:
        """Return what it should have been told of a history, the oldest first."""
        return [
            number
            for number in history
            if not any(behind < number <= to for behind, to in self.skipped)
        ]

    async def _listen(self, reader: asyncio.StreamReader) -> None:
        parser = EventParser()
        while True:
            size = int(await reader.readline() or b"0", 16)
            if not size:
                return
            data = await reader.readexactly(size)
            await reader.readline()
            for event in parser.feed(data):
                if event.name == "revision":
                    self.seen.append(int(event.id))
                elif event.name == "resync":
                    self.skipped.append((self.at, json.loads(event.data)["revision"]))
                elif event.name != "start":
                    self.faults.append(f"a watcher was told {event.name}: {event.data}")


def run(
    state_dir: Path,
    *,
    seconds: float,
    seed: int,
    interval_s: float = 10.0,
    warm_up_s: float | None = None,
    watchers: int = 200,
    writers: int = 4,
    keep: int = 500,
    workers: int = 1,
    store: str | None = None,
    command: Sequence[str] = ST8D,
    say: Callable[[str], None] = lambda _: None,
) -> Outcome:
    """Keep a daemon busy, and return what came of it.

    Args:
        state_dir: Where the daemon lives; empty.
        seconds: How long.
        seed: Decides what is done.
        interval_s: How often it is measured.
        warm_up_s: What is measured before counts for nothing; a fifth if None, ten
            minutes at most.
        watchers: How many watch.
        writers: How many write, and how many read.
        keep: How many revisions of each branch collections keep.
        workers: Processes of the daemon.
        store: URL of an empty store in PostgreSQL; None for an embedded one.
        command: What to run instead of st8d.
        say: Is told each sample.
    """
    where = None if store else state_dir
    flags = [*(("--store", store) if store else ()), "--workers", str(workers)]
    with ChildDaemon(where, *flags, command=command) as daemon:
        soak = _Soak(
            daemon, state_dir, seed, watchers=watchers, writers=writers, keep=keep
        )
        samples = soak.work(seconds, interval_s, say)
        exit_code = daemon.stop()
    wrong = soak.wrong
    if exit_code:
        wrong.append(f"the daemon ended with exit code {exit_code}")
    opened = open_store(store or f"sqlite:{state_dir}")
    with contextlib.closing(opened):
        wrong += soak.compare(opened)
    warm = min(600.0, seconds / 5) if warm_up_s is None else warm_up_s
    fates = [attempt.fate for attempt in soak.ledger.attempts.values()]
    return Outcome(
        seed,
        samples,
        fates.count("acknowledged"),
        len(soak.ledger.reads) + soak.times.total,
        sum(len(watcher.seen) for watcher in soak.watchers),
        sum(watcher.opened for watcher in soak.watchers),
        sum(len(watcher.skipped) for watcher in soak.watchers),
        soak.collections.total,
        soak.collector.revisions,
        judge(samples, warm),
        wrong,
    )


class _Soak:
    """The state of a run."""

    def __init__(
        self,
        daemon: ChildDaemon,
        state_dir: Path,
        seed: int,
        *,
        watchers: int,
        writers: int,
        keep: int,
    ) -> None:
        self.ledger = Ledger()
        self.times = _Times()
        self.collections = _Times()
        self.wrong: list[str] = []
        self._daemon = daemon
        self._state_dir = state_dir
        self._done = threading.Event()
        chances = [Random(f"{seed}/{n}") for n in range(2 * writers + watchers)]  # noqa: S311
        # No new branches and checkpoints: they would keep more and more.
        self._writers = [
            Writer(
                f"writer-{n}",
                chances.pop(),
                self.ledger,
                list(product(NAMESPACES, BRANCHES)),
                kinds=("apply", "rollback", "restore"),
            )
            for n in range(writers)
        ]
        self.collector = _Collector(keep, self.collections, self.wrong)
        self._clients = [
            self.collector,
            *(
                _Reader(f"reader-{n}", chances.pop(), self.times, self.wrong)
                for n in range(writers)
            ),
        ]
        self.watchers = [
            _Watcher(NAMESPACES[n % len(NAMESPACES)], "main", chances.pop())
            for n in range(watchers)
        ]

    def work(
        self, seconds: float, interval_s: float, say: Callable[[str], None]
    ) -> list[Sample]:
        """Do everything for so long, and return what was measured."""
        clients = [
            threading.Thread(target=client.run, args=(self._daemon, self._done))
            for client in self._clients
        ]
        watching = threading.Thread(target=lambda: asyncio.run(self._watch()))
        for writer in self._writers:
            writer.roam([self._daemon], self._done)
        for thread in (watching, *clients):
            thread.start()
        try:
            samples = self._measure(seconds, interval_s, say)
        finally:
            self._done.set()
            for writer in self._writers:
                writer.join()
            for thread in (*clients, watching):
                thread.join()
        return samples

    def _measure(
        self, seconds: float, interval_s: float, say: Callable[[str], None]
    ) -> list[Sample]:
        samples: list[Sample] = []
        began = time.monotonic()
        while (left_s := seconds - (time.monotonic() - began)) > 0:
            time.sleep(min(left_s, interval_s))
            sample = self._sample(time.monotonic() - began)
            samples.append(sample)
            say(
                f"{sample.at_s:7.0f} s  {sample.rss_bytes / _MIB:7.1f} MiB  "
                f"{sample.descriptors} descriptors  {sample.threads} threads  "
                f"WAL {sample.wal_bytes / _MIB:.1f} MiB  "
                f"p99 {sample.p99_s * 1e3:.1f} ms of {sample.answers}  "
                f"collected in {sample.collect_s:.1f} s"
            )
        return samples

    def _sample(self, at_s: float) -> Sample:
        processes = _family(self._daemon.process.pid)
        p99_s, answers = self.times.take()
        collect_s = self.collections.take()[0]
        wal = max((p.stat().st_size for p in self._state_dir.glob("*-wal")), default=0)
        return Sample(
            at_s,
            sum(_status(process, "VmRSS") for process in processes) * 1024,
            sum(map(_own_descriptors, processes)),
            sum(_status(process, "Threads") for process in processes),
            wal,
            p99_s,
            answers,
            collect_s,
        )

    async def _watch(self) -> None:
        done = asyncio.Event()
        tasks = [
            asyncio.ensure_future(watcher.run(self._daemon.port, done))
            for watcher in self.watchers
        ]
        await asyncio.to_thread(self._done.wait)
        for writer in self._writers:
            await asyncio.to_thread(writer.join)
        await self._rest()
        done.set()
        await asyncio.gather(*tasks)
        for watcher in self.watchers:
            self.wrong += watcher.faults

    async def _rest(self) -> None:
        """Wait until everybody was told everything, or takes too long."""
        heads = {name: max(self._history(name), default=0) for name in NAMESPACES}
        deadline = time.monotonic() + _REST_S
        while time.monotonic() < deadline:
            if all(w.at == heads[w.namespace] for w in self.watchers):
                return
            await asyncio.sleep(0.05)

    def _history(self, namespace: str) -> list[int]:
        """Return the numbers that were made on the main branch, the oldest first."""
        return sorted(
            attempt.answer["revision"]
            for attempt in self.ledger.attempts.values()
            if (attempt.namespace, attempt.branch) == (namespace, "main")
            and attempt.fate == "acknowledged"
            and not attempt.answer["noop"]
        )

    def compare(self, store: Store) -> list[str]:
        """Return what is wrong in the store, or in what watchers were told."""
        oracle = Oracle(self.ledger, kept=self.collector.keep)
        wrong = oracle.look(store, thorough=True, aside={_CHURN})
        wrong += oracle.explain()
        for name in NAMESPACES:
            history = self._history(name)
            wrong += [
                f"a watcher of {name} was told {len(watcher.seen)} revisions, not the "
                f"{len(watcher.expected(history))} that were made, in their order"
                for watcher in self.watchers
                if watcher.namespace == name
                and watcher.seen != watcher.expected(history)
            ]
        return [*self.ledger.faults, *wrong]


def _family(process: int) -> list[int]:
    """Return a process and its children, by their ids."""
    path = Path(f"/proc/{process}/task/{process}/children")
    return [process, *map(int, path.read_text(encoding="ascii").split())]


def _status(process: int, name: str) -> int:
    """Return a number of ``/proc/…/status``; kibibytes, if it is a size."""
    with contextlib.suppress(OSError):
        lines = Path(f"/proc/{process}/status").read_text(encoding="utf-8").splitlines()
        for line in lines:
            if line.startswith(f"{name}:"):
                return int(line.split()[1])
    return 0


def _own_descriptors(process: int) -> int:
    """Return how many descriptors a process has that are no sockets."""
    count = 0
    with contextlib.suppress(OSError):
        for path in Path(f"/proc/{process}/fd").iterdir():
            with contextlib.suppress(OSError):
                count += not str(path.readlink()).startswith("socket:")
    return count


def main(arguments: Sequence[str] | None = None) -> int:
    """Run from the command line; return 1 if anything is wrong or grew."""
    parser = argparse.ArgumentParser(
        prog="script/soak", description="Keep st8d busy, and see whether it lasts."
    )
    parser.add_argument("--minutes", type=float, default=480.0)
    parser.add_argument("--interval", type=float, default=10.0, help="seconds")
    parser.add_argument("--watchers", type=int, default=200)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--store", help="URL of an empty store; else an embedded one")
    parser.add_argument("--seed", type=int, default=secrets.randbelow(2**32))
    told = parser.parse_args(arguments)
    _print(f"seed {told.seed}")
    with tempfile.TemporaryDirectory(prefix="st8-soak-") as folder:
        outcome = run(
            Path(folder) / "state",
            seconds=told.minutes * 60,
            seed=told.seed,
            interval_s=told.interval,
            watchers=told.watchers,
            workers=told.workers,
            store=told.store,
            say=_print,
        )
    _print(str(outcome))
    return 1 if outcome.wrong or not all(row.good for row in outcome.rows) else 0


def _print(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
