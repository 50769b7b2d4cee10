"""Group commit: many writes, one sync; each on its own; none lost, none blocked."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import pytest

from st8.core import limits
from st8.core.errors import (
    Conflict,
    Corrupt,
    HeadMoved,
    InternalError,
    NotFound,
    OutcomeUnknown,
    Overloaded,
    RevisionCollected,
    ShuttingDown,
    St8Error,
    StorageFailed,
    StorageFull,
    StoreFenced,
    Unavailable,
)
from st8.core.failpoints import arm
from st8.core.ids import BranchName, CheckpointName, Namespace
from st8.core.limits import Limit
from st8.core.ports import Stale
from st8.engine.engine import Engine
from st8.engine.requests import (
    CreateBranch,
    DeleteBranch,
    DeleteCheckpoint,
    PutCheckpoint,
    Reset,
)
from st8.store.memory import MemoryStore
from st8.store.sqlite import SqliteStore
from st8.testing.clock import FakeClock
from st8.testing.failing_disk import FailingDisk
from st8.testing.faulty import FaultyStore
from tests.engine.acts import (
    DEV,
    SCOPE,
    applied,
    apply,
    apply_request,
    branch_names,
    changes,
    contents,
    log_numbers,
    scope,
    selector,
    submit,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from concurrent.futures import Future
    from pathlib import Path

    from st8.engine.writes import Written

BUSY = scope("busy")


@contextmanager
def _held(store: FaultyStore, engine: Engine) -> Iterator[None]:
    """Hold the committing thread in a commit, so that what follows gathers."""
    with store.hold("commit") as gate:
        first = submit(engine, apply_request({"k": "0"}, at=BUSY))
        gate.wait_until_reached()
        yield
    first.result()


def _numbers(futures: list[Future[Written]]) -> list[int]:
    results: list[Any] = [future.result() for future in futures]
    return [result.number for result in results]


def test_a_fault_before_anything_is_taken_is_answered(engine: Engine) -> None:
    """Who waits hears that nothing was done; the thread does not try for ever."""

    def fail(place: str) -> None:
        if place == "write.before_turn":
            raise RuntimeError(place)

    arm(fail)
    try:
        waiting = submit(engine, apply_request({"k": "1"}))
        error = waiting.exception(timeout=20)
    finally:
        arm(None)

    assert isinstance(error, InternalError)
    assert "none" == error.outcome
    assert 1 == apply(engine, {"k": "2"}).number


# --- batches ---------------------------------------------------------------------------


def test_one_writer_waits_for_nobody(store: FaultyStore, engine: Engine) -> None:
    """Writes one after the other are a commit each."""
    applied(engine, "1", "2", "3")

    assert 3 == store.calls["commit"]
    stats = engine.stats()
    assert (3, 3, 0) == (stats.commits, stats.requests, stats.pending)


def test_many_writers_share_a_commit(store: FaultyStore, engine: Engine) -> None:
    """What gathers during a commit is written by the next one, all of it."""
    with _held(store, engine):
        waiting = [
            submit(engine, apply_request({"k": f"{n}"}, at=scope(f"n{n % 7}")))
            for n in range(100)
        ]
        assert 100 == engine.stats().pending
    assert len(waiting) == len(_numbers(waiting))

    assert 2 == store.calls["commit"]
    stats = engine.stats()
    assert (2, 101, 0) == (stats.commits, stats.requests, stats.pending)
    assert 101.0 == stats.batch_sizes.total


def test_a_hundred_durable_writes_cost_one_sync(tmp_path: Path) -> None:
    """On the embedded store too, what gathers is one sync of the disk."""
    vfs = FailingDisk()
    store = FaultyStore(SqliteStore(tmp_path, vfs=vfs.name))
    engine = Engine(store, FakeClock())
    apply(engine, {"k": "1"})
    before = vfs.calls["sync"]
    with _held(store, engine):
        waiting = [
            submit(engine, apply_request({f"k{n}": "2"}, at=scope(f"n{n % 5}")))
            for n in range(100)
        ]
    wait(waiting)
    synced = vfs.calls["sync"] - before
    engine.close()

    assert 2 == synced


def test_a_batch_is_bounded(store: FaultyStore, engine: Engine) -> None:
    """However many wait, one commit takes at most 256 of them, in order."""
    with _held(store, engine):
        waiting = [submit(engine, apply_request({"k": f"{n}"})) for n in range(600)]

    assert list(range(1, 601)) == _numbers(waiting)
    sizes = [len(batch.revisions.get(SCOPE.namespace, [])) for batch in store.batches]
    assert [0, 256, 256, 88] == sizes


def test_what_comes_between_batches_waits_for_one(
    store: FaultyStore, engine: Engine
) -> None:
    """However many writes wait, it is done after the batch that is being written."""
    commits: list[int] = []
    with _held(store, engine):
        waiting = [submit(engine, apply_request({"k": f"{n}"})) for n in range(300)]
        between = engine._committer.between_batches(
            lambda: commits.append(store.calls["commit"])
        )
    between.result()
    wait(waiting)

    assert [1] == commits
    assert 3 == store.calls["commit"]


def test_all_that_waits_is_written_when_the_engine_closes(
    store: FaultyStore, engine: Engine
) -> None:
    """Also what is more than a batch, when the thread takes nothing any more."""
    with _held(store, engine):
        waiting = [submit(engine, apply_request({"k": f"{n}"})) for n in range(600)]
        engine._committer._thread.shutdown(wait=False)
    engine._committer.close()

    assert list(range(1, 601)) == _numbers(waiting)


def test_big_writes_are_spread_over_commits(store: FaultyStore, engine: Engine) -> None:
    """One commit takes about 32 MiB at most, so that it holds nobody up for long."""
    content = "x" * (4 * 1024 * 1024)
    with _held(store, engine):
        waiting = [submit(engine, apply_request({"k": content[n:]})) for n in range(20)]
    wait(waiting)
    weights = [sum(map(len, batch.objects.values())) for batch in store.batches]

    assert 20 == len(set(_numbers(waiting)))
    assert max(weights) <= 33 * 1024 * 1024
    assert len(weights) >= 4


def test_writes_are_done_in_the_order_they_came(
    store: FaultyStore, engine: Engine
) -> None:
    """Writes to one branch take their numbers in the order of their arrival."""
    with _held(store, engine):
        waiting = [submit(engine, apply_request({"k": f"{n}"})) for n in range(50)]

    assert list(range(1, 51)) == _numbers(waiting)
    assert ["49", "0"] == [
        contents(engine, SCOPE, selector(number))["k"] for number in (50, 1)
    ]


def test_each_write_sees_those_before_it(store: FaultyStore, engine: Engine) -> None:
    """In one batch every kind of write finds what the ones before have made."""
    cp = CheckpointName("cp")
    with _held(store, engine):
        steps = [
            submit(engine, request)
            for request in (
                apply_request({"k": "1"}, expect=0),
                apply_request({"k": "2"}, expect=1),
                PutCheckpoint(SCOPE, cp, selector(1)),
                CreateBranch(SCOPE, BranchName("dev"), selector(checkpoint="cp")),
                apply_request({"d": "3"}, at=DEV, expect=1),
                Reset(SCOPE, selector(branch="dev"), "restore", expect_revision=2),
                DeleteBranch(DEV, expect_revision=3),
                DeleteCheckpoint(SCOPE.namespace, cp),
                CreateBranch(SCOPE, BranchName("dev"), selector(-1)),
                apply_request({"k": "2"}),
            )
        ]
    wait(steps)

    assert [None] * len(steps) == [step.exception() for step in steps]
    assert 2 == store.calls["commit"]
    assert {"k": "2", "d": "3"} == contents(engine)
    assert {"k": "2"} == contents(engine, DEV)
    assert [5, 4, 2, 1][1:] == log_numbers(engine)[-3:]
    assert [] == engine.checkpoints(SCOPE.namespace, limit=10).items


def test_what_is_made_and_taken_away_in_one_batch_is_gone(
    store: FaultyStore, engine: Engine
) -> None:
    """A branch and a checkpoint that come and go in one batch leave no trace."""
    applied(engine, "1")
    cp = CheckpointName("cp")
    with _held(store, engine):
        steps = [
            submit(engine, request)
            for request in (
                CreateBranch(SCOPE, BranchName("dev")),
                PutCheckpoint(SCOPE, cp),
                DeleteBranch(DEV),
                DeleteCheckpoint(SCOPE.namespace, cp),
                apply_request({"k": "x"}, at=scope(branch="tmp")),
                DeleteBranch(scope(branch="tmp")),
            )
        ]
    wait(steps)

    assert [None] * len(steps) == [step.exception() for step in steps]
    assert ["main"] == branch_names(engine)
    assert 3 == apply(engine, {"k": "2"}).number
    cold = Engine(store, FakeClock())
    assert ["main"] == branch_names(cold)
    assert {"k": "2"} == contents(cold)
    cold._committer.close()


# --- isolation -----------------------------------------------------------------------------


def test_a_refused_write_harms_no_other(store: FaultyStore, engine: Engine) -> None:
    """Among many writes, those that can't be done fail alone."""
    applied(engine, "0")
    with _held(store, engine):
        good = [submit(engine, apply_request({"k": f"{n}"})) for n in range(1, 6)]
        bad = [
            submit(engine, request)
            for request in (
                apply_request({"k": "x"}, expect=99),
                Reset(SCOPE, selector(99), "rollback"),
                Reset(scope(branch="nope"), selector(1), "rollback"),
                CreateBranch(SCOPE, BranchName("main")),
                DeleteBranch(DEV),
                DeleteCheckpoint(Namespace("x"), CheckpointName("y")),
                PutCheckpoint(scope("empty"), CheckpointName("cp")),
            )
        ]
        more = [submit(engine, apply_request({"k": f"{n}"})) for n in range(6, 9)]
    wait([*good, *bad, *more])

    assert list(range(2, 10)) == _numbers([*good, *more])
    for future in bad:
        assert isinstance(future.exception(), HeadMoved | NotFound | Conflict)
    assert {"k": "8"} == contents(engine)
    assert 3 == store.calls["commit"]


