"""Large answers: streamed in bounded memory, whole or cut, never in anyone's way."""

from __future__ import annotations

import asyncio
import json
import logging
from typing import TYPE_CHECKING, Any

import pytest

from st8.core.errors import StorageFailed
from st8.http.replies import STREAM_FROM_BYTES
from st8.store.memory import MemoryStore
from st8.testing.faulty import FaultyStore
from tests.http.asgi import (
    Api,
    CutShortError,
    connection,
    exchange,
    nothing_comes,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

DOCUMENTS = 3_000


def contents(size: int = 300) -> dict[str, str]:
    """Return documents that are together much more than one chunk."""
    return {f"folder/{n:05}": f"{n} ".ljust(size, "x") for n in range(DOCUMENTS)}


class Large:
    """An app with a large state, over a store that can fail."""

    def __init__(self) -> None:
        self.store = FaultyStore(MemoryStore())
        self.api = Api(self.store)
        self.documents = contents()
        self.api.apply(self.documents, changes="none")

    def forget(self) -> None:
        """Start anew over the same store, with nothing in memory."""
        self.api.app.close()
        self.api.runner.close()
        self.api = Api(self.store)


@pytest.fixture
def large() -> Iterator[Large]:
    """A large state."""
    made = Large()
    yield made
    made.api.close()


def test_a_large_state_is_streamed(large: Large) -> None:
    """A body beyond the threshold comes in chunks and says no length."""
    answer = large.api.get("/v1/state")

    assert large.documents == answer.json["objects"]
    assert DOCUMENTS == answer.json["count"]
    assert answer.chunks > 10
    assert "content-length" not in answer.headers
    assert answer.body.endswith(b"}\n")


def test_changes_that_are_measured_are_not_counted(large: Large) -> None:
    """What is made for its length alone, for HTTP/1.0, tells nobody of a change."""
    body = [b'{"from":{"exact":true}}']
    answer = large.api.run(
        exchange(large.api.app, "POST", "/v1/diff", body, http_version="1.0")
    )
    metrics = large.api.get("/metrics").body.decode()

    assert DOCUMENTS == len(answer.json["changes"])
    assert f'changed_documents_total{{operation="diff"}} {DOCUMENTS}.0' in metrics


def test_a_small_state_says_its_length(api: Api) -> None:
    """A body below the threshold comes at once."""
    api.apply({"a": "x" * (STREAM_FROM_BYTES // 2)})

    answer = api.get("/v1/state")

    assert 1 == answer.chunks
    assert str(len(answer.body)) == answer.headers["content-length"]


@pytest.mark.parametrize("size", range(STREAM_FROM_BYTES - 240, STREAM_FROM_BYTES, 40))
def test_bodies_around_the_threshold_are_whole(api: Api, size: int) -> None:
    """At the edge between both ways nothing is lost or doubled."""
    documents = {"a": "x" * size, "b": "y"}
    api.apply(documents)

    assert documents == api.state()["objects"]
    assert documents == api.state()["objects"]


def test_pieces_join_wherever_they_are_cut(api: Api) -> None:
    """Contents of every size leave well-formed JSON, in states, diffs and logs."""
    documents = {f"{n:03}": "ä\n" * (n * 97 % 9_000) for n in range(200)}
    api.apply(documents)
    expected = [
        {"key": key, "type": "create", "after": content}
        for key, content in documents.items()
    ]

    assert documents == api.state()["objects"]
    diff = api.post("/v1/diff", {"from": {"exact": True}})
    log = api.get("/v1/log")
    assert expected == diff.json["changes"]
    assert expected == log.json["entries"][0]["changes"]
    assert diff.chunks > 3
    assert log.chunks > 3


def test_changes_of_writes_are_streamed(api: Api) -> None:
    """Apply, rollback and restore answer a long list of changes as it comes."""
    documents = contents()
    listed = [{"key": k, "content": v} for k, v in documents.items()]

    applied = api.post("/v1/apply", {"documents": listed})
    api.apply({}, deletes=list(documents))
    back = api.post("/v1/rollback", {"revision_id": 1})
    again = api.post("/v1/restore", {"from_revision": 2})

    for answer in (applied, back, again):
        assert DOCUMENTS == len(answer.json["changes"])
        assert answer.chunks > 10


def test_head_makes_no_large_body(large: Large) -> None:
    """HEAD on a large state tells the tag and makes only the beginning."""
    large.forget()
    before = large.store.calls["objects"]

    answer = large.api.call("HEAD", "/v1/state")

    assert (200, b"", 1) == (answer.status, answer.body, answer.chunks)
    assert answer.headers["etag"] == large.api.get("/v1/state").headers["etag"]
    assert large.store.calls["objects"] - before > 0


def test_a_client_without_chunks_gets_a_length(large: Large) -> None:
    """HTTP/1.0 has no chunks: the body is measured before it is sent."""
    answer = large.api.run(
        exchange(large.api.app, "GET", "/v1/state?limit=2999", http_version="1.0")
    )

    assert str(len(answer.body)) == answer.headers["content-length"]
    assert DOCUMENTS - 1 == len(answer.json["objects"])


def test_nothing_is_made_ahead_of_the_reader(large: Large) -> None:
    """While a client does not read, no more of the state is read or made."""
    large.forget()
    waiting, resume = asyncio.Event(), asyncio.Event()
    sizes: list[int] = []

    async def send(message: Any) -> None:
        if message["type"] == "http.response.body":
            sizes.append(len(message["body"]))
            if len(sizes) == 2:
                waiting.set()
                await resume.wait()

    async def read() -> tuple[int, int]:
        scope = connection("GET", "/v1/state")
        reading = asyncio.ensure_future(large.api.app(scope, nothing_comes, send))
        await waiting.wait()
        before = large.store.calls["objects"]
        await asyncio.sleep(0.05)
        after = large.store.calls["objects"]
        resume.set()
        await reading
        return before, after

    before, after = large.api.run(read())

    assert before == after
    assert sum(sizes) > 800_000
    assert max(sizes) < 2 * STREAM_FROM_BYTES


def test_an_error_in_the_middle_cuts_the_answer(
    large: Large, caplog: pytest.LogCaptureFixture
) -> None:
    """What fails after the beginning was sent never ends as if it were whole."""
    large.forget()
    caplog.set_level(logging.CRITICAL, "st8")

    def fail_later() -> None:
        large.store.fail("objects", StorageFailed("the disk said no"))

    large.store.before("objects", *([lambda: None] * 20), fail_later)

    with pytest.raises(CutShortError) as caught:
        large.api.get("/v1/state")

    assert isinstance(caught.value.__cause__, StorageFailed)
    metrics = large.api.get("/metrics").body.decode()
    assert 'st8_operations_total{operation="get",result="error"} 1.0' in metrics


def test_an_error_before_the_beginning_is_a_problem(large: Large) -> None:
    """What fails before anything was sent is told."""
    large.forget()
    large.store.fail("objects", StorageFailed("the disk said no"))

    answer = large.api.get("/v1/state")

    assert (503, "storage_failed") == (answer.status, answer.code)


def test_who_goes_away_is_not_written_for(large: Large) -> None:
    """When the client is gone, no more of the state is read."""
    large.forget()
    gone = asyncio.Event()
    chunks = 0

    async def receive() -> dict[str, Any]:
        await gone.wait()
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        nonlocal chunks
        if message["type"] == "http.response.body":
            chunks += 1
            if chunks == 2:
                gone.set()
        for _ in range(100):  # turns of the loop, in which it is heard of
            await asyncio.sleep(0)

    async def ask() -> None:
        await large.api.app(connection("GET", "/v1/state"), receive, send)

    large.api.run(ask())

    assert 2 == chunks


def test_a_slow_reader_is_in_nobodys_way(large: Large) -> None:
    """Others are answered while several clients read a large state slowly."""
    resume = asyncio.Event()
    begun = asyncio.Semaphore(0)

    async def slow() -> int:
        size = 0

        async def send(message: Any) -> None:
            nonlocal size
            if message["type"] == "http.response.body":
                size += len(message["body"])
                if size == len(message["body"]):
                    begun.release()
                    await resume.wait()

        scope = connection("GET", "/v1/state?limit=2999")
        await large.api.app(scope, nothing_comes, send)
        return size

    async def both() -> tuple[int, set[int]]:
        readers = [asyncio.ensure_future(slow()) for _ in range(12)]
        for _ in readers:
            await begun.acquire()
        body = json.dumps({"documents": [{"key": "a", "content": "1"}]}).encode()
        applied = await exchange(large.api.app, "POST", "/v1/apply", [body])
        read = await exchange(large.api.app, "GET", "/v1/state?key=a")
        assert {"a": "1"} == read.json["objects"]
        resume.set()
        return applied.status, set(await asyncio.gather(*readers))

    status, sizes = large.api.run(both())

    assert 200 == status
    assert 1 == len(sizes)


def test_a_state_that_is_not_too_large_is_kept_while_it_streams(
    large: Large,
) -> None:
    """A streamed body is remembered up to a mebibyte, and sent at once the next time."""
    first = large.api.get("/v1/state")
    second = large.api.get("/v1/state")

    assert first.body == second.body
    assert (True, 1) == (first.chunks > 1, second.chunks)


def test_a_write_outlives_whoever_asked_for_it(api: Api) -> None:
    """A request that is cancelled does not take its write with it."""
    body = json.dumps({"documents": [{"key": "a", "content": "1"}]}).encode()

    async def ask_and_leave() -> None:
        task = asyncio.ensure_future(exchange(api.app, "POST", "/v1/apply", [body]))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    for _ in range(20):
        api.run(ask_and_leave())
    last = api.apply({"b": "2"})

    assert {"a": "1", "b": "2"} == api.state()["objects"]
    assert 2 == last["revision"]
