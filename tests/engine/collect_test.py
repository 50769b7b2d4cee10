"""Garbage collection: what it keeps, what it frees, and that it harms nobody."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, cast

import pytest

from st8.core.errors import (
    Corrupt,
    InvalidValue,
    LimitExceeded,
    NamespaceNotFound,
    NotFound,
    RevisionCollected,
    RevisionNotFound,
    ShuttingDown,
    StorageFull,
    StoreFenced,
    Unavailable,
)
from st8.core.ids import Namespace
from st8.core.node import EMPTY_ROOT
from st8.core.ports import Stale, Swept
from st8.engine.engine import Engine
from st8.store.memory import MemoryStore
from st8.testing.clock import FakeClock
from st8.testing.faulty import Gate
from tests.engine.acts import (
    DEV,
    SCOPE,
    applied,
    apply,
    branch,
    branch_names,
    changes,
    checkpoint,
    contents,
    delete_branch,
    delete_checkpoint,
    diff,
    log_numbers,
    read_everything,
    reset,
    scope,
    selector,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from st8.core.ids import Digest
    from st8.core.ports import Store
    from st8.testing.faulty import FaultyStore

DEFAULT = Namespace("default")


def _stored(store: Store, namespace: str = "default") -> list[int]:
    return list(store.numbers(Namespace(namespace), 0, 100_000))  # type: ignore[arg-type]


def _versions(engine: Engine, last: int) -> None:
    """Apply ``last`` revisions of one document."""
    applied(engine, *(f"v{n}" for n in range(1, last + 1)))


# --- what is kept -------------------------------------------------------------------


@pytest.mark.parametrize(("last", "keep"), [(15, 5), (10, 3), (10, 1), (3, 10), (1, 1)])
def test_the_newest_are_kept(any_engine: Engine, last: int, keep: int) -> None:
    """The newest revisions of a branch stay, all older ones go."""
    _versions(any_engine, last)
    collected = any_engine.collect(keep)

    assert max(0, last - keep) == collected.revisions
    assert {"k": f"v{last}"} == contents(any_engine)
    kept = range(max(1, last - keep + 1), last + 1)
    assert list(reversed(kept)) == log_numbers(any_engine)
    for number in kept:
        assert {"k": f"v{number}"} == contents(any_engine, SCOPE, selector(number))


def test_checkpoints_are_kept(any_engine: Engine) -> None:
    """A revision that a checkpoint names stays readable, and can be gone back to."""
    _versions(any_engine, 5)
    checkpoint(any_engine, "good", selector(2))
    any_engine.collect(keep=1)

    assert {"k": "v2"} == contents(any_engine, SCOPE, selector(checkpoint="good"))
    assert {"k": "v2"} == contents(any_engine, SCOPE, selector(2))
    reset(any_engine, selector(checkpoint="good"))
    assert {"k": "v2"} == contents(any_engine)


def test_bases_are_kept(any_engine: Engine) -> None:
    """The revision that a branch came from stays, whatever is seen first (B5, B6)."""
    _versions(any_engine, 3)
    for name in ("a", "dev", "z"):
        branch(any_engine, name, selector(1))
        applied(any_engine, *map(str, range(5)), at=scope(branch=name))
    delete_branch(any_engine, "main")
    any_engine.collect(keep=1)

    for name in ("a", "dev", "z"):
        at = scope(branch=name)
        assert {"k": "4"} == contents(any_engine, at)
        assert {"k": "v1"} == contents(any_engine, at, selector(1))
        assert [("k", "update", "v1", "4")] == diff(
            any_engine, selector(1), selector(), at=at
        )


def test_each_branch_keeps_its_own_newest(any_engine: Engine) -> None:
    """Every branch keeps as many revisions as asked, also those it shares."""
    _versions(any_engine, 6)
    branch(any_engine, "dev", selector(4))
    applied(any_engine, "d", at=DEV)
    any_engine.collect(keep=3)

    assert [7, 4, 3] == log_numbers(any_engine, DEV)
    assert [6, 5, 4, 3] == log_numbers(any_engine)


@pytest.mark.parametrize(
    "names",
    [("a/b", "c/d"), ("\U0010ffff", "\U0010ffff\U0010ffff"), ("a\U0010ffff", "x")],
    ids=ascii,
)
def test_no_name_is_forgotten(any_engine: Engine, names: tuple[str, str]) -> None:
    """Branches and checkpoints of any name are kept, and collected (B3, B4)."""
    at = scope(*names)
    applied(any_engine, "1", "2", "3", at=at)
    checkpoint(any_engine, names[0], selector(1), at=at)
    collected = any_engine.collect(keep=1)

    assert 1 == collected.revisions
    assert {"k": "3"} == contents(any_engine, at)
    assert {"k": "1"} == contents(any_engine, at, selector(checkpoint=names[0]))


def test_only_one_namespace_may_be_collected(any_engine: Engine) -> None:
    """With a namespace, revisions of the others stay."""
    for owner in ("a", "b"):
        applied(any_engine, "1", "2", "3", at=scope(owner))
    collected = any_engine.collect(1, Namespace("a"))

    assert 2 == collected.revisions
    assert [3] == log_numbers(any_engine, scope("a"))
    assert [3, 2, 1] == log_numbers(any_engine, scope("b"))
    assert {"k": "1"} == contents(any_engine, scope("b"), selector(1))


def test_what_was_deleted_goes(any_engine: Engine) -> None:
    """Revisions of a deleted branch go unless something else names them."""
    applied(any_engine, "1")
    branch(any_engine, "dev")
    applied(any_engine, "2", "3", at=DEV)
    checkpoint(any_engine, "kept", selector(2), at=DEV)
    delete_branch(any_engine, "dev")

    assert 1 == any_engine.collect().revisions
    assert {"k": "2"} == contents(any_engine, SCOPE, selector(checkpoint="kept"))


# --- holes ------------------------------------------------------------------------------


def test_a_log_ends_where_history_was_collected(any_engine: Engine) -> None:
    """A log that stops at a collected revision says which one (B7)."""
    _versions(any_engine, 6)
    any_engine.collect(keep=3)
    page = any_engine.log(SCOPE)

    assert ([6, 5, 4], None, 3) == (
        [entry.revision.number for entry in page.entries],
        page.next,
        page.collected,
    )
    # Paging comes to the same end, whether the gap is at a page's end or not.
    for limit in (1, 2, 3, 4):
        found: list[int] = []
        after: int | None = None
        while True:
            page = any_engine.log(SCOPE, limit=limit, after=after)
            found += [entry.revision.number for entry in page.entries]
            if page.next is None:
                break
            after = page.next
        assert ([6, 5, 4], 3) == (found, page.collected)


def test_the_oldest_kept_revision_still_tells_its_changes(any_engine: Engine) -> None:
    """What the oldest kept revision changed is still known, contents included."""
    apply(any_engine, {"a": "1", "b": "1"})
    apply(any_engine, {"a": "2"}, ["b"])
    any_engine.collect(keep=1)
    (entry,) = any_engine.log(SCOPE).entries

    assert [("a", "update", "1", "2"), ("b", "delete", "1", None)] == changes(
        entry.changes
    )


def test_collected_history_is_its_own_error(any_engine: Engine) -> None:
    """A collected revision is not unknown, and never the empty state (B7)."""
    _versions(any_engine, 6)
    any_engine.collect(keep=2)
    for source in (selector(1), selector(4), selector(-2), selector(-5)):
        with pytest.raises(RevisionCollected, match="garbage collection"):
            any_engine.state(SCOPE, source)
    with pytest.raises(RevisionCollected):
        any_engine.state(SCOPE, selector(at_ns=0))
    with pytest.raises(RevisionCollected):
        diff(any_engine, selector(1), selector(6))
    with pytest.raises(RevisionNotFound):
        any_engine.state(SCOPE, selector(7))


def test_later_collections_reach_the_rest(any_engine: Engine) -> None:
    """What a checkpoint kept in the middle of a hole goes once nothing names it (B7)."""
    _versions(any_engine, 10)
    checkpoint(any_engine, "cp", selector(3))
    assert 7 == any_engine.collect(keep=2).revisions
    applied(any_engine, "v11", "v12")
    assert 2 == any_engine.collect(keep=2).revisions
    delete_checkpoint(any_engine, "cp")
    assert 1 == any_engine.collect(keep=2).revisions

    assert [12, 11] == log_numbers(any_engine)
    with pytest.raises(RevisionCollected):
        any_engine.state(SCOPE, selector(3))
    assert (0, 0, 0) == any_engine.collect(keep=2)


def test_history_goes_on_over_a_hole(any_engine: Engine) -> None:
    """After collections, new revisions are found by every way of naming them."""
    _versions(any_engine, 40)
    checkpoint(any_engine, "old", selector(7))
    any_engine.collect(keep=3)
    applied(any_engine, *(f"v{n}" for n in range(41, 81)))
    for number in (7, 38, 39, 41, 64, 79, 80):
        assert {"k": f"v{number}"} == contents(any_engine, SCOPE, selector(number))
    for number in (38, 50, 80):
        back = selector(number - 80)
        assert {"k": f"v{number}"} == contents(any_engine, SCOPE, back)


def test_a_namesake_has_no_part_in_a_history(any_engine: Engine) -> None:
    """What a deleted branch left behind never becomes its successor's history.

    Not even where the successor's own history was collected in part, so that the
    way back can't be followed to its end.
    """
    _versions(any_engine, 2)
    checkpoint(any_engine, "cp")
    delete_branch(any_engine, "main")
    applied(any_engine, *(f"new {n}" for n in range(3, 13)))
    for _ in range(2):
        with pytest.raises(NotFound):
            any_engine.state(SCOPE, selector(2))
        with pytest.raises(NotFound):
            reset(any_engine, selector(2))
        any_engine.collect(keep=2)
    assert {"k": "v2"} == contents(any_engine, SCOPE, selector(checkpoint="cp"))


def test_kept_revisions_beyond_a_hole_can_be_named(any_engine: Engine) -> None:
    """A branch's own revision that a checkpoint kept, and its base, have numbers."""
    _versions(any_engine, 3)
    branch(any_engine, "dev")
    applied(any_engine, *(f"d{n}" for n in range(4, 15)), at=DEV)
    checkpoint(any_engine, "cp", selector(6), at=DEV)
    any_engine.collect(keep=2)

    assert {"k": "d6"} == contents(any_engine, DEV, selector(6))
    assert {"k": "v3"} == contents(any_engine, DEV, selector(3))
    with pytest.raises(NotFound):
        any_engine.state(SCOPE, selector(6))


