"""What requests feel of a garbage collection: the longest they take meanwhile.

A store with many documents and a long history, of which a collection leaves one
revision. Applies by one writer and by sixteen, with reads of one document beside them,
first alone and then while it is collected::

    python bench/collect.py [--quick] [--folder DIRECTORY] [--postgres]

Needs wrk; with ``--postgres`` the store is in a PostgreSQL that is started for it.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from bench import wrk
from bench.documents import key
from bench.measure import Report, disk_bytes, fsync_s, say, show_bytes, show_s
from bench.site import Site
from st8.testing.child import ChildDaemon, call, free_port

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_WRITERS: Final = (1, 16)
_PAUSE_S: Final = 0.05
"""What a collection may hold requests up for."""


class Plan(NamedTuple):
    """How much to measure.

    Attributes:
        documents: In the state.
        revisions: Of the history, each of which changes one of them.
        turns: How many turns of load are measured without a collection.
        seconds: How long one is.
    """

    documents: int
    revisions: int
    turns: int
    seconds: int


QUICK: Final = Plan(10_000, 5_000, 2, 3)
USUAL: Final = Plan(100_000, 40_000, 4, 3)


class _Loads(NamedTuple):
    """What writers saw over some turns of load, and a reader: seconds of each read."""

    writes: list[wrk.Load]
    reads: list[float]


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; see the module."""
    parser = argparse.ArgumentParser(description="Measure requests beside a gc.")
    parser.add_argument("--quick", action="store_true", help="a small store")
    parser.add_argument("--folder", type=Path, help="where the stores are made")
    parser.add_argument("--postgres", action="store_true", help="in PostgreSQL")
    options = parser.parse_args(arguments)
    if not wrk.present():
        say("bench/collect.py needs wrk (Debian: apt-get install wrk)")
        return 2
    plan = QUICK if options.quick else USUAL
    report = Report("Requests beside a collection")
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        folder = Path(name)
        if options.postgres:
            from tests.postgres.server import (  # noqa: PLC0415 - only when asked for
                PostgresServer,
            )

            with contextlib.closing(PostgresServer()) as server:
                urls = [server.url(server.new_schema()) for _ in _WRITERS]
                for url in urls:
                    make(url, plan)
                measure(plan, urls, report)
        else:
            first = folder / "1"
            make(first, plan)
            for number in _WRITERS[1:]:
                shutil.copytree(first, folder / str(number))
            os.sync()  # else the first sync of the daemon's waits for all of it
            measure(plan, [folder / str(number) for number in _WRITERS], report)
    report.print()
    return 0


def make(at: Path | str, plan: Plan) -> None:
    """Make a store with a history."""
    say(f"making {plan.documents:,} documents and {plan.revisions:,} revisions")
    site = Site(at, plan.documents)
    site.commit_many(plan.revisions)
    site.engine.close()


def measure(plan: Plan, places: Sequence[Path | str], report: Report) -> None:
    """Measure everything and add it to ``report``."""
    rows: list[tuple[str, ...]] = []
    for writers, place in zip(_WRITERS, places, strict=True):
        with _served(place) as daemon:
            alone = _load(daemon, writers, plan, None)
            size = disk_bytes(place) if isinstance(place, Path) else 0
            beside, answer, took_s = _collected(daemon, writers, plan)
            left = disk_bytes(place) if isinstance(place, Path) else 0
        say(f"{writers} writers: {answer} in {took_s:.1f} s")
        label = f"{writers} writer{'s' if writers > 1 else ''}"
        rows += [
            _row(f"{label}, alone", alone),
            _row(f"{label}, beside a collection of {took_s:.0f} s", beside),
        ]
        report.add_remark(
            f"{label}: {answer['pruned']:,} revisions and "
            f"{answer['objects_deleted']:,} objects went in {took_s:.0f} s"
            + (f"; {show_bytes(size)} became {show_bytes(left)}." if size else ".")
        )
        longest_s = max(load.longest_s for load in beside.writes)
        median_s = min(load.median_s for load in beside.writes)
        report.add_bar(
            f"{label}: the longest pause beside a collection, which is what the longest "
            "apply took more than the median / 50 ms",
            (longest_s - median_s) / _PAUSE_S,
            1.0,
        )
    report.add_remark(f"An fsync takes {show_s(fsync_s())}.")
    columns = (
        "",
        *("applies/s", "median", "p99", "longest"),
        *("reads: median", "p99", "longest"),
    )
    report.add_table("Applies of one document, and reads of one", columns, rows)


def _row(label: str, loads: _Loads) -> tuple[str, ...]:
    writes, reads = loads
    middle = sorted(writes, key=lambda load: load.median_s)[len(writes) // 2]
    reads = sorted(reads)
    seconds = (
        middle.median_s,
        max(load.p99_s for load in writes),
        max(load.longest_s for load in writes),
        reads[len(reads) // 2],
        reads[len(reads) * 99 // 100],
        reads[-1],
    )
    rate = sum(load.rate for load in writes) / len(writes)
    return (label, f"{rate:,.0f}", *map(show_s, seconds))


def _collected(
    daemon: ChildDaemon, writers: int, plan: Plan
) -> tuple[_Loads, dict[str, int], float]:
    """Return what was seen during a collection, its answer and how long it took."""
    done = threading.Event()
    found: list[tuple[dict[str, int], float]] = []

    def collect() -> None:
        begun_s = time.perf_counter()
        with contextlib.closing(daemon.connect(timeout_s=3_600)) as connection:
            status, answer = call(connection, "POST", "/v1/gc", {"keep": 1})
        assert status == 200, answer
        found.append((answer, time.perf_counter() - begun_s))
        done.set()

    thread = threading.Thread(target=collect)
    thread.start()
    loads = _load(daemon, writers, plan, done)
    thread.join()
    return loads, *found[0]


def _load(
    daemon: ChildDaemon, writers: int, plan: Plan, done: threading.Event | None
) -> _Loads:
    """Load a daemon for the turns of the plan, or until it is done."""
    turns = plan.turns if done is None else None
    loads = _Loads([], [])
    over = threading.Event()
    reading = threading.Thread(target=_read, args=(daemon, loads.reads, over))
    reading.start()
    try:
        while len(loads.writes) != turns and not (done is not None and done.is_set()):
            turn = len(loads.writes)
            loads.writes.append(wrk.apply(daemon.url, writers, plan.seconds, turn))
    finally:
        over.set()
        reading.join()
    return loads


def _read(daemon: ChildDaemon, seconds: list[float], over: threading.Event) -> None:
    """Read a document a hundred times a second, by its key, until it is over."""
    with contextlib.closing(daemon.connect()) as connection:
        while not over.wait(0.01):
            begun_s = time.perf_counter()
            connection.request("GET", f"/v1/state?key={key(len(seconds) % 100)}")
            connection.getresponse().read()
            seconds.append(time.perf_counter() - begun_s)


@contextlib.contextmanager
def _served(place: Path | str) -> Iterator[ChildDaemon]:
    """Serve a store."""
    flags = ("--log-level", "warning")
    daemon = (
        ChildDaemon(place, *flags, port=free_port())
        if isinstance(place, Path)
        else ChildDaemon(None, "--store", place, *flags, port=free_port())
    )
    with daemon:
        yield daemon


if __name__ == "__main__":
    sys.exit(main())
