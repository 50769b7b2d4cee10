"""Announcements: which branches a daemon has moved, told to the others at once.

They are sent after a commit, by a thread and on their own, since what PostgreSQL is
told inside a transaction makes commits wait for each other; what gathers meanwhile goes
together. An announcement can get lost, with its sender or with a connection. So who
listens also looks for itself now and then, and anew after each connection.
"""

from __future__ import annotations

import json
import os
import secrets
import select
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, cast

import psycopg

from st8.core.errors import St8Error
from st8.core.failpoints import failpoint
from st8.core.ids import BranchName, Namespace

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from st8.core.ports import BranchAt, Heard
    from st8.store.postgres.connections import Connections, Session

__all__ = ["CHANNEL", "Announcements"]

CHANNEL: Final = "st8"
"""What is announced is announced there, with the schema's name after a colon."""

_PAYLOAD_BYTES: Final = 7_900
"""PostgreSQL takes 8,000."""
_GAP_S: Final = 0.002
"""Between two announcements; commits in between share the second."""
_RETRY_S: Final = 1.0
"""Between two attempts to connect."""
_NOTIFY: Final = b"SELECT pg_notify($1::text, $2::text)"


class Announcements:
    """What one store tells the others that share a schema, and hears of them.

    A payload is a JSON list: who tells it, and the branches as pairs of namespace and
    name, or null where they are too many. Nobody hears what they told themselves.
    """

    def __init__(self, connections: Connections, schema: str) -> None:
        """Tell and hear of ``schema``, on ``connections``."""
        self._connections = connections
        self._channel = f"{CHANNEL}:{schema}"
        self._own = secrets.token_hex(8)
        self._changed = threading.Condition()
        self._waiting: set[BranchAt] = set()
        self._any_waits = False
        self._closing = threading.Event()
        self._threads: list[threading.Thread] = []
        self._teller: threading.Thread | None = None
        self._ear, self._nudge = os.pipe()

    def tell(self, branches: Collection[BranchAt] | None) -> None:
        """Have the others told that ``branches`` have moved; never waits or fails.

        None is that anything may have.
        """
        with self._changed:
            if (branches is not None and not branches) or self._closing.is_set():
                return
            self._waiting.update(branches or ())
            self._any_waits |= branches is None
            if self._teller is None:
                self._teller = self._start(self._tell)
            self._changed.notify()

    def hear(self, heard: Heard) -> None:
        """Begin to listen; see :meth:`st8.core.ports.Store.hear`."""
        self._start(lambda: self._listen(heard))

    def close(self) -> None:
        """Tell what waits, if the server answers, and stop."""
        with self._changed:
            if self._closing.is_set():
                return
            self._closing.set()
            self._changed.notify()
        os.write(self._nudge, b"\0")
        for thread in self._threads:
            thread.join()
        os.close(self._ear)
        os.close(self._nudge)

    def _start(self, run: Callable[[], None]) -> threading.Thread:
        # A daemon thread: who forgets to close the store can end all the same.
        thread = threading.Thread(target=run, name="st8-announcements", daemon=True)
        self._threads.append(thread)
        thread.start()
        return thread

    # --- telling -------------------------------------------------------------

    def _tell(self) -> None:
        while True:
            with self._changed:
                while not (self._waiting or self._any_waits or self._closing.is_set()):
                    self._changed.wait()
                branches, self._waiting = self._waiting, set()
                any_waits, self._any_waits = self._any_waits, False
            if not branches and not any_waits:
                return
            payload = json.dumps([self._own, sorted(branches)])
            if any_waits or len(payload) > _PAYLOAD_BYTES:
                payload = json.dumps([self._own, None])
            with suppress(psycopg.Error, St8Error):
                failpoint("postgres.before_tell")
                with self._connections.use() as session:
                    session.rows(_NOTIFY, (self._channel, payload))
                failpoint("postgres.after_tell")
            self._closing.wait(_GAP_S)

    # --- hearing -------------------------------------------------------------

    def _listen(self, heard: Heard) -> None:
        while not self._closing.is_set():
            with suppress(psycopg.Error, St8Error):
                session = self._connections.connect()
                try:
                    session.connection.execute(f'LISTEN "{self._channel}"'.encode())
                    heard(None)  # what was told before is not known
                    self._hear(session, heard)
                finally:
                    session.close()
            self._closing.wait(_RETRY_S)

    def _hear(self, session: Session, heard: Heard) -> None:
        """Pass on what is told until this is closed.

        Raises:
            psycopg.Error: The connection has gone.
        """
        poll = select.poll()
        poll.register(session.connection.fileno(), select.POLLIN)
        poll.register(self._ear, select.POLLIN)
        while not self._closing.is_set():
            poll.poll()
            for notice in session.connection.notifies(timeout=0):
                sender, branches = _read(notice.payload)
                if sender != self._own:
                    heard(branches)


def _read(payload: str) -> tuple[str, list[BranchAt] | None]:
    """Return who tells, and which branches; None where that is not to be understood.

    Anybody in the database can write to the channel.
    """
    try:
        sender, branches = cast("tuple[Any, Any]", json.loads(payload))
        return str(sender), [
            (Namespace(namespace), BranchName(name)) for namespace, name in branches
        ]
    except (ValueError, TypeError, RecursionError, St8Error):
        return "", None
