"""A store that is copied whole: equal, resumed after anything, or refused."""

from __future__ import annotations

from contextlib import closing
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from st8.core.errors import (
    Corrupt,
    IdempotencyMismatch,
    InvalidValue,
    StorageFailed,
    Unavailable,
)
from st8.core.ids import (
    BranchName,
    CheckpointName,
    RevisionNumber,
    Scope,
    digest_of,
)
from st8.core.revisions import decode
from st8.engine import pages
from st8.engine.claim import check_whole, origin_of
from st8.engine.engine import Engine
from st8.engine.transfer import Place, Sizes, Transferred, transfer
from st8.store.memory import MemoryStore
from st8.store.postgres import PostgresStore
from st8.store.sqlite import SqliteStore
from st8.testing.batches import Dump, dump, empty_batch
from st8.testing.clock import SECOND_NS, FakeClock
from st8.testing.faulty import FaultyStore
from tests.engine.acts import (
    SCOPE,
    applied,
    apply,
    branch,
    checkpoint,
    delete_branch,
    read_everything,
    scope,
    selector,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from st8.core.ports import Answer, AnswerAt, Store
    from st8.core.revisions import Branch, Checkpoint
    from tests.postgres.server import PostgresServer

SMALL = Sizes(revisions=3, refs=2, objects=5, object_bytes=300)
"""So little at once that a small store takes many commits."""

SHOP = scope("shop/prod", "main")
OTHER = scope("\U0001f680 täglich/1", "main/obj")
UNBORN = scope("not/yet")


def move(
    source: Store, target: Store, sizes: Sizes = SMALL, told: list[Any] | None = None
) -> Transferred:
    """Copy one store to the other."""

    def tell(doing: str, revisions: int, total: int, objects: int) -> None:
        if told is not None:
            told.append((doing, revisions, total, objects))

    return transfer(Place(source, "HERE"), Place(target, "THERE"), tell, sizes=sizes)


def fill(engine: Engine) -> None:
    """Make a history with everything in it: branches, names, holes, answers."""
    apply(engine, {f"svc/{n:03d}": f"content {n}\n" * 3 for n in range(40)})
    for number in range(2, 12):
        apply(
            engine,
            {f"svc/{number:03d}": f"at {number}"},
            author="Ops",
            key=f"k{number}",
        )
    branch(engine, "dev", selector(4))
    branch(engine, "a/b", selector(6))
    applied(engine, "x", "y", "x", at=Scope(SCOPE.namespace, BranchName("dev")))
    checkpoint(engine, "v1", selector(3), description="as\nit was", author="Deploy")
    checkpoint(engine, "v1/é", selector(8))
    applied(engine, *map(str, range(7)), at=SHOP)
    applied(engine, "ü", "", "ü", at=OTHER)
    # The newest number of a namespace may be one that is gone.
    branch(engine, "short", at=SHOP)
    applied(engine, "gone", at=scope("shop/prod", "short"))
    delete_branch(engine, "short", namespace="shop/prod")
    apply(engine, {}, ["nothing"], at=UNBORN, key="noop")
    engine.collect(keep=2)
    apply(engine, {"svc/001": "after the collection"}, key="last")


class Held(NamedTuple):
    """All that a store holds and that has to be moved."""

    dump: Dump
    answers: list[tuple[AnswerAt, Answer]]


def held(store: Store) -> Held:
    """Return all that has to be moved, objects apart."""
    return Held(dump(store)._replace(epoch=0), list(pages.answers(store)))


def states(store: Store) -> dict[str, dict[str, str]]:
    """Return every state that can be read, and close the store."""
    with closing(Engine(store, FakeClock())) as engine:
        return read_everything(engine)


@pytest.fixture
def clock() -> FakeClock:
    """A clock that shows a second more on each look."""
    return FakeClock(tick_ns=SECOND_NS)


@pytest.fixture
def source(clock: FakeClock) -> MemoryStore:
    """A store with everything in it, that nobody writes to."""
    store = MemoryStore()
    engine = Engine(store, clock)
    fill(engine)
    engine._committer.close()
    return store


@pytest.fixture
def stores(tmp_path: Path, request: pytest.FixtureRequest) -> Callable[[str], Store]:
    """Open new stores by their kinds."""
    made: list[Store] = []

    def open_new(kind: str) -> Store:
        if kind == "postgres":
            server: PostgresServer = request.getfixturevalue("postgres")
            store: Store = PostgresStore(server.url(server.new_schema()))
        elif kind == "sqlite":
            store = SqliteStore(tmp_path / str(len(made)))
        else:
            store = MemoryStore()
        made.append(store)
        request.addfinalizer(store.close)
        return store

    return open_new


# --- what is moved --------------------------------------------------------------


@pytest.mark.parametrize("sizes", [SMALL, Sizes()], ids=["small", "default"])
@pytest.mark.parametrize("between", ["memory", "sqlite", "postgres"])
def test_everything_is_moved_there_and_back(
    stores: Callable[[str], Store], clock: FakeClock, between: str, sizes: Sizes
) -> None:
    """After a move to any store and back all is there, and every state is the same."""
    first, second, third = stores("sqlite"), stores(between), stores("sqlite")
    engine = Engine(first, clock)
    fill(engine)
    engine._committer.close()
    expected = held(first)

    there = move(first, second, sizes)
    assert expected == held(second)
    back = move(second, third, sizes)
    assert expected == held(third)
    assert there == back
    assert 3 == there.namespaces
    assert sum(map(len, expected.dump.revisions.values())) == there.revisions
    assert [None, None, None] == [origin_of(s) for s in (first, second, third)]
    assert states(first) == states(third) == states(second)


def test_holes_stay_holes(source: MemoryStore) -> None:
    """Numbers that a collection has removed are not there, and none is given again."""
    target = MemoryStore()
    move(source, target)
    namespace = SHOP.namespace

    assert [6, 7] == list(target.numbers(namespace, RevisionNumber(0), 100))
    assert 8 == target.namespace(namespace).last_revision
    with closing(Engine(target, FakeClock())) as engine:
        assert 9 == apply(engine, {"next": "x"}, at=SHOP).number


def test_only_what_is_reachable_is_moved(source: MemoryStore) -> None:
    """The target has as many objects as it says, and not one that nothing needs."""
    source._objects[digest_of(b"waste")] = (1, b"waste")
    target = MemoryStore()
    moved = move(source, target)

    assert moved.objects == len(target._objects)
    assert source._objects.keys() - target._objects.keys() == {digest_of(b"waste")}
    records = held(target).dump.revisions.values()
    assert moved.size == sum(len(data) for _, data in target._objects.values()) + sum(
        len(data) for some in records for data in some.values()
    )


def test_keys_are_answered_as_before(source: MemoryStore, clock: FakeClock) -> None:
    """A retry after the move gets the answer from before it; nothing is done twice."""
    target = MemoryStore()
    move(source, target)
    with closing(Engine(target, clock)) as engine:
        again = apply(engine, {"svc/001": "after the collection"}, key="last")
        noop = apply(engine, {}, ["nothing"], at=UNBORN, key="noop")
        new = apply(engine, {"svc/002": "new"})

        assert (15, False) == (again.number, again.noop)
        assert (0, True) == (noop.number, noop.noop)
        assert 16 == new.number
        with pytest.raises(IdempotencyMismatch):
            apply(engine, {"svc/001": "something else"}, key="last")


def test_an_empty_store_is_moved() -> None:
    """A store without anything moves, and the target is a whole store."""
    target = MemoryStore()

    assert Transferred(0, 0, 0, 0) == move(MemoryStore(), target)
    check_whole(target)


def test_it_tells_how_far_it_is(source: MemoryStore) -> None:
    """Who listens hears of both halves, of all revisions, and never of more."""
    told: list[Any] = []
    moved = move(source, MemoryStore(), told=told)

    for doing in ("copying", "comparing"):
        heard = [rest for what, *rest in told if what == doing]
        assert sorted(heard) == heard or doing == "copying"
        assert [moved.revisions, moved.revisions, moved.objects] == max(heard)
    assert {"copying", "comparing"} == {what for what, *_ in told}


def test_it_tells_how_far_it_is_with_many_objects(clock: FakeClock) -> None:
    """Who listens hears of both halves while the first revision is not done yet."""
    store = MemoryStore()
    told: list[Any] = []
    with closing(Engine(store, clock)) as engine:
        apply(engine, {f"k{n}": f"{n}" * 100 for n in range(100)})
        move(store, MemoryStore(), told=told)

    for doing in ("copying", "comparing"):
        assert 10 < sum(what == doing and not done for what, done, *_ in told)


# --- interruptions --------------------------------------------------------------


def _nothing() -> None:
    pass


def _commits_of(source: Store) -> int:
    target = FaultyStore(MemoryStore())
    move(source, target)
    return target.calls["commit"]


def half_copy(source: Store) -> MemoryStore:
    """Return a copy that lacks the last commit alone."""
    target = MemoryStore()
    faulty = FaultyStore(target)
    faulty.before("commit", *[_nothing] * (_commits_of(source) - 1))
    faulty.fail("commit", StorageFailed("full"))
    with pytest.raises(StorageFailed):
        move(source, faulty)
    return target


@pytest.mark.parametrize("when", ["before", "after"])
def test_it_goes_on_after_any_commit(source: MemoryStore, when: str) -> None:
    """Stopped before or after any commit it goes on, and writes no object twice.

    In between no engine takes the half copy for a store.
    """
    expected = held(source)
    commits = _commits_of(source)
    assert commits > 20
    for number in range(commits):
        target = MemoryStore()
        faulty = FaultyStore(target)
        arrange = faulty.fail if when == "before" else faulty.fail_late
        prepare = faulty.before if when == "before" else faulty.after
        prepare("commit", *[_nothing] * number)
        arrange("commit", StorageFailed("the power was cut"))
        with pytest.raises(StorageFailed, match="cut"):
            move(source, faulty)
        begun = number > 0 if when == "before" else number + 1 < commits
        if begun:
            with pytest.raises(StorageFailed, match="half-done migration from HERE"):
                Engine(target, FakeClock())
            with pytest.raises(StorageFailed, match="half-done migration from HERE"):
                move(target, MemoryStore())
        if when == "after" and number + 1 == commits:
            assert expected == held(target)
            check_whole(target)
            continue
        again = FaultyStore(target)
        moved = move(source, again)

        assert expected == held(target)
        written = [d for b in (*faulty.batches, *again.batches) for d in b.objects]
        assert len(written) == len(set(written)) == moved.objects
        check_whole(target)


def test_a_small_store_takes_few_commits(source: MemoryStore) -> None:
    """What fits into one commit goes into one: of each namespace, and of answers."""
    target = FaultyStore(MemoryStore())
    moved = move(source, target, Sizes())

    # Of each namespace its revisions, newest number, branches and checkpoints; then the
    # answers, and the mark that comes and goes.
    assert 4 * moved.namespaces + 3 >= target.calls["commit"]


def test_a_second_time_there_is_nothing_to_write(source: MemoryStore) -> None:
    """Of a copy that lacked only the last commit, nothing is written again."""
    target = half_copy(source)
    again = FaultyStore(target)
    move(source, again)

    assert 1 == again.calls["commit"]


# --- what is refused ------------------------------------------------------------


def test_a_store_with_something_in_it_is_left_alone(source: MemoryStore) -> None:
    """A target that is not empty is refused, and is what it was."""
    target = MemoryStore()
    engine = Engine(target, FakeClock())
    apply(engine, {"k": "v"})
    before = held(target)
    with pytest.raises(
        InvalidValue, match="THERE is not empty, and st8d does not over"
    ):
        move(source, target)

    assert before == held(target)
    engine.close()


def test_a_store_that_remembers_an_answer_is_not_empty(source: MemoryStore) -> None:
    """An answer without a revision is something too."""
    target = MemoryStore()
    engine = Engine(target, FakeClock())
    apply(engine, {}, ["k"], key="noop")
    with pytest.raises(InvalidValue, match="not empty"):
        move(source, target)
    engine.close()


@pytest.mark.parametrize("newer", [False, True], ids=["other", "shorter"])
def test_half_of_another_store_is_left_alone(
    source: MemoryStore, *, newer: bool
) -> None:
    """A half copy goes on only from the store that it comes from."""
    target = half_copy(source)
    before = held(target)
    other = MemoryStore()
    engine = Engine(other, FakeClock())
    applied(engine, *(["v"] if newer else map(str, range(30))))
    applied(engine, *map(str, range(30)), at=SHOP)
    applied(engine, *map(str, range(30)), at=OTHER)
    with pytest.raises(
        InvalidValue, match="half-done migration of another store, from"
    ):
        move(other, target)

    assert before == held(target)
    assert "HERE" == origin_of(target)
    engine.close()


def test_an_older_copy_of_the_source_is_another_store() -> None:
    """A half copy does not go on from a store that never had what it has."""
    stores = [MemoryStore(), MemoryStore()]
    for store, revisions in zip(stores, (9, 6), strict=True):
        engine = Engine(store, FakeClock(tick_ns=SECOND_NS))
        applied(engine, *map(str, range(revisions)))
        engine._committer.close()
    newer, older = stores
    target = half_copy(newer)
    with pytest.raises(InvalidValue, match="half-done migration of another store"):
        move(older, target)
    move(newer, target)

    assert held(newer) == held(target)


@pytest.mark.parametrize("when", ["copying", "comparing"])
def test_who_else_writes_to_the_target_is_noticed(
    source: MemoryStore, when: str
) -> None:
    """If somebody collects in the target, it stops and says so, and can go on later."""
    target = MemoryStore()
    done: list[int] = []

    def tell(doing: str, revisions: int, total: int, objects: int) -> None:
        if doing == when and objects and revisions <= total and not done:
            epoch = target.namespace(SCOPE.namespace).epoch
            done.append(target.raise_epoch({}, epoch).epoch)

    with pytest.raises(Unavailable, match="something else writes to THERE; stop"):
        transfer(Place(source, "HERE"), Place(target, "THERE"), tell, sizes=SMALL)
    assert "HERE" == origin_of(target)
    move(source, target)

    assert held(source) == held(target)


def test_a_commit_to_the_target_is_noticed(source: MemoryStore) -> None:
    """If somebody writes to what is being written, it stops and says so."""
    target = MemoryStore()
    faulty = FaultyStore(target)

    def act() -> None:
        batch = empty_batch(target)
        last = target.namespace(SCOPE.namespace).last_revision
        batch.namespaces[SCOPE.namespace] = (last, RevisionNumber(last + 1))
        target.commit(batch)

    faulty.before("commit", *[_nothing] * 5, act)
    with pytest.raises(Unavailable, match="something else writes to THERE; stop"):
        move(source, faulty)

    assert "HERE" == origin_of(target)


# --- a source that moves on -----------------------------------------------------


@pytest.mark.parametrize("call", range(1, 9))
@pytest.mark.parametrize("how", ["applies", "collects", "renames"])
@pytest.mark.parametrize("method", ["numbers", "branches", "revisions", "objects"])
def test_a_source_that_moves_on_is_followed(
    clock: FakeClock, how: str, method: str, call: int
) -> None:
    """Whatever is done to the source in between, the copy is what the source is."""
    store = MemoryStore()
    source = FaultyStore(store)
    with closing(Engine(store, clock)) as engine:
        fill(engine)

        acted: list[str] = []

        def act() -> None:
            acted.append(how)
            if how == "applies":
                apply(engine, {"svc/new": "v"}, key="meanwhile")
                applied(engine, "v", at=scope("a/new/one"))
                applied(engine, "w", at=SHOP)
            elif how == "collects":
                applied(engine, "1", "2", "3")
                engine.collect(keep=1)
            else:
                checkpoint(engine, "v1", selector(3), description="anew", replace=True)
                branch(engine, "later")
                delete_branch(engine, "dev")

        source.before(method, *[_nothing] * (call - 1), act)
        target = MemoryStore()
        move(source, target)

        assert [how] == acted
        assert held(store) == held(target)
        expected = read_everything(engine)
    assert expected == states(target)


@pytest.mark.parametrize("method", ["namespaces", "numbers", "branches"])
def test_the_source_is_looked_at_once_more(clock: FakeClock, method: str) -> None:
    """What is done to the source while all is compared, or later, is not lost.

    The last look is a third of all: it is copied, compared, and looked at again.
    """
    store = MemoryStore()
    source = FaultyStore(store)
    with closing(Engine(store, clock)) as engine:
        fill(engine)
        move(source, MemoryStore())
        seen = source.calls[method]
        begins = seen - (seen - (method == "numbers") * _count_of(store)) // 3

        def act() -> None:
            apply(engine, {"svc/new": "v"})

        source.before(method, *[_nothing] * begins, act)
        target = MemoryStore()
        move(source, target)

        assert held(store) == held(target)
        assert 16 == target.namespace(SCOPE.namespace).last_revision


def _count_of(store: Store) -> int:
    """Return how often numbers are asked for to count all revisions."""
    faulty = FaultyStore(store)
    for info in pages.namespaces(faulty):
        list(pages.numbers(faulty, info.name))
    return faulty.calls["numbers"]


@pytest.mark.parametrize("how", ["applies", "collects"])
def test_what_is_done_while_it_compares_is_copied(clock: FakeClock, how: str) -> None:
    """What is done when all else was compared is copied, compared and counted too."""
    store = MemoryStore()
    target = MemoryStore()
    with closing(Engine(store, clock)) as engine:
        fill(engine)
        done: list[str] = []

        def tell(doing: str, revisions: int, total: int, objects: int) -> None:
            if doing == "comparing" and revisions == total and objects and not done:
                done.append(how)
                if how == "applies":
                    apply(engine, {"svc/new": "v"})
                else:
                    engine.collect(keep=1)

        before = held(store)
        moved = transfer(
            Place(store, "HERE"), Place(target, "THERE"), tell, sizes=SMALL
        )

        assert [how] == done
        assert before != held(store) == held(target)
        assert move(store, MemoryStore()) == moved


def test_nothing_names_what_is_not_there_yet(clock: FakeClock) -> None:
    """A branch or checkpoint is written after its revision, also if it was just made."""
    store, copy = MemoryStore(), MemoryStore()
    source, target = FaultyStore(store), FaultyStore(copy)
    dangling: list[object] = []

    def look() -> None:
        there = dump(copy)
        for namespace, numbers in there.revisions.items():
            named: list[Branch | Checkpoint] = [
                *there.branches[namespace],
                *there.checkpoints[namespace],
            ]
            dangling.extend(ref for ref in named if ref.link.number not in numbers)

    with closing(Engine(store, clock)) as engine:
        fill(engine)

        def act() -> None:
            apply(engine, {"svc/new": "v"})
            checkpoint(engine, "new")

        source.before("branches", act)
        target.after("commit", *[look] * 200)
        move(source, target)

        assert [] == dangling
        assert held(store) == held(copy)


def test_a_source_that_never_rests_is_given_up(clock: FakeClock) -> None:
    """If there is something new each time, it says so; later it goes on."""
    store = MemoryStore()
    source = FaultyStore(store)
    target = MemoryStore()
    with closing(Engine(store, clock)) as engine:
        fill(engine)
        numbers = iter(range(200))

        def write() -> None:
            apply(engine, {"k": f"{next(numbers)}"})

        source.before("namespaces", *[write] * 200)
        with pytest.raises(Unavailable, match="still differed after 5 rounds: some"):
            move(source, target)
        assert "HERE" == origin_of(target)
        move(store, target)

        assert held(store) == held(target)


# --- damage ---------------------------------------------------------------------


def _damages() -> dict[str, tuple[Callable[[MemoryStore], object], str]]:
    """Return what is done to a store, and what is said of it."""
    content = digest_of(b"at 11")

    def root(store: MemoryStore) -> Any:
        return decode(store._revisions[SCOPE.namespace][RevisionNumber(15)]).root

    def set_object(digest: Any, data: bytes) -> Callable[[MemoryStore], object]:
        return lambda store: store._objects.update({digest: (1, data)})

    def set_record(store: MemoryStore, number: int, data: bytes) -> None:
        store._revisions[SCOPE.namespace][RevisionNumber(number)] = data

    def swap(store: MemoryStore) -> None:
        records = store._revisions[SCOPE.namespace]
        set_record(store, 10, records[RevisionNumber(11)])

    def flip(store: MemoryStore) -> None:
        data = bytearray(store._revisions[SCOPE.namespace][RevisionNumber(10)])
        data[8] ^= 1
        set_record(store, 10, bytes(data))

    def lose_head(store: MemoryStore) -> None:
        del store._revisions[SCOPE.namespace][RevisionNumber(15)]

    def lose_checkpoint(store: MemoryStore) -> None:
        at = (SCOPE.namespace, CheckpointName("v1"))
        found = store._checkpoints[at]
        store._checkpoints[at] = found._replace(digest=digest_of(b""))

    hexed = content.hex()
    here = "HERE is damaged: "
    return {
        "content differs": (
            set_object(content, b"other"),
            (
                f"{here}revision 11 of namespace 'default': object {hexed}, key 'svc/011', "
                "does not match its digest; restore it from a backup"
            ),
        ),
        "content is missing": (
            lambda store: store._objects.pop(content),
            (
                f"{here}revision 11 of namespace 'default': object {hexed}, key 'svc/011', "
                "is missing; restore it from a backup"
            ),
        ),
        "root is missing": (
            lambda store: store._objects.pop(root(store)),
            f"{here}revision 15 of namespace 'default': object ",
        ),
        "record is garbled": (
            lambda store: set_record(store, 10, b"garbled"),
            f"{here}revision 10 of namespace 'default': a revision does not begin with",
        ),
        "record is another one": (
            swap,
            f"{here}revision 10 of namespace 'default': it is the record of revision 11",
        ),
        "record differs": (
            flip,
            f"{here}revision 11 of namespace 'default': revision 10 is not the one that",
        ),
        "head is missing": (
            lose_head,
            f"{here}branch 'main' of namespace 'default' names revision 15, which is m",
        ),
        "checkpoint differs": (
            lose_checkpoint,
            f"{here}checkpoint 'v1' of namespace 'default' names revision 3, which is a",
        ),
    }


@pytest.mark.parametrize("what", _damages())
def test_damage_of_the_source_is_named(source: MemoryStore, what: str) -> None:
    """What is damaged is named, and the half copy is not taken for a whole one."""
    damage, expected = _damages()[what]
    damage(source)
    target = MemoryStore()
    with pytest.raises(Corrupt) as caught:
        move(source, target)

    assert expected == caught.value.detail[: len(expected)]
    assert "HERE" == origin_of(target)


def test_damage_of_the_target_is_found(source: MemoryStore) -> None:
    """What the target has is read back to the last byte before it is called whole."""
    clean = MemoryStore()
    move(source, clean)
    for digest in clean._objects:
        target = half_copy(source)
        target._objects[digest] = (1, b"other")
        with pytest.raises(Corrupt, match=f"THERE is damaged: .*{digest.hex()}") as at:
            move(source, target)
        assert at.value.detail.endswith(
            "does not match its digest; empty it and begin again"
        )


@pytest.mark.parametrize("what", ["record differs", "checkpoint differs"])
def test_damage_that_both_have_is_found(source: MemoryStore, what: str) -> None:
    """What was damaged before it was copied is not called whole for being equal."""
    damage, expected = _damages()[what]
    target = half_copy(source)
    damage(source)
    damage(target)
    with pytest.raises(Corrupt) as caught:
        move(source, target)

    assert caught.value.detail.startswith(expected.replace("HERE", "THERE"))


def test_a_revision_that_differs_is_found(source: MemoryStore) -> None:
    """A target with another revision under the same number is never called whole."""
    target = half_copy(source)
    namespace, number = SCOPE.namespace, RevisionNumber(3)
    data = target._revisions[namespace][number]
    target._revisions[namespace][number] = data[:-1] + b"?"
    with pytest.raises(Corrupt, match="revision 3 of namespace 'default'"):
        move(source, target)


@pytest.mark.parametrize(
    ("sizes", "objects", "size"),
    [(Sizes(objects=5), 5, 10**6), (Sizes(object_bytes=2_000), 10**6, 2_000)],
)
def test_a_commit_is_bounded(
    clock: FakeClock, sizes: Sizes, objects: int, size: int
) -> None:
    """No commit has more objects, nor more bytes but for those of its last object."""
    source, held = MemoryStore(), MemoryStore()
    target = FaultyStore(held)
    seen: list[list[int]] = [[]]

    def look() -> None:
        objects = held.held_objects(0, 1_000, 1_000_000)
        seen.append([len(each.data or b"") for each in objects])

    target.after("commit", *[look] * 200)
    with closing(Engine(source, clock)) as engine:
        apply(engine, {f"k{n}": f"{n}" * 100 for n in range(100)})
        move(source, target, sizes)
    steps = list(pairwise(seen))

    assert [] == [each for each in steps if len(each[1]) - len(each[0]) > objects]
    assert [] == [each for each in steps if sum(each[1]) - sum(each[0]) > size + 3_000]
    assert 100 < len(seen[-1])
