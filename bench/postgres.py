"""Commits a second on PostgreSQL, beside a bare ``UPDATE`` on the same server.

The store in PostgreSQL with one and two daemons, the embedded store, and what the
server does at best: a prepared ``UPDATE`` of one row, committed each time, on one
connection and on several. All fsync, all take turns, so the ratios are of one run::

    python bench/postgres.py [--quick]

It starts a PostgreSQL of its own; see tests/postgres/server.py.
"""

from __future__ import annotations

import argparse
import itertools
import sys
import tempfile
import threading
import time
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from bench.measure import Report, in_turns
from st8.clock import SystemClock
from st8.core.documents import Document
from st8.core.ids import BranchName, Key, Namespace, Scope
from st8.engine.engine import Engine
from st8.engine.requests import Apply
from st8.store.postgres import PostgresStore
from st8.store.sqlite import SqliteStore
from tests.postgres.server import PostgresServer

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_DOCUMENTS = 1_000
_NAMES = itertools.count()


class Plan(NamedTuple):
    """How much to measure.

    Attributes:
        writers: How many write at once.
        turn_s: How long a turn takes.
        rounds: Turns.
    """

    writers: tuple[int, ...]
    turn_s: float
    rounds: int


QUICK = Plan((1, 16), 0.5, 3)
USUAL = Plan((1, 16, 64), 2.0, 5)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run from the command line; return the exit code."""
    parser = argparse.ArgumentParser(description="Commits a second on PostgreSQL.")
    parser.add_argument("--quick", action="store_true", help="half a minute")
    options = parser.parse_args(arguments)
    report = Report("PostgreSQL")
    server = PostgresServer()
    try:
        with tempfile.TemporaryDirectory() as folder:
            measure(QUICK if options.quick else USUAL, server, Path(folder), report)
    finally:
        server.close()
    report.print()
    return 0


def measure(plan: Plan, server: PostgresServer, folder: Path, report: Report) -> None:
    """Measure all rows, and add them to ``report``."""
    with ExitStack() as stack:
        url = server.url("bench")

        def engine(at: str | Path) -> Engine:
            store = PostgresStore(at) if isinstance(at, str) else SqliteStore(at)
            made = Engine(store, SystemClock())
            stack.callback(made.close)
            return made

        one, two, embedded = engine(url), engine(url), engine(folder / "sqlite")
        for each in (one, embedded):
            _fill(each, "same")
            _fill(each, "other")
        server.run("CREATE TABLE bare (id bigint PRIMARY KEY, n bigint)")
        name = one.store_name
        works = _works(plan, server, (one, two), embedded)
        found = in_turns(works, plan.rounds)
    rows = [
        (
            what,
            *(
                _show(found.get(f"{what}/{n}"), found[f"UPDATE/{n}"])
                for n in plan.writers
            ),
        )
        for what in dict.fromkeys(key.rpartition("/")[0] for key in works)
    ]
    report.add_table(
        f"Commits a second, and as a ratio to the UPDATE; {name}",
        ("", *(f"{n} writers" if n > 1 else "1 writer" for n in plan.writers)),
        rows,
    )


def _works(
    plan: Plan, server: PostgresServer, daemons: tuple[Engine, Engine], embedded: Engine
) -> dict[str, Callable[[], float]]:
    """Return what is measured, by its name and the number of writers."""
    one, two = daemons
    works: dict[str, Callable[[], float]] = {}
    for n in plan.writers:
        run = partial(_rate, plan.turn_s)
        half = max(n // 2, 1)
        works[f"UPDATE/{n}"] = partial(_update_rate, plan.turn_s, server, n)
        works[f"st8, one daemon/{n}"] = partial(run, [(one, "same")] * n)
        if n > 1:
            works[f"st8, two daemons, one branch/{n}"] = partial(
                run, [(one, "same")] * half + [(two, "same")] * half
            )
            works[f"st8, two daemons, two namespaces/{n}"] = partial(
                run, [(one, "same")] * half + [(two, "other")] * half
            )
        works[f"st8, embedded/{n}"] = partial(run, [(embedded, "same")] * n)
    return works


def _show(rate: float | None, bare: float) -> str:
    return "" if rate is None else f"{rate:,.0f} ({rate / bare:.2f})"


def _scope(namespace: str) -> Scope:
    return Scope(Namespace(namespace), BranchName("main"))


def _fill(engine: Engine, namespace: str) -> None:
    documents = tuple(
        Document(Key(f"d/{n:04d}"), f"{n}\n" * 20) for n in range(_DOCUMENTS)
    )
    engine.apply(Apply(_scope(namespace), documents))


def _rate(turn_s: float, writers: Sequence[tuple[Engine, str]]) -> float:
    """Return how many applies of one document the writers make in a second."""

    def write(writer: int) -> None:
        engine, namespace = writers[writer]
        number = next(_NAMES)
        key = Key(f"d/{number * 7 % _DOCUMENTS:04d}")
        engine.apply(Apply(_scope(namespace), (Document(key, f"new {number}\n" * 20),)))

    return _counted(turn_s, len(writers), write)


def _update_rate(turn_s: float, server: PostgresServer, writers: int) -> float:
    """Return how many rows are updated in a second, each writer its own."""
    with ExitStack() as stack:
        connections = [
            stack.enter_context(server.connect()) for _ in range(min(writers, 32))
        ]
        for n, connection in enumerate(connections):
            connection.execute(
                b"INSERT INTO bare VALUES (%s, 0) ON CONFLICT DO NOTHING", (n,)
            )

        def update(writer: int) -> None:
            connections[writer].execute(
                b"UPDATE bare SET n = n + 1 WHERE id = %s", (writer,), prepare=True
            )

        return _counted(turn_s, len(connections), update)


def _counted(turn_s: float, workers: int, work: Callable[[int], None]) -> float:
    """Return how often in a second ``work`` is done by so many threads at once."""
    counts = [0] * workers
    end = time.perf_counter() + turn_s

    def run(worker: int) -> None:
        while time.perf_counter() < end:
            work(worker)
            counts[worker] += 1

    threads = [threading.Thread(target=run, args=(n,)) for n in range(workers)]
    begun = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(counts) / (time.perf_counter() - begun)


if __name__ == "__main__":
    sys.exit(main())
