"""What the store in PostgreSQL says when the server fails, and that it recovers."""

from __future__ import annotations

from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

import pytest

from st8.core.errors import (
    Corrupt,
    InternalError,
    OutcomeUnknown,
    St8Error,
    StorageFailed,
    StorageFull,
)
from st8.core.ids import digest_of
from st8.core.ports import Stale
from st8.store.postgres import PostgresStore, connections, turns
from st8.testing.batches import (
    MAIN,
    NO_MARKS,
    A,
    N,
    branch_at,
    dump,
    empty_batch,
    epoch_of,
    objects_of,
    put,
    set_branch,
    write,
    write_named,
)
from tests.postgres.appliers import run_all
from tests.postgres.server import USER

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.postgres.server import PostgresServer


@pytest.fixture
def schema(postgres: PostgresServer) -> str:
    """A schema of the test's own."""
    return postgres.new_schema()


@pytest.fixture
def store(postgres: PostgresServer, schema: str) -> Iterator[PostgresStore]:
    """A new store."""
    with _store(postgres.url(schema)) as store:
        yield store


@contextmanager
def _store(url: str) -> Iterator[PostgresStore]:
    """A store whose connections nobody but the test uses: it announces nothing."""
    with closing(PostgresStore(url)) as store:
        store._announcements.close()
        yield store


# --- errors that the server reports ---------------------------------------------------------


@contextmanager
def _failing(postgres: PostgresServer, schema: str, state: str) -> Iterator[None]:
    """Make every insert of a revision fail with an SQLSTATE, for a while."""
    postgres.run(
        f"""CREATE OR REPLACE FUNCTION {schema}.fail() RETURNS trigger AS $$
        BEGIN RAISE EXCEPTION 'as the test says' USING ERRCODE = '{state}'; END
        $$ LANGUAGE plpgsql""",
        f"CREATE TRIGGER fail BEFORE INSERT ON {schema}.revisions "
        f"EXECUTE FUNCTION {schema}.fail()",
    )
    try:
        yield
    finally:
        postgres.run(f"DROP TRIGGER fail ON {schema}.revisions")


@pytest.mark.parametrize(
    ("state", "kind", "remedy"),
    [
        ("53100", StorageFull, "no space left on PostgreSQL.*Free some space"),
        ("53200", StorageFailed, "more memory"),
        ("53300", StorageFailed, "raise max_connections"),
        ("25006", StorageFailed, "connect to the primary"),
        ("42501", StorageFailed, "grant the user"),
        ("55P03", StorageFailed, "look at pg_locks"),
        ("57014", StorageFailed, "overloaded"),
        ("58030", StorageFailed, "nothing was changed; try again"),
        ("XX000", StorageFailed, "nothing was changed; try again"),
        ("XX001", Corrupt, "found damage"),
        ("22003", InternalError, "refused a statement of st8"),
        ("42703", InternalError, "refused a statement of st8"),
        ("40001", Stale, "^$"),
        ("40P01", Stale, "^$"),
        ("23505", Stale, "^$"),
        ("57P01", OutcomeUnknown, "may or may not have been made"),
        ("08006", OutcomeUnknown, "may or may not have been made"),
    ],
)
def test_an_error_of_the_server_is_told_and_changes_nothing(
    postgres: PostgresServer,
    schema: str,
    store: PostgresStore,
    *,
    state: str,
    kind: type[Exception],
    remedy: str,
) -> None:
    """Each failure has its class and remedy; the next commit works, no restart needed."""
    write(store)
    before = dump(store)
    for _ in range(2):
        with _failing(postgres, schema, state), pytest.raises(kind, match=remedy):
            write(store)
        assert before == dump(store)

    assert 2 == write(store)


def test_a_server_that_takes_no_writes_says_so(
    postgres: PostgresServer, schema: str, store: PostgresStore
) -> None:
    """On a standby reads go on; commits and the ping name the remedy."""
    write(store)
    before = dump(store)
    try:
        postgres.run(f"ALTER ROLE {USER} SET default_transaction_read_only = on")
        store._connections.forget()
        with _store(postgres.url(schema)) as other:
            for some in (store, other):
                with pytest.raises(StorageFailed, match="connect to the primary"):
                    write(some)
                with pytest.raises(StorageFailed, match="takes no writes"):
                    some.ping()
                assert before == dump(some)
        with pytest.raises(StorageFailed, match="read-only"):
            PostgresStore(postgres.url(postgres.new_schema()))
    finally:
        with postgres.connect() as connection:
            connection.execute("SET default_transaction_read_only = off")
            connection.execute(
                f"ALTER ROLE {USER} RESET default_transaction_read_only".encode()
            )

    # Connections from before are read only still; the commit goes through a new one.
    assert 2 == write(store)
    store.ping()


