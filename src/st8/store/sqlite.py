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
from st8.core.failpoints import failpoint
from st8.core.ports import (
    Batch,
    CommitTimes,
    Raised,
    SelfCheck,
    Shrunk,
    Swept,
)
from st8.store import schema, sqlite_check, sqlite_collect, sqlite_erase, sqlite_log
from st8.store.codec import pack
from st8.store.directory import make_directory, sync_directory
from st8.store.lock import Claim, DirectoryLock, Turns
from st8.store.sqlite_batch import (
    count_up_epoch,
    write_batch,
    write_redactions,
)
from st8.store.sqlite_reading import Reading
from st8.store.sqlite_reads import SqliteReads

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

    from st8.core.ids import Namespace, RevisionNumber
    from st8.core.ports import BranchAt, Heard
    from st8.core.redactions import Redaction
    from st8.store.peers import Peer
    from st8.store.sql import Connection

__all__ = ["FILE_NAME", "SqliteStore"]

FILE_NAME: Final = "st8.db"
_CHECKPOINT_PAGES: Final = 16 * 1024 * 1024 // schema.PAGE_BYTES
"""WAL pages after which they are moved into the file: 16 MiB of them."""
_WAL_BYTES_KEPT: Final = 64 * 1024 * 1024
_CACHE_KIB: Final = 16 * 1024


