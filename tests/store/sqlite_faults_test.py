"""The embedded store when the disk fails: the N-th write or sync, for every N."""

from __future__ import annotations

from contextlib import closing, suppress
from typing import TYPE_CHECKING

import apsw
import pytest

from st8.core.errors import (
    OutcomeUnknown,
    St8Error,
    StorageFailed,
    StorageFull,
    StoreFenced,
)
from st8.store.sqlite import SqliteStore
from st8.testing.batches import (
    A,
    B,
    N,
    branch_at,
    content_of,
    epoch_of,
    objects_of,
    record_of,
    redaction_of,
    sweep_all,
    write,
)
from st8.testing.failing_disk import FailingDisk

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from st8.core.ports import Store

# apsw mentions errors of a file system in Python twice where it has no one to tell.
pytestmark = pytest.mark.filterwarnings(
    "ignore::pytest.PytestUnraisableExceptionWarning"
)

WRITES = 5


class Tally:
    """What a workload was told."""

    def __init__(self) -> None:
        """Nothing yet."""
        self.acknowledged: list[int] = []
        self.error: St8Error | None = None


def _work(store: SqliteStore, tally: Tally) -> None:
    """Commit revisions until something fails; in between collect, and redact."""
    try:
        for number in range(WRITES):
            tally.acknowledged.append(write(store))
            if number == WRITES // 2:
                epoch = store.raise_epoch({}, epoch_of(store)).epoch
                sweep_all(store, [], epoch)
                store.redact(lambda: [redaction_of(b"secret", A)])
    except St8Error as error:
        tally.error = error


def _check(directory: Path, tally: Tally, context: str) -> None:
    """Open what is left and compare it with what was acknowledged."""
    with closing(SqliteStore(directory)) as store:
        last = store.namespace(A).last_revision
        done = len(tally.acknowledged)
        unknown = tally.error is not None and tally.error.outcome == "unknown"
        assert last in ({done, done + 1} if unknown else {done}), context
        numbers = [N(n) for n in range(1, last + 1)]
        assert numbers == list(store.numbers(A, N(0), 100)), context
        assert {n: record_of(A, n) for n in numbers} == store.revisions(A, numbers)
        wanted = objects_of(*(content_of(A, n) for n in numbers))
        assert wanted == store.objects(list(wanted)), context
        assert (branch_at(last) if last else None) == store.branch(A, branch_at(1).name)
        check = store._writer.execute("PRAGMA integrity_check").fetchall()
        assert [("ok",)] == check, context
        assert last + 1 == write(store), context


@pytest.mark.parametrize("checkpoint_pages", [4_096, 4])
@pytest.mark.parametrize("kind", ["write", "sync"])
def test_any_failing_call_is_told_and_loses_nothing(
    tmp_path: Path, kind: str, checkpoint_pages: int
) -> None:
    """For every N, the N-th write or sync that fails costs nothing acknowledged.

    It fails the opening, or some commit, which fences the store: later commits are
    refused, reads go on, and the store that is opened anew is whole.
    """
    hit = set[str]()
    opening = 0
    for number in range(10_000):
        directory = tmp_path / str(number)
        vfs = FailingDisk()
        vfs.fail(kind, after=number)
        tally = Tally()
        try:
            store = SqliteStore(
                directory, vfs=vfs.name, checkpoint_pages=checkpoint_pages
            )
        except StorageFailed:
            _check(directory, tally, f"{kind} {number} while opening")
            opening += 1
            continue
        opened_in_spite = bool(vfs.failed)
        _work(store, tally)
        context = f"{kind} {number} ({vfs.failed}): {tally.error!r}"
        if tally.error is not None:
            _check_fenced(store, tally, context)
        elif vfs.failed and not opened_in_spite:  # behind the last commit
            with pytest.raises(StoreFenced):
                store.ping()
        vfs.fail_no_more()
        store.close()
        _check(directory, tally, context)
        if not vfs.failed:
            assert tally.error is None
            assert WRITES == len(tally.acknowledged)
            break
        hit.add(vfs.failed)
    else:
        pytest.fail("it never ran through")

    assert number > opening + WRITES
    assert f"{kind} wal" in hit


