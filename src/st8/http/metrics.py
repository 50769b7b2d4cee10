"""Counters of the daemon, under the names of the Go st8.

A request costs a few additions to plain numbers, on the event loop alone; only a
scrape turns them into what Prometheus reads.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from prometheus_client import (
    GCCollector,
    PlatformCollector,
    ProcessCollector,
    generate_latest,
)
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector, CollectorRegistry

from st8.engine.stats import Histogram
from st8.http.board import Sheet

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from st8.engine.engine import Engine
    from st8.http.board import Board
    from st8.http.rates import RateLimiter
    from st8.http.state_lane import StateLane
    from st8.http.watch import Hub

__all__ = ["METHODS", "OTHER", "Metrics", "OperationMeter", "RouteMeter"]

SECONDS: Final = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
METHODS: Final = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
OTHER: Final = "other"
"""The label of a method or route that is none of ours: labels stay bounded."""


class RouteMeter:
    """Counts the requests of one route and method."""

    __slots__ = ("method", "route", "seconds", "statuses")

    def __init__(self, route: str, method: str) -> None:
        """Begin at nothing."""
        self.route = route
        self.method = method
        self.statuses: dict[int, int] = {}
        self.seconds = Histogram(SECONDS)

    def observe(self, status: int, seconds: float) -> None:
        """Count a request."""
        self.statuses[status] = self.statuses.get(status, 0) + 1
        self.seconds.observe(seconds)


class OperationMeter:
    """Counts what became of one operation."""

    __slots__ = ("changed", "operation", "results", "seconds")

    def __init__(self, operation: str) -> None:
        """Begin at nothing."""
        self.operation = operation
        self.results = {"success": 0}
        self.seconds = Histogram(SECONDS)
        self.changed: int | None = None

    def observe(self, result: str, seconds: float) -> None:
        """Count an operation: ``success``, ``noop`` or ``error``."""
        self.results[result] = self.results.get(result, 0) + 1
        self.seconds.observe(seconds)

    def add_changes(self, number: int) -> None:
        """Count documents that changed."""
        self.changed = (self.changed or 0) + number


class Metrics(Collector):
    """Everything that ``/metrics`` tells."""

    def __init__(
        self, engine: Engine, lane: StateLane, hub: Hub, rates: RateLimiter
    ) -> None:
        """Tell of ``engine``, of the process, and of what the meters count."""
        self._engine = engine
        self._lane = lane
        self._hub = hub
        self._rates = rates
        self._routes: dict[tuple[str, str], RouteMeter] = {}
        self._operations: dict[str, OperationMeter] = {}
        self._registry = CollectorRegistry()
        self._registry.register(self)
        ProcessCollector(registry=self._registry)
        PlatformCollector(registry=self._registry)
        GCCollector(registry=self._registry)
        self._shown = self._registry
        self._sheet: Sheet | None = None

    def route(self, route: str, method: str) -> RouteMeter:
        """Return the meter of a route and method; unknown methods share one."""
        method = method if method in METHODS else OTHER
        meter = self._routes.get((route, method))
        if meter is None:
            meter = self._routes[route, method] = RouteMeter(route, method)
        return meter

    def operation(self, name: str) -> OperationMeter:
        """Return the meter of an operation."""
        meter = self._operations.get(name)
        if meter is None:
            meter = self._operations[name] = OperationMeter(name)
        return meter

    def text(self) -> bytes:
        """Return all metrics in Prometheus' text format."""
        return generate_latest(self._shown)

    def join(self, board: Board, worker: int) -> None:
        """Tell from now on of all workers that ``board`` is of, as one of them."""
        self._sheet = Sheet(board, worker, self._registry.collect, "st8_")
        self._shown = CollectorRegistry()
        self._shown.register(_Summed(self._sheet))

    def close(self) -> None:
        """Leave to the other workers what was counted here, if there are others."""
        if self._sheet is not None:
            self._sheet.close()

    def collect(self) -> Iterable[Metric]:
        """Yield the metrics; called by the registry."""
        yield from self._collect_routes()
        yield from self._collect_operations()
        yield from self._collect_engine()

    def describe(self) -> Iterable[Metric]:
        """Return nothing, so that registering does not collect."""
        return ()

    def _collect_routes(self) -> Iterator[Metric]:
        meters = [meter for meter in list(self._routes.values()) if meter.statuses]
        requests = CounterMetricFamily(
            "st8_http_requests",
            "HTTP requests answered.",
            labels=("route", "method", "status"),
        )
        seconds = HistogramMetricFamily(
            "st8_http_request_duration_seconds",
            "Time from the request's headers to the last byte handed over, "
            "without what it was told to wait.",
            labels=("route", "method"),
        )
        for meter in meters:
            for status, number in list(meter.statuses.items()):
                requests.add_metric((meter.route, meter.method, str(status)), number)
            _add(seconds, (meter.route, meter.method), meter.seconds)
        yield requests
        yield seconds

    def _collect_operations(self) -> Iterator[Metric]:
        results = CounterMetricFamily(
            "st8_operations",
            "Operations carried out.",
            labels=("operation", "result"),
        )
        seconds = HistogramMetricFamily(
            "st8_operation_duration_seconds",
            "Time an operation took, its answer included.",
            labels=("operation",),
        )
        changed = CounterMetricFamily(
            "st8_changed_documents",
            "Changes of documents that answers told of.",
            labels=("operation",),
        )
        for meter in list(self._operations.values()):
            for result, number in list(meter.results.items()):
                results.add_metric((meter.operation, result), number)
            _add(seconds, (meter.operation,), meter.seconds)
            if meter.changed is not None:
                changed.add_metric((meter.operation,), meter.changed)
        yield results
        yield seconds
        yield changed

    def _collect_engine(self) -> Iterator[Metric]:
        stats = self._engine.stats()
        responses = self._lane.responses
        for name, text, number in (
            ("commits", "Batches written; each is one fsync.", stats.commits),
            (
                "committed_requests",
                "Writes that those batches carried.",
                stats.requests,
            ),
            (
                "stale_batches",
                "Batches prepared anew because another daemon had written.",
                stats.stale,
            ),
        ):
            yield CounterMetricFamily(f"st8_store_{name}", text, value=number)
        caches = {
            "objects": (stats.cache_hits, stats.cache_misses, stats.cache_bytes),
            "responses": (responses.hits, responses.misses, responses.size),
        }
        hits = CounterMetricFamily(
            "st8_cache_hits", "Found in the cache.", labels=("cache",)
        )
        misses = CounterMetricFamily(
            "st8_cache_misses", "Not found in the cache.", labels=("cache",)
        )
        held = GaugeMetricFamily(
            "st8_cache_bytes", "Held by the cache.", labels=("cache",)
        )
        for cache, (found, missed, size) in caches.items():
            hits.add_metric((cache,), found)
            misses.add_metric((cache,), missed)
            held.add_metric((cache,), size)
        yield from (hits, misses, held)
        yield GaugeMetricFamily(
            "st8_watchers", "Streams that are open.", value=self._hub.watchers
        )
        yield CounterMetricFamily(
            "st8_watch_pages",
            "Pieces of history made for streams, each for all who asked for it.",
            value=self._hub.pages,
        )
        yield GaugeMetricFamily(
            "st8_pending_writes",
            "Writes that wait for the group commit.",
            value=stats.pending,
        )
        yield CounterMetricFamily(
            "st8_rate_limited",
            "Requests refused since whoever asks has sent too many.",
            value=self._rates.refused,
        )
        yield from self._collect_collections()
        for name, text, histogram in (
            ("batch_requests", "Writes that shared one fsync.", stats.batch_sizes),
            (
                "write_seconds",
                "Time to hand a batch to the store.",
                stats.write_seconds,
            ),
            ("fsync_seconds", "Time until a batch was durable.", stats.sync_seconds),
        ):
            family = HistogramMetricFamily(f"st8_store_{name}", text, labels=())
            _add(family, (), histogram)
            yield family

    def _collect_collections(self) -> Iterator[Metric]:
        stats = self._engine.stats().collections
        runs = CounterMetricFamily(
            "st8_gc_runs", "Garbage collections.", labels=("result",)
        )
        runs.add_metric(("success",), stats.runs)
        runs.add_metric(("error",), stats.failures)
        yield runs
        for name, text, number in (
            ("seconds", "Time that garbage collections took.", stats.seconds),
            ("revisions", "Revisions that they have removed.", stats.revisions),
            ("objects", "Objects that they have removed.", stats.objects),
            ("freed_bytes", "About how many bytes these had.", stats.size),
        ):
            yield CounterMetricFamily(f"st8_gc_{name}", text, value=number)
        yield GaugeMetricFamily(
            "st8_gc_last_success_timestamp_seconds",
            "When the last one ended; 0 where none has since the start.",
            value=stats.last_ns / 1e9,
        )


class _Summed(Collector):
    """What all workers have counted."""

    def __init__(self, sheet: Sheet) -> None:
        self._sheet = sheet

    def collect(self) -> Iterable[Metric]:
        """Return the metrics; called by the registry."""
        return self._sheet.collect()

    def describe(self) -> Iterable[Metric]:
        """Return nothing, so that registering does not collect."""
        return ()


def _add(
    family: HistogramMetricFamily, labels: tuple[str, ...], histogram: Histogram
) -> None:
    """Add what a histogram counted; buckets are cumulative for Prometheus."""
    counts = list(histogram.counts)
    total = 0
    buckets: list[tuple[str, float]] = []
    for bound, count in zip((*histogram.bounds, None), counts, strict=True):
        total += count
        buckets.append(("+Inf" if bound is None else str(float(bound)), total))
    family.add_metric(labels, buckets, sum_value=histogram.total)
