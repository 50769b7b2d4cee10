"""The tables of the embedded store, and how an older file becomes a current one.

``application_id`` says that a file is ours, ``user_version`` which format it has.
A file of a newer format is refused before anything is written to it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from st8.core.errors import NewerFormat, StorageFailed

if TYPE_CHECKING:
    from st8.store.sql import Connection

__all__ = ["FORMAT", "FORMAT_OF_REDACTIONS", "PAGE_BYTES", "check", "prepare"]

APPLICATION_ID: Final = 0x53543864
"""``ST8d`` in ASCII."""

PAGE_BYTES: Final = 16_384
"""Tree nodes have up to some kilobytes: small pages leave much room unused."""

_TABLES: Final = """
CREATE TABLE collection (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    epoch INTEGER NOT NULL
);
INSERT INTO collection VALUES (1, 1);
CREATE TABLE namespaces (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    last_revision INTEGER NOT NULL,
    seal INTEGER NOT NULL
);
CREATE TABLE objects (
    id INTEGER PRIMARY KEY,
    prefix INTEGER NOT NULL,
    epoch INTEGER NOT NULL,
    data BLOB NOT NULL
);
CREATE INDEX objects_by_prefix ON objects (prefix);
CREATE TABLE revisions (
    namespace INTEGER NOT NULL,
    number INTEGER NOT NULL,
    data BLOB NOT NULL,
    seal INTEGER NOT NULL,
    PRIMARY KEY (namespace, number)
) WITHOUT ROWID;
CREATE TABLE branches (
    namespace INTEGER NOT NULL,
    name TEXT NOT NULL,
    base INTEGER NOT NULL,
    since INTEGER NOT NULL,
    head INTEGER NOT NULL,
    head_digest BLOB NOT NULL,
    seal INTEGER NOT NULL,
    PRIMARY KEY (namespace, name)
) WITHOUT ROWID;
CREATE TABLE checkpoints (
    namespace INTEGER NOT NULL,
    name TEXT NOT NULL,
    revision INTEGER NOT NULL,
    digest BLOB NOT NULL,
    branch TEXT NOT NULL,
    description TEXT NOT NULL,
    author TEXT NOT NULL,
    time_ns INTEGER NOT NULL,
    seal INTEGER NOT NULL,
    PRIMARY KEY (namespace, name)
) WITHOUT ROWID;
CREATE TABLE answers (
    namespace INTEGER NOT NULL,
    key TEXT NOT NULL,
    request BLOB NOT NULL,
    revision INTEGER NOT NULL,
    noop INTEGER NOT NULL,
    expires_ns INTEGER NOT NULL,
    seal INTEGER NOT NULL,
    PRIMARY KEY (namespace, key)
);
CREATE INDEX answers_by_expiry ON answers (expires_ns);
"""

_REDACTIONS: Final = """
CREATE TABLE redactions (
    digest BLOB NOT NULL,
    namespace TEXT NOT NULL,
    key TEXT NOT NULL,
    author TEXT NOT NULL,
    reason TEXT NOT NULL,
    time_ns INTEGER NOT NULL,
    seal INTEGER NOT NULL,
    PRIMARY KEY (digest, namespace, key)
) WITHOUT ROWID;
"""

_STEPS: Final = (
    f"{_TABLES}PRAGMA application_id = {APPLICATION_ID};",
    _REDACTIONS,
)
"""Each makes of a file of one format one of the next, from an empty file on."""

FORMAT: Final = len(_STEPS)
"""The format that this version writes."""

FORMAT_OF_REDACTIONS: Final = 2
"""The first one that has redactions; a store of an older one has none."""


def check(connection: Connection) -> None:
    """Return if the file is ours, or empty; reads only.

    Raises:
        NewerFormat: A newer st8 wrote the file.
        StorageFailed: The file is of another program.
    """
    found = _number(connection, "PRAGMA user_version")
    application = _number(connection, "PRAGMA application_id")
    if application == APPLICATION_ID and found > FORMAT:
        raise NewerFormat(
            f"was written in format {found} by a newer st8d; this one knows formats "
            f"up to {FORMAT}. Use the newer st8d, or another --state-dir"
        )
    if application != APPLICATION_ID and not _is_empty(connection):
        raise StorageFailed(
            f"{connection.filename} is not a st8 store; it is left alone"
        )


def prepare(writer: Connection, wanted: int = FORMAT) -> None:
    """Make the tables that an empty or older file lacks, all of them or none.

    They are those of the format ``wanted``.
    """
    if _is_empty(writer):
        writer.execute(f"PRAGMA page_size = {PAGE_BYTES}")
        writer.execute("PRAGMA auto_vacuum = INCREMENTAL")
    writer.execute("PRAGMA journal_mode = WAL")
    found = _number(writer, "PRAGMA user_version")
    if found < wanted:
        steps = "".join(_STEPS[found:wanted])
        writer.execute(f"BEGIN IMMEDIATE;{steps}PRAGMA user_version = {wanted};COMMIT")


def _is_empty(connection: Connection) -> bool:
    return _number(connection, "SELECT count(*) FROM sqlite_schema") == 0


def _number(connection: Connection, sql: str) -> int:
    return int(connection.execute(sql).fetchall()[0][0])