@pytest.mark.parametrize(
    "error",
    [Corrupt("bits"), StorageFailed("read"), RuntimeError("fault"), MemoryError()],
)
def test_a_write_that_cannot_be_read_for_harms_no_other(
    store: FaultyStore, clock: FakeClock, error: Exception
) -> None:
    """Where reading for one write fails, in whatever way, the others are done."""
    maker = Engine(store, clock)
    applied(maker, "1", at=scope("good"))
    applied(maker, "1", at=scope("bad"))
    maker._committer.close()
    engine = Engine(store, clock, cache_bytes=0)
    with _held(store, engine):
        store.fail("objects", error)
        bad = submit(engine, apply_request({"k": "2"}, at=scope("bad")))
        good = submit(engine, apply_request({"k": "2"}, at=scope("good")))
    wait([bad, good])

    assert isinstance(bad.exception(), St8Error)
    assert good.exception() is None
    assert {"k": "2"} == contents(engine, scope("good"))
    assert {"k": "1"} == contents(engine, scope("bad"))
    assert 2 == apply(engine, {"k": "2"}, at=scope("bad")).number
    engine._committer.close()


def test_a_listener_that_raises_harms_no_other(
    store: FaultyStore, engine: Engine
) -> None:
    """An answer that nobody can take stops neither its batch nor the next one."""

    def broken(_: Written | St8Error) -> None:
        raise RuntimeError("the one who asked is gone")

    with _held(store, engine):
        engine.submit(apply_request({"k": "1"}), broken)
        same = submit(engine, apply_request({"k": "2"}))
    assert same.result(timeout=10) is not None

    later = submit(engine, apply_request({"k": "3"}))
    assert later.result(timeout=10) is not None
    assert [3, 2, 1] == log_numbers(engine)


