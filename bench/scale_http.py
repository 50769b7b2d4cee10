"""A few rows of :mod:`bench.scale` again, through the HTTP API of a real daemon."""

from __future__ import annotations

import contextlib
import statistics
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from bench.documents import content, key
from bench.measure import in_turns, median_call_s, say, show_bytes, show_s, timed_s
from st8.testing.child import ChildDaemon, call

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from bench.measure import Report
    from bench.site import Site

__all__ = ["measure"]

_GET_OLD = "get 1 document at an old revision"
_BACK = 500
"""How far an old revision is before the head."""


class _Served:
    """A site behind a daemon, and a keep-alive connection to it."""

    def __init__(self, site: Site, daemon: ChildDaemon) -> None:
        self.site = site
        self.daemon = daemon
        self.connection = daemon.connect()
        self._version = 10**6
        self._names = 0
        self.head: int = self._get()["revision"]

    def _call(self, method: str, target: str, body: object = None) -> Any:
        status, answer = call(self.connection, method, target, body)
        assert status == 200, answer
        return answer

    def _get(self, **query: int | str) -> Any:
        query = {"key": key(self.site.chance.randrange(self.site.size)), **query}
        return self._call("GET", f"/v1/state?{urlencode(query)}")

    def get_head(self) -> None:
        assert len(self._get()["objects"]) == 1

    def get_old(self) -> None:
        number = self.head - self.site.chance.randrange(_BACK)
        assert len(self._get(revision=number)["objects"]) == 1

    def apply(self) -> None:
        self._version += 1
        number = self.site.chance.randrange(self.site.size)
        document = {"key": key(number), "content": content(number, self._version)}
        body = {"documents": [document], "changes": "none"}
        assert not self._call("POST", "/v1/apply", body)["noop"]

    def apply_with_changes(self) -> None:
        self._version += 1
        number = self.site.chance.randrange(self.site.size)
        document = {"key": key(number), "content": content(number, self._version)}
        answer = self._call("POST", "/v1/apply", {"documents": [document]})
        assert len(answer["changes"]) == 1

    def rollback(self, revision: int = -_BACK) -> None:
        body = {"revision_id": revision, "changes": "none"}
        assert not self._call("POST", "/v1/rollback", body)["noop"]

    def rollback_s(self, calls: int) -> float:
        """Return the time of a rollback, each undone before the next."""
        times: list[float] = []
        for _ in range(calls):
            times.append(timed_s(self.rollback))
            self.rollback(-1)
        return statistics.median(times)

    def branch(self) -> None:
        self._names += 1
        body = {"name": f"http-{self._names}", "from_revision": self.head - _BACK}
        self._call("POST", "/v1/branches", body)

    def checkpoint(self) -> None:
        self._names += 1
        body = {"name": f"http-{self._names}", "revision": self.head - _BACK}
        self._call("POST", "/v1/checkpoints", body)

    def read_all(self) -> int:
        """Read the whole state as a stream; return its bytes."""
        self.connection.request("GET", "/v1/state")
        answer = self.connection.getresponse()
        size = 0
        while part := answer.read(1 << 20):
            size += len(part)
        return size

    def memory_bytes(self) -> tuple[int, int]:
        """Return the daemon's memory, now and at most so far."""
        status = Path(f"/proc/{self.daemon.process.pid}/status").read_text("ascii")
        lines = dict(line.split(":", 1) for line in status.splitlines())
        now, most = (int(lines[name].split()[0]) for name in ("VmRSS", "VmHWM"))
        return now * 1024, most * 1024


def measure(sites: Sequence[Site], calls: int, rounds: int, report: Report) -> None:
    """Serve the closed ``sites`` and add a table and bars to ``report``.

    The sites of one kind of store stand beside each other, the larger ones behind.
    """
    say("through HTTP")
    with contextlib.ExitStack() as stack:
        served: list[_Served] = []
        for site in sites:
            daemon = stack.enter_context(ChildDaemon(None, "--store", site.url))
            served.append(_Served(site, daemon))
            stack.callback(served[-1].connection.close)
        rows: list[tuple[str, Callable[[_Served], Callable[[], float]]]] = [
            ("apply 1 document", lambda each: _median(each.apply, calls)),
            (
                "apply 1 document, its change answered",
                lambda each: _median(each.apply_with_changes, calls),
            ),
            ("rollback", lambda each: partial(each.rollback_s, calls)),
            ("branch", lambda each: _median(each.branch, calls)),
            ("checkpoint", lambda each: _median(each.checkpoint, calls)),
            ("get 1 document at head", lambda each: _median(each.get_head, calls)),
            (_GET_OLD, lambda each: _median(each.get_old, calls)),
        ]
        times: dict[str, list[float]] = {}
        for label, turn_of in rows:
            turns = {str(at): turn_of(each) for at, each in enumerate(served)}
            times[label] = list(in_turns(turns, rounds).values())
        memory = [_memory_of_reading(each) for each in served]
    report.add_table(
        "Through HTTP, one keep-alive connection, answers without lists of changes",
        ("", *(site.label for site in sites)),
        [
            *((label, *map(show_s, row)) for label, row in times.items()),
            ("all documents, streamed", *(show_s(each[0]) for each in memory)),
            ("… their bytes", *(show_bytes(each[1]) for each in memory)),
            ("… memory of the daemon before", *(show_bytes(m[2]) for m in memory)),
            ("… and at most meanwhile", *(show_bytes(m[3]) for m in memory)),
        ],
    )
    for kind, some in groupby(enumerate(sites), lambda each: each[1].kind):
        places = [at for at, _ in some]
        sizes = [sites[at].size for at in places]
        rows_of_kind = {
            label: [row[at] for at in places] for label, row in times.items()
        }
        _add_bars(rows_of_kind, sizes, f"HTTP, {kind}", report)


def _add_bars(
    times: dict[str, list[float]], sizes: Sequence[int], where: str, report: Report
) -> None:
    for label in ("rollback", "branch", "checkpoint"):
        row = times[label]
        claim = f"{where}{label}: {sizes[-1]:,} documents / {sizes[0]:,}"
        report.add_bar(claim, row[-1] / row[0], 3)
    row = times["apply 1 document"]
    claim = f"{where}apply 1 document: {sizes[-1]:,} documents / 1,000"
    report.add_bar(claim, row[-1] / row[sizes.index(1_000)], 3)
    head, old = times["get 1 document at head"], times[_GET_OLD]
    for at, size in enumerate(sizes):
        claim = f"{where}{_GET_OLD} / at head, {size:,} documents"
        report.add_bar(claim, old[at] / head[at], 3)


def _median(work: Callable[[], object], calls: int) -> Callable[[], float]:
    return partial(median_call_s, work, calls)


def _memory_of_reading(served: _Served) -> tuple[float, int, int, int]:
    """Return time and bytes of a whole state, and memory before and at most."""
    now, _ = served.memory_bytes()
    sizes: list[int] = []
    took = timed_s(lambda: sizes.append(served.read_all()))
    _, most = served.memory_bytes()
    return took, sizes[0], now, most
