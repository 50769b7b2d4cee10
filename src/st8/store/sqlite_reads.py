"""What is read of the embedded store, whoever opens its connections."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, cast

from st8.core.errors import Corrupt
from st8.core.ids import (
    BranchName,
    CheckpointName,
    Digest,
    IdempotencyKey,
    Namespace,
    RevisionNumber,
    digest_of,
    digest_prefix,
)
from st8.core.ports import Answer, AnswerAt, HeldObject, NamespaceState, Pointers
from st8.core.revisions import Branch, Checkpoint, NamespaceInfo
from st8.store import schema, sqlite_check
from st8.store.codec import unpack
from st8.store.rows import (
    BRANCH,
    CHECKPOINT,
    answer_at,
    namespace_at,
    redaction_of,
    unsealed,
)
from st8.store.sql import page_of_names
from st8.store.sqlite_batch import NAMESPACE, integers

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from contextlib import AbstractContextManager

    from st8.core.redactions import Redaction
    from st8.store.sql import Connection, Value

__all__ = ["SqliteReads"]

_INTEGER_MAX: Final = 2**63 - 1

_ANSWERS: Final = (
    "SELECT n.name, a.key, a.request, a.revision, a.noop, a.expires_ns, a.seal "
    "FROM namespaces n CROSS JOIN answers a ON a.namespace = n.id"
)

_OF: Final = "n.last_revision > 0 AND (?1 IS NULL OR n.name = ?1)"
_POINTERS: Final = (
    f"""
SELECT n.name, n.last_revision, n.seal FROM namespaces n WHERE {_OF} ORDER BY n.name""",
    f"""
SELECT n.name, b.name, b.base, b.since, b.head, b.head_digest, b.seal
FROM namespaces n CROSS JOIN branches b ON b.namespace = n.id
WHERE {_OF} ORDER BY n.name, b.name""",
    f"""
SELECT n.name, c.name, c.revision, c.digest, c.branch, c.description, c.author,
  c.time_ns, c.seal
