"""Many clients at once, on engines that share a store: is there one order of it all?

A history is what a few clients do in a namespace of its own: applies, some of which
expect the head that they saw last, rollbacks, reads of whole states and of single
documents, each with the time of its call and of its return. Two checkers look at it:
the exact one, which goes by the revisions in the answers
(:mod:`~st8.testing.checker`), and, where nothing was rolled back, one that believes
values and times alone (:mod:`~st8.testing.registers`).

``python -m st8.testing.linear --histories N --seed S`` plans the same calls again; how
they overlap is chance.
"""

from __future__ import annotations

import argparse
import secrets
import sys
import tempfile
import threading
import time
from collections import defaultdict
from contextlib import ExitStack, closing
from pathlib import Path
from random import Random  # noqa: TID251 - seeded: a run can be had again
from typing import TYPE_CHECKING, Final, NamedTuple

from st8.clock import SystemClock
from st8.core.documents import Document
from st8.core.errors import HeadMoved, St8Error
from st8.core.ids import BranchName, Key, Namespace, Scope
from st8.engine.engine import Engine
from st8.engine.requests import Apply, Reset, Selector
from st8.store.open import Sharing, open_store
from st8.testing.checker import Read, Write, check
from st8.testing.registers import Access, explains

if TYPE_CHECKING:
    from collections.abc import Sequence

    from st8.testing.checker import Operation

__all__ = ["Outcome", "Sizes", "open_engines", "run"]

_KEYS: Final = ("a", "b", "c/d")
_BRANCHES: Final = (BranchName("main"), BranchName("side"))


class Sizes(NamedTuple):
    """How much is done.

    Attributes:
        histories: How many histories.
        clients: Of each history.
        operations: Of each history, over all clients.
    """

    histories: int = 20
    clients: int = 6
    operations: int = 60


class Outcome(NamedTuple):
    """What came of it.

    Attributes:
        seed: Plans the same calls again.
        histories: How many were looked at.
        operations: Calls that were answered.
        accesses: Those of single documents, which were ordered by values alone.
        wrong: What no order explains; sentences.
    """

    seed: int
    histories: int
    operations: int
    accesses: int
    wrong: tuple[str, ...]

    def __str__(self) -> str:
        """Say it in a line, and what is wrong in one each."""
        told = (
            f"seed {self.seed}: {self.histories:,} histories, {self.operations:,} "
            f"operations, {self.accesses:,} accesses of single documents; "
        )
        return "\n".join(
            [
                told + (f"{len(self.wrong)} wrong" if self.wrong else "nothing wrong"),
                *self.wrong,
            ]
        )


class _Client:
    """One client of a history; its thread alone uses it."""

    def __init__(self, engine: Engine, scope: Scope, name: str, random: Random) -> None:
        self._engine = engine
        self._scope = scope
        self._name = name
        self._random = random
        self._seen = 0
        self.operations: list[Operation] = []
        self.accesses: list[tuple[tuple[str, str], Access]] = []
        self.faults: list[str] = []

    def run(self, count: int, *, rollbacks: bool) -> None:
        """Make some calls."""
        acts = [self._put, self._put, self._read, self._get]
        if rollbacks:
            acts.append(self._roll_back)
        for number in range(count):
            act = self._random.choice(acts)
            try:
                act(f"{self._name}.{number}")
            except St8Error as error:
                self.faults.append(f"{self._name}.{number}: {error!r}")

    def _put(self, name: str) -> None:
        keys = self._random.sample(_KEYS, self._random.randint(1, 2))
        expect = self._random.choice([None, None, self._seen])
        documents = tuple(Document(Key(key), name) for key in keys)
        request = Apply(self._scope, documents, expect_revision=expect)
        called = time.monotonic_ns()
        try:
            number = self._engine.apply(request).number
        except HeadMoved as error:
            self._read_of(name, int(error.actual), called, None)
            return
        returned = time.monotonic_ns()
        edits: dict[str, str | None] = dict.fromkeys(keys, name)
        self._wrote(Write(*self._scope, number, called, returned, edits, None, name))
        for key in keys:
            at = (self._scope.branch, key)
            self.accesses.append((at, Access(name, True, called, returned)))

    def _roll_back(self, name: str) -> None:
        seen = [each.revision for each in self.operations if each.revision]
        if not seen:
            return
        target = self._random.choice(seen)
        called = time.monotonic_ns()
        done = self._engine.reset(
            Reset(self._scope, Selector(revision=target), "rollback")
        )
        if done.noop:
            self._read_of(name, done.number, called, None)
            return
        returned = time.monotonic_ns()
        self._wrote(
            Write(*self._scope, done.number, called, returned, {}, target, name)
        )

    def _read(self, name: str) -> None:
        called = time.monotonic_ns()
        state = self._engine.state(self._scope)
        found = {key: content.decode() for key, content in state.items()}
        self._read_of(name, state.number, called, found)

    def _get(self, name: str) -> None:
        key = self._random.choice(_KEYS)
        called = time.monotonic_ns()
        state = self._engine.state(self._scope)
        content = state.get(Key(key))
        returned = self._read_of(name, state.number, called, None)
        value = None if content is None else content.decode()
        at = (self._scope.branch, key)
        self.accesses.append((at, Access(value, False, called, returned)))

    def _read_of(
        self, name: str, number: int, called: int, found: dict[str, str] | None
    ) -> int:
        returned = time.monotonic_ns()
        self._seen = max(self._seen, number)
        self.operations.append(
            Read(*self._scope, number, called, returned, found, name=name)
        )
        return returned

    def _wrote(self, write: Write) -> None:
        self._seen = max(self._seen, write.revision)
        self.operations.append(write)


