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

from st8.core.errors import Corrupt, NewerFormat, StorageFailed

if TYPE_CHECKING:
    from st8.store.postgres.address import Address
    from st8.store.postgres.connections import Session

__all__ = [
    "FORMAT",
    "FORMAT_OF_REDACTIONS",
    "check_format",
    "lock_key",
    "prepare",
]

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
    "INSERT INTO store (format, epoch) VALUES (1, 1)",
)

_REDACTIONS: Final = (
    """
CREATE TABLE redactions (
    digest bytea NOT NULL,
    namespace text COLLATE "C" NOT NULL,
    key text COLLATE "C" NOT NULL,
    author text COLLATE "C" NOT NULL,
    reason text COLLATE "C" NOT NULL,
    time_ns bigint NOT NULL,
    seal bigint NOT NULL,
    PRIMARY KEY (digest, namespace, key)
)""",
)

_STEPS: Final = (_TABLES, _REDACTIONS)
"""Each makes of a store of one format one of the next, from an empty schema on."""

FORMAT: Final = len(_STEPS)
"""The format that this version writes."""

FORMAT_OF_REDACTIONS: Final = 2
"""The first one that has redactions; a store of an older one has none."""


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


def prepare(
    session: Session, address: Address, *, make: bool = True, read_only: bool = False
) -> int:
    """Make the tables that are missing, all or none; of daemons that start, one does.

    A store of an older format becomes one of this version. Daemons of an older version
    that still use it refuse to write from then on. With ``read_only`` it stays as it
    is. Returns the format that it has.

    Raises:
        Corrupt: It does not say which format it has; nothing was changed.
        NewerFormat: A newer st8 has made them; nothing was changed.
        StorageFailed: The schema is of another program, or there is none and ``make``
            is false; nothing was changed.
        psycopg.Error: It can't be done.
    """
    found = _format(session, address)
    if found == FORMAT or (found and read_only):
        return found
    if not found and not make:
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
        _make(session, address, _format(session, address))
    return FORMAT


def _format(session: Session, address: Address) -> int:
    """Return the format of the tables that are there; 0 for none. Reads only."""
    rows = session.rows(
        b"SELECT c.relname FROM pg_namespace n JOIN pg_class c "
        b"ON c.relnamespace = n.oid WHERE n.nspname = $1::name AND c.relkind = 'r'",
        (address.schema,),
    )
    if not rows:
        return 0
    found = None
    try:
        if ("store",) in rows:
            found = session.rows(b"SELECT format FROM store")
    except psycopg.errors.UndefinedColumn:
        pass
    if found is None:
        raise StorageFailed(
            f"the schema {address.schema} of {address.place} has tables of another "
            "program and is left alone; write another name with ?schema=NAME"
        )
    form = found[0][0] if found else None
    if form is None or form < 1:
        says = "no format" if form is None else f"the format {form}, which there is not"
        raise Corrupt(
            f"{address.place}, schema {address.schema}, is damaged: its table store has "
            f"{says}; restore it from a backup"
        )
    check_format(form, address)
    return int(form)


def _make(session: Session, address: Address, found: int) -> None:
    """Make of the store, which has the format ``found``, one of ours."""
    if found == FORMAT:  # another daemon was quicker
        return
    statements = [statement for step in _STEPS[found:] for statement in step]
    # Also to ask for a schema that is there takes the right to make it.
    if not session.rows(
        b"SELECT 1 FROM pg_namespace WHERE nspname = $1::name", (address.schema,)
    ):
        statements.insert(0, f'CREATE SCHEMA "{address.schema}"')
    # Last: commits of older versions are waited for, and none of them comes after.
    statements.append(f"UPDATE store SET format = {FORMAT}")
    for statement in statements:
        session.connection.execute(statement.encode())
