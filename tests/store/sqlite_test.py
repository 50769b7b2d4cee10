"""What the embedded store promises beyond the contract: files, locks, settings."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import sqlite3
import subprocess
import sys
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import apsw
import pytest

from st8.core.errors import (
    Corrupt,
    NewerFormat,
    StateDirectoryInUse,
    StorageFailed,
    StorageFull,
)
from st8.core.ids import digest_of, digest_prefix
from st8.store import schema, sqlite_batch, sqlite_reads
from st8.store.sqlite import FILE_NAME, SqliteStore
from st8.testing.batches import (
    KEY,
    MAIN,
    A,
    N,
    answer_of,
    branch_at,
    dump,
    empty_batch,
    epoch_of,
    full_batch,
    objects_of,
    put,
    write,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from st8.store.sql import Connection

CHILD = """
import sys, time
from pathlib import Path
from st8.store.sqlite import SqliteStore
store = SqliteStore(Path(sys.argv[1]))
print("open", flush=True)
time.sleep(600)
"""


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqliteStore]:
    """A new store."""
    with closing(SqliteStore(tmp_path)) as store:
        yield store


def _files(directory: Path) -> dict[str, bytes]:
    """Return the files of a state directory, the lock apart."""
    return {
        path.name: path.read_bytes()
        for path in directory.iterdir()
        if path.name != "lock"
    }


def _noise(size: int, seed: int = 0) -> bytes:
    """Return bytes that do not compress."""
    blocks = range(size // 32 + 1)
    return b"".join(hashlib.sha256(b"%d %d" % (seed, n)).digest() for n in blocks)[
        :size
    ]


# --- settings in force ------------------------------------------------------------


SETTINGS = {
    "journal_mode": "wal",
    "synchronous": 2,  # FULL
    "auto_vacuum": 2,  # INCREMENTAL
    "busy_timeout": 5000,
    "trusted_schema": 0,
    "page_size": schema.PAGE_BYTES,
    "wal_autocheckpoint": 0,  # the store does it, and sees what comes of it
    "application_id": schema.APPLICATION_ID,
    "user_version": schema.FORMAT,
    "integrity_check": "ok",
}


def _pragma(connection: Connection, name: str) -> object:
    return connection.execute(f"PRAGMA {name}").fetchall()[0][0]


def _settings(connection: Connection) -> dict[str, object]:
    return {name: _pragma(connection, name) for name in SETTINGS}


def _reader_settings(store: SqliteStore, threads: int) -> list[dict[str, object]]:
    """Return the settings that reads on several threads at once run with."""
    together = threading.Barrier(threads)

    def look() -> dict[str, object]:
        with store._reading() as connection:
            together.wait()
            return _settings(connection)

    with ThreadPoolExecutor(threads) as pool:
        futures = [pool.submit(look) for _ in range(threads)]
        return [future.result() for future in futures]


def test_every_connection_has_its_settings(store: SqliteStore) -> None:
    """Writer and readers, on every thread, run with FULL sync and their limits."""
    assert SETTINGS == _settings(store._writer)
    assert [SETTINGS] * 3 == _reader_settings(store, 3)


def test_settings_hold_when_it_is_opened_again(tmp_path: Path) -> None:
    """An existing file is opened with the same settings as a new one."""
    SqliteStore(tmp_path).close()
    with closing(SqliteStore(tmp_path)) as again:
        assert SETTINGS == _settings(again._writer)
        assert [SETTINGS] == _reader_settings(again, 1)


def test_readers_cannot_write(store: SqliteStore) -> None:
    """The connections that reads go through refuse every write."""
    with pytest.raises(StorageFailed, match="readonly"), store._reading() as reader:
        reader.execute("DELETE FROM collection")


def test_its_sqlite_has_no_known_fault(store: SqliteStore) -> None:
    """The SQLite inside is at least 3.51.3, which does not lose a reset WAL."""
    version = store.name.removeprefix("sqlite ")

    assert version == apsw.sqlite_lib_version()
    assert (3, 51, 3) <= tuple(map(int, version.split(".")))


def test_connections_of_threads_that_ended_are_given_back(
    store: SqliteStore, tmp_path: Path
) -> None:
    """Reading on many short-lived threads does not pile up open files."""
    for _ in range(30):
        thread = threading.Thread(target=store.ping)
        thread.start()
        thread.join()
    opened = Counter[str]()
    for handle in Path("/proc/self/fd").iterdir():
        with suppress(OSError):  # gone by now
            opened[str(handle.readlink())] += 1

    assert 1 <= opened[str(tmp_path / FILE_NAME)] < 15


def test_reads_do_not_wait_for_a_write(store: SqliteStore) -> None:
    """While a transaction is open and unfinished, reads see the state before it."""
    write(store)
    with ThreadPoolExecutor(1) as other, store._writing() as writer:
        writer.execute("UPDATE branches SET head = 99")

        assert branch_at(1) == other.submit(store.branch, A, MAIN).result(timeout=30)


# --- files and locks ---------------------------------------------------------------


def test_a_state_directory_is_made_private(tmp_path: Path) -> None:
    """The directory and those above it are made; only their user may enter."""
    directory = tmp_path / "deep" / "state"
    SqliteStore(directory).close()

    assert 0o700 == directory.stat().st_mode & 0o777
    assert (directory / FILE_NAME).exists()


def test_a_state_directory_may_have_any_name(tmp_path: Path) -> None:
    """Characters that mean something in a URL or to SQLite are just characters."""
    for name in ("a?mode=memory", "file:x", "ü #%20", ":memory:"):
        with closing(SqliteStore(tmp_path / name)) as store:
            write(store)
        assert (tmp_path / name / FILE_NAME).exists()
        with closing(SqliteStore(tmp_path / name)) as store:
            assert 1 == store.namespace(A).last_revision


def test_a_second_opening_is_refused_and_names_the_holder(tmp_path: Path) -> None:
    """While this process holds the directory it can't be opened again."""
    with (
        closing(SqliteStore(tmp_path)) as first,
        pytest.raises(StateDirectoryInUse, match=rf"process {os.getpid()}\b") as caught,
    ):
        SqliteStore(tmp_path)
    assert f"process {os.getpid()}" == caught.value.fields["holder"]
    assert str(tmp_path) in caught.value.detail
    del first
    SqliteStore(tmp_path).close()


