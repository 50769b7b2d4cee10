"""What a commit writes into the embedded store, row by row.

All of it in a transaction of the caller's, who ends it.
"""

from __future__ import annotations

from array import array
from typing import TYPE_CHECKING, Final

import apsw

from st8.core.errors import Corrupt
from st8.core.failpoints import failpoint
from st8.core.ids import Digest, digest_of, digest_prefix
from st8.core.ports import Batch, Stale
from st8.store.codec import unpack
from st8.store.rows import seal

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from st8.core.redactions import Redaction
    from st8.store.sql import Connection

__all__ = [
    "NAMESPACE",
    "count_up_epoch",
    "integers",
    "write_batch",
    "write_redactions",
]

NAMESPACE: Final = "(SELECT id FROM namespaces WHERE name = ?)"
"""The number of a namespace, by its name."""

_ANSWERS_FORGOTTEN: Final = 64
"""Expired answers deleted by a commit that adds some."""


def write_batch(
    writer: Connection, batch: Batch, packed: Mapping[Digest, bytes]
) -> None:
    """Write the rows of a batch; raise Stale if it does not fit what is there."""
    _compare_and_set(writer, batch)
    failpoint("sqlite.refs_moved")
    if packed:
        _put_objects(writer, packed, batch.epoch)
    failpoint("sqlite.objects_put")
    for namespace, records in batch.revisions.items():
        writer.executemany(
            "INSERT INTO revisions (namespace, number, data, seal) "
            f"VALUES ({NAMESPACE}, ?, ?, ?)",
            [(namespace, *record, seal(namespace, *record)) for record in records],
        )
    failpoint("sqlite.revisions_put")
    if batch.answers:
        _remember(writer, batch)
    failpoint("sqlite.answers_put")


def _put_objects(
    writer: Connection, packed: Mapping[Digest, bytes], epoch: int
) -> None:
    """Store objects; those that are there already are stamped with ``epoch``.

    One that is there but damaged is replaced.
    """
    there: set[Digest] = set()
    stamped: list[tuple[int, int]] = []
    damaged: list[tuple[int]] = []
    for row, stamp, prefix, data in writer.execute(
        "SELECT id, epoch, prefix, data FROM carray(?) CROSS JOIN objects "
        "ON prefix = value",
        (integers(map(digest_prefix, packed)),),
    ):
        digest = _digest_of_packed(data)
        if digest is not None and digest in packed:
            there.add(digest)
            if stamp < epoch:
                stamped.append((epoch, row))
        elif digest is None or digest_prefix(digest) != prefix:
            damaged.append((row,))
    writer.executemany("DELETE FROM objects WHERE id = ?", damaged)
    writer.executemany("UPDATE objects SET epoch = ? WHERE id = ?", stamped)
    writer.executemany(
        "INSERT INTO objects (prefix, epoch, data) VALUES (?, ?, ?)",
        [
            (digest_prefix(digest), epoch, data)
            for digest, data in packed.items()
            if digest not in there
        ],
    )


def write_redactions(writer: Connection, redactions: Sequence[Redaction]) -> None:
    """Store redactions that are not there yet, and delete what they redact."""
    gone = {redaction.digest for redaction in redactions}
    if not gone:
        return
    rows = [
        (row,)
        for row, data in writer.execute(
            "SELECT id, data FROM carray(?) CROSS JOIN objects ON prefix = value",
            (integers(map(digest_prefix, gone)),),
        )
        # What can't be unpacked may still tell what it was.
        if _digest_of_packed(data) in {*gone, None}
    ]
    writer.executemany("DELETE FROM objects WHERE id = ?", rows)
    writer.executemany(
        "INSERT INTO redactions (digest, namespace, key, author, reason, time_ns, seal) "
        "VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
        [(*redaction, seal("redactions", *redaction)) for redaction in redactions],
    )


