"""Opening a store by its URL."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from st8.core.errors import InvalidValue, StateDirectoryInUse, StorageFailed
from st8.store.memory import MemoryStore
from st8.store.open import Sharing, open_store, place_of
from st8.store.sqlite import FILE_NAME, SqliteStore
from st8.testing.batches import A, write

if TYPE_CHECKING:
    from pathlib import Path


def test_memory_is_a_store_in_memory() -> None:
    """memory: opens a new store in memory."""
    assert isinstance(open_store("memory:"), MemoryStore)


def test_sqlite_is_a_store_in_a_directory(tmp_path: Path) -> None:
    """sqlite:DIRECTORY opens the embedded store there, colons and all."""
    with closing(open_store(f"sqlite:{tmp_path}/a:b")) as store:
        assert isinstance(store, SqliteStore)
    assert (tmp_path / "a:b" / FILE_NAME).exists()


@pytest.mark.parametrize(
    "url", ["", "sqlite:", "sqlite", "mysql:x", "/var/lib/st8", ":", "u:pw@h"]
)
def test_other_urls_are_refused(url: str) -> None:
    """What names no store is an invalid value that shows right ones, and no password."""
    with pytest.raises(
        InvalidValue, match=r"write sqlite:DIRECTORY, postgresql://.* or memory:"
    ) as caught:
        open_store(url)
    with pytest.raises(InvalidValue) as told:
        place_of(url)

    assert "pw" not in caught.value.detail
    assert caught.value.detail == told.value.detail


def test_a_store_that_is_not_there_need_not_be_made(tmp_path: Path) -> None:
    """Who only wants to read makes nothing, neither a directory nor a file."""
    with pytest.raises(StorageFailed, match="there is no store in"):
        open_store(f"sqlite:{tmp_path}/a", make=False)
    (tmp_path / "b").mkdir()
    with pytest.raises(StorageFailed, match="there is no store in"):
        open_store(f"sqlite:{tmp_path}/b", make=False)
    assert [tmp_path / "b"] == list(tmp_path.rglob("*"))
    open_store(f"sqlite:{tmp_path}/b").close()
    open_store(f"sqlite:{tmp_path}/b", make=False).close()


def test_the_place_of_a_store_has_no_password(tmp_path: Path) -> None:
    """A place is absolute, and the same for who connects with what."""
    url = "postgresql://u:secret@db:5433/st8?password=secret&schema=two"

    assert "PostgreSQL at db:5433, database st8, schema two" == place_of(url)
    assert f"sqlite:{tmp_path}" == place_of(f"sqlite:{tmp_path}/a/..")
    assert "memory:" == place_of("memory:")


def test_a_store_is_shared(tmp_path: Path) -> None:
    """Each process opens it by its number, and nobody else while they share it."""
    url = f"sqlite:{tmp_path}/state"
    with closing(Sharing(url, 2)) as sharing:
        with pytest.raises(StateDirectoryInUse):
            open_store(url)
        with closing(sharing.open(0)) as one, closing(sharing.open(1)) as other:
            write(one)

            assert 1 == other.namespace(A).last_revision
            assert (False, False) == (one.exclusive, other.exclusive)
    open_store(url).close()


def test_what_only_one_process_can_see_is_not_shared() -> None:
    """A store in memory, and what is none, are refused."""
    with pytest.raises(InvalidValue, match="memory: can't be shared"):
        Sharing("memory:", 2)
    with pytest.raises(InvalidValue, match="is not a store"):
        Sharing("mysql://x", 2)