# --- a commit that fails ---------------------------------------------------------------------


@pytest.mark.parametrize(
    "error",
    [
        StorageFull("full"),
        StorageFailed("disk"),
        StoreFenced("sync"),
        OutcomeUnknown("lost"),
        InternalError("rule"),
        RuntimeError("fault"),
    ],
)
def test_a_commit_that_fails_is_told_to_all_in_it(
    store: FaultyStore, engine: Engine, error: Exception
) -> None:
    """All writes of a failed commit hear of it; nothing of it is seen; the next works."""
    applied(engine, "1")
    before = contents(engine), log_numbers(engine)
    with _held(store, engine):
        store.fail("commit", error)
        waiting = [submit(engine, apply_request({"k": f"x{n}"})) for n in range(3)]
        made = submit(engine, CreateBranch(SCOPE, BranchName("dev")))
    wait([*waiting, made])
    errors = {type(future.exception()) for future in (*waiting, made)}

    # What is no error of a store is a fault: nobody knows how far it came.
    assert {type(error) if isinstance(error, St8Error) else OutcomeUnknown} == errors
    assert before == (contents(engine), log_numbers(engine))
    assert ["main"] == branch_names(engine)
    assert 2 == apply(engine, {"k": "2"}).number
    cold = Engine(store, FakeClock(), cache_bytes=0)
    assert {"k": "2"} == contents(cold)
    assert [2, 1] == log_numbers(cold)
    cold._committer.close()


