"""Clients of several daemons on one database, and what they saw."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from random import Random
from typing import TYPE_CHECKING, Final

from st8.core.errors import St8Error
from st8.core.ids import Namespace
from st8.testing.checker import Finding, Operation, Read, Write, check
from tests.engine.acts import apply, scope

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from st8.core.ids import Scope
    from st8.engine.engine import Engine

__all__ = ["History", "Lost", "mixed_work", "run_all"]


_PATIENCE_S: Final = 120.0
"""How long a test waits for a write before it takes itself for broken."""


class Lost:
    """A write whose end was never told.

    Attributes:
        at: Where.
        key: The document, which no other write has.
        called_ns: When it began.
    """

    def __init__(self, at: Scope, key: str) -> None:
        """Note that it begins."""
        self.at = at
        self.key = key
        self.called_ns = time.monotonic_ns()


class History:
    """All that clients did and were answered. Any thread may add to it."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self.operations: list[Operation] = []
        self.lost: list[Lost] = []
        self.refused = 0
        self.acknowledged = 0
        self._lock = threading.Condition()

    def write(self, engine: Engine, at: Scope, key: str) -> bool:
        """Apply a document that nobody else applies; return if that was acknowledged."""
        attempt = Lost(at, key)
        try:
            number = apply(engine, {key: key}, at=at).number
        except St8Error as error:
            with self._lock:
                if error.outcome == "unknown":
                    self.lost.append(attempt)
                else:
                    self.refused += 1
            return False
        self._add(
            Write(*at, number, attempt.called_ns, time.monotonic_ns(), {key: key}),
        )
        return True

    def read(self, engine: Engine, at: Scope) -> None:
        """Read a whole state, and note it."""
        called_ns = time.monotonic_ns()
        try:
            state = engine.state(at)
            found = {key: content.decode() for key, content in state.items()}
        except St8Error:
            return
        self._add(Read(*at, state.number, called_ns, time.monotonic_ns(), found))

    def settle(self, engine: Engine) -> list[str]:
        """Look which of the lost writes were made after all; return what is wrong.

        A write that was made is found by its document, which is there once.
        """
        wrong: list[str] = []
        made = {
            (w.namespace, w.branch, key): w.revision
            for w in self.operations
            if isinstance(w, Write)
            for key in w.edits
        }
        for at, states in _logs(engine).items():
            for number, key in states:
                known = made.pop((*at, key), None)
                lost = next((x for x in self.lost if (x.at, x.key) == (at, key)), None)
                if known is None and lost is None:
                    wrong.append(f"{key} in {number} of {at} was never acknowledged")
                elif known is None and lost is not None:
                    write = Write(*at, number, lost.called_ns, None, {key: key})
                    self.operations.append(write)
                elif known != number:
                    wrong.append(f"{key} was answered {known} and is {number} of {at}")
        wrong += [f"{at} was acknowledged as {n} and lost" for at, n in made.items()]
        return wrong

    def findings(self) -> list[Finding]:
        """Return what no order explains."""
        return check(self.operations)

    def wait_for(self, acknowledged: int) -> None:
        """Return once so many writes were acknowledged.

        Raises:
            TimeoutError: None came for long.
        """
        with self._lock:
            if not self._lock.wait_for(
                lambda: self.acknowledged >= acknowledged, _PATIENCE_S
            ):
                raise TimeoutError(f"{self.acknowledged} writes, and then no more")

    def _add(self, operation: Operation) -> None:
        with self._lock:
            self.operations.append(operation)
            if isinstance(operation, Write):
                self.acknowledged += 1
                self._lock.notify_all()


def _logs(engine: Engine) -> dict[Scope, list[tuple[int, str]]]:
    """Return, of every branch, each revision and the one document that it brought."""
    found: dict[Scope, list[tuple[int, str]]] = {}
    for info in engine.namespaces(limit=1000).items:
        for branch in engine.branches(Namespace(info.name), limit=1000).items:
            at = scope(info.name, branch.name)
            entries = engine.log(at, limit=1000).entries
            found[at] = [
                (entry.revision.number, change.key)
                for entry in entries
                for change in entry.changes.iter()
            ]
    return found


def mixed_work(
    history: History, engines: Sequence[Engine], scopes: Sequence[Scope], times: int
) -> list[Callable[[], None]]:
    """Return what two clients of each engine do: mostly write, now and then read."""

    def work(client: int, engine: Engine) -> None:
        chance = Random(client)
        for turn in range(times):
            at = chance.choice(scopes)
            if chance.random() < 0.8:
                history.write(engine, at, f"{client}/{turn}")
            else:
                history.read(engine, at)

    clients = [engine for engine in engines for _ in range(2)]
    return [partial(work, client, engine) for client, engine in enumerate(clients)]


def run_all(works: Iterable[Callable[[], None]]) -> None:
    """Run all at once, each on a thread of its own, and raise what one raises."""
    some = list(works)
    with ThreadPoolExecutor(len(some)) as pool:
        futures = [pool.submit(work) for work in some]
    for future in futures:
        future.result()
