"""The suite that every store must pass.

A store's test file makes a class of :class:`StoreContract` and says how the store is
opened::

    class TestMemoryStore(StoreContract):
        def open_store(self, place: Path) -> Store:
            return MemoryStore()

What the suite asks for is in :mod:`st8.core.ports` in words. It goes through the
public methods alone, so whatever passes it can stand behind the engine.
"""

# ruff: noqa: S101, PLR2004, SIM300 - these are tests, though not in tests/

from __future__ import annotations

import hashlib
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import partial
from typing import TYPE_CHECKING, ClassVar, TypeVar

import pytest

from st8.core.errors import StorageFailed
from st8.core.ids import (
    Author,
    Message,
    digest_of,
)
from st8.core.limits import CONTENT_BYTES
from st8.core.ports import Batch, Pointers, Record, Stale
from st8.core.revisions import Branch, Checkpoint, NamespaceInfo
from st8.testing.batches import (
    CP,
    DEV,
    KEY,
    MAIN,
    NO_MARKS,
    A,
    B,
    C,
    Dump,
    N,
    answer_of,
    branch_at,
    broken_batches,
    checkpoint_at,
    content_of,
    dump,
    empty_batch,
    epoch_of,
    full_batch,
    next_batch,
    objects_of,
    put,
    record_of,
    set_branch,
    set_checkpoint,
    sweep_all,
    write,
    write_everywhere,
)
from st8.testing.contract_parts import CollectionContract, NamesContract

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from st8.core.ids import Digest
    from st8.core.ports import Store

__all__ = ["StoreContract"]

_RefT = TypeVar("_RefT", "Branch", "Checkpoint")