class _BrokenClock:
    """Fails once, then tells the time."""

    def __init__(self, error: BaseException) -> None:
        self._errors = [error]

    def now_ns(self) -> int:
        """Raise, or return a time."""
        if self._errors:
            raise self._errors.pop()
        return 1


@pytest.mark.parametrize("error", [RuntimeError("fault"), SystemExit(1)])
def test_a_fault_before_a_commit_changes_nothing(error: BaseException) -> None:
    """Where no commit was begun, nobody is told that it may have been done."""
    store = FaultyStore(MemoryStore())
    engine = Engine(store, _BrokenClock(error))
    with pytest.raises(InternalError, match="nothing was changed") as caught:
        apply(engine, {"k": "1"})

    assert ("none", error) == (caught.value.outcome, caught.value.__cause__)
    assert 0 == store.calls["commit"]
    assert 1 == apply(engine, {"k": "1"}).number
    engine.close()


@pytest.mark.parametrize("method", ["namespace", "branch", "objects"])
@pytest.mark.parametrize("error", [RuntimeError("fault"), SystemExit(1)])
def test_a_fault_while_preparing_changes_nothing(
    store: FaultyStore, clock: FakeClock, method: str, error: BaseException
) -> None:
    """Whatever can't be read for a batch, in whatever way, its outcome is known."""
    maker = Engine(store, clock)
    applied(maker, "1")
    maker._committer.close()
    engine = Engine(store, clock, cache_bytes=0)
    store.fail(method, error)
    with pytest.raises(InternalError, match="nothing was changed") as caught:
        apply(engine, {"k": "2"})

    assert "none" == caught.value.outcome
    assert 2 == apply(engine, {"k": "2"}, expect=1).number
    engine._committer.close()


def test_a_fault_after_a_commit_does_not_last(
    store: FaultyStore, engine: Engine
) -> None:
    """Where nobody knows whether a commit was done, the next one finds out.

    It was done, but the engine was not told: it must not go on from the old head,
    of which every later write would be refused as stale.
    """
    applied(engine, "1")
    store.fail_late("commit", RuntimeError("a fault between two lines"))
    with pytest.raises(OutcomeUnknown):
        apply(engine, {"k": "2"})

    assert {"k": "2"} == contents(engine)
    assert 3 == apply(engine, {"k": "3"}, expect=2).number
    assert [3, 2, 1] == log_numbers(engine)


