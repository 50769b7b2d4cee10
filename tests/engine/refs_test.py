"""What the engine remembers of pointers and records, and when it must not."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

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
