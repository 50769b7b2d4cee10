"""What the workers of one daemon have counted, for whichever of them is asked.

Each puts up what it counts, every second and when it is asked itself; whoever is
asked adds up what all have put up. So no sum ever goes back, however the scrapes fall
on the workers: a piece of the sum only grows. A worker that takes the place of one
that died goes on from what that one had put up last.
"""

from __future__ import annotations

import mmap
import threading
from typing import TYPE_CHECKING, Final

import msgspec
from prometheus_client.core import Metric

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

__all__ = ["Board", "Sheet"]

_PLACE_BYTES: Final = 2 * 1024 * 1024
"""Room for two sheets; one has tens of kilobytes. What nobody touches costs nothing."""
_HEAD_BYTES: Final = 16
_SHEET_BYTES: Final = _PLACE_BYTES // 2 - _HEAD_BYTES
_LENGTH_BITS: Final = 32
_LENGTH_MASK: Final = (1 << _LENGTH_BITS) - 1
_EVERY_S: Final = 1.0
_LATEST: Final = "_timestamp_seconds"
"""What a metric is called of which the latest counts, not the sum."""
_GROWING: Final = frozenset(("counter", "histogram"))

_Labels = tuple[tuple[str, str], ...]


class Board:
    """Places for the sheets of a number of workers, in memory that all of them see.

    Made before they are forked. Whoever reads a place sees a whole sheet, also of a
    worker that was killed while it wrote the next one.
    """

    def __init__(self, workers: int) -> None:
        """Make places for workers 1 … ``workers``, with empty sheets."""
        self._memory = mmap.mmap(-1, workers * _PLACE_BYTES)
        self._workers = workers

    def put(self, worker: int, sheet: bytes) -> None:
        """Put up a sheet in place of the one before; one that is too long is not."""
        if len(sheet) > _SHEET_BYTES:
            return
        turn = (self._head(worker) >> _LENGTH_BITS) + 1
        at = self._sheet_at(worker, turn)
        self._memory[at : at + len(sheet)] = sheet
        # In one piece: before it the sheet before counts, and after it this one.
        head = (turn << _LENGTH_BITS | len(sheet)).to_bytes(8, "little")
        at = (worker - 1) * _PLACE_BYTES
        self._memory[at : at + 8] = head

    def get(self, worker: int) -> bytes:
        """Return the sheet of a worker; empty if it has put up none."""
        while True:
            head = self._head(worker)
            at = self._sheet_at(worker, head >> _LENGTH_BITS)
            sheet = self._memory[at : at + (head & _LENGTH_MASK)]
            if head == self._head(worker):  # else there is a newer one
                return sheet

    def all(self) -> Iterator[bytes]:
        """Yield the sheets of all workers."""
        for worker in range(1, self._workers + 1):
            yield self.get(worker)

    def _head(self, worker: int) -> int:
        at = (worker - 1) * _PLACE_BYTES
        return int.from_bytes(self._memory[at : at + 8], "little")

    @staticmethod
    def _sheet_at(worker: int, turn: int) -> int:
        """Return where a sheet is; two of them take turns."""
        return (worker - 1) * _PLACE_BYTES + _HEAD_BYTES + turn % 2 * _SHEET_BYTES


class _Family(msgspec.Struct, array_like=True):
    """A metric with its samples, as it stands on a sheet."""

    name: str
    text: str
    kind: str
    samples: list[tuple[str, dict[str, str], float]]


class Sheet:
    """What one worker puts up, and the sum of what all have put up. Any thread.

    What is ``ours`` is added up; the rest, of processes, is each worker's own and has
    its number as a label.
    """

    def __init__(
        self,
        board: Board,
        worker: int,
        collect: Callable[[], Iterable[Metric]],
        ours: str,
    ) -> None:
        """Put up what ``collect`` gives, for as long as it is not closed."""
        self._board = board
        self._worker = worker
        self._collect = collect
        self._ours = ours
        self._lock = threading.Lock()
        self._before = [
            family
            for family in _read(board.get(worker))
            if family.kind in _GROWING and family.name.startswith(ours)
        ]
        self._closing = threading.Event()
        self._put()
        self._thread = threading.Thread(
            target=self._run, name="st8-metrics", daemon=True
        )
        self._thread.start()

    def collect(self) -> Iterable[Metric]:
        """Return the sum of what all have counted, this worker up to now."""
        self._put()
        sheets = [family for sheet in self._board.all() for family in _read(sheet)]
        return [_as_metric(family) for family in _sum(sheets)]

    def close(self) -> None:
        """Put up the last sheet."""
        self._closing.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._closing.wait(_EVERY_S):
            self._put()
        self._put()

    def _put(self) -> None:
        with self._lock:
            own = [self._family(metric) for metric in self._collect()]
            sheet = msgspec.msgpack.encode(_sum([*own, *self._before]))
            self._board.put(self._worker, sheet)

    def _family(self, metric: Metric) -> _Family:
        ours = metric.name.startswith(self._ours)
        whose = {} if ours else {"worker": str(self._worker)}
        samples = [(s.name, {**s.labels, **whose}, s.value) for s in metric.samples]
        return _Family(metric.name, metric.documentation, metric.type, samples)


def _read(sheet: bytes) -> list[_Family]:
    return msgspec.msgpack.decode(sheet, type=list[_Family]) if sheet else []


def _sum(families: Iterable[_Family]) -> list[_Family]:
    """Return the families, each once, with samples of equal labels added up."""
    found: dict[str, tuple[_Family, dict[tuple[str, _Labels], float]]] = {}
    for family in families:
        _, sums = found.setdefault(family.name, (family, {}))
        for name, labels, value in family.samples:
            key = (name, tuple(labels.items()))
            before = sums.get(key, 0.0)
            latest = family.name.endswith(_LATEST)
            sums[key] = max(before, value) if latest else before + value
    return [
        _Family(
            family.name,
            family.text,
            family.kind,
            [(name, dict(labels), value) for (name, labels), value in sums.items()],
        )
        for family, sums in found.values()
    ]


def _as_metric(family: _Family) -> Metric:
    metric = Metric(family.name, family.text, family.kind)
    for name, labels, value in family.samples:
        metric.add_sample(name, labels, value)
    return metric
