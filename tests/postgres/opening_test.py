"""Opening the store in PostgreSQL: URLs, tables, rights, and what is said of failures."""

from __future__ import annotations

import builtins
import sys
from contextlib import closing, contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from st8.core.errors import (
    Corrupt,
    InvalidValue,
    NewerFormat,
    Overloaded,
    StorageFailed,
)
from st8.core.ports import Stale
from st8.store.open import open_store
from st8.store.postgres import PostgresStore, connections, schema
from st8.store.postgres.address import read_address
from st8.testing.batches import A, write
from tests.postgres.appliers import run_all
from tests.postgres.server import PASSWORD, USER

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.postgres.server import PostgresServer

_BAD = "a/b:c@d"


# --- URLs ------------------------------------------------------------------------------


def test_a_url_says_where_and_in_which_schema() -> None:
    """The schema is ours; the rest is libpq's, and what it does not say is set."""
    address = read_address(
        "postgresql://ops:pw@db.example:5433/conf?schema=blue&sslmode=require"
    )

    assert "blue" == address.schema
    assert "PostgreSQL at db.example:5433, database conf" == address.place
    assert "ops" == address.user
    found = address.parameters
    assert ("pw", "require", "st8d", "disable") == (
        found["password"],
        found["sslmode"],
        found["application_name"],
        found["gssencmode"],
    )
    assert '"blue"' == address.settings["search_path"]
    assert "target_session_attrs" not in found


def test_what_a_url_says_itself_is_left() -> None:
    """Time-outs, names and options of the URL are kept; our settings come after.

    They are no part of the request for a connection: poolers would refuse it.
    """
    found = read_address(
        "postgresql:///?connect_timeout=1&application_name=x&options=-c%20a.b%3D1"
    ).parameters

    assert ("1", "x") == (found["connect_timeout"], found["application_name"])
    assert "-c a.b=1" == found["options"]
    assert "options" not in read_address("postgresql://h/db").parameters


def test_of_several_servers_the_primary_is_looked_for() -> None:
    """A URL with several servers connects to the one that takes writes."""
    found = read_address("postgresql://a:1,b:2/db").parameters

    assert "read-write" == found["target_session_attrs"]


@pytest.mark.parametrize(
    "name", ["", "St8", "a-b", 'a"b', "pg_x", "1a", "a b", "a" * 64, "é"]
)
def test_a_schema_has_a_plain_name(name: str) -> None:
    """A schema's name needs no quoting anywhere, and is no system schema's."""
    with pytest.raises(InvalidValue, match="lower-case letters, digits and _"):
        read_address(f"postgresql://h/db?schema={name}")


@pytest.mark.parametrize(
    "url",
    [
        f"postgresql://ops:{_BAD}@db/conf",
        f"postgresql://ops:{_BAD}%@db/conf",
        f"postgresql://ops:{_BAD}/x@db:5432/conf?nonsense=1",
        "postgresql://ops:secret%zz@db/conf",
    ],
)
def test_a_url_that_cannot_be_read_is_not_repeated(url: str) -> None:
    """The error says how to write a URL, and nothing of what was in it."""
    with pytest.raises(InvalidValue, match="is written as %2F") as caught:
        read_address(url)

    assert not any(
        part in caught.value.detail for part in ("ops", "a/b", "c@d", "secret")
    )


def test_open_store_takes_both_schemes(postgres: PostgresServer) -> None:
    """postgresql: and postgres: URLs open the store in PostgreSQL."""
    url = postgres.url(postgres.new_schema())
    for written in (url, url.replace("postgresql:", "postgres:")):
        with closing(open_store(written)) as store:
            assert store.name.startswith("postgresql ")


