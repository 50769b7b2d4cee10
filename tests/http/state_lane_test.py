"""Entity tags and the fast lane: quick, and never wrong."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest

from st8.core.documents import Document
from st8.core.ids import Key, Scope
from st8.engine.engine import Engine
from st8.engine.requests import Apply
from st8.http.queries import StateQuery
from st8.http.state_lane import KeptReply, StateLane
from st8.store.memory import MemoryStore
from st8.testing.clock import FakeClock
from st8.testing.faulty import FaultyStore
from tests.http.asgi import TOKEN, Api, exchange

if TYPE_CHECKING:
    from collections.abc import Iterator

    from st8.http.plans import StatePlan

TARGETS = [
    "/v1/state",
    "/v1/state?namespace=n&branch=dev",
    "/v1/state?revision=1",
    "/v1/state?key=a",
    "/v1/state?key=b",
    "/v1/state?prefix=a",
    "/v1/state?limit=1",
    "/v1/state?after=a",
    "/v1/state?contents=false",
    "/v1/state?namespace=empty",
    "/v1/state?namespace=void",
]


@pytest.fixture
def filled(api: Api) -> Api:
    """An app with two revisions in one scope and one in another."""
    api.apply({"a": "1", "b": "1"})
    api.apply({"a": "2", "b": "1"})
    api.apply({"a": "2", "b": "1"}, scope={"namespace": "n", "branch": "dev"})
    return api


def test_an_etag_covers_all_that_the_body_depends_on(filled: Api) -> None:
    """No two resources, and no two selections of one, have the same tag."""
    etags = [filled.get(target).headers["etag"] for target in TARGETS]

    assert len(TARGETS) == len(set(etags))
    assert all(etag.startswith('"') for etag in etags)
    assert etags == [filled.get(target).headers["etag"] for target in TARGETS]


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("asked_before", [0, 1, 2])
def test_what_the_client_has_is_not_sent_again(
    filled: Api, target: str, asked_before: int
) -> None:
    """A tag that still holds answers 304 without a body, whoever asked before."""
    etag = filled.get(target).headers["etag"]
    for _ in range(asked_before):
        filled.get(target)

    for header in (etag, f"W/{etag}", f'"x", {etag}', "*"):
        answer = filled.get(target, if_none_match=header)

        assert (304, b"") == (answer.status, answer.body)
        assert etag == answer.headers["etag"]
        assert "no-cache" == answer.headers["cache-control"]
        assert "content-type" not in answer.headers
        assert "content-length" not in answer.headers
    fresh = filled.get(target, if_none_match='"x"')
    assert 200 == fresh.status
    assert etag == fresh.headers["etag"]


def test_several_lines_of_if_none_match_are_one_list(filled: Api) -> None:
    """RFC 9110 allows a list to come in several lines."""
    etag = filled.get("/v1/state").headers["etag"].encode()
    headers = [(b"if-none-match", b'"x"'), (b"if-none-match", etag)]

    async def ask() -> int:
        answer = await exchange(filled.app, "GET", "/v1/state", [b""], headers)
        return answer.status

    assert 304 == filled.run(ask())


def test_a_write_is_seen_by_the_next_read(api: Api) -> None:
    """However often a state was asked for, the next read after a write sees it."""
    for n in range(5):
        etag = api.get("/v1/state").headers["etag"]
        api.apply({"a": str(n)})

        answer = api.get("/v1/state", if_none_match=etag)

        assert (200, {"a": str(n)}) == (answer.status, answer.json["objects"])
        assert 304 == api.get("/v1/state", if_none_match=answer.headers["etag"]).status


def test_every_way_gives_the_same_bytes(filled: Api) -> None:
    """The first answer, the kept one and that of an explicit revision are one."""
    made = filled.get("/v1/state?prefix=a")
    kept = filled.get("/v1/state?prefix=a")
    named = filled.get("/v1/state?prefix=a&revision=2")
    other = filled.get("/v1/state?branch=main&prefix=a")

    assert (made.headers, made.body) == (kept.headers, kept.body)
    assert (made.headers, made.body) == (named.headers, named.body)
    assert (made.headers, made.body) == (other.headers, other.body)


def test_branches_at_one_revision_share_what_is_kept(filled: Api) -> None:
    """A body depends on the revision and the selection, not on the branch."""
    filled.post("/v1/branches", {"name": "twin"})

    main, twin = filled.get("/v1/state"), filled.get("/v1/state?branch=twin")

    assert (main.headers["etag"], main.body) == (twin.headers["etag"], twin.body)


def test_a_branch_that_is_deleted_is_gone_at_once(filled: Api) -> None:
    """What was kept of a branch is not served when the branch is no more."""
    filled.post("/v1/branches", {"name": "dev"})
    assert 2 == filled.state("branch=dev")["revision"]
    assert 2 == filled.state("branch=dev")["revision"]

    filled.delete("/v1/branches", {"name": "dev"})

    assert 0 == filled.state("branch=dev")["revision"]


def test_the_lane_asks_for_the_token_too() -> None:
    """What is kept is not given to whom nobody knows."""
    api = Api(token=TOKEN)
    try:
        api.apply({"a": "1"})
        statuses = [
            api.get("/v1/state").status,
            api.get("/v1/state").status,
            api.get("/v1/state", authorization="Bearer wrong").status,
            api.get("/v1/state", authorization="").status,
        ]

        assert [200, 200, 401, 401] == statuses
    finally:
        api.close()


def test_repeated_reads_do_not_ask_the_store() -> None:
    """A state that was answered before is answered from memory."""
    store = FaultyStore(MemoryStore())
    api = Api(store)
    try:
        api.apply({"a": "1"})
        api.get("/v1/state")
        before = store.calls.copy()

        for _ in range(10):
            api.get("/v1/state")

        assert before == store.calls
    finally:
        api.close()


def test_a_shared_store_is_asked_for_the_head_each_time() -> None:
    """Where others may write too, no head is remembered."""
    store = FaultyStore(MemoryStore())
    store.exclusive = False
    api = Api(store)
    other = Engine(store, FakeClock())
    try:
        api.apply({"a": "1"})
        api.get("/v1/state")
        api.get("/v1/state")
        other.apply(Apply(Scope(), (Document(Key("a"), "2"),)))

        assert {"a": "2"} == api.state()["objects"]
    finally:
        api.close()


# --- bounds -------------------------------------------------------------------


@pytest.fixture
def lane() -> Iterator[StateLane]:
    """A lane with room for 100,000 bytes."""
    engine = Engine(MemoryStore(), FakeClock())
    yield StateLane(engine, 100_000)
    engine.close()


def kept(size: int) -> KeptReply:
    """Return a response of ``size`` bytes."""
    return KeptReply(b"x" * size, b'"e"', [], [])


def test_responses_are_bounded_by_bytes(lane: StateLane) -> None:
    """The lane never holds more than it may, and nothing that is too large."""
    for n in range(1_000):
        lane.keep(n.to_bytes(32, "big"), b"", kept(3_000), 0)
    lane.keep(b"large", b"", kept(90_000), 0)

    assert lane.responses.size <= 100_000
    assert lane.kept((999).to_bytes(32, "big"), b"") is not None
    assert lane.kept((0).to_bytes(32, "big"), b"") is None
    assert lane.kept(b"large", b"") is None


def test_queries_are_bounded(lane: StateLane) -> None:
    """Only so many queries are remembered, and no long ones."""
    plan: StatePlan = StateQuery().plan()
    for n in range(10_000):
        lane.learn(b"%d" % n, plan)
    lane.learn(b"x" * 10_000, plan)
    lane.learn(b"old", StateQuery(revision=1).plan())

    assert len(lane._plans) <= 4_096
    assert plan is lane.plan(b"9999")
    assert None is lane.plan(b"x" * 10_000)
    assert None is lane.plan(b"old")


def test_reads_and_writes_at_once_are_never_torn(api: Api) -> None:
    """Many readers while one writes: each body is one revision, never going back."""
    writes = 30

    async def write() -> None:
        for n in range(1, writes + 1):
            documents = [{"key": f"k{key}", "content": str(n)} for key in range(5)]
            body = json.dumps({"documents": documents}).encode()
            await exchange(api.app, "POST", "/v1/apply", [body])

    async def read(done: asyncio.Event) -> list[str]:
        wrong: list[str] = []
        last = 0
        while not done.is_set():
            state: Any = (await exchange(api.app, "GET", "/v1/state")).json
            if set(state["objects"].values()) - {str(state["revision"])}:
                wrong.append(f"torn: {state}")
            if state["revision"] < last:
                wrong.append(f"back: {last} to {state['revision']}")
            last = state["revision"]
        return wrong

    async def both() -> list[str]:
        done = asyncio.Event()
        readers = [asyncio.ensure_future(read(done)) for _ in range(4)]
        await write()
        done.set()
        return [line for lines in await asyncio.gather(*readers) for line in lines]

    assert [] == api.run(both())
    assert writes == api.state()["revision"]