def test_what_a_failed_commit_made_is_stored_by_the_next(
    store: FaultyStore, clock: FakeClock
) -> None:
    """The same documents again are written in full, though they are in memory."""
    engine = Engine(store, clock)
    apply(engine, {f"{n:03d}": f"{n}" for n in range(100)})
    wanted = {f"{n:03d}": f"new {n}" for n in range(100)}
    store.fail("commit", StorageFull("full"))
    with pytest.raises(StorageFull):
        apply(engine, wanted)
    apply(engine, wanted)
    cold = Engine(store, clock, cache_bytes=0)

    assert wanted == contents(cold)
    engine._committer.close()
    cold._committer.close()


# --- other daemons on the same store ------------------------------------------------------------


def test_a_stale_batch_is_prepared_anew(store: FaultyStore, engine: Engine) -> None:
    """Where another daemon was quicker the batch is tried again, unseen."""
    store.exclusive = False
    applied(engine, "1")
    store.fail("commit", *(Stale() for _ in range(5)))

    assert 2 == apply(engine, {"k": "2"}).number
    assert 5 == engine.stats().stale
    assert 2 == engine.stats().commits


def test_staleness_without_end_is_a_conflict(
    store: FaultyStore, engine: Engine
) -> None:
    """Tries are bounded; then the writes fail as conflicts and nothing is changed."""
    store.exclusive = False
    applied(engine, "1")
    store.fail("commit", *(Stale() for _ in range(100)))
    with pytest.raises(Conflict, match="gave up after 16 attempts"):
        apply(engine, {"k": "2"})

    assert {"k": "1"} == contents(engine)
    assert 1 + 16 == store.calls["commit"]


def test_two_engines_on_one_store_lose_no_update() -> None:
    """Two daemons on one store give no number twice and overwrite nothing unseen."""
    shared = FaultyStore(MemoryStore())
    shared.exclusive = False
    engines = [Engine(shared, FakeClock()) for _ in range(2)]
    each, threads = 12, 3
    apply(engines[0], {"n": "0"})

    def count_up(engine: Engine) -> None:
        for _ in range(each):
            while True:
                state = engine.state(SCOPE)
                number = int(dict(state.items())["n"])
                with suppress(Conflict):
                    apply(engine, {"n": f"{number + 1}"}, expect=state.number)
                    break

    with ThreadPoolExecutor(2 * threads) as pool:
        works = [pool.submit(count_up, engine) for engine in engines * threads]
    for work in works:
        work.result()

    total = 2 * threads * each
    for engine in engines:
        assert {"n": f"{total}"} == contents(engine)
        assert list(range(total + 1, 0, -1)) == log_numbers(engine, limit=1000)
        engine._committer.close()


def test_what_another_daemon_collected_is_not_revived() -> None:
    """A revision that another daemon has collected can't be gone back to.

    This one remembers the record, but the objects are gone: a new revision with
    that state could not be read.
    """
    shared = FaultyStore(MemoryStore())
    shared.exclusive = False
    one, two = (Engine(shared, FakeClock(), cache_bytes=0) for _ in range(2))
    applied(one, *map(str, range(1, 7)))
    assert [6, 5, 4, 3, 2, 1] == log_numbers(one)
    assert {"k": "2"} == contents(one, SCOPE, selector(2))
    two.collect(keep=1)

    with pytest.raises(RevisionCollected):
        one.reset(Reset(SCOPE, selector(2), "rollback"))
    with pytest.raises(RevisionCollected):
        one.create_branch(CreateBranch(SCOPE, BranchName("dev"), selector(2)))
    with pytest.raises(RevisionCollected):
        one.put_checkpoint(PutCheckpoint(SCOPE, CheckpointName("cp"), selector(-4)))
    assert {"k": "6"} == contents(one) == contents(two)
    one._committer.close()
    two._committer.close()


def test_expectations_are_checked_anew(store: FaultyStore, engine: Engine) -> None:
    """A head that another daemon moved after the first try is a conflict."""
    store.exclusive = False
    applied(engine, "1")
    other = Engine(store, FakeClock())

    def move() -> None:
        apply(other, {"k": "other"})

    store.before("commit", move)
    with pytest.raises(HeadMoved):
        apply(engine, {"k": "2"}, expect=1)

    assert {"k": "other"} == contents(engine)
    other._committer.close()


