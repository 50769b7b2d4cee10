"""Readers and writers that a garbage collection overtakes: they are told the truth."""

from __future__ import annotations

import threading
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from st8.core.errors import (
    BranchNotFound,
    CheckpointNotFound,
    Corrupt,
    RevisionCollected,
    RevisionNotFound,
)
from st8.core.ids import Key, Namespace, RevisionNumber, digest_of
from st8.engine.engine import Engine
from st8.engine.history import LogFilter
from st8.engine.requests import HEAD, Side
from st8.store.memory import MemoryStore
from st8.store.postgres import PostgresStore
from st8.testing.clock import FakeClock
from st8.testing.faulty import FaultyStore
from tests.engine.acts import (
    DEV,
    SCOPE,
    applied,
    apply,
    branch,
    changes,
    checkpoint,
    contents,
    delete_branch,
    delete_checkpoint,
    log_numbers,
    read_everything,
    reset,
    selector,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from st8.core.ports import Store
    from st8.engine.state import ChangeList, State
    from tests.postgres.server import PostgresServer

SIZE = 300


def _documents(version: int) -> dict[str, str]:
    return {f"d/{n:03d}": f"{n} at {version}" for n in range(SIZE)}


def _versions(engine: Engine, first: int, last: int) -> None:
    """Apply revisions that have nothing in common."""
    for version in range(first, last + 1):
        apply(engine, _documents(version))


@pytest.fixture
def cold(any_store: Store) -> Iterator[Engine]:
    """An engine that remembers no object, over each of the stores."""
    engine = Engine(any_store, FakeClock(), cache_bytes=0)
    yield engine
    engine.close()


@pytest.fixture
def shared() -> FaultyStore:
    """A store that several daemons have open."""
    store = FaultyStore(MemoryStore())
    store.exclusive = False
    return store


@pytest.fixture
def here(shared: FaultyStore) -> Iterator[Engine]:
    """A daemon on the shared store, which remembers no object."""
    engine = Engine(shared, FakeClock(), cache_bytes=0)
    yield engine
    engine._committer.close()


@pytest.fixture
def other(shared: FaultyStore) -> Iterator[Engine]:
    """Another daemon on the shared store."""
    engine = Engine(shared, FakeClock())
    yield engine
    engine._committer.close()


# --- long reads -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "read",
    [
        lambda state: state.count,
        lambda state: state.count_prefix("d/1"),
        lambda state: state.get(Key("d/007")),
        lambda state: list(state.get_many([Key("d/007"), Key("d/008")])),
        lambda state: list(state.keys()),
        lambda state: list(state.items("d/2")),
    ],
)
def test_a_state_that_was_collected_says_so(
    cold: Engine, read: Callable[[State], object]
) -> None:
    """Reading a state whose revision has gone meanwhile names the revision."""
    _versions(cold, 1, 4)
    state = cold.state(SCOPE, selector(1))
    cold.collect(keep=1)

    with pytest.raises(RevisionCollected, match=r"revision 1 .* garbage") as caught:
        read(state)
    assert 1 == caught.value.revision


def test_a_walk_that_is_overtaken_says_so(cold: Engine) -> None:
    """A state that was read in part when it was collected ends with that error."""
    _versions(cold, 1, 1)
    items, keys = cold.state(SCOPE).items(), cold.state(SCOPE).keys()
    first = next(items)
    assert "d/000" == next(keys)
    _versions(cold, 2, 4)
    cold.collect(keep=1)

    assert ("d/000", b"0 at 1") == first
    for rest in (items, keys):
        with pytest.raises(RevisionCollected, match="revision 1 "):
            list(rest)


def _diffed(engine: Engine) -> ChangeList:
    return engine.diff(SCOPE, Side(selector(2)), Side(selector(1))).changes


def _diffed_with_documents(engine: Engine) -> ChangeList:
    laid = apply(engine, {"d/000": "x"}, dry_run=True)
    assert laid.dry_run
    return engine.diff(SCOPE, Side(selector(1)), Side(HEAD, exact=True)).changes


def _logged(engine: Engine) -> ChangeList:
    return engine.log(SCOPE, start=selector(2)).entries[0].changes


