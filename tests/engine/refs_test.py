"""What the engine remembers of pointers and records, and when it must not."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest

from st8.core.errors import OutcomeUnknown, RevisionNotFound
from st8.core.ids import RevisionNumber
from st8.engine import refs
from st8.engine.engine import Engine
from st8.testing.clock import FakeClock
from tests.engine.acts import SCOPE, applied, apply, contents, scope, selector

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


def test_a_head_read_before_a_commit_of_unknown_end_is_not_remembered(
    store: FaultyStore,
) -> None:
    """A reader that such a commit has overtaken leaves no old head behind, either."""
    maker = Engine(store, FakeClock())
    applied(maker, "1")
    maker._committer.close()
    engine = Engine(store, FakeClock())

    def write() -> None:
        store.fail_late("commit", OutcomeUnknown("lost"))
        with pytest.raises(OutcomeUnknown):
            apply(engine, {"k": "2"})

    store.after("branch", write)

    assert 1 == engine.state(SCOPE).number
    assert {"k": "2"} == contents(engine)
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


def test_only_the_newest_are_remembered(
    store: FaultyStore, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When there is no more room, what was read first is asked for anew."""
    for name in ("NAMESPACES", "BRANCHES", "REVISIONS", "PROVEN"):
        monkeypatch.setattr(refs, f"_{name}_KEPT", 2)
    for name in "abc":
        applied(engine, "1", at=scope(name))
    known = refs.Refs(store)

    def ask(name: str) -> list[int]:
        store.calls.clear()
        namespace, main = scope(name)
        known.namespace(namespace)
        known.branch(namespace, main)
        revision = known.revision(namespace, RevisionNumber(1))
        assert revision is not None
        unproven = int(not known.is_proven(revision))
        known.prove(revision)
        calls = ("namespace", "branch", "revisions")
        return [*(store.calls[each] for each in calls), unproven]

    assert [[1, 1, 1, 1]] * 3 == [ask(name) for name in "abc"]
    assert [[0, 0, 0, 0]] * 2 == [ask(name) for name in "cb"]
    assert [1, 1, 1, 1] == ask("a")


@pytest.mark.parametrize("own", [True, False])
def test_what_is_known_to_be_in_a_history_is_not_walked_to(
    store: FaultyStore,
    engine: Engine,
    monkeypatch: pytest.MonkeyPatch,
    *,
    own: bool,
) -> None:
    """A revision that was made here, or was found before, costs its record alone."""
    monkeypatch.setattr(refs, "_REVISIONS_KEPT", 1)
    applied(engine, *map(str, range(1, 31)))
    reader = engine if own else Engine(store, FakeClock())
    for time in range(2):
        store.calls.clear()
        assert {"k": "7"} == contents(reader, SCOPE, selector(7))

        # The newest one is remembered by who has made it.
        few = store.calls["revisions"] <= 2
        assert few == (own or time == 1)
    reader._committer.close()


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
