"""st8d with a planted bug, to show that the test of its memory finds it.

Run as ``python tests/bounds/mutants.py BUG --listen … --state-dir …``.
"""

from __future__ import annotations

import sys

from st8 import daemon
from st8.core import limits
from st8.http.answers import Answers, Place
from st8.http.connections import GuardSettings
from st8.http.guards import GuardedProtocol

_ENDLESS = 1 << 60


def unbounded_queue() -> None:
    """Let any number of bodies wait for the group commit."""
    limits.PENDING_BYTES = limits.PENDING_BYTES._replace(maximum=_ENDLESS)
    limits.PENDING_WRITES = limits.PENDING_WRITES._replace(maximum=_ENDLESS)
    defaults = GuardSettings.__init__.__defaults__ or ()
    GuardSettings.__init__.__defaults__ = tuple(
        _ENDLESS if value == limits.BODIES_BYTES.maximum else value
        for value in defaults
    )


def unbounded_answers() -> None:
    """Begin every read, and send all that its client does not take."""
    Answers.check = lambda _: None  # type: ignore[method-assign,assignment]
    Place.hold = lambda _self, _size: None  # type: ignore[method-assign,assignment]
    GuardedProtocol.cut_for_room = lambda _: None  # type: ignore[method-assign,assignment]


if __name__ == "__main__":
    globals()[sys.argv[1]]()
    sys.exit(daemon.main(sys.argv[2:]))
