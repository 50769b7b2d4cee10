"""The embedded store: one SQLite file in a state directory.

WAL with ``synchronous=FULL``: one fsync makes a whole batch durable, and readers,
each with a connection of its own, never wait for the writer. All writes go through
one connection. The rules after a failure follow PostgreSQL's: an fsync that failed
is never tried again, since the kernel may have dropped the pages.

Several processes can share it, as the workers of one st8d do. They write in turns,
and each sees by SQLite's own count of commits whether what it remembers still holds.
"""

from __future__ import annotations

import os
import threading
import time
from contextlib import contextmanager, nullcontext, suppress
from typing import TYPE_CHECKING, Any, Final, cast, final

import apsw

from st8.core.errors import (
    Corrupt,
    InternalError,
    NewerFormat,
    OutcomeUnknown,
    St8Error,
    StorageFailed,
    StorageFull,
    StoreFenced,
)
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
from st8.core.ports import (
    Answer,
    AnswerAt,
    Batch,
    CommitTimes,
    HeldObject,
    NamespaceState,
    SelfCheck,
)
from st8.core.revisions import Branch, Checkpoint, NamespaceInfo
from st8.store import schema, sqlite_check
from st8.store.codec import pack, unpack
from st8.store.directory import make_directory, sync_directory
from st8.store.lock import DirectoryLock, Turns
from st8.store.rows import (
    BRANCH,
    CHECKPOINT,
    answer_at,
    namespace_at,
    redaction_of,
    unsealed,
)
from st8.store.sqlite_batch import (
    NAMESPACE,
    count_up_epoch,
    integers,
    write_batch,
    write_redactions,
)
from st8.store.sqlite_reading import Reading

if TYPE_CHECKING:
    from collections.abc import (
        Callable,
        Collection,
        Container,
        Generator,
        Mapping,
        Sequence,
    )
    from contextlib import AbstractContextManager
    from pathlib import Path

    from st8.core.ports import BranchAt, Heard
    from st8.core.redactions import Redaction
    from st8.store.peers import Peer
    from st8.store.sql import Connection, Value

__all__ = ["FILE_NAME", "SqliteStore"]

FILE_NAME: Final = "st8.db"
_CHECKPOINT_PAGES: Final = 16 * 1024 * 1024 // schema.PAGE_BYTES
"""WAL pages after which they are moved into the file: 16 MiB of them."""
_WAL_BYTES_KEPT: Final = 64 * 1024 * 1024
_CACHE_KIB: Final = 16 * 1024
_LAST_CHARACTER: Final = "\U0010ffff"
_INTEGER_MAX: Final = 2**63 - 1
_FIRST_SURROGATE: Final = 0xD800
_LAST_SURROGATE: Final = 0xDFFF

_ANSWERS: Final = (
    "SELECT n.name, a.key, a.request, a.revision, a.noop, a.expires_ns, a.seal "
    "FROM namespaces n CROSS JOIN answers a ON a.namespace = n.id"
)


