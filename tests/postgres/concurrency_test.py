"""Two daemons on one database: no number twice, no gap, no lost update."""

from __future__ import annotations

import threading
from contextlib import ExitStack, suppress
from functools import partial
from typing import TYPE_CHECKING

import pytest

from st8.core.errors import Conflict, HeadMoved, Unavailable
from st8.core.ids import Namespace
from st8.engine import collect
from st8.engine.engine import Engine
from st8.store.postgres import PostgresStore
from st8.testing.batches import N
from st8.testing.clock import FakeClock
from tests.engine.acts import (
    SCOPE,
    apply,
    branch,
    checkpoint,
    contents,
    log_numbers,
    read_everything,
    scope,
    selector,
)
from tests.postgres.appliers import History, mixed_work, run_all

if TYPE_CHECKING:
    from collections.abc import Iterator

    from st8.core.ids import Scope
    from tests.postgres.server import PostgresServer


@pytest.fixture
def engines(postgres: PostgresServer) -> Iterator[list[Engine]]:
    """Two engines, each on a store of its own on one database, as two daemons."""
    url = postgres.url(postgres.new_schema())
    with ExitStack() as stack:
        made = [Engine(PostgresStore(url), FakeClock()) for _ in range(2)]
        for engine in made:
            stack.callback(engine.close)
        yield made


@pytest.mark.parametrize(
    "scopes",
    [
        pytest.param([SCOPE], id="one branch"),
        pytest.param(
            [scope("a", f"b{n}") for n in range(4)], id="branches of one namespace"
        ),
        pytest.param(
            [scope(f"n{n}", f"b{m}") for n in range(3) for m in range(2)],
            id="branches of many namespaces",
        ),
    ],
)
def test_one_order_explains_what_clients_of_two_daemons_saw(
    engines: list[Engine], scopes: list[Scope]
) -> None:
    """Writes of two daemons have the numbers 1, 2, 3 … and are all there.

    What a client of one has been answered, clients of the other see; each read is
    what replaying the writes gives.
    """
    history = History()
    run_all(mixed_work(history, engines, scopes, times=25))

    assert (0, []) == (history.refused, history.lost)
    assert [] == history.settle(engines[0])
    assert [] == history.findings()
    assert read_everything(engines[0]) == read_everything(engines[1])


def test_counters_that_both_daemons_count_lose_nothing(engines: list[Engine]) -> None:
    """Of updates with an expected head, as many are made as were acknowledged."""
    apply(engines[0], {"n": "0"})

    def count(engine: Engine) -> None:
        for _ in range(15):
            while True:
                state = engine.state(SCOPE)
                value = int(dict(state.items())["n"])
                try:
                    apply(engine, {"n": f"{value + 1}"}, expect=state.number)
                except HeadMoved:
                    continue
                break

    run_all([partial(count, engine) for engine in engines * 2])

    assert {"n": "60"} == contents(engines[1])
    assert list(range(61, 0, -1)) == log_numbers(engines[0])


def test_a_key_that_both_are_sent_is_done_once(engines: list[Engine]) -> None:
    """A retry that reaches another daemon while the first attempt runs does nothing."""
    for turn in range(10):
        together = threading.Barrier(2)
        numbers: list[int] = []

        def send(
            engine: Engine,
            turn: int = turn,
            together: threading.Barrier = together,
            numbers: list[int] = numbers,
        ) -> None:
            together.wait()
            result = apply(engine, {"k": f"{turn}"}, key=f"key-{turn}")
            numbers.append(result.number)

        run_all([partial(send, engine) for engine in engines])
        assert [turn + 1] * 2 == numbers
    assert 10 == len(log_numbers(engines[0]))


def test_of_two_that_make_a_branch_one_does(engines: list[Engine]) -> None:
    """A branch that both daemons make at once is made by one of them."""
    apply(engines[0], {"k": "1"})
    for turn in range(10):
        together = threading.Barrier(2)
        ends: list[str] = []

        def make(
            engine: Engine,
            turn: int = turn,
            together: threading.Barrier = together,
            ends: list[str] = ends,
        ) -> None:
            together.wait()
            try:
                branch(engine, f"b{turn}")
                ends.append("made")
            except Conflict:
                ends.append("there already")

        run_all([partial(make, engine) for engine in engines])
        assert ["made", "there already"] == sorted(ends)


@pytest.mark.parametrize("size", [1, 1_000])
def test_both_collect_while_both_write(
    engines: list[Engine], monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    """Collections of two daemons among the writes of both take nothing that is kept.

    In the smallest pieces, and in large ones.
    """
    for name in ("_REMOVED_AT_ONCE", "_SWEPT_AT_ONCE"):
        monkeypatch.setattr(collect, name, (size, size))
    for number in range(20):
        apply(engines[0], {"k": f"{number}", f"d{number % 3}": f"{number}"})
    checkpoint(engines[1], "old", selector(3))
    before = contents(engines[0], source=selector(checkpoint="old"))

    def write(engine: Engine, name: str) -> None:
        for number in range(20):
            # The same contents again and again: what is swept is needed anew.
            apply(engine, {name: f"{number % 3}", "k": f"{number % 2}"})

    def clean(engine: Engine) -> None:
        for _ in range(8):
            with suppress(Unavailable):  # the other one is at it
                engine.collect(keep=2)

    run_all(
        [
            *(
                partial(write, engine, name)
                for engine, name in zip(engines, "ab", strict=True)
            ),
            *(partial(clean, engine) for engine in engines),
        ]
    )

    for engine in engines:
        assert before == contents(engine, source=selector(checkpoint="old"))
        assert {"a", "b", "k"} <= contents(engine).keys()
        engine.collect(keep=1)
    # Nothing of what is left is missing an object, also to one that remembers nothing.
    assert read_everything(engines[0]) == read_everything(engines[1])


def test_a_checkpoint_that_is_set_during_a_collection_keeps_its_revision(
    engines: list[Engine],
) -> None:
    """A revision that another daemon names after the choice was made is not removed."""
    for number in range(5):
        apply(engines[0], {"k": f"{number}"})
    store = engines[0]._store
    namespace = Namespace("default")
    epoch = store.namespace(namespace).epoch
    chosen = list(store.numbers(namespace, N(0), 100))[:4]
    checkpoint(engines[1], "kept", selector(2))
    branch(engines[1], "kept", selector(3))
    store.raise_epoch({namespace: chosen}, epoch)

    assert [2, 3, 5] == list(store.numbers(namespace, N(0), 100))
    assert {"k": "1"} == contents(engines[1], source=selector(checkpoint="kept"))


def test_one_of_two_daemons_collects(
    postgres: PostgresServer, engines: list[Engine]
) -> None:
    """While one collects the other refuses to, until the first is done or is cut off."""
    one, other = engines
    apply(one, {"k": "1"})
    apply(one, {"k": "2"})
    with one._store.collecting() as alone:
        assert alone
        with pytest.raises(Unavailable, match="another daemon collects garbage"):
            other.collect(keep=1)
        assert [2, 1] == log_numbers(other)
        with postgres.connect() as connection:
            connection.execute(
                b"SELECT pg_terminate_backend(pid) FROM pg_locks "
                b"WHERE locktype = 'advisory' AND granted AND pid <> pg_backend_pid()"
            )
        assert 1 == other.collect(keep=1).revisions