def test_another_process_is_named_and_lets_go_when_it_is_killed(tmp_path: Path) -> None:
    """The error says which process holds the directory; once dead, it does not."""
    with subprocess.Popen(
        [sys.executable, "-c", CHILD, str(tmp_path)], stdout=subprocess.PIPE, text=True
    ) as child:
        try:
            assert child.stdout is not None
            assert "open\n" == child.stdout.readline()
            with pytest.raises(StateDirectoryInUse, match=rf"process {child.pid}\b"):
                SqliteStore(tmp_path)
        finally:
            child.send_signal(signal.SIGKILL)
    with closing(SqliteStore(tmp_path)) as store:
        assert 1 == write(store)


def test_a_refused_opening_leaves_the_lock_free(tmp_path: Path) -> None:
    """A file that can't be opened does not keep the directory locked."""
    (tmp_path / FILE_NAME).write_text("not a database, but long enough to be read " * 9)
    for _ in range(2):
        with pytest.raises(StorageFailed):
            SqliteStore(tmp_path)
    (tmp_path / FILE_NAME).unlink()
    SqliteStore(tmp_path).close()


def test_new_directories_are_made_durable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every directory that got a new name in it is synced, before the first write."""
    synced: set[int] = set()
    fsync = os.fsync

    def note(handle: int) -> None:
        synced.add(os.fstat(handle).st_ino)
        fsync(handle)

    monkeypatch.setattr(os, "fsync", note)
    directory = tmp_path / "a" / "b" / "state"
    SqliteStore(directory).close()

    changed = (tmp_path, tmp_path / "a", tmp_path / "a" / "b", directory)
    assert {path.stat().st_ino for path in changed} <= synced
    synced.clear()
    SqliteStore(directory).close()
    assert directory.stat().st_ino in synced
    assert tmp_path.stat().st_ino not in synced


def test_a_relative_directory_may_be_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A state directory may be named from where the process is."""
    monkeypatch.chdir(tmp_path)
    with closing(SqliteStore(Path("var/st8"))) as store:
        assert 1 == write(store)
    assert (tmp_path / "var" / "st8" / FILE_NAME).exists()


def test_a_directory_that_cannot_be_made_is_an_error(tmp_path: Path) -> None:
    """Where a file is in the way, the error names the directory."""
    (tmp_path / "file").touch()

    with pytest.raises(StorageFailed, match="can't make state directory"):
        SqliteStore(tmp_path / "file" / "state")
    with pytest.raises(StorageFailed):
        SqliteStore(tmp_path / "file")


# --- formats -----------------------------------------------------------------------


def _make_newer(directory: Path, *, leave_wal: bool) -> None:
    """Make a store that a newer st8 wrote, with or without a WAL left behind."""
    store = SqliteStore(directory)
    store.commit(full_batch(store))
    store.close()
    connection = sqlite3.connect(directory / FILE_NAME)
    connection.execute(f"PRAGMA user_version = {schema.FORMAT + 1}")
    connection.commit()
    if leave_wal:
        connection.execute("CREATE TABLE from_the_future (x)")
        connection.commit()
        files = _files(directory)
        connection.close()
        for name, data in files.items():
            if not name.endswith("-shm"):
                (directory / name).write_bytes(data)
        assert (directory / f"{FILE_NAME}-wal").stat().st_size
    else:
        connection.close()


