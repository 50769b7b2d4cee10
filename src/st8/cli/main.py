"""The program ``st8ctl``.

Start-up counts: this module imports next to nothing, ``root`` what every command
needs, and each command what it needs itself, when it runs.
"""

from __future__ import annotations

import gc
import os
import sys
from typing import NoReturn

__all__ = ["main"]

_INTERRUPTED = 130
_GC_THRESHOLD = 100_000


def main() -> NoReturn:
    """Run ``st8ctl`` with the arguments of this process, and end it."""
    # Imports make many objects and free few; looking for garbage among them is time
    # lost. What a command makes afterwards is still looked at, less often.
    gc.set_threshold(_GC_THRESHOLD)
    try:
        from st8.cli.root import run

        code = run(sys.argv[1:])
    except KeyboardInterrupt:
        code = _INTERRUPTED
    # Everything is written and closed. Taking the interpreter apart piece by piece
    # would take longer than most commands.
    os._exit(code)
