"""Backup and restore: the same store again, or nothing."""

from __future__ import annotations

import threading
from contextlib import closing
from functools import partial
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from st8.core.backup import Kind, Summary, decode_counts, encode_counts
from st8.core.errors import (
    BadBackup,
    BeingRestored,
    Conflict,
    ContentInUse,
    ContentRedacted,
    Corrupt,
    Forbidden,
    InvalidValue,
    NamespaceExists,
    NamespaceNotFound,
    OtherHistory,
    OutcomeUnknown,
    Overtaken,
    StorageFailed,
    StorageFull,
)
from st8.core.ids import Author, Key, Message, Namespace, digest_of
from st8.engine import pages, restoring
from st8.engine.engine import Engine
from st8.engine.requests import Redact
from st8.store.memory import MemoryStore
from st8.store.postgres import PostgresStore
from st8.store.sqlite import SqliteStore
from st8.testing.clock import SECOND_NS, FakeClock
from st8.testing.faulty import FaultyStore
from tests.engine.acts import (
    SCOPE,
    applied,
    apply,
    branch,
    checkpoint,
    contents,
    delete_branch,
    delete_checkpoint,
    log_numbers,
    scope,
    selector,
)
from tests.engine.backups import (
    backup,
    base_of,
    leftovers,
    reader,
    records_of,
    written,
)
from tests.engine.histories import everything, make_history

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from st8.core.ports import Store
    from tests.postgres.server import PostgresServer

_SEEDS = st.lists(st.integers(0, 2**32), max_size=60)
_SPACES = ("default", "a", "a/b")
_MANY = {f"k/{n:04d}": f"{n}" for n in range(700)}


def _clock() -> FakeClock:
    return FakeClock(tick_ns=SECOND_NS)


@pytest.fixture
def target() -> FaultyStore:
    """An empty store behind which a test can arrange faults."""
    return FaultyStore(MemoryStore())


@pytest.fixture
def other(target: FaultyStore) -> Iterator[Engine]:
    """An engine over ``target``."""
    with closing(Engine(target, _clock())) as engine:
        yield engine


# --- the same again -----------------------------------------------------------------


@settings(max_examples=40)
@given(seeds=_SEEDS, later=_SEEDS, size=st.sampled_from([1, 7, 1000, 65_536]))
def test_a_restored_store_is_the_same(
    seeds: list[int], later: list[int], size: int
) -> None:
    """What a backup was made of and what it was restored into can't be told apart.

    Nor can what a backup and another one on top of it were restored into, but for
    revisions that were collected between the two.
    """
    source, first_target, second_target = MemoryStore(), MemoryStore(), MemoryStore()
    with (
        closing(Engine(source, _clock())) as engine,
        closing(Engine(first_target, _clock())) as first,
        closing(Engine(second_target, _clock())) as second,
    ):
        make_history(engine, seeds)
        before = everything(source, engine)
        full = backup(engine)
        first.restore_backup(reader(full, size))

        assert before == everything(first_target, first)
        make_history(engine, later)
        second.restore_backup(reader(full + backup(engine, base=full), size))
        after, found = everything(source, engine), everything(second_target, second)
        for part in ("namespaces", "branches", "checkpoints"):
            assert after[part] == found[part]
        for kept, there in zip(after["revisions"], found["revisions"], strict=True):
            assert kept == {number: there[number] for number in kept}
        states = found["states"]
        assert after["states"] == {name: states[name] for name in after["states"]}


def test_a_backup_of_a_backup_is_the_same(any_engine: Engine, other: Engine) -> None:
    """From any store, and byte for byte but for its time: a restored store backs up so."""
    make_history(any_engine, range(80))
    data = backup(any_engine)
    other.restore_backup(reader(data))

    def but_for_the_head(data: bytes) -> list[tuple[int, bytes]]:
        return [record for record in records_of(data) if record[0] != Kind.HEAD]

    assert but_for_the_head(data) == but_for_the_head(backup(other))


def test_any_store_takes_what_another_gives(
    engine: Engine, store: FaultyStore, any_store: Store, any_engine: Engine
) -> None:
    """A backup of a store in memory is restored into any store, and goes on there."""
    make_history(engine, range(80))
    apply(engine, _MANY, at=scope("many"))
    any_engine.restore_backup(reader(backup(engine)))

    assert everything(store, engine) == everything(any_store, any_engine)
    last = engine.last_revision(Namespace("many"))
    assert last + 1 == apply(any_engine, {"new": "1"}, at=scope("many")).number
    any_engine.collect(keep=1)
    assert {**_MANY, "new": "1"} == contents(any_engine, scope("many"))