def _applied(engine: Engine) -> ChangeList:
    return apply(engine, _documents(9)).changes


def _applied_again(engine: Engine) -> ChangeList:
    apply(engine, _documents(9), key="once")
    return apply(engine, _documents(9), key="once").changes


def _would_be_applied(engine: Engine) -> ChangeList:
    return apply(engine, {"d/000": "x"}, ["d/299"], dry_run=True).changes


def _reset(engine: Engine) -> ChangeList:
    return reset(engine, selector(1)).changes


def _would_be_reset(engine: Engine) -> ChangeList:
    return reset(engine, selector(1), dry_run=True).changes


@pytest.mark.parametrize(
    "make",
    [
        _diffed,
        _diffed_with_documents,
        _logged,
        _applied,
        _applied_again,
        _would_be_applied,
        _reset,
        _would_be_reset,
    ],
)
def test_changes_of_what_was_collected_say_so(
    cold: Engine, make: Callable[[Engine], ChangeList]
) -> None:
    """Reading changes, wherever they come from, names the revision that has gone."""
    _versions(cold, 1, 2)
    listed = make(cold)
    _versions(cold, 11, 14)
    cold.collect(keep=1)

    with pytest.raises(RevisionCollected):
        changes(listed)


def test_a_missing_object_of_a_kept_revision_is_corrupt() -> None:
    """What a collection has nothing to do with is not put down to one."""
    store = MemoryStore()
    engine = Engine(store, FakeClock(), cache_bytes=0)
    _versions(engine, 1, 4)
    checkpoint(engine, "kept", selector(2))
    state = engine.state(SCOPE, selector(checkpoint="kept"))
    entry = engine.log(SCOPE).entries[0]
    engine.collect(keep=1)
    for root in (state.root, entry.revision.root):
        del store._objects[root]

    with pytest.raises(Corrupt, match=f"{state.root.hex()} is missing"):
        list(state.items())
    with pytest.raises(Corrupt, match=f"{entry.revision.root.hex()} is missing"):
        changes(entry.changes)
    engine.close()


def test_a_missing_part_of_a_kept_revision_is_corrupt() -> None:
    """Nor is what lies below a root, and is missing halfway, put down to one."""
    store = MemoryStore()
    engine = Engine(store, FakeClock(), cache_bytes=0)
    _versions(engine, 1, 1)
    state = engine.state(SCOPE)
    leaf = state.root
    while (found := engine._objects.node(leaf)).level:
        leaf = found.children()[-1]
    content = digest_of(f"{SIZE - 1} at 1".encode())
    for digest, walk in ((leaf, state.keys()), (content, state.items())):
        assert next(walk)
        kept = store._objects.pop(digest)

        with pytest.raises(Corrupt, match=f"{digest.hex()} is missing"):
            list(walk)
        store._objects[digest] = kept
    engine.close()


def test_a_log_ends_where_it_is_overtaken(here: Engine, other: Engine) -> None:
    """A log that looks into revisions ends at the one that was collected."""
    _versions(here, 1, 6)
    assert [6, 5, 4, 3, 2, 1] == log_numbers(here)
    other.collect(keep=2)
    # The record of 4 is still in memory, but what it changed can't be seen any more.
    page = here.log(SCOPE, wanted=LogFilter(key=Key("d/007")))

    assert ([6, 5], None, 4) == (
        [entry.revision.number for entry in page.entries],
        page.next,
        page.collected,
    )


# --- refs -----------------------------------------------------------------------------


def _move_on(engine: Engine) -> None:
    """Make the old head of the branch go."""
    _versions(engine, 21, 23)
    engine.collect(keep=1)


def test_a_head_that_goes_while_it_is_looked_up(
    shared: FaultyStore, here: Engine, other: Engine
) -> None:
    """A head that is collected before its record is read leads to the new head."""
    _versions(other, 1, 1)
    shared.after("branch", lambda: _move_on(other))

    assert _documents(23) == contents(here)