# --- too much, and the end ----------------------------------------------------------------------


def test_too_many_waiting_writes_are_refused(
    store: FaultyStore, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beyond the limit a write is not begun, and says how many wait; then it works."""
    monkeypatch.setattr(
        limits, "PENDING_WRITES", Limit("pending_writes_max", 10, "For a test.")
    )
    with _held(store, engine):
        waiting = [submit(engine, apply_request({"k": f"{n}"})) for n in range(10)]
        for _ in range(3):
            with pytest.raises(Overloaded, match="pending_writes_max is 10"):
                submit(engine, apply_request({"k": "x"}))
    assert list(range(1, 11)) == _numbers(waiting)

    assert 11 == apply(engine, {"k": "y"}).number
    assert {"k": "y"} == contents(engine)


def test_too_many_waiting_bytes_are_refused(
    store: FaultyStore, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The bytes that wait are bounded too, and free again once they are written."""
    monkeypatch.setattr(
        limits, "PENDING_BYTES", Limit("pending_bytes_max", 10_000, "For a test.")
    )
    with _held(store, engine):
        waiting = [
            submit(engine, apply_request({"k": f"{n}" * 4_000})) for n in range(2)
        ]
        with pytest.raises(Overloaded, match="pending_bytes_max 10000"):
            submit(engine, apply_request({"k": "x" * 4_000}))
        small = submit(engine, apply_request({"k": "x"}))
    assert [1, 2, 3] == _numbers([*waiting, small])

    assert 4 == apply(engine, {"k": "x" * 9_000}).number


def test_closing_finishes_what_waits(store: FaultyStore, clock: FakeClock) -> None:
    """Close refuses new writes and answers those that were accepted."""
    engine = Engine(store, clock)
    with store.hold("commit") as gate:
        waiting = [submit(engine, apply_request({"k": f"{n}"})) for n in range(20)]
        gate.wait_until_reached()
        closer = threading.Thread(target=engine.close)
        closer.start()
        while not engine._committer._closing:
            threading.Event().wait(0.001)
        with pytest.raises(ShuttingDown):
            submit(engine, apply_request({"k": "late"}))
    closer.join()

    assert list(range(1, 21)) == _numbers(waiting)
    with pytest.raises(ShuttingDown):
        apply(engine, {"k": "later"})
    with pytest.raises(Unavailable):
        engine.collect()
    with pytest.raises(StorageFailed):
        engine.state(scope("not in memory"))
    engine.close()


def test_no_thread_is_left(tmp_path: Path) -> None:
    """An engine has one thread of its own while it is open, and none afterwards."""
    before = set(threading.enumerate())
    for number in range(5):
        engine = Engine(SqliteStore(tmp_path / f"{number}"), FakeClock())
        apply(engine, {"k": "1"})
        engine.collect()
        started = set(threading.enumerate()) - before
        assert ["st8-commit_0"] == [thread.name for thread in started]
        engine.close()

    assert set() == set(threading.enumerate()) - before


def test_a_fenced_store_shows_in_ping(store: FaultyStore, engine: Engine) -> None:
    """Ping raises what the store says."""
    engine.ping()
    store.fail("ping", StoreFenced("sync"))

    with pytest.raises(StoreFenced):
        engine.ping()
    assert "memory" == engine.store_name


def test_statistics_add_up(store: FaultyStore, engine: Engine) -> None:
    """Counters tell the commits, their sizes and times, and what the cache does."""
    applied(engine, "1", "2")
    contents(engine)
    contents(engine)
    stats = engine.stats()

    assert (2, 2, 0, 0) == (stats.commits, stats.requests, stats.stale, stats.pending)
    assert 2 == sum(stats.batch_sizes.counts) == sum(stats.sync_seconds.counts)
    assert 2.0 == stats.batch_sizes.total
    assert stats.cache_hits > 0
    assert 0 < stats.cache_bytes < 10_000
    assert store.calls["commit"] == stats.commits
    assert changes(apply(engine, {"k": "3"}).changes)
