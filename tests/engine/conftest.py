"""An engine over a store in memory that does as a test says."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest

from st8.engine.engine import Engine
from st8.store.memory import MemoryStore
from st8.store.postgres import PostgresStore
from st8.store.sqlite import SqliteStore
from st8.testing.clock import SECOND_NS, FakeClock
from st8.testing.faulty import FaultyStore

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from st8.core.ports import Store
    from tests.postgres.server import PostgresServer


@pytest.fixture
def clock() -> FakeClock:
    """A clock that shows a second more on each look."""
    return FakeClock(tick_ns=SECOND_NS)


@pytest.fixture
def store() -> FaultyStore:
    """A store in memory behind which a test can arrange faults."""
    return FaultyStore(MemoryStore())


@pytest.fixture
def engine(store: FaultyStore, clock: FakeClock) -> Iterator[Engine]:
    """An engine over ``store``; closing it leaves no thread."""
    before = set(threading.enumerate())
    engine = Engine(store, clock)
    yield engine
    engine.close()

    assert set() == set(threading.enumerate()) - before


@pytest.fixture(params=["memory", "sqlite", "postgres"])
def any_store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    """Each of the stores; who opens an engine on it closes it."""
    if request.param == "postgres":
        server: PostgresServer = request.getfixturevalue("postgres")
        return PostgresStore(server.url(server.new_schema()))
    return MemoryStore() if request.param == "memory" else SqliteStore(tmp_path)


@pytest.fixture
def any_engine(any_store: Store, clock: FakeClock) -> Iterator[Engine]:
    """An engine over each of the stores."""
    engine = Engine(any_store, clock)
    yield engine
    engine.close()


@pytest.fixture
def open_sqlite(tmp_path: Path, clock: FakeClock) -> Iterator[Callable[[], Engine]]:
    """Opens an engine on one state directory, closing the one before."""
    opened: list[Engine] = []

    def reopen() -> Engine:
        if opened:
            opened.pop().close()
        opened.append(Engine(SqliteStore(tmp_path), clock))
        return opened[0]

    yield reopen
    for engine in opened:
        engine.close()
