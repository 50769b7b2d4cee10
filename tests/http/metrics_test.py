"""Metrics: the names and labels of the Go st8, bounded, and true."""

from __future__ import annotations

import asyncio
import re
import threading

import pytest
from prometheus_client.parser import text_string_to_metric_families

from st8.http.board import Board
from tests.http.asgi import TOKEN, Api, exchange


def scrape(api: Api) -> dict[str, float]:
    """Return every sample by its name and labels."""
    answer = api.get("/metrics")
    assert 200 == answer.status
    assert "text/plain; version=0.0.4; charset=utf-8" == answer.headers["content-type"]
    return {
        sample.name + ",".join(f"|{k}={v}" for k, v in sorted(sample.labels.items())): (
            sample.value
        )
        for family in text_string_to_metric_families(answer.body.decode())
        for sample in family.samples
    }


def test_requests_are_counted_by_route_method_and_status(api: Api) -> None:
    """Every answer counts once, under its literal path."""
    api.apply({"a": "1"})
    etags = [api.get("/v1/state?key=a").headers["etag"] for _ in range(3)]
    api.get("/v1/state?key=a", if_none_match=etags[0])
    api.get("/v1/state?revision=9")
    api.call("HEAD", "/v1/state")
    api.call("PUT", "/v1/state")

    samples = scrape(api)

    name = "st8_http_requests_total|method={},|route=/v1/state,|status={}"
    assert 3 == samples[name.format("GET", 200)]
    assert 1 == samples[name.format("GET", 304)]
    assert 1 == samples[name.format("GET", 404)]
    assert 1 == samples[name.format("HEAD", 200)]
    assert 1 == samples[name.format("PUT", 405)]
    duration = "st8_http_request_duration_seconds_{}|method=GET,|route=/v1/state"
    assert 5 == samples[duration.format("count")]
    assert samples[duration.format("sum")] > 0


def test_labels_are_bounded(api: Api) -> None:
    """Whatever clients send, there are only so many labels."""
    for n in range(20):
        api.get(f"/nothing/{n}")
        api.call(f"BREW{n}", "/v1/state")
        api.call(f"BREW{n}", "/healthz")

    samples = scrape(api)

    name = "st8_http_requests_total|method={},|route={},|status={}"
    assert 20 == samples[name.format("GET", "other", 404)]
    assert 20 == samples[name.format("other", "/v1/state", 405)]
    assert 20 == samples[name.format("other", "/healthz", 200)]
    assert not any("BREW" in sample or "nothing" in sample for sample in samples)


def test_operations_are_counted_by_what_became_of_them(api: Api) -> None:
    """An operation succeeds, changes nothing, or fails; what is malformed is none."""
    api.apply({"a": "1", "b": "1"})
    api.apply({"a": "1"})
    api.post("/v1/apply", {"deletes": ["a"], "expect_revision": 9})
    api.post("/v1/apply", b"{")
    api.post("/v1/rollback", {"revision_id": 1})
    api.post("/v1/diff", {"from": {"exact": True}})
    api.get("/v1/state")
    api.get("/v1/state")
    api.post("/v1/checkpoints", {"name": "c"})
    api.delete("/v1/checkpoints", {"name": "c"})
    api.post("/v1/branches", {"name": "b"})

    samples = scrape(api)

    def count(operation: str, result: str) -> float:
        return samples[f"st8_operations_total|operation={operation},|result={result}"]

    assert (1, 1, 1) == tuple(
        count("apply", result) for result in ("success", "noop", "error")
    )
    assert 1 == count("rollback", "noop")
    assert 2 == count("get", "success")
    for operation in ("checkpoint", "delete_checkpoint", "create_branch", "diff"):
        assert 1 == count(operation, "success")
    assert 0 == count("list_branches", "success")
    assert 3 == samples["st8_operation_duration_seconds_count|operation=apply"]
    assert 2 == samples["st8_changed_documents_total|operation=apply"]
    assert 2 == samples["st8_changed_documents_total|operation=diff"]


