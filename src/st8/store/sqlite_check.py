"""What a verification asks of the file itself: each object, and what lies below.

SQLite's own check finds pages that are damaged, but no flipped bit in a value; what
else no digest and no seal covers is compared here with what it has to be.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, cast

import apsw

from st8.core.ids import PREFIX_BYTES
from st8.core.ports import HeldObject
from st8.store import schema
from st8.store.codec import unpacked

if TYPE_CHECKING:
    from collections.abc import Iterator

    from st8.store.sql import Connection

__all__ = ["held_objects", "problems"]

_PROBLEMS_MAX: Final = 100
"""So many of SQLite's own; a damaged page can have thousands."""

_OWNED: Final = ("answers", "branches", "checkpoints", "revisions")
_SHOWN: Final = {
    "answers": "typeof(key) = 'text'",
    "branches": "typeof(name) = 'text'",
    "checkpoints": "typeof(name) = 'text'",
    "namespaces": "typeof(name) = 'text'",
    "revisions": "typeof(number) = 'integer' AND number > 0",
}
"""What lists take for granted: they would pass over a row in silence."""
_INCREMENTAL: Final = 2
_HEADER: Final = {
    "application_id": schema.APPLICATION_ID,
    "page_size": schema.PAGE_BYTES,
    "auto_vacuum": _INCREMENTAL,
}


def held_objects(
    connection: Connection, after: int, limit: int, size_max: int
) -> list[HeldObject]:
    """Return a page of objects; see :meth:`~st8.core.ports.Store.held_objects`."""
    column = "data" if size_max else "iif(typeof(data) = 'blob', length(data), NULL)"
    found: list[HeldObject] = []
    size = 0
    for position, prefix, value in connection.execute(
        f"SELECT id, prefix, {column} FROM objects WHERE id > ? ORDER BY id LIMIT ?",
        (after, limit),
    ):
        begins = b""
        if type(prefix) is int:
            begins = prefix.to_bytes(PREFIX_BYTES, "big", signed=True)
        if not size_max:
            # What has no bytes is found by nothing.
            held = (begins, value) if type(value) is int else (b"", 0)
            found.append(HeldObject(position, *held, None))
            continue
        is_blob = type(value) is bytes
        data = unpacked(value) if is_blob else None
        length = len(value) if is_blob else 0
        found.append(HeldObject(position, begins, length, data))
        size += length
        if size > size_max:
            break
    return found


def problems(connection: Connection) -> list[str]:
    """Return what is wrong with the file, a sentence each; may take long."""
    found: list[str] = []
    for check in (_pages, _header, _tables, _owners):
        try:
            found += check(connection)
        except (apsw.CorruptError, apsw.NotADBError, apsw.SQLError) as error:
            found.append(f"SQLite can't read the file to its end: {error}")
    return found


def _pages(connection: Connection) -> Iterator[str]:
    for (said,) in connection.execute(f"PRAGMA integrity_check({_PROBLEMS_MAX})"):
        if said != "ok":
            yield f"SQLite's integrity check says: {said}"


def _header(connection: Connection) -> Iterator[str]:
    for name, expected in _HEADER.items():
        ((found,),) = connection.execute(f"PRAGMA {name}").fetchall()
        if found != expected:
            yield f"the file's {name} is {found} and has to be {expected}"
    if not 0 < _format(connection) <= schema.FORMAT:
        yield f"the file's format is {_format(connection)}, which there is not"


def _tables(connection: Connection) -> Iterator[str]:
    """Compare the definitions of the tables with those that a new file gets."""
    new = cast("Connection", apsw.Connection(":memory:"))
    try:
        schema.prepare(new, _format(connection))
        expected = _definitions(new)
    finally:
        new.close()
    found = _definitions(connection)
    for name in sorted(expected.keys() | found.keys()):
        if expected.get(name) != found.get(name):
            yield f"the definition of {name} in the file is not the one st8d makes"


def _format(connection: Connection) -> int:
    ((found,),) = connection.execute("PRAGMA user_version").fetchall()
    return int(found)


def _definitions(connection: Connection) -> dict[str, Any]:
    """Return what the file says of its tables and indexes, but for where they begin."""
    return {
        repr(name): (kind, table, sql)
        for name, kind, table, sql in connection.execute(
            "SELECT name, type, tbl_name, sql FROM sqlite_schema "
            "WHERE name IS NULL OR name NOT LIKE 'sqlite_stat%'"
        )
    }


def _owners(connection: Connection) -> Iterator[str]:
    """Find rows that no list shows, as they are of no namespace there is."""
    for table in _OWNED:
        ((count,),) = connection.execute(
            f"SELECT count(*) FROM {table} "
            "WHERE namespace NOT IN (SELECT id FROM namespaces)"
        ).fetchall()
        if count:
            yield f"{count} row(s) of {table} are of a namespace that is not there"
    for table, shown in _SHOWN.items():
        ((count,),) = connection.execute(
            f"SELECT count(*) FROM {table} WHERE ({shown}) IS NOT TRUE"
        ).fetchall()
        if count:
            yield f"{count} row(s) of {table} have a name or number that can't be"
    ((count,),) = connection.execute("SELECT count(*) FROM collection").fetchall()
    if count != 1:
        yield f"the table collection has {count} rows and has to have one"
