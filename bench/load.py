"""What many clients at once get out of one daemon.

Applies over HTTP by 1, 16 and 64 writers on keep-alive connections, each of one
document with a content of its own in a branch of 50; how many of them share an
fsync; what the engine does without HTTP; reads of the 50 documents, and 304s, beside
a bare uvicorn app that returns the same bytes::

    python bench/load.py [--quick] [--folder DIRECTORY]

Needs wrk. All take turns for several rounds; the ratios are of medians.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Self

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from bench import wrk
from bench.documents import content, key
from bench.measure import Report, cpu_s, in_turns, say
from bench.site import Site
from st8.testing.child import ChildDaemon, call, free_port

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from bench.wrk import Load

_HERE = Path(__file__).resolve().parent
_BARE = "from bench.bare import main; main()"
_DOCUMENTS = 50


class Plan(NamedTuple):
    """How much to measure.

    Attributes:
        clients: How many at a time.
        seconds: How long one turn is.
        rounds: Turns of each.
    """

    clients: tuple[int, ...]
    seconds: int
    rounds: int


_QUIET = ("--log-level", "warning")
QUICK = Plan((1, 64), 1, 3)
USUAL = Plan((1, 16, 64), 3, 7)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; see the module."""
    parser = argparse.ArgumentParser(description="Measure many clients at once.")
    parser.add_argument("--quick", action="store_true", help="short turns, few rounds")
    parser.add_argument("--folder", type=Path, help="where the stores are made")
    options = parser.parse_args(arguments)
    if not wrk.present():
        say("bench/load.py needs wrk (Debian: apt-get install wrk)")
        return 2
    plan = QUICK if options.quick else USUAL
    report = Report("Load")
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        measure(plan, Path(name), report)
    report.print()
    return 0


def measure(plan: Plan, folder: Path, report: Report) -> None:
    """Measure everything and add it to ``report``."""
    with contextlib.ExitStack() as stack:
        logging = stack.enter_context(_Served(folder / "logging"))
        quiet = stack.enter_context(_Served(folder / "quiet", *_QUIET))
        limited = stack.enter_context(
            _Served(folder / "limited", *_QUIET, "--rate-limit", "1000000")
        )
        bare = stack.enter_context(_Bare(quiet, folder))
        engine = stack.enter_context(contextlib.closing(_Bench(folder / "engine")))
        ways: dict[str, Callable[[], float]] = {}
        for clients in plan.clients:
            for served, name in ((logging, ""), (quiet, ", quiet")):
                ways[f"apply{name}/{clients}"] = partial(
                    served.apply, clients, plan.seconds
                )
            ways[f"engine/{clients}"] = partial(engine.rate, clients, plan.seconds)
            for what, fresh in (("read", False), ("304", True)):
                ways[f"{what}/{clients}"] = partial(
                    logging.read, clients, plan.seconds, fresh=fresh
                )
                ways[f"{what}, quiet/{clients}"] = partial(
                    quiet.read, clients, plan.seconds, fresh=fresh
                )
                ways[f"{what}, limited/{clients}"] = partial(
                    limited.read, clients, plan.seconds, fresh=fresh
                )
                ways[f"{what}, bare/{clients}"] = partial(
                    bare.read, clients, plan.seconds, what
                )
        say(f"{len(ways)} measurements, {plan.rounds} rounds of {plan.seconds} s each")
        rates = in_turns(ways, plan.rounds)
        synced = quiet.count_syncs(plan.clients[-1], plan.seconds)
        _add_tables(plan, rates, quiet, synced, report)
        spent = {
            "st8d": logging.spent,
            "st8d, no access log": quiet.spent,
            "st8d, no access log, a rate limit": limited.spent,
            "bare uvicorn": bare.spent,
        }
        _add_spent(plan.clients, spent, report)