def test_what_was_inherited_is_found_from_the_base(any_engine: Engine) -> None:
    """Where the way from the head is broken, the branch's base leads further."""
    _versions(any_engine, 5)
    branch(any_engine, "dev")
    applied(any_engine, *(f"d{n}" for n in range(6, 16)), at=DEV)
    for number in (2, 3, 4):
        checkpoint(any_engine, f"cp{number}", selector(number))
    any_engine.collect(keep=1)

    for number in (2, 3, 4, 5):
        assert {"k": f"v{number}"} == contents(any_engine, DEV, selector(number))
    reset(any_engine, selector(3), at=DEV)
    assert {"k": "v3"} == contents(any_engine, DEV)


def test_what_can_not_be_told_after_a_collection_says_so(any_engine: Engine) -> None:
    """A kept revision whose way to a branch is gone is not called another's.

    Revisions 1 to 5 are on main but for 3, and dev begins at 5. The checkpoints keep
    2 and 3, and 4 has gone.
    """
    _versions(any_engine, 2)
    branch(any_engine, "side")
    applied(any_engine, "s3", at=scope(branch="side"))
    applied(any_engine, "v4", "v5")
    branch(any_engine, "dev")
    applied(any_engine, *(f"d{n}" for n in range(6, 16)), at=DEV)
    checkpoint(any_engine, "cp", selector(2))
    any_engine.collect(keep=1)

    for number in (2, 3):
        with pytest.raises(RevisionCollected) as caught:
            any_engine.state(DEV, selector(number))
        assert 4 == caught.value.revision
        assert (
            f"whether revision {number} is in the history of namespace 'default', "
            "branch 'dev' can't be told: revision 4, which is on the way to it, was "
            "removed by garbage collection. Name it by a checkpoint, or on the branch "
            "that it was made on"
        ) == caught.value.detail
    with pytest.raises(RevisionNotFound, match="made on branch 'dev'"):
        any_engine.state(SCOPE, selector(15))


