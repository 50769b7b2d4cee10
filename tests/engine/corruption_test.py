"""Damaged bytes: the right answer or an error that says so, never a wrong answer."""

from __future__ import annotations

import contextlib
import random
from functools import partial
from typing import TYPE_CHECKING

import apsw
import pytest

from st8.core import revisions
from st8.core.errors import Corrupt, St8Error, StorageFailed
from st8.core.ids import Key, RevisionNumber, digest_of
from st8.core.node import EMPTY_ROOT
from st8.engine.engine import Engine
from st8.engine.history import LogFilter
from st8.engine.requests import HEAD
from st8.store.memory import MemoryStore
from st8.store.sqlite import FILE_NAME, SqliteStore
from st8.testing.clock import SECOND_NS, FakeClock
from tests.engine.acts import (
    DEV,
    SCOPE,
    apply,
    branch,
    changes,
    checkpoint,
    contents,
    diff,
    selector,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from st8.core.ids import Scope
    from st8.core.ports import Store
    from st8.core.revisions import Revision
    from st8.engine.requests import Selector

SIZE = 60
LAST = 40
"""Revisions of the branch that is damaged."""


def _fill(engine: Engine) -> None:
    """Make a small history with branches and checkpoints."""
    apply(engine, {f"svc/{n:03d}": f"content {n}\n" * 3 for n in range(SIZE)})
    for number in range(2, LAST + 1):
        apply(
            engine,
            {f"svc/{number % SIZE:03d}": f"content at {number}"},
            message=f"change {number}",
            author="Ops",
        )
    branch(engine, "dev", selector(20))
    apply(engine, {"dev": "only here"}, at=DEV)
    checkpoint(engine, "cp", selector(30), description="as it was", author="Deploy")


@pytest.fixture(scope="module")
def pristine() -> MemoryStore:
    """A store that a test copies before it damages it."""
    store = MemoryStore()
    engine = Engine(store, FakeClock(tick_ns=SECOND_NS))
    _fill(engine)
    engine._committer.close()
    return store


@pytest.fixture
def damaged(pristine: MemoryStore) -> MemoryStore:
    """A copy of the store, which a test may damage."""
    copy = MemoryStore()
    copy._epoch = pristine._epoch
    copy._objects = dict(pristine._objects)
    copy._last = dict(pristine._last)
    copy._revisions = {name: dict(r) for name, r in pristine._revisions.items()}
    copy._branches = dict(pristine._branches)
    copy._checkpoints = dict(pristine._checkpoints)
    return copy


def _cold(store: Store) -> Engine:
    return Engine(store, FakeClock(), cache_bytes=0)


def _everything(engine: Engine, *, tolerant: bool = False) -> dict[str, object]:
    """Ask all there is to ask; what raises Corrupt is left out if ``tolerant``."""
    found: dict[str, object] = {}
    questions: dict[str, Callable[[], object]] = {
        "head": lambda: contents(engine),
        "dev": lambda: contents(engine, DEV),
        "log": lambda: [
            (e.revision, changes(e.changes))
            for e in engine.log(SCOPE, limit=100).entries
        ],
        "log of dev": lambda: [
            (e.revision, changes(e.changes)) for e in engine.log(DEV, limit=100).entries
        ],
        "log of one key": lambda: [
            e.revision
            for e in engine.log(
                SCOPE, limit=100, wanted=LogFilter(key=Key("svc/007"))
            ).entries
        ],
        "checkpoint": lambda: engine.checkpoints(SCOPE.namespace, limit=10).items,
        "at checkpoint": lambda: contents(engine, SCOPE, selector(checkpoint="cp")),
        "diff": lambda: diff(engine, selector(1), HEAD),
        "keys": lambda: list(engine.state(SCOPE).keys()),
        "count": lambda: engine.state(SCOPE).count,
        "count of a prefix": lambda: engine.state(SCOPE).count_prefix("svc/01"),
        "one key": lambda: engine.state(SCOPE).get(Key("svc/033")),
        "absent key": lambda: engine.state(SCOPE).get(Key("svc/0333")),
        "branches": lambda: engine.branches(SCOPE.namespace, limit=10).items,
        "namespaces": lambda: engine.namespaces().items,
    }
    for number in range(1, LAST + 2):
        for at in (SCOPE, DEV):
            for source in (selector(number), selector(-number)):
                name = f"{at.branch} {source.revision}"
                questions[name] = partial(_revision, engine, at, source)
        time_ns = 1_767_225_600 * SECOND_NS + number * SECOND_NS
        at_time = selector(at_ns=time_ns)
        questions[f"time {number}"] = partial(_revision, engine, SCOPE, at_time)
    for name, question in questions.items():
        try:
            found[name] = question()
        except (Corrupt, StorageFailed) as error:
            if not tolerant:
                raise
            found[name] = error
        except St8Error as error:  # not found: an answer like any other
            found[name] = repr(error)
    return found


def _revision(engine: Engine, at: Scope, source: Selector) -> object:
    return engine.state(at, source).revision, contents(engine, at, source)


def _check(store: Store, truth: dict[str, object], context: str) -> int:
    """Ask all of a damaged store; return how many answers were Corrupt."""
    engine = _cold(store)
    try:
        answers = _everything(engine, tolerant=True)
    finally:
        engine._committer.close()
    wrong = {
        name: (truth[name], answer)
        for name, answer in answers.items()
        if not isinstance(answer, Corrupt | StorageFailed) and answer != truth[name]
    }
    assert {} == wrong, context
    return sum(isinstance(answer, St8Error) for answer in answers.values())


@pytest.fixture(scope="module")
def truth(pristine: MemoryStore) -> dict[str, object]:
    """What an undamaged store answers."""
    engine = _cold(pristine)
    answers = _everything(engine)
    engine._committer.close()
    return answers


def test_an_undamaged_store_is_right(
    damaged: MemoryStore, truth: dict[str, object]
) -> None:
    """The copy answers as the original does."""
    assert 0 == _check(damaged, truth, "undamaged")
    assert SIZE == truth["count"]


# --- objects --------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(2))
def test_a_damaged_object_is_corrupt(
    damaged: MemoryStore, truth: dict[str, object], seed: int
) -> None:
    """An object with a flipped bit, cut short, or another's bytes is never served."""
    rng = random.Random(seed)
    digests = sorted(damaged._objects)
    found = 0
    for digest in rng.sample(digests, 7):
        epoch, data = damaged._objects[digest]
        other = damaged._objects[rng.choice(digests)][1]
        flipped = bytearray(data)
        flipped[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        for bad in (bytes(flipped), data[:-1], data + b"\0", b"", other):
            if bad == data:
                continue
            damaged._objects[digest] = (epoch, bad)
            found += _check(damaged, truth, f"object {digest.hex()}")
        damaged._objects[digest] = (epoch, data)

    assert found


def test_a_missing_object_is_corrupt(
    damaged: MemoryStore, truth: dict[str, object]
) -> None:
    """An object that is not there is Corrupt and names itself."""
    head = damaged._branches[SCOPE]
    revision = revisions.decode(damaged._revisions[SCOPE.namespace][head.head])
    del damaged._objects[revision.root]

    assert _check(damaged, truth, "root") > 5
    engine = _cold(damaged)
    with pytest.raises(Corrupt, match=f"{revision.root.hex()} is missing"):
        contents(engine)
    engine._committer.close()


def test_a_write_over_a_damaged_tree_is_refused(damaged: MemoryStore) -> None:
    """An apply that would have to read a damaged node is Corrupt and changes nothing."""
    for digest, (epoch, data) in list(damaged._objects.items()):
        if data.startswith(b"\xff"):
            damaged._objects[digest] = (epoch, data[:-1] + b"\0")
    engine = _cold(damaged)
    with pytest.raises(Corrupt):
        apply(engine, {"new": "x"})
    with pytest.raises(Corrupt):
        apply(engine, {"svc/000": "x"}, ["svc/001"])

    assert LAST == damaged._branches[SCOPE].head
    engine._committer.close()


# --- records ----------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(2))
def test_a_damaged_record_is_corrupt(
    damaged: MemoryStore, truth: dict[str, object], seed: int
) -> None:
    """A revision record with a flipped bit is never served, by whatever way it is met."""
    rng = random.Random(seed)
    records = damaged._revisions[SCOPE.namespace]
    for number in rng.sample(sorted(records), 20):
        data = records[number]
        flipped = bytearray(data)
        flipped[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        records[number] = bytes(flipped)

        assert _check(damaged, truth, f"record {number}")
        records[number] = data


def _forged(revision: Revision, **fields: object) -> bytes:
    return revisions.encode(revision._replace(**fields))  # type: ignore[arg-type]


@pytest.mark.parametrize("number", [1, 7, 20, 31, 39, LAST])
def test_a_forged_record_is_corrupt(
    damaged: MemoryStore, truth: dict[str, object], number: int
) -> None:
    """A record that is well-formed, but is not the one that was made, is never served."""
    records = damaged._revisions[SCOPE.namespace]
    at = RevisionNumber(number)
    revision = revisions.decode(records[at])
    other = revisions.decode(records[RevisionNumber(number % LAST + 1)])
    forgeries = [
        _forged(revision, root=other.root),
        _forged(revision, root=EMPTY_ROOT),
        _forged(revision, message="nothing to see"),
        _forged(revision, author="Mole"),
        _forged(revision, time_ns=revision.time_ns + SECOND_NS * 3),
        _forged(revision, time_ns=0),
        _forged(revision, kind="rollback"),
        _forged(revision, depth=revision.depth + 1),
        _forged(other, number=at),
    ]
    original = records[at]
    for index, forgery in enumerate(forgeries):
        records[at] = forgery

        assert _check(damaged, truth, f"forgery {index} of {number}")
    records[at] = original


def test_a_record_in_the_place_of_another_is_corrupt(
    damaged: MemoryStore, truth: dict[str, object]
) -> None:
    """Two records that changed places are both refused."""
    records = damaged._revisions[SCOPE.namespace]
    one, two = RevisionNumber(5), RevisionNumber(6)
    records[one], records[two] = records[two], records[one]

    assert _check(damaged, truth, "swapped")


def test_a_missing_record_is_no_wrong_answer(damaged: MemoryStore) -> None:
    """A head whose record is gone is Corrupt; an older one reads as collected."""
    records = damaged._revisions[SCOPE.namespace]
    del records[RevisionNumber(LAST)]
    engine = _cold(damaged)
    with pytest.raises(Corrupt, match="missing"):
        contents(engine)
    with pytest.raises(Corrupt):
        apply(engine, {"k": "v"})
    engine._committer.close()


# --- pointers ---------------------------------------------------------------------------------


def test_a_pointer_to_another_revision_is_corrupt(
    damaged: MemoryStore, truth: dict[str, object]
) -> None:
    """A branch or checkpoint whose number and digest do not agree is refused."""
    main = damaged._branches[SCOPE]
    for head in (1, 20, LAST - 1, LAST + 1, LAST + 9):
        damaged._branches[SCOPE] = main._replace(head=RevisionNumber(head))
        engine = _cold(damaged)
        with pytest.raises(Corrupt):
            contents(engine)
        with pytest.raises(Corrupt):
            apply(engine, {"k": "v"})
        engine._committer.close()
    damaged._branches[SCOPE] = main._replace(head_digest=digest_of(b""))
    engine = _cold(damaged)
    with pytest.raises(Corrupt):
        engine.log(SCOPE)
    engine._committer.close()
    damaged._branches[SCOPE] = main
    ((at, cp),) = damaged._checkpoints.items()
    damaged._checkpoints[at] = cp._replace(revision=RevisionNumber(29))
    engine = _cold(damaged)
    with pytest.raises(Corrupt):
        contents(engine, SCOPE, selector(checkpoint="cp"))
    engine._committer.close()
    assert truth["at checkpoint"]


# --- the cache ----------------------------------------------------------------------------------


def _read_all(engine: Engine) -> None:
    for number in range(1, LAST + 1):
        contents(engine, SCOPE, selector(number))


def test_what_is_corrupt_is_not_remembered(damaged: MemoryStore) -> None:
    """Once the bytes are right again, so are the answers."""
    digest = next(d for d, (_, data) in damaged._objects.items() if data[:1] != b"\xff")
    epoch, data = damaged._objects[digest]
    engine = Engine(damaged, FakeClock())
    damaged._objects[digest] = (epoch, b"wrong")
    with pytest.raises(Corrupt):
        _read_all(engine)
    damaged._objects[digest] = (epoch, data)
    _read_all(engine)
    engine._committer.close()


# --- the file of the embedded store -----------------------------------------------------------------


def test_any_damage_of_the_file_is_noticed(
    tmp_path: Path, good_file: bytes, truth: dict[str, object]
) -> None:
    """Flipped bits anywhere in the file give right answers or errors, never others.

    What has no digest of its own is left out: the words of checkpoints, the bases
    of branches, and which names there are. A record whose number has changed is not
    found any more, and taken for collected.
    """
    unproven = {"checkpoint", "branches", "namespaces"}
    known = {name: told for name, told in truth.items() if name not in unproven}
    rng = random.Random(11)
    errors = 0
    for round_ in range(24):
        data = bytearray(good_file)
        places = [rng.randrange(100, len(data)) for _ in range(4)]
        for at in places:
            data[at] ^= 1 << rng.randrange(8)
        (tmp_path / FILE_NAME).write_bytes(data)
        for end in ("-wal", "-shm"):
            (tmp_path / (FILE_NAME + end)).unlink(missing_ok=True)
        try:
            store = SqliteStore(tmp_path)
        except St8Error:
            errors += 1
            continue
        engine = _cold(store)
        try:
            answers = _everything(engine, tolerant=True)
        finally:
            engine.close()
        for name, told in known.items():
            answer = answers[name]
            is_error = isinstance(answer, Corrupt | StorageFailed)
            if is_error or str(answer).startswith("RevisionCollected("):
                errors += 1
            else:
                assert told == answer, f"round {round_}, bytes {places}: {name}"
    assert errors


ROWS = (
    ("revisions", "data", "'text'"),
    ("revisions", "data", "x''"),
    ("objects", "data", "'text'"),
    ("objects", "data", "x''"),
    ("objects", "data", "x'01'"),
    ("objects", "data", "x'0128b52ffd'"),
    ("objects", "data", "x'02ffff'"),
    ("branches", "head", "'text'"),
    ("branches", "head", "x'00'"),
    ("branches", "head", "1.5"),
    ("branches", "head_digest", "'text'"),
    ("branches", "base", "'text'"),
    ("checkpoints", "revision", "'text'"),
    ("checkpoints", "digest", "'text'"),
    ("checkpoints", "branch", "x'00'"),
    ("checkpoints", "description", "cast(x'ff' AS TEXT)"),
    ("checkpoints", "author", "x'00'"),
    ("checkpoints", "time_ns", "'text'"),
    ("namespaces", "last_revision", "'text'"),
    ("namespaces", "last_revision", "1.5"),
    ("collection", "epoch", "'text'"),
)


@pytest.fixture(scope="module")
def good_file(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The file of an embedded store with the same history."""
    directory = tmp_path_factory.mktemp("good")
    engine = Engine(SqliteStore(directory), FakeClock(tick_ns=SECOND_NS))
    _fill(engine)
    engine.close()
    return (directory / FILE_NAME).read_bytes()


@pytest.mark.parametrize("row", ROWS, ids=" ".join)
def test_a_wrong_type_in_a_row_is_corrupt(
    tmp_path: Path,
    good_file: bytes,
    truth: dict[str, object],
    row: tuple[str, str, str],
) -> None:
    """Values of the wrong type, or that are no text, are errors of ours, not crashes."""
    _check_row(tmp_path, good_file, truth, row)


@pytest.mark.parametrize(
    "row",
    [
        ("checkpoints", "description", "'as it wAs'"),
        ("checkpoints", "author", "'Mole'"),
        ("checkpoints", "branch", "'mail'"),
        ("checkpoints", "time_ns", "time_ns + 1"),
        ("branches", "base", "base + 1"),
        ("namespaces", "last_revision", "last_revision + 1"),
    ],
    ids=" ".join,
)
def test_a_changed_row_is_corrupt(
    tmp_path: Path,
    good_file: bytes,
    truth: dict[str, object],
    row: tuple[str, str, str],
) -> None:
    """A row that was changed outside of st8, in any value that is served, is Corrupt."""
    _check_row(tmp_path, good_file, truth, row)


def _check_row(
    directory: Path,
    good_file: bytes,
    truth: dict[str, object],
    row: tuple[str, str, str],
) -> None:
    """Damage rows and ask all; each answer is the right one or Corrupt."""
    table, column, value = row
    (directory / FILE_NAME).write_bytes(good_file)
    connection = apsw.Connection(str(directory / FILE_NAME))
    connection.execute(f"UPDATE {table} SET {column} = {value}")  # noqa: S608 - ours
    connection.close()
    engine = _cold(SqliteStore(directory))
    try:
        answers = _everything(engine, tolerant=True)
        with contextlib.suppress(St8Error):
            apply(engine, {"k": "v"})
    finally:
        engine.close()
    wrong = {
        name
        for name, answer in answers.items()
        if not isinstance(answer, Corrupt | StorageFailed) and answer != truth[name]
    }

    assert set() == wrong
