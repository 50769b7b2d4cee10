"""What a second worker brings: requests a second, as a ratio to one.

Reads of 50 documents, 304s, reads beside writers, and applies, over keep-alive
connections, by a daemon with one worker and by one with two. Beside them two daemons
with a store each and half of the connections each: what two processes could do here at
most, since the clients need processors too::

    python bench/workers.py [--quick] [--folder DIRECTORY]

Needs wrk. All take turns for several rounds; the ratios are of medians.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple, Self

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from bench import wrk
from bench.documents import content, key
from bench.measure import Report, cpu_s, in_turns, say
from st8.testing.child import ChildDaemon, call, free_port

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_DOCUMENTS: Final = 50
_KINDS: Final = {
    "read": f"reads of {_DOCUMENTS} documents",
    "304": "304s",
    "beside": f"reads of {_DOCUMENTS} documents beside two writers",
    "apply": "applies",
}


class Plan(NamedTuple):
    """How much to measure.

    Attributes:
        readers: How many read at a time.
        writers: How many apply at a time.
        seconds: How long one turn is.
        rounds: Turns of each.
    """

    readers: int
    writers: int
    seconds: int
    rounds: int


QUICK: Final = Plan(64, 16, 1, 5)
USUAL: Final = Plan(64, 16, 3, 9)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; see the module."""
    parser = argparse.ArgumentParser(description="Measure a second worker.")
    parser.add_argument("--quick", action="store_true", help="short turns, few rounds")
    parser.add_argument("--folder", type=Path, help="where the stores are made")
    options = parser.parse_args(arguments)
    if not wrk.present():
        say("bench/workers.py needs wrk (Debian: apt-get install wrk)")
        return 2
    report = Report("Workers")
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        measure(QUICK if options.quick else USUAL, Path(name), report)
    report.print()
    return 0


def measure(plan: Plan, folder: Path, report: Report) -> None:
    """Measure everything and add it to ``report``."""
    with contextlib.ExitStack() as stack:
        one, two, *apart = (
            stack.enter_context(_Served(folder / name, workers))
            for name, workers in (("one", 1), ("two", 2), ("a", 1), ("b", 1))
        )
        ways: dict[str, Callable[[], float]] = {}
        for kind in _KINDS:
            clients = plan.writers if kind == "apply" else plan.readers
            for name, served in (("one", [one]), ("two", [two]), ("apart", apart)):
                ways[f"{kind}/{name}"] = partial(
                    _rate, served, kind, clients, plan.seconds
                )
        say(f"{len(ways)} measurements, {plan.rounds} rounds of {plan.seconds} s each")
        rates = in_turns(ways, plan.rounds)
    rows: list[tuple[str, ...]] = []
    for kind, label in _KINDS.items():
        alone = rates[f"{kind}/one"]
        row = [label, f"{alone:,.0f}"]
        for name in ("two", "apart"):
            rate = rates[f"{kind}/{name}"]
            row += [f"{rate:,.0f}", f"{rate / alone:.2f}"]
        rows.append(tuple(row))
    columns = ("a second", "1 worker", "2 workers", "ratio", "2 daemons apart", "ratio")
    report.add_table(
        f"{plan.readers} readers, {plan.writers} writers, medians of {plan.rounds}",
        columns,
        rows,
    )
    costs = [
        (
            label,
            *(
                f"{sum(each.cost_s(kind) for each in some) / len(some) * 1e6:.0f} µs"
                for some in ([one], [two], apart)
            ),
        )
        for kind, label in _KINDS.items()
        if kind != "beside"
    ]
    report.add_table(
        "Processor time of st8d for one of them",
        ("", "1 worker", "2 workers", "2 daemons apart"),
        costs,
    )
    for kind in ("read", "304"):
        report.add_bar(
            f"{_KINDS[kind]}: 2 workers / 2 daemons apart",
            rates[f"{kind}/two"] / rates[f"{kind}/apart"],
            0.9,
            at_least=True,
        )


def _rate(served: Sequence[_Served], kind: str, clients: int, seconds: int) -> float:
    """Return the answers a second of all of ``served``, which share the clients."""
    with ThreadPoolExecutor(len(served)) as pool:
        some = [
            pool.submit(each.rate, kind, clients // len(served), seconds)
            for each in served
        ]
        return sum(each.result() for each in some)


class _Served:
    """A daemon with 50 documents, under load by wrk."""

    def __init__(self, folder: Path, workers: int) -> None:
        self._daemon = ChildDaemon(
            folder,
            "--log-level",
            "warning",
            "--workers",
            str(workers),
            port=free_port(),
        )
        self._turns = 0
        self._spent: dict[str, tuple[float, int]] = {}
        documents = [{"key": key(n), "content": content(n)} for n in range(_DOCUMENTS)]
        for namespace in ("load/test", "read/test"):
            self._call(
                "POST",
                "/v1/apply",
                {"scope": {"namespace": namespace}, "documents": documents},
            )
        self._state = f"{self._daemon.url}/v1/state?namespace=read/test"
        with contextlib.closing(self._daemon.connect()) as connection:
            connection.request("GET", self._state)
            self._etag = str(connection.getresponse().headers["etag"])
        # The port is open before the last worker is ready.
        deadline = time.monotonic() + 60
        while len(self._processes()) < (workers if workers > 1 else 0):
            assert time.monotonic() < deadline, "not all workers have started"
            time.sleep(0.01)
        wrk.run(self._state, 64, 1)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._daemon.stop()

    def rate(self, kind: str, clients: int, seconds: int) -> float:
        """Return answers a second."""
        before = self._cpu_s()
        if kind == "apply":
            load = self._apply(clients, seconds)
        elif kind == "beside":
            writing = threading.Thread(target=self._apply, args=(2, seconds))
            writing.start()
            load = wrk.run(self._state, clients, seconds)
            writing.join()
        else:
            headers = (f"If-None-Match: {self._etag}",) if kind == "304" else ()
            load = wrk.run(self._state, clients, seconds, headers=headers)
        assert not load.failed, load
        spent_s, requests = self._spent.get(kind, (0.0, 0))
        self._spent[kind] = (
            spent_s + self._cpu_s() - before,
            requests + load.requests,
        )
        return load.rate

    def cost_s(self, kind: str) -> float:
        """Return the processor time of one of a kind, over all turns."""
        spent_s, requests = self._spent[kind]
        return spent_s / max(1, requests)

    def _apply(self, clients: int, seconds: int) -> wrk.Load:
        self._turns += 1
        return wrk.apply(self._daemon.url, clients, seconds, self._turns)

    def _call(self, method: str, target: str, body: object) -> None:
        with contextlib.closing(self._daemon.connect()) as connection:
            status, answer = call(connection, method, target, body)
        assert status == 200, answer

    def _processes(self) -> list[int]:
        """Return the workers, if there are processes of their own."""
        process = self._daemon.process.pid
        children = Path(f"/proc/{process}/task/{process}/children").read_text("ascii")
        return [int(child) for child in children.split()]

    def _cpu_s(self) -> float:
        return sum(map(cpu_s, [self._daemon.process.pid, *self._processes()]))


if __name__ == "__main__":
    sys.exit(main())