def test_what_is_between_two_of_a_history_is_not_in_it(any_engine: Engine) -> None:
    """A revision that the history steps over is not found, whatever has gone."""
    _versions(any_engine, 2)
    branch(any_engine, "side")
    applied(any_engine, "s3", at=scope(branch="side"))
    applied(any_engine, "v4", "v5")
    branch(any_engine, "dev")
    applied(any_engine, *(f"d{n}" for n in range(6, 16)), at=DEV)
    checkpoint(any_engine, "cp", selector(4))
    delete_branch(any_engine, "main")
    any_engine.collect(keep=1)

    # 4 follows 2, which is the base of "side"; 1 has gone.
    with pytest.raises(RevisionNotFound, match="made on branch 'side'"):
        any_engine.state(DEV, selector(3))
    assert {"k": "v2"} == contents(any_engine, DEV, selector(2))
    checkpoint(any_engine, "three", at=scope(branch="side"))
    delete_branch(any_engine, "side")
    any_engine.collect(keep=1)  # takes 2
    with pytest.raises(RevisionNotFound, match="made on branch 'side'"):
        any_engine.state(DEV, selector(3))


# --- objects -------------------------------------------------------------------------------


def _needed(engine: Engine, store: Store) -> set[Digest]:
    """Return the digests of all that the stored revisions need."""
    needed: set[Digest] = set()
    for info in engine.namespaces().items:
        for number in _stored(store, info.name):
            revision = engine._refs.revision(Namespace(info.name), number)  # type: ignore[arg-type]
            assert revision is not None
            for root in (revision.root, revision.parent_root):
                waiting = [] if root == EMPTY_ROOT else [root]
                while waiting:
                    digest = waiting.pop()
                    needed.add(digest)
                    node = engine._objects.node(digest)
                    needed.update(node.children())
                    if node.level:
                        waiting += node.children()
    return needed