def test_without_the_driver_the_error_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A st8 that was installed without psycopg says how to get it."""
    for name in [n for n in sys.modules if n.startswith("st8.store.postgres")]:
        monkeypatch.delitem(sys.modules, name)
    real = builtins.__import__

    def fail(name: str, *rest: Any) -> Any:
        if name.startswith("psycopg"):
            raise ModuleNotFoundError(name, name="psycopg")
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", fail)
    with pytest.raises(StorageFailed, match=r"pip install 'st8\[postgres\]'"):
        open_store("postgresql://h/db")


# --- tables -----------------------------------------------------------------------------


def test_daemons_that_start_at_once_make_the_tables_once(
    postgres: PostgresServer,
) -> None:
    """Of many that open a new store at once all succeed, on one and the same store."""
    url = postgres.url(postgres.new_schema())
    opened: list[PostgresStore] = []
    run_all([lambda: opened.append(PostgresStore(url)) for _ in range(6)])

    assert 1 == write(opened[0])
    assert [1] * 6 == [store.namespace(A).last_revision for store in opened]
    for store in opened:
        store.close()


def _snapshot(postgres: PostgresServer, name: str) -> dict[str, list[Any]]:
    """Return all tables of a schema, their rows, and who wrote these."""
    tables = postgres.run(
        f"SELECT tablename FROM pg_tables WHERE schemaname = '{name}' ORDER BY 1"
    )
    return {
        table: postgres.run(f"SELECT xmin::text, t::text FROM {name}.{table} t")
        for (table,) in tables
    }


def test_a_newer_format_is_refused_untouched(postgres: PostgresServer) -> None:
    """A store of a newer format is refused by name, and stays as it is."""
    name = postgres.new_schema()
    with closing(PostgresStore(postgres.url(name))) as store:
        write(store)
    postgres.run(f"UPDATE {name}.store SET format = {schema.FORMAT + 1}")
    before = _snapshot(postgres, name)
    with pytest.raises(NewerFormat, match=f"format {schema.FORMAT + 1} .*up to"):
        PostgresStore(postgres.url(name))

    assert before == _snapshot(postgres, name)


def test_a_store_that_is_migrated_under_a_daemon_is_let_go(
    postgres: PostgresServer,
) -> None:
    """A daemon notices, before it commits, that a newer one has migrated the store."""
    name = postgres.new_schema()
    with closing(PostgresStore(postgres.url(name))) as store:
        write(store)
        postgres.run(f"UPDATE {name}.store SET format = {schema.FORMAT + 1}")
        with pytest.raises(NewerFormat):
            write(store)


def test_a_store_that_is_migrated_under_a_collection_is_let_go(
    postgres: PostgresServer,
) -> None:
    """Nothing more is removed by a daemon that does not know what a newer one needs."""
    name = postgres.new_schema()
    with closing(PostgresStore(postgres.url(name))) as store:
        write(store)
        epoch = store.raise_epoch({}, store.namespace(A).epoch).epoch
        postgres.run(f"UPDATE {name}.store SET format = {schema.FORMAT + 1}")
        before = _snapshot(postgres, name)
        with pytest.raises(Stale):
            store.raise_epoch({}, epoch)
        swept = store.sweep((), epoch, 0, 100)

    assert 0 == swept.objects
    assert before == _snapshot(postgres, name)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("DELETE FROM {}.store", "its table store has no format"),
        ("UPDATE {}.store SET format = 0", "the format 0, which there is not"),
        ("UPDATE {}.store SET format = -1", "the format -1, which there is not"),
    ],
)
def test_a_store_that_does_not_say_its_format_is_damaged(
    postgres: PostgresServer, change: str, said: str
) -> None:
    """It is not taken for none, nor for one of another program, and stays as it is."""
    name = postgres.new_schema()
    PostgresStore(postgres.url(name)).close()
    postgres.run(change.format(name))
    before = _snapshot(postgres, name)
    for read_only in (False, True):
        with pytest.raises(Corrupt, match=said):
            PostgresStore(postgres.url(name), read_only=read_only)

    assert before == _snapshot(postgres, name)


def test_who_may_not_use_the_schema_is_told(postgres: PostgresServer) -> None:
    """The server says of a table in a schema that is closed that it is not there."""
    name = postgres.new_schema()
    PostgresStore(postgres.url(name)).close()
    postgres.run(
        f"CREATE ROLE outsider_{name} LOGIN",
        f"GRANT SELECT ON ALL TABLES IN SCHEMA {name} TO outsider_{name}",
    )
    url = postgres.url(name).replace(f"{USER}@", f"outsider_{name}@", 1)

    assert "see that nobody has dropped or renamed the schema" in _detail(url)


@pytest.mark.parametrize(
    "table", ["recipes (name text)", "store (name text)"], ids=["other", "namesake"]
)
def test_a_schema_of_another_program_is_refused_untouched(
    postgres: PostgresServer, table: str
) -> None:
    """A schema with tables that are not ours is left alone, and the remedy named."""
    name = postgres.new_schema()
    postgres.run(f"CREATE SCHEMA {name}", f"CREATE TABLE {name}.{table}")
    before = _snapshot(postgres, name)
    with pytest.raises(StorageFailed, match=r"left alone.*\?schema=NAME"):
        PostgresStore(postgres.url(name))

    assert before == _snapshot(postgres, name)


def test_an_empty_schema_of_the_users_own_needs_no_right_to_make_one(
    postgres: PostgresServer,
) -> None:
    """A user that may not make schemas is told so, and can use one that it is given."""
    name = postgres.new_schema()
    postgres.run(f"CREATE ROLE {name} LOGIN")
    url = postgres.url(name).replace(f"//{USER}@", f"//{name}@")
    with pytest.raises(StorageFailed, match=r"permission denied.*grant the user"):
        PostgresStore(url)
    postgres.run(f"CREATE SCHEMA {name} AUTHORIZATION {name}")
    with closing(PostgresStore(url)) as store:
        assert 1 == write(store)


def test_settings_of_the_role_do_not_count(postgres: PostgresServer) -> None:
    """A session has the settings of st8, whatever role, database or URL say."""
    name = postgres.new_schema()
    postgres.run(
        f"CREATE ROLE {name} LOGIN SUPERUSER",
        f"ALTER ROLE {name} SET search_path = public",
        f"ALTER ROLE {name} SET synchronous_commit = off",
        f"ALTER ROLE {name} SET default_transaction_isolation = 'serializable'",
    )
    url = postgres.url(name).replace(f"//{USER}@", f"//{name}@")
    settings = read_address(url).settings
    with closing(PostgresStore(f"{url}&options=-c%20lock_timeout%3D7")) as store:
        assert 1 == write(store)
        actual = {
            setting: store._rows(b"SELECT current_setting($1::text)", setting)[0][0]
            for setting in (*settings, "synchronous_commit")
        }

    assert settings | {"synchronous_commit": "on"} == actual


# --- what can't be opened ------------------------------------------------------------------


def _detail(url: str) -> str:
    """Return what is said when a store can't be opened: one sentence, no password."""
    with pytest.raises(StorageFailed) as caught:
        PostgresStore(url)
    detail = caught.value.detail
    assert PASSWORD not in detail
    assert "\n" not in detail
    assert caught.value.retryable
    return detail