def test_what_a_read_was_told_to_wait_is_no_time_of_the_daemon(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else who waits for changes would make reads look slow, and alert somebody."""
    now_s = 0.0
    monkeypatch.setattr("st8.http.app.perf_counter", lambda: now_s)
    target = "/v1/state?min_revision=1&wait=60s"
    body = b'{"documents":[{"key":"a","content":"1"}]}'

    def waits() -> bool:
        topics = api.app.service.hub._topics.values()
        return any(one.wake._waiters for topic in topics for one in topic.watchers)

    async def wait() -> int:
        nonlocal now_s
        asked = asyncio.create_task(exchange(api.app, "GET", target))
        while not waits():  # noqa: ASYNC110 - for a thread
            await asyncio.sleep(0)
        now_s += 30
        await exchange(api.app, "POST", "/v1/apply", [body])
        return (await asked).status

    assert 200 == api.run(wait())
    samples = scrape(api)

    labels = "|method=GET,|route=/v1/state"
    for name, of in (("http_request", labels), ("operation", "|operation=get")):
        assert 1 == samples[f"st8_{name}_duration_seconds_count{of}"]
        assert 0 == samples[f"st8_{name}_duration_seconds_sum{of}"]


def test_refusals_are_counted() -> None:
    """A request without the token is counted like any other."""
    api = Api(token=TOKEN)
    try:
        api.get("/v1/state", authorization="")

        samples = scrape(api)
    finally:
        api.close()

    assert (
        1 == samples["st8_http_requests_total|method=GET,|route=/v1/state,|status=401"]
    )
    assert 0 == samples["st8_operations_total|operation=get,|result=success"]


@pytest.mark.parametrize(
    "name",
    [
        "st8_http_requests_total",
        "st8_http_request_duration_seconds_bucket",
        "st8_operations_total",
        "st8_operation_duration_seconds_bucket",
        "st8_changed_documents_total",
        "st8_store_commits_total",
        "st8_store_committed_requests_total",
        "st8_store_stale_batches_total",
        "st8_store_batch_requests_bucket",
        "st8_store_write_seconds_bucket",
        "st8_store_fsync_seconds_bucket",
        "st8_pending_writes",
        "st8_cache_hits_total",
        "st8_cache_misses_total",
        "st8_cache_bytes",
        "process_resident_memory_bytes",
        "process_cpu_seconds_total",
        "process_open_fds",
        "python_info",
    ],
)
def test_every_metric_is_there(api: Api, name: str) -> None:
    """What is promised is told, from the first scrape after a write on."""
    api.apply({"a": "1"})

    assert any(sample.partition("|")[0] == name for sample in scrape(api))


def test_buckets_are_those_of_go(api: Api) -> None:
    """Both HTTP histograms have the bounds of the Go st8."""
    api.apply({"a": "1"})
    bounds = [0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5]

    for name, labels in (
        ("st8_http_request_duration_seconds", "|method=POST,|route=/v1/apply"),
        ("st8_operation_duration_seconds", "|operation=apply"),
    ):
        pattern = re.compile(re.escape(f"{name}_bucket|le=") + r"([^,]+),(.*)")
        found = [
            float(match[1])
            for sample in scrape(api)
            if (match := pattern.fullmatch(sample)) and match[2] == labels
        ]

        assert [*bounds, float("inf")] == found


def test_every_metric_says_what_it_is(api: Api) -> None:
    """Each family of ours has a help text."""
    text = api.get("/metrics").body.decode()

    families = [f for f in text_string_to_metric_families(text) if "st8" in f.name]

    assert [] == [family.name for family in families if not family.documentation]


def test_commits_and_caches_are_counted(api: Api) -> None:
    """The store's own figures follow what is done."""
    for n in range(3):
        api.apply({"a": str(n)})
    for _ in range(4):
        api.get("/v1/state")

    samples = scrape(api)

    assert 3 == samples["st8_store_commits_total"]
    assert 3 == samples["st8_store_committed_requests_total"]
    assert 3 == samples["st8_store_batch_requests_count"]
    assert samples["st8_cache_hits_total|cache=responses"] >= 2
    assert samples["st8_cache_bytes|cache=responses"] > 0


def test_workers_tell_of_each_other() -> None:
    """Whichever worker is asked, counters and gauges are the sums of all."""
    board = Board(2)
    workers = [Api(), Api()]
    try:
        for number, worker in enumerate(workers, 1):
            worker.app.service.metrics.join(board, number)
            for n in range(number):
                worker.apply({"a": str(n)})
        scrape(workers[0])  # puts up what it has counted

        samples = scrape(workers[1])
        again = scrape(workers[0])

        assert 3 == samples["st8_store_commits_total"]
        assert 3 == samples["st8_operation_duration_seconds_count|operation=apply"]
        bucket = "st8_store_batch_requests_bucket|le={}"
        assert 3 == samples[bucket.format("1.0")] == samples[bucket.format("+Inf")]
        assert samples["st8_store_commits_total"] == again["st8_store_commits_total"]
        for name in ("process_resident_memory_bytes", "process_start_time_seconds"):
            assert {f"{name}|worker=1", f"{name}|worker=2"} == {
                sample for sample in samples if sample.startswith(name)
            }
    finally:
        for worker in workers:
            worker.close()


def test_a_worker_goes_on_from_what_the_one_before_it_had_counted() -> None:
    """The sum does not go back when a worker dies and another takes its place."""
    board = Board(2)
    for turn in range(1, 4):
        worker = Api()
        try:
            worker.app.service.metrics.join(board, 1)
            worker.apply({"a": "1"})

            samples = scrape(worker)
        finally:
            worker.close()

        assert turn == samples["st8_store_commits_total"]
        name = "st8_http_requests_total|method=POST,|route=/v1/apply,|status=200"
        assert turn == samples[name]
        assert 0 == samples["st8_pending_writes"]


def test_a_sheet_of_the_board_is_whole() -> None:
    """Who reads while others write gets what was put up last, or the one before."""
    board = Board(1)
    sheets = [bytes([n]) * (n * 1000 + 1) for n in range(8)]
    board.put(1, sheets[0])
    done = threading.Event()

    def write() -> None:
        for turn in range(2_000):
            board.put(1, sheets[turn % 8])
        done.set()

    writer = threading.Thread(target=write)
    writer.start()
    seen = set()
    while not done.is_set():
        seen.add(board.get(1))
    writer.join()

    assert seen <= set(sheets)
    board.put(1, b"x" * 2_000_000)
    assert sheets[7] == board.get(1)