def test_exactly_what_is_not_needed_is_freed() -> None:
    """After a collection the store holds the objects of its revisions, no others."""
    store = MemoryStore()
    engine = Engine(store, FakeClock())
    apply(engine, {f"{n:03d}": f"{n}" for n in range(200)})
    for number in range(30):
        apply(engine, {f"{number:03d}": f"new {number}"}, [f"{number + 100:03d}"])
        applied(engine, f"{number}", at=scope("other"))
    checkpoint(engine, "cp", selector(5))
    before = len(store._objects)
    collected = engine.collect(keep=2)

    assert before - collected.objects == len(store._objects)
    assert collected.objects > 50
    assert _needed(engine, store) == store._objects.keys()
    assert (0, 0, 0) == engine.collect(keep=2)
    engine.close()


def test_content_that_comes_back_after_it_was_freed(any_engine: Engine) -> None:
    """A content that was collected is stored again when it is applied again."""
    applied(any_engine, "once", "b", "c")
    any_engine.collect(keep=1)
    applied(any_engine, "once")
    any_engine.collect(keep=1)

    assert {"k": "once"} == contents(any_engine)
    assert 4 == len(read_everything(any_engine)) + 3


def test_what_is_left_is_whole_after_reopening(
    open_sqlite: Callable[[], Engine],
) -> None:
    """Everything that a collection kept can be read by another process."""
    engine = open_sqlite()
    apply(engine, {f"{n:03d}": f"{n}" for n in range(300)})
    for number in range(40):
        apply(engine, {f"{number * 7 % 300:03d}": f"new {number}"})
    checkpoint(engine, "cp", selector(11))
    branch(engine, "dev", selector(20))
    apply(engine, {"dev": "x"}, at=DEV)
    engine.collect(keep=4)
    before = read_everything(engine)
    engine = open_sqlite()

    assert before == read_everything(engine)
    assert len(before) >= 1 + 4 + 4
    assert (0, 0, 0) == engine.collect(keep=4)


