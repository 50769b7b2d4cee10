"""Daemons that share a store in PostgreSQL hear of each other's commits."""

from __future__ import annotations

import json
from contextlib import closing
from queue import Queue
from typing import TYPE_CHECKING, Any

import pytest

from st8.core.ids import BranchName, Namespace
from st8.store.postgres import PostgresStore, announcements
from st8.testing.batches import MAIN, A, B, write, write_named

if TYPE_CHECKING:
    from collections.abc import Iterator

    from st8.core.ports import BranchAt
    from tests.postgres.server import PostgresServer

_SOON_S = 60


class Ears:
    """What a store has heard of others, in order; None is that any may have moved."""

    def __init__(self, store: PostgresStore) -> None:
        """Listen, and wait until it does."""
        self._heard: Queue[Any] = Queue()
        store.hear(self._heard.put)
        assert self.next() is None

    def next(self) -> list[BranchAt] | None:
        """Return what comes next; fails if nothing does."""
        found: list[BranchAt] | None = self._heard.get(timeout=_SOON_S)
        return found


@pytest.fixture
def schema(postgres: PostgresServer) -> str:
    """A schema of the test's own."""
    return postgres.new_schema()


@pytest.fixture
def store(postgres: PostgresServer, schema: str) -> Iterator[PostgresStore]:
    """The store of one daemon."""
    with closing(PostgresStore(postgres.url(schema))) as store:
        yield store


@pytest.fixture
def other(postgres: PostgresServer, schema: str) -> Iterator[PostgresStore]:
    """The store of another one."""
    with closing(PostgresStore(postgres.url(schema))) as store:
        yield store


def test_a_commit_is_heard_by_the_others(
    store: PostgresStore, other: PostgresStore
) -> None:
    """Others hear which branches a commit has moved; who has committed does not."""
    own, ears = Ears(store), Ears(other)
    write(store, B)
    assert [(B, MAIN)] == ears.next()

    write(other)

    assert [(A, MAIN)] == own.next()


def test_a_commit_is_there_before_it_is_heard_of(
    store: PostgresStore, other: PostgresStore
) -> None:
    """Whoever hears of a commit finds it."""
    ears = Ears(other)
    for number in range(1, 6):
        write(store)
        ears.next()

        found = other.branch(A, MAIN)
        assert found is not None
        assert number <= found.head


def test_commits_close_to_each_other_are_heard_together(
    store: PostgresStore, other: PostgresStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What gathers between two announcements goes into one, at the latest at the end."""
    monkeypatch.setattr(announcements, "_GAP_S", 600.0)
    ears = Ears(other)
    write(store)
    ears.next()
    write(store, B)
    write(store, Namespace("ü/x"))
    store.close()

    assert [(B, MAIN), (Namespace("ü/x"), MAIN)] == ears.next()


def test_too_many_are_heard_of_as_any(
    store: PostgresStore, other: PostgresStore
) -> None:
    """Where the names are too many for PostgreSQL, others look for themselves."""
    ears = Ears(other)
    write_named(store, *((f"{n}" * 80, "x") for n in range(100, 200)))

    assert ears.next() is None


@pytest.mark.parametrize(
    "payload",
    [
        *("", "{", "[1]", '["x", [["a"]]]', "[" * 4000),
        json.dumps(["x", [["a" * 5000, "main"]]]),  # a name that is none
    ],
)
def test_what_is_not_understood_is_heard_of_as_any(
    postgres: PostgresServer, schema: str, other: PostgresStore, payload: str
) -> None:
    """Anybody in the database may write to the channel: nobody fails of it."""
    ears = Ears(other)
    with postgres.connect() as connection:
        connection.execute("SELECT pg_notify(%s, %s)", (f"st8:{schema}", payload))

    assert ears.next() is None


def test_a_connection_that_was_lost_is_made_again(
    postgres: PostgresServer, store: PostgresStore, other: PostgresStore
) -> None:
    """After a loss any branch may have moved, and then all is heard as before."""
    ears = Ears(other)
    [[listening]] = postgres.run(
        "SELECT pid FROM pg_stat_activity "
        "WHERE query LIKE 'LISTEN%' AND state = 'idle' ORDER BY backend_start DESC "
        "LIMIT 1"
    )
    postgres.run(f"SELECT pg_terminate_backend({listening})")
    assert ears.next() is None

    write(store, B)

    assert [(B, MAIN)] == ears.next()


def test_closing_tells_what_waits(
    store: PostgresStore, postgres: PostgresServer, schema: str
) -> None:
    """A daemon that stops after its last commit has told of it; then it is silent."""
    ears = Ears(store)
    last = PostgresStore(postgres.url(schema))
    write(last, A, BranchName("x"))
    last.close()
    last.close()

    assert [(A, BranchName("x"))] == ears.next()
