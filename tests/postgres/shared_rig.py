"""Several st8d on one PostgreSQL, which are killed, cut off and crashed under load.

Writers go from daemon to daemon and send again, to another one, what was not answered.
Meanwhile, in an order that the seed decides, a daemon is killed as by ``kill -9``,
PostgreSQL is stopped as if it had crashed, or the connections between the two are cut
at any byte. Then the oracle of the kill rig (:mod:`st8.testing.oracle`) judges what is
stored by what the writers know, and so do both checkers: the exact one, by revisions,
and, for some documents, the one that believes only values and times::

    python -m tests.postgres.shared_rig --daemons 4 --kills 100 --stops 100 --cuts 100
"""

from __future__ import annotations

import argparse
import secrets
import sys
import threading
import time
from collections import defaultdict
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass, field
from http import HTTPStatus
from http.client import HTTPException
from math import inf
from random import Random
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from st8.store.postgres import PostgresStore
from st8.testing.child import ST8D, ChildDaemon, call
from st8.testing.ledger import Attempt, Ledger
from st8.testing.oracle import Oracle
from st8.testing.registers import Access, explains
from st8.testing.writers import Writer
from tests.postgres.proxy import CuttingProxy
from tests.postgres.server import PostgresServer

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["Outcome", "Plan", "run"]

_ONE_BRANCH = (("rig", "main"),)
_LOOK_AFTER = 50
"""Faults between two looks; they read everything."""
_REGISTERS = ("default", "registers")
_KEYS = ("r0", "r1", "r2")
_PROGRESS = 6
"""Writes that are acknowledged between two faults."""
_PATIENCE_S = 120.0
_CUT_BYTES_MAX = 6_000
_CUT_S = 1.0


@dataclass(frozen=True)
class Plan:
    """What a run does.

    Attributes:
        daemons: How many there are at a time.
        kills: How often one is killed.
        stops: How often PostgreSQL is stopped as if it had crashed.
        cuts: How often the connections of one are cut.
        writers: Clients that write; beside them two write and read single documents.
        one_branch: All write to one branch.
        command: What to run instead of st8d.
    """

    daemons: int = 2
    kills: int = 1
    stops: int = 1
    cuts: int = 1
    writers: int = 6
    one_branch: bool = False
    command: Sequence[str] = ST8D

    def faults(self, chance: Random) -> list[str]:
        """Return what happens, in order."""
        found = ["kill"] * self.kills + ["stop"] * self.stops + ["cut"] * self.cuts
        chance.shuffle(found)
        return found


@dataclass
class Outcome:
    """What a run did and found, in words that fit behind its command."""

    seed: int
    counts: dict[str, int] = field(default_factory=dict[str, int])
    wrong: list[str] = field(default_factory=list[str])

    def __str__(self) -> str:
        """Return it as a few lines of text."""
        lines = [f"{count} {what}" for what, count in self.counts.items()]
        lines += [f"seed {self.seed}"]
        lines += [f"WRONG: {sentence}" for sentence in self.wrong[:50]]
        lines += [f"{len(self.wrong)} wrong" if self.wrong else "nothing wrong"]
        return "\n".join(lines)


class _Registers:
    """A client that writes and reads single documents, and notes values and times."""

    def __init__(self, name: str, chance: Random, ledger: Ledger) -> None:
        self._name = name
        self._chance = chance
        self._ledger = ledger
        self._count = 0
        self.accesses: defaultdict[str, list[Access]] = defaultdict(list)

    def run(self, daemons: Sequence[ChildDaemon], done: threading.Event) -> None:
        """Write and read until ``done``, each time at some daemon."""
        while not done.is_set():
            key = self._chance.choice(_KEYS)
            connection = self._chance.choice(daemons).connect()
            with closing(connection):
                if self._chance.random() < 0.5:
                    self._write(connection, key)
                else:
                    self._read(connection, key)
            done.wait(0.01)

    def _write(self, connection: Any, key: str) -> None:
        self._count += 1
        value = f"{self._name}-{self._count}"
        namespace, branch = _REGISTERS
        body = {
            "scope": {"namespace": namespace, "branch": branch},
            "documents": [{"key": key, "content": value}],
            "message": value,
        }
        attempt = Attempt(value, "apply", namespace, branch, body, {key: value})
        self._ledger.begin(attempt)
        called = time.monotonic()
        with suppress(OSError, HTTPException):
            status, answer = call(connection, "POST", "/v1/apply", body)
            self._ledger.end(attempt, status, answer)
        if attempt.fate != "refused":
            returned = time.monotonic() if attempt.fate == "acknowledged" else inf
            self.accesses[key].append(Access(value, True, called, returned))

    def _read(self, connection: Any, key: str) -> None:
        namespace, branch = _REGISTERS
        query = urlencode({"namespace": namespace, "branch": branch, "key": key})
        called = time.monotonic()
        try:
            status, answer = call(connection, "GET", f"/v1/state?{query}")
        except (OSError, HTTPException):
            return
        if status == 200:
            value = answer["objects"].get(key)
            self.accesses[key].append(Access(value, False, called, time.monotonic()))