def test_one_namespace_can_be_backed_up(engine: Engine, other: Engine) -> None:
    """A backup of a namespace has it and nothing else; one that is not there is told."""
    for name in ("a", "b"):
        applied(engine, "1", "2", at=scope(name))
    other.restore_backup(reader(backup(engine, "a")))

    assert ["a"] == [info.name for info in other.namespaces().items]
    assert [2, 1] == log_numbers(other, scope("a"))
    with pytest.raises(NamespaceNotFound):
        backup(engine, "c")


def test_an_empty_store_can_be_backed_up(
    engine: Engine, other: Engine, target: FaultyStore
) -> None:
    """A backup of nothing is a backup, and restoring it changes nothing."""
    done = other.restore_backup(reader(backup(engine)))

    assert (1, 0, 0, 0, 0, 0) == done
    assert [] == leftovers(target, _SPACES)


def test_what_parents_share_is_sent_once(engine: Engine) -> None:
    """A backup grows with what was changed, not with the states that it holds."""
    apply(engine, _MANY)
    once = len(records_of(backup(engine)))
    for n in range(50):
        apply(engine, {f"k/{n:04d}": "new"})
    kinds = [kind for kind, _ in records_of(backup(engine))]

    # Each has a content, and a node for each level of the tree: three.
    assert once + 50 + 50 * 4 >= len(kinds)
    assert 51 == kinds.count(Kind.REVISION)


def test_a_summary_is_read_without_decompressing(engine: Engine) -> None:
    """The plain blocks tell what a backup has."""
    apply(engine, _MANY)
    apply(engine, {"k": "1"}, at=scope("a"))
    branch(engine, "dev")
    summary = Summary()
    data = backup(engine)
    for at in range(0, len(data), 100):
        summary.feed(data[at : at + 100])
    kinds = [kind for kind, _ in records_of(data)]

    assert digest_of(data[:-32]) == summary.finish()
    assert [("a", 1), ("default", 1)] == [part[:2] for part in summary.namespaces]
    assert summary.counts is not None
    assert (2, 3, 0, kinds.count(Kind.OBJECT), 2, 0) == tuple(summary.counts)


# --- while others write ---------------------------------------------------------------


def test_a_backup_is_of_one_moment(
    engine: Engine, store: FaultyStore, other: Engine, target: FaultyStore
) -> None:
    """What is written after it was begun is not in it, nor what is written while it runs."""
    make_history(engine, range(60))
    before = everything(store, engine)
    stream = engine.backup()
    make_history(engine, range(100, 140))
    pieces: list[bytes] = []
    for n, piece in enumerate(stream):
        apply(engine, {f"n{n}": "1"}, at=scope(f"new{n}"))
        pieces.append(piece)
    other.restore_backup(reader(b"".join(pieces)))

    after = everything(target, other)
    for part in ("namespaces", "branches", "checkpoints"):
        assert before[part] == after[part]
    collected = [
        set(kept) - set(found)
        for kept, found in zip(before["revisions"], after["revisions"], strict=True)
    ]
    assert len(collected) == len(before["namespaces"])


def test_backups_while_writers_write(any_engine: Engine) -> None:
    """A backup that is made under load holds a whole history up to its moment."""
    over = threading.Event()
    failures: list[BaseException] = []

    def write(name: str) -> None:
        n = 0
        try:
            while not over.is_set():
                n += 1
                apply(any_engine, {"n": f"{n}", f"k{n % 7}": f"{n}"}, at=scope(name))
                checkpoint(any_engine, "last", at=scope(name), replace=True)
        except BaseException as error:  # noqa: BLE001 - told below
            failures.append(error)

    writers = [threading.Thread(target=write, args=(name,)) for name in "ab"]
    for writer in writers:
        writer.start()
    try:
        for _ in range(5):
            store = MemoryStore()
            with closing(Engine(store, _clock())) as engine:
                engine.restore_backup(reader(backup(any_engine)))
                for name, last in engine.namespaces().items:
                    at = scope(name)
                    assert list(range(last, 0, -1)) == log_numbers(engine, at, 1000)
                    for number in range(1, last + 1):
                        state = contents(engine, at, selector(number))
                        assert str(number) == state["n"]
    finally:
        over.set()
        for writer in writers:
            writer.join()
    assert [] == failures


