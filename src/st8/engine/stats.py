"""What the engine counts about itself."""

from __future__ import annotations

from bisect import bisect_left
from typing import Final, NamedTuple

__all__ = ["BATCH_BOUNDS", "SYNC_BOUNDS_S", "EngineStats", "Histogram"]

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
