"""What a collection keeps, what it says of that beforehand, and how it makes room."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from st8.core import failpoints, limits
from st8.core.errors import InvalidValue, LimitExceeded, ShuttingDown
from st8.core.ids import Namespace
from st8.engine import collect
from st8.engine.engine import Engine
from st8.engine.integers import Integers
from st8.engine.pace import Pieces
from st8.engine.retention import REASONS, Retention
from st8.store.memory import MemoryStore
from st8.store.sqlite import FILE_NAME, SqliteStore
from st8.testing.clock import FakeClock
from tests.engine.acts import (
    DEV,
    SCOPE,
    applied,
    apply,
    branch,
    checkpoint,
    contents,
    delete_branch,
    log_numbers,
    read_everything,
    reset,
    scope,
    selector,
)

if TYPE_CHECKING:
    from pathlib import Path

    from st8.core.ports import Store
    from st8.testing.faulty import FaultyStore

DEFAULT = Namespace("default")


def _stored(store: Store, namespace: str = "default") -> list[int]:
    return list(store.numbers(Namespace(namespace), 0, 100_000))  # type: ignore[arg-type]


# --- what is kept -------------------------------------------------------------------


def test_what_is_young_is_kept(any_store: Store, clock: FakeClock) -> None:
    """Whatever is younger than the age stays, the rest goes but for the newest."""
    engine = Engine(any_store, clock)
    applied(engine, "1", "2", "3")
    clock.advance(100)
    applied(engine, "4", "5", "6")
    engine.collect(rules=lambda _: Retention(1, 60.0))

    assert [4, 5, 6] == _stored(any_store)
    clock.advance(100)
    engine.collect(rules=lambda _: Retention(2, 60.0))
    assert [5, 6] == _stored(any_store)
    engine.close()


def test_what_is_young_is_kept_of_a_branch_that_is_gone(
    any_store: Store, clock: FakeClock
) -> None:
    """A branch that was deleted by mistake can be made anew from what is young."""
    engine = Engine(any_store, clock)
    applied(engine, "1")
    branch(engine, "dev")
    applied(engine, "2", "3", at=DEV)
    checkpoint(engine, "lost", selector(3), at=DEV)
    delete_branch(engine, "dev")
    applied(engine, "4")
    engine.collect(rules=lambda _: Retention(1, 60.0))

    assert [1, 2, 3, 4] == _stored(any_store)
    clock.advance(100)
    engine.collect(rules=lambda _: Retention(1, 60.0))
    assert [3, 4] == _stored(any_store)
    assert {"k": "3"} == contents(engine, SCOPE, selector(checkpoint="lost"))
    engine.close()


def test_rules_are_by_namespace(any_store: Store) -> None:
    """Each namespace is kept by its own rule, and of some nothing ever goes."""
    engine = Engine(any_store, FakeClock())
    for name in ("a", "b", "c"):
        applied(engine, "1", "2", "3", "4", at=scope(name))
    rules = {"a": Retention(1), "b": Retention(3), "c": Retention(never=True)}
    engine.collect(rules=lambda name: rules[name])

    assert [[4], [2, 3, 4], [1, 2, 3, 4]] == [_stored(any_store, n) for n in "abc"]
    assert 1 + 3 + 4 == len(read_everything(engine))
    engine.close()


@pytest.mark.parametrize(
    ("retention", "error", "match"),
    [
        (Retention(0), InvalidValue, "at least 1"),
        (Retention(10**9 + 1), LimitExceeded, "gc_keep_max"),
        (Retention(1, -1.0), InvalidValue, r"\byounger_than\b.*must not be negative"),
        (Retention(1, 1e12), LimitExceeded, "gc_younger_seconds_max"),
    ],
)
def test_a_rule_that_can_not_be_gone_by(
    engine: Engine, retention: Retention, error: type[Exception], match: str
) -> None:
    """A rule that would keep nothing, or an age that is none, removes nothing."""
    applied(engine, "1", "2")
    with pytest.raises(error, match=match):
        engine.collect(rules=lambda _: retention)

    assert [2, 1] == log_numbers(engine)


def test_the_oldest_age_can_be_gone_by(engine: Engine) -> None:
    """What is as old as an age may be at most is kept, and so is all before."""
    applied(engine, "1", "2")
    engine.collect(rules=lambda _: Retention(1, limits.GC_YOUNGER_SECONDS.maximum))

    assert [2, 1] == log_numbers(engine)


def test_a_rule_is_told_as_it_is_set() -> None:
    """The text of a rule is what st8d takes for it."""
    assert ["keep=10", "keep=3", "keep=2,younger-than=90m", "never"] == [
        rule.text
        for rule in (
            Retention(),
            Retention(3),
            Retention(2, 5_400.0),
            Retention(never=True),
        )
    ]


# --- what is said beforehand -------------------------------------------------------------


def _history(engine: Engine, clock: FakeClock) -> None:
    """Make twelve revisions of which each reason keeps some."""
    applied(engine, *(f"v{n}" for n in range(1, 8)))
    checkpoint(engine, "cp", selector(3))
    branch(engine, "dev", selector(5))
    clock.advance(1_000)
    applied(engine, "d8", at=DEV)
    branch(engine, "gone")
    applied(engine, "g9", "g10", at=scope(branch="gone"))
    delete_branch(engine, "gone")
    applied(engine, "v11", "v12")


def test_a_dry_run_tells_what_goes_and_why_the_rest_stays(
    any_store: Store, clock: FakeClock
) -> None:
    """Every revision is counted once, under the first reason; what goes is named."""
    engine = Engine(any_store, clock)
    _history(engine, clock)
    epoch = engine.collection_epoch()
    before = read_everything(engine)
    explained = engine.explain_collection(rules=lambda _: Retention(2, 600.0))
    [share] = explained.shares

    assert (epoch, before) == (engine.collection_epoch(), read_everything(engine))
    assert {
        "head": 2,
        "base": 1,
        "checkpoint": 1,
        "newest": 1,
        "young": 2,
    } == share.kept
    assert {"never", *share.kept} == set(REASONS)
    assert [(1, 2, 2), (4, 4, 1), (6, 7, 2)] == share.stretches
    assert (5, 3) == (share.revisions, share.stretches_all)
    assert 12 == share.revisions + sum(share.kept.values())
    done = engine.collect(rules=lambda _: Retention(2, 600.0))
    assert explained.collected == done
    assert [3, 5, 8, 9, 10, 11, 12] == _stored(any_store)
    engine.close()


def test_a_dry_run_of_all_namespaces(any_store: Store) -> None:
    """Namespaces are told by name, each with its rule; what never goes, too."""
    engine = Engine(any_store, FakeClock())
    for name in ("b", "a"):
        applied(engine, "1", "2", "3", at=scope(name))

    def rules(name: Namespace) -> Retention:
        return Retention(never=True) if name == "b" else Retention(1)

    explained = engine.explain_collection(rules=rules)
    told = [(s.namespace, s.retention.text, s.revisions) for s in explained.shares]

    assert [("a", "keep=1", 2), ("b", "never", 0)] == told
    assert {"never": 3} == explained.shares[1].kept
    assert (2, 2) == (explained.shares_all, explained.collected.revisions)
    one = engine.explain_collection(1, Namespace("a"))
    assert (1, 2) == (one.shares_all, one.collected.revisions)
    assert explained.collected == engine.collect(rules=rules)
    engine.close()


def test_a_dry_run_names_a_bounded_number_of_stretches() -> None:
    """However many stretches go, a hundred are named, and all are counted."""
    engine = Engine(MemoryStore(), FakeClock())
    for number in range(1, 252):
        apply(engine, {"k": f"{number}"})
        if number % 2:
            checkpoint(engine, f"cp{number}")
    [share] = engine.explain_collection(1).shares

    assert (100, 125, 125) == (
        len(share.stretches),
        share.stretches_all,
        share.revisions,
    )
    engine.close()


# --- pieces ------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1, 3])
def test_however_small_the_pieces_all_goes(
    any_store: Store, clock: FakeClock, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    """Pieces of any size come to the same end."""
    for name in ("_REMOVED_AT_ONCE", "_SWEPT_AT_ONCE", "_GIVEN_BACK_AT_ONCE"):
        monkeypatch.setattr(collect, name, (size, size))
    engine = Engine(any_store, clock)
    _history(engine, clock)
    explained = engine.explain_collection(1)

    assert explained.collected == engine.collect(1)
    assert [3, 5, 8, 12] == _stored(any_store)
    assert (0, 0, 0) == engine.collect(1)
    cold = Engine(any_store, FakeClock(), cache_bytes=0)
    assert 4 == len(read_everything(cold))
    cold._committer.close()
    engine.close()


@pytest.mark.parametrize("size", [1, 7])
def test_commits_lose_nothing_between_small_pieces(
    any_store: Store, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    """Collections in the smallest pieces take nothing that commits beside them need."""
    for name in ("_REMOVED_AT_ONCE", "_SWEPT_AT_ONCE", "_GIVEN_BACK_AT_ONCE"):
        monkeypatch.setattr(collect, name, (size, size))
    engine = Engine(any_store, FakeClock())
    apply(engine, {f"{n:03d}": "0" for n in range(100)})
    done = threading.Event()

    def work() -> None:
        while not done.is_set():
            engine.collect(keep=2)

    collector = threading.Thread(target=work)
    collector.start()
    try:
        for number in range(1, 60):
            # Contents that come and go: what was swept must be put again.
            apply(engine, {f"{number % 5:03d}": f"{number % 3}"})
            if number % 7 == 0:
                reset(engine, selector(-1))
            if number % 20 == 0:
                checkpoint(engine, f"cp{number}")
    finally:
        done.set()
        collector.join()
    engine.collect(keep=2)
    cold = Engine(any_store, FakeClock(), cache_bytes=0)

    assert contents(engine) == contents(cold)
    assert all(len(state) == 100 for state in read_everything(cold).values())
    cold._committer.close()
    engine.close()


def test_pieces_grow_and_shrink_with_the_time_they_take() -> None:
    """A piece that took long is followed by smaller ones, within its bounds."""
    pieces = Pieces(10, 100)
    sizes = [pieces.size]
    for seconds in (0.0, 0.001, 0.004, 0.0, 0.007, 0.02, 0.5, 0.5):
        pieces.took(seconds)
        sizes.append(pieces.size)

    assert [10, 20, 40, 80, 100, 100, 50, 10, 10] == sizes


@pytest.mark.parametrize("method", ["numbers", "objects", "sweep", "shrink"])
def test_a_collection_stops_when_the_engine_does(
    store: FaultyStore, method: str
) -> None:
    """Whatever it is at, it ends when st8d does, and the next one does the rest."""
    engine = Engine(store, FakeClock(), cache_bytes=0)
    applied(engine, *map(str, range(30)))
    errors: list[BaseException] = []

    def work() -> None:
        try:
            engine.collect(keep=1)
        except ShuttingDown as error:
            errors.append(error)

    with store.hold(method) as gate:
        collector = threading.Thread(target=work)
        collector.start()
        gate.wait_until_reached()
        engine.stop_collecting()
    collector.join()
    again = Engine(store, FakeClock(), cache_bytes=0)
    again.collect(keep=1)

    assert len(errors) <= 1
    assert {"k": "29"} == contents(again)
    assert (0, 0, 0) == again.collect(keep=1)
    again._committer.close()
    engine.close()


def test_marking_does_not_run_after_those_who_write(store: FaultyStore) -> None:
    """What is made while it marks is not marked, so it ends however much that is."""
    engine = Engine(store, FakeClock(), cache_bytes=0)
    applied(engine, "1", "2", "3")
    made: list[int] = []

    def write() -> None:
        made.append(apply(engine, {"k": f"{len(made)}", "other": "x"}).number)

    # Each look at numbers finds that others were made.
    store.before("numbers", *[write] * 100)
    engine.collect(keep=2)

    assert len(made) < 10
    cold = Engine(store, FakeClock(), cache_bytes=0)
    assert 2 + len(made) == len(read_everything(cold))
    cold._committer.close()
    engine.close()


def test_no_commit_has_to_move_what_a_collection_logged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The log is moved between the pieces, of revisions and of objects alike."""
    monkeypatch.setattr("st8.store.sqlite_collect._MOVED_PAGES", 8)
    engine = Engine(SqliteStore(tmp_path, checkpoint_pages=1_000_000), FakeClock())
    applied(engine, *map(str, range(200)))
    reached: list[str] = []
    failpoints.arm(reached.append)
    try:
        engine.collect(keep=1)
    finally:
        failpoints.arm(None)
    engine.close()
    between = reached.index("collect.marked")

    assert "sqlite.log_moved" in reached[:between]
    assert "sqlite.log_moved" in reached[between:]


