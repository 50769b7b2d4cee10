"""POST /v1/verify: what is streamed, to whom, and what goes on meanwhile."""

from __future__ import annotations

import asyncio
import json
from itertools import chain, repeat
from typing import TYPE_CHECKING, Any

import pytest

from st8.client import AsyncClient, Client
from st8.core.errors import Conflict, Corrupt, InvalidValue, St8Error, StorageFailed
from st8.core.findings import Finding, Head, Progress, Verified, as_fields
from st8.core.ids import BranchName, Digest, Namespace, RevisionNumber, digest_of
from st8.store.memory import MemoryStore
from st8.testing.faulty import FaultyStore
from st8.testing.server import running_server
from tests.client.scripted import always, answer, scripted
from tests.http.asgi import Api

if TYPE_CHECKING:
    from collections.abc import Iterator

    from st8.testing.server import RunningServer


def lines_of(body: bytes) -> list[dict[str, Any]]:
    """Return the lines of a stream, but for progress."""
    lines = [json.loads(line) for line in body.splitlines()]
    return [line for line in lines if line["type"] != "progress"]


@pytest.fixture
def store() -> FaultyStore:
    """A store that a test can damage, and hold."""
    return FaultyStore(MemoryStore())


@pytest.fixture
def api(store: FaultyStore) -> Iterator[Api]:
    """A daemon over it, with two revisions."""
    api = Api(store)
    api.apply({"k": "one", "other": "x"})
    api.apply({"k": "two"})
    yield api
    api.close()


@pytest.fixture
def server(store: FaultyStore) -> Iterator[RunningServer]:
    """A daemon over it that listens."""
    with running_server(store=store) as server:
        with Client(server.url) as client:
            client.apply({"k": "one"})
            client.apply({"k": "two"})
        yield server


def lose(store: FaultyStore, content: bytes) -> None:
    """Take a content away."""
    inner = store._store
    assert isinstance(inner, MemoryStore)
    del inner._objects[digest_of(content)]


def test_a_whole_store(api: Api) -> None:
    """The last line says what was looked at."""
    answer = api.post("/v1/verify", {"full": True})
    (summary,) = lines_of(answer.body)

    assert (200, "application/x-ndjson") == (
        answer.status,
        answer.headers["content-type"],
    )
    assert ("summary", 0, 1, 2) == tuple(summary.values())[:4]


def test_findings_and_heads(api: Api, store: FaultyStore) -> None:
    """Damage and heads have a line each."""
    lose(store, b"one")
    answer = api.post("/v1/verify", {"heads": True})
    head, finding, summary = lines_of(answer.body)

    assert ("head", "default", "main", 2) == tuple(head.values())[:4]
    assert ("object_missing", "k", 1) == (
        finding["code"],
        finding["key"],
        finding["revision"],
    )
    assert 1 == summary["findings"]
    expect = [{k: v for k, v in head.items() if k != "type"}]
    again = api.post("/v1/verify", {"expect": expect})
    assert ["object_missing"] == [line["code"] for line in lines_of(again.body)[:-1]]
    expect[0]["digest"] = "00" * 32
    other = api.post("/v1/verify", {"expect": expect})
    assert "head_unexpected" in [line.get("code") for line in lines_of(other.body)]


def test_what_is_expected_has_to_be_a_head(api: Api) -> None:
    """A digest that is none is refused before anything is read."""
    for expected in (
        {"revision": 1, "digest": "0"},
        {"revision": -1, "digest": "00" * 32},
    ):
        answer = api.post("/v1/verify", {"expect": [expected]})

        assert (422, "invalid_value") == (answer.status, answer.code)


def test_what_fails_is_a_line(api: Api, store: FaultyStore) -> None:
    """A store that can't be read any more ends the stream with the reason."""
    store.fail("held_objects", StorageFailed("the disk is gone"))
    *_, last = lines_of(api.post("/v1/verify", {}).body)

    assert ("failed", "storage_failed", "the disk is gone") == (
        last["type"],
        last["code"],
        last["detail"],
    )