class StoreContract(NamesContract, CollectionContract):
    """What must hold of every store; a mix-in for a class of tests.

    Whoever mixes it in says how the store is opened, in ``open_store``.
    """

    persistent: ClassVar[bool] = True
    """Whether a store that is closed and opened again holds what it held."""

    # --- a new store ---------------------------------------------------------

    def test_a_new_store_is_empty(self, store: Store) -> None:
        """A new store has nothing, and says so without an error."""
        assert (0, epoch_of(store)) == store.namespace(B)
        assert epoch_of(store) >= 1
        assert [] == list(store.namespaces("", "", 10))
        assert store.branch(A, MAIN) is None
        assert [] == list(store.branches(A, "", "", 10))
        assert store.checkpoint(A, CP) is None
        assert [] == list(store.checkpoints(A, "", "", 10))
        assert {} == store.revisions(A, [N(0), N(1)])
        assert [] == list(store.numbers(A, N(0), 10))
        assert store.answer(A, KEY) is None
        assert [] == list(store.answers(("", ""), 10))
        assert Pointers([], [], []) == store.pointers(None) == store.pointers(A)
        assert {} == store.objects([digest_of(b"x")])

    def test_a_store_says_what_it_is(self, store: Store) -> None:
        """A store has a name, and answers a ping."""
        assert store.name
        assert store.exclusive in (True, False)
        store.ping()

    # --- objects -------------------------------------------------------------

    @pytest.mark.parametrize(
        "content",
        [
            b"",
            b"\0",
            b"\x00packed?",
            b"\x01packed?",
            b"a" * 47,
            b"a" * 48,
            b"a" * 1_000_000,
            b"".join(hashlib.sha256(b"%d" % n).digest() for n in range(20_000)),
            b"".join(hashlib.sha256(b"%d" % n).digest() for n in range(2)),
            b"\xff" * CONTENT_BYTES.maximum,
        ],
        ids=lambda content: f"{len(content)} bytes",
    )
    def test_objects_come_back_byte_for_byte(
        self, store: Store, content: bytes
    ) -> None:
        """An object of any size, compressible or not, comes back as it was put."""
        put(store, content)

        assert objects_of(content) == store.objects([digest_of(content)])

    def test_only_what_was_asked_for_and_is_there_comes_back(
        self, store: Store
    ) -> None:
        """Objects gives those that are there, once each, and no others."""
        put(store, *(b"%d" % n for n in range(300)))
        there = [digest_of(b"%d" % n) for n in range(0, 300, 3)]
        absent = [digest_of(b"no %d" % n) for n in range(50)]
        expected = objects_of(*(b"%d" % n for n in range(0, 300, 3)))

        assert expected == store.objects([*absent, *there, *there])
        assert {} == store.objects(absent)

    def test_asking_for_no_objects_gives_none(self, store: Store) -> None:
        """An empty list of digests is answered with nothing."""
        assert {} == store.objects([])

    def test_a_long_list_can_be_read_in_pieces(self, store: Store) -> None:
        """With a size, objects come in pieces; asking on for the rest gives all.

        Each piece has the first that is there, and a piece that is not all of them
        has more bytes than were asked for, the last one apart no more.
        """
        contents = [b"%d" % n * 1000 for n in range(12)]
        put(store, *contents)
        digests = [digest_of(b"absent"), *map(digest_of, contents)]
        found: dict[Digest, bytes] = {}
        while wanted := [d for d in digests if d not in found]:
            piece = store.objects(wanted, 2500)
            if not piece:
                break
            first = next(d for d in wanted if d in objects_of(*contents))
            assert first in piece
            assert not piece.keys() - set(wanted)
            if len(piece) < len(wanted) - 1:
                assert sum(map(len, piece.values())) > 2500
            found |= piece

        assert objects_of(*contents) == found
        assert objects_of(*contents[:1]).items() <= store.objects(digests, 0).items()

    def test_a_read_that_ends_early_holds_nothing_back(self, store: Store) -> None:
        """After a piece was read, the same thread sees what is committed next."""
        contents = [b"%d" % n * 1000 for n in range(12)]
        put(store, *contents)
        for number in range(2, 6):
            store.objects([digest_of(content) for content in contents], 1)
            assert number == write(store)
            assert branch_at(number) == store.branch(A, MAIN)
            assert number == store.namespace(A).last_revision

    def test_a_put_is_idempotent(self, store: Store) -> None:
        """An object that is there already stays as it is, whatever comes again."""
        digest = digest_of(b"content")
        put(store, b"content")
        put(store, b"content")
        batch = empty_batch(store)
        batch.objects[digest] = b"something else"
        batch.answers[A, KEY] = answer_of(1)
        store.commit(batch)

        assert objects_of(b"content") == store.objects([digest])

    # --- commits -------------------------------------------------------------

    def test_a_commit_is_seen_whole(self, store: Store) -> None:
        """After a commit every part of it is there, and nothing else."""
        batch = full_batch(store)
        times = store.commit(batch)

        assert times.write_s >= 0
        assert times.sync_s >= 0
        assert Dump(
            [NamespaceInfo(A, N(2)), NamespaceInfo(B, N(1))],
            {A: [branch_at(1, DEV, 1), branch_at(2)], B: [branch_at(1)]},
            {A: [checkpoint_at(1)], B: []},
            {
                A: {N(1): record_of(A, 1), N(2): record_of(A, 2)},
                B: {N(1): record_of(B, 1)},
            },
            {(A, KEY): answer_of(2)},
            batch.objects,
            epoch_of(store),
        ) == dump(store, batch.objects, [(A, KEY)])

    def test_single_reads_agree_with_lists(self, store: Store) -> None:
        """A branch, a checkpoint and a namespace read alone are as in their lists."""
        store.commit(full_batch(store))

        assert branch_at(2) == store.branch(A, MAIN)
        assert branch_at(1, DEV, 1) == store.branch(A, DEV)
        assert checkpoint_at(1) == store.checkpoint(A, CP)
        assert 2 == store.namespace(A).last_revision
        assert store.branch(B, DEV) is None
        assert store.checkpoint(B, CP) is None
        assert store.answer(B, KEY) is None

    def test_branches_move(self, store: Store) -> None:
        """A branch that is as expected is moved, taken away and made again."""
        write(store)
        write(store)
        assert branch_at(2) == store.branch(A, MAIN)

        set_branch(store, branch_at(2), branch_at(1, base=1))
        assert branch_at(1, base=1) == store.branch(A, MAIN)
        set_branch(store, branch_at(1, base=1), None)
        assert store.branch(A, MAIN) is None
        set_branch(store, None, branch_at(2, base=2))
        assert branch_at(2, base=2) == store.branch(A, MAIN)

    def test_checkpoints_move(self, store: Store) -> None:
        """A checkpoint that is as expected is replaced, taken away and made again."""
        write(store)
        for before, after in (
            (None, checkpoint_at(1)),
            (checkpoint_at(1), checkpoint_at(1, description="two\nlines")),
            (checkpoint_at(1, description="two\nlines"), checkpoint_at(2)),
            (checkpoint_at(2), None),
            (None, checkpoint_at(3)),
        ):
            set_checkpoint(store, before, after)
            assert after == store.checkpoint(A, CP)

    def test_one_stale_expectation_stops_everything(self, store: Store) -> None:
        """A batch with any one wrong expectation writes nothing at all."""
        store.commit(full_batch(store))
        before = dump(store, (), [(A, KEY), (B, KEY)])
        written: list[str] = []
        for how, batch in broken_batches(store).items():
            try:
                store.commit(batch)
            except Stale:
                assert before == dump(store, (), [(A, KEY), (B, KEY)]), how
                assert {} == store.objects(list(batch.objects)), how
            else:
                written.append(how)
                break

        assert [] == written

    def test_a_stale_ref_is_told_by_every_field(self, store: Store) -> None:
        """A ref that differs from what is expected in one field alone is Stale."""
        store.commit(full_batch(store))
        main, checkpoint = branch_at(2), checkpoint_at(1)
        branches = [
            main._replace(base=N(1)),
            main._replace(since=N(1)),
            main._replace(head=N(1)),
            main._replace(head_digest=digest_of(b"")),
        ]
        checkpoints = [
            checkpoint._replace(revision=N(2)),
            checkpoint._replace(digest=digest_of(b"")),
            checkpoint._replace(branch=DEV),
            checkpoint._replace(description=Message("other")),
            checkpoint._replace(author=Author("other")),
            checkpoint._replace(time_ns=1),
        ]
        missed: list[Branch | Checkpoint] = []
        for branch in branches:
            missed += _unless_stale(branch, partial(set_branch, store, branch, branch))
        for cp in checkpoints:
            missed += _unless_stale(cp, partial(set_checkpoint, store, cp, cp))

        assert [] == missed

    def test_a_batch_that_is_not_stale_is_written(self, store: Store) -> None:
        """The batch of the test above, with no wrong expectation, is written."""
        store.commit(full_batch(store))
        batch = next_batch(store)
        store.commit(batch)

        assert batch.objects == store.objects(list(batch.objects))
        assert 3 == store.namespace(A).last_revision
        assert branch_at(3) == store.branch(A, MAIN)
        assert store.checkpoint(A, CP) is None
        assert answer_of(9) == store.answer(B, KEY)

    def test_a_stale_batch_stamps_no_object(self, store: Store) -> None:
        """An object that only a refused batch put again is as old as before."""
        put(store, b"old")
        epoch = store.raise_epoch({}, epoch_of(store)).epoch
        batch = Batch(epoch, 0, objects_of(b"old"))
        batch.branches[A, MAIN] = (branch_at(7), branch_at(8))
        with pytest.raises(Stale):
            store.commit(batch)

        assert 1 == sweep_all(store, [], epoch)

    def test_numbers_are_given_once(self, store: Store) -> None:
        """Of many threads that take numbers from one namespace each gets its own."""
        threads, each = 4, 12
        taken: list[int] = []

        def take() -> None:
            for _ in range(each):
                while True:
                    try:
                        taken.append(write(store))
                    except Stale:
                        continue
                    break

        _run_all([take] * threads)

        assert list(range(1, threads * each + 1)) == sorted(taken)
        assert threads * each == store.namespace(A).last_revision
        assert sorted(taken) == list(store.numbers(A, N(0), 10_000))

    # --- revisions -----------------------------------------------------------

    def test_revisions_are_found_by_number(self, store: Store) -> None:
        """Revisions gives the records that are there, of this namespace alone."""
        for _ in range(3):
            write(store)
        write(store, B)

        asked = [N(3), N(1), N(9), N(0), N(1)]
        assert {N(1): record_of(A, 1), N(3): record_of(A, 3)} == store.revisions(
            A, asked
        )
        assert {N(1): record_of(B, 1)} == store.revisions(B, asked)
        assert {} == store.revisions(C, asked)
        assert {} == store.revisions(A, [])

    def test_numbers_are_paged(self, store: Store) -> None:
        """Numbers come in ascending order, a page at a time, after the one given."""
        for _ in range(7):
            write(store)
        write(store, B)

        assert [1, 2, 3] == list(store.numbers(A, N(0), 3))
        assert [4, 5, 6] == list(store.numbers(A, N(3), 3))
        assert [7] == list(store.numbers(A, N(6), 3))
        assert [] == list(store.numbers(A, N(7), 3))
        assert [] == list(store.numbers(C, N(0), 3))

    def test_records_are_kept_byte_for_byte(self, store: Store) -> None:
        """A record is any bytes, however many."""
        batch = empty_batch(store)
        records = [Record(N(1), b"\0"), Record(N(2), bytes(range(256)) * 200)]
        batch.namespaces[A] = (N(0), N(2))
        batch.revisions[A] = records
        store.commit(batch)

        assert dict(records) == store.revisions(A, [N(1), N(2)])

    # --- many threads --------------------------------------------------------

    def test_reads_are_never_torn(self, store: Store) -> None:
        """While a thread commits, what others read belongs together.

        Each commit sets two branches, a checkpoint and a record to one number. A
        reader that sees the branch at a number finds its record and its object, and
        never an older number afterwards.
        """
        last, failures = 120, list[str]()
        done = threading.Event()

        def commit() -> None:
            try:
                for number in range(1, last + 1):
                    write_everywhere(store, number)
            finally:
                done.set()

        def read() -> None:
            floor = 0
            while True:
                finished = done.is_set()
                try:
                    floor = _look(store, floor)
                except AssertionError as error:
                    failures.append(str(error))
                    return
                if finished:
                    break
            if floor != last:
                failures.append(f"saw {floor} in the end")

        _run_all([commit, read, read, read])

        assert [] == failures

    def test_what_a_thread_committed_all_threads_see(self, store: Store) -> None:
        """A read that begins after a commit has returned sees it, on any thread."""
        with ThreadPoolExecutor(3) as others:
            for number in range(1, 40):
                assert number == write(store)
                heads = [others.submit(store.branch, A, MAIN) for _ in range(3)]
                assert [branch_at(number)] * 3 == [head.result() for head in heads]

    def test_sweeping_and_committing_at_once_loses_nothing(self, store: Store) -> None:
        """Objects that are put while another thread sweeps are there afterwards."""
        contents = [b"%d" % n for n in range(200)]
        put(store, *contents)
        epoch = store.raise_epoch({}, epoch_of(store)).epoch

        def sweep() -> None:
            sweep_all(store, [], epoch, 3)

        def put_again() -> None:
            for start in range(0, 200, 10):
                put(store, *contents[start : start + 5])

        _run_all([sweep, put_again])
        kept = [c for n, c in enumerate(contents) if n % 10 < 5]

        assert objects_of(*kept) == store.objects([digest_of(c) for c in kept])

    # --- the end -------------------------------------------------------------

    def test_a_closed_store_answers_nothing(self, tmp_path: Path) -> None:
        """After close every method raises StorageFailed, on any thread."""
        store = self.open_store(tmp_path)
        write(store)
        batch = empty_batch(store)
        batch.namespaces[A] = (N(1), N(2))
        epoch = batch.epoch
        store.close()
        calls: list[Callable[[], object]] = [
            lambda: store.objects([digest_of(b"x")]),
            lambda: store.namespace(A),
            lambda: store.namespaces("", "", 1),
            lambda: store.branch(A, MAIN),
            lambda: store.branches(A, "", "", 1),
            lambda: store.checkpoint(A, CP),
            lambda: store.checkpoints(A, "", "", 1),
            lambda: store.revisions(A, [N(1)]),
            lambda: store.answer(A, KEY),
            lambda: store.commit(batch),
            lambda: store.numbers(A, N(0), 1),
            lambda: store.pointers(None),
            lambda: store.raise_epoch({}, epoch),
            lambda: store.sweep(NO_MARKS, epoch, 0, 1),
            lambda: store.weigh(NO_MARKS, 0, 1),
            store.ping,
        ]
        with ThreadPoolExecutor(1) as other:
            for call in calls:
                with pytest.raises(StorageFailed):
                    call()
                assert isinstance(other.submit(call).exception(), StorageFailed)

    def test_a_store_may_be_closed_twice(self, tmp_path: Path) -> None:
        """A second close does nothing."""
        store = self.open_store(tmp_path)
        store.close()
        store.close()

    def test_a_store_may_be_closed_while_it_is_read(self, tmp_path: Path) -> None:
        """Close returns though others read; they get data or StorageFailed."""
        store = self.open_store(tmp_path)
        put(store, *(b"%d" % n for n in range(500)))
        wanted = [digest_of(b"%d" % n) for n in range(500)]
        reading = threading.Barrier(4)
        enough = threading.Event()
        failures: list[str] = []

        def read() -> None:
            reading.wait()
            try:
                while not enough.is_set():
                    if len(store.objects(wanted)) != len(wanted):
                        failures.append("objects were missing")
            except StorageFailed:
                return
            except Exception as error:  # noqa: BLE001 - what is looked for
                failures.append(repr(error))

        threads = [threading.Thread(target=read) for _ in range(3)]
        for thread in threads:
            thread.start()
        reading.wait()
        for _ in range(3):
            store.objects(wanted)
        try:
            store.close()
        finally:
            enough.set()
            for thread in threads:
                thread.join()

        assert [] == failures
        self.open_store(tmp_path).close()

    def test_what_was_committed_is_there_when_opened_again(
        self, tmp_path: Path
    ) -> None:
        """A store that is closed and opened again is the same in every part."""
        if not self.persistent:
            pytest.skip("this store ends with its process")
        store = self.open_store(tmp_path)
        batch = full_batch(store)
        store.commit(batch)
        store.raise_epoch({}, epoch_of(store))
        for _ in range(3):
            write(store)
        before = dump(store, batch.objects, [(A, KEY)])
        store.close()
        with closing(self.open_store(tmp_path)) as again:
            assert before == dump(again, batch.objects, [(A, KEY)])
            assert 6 == write(again)


