"""What takes long says how far it is: one line on standard error, gone at the end.

Only where standard error is a terminal, and only where there is much to do; a pipe
or a log never sees it.
"""

from __future__ import annotations

import sys
from time import monotonic
from typing import TYPE_CHECKING, Final, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from types import TracebackType
    from typing import Self

__all__ = ["MANY", "Flow", "Progress", "counted"]

T = TypeVar("T")

MANY: Final = 1_000
"""More than so many documents take long enough to say so."""

_PAUSE_S: Final = 0.1
_MOMENT_S: Final = 0.5
_MIB: Final = 1024 * 1024
_CLEAR: Final = "\r\x1b[K"


class Progress:
    """A line that says what is going on; a context manager.

    Example::

        with Progress("reading files", total) as progress:
            for n, path in enumerate(paths):
                progress.at(n)
    """

    def __init__(self, label: str, total: int, *, many: int = MANY) -> None:
        """Show nothing yet.

        Args:
            label: What is being done.
            total: How much there is of it; None where nobody knows.
            many: Nothing is shown unless ``total`` is more.
        """
        stderr = sys.stderr
        self._stderr = stderr if total > many and stderr and stderr.isatty() else None
        self._label = label
        self._total = total
        self._next_s = 0.0

    def __enter__(self) -> Self:
        self.at(0)
        return self

    def at(self, count: int) -> None:
        """Say that ``count`` are done, unless it was said a moment ago."""
        if self._stderr is None:
            return
        now_s = monotonic()
        if now_s >= self._next_s:
            self._next_s = now_s + _PAUSE_S
            how_far = f" {count:,} of {self._total:,}" if count else " ..."
            self._write(f"{_CLEAR}{self._label}{how_far}")

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._stderr is not None:
            self._write(_CLEAR)

    def _write(self, text: str) -> None:
        try:
            if self._stderr is not None:
                self._stderr.write(text)
                self._stderr.flush()
        except OSError:
            self._stderr = None  # nobody looks any more


class Flow:
    """A line that says how many bytes have gone by; a context manager.

    Nothing is shown of what is done in a moment.
    """

    def __init__(self, label: str, total: int | None = None) -> None:
        """Show nothing yet.

        Args:
            label: What is being done.
            total: How many bytes there will be; None where nobody knows.
        """
        stderr = sys.stderr
        self._stderr = stderr if stderr is not None and stderr.isatty() else None
        self._label = label
        self._total = total
        self._size = 0
        self._next_s = monotonic() + _MOMENT_S

    def __enter__(self) -> Self:
        return self

    def add(self, size: int) -> None:
        """Say that so many bytes more have gone by, unless it was said a moment ago."""
        self._size += size
        now_s = monotonic()
        if self._stderr is not None and now_s >= self._next_s:
            self._next_s = now_s + _PAUSE_S
            of = "" if self._total is None else f" of {self._total / _MIB:,.1f}"
            line = f"{self._label} {self._size / _MIB:,.1f}{of} MiB"
            self._write(f"{_CLEAR}{line}")

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._write(_CLEAR)

    def _write(self, text: str) -> None:
        try:
            if self._stderr is not None:
                self._stderr.write(text)
                self._stderr.flush()
        except OSError:
            self._stderr = None  # nobody looks any more


def counted(
    label: str, items: Iterable[T], total: int, *, many: int = MANY
) -> Iterator[T]:
    """Yield ``items`` and say how many there were; as :class:`Progress`."""
    with Progress(label, total, many=many) as progress:
        for number, item in enumerate(items):
            progress.at(number)
            yield item
