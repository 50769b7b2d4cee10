"""Turns: who has lost again and again goes first.

A daemon that finds its batch overtaken reads anew what the other has written, while
the other has all in memory and is at its next commit already. So it may lose many
times in a row. After some losses it takes a turn, an advisory lock: commits of others
that see it wait a little before they begin, and who else wants a turn waits for it.

A turn that is not used ends soon, by itself: it stands in a transaction that the
server ends when it is idle for long.
"""

from __future__ import annotations

import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Final

import psycopg

from st8.core.errors import St8Error
from st8.store.postgres.schema import lock_key

if TYPE_CHECKING:
    from st8.store.postgres.connections import Connections, Session

__all__ = ["NO_TURN", "Turns"]

NO_TURN: Final = 0
"""The key of no lock."""

_LOSSES: Final = 3
"""After so many in a row."""
_BEGIN: Final = (
    b"BEGIN; SET LOCAL idle_in_transaction_session_timeout = '250ms'; "
    b"SET LOCAL lock_timeout = '1s'"
)
_TAKE: Final = b"SELECT pg_advisory_xact_lock($1::bigint)"


class Turns:
    """The turns of one store; each thread that commits has its own."""

    def __init__(self, connections: Connections, schema: str) -> None:
        """Take turns on connections of the pool."""
        self._connections = connections
        self._key = lock_key("turn", schema)
        self._lock = threading.Lock()
        self._losses: dict[int, int] = {}
        self._held: dict[int, Session] = {}

    def key(self) -> int:
        """Return the key of the turn that this thread's commit has to look for."""
        with self._lock:
            held = self._held.get(threading.get_ident())
        return NO_TURN if held is not None and held.is_silent else self._key

    def lost(self) -> None:
        """Note that this thread's commit was overtaken; maybe take a turn for the next.

        Waits for the turns of others, for a second at most.
        """
        thread = threading.get_ident()
        with self._lock:
            losses = self._losses[thread] = self._losses.get(thread, 0) + 1
        if losses >= _LOSSES:
            self._release(thread)
            self._take(thread)

    def end(self) -> None:
        """Note that this thread's commit has come to an end, well or not."""
        thread = threading.get_ident()
        with self._lock:
            losses = self._losses.pop(thread, 0)
        if losses >= _LOSSES:
            self._release(thread)

    def take_on(self, session: Session) -> None:
        """Take a turn for the transaction of a session, until it ends.

        Raises:
            psycopg.Error: Others held theirs for too long.
        """
        session.rows(_TAKE, (self._key,))

    def close(self) -> None:
        """End all turns."""
        with self._lock:
            threads = list(self._held)
        for thread in threads:
            self._release(thread)

    def _take(self, thread: int) -> None:
        """Take a turn if it can be had; it is a favour and no promise."""
        with suppress(psycopg.Error, St8Error):
            session = self._connections.borrow()
            try:
                session.connection.execute(_BEGIN)
                self.take_on(session)
            except psycopg.Error:
                self._connections.give_back(session)
                raise
            with self._lock:
                self._held[thread] = session

    def _release(self, thread: int) -> None:
        with self._lock:
            session = self._held.pop(thread, None)
        if session is not None:
            with suppress(psycopg.Error):
                session.connection.execute(b"ROLLBACK")
            self._connections.give_back(session)