def _unless_stale(ref: _RefT, commit: Callable[[], None]) -> list[_RefT]:
    """Return ``ref`` if a commit that expects it is not Stale."""
    try:
        commit()
    except Stale:
        return []
    return [ref]


def _look(store: Store, floor: int) -> int:
    """Read all that is set together, and return the number that it was set to."""
    branches = store.branches(A, "", "", 10)
    if not branches:
        return floor
    dev, main = branches
    number = main.head
    assert (branch_at(number, DEV), branch_at(number)) == (dev, main)
    assert number >= floor
    assert {number: record_of(A, number)} == store.revisions(A, [number])
    content = content_of(A, number)
    assert objects_of(content) == store.objects([digest_of(content)])
    checkpoint = store.checkpoint(A, CP)
    assert checkpoint is not None
    assert checkpoint_at(checkpoint.revision) == checkpoint
    assert checkpoint.revision >= number
    assert store.namespace(A).last_revision >= checkpoint.revision
    ((_, last),), branches_then, checkpoints_then = store.pointers(None)
    assert [(A, branch_at(last, DEV)), (A, branch_at(last))] == list(branches_then)
    assert [(A, checkpoint_at(last))] == list(checkpoints_then)
    return number


def _run_all(works: Sequence[Callable[[], None]]) -> None:
    """Run all at once, each on a thread of its own, and raise what one raises."""
    with ThreadPoolExecutor(len(works)) as pool:
        futures = [pool.submit(work) for work in works]
    for future in futures:
        future.result()