# --- limits and failures -----------------------------------------------------------------


@pytest.mark.parametrize("keep", [0, -1])
def test_at_least_one_revision_is_kept(any_engine: Engine, keep: int) -> None:
    """Keep is at least one."""
    with pytest.raises(InvalidValue, match="at least 1"):
        any_engine.collect(keep)


def test_keep_is_bounded(any_engine: Engine) -> None:
    """Keep has a limit, which is named."""
    with pytest.raises(LimitExceeded, match="gc_keep_max"):
        any_engine.collect(10**9 + 1)


@pytest.mark.parametrize("method", ["raise_epoch", "sweep"])
@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize("error", [StorageFull("full"), StoreFenced("sync")])
def test_a_collection_that_fails_harms_nothing(
    store: FaultyStore, engine: Engine, method: str, *, late: bool, error: Exception
) -> None:
    """Whatever step fails, with or without effect, all that is kept stays whole."""
    _versions(engine, 30)
    checkpoint(engine, "cp", selector(4))
    (store.fail_late if late else store.fail)(method, error)
    with pytest.raises(type(error)):
        engine.collect(keep=2)

    assert {"k": "v30"} == contents(engine)
    assert {"k": "v4"} == contents(engine, SCOPE, selector(checkpoint="cp"))
    assert 31 == apply(engine, {"k": "v31"}).number
    engine.collect(keep=2)
    cold = Engine(store, FakeClock(), cache_bytes=0)
    assert [31, 30] == log_numbers(cold)
    assert 3 == len(read_everything(cold))
    cold._committer.close()


def test_an_empty_store_is_collected_in_peace(any_engine: Engine) -> None:
    """An empty store has nothing to collect."""
    assert (0, 0, 0) == any_engine.collect()


def test_a_namespace_that_is_not_there_is_not_collected(any_engine: Engine) -> None:
    """A mistyped namespace is an error; what there is stays as it is."""
    applied(any_engine, "1", "2", at=scope("prod"))
    assert apply(any_engine, {}, ["k"], at=scope("prods"), key="once").noop
    for name in ("pro", "prods", "Prod"):
        with pytest.raises(NamespaceNotFound, match=f"'{name}'"):
            any_engine.collect(1, Namespace(name))

    assert [2, 1] == log_numbers(any_engine, scope("prod"))
    assert 1 == any_engine.collect(1, Namespace("prod")).revisions


def test_others_that_collect_are_waited_for(store: FaultyStore, engine: Engine) -> None:
    """Where another daemon raised the epoch first the collection looks again."""
    _versions(engine, 6)
    store.fail("raise_epoch", *(Stale() for _ in range(5)))

    assert 5 == engine.collect(keep=1).revisions
    assert [6] == log_numbers(engine)


def test_others_that_collect_without_end_are_given_up_on(
    store: FaultyStore, engine: Engine
) -> None:
    """Tries are bounded; then it is unavailable, and may be tried again."""
    _versions(engine, 6)
    store.fail("raise_epoch", *(Stale() for _ in range(16)))
    with pytest.raises(Unavailable, match="gave up after 16 attempts") as caught:
        engine.collect(keep=1)

    assert (True, "none") == (caught.value.retryable, caught.value.outcome)
    assert list(range(6, 0, -1)) == log_numbers(engine)
    assert 5 == engine.collect(keep=1).revisions


