"""The store in PostgreSQL: shared by any number of daemons.

Each read is a statement, and each commit is one: compare and set, see
:mod:`~st8.store.postgres.statements`. Nothing is fenced after a failure: the server
answers for its own fsyncs, and a commit that it has not confirmed is not there, unless
the connection was lost before it could say so.
"""

from __future__ import annotations

import time
from contextlib import closing, contextmanager, nullcontext, suppress
from functools import partial
from typing import TYPE_CHECKING, Any, Final, cast, final

import psycopg

from st8.core.errors import Corrupt, OutcomeUnknown, St8Error, StorageFailed
from st8.core.failpoints import failpoint
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
from st8.core.limits import NAME_BYTES
from st8.core.ports import (
    Answer,
    AnswerAt,
    Batch,
    CommitTimes,
    HeldObject,
    NamespaceState,
    Pointers,
    Raised,
    SelfCheck,
    Shrunk,
    Stale,
    Swept,
)
from st8.core.revisions import Branch, Checkpoint, NamespaceInfo
from st8.store.codec import pack, unpack, unpacked
from st8.store.postgres import check, failures, schema
from st8.store.postgres.address import read_address
from st8.store.postgres.announcements import Announcements
from st8.store.postgres.connections import Connections
from st8.store.postgres.statements import commit_of
from st8.store.postgres.turns import Turns
from st8.store.postgres.values import Bigints, Binaries, Texts
from st8.store.rows import (
    BRANCH,
    CHECKPOINT,
    answer_at,
    asked_for,
    namespace_at,
    redaction_of,
    seal,
    unsealed,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Generator, Mapping, Sequence
    from contextlib import AbstractContextManager

    from st8.core.ports import Heard
    from st8.core.redactions import Redaction
    from st8.store.postgres.connections import Session
    from st8.store.postgres.statements import Commit

__all__ = ["PostgresStore"]

_LAST_NAME: Final = "\U0010ffff" * (NAME_BYTES.maximum // 4 + 1)
"""What no name has after its prefix, nor anything that sorts behind it."""
_INTEGER_MAX: Final = 2**63 - 1

_OBJECTS: Final = b"SELECT digest, data FROM objects WHERE digest = ANY ($1::bytea[])"
_OBJECTS_UP_TO: Final = b"""
SELECT digest, data FROM (
  SELECT digest, data, place, sum(size) OVER (ORDER BY place) - size AS before FROM (
    SELECT o.digest, o.data, w.place, octet_length(o.data) - 1 AS size
    FROM unnest($1::bytea[]) WITH ORDINALITY AS w (digest, place)
    JOIN objects o ON o.digest = w.digest) AS found) AS summed
WHERE before <= $2::bigint ORDER BY place"""
_NAMESPACE: Final = (
    b"SELECT format, epoch, last_revision, seal FROM store "
    b"LEFT JOIN namespaces ON name = $1::text"
)
_NAMESPACES: Final = (
    b"SELECT name, last_revision, seal FROM namespaces WHERE name >= $1::text "
    b"AND name < $2::text AND name > $3::text ORDER BY name LIMIT $4::bigint"
)
_BRANCH: Final = (
    b"SELECT name, base, since, head, head_digest, seal FROM branches "
    b"WHERE namespace = $1::text AND name = $2::text"
)
_BRANCHES: Final = (
    b"SELECT name, base, since, head, head_digest, seal FROM branches "
    b"WHERE name >= $1::text AND name < $2::text AND name > $3::text "
    b"AND namespace = $5::text ORDER BY name LIMIT $4::bigint"
)
_CHECKPOINT: Final = (
    b"SELECT name, revision, digest, branch, description, author, time_ns, seal "
    b"FROM checkpoints WHERE namespace = $1::text AND name = $2::text"
)
_CHECKPOINTS: Final = (
    b"SELECT name, revision, digest, branch, description, author, time_ns, seal "
    b"FROM checkpoints WHERE name >= $1::text AND name < $2::text AND name > $3::text "
    b"AND namespace = $5::text ORDER BY name LIMIT $4::bigint"
)
_REVISIONS: Final = (
    b"SELECT number, data, seal FROM revisions "
    b"WHERE namespace = $1::text AND number = ANY ($2::bigint[])"
)
_NUMBERS: Final = (
    b"SELECT number FROM revisions WHERE namespace = $1::text "
    b"AND number > $2::bigint ORDER BY number LIMIT $3::bigint"
)
_ANSWER: Final = (
    b"SELECT key, request, revision, noop, expires_ns, seal FROM answers "
    b"WHERE namespace = $1::text AND key = $2::text"
)
_ANSWERS: Final = (
    b"SELECT namespace, key, request, revision, noop, expires_ns, seal FROM answers "
    b"WHERE (namespace, key) > ($1::text, $2::text) "
    b"ORDER BY namespace, key LIMIT $3::bigint"
)
_ONE_MOMENT: Final = b"SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY"
_OF: Final = "last_revision > 0 AND ($1::text IS NULL OR n.name = $1::text)"
_POINTERS: Final = (
    f"""
SELECT name, last_revision, seal FROM namespaces n WHERE {_OF} ORDER BY name""".encode(),
    f"""
SELECT n.name, b.name, base, since, head, head_digest, b.seal
FROM namespaces n JOIN branches b ON b.namespace = n.name
WHERE {_OF} ORDER BY n.name, b.name""".encode(),
    f"""
SELECT n.name, c.name, revision, digest, branch, description, author, time_ns, c.seal
FROM namespaces n JOIN checkpoints c ON c.namespace = n.name
WHERE {_OF} ORDER BY n.name, c.name""".encode(),
)
_RAISED: Final = (
    f"UPDATE store SET epoch = epoch + 1 WHERE epoch = $1 AND format = {schema.FORMAT} "
    "RETURNING epoch"
).encode()
_REMOVED: Final = b"""
DELETE FROM revisions r USING unnest($1::text[], $2::bigint[]) AS g (namespace, number)
WHERE r.namespace = g.namespace AND r.number = g.number
AND NOT EXISTS (SELECT FROM branches b
  WHERE b.namespace = r.namespace AND r.number IN (b.base, b.head))
AND NOT EXISTS (SELECT FROM checkpoints c
  WHERE c.namespace = r.namespace AND c.revision = r.number)
RETURNING 1"""
_REDACTIONS: Final = (
    b"SELECT digest, namespace, key, author, reason, time_ns, seal FROM redactions "
    b"ORDER BY digest, namespace, key"
)
_COUNTED_UP: Final = b"UPDATE store SET epoch = epoch + 1 RETURNING epoch, format"
_REDACTED: Final = b"""
INSERT INTO redactions (digest, namespace, key, author, reason, time_ns, seal)
SELECT * FROM unnest($1::bytea[], $2::text[], $3::text[], $4::text[], $5::text[],
  $6::bigint[], $7::bigint[]) ON CONFLICT DO NOTHING"""
_REDACTED_OBJECTS: Final = b"DELETE FROM objects WHERE digest = ANY ($1::bytea[])"
_CLAIMED: Final = b"SELECT pg_try_advisory_lock($1::bigint)"
_LET_GO: Final = b"SELECT pg_advisory_unlock($1::bigint)"
_LOOKED_AT: Final = 4
"""A sweep looks at so many objects for each that it may delete."""
_SWEPT: Final = (
    b"SELECT id, epoch, digest, octet_length(data) FROM objects WHERE id > $1::bigint "
    b"ORDER BY id LIMIT $2::bigint"
)
_DELETED: Final = f"""
DELETE FROM objects WHERE id IN (
  SELECT id FROM objects WHERE id = ANY ($1::bigint[]) AND epoch < $2::bigint
  AND EXISTS (SELECT FROM store WHERE format = {schema.FORMAT})
  FOR UPDATE SKIP LOCKED)
RETURNING octet_length(data)""".encode()
_HELD: Final = (
    b"SELECT id, digest, octet_length(data) FROM objects WHERE id > $1::bigint "
    b"ORDER BY id LIMIT $2::bigint"
)
_HELD_DATA: Final = b"""
SELECT id, digest, size, data FROM (
  SELECT id, digest, data, size, sum(size) OVER (ORDER BY id) - size AS before FROM (
    SELECT id, digest, data, octet_length(data)::bigint AS size FROM objects
    WHERE id > $1::bigint ORDER BY id LIMIT $2::bigint) AS found) AS summed
WHERE before <= $3::bigint ORDER BY id"""
_MENDED: Final = b"UPDATE objects SET data = $2 WHERE digest = $1 AND data = $3"
_WRITABLE: Final = (
    b"SELECT current_setting('transaction_read_only') "
    b"FROM (SELECT count(*) FROM store) AS there"
)
_FSYNC: Final = b"SELECT current_setting('fsync')"


@final
class PostgresStore:
    """A store in a schema of a PostgreSQL database."""

    exclusive: bool = False

    def __init__(self, url: str, *, make: bool = True, read_only: bool = False) -> None:
        """Open the store at ``url``, making its tables if they are not there.

        Args:
            url: ``postgresql://USER:PASSWORD@HOST:PORT/DATABASE``, with any parameter
                that libpq knows, and with ``schema`` if it shall not be ``st8``.
            make: Make them; if false, they must be there.
            read_only: Have the server refuse all that would change something. A store
                of an older format is read as it is.

        Raises:
            InvalidValue: The URL can't be read.
            NewerFormat: A newer st8 wrote it; it is left as it is.
            StorageFailed: The server can't be reached, or can't have the tables.
        """
        self._address = read_address(url)
        self._read_only = read_only
        if read_only:
            self._address.settings["default_transaction_read_only"] = "on"
            make = False
        self._connections = Connections(self._address)
        self._turns = Turns(self._connections, self._address.schema)
        self._announcements = Announcements(self._connections, self._address.schema)
        try:
            with self._connections.use() as session:
                self._format = schema.prepare(
                    session, self._address, make=make, read_only=read_only
                )
                number = session.connection.info.server_version
                fsync = session.rows(_FSYNC)[0][0]
        except psycopg.Error as error:
            self.close()
            raise failures.running(error, self._address) from None
        except BaseException:
            self.close()
            raise
        self.name = f"postgresql {number // 10_000}.{number % 10_000}"
        if fsync != "on":
            self.name += ", which does not fsync"

    def moves(self) -> None:
        """See :class:`~st8.core.ports.Store`: others write, and only the server knows."""

    def turn(self) -> AbstractContextManager[None]:
        """See :class:`~st8.core.ports.Store`: commits take theirs."""
        return nullcontext()

    def hear(self, heard: Heard) -> None:
        """See :class:`~st8.core.ports.Store`."""
        self._announcements.hear(heard)

    # --- reads ---------------------------------------------------------------

    def objects(
        self, digests: Sequence[Digest], size_max: int | None = None
    ) -> dict[Digest, bytes]:
        """See :class:`~st8.core.ports.Store`."""
        if not digests:
            return {}
        wanted = Binaries(dict.fromkeys(digests))
        if size_max is None:
            return {d: unpack(data) for d, data in self._rows(_OBJECTS, wanted)}
        found: dict[Digest, bytes] = {}
        size = 0
        for digest, packed in self._rows(_OBJECTS_UP_TO, wanted, size_max):
            data = found[digest] = unpack(packed)
            size += len(data)
            if size > size_max:
                break
        return found

    def namespace(self, name: Namespace) -> NamespaceState:
        """See :class:`~st8.core.ports.Store`."""
        rows = self._rows(_NAMESPACE, name)
        if not rows:
            raise Corrupt("the store has no collection epoch")
        form, epoch, *row = rows[0]
        # A newer st8d may migrate the store while this one runs.
        schema.check_format(form, self._address)
        last = 0 if row == [None, None] else unsealed(row, name, int)[0]
        return NamespaceState(RevisionNumber(last), epoch)

    def namespaces(
        self, prefix: str, after: str, limit: int
    ) -> Sequence[NamespaceInfo]:
        """See :class:`~st8.core.ports.Store`."""
        found: list[NamespaceInfo] = []
        while len(found) < limit:
            rows = self._page(_NAMESPACES, prefix, after, limit)
            # Only of a row that matches its seal it is known that it has no revision.
            infos = [namespace_at(row) for row in rows]
            found += [info for info in infos if info.last_revision]
            if len(rows) < limit:
                break
            after = rows[-1][0]
        return found[:limit]

    def branch(self, namespace: Namespace, name: BranchName) -> Branch | None:
        """See :class:`~st8.core.ports.Store`."""
        rows = self._rows(_BRANCH, namespace, name)
        return (
            Branch(*unsealed(asked_for(rows[0], name, namespace), namespace, *BRANCH))
            if rows
            else None
        )

    def branches(
        self, namespace: Namespace, prefix: str, after: str, limit: int
    ) -> Sequence[Branch]:
        """See :class:`~st8.core.ports.Store`."""
        rows = self._page(_BRANCHES, prefix, after, limit, namespace)
        return [Branch(*unsealed(row, namespace, *BRANCH)) for row in rows]

    def checkpoint(
        self, namespace: Namespace, name: CheckpointName
    ) -> Checkpoint | None:
        """See :class:`~st8.core.ports.Store`."""
        rows = self._rows(_CHECKPOINT, namespace, name)
        return (
            Checkpoint(
                *unsealed(asked_for(rows[0], name, namespace), namespace, *CHECKPOINT)
            )
            if rows
            else None
        )

    def checkpoints(
        self, namespace: Namespace, prefix: str, after: str, limit: int
    ) -> Sequence[Checkpoint]:
        """See :class:`~st8.core.ports.Store`."""
        rows = self._page(_CHECKPOINTS, prefix, after, limit, namespace)
        return [Checkpoint(*unsealed(row, namespace, *CHECKPOINT)) for row in rows]

    def revisions(
        self, namespace: Namespace, numbers: Sequence[RevisionNumber]
    ) -> Mapping[RevisionNumber, bytes]:
        """See :class:`~st8.core.ports.Store`."""
        wanted = Bigints(n for n in numbers if 0 < n <= _INTEGER_MAX)
        if not wanted:
            return {}
        found: dict[RevisionNumber, bytes] = {}
        for row in self._rows(_REVISIONS, namespace, wanted):
            number, data = unsealed(row, namespace, int, bytes)
            found[number] = data
        return found

    def numbers(
        self, namespace: Namespace, after: RevisionNumber, limit: int
    ) -> Sequence[RevisionNumber]:
        """See :class:`~st8.core.ports.Store`."""
        rows = self._rows(_NUMBERS, namespace, after, limit)
        return [RevisionNumber(row[0]) for row in rows]

    def answer(self, namespace: Namespace, key: IdempotencyKey) -> Answer | None:
        """See :class:`~st8.core.ports.Store`."""
        rows = self._rows(_ANSWER, namespace, key)
        return (
            answer_at((namespace, *asked_for(rows[0], key, namespace)))[1]
            if rows
            else None
        )

    def answers(
        self, after: tuple[str, str], limit: int
    ) -> Sequence[tuple[AnswerAt, Answer]]:
        """See :class:`~st8.core.ports.Store`."""
        return [answer_at(row) for row in self._rows(_ANSWERS, *after, limit)]

    def pointers(self, namespace: Namespace | None) -> Pointers:
        """See :class:`~st8.core.ports.Store`."""
        infos, branches, checkpoints = self._retried(
            partial(_rows_of_one_moment, _POINTERS, namespace)
        )
        return Pointers(
            [NamespaceInfo(name, unsealed(row, name, int)[0]) for name, *row in infos],
            [(of, Branch(*unsealed(row, of, *BRANCH))) for of, *row in branches],
            [
                (of, Checkpoint(*unsealed(row, of, *CHECKPOINT)))
                for of, *row in checkpoints
            ],
        )

    # --- writes --------------------------------------------------------------

    def commit(self, batch: Batch) -> CommitTimes:
        """See :class:`~st8.core.ports.Store`."""
        begun = time.perf_counter()
        packed = {digest: pack(data) for digest, data in batch.objects.items()}
        try:
            times = self._commit(batch, packed, begun)
        except Stale:
            self._turns.lost()
            raise
        except BaseException:
            self._turns.end()
            raise
        self._turns.end()
        self._announcements.tell(batch.branches)
        return times

    @contextmanager
    def collecting(self) -> Generator[bool]:
        """See :class:`~st8.core.ports.Store`: an advisory lock of a connection's."""
        key = schema.lock_key("collecting", self._address.schema)
        try:
            with self._connections.use() as session:
                [[mine]] = session.rows(_CLAIMED, (key,))
                try:
                    yield mine
                finally:
                    if mine:
                        with suppress(psycopg.Error):  # it is lost, and the lock too
                            session.rows(_LET_GO, (key,))
        except psycopg.Error as error:
            raise failures.running(error, self._address) from None

    def raise_epoch(
        self, removed: Mapping[Namespace, Sequence[RevisionNumber]], expected: int
    ) -> Raised:
        """See :class:`~st8.core.ports.Store`."""
        gone = [(name, number) for name, some in removed.items() for number in some]
        self._turns.end()
        deleted = 0
        try:
            failpoint("postgres.before_epoch")
            # Once the row of the store is changed no commit is under way, and the
            # next statement sees all that were. Commits share that row among them,
            # and might never let go of it all at once.
            with self._connections.use() as session, session.connection.transaction():
                self._turns.take_on(session)
                if not session.rows(_RAISED, (expected,)):
                    raise Stale
                failpoint("postgres.epoch_raised")
                if gone:
                    names, numbers = zip(*gone, strict=True)
                    rows = session.rows(_REMOVED, (Texts(names), Bigints(numbers)))
                    deleted = len(rows)
                failpoint("postgres.revisions_removed")
            failpoint("postgres.epoch_committed")
        except psycopg.Error as error:
            raise self._failed(error) from None
        return Raised(expected + 1, deleted)

    def redactions(self) -> Sequence[Redaction]:
        """See :class:`~st8.core.ports.Store`."""
        if self._format < schema.FORMAT_OF_REDACTIONS:
            return []
        return [redaction_of(row) for row in self._rows(_REDACTIONS)]

    def redact(self, choose: Callable[[], Sequence[Redaction]]) -> int:
        """See :class:`~st8.core.ports.Store`."""
        self._turns.end()
        try:
            # As in raise_epoch: no commit is under way from then on.
            with self._connections.use() as session, session.connection.transaction():
                self._turns.take_on(session)
                [[epoch, form]] = session.rows(_COUNTED_UP)
                schema.check_format(form, self._address)
                chosen = choose()
                if chosen:
                    rows = [(*one, seal("redactions", *one)) for one in chosen]
                    digests, *texts, times, seals = zip(*rows, strict=True)
                    session.rows(
                        _REDACTED,
                        (
                            Binaries(digests),
                            *map(Texts, texts),
                            Bigints(times),
                            Bigints(seals),
                        ),
                    )
                    session.rows(_REDACTED_OBJECTS, (Binaries(digests),))
                failpoint("postgres.redacted")
        except psycopg.Error as error:
            raise self._failed(error) from None
        self._announcements.tell(None)
        return int(epoch)

    def sweep(
        self, marked: Container[int], epoch: int, after: int, limit: int
    ) -> Swept:
        """See :class:`~st8.core.ports.Store`.

        An object that a commit is just stamping is passed over, not waited for.
        """
        position, dead, _ = self._dead(marked, epoch, after, limit)
        deleted: list[Any] = []
        begun = time.perf_counter()
        if dead:
            try:
                failpoint("postgres.before_sweep")
                with self._connections.use() as session:
                    deleted = session.rows(_DELETED, (dead, epoch))
                failpoint("postgres.after_sweep")
            except psycopg.Error as error:
                raise failures.running(error, self._address) from None
        held_s = time.perf_counter() - begun
        return Swept(position, len(deleted), sum(size for [size] in deleted), held_s)

    def weigh(self, marked: Container[int], after: int, limit: int) -> Swept:
        """See :class:`~st8.core.ports.Store`."""
        position, dead, size = self._dead(marked, _INTEGER_MAX, after, limit)
        return Swept(position, len(dead), size)

    def shrink(self, limit: int) -> Shrunk:
        """See :class:`~st8.core.ports.Store`: autovacuum sees to it."""
        del limit
        return Shrunk(0)

    def erase(self, position: int, limit: int) -> int:
        """See :class:`~st8.core.ports.Store`.

        The server overwrites what was deleted in its own time, see its VACUUM; its
        log, and what was copied from it, keep it for as long as they are kept.
        """
        del position, limit
        return 0

    def tidy(self) -> None:
        """See :class:`~st8.core.ports.Store`: autovacuum sees to it."""

    def _dead(
        self, marked: Container[int], epoch: int, after: int, limit: int
    ) -> tuple[int, Bigints, int]:
        """Return where a sweep goes on, what it may delete, and their bytes."""
        wanted = limit * _LOOKED_AT
        rows = self._rows(_SWEPT, after, wanted)
        position = rows[-1][0] if len(rows) == wanted else 0
        dead = Bigints()
        total = 0
        for number, stamp, digest, size in rows:
            if stamp < epoch and digest_prefix(digest) not in marked:
                dead.append(number)
                total += size
                if len(dead) == limit:
                    return number if number != rows[-1][0] else position, dead, total
        return position, dead, total

    def held_objects(
        self, after: int, limit: int, size_max: int
    ) -> Sequence[HeldObject]:
        """See :class:`~st8.core.ports.Store`."""
        if not size_max:
            rows = self._rows(_HELD, after, limit)
            return [HeldObject(at, digest, size, None) for at, digest, size in rows]
        rows = self._rows(_HELD_DATA, after, limit, size_max)
        return [HeldObject(at, d, size, unpacked(data)) for at, d, size, data in rows]

    def check_itself(self) -> SelfCheck:
        """See :class:`~st8.core.ports.Store`."""
        try:
            # One of its own, as it takes as long as it takes.
            with closing(self._connections.connect()) as session:
                return check.check_schema(session, self._address.schema)
        except psycopg.Error as error:
            raise failures.running(error, self._address) from None

    def ping(self) -> None:
        """See :class:`~st8.core.ports.Store`."""
        if self._rows(_WRITABLE) != [("off",)] and not self._read_only:
            raise StorageFailed(
                f"{self._address.place} takes no writes: it is a standby, or set to "
                "read only; connect to the primary. Reads go on"
            )

    def close(self) -> None:
        """See :class:`~st8.core.ports.Store`."""
        self._announcements.close()
        self._turns.close()
        self._connections.close()

    # --- statements ----------------------------------------------------------

    def _rows(self, statement: bytes, *values: object) -> list[Any]:
        return self._retried(lambda session: session.rows(statement, values))

    def _retried(self, read: Callable[[Session], list[Any]]) -> list[Any]:
        """Read; once more on a new connection if the one at hand has gone."""
        try:
            with self._connections.use() as session:
                return read(session)
        except psycopg.Error as error:
            if not failures.is_lost(error):
                raise failures.running(error, self._address) from None
        self._connections.forget()
        try:
            with self._connections.use() as session:
                return read(session)
        except psycopg.Error as error:
            raise failures.running(error, self._address) from None

    def _page(
        self, statement: bytes, prefix: str, after: str, limit: int, *values: object
    ) -> list[Any]:
        """Return a page of names: no name has a NUL, and PostgreSQL takes none."""
        if "\0" in prefix:
            return []
        after, _, _ = after.partition("\0")
        return self._rows(statement, prefix, prefix + _LAST_NAME, after, limit, *values)

    def _commit(
        self, batch: Batch, packed: Mapping[Digest, bytes], begun: float
    ) -> CommitTimes:
        commit = commit_of(batch, packed, self._turns.key())
        sent = time.perf_counter()
        try:
            differing = self._send(commit)
        except psycopg.Error as error:
            # The primary may have become a standby, and another one the primary.
            if not failures.is_read_only(error):
                raise self._failed(error) from None
            self._connections.forget()
            try:
                differing = self._send(commit)
            except psycopg.Error as error_again:
                raise self._failed(error_again) from None
        done = time.perf_counter()
        if differing:
            self._mend({digest: packed[digest] for digest in differing})
        return CommitTimes(sent - begun, done - sent)

    def _send(self, commit: Commit) -> Sequence[Digest] | None:
        """Commit, and return the objects that are there with other bytes.

        Raises:
            Stale: Something is not as expected.
            OutcomeUnknown: The server did not hear of its standby.
            psycopg.Error: It failed.
        """
        with self._connections.use() as session:
            session.unconfirmed = False
            failpoint("postgres.before_commit")
            [[agreed, _, differing]] = session.rows(*commit)
            failpoint("postgres.after_commit")
            unconfirmed = session.unconfirmed
        if unconfirmed:
            raise OutcomeUnknown(
                f"{self._address.place} has committed but did not hear of its standby "
                "in time: it is there, unless the server is lost now"
            )
        if not agreed:
            raise Stale
        return cast("Sequence[Digest] | None", differing)

    def _failed(self, error: psycopg.Error) -> Stale | St8Error:
        """Return what a failure of something that writes means."""
        if failures.is_overtaken(error):
            return Stale()
        if failures.is_lost(error) or failures.is_read_only(error):
            # The next one connects anew, and finds the primary if it has moved.
            self._connections.forget()
        return failures.committing(error, self._address)

    def _mend(self, packed: Mapping[Digest, bytes]) -> None:
        """Replace objects that are there but damaged.

        Others may have the same bytes packed by another version. What can't be mended
        now is found out when it is read.
        """
        with suppress(psycopg.Error, St8Error), self._connections.use() as session:
            for digest, stored in session.rows(_OBJECTS, (Binaries(packed),)):
                if not _is_sound(digest, stored):
                    session.rows(_MENDED, (digest, packed[digest], stored))


def _rows_of_one_moment(
    statements: Sequence[bytes], value: object, session: Session
) -> list[Any]:
    """Return the rows of each statement, all as they were when the first one ran."""
    with session.connection.transaction():
        session.connection.execute(_ONE_MOMENT)
        return [session.rows(statement, (value,)) for statement in statements]


def _is_sound(digest: Digest, packed: bytes) -> bool:
    try:
        return digest_of(unpack(packed)) == digest
    except Corrupt:
        return False