@pytest.mark.parametrize("checkpoint_pages", [4_096, 4])
def test_a_process_that_dies_anywhere_loses_nothing(
    tmp_path: Path, checkpoint_pages: int
) -> None:
    """For every N, what N calls have left on the disk is a whole store.

    From the N-th on no call changes anything, so neither a rollback nor tidying up
    helps: the next opening finds what a killed process leaves.
    """
    for number in range(10_000):
        directory = tmp_path / str(number)
        vfs = FailingDisk()
        vfs.die(after=number)
        tally = Tally()
        try:
            store = SqliteStore(
                directory, vfs=vfs.name, checkpoint_pages=checkpoint_pages
            )
        except StorageFailed:
            _check(directory, tally, f"died at {number} while opening: {vfs.failed}")
            continue
        _work(store, tally)
        died = vfs.failed
        store.close()
        _check(directory, tally, f"died at {number}: {died}, {tally.error!r}")
        if not vfs.failed:
            break
    assert number > 3 * WRITES


def _check_fenced(store: Store, tally: Tally, context: str) -> None:
    """After a failure commits are refused by name, and reads go on."""
    done = len(tally.acknowledged)
    assert isinstance(tally.error, StorageFailed | OutcomeUnknown | StoreFenced), (
        context
    )
    calls: list[Callable[[], object]] = [
        lambda: write(store),
        lambda: write(store, B),
        lambda: store.raise_epoch({}, epoch_of(store)),
        lambda: store.sweep(frozenset[int](), 9, 0, 1),
        store.ping,
    ]
    for call in calls:
        with pytest.raises(StoreFenced):
            call()
    numbers = [N(n) for n in range(1, done + 1)]
    assert {n: record_of(A, n) for n in numbers} == store.revisions(A, numbers), context
    assert store.namespace(A).last_revision in {done, done + 1}, context


def test_a_failing_sync_of_a_commit_has_an_unknown_outcome(tmp_path: Path) -> None:
    """Where the sync of a commit fails, nobody can say whether it is durable."""
    vfs = FailingDisk()
    with closing(SqliteStore(tmp_path, vfs=vfs.name)) as store:
        write(store)
        vfs.fail("sync", after=0)
        with pytest.raises(OutcomeUnknown, match="may or may not be there") as caught:
            write(store)
        assert "unknown" == caught.value.outcome
        with pytest.raises(StoreFenced, match="restart st8d"):
            write(store)


@pytest.mark.parametrize("checkpoint_pages", [4_096, 1])
def test_a_store_is_not_fenced_by_a_lack_of_space(
    tmp_path: Path, checkpoint_pages: int
) -> None:
    """For every N, where the N-th write finds no space, the next commit works.

    The one that found none was not made. Where only its log could not be moved to the
    file, there is nothing to be told: it was made.
    """
    hit = set[str]()
    for number in range(1_000):
        vfs = FailingDisk()
        with closing(
            SqliteStore(
                tmp_path / str(number), vfs=vfs.name, checkpoint_pages=checkpoint_pages
            )
        ) as store:
            done = write(store)
            vfs.fail("write", after=number, error=apsw.FullError)
            with suppress(StorageFull):
                done = write(store)
            vfs.fail_no_more()
            if not vfs.failed:
                break
            hit.add(vfs.failed)
            assert done == store.namespace(A).last_revision, number
            assert done + 1 == write(store), number
    assert {"write wal"} | ({"write db"} if checkpoint_pages == 1 else set()) == hit


@pytest.mark.parametrize("kind", ["write", "sync", "delete", "truncate"])
def test_what_fails_at_the_end_is_no_loss(tmp_path: Path, kind: str) -> None:
    """Where tidying up fails as a store is closed, it is closed, and nothing is lost."""
    for number in range(1_000):
        vfs = FailingDisk()
        tally = Tally()
        store = SqliteStore(tmp_path / str(number), vfs=vfs.name)
        _work(store, tally)
        vfs.fail(kind, after=number)
        store.close()
        context = f"{kind} {number} ({vfs.failed})"
        assert WRITES == len(tally.acknowledged)
        _check(tmp_path / str(number), tally, context)
        if not vfs.failed:
            return
    pytest.fail("it never ran through")


def test_one_commit_is_one_sync(tmp_path: Path) -> None:
    """A commit of any size costs one sync of the WAL, and none of the file."""
    vfs = FailingDisk()
    with closing(SqliteStore(tmp_path, vfs=vfs.name)) as store:
        write(store)
        for _ in range(10):
            before = vfs.calls.copy()
            write(store)
            spent = vfs.calls - before
            assert (1, 1) == (spent["sync"], spent["sync wal"])
        before = vfs.calls.copy()
        store.namespaces("", "", 10)
        store.branch(A, branch_at(1).name)
        assert 0 == (vfs.calls - before)["sync"]