@pytest.mark.parametrize("leave_wal", [False, True])
def test_a_newer_format_is_refused_untouched(
    tmp_path: Path, *, leave_wal: bool
) -> None:
    """A file of a newer format is refused by name, and stays byte for byte."""
    _make_newer(tmp_path, leave_wal=leave_wal)
    before = _files(tmp_path)
    with pytest.raises(NewerFormat, match=f"format {schema.FORMAT + 1} .*up to"):
        SqliteStore(tmp_path)
    after = _files(tmp_path)
    after.pop(f"{FILE_NAME}-shm", None)
    before.pop(f"{FILE_NAME}-shm", None)

    assert before == after


def test_a_database_of_another_program_is_refused_untouched(tmp_path: Path) -> None:
    """A SQLite file that is not ours is refused and stays byte for byte."""
    connection = sqlite3.connect(tmp_path / FILE_NAME)
    connection.execute("CREATE TABLE recipes (name)")
    connection.commit()
    connection.close()
    before = _files(tmp_path)
    with pytest.raises(StorageFailed, match="is not a st8 store; it is left alone"):
        SqliteStore(tmp_path)

    assert before == _files(tmp_path)


@pytest.mark.parametrize(
    "data", [b"recipes", b"SQLite format 3\0" + bytes(84), b"x" * 9999]
)
def test_a_file_that_is_no_database_is_refused_untouched(
    tmp_path: Path, data: bytes
) -> None:
    """A file that is no database is refused and stays byte for byte."""
    (tmp_path / FILE_NAME).write_bytes(data)
    with pytest.raises(StorageFailed):
        SqliteStore(tmp_path)

    assert {FILE_NAME: data} == _files(tmp_path)


def test_an_empty_file_becomes_a_store(tmp_path: Path) -> None:
    """A file that was made and never written, as by a crash, is a new store."""
    (tmp_path / FILE_NAME).touch()
    with closing(SqliteStore(tmp_path)) as store:
        assert 1 == write(store)


# --- objects whose digests begin alike ---------------------------------------------------