def _add_tables(
    plan: Plan,
    rates: dict[str, float],
    served: _Served,
    synced: tuple[int, int] | None,
    report: Report,
) -> None:
    one, many = plan.clients[0], plan.clients[-1]
    labels = {
        "apply": "apply",
        "apply, quiet": "apply, no access log",
        "engine": "apply, the engine without HTTP",
        "read": f"read {_DOCUMENTS} documents",
        "read, quiet": f"read {_DOCUMENTS} documents, no access log",
        "read, limited": "… with a rate limit",
        "read, bare": "… the same bytes from bare uvicorn",
        "304": "304",
        "304, quiet": "304, no access log",
        "304, limited": "… with a rate limit",
        "304, bare": "… from bare uvicorn",
    }
    report.add_table(
        f"Requests a second ({_DOCUMENTS} documents, medians of {plan.rounds})",
        ("clients", *map(str, plan.clients)),
        [
            (label, *(f"{rates[f'{way}/{clients}']:,.0f}" for clients in plan.clients))
            for way, label in labels.items()
        ],
    )
    shared = {
        clients: statistics.median(each) for clients, each in served.shared.items()
    }
    report.add_table(
        "Applies that share an fsync, by /metrics",
        ("clients", *map(str, shared)),
        [("applies to an fsync", *(f"{each:.1f}" for each in shared.values()))],
    )
    if synced is not None:
        requests, syncs = synced
        report.add_remark(
            f"Counted by strace, with {many} writers: {requests:,} applies, {syncs:,} "
            f"calls of fsync and fdatasync: {requests / max(1, syncs):.1f} to one."
        )
    report.add_bar(
        f"{many} writers: applies to an fsync", shared[many], 10, at_least=True
    )
    for way in ("apply", "apply, quiet"):
        rate = rates[f"{way}/{many}"]
        report.add_bar(
            f"{labels[way]}: {many} writers / {one}",
            rate / rates[f"{way}/{one}"],
            2.5,
            at_least=True,
        )
        report.add_bar(
            f"{labels[way]}: {many} writers / the engine with {many} threads",
            rate / rates[f"engine/{many}"],
            0.5,
            at_least=True,
        )
    for way in ("read", "read, quiet", "304", "304, quiet"):
        bare = rates[f"{way.partition(',')[0]}, bare/{many}"]
        report.add_bar(
            f"{labels[way]}, {many} clients: / bare uvicorn",
            rates[f"{way}/{many}"] / bare,
            0.6,
            at_least=True,
        )


def _add_spent(
    clients: Sequence[int], servers: dict[str, _Spent], report: Report
) -> None:
    """Add the table of processor time, which other programs disturb less."""
    rows = [
        (
            f"{kind}, {name}",
            *(f"{spent.median_s(kind, each) * 1e6:.0f} µs" for each in clients),
        )
        for kind in ("apply", "read", "304")
        for name, spent in servers.items()
        if kind != "apply" or name in {"st8d", "st8d, no access log"}
    ]
    columns = ("clients", *map(str, clients))
    report.add_table("Processor time of the server for a request", columns, rows)


class _Spent:
    """The processor time that a server spends on a request, by kind and clients."""

    def __init__(self, process: int) -> None:
        self._process = process
        self._times: dict[tuple[str, int], list[float]] = {}

    @contextlib.contextmanager
    def of(self, kind: str, clients: int) -> Iterator[Callable[[int], None]]:
        """Measure the block, which says how many requests it made."""
        requests = 0

        def count(number: int) -> None:
            nonlocal requests
            requests = number

        before = cpu_s(self._process)
        yield count
        spent = (cpu_s(self._process) - before) / max(1, requests)
        self._times.setdefault((kind, clients), []).append(spent)

    def median_s(self, kind: str, clients: int) -> float:
        """Return the median over the turns."""
        return statistics.median(self._times[kind, clients])