def test_a_schema_that_is_gone_is_no_fault_of_st8(postgres: PostgresServer) -> None:
    """Reads, commits and the ping say so, until it is back."""
    name = postgres.new_schema()
    with closing(PostgresStore(postgres.url(name))) as store:
        write(store)
        postgres.run(f"ALTER SCHEMA {name} RENAME TO {name}_gone")
        for call in (store.ping, lambda: write(store), lambda: store.namespace(A)):
            with pytest.raises(StorageFailed, match="dropped or renamed the schema"):
                call()
        postgres.run(f"ALTER SCHEMA {name}_gone RENAME TO {name}")
        store.ping()
        write(store)


def test_a_commit_that_the_standby_has_not_confirmed_is_unknown(
    postgres: PostgresServer, store: PostgresStore
) -> None:
    """A server that gives up waiting for its standby is not believed to have it all."""
    write(store)
    ends: list[str] = []

    def commit() -> None:
        try:
            write(store)
        except OutcomeUnknown as error:
            ends.append(error.detail)

    def give_up() -> None:
        waiting = (
            "SELECT pg_cancel_backend(pid) FROM pg_stat_activity "
            "WHERE wait_event = 'SyncRep' AND application_name = 'st8d'"
        )
        while not postgres.run(waiting):
            pass

    try:
        postgres.run(
            "ALTER SYSTEM SET synchronous_standby_names = 'nobody'",
            "SELECT pg_reload_conf()",
        )
        names = "SELECT current_setting('synchronous_standby_names')"
        while postgres.run(names) != [("nobody",)]:
            pass
        store._connections.forget()
        run_all([commit, give_up])
    finally:
        with postgres.connect() as connection:
            connection.execute("ALTER SYSTEM RESET synchronous_standby_names")
            connection.execute("SELECT pg_reload_conf()")

    assert ["did not hear of its standby" in end for end in ends] == [True]
    assert branch_at(2) == store.branch(A, MAIN)


# --- a server that goes and comes ------------------------------------------------------------


@pytest.fixture
def own_server() -> Iterator[PostgresServer]:
    """A server that the test may stop."""
    from tests.postgres.server import PostgresServer

    server = PostgresServer()
    yield server
    server.close()


@pytest.mark.parametrize("mode", ["fast", "immediate"])
def test_a_server_that_was_restarted_costs_nothing(
    own_server: PostgresServer, mode: str
) -> None:
    """While it is down all is refused, at once; when it is up again all works."""
    with _store(own_server.url()) as store:
        for number in range(1, 4):
            assert number == write(store)
            before = dump(store)
            own_server.stop(mode)
            for call in (store.ping, lambda: write(store), lambda: put(store, b"x")):
                with pytest.raises(StorageFailed, match="see that the server runs"):
                    call()
            own_server.start()
            assert before == dump(store)
            own_server.stop(mode)
            own_server.start()
            # The first thing that this store hears of it is a commit.
            set_branch(store, branch_at(number), branch_at(number))