def test_a_head_that_goes_in_the_same_daemon(store: FaultyStore) -> None:
    """The same where only one daemon has the store, and remembers heads."""
    maker = Engine(store, FakeClock())
    _versions(maker, 1, 1)
    maker._committer.close()
    engine = Engine(store, FakeClock(), cache_bytes=0)
    found: list[dict[str, str]] = []
    with store.hold_late("branch") as gate:
        reader = threading.Thread(target=lambda: found.append(contents(engine)))
        reader.start()
        gate.wait_until_reached()
        _move_on(engine)
    reader.join()

    assert [_documents(23)] == found
    engine._committer.close()


def test_a_branch_that_goes_while_it_is_looked_up(
    shared: FaultyStore, here: Engine, other: Engine
) -> None:
    """A branch that is deleted, and its head collected, is not found."""
    _versions(other, 1, 1)
    branch(other, "dev")
    apply(other, {"k": "only here"}, at=DEV)

    def delete() -> None:
        delete_branch(other, "dev")
        other.collect(keep=1)

    shared.after("branch", delete)
    with pytest.raises(BranchNotFound):
        here.state(DEV)


def test_a_checkpoint_that_moves_while_it_is_looked_up(
    shared: FaultyStore, here: Engine, other: Engine
) -> None:
    """A checkpoint that is moved, or deleted, is read as it is now."""
    _versions(other, 1, 2)
    checkpoint(other, "cp", selector(1))

    def move() -> None:
        checkpoint(other, "cp", selector(2), replace=True)
        _move_on(other)

    shared.after("checkpoint", move)
    assert _documents(2) == contents(here, SCOPE, selector(checkpoint="cp"))

    def delete() -> None:
        delete_checkpoint(other, "cp")
        other.collect(keep=1)

    fresh = Engine(shared, FakeClock(), cache_bytes=0)
    shared.after("checkpoint", delete)
    with pytest.raises(CheckpointNotFound):
        fresh.state(SCOPE, selector(checkpoint="cp"))
    fresh._committer.close()


def test_a_ref_to_nothing_is_corrupt() -> None:
    """A ref that stays where it is, and points at nothing, is damage."""
    store = MemoryStore()
    engine = Engine(store, FakeClock())
    applied(engine, "1", "2")
    checkpoint(engine, "cp", selector(1))
    engine._committer.close()
    store._revisions.clear()
    cold = Engine(store, FakeClock())
    for source in (HEAD, selector(checkpoint="cp")):
        with pytest.raises(Corrupt, match="missing from the store"):
            cold.state(SCOPE, source)
    cold.close()


def test_a_number_that_is_made_while_it_is_looked_up(
    shared: FaultyStore, here: Engine, other: Engine
) -> None:
    """A revision that comes to be between two looks was not collected."""
    applied(other, "1")
    # The first record that is read is that of the head.
    shared.after("revisions", lambda: None, lambda: applied(other, "2"))
    with pytest.raises(RevisionNotFound):
        here.state(SCOPE, selector(2))

    assert {"k": "2"} == contents(here, SCOPE, selector(2))


# --- another daemon collects ----------------------------------------------------------


def test_what_another_daemon_collected_is_told(here: Engine, other: Engine) -> None:
    """A revision that is in memory, and was collected by another, says so."""
    _versions(here, 1, 4)
    assert [4, 3, 2, 1] == log_numbers(here)
    other.collect(keep=1)

    for source in (selector(1), selector(-2)):
        with pytest.raises(RevisionCollected):
            contents(here, SCOPE, source)
    with pytest.raises(RevisionCollected):
        changes(here.diff(SCOPE, Side(selector(1))).changes)
    assert _documents(4) == contents(here)


def test_what_another_daemon_collected_is_not_read_from_memory(
    postgres: PostgresServer,
) -> None:
    """A daemon that has all of a revision in memory says too that it was collected.

    It has written nothing since, so it has to look.
    """
    url = postgres.url(postgres.new_schema())
    with (
        closing(Engine(PostgresStore(url), FakeClock())) as here,
        closing(Engine(PostgresStore(url), FakeClock())) as other,
    ):
        for version in ("1", "2", "3"):
            apply(here, {"k": version})
        assert {"k": "1"} == contents(here, SCOPE, selector(1))
        other.collect(keep=1)

        assert [3] == log_numbers(here)
        for source in (selector(1), selector(-2)):
            with pytest.raises(RevisionCollected):
                contents(here, SCOPE, source)


