"""Runs whole daemons in a simulated world, from one seed, and judges what came of it.

One to three daemons share a store in memory, or one has SQLite. Clients write and read
over a network that delays, loses and cuts off; they give up, and send again what was
not answered, to another daemon, too. Watchers come and go. Daemons crash, at any time and at any place
that one of their threads comes to, and start again; their clocks jump. In every other
world one more client collects, backs up and redacts. In the end all come to rest, and
hear of one more write each, at once; and are judged: by the ledger and the oracle of the
other rigs, by the exact checker, by the nine rules of watches, and by what must come of
a collection, a backup and a redaction::

    python -m st8.testing.simrig --seeds 1000 --seed 42

What it does not simulate: sockets and HTTP's bytes, loss of power, the restoring of
backups, and PostgreSQL, whose daemons have a store in memory that behaves as theirs.

The same seed is the same run, with the same digest; one that fails prints its trace's
end. Exit code 1 when anything is wrong.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import multiprocessing
import os
import secrets
import sys
import tempfile
from collections import Counter
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from hashlib import sha256
from http import HTTPStatus
from pathlib import Path
from random import Random  # noqa: TID251 - seeded: a run can be had again
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast
from urllib.parse import urlencode

from st8.core.errors import St8Error
from st8.engine.engine import Engine
from st8.http.app import create_app
from st8.store.memory import MemoryStore
from st8.store.sqlite import SqliteStore
from st8.testing.clock import FakeClock
from st8.testing.ledger import Ledger
from st8.testing.oracle import Oracle
from st8.testing.sim import SECOND_NS, Crashed, Host, World
from st8.testing.simkeeper import KEPT, Keeper
from st8.testing.simnet import Network, ask, scope_of
from st8.testing.simstore import KINDS, Shared
from st8.testing.watch_checker import Feed, Past, check
from st8.testing.watch_client import Watcher
from st8.testing.writers import (
    BRANCHES,
    NAMESPACES,
    RETRIES,
    ROUTES,
    Outage,
    Writer,
)

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Coroutine, Iterable, Sequence

    from st8.core.ports import Store
    from st8.testing.ledger import Attempt
    from st8.testing.simnet import App, Exchange
    from st8.testing.watch_checker import Told

__all__ = ["Outcome", "main", "run"]

R = TypeVar("R")

_SCOPES: Final = tuple((n, b) for n in NAMESPACES[:2] for b in BRANCHES[:2])
_OUTAGES: Final = (HTTPStatus.SERVICE_UNAVAILABLE,)
_WRITERS: Final = (2, 5)
_OPERATIONS: Final = 16
_GAP_S: Final = 0.015
_PATIENCE_S: Final = (0.2, 1.5)
_READS: Final = 0.25
_TWICE: Final = 0.1
_WATCHERS: Final = 2
_KEEPERS: Final = 0.5
_STAYS_S: Final = (0.1, 1.0)
_ODDS: Final[dict[str, float]] = {
    "crash": 0.2,
    "crash at a place": 0.4,
    "part": 0.2,
    "jump": 0.2,
}
_FAULTS_EVERY_S: Final = 0.25
_PLACES: Final = 80
_DOWN_NS_MAX: Final = SECOND_NS // 2
_PARTED_S_MAX: Final = 1.0
_JUMP_S: Final = 3600.0
_SETTLES_S: Final = 5.0
_REST_S: Final = 60.0
_LOOK_S: Final = 0.1
_AT_ONCE_S: Final = 0.2
"""When whoever watches has heard of a write, where nothing goes wrong: well before a
daemon looks by itself for what others have written."""
_ANSWERED_S: Final = 5.0
_TICK_S: Final = 0.005


@dataclass
class Outcome:
    """What a run did and found.

    Attributes:
        seed: What to give to have it again.
        kind: How the daemons shared the store.
        counts: How often what was done.
        digest: The same for the same run.
        trace: The end of the trace.
        wrong: Everything that is not as it should be.
    """

    seed: int
    kind: str = ""
    counts: Counter[str] = field(default_factory=Counter[str])
    digest: str = ""
    trace: list[str] = field(default_factory=list[str])
    wrong: tuple[str, ...] = ()

    def __str__(self) -> str:
        """Return what a failure has to say."""
        return "\n".join(
            [
                f"seed {self.seed} ({self.kind}), digest {self.digest}",
                *self.trace,
                *(f"WRONG: {sentence}" for sentence in self.wrong[:20]),
            ]
        )


def run(seed: int, *, embedded: bool = False) -> Outcome:
    """Run one world from its beginning to the verdict.

    In one process only one at a time: failpoints are armed. Where the store is
    ``embedded`` there is one daemon, on SQLite in a temporary directory.
    """
    if not embedded:
        return _Rig(seed, MemoryStore()).run()
    with tempfile.TemporaryDirectory(prefix="st8-sim-") as directory:
        reopen = partial(SqliteStore, Path(directory) / "state")
        rig = _Rig(seed, reopen(), reopen)
        try:
            return rig.run()
        finally:
            rig.shared.store.close()


class _Daemon:
    """A daemon that is started, again after each crash, on a store that stays."""

    def __init__(
        self, world: World, network: Network, shared: Shared, name: str
    ) -> None:
        self.name = name
        self.clock = FakeClock()
        self._world = world
        self._network = network
        self._shared = shared
        self._host: Host | None = None
        self._app: App | None = None
        self._starts = 0

    @property
    def host(self) -> Host | None:
        """What it runs on now; None while it is down."""
        return None if self._host is None or self._host.dead else self._host

    @property
    def app(self) -> App:
        """What answers its requests."""
        assert self._app is not None  # noqa: S101 - it was started
        return self._app

    def start(self) -> None:
        """Start, if it is down; it may crash on the way."""
        if self.host is not None:
            return
        self._starts += 1
        host = self._host = Host(self._world, f"{self.name}.{self._starts}")
        store = cast("Store", self._shared.join(host))
        try:
            with self._world.on(host):
                engine = Engine(store, self.clock, threads=host.threads, timer=host)
            self._app = create_app(engine, version="simulated", threads=host.threads)
            self._world.note(f"{host.name} is up")
        except St8Error:  # the store can't be reached, and st8d ends
            host.crash()
            self.went_down()
        except Crashed:
            pass

    def went_down(self) -> None:
        """Take note that it has crashed: it starts again later."""
        self._network.down(self.name)
        delay_ns = self._world.chance.randrange(_DOWN_NS_MAX)
        self._world.at(self._world.now_ns + delay_ns, self.start)


class _Client(Writer):
    """A client that does what a :class:`Writer` would, on a host of its own."""

    def __init__(self, rig: _Rig, name: str, chance: Random, ledger: Ledger) -> None:
        super().__init__(name, chance, ledger, _SCOPES)
        self.host = Host(rig.world, name)
        self._rig = rig

    async def work(self) -> None:
        """Write and read a number of times."""
        for _ in range(_OPERATIONS):
            await asyncio.sleep(self._chance.expovariate(1 / _GAP_S))
            with suppress(OSError, TimeoutError, Outage):
                await self._act()

    async def last(self, namespace: str, branch: str) -> int:
        """Write once more, to a branch, and return as what; in a calm world.

        Raises:
            TimeoutError: It was not answered.
            Outage: It was refused.
        """
        self._count += 1
        attempt = self._apply(f"{self._name}-{self._count}", namespace, branch)
        async with asyncio.timeout(_ANSWERED_S):
            while True:
                with suppress(TimeoutError):
                    await self._post(attempt)
                    break
        if attempt.fate != "acknowledged":
            raise Outage
        return int(attempt.answer["revision"])

    async def _act(self) -> None:
        attempt, self._unanswered = self._unanswered, None
        if attempt is not None and attempt.revises and self._chance.random() < RETRIES:
            await self._post(attempt)
        elif self._chance.random() < _READS:
            await self._look()
        else:
            await self._post(self._next())

    async def _post(self, attempt: Attempt) -> None:
        self._ledger.begin(attempt)
        self._unanswered = attempt
        headers = {"Idempotency-Key": attempt.name} if attempt.revises else {}
        body = json.dumps(attempt.body).encode()
        if attempt.revises and self._chance.random() < _TWICE:
            self._ledger.begin(attempt)  # at once to another, and nobody waits for it
            server = self._chance.choice(self._rig.daemons)
            scope = scope_of("POST", ROUTES[attempt.kind], body, headers)
            self._rig.network.open(self.host, server, scope, body)
        status, answer = await self._ask("POST", ROUTES[attempt.kind], body, headers)
        self._rig.world.note(f"{attempt.name} {status} {answer.get('revision')}")
        self._ledger.end(attempt, status, answer)
        self._rig.keeper.noticed(answer)
        if self._ledger.is_outage(status):
            raise Outage
        self._unanswered = None

    async def _look(self) -> None:
        namespace, branch = self._scope()
        query = urlencode({"namespace": namespace, "branch": branch})
        called_ns = self._ledger.now_ns()
        status, answer = await self._ask("GET", f"/v1/state?{query}")
        read = f"{self._name} reads {answer.get('revision')} of {branch}"
        self._rig.world.note(f"{read} {status}")
        if not self._rig.keeper.noticed(answer):
            self._saw(namespace, branch, called_ns, status, answer)

    async def _ask(
        self,
        method: str,
        target: str,
        body: bytes = b"",
        headers: dict[str, str] | None = None,
    ) -> tuple[int, Any]:
        server = self._chance.choice(self._rig.daemons)
        asked_ns = self._rig.world.now_ns
        async with asyncio.timeout(self._chance.uniform(*_PATIENCE_S)):
            status, text = await ask(
                self._rig.network,
                self.host,
                server,
                method,
                target,
                body,
                headers or {},
            )
        return status, json.loads(self._rig.keeper.received(server, asked_ns, text))


class _Line:
    """How a watcher reaches the daemons, any of them each time."""

    def __init__(self, rig: _Rig, host: Host, chance: Random) -> None:
        self._rig = rig
        self._host = host
        self._chance = chance

    @asynccontextmanager
    async def watch(self, target: str, last_id: str) -> AsyncGenerator[_Stream]:
        """See :class:`~st8.testing.watch_client.Line`."""
        headers = {"Last-Event-ID": last_id} if last_id else {}
        scope = scope_of("GET", target, b"", headers)
        server = self._chance.choice(self._rig.daemons)
        asked_ns = self._rig.world.now_ns
        exchange = self._rig.network.open(self._host, server, scope, b"")
        try:
            start = await exchange.message()
            received = partial(self._rig.keeper.received, server, asked_ns)
            yield _Stream(start["status"], exchange, received)
        finally:
            exchange.close()

    async def get(self, target: str) -> tuple[int, bytes]:
        """See :class:`~st8.testing.watch_client.Line`."""
        server = self._chance.choice(self._rig.daemons)
        asked_ns = self._rig.world.now_ns
        status, text = await ask(self._rig.network, self._host, server, "GET", target)
        return status, self._rig.keeper.received(server, asked_ns, text)


class _Stream:
    """The pieces of an answer, as chunks."""

    def __init__(
        self, status: int, exchange: Exchange, received: Callable[[bytes], bytes]
    ) -> None:
        self.status = status
        self._received = received
        self._exchange = exchange
        self._ended = False

    async def read(self) -> bytes:
        """See :class:`~st8.testing.watch_client.Stream`."""
        while not self._ended:
            message = await self._exchange.message()
            self._ended = not message.get("more_body", False)
            piece: bytes = message.get("body", b"")
            if piece:
                piece = self._received(piece)
                return b"%x\r\n%s\r\n" % (len(piece), piece)
        return b""


class _Rig:
    """The state of a run."""

    def __init__(
        self, seed: int, store: Store, reopen: Callable[[], Store] | None = None
    ) -> None:
        self.world = World(seed)
        self.network = Network(self.world)
        self._chance = self.world.chance
        kind = self._chance.choice(KINDS) if reopen is None else "alone"
        self._outcome = Outcome(seed, kind)
        self.shared = Shared(self.world, store, kind, reopen)
        self._ledger = Ledger(outages=_OUTAGES, now_ns=lambda: self.world.now_ns)
        daemons = 1 if kind == "alone" else self._chance.randint(2, 3)
        self.daemons = [
            _Daemon(self.world, self.network, self.shared, f"st8d-{number}")
            for number in range(daemons)
        ]
        self._clients = [
            _Client(self, f"writer-{number}", self._random(), self._ledger)
            for number in range(self._chance.randint(*_WRITERS))
        ]
        self.keeper = Keeper(
            self.network,
            self.daemons,
            self.shared,
            self._ledger,
            chance=self._random(),
            counts=self._outcome.counts,
        )
        self._keeps = self._chance.random() < _KEEPERS
        self._oracle = Oracle(
            self._ledger,
            kept=KEPT if self._keeps else None,
            redacted=self.keeper.redacted,
        )
        known: dict[str, Told] = {}
        self._watchers = [self._watcher(number, known) for number in range(_WATCHERS)]
        self._doomed: dict[str, int] = {}
        self.world.crashes = self._crashes

    def _random(self) -> Random:
        return Random(self._chance.randrange(2**63))  # noqa: S311 - not a secret

    def _watcher(self, number: int, known: dict[str, Told]) -> Watcher:
        chance = self._random()
        namespace, branch = chance.choice(_SCOPES)
        feeds = [Feed(namespace, branch, contents=chance.random() < 0.5)]  # noqa: PLR2004
        return Watcher(
            f"watcher-{number}",
            tuple(feeds),
            chance,
            known,
            stay_s=chance.choice(_STAYS_S),
            after=chance.choice((None, 0)),
            outages=_OUTAGES,
        )

    def run(self) -> Outcome:
        """Run it all, and return what was done and found."""
        outcome = self._outcome
        host = Host(self.world, "main")
        try:
            wrong = self.world.run(host, self._main())
            outcome.digest = self.world.digest()
            outcome.trace = self.world.tail()
        finally:
            self.world.end()
        wrong += self.keeper.judge()
        outcome.counts["steps"] = self.world.steps
        outcome.counts["writes"] = len(self._ledger.attempts)
        outcome.counts["reads"] = len(self._ledger.reads)
        outcome.counts["revisions"] = self._oracle.revisions
        fates = [attempt.fate for attempt in self._ledger.attempts.values()]
        outcome.counts.update(fates)
        outcome.counts["events"] = sum(watcher.events for watcher in self._watchers)
        outcome.counts["connections"] = sum(one.opened for one in self._watchers)
        outcome.wrong = (*wrong, *self.world.faults)
        return outcome

    async def _main(self) -> list[str]:
        for daemon in self.daemons:
            daemon.start()
        lines = [Host(self.world, watcher.name) for watcher in self._watchers]
        watching = [
            host.create_task(watcher.run(_Line(self, host, self._random())))
            for host, watcher in zip(lines, self._watchers, strict=True)
        ]
        writing = [client.host.create_task(client.work()) for client in self._clients]
        keepers = [self.keeper] if self._keeps else []
        keeping = [keeper.host.create_task(keeper.work()) for keeper in keepers]
        while not all(task.done() for task in writing):
            await asyncio.sleep(self._chance.expovariate(1 / _FAULTS_EVERY_S))
            self._disturb()
        self._calm()
        for task in keeping:
            task.cancel()
        await asyncio.sleep(_SETTLES_S)
        wrong = [
            f"a client gave up: {e!r}" for e in map(_error, [*writing, *keeping]) if e
        ]
        for watcher in self._watchers:
            wrong += await self._last_word(watcher)
        await self._done(self.keeper.host, self.keeper.look())
        gone = self.keeper.gone()
        self._outcome.counts["collected"] = len(gone)
        wrong += self._oracle.look(self.shared.store, thorough=True, gone=gone)
        wrong += self._ledger.faults
        if wrong:
            return wrong  # of what else was to be told nobody can say
        pasts = self._pasts()
        wrong += self._oracle.explain()
        end_ns = self.world.now_ns + _REST_S * SECOND_NS
        while self._lacks(pasts) and self.world.now_ns < end_ns:  # noqa: ASYNC110 - no time passes
            await asyncio.sleep(_LOOK_S)
        wrong += [f"a watcher gave up: {e!r}" for e in map(_error, watching) if e]
        return [*wrong, *self._judge(pasts)]

    async def _done(self, host: Host, work: Coroutine[Any, Any, R]) -> R:
        """Return what comes of some work on a host."""
        task = host.create_task(work)
        while not task.done():  # noqa: ASYNC110 - no time passes
            await asyncio.sleep(_TICK_S)
        return task.result()

    async def _last_word(self, watcher: Watcher) -> list[str]:
        """Write to what is watched, now that all is calm: it has to be told at once."""
        [feed] = watcher.feeds
        client = self._clients[0]
        try:
            write = client.last(feed.namespace, feed.branch)
            revision = await self._done(client.host, write)
        except (TimeoutError, Outage) as error:
            return [f"{feed.namespace} can't be written to: {error!r}"]
        end_ns = self.world.now_ns + _AT_ONCE_S * SECOND_NS
        while watcher.positions is None or watcher.positions[0] < revision:
            if self.world.now_ns > end_ns:
                return [f"{watcher.name} was not told at once of {revision}"]
            await asyncio.sleep(_TICK_S)
        return []

    # --- what goes wrong --------------------------------------------------------------

    def _disturb(self) -> None:
        """Do something to somebody."""
        [fault] = self._chance.choices(list(_ODDS), list(_ODDS.values()))
        daemon = self._chance.choice(self.daemons)
        self._outcome.counts[fault] += 1
        self.world.note(f"{fault}: {daemon.name}")
        if fault == "crash":
            if daemon.host is not None:
                daemon.host.crash()
                daemon.went_down()
        elif fault == "crash at a place":
            self._doomed[daemon.name] = self._chance.randrange(_PLACES)
        elif fault == "part":
            client = self._chance.choice(
                [one.host.name for one in self._clients]
                + [one.name for one in self._watchers]
            )
            self.network.parted[client, daemon.name] = None
            ends_ns = self.world.now_ns + int(
                self._chance.uniform(0, _PARTED_S_MAX) * SECOND_NS
            )
            self.world.at(
                ends_ns,
                partial(self.network.parted.pop, (client, daemon.name), None),
            )
        else:
            daemon.clock.advance(self._chance.uniform(-_JUMP_S, _JUMP_S))

    def _crashes(self, host: Host, place: str) -> bool:
        """Return whether a host crashes here, as was decided for its daemon."""
        del place
        name = host.name.partition(".")[0]
        left = self._doomed.get(name)
        if left is None:
            return False
        if left:
            self._doomed[name] = left - 1
            return False
        del self._doomed[name]
        daemon = next(one for one in self.daemons if one.name == name)
        self.world.at(self.world.now_ns, daemon.went_down)
        return True

    def _calm(self) -> None:
        """Let nothing go wrong any more."""
        self.world.note("calm")
        self._doomed.clear()
        self.network.calm = self.shared.calm = True
        self.network.parted.clear()
        for watcher in self._watchers:
            watcher.calm()

    # --- the verdict --------------------------------------------------------------------

    def _lacks(self, pasts: dict[str, Past]) -> bool:
        """Return whether a watcher still has to be told something."""
        return any(
            watcher.positions is None or pasts[feed.namespace].pending(feed, at)
            for watcher in self._watchers
            for feed, at in zip(watcher.feeds, watcher.positions or (0,), strict=True)
        )

    def _judge(self, pasts: dict[str, Past]) -> Iterable[str]:
        for watcher in self._watchers:
            yield from watcher.faults
            for feed, seen in zip(watcher.feeds, watcher.seen, strict=True):
                for found in check(pasts[feed.namespace], feed, seen, watcher.name):
                    yield f"{found.rule}: {found.watcher}, {found.detail}"

    def _pasts(self) -> dict[str, Past]:
        """Return what was made, as the ledger says that it was meant.

        And note what writes have kept of their branches because it was redacted where
        they went back to.
        """
        kept = KEPT if self._keeps else 0
        pasts = {namespace: Past(kept=kept) for namespace in NAMESPACES[:2]}
        for made, revision in enumerate(self.shared.made):
            past = pasts[revision.scope.namespace]
            attempt = self._ledger.attempts.get(revision.message)
            if attempt is None:
                continue  # the oracle tells
            parent = revision.parents[0].number if revision.parents else 0
            before = past.state(parent)
            start = before if attempt.source is None else past.state(attempt.source)
            if attempt.source is not None:
                attempt.edits = {
                    key: before.get(key)
                    for key, content in start.items()
                    if self.shared.was_redacted(content, made)
                }
            edits = {key: start.get(key) for key in {**before, **start}}
            past.add(
                revision.scope.branch,
                revision.number,
                parent,
                revision.digest.hex(),
                {**edits, **attempt.edits},
            )
        return pasts


def _error(task: asyncio.Task[Any]) -> BaseException | None:
    return task.exception() if task.done() and not task.cancelled() else None


def main(arguments: Sequence[str] | None = None) -> int:
    """Run from the command line; return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m st8.testing.simrig",
        description="Run st8d in simulated worlds, and look for what is wrong.",
    )
    parser.add_argument("--seeds", type=int, default=20_000)
    parser.add_argument("--seed", type=int, help="the first one; the others follow it")
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    parser.add_argument(
        "--embedded", action="store_true", help="on SQLite, instead of memory"
    )
    options = parser.parse_args(arguments)
    first = secrets.randbelow(2**32) if options.seed is None else options.seed
    _print(f"seeds {first} to {first + options.seeds - 1}")
    counts: Counter[str] = Counter()
    digests = sha256()
    wrong = 0
    context = multiprocessing.get_context("spawn")
    with context.Pool(options.jobs, _be_quiet) as pool:
        seeds = range(first, first + options.seeds)
        work = partial(run, embedded=options.embedded)
        for done, outcome in enumerate(pool.imap(work, seeds, chunksize=10), 1):
            counts.update(outcome.counts)
            counts[f"worlds of {outcome.kind}"] += 1
            digests.update(outcome.digest.encode())
            if outcome.wrong:
                wrong += 1
                _print(str(outcome))
            if done % 100 == 0:
                _print(f"{done:,} worlds, {wrong} wrong")
    for name, count in sorted(counts.items()):
        _print(f"{count:,} {name}")
    _print(
        f"seeds {first} to {first + options.seeds - 1}, digest {digests.hexdigest()}"
    )
    _print(f"{wrong} seeds wrong" if wrong else "nothing wrong")
    return 1 if wrong else 0


def _be_quiet() -> None:
    logging.getLogger("st8").setLevel(logging.CRITICAL + 1)


def _print(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
