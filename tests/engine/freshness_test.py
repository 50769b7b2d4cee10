"""How fresh a head is that is read where others write to the same store."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, cast

import pytest

from st8.core.errors import ContentRedacted, NotReached, RevisionCollected
from st8.core.ids import BranchName, Key, Namespace, Scope
from st8.engine.engine import UNKNOWN, Engine
from st8.engine.requests import HEAD, Freshness, Redact
from st8.store.memory import MemoryStore
from st8.testing.clock import FakeClock
from st8.testing.faulty import FaultyStore
from tests.engine.acts import apply, contents, selector

if TYPE_CHECKING:
    from collections.abc import Iterator

    from st8.core.ids import RevisionNumber
    from st8.core.ports import Batch, CommitTimes, Store

SCOPE = Scope(Namespace("shop"), BranchName("main"))
LONG_AGO = Freshness(max_stale_s=3600)


class Two:
    """Two engines on one store, as two daemons are."""

    def __init__(self) -> None:
        memory = MemoryStore()
        self.store, self.other_store = FaultyStore(memory), FaultyStore(memory)
        self.store.exclusive = self.other_store.exclusive = False
        self.engine = Engine(self.store, FakeClock())
        self.other = Engine(self.other_store, FakeClock())
        self.moved: list[object] = []
        self.engine.on_move(self.moved.append)

    def number(self, freshness: Freshness) -> RevisionNumber:
        """Return the number of the head as the first engine shows it."""
        return self.engine.state(SCOPE, HEAD, freshness).number


@pytest.fixture
def two() -> Iterator[Two]:
    """Two engines, at revision 1, which the first one has read."""
    made = Two()
    apply(made.other, {"a": "1"}, at=SCOPE)
    assert 1 == made.engine.state(SCOPE).number
    yield made
    made.engine.close()
    made.other.close()


def test_a_read_sees_what_others_have_written(two: Two) -> None:
    """Without a word on freshness the store is asked each time."""
    apply(two.other, {"a": "2"}, at=SCOPE)

    assert 2 == two.engine.state(SCOPE).number
    assert two.engine.peek_head(SCOPE) is UNKNOWN


def test_a_stale_read_asks_nobody(two: Two) -> None:
    """Where an old head will do, it is answered from memory, and is whole."""
    apply(two.other, {"a": "2"}, at=SCOPE)
    asked = two.store.calls["branch"]

    state = two.engine.state(SCOPE, HEAD, LONG_AGO)

    assert (1, asked) == (state.number, two.store.calls["branch"])
    assert two.engine.peek_head(SCOPE, LONG_AGO) == state.revision


def test_a_head_gets_too_old(two: Two) -> None:
    """What is older than the read allows is asked for anew."""
    apply(two.other, {"a": "2"}, at=SCOPE)
    time.sleep(0.02)

    assert 2 == two.number(Freshness(max_stale_s=0.01))
    assert 2 == two.number(LONG_AGO)


def test_what_is_heard_is_not_stale(two: Two) -> None:
    """Once others have told of a branch, or of any, no read shows what was before."""
    assert two.store.heard is not None
    for number, heard in enumerate(([tuple(SCOPE)], None), 2):
        apply(two.other, {"a": str(number)}, at=SCOPE)
        two.store.heard(heard)  # type: ignore[arg-type]

        assert number == two.number(LONG_AGO)
    assert [[SCOPE], None] == two.moved


def test_what_is_heard_while_a_head_is_read_is_not_stale(two: Two) -> None:
    """A head that was read before others told of it is not taken for the one after."""
    assert two.store.heard is not None
    two.store.heard(None)

    def move() -> None:
        apply(two.other, {"a": "2"}, at=SCOPE)
        assert two.store.heard is not None
        two.store.heard([SCOPE])

    two.store.after("branch", move)

    assert 1 == two.engine.state(SCOPE).number
    assert 2 == two.number(LONG_AGO)


class _Telling:
    """A store that can tell, by a number, whether others have written to it."""

    def __init__(self, store: FaultyStore) -> None:
        self._store = store
        self.number = 1

    def __getattr__(self, name: str) -> Any:
        """Return what is not changed here."""
        return getattr(self._store, name)

    def moves(self) -> int:
        """See :class:`~st8.core.ports.Store`."""
        return self.number

    def commit(self, batch: Batch) -> CommitTimes:
        """See :class:`~st8.core.ports.Store`."""
        return self._store.commit(batch)._replace(moves=self.number)


def test_what_is_heard_late_is_known_already(two: Two) -> None:
    """What was read after others moved it is not asked for anew once they tell of it.

    Where the store can tell that it is so.
    """
    telling = _Telling(two.store)
    engine = Engine(cast("Store", telling), FakeClock())
    engine.on_move(lambda _: None)
    hear = two.store.heard
    assert hear is not None
    apply(two.other, {"a": "2"}, at=SCOPE)
    telling.number += 1
    assert 2 == engine.state(SCOPE).number
    asked = two.store.calls["branch"]
    hear([SCOPE])

    assert (2, asked) == (engine.state(SCOPE).number, two.store.calls["branch"])
    apply(two.other, {"a": "3"}, at=SCOPE)
    telling.number += 1
    assert 2 == engine.state(SCOPE, HEAD, LONG_AGO).number
    hear([SCOPE])
    assert 3 == engine.state(SCOPE, HEAD, LONG_AGO).number
    engine._committer.close()


def test_other_branches_that_are_heard_of_do_not_matter(two: Two) -> None:
    """Only the branches that have moved are asked for anew."""
    assert two.store.heard is not None
    two.store.heard([(SCOPE.namespace, BranchName("dev"))])
    asked = two.store.calls["branch"]

    assert 1 == two.number(LONG_AGO)
    assert asked == two.store.calls["branch"]


def test_own_writes_are_never_stale(two: Two) -> None:
    """An engine shows what it has written itself, however old a head may be."""
    apply(two.engine, {"a": "2"}, at=SCOPE)

    assert 2 == two.number(LONG_AGO)


def test_what_a_commit_overtakes_is_not_remembered(two: Two) -> None:
    """A head that was read before a commit ended is not taken for the one after."""
    assert two.store.heard is not None
    two.store.heard(None)

    def write() -> None:
        apply(two.engine, {"a": "2"}, at=SCOPE)

    two.store.after("branch", write)

    assert 1 == two.engine.state(SCOPE).number
    assert 2 == two.number(LONG_AGO)


def test_who_writes_alone_asks_once() -> None:
    """What nobody else writes is read once: newest numbers, and heads."""
    store = FaultyStore(MemoryStore())
    engine = Engine(store, FakeClock())
    apply(engine, {"a": "0"}, at=SCOPE)
    asked = [store.calls[what] for what in ("namespace", "branch")]
    for n in range(1, 4):
        apply(engine, {"a": f"{n}"}, at=SCOPE)
        assert n + 1 == engine.last_revision(SCOPE.namespace)
        assert n + 1 == engine.state(SCOPE).number

    assert asked == [store.calls[what] for what in ("namespace", "branch")]
    engine.close()


def test_what_is_collected_while_it_is_read_is_not_remembered(two: Two) -> None:
    """A record that was read before another daemon removed it is not there after."""
    apply(two.other, {"a": "2"}, at=SCOPE)
    apply(two.other, {"a": "3"}, at=SCOPE)
    assert 3 == two.engine.last_revision(SCOPE.namespace)
    assert 3 == two.engine.state(SCOPE).number

    def collect() -> None:
        two.other.collect(keep=1)
        assert 3 == two.engine.last_revision(SCOPE.namespace)

    two.store.after("revisions", collect)
    two.engine.state(SCOPE, selector(2))
    with pytest.raises(RevisionCollected):
        two.engine.state(SCOPE, selector(2))


def test_revisions_are_remembered_while_nobody_collects(two: Two) -> None:
    """A record is read once, also where others write."""
    asked: list[int] = []
    for _ in range(3):
        assert 1 == two.engine.last_revision(SCOPE.namespace)
        assert 1 == two.engine.state(SCOPE).number
        asked.append(two.store.calls["revisions"])

    assert asked[0] == asked[-1]


def test_a_number_that_a_commit_overtakes_is_not_remembered() -> None:
    """A newest number that was read before a commit ended is not taken for its own."""
    store = FaultyStore(MemoryStore())
    before = Engine(store, FakeClock())
    apply(before, {"a": "1"}, at=SCOPE)
    before._committer.close()
    engine = Engine(store, FakeClock())

    def write() -> None:
        apply(engine, {"a": "2"}, at=SCOPE)

    store.after("namespace", write)

    assert 1 == engine.last_revision(SCOPE.namespace)
    assert 2 == engine.last_revision(SCOPE.namespace)
    engine.close()


def test_at_least_a_revision(two: Two) -> None:
    """A head that is too old for the reader is asked for anew, and then refused."""
    apply(two.other, {"a": "2"}, at=SCOPE)

    assert 2 == two.number(LONG_AGO._replace(min_revision=2))
    assert two.engine.peek_head(SCOPE, Freshness(min_revision=3)) is UNKNOWN
    with pytest.raises(NotReached, match="'shop', branch 'main' has not come to "):
        two.number(LONG_AGO._replace(min_revision=3))
    with pytest.raises(NotReached):
        two.number(Freshness(min_revision=3))


def test_a_branch_that_is_not_there_has_come_to_nothing(two: Two) -> None:
    """Revisions of other branches do not count."""
    dev = Scope(SCOPE.namespace, BranchName("dev"))

    with pytest.raises(NotReached):
        two.engine.state(dev, HEAD, Freshness(min_revision=1))
    assert 0 == two.engine.state(dev, HEAD, LONG_AGO).number


def test_a_history_that_has_taken_the_place_of_another_is_read(two: Two) -> None:
    """A failover may lose revisions, whose numbers are then given to others."""
    apply(two.other, {"a": "lost"}, at=SCOPE)
    apply(two.other, {"a": "3"}, at=SCOPE)
    assert {"a": "lost"} == contents(two.engine, at=SCOPE, source=selector(2))
    promoted = Two()
    for value in ("1", "made instead", "3", "4"):
        apply(promoted.other, {"a": value}, at=SCOPE)
    two.store._store = promoted.store

    assert two.store.heard is not None
    two.store.heard(None)  # as whoever listens does, connected anew

    assert 4 == two.engine.state(SCOPE).number
    assert {"a": "made instead"} == contents(two.engine, at=SCOPE, source=selector(2))
    assert 5 == apply(two.engine, {"a": "5"}, at=SCOPE).number
    promoted.engine.close()
    promoted.other.close()


def test_a_redaction_that_a_failover_has_lost_is_lost_everywhere(two: Two) -> None:
    """No daemon goes on refusing what the others take."""
    promoted = Two()
    for value in ("secret", "2"):
        apply(two.engine, {"b": value}, at=SCOPE)
        apply(promoted.other, {"b": value}, at=SCOPE)
    two.engine.redact(Redact(SCOPE, Key("b"), selector(2)))
    with pytest.raises(ContentRedacted):
        apply(two.engine, {"b": "secret"}, at=SCOPE)
    promoted.other.collect(keep=10)  # so that the epochs are alike
    two.store._store = promoted.store

    assert two.store.heard is not None
    two.store.heard(None)

    assert 3 == apply(two.engine, {"b": "secret"}, at=SCOPE).number
    promoted.engine.close()
    promoted.other.close()
