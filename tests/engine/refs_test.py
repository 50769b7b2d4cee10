"""What the engine remembers of pointers and records, and when it must not."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from st8.core.errors import RevisionNotFound
from st8.engine.engine import Engine
from st8.testing.clock import FakeClock
from tests.engine.acts import SCOPE, applied, apply, contents, selector

if TYPE_CHECKING:
    from st8.testing.faulty import FaultyStore


def test_a_head_read_before_a_commit_is_not_remembered_after_it(
    store: FaultyStore,
) -> None:
    """A reader that was overtaken by a commit leaves no old head behind.

    It has asked the store for a branch, and has not yet remembered the answer, when
    a commit moves the branch. Whoever reads next must see the new head.
    """
    maker = Engine(store, FakeClock())
    applied(maker, "1")
    maker._committer.close()
    engine = Engine(store, FakeClock())
    with store.hold_late("branch") as gate:
        reader = threading.Thread(target=engine.state, args=(SCOPE,))
        reader.start()
        gate.wait_until_reached()
        assert 2 == apply(engine, {"k": "2"}).number
    reader.join()

    assert {"k": "2"} == contents(engine)
    head = engine.peek_head(SCOPE)
    assert head == engine.state(SCOPE).revision
    assert 3 == apply(engine, {"k": "3"}, expect=2).number
    engine._committer.close()


def test_a_head_that_was_asked_for_is_not_asked_for_again(
    store: FaultyStore, engine: Engine
) -> None:
    """Reads of a head that is known, and of one known to be absent, cost no call."""
    applied(engine, "1")
    engine.state(SCOPE)
    store.calls.clear()
    for _ in range(5):
        assert 1 == engine.state(SCOPE).number

    assert 0 == store.calls["branch"] == store.calls["revisions"]


def test_records_are_read_once(store: FaultyStore) -> None:
    """A revision that was read is remembered, and a log does not read it again."""
    maker = Engine(store, FakeClock())
    applied(maker, *map(str, range(30)))
    maker._committer.close()
    engine = Engine(store, FakeClock())
    for _ in range(3):
        engine.log(SCOPE, limit=100)
        contents(engine, SCOPE, selector(7))

    assert 30 == store.calls["revisions"]
    engine._committer.close()


def test_numbers_that_are_known_are_not_asked_for(
    store: FaultyStore, engine: Engine
) -> None:
    """One after the other, writes ask neither for a number nor for the epoch."""
    applied(engine, "1")
    store.calls.clear()
    applied(engine, "2", "3")
    engine.collect(keep=1)
    store.calls.clear()
    applied(engine, "4", "5")

    assert (0, 2) == (store.calls["namespace"], store.calls["commit"])
    assert 0 == engine.stats().stale


def test_numbers_of_a_shared_store_are_asked_for(
    store: FaultyStore, engine: Engine
) -> None:
    """Where others write too, one guess that is wrong is enough, and it does no harm."""
    store.exclusive = False
    other = Engine(store, FakeClock())
    for number in range(1, 7, 2):
        assert number == apply(engine, {"k": f"{number}"}).number
        assert number + 1 == apply(other, {"k": f"{number + 1}"}).number
    other.collect(keep=1)

    assert 7 == apply(engine, {"k": "7"}).number
    assert 1 == engine.stats().stale
    other._committer.close()


def test_a_number_read_before_a_commit_is_not_remembered_after_it(
    store: FaultyStore,
) -> None:
    """A reader that was overtaken by a commit leaves no old number behind."""
    maker = Engine(store, FakeClock())
    applied(maker, "1")
    maker._committer.close()
    engine = Engine(store, FakeClock())
    errors: list[Exception] = []

    def read() -> None:
        try:
            engine.state(SCOPE, selector(99))
        except RevisionNotFound as error:
            errors.append(error)

    with store.hold_late("namespace") as gate:
        reader = threading.Thread(target=read)
        reader.start()
        gate.wait_until_reached()
        assert 2 == apply(engine, {"k": "2"}).number
    reader.join()

    assert 1 == len(errors)
    assert 3 == apply(engine, {"k": "3"}).number
    assert 0 == engine.stats().stale
    engine._committer.close()


def test_a_remembered_epoch_that_is_wrong_is_looked_up(
    store: FaultyStore, engine: Engine
) -> None:
    """Where the epoch was raised behind its back, a write finds that out."""
    applied(engine, "1")
    store.raise_epoch({}, store.namespace(SCOPE.namespace).epoch)

    assert 2 == apply(engine, {"k": "2"}).number
    assert 1 == engine.stats().stale
    assert 1 == engine.collect(keep=1).revisions
