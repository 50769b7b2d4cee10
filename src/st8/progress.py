"""How far something is: one line on standard error, written over and gone at the end.

Only where standard error is a terminal; a pipe or a log never sees it. Programs of the
daemon and of the command line have it in common.
"""

from __future__ import annotations

import sys
from time import monotonic
from typing import Final

__all__ = ["ProgressLine"]

_PAUSE_S: Final = 0.1
_CLEAR: Final = "\r\x1b[K"


class ProgressLine:
    """The line; one thread."""

    def __init__(self, *, wanted: bool = True) -> None:
        """Show nothing yet, and nothing ever unless it is ``wanted``."""
        stderr = sys.stderr
        self._stderr = stderr if wanted and stderr and stderr.isatty() else None
        self._next_s = 0.0

    def is_due(self) -> bool:
        """Return whether somebody looks, and nothing was said a moment ago."""
        return self._stderr is not None and monotonic() >= self._next_s

    def show(self, text: str) -> None:
        """Say how far it is, unless that was said a moment ago."""
        if self.is_due():
            self._next_s = monotonic() + _PAUSE_S
            self._write(f"{_CLEAR}{text}")

    def clear(self) -> None:
        """Leave nothing of it; what is shown next is shown at once."""
        self._next_s = 0.0
        self._write(_CLEAR)

    def _write(self, text: str) -> None:
        try:
            if self._stderr is not None:
                self._stderr.write(text)
                self._stderr.flush()
        except OSError:
            self._stderr = None  # nobody looks any more