# --- room ----------------------------------------------------------------------------------


def test_the_file_shrinks(tmp_path: Path) -> None:
    """Space that a collection frees goes back to the file system, of the log too."""
    engine = Engine(SqliteStore(tmp_path), FakeClock())
    for number in range(60):
        apply(engine, {f"{n:03d}": f"{number} {n} " * 400 for n in range(40)})
    checkpoint(engine, "middle", selector(30))
    files = [tmp_path / FILE_NAME, tmp_path / f"{FILE_NAME}-wal"]
    before = sum(file.stat().st_size for file in files)
    done = engine.collect(keep=1)
    after, log = (file.stat().st_size for file in files)
    kept = read_everything(engine)
    engine.close()

    assert done.objects > 2_000
    assert log == 0
    assert after < before / 4
    engine = Engine(SqliteStore(tmp_path), FakeClock(), cache_bytes=0)
    assert kept == read_everything(engine)
    assert 2 == len(kept)
    engine.close()


# --- what is marked ----------------------------------------------------------------------


@given(st.lists(st.integers(-(2**63), 2**63 - 1)), st.integers(-(2**63), 2**63 - 1))
def test_integers_are_a_set(numbers: list[int], other: int) -> None:
    """Integers hold what was added, once, and nothing else."""
    found = Integers(numbers)
    found.update(numbers[::2])

    assert all(number in found for number in numbers)
    assert (other in numbers) == (other in found)
    assert len(set(numbers)) == len(found)
    assert "text" not in found


def test_many_integers_in_one_part() -> None:
    """Also where many fall into one part, all are found."""
    numbers = [n << 12 for n in range(5_000, 0, -1)]
    found = Integers(numbers)

    assert all(number in found for number in numbers)
    assert not any(number + 4_096 * 5_000 in found for number in numbers)
    assert 5_000 == len(found)
