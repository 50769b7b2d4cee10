"""The embedded store when several share it, as the workers of one st8d do."""

from __future__ import annotations

import threading
from contextlib import ExitStack, closing
from queue import Queue
from typing import TYPE_CHECKING, Final

import pytest

from st8.core.errors import OutcomeUnknown, StateDirectoryInUse, StoreFenced
from st8.core.ids import BranchName
from st8.core.ports import Stale
from st8.store.directory import hold_directory
from st8.store.peers import Peers
from st8.store.sqlite import SqliteStore
from st8.testing.batches import (
    A,
    N,
    branch_at,
    full_batch,
    next_batch,
    set_branch,
    write,
)
from st8.testing.contract import StoreContract
from st8.testing.failing_disk import FailingDisk

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator
    from pathlib import Path

    from st8.core.ports import BranchAt, Store

PATIENCE_S: Final = 60
X: Final = BranchName("x")


_made: list[Peers] = []
"""What is closed after each test."""


def make_peers(number: int) -> Peers:
    """Return what that many have in common, until the test ends."""
    _made.append(Peers(number))
    return _made[-1]


@pytest.fixture(autouse=True)
def _peers() -> Iterator[None]:
    """Close what was made, last of all."""
    yield
    while _made:
        _made.pop().close()


class Shared:
    """A store that two share, here in one process.

    Attributes:
        peers: What they have in common.
        stores: Both.
    """

    def __init__(self, directory: Path) -> None:
        self.peers = make_peers(2)
        self.stores = [
            SqliteStore(directory, peer=self.peers.peer(number)) for number in range(2)
        ]


@pytest.fixture
def shared(tmp_path: Path, _peers: None) -> Iterator[Shared]:
    """A store that two share."""
    made = Shared(tmp_path)
    with ExitStack() as stack:
        for store in made.stores:
            stack.callback(store.close)
        yield made


class TestSharedSqliteStore(StoreContract):
    """See :class:`StoreContract`: also where somebody else could write."""

    def open_store(self, place: Path) -> Store:
        """See :class:`StoreContract`."""
        return SqliteStore(place, peer=make_peers(1).peer(0))


def test_each_sees_what_the_other_has_written(shared: Shared) -> None:
    """What one has committed the other reads, and its number of moves is another."""
    one, other = shared.stores
    for number in range(1, 6):
        before = other.moves()
        write(one)

        assert before != other.moves()
        assert number == other.namespace(A).last_revision
        one, other = other, one


def test_moves_stay_the_same_while_nobody_writes(shared: Shared) -> None:
    """Reads, and batches that were overtaken, do not count as moves."""
    one, other = shared.stores
    stale = full_batch(one)
    write(other)
    before = [store.moves() for store in shared.stores]
    with pytest.raises(Stale):
        one.commit(stale)
    other.namespace(A)

    assert before == [store.moves() for store in shared.stores]
    assert None not in before


def test_a_commit_says_since_when_it_holds(shared: Shared) -> None:
    """The number that comes with a commit is the one until somebody writes again."""
    one, other = shared.stores
    times = one.commit(full_batch(one))
    since = one.moves()
    write(other)

    assert since == times.moves
    assert since != one.moves()


def test_turns_keep_the_other_from_writing(shared: Shared) -> None:
    """What is prepared and committed in a turn is not overtaken."""
    one, other = shared.stores
    started = threading.Event()

    def write_too() -> None:
        started.set()
        with other.turn():
            write(other)

    thread = threading.Thread(target=write_too)
    with one.turn():
        batch = full_batch(one)
        thread.start()
        started.wait()
        one.commit(batch)
        with one.turn():  # it is one's own already
            one.commit(next_batch(one))
        assert 3 == one.namespace(A).last_revision
    thread.join()

    assert 4 == one.namespace(A).last_revision


def test_each_hears_what_the_other_has_moved(shared: Shared) -> None:
    """The branches of each commit are told to the other, and to nobody else."""
    one, other = shared.stores
    heard: Queue[Collection[BranchAt] | None] = Queue()
    own: Queue[Collection[BranchAt] | None] = Queue()
    other.hear(heard.put)
    one.hear(own.put)
    assert heard.get(timeout=PATIENCE_S) is None
    assert own.get(timeout=PATIENCE_S) is None

    write(one)
    set_branch(one, None, branch_at(1, X))
    write(other)

    told = [heard.get(timeout=PATIENCE_S) for _ in range(2)]
    assert [1, 1] == [len(some or ()) for some in told]
    assert 1 == len(own.get(timeout=PATIENCE_S) or ())
    assert heard.empty()