@pytest.mark.parametrize("known", [False, True])
def test_a_write_whose_head_was_collected_is_prepared_anew(
    shared: FaultyStore, here: Engine, other: Engine, *, known: bool
) -> None:
    """A write finds the new head where another daemon moved and collected the old.

    Whether the record of the old head is in memory or not.
    """
    _versions(other, 1, 1)
    if known:
        contents(here)
    shared.after("branch", lambda: _move_on(other))

    assert 5 == apply(here, {"d/000": "mine"}).number
    assert _documents(23) | {"d/000": "mine"} == contents(here)


def test_a_damaged_head_is_still_corrupt_for_a_write(
    shared: FaultyStore, here: Engine, other: Engine
) -> None:
    """Where nobody collected, a write over a damaged state says that it is."""
    _versions(other, 1, 1)
    store = shared._store
    assert isinstance(store, MemoryStore)
    del store._objects[other.state(SCOPE).root]
    with pytest.raises(Corrupt, match="is missing"):
        apply(here, {"d/000": "x"})

    assert 0 == here.stats().stale


def test_two_daemons_may_collect_at_once(
    shared: FaultyStore, here: Engine, other: Engine
) -> None:
    """A collection that another one overtakes while it marks harms nothing."""
    _versions(here, 1, 3)
    apply(here, {"d/000": "x"})
    met: list[int] = []

    def overtake() -> None:
        _versions(other, 31, 32)
        met.append(other.collect(keep=1).revisions)

    shared.before("objects", overtake)  # it reads the first tree that it marks
    removed = here.collect(keep=2).revisions

    assert (2, [3]) == (removed, met)
    assert _documents(32) == contents(here) == contents(other)
    read_everything(here)
    assert 0 == here.collect(keep=1).revisions


def test_what_another_daemon_collects_while_it_is_marked_harms_nothing() -> None:
    """Where the tree that another is compared with has gone, that one is marked whole."""
    overtaken: set[bool] = set()
    for call in range(1, 33):
        shared = FaultyStore(MemoryStore())
        shared.exclusive = False
        here = Engine(shared, FakeClock(), cache_bytes=0)
        other = Engine(shared, FakeClock())
        applied(here, "1", "2", "3")
        branch(here, "dev", selector(1))
        applied(here, "4", at=DEV)
        applied(here, "5", "6")

        def overtake(other: Engine = other) -> None:
            other.collect(keep=1)

        shared.before("objects", *[lambda: None] * (call - 1), overtake)
        here.collect(keep=10)
        cold = Engine(shared, FakeClock(), cache_bytes=0)
        overtaken.add(shared.calls["raise_epoch"] > 1)
        assert {"k": "6"} == contents(cold)
        assert {"k": "4"} == contents(cold, DEV)
        read_everything(cold)
        for engine in (here, other, cold):
            engine._committer.close()
    assert {True, False} == overtaken


def test_a_record_that_is_another_is_not_collected_around() -> None:
    """Where a record stands in the place of another one, nothing is swept."""
    memory = MemoryStore()
    engine = Engine(memory, FakeClock())
    applied(engine, "1", "2", "3", "4")
    checkpoint(engine, "kept", selector(2))
    records = memory._revisions[SCOPE.namespace]
    kept = records[RevisionNumber(2)]
    records[RevisionNumber(2)] = records[RevisionNumber(4)]
    with pytest.raises(Corrupt, match=r"record of revision 2 .* that of another"):
        engine.collect(keep=1)
    records[RevisionNumber(2)] = kept
    cold = Engine(memory, FakeClock(), cache_bytes=0)

    assert {"k": "2"} == contents(cold, SCOPE, selector(checkpoint="kept"))
    engine._committer.close()
    cold._committer.close()


def test_a_daemon_that_sees_damage_collects_nothing() -> None:
    """A branch whose head can't be read keeps its history from being removed."""
    store = MemoryStore()
    engine = Engine(store, FakeClock())
    applied(engine, *map(str, range(1, 9)))
    engine._committer.close()
    numbers = store._revisions[Namespace("default")]
    del numbers[max(numbers)]
    cold = Engine(store, FakeClock())
    with pytest.raises(Corrupt):
        cold.collect(keep=2)

    assert 7 == len(numbers)
    cold.close()
