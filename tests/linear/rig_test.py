"""What clients of engines that share a store see has one order.

``python -m st8.testing.linear`` goes on for as long as it is told; a failure prints the
seed that plans the same calls again.
"""

from __future__ import annotations

import secrets
from contextlib import ExitStack, closing
from typing import TYPE_CHECKING

import pytest

from st8.clock import SystemClock
from st8.engine.engine import Engine
from st8.store.memory import MemoryStore
from st8.testing.faulty import FaultyStore
from st8.testing.linear import Outcome, Sizes, open_engines, run

if TYPE_CHECKING:
    from pathlib import Path

    from tests.postgres.server import PostgresServer


def _run(url: str, engines: int) -> Outcome:
    with ExitStack() as stack:
        opened = open_engines(stack, url, engines)
        return run(opened, Sizes(), secrets.randbelow(2**32))


@pytest.mark.parametrize("engines", [1, 2])
def test_on_the_embedded_store(tmp_path: Path, engines: int) -> None:
    """One engine, and two that share the store as workers do."""
    outcome = _run(f"sqlite:{tmp_path / 'state'}", engines)

    assert () == outcome.wrong, str(outcome)
    assert outcome.accesses


def test_in_memory() -> None:
    """Two engines on a store in memory, which they are told to share."""
    store = FaultyStore(MemoryStore())
    store.exclusive = False
    with ExitStack() as stack:
        opened = [
            stack.enter_context(closing(Engine(store, SystemClock()))) for _ in range(2)
        ]
        outcome = run(opened, Sizes(), secrets.randbelow(2**32))

    assert () == outcome.wrong, str(outcome)


def test_in_postgresql(postgres: PostgresServer) -> None:
    """Two engines, as of two daemons."""
    outcome = _run(postgres.url(postgres.new_schema()), 2)

    assert () == outcome.wrong, str(outcome)
