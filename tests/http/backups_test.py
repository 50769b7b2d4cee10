"""Backups over HTTP: streams that are whole, or that nobody can take for whole."""

from __future__ import annotations

import asyncio
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest

from st8.core.backup import Summary, broken_off
from st8.core.errors import Overtaken, St8Error
from st8.store.memory import MemoryStore
from tests.engine.backups import leftovers
from tests.engine.histories import everything, make_history
from tests.http.asgi import Api, CutShortError, connection

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def source() -> Iterator[Api]:
    """A daemon with a history."""
    with closing(Api()) as api:
        make_history(api.engine, range(60))
        yield api


@pytest.fixture
def store() -> MemoryStore:
    """An empty store."""
    return MemoryStore()


@pytest.fixture
def api(store: MemoryStore) -> Iterator[Api]:
    """A daemon over ``store``."""
    with closing(Api(store)) as api:
        yield api


def test_a_backup_is_restored(source: Api, api: Api, store: MemoryStore) -> None:
    """What one route gives the other takes, in pieces of any size."""
    backup = source.post("/v1/backup")
    parts = [backup.body[at : at + 999] for at in range(0, len(backup.body), 999)]
    restored = api.run(_upload(api, parts))

    assert (200, "application/octet-stream") == (
        backup.status,
        backup.headers["content-type"],
    )
    assert 200 == restored["status"]
    memory = source.engine._store
    assert everything(memory, source.engine) == everything(store, api.engine)


async def _upload(api: Api, parts: list[bytes], *, gone: bool = False) -> Any:
    """Send a backup in parts; return the start of the answer and its body."""
    waiting = list(parts)
    sent: list[Any] = []

    async def receive() -> dict[str, Any]:
        await asyncio.sleep(0)
        if waiting:
            part = waiting.pop(0)
            return {
                "type": "http.request",
                "body": part,
                "more_body": bool(waiting) or gone,
            }
        if not gone:
            await asyncio.Event().wait()
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        await asyncio.sleep(0)
        sent.append(message)

    scope = connection("POST", "/v1/restore-backup")
    await api.app(scope, receive, send)
    if not sent:
        return None
    return {**sent[0], "body": b"".join(one["body"] for one in sent[1:])}


def test_an_increment_is_what_the_base_lacks(source: Api, api: Api) -> None:
    """What a backup says of itself is enough to make one on top of it."""
    full = source.post("/v1/backup").body
    summary = Summary()
    summary.feed(full)
    base = {
        "digest": summary.finish().hex(),
        "namespaces": [
            {
                "namespace": part.name,
                "revision": part.newest.number,
                "digest": part.newest.digest.hex(),
            }
            for part in summary.namespaces
        ],
    }
    source.apply({"new": "1"}, scope={"namespace": "shop"})
    increment = source.post("/v1/backup", {"base": base}).body
    answer = api.post("/v1/restore-backup", full + increment)

    assert len(increment) < len(full)
    assert (200, 2) == (answer.status, answer.json["backups"])
    assert {"new": "1"} == api.state("namespace=shop")["objects"]
    other = api.post("/v1/backup", {"base": {**base, "digest": "00"}})
    assert (422, "invalid_value") == (other.status, other.code)
    with closing(Api()) as elsewhere:
        refused = elsewhere.post("/v1/backup", {"base": base})
        assert (409, "other_history") == (refused.status, refused.code)


def test_what_is_wrong_at_once_is_a_problem(source: Api) -> None:
    """Before the first byte an error has its status."""
    answer = source.post("/v1/backup", {"namespace": "nowhere"})

    assert (404, "namespace_not_found") == (answer.status, answer.code)


