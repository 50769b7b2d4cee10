"""Backups where several daemons share a store: all of them see a restore, or none."""

from __future__ import annotations

import threading
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from st8.core.errors import BeingRestored, Overtaken
from st8.engine.engine import Engine
from st8.store.memory import MemoryStore
from st8.store.postgres import PostgresStore
from st8.testing.clock import FakeClock
from tests.engine.acts import SCOPE, applied, apply, contents, log_numbers, scope
from tests.engine.backups import backup, leftovers, reader

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.postgres.server import PostgresServer


@pytest.fixture
def both(postgres: PostgresServer) -> Iterator[tuple[Engine, Engine, PostgresStore]]:
    """Two daemons on one store, and the store."""
    url = postgres.url(postgres.new_schema())
    stores = [PostgresStore(url) for _ in range(3)]
    with (
        closing(Engine(stores[0], FakeClock())) as one,
        closing(Engine(stores[1], FakeClock())) as other,
        closing(stores[2]),
    ):
        yield one, other, stores[2]


@pytest.fixture(scope="module")
def data() -> bytes:
    """A backup of two namespaces."""
    with closing(Engine(MemoryStore(), FakeClock())) as engine:
        applied(engine, "1", "2", "3")
        apply(engine, {f"k/{n}": f"{n}" for n in range(2_000)}, at=scope("large"))
        return backup(engine)


def _acting(data: bytes, act: Callable[[], object]) -> Callable[[], bytes]:
    """Return what reads ``data``, and acts before its last byte."""
    pieces = iter([data[:-1], data[-1:], b""])

    def read() -> bytes:
        piece = next(pieces)
        if piece == data[-1:]:
            act()
        return piece

    return read


def test_others_see_all_of_it_at_once(
    both: tuple[Engine, Engine, PostgresStore], data: bytes
) -> None:
    """Until the end nobody has it or can take its place; then all have it and go on."""
    one, other, _ = both
    heard = threading.Event()
    moved: set[object] = set()

    def listen(scopes: object) -> None:
        if isinstance(scopes, list):
            moved.update(scopes)
        if {SCOPE, scope("large")} <= moved:
            heard.set()

    other.on_move(listen)
    # It remembers, and guesses, what it has made in another namespace.
    applied(other, "mine", at=scope("mine"))

    def look() -> None:
        assert ["mine"] == [info.name for info in other.namespaces().items]
        assert {} == contents(other)
        with pytest.raises(BeingRestored):
            apply(other, {"k": "mine"})
        assert 2 == apply(other, {"k": "more"}, at=scope("mine")).number

    one.restore_backup(_acting(data, look))

    assert heard.wait(60)
    assert [3, 2, 1] == log_numbers(other)
    assert 4 == apply(other, {"k": "4"}).number
    assert 5 == apply(one, {"k": "5"}).number
    assert 2_000 == len(contents(other, scope("large")))


def test_a_collection_of_another_daemon_ends_it(
    both: tuple[Engine, Engine, PostgresStore], data: bytes
) -> None:
    """It takes what was written away; then it can be restored."""
    one, other, store = both
    with pytest.raises(Overtaken):
        one.restore_backup(_acting(data, other.collect))

    assert [] == leftovers(store, ["default", "large"])
    one.restore_backup(reader(data))
    other.collect(keep=1)
    assert [3] == log_numbers(one)
    assert 2_000 == len(contents(other, scope("large")))
