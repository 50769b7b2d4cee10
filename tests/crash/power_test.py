"""A loss of power costs nothing that was acknowledged, and the rig would notice.

``make power`` opens 1,000,000 images, ``script/power --images N --seed S`` as many as it
is told. A failure prints the seed, which plans the same run again.
"""

from __future__ import annotations

import re
import secrets
from contextlib import closing
from random import Random
from typing import TYPE_CHECKING, Any, cast

import apsw
import pytest

from st8.core.ids import Key, Message
from st8.core.ports import Batch, CommitTimes
from st8.engine.engine import Engine
from st8.engine.requests import Redact
from st8.store import sqlite, sqlite_log
from st8.store.codec import pack
from st8.store.sqlite import SqliteStore
from st8.testing.batches import write
from st8.testing.clock import FakeClock
from st8.testing.power_disk import Disk, Note, Recorder, place
from st8.testing.power_work import record
from st8.testing.powerrig import open_sqlite, run
from tests.crash import mutants
from tests.engine.acts import SCOPE, apply, selector

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from st8.core.ports import Store
    from st8.store.sql import Connection

pytestmark = [pytest.mark.crash, pytest.mark.timeout(1_200)]

_IMAGES = 2_000


def test_a_loss_of_power_loses_nothing() -> None:
    """Each of 2,000 images has what the store had after its last transaction.

    Or after the one that was under way; SQLite finds nothing damaged, every digest
    holds, numbers are without gaps, and what a client was told is there.
    """
    outcome = run(images=_IMAGES, seed=secrets.randbelow(2**32))

    assert [] == outcome.wrong, str(outcome)
    assert _IMAGES == outcome.images
    assert outcome.acknowledged > 100


def test_a_seed_plans_the_same_run(tmp_path: Path) -> None:
    """The same is done to the disk, and the same acknowledged, each time."""
    made = [
        record(_made(tmp_path / name), Random(7), {}, 12, open_sqlite)
        for name in ("a", "b")
    ]

    first, second = [
        ([(n.what, n.path, n.offset, len(n.data)) for n in one.notes], one.needs)
        for one in made
    ]

    assert first == second
    assert [] == made[0].wrong


def _made(path: Path) -> Path:
    path.mkdir()
    return path


class _Late:
    """A store that makes a commit when it is asked something, and says so at once."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._late: list[Batch] = []

    def commit(self, batch: Batch) -> CommitTimes:
        self._make()
        self._late.append(batch)
        return CommitTimes(0.0, 0.0, 0)

    def _make(self) -> None:
        while self._late:
            self._store.commit(self._late.pop())

    def __getattr__(self, name: str) -> Any:
        self._make()
        return getattr(self._store, name)


def acknowledge_before_commit(directory: Path, vfs: str | None, pages: int) -> Store:
    """Open a store that says of a commit that it is durable before it is."""
    return cast("Store", _Late(open_sqlite(directory, vfs, pages)))


def sync_at_checkpoints(patch: pytest.MonkeyPatch) -> None:
    """Do not sync a commit, as SQLite's NORMAL does not."""
    connect = SqliteStore._connect

    def unsafely(store: SqliteStore, flags: int, path: str | None = None) -> Connection:
        connection = connect(store, flags, path)
        connection.execute("PRAGMA synchronous = NORMAL")
        return connection

    patch.setattr(SqliteStore, "_connect", unsafely)


def never_sync(patch: pytest.MonkeyPatch) -> None:
    """Sync nothing at all."""
    patch.setattr(SqliteStore, "_connect", SqliteStore._connect)  # so it is put back
    mutants.never_sync()


def commit_in_two_parts(patch: pytest.MonkeyPatch) -> None:
    """Commit refs and revisions, and then the objects they need."""
    patch.setattr(SqliteStore, "commit", SqliteStore.commit)  # so it is put back
    mutants.commit_in_two_parts()


def never_sync_directories(patch: pytest.MonkeyPatch) -> None:
    """Leave it to the kernel when the name of a new file becomes durable."""
    patch.setattr(sqlite, "sync_directory", lambda _: None)


def leave_what_is_redacted(patch: pytest.MonkeyPatch) -> None:
    """Delete what is redacted, and leave its bytes where they were."""
    patch.setattr(SqliteStore, "erase", lambda *_: 0)