def test_who_is_refused_is_told_why(postgres: PostgresServer) -> None:
    """Wrong user, password or database, and no server at all, are told apart."""
    wrong = _detail(postgres.tcp_url(password="wrong"))
    assert "password authentication failed" in wrong
    assert "user and password are right" in wrong
    assert "'wrong'" not in wrong

    missing = _detail(postgres.url(database="nowhere"))
    assert 'database "nowhere" does not exist' in missing
    assert "createdb" in missing

    nobody = _detail(postgres.tcp_url(port=1))
    assert "127.0.0.1:1, database postgres" in nobody
    assert "see that the server runs" in nobody

    assert "see that the server runs" in _detail(
        "postgresql://ops@%2Fnonexistent/db?connect_timeout=2"
    )
    assert "host's name" in _detail("postgresql://ops@nowhere.invalid/db")


def test_a_server_without_room_for_more_connections_says_so(
    postgres: PostgresServer,
) -> None:
    """Too many connections are named, with the setting to change."""
    name = postgres.new_schema()
    postgres.run(f"CREATE ROLE {name} LOGIN CONNECTION LIMIT 0")
    detail = _detail(postgres.url().replace(f"//{USER}@", f"//{name}@"))

    assert "too many connections" in detail
    assert "raise max_connections" in detail