def test_a_server_that_is_away_is_not_overrun(
    own_server: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While no connection can be made few are tried, and all are told why."""
    monkeypatch.setattr(connections, "_PAUSE_S", 3600.0)
    with _store(own_server.url()) as store:
        write(store)
        own_server.stop()
        told: set[str] = set()
        for _ in range(5):
            with pytest.raises(StorageFailed) as caught:
                store.ping()
            told.add(caught.value.detail)
        own_server.start()
        with pytest.raises(StorageFailed) as caught:
            store.ping()
        assert {caught.value.detail} == told
        store._connections._pause_ends = 0.0
        store.ping()
        assert 2 == write(store)


# --- damage -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("table", "column", "value"),
    [
        ("branches", "head", "head + 1"),
        ("branches", "name", "'main2'"),
        ("branches", "head_digest", "set_byte(head_digest, 3, 7)"),
        ("checkpoints", "author", "'somebody'"),
        ("checkpoints", "time_ns", "time_ns + 1"),
        ("answers", "revision", "revision + 1"),
        ("namespaces", "last_revision", "last_revision + 1"),
        ("revisions", "data", "set_byte(data, 3, 7)"),
    ],
)
def test_a_damaged_row_is_not_believed(
    postgres: PostgresServer,
    schema: str,
    store: PostgresStore,
    *,
    table: str,
    column: str,
    value: str,
) -> None:
    """A row that does not match its seal is an error, never data."""
    write_named(store, ("a", "main"))
    postgres.run(f"UPDATE {schema}.{table} SET {column} = {value}")
    from st8.testing.batches import key_of

    with pytest.raises(Corrupt):
        dump(store, answers=[(A, key_of("main"))])


@pytest.mark.parametrize("bad", ["", "07", "0128b52ffd00", "006f74686572"])
def test_a_damaged_object_is_mended_by_a_put(
    postgres: PostgresServer, schema: str, store: PostgresStore, bad: str
) -> None:
    """An object whose stored bytes are damaged is right again once it is put again."""
    put(store, b"content", b"another")
    digest = digest_of(b"content").hex()
    postgres.run(
        rf"UPDATE {schema}.objects SET data = '\x{bad}' WHERE digest = '\x{digest}'"
    )
    put(store, b"content")

    wanted = objects_of(b"content", b"another")
    assert wanted == store.objects(list(wanted))


def test_an_object_packed_otherwise_is_left(
    postgres: PostgresServer, schema: str, store: PostgresStore
) -> None:
    """Bytes that another version has packed otherwise are as good, and stay."""
    content = b"content" * 100
    put(store, content)
    digest = digest_of(content).hex()
    plain = "00" + content.hex()
    postgres.run(
        rf"UPDATE {schema}.objects SET data = '\x{plain}' WHERE digest = '\x{digest}'"
    )
    put(store, content)

    assert objects_of(content) == store.objects([digest_of(content)])
    stored = postgres.run(
        rf"SELECT encode(data, 'hex') FROM {schema}.objects WHERE digest = '\x{digest}'"
    )
    assert [(plain,)] == stored


def test_a_store_without_its_row_is_corrupt(
    postgres: PostgresServer, schema: str, store: PostgresStore
) -> None:
    """A store that has lost its epoch answers no commit and tells of damage."""
    write(store)
    postgres.run(f"DELETE FROM {schema}.store")
    with pytest.raises(Corrupt, match="no collection epoch"):
        write(store)
    with pytest.raises(St8Error):
        PostgresStore(postgres.url(schema))


# --- many on one store -----------------------------------------------------------------------


def test_a_sweep_passes_over_what_is_being_stamped(
    postgres: PostgresServer, schema: str, store: PostgresStore
) -> None:
    """An object that another transaction holds is neither waited for nor deleted."""
    put(store, b"held", b"dead")
    epoch = store.raise_epoch({}, epoch_of(store)).epoch
    held = digest_of(b"held").hex()
    with postgres.connect() as connection, connection.transaction():
        connection.execute(
            rf"UPDATE {schema}.objects SET epoch = {epoch} WHERE digest = '\x{held}'".encode()
        )
        deleted = store.sweep(NO_MARKS, epoch, 0, 100).objects
        assert objects_of(b"held") == store.objects(
            [digest_of(b"held"), digest_of(b"dead")]
        )

    assert deleted >= 1
    assert objects_of(b"held") == store.objects([digest_of(b"held")])


def test_who_loses_again_and_again_gets_a_turn(
    postgres: PostgresServer,
    schema: str,
    store: PostgresStore,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """After some losses a turn is held until the commit; others still get theirs."""
    begin = turns._BEGIN.replace(b"'250ms'", b"'60s'")
    monkeypatch.setattr(turns, "_BEGIN", begin)  # not ended before it is looked for
    turn = (
        "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' "
        "AND mode = 'ExclusiveLock' AND granted"
    )
    write(store)
    with _store(postgres.url(schema)) as other:
        for _ in range(3):
            with pytest.raises(Stale):
                set_branch(store, branch_at(9), branch_at(1))
        assert [(1,)] == postgres.run(turn)
        assert 2 == write(other)
        assert 3 == write(store)
        assert [(0,)] == postgres.run(turn)


def test_a_commit_that_did_not_agree_leaves_the_next_one_durable(
    store: PostgresStore,
) -> None:
    """A refused commit waits for no disk; that holds for it alone."""
    write(store)
    batch = empty_batch(store)
    batch.namespaces[A] = (N(7), N(8))
    with pytest.raises(Stale):
        store.commit(batch)

    assert [("on",)] == store._rows(b"SELECT current_setting('synchronous_commit')")
    assert 1 == len(store._connections._idle)


def test_a_turn_that_is_not_used_ends_by_itself(
    postgres: PostgresServer, store: PostgresStore
) -> None:
    """Whoever takes a turn and then has nothing to commit holds up nobody for long."""
    turn = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND granted"
    write(store)
    for _ in range(3):
        with pytest.raises(Stale):
            set_branch(store, branch_at(9), branch_at(1))
    while postgres.run(turn) != [(0,)]:
        pass

    assert 2 == write(store)


# --- the rest ------------------------------------------------------------------------------------


def test_names_with_a_nul_are_not_there(store: PostgresStore) -> None:
    """PostgreSQL takes no NUL, and no name has one: asking is answered, not refused."""
    write_named(store, ("a", "x"), ("b", "y"))

    assert [] == list(store.namespaces("a\0", "", 10))
    assert ["b"] == [info.name for info in store.namespaces("", "a\0b", 10)]
    assert [] == list(store.branches(A, "\0", "", 10))


def test_numbers_beyond_64_bits_are_not_there(store: PostgresStore) -> None:
    """A number that no row can have is answered like any other that is absent."""
    write(store)

    assert {} == store.revisions(A, [N(2**63), N(-1), N(2**200)])