def _digest_of_packed(data: bytes) -> Digest | None:
    try:
        return digest_of(unpack(data))
    except Corrupt:
        return None


def integers(values: Iterable[int]) -> object:
    """Return integers as a table-valued function takes them; at least one."""
    # apsw does not say what its buffers are made of.
    return apsw.carray(array("q", values))  # pyright: ignore[reportUnknownMemberType]


def _compare_and_set(writer: Connection, batch: Batch) -> None:
    """Set every ref of ``batch`` that is as expected; raise Stale at one that isn't."""
    if writer.execute("SELECT epoch FROM collection").fetchall() != [(batch.epoch,)]:
        raise Stale
    for namespace, (expected, last) in batch.namespaces.items():
        writer.execute(
            "INSERT INTO namespaces (name, last_revision, seal) VALUES (?, 0, ?) "
            "ON CONFLICT DO NOTHING",
            (namespace, seal(namespace, 0)),
        )
        writer.execute(
            "UPDATE namespaces SET last_revision = ?, seal = ? "
            "WHERE name = ? AND last_revision = ?",
            (last, seal(namespace, last), namespace, expected),
        )
        _expect_one(writer)
    for (namespace, _), (branch, new_branch) in batch.branches.items():
        if branch is not None:
            writer.execute(
                f"DELETE FROM branches WHERE namespace = {NAMESPACE} "
                "AND (name, base, since, head, head_digest) = (?, ?, ?, ?, ?)",
                (namespace, *branch),
            )
            _expect_one(writer)
        if new_branch is not None:
            writer.execute(
                "INSERT INTO branches (namespace, name, base, since, head, "
                f"head_digest, seal) VALUES ({NAMESPACE}, ?, ?, ?, ?, ?, ?) "
                "ON CONFLICT DO NOTHING",
                (namespace, *new_branch, seal(namespace, *new_branch)),
            )
            _expect_one(writer)
    for (namespace, _), (checkpoint, new) in batch.checkpoints.items():
        if checkpoint is not None:
            writer.execute(
                f"DELETE FROM checkpoints WHERE namespace = {NAMESPACE} AND "
                "(name, revision, digest, branch, description, author, time_ns) = "
                "(?, ?, ?, ?, ?, ?, ?)",
                (namespace, *checkpoint),
            )
            _expect_one(writer)
        if new is not None:
            writer.execute(
                "INSERT INTO checkpoints (namespace, name, revision, digest, branch, "
                "description, author, time_ns, seal) "
                f"VALUES ({NAMESPACE}, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
                (namespace, *new, seal(namespace, *new)),
            )
            _expect_one(writer)


def _expect_one(writer: Connection) -> None:
    if writer.changes() != 1:
        raise Stale


def _remember(writer: Connection, batch: Batch) -> None:
    """Store answers to idempotency keys, and forget some that have expired."""
    writer.execute(
        "DELETE FROM answers WHERE rowid IN "
        "(SELECT rowid FROM answers WHERE expires_ns < ? LIMIT ?)",
        (batch.now_ns, _ANSWERS_FORGOTTEN + len(batch.answers)),
    )
    writer.executemany(
        "INSERT OR REPLACE INTO answers "
        "(namespace, key, request, revision, noop, expires_ns, seal) "
        f"VALUES ({NAMESPACE}, ?, ?, ?, ?, ?, ?)",
        [(*at, *answer, seal(*at, *answer)) for at, answer in batch.answers.items()],
    )


def count_up_epoch(writer: Connection, expected: int | None = None) -> int:
    """Count up the collection epoch; return what it is then.

    Raises:
        Stale: It is not the one that was expected, if one was.
    """
    rows = writer.execute(
        "UPDATE collection SET epoch = epoch + 1 WHERE epoch = coalesce(?, epoch) "
        "RETURNING epoch",
        (expected,),
    ).fetchall()
    if not rows:
        raise Stale
    return int(rows[0][0])
