"""The tables of the store in PostgreSQL, and how an older schema becomes a current one.

All is in one schema. Its table ``store`` has one row, which says the format; a newer
one is refused before anything is written. Every commit holds that row, so a schema is
never changed under a commit.

Names are compared by their UTF-8 bytes: collation "C". Rows that are updated all the
time leave room on their page, so that an update touches no index.
"""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Final

import psycopg

from st8.core.errors import NewerFormat, StorageFailed

if TYPE_CHECKING:
    from st8.store.postgres.address import Address
    from st8.store.postgres.connections import Session

__all__ = ["FORMAT", "check_format", "lock_key", "prepare"]

FORMAT: Final = 1
"""The format that this version writes."""

_LOCKS: Final = 0x53543864
"""``ST8d``: the first half of the keys of our advisory locks."""

_TABLES: Final = (
    """
CREATE TABLE store (
    id boolean PRIMARY KEY DEFAULT true CHECK (id),
    format integer NOT NULL,
    epoch bigint NOT NULL
)""",
    """
CREATE TABLE namespaces (
    name text COLLATE "C" PRIMARY KEY,
    last_revision bigint NOT NULL,
    seal bigint NOT NULL
) WITH (fillfactor = 50)""",
    """
CREATE TABLE objects (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    epoch bigint NOT NULL,
    digest bytea NOT NULL UNIQUE,
    data bytea NOT NULL
)""",
    # Packed already: PostgreSQL shall not try again.
    "ALTER TABLE objects ALTER COLUMN data SET STORAGE EXTERNAL",
    """
CREATE TABLE revisions (
    namespace text COLLATE "C" NOT NULL,
    number bigint NOT NULL,
    data bytea NOT NULL,
    seal bigint NOT NULL,
    PRIMARY KEY (namespace, number)
)""",
    """
CREATE TABLE branches (
    namespace text COLLATE "C" NOT NULL,
    name text COLLATE "C" NOT NULL,
    base bigint NOT NULL,
    since bigint NOT NULL,
    head bigint NOT NULL,
    head_digest bytea NOT NULL,
    seal bigint NOT NULL,
    PRIMARY KEY (namespace, name)
) WITH (fillfactor = 50)""",
    """
CREATE TABLE checkpoints (
    namespace text COLLATE "C" NOT NULL,
    name text COLLATE "C" NOT NULL,
    revision bigint NOT NULL,
    digest bytea NOT NULL,
    branch text COLLATE "C" NOT NULL,
    description text COLLATE "C" NOT NULL,
    author text COLLATE "C" NOT NULL,
    time_ns bigint NOT NULL,
    seal bigint NOT NULL,
    PRIMARY KEY (namespace, name)
)""",
    """
CREATE TABLE answers (
    namespace text COLLATE "C" NOT NULL,
    key text COLLATE "C" NOT NULL,
    request bytea NOT NULL,
    revision bigint NOT NULL,
    noop bigint NOT NULL,
    expires_ns bigint NOT NULL,
    seal bigint NOT NULL,
    PRIMARY KEY (namespace, key)
)""",
    "CREATE INDEX answers_by_expiry ON answers (expires_ns)",
    f"INSERT INTO store (format, epoch) VALUES ({FORMAT}, 1)",
)


def check_format(found: int, address: Address) -> None:
    """Return if the store has the format that this version writes.

    Raises:
        NewerFormat: A newer st8 has made it, or has migrated it meanwhile.
    """
    if found > FORMAT:
        raise NewerFormat(
            f"{address.place}, schema {address.schema}, was written in format {found} "
            f"by a newer st8d; this one knows formats up to {FORMAT}. Use the newer "
            "st8d, or another schema"
        )


def lock_key(purpose: str, schema: str) -> int:
    """Return the key of an advisory lock; never 0."""
    return _LOCKS << 32 | zlib.crc32(f"{purpose} {schema}".encode())


def prepare(session: Session, address: Address, *, make: bool = True) -> None:
    """Make the tables where there are none; of daemons that start at once, one does.

    Raises:
        NewerFormat: A newer st8 has made them; nothing was changed.
        StorageFailed: The schema is of another program, or there is none and ``make``
            is false; nothing was changed.
        psycopg.Error: It can't be done.
    """
    if _is_there(session, address):
        return
    if not make:
        raise StorageFailed(
            f"{address.place} has no st8 store in schema {address.schema}; write "
            "another one with ?schema=NAME"
        )
    with session.connection.transaction():
        # Again: behind a pooler that lends another session to each transaction, what
        # was set before is lost, and the tables would come to be in another schema.
        session.connection.execute(
            f'SET LOCAL search_path = "{address.schema}"'.encode()
        )
        session.connection.execute("SET LOCAL lock_timeout = 0")
        session.connection.execute("SET LOCAL statement_timeout = 0")
        key = lock_key("schema", address.schema)
        session.rows(b"SELECT pg_advisory_xact_lock($1::bigint)", (key,))
        if not _is_there(session, address):
            _make(session, address)


def _is_there(session: Session, address: Address) -> bool:
    """Return whether the tables are there, in our format; reads only."""
    rows = session.rows(
        b"SELECT c.relname FROM pg_namespace n JOIN pg_class c "
        b"ON c.relnamespace = n.oid WHERE n.nspname = $1::name AND c.relkind = 'r'",
        (address.schema,),
    )
    if not rows:
        return False
    try:
        found = session.rows(b"SELECT format FROM store") if ("store",) in rows else []
    except psycopg.errors.UndefinedColumn:
        found = []
    if not found:
        raise StorageFailed(
            f"the schema {address.schema} of {address.place} has tables of another "
            "program and is left alone; write another name with ?schema=NAME"
        )
    check_format(found[0][0], address)
    return True


def _make(session: Session, address: Address) -> None:
    schemas = session.rows(
        b"SELECT 1 FROM pg_namespace WHERE nspname = $1::name", (address.schema,)
    )
    # Also to ask for one that is there takes the right to make it.
    for statement in (
        *(() if schemas else (f'CREATE SCHEMA "{address.schema}"',)),
        *_TABLES,
    ):
        session.connection.execute(statement.encode())
