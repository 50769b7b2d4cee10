"""Connections that are cut during a commit, at any byte: the truth is told."""

from __future__ import annotations

from contextlib import closing, suppress
from typing import TYPE_CHECKING, Literal

import pytest

from st8.core.errors import OutcomeUnknown, St8Error, StorageFailed
from st8.core.ports import Batch, Record
from st8.store.postgres import PostgresStore, connections
from st8.testing.batches import (
    MAIN,
    A,
    N,
    branch_at,
    content_of,
    dump,
    objects_of,
    record_of,
    write,
)
from tests.postgres.proxy import CuttingProxy

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.postgres.server import PostgresServer


@pytest.fixture
def proxy(postgres: PostgresServer) -> Iterator[CuttingProxy]:
    """A proxy before the server."""
    with CuttingProxy(postgres.port) as proxy:
        yield proxy


@pytest.fixture
def schema(postgres: PostgresServer) -> str:
    """A schema of the test's own."""
    return postgres.new_schema()


@pytest.fixture
def store(
    postgres: PostgresServer, proxy: CuttingProxy, schema: str
) -> Iterator[PostgresStore]:
    """A store behind the proxy, through which only what the test does passes."""
    with closing(PostgresStore(postgres.tcp_url(schema, port=proxy.port))) as store:
        store._announcements.close()
        yield store


@pytest.fixture
def witness(
    postgres: PostgresServer, schema: str, store: PostgresStore
) -> Iterator[PostgresStore]:
    """The same store, not behind the proxy."""
    assert store.exclusive is False
    with closing(PostgresStore(postgres.url(schema))) as witness:
        yield witness


def _next_batch(witness: PostgresStore) -> Batch:
    """Return a batch with one more revision of main."""
    state = witness.namespace(A)
    number = N(state.last_revision + 1)
    batch = Batch(state.epoch, 0, objects_of(content_of(A, number)))
    batch.namespaces[A] = (state.last_revision, number)
    batch.revisions[A] = [Record(number, record_of(A, number))]
    batch.branches[A, MAIN] = (branch_at(number - 1), branch_at(number))
    return batch


def _cut_commits(
    store: PostgresStore,
    witness: PostgresStore,
    proxy: CuttingProxy,
    way: Literal["up", "down"],
    step: int,
) -> tuple[list[str], int]:
    """Cut commits after 0, ``step``, … bytes of a direction, until one comes too late.

    Returns what is wrong, and how many were cut. What was answered is there; what was
    not is there whole or not at all; and the next commit finds a new connection.
    """
    wrong: list[str] = []
    write(store)
    cut = 0
    while True:
        batch = _next_batch(witness)
        before, number = batch.namespaces[A]
        proxy.cut_after(
            up=cut if way == "up" else None, down=cut if way == "down" else None
        )
        outcome = _outcome(store, batch)
        proxy.cut_after()
        after = witness.namespace(A).last_revision
        if witness.branch(A, MAIN) != branch_at(after) or after not in (before, number):
            wrong.append(f"cut after {cut}: {before} became {after}")
        if outcome == "made":
            if after != number:
                wrong.append(f"cut after {cut}: acknowledged and lost")
            return wrong, cut // step
        if outcome != "unknown":
            wrong.append(f"cut after {cut}: {outcome}")
        if after + 1 != write(store):
            wrong.append(f"cut after {cut}: the next commit did not follow")
        cut += step


def _outcome(store: PostgresStore, batch: Batch) -> str:
    """Commit, and return how it ended for who committed."""
    try:
        store.commit(batch)
    except OutcomeUnknown:
        return "unknown"
    except St8Error as error:
        return error.detail
    return "made"


def test_an_answer_that_is_cut_leaves_the_outcome_unknown(
    store: PostgresStore, witness: PostgresStore, proxy: CuttingProxy
) -> None:
    """After any byte of the server's answer the outcome is unknown, till the last."""
    wrong, times = _cut_commits(store, witness, proxy, "down", 1)

    assert [] == wrong
    assert times > 50


def test_a_request_that_is_cut_is_made_whole_or_not_at_all(
    store: PostgresStore, witness: PostgresStore, proxy: CuttingProxy
) -> None:
    """After any byte of the request the commit is there whole, or nothing of it."""
    wrong, times = _cut_commits(store, witness, proxy, "up", 41)

    assert [] == wrong
    assert times > 10


def test_a_connection_that_was_cut_while_idle_costs_nothing(
    postgres: PostgresServer, schema: str
) -> None:
    """A store whose connections have all gone reads and commits as if they had not."""
    with closing(PostgresStore(postgres.url(schema))) as store:
        store._announcements.close()
        for number in range(1, 6):
            assert number == write(store)
            postgres.end_sessions()
            assert branch_at(number) == store.branch(A, MAIN)
            postgres.end_sessions()


def test_a_read_is_tried_again_on_a_new_connection(
    store: PostgresStore, proxy: CuttingProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A connection that is lost under a read costs a reconnect; two are told."""
    monkeypatch.setattr(connections, "_PAUSE_S", 0.0)
    write(store)
    before = dump(store)
    for cut in range(0, 200, 20):
        proxy.cut_after(down=cut)
        with suppress(StorageFailed):
            store.namespace(A)
        proxy.cut_after()
        assert before == dump(store)
