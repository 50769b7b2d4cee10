"""st8d with a planted bug, to show that the rig of several daemons finds it.

Run as ``python tests/postgres/mutants.py BUG --listen … --store …``.
"""

from __future__ import annotations

import itertools
import sys
from typing import TYPE_CHECKING

from st8 import daemon
from st8.core.errors import StorageFailed
from st8.engine.engine import Engine
from st8.store.postgres import PostgresStore

if TYPE_CHECKING:
    from st8.core.ids import Scope
    from st8.core.ports import Batch, CommitTimes
    from st8.engine.history import Resolved
    from st8.engine.requests import Freshness, Selector


def remember_heads() -> None:
    """Show whoever asks for the head the one that is remembered, and hear of nobody."""
    resolve = Engine._resolve

    def resolve_from_memory(
        self: Engine, scope: Scope, selector: Selector, freshness: Freshness
    ) -> Resolved:
        return resolve(self, scope, selector, freshness._replace(max_stale_s=3600))

    Engine._resolve = resolve_from_memory  # type: ignore[method-assign]
    PostgresStore.hear = lambda *_: None  # type: ignore[method-assign]


def say_nothing_was_done() -> None:
    """Take now and then a commit that was made for one that was not."""
    commit = PostgresStore.commit
    commits = itertools.count(1)

    def commit_and_forget(self: PostgresStore, batch: Batch) -> CommitTimes:
        times = commit(self, batch)
        if next(commits) % 20 == 0:
            raise StorageFailed("the connection was lost; nothing was changed")
        return times

    PostgresStore.commit = commit_and_forget  # type: ignore[method-assign]


BUGS = {bug.__name__: bug for bug in (remember_heads, say_nothing_was_done)}


if __name__ == "__main__":
    BUGS[sys.argv[1]]()
    sys.exit(daemon.main(sys.argv[2:]))