def test_collections_are_counted(store: FaultyStore, engine: Engine) -> None:
    """Those that came to their end, with what they removed, and those that did not."""
    _versions(engine, 6)
    counts = engine.stats().collections
    store.fail("raise_epoch", *(Stale() for _ in range(16)))
    with pytest.raises(Unavailable):
        engine.collect(keep=1)
    assert (0, 1, 0, 0) == (
        counts.runs,
        counts.failures,
        counts.revisions,
        counts.last_ns,
    )

    done = [engine.collect(keep=keep) for keep in (3, 1)]
    assert (2, 1, 5) == (counts.runs, counts.failures, counts.revisions)
    assert counts.objects == sum(each.objects for each in done) > 0
    assert counts.size == sum(each.size for each in done) > 0
    assert counts.seconds > 0 < counts.last_ns


def test_what_others_named_is_kept_when_it_looks_again(
    store: FaultyStore, engine: Engine
) -> None:
    """A revision that another daemon named and that a collection lost to is kept."""
    _versions(engine, 6)
    other = Engine(store, FakeClock())

    def name_and_collect() -> None:
        checkpoint(other, "cp", selector(2))
        other.collect(keep=6)

    store.before("raise_epoch", name_and_collect)
    assert 4 == engine.collect(keep=1).revisions
    assert {"k": "v2"} == contents(other, SCOPE, selector(checkpoint="cp"))
    other._committer.close()


def test_a_sweep_that_goes_round_comes_to_an_end(store: FaultyStore) -> None:
    """Where the list of objects is damaged and goes back, a collection breaks off."""

    class Stuck:
        def __getattr__(self, name: str) -> Any:
            return getattr(store, name)

        def sweep(self, *_: object) -> Swept:
            return Swept(7, 0, 0)

    engine = Engine(cast("Store", Stuck()), FakeClock())
    _versions(engine, 3)
    with pytest.raises(Corrupt, match="does not ascend"):
        engine.collect(keep=1)
    engine._committer.close()


# --- while others write ----------------------------------------------------------------------


def test_commits_go_on_during_a_collection(any_engine: Engine) -> None:
    """While collections run one after the other, commits lose nothing."""
    apply(any_engine, {f"{n:03d}": "0" for n in range(200)})
    done = threading.Event()

    def collect() -> None:
        while not done.is_set():
            any_engine.collect(keep=3)

    collector = threading.Thread(target=collect)
    collector.start()
    try:
        for number in range(1, 120):
            # Contents that come and go: what was swept must be put again.
            apply(
                any_engine, {f"{number % 5:03d}": f"{number % 3}"}, message=f"{number}"
            )
            if number % 10 == 0:
                reset(any_engine, selector(-1))
            if number % 25 == 0:
                checkpoint(any_engine, f"cp{number}")
    finally:
        done.set()
        collector.join()
    any_engine.collect(keep=3)
    cold = Engine(any_engine._store, FakeClock(), cache_bytes=0)

    assert contents(any_engine) == contents(cold)
    everything = read_everything(cold)
    assert len(everything) >= 3 + 4
    assert all(len(state) == 200 for state in everything.values())
    cold._committer.close()


def test_a_checkpoint_set_during_a_collection_is_kept(
    store: FaultyStore, engine: Engine
) -> None:
    """A revision that is named after a collection chose, and before it acts, stays."""
    _versions(engine, 8)
    with store.hold_late("numbers") as gate:
        collector = threading.Thread(target=engine.collect, args=(1,))
        collector.start()
        gate.wait_until_reached()
        checkpoint(engine, "late", selector(3))
        branch(engine, "dev", selector(5))
    collector.join()
    cold = Engine(store, FakeClock(), cache_bytes=0)

    assert {"k": "v3"} == contents(cold, SCOPE, selector(checkpoint="late"))
    assert {"k": "v5"} == contents(cold, DEV)
    assert {"k": "v8"} == contents(cold)
    cold._committer.close()