FROM namespaces n CROSS JOIN checkpoints c ON c.namespace = n.id
WHERE {_OF} ORDER BY n.name, c.name""",
)


class SqliteReads:
    """The part of :class:`~st8.store.sqlite.SqliteStore` that reads."""

    _format: int

    def _reading(self) -> AbstractContextManager[Connection]:
        """Give a read connection for a while; turn its errors into ours."""
        raise NotImplementedError

    def objects(
        self, digests: Sequence[Digest], size_max: int | None = None
    ) -> dict[Digest, bytes]:
        """See :class:`~st8.core.ports.Store`."""
        if not digests:
            return {}
        wanted = {digest_prefix(digest): digest for digest in digests}
        rows: list[tuple[int, bytes]] = []
        with self._reading() as connection:
            size = 0
            for prefix, packed in connection.execute(
                "SELECT prefix, data FROM carray(?) CROSS JOIN objects "
                "ON prefix = value",
                (integers(wanted),),
            ):
                data = unpack(packed)
                rows.append((prefix, data))
                size += len(data)
                if size_max is not None and size > size_max:
                    break
        found = {wanted.get(prefix, b""): data for prefix, data in rows}
        if b"" not in found and len(found) == len(rows) and len(wanted) == len(digests):
            return cast("dict[Digest, bytes]", found)
        # Two objects share their first eight bytes, or an index is damaged: only the
        # whole digest can tell.
        by_digest = {digest_of(data): data for _, data in rows}
        return {digest: by_digest[digest] for digest in digests if digest in by_digest}

    def namespace(self, name: Namespace) -> NamespaceState:
        """See :class:`~st8.core.ports.Store`."""
        rows = self._rows(
            "SELECT epoch, last_revision, seal FROM collection "
            "LEFT JOIN namespaces ON name = ?",
            name,
        )
        if not rows or type(rows[0][0]) is not int:
            raise Corrupt("the store has no collection epoch")
        epoch, *row = rows[0]
        last = 0 if row == [None, None] else unsealed(row, name, int)[0]
        return NamespaceState(RevisionNumber(last), epoch)

    def namespaces(
        self, prefix: str, after: str, limit: int
    ) -> Sequence[NamespaceInfo]:
        """See :class:`~st8.core.ports.Store`."""
        where, values = page_of_names(prefix, after)
        found: list[NamespaceInfo] = []
        with self._reading() as connection:
            # Only of a row that matches its seal it is known that it has no revision.
            for row in connection.execute(
                "SELECT name, last_revision, seal FROM namespaces "
                f"WHERE {where} ORDER BY name",
                values,
            ):
                info = namespace_at(row)
                if info.last_revision:
                    found.append(info)
                    if len(found) >= limit:
                        break
        return found

    def branch(self, namespace: Namespace, name: BranchName) -> Branch | None:
        """See :class:`~st8.core.ports.Store`."""
        row = self._row(
            "SELECT name, base, since, head, head_digest, seal FROM branches "
            f"WHERE namespace = {NAMESPACE} AND name = ?",
            namespace,
            name,
        )
        return None if row is None else Branch(*unsealed(row, namespace, *BRANCH))

    def branches(
        self, namespace: Namespace, prefix: str, after: str, limit: int
    ) -> Sequence[Branch]:
        """See :class:`~st8.core.ports.Store`."""
        where, values = page_of_names(prefix, after)
        rows = self._rows(
            "SELECT name, base, since, head, head_digest, seal FROM branches "
            f"WHERE namespace = {NAMESPACE} AND {where} ORDER BY name LIMIT ?",
            namespace,
            *values,
            limit,
        )
        return [Branch(*unsealed(row, namespace, *BRANCH)) for row in rows]

    def checkpoint(
        self, namespace: Namespace, name: CheckpointName
    ) -> Checkpoint | None:
        """See :class:`~st8.core.ports.Store`."""
        row = self._row(
            "SELECT name, revision, digest, branch, description, author, time_ns, seal "
            f"FROM checkpoints WHERE namespace = {NAMESPACE} AND name = ?",
            namespace,
            name,
        )
        if row is None:
            return None
        return Checkpoint(*unsealed(row, namespace, *CHECKPOINT))

    def checkpoints(
        self, namespace: Namespace, prefix: str, after: str, limit: int
    ) -> Sequence[Checkpoint]:
        """See :class:`~st8.core.ports.Store`."""
        where, values = page_of_names(prefix, after)
        rows = self._rows(
            "SELECT name, revision, digest, branch, description, author, time_ns, seal "
            f"FROM checkpoints WHERE namespace = {NAMESPACE} AND {where} "
            "ORDER BY name LIMIT ?",
            namespace,
            *values,
            limit,
        )
        return [Checkpoint(*unsealed(row, namespace, *CHECKPOINT)) for row in rows]

    def revisions(
        self, namespace: Namespace, numbers: Sequence[RevisionNumber]
    ) -> Mapping[RevisionNumber, bytes]:
        """See :class:`~st8.core.ports.Store`."""
        found: dict[RevisionNumber, bytes] = {}
        with self._reading() as connection:
            for number in numbers:
                if not 0 < number <= _INTEGER_MAX:
                    continue
                for row in connection.execute(
                    "SELECT number, data, seal FROM revisions "
                    f"WHERE namespace = {NAMESPACE} AND number = ?",
                    (namespace, number),
                ):
                    found[number] = unsealed(row, namespace, int, bytes)[1]
        return found

    def numbers(
        self, namespace: Namespace, after: RevisionNumber, limit: int
    ) -> Sequence[RevisionNumber]:
        """See :class:`~st8.core.ports.Store`."""
        rows = self._rows(
            f"SELECT number FROM revisions WHERE namespace = {NAMESPACE} "
            "AND number > ? ORDER BY number LIMIT ?",
            namespace,
            after,
            limit,
        )
        numbers = [row[0] for row in rows]
        if not all(type(number) is int for number in numbers):
            raise Corrupt(f"a revision of namespace {namespace!r} has no number")
        return numbers

    def answer(self, namespace: Namespace, key: IdempotencyKey) -> Answer | None:
        """See :class:`~st8.core.ports.Store`."""
        row = self._row(
            "SELECT key, request, revision, noop, expires_ns, seal FROM answers "
            f"WHERE namespace = {NAMESPACE} AND key = ?",
            namespace,
            key,
        )
        if row is None:
            return None
        return answer_at((namespace, *row))[1]

    def answers(
        self, after: tuple[str, str], limit: int
    ) -> Sequence[tuple[AnswerAt, Answer]]:
        """See :class:`~st8.core.ports.Store`."""
        # Two statements, each of which walks an index from where it begins.
        rows = self._rows(
            f"{_ANSWERS} WHERE n.name = ? AND a.key > ? ORDER BY a.key LIMIT ?",
            *after,
            limit,
        )
        if len(rows) < limit:
            rows += self._rows(
                f"{_ANSWERS} WHERE n.name > ? ORDER BY n.name, a.key LIMIT ?",
                after[0],
                limit - len(rows),
            )
        return [answer_at(row) for row in rows]

    def pointers(self, namespace: Namespace | None) -> Pointers:
        """See :class:`~st8.core.ports.Store`."""
        with self._reading() as connection:
            connection.execute("BEGIN")
            try:
                infos, branches, checkpoints = (
                    connection.execute(sql, (namespace,)).fetchall()
                    for sql in _POINTERS
                )
            finally:
                connection.execute("ROLLBACK")
        return Pointers(
            [NamespaceInfo(name, unsealed(row, name, int)[0]) for name, *row in infos],
            [(of, Branch(*unsealed(row, of, *BRANCH))) for of, *row in branches],
            [
                (of, Checkpoint(*unsealed(row, of, *CHECKPOINT)))
                for of, *row in checkpoints
            ],
        )

    def redactions(self) -> Sequence[Redaction]:
        """See :class:`~st8.core.ports.Store`."""
        if self._format < schema.FORMAT_OF_REDACTIONS:
            return []
        rows = self._rows(
            "SELECT digest, namespace, key, author, reason, time_ns, seal "
            "FROM redactions ORDER BY digest, namespace, key"
        )
        return [redaction_of(row) for row in rows]

    def held_objects(
        self, after: int, limit: int, size_max: int
    ) -> Sequence[HeldObject]:
        """See :class:`~st8.core.ports.Store`."""
        with self._reading() as connection:
            return sqlite_check.held_objects(connection, after, limit, size_max)

    def _rows(self, sql: str, *values: Value) -> list[tuple[Any, ...]]:
        with self._reading() as connection:
            return connection.execute(sql, values).fetchall()

    def _row(self, sql: str, *values: Value) -> tuple[Any, ...] | None:
        rows = self._rows(sql, *values)
        return rows[0] if rows else None
