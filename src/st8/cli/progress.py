"""What takes long says how far it is: one line on standard error, gone at the end.

Only where standard error is a terminal, and only where there is much to do; a pipe
or a log never sees it.
"""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING, Final, TypeVar

from st8.progress import ProgressLine

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from types import TracebackType
    from typing import Self

__all__ = ["MANY", "Flow", "Progress", "counted"]

T = TypeVar("T")

MANY: Final = 1_000
"""More than so many documents take long enough to say so."""

_MOMENT_S: Final = 0.5
_MIB: Final = 1024 * 1024


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
        self._line = ProgressLine(wanted=total > many)
        self._label = label
        self._total = total

    def __enter__(self) -> Self:
        self.at(0)
        return self

    def at(self, count: int) -> None:
        """Say that ``count`` are done, unless it was said a moment ago."""
        if self._line.is_due():
            how_far = f" {count:,} of {self._total:,}" if count else " ..."
            self._line.show(f"{self._label}{how_far}")

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._line.clear()


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
        self._line = ProgressLine()
        self._label = label
        self._total = total
        self._size = 0
        self._from_s = monotonic() + _MOMENT_S

    def __enter__(self) -> Self:
        return self

    def add(self, size: int) -> None:
        """Say that so many bytes more have gone by, unless it was said a moment ago."""
        self._size += size
        if self._line.is_due() and monotonic() >= self._from_s:
            of = "" if self._total is None else f" of {self._total / _MIB:,.1f}"
            self._line.show(f"{self._label} {self._size / _MIB:,.1f}{of} MiB")

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._line.clear()


def counted(
    label: str, items: Iterable[T], total: int, *, many: int = MANY
) -> Iterator[T]:
    """Yield ``items`` and say how many there were; as :class:`Progress`."""
    with Progress(label, total, many=many) as progress:
        for number, item in enumerate(items):
            progress.at(number)
            yield item