class _Rig:
    """The state of a run."""

    def __init__(
        self, server: PostgresServer, plan: Plan, seed: int, stack: ExitStack
    ) -> None:
        self.chance = Random(seed)
        self._server = server
        self._plan = plan
        self._schema = server.new_schema()
        self._proxies = [
            stack.enter_context(CuttingProxy(server.port)) for _ in range(plan.daemons)
        ]
        self.ledger = Ledger(outages=[HTTPStatus.SERVICE_UNAVAILABLE])
        self.oracle = Oracle(self.ledger)
        scopes = _ONE_BRANCH if plan.one_branch else ()
        self._writers = [
            Writer(f"writer-{n}", Random(f"{seed}/{n}"), self.ledger, scopes)
            for n in range(plan.writers)
        ]
        self.registers = [
            _Registers(f"client-{n}", Random(f"{seed}/r{n}"), self.ledger)
            for n in range(2)
        ]
        self.daemons: list[ChildDaemon] = []

    def start(self, stack: ExitStack) -> None:
        """Start the daemons."""
        for number in range(self._plan.daemons):
            self.daemons.append(self._daemon(number))
        stack.callback(self._end)

    def _end(self) -> None:
        for daemon in self.daemons:
            daemon.kill()

    def _daemon(self, number: int) -> ChildDaemon:
        url = self._server.tcp_url(self._schema, port=self._proxies[number].port)
        return ChildDaemon(None, "--store", url, command=self._plan.command)

    def play(self, faults: Sequence[str]) -> None:
        """Let everybody write while ``faults`` happen."""
        done = threading.Event()
        threads = [
            threading.Thread(target=client.run, args=(self.daemons, done))
            for client in self.registers
        ]
        for thread in threads:
            thread.start()
        for writer in self._writers:
            writer.roam(self.daemons, done)
        try:
            for fault in faults:
                self._wait_for_progress()
                time.sleep(self.chance.uniform(0, 0.1))
                getattr(self, f"_{fault}")()
            self._wait_for_progress()
        finally:
            done.set()
            for thread in threads:
                thread.join()
            for writer in self._writers:
                writer.join()

    def _kill(self) -> None:
        number = self.chance.randrange(len(self.daemons))
        self.daemons[number].kill()
        self.daemons[number] = self._daemon(number)

    def _stop(self) -> None:
        self._server.stop("immediate")
        self._server.start()

    def _cut(self) -> None:
        proxy = self.chance.choice(self._proxies)
        way = self.chance.choice(["up", "down"])
        proxy.cut_after(**{way: self.chance.randrange(_CUT_BYTES_MAX)})
        time.sleep(self.chance.uniform(0, _CUT_S))
        proxy.cut_after()

    def _wait_for_progress(self) -> None:
        """Return once some writes were acknowledged anew.

        Raises:
            TimeoutError: None came for long.
        """
        wanted = self._acknowledged() + _PROGRESS
        deadline = time.monotonic() + _PATIENCE_S
        while self._acknowledged() < wanted:
            if time.monotonic() > deadline:
                logs = b"\n".join(daemon.log()[-2000:] for daemon in self.daemons)
                raise TimeoutError(f"nobody can write: {logs.decode()}")
            time.sleep(0.005)

    def _acknowledged(self) -> int:
        attempts = list(self.ledger.attempts.values())
        return sum(attempt.fate == "acknowledged" for attempt in attempts)

    def look(self) -> list[str]:
        """Judge what is stored, while nobody writes."""
        with closing(PostgresStore(self._server.url(self._schema))) as store:
            wrong = self.oracle.look(store, thorough=True)
        return [*wrong, *self.oracle.explain(), *self.ledger.faults]

    def look_at_registers(self) -> list[str]:
        """Search for an order of what was seen of each document."""
        by_key: defaultdict[str, list[Access]] = defaultdict(list)
        for client in self.registers:
            for key, some in client.accesses.items():
                by_key[key] += some
        return [
            f"no order explains what was seen of {key}"
            for key, accesses in by_key.items()
            if not explains(accesses)
        ]


def run(
    server: PostgresServer,
    plan: Plan,
    seed: int,
    say: Callable[[str], None] = lambda _: None,
) -> Outcome:
    """Do what ``plan`` says and return what came of it."""
    outcome = Outcome(seed)
    with ExitStack() as stack:
        rig = _Rig(server, plan, seed, stack)
        rig.start(stack)
        faults = plan.faults(rig.chance)
        for begin in range(0, len(faults), _LOOK_AFTER):
            rig.play(faults[begin : begin + _LOOK_AFTER])
            outcome.wrong += rig.look()
            say(f"{begin + _LOOK_AFTER} faults, {rig.oracle.revisions} revisions")
            if outcome.wrong:
                break
        outcome.wrong += rig.look_at_registers()
        fates = [attempt.fate for attempt in rig.ledger.attempts.values()]
        outcome.counts = {
            "daemons": plan.daemons,
            "kills": plan.kills,
            "stops of PostgreSQL": plan.stops,
            "cuts": plan.cuts,
            "writes acknowledged": fates.count("acknowledged"),
            "writes refused": fates.count("refused"),
            "writes never answered, and made": rig.oracle.applied,
            "writes never answered, and not made": rig.oracle.unapplied,
            "reads": len(rig.ledger.reads),
            "revisions": rig.oracle.revisions,
            "accesses of single documents": sum(
                len(some) for one in rig.registers for some in one.accesses.values()
            ),
        }
    return outcome


def main(arguments: Sequence[str] | None = None) -> int:
    """Run from the command line; return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.postgres.shared_rig",
        description="Kill, cut off and crash st8d and PostgreSQL, and look.",
    )
    for name, default in (("daemons", 2), ("kills", 400), ("stops", 300)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--cuts", type=int, default=300)
    parser.add_argument("--writers", type=int, default=6)
    parser.add_argument("--one-branch", action="store_true")
    parser.add_argument("--seed", type=int, help="what an earlier run printed")
    options = vars(parser.parse_args(arguments))
    seed = options.pop("seed")
    seed = secrets.randbelow(2**32) if seed is None else seed

    def say(text: str) -> None:
        sys.stdout.write(f"{text}\n")
        sys.stdout.flush()

    say(f"seed {seed}")
    server = PostgresServer()
    with closing(server):
        outcome = run(server, Plan(**options), seed, say)
    say(str(outcome))
    return 1 if outcome.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
