"""st8d with a planted bug, to show that a rig finds it.

Run as ``python tests/crash/mutants.py BUG --listen … --state-dir …``, or, for daemons
whose failpoints can be armed, as ``python tests/crash/mutants.py BUG --armed BOARD``.
"""

from __future__ import annotations

import sys
import time
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from st8 import daemon
from st8.core.ports import Batch, CommitTimes
from st8.engine.draft import Draft
from st8.store.sqlite import SqliteStore
from st8.testing import armed

if TYPE_CHECKING:
    from collections.abc import Callable

    from st8.store.sql import Connection

_WINDOW_S = 0.005
"""How long the harm can be done each time: an fsync of a slow disk."""


def acknowledge_before_commit() -> None:
    """Say that a batch is durable, and write it a little later.

    Reads wait for it, so that only a crash can tell.
    """
    commit, reading = SqliteStore.commit, SqliteStore._reading
    later = ThreadPoolExecutor(1)
    pending: list[Future[CommitTimes]] = []

    def write(store: SqliteStore, batch: Batch) -> CommitTimes:
        time.sleep(_WINDOW_S)
        return commit(store, batch)

    def commit_later(self: SqliteStore, batch: Batch) -> CommitTimes:
        wait(pending)
        pending[:] = [later.submit(write, self, batch)]
        return CommitTimes(0.0, 0.0)

    def read_after_it(self: SqliteStore) -> Any:
        wait(pending)
        return reading(self)

    SqliteStore.commit = commit_later  # type: ignore[method-assign]
    SqliteStore._reading = read_after_it  # type: ignore[method-assign]


def commit_in_two_parts() -> None:
    """Commit refs and revisions first, and the objects they need a little later."""
    commit = SqliteStore.commit

    def commit_twice(self: SqliteStore, batch: Batch) -> CommitTimes:
        commit(self, replace(batch, objects={}))
        time.sleep(_WINDOW_S)
        return commit(self, Batch(batch.epoch, batch.now_ns, objects=batch.objects))

    SqliteStore.commit = commit_twice  # type: ignore[method-assign]


def forget_idempotency_keys() -> None:
    """Make a write again that was made, when its key is sent again."""
    Draft.answer = lambda *_: None  # type: ignore[method-assign]


def never_sync() -> None:
    """Leave it to the kernel when anything becomes durable."""
    connect = SqliteStore._connect

    def connect_unsafely(
        self: SqliteStore, flags: int, path: str | None = None
    ) -> Connection:
        connection = connect(self, flags, path)
        connection.execute("PRAGMA synchronous = OFF")
        return connection

    SqliteStore._connect = connect_unsafely  # type: ignore[method-assign]


def go_on_after_an_error() -> None:
    """Take the next write, and so the next sync, as if no sync had failed."""
    SqliteStore._fence = lambda *_: None  # type: ignore[method-assign]


BUGS: dict[str, Callable[[], None]] = {
    bug.__name__: bug
    for bug in (
        acknowledge_before_commit,
        commit_in_two_parts,
        forget_idempotency_keys,
        never_sync,
        go_on_after_an_error,
    )
}


if __name__ == "__main__":
    BUGS[sys.argv[1]]()
    if sys.argv[2] == "--armed":
        armed.main(sys.argv[3])
    else:
        sys.exit(daemon.main(sys.argv[2:]))
