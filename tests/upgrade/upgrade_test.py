"""Stores that earlier versions wrote, opened by this one."""

from __future__ import annotations

import gzip
import json
from contextlib import closing, suppress
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest

from st8.core.documents import Document
from st8.core.errors import NewerFormat, St8Error, StorageFailed
from st8.core.findings import Verified
from st8.core.ids import BranchName, Key, Namespace, Scope
from st8.engine.engine import Engine
from st8.engine.requests import Apply
from st8.engine.verify import verify
from st8.store import schema
from st8.store.open import open_store
from st8.store.postgres import schema as postgres_schema
from st8.store.sqlite import FILE_NAME, SqliteStore
from st8.testing.clock import FakeClock
from st8.testing.failing_disk import FailingDisk
from tests.upgrade import mutants
from tests.upgrade.contents import contents_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.postgres.server import PostgresServer

_FIXTURES: Final = Path(__file__).with_name("fixtures")
_FORMATS: Final = range(1, schema.FORMAT)
_MAIN: Final = Scope(Namespace("payments/prod"), BranchName("main"))


def _held(number: int) -> dict[str, Any]:
    """Return what the fixture of a format holds."""
    held: dict[str, Any] = json.loads(
        (_FIXTURES / f"format-{number}.json").read_bytes()
    )
    return held


def _database(number: int) -> bytes:
    return gzip.decompress((_FIXTURES / f"format-{number}.db.gz").read_bytes())


def _load(postgres: PostgresServer, number: int) -> str:
    """Load the dump of a format into a database of its own; return the store's URL."""
    name = postgres.new_schema()
    postgres.run(f"CREATE DATABASE {name}")
    dump = gzip.decompress((_FIXTURES / f"format-{number}.sql.gz").read_bytes())
    # Lines with a backslash are for psql.
    lines = [li for li in dump.decode().splitlines() if not li.startswith("\\")]
    with postgres.connect(name) as connection:
        connection.execute("\n".join(lines).encode())
    return postgres.url("st8", name)


@pytest.fixture(params=["sqlite", "postgres"])
def older(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[int], str]:
    """Makes a store of an older format; returns its URL."""

    def make(number: int) -> str:
        if request.param == "postgres":
            return _load(request.getfixturevalue("postgres"), number)
        (tmp_path / FILE_NAME).write_bytes(_database(number))
        return f"sqlite:{tmp_path}"

    return make


def test_every_format_has_a_fixture() -> None:
    """What each earlier version wrote is kept, and both stores have one format."""
    kept = {
        path.name.partition(".")[0]
        for suffix in ("db.gz", "sql.gz", "json")
        for path in _FIXTURES.glob(f"format-*.{suffix}")
    }

    assert {f"format-{number}" for number in _FORMATS} == kept
    assert schema.FORMAT == postgres_schema.FORMAT


@pytest.mark.parametrize("number", _FORMATS)
def test_an_older_store_is_what_it_was(
    older: Callable[[int], str], number: int
) -> None:
    """It is opened with every digest as it was, goes on, and is opened again."""
    url = older(number)
    held = _held(number)
    with closing(open_store(url)) as store:
        assert held == contents_of(store)
    with closing(Engine(open_store(url), FakeClock())) as engine:
        applied = engine.apply(Apply(_MAIN, (Document(Key("new"), "new\n"),)))
    last = held["namespaces"][_MAIN.namespace]["last_revision"]
    with closing(open_store(url)) as store:
        after = contents_of(store)

    assert last + 1 == applied.number
    assert held["answers"] == after["answers"]


# --- interrupted ----------------------------------------------------------------


def _interrupted_everywhere(directory: Path, number: int) -> int:
    """Open a store of an older format, ended at each of SQLite's calls.

    Whatever it has left is opened again. Returns how often it was ended.

    Raises:
        AssertionError: Something of it was not as it was.
        St8Error: It can't be opened any more.
    """
    held = _held(number)
    for calls in count():
        state = directory / f"state-{calls}"
        state.mkdir()
        (state / FILE_NAME).write_bytes(_database(number))
        vfs = FailingDisk()
        vfs.die(after=calls)
        try:
            with suppress(St8Error), closing(SqliteStore(state, vfs=vfs.name)):
                pass
            ended = bool(vfs.failed)
        finally:
            vfs.unregister()
        with closing(SqliteStore(state)) as store:
            assert held == contents_of(store)
            assert [] == store.redactions()
        if not ended:
            return calls
    raise AssertionError