def test_a_backup_that_fails_halfway_never_looks_whole(source: Api) -> None:
    """It says why, and the connection is cut."""
    messages: list[Any] = []
    stream = source.engine.backup()

    def broken(*_: object) -> Iterator[bytes]:
        yield next(stream)
        raise Overtaken("begin the backup again")

    source.engine.backup = broken  # type: ignore[method-assign, assignment]

    async def ask() -> None:
        async def receive() -> dict[str, Any]:
            if messages:
                await asyncio.Event().wait()
            return {"type": "http.request", "body": b"{}", "more_body": False}

        async def send(message: Any) -> None:
            await asyncio.sleep(0)
            messages.append(message)

        await source.app(connection("POST", "/v1/backup"), receive, send)

    with pytest.raises(Overtaken):
        source.run(ask())
    assert messages[-1]["more_body"]
    summary = Summary()
    with pytest.raises(St8Error, match="begin the backup again"):
        summary.feed(b"".join(one["body"] for one in messages[1:]))
    with pytest.raises(CutShortError):
        source.post("/v1/backup")


def test_a_backup_that_is_not_right_is_refused(
    source: Api, api: Api, store: MemoryStore
) -> None:
    """What is missing, wrong or there already is told, and the connection ends."""
    data = source.post("/v1/backup").body
    lies = [{"code": code} for code in ("internal_error", "rate_limited")]
    broken = [data[:-36] + broken_off(lie) for lie in lies]
    for wrong in (data[:-1], b"", b"{}", *broken):
        answer = api.post("/v1/restore-backup", wrong)
        assert (422, "bad_backup") == (answer.status, answer.code)
        assert "close" == answer.headers["connection"]
    api.apply({"mine": "1"}, scope={"namespace": "a"})
    answer = api.post("/v1/restore-backup", data)
    assert (409, "namespace_exists") == (answer.status, answer.code)
    assert ["a", "a: 1", "a: main"] == leftovers(store, ("a", "a/b", "default"))
    packed = api.call("POST", "/v1/restore-backup", data, content_encoding="gzip")
    assert (415, "unsupported_media") == (packed.status, packed.code)


def test_a_client_that_goes_away_leaves_nothing(
    source: Api, api: Api, store: MemoryStore
) -> None:
    """Where the connection ends before the backup does, nothing of it is there."""
    data = source.post("/v1/backup").body

    assert None is api.run(_upload(api, [data[:-50]], gone=True))
    assert [] == leftovers(store, ("a", "a/b", "default"))
    assert 200 == api.post("/v1/restore-backup", data).status


def test_a_watch_hears_of_a_restore(source: Api, api: Api) -> None:
    """Who waits for a namespace has its state when the restore is done."""
    source.apply({"new": "1"}, scope={"namespace": "shop"})
    data = source.post("/v1/backup", {"namespace": "shop"}).body

    async def wait() -> tuple[int, int]:
        waiting = asyncio.create_task(
            _get(api, "/v1/state?namespace=shop&min_revision=1&wait=30s")
        )
        await asyncio.sleep(0)
        restored = await _upload(api, [data])
        return restored["status"], await waiting

    assert (200, 200) == api.run(wait())


async def _get(api: Api, target: str) -> int:
    sent: list[Any] = []

    async def receive() -> dict[str, Any]:
        await asyncio.Event().wait()
        return {}

    async def send(message: Any) -> None:
        await asyncio.sleep(0)
        sent.append(message)

    await api.app(connection("GET", target), receive, send)
    return int(sent[0]["status"])


def test_a_daemon_that_stops_ends_a_restore(source: Api, store: MemoryStore) -> None:
    """Who is cut off while more is to come leaves nothing, and nobody is waited for."""
    data = source.post("/v1/backup").body
    api = Api(store)

    async def stop() -> None:
        parts = [data[:-50]]
        all_taken = asyncio.Event()

        async def receive() -> dict[str, Any]:
            if not parts:
                all_taken.set()
                await asyncio.Event().wait()
            return {"type": "http.request", "body": parts.pop(), "more_body": True}

        async def send(_message: Any) -> None:
            await asyncio.sleep(0)

        scope = connection("POST", "/v1/restore-backup")
        task = asyncio.create_task(api.app(scope, receive, send))
        await all_taken.wait()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    api.run(stop())
    api.close()
    with closing(Api()) as other:
        assert [] == other.get("/v1/namespaces").json["namespaces"]
        assert 200 == other.post("/v1/restore-backup", data).status
    assert not any(store._last.values())