def test_a_collection_meanwhile_leaves_out_what_nothing_names(
    engine: Engine, other: Engine
) -> None:
    """A revision that is collected while it is backed up is left out as any collected."""
    applied(engine, *(f"v{n}" for n in range(1, 9)))
    checkpoint(engine, "good", selector(5))
    stream = engine.backup()
    engine.collect(keep=2)
    other.restore_backup(reader(b"".join(stream)))

    assert [8, 7] == log_numbers(other)
    assert {"k": "v5"} == contents(other, SCOPE, selector(checkpoint="good"))


@pytest.mark.parametrize("way", ["branch", "checkpoint"])
def test_a_collection_of_what_is_needed_is_told(engine: Engine, way: str) -> None:
    """Where what a pointer of the backup names was collected, it says to begin again."""
    applied(engine, *(f"v{n}" for n in range(1, 6)))
    if way == "checkpoint":
        checkpoint(engine, "good", selector(2))
    stream = engine.backup()
    if way == "checkpoint":
        delete_checkpoint(engine, "good")
    else:
        applied(engine, "v6", "v7")
    engine.collect(keep=1)

    with pytest.raises(Overtaken, match="begin the backup again"):
        b"".join(stream)


def test_damage_is_no_backup(engine: Engine, store: FaultyStore) -> None:
    """Where an object is missing, or a revision that is pointed at, there is no backup."""
    apply(engine, _MANY)
    gone = digest_of(b"333")
    memory = store._store
    assert isinstance(memory, MemoryStore)
    kept = memory._objects.pop(gone)
    with pytest.raises(Corrupt):
        backup(engine)
    memory._objects[gone] = kept
    backup(engine)
    memory._revisions[SCOPE.namespace].clear()
    with pytest.raises(Corrupt, match=r"revision . of namespace 'default'"):
        backup(engine)


# --- on top of another ------------------------------------------------------------------


def test_an_increment_has_only_what_is_new(engine: Engine, other: Engine) -> None:
    """On top of a base there are the later revisions, and their new objects."""
    apply(engine, _MANY)
    full = backup(engine)
    apply(engine, {"k/0001": "new"})
    apply(engine, {"x": "1"}, at=scope("b"))
    increment = backup(engine, base=full)
    kinds = [kind for kind, _ in records_of(increment)]

    assert (2, 6) == (kinds.count(Kind.REVISION), kinds.count(Kind.OBJECT))
    other.restore_backup(reader(full + increment))
    assert {**_MANY, "k/0001": "new"} == contents(other)
    assert {"x": "1"} == contents(other, scope("b"))


def test_a_chain_is_restored_in_its_order(
    engine: Engine, other: Engine, target: FaultyStore
) -> None:
    """An increment is refused without all that are under it, or in another order."""
    chain: list[bytes] = []
    for n in range(3):
        apply(engine, {"n": f"{n}"})
        chain.append(backup(engine, base=chain[-1] if chain else None))
    full, first, second = chain
    for wrong in (
        first,
        full + second,
        full + second + first,
        full + full,
        first + full,
    ):
        with pytest.raises(BadBackup, match="full backup first"):
            other.restore_backup(reader(wrong))
        assert [] == leftovers(target, _SPACES)
    done = other.restore_backup(reader(full + first + second))

    assert (3, 3) == (done.backups, done.revisions)
    assert [3, 2, 1] == log_numbers(other)


