"""What the engine counts about itself."""

from __future__ import annotations

from bisect import bisect_left
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from st8.engine.results import Collected

__all__ = [
    "BATCH_BOUNDS",
    "SYNC_BOUNDS_S",
    "CollectionStats",
    "EngineStats",
    "Histogram",
]

BATCH_BOUNDS: Final = (1, 2, 4, 8, 16, 32, 64, 128, 256)
SYNC_BOUNDS_S: Final = (0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.05, 0.25)


class Histogram:
    """Counts observations by size; written by one thread, read by any.

    Attributes:
        bounds: The upper bound of each bucket but the last, which has none.
        counts: How many fell into each bucket.
        total: The sum of all observations.
    """

    def __init__(self, bounds: tuple[float, ...]) -> None:
        """Make an empty histogram."""
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def observe(self, value: float) -> None:
        """Count ``value``."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value


class CollectionStats:
    """Counts collections; written by one thread at a time, read by any.

    Attributes:
        runs: Those that came to their end.
        failures: Those that did not.
        revisions, objects, size: What all of them have removed.
        seconds: What they have taken.
        last_ns: When the last one ended; 0 where there was none.
    """

    def __init__(self) -> None:
        """Begin at nothing."""
        self.runs = 0
        self.failures = 0
        self.revisions = 0
        self.objects = 0
        self.size = 0
        self.seconds = 0.0
        self.last_ns = 0

    def add(self, done: Collected, seconds: float, now_ns: int) -> None:
        """Count one that has come to its end."""
        self.runs += 1
        self.revisions += done.revisions
        self.objects += done.objects
        self.size += done.size
        self.seconds += seconds
        self.last_ns = now_ns


class EngineStats(NamedTuple):
    """A look at the engine's counters.

    Attributes:
        commits: Batches written; each is one fsync.
        requests: Requests that those batches carried.
        stale: Batches prepared anew because somebody else had written.
        pending: Writes that wait now.
        batch_sizes: Requests a batch.
        write_seconds: Time to hand a batch over.
        sync_seconds: Time until it was durable.
        cache_hits, cache_misses, cache_bytes: Of nodes and contents together.
        collections: Of garbage; not a copy.
    """

    commits: int
    requests: int
    stale: int
    pending: int
    batch_sizes: Histogram
    write_seconds: Histogram
    sync_seconds: Histogram
    cache_hits: int
    cache_misses: int
    cache_bytes: int
    collections: CollectionStats
