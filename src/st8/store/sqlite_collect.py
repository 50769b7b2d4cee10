"""What a collection does to the embedded store, piece by piece.

Each piece that writes is one statement: apsw lets other threads run while SQLite
computes, and waits for them after each step, which in a transaction would be a wait
that all writers share.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

import apsw

from st8.core.errors import Corrupt
from st8.store.schema import PAGE_BYTES
from st8.store.sqlite_batch import NAMESPACE, integers

if TYPE_CHECKING:
    from collections.abc import Container, Sequence

    from st8.core.ids import Namespace, RevisionNumber
    from st8.store.sql import Connection

__all__ = [
    "Dead",
    "choose_dead",
    "delete_objects",
    "delete_revisions",
    "log_has_grown",
    "move_log",
    "vacuum",
]

_LOOKED_AT: Final = 4
"""A sweep looks at so many objects for each that it may delete."""
_MOVED_PAGES: Final = 2 * 1024 * 1024 // PAGE_BYTES
"""Pages in the log that are moved at once: a commit beside it waits for their sync."""
_INTEGER_MAX: Final = 2**63 - 1

_DELETE_REVISIONS: Final = f"""
DELETE FROM revisions WHERE namespace = {NAMESPACE.replace("?", "?1")}
AND number IN (SELECT value FROM carray(?2))
AND number NOT IN (
  SELECT head FROM branches
  WHERE namespace = {NAMESPACE.replace("?", "?1")} AND head BETWEEN ?3 AND ?4
  UNION ALL SELECT base FROM branches
  WHERE namespace = {NAMESPACE.replace("?", "?1")} AND base BETWEEN ?3 AND ?4
  UNION ALL SELECT revision FROM checkpoints
  WHERE namespace = {NAMESPACE.replace("?", "?1")} AND revision BETWEEN ?3 AND ?4)"""


class Dead(NamedTuple):
    """Objects that a sweep has come upon.

    Attributes:
        position: Where it goes on; 0 at the end.
        rows: Those that may go.
        size: Their bytes.
    """

    position: int
    rows: list[int]
    size: int


def delete_revisions(
    writer: Connection, namespace: Namespace, numbers: Sequence[RevisionNumber]
) -> int:
    """Delete revisions, at least one, that nothing names; return how many."""
    writer.execute(
        _DELETE_REVISIONS, (namespace, integers(numbers), min(numbers), max(numbers))
    )
    return writer.changes()


def choose_dead(
    reader: Connection,
    marked: Container[int],
    after: int,
    limit: int,
    epoch: int = _INTEGER_MAX,
) -> Dead:
    """Return up to ``limit`` objects that are not marked and are older than ``epoch``.

    Raises:
        Corrupt: A row is not what it should be.
    """
    wanted = limit * _LOOKED_AT
    rows = reader.execute(
        "SELECT id, prefix, epoch, ifnull(length(data), 0) FROM objects WHERE id > ? "
        "ORDER BY id LIMIT ?",
        (after, wanted),
    ).fetchall()
    if any(type(value) is not int for _, *row in rows for value in row):
        raise Corrupt("an object's row in the store has no number or epoch")
    position = rows[-1][0] if len(rows) == wanted else 0
    dead: list[int] = []
    total = 0
    for row, prefix, stamp, size in rows:
        if stamp < epoch and prefix not in marked:
            dead.append(row)
            total += size
            if len(dead) == limit:
                return Dead(row if row != rows[-1][0] else position, dead, total)
    return Dead(position, dead, total)


def delete_objects(writer: Connection, rows: Sequence[int], epoch: int) -> None:
    """Delete those of ``rows`` that are still older than ``epoch``.

    One that was deleted and whose number another has got since is as young as that.
    """
    writer.execute(
        "DELETE FROM objects WHERE id IN (SELECT value FROM carray(?)) AND epoch < ?",
        (integers(rows), epoch),
    )


def vacuum(writer: Connection, pages: int) -> int:
    """Give back up to ``pages`` free pages of the file; return how many bytes."""
    before = _number(writer, "PRAGMA page_count")
    if _number(writer, "PRAGMA freelist_count"):
        writer.execute(f"PRAGMA incremental_vacuum({pages})").fetchall()
    return (before - _number(writer, "PRAGMA page_count")) * PAGE_BYTES


def log_has_grown(connection: Connection) -> bool:
    """Return whether the log is worth to be moved, before a commit has to do it."""
    _, log, moved = _checkpoint(connection, "NOOP")
    return log - moved >= _MOVED_PAGES


def move_log(connection: Connection, *, truncate: bool = False) -> None:
    """Move the log to the file; cut it off if nobody reads in it.

    Raises:
        apsw.Error: It failed, and what is on the disk is not known.
    """
    _checkpoint(connection, "TRUNCATE" if truncate else "PASSIVE")


def _checkpoint(connection: Connection, mode: str) -> tuple[int, int, int]:
    """Return whether it was held up, and how many pages the log has and were moved."""
    try:
        rows = connection.execute(f"PRAGMA wal_checkpoint({mode})").fetchall()
    except apsw.BusyError:  # another one is at it
        return 1, 0, 0
    busy, log, moved = rows[0]
    return busy, log, moved


def _number(connection: Connection, sql: str) -> int:
    rows: list[tuple[Any, ...]] = connection.execute(sql).fetchall()
    return int(rows[0][0])