def test_a_long_history_is_restored_in_little_memory(
    engine: Engine,
    store: FaultyStore,
    other: Engine,
    target: FaultyStore,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """However few revisions are remembered, each is known while others name it."""
    monkeypatch.setattr(restoring, "_REVISIONS_KEPT", 1)
    make_history(engine, range(60))
    other.restore_backup(reader(backup(engine)))

    assert everything(store, engine) == everything(target, other)


def test_a_restore_is_written_in_small_batches(
    engine: Engine, other: Engine, target: FaultyStore
) -> None:
    """However many objects, bytes or revisions there are, no commit has many of them."""
    apply(engine, _MANY)
    apply(engine, {f"large/{n}": f"{n}" * 300_000 for n in range(9)})
    for n in range(300):
        apply(engine, {"n": f"{n % 2}"})
    other.restore_backup(reader(backup(engine)))
    sizes = [
        (
            len(batch.objects),
            sum(map(len, batch.objects.values())),
            sum(map(len, batch.revisions.values())),
        )
        for batch in target.batches
    ]

    assert [500, 256] == [max(size[n] for size in sizes) for n in (0, 2)]
    assert 1 << 20 <= max(size[1] for size in sizes) < (1 << 20) + 300_000


def test_a_base_of_another_history_is_told(engine: Engine, other: Engine) -> None:
    """A base from another store is refused, whether it is behind, beside or ahead."""
    applied(engine, "1", "2")
    applied(other, "a")
    for base in (backup(other), _after(other, "b"), _after(other, "c")):
        with pytest.raises(OtherHistory, match=r"revision . of namespace 'default'"):
            backup(engine, base=base)
    applied(other, "1", at=scope("elsewhere"))
    with pytest.raises(OtherHistory, match="'elsewhere'"):
        backup(engine, base=backup(other, "elsewhere"))


def _after(engine: Engine, value: str) -> bytes:
    applied(engine, value)
    return backup(engine)


def test_a_base_with_more_is_refused(engine: Engine) -> None:
    """One namespace can't stand on a backup of several."""
    for name in ("a", "b"):
        apply(engine, {"k": "1"}, at=scope(name))
    full = backup(engine)
    with pytest.raises(InvalidValue, match="'b', which is not asked for"):
        backup(engine, "a", base=full)


def test_a_base_whose_newest_was_collected_is_sent_again(
    engine: Engine, other: Engine
) -> None:
    """Where it can't be told any more what the base had, all is sent, and fits it."""
    applied(engine, *(f"v{n}" for n in range(1, 4)))
    checkpoint(engine, "first", selector(1))
    full = backup(engine)
    applied(engine, *(f"v{n}" for n in range(4, 7)))
    engine.collect(keep=1)
    increment = backup(engine, base=full)
    numbers = [kind for kind, _ in records_of(increment)].count(Kind.REVISION)

    assert numbers == 2
    other.restore_backup(reader(full + increment))
    assert {"k": "v6"} == contents(other)
    assert {"k": "v1"} == contents(other, SCOPE, selector(checkpoint="first"))


def test_a_branch_that_goes_on_from_before_the_base(
    engine: Engine, other: Engine
) -> None:
    """A new revision may follow one that the base has, or one that is collected since."""
    applied(engine, *(f"v{n}" for n in range(1, 6)))
    branch(engine, "dev", selector(2))
    full = backup(engine)
    engine.collect(keep=1)
    apply(engine, {"d": "1"}, at=scope(branch="dev"))
    delete_branch(engine, "main")
    other.restore_backup(reader(full + backup(engine, base=full)))

    assert {"k": "v2", "d": "1"} == contents(other, scope(branch="dev"))
    assert ["dev"] == [b.name for b in other.branches(SCOPE.namespace, limit=9).items]


# --- whole or not at all ------------------------------------------------------------------


def test_nothing_is_restored_over_what_is_there(
    engine: Engine, other: Engine, target: FaultyStore
) -> None:
    """Where one namespace is there already, none is restored, and it is as it was."""
    make_history(engine, range(60))
    apply(other, {"mine": "1"}, at=scope("a"))
    before = everything(target, other)
    with pytest.raises(NamespaceExists, match="'a' is there already"):
        other.restore_backup(reader(backup(engine)))

    assert before == everything(target, other)
    assert ["a", "a: 1", "a: main"] == leftovers(target, _SPACES)


def test_nothing_is_seen_before_all_is_there(
    engine: Engine, other: Engine, target: FaultyStore
) -> None:
    """Until the end nothing of it is there, and nobody can take its names; then all is."""
    apply(engine, _MANY)
    checkpoint(engine, "good")
    applied(engine, "1", "2", at=scope("a"))
    data = backup(engine)
    pieces = iter([data[:-1], data[-1:], b""])
    heard: list[object] = []
    other.on_move(heard.append)

    def read() -> bytes:
        assert [] == list(other.namespaces().items)
        assert {} == contents(other)
        assert 0 == other.state(scope("a")).number
        piece = next(pieces)
        if not piece:
            assert target.numbers(Namespace("a"), 0, 9)  # type: ignore[arg-type]
            with pytest.raises(BeingRestored, match="'a'"):
                apply(other, {"mine": "1"}, at=scope("a"))
            assert 1 == apply(other, {"mine": "1"}, at=scope("b")).number
            heard.clear()
        return piece

    other.restore_backup(read)

    assert _MANY == contents(other)
    assert [[scope("a"), SCOPE]] == heard
    assert 3 == apply(other, {"k": "3"}, at=scope("a")).number
    assert ["b: 1", "b: main"] == leftovers(target, ["b"])[3:]


def test_a_restore_that_is_broken_off_leaves_nothing(
    engine: Engine, other: Engine, target: FaultyStore
) -> None:
    """Whatever ends it, it leaves nothing to be seen and can be begun again."""
    make_history(engine, range(60))
    apply(engine, _MANY, at=scope("many"))
    data = backup(engine)
    spaces = (*_SPACES, "many")
    for error in (KeyboardInterrupt(), StorageFailed("no"), ValueError()):
        pieces = iter([data[: len(data) // 2], data[len(data) // 2 : -1]])

        def read(
            error: BaseException = error, pieces: Iterator[bytes] = pieces
        ) -> bytes:
            piece = next(pieces, None)
            if piece is None:
                raise error
            return piece

        with pytest.raises(type(error)):
            other.restore_backup(read)
        assert [] == leftovers(target, spaces)
    for method in ("commit", "raise_epoch"):
        calls = target.calls[method]
        target.fail(method, StorageFull("full"))
        with pytest.raises(StorageFull):
            other.restore_backup(reader(data))
        assert target.calls[method] > calls
        assert [] == leftovers(target, spaces)
    other.restore_backup(reader(data))
    assert _MANY == contents(other, scope("many"))


def _commits(data: bytes) -> int:
    """Return how many commits a restore takes."""
    store = FaultyStore(MemoryStore())
    with closing(Engine(store, _clock())) as there:
        there.restore_backup(reader(data))
    return store.calls["commit"]


def _nothing() -> None:
    """Do nothing."""


@pytest.mark.parametrize("then", ["restore", "collect"])
def test_a_restore_that_died_anywhere_is_followed_by_another(
    engine: Engine, then: str, tmp_path: Path
) -> None:
    """After any of its commits it can have died; what it left is not seen, and goes."""
    make_history(engine, range(40))
    apply(engine, _MANY, at=scope("many"))
    data = backup(engine)
    with closing(Engine(MemoryStore(), _clock())) as elsewhere:
        apply(elsewhere, {"other": "history"}, at=scope("many"))
        another = backup(elsewhere)
    commits = _commits(data)
    for last in range(commits):
        directory = tmp_path / str(last)
        # From some commit on nothing comes to the store, as of a process that is gone.
        dying = FaultyStore(SqliteStore(directory))
        dying.before("commit", *[_nothing] * last)
        dying.before("raise_epoch", *[_nothing] * min(last, 1))
        for method in ("commit", "raise_epoch"):
            dying.fail(method, *[StorageFailed("dead")] * 100)
        with closing(Engine(dying, _clock())) as there, pytest.raises(StorageFailed):
            there.restore_backup(reader(data))
        store = SqliteStore(directory)
        with closing(Engine(store, _clock())) as there:
            assert [] == list(there.namespaces().items)
            if last:
                with pytest.raises(BeingRestored):
                    apply(there, {"mine": "1"}, at=scope("many"))
            if then == "collect":
                there.collect()
                assert [] == leftovers(store, (*_SPACES, "many"))
                swept = store.sweep(frozenset[int](), 10**6, 0, 10**6)
                assert (0, 0) == swept[:2]
                apply(there, {"mine": "1"}, at=scope("many"))
            else:
                there.restore_backup(reader(another))
                there.collect()
                assert {"other": "history"} == contents(there, scope("many"))
                assert [1] == log_numbers(there, scope("many"))


def test_a_commit_that_is_not_known_before_the_last_restores_nothing(
    engine: Engine, other: Engine, target: FaultyStore
) -> None:
    """Nothing is seen before the last commit: that it was not done is known."""
    apply(engine, _MANY, at=scope("many"))
    data = backup(engine)
    for last in range(_commits(data) - 1):
        for _ in range(last):
            target.after("commit", lambda: None)
        target.fail_late("commit", OutcomeUnknown("perhaps"))
        with pytest.raises(StorageFailed, match="nothing was restored; begin"):
            other.restore_backup(reader(data))
        # Not known either is whether the first of them has marked the namespace.
        assert leftovers(target, ("many",)) == ([] if last else ["mark: many"])
    other.restore_backup(reader(data))

    assert _MANY == contents(other, scope("many"))


@pytest.mark.parametrize("error", [OutcomeUnknown("perhaps"), MemoryError()])
def test_an_end_that_is_not_known_is_left_as_it_is(
    engine: Engine,
    store: FaultyStore,
    other: Engine,
    target: FaultyStore,
    error: BaseException,
) -> None:
    """Where the last commit may be there, or is, nothing of it is taken away."""
    make_history(engine, range(60))
    data = backup(engine)
    for _ in range(_commits(data) - 1):
        target.after("commit", lambda: None)
    target.fail_late("commit", error)
    with pytest.raises(type(error)):
        other.restore_backup(reader(data))

    assert everything(target, other) == everything(store, engine)


def _when_read(data: bytes, at: int, act: Callable[[], object]) -> Callable[[], bytes]:
    """Return what reads ``data`` in two pieces, and acts between them."""
    pieces = iter([data[:at], data[at:], b""])

    def read() -> bytes:
        piece = next(pieces)
        if piece == data[at:]:
            act()
        return piece

    return read


@pytest.mark.parametrize("way", ["collect", "restore"])
def test_a_restore_is_overtaken(
    engine: Engine, other: Engine, target: FaultyStore, way: str
) -> None:
    """A collection or restore of another daemon ends it, and is not harmed by it."""
    apply(engine, _MANY)
    data = backup(engine)
    target.exclusive = False
    with closing(Engine(target, _clock())) as rival:

        def overtake() -> None:
            if way == "collect":
                rival.collect()
            else:
                rival.restore_backup(reader(data))

        with pytest.raises(Overtaken, match="begin the restore again"):
            other.restore_backup(_when_read(data, len(data) - 1, overtake))
        if way == "collect":
            assert [] == leftovers(target, _SPACES)
            other.restore_backup(reader(data))
        rival.collect()
        assert _MANY == contents(other) == contents(rival)


def test_a_restore_that_ends_while_it_is_cleared_away_is_overtaken(
    engine: Engine, other: Engine, target: FaultyStore
) -> None:
    """What a collection clears away can't appear meanwhile, and so is not lost later."""
    applied(engine, "1", "2")
    data = backup(engine)
    gate, waiting = threading.Event(), threading.Event()
    ended: list[BaseException | None] = []
    pieces = iter([data[:-1], data[-1:], b""])

    def read() -> bytes:
        piece = next(pieces)
        if piece == data[-1:]:
            waiting.set()
            assert gate.wait(60)
        return piece

    def restore() -> None:
        try:
            other.restore_backup(read)
        except Overtaken as error:
            ended.append(error)
        else:
            ended.append(None)

    restoring = threading.Thread(target=restore)
    restoring.start()
    assert waiting.wait(60)

    def let_it_end() -> None:
        gate.set()
        restoring.join()

    rival_store = FaultyStore(target)
    rival_store.exclusive = target.exclusive = False
    # It has seen that the namespace is not there, and is about to empty it.
    rival_store.before("numbers", let_it_end)
    with closing(Engine(rival_store, _clock())) as rival:
        rival.collect()

        assert [Overtaken] == list(map(type, ended))
        assert [] == leftovers(target, _SPACES)


def test_a_collection_here_waits(engine: Engine, other: Engine) -> None:
    """A collection of the same daemon waits for a restore, which goes through."""
    apply(engine, _MANY)
    data = backup(engine)
    collecting = threading.Thread(target=other.collect)
    with pytest.raises(Conflict, match="another backup is being restored"):
        other.restore_backup(
            _when_read(data, 100, partial(other.restore_backup, reader(data)))
        )
    other.restore_backup(_when_read(data, 100, collecting.start))
    collecting.join()

    assert _MANY == contents(other)


def test_what_was_prepared_before_the_marks_is_not_overwritten(
    engine: Engine, other: Engine, target: FaultyStore
) -> None:
    """A first revision that is committed while a restore begins stays, and ends it."""
    applied(engine, "1", at=scope("a"))
    data = backup(engine)
    target.exclusive = False
    with closing(Engine(target, _clock())) as rival:
        gate = target.hold("commit")
        writing = threading.Thread(
            target=apply, args=(rival, {"mine": "1"}), kwargs={"at": scope("a")}
        )
        writing.start()
        gate.wait_until_reached()

        # It has looked, and found no mark; it goes on when the marks stand.
        def go_on() -> None:
            gate.open()
            writing.join()

        target.before("raise_epoch", go_on)
        with pytest.raises(NamespaceExists):
            other.restore_backup(reader(data))

        assert {"mine": "1"} == contents(rival, scope("a"))
        assert ["a", "a: 1", "a: main"] == leftovers(target, ["a"])


def test_what_is_there_already_is_kept_from_a_collection(
    engine: Engine, other: Engine, target: FaultyStore
) -> None:
    """An object that the stream lacks and the store has is safe once it is needed."""
    apply(engine, {"k": "shared"})
    data = backup(engine)
    apply(other, {"x": "shared"}, at=scope("old"))
    stripped = _without(data, b"shared")
    other.restore_backup(reader(stripped))
    epoch = target.namespace(Namespace("old")).epoch
    target.sweep(frozenset[int](), epoch, 0, 1_000)

    with closing(Engine(target, _clock(), cache_bytes=0)) as again:
        assert {"k": "shared"} == contents(again)


def _without(data: bytes, content: bytes) -> bytes:
    """Return a backup without one object."""
    records = [one for one in records_of(data) if one != (Kind.OBJECT, content)]
    counts = decode_counts(records[-1][1])
    records[-1] = (Kind.END, encode_counts(counts._replace(objects=counts.objects - 1)))
    return written(records)


# --- redaction ------------------------------------------------------------------------


def _redact(engine: Engine, revision: int = 1) -> None:
    engine.redact(
        Redact(SCOPE, Key("k"), selector(revision), Message("leaked"), Author("ops"))
    )


def test_what_was_redacted_is_not_backed_up(
    engine: Engine, store: FaultyStore, any_store: Store, any_engine: Engine
) -> None:
    """A backup has the mark and not the content, and so has what it is restored into."""
    applied(engine, "secret", "2")
    checkpoint(engine, "good", selector(1))
    _redact(engine)
    data = backup(engine)
    contents_sent = [one for kind, one in records_of(data) if kind == Kind.OBJECT]
    any_engine.restore_backup(reader(data))

    assert b"secret" not in contents_sent
    assert b"2" in contents_sent
    assert everything(store, engine) == everything(any_store, any_engine)
    assert list(store.redactions()) == list(any_store.redactions())
    assert "redacted" in contents(any_engine, SCOPE, selector(1))["k"]
    with pytest.raises(ContentRedacted):
        apply(any_engine, {"other": "secret"})


def test_what_was_redacted_since_the_base_is_gone(
    engine: Engine, other: Engine, target: FaultyStore
) -> None:
    """What the base has and an increment says was redacted is not restored."""
    applied(engine, "secret", "2")
    full = backup(engine)
    _redact(engine)
    other.restore_backup(reader(full + backup(engine, base=full)))

    assert {} == target.objects([digest_of(b"secret")])
    assert "redacted" in contents(other, SCOPE, selector(1))["k"]
    assert {"k": "2"} == contents(other)


def test_a_redaction_while_it_is_backed_up(
    engine: Engine, store: FaultyStore, other: Engine, target: FaultyStore
) -> None:
    """Whatever is redacted before it is sent is left out, and the mark is sent."""
    applied(engine, "secret", "2")
    stream = engine.backup()
    store.after("redactions", partial(_redact, engine))
    data = b"".join(stream)
    other.restore_backup(reader(data))

    assert (Kind.OBJECT, b"secret") not in records_of(data)
    assert list(store.redactions()) == list(target.redactions())
    assert everything(store, engine) == everything(target, other)


def test_what_was_redacted_here_does_not_come_back(
    engine: Engine, other: Engine, target: FaultyStore
) -> None:
    """A backup from before is refused where its content was redacted since."""
    applied(engine, "secret", "2", at=scope("a"))
    applied(other, "secret", "2")
    _redact(other)
    with pytest.raises(ContentRedacted):
        other.restore_backup(reader(backup(engine)))

    assert ["default"] == leftovers(target, ["a"])


def test_a_restore_redacts_nothing_of_others(
    engine: Engine, other: Engine, target: FaultyStore
) -> None:
    """Where others have what was redacted elsewhere, the backup is refused."""
    applied(engine, "secret", "2")
    _redact(engine)
    apply(other, {"mine": "secret"}, at=scope("a"))
    with pytest.raises(ContentInUse, match="key 'mine' of namespace 'a' here"):
        other.restore_backup(reader(backup(engine)))

    def may(namespace: Namespace) -> None:
        if namespace != SCOPE.namespace:
            raise Forbidden(namespace)

    with pytest.raises(ContentInUse, match="stands in a revision here;"):
        other.restore_backup(reader(backup(engine)), may)

    assert ["a"] == leftovers(target, ["default"])
    assert {"mine": "secret"} == contents(other, scope("a"))


def test_what_was_redacted_since_the_base_is_gone_beside_others(
    engine: Engine, other: Engine, target: FaultyStore
) -> None:
    """A chain is restored beside other namespaces, which have nothing of it."""
    applied(engine, "secret", "2")
    full = backup(engine)
    _redact(engine)
    apply(other, {"mine": "1"}, at=scope("a"))
    other.restore_backup(reader(full + backup(engine, base=full)))

    assert {} == target.objects([digest_of(b"secret")])
    assert "redacted" in contents(other, SCOPE, selector(1))["k"]


def test_what_an_earlier_attempt_left_is_of_nobody(
    engine: Engine, other: Engine, target: FaultyStore
) -> None:
    """A content that is stored, and stands nowhere, keeps no backup out."""
    apply(engine, _MANY | {"k": "secret"})
    apply(engine, {"k": "2"})
    full = backup(engine)
    _redact(engine)
    apply(other, {"mine": "x"}, at=scope("a"))
    with pytest.raises(BadBackup):
        other.restore_backup(reader(full[:-1]))
    left = target.objects([digest_of(b"secret")])
    other.restore_backup(reader(backup(engine)))

    assert {digest_of(b"secret"): b"secret"} == left
    assert {} == target.objects([digest_of(b"secret")])


def test_what_is_applied_meanwhile_is_not_redacted(
    engine: Engine, other: Engine, target: FaultyStore
) -> None:
    """What others have made at the last moment is seen before it is redacted."""
    applied(engine, "secret", "2")
    full = backup(engine)
    _redact(engine)
    apply(other, {"mine": "1"}, at=scope("a"))
    read = reader(full + backup(engine, base=full))

    def late() -> None:
        apply(other, {"mine": "secret"}, at=scope("a"))

    def reading() -> bytes:
        data = read()
        if not data:
            target.after("numbers", late)
        return data

    with pytest.raises(ContentInUse, match="key 'mine' of namespace 'a'"):
        other.restore_backup(reading)

    assert {"mine": "secret"} == contents(other, scope("a"))


def test_a_chain_is_restored_where_the_same_was_redacted(
    engine: Engine, other: Engine, target: FaultyStore
) -> None:
    """What a base has, and was redacted both here and in what follows it, is left out."""
    applied(engine, "secret", "2")
    full = backup(engine)
    _redact(engine)
    applied(other, "secret", "2", at=scope("a"))
    other.redact(
        Redact(scope("a"), Key("k"), selector(1), Message("leaked"), Author("ops"))
    )
    with pytest.raises(ContentRedacted):
        other.restore_backup(reader(full))
    other.restore_backup(reader(full + backup(engine, base=full)))

    assert {} == target.objects([digest_of(b"secret")])
    assert "redacted" in contents(other, SCOPE, selector(1))["k"]


def test_a_summary_tells_the_base(engine: Engine) -> None:
    """The newest revision of each namespace stands in the plain part."""
    applied(engine, "1", "2")
    base = base_of(backup(engine))
    revision = engine.state(SCOPE).revision
    assert revision is not None

    assert {SCOPE.namespace: revision.link} == base.newest


@pytest.mark.parametrize("first", ["sqlite", "postgres"])
def test_there_and_back(first: str, tmp_path: Path, postgres: PostgresServer) -> None:
    """Between SQLite and PostgreSQL, and back, every digest stays."""
    stores: list[Store] = [
        SqliteStore(tmp_path),
        PostgresStore(postgres.url(postgres.new_schema())),
    ]
    if first == "postgres":
        stores.reverse()
    back = MemoryStore()
    with (
        closing(Engine(stores[0], _clock())) as here,
        closing(Engine(stores[1], _clock())) as there,
        closing(Engine(back, _clock())) as again,
    ):
        make_history(here, range(60))
        there.restore_backup(reader(backup(here)))
        again.restore_backup(reader(backup(there)))

        before = everything(stores[0], here)
        assert before == everything(stores[1], there) == everything(back, again)
        assert [] == list(pages.checkpoints(stores[1], Namespace("x")))