def test_too_many_branches_are_any(shared: Shared) -> None:
    """Who can't be told every name is told that any may have moved."""
    one, other = (shared.peers.peer(number) for number in range(2))
    heard: Queue[Collection[BranchAt] | None] = Queue()
    shared.stores[1].hear(heard.put)
    heard.get(timeout=PATIENCE_S)

    one.tell([(A, BranchName(f"{n}" * 80)) for n in range(300)])

    assert heard.get(timeout=PATIENCE_S) is None
    assert not other.fenced


def test_who_does_not_listen_misses_it_and_is_told_so(shared: Shared) -> None:
    """A full socket holds nobody up; its reader learns that it has missed something."""
    one = shared.peers.peer(0)
    for _ in range(10_000):
        one.tell([(A, X)])
    heard: Queue[Collection[BranchAt] | None] = Queue()
    shared.stores[1].hear(heard.put)

    assert heard.get(timeout=PATIENCE_S) is None  # since it has just begun
    assert heard.get(timeout=PATIENCE_S) is None  # since it has missed something


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_failed_sync_fences_all(tmp_path: Path) -> None:
    """After a sync failed in one of them none may write, also one that comes later."""
    peers = make_peers(3)
    vfs = FailingDisk()
    with ExitStack() as stack:
        one = SqliteStore(tmp_path, vfs=vfs.name, peer=peers.peer(0))
        other = SqliteStore(tmp_path, peer=peers.peer(1))
        stack.callback(one.close)
        stack.callback(other.close)
        write(one)
        vfs.fail("sync", after=0)
        with pytest.raises(OutcomeUnknown):
            write(one)
        with pytest.raises(StoreFenced, match="another worker"):
            write(other)
        with closing(SqliteStore(tmp_path, peer=peers.peer(2))) as late:
            with pytest.raises(StoreFenced):
                late.ping()
            assert 1 == late.namespace(A).last_revision


def test_many_open_it_at_once(tmp_path: Path) -> None:
    """Of those who find no file one makes it, and all work with it."""
    for turn in range(5):
        place = tmp_path / f"{turn}"
        hold_directory(place).close()
        peers = make_peers(4)
        together = threading.Barrier(4)
        stores: list[SqliteStore] = []

        def open_it(
            number: int,
            place: Path = place,
            peers: Peers = peers,
            together: threading.Barrier = together,
            stores: list[SqliteStore] = stores,
        ) -> None:
            together.wait()
            stores.append(SqliteStore(place, peer=peers.peer(number)))

        threads = [threading.Thread(target=open_it, args=(n,)) for n in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for store in stores:
            write(store)
        assert [N(4)] * 4 == [store.namespace(A).last_revision for store in stores]
        for store in stores:
            store.close()


def test_the_directory_is_held_for_all(tmp_path: Path) -> None:
    """Nobody else opens the directory while those who share it have it."""
    lock = hold_directory(tmp_path / "new" / "state")
    one = SqliteStore(tmp_path / "new" / "state", peer=make_peers(1).peer(0))
    with closing(one), pytest.raises(StateDirectoryInUse):
        SqliteStore(tmp_path / "new" / "state")
    lock.close()
    SqliteStore(tmp_path / "new" / "state").close()


def test_moves_are_not_known_when_it_is_closed(shared: Shared) -> None:
    """A store that can't be asked says so, and remembers nothing."""
    one, _ = shared.stores
    one.close()

    assert one.moves() is None


def test_a_process_that_dies_in_a_commit_leaves_nothing_behind(shared: Shared) -> None:
    """SQLite tells what has moved, until the next commit and after it."""
    one, other = shared.stores
    write(one)
    shared.peers.peer(0).begin_to_move()  # and is gone
    before = [store.moves() for store in shared.stores]

    assert before == [store.moves() for store in shared.stores]
    assert None not in before
    for writer, reader in ((one, other), (other, one)):
        since = reader.moves()
        write(writer)
        assert since != reader.moves()
        assert reader.moves() == reader.moves()
    assert shared.peers.peer(0).moves is not None


def test_what_is_seen_in_a_commit_is_not_taken_for_what_comes_after(
    shared: Shared,
) -> None:
    """Who asks while another one commits asks again when that has ended."""
    one, other = shared.stores
    peer = shared.peers.peer(0)
    with one.turn():
        peer.begin_to_move()
        during = other.moves()
        write(one)
        peer.end_moving()

    assert during != other.moves()


def test_one_of_those_who_share_it_collects(shared: Shared) -> None:
    """While one collects the other hears that it is not alone, and then that it is."""
    one, other = shared.stores
    with one.collecting() as alone, other.collecting() as refused:
        assert (True, False) == (alone, refused)
        with other.collecting() as again:
            assert not again
    with other.collecting() as alone:
        assert alone
