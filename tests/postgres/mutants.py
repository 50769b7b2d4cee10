"""st8d with a planted bug, to show that the rig of several daemons finds it.

Run as ``python tests/postgres/mutants.py BUG --listen … --store …``.
"""

from __future__ import annotations

import sys
from typing import Any

from st8 import daemon
from st8.core.errors import OutcomeUnknown, St8Error, StorageFailed
from st8.store.postgres import PostgresStore, failures


def remember_heads() -> None:
    """Believe that nobody else writes: show old heads, whatever others have done."""
    PostgresStore.moves = lambda _: 0  # type: ignore[method-assign,assignment]
    PostgresStore.hear = lambda *_: None  # type: ignore[method-assign]


def say_nothing_was_done() -> None:
    """Take a commit whose connection is lost for one that was not made."""
    committing = failures.committing

    def certain(*args: Any) -> St8Error:
        error = committing(*args)
        if isinstance(error, OutcomeUnknown):
            return StorageFailed("the connection was lost; nothing was changed")
        return error

    failures.committing = certain  # type: ignore[assignment]


BUGS = {bug.__name__: bug for bug in (remember_heads, say_nothing_was_done)}


if __name__ == "__main__":
    BUGS[sys.argv[1]]()
    sys.exit(daemon.main(sys.argv[2:]))