@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize("method", ["branches", "checkpoints", "namespace", "numbers"])
def test_what_is_applied_during_a_collection_is_kept(
    store: FaultyStore, engine: Engine, method: str, *, late: bool
) -> None:
    """Revisions made after a collection began are among the newest, and stay."""
    _versions(engine, 5)
    with (store.hold_late if late else store.hold)(method) as gate:
        collector = threading.Thread(target=engine.collect, args=(3,))
        collector.start()
        gate.wait_until_reached()
        applied(engine, *(f"v{n}" for n in range(6, 11)))
    collector.join()

    assert [10, 9, 8] == log_numbers(engine)[:3]
    assert {"k": "v8"} == contents(engine, SCOPE, selector(8))


@pytest.mark.parametrize(
    ("method", "calls"), [("namespaces", 3), ("numbers", 3), ("sweep", 1)]
)
def test_what_is_applied_while_it_marks_and_sweeps_is_kept(
    store: FaultyStore, engine: Engine, method: str, calls: int
) -> None:
    """What is applied after the marking began is whole when the sweep has ended.

    Also where it has contents that were there before, and are not marked: they are
    put again, which keeps them.
    """
    _versions(engine, 12)
    with Gate() as gate:
        # The calls before are for choosing what to remove.
        store.before(method, *[lambda: None] * (calls - 1), gate)
        collector = threading.Thread(target=engine.collect, args=(2,))
        collector.start()
        gate.wait_until_reached()
        applied(engine, "v1", "new", "v2")
    collector.join()
    cold = Engine(store, FakeClock(), cache_bytes=0)

    assert {"k": "v2"} == contents(cold)
    assert {"k": "new"} == contents(cold, SCOPE, selector(-1))
    assert {"k": "v1"} == contents(cold, SCOPE, selector(-2))
    read_everything(cold)
    cold._committer.close()


def test_a_record_read_before_it_was_collected_is_not_used_after(
    store: FaultyStore,
) -> None:
    """A rollback never revives a revision whose objects may be gone.

    A reader has fetched the record of an old revision, but not yet remembered it,
    when a collection removes it. What the reader then remembers must not make the
    revision seem to be there.
    """
    maker = Engine(store, FakeClock())
    _versions(maker, 6)
    maker._committer.close()
    engine = Engine(store, FakeClock(), cache_bytes=0)
    assert {"k": "v6"} == contents(engine)
    engine.collect(keep=5)  # has all records in memory but that of revision 1
    applied(engine, "v7")
    fresh = Engine(store, FakeClock(), cache_bytes=0)
    fresh.state(SCOPE, selector(6))  # has the head in memory, and knows the epoch
    with store.hold_late("revisions") as gate:
        reader = threading.Thread(target=fresh.state, args=(SCOPE, selector(3)))
        reader.start()
        gate.wait_until_reached()
        fresh.collect(keep=1)
    reader.join()

    with pytest.raises(RevisionCollected):
        reset(fresh, selector(3))
    with pytest.raises(RevisionCollected):
        branch(fresh, "dev", selector(3))
    with pytest.raises(RevisionCollected):
        checkpoint(fresh, "cp", selector(3))
    assert ["main"] == branch_names(fresh)
    assert {"k": "v7"} == contents(fresh)
    for engine_ in (engine, fresh):
        engine_._committer.close()


def test_collections_take_turns(store: FaultyStore, engine: Engine) -> None:
    """A second collection begins when the first has ended."""
    _versions(engine, 12)
    totals: list[int] = []
    with store.hold("sweep") as gate:
        workers = [
            threading.Thread(target=lambda: totals.append(engine.collect(2).revisions))
            for _ in range(2)
        ]
        for worker in workers:
            worker.start()
        gate.wait_until_reached()
        assert 1 == store.calls["sweep"]
    for worker in workers:
        worker.join()

    assert [0, 10] == sorted(totals)


def test_nothing_is_done_after_the_end(engine: Engine) -> None:
    """What comes between two batches is refused once the engine closes."""
    engine.close()
    done: list[int] = []
    with pytest.raises(ShuttingDown):
        engine._committer.between_batches(lambda: done.append(1))

    assert [] == done