def test_digests_that_begin_alike_are_told_apart(
    store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Objects that share the part of the digest they are found by never mix."""
    for module in (sqlite_reads, sqlite_batch):
        monkeypatch.setattr(module, "digest_prefix", lambda digest: digest[0] & 3)
    contents = [b"%d" % n for n in range(40)]
    put(store, *contents[:20])
    put(store, *contents)
    digests = [digest_of(content) for content in contents]

    assert objects_of(*contents) == store.objects(digests)
    for content, digest in zip(contents, digests, strict=True):
        assert objects_of(content) == store.objects([digest])
    assert objects_of(*contents[:3]) == store.objects(digests[:3])
    assert {} == store.objects([digest_of(b"absent")])
    epoch = store.raise_epoch({}, epoch_of(store)).epoch
    put(store, *contents[::2])
    position = deleted = 0
    while True:
        position, some, *_ = store.sweep(frozenset[int](), epoch, position, 7)
        deleted += some
        if not position:
            break
    assert objects_of(*contents[::2]) == store.objects(digests)


@pytest.mark.parametrize("bad", [b"", b"\x07?", b"\x01(\xb5/\xfd\x00", b"\x00other"])
def test_a_damaged_object_is_mended_by_a_put(store: SqliteStore, bad: bytes) -> None:
    """An object whose stored bytes are damaged is right again once it is put again."""
    put(store, b"content", b"another")
    with store._writing() as writer:
        writer.execute(
            "UPDATE objects SET data = ? WHERE prefix = ?",
            (bad, digest_prefix(digest_of(b"content"))),
        )
    put(store, b"content")

    wanted = objects_of(b"content", b"another")
    assert wanted == store.objects(list(wanted))


# --- a full disk -----------------------------------------------------------------------


def test_a_full_file_refuses_and_recovers(store: SqliteStore) -> None:
    """Without room a commit is StorageFull, reads go on, and room heals it."""
    put(store, b"kept")
    before = dump(store, [digest_of(b"kept")])
    pages = _pragma(store._writer, "page_count")
    store._writer.execute(f"PRAGMA max_page_count = {pages}")
    for _ in range(3):
        batch = empty_batch(store)
        batch.objects = objects_of(_noise(200_000))
        batch.answers[A, KEY] = answer_of(1)
        with pytest.raises(StorageFull, match="no space left"):
            store.commit(batch)
        store.ping()
        assert before == dump(store, [digest_of(b"kept")])
    store._writer.execute("PRAGMA max_page_count = 100000")

    put(store, _noise(200_000))
    assert 2 == write(store)


FILL = r"""
import ctypes, hashlib, json, os, sys
from pathlib import Path
from st8.core.errors import StorageFull
from st8.core.ids import digest_of, digest_prefix
from st8.store.sqlite import SqliteStore
from st8.testing.batches import A, KEY, answer_of, empty_batch, objects_of, write

place = Path(sys.argv[1])
libc = ctypes.CDLL(None, use_errno=True)
if libc.mount(b"none", bytes(place), b"tmpfs", 0, b"size=3m"):
    sys.exit(77)
ballast = place / "ballast"
ballast.write_bytes(bytes(512 * 1024))
store = SqliteStore(place)
write(store)
written, refused = [], 0
for number in range(400):
    content = b"".join(
        hashlib.sha256(b"%d %d" % (number, n)).digest() for n in range(1000)
    )
    batch = empty_batch(store)
    batch.objects = objects_of(content)
    batch.answers[A, KEY] = answer_of(1)
    try:
        store.commit(batch)
    except StorageFull:
        refused += 1
        if refused == 3:
            break
    else:
        written.append(digest_of(content))
readable = len(store.objects(written))
ballast.unlink()
number = write(store)
store.close()
again = SqliteStore(place)
print(json.dumps({
    "written": len(written), "refused": refused, "readable": readable,
    "after": number, "kept": len(again.objects(written)),
    "last": again.namespace(A).last_revision,
}))
again.close()
"""


def test_a_full_disk_refuses_and_recovers(tmp_path: Path) -> None:
    """On a full file system commits are StorageFull; with room again they work.

    Nothing that was acknowledged is lost, and reads go on all the while.
    """
    probe = subprocess.run(["unshare", "-Urm", "true"], check=False)
    if probe.returncode:
        pytest.skip("no private mounts here")
    done = subprocess.run(
        ["unshare", "-Urm", sys.executable, "-c", FILL, str(tmp_path)],
        check=False,
        capture_output=True,
        text=True,
    )
    if done.returncode == 77:
        pytest.skip("no tmpfs here")

    assert (0, "") == (done.returncode, done.stderr)
    seen: dict[str, int] = json.loads(done.stdout)
    assert seen["written"] > 10
    assert (3, 2, 2) == (seen["refused"], seen["after"], seen["last"])
    assert seen["written"] == seen["readable"] == seen["kept"]


# --- damage --------------------------------------------------------------------------------


def test_a_file_that_is_no_database_any_more_is_corrupt(tmp_path: Path) -> None:
    """Where the beginning of an open file was overwritten, a read says corrupt."""
    with closing(SqliteStore(tmp_path)) as store:
        write(store)
    with closing(SqliteStore(tmp_path)) as store:
        with (tmp_path / FILE_NAME).open("r+b") as file:
            file.write(b"not a database any more")
        with pytest.raises(Corrupt, match="not a database"):
            store.branch(A, MAIN)


@pytest.mark.parametrize("column", ["prefix", "epoch"])
def test_a_damaged_row_is_not_swept(store: SqliteStore, column: str) -> None:
    """A sweep that meets a row without a number or epoch is Corrupt, and ends there."""
    write(store)
    epoch = store.raise_epoch({}, epoch_of(store)).epoch
    count = "SELECT count(*) FROM objects"
    before = store._writer.execute(count).fetchall()
    store._writer.execute(f"UPDATE objects SET {column} = 'text'")  # noqa: S608
    with pytest.raises(Corrupt):
        store.sweep([], epoch, 0, 100)

    assert before == store._writer.execute(count).fetchall()
    store.ping()


# --- somebody else's lock ------------------------------------------------------------------


HOLD = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("BEGIN IMMEDIATE")
print("held", flush=True)
sys.stdin.readline()
connection.execute("ROLLBACK")
"""


def test_a_busy_file_is_no_damage(store: SqliteStore, tmp_path: Path) -> None:
    """Where another program holds SQLite's lock, a commit fails and may be tried again."""
    write(store)
    store._writer.execute("PRAGMA busy_timeout = 20")
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path / FILE_NAME)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as other:
        assert other.stdout is not None
        assert "held\n" == other.stdout.readline()
        with pytest.raises(StorageFailed):
            write(store)
        other.communicate("\n")

    store.ping()
    assert 2 == write(store)


def test_numbers_beyond_64_bits_are_not_there(store: SqliteStore) -> None:
    """A revision number that no store can hold is just not found."""
    write(store)

    assert {} == store.revisions(A, [N(2**63), N(-(2**63) - 1)])
