"""A state directory that is only read: not a byte of it changes."""

from __future__ import annotations

import fcntl
import os
import shutil
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from st8.core.errors import (
    NewerFormat,
    StateDirectoryInUse,
    StorageFailed,
    StoreFenced,
)
from st8.store.open import open_store
from st8.store.sqlite import FILE_NAME, SqliteStore
from st8.testing.batches import A, dump, empty_batch, write

if TYPE_CHECKING:
    from pathlib import Path


def everything(directory: Path) -> dict[str, tuple[bytes, int, int]]:
    """Return all files with their bytes, times and modes."""
    found: dict[str, tuple[bytes, int, int]] = {}
    for path in sorted(directory.iterdir()):
        about = path.stat()
        found[path.name] = (path.read_bytes(), about.st_mtime_ns, about.st_mode)
    return found


def fill(directory: Path) -> SqliteStore:
    """Make a store with a few revisions and leave it open."""
    store = SqliteStore(directory)
    for _ in range(5):
        write(store)
    return store


@pytest.fixture(params=["closed", "killed", "killed without an index"])
def directory(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """A state directory, as a st8d leaves it that was stopped, or killed."""
    made = tmp_path / "made"
    with closing(fill(made)) as store:
        if request.param != "closed":
            made = tmp_path / "left"
            shutil.copytree(store._path.parent, made)
            assert (made / f"{FILE_NAME}-wal").stat().st_size
        if request.param == "killed without an index":
            (made / f"{FILE_NAME}-shm").unlink()
    return made


def test_nothing_is_changed(directory: Path, tmp_path: Path) -> None:
    """All that was committed is read, and every file stays byte for byte as it was."""
    shutil.copytree(directory, tmp_path / "other")
    with closing(SqliteStore(tmp_path / "other")) as store:
        expected = dump(store)
    before = everything(directory)
    with closing(open_store(f"sqlite:{directory}", read_only=True)) as store:
        assert expected == dump(store)
        assert [] == list(store.check_itself().problems)
        assert 5 == len(store.held_objects(0, 10, 1 << 20))
        store.ping()

    assert before == everything(directory)
    with closing(SqliteStore(directory)) as store:
        assert expected == dump(store)


def test_commits_are_refused(directory: Path) -> None:
    """Whoever writes to it is told that it was opened for reading only."""
    before = everything(directory)
    with closing(SqliteStore(directory, read_only=True)) as store:
        batch = empty_batch(store)
        batch.namespaces[A] = (store.namespace(A).last_revision,) * 2
        with pytest.raises(StoreFenced, match="reading only"):
            store.commit(batch)
        with pytest.raises(StoreFenced, match="reading only"):
            store.raise_epoch({}, 1)

    assert before == everything(directory)


def test_a_directory_in_use_is_refused(tmp_path: Path) -> None:
    """What somebody may write to is not read this way; it is told who has it."""
    with (
        closing(fill(tmp_path)),
        pytest.raises(StateDirectoryInUse, match=f"in use by process {os.getpid()};"),
    ):
        SqliteStore(tmp_path, read_only=True)


def test_nobody_writes_meanwhile(directory: Path) -> None:
    """As long as it is read nobody else may write; others may read."""
    with (
        closing(SqliteStore(directory, read_only=True)),
        closing(SqliteStore(directory, read_only=True)),
        pytest.raises(StateDirectoryInUse),
    ):
        SqliteStore(directory)
    SqliteStore(directory).close()


def test_a_file_without_a_lock_is_watched(tmp_path: Path) -> None:
    """A copy that has no lock file gets none; a st8d that makes one is noticed."""
    fill(tmp_path).close()
    (tmp_path / "lock").unlink()
    with closing(SqliteStore(tmp_path, read_only=True)) as store:
        store.ping()
        assert not (tmp_path / "lock").exists()
        (tmp_path / "lock").touch()
        with pytest.raises(StorageFailed, match="was started on"):
            store.ping()


def test_what_is_not_there_is_not_made(tmp_path: Path) -> None:
    """Neither a directory nor a file comes to be."""
    for place in (tmp_path, tmp_path / "none"):
        with pytest.raises(StorageFailed, match="there is no store in"):
            SqliteStore(place, read_only=True)
    (tmp_path / FILE_NAME).touch()
    with pytest.raises(StorageFailed, match="there is no store in"):
        SqliteStore(tmp_path, read_only=True)

    assert [FILE_NAME] == [path.name for path in tmp_path.iterdir()]
    assert 0 == (tmp_path / FILE_NAME).stat().st_size


def test_a_newer_format_is_left_alone(tmp_path: Path) -> None:
    """A file of a newer format is refused and not changed."""
    store = fill(tmp_path)
    store._writer.execute("PRAGMA user_version = 999")
    store.close()
    before = everything(tmp_path)
    with pytest.raises(NewerFormat, match="format 999"):
        SqliteStore(tmp_path, read_only=True)

    assert before == everything(tmp_path)


def test_a_lock_that_cannot_be_had_is_told(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file system without locks is told of; nothing is read without one."""

    def refuse(*_: object) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.raises(StorageFailed, match=r"can't lock .*: Operation not supported"):
        SqliteStore(directory, read_only=True)