@final
class SqliteStore:
    """A store in one file, held by one process or shared by several."""

    def __init__(
        self,
        directory: Path,
        *,
        make: bool = True,
        read_only: bool = False,
        vfs: str | None = None,
        peer: Peer | None = None,
    ) -> None:
        """Open the store in ``directory``, making both if they are not there.

        Args:
            directory: The state directory.
            make: Make them; if false, they must be there.
            read_only: Change no byte of either; every commit is refused. They must be
                there; one of an older format is read as it is.
            vfs: The apsw VFS to go through; None is the system's.
            peer: Which of the processes that share it this one is. Somebody holds
                the directory for all of them (:func:`~st8.store.directory.hold_directory`). None: it is
                held and not shared.

        Raises:
            StateDirectoryInUse: Another process holds it.
            NewerFormat: A newer st8 wrote it; it is left as it is.
            StorageFailed: It can't be made, read or written.
        """
        self.name = f"sqlite {apsw.sqlite_lib_version()}"
        self._path = directory / FILE_NAME
        self._vfs = vfs
        self._peer = peer
        self.exclusive: bool = peer is None
        self._readers_lock = threading.Lock()
        self._idle_readers: list[Connection] = []
        self._fenced: str | None = None
        self._format = schema.FORMAT
        self._closed = False
        self._counter: Connection | None = None
        self._counted: tuple[int | None, int] = (None, 0)
        self._counter_lock = threading.Lock()
        if (read_only or not make) and not self._path.exists():
            raise StorageFailed(f"there is no store in {directory}")
        self._reading_only = Reading(directory, self._path) if read_only else None
        changed = [] if read_only else make_directory(directory)
        self._lock: DirectoryLock | Turns | Reading
        if self._reading_only is not None:
            self._lock = self._reading_only
            self._fenced = "it was opened for reading only"
        else:
            self._lock = DirectoryLock(directory) if peer is None else Turns(directory)
        self._write_lock = (
            self._lock if isinstance(self._lock, Turns) else threading.Lock()
        )
        try:
            # In turns: one of those who open it at once makes the tables.
            with self.turn():
                self._writer = self._open_writer(changed)
            if peer is not None:
                self._counter = self._open_counter()
        except BaseException:
            self._lock.close()
            raise

    def moves(self) -> int | None:
        """See :class:`~st8.core.ports.Store`.

        SQLite counts, for a connection, the commits that others have made visible.
        It is asked again only when there has been one since, or is one now.
        """
        if self._peer is None or self._counter is None:
            return 0
        began = self._peer.moves
        asked, counted = self._counted
        if began is not None and began == asked:
            return counted
        try:
            with self._counter_lock:
                rows = self._counter.execute("PRAGMA data_version").fetchall()
        except apsw.Error:
            return None
        counted = int(rows[0][0])
        self._counted = (began, counted)
        return counted

    def turn(self) -> AbstractContextManager[None]:
        """See :class:`~st8.core.ports.Store`.

        Raises:
            StorageFailed: The file system has no locks.
        """
        return nullcontext() if self._peer is None else cast("Turns", self._lock)

    def hear(self, heard: Heard) -> None:
        """See :class:`~st8.core.ports.Store`; nobody is heard where nobody shares it."""
        if self._peer is not None:
            self._peer.hear(heard)

    # --- reads ---------------------------------------------------------------

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
        where, values = _names(prefix, after)
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
        where, values = _names(prefix, after)
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
        where, values = _names(prefix, after)
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

    # --- writes --------------------------------------------------------------

    def commit(self, batch: Batch) -> CommitTimes:
        """See :class:`~st8.core.ports.Store`."""
        packed = {digest: pack(data) for digest, data in batch.objects.items()}
        with self.turn():
            begun = time.perf_counter()
            with self._writing() as writer:
                write_batch(writer, batch, packed)
                written = time.perf_counter()
            synced = time.perf_counter()
            moves = self.moves()
        self._tell(batch.branches)
        return CommitTimes(written - begun, synced - written, moves)

    def raise_epoch(
        self, removed: Mapping[Namespace, Sequence[RevisionNumber]], expected: int
    ) -> int:
        """See :class:`~st8.core.ports.Store`."""
        with self._writing() as writer:
            epoch = count_up_epoch(writer, expected)
            for namespace, numbers in removed.items():
                writer.executemany(
                    f"DELETE FROM revisions WHERE namespace = {NAMESPACE} "
                    "AND number = ?",
                    [(namespace, number) for number in numbers],
                )
        return epoch

    def redactions(self) -> Sequence[Redaction]:
        """See :class:`~st8.core.ports.Store`."""
        if self._format < schema.FORMAT_OF_REDACTIONS:
            return []
        rows = self._rows(
            "SELECT digest, namespace, key, author, reason, time_ns, seal "
            "FROM redactions ORDER BY digest, namespace, key"
        )
        return [redaction_of(row) for row in rows]

    def redact(self, choose: Callable[[], Sequence[Redaction]]) -> int:
        """See :class:`~st8.core.ports.Store`.

        What is deleted is overwritten with zeros, in the file and, unless somebody
        goes on reading what was before for some seconds, in the log too.
        """
        with self.turn():
            with self._overwriting(), self._writing() as writer:
                write_redactions(writer, choose())
                epoch = count_up_epoch(writer)
            with suppress(apsw.Error):  # a reader holds on to it
                self._writer.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        self._tell(None)
        return epoch

    def sweep(
        self, marked: Container[int], epoch: int, after: int, limit: int
    ) -> tuple[int, int]:
        """See :class:`~st8.core.ports.Store`."""
        with self._writing() as writer:
            rows = writer.execute(
                "SELECT id, prefix, epoch FROM objects WHERE id > ? "
                "ORDER BY id LIMIT ?",
                (after, limit),
            ).fetchall()
            if any(type(value) is not int for _, *row in rows for value in row):
                raise Corrupt("an object's row in the store has no number or epoch")
            dead = [
                (row[0],) for row in rows if row[2] < epoch and row[1] not in marked
            ]
            writer.executemany("DELETE FROM objects WHERE id = ?", dead)
        return (rows[-1][0] if len(rows) == limit else 0), len(dead)

    def held_objects(
        self, after: int, limit: int, size_max: int
    ) -> Sequence[HeldObject]:
        """See :class:`~st8.core.ports.Store`."""
        with self._reading() as connection:
            return sqlite_check.held_objects(connection, after, limit, size_max)

    def check_itself(self) -> SelfCheck:
        """See :class:`~st8.core.ports.Store`."""
        with self._reading() as connection:
            return SelfCheck(sqlite_check.problems(connection))

    def ping(self) -> None:
        """See :class:`~st8.core.ports.Store`."""
        self._row("SELECT 1")
        if self._reading_only is not None:
            self._reading_only.check()
        else:
            self._check_fence()

    def close(self) -> None:
        """See :class:`~st8.core.ports.Store`."""
        if self._peer is not None:
            self._peer.close()
        with self._write_lock, self._readers_lock, self._counter_lock:
            if self._closed:
                return
            self._closed = True
            counter = [] if self._counter is None else [self._counter]
            # Those that are in use are closed when they are given back.
            for connection in (*self._idle_readers, *counter, self._writer):
                # What it tidies up in the end may fail: all that was committed is
                # in the log, and the next start does the rest.
                with suppress(apsw.Error):
                    connection.close()
        self._lock.close()

    # --- connections ---------------------------------------------------------

    def _open_writer(self, changed: Sequence[Path]) -> Connection:
        """Open the file for writing; it and ``changed`` directories are durable.

        Where it is only read, what is returned can only read.
        """
        try:
            if self._reading_only is not None:
                return self._open_reader()
            # For the owner alone; SQLite gives its other files the same mode.
            os.close(os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
            self._look()
            writer = self._connect(apsw.SQLITE_OPEN_READWRITE)
            try:
                schema.prepare(writer)
            except BaseException:
                writer.close()
                raise
            for directory in changed:
                sync_directory(directory)
        except NewerFormat as error:
            raise NewerFormat(f"{self._path}: {error.detail}") from None
        except (apsw.Error, OSError) as error:
            raise StorageFailed(f"can't open {self._path}: {error}") from None
        return writer

    def _open_reader(self) -> Connection:
        """Open the file, which has to be ours, for reading."""
        reader = self._connect(apsw.SQLITE_OPEN_READONLY)
        try:
            schema.check(reader)
            tables = reader.execute("SELECT 1 FROM sqlite_schema LIMIT 1").fetchall()
            ((self._format,),) = reader.execute("PRAGMA user_version").fetchall()
        except BaseException:
            reader.close()
            raise
        if not tables:
            reader.close()
            raise StorageFailed(f"there is no store in {self._path.parent}")
        return reader

    def _open_counter(self) -> Connection:
        """Open the connection that :meth:`moves` asks; it never waits for a lock."""
        try:
            counter = self._connect(apsw.SQLITE_OPEN_READONLY)
            counter.execute("PRAGMA busy_timeout = 0")
        except apsw.Error as error:
            self._writer.close()
            raise StorageFailed(f"can't open {self._path}: {error}") from None
        return counter

    def _look(self) -> None:
        """Return if the file is ours; one that isn't is left byte for byte.

        Even to read a file with a log, SQLite makes more files, and its last reader
        tidies up. So one without a log is opened as if it could not change.
        """
        log = self._path.with_name(f"{FILE_NAME}-wal")
        path = os.fspath(self._path)
        if not log.exists():
            path = f"{self._path.absolute().as_uri()}?immutable=1"
        reader = self._connect(apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI, path)
        try:
            schema.check(reader)
        finally:
            reader.close()

    def _connect(self, flags: int, path: str | None = None) -> Connection:
        vfs = self._vfs
        if self._reading_only is not None:
            path, vfs = self._reading_only.path_and_vfs()
            flags |= apsw.SQLITE_OPEN_URI
        connection = cast(
            "Connection",
            apsw.Connection(
                path or os.fspath(self._path),
                flags=flags,
                vfs=vfs,
                statementcachesize=64,
            ),
        )
        if self._reading_only is not None:
            self._reading_only.prepare(connection)
        for pragma in (
            "busy_timeout = 5000",
            "synchronous = FULL",
            f"cache_size = -{_CACHE_KIB}",
            "trusted_schema = OFF",
            f"wal_autocheckpoint = {_CHECKPOINT_PAGES}",
            f"journal_size_limit = {_WAL_BYTES_KEPT}",
        ):
            connection.execute(f"PRAGMA {pragma}")
        return connection

    @contextmanager
    def _reading(self) -> Generator[Connection]:
        """Give a read connection for a while; turn its errors into ours."""
        try:
            connection = self._take_reader()
            try:
                yield connection
            finally:
                self._give_back(connection)
        except (
            apsw.CorruptError,
            apsw.NotADBError,
            apsw.SQLError,  # what is asked is right, so the tables are not
            UnicodeDecodeError,
        ) as error:
            raise Corrupt(f"SQLite found {self._path} corrupt: {error}") from None
        except apsw.Error as error:
            raise StorageFailed(f"can't read {self._path}: {error}") from None

    def _take_reader(self) -> Connection:
        with self._readers_lock:
            if self._closed:
                raise StorageFailed("the store is closed")
            if self._idle_readers:
                return self._idle_readers.pop()
        return self._connect(apsw.SQLITE_OPEN_READONLY)

    def _give_back(self, connection: Connection) -> None:
        with self._readers_lock:
            if not self._closed:
                self._idle_readers.append(connection)
                return
        connection.close()

    def _rows(self, sql: str, *values: Value) -> list[tuple[Any, ...]]:
        with self._reading() as connection:
            return connection.execute(sql, values).fetchall()

    def _row(self, sql: str, *values: Value) -> tuple[Any, ...] | None:
        rows = self._rows(sql, *values)
        return rows[0] if rows else None

    @contextmanager
    def _writing(self) -> Generator[Connection]:
        """Run a transaction; it is durable when this returns.

        Begins, lets the caller write, commits. Whatever goes wrong is rolled back;
        a failed write or sync also fences the store.
        """
        with self._write_lock:
            if self._closed:
                raise StorageFailed("the store is closed")
            self._check_fence()
            writer = self._writer
            committing = False
            try:
                writer.execute("BEGIN IMMEDIATE")
                yield writer
                committing = True
                with self._moving():
                    writer.execute("COMMIT")
            except apsw.Error as error:
                raise self._failed(error, committing=committing) from None
            except BaseException:
                self._roll_back()
                raise

    @contextmanager
    def _overwriting(self) -> Generator[None]:
        """Have what is deleted meanwhile overwritten with zeros.

        Raises:
            StorageFailed: That can't be had.
        """
        try:
            self._writer.execute("PRAGMA secure_delete = ON")
        except apsw.Error as error:
            raise StorageFailed(f"can't write {self._path}: {error}") from None
        try:
            yield
        finally:
            with suppress(apsw.Error):
                self._writer.execute("PRAGMA secure_delete = OFF")

    @contextmanager
    def _moving(self) -> Generator[None]:
        """Have the others ask SQLite, while the block runs and once after it."""
        if self._peer is None:
            yield
            return
        self._peer.begin_to_move()
        try:
            yield
        finally:
            self._peer.end_moving()

    def _check_fence(self) -> None:
        """Return if writes may go on.

        Raises:
            StoreFenced: One has failed, here or in a process that shares the store.
        """
        if self._fenced is None and self._peer is not None and self._peer.fenced:
            self._fenced = "a write of another worker has failed; its log says how"
        if self._fenced is not None:
            raise StoreFenced(self._fenced)

    def _fence(self, reason: str) -> None:
        """Let nobody write any more, since ``reason``."""
        self._fenced = reason
        if self._peer is not None:
            self._peer.fence()

    def _tell(self, branches: Collection[BranchAt] | None) -> None:
        if self._peer is not None:
            self._peer.tell(branches)

    def _failed(self, error: apsw.Error, *, committing: bool) -> St8Error:
        """Roll back, fence unless only space is lacking, and return our error."""
        rolled_back = self._roll_back()
        if isinstance(error, apsw.FullError) and rolled_back:
            return StorageFull(
                f"no space left for {self._path}; nothing was changed. Free some "
                "space and try again"
            )
        if isinstance(error, apsw.BusyError) and rolled_back:
            return StorageFailed(
                f"another program holds {self._path} ({error}); nothing was changed. "
                "Try again when it is done"
            )
        if isinstance(error, apsw.ConstraintError) and rolled_back:
            return InternalError(f"a batch breaks a rule of the store: {error}")
        self._fence(str(error) or type(error).__name__)
        if committing and isinstance(error, apsw.IOError):
            return OutcomeUnknown(
                f"the commit to {self._path} failed ({error}): it may or may not be "
                "there after a restart. Writes are refused until then"
            )
        return StorageFailed(
            f"can't write {self._path}: {error}; nothing was changed, and writes are "
            "refused until st8d is restarted"
        )

    def _roll_back(self) -> bool:
        try:
            if self._writer.in_transaction:
                self._writer.execute("ROLLBACK")
        except apsw.Error as error:
            self._fence(f"rolling back failed: {error}")
            return False
        return True


def _names(prefix: str, after: str) -> tuple[str, list[str]]:
    """Return the condition, and its values, of a page of names."""
    conditions, values = ["name >= ?", "name > ?"], [prefix, after]
    # The first name after all that have the prefix: its last character counted up.
    stem = prefix.rstrip(_LAST_CHARACTER)
    if stem:
        following = ord(stem[-1]) + 1
        if following == _FIRST_SURROGATE:
            following = _LAST_SURROGATE + 1
        conditions.append("name < ?")
        values.append(stem[:-1] + chr(following))
    return " AND ".join(conditions), values