def test_a_database_in_another_encoding_is_refused(postgres: PostgresServer) -> None:
    """Names and messages are Unicode, so the database must be able to hold it."""
    postgres.run(
        "CREATE DATABASE latin ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0"
    )
    assert "has the encoding LATIN1, and st8 needs UTF8" in _detail(
        postgres.url(database="latin")
    )


def test_an_old_server_is_refused(
    postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server older than the oldest one that is known to do is named."""
    monkeypatch.setattr(connections, "_OLDEST", 99_00_00)

    assert "and st8 needs 13 or newer; update the server" in _detail(postgres.url())


# --- sessions ------------------------------------------------------------------------------


@contextmanager
def _configured(postgres: PostgresServer, setting: str, value: str) -> Iterator[None]:
    """Change a default of the server for a while."""
    postgres.run(f"ALTER ROLE {USER} SET {setting} = {value}")
    try:
        yield
    finally:
        postgres.run(f"ALTER ROLE {USER} RESET {setting}")


@pytest.mark.parametrize(
    ("default", "expected"),
    [
        ("off", "on"),
        ("local", "on"),
        ("remote_write", "on"),
        ("on", "on"),
        ("remote_apply", "remote_apply"),
    ],
)
def test_every_commit_is_durable_whatever_the_default(
    postgres: PostgresServer, default: str, expected: str
) -> None:
    """Sessions wait for the disk; a server that waits for more is left to it."""
    with (
        _configured(postgres, "synchronous_commit", default),
        closing(PostgresStore(postgres.url(postgres.new_schema()))) as store,
    ):
        found = store._rows(b"SELECT current_setting('synchronous_commit')")

    assert [(expected,)] == found


def test_sessions_do_not_depend_on_other_defaults(postgres: PostgresServer) -> None:
    """A server whose default is serialisable, or another path, changes nothing."""
    with (
        _configured(postgres, "default_transaction_isolation", "serializable"),
        _configured(postgres, "search_path", "public"),
        _configured(postgres, "statement_timeout", "20000"),
        closing(PostgresStore(postgres.url(postgres.new_schema()))) as store,
    ):
        assert 1 == write(store)
        assert [("read committed", "30s", "st8d")] == store._rows(
            b"SELECT current_setting('transaction_isolation'), "
            b"current_setting('statement_timeout'), "
            b"current_setting('application_name')"
        )


def test_a_server_that_does_not_sync_is_named_so(postgres: PostgresServer) -> None:
    """Whoever looks at what the store is, sees that the server does not fsync."""
    try:
        postgres.run("ALTER SYSTEM SET fsync = off", "SELECT pg_reload_conf()")
        names: set[str] = set()
        while not any("does not fsync" in name for name in names):
            with closing(PostgresStore(postgres.url())) as store:
                names.add(store.name)
    finally:
        postgres.run("ALTER SYSTEM RESET fsync", "SELECT pg_reload_conf()")


def test_all_connections_in_use_is_told(
    postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who finds no connection free for long is told so, and may try again."""
    monkeypatch.setattr(connections, "_WAIT_S", 0)
    with closing(PostgresStore(postgres.url(postgres.new_schema()))) as store:
        lent = [store._connections.borrow() for _ in range(connections.CONNECTIONS_MAX)]
        with pytest.raises(Overloaded, match=r"connections to PostgreSQL at .* in use"):
            store.ping()
        for session in lent:
            store._connections.give_back(session)
        store.ping()


def test_many_threads_share_few_connections(postgres: PostgresServer) -> None:
    """More threads than connections all get their answers."""
    postgres.end_sessions()  # those of tests before, which may be on their way only
    with closing(PostgresStore(postgres.url(postgres.new_schema()))) as store:
        write(store)

        def read(times: int) -> None:
            for _ in range(times):
                assert 1 == store.namespace(A).last_revision

        run_all([partial(read, 20)] * (connections.CONNECTIONS_MAX * 2))
        held = postgres.run(
            "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'st8d'"
        )
        assert held[0][0] <= connections.CONNECTIONS_MAX
