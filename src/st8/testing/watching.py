"""Watches a daemon that is cut off, killed, stopped and collected, and checks it all.

Writers write to several namespaces and branches, some of which are taken away and
made anew. Watchers come and go, through a proxy that breaks their connections after
any byte. The daemon is killed or stopped and started again, and collections overtake
watchers. In the end all come to rest, and nine rules decide on each watcher
(:mod:`st8.testing.watch_checker`)::

    python -m st8.testing.watching --events 100000 --watchers 50 --seed 42

The seed decides what is planned; how the machine interleaves it, it can't. Exit code 1
and a list when anything is wrong.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import secrets
import socket
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from http import HTTPStatus
from http.client import HTTPConnection
from pathlib import Path
from random import Random  # noqa: TID251 - seeded: a run can be had again
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlencode

from st8.testing.child import ST8D, ChildDaemon, call
from st8.testing.cutting import Cut, CuttingProxy, Way
from st8.testing.watch_checker import Feed, Finding, Past, Resynced, check
from st8.testing.watch_client import SocketLine, Watcher
from st8.testing.watch_writers import Author, Deeds

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from st8.testing.watch_checker import Told

__all__ = ["Outcome", "main", "run"]

_NAMESPACES: Final = ("one", "two")
_AUTHORS: Final = 2
_KEEP: Final = 40
_STAYS_S: Final = (0.3, 1.5, 20.0)
_AHEAD: Final = 40
_REST_S: Final = 120.0
_LOOK_S: Final = 0.05
_WAYS: Final[tuple[Way, ...]] = ("close", "reset", "end", "half", "stall")
_PAUSE_S: Final = (0.05, 1.0)
_SAID_S: Final = 10.0
_LOG_PAGE: Final = 1000


@dataclass
class Outcome:
    """What a run did and found.

    Attributes:
        seed: What to give to have it again.
        watchers: How many watched.
        revisions: How many were made.
        events: How many revisions watchers were told.
        connections: How often watchers connected.
        cuts: How many connections the proxy broke, by the way.
        resyncs: How often a watcher had to read anew, by the reason.
        kills, stops, collections: How often that happened.
        seconds: How long it took.
        wrong: Everything that is not as it should be.
    """

    seed: int
    watchers: int
    revisions: int = 0
    events: int = 0
    connections: int = 0
    cuts: Counter[str] = field(default_factory=Counter[str])
    resyncs: Counter[str] = field(default_factory=Counter[str])
    kills: int = 0
    stops: int = 0
    collections: int = 0
    seconds: float = 0.0
    wrong: tuple[str, ...] = ()

    def __str__(self) -> str:
        """Return it as a few lines of text."""
        cuts = ", ".join(f"{count} {way}" for way, count in sorted(self.cuts.items()))
        lines = [
            f"{self.events:,} events of {self.revisions:,} revisions",
            f"{self.watchers} watchers, {self.seconds:.0f} s",
            f"{self.connections:,} connections, {self.cuts.total():,} broken ({cuts})",
            f"{self.kills} kills, {self.stops} stops, {self.collections} collections",
            f"read anew: {self.resyncs['collected']:,} times what was collected",
            f"read anew: {self.resyncs['history']:,} times another history",
            f"seed {self.seed}",
            *(f"WRONG: {sentence}" for sentence in self.wrong[:50]),
            f"{len(self.wrong)} wrong" if self.wrong else "nothing wrong",
        ]
        return "\n".join(lines)


def run(
    state_dir: Path,
    *,
    events: int,
    watchers: int,
    seed: int,
    command: Sequence[str] = ST8D,
    rest_s: float = _REST_S,
    say: Callable[[str], None] = lambda _: None,
) -> Outcome:
    """Watch until so many events were seen, and return what came of it.

    Args:
        state_dir: Where the daemon lives; empty.
        events: How many revisions watchers are to be told, all together.
        watchers: How many there are.
        seed: Decides what is planned.
        command: What to run instead of st8d.
        rest_s: How long watchers have at the end to be told everything.
        say: Is told how far it is.
    """
    rig = _Rig(state_dir, watchers, seed, command, say)
    begun = time.monotonic()
    asyncio.run(rig.run(events, rest_s))
    outcome = rig.judge()
    outcome.seconds = time.monotonic() - begun
    return outcome


class _Rig:
    """The state of a run."""

    def __init__(
        self,
        state_dir: Path,
        watchers: int,
        seed: int,
        command: Sequence[str],
        say: Callable[[str], None],
    ) -> None:
        self._state_dir = state_dir
        self._command = command
        self._say = say
        self._port = _low_port()
        self._chance = Random(seed)  # noqa: S311 - not a secret
        self._outcome = Outcome(seed, watchers)
        self._deeds = {namespace: Deeds() for namespace in _NAMESPACES}
        self._authors = [
            Author(
                f"{namespace}-{number}",
                namespace,
                self._deeds[namespace],
                self._port,
                Random(f"{seed}/{namespace}/{number}"),  # noqa: S311
            )
            for namespace in _NAMESPACES
            for number in range(_AUTHORS)
        ]
        known: dict[str, Told] = {}
        self._watchers = [
            self._watcher(number, known, Random(f"{seed}/{number}"))  # noqa: S311
            for number in range(watchers)
        ]
        self._calm = False
        self._wrong: list[str] = []

    def _watcher(self, number: int, known: dict[str, Told], chance: Random) -> Watcher:
        """Return a watcher; the first few are of every kind."""
        prefix = ("", "app/", "sys/one-0", "app/one-0/1")[number % 4]
        contents = number % 3 != 0
        branch = "main" if chance.random() < 0.6 else ""  # noqa: PLR2004
        feeds = [
            Feed(
                namespace,
                branch or f"of-{namespace}-{chance.randrange(_AUTHORS)}",
                prefix,
                contents,
            )
            for namespace in _NAMESPACES
        ]
        if number % 5:
            feeds = [chance.choice(feeds)]
        floor = number % 7 == 3  # noqa: PLR2004
        after = _AHEAD if floor else chance.choice((None, 0))
        return Watcher(
            f"watcher-{number}",
            tuple(feeds),
            chance,
            known,
            stay_s=_STAYS_S[number % len(_STAYS_S)],
            after=after,
            floor=floor,
        )

    def _draw(self) -> Cut:
        """Return how the next connection breaks."""
        chance = self._chance
        if self._calm or chance.random() < 0.3:  # noqa: PLR2004
            return Cut()
        after = int(2 ** chance.uniform(0, 17))
        return Cut(after, chance.choice(_WAYS), pieces=chance.random() < 0.3)  # noqa: PLR2004

    async def run(self, events: int, rest_s: float) -> None:
        """Run until so many events were seen, and then until all are at rest."""
        daemon = await asyncio.to_thread(self._start)
        try:
            async with CuttingProxy(self._port, self._draw) as proxy:
                line = SocketLine(proxy.port, self._port)
                tasks = [
                    asyncio.ensure_future(watcher.run(line))
                    for watcher in self._watchers
                ]
                for author in self._authors:
                    author.start()
                try:
                    daemon = await self._disturb(daemon, events, tasks)
                finally:
                    await asyncio.to_thread(self._end_writing)
                self._calm = True
                for watcher in self._watchers:
                    watcher.calm()
                await proxy.drop()
                await self._rest(rest_s)
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
                self._outcome.cuts.update(proxy.cuts)
            await asyncio.to_thread(self._compare_log)
        finally:
            daemon.kill()

    def _start(self) -> ChildDaemon:
        return ChildDaemon(
            self._state_dir,
            "--log-level",
            "warning",
            command=self._command,
            port=self._port,
        )

    def _end_writing(self) -> None:
        for author in self._authors:
            author.stop()

    def _seen(self) -> int:
        return sum(watcher.events for watcher in self._watchers)

    async def _disturb(
        self, daemon: ChildDaemon, events: int, tasks: Sequence[asyncio.Task[None]]
    ) -> ChildDaemon:
        """Kill, stop and collect until so many events were seen."""
        said = time.monotonic()
        while (seen := self._seen()) < events:
            failed = [task for task in tasks if task.done()]
            if failed:
                self._wrong.append(f"a watcher gave up: {failed[0].exception()!r}")
                break
            if any(deeds.faults for deeds in self._deeds.values()):
                break
            if time.monotonic() - said > _SAID_S:
                said = time.monotonic()
                self._say(f"{seen:,} events")
            await asyncio.sleep(self._chance.uniform(*_PAUSE_S))
            act = self._chance.random()
            if act < 0.15:  # noqa: PLR2004
                daemon = await asyncio.to_thread(self._restart, daemon)
            elif act < 0.45:  # noqa: PLR2004
                await asyncio.to_thread(self._collect)
        return daemon

    def _restart(self, daemon: ChildDaemon) -> ChildDaemon:
        if self._chance.random() < 0.6:  # noqa: PLR2004
            daemon.kill()
            self._outcome.kills += 1
        else:
            daemon.stop()
            self._outcome.stops += 1
        return self._start()

    def _collect(self) -> None:
        self._outcome.collections += 1
        status, answer = self._ask("POST", "/v1/gc", {"keep": _KEEP})
        if status != HTTPStatus.OK:
            self._wrong.append(f"a collection was answered {status}: {answer}")

    def _ask(self, method: str, target: str, body: object = None) -> tuple[int, Any]:
        connection = HTTPConnection("127.0.0.1", self._port, timeout=60)
        with contextlib.closing(connection):
            return call(connection, method, target, body)

    async def _rest(self, rest_s: float) -> None:
        """Wait until everybody was told everything, or takes too long."""
        pasts = self._pasts()
        deadline = time.monotonic() + rest_s
        while time.monotonic() < deadline:
            if not any(
                watcher.positions is None or pasts[feed.namespace].pending(feed, at)
                for watcher in self._watchers
                for feed, at in zip(
                    watcher.feeds, watcher.positions or (0, 0), strict=False
                )
            ):
                return
            await asyncio.sleep(_LOOK_S)

    def _pasts(self) -> dict[str, Past]:
        return {name: deeds.past(_KEEP) for name, deeds in self._deeds.items()}

    def _compare_log(self) -> None:
        """Compare what the writers know with what the daemon has stored of it."""
        for namespace, past in self._pasts().items():
            query = urlencode({"namespace": namespace, "limit": _LOG_PAGE})
            status, log = self._ask("GET", f"/v1/log?{query}&changes=none")
            if status != HTTPStatus.OK or len(log["entries"]) < min(_KEEP, len(past)):
                self._wrong.append(f"the log was answered {status}: {log}")
                continue
            stored = {
                entry["id"]: (entry["parent_id"], entry["digest"])
                for entry in log["entries"]
            }
            known = {
                number: (made.parent, made.digest)
                for number in stored
                if (made := past.made(number)) is not None
            }
            if stored != known or max(stored) != past.head("main"):
                self._wrong.append(f"{namespace}: the writers know another history")

    def judge(self) -> Outcome:
        """Return what was done and found."""
        outcome = self._outcome
        pasts = self._pasts()
        found: list[Finding] = []
        for watcher in self._watchers:
            self._wrong += watcher.faults
            outcome.connections += watcher.opened
            for feed, seen in zip(watcher.feeds, watcher.seen, strict=True):
                found += check(pasts[feed.namespace], feed, seen, watcher.name)
                outcome.resyncs.update(
                    each.reason for each in seen if isinstance(each, Resynced)
                )
        for deeds in self._deeds.values():
            self._wrong += deeds.faults
            outcome.revisions += deeds.revisions
        outcome.events = self._seen()
        self._wrong += [f"{one.rule}: {one.watcher}, {one.detail}" for one in found]
        outcome.wrong = tuple(self._wrong)
        return outcome


def _low_port() -> int:
    """Return a free port that the system gives to nobody who connects.

    Else one who connects to it while the daemon is away may be given that very port,
    be connected to himself, and keep the daemon from coming back.
    """
    while True:
        port = 20_000 + secrets.randbelow(10_000)
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port


def main(arguments: Sequence[str] | None = None) -> int:
    """Run from the command line; return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m st8.testing.watching",
        description="Watch st8d while it is cut off, killed and collected.",
    )
    parser.add_argument("--events", type=int, default=20_000)
    parser.add_argument("--watchers", type=int, default=30)
    parser.add_argument("--seed", type=int, help="what an earlier run printed")
    options = parser.parse_args(arguments)
    seed = secrets.randbelow(2**32) if options.seed is None else options.seed
    _print(f"seed {seed}")
    with tempfile.TemporaryDirectory(prefix="st8-watching-") as folder:
        outcome = run(
            Path(folder) / "state",
            events=options.events,
            watchers=options.watchers,
            seed=seed,
            say=_print,
        )
    _print(str(outcome))
    return 1 if outcome.wrong else 0


def _print(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