@pytest.mark.parametrize("number", _FORMATS)
def test_a_migration_that_ends_anywhere_is_whole_or_not_there(
    tmp_path: Path, number: int
) -> None:
    """Ended at any call to the disk, an older file is opened again, as it was."""
    assert 3 < _interrupted_everywhere(tmp_path, number)


@pytest.mark.parametrize("number", _FORMATS)
def test_the_rig_finds_a_planted_bug(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """A migration that is not one transaction does not survive it."""
    monkeypatch.setattr(schema, "prepare", mutants.prepare_step_by_step)
    with pytest.raises((AssertionError, St8Error)):
        _interrupted_everywhere(tmp_path, number)


@pytest.mark.parametrize("number", _FORMATS)
def test_a_migration_in_postgresql_that_fails_changes_nothing(
    postgres: PostgresServer, number: int
) -> None:
    """Where the server refuses a part of it the store stays what it was."""
    url = _load(postgres, number)
    database = url.rpartition("/")[2].partition("?")[0]
    held = _held(number)
    with postgres.connect(database) as connection:
        connection.execute(_REFUSE.encode())
        with pytest.raises(StorageFailed, match="refused"):
            open_store(url)
        rows = connection.execute("SELECT format FROM st8.store").fetchall()
        connection.execute("DROP EVENT TRIGGER refuse")
    with closing(open_store(url)) as store:
        after = contents_of(store)

    assert [(number,)] == rows
    assert held == after


_REFUSE: Final = """
CREATE FUNCTION refuse() RETURNS event_trigger LANGUAGE plpgsql AS
$$ BEGIN RAISE EXCEPTION 'refused'; END $$;
CREATE EVENT TRIGGER refuse ON ddl_command_end WHEN TAG IN ('CREATE TABLE')
EXECUTE FUNCTION refuse()
"""


@pytest.mark.parametrize("number", _FORMATS)
def test_a_daemon_of_an_older_version_lets_go(
    postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """One that still uses a store which has been migrated writes nothing any more."""
    url = _load(postgres, number)
    monkeypatch.setattr(postgres_schema, "FORMAT", number)
    with closing(open_store(url)) as old:
        monkeypatch.undo()
        with closing(open_store(url)):
            pass
        monkeypatch.setattr(postgres_schema, "FORMAT", number)
        with pytest.raises(NewerFormat):
            old.namespace(_MAIN.namespace)


# --- read as it is ------------------------------------------------------------------


@pytest.mark.parametrize("number", _FORMATS)
def test_an_older_file_is_verified_as_it_is(tmp_path: Path, number: int) -> None:
    """A file of an older format is whole, and stays byte for byte what it was."""
    data = _database(number)
    (tmp_path / FILE_NAME).write_bytes(data)
    with closing(SqliteStore(tmp_path, read_only=True)) as store:
        *_, done = verify(store, "HERE", full=True)

    assert isinstance(done, Verified)
    assert (0, "") == (done.findings, done.skipped)
    assert done.revisions
    assert data == (tmp_path / FILE_NAME).read_bytes()
    # And when it has become one of this format.
    with closing(SqliteStore(tmp_path)) as store:
        assert done == list(verify(store, "HERE", full=True))[-1]


@pytest.mark.parametrize("number", _FORMATS)
def test_an_older_schema_is_verified_as_it_is(
    postgres: PostgresServer, number: int
) -> None:
    """A store of an older format in PostgreSQL is whole, and stays what it was."""
    url = _load(postgres, number)
    with closing(open_store(url, read_only=True)) as store:
        *_, done = verify(store, "HERE", full=True)

    assert isinstance(done, Verified)
    assert 0 == done.findings
    assert done.revisions
    with postgres.connect(url.rpartition("/")[2].partition("?")[0]) as connection:
        assert [(number,)] == connection.execute(
            "SELECT format FROM st8.store"
        ).fetchall()