def test_reads_and_writes_go_on(store: FaultyStore, server: RunningServer) -> None:
    """While a verification is held up others read and write, and a second is refused."""
    gate = store.hold("held_objects")
    with gate, Client(server.url) as client, Client(server.url) as other:
        events = client.verify(full=True)
        first = next(iter(events))
        assert isinstance(first, Progress)
        gate.wait_until_reached()
        assert 3 == other.apply({"k": "three"}).revision
        assert "three" == other.get("k")
        with pytest.raises(Conflict, match="verifying its store already"):
            list(other.verify())
        gate.open()
        *_, last = events

        assert isinstance(last, Verified)
        assert 0 == last.findings
        assert isinstance(list(other.verify())[-1], Verified)


def test_a_client_that_goes_away_ends_it(
    store: FaultyStore, server: RunningServer
) -> None:
    """When nobody listens any more the next one can begin."""
    gate = store.hold("held_objects")
    with gate, Client(server.url) as client:
        events = client.verify()
        next(iter(events))
        gate.wait_until_reached()
        events.close()  # type: ignore[attr-defined]
        gate.open()
        while True:
            try:
                *_, last = client.verify()
            except Conflict:
                continue
            break

        assert isinstance(last, Verified)


def test_the_library(store: FaultyStore, server: RunningServer) -> None:
    """Events come as they are known elsewhere; a failure is raised."""
    lose(store, b"one")
    expected = Head(
        Namespace("default"), BranchName("main"), RevisionNumber(1), Digest(bytes(32))
    )
    with Client(server.url) as client:
        events = list(client.verify(heads=True, expected=[expected]))
        assert ["object_missing", "head_unexpected"] == [
            event.code for event in events if isinstance(event, Finding)
        ]
        assert [2] == [event.revision for event in events if isinstance(event, Head)]
        store.fail("namespaces", Corrupt("bad"), StorageFailed("worse"))
        with pytest.raises(StorageFailed, match="worse"):
            list(client.verify())


def test_the_async_library(server: RunningServer) -> None:
    """The same without blocking."""

    async def verified() -> object:
        async with AsyncClient(server.url) as client:
            return [event async for event in client.verify(full=True)][-1]

    last = asyncio.run(verified())
    assert isinstance(last, Verified)
    assert (0, 2) == (last.findings, last.revisions)


@pytest.mark.parametrize(
    ("body", "kind", "problem"),
    [
        (b'{"type": "progress", "doing": "x", "done": 1}\n', "x-ndjson", "broke off"),
        (b"what?\n", "x-ndjson", "none of a verification"),
        (b'{"type": "head"}\n', "x-ndjson", "none of a verification"),
        (b"{}", "json", "answered a verification with"),
    ],
)
def test_what_is_no_verification(body: bytes, kind: str, problem: str) -> None:
    """A stream that breaks off, or is something else, is never taken for a whole one."""
    said = answer(raw=body, headers={"content-type": f"application/{kind}"})
    with (
        scripted(always(said)) as wire,
        Client(wire.url, retries=0) as client,
        pytest.raises(St8Error, match=problem),
    ):
        list(client.verify())


def test_the_summary_is_the_last_line_whenever_it_comes(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing follows it, though it is time to send what waits just then."""
    events = len(list(api.app.service.engine.verify()))
    times = chain(repeat(0.0, events), repeat(1.0))
    monkeypatch.setattr("st8.http.verification.monotonic", lambda: next(times))
    body = api.post("/v1/verify").body
    types = [json.loads(line)["type"] for line in body.splitlines()]

    assert ["progress", "summary"] == types[-2:]


def test_what_follows_a_summary_is_not_waited_for() -> None:
    """The summary is the end, whatever a daemon sends with it."""
    lines = b"".join(
        b"%s\n" % json.dumps(as_fields(event)).encode()
        for event in (Verified(revisions=1), Progress("reading", 1))
    )
    said = answer(raw=lines, headers={"content-type": "application/x-ndjson"})
    with scripted(always(said)) as wire, Client(wire.url, retries=0) as client:
        assert [Verified(revisions=1)] == list(client.verify())


def test_a_head_has_a_digest() -> None:
    """Text that is no head is refused where it is made."""
    from st8.core.findings import parse_head

    with pytest.raises(InvalidValue, match="write NUMBER:DIGEST"):
        parse_head("1:xyz")