@final
class SqliteStore(SqliteReads):
    """A store in one file, held by one process or shared by several."""

    def __init__(
        self,
        directory: Path,
        *,
        make: bool = True,
        read_only: bool = False,
        vfs: str | None = None,
        peer: Peer | None = None,
        checkpoint_pages: int = _CHECKPOINT_PAGES,
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
            checkpoint_pages: After how many pages of the log they are moved into the
                file.

        Raises:
            StateDirectoryInUse: Another process holds it.
            NewerFormat: A newer st8 wrote it; it is left as it is.
            StorageFailed: It can't be made, read or written.
        """
        self.name = f"sqlite {apsw.sqlite_lib_version()}"
        self._path = directory / FILE_NAME
        self._vfs = vfs
        self._peer = peer
        self._checkpoint_pages, self._log_pages = checkpoint_pages, 0
        self.exclusive: bool = peer is None
        self._readers_lock = threading.Lock()
        self._idle_readers: list[Connection] = []
        self._fenced: str | None = None
        self._format = schema.FORMAT
        self._closed = False
        self._counter: Connection | None = None
        self._counted: tuple[int | None, int] = (None, 0)
        self._counter_lock = threading.Lock()
        self._mover: Connection | None = None
        self._mover_lock = threading.Lock()
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
            self._lock if isinstance(self._lock, Turns) else threading.RLock()
        )
        try:
            # In turns: one of those who open it at once makes the tables.
            with self.turn():
                self._writer = self._open_writer(changed)
            if peer is not None:
                try:
                    self._counter = self._open_side(apsw.SQLITE_OPEN_READONLY)
                except BaseException:
                    self._writer.close()
                    raise
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

    def collecting(self) -> AbstractContextManager[bool]:
        """See :class:`~st8.core.ports.Store`."""
        if self._peer is None:
            return nullcontext(enter_result=True)
        return Claim(self._path.parent)

    def raise_epoch(
        self, removed: Mapping[Namespace, Sequence[RevisionNumber]], expected: int
    ) -> Raised:
        """See :class:`~st8.core.ports.Store`."""
        with self._writing() as writer:
            epoch = count_up_epoch(writer, expected)
            failpoint("sqlite.epoch_raised")
            deleted = sum(
                sqlite_collect.delete_revisions(writer, namespace, numbers)
                for namespace, numbers in removed.items()
                if numbers
            )
            failpoint("sqlite.revisions_removed")
        return Raised(epoch, deleted)

    def redact(self, choose: Callable[[], Sequence[Redaction]]) -> int:
        """See :class:`~st8.core.ports.Store`."""
        with self._writing() as writer:
            write_redactions(writer, choose())
            epoch = count_up_epoch(writer)
            failpoint("sqlite.redacted")
        self._tell(None)
        return epoch

    def erase(self, position: int, limit: int) -> int:
        """See :class:`~st8.core.ports.Store`: in the file, and all of the log."""
        log = self._path.with_name(sqlite_log.NAME)
        with self._write_lock:
            if self._closed:
                raise StorageFailed("the store is closed")
            self._check_fence()
            try:
                sqlite_collect.move_log(self._writer, truncate=True)
                if log.stat().st_size:
                    raise self._not_erased("somebody goes on reading what was before")
                sqlite_log.sync(log)
                with self._raw_file() as file:
                    after = sqlite_erase.erase(file, position, limit)
                    failpoint("sqlite.erased")
                    file.xSync(apsw.SQLITE_SYNC_NORMAL)
                # Or it would write what it remembers of these pages.
                self._writer.execute("PRAGMA shrink_memory")
            except apsw.FullError:
                raise self._not_erased("there is no space left") from None
            except (apsw.Error, OSError) as error:
                self._fence(f"overwriting what was deleted failed: {error}")
                raise self._not_erased(
                    f"{error}; writes are refused until st8d is restarted"
                ) from None
        return after

    def _not_erased(self, reason: str) -> OutcomeUnknown:
        return OutcomeUnknown(
            "it is redacted, and nobody is shown it any more, but its bytes could not "
            f"be overwritten in {self._path.parent}: {reason}. Then redact it again"
        )

    def sweep(
        self, marked: Container[int], epoch: int, after: int, limit: int
    ) -> Swept:
        """See :class:`~st8.core.ports.Store`.

        What is to be deleted is chosen before the transaction, which looks again at
        the stamps only.
        """
        self._check_fence()
        with self._reading() as reader:
            dead = sqlite_collect.choose_dead(reader, marked, after, limit, epoch)
        if not dead.rows:
            return Swept(dead.position, 0, 0)
        with self._write_lock:
            begun = time.perf_counter()
            with self._writing() as writer:
                sqlite_collect.delete_objects(writer, dead.rows, epoch)
                deleted = writer.changes()
                failpoint("sqlite.objects_removed")
            held_s = time.perf_counter() - begun
        # What was stamped in between stays, and its bytes are counted as of the rest.
        size = dead.size * deleted // len(dead.rows)
        return Swept(dead.position, deleted, size, held_s)

    def weigh(self, marked: Container[int], after: int, limit: int) -> Swept:
        """See :class:`~st8.core.ports.Store`."""
        with self._reading() as reader:
            dead = sqlite_collect.choose_dead(reader, marked, after, limit)
        return Swept(dead.position, len(dead.rows), dead.size)

    def shrink(self, limit: int) -> Shrunk:
        """See :class:`~st8.core.ports.Store`: of the file, and in the end of its log."""
        with self._write_lock:
            begun = time.perf_counter()
            with self._writing() as writer:
                size = sqlite_collect.vacuum(writer, limit)
                failpoint("sqlite.shrunk")
            held_s = time.perf_counter() - begun
        if not size:
            self._move_log(truncate=True)
        return Shrunk(size, held_s)

    def tidy(self) -> None:
        """See :class:`~st8.core.ports.Store`: it moves the log to the file.

        Raises:
            StorageFailed: It can't be synced, and the store is fenced.
        """
        self._move_log()

    def _move_log(self, *, truncate: bool = False) -> None:
        """Move the log to the file once it has grown, so that no commit has to.

        Nearly all of it beside the commits, and only what came meanwhile between two
        of them. ``truncate`` also cuts the log off.

        Raises:
            StorageFailed: It can't be synced, and the store is fenced.
        """
        with self._mover_lock:
            if self._closed:
                raise StorageFailed("the store is closed")
            if self._mover is None:
                self._mover = self._open_side(apsw.SQLITE_OPEN_READWRITE)
            try:
                if not truncate and not sqlite_collect.log_has_grown(self._mover):
                    return
                failpoint("sqlite.before_log_moved")
                sqlite_collect.move_log(self._mover)
                failpoint("sqlite.log_moved")
                with self._write_lock:
                    sqlite_collect.move_log(self._mover, truncate=truncate)
            except apsw.FullError:
                return  # it stays in the log until there is room
            except apsw.Error as error:
                self._fence(f"moving the log to {self._path} failed: {_reason(error)}")
                raise StorageFailed(
                    f"can't write {self._path}: {error}; what is acknowledged is in "
                    "its log, and writes are refused until st8d is restarted"
                ) from None

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
        with (
            self._mover_lock,
            self._write_lock,
            self._readers_lock,
            self._counter_lock,
        ):
            if self._closed:
                return
            self._closed = True
            side = [one for one in (self._counter, self._mover) if one is not None]
            # Those that are in use are closed when they are given back.
            for connection in (*self._idle_readers, *side, self._writer):
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
            if self._peer is None:  # else that was done before there were any
                failpoint("sqlite.before_log")
                sqlite_log.renew(self._path.with_name(sqlite_log.NAME))
                failpoint("sqlite.after_log")
            writer = self._connect(apsw.SQLITE_OPEN_READWRITE)
            try:
                failpoint("sqlite.before_tables")
                schema.check(writer)
                schema.prepare(writer)
                writer.set_wal_hook(self._logged)
                failpoint("sqlite.after_tables")
            except BaseException:
                writer.close()
                raise
            for directory in changed:
                sync_directory(directory)
            failpoint("sqlite.names_synced")
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

    def _open_side(self, flags: int) -> Connection:
        """Open a connection beside the writer's, which never waits for a lock.

        One is what :meth:`moves` asks, the other moves the log to the file.
        """
        try:
            connection = self._connect(flags)
            connection.execute("PRAGMA busy_timeout = 0")
        except apsw.Error as error:
            raise StorageFailed(f"can't open {self._path}: {error}") from None
        return connection

    def _look(self) -> None:
        """Return if the file is ours; one that isn't is left byte for byte.

        Even to read a file with a log, SQLite makes more files, and its last reader
        tidies up. So one without a log is opened as if it could not change. One with a
        rollback journal was being made when the power went: nobody can tell what it is
        before SQLite has rolled that back, which takes a connection that may write.
        """
        if self._path.with_name(f"{FILE_NAME}-journal").exists():
            return
        path = os.fspath(self._path)
        if not self._path.with_name(sqlite_log.NAME).exists():
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
            "wal_autocheckpoint = 0",  # see _move_all()
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
                failpoint("sqlite.before_begin")
                writer.execute("BEGIN IMMEDIATE")
                failpoint("sqlite.after_begin")
                yield writer
                committing = True
                with self._moving():
                    failpoint("sqlite.before_commit")
                    writer.execute("COMMIT")
                    failpoint("sqlite.after_commit")
            except apsw.Error as error:
                raise self._failed(error, committing=committing) from None
            except BaseException:
                self._roll_back()
                raise
            if self._log_pages >= self._checkpoint_pages:
                self._move_all()

    def _move_all(self) -> None:
        """Move the log to the file, between two commits; what is committed stays so.

        SQLite would do this itself, as a part of a commit, and keep its errors to
        itself.
        """
        try:
            sqlite_collect.move_log(self._writer)
        except apsw.FullError:
            return  # it stays in the log until there is room
        except apsw.Error as error:
            self._fence(f"moving the log to {self._path} failed: {_reason(error)}")

    def _logged(self, _writer: Connection, _name: str, pages: int) -> int:
        """Take note of how long the log is, after each commit."""
        self._log_pages = pages
        return apsw.SQLITE_OK

    @contextmanager
    def _raw_file(self) -> Generator[Any]:
        """Give the file as it is; by SQLite's ways, which keep its locks on it."""
        flags = apsw.SQLITE_OPEN_MAIN_DB | apsw.SQLITE_OPEN_READWRITE
        file = apsw.VFSFile(self._vfs or "", os.fspath(self._path), [flags, 0])
        try:
            yield file
        finally:
            file.xClose()

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
        self._fence(_reason(error))
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


def _reason(error: apsw.Error) -> str:
    return str(error) or type(error).__name__