@pytest.mark.parametrize(
    ("bug", "finding"),
    [
        (leave_what_is_redacted, "leaked: "),
        (sync_at_checkpoints, "lost: |half done: "),
        (never_sync, "lost: |unreadable: |corrupt: "),
        (commit_in_two_parts, "corrupt: |half done: "),
        (never_sync_directories, "lost: "),
    ],
)
def test_the_rig_finds_a_planted_bug(
    bug: Callable[[pytest.MonkeyPatch], None],
    finding: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A store with a bug in what it syncs, or when, does not survive the rig."""
    bug(monkeypatch)

    outcome = run(images=200, seed=secrets.randbelow(2**32))

    assert re.search(finding, "\n".join(outcome.wrong)), str(outcome)


def believe_the_log(patch: pytest.MonkeyPatch) -> None:
    """Take what can be read of the log for durable, also after a sync has failed."""
    patch.setattr(sqlite_log, "renew", lambda _: None)


def sync_again(patch: pytest.MonkeyPatch) -> None:
    """Try a sync that failed once more, and believe the answer."""
    sync = Recorder.sync

    def twice(recorder: Recorder, inside: str) -> bool:
        return sync(recorder, inside) or sync(recorder, inside)

    patch.setattr(Recorder, "sync", twice)


@pytest.mark.parametrize("bug", [believe_the_log, sync_again])
def test_the_rig_finds_a_failed_sync_that_is_made_light_of(
    bug: Callable[[pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a failed sync was to make durable is lost for good, as on Linux.

    A store that takes it for durable does not survive the rig.
    """
    bug(monkeypatch)

    found = set[str]()
    for seed in range(7, 40):
        found |= run(images=300, seed=seed).kinds.keys()
        if found:
            break

    assert found


def test_the_rig_finds_what_is_acknowledged_too_early() -> None:
    """A store that answers before it commits does not survive the rig."""
    outcome = run(
        images=200,
        seed=secrets.randbelow(2**32),
        open_store=acknowledge_before_commit,
    )

    assert "lost" in outcome.kinds, str(outcome)


def test_what_is_synced_stays_and_the_rest_may_go() -> None:
    """A write, a truncation and a name are there for certain once they are synced.

    Before that each of them is there or not, and of a write each sector.
    """
    disk = Disk({})
    chance = Random(3)
    for note in (
        Note("make folder", "d"),
        Note("make", "d/f"),
        Note("write", "d/f", 0, b"a" * 1_024),
        Note("sync", "d/f"),
    ):
        disk.take(note)

    assert {frozenset(), frozenset({"d/f"})} == {
        frozenset(disk.image(chance)) for _ in range(100)
    }

    disk.take(Note("sync names", "."))
    disk.take(Note("sync names", "d"))
    disk.take(Note("write", "d/f", 0, b"b" * 1_024))
    a, b = b"a" * 512, b"b" * 512
    assert {a + a, a + b, b + a, b + b} == {
        bytes(disk.image(chance)["d/f"]) for _ in range(300)
    }

    disk.take(Note("sync", "d/f"))
    disk.take(Note("truncate", "d/f", 512))
    disk.take(Note("delete", "d/f"))
    assert {None, b, b + b} == {
        None if found is None else bytes(found)
        for found in (disk.image(chance).get("d/f") for _ in range(300))
    }


def test_the_recorder_sees_what_sqlite_does(tmp_path: Path) -> None:
    """Played back without a loss, the notes give the files as they are."""
    recorder = Recorder(tmp_path)
    connection = apsw.Connection(str(tmp_path / "a.db"), vfs=recorder.vfs)
    connection.execute("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL")
    connection.execute("CREATE TABLE t (x); INSERT INTO t VALUES (zeroblob(20000))")
    disk = Disk({})
    for note in recorder.notes:
        disk.take(note)
    for folder in (".", "a.db", "a.db-wal"):
        disk.take(Note("sync names" if folder == "." else "sync", folder))

    image = disk.image(Random(0))
    actual = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    actual.pop("a.db-shm")
    connection.close()

    assert actual == {path: bytes(content) for path, content in image.items()}
    place(image, _made(tmp_path / "again"))
    reopened = apsw.Connection(str(tmp_path / "again" / "a.db"))
    assert [(20_000,)] == reopened.execute("SELECT length(x) FROM t").fetchall()
    reopened.close()


def test_what_was_redacted_is_on_no_disk(tmp_path: Path) -> None:
    """However the power goes then; SQLite does not sync the end of its log."""
    recorder = Recorder(tmp_path)
    secret = Random(0).randbytes(200).hex()
    with (
        recorder.watching(),
        closing(SqliteStore(tmp_path, vfs=recorder.vfs)) as store,
        closing(Engine(store, FakeClock())) as engine,
    ):
        apply(engine, {"a": secret, "b": "1"})
        apply(engine, {"a": "2"})
        engine.redact(Redact(SCOPE, Key("a"), selector(1), Message("it leaked")))
        notes = list(recorder.notes)
    disk = Disk({})
    for note in notes:
        disk.take(note)

    trace = pack(secret.encode())[50:80]
    assert any(trace in note.data for note in notes)
    for seed in range(50):
        image = disk.image(Random(seed))
        assert not any(trace in data for data in image.values())


class _Applied(Random):
    """The chance by which all that is pending has reached the disk."""

    def random(self) -> float:
        """Return what loses nothing and tears nothing."""
        return 0.2


def test_a_store_whose_making_lost_its_power_is_made_anew(tmp_path: Path) -> None:
    """Where the power went while a store was made, the next opening makes it.

    After each thing that was done, also where a rollback journal that was deleted is
    there again, and where the first page of the file is torn.
    """
    recorder = Recorder(_made(tmp_path / "first"))
    with recorder.watching():
        SqliteStore(tmp_path / "first", vfs=recorder.vfs).close()
    notes = [note for note in recorder.notes if note.what != "delete"]
    torn = [
        note._replace(data=note.data[:512]) if note.what == "write" else note
        for note in notes
    ]
    journals = 0
    for number in range(len(notes)):
        for way, last in enumerate((notes[number], torn[number])):
            if way and last == notes[number]:
                continue
            disk = Disk({})
            for note in [*notes[:number], last]:
                disk.take(note)
            image = disk.image(_Applied())
            journals += "st8.db-journal" in image
            directory = _made(tmp_path / f"{number}-{way}")
            place(image, directory)
            with closing(SqliteStore(directory)) as store:
                assert 1 == write(store), number

    assert journals > 10
