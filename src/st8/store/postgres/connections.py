"""Connections to PostgreSQL, lent to one thread at a time.

A connection that stood idle is looked at before it is lent, without asking the server:
if it has said goodbye, or its socket has ended, there is something to read. So a
server that was restarted costs a new connection and no failed commit. There are no
threads of its own, and the reason why a connection fails reaches who asked for one.
"""

from __future__ import annotations

import select
import threading
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Final

import psycopg
from psycopg.pq import TransactionStatus

from st8.core.errors import Overloaded, StorageFailed
from st8.store.postgres import failures
from st8.store.postgres.values import ADAPTERS, Texts

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from psycopg.errors import Diagnostic

    from st8.store.postgres.address import Address

__all__ = ["Connections", "Session"]

CONNECTIONS_MAX: Final = 8
"""More than the threads that a daemon reads, writes and collects with."""
_WAIT_S: Final = 30
_PAUSE_S: Final = 0.1
"""Between two attempts to connect to a server that could not be reached."""
_PATIENCE_S: Final = 30.0
"""After which an attempt that has not ended is not waited for any more."""
_OLDEST: Final = 13_00_00
_OLDEST_NAME: Final = "13"
_WARNING: Final = "01000"

_SET: Final = (
    b"SELECT set_config(name, value, false) "
    b"FROM unnest($1::text[], $2::text[]) AS settings (name, value)"
)
_DURABLE: Final = (
    b"SELECT set_config('synchronous_commit', 'on', false) "
    b"WHERE current_setting('synchronous_commit') NOT IN ('on', 'remote_apply')"
)
"""A commit is answered when it is on disk, whatever the server's default is; one that
waits for more, on a standby, is left to it."""


class Session:
    """A connection, in autocommit: each statement is a transaction."""

    def __init__(self, connection: psycopg.Connection[tuple[Any, ...]]) -> None:
        """Take a connection that stands."""
        self.connection = connection
        self.unconfirmed = False
        connection.add_notice_handler(self._hear)

    def rows(self, statement: bytes, values: Sequence[object] = ()) -> list[Any]:
        """Run a statement in one round trip and return its rows.

        Raises:
            psycopg.Error: It failed.
        """
        cursor = self.connection.execute(statement, values, prepare=True, binary=True)
        return cursor.fetchall() if cursor.description else []

    def _hear(self, notice: Diagnostic) -> None:
        """Note the one warning of a commit: it did not wait for the standby."""
        if notice.sqlstate == _WARNING:
            self.unconfirmed = True

    @property
    def is_usable(self) -> bool:
        """Whether it stands, with no transaction open."""
        connection = self.connection
        return (
            not connection.closed
            and connection.pgconn.transaction_status == TransactionStatus.IDLE
        )

    @property
    def is_silent(self) -> bool:
        """Whether the server has said nothing since; it has no reason to."""
        poll = select.poll()
        try:
            poll.register(self.connection.fileno(), select.POLLIN)
        except psycopg.Error:  # closed on this side
            return False
        return not poll.poll(0)

    def close(self) -> None:
        """End it."""
        with suppress(psycopg.Error):
            self.connection.close()


class Connections:
    """The connections of one store. Any thread may call at any time."""

    def __init__(self, address: Address) -> None:
        """Connect to ``address`` when a connection is asked for."""
        self._address = address
        self._lock = threading.Lock()
        self._slots = threading.BoundedSemaphore(CONNECTIONS_MAX)
        self._idle: list[Session] = []
        self._closed = False
        self._failed: str | None = None
        self._pause_ends = 0.0

    @contextmanager
    def use(self) -> Generator[Session]:
        """Lend a connection for a while.

        Raises:
            St8Error: See :meth:`borrow`.
        """
        session = self.borrow()
        try:
            yield session
        finally:
            self.give_back(session)

    def borrow(self) -> Session:
        """Return a connection, which is given back with :meth:`give_back`.

        Raises:
            StorageFailed: The server can't be reached, or the store is closed.
            Overloaded: All connections are in use for long.
        """
        if not self._slots.acquire(timeout=_WAIT_S):
            raise Overloaded(
                f"all {CONNECTIONS_MAX} connections to {self._address.place} were in "
                f"use for {_WAIT_S} s; this was not begun. Try again"
            )
        try:
            return self._take()
        except BaseException:
            self._slots.release()
            raise

    def give_back(self, session: Session) -> None:
        """Take a connection back; one that failed, or has work undone, is ended."""
        with self._lock:
            keep = session.is_usable and not self._closed
            if keep:
                self._idle.append(session)
        if not keep:
            session.close()
        self._slots.release()

    def forget(self) -> None:
        """End all that are idle: the server is not the one to talk to any more."""
        with self._lock:
            idle, self._idle = self._idle, []
        for session in idle:
            session.close()

    def close(self) -> None:
        """End all; those in use when they are given back."""
        with self._lock:
            self._closed = True
        self.forget()

    def connect(self) -> Session:
        """Return a new connection, with the settings that hold for all.

        Raises:
            StorageFailed: The server can't be reached, or is not one to work with.
        """
        address = self._address
        try:
            connection: psycopg.Connection[tuple[Any, ...]] = psycopg.connect(
                autocommit=True,
                context=ADAPTERS,
                cursor_factory=psycopg.RawCursor[tuple[Any, ...]],
                **address.parameters,
            )
        except psycopg.Error as error:
            raise failures.connecting(error, address) from None
        session = Session(connection)
        try:
            self._check(session)
            names, values = zip(*address.settings.items(), strict=True)
            session.rows(_SET, (Texts(names), Texts(values)))
            session.rows(_DURABLE)
        except psycopg.Error as error:
            session.close()
            raise failures.running(error, address) from None
        except BaseException:
            session.close()
            raise
        return session

    def _reconnect(self) -> Session:
        """Return a new connection; while none can be made, ask for few.

        Else all who have something to read or write would knock all the time at a
        server that is busy with its recovery.
        """
        with self._lock:
            failed = self._failed
            if failed is not None:
                if time.monotonic() < self._pause_ends:
                    raise StorageFailed(failed)
                # One tries; the others are told what is known.
                self._pause_ends = time.monotonic() + _PATIENCE_S
        try:
            session = self.connect()
        except StorageFailed as error:
            with self._lock:
                self._failed = error.detail
                self._pause_ends = time.monotonic() + _PAUSE_S
            raise
        with self._lock:
            self._failed = None
        return session

    def _check(self, session: Session) -> None:
        found = session.connection.info
        if found.server_version < _OLDEST:
            raise StorageFailed(
                f"{self._address.place} is version {found.server_version // 10_000}, "
                f"and st8 needs {_OLDEST_NAME} or newer; update the server"
            )
        encoding = found.parameter_status("server_encoding")
        if encoding != "UTF8":
            raise StorageFailed(
                f"{self._address.place} has the encoding {encoding}, and st8 needs "
                "UTF8; make another database with createdb -E UTF8 -T template0"
            )

    def _take(self) -> Session:
        while True:
            with self._lock:
                if self._closed:
                    raise StorageFailed("the store is closed")
                session = self._idle.pop() if self._idle else None
            if session is None:
                return self._reconnect()
            if session.is_silent:
                return session
            session.close()