class _Served:
    """A daemon with 50 documents, under load by wrk.

    Attributes:
        daemon: The daemon.
        shared: Number of writers → how many applies shared an fsync, each turn.
        spent: Its processor time.
    """

    def __init__(self, folder: Path, *arguments: str) -> None:
        self.daemon = ChildDaemon(folder, *arguments, port=free_port())
        self.shared: dict[int, list[float]] = {}
        self.spent = _Spent(self.daemon.process.pid)
        self._turns = 0
        with contextlib.closing(self.daemon.connect()) as connection:
            documents = [
                {"key": key(number), "content": content(number)}
                for number in range(_DOCUMENTS)
            ]
            for namespace in ("load/test", "read/test"):
                body = {"scope": {"namespace": namespace}, "documents": documents}
                status, answer = call(connection, "POST", "/v1/apply", body)
                assert status == 200, answer
        self.state_url = f"{self.daemon.url}/v1/state?namespace=read/test"
        self.etag = ""
        _, headers, _ = self.answer()
        self.etag = dict(headers)["etag"]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.daemon.stop()

    def answer(self) -> tuple[int, list[tuple[str, str]], str]:
        """Return status, headers and body of a read, or of a 304 once known."""
        with contextlib.closing(self.daemon.connect()) as connection:
            headers = {"If-None-Match": self.etag} if self.etag else {}
            connection.request("GET", self.state_url, headers=headers)
            answer = connection.getresponse()
            named = [(n.lower(), v) for n, v in answer.getheaders()]
            kept = [(n, v) for n, v in named if n != "date"]  # uvicorn adds its own
            return answer.status, kept, answer.read().decode()

    def apply(self, clients: int, seconds: int) -> float:
        """Return applies a second by some writers."""
        commits, requests = self._committed()
        with self.spent.of("apply", clients) as count:
            load = self._apply(clients, seconds)
            count(load.requests)
        commits_after, requests_after = self._committed()
        made = requests_after - requests
        assert made >= load.requests, "an answered apply was not committed"
        self.shared.setdefault(clients, []).append(made / (commits_after - commits))
        return load.rate

    def _apply(self, clients: int, seconds: int) -> Load:
        self._turns += 1
        return wrk.apply(self.daemon.url, clients, seconds, self._turns)

    def read(self, clients: int, seconds: int, *, fresh: bool) -> float:
        """Return reads a second, or 304s if the reader has it already."""
        headers = (f"If-None-Match: {self.etag}",) if fresh else ()
        with self.spent.of("304" if fresh else "read", clients) as count:
            load = wrk.run(self.state_url, clients, seconds, headers=headers)
            count(load.requests)
        assert not load.failed, load
        return load.rate

    def _committed(self) -> tuple[int, int]:
        """Return commits, each one fsync, and the writes in them."""
        with contextlib.closing(self.daemon.connect()) as connection:
            connection.request("GET", "/metrics")
            text = connection.getresponse().read().decode()
        found = dict(re.findall(r"^(st8_store_\w+_total) ([\d.]+)", text, re.MULTILINE))
        names = ("st8_store_commits_total", "st8_store_committed_requests_total")
        commits, requests = (int(float(found[name])) for name in names)
        return commits, requests

    def count_syncs(self, clients: int, seconds: int) -> tuple[int, int] | None:
        """Return applies, and syncs that the kernel saw; None without strace."""
        with tempfile.NamedTemporaryFile("r") as file:
            command = ["strace", "-f", "-c", "-e", "trace=fsync,fdatasync", "-o"]
            try:
                tracer = subprocess.Popen(
                    [*command, file.name, "-p", str(self.daemon.process.pid)],
                    stderr=subprocess.DEVNULL,
                )
            except FileNotFoundError:
                return None
            time.sleep(0.5)
            _, before = self._committed()
            self._apply(clients, seconds)
            _, after = self._committed()
            tracer.send_signal(signal.SIGINT)
            tracer.wait()
            rows = [line.split() for line in file.read().splitlines()]
        calls = [int(row[3]) for row in rows if row and row[-1].endswith("sync")]
        return (after - before, sum(calls)) if calls else None


class _Bare:
    """The bare uvicorn app with the answers of a daemon."""

    def __init__(self, served: _Served, folder: Path) -> None:
        etag, served.etag = served.etag, ""
        read = served.answer()
        served.etag = etag
        answers = folder / "answers.json"
        answers.write_text(json.dumps({"/read": read, "/304": served.answer()}))
        self._process = subprocess.Popen(
            [sys.executable, "-c", _BARE, str(answers)],
            cwd=_HERE.parent,
            stdout=subprocess.PIPE,
        )
        assert self._process.stdout is not None
        self._port = int(self._process.stdout.readline())
        self.spent = _Spent(self._process.pid)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()

    def read(self, clients: int, seconds: int, path: str) -> float:
        """Return answers a second."""
        with self.spent.of(path, clients) as count:
            load = wrk.run(f"http://127.0.0.1:{self._port}/{path}", clients, seconds)
            count(load.requests)
        assert not load.failed, load
        return load.rate


class _Bench(Site):
    """The engine in this process, written to by threads."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, _DOCUMENTS)
        self._numbers = threading.Lock()

    def rate(self, threads: int, seconds: int) -> float:
        """Return applies a second by some threads, each waiting for its own."""
        until = time.perf_counter() + seconds
        done = [0] * threads

        def write(number: int) -> None:
            while time.perf_counter() < until:
                with self._numbers:
                    edit = self.next_edit()
                self.engine.apply(edit)
                done[number] += 1

        begun = time.perf_counter()
        workers = [threading.Thread(target=write, args=(n,)) for n in range(threads)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        return sum(done) / (time.perf_counter() - begun)


if __name__ == "__main__":
    sys.exit(main())