def run(engines: Sequence[Engine], sizes: Sizes, seed: int) -> Outcome:
    """Make histories on engines that share a store, and check each of them.

    Clients are spread over the engines. The store has none of the namespaces that
    begin with ``linear/``.
    """
    random = Random(seed)  # noqa: S311 - a run can be had again
    operations = accesses = 0
    wrong: list[str] = []
    for number in range(sizes.histories):
        namespace = Namespace(f"linear/{number}")
        # Branches share their numbers, and nothing else.
        branches = random.randint(1, len(_BRANCHES))
        clients = [
            _Client(
                engines[client % len(engines)],
                Scope(namespace, _BRANCHES[client % branches]),
                f"{number}.{client}",
                Random(random.randrange(2**63)),  # noqa: S311 - see above
            )
            for client in range(sizes.clients)
        ]
        rollbacks = number % 2 == 1
        _run_all(clients, sizes.operations // sizes.clients, rollbacks=rollbacks)
        done = [each for client in clients for each in client.operations]
        operations += len(done)
        wrong += [fault for client in clients for fault in client.faults]
        wrong += [f"{namespace}: {f.rule}: {f.detail}" for f in check(done)]
        if not rollbacks:
            touched = [each for client in clients for each in client.accesses]
            accesses += len(touched)
            wrong += _check_values(namespace, touched)
    return Outcome(seed, sizes.histories, operations, accesses, tuple(wrong))


def _run_all(clients: Sequence[_Client], count: int, *, rollbacks: bool) -> None:
    threads = [
        threading.Thread(
            target=client.run, args=(count,), kwargs={"rollbacks": rollbacks}
        )
        for client in clients
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def _check_values(
    namespace: str, touched: Sequence[tuple[tuple[str, str], Access]]
) -> list[str]:
    by_place: defaultdict[tuple[str, str], list[Access]] = defaultdict(list)
    for place, access in touched:
        by_place[place].append(access)
    return [
        f"{namespace}: no order of values and times explains what was read of key "
        f"{key!r} of branch {branch!r}"
        for (branch, key), some in by_place.items()
        if not explains(some)
    ]


def open_engines(stack: ExitStack, url: str, number: int) -> list[Engine]:
    """Return engines that share the store at ``url``, closed with ``stack``.

    The embedded one is shared as workers share it, here in one process.
    """
    if number == 1:
        return [stack.enter_context(closing(Engine(open_store(url), SystemClock())))]
    sharing = stack.enter_context(closing(Sharing(url, number)))
    return [
        stack.enter_context(closing(Engine(sharing.open(process), SystemClock())))
        for process in range(number)
    ]


def main() -> int:
    """Run as told on the command line; 1 if anything is wrong."""
    parser = argparse.ArgumentParser(prog="python -m st8.testing.linear")
    parser.add_argument("--store", help="URL; an embedded one in a temporary place")
    parser.add_argument("--engines", type=int, default=2)
    parser.add_argument("--histories", type=int, default=1_000)
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--operations", type=int, default=200)
    parser.add_argument("--seed", type=int, default=secrets.randbelow(2**32))
    told = parser.parse_args()
    sizes = Sizes(told.histories, told.clients, told.operations)
    with tempfile.TemporaryDirectory() as directory, ExitStack() as stack:
        url = told.store or f"sqlite:{Path(directory) / 'state'}"
        outcome = run(open_engines(stack, url, told.engines), sizes, told.seed)
    sys.stdout.write(f"{outcome}\n")
    return bool(outcome.wrong)


if __name__ == "__main__":
    sys.exit(main())
