"""A watch tells every revision once, in order, to whoever may see it."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote, urlsplit

import pytest

from st8.client import Client
from st8.core.documents import Document
from st8.core.errors import NotReached, StorageFailed, Unauthenticated
from st8.core.ids import CheckpointName, Key, Scope
from st8.engine.engine import Engine
from st8.engine.requests import Apply, CreateBranch, PutCheckpoint
from st8.http.app import App, create_app
from st8.http.page.examples import EXAMPLES
from st8.store.memory import MemoryStore
from st8.testing.clock import FakeClock
from st8.testing.server import RunningServer, running_server
from tests.http.asgi import Api, connection, exchange
from tests.http.permissions_test import POLICIES, Allow, Policy, Someone

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Mapping, MutableMapping

    from st8.auth.access import Principal
    from st8.http.watch import Hub


class Event(NamedTuple):
    """An event of a stream."""

    name: str
    id: str
    data: Any


class Stream:
    """A watch over a real connection."""

    def __init__(self, url: str, query: str, **headers: str) -> None:
        parts = urlsplit(url)
        assert parts.port is not None
        self._connection = http.client.HTTPConnection("127.0.0.1", parts.port, 30)
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        self._connection.request("GET", f"/v1/watch?{query}", headers=named)
        self.answer = self._connection.getresponse()

    def next(self) -> Event | None:
        """Return the next event; None at the end of the stream."""
        fields: dict[str, str] = {}
        while line := self.answer.readline().decode():
            name, _, value = line.rstrip("\n").partition(": ")
            if line == "\n":
                if "event" in fields:
                    data = json.loads(fields["data"])
                    return Event(fields["event"], fields.get("id", ""), data)
                fields = {}
            elif name:
                fields[name] = value
        return None

    def take(self, count: int) -> list[Event]:
        """Return so many events."""
        events = [self.next() for _ in range(count)]
        return [event for event in events if event is not None]

    def close(self) -> None:
        """Go."""
        self._connection.close()


@pytest.fixture
def server() -> Iterator[RunningServer]:
    """A daemon that nothing was applied to."""
    with running_server() as running:
        yield running


@pytest.fixture
def client(server: RunningServer) -> Iterator[Client]:
    """Its client."""
    with Client(server.url) as client:
        yield client


@contextlib.contextmanager
def watching(
    server: RunningServer, query: str = "", **headers: str
) -> Iterator[Stream]:
    """A stream that ends with the block."""
    stream = Stream(server.url, query, **headers)
    try:
        yield stream
    finally:
        stream.close()


def told(events: list[Event]) -> list[tuple[str, int]]:
    """Return name and revision of each event."""
    return [(e.name, e.data.get("id", e.data.get("revision"))) for e in events]


def test_it_begins_with_where_it_is(server: RunningServer, client: Client) -> None:
    """Without a start, the head as it is; the id of the first event says so."""
    client.apply({"a": "1"})
    client.apply({"a": "2"})
    with watching(server) as stream:
        start = stream.next()

    assert "text/event-stream; charset=utf-8" == stream.answer.headers["content-type"]
    assert "no-store" == stream.answer.headers["cache-control"]
    places = [{"namespace": "default", "branch": "main", "revision": 2}]
    assert Event("start", "2", {"positions": places}) == start


def test_each_revision_is_told(server: RunningServer, client: Client) -> None:
    """Number, message, kind, author and the keys that changed."""
    with watching(server, "after=0") as stream:
        client.apply({"a": "1", "b": "1"}, message="first", author="ops")
        client.apply({"a": "2"}, deletes=["b"])
        client.rollback(revision=1)
        start, *events = stream.take(4)

    assert ("start", "0") == (start.name, start.id)
    assert [("revision", 1), ("revision", 2), ("revision", 3)] == told(events)
    assert ["1", "2", "3"] == [event.id for event in events]
    first, second, third = (event.data for event in events)
    assert ("default", "main", "first", "ops", "apply", 0) == (
        first["namespace"],
        first["branch"],
        first["message"],
        first["author"],
        first["kind"],
        first["parent_id"],
    )
    assert [{"key": "a", "type": "update"}, {"key": "b", "type": "delete"}] == second[
        "changes"
    ]
    assert "rollback" == third["kind"]
    entry = client.log(1).entries[0]
    assert (entry.digest, entry.created_at) == (third["digest"], third["created_at"])


def test_contents_on_demand(server: RunningServer, client: Client) -> None:
    """With ``contents=true`` each change has what was before and what is after."""
    client.apply({"a": "1"})
    with watching(server, "after=0&contents=true") as stream:
        client.apply({"a": "2"})
        _, first, second = stream.take(3)

    assert [{"key": "a", "type": "create", "after": "1"}] == first.data["changes"]
    change = {"key": "a", "type": "update", "before": "1", "after": "2"}
    assert [change] == second.data["changes"]


def test_under_a_prefix(server: RunningServer, client: Client) -> None:
    """Only revisions that touched a key under it, with those of their changes."""
    with watching(server, "after=0&prefix=app/") as stream:
        client.apply({"sys/a": "1"})
        client.apply({"app/a": "1", "sys/a": "2"})
        client.apply({"sys/a": "3"})
        client.apply({"app/b": "1"})
        _, *events = stream.take(3)

    assert [("revision", 2), ("revision", 4)] == told(events)
    assert [["app/a"], ["app/b"]] == [
        [change["key"] for change in event.data["changes"]] for event in events
    ]


def test_going_on(server: RunningServer, client: Client) -> None:
    """The id of any event, given back, goes on behind it; it beats ``after``."""
    for content in "12345":
        client.apply({"a": content})
    with watching(server, "after=0", last_event_id="3") as stream:
        start, *events = stream.take(3)

    assert "3" == start.id
    assert [("revision", 4), ("revision", 5)] == told(events)


def test_several_branches(server: RunningServer, client: Client) -> None:
    """One stream tells of several; its id has a number for each, to go on with."""
    other = client.scope("other", "dev")
    scopes = [{"after": 0}, {"namespace": "other", "branch": "dev", "prefix": "x"}]
    query = "&".join(f"scope={quote(json.dumps(scope))}" for scope in scopes)
    with watching(server, query) as stream:
        assert "0,0" == stream.take(1)[0].id
        client.apply({"a": "1"})
        (first,) = stream.take(1)
        other.apply({"y": "1"})
        other.apply({"x": "1"})
        (second,) = stream.take(1)
    with watching(server, query, last_event_id="0,1") as stream:
        again = stream.take(3)

    assert ("1,0", "default", 1) == (
        first.id,
        first.data["namespace"],
        first.data["id"],
    )
    assert ("1,2", "other", 2) == (
        second.id,
        second.data["namespace"],
        second.data["id"],
    )
    expected = [("start", "0,1"), ("revision", "1,1"), ("revision", "1,2")]
    assert expected == [(event.name, event.id) for event in again]


def test_two_branches_of_one_namespace(server: RunningServer, client: Client) -> None:
    """An event names the branch that is watched, and the one it was made on."""
    client.apply({"a": "1"})
    client.create_branch("dev")
    scopes = [{"after": 0}, {"branch": "dev", "after": 0}]
    query = "&".join(f"scope={quote(json.dumps(scope))}" for scope in scopes)
    with watching(server, query) as stream:
        _, first, second = stream.take(3)

    assert [
        ({"namespace": "default", "branch": "main"}, "main"),
        (
            {"namespace": "default", "branch": "dev"},
            "main",
        ),
    ] == [(event.data["scope"], event.data["branch"]) for event in (first, second)]


def test_a_future_start(server: RunningServer, client: Client) -> None:
    """Nothing up to the number is told; what follows is."""
    with watching(server, "after=2") as stream:
        for content in "1234":
            client.apply({"a": content})
        _, *events = stream.take(3)

    assert [("revision", 3), ("revision", 4)] == told(events)


def test_a_position_that_the_daemon_has_not_reached(
    server: RunningServer, client: Client
) -> None:
    """After a backup was restored, whoever had seen more is told to read anew."""
    client.apply({"a": "1"})
    with watching(server, "after=0", last_event_id="5") as stream:
        _, resync = stream.take(2)
    with watching(server, "after=5", last_event_id="5") as stream:
        stream.take(1)
        for content in "23456":
            client.apply({"a": content})
        (event,) = stream.take(1)

    assert [("resync", 1), ("revision", 6)] == told([resync, event])


def test_a_start_that_was_collected(server: RunningServer, client: Client) -> None:
    """It is told to read anew, at a revision, and goes on from there."""
    for number in range(30):
        client.apply({"a": str(number)})
    client.gc(5)
    with watching(server, "after=3") as stream:
        _, resync = stream.take(2)
        client.apply({"a": "more"})
        (after,) = stream.take(1)

    data = {
        "namespace": "default",
        "branch": "main",
        "revision": 30,
        "reason": "collected",
    }
    assert Event("resync", "30", data) == resync
    assert [("revision", 31)] == told([after])


def test_a_branch_that_is_made_anew(server: RunningServer, client: Client) -> None:
    """A stream that is ahead of its branch is told so, also while it is open."""
    client.apply({"a": "1"})
    client.create_branch("dev")
    dev = client.scope(branch="dev")
    dev.apply({"a": "2"})
    with watching(server, "branch=dev") as stream:
        stream.take(1)
        client.delete_branch("dev")
        (gone,) = stream.take(1)
        client.create_branch("dev")
        (made,) = stream.take(1)
    with watching(server, "branch=dev&after=2") as stream:
        (_, behind) = stream.take(2)

    assert [("resync", 0), ("revision", 1), ("resync", 1)] == told([gone, made, behind])
    assert "history" == gone.data["reason"]


def test_a_large_change_is_told_without_its_changes(
    server: RunningServer, client: Client
) -> None:
    """Where they would not fit into an event, ``changes`` is null."""
    client.apply({f"key/{number:05}": "x" * 100 for number in range(10_000)})
    with watching(server, "after=0&contents=true") as stream:
        _, event = stream.take(2)

    assert None is event.data["changes"]
    assert 1 == event.data["id"]


@pytest.mark.parametrize(
    ("query", "headers", "status"),
    [
        ("after=-2", {}, 422),
        ("scope={}&after=1", {}, 422),
        ("scope={}&scope={}", {}, 422),
        ("scope=[]", {}, 422),
        ("scope={", {}, 400),
        ('scope={"after":-1}', {}, 422),
        ("after=-1", {}, 422),
        ("&".join(f'scope={{"branch":"b{n}"}}' for n in range(65)), {}, 413),
        ("", {"last_event_id": "x"}, 422),
        ("", {"last_event_id": "1,2"}, 422),
        ("", {"last_event_id": "9" * 30}, 422),
    ],
)
def test_what_can_not_be_watched(
    query: str, headers: Mapping[str, str], status: int
) -> None:
    """A mistake is answered as a problem before a stream begins."""
    with contextlib.closing(Api()) as api:
        answer = api.call(
            "GET", f"/v1/watch?{quote(query, safe='=&')}", None, **headers
        )

    assert status == answer.status


@pytest.mark.parametrize("scope", ["{", '{"x":1}', '{"after":1,"after":2}'])
def test_a_scope_that_is_none_is_named(api: Api, scope: str) -> None:
    """What is wrong in it is not said to be in a body, which there is none of."""
    detail = api.get(f"/v1/watch?scope={quote(scope)}").json["detail"]

    assert "scope" in detail
    assert "body" not in detail


def test_head_of_a_watch() -> None:
    """HEAD answers the headers alone, and does not stay."""
    with contextlib.closing(Api()) as api:
        answer = api.call("HEAD", "/v1/watch")

    assert (200, b"") == (answer.status, answer.body)
    assert "text/event-stream; charset=utf-8" == answer.headers["content-type"]
    assert "content-length" not in answer.headers


# --- in the process: who may, signs of life, sharing, the end -----------------------


class Guest:
    """One who may read, until somebody says otherwise."""

    def __init__(self) -> None:
        self.policy: Policy | None = POLICIES["one branch"]

    def authenticate(
        self, _authorization: bytes | None, _connection: Mapping[str, Any], /
    ) -> Principal:
        """Return what may be done now."""
        if self.policy is None:
            raise Unauthenticated("the token is not known")
        return Someone(self.policy).principal


class Call:
    """A stream as the app sends it."""

    def __init__(self, app: App, query: str = "namespace=mine") -> None:
        self._gone = asyncio.Event()
        self._pieces: asyncio.Queue[bytes | None] = asyncio.Queue()
        scope = connection("GET", f"/v1/watch?{query}", (), "1.1")
        self.task = asyncio.create_task(app(scope, self._receive, self._send))

    async def _receive(self) -> dict[str, Any]:
        await self._gone.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.body":
            self._pieces.put_nowait(message["body"])
            if not message.get("more_body"):
                self._pieces.put_nowait(None)

    async def piece(self) -> bytes | None:
        """Return the next piece of the body; None at its end."""
        return await self._pieces.get()

    async def leave(self) -> None:
        """Go away, and wait until the app has noticed."""
        self._gone.set()
        await self.task


@pytest.fixture
async def hub() -> AsyncIterator[tuple[App, Hub, Guest, Engine]]:
    """An app with signs of life at every turn, for one guest."""
    engine = Engine(MemoryStore(), FakeClock(tick_ns=1))
    guest = Guest()
    app = create_app(engine, version="1", authoriser=guest)
    app.service.hub.heartbeat_s = app.service.hub.tick_s = 0.001
    yield app, app.service.hub, guest, engine
    app.begin_shutdown()
    app.close()
    engine.close()


Daemon = tuple[App, "Hub", Guest, Engine]


def put(engine: Engine, content: str, branch: str = "main") -> None:
    """Apply a document in ``mine``, and a log of what is hidden."""
    scope = Scope.parse("mine", branch)
    engine.apply(Apply(scope, (Document(Key("app/a"), content),)))


async def test_signs_of_life_carry_the_position(hub: Daemon) -> None:
    """What is filtered out still moves the id on, so that nothing is read twice."""
    app, _, _, engine = hub
    call = Call(app, "namespace=mine&prefix=other/")
    assert b"id: 0" in (await call.piece() or b"")
    put(engine, "1")
    while b": heartbeat\nid: 1\n\n" != await call.piece():
        pass
    await call.leave()


@pytest.mark.parametrize("policy", [None, "nothing", "app"])
async def test_who_may_no_longer_is_cut_off(hub: Daemon, policy: str | None) -> None:
    """Taken away, forbidden or cut down: the stream says so and ends."""
    app, _, guest, engine = hub
    call = Call(app)
    await call.piece()
    guest.policy = None if policy is None else POLICIES[policy]
    put(engine, "1")
    pieces: list[bytes] = []
    while (piece := await call.piece()) is not None:
        pieces.append(piece)
    await call.task

    name, data = pieces[-2].split(b"\n", 1)
    assert b"event: error" == name
    problem = json.loads(data.removeprefix(b"data: "))
    expected = "unauthenticated" if policy is None else "forbidden"
    assert expected == problem["code"]
    assert not any(b"event: revision" in piece for piece in pieces)


async def test_a_store_that_fails_under_a_watch_is_logged_and_counted(
    hub: Daemon, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Whoever runs the daemon hears of it, though nobody may ask for anything else."""
    app, _, _, engine = hub

    def fail(*_: object, **__: object) -> None:
        raise StorageFailed("the disk said no")

    monkeypatch.setattr(engine, "news", fail)
    call = Call(app)
    pieces: list[bytes] = []
    while (piece := await call.piece()) is not None:
        pieces.append(piece)
    await call.task

    assert b"storage_failed" in pieces[-2]
    assert ["a watch failed: the disk said no"] == caplog.messages
    assert {"success": 0, "error": 1} == app.service.metrics.operation("watch").results


async def test_what_is_hidden_is_not_told(hub: Daemon) -> None:
    """Of another branch nothing, and of this one what the rules let be read."""
    app, _, guest, engine = hub
    guest.policy = POLICIES["app"]
    call = Call(app, "namespace=mine&after=0&contents=true")
    put(engine, "0", "hidden")
    scope = Scope.parse("mine", "main")
    documents = (Document(Key("app/a"), "seen"), Document(Key("sys/x"), "unseen"))
    engine.apply(Apply(scope, documents[1:]))
    engine.apply(Apply(scope, documents))
    while b"event: revision" not in (piece := await call.piece() or b""):
        assert b"sys" not in piece
    assert b'"id":3' in piece
    assert b"unseen" not in piece
    assert b"sys/x" not in piece
    await call.leave()


async def test_pages_are_made_once_for_all(hub: Daemon) -> None:
    """However many watch, what they are told is computed once, and forgotten after."""
    app, watched, _, engine = hub
    watched.heartbeat_s = 1000.0
    calls = [Call(app, "namespace=mine&after=0") for _ in range(50)]
    for call in calls:
        assert b"event: start" in (await call.piece() or b"")
    made = watched.pages
    put(engine, "1")
    pieces = [await call.piece() for call in calls]

    assert 1 == len(set(map(id, pieces)))
    assert 50 == watched.watchers
    # One for those who came, one for what follows it.
    assert watched.pages - made <= 2
    for call in calls:
        await call.leave()
    assert 0 == watched.watchers
    assert {} == watched._topics


async def test_pages_that_are_kept_have_a_bound(hub: Daemon) -> None:
    """However many prefixes are watched, what is kept of old pages stays bounded."""
    app, watched, _, engine = hub
    watched.kept_bytes_max = 600_000
    for number in range(300):
        put(engine, f"{number}" * 600)
    scopes = [
        quote(json.dumps({"namespace": "mine", "prefix": prefix, "after": 0}))
        for prefix in ("", "a", "ap", "app", "app/", "app/a")
    ]
    call = Call(app, "contents=true&" + "&".join(f"scope={one}" for one in scopes))
    while b"id: 300,300,300,300,300,300\nevent" not in (await call.piece() or b""):
        pass
    kept = [
        len(task.result().whole)
        for topic in watched._topics.values()
        for channel in topic.channels.values()
        for _, task in channel._pages.values()
        if task.done()
    ]
    assert 0 < sum(kept) <= watched.kept_bytes_max
    await call.leave()
    assert 0 == watched.kept_bytes


async def test_the_example_of_the_page(hub: Daemon) -> None:
    """A stream reads as the page of the API shows it."""
    app, _, guest, engine = hub
    guest.policy = POLICIES["all"]
    for content in "12":
        scope = Scope.parse("shop/prod", "main")
        engine.apply(Apply(scope, (Document(Key("limits.json"), content),)))
    example = EXAMPLES["watch"]
    call = Call(app, example.target.partition("?")[2])
    text = ((await call.piece() or b"") + (await call.piece() or b"")).decode()
    await call.leave()

    assert text.startswith(example.answer.removesuffix("…"))


async def test_the_end_of_the_daemon_ends_streams(hub: Daemon) -> None:
    """A daemon that stops does not wait for watchers: it lets them go elsewhere."""
    app, watched, _, _ = hub
    watched.heartbeat_s = 1000.0
    call = Call(app)
    assert (await call.piece() or b"").startswith(b"retry: ")
    app.begin_shutdown()

    assert b"" == await call.piece()
    assert None is await call.piece()
    await call.task


async def test_retries_are_spread(hub: Daemon) -> None:
    """Clients that are cut off together do not come back together."""
    app, _, _, _ = hub
    calls = [Call(app) for _ in range(20)]
    firsts = [(await call.piece() or b"").split(b"\n")[0] for call in calls]
    for call in calls:
        await call.leave()

    assert 20 == len(set(firsts))
    assert all(1000 <= int(first.split(b" ")[1]) < 5000 for first in firsts)


# --- long polling ------------------------------------------------------------------


def test_waiting_for_a_change(server: RunningServer, client: Client) -> None:
    """A read that has what is there already is answered when that changes."""
    client.apply({"a": "1"})
    tag = client.state().etag
    parts = urlsplit(server.url)
    assert parts.port is not None
    connection = http.client.HTTPConnection("127.0.0.1", parts.port, 30)
    with contextlib.closing(connection):
        headers = {"If-None-Match": tag}
        connection.request("GET", "/v1/state?wait=30s", headers=headers)
        client.apply({"a": "2"})
        answer = connection.getresponse()
        assert {"a": "2"} == json.loads(answer.read())["objects"]
        new = {"If-None-Match": answer.headers["etag"]}
        connection.request("GET", "/v1/state?wait=1ms", headers=new)
        assert 304 == connection.getresponse().status


def test_waiting_for_a_revision(server: RunningServer, client: Client) -> None:
    """A read of a revision that is yet to come is answered when it has come."""
    client.apply({"a": "1"})
    parts = urlsplit(server.url)
    assert parts.port is not None
    connection = http.client.HTTPConnection("127.0.0.1", parts.port, 30)
    with contextlib.closing(connection):
        connection.request("GET", "/v1/state?min_revision=2&wait=30s")
        client.apply({"a": "2"})
        answer = connection.getresponse()
        assert {"a": "2"} == json.loads(answer.read())["objects"]
        connection.request("GET", "/v1/state?min_revision=3&wait=1ms")
        late = connection.getresponse()
        assert (412, "revision_not_reached") == (late.status, json.load(late)["code"])


@pytest.mark.parametrize(
    "query",
    [
        "min_revision=-1",
        "min_revision=1&revision=1",
        "max_stale=1s&checkpoint=c",
        "max_stale=1s&at=2026-01-01T00:00:00Z",
        "max_stale=soon",
        "max_stale=-1s",
    ],
)
def test_freshness_that_can_not_be(query: str) -> None:
    """How fresh a head has to be says nothing of what is no head."""
    with contextlib.closing(Api()) as api:
        assert 422 == api.get(f"/v1/state?{query}").status


def test_the_library_asks_for_freshness(client: Client) -> None:
    """Clients say which revision they have seen, and how old a head may be."""
    written = client.apply({"a": "1"})
    seen = written.revision

    assert "1" == client.get("a", min_revision=seen, max_stale_s=0.5)
    assert seen == client.state(min_revision=seen, max_stale_s=60).revision
    with pytest.raises(NotReached) as caught:
        client.state(min_revision=seen + 1)
    assert seen + 1 == caught.value.revision


@pytest.mark.parametrize(
    ("wait", "status"), [("61s", 413), ("soon", 422), ("-1s", 422)]
)
def test_waits_that_can_not_be(wait: str, status: int) -> None:
    """A wait is a duration of up to a minute."""
    with contextlib.closing(Api()) as api:
        assert status == api.get(f"/v1/state?wait={wait}").status


async def test_a_wait_does_not_outlive_what_was_allowed(hub: Daemon) -> None:
    """What a checkpoint's own branch showed is asked anew when the wait is over."""
    app, watched, guest, engine = hub
    main, copy = Scope.parse("mine", "main"), Scope.parse("mine", "copy")
    put(engine, "1")
    engine.create_branch(CreateBranch(main, copy.branch))
    name = CheckpointName("c")
    engine.put_checkpoint(PutCheckpoint(copy, name))
    guest.policy = (Allow("read", "mine", "main"), Allow("read", "mine", "copy"))
    target = "/v1/state?namespace=mine&checkpoint=c&wait=30s"
    tag = (await exchange(app, "GET", target)).headers["etag"].encode()
    asked = asyncio.create_task(
        exchange(app, "GET", target, headers=[(b"if-none-match", tag)])
    )

    def waits() -> bool:
        topic = watched._topics.get(main)
        return topic is not None and any(one.wake._waiters for one in topic.watchers)

    while not waits():  # noqa: ASYNC110 - nobody tells
        await asyncio.sleep(0)
    guest.policy = (Allow("read", "mine", "main"),)
    put(engine, "unseen", "copy")
    engine.put_checkpoint(PutCheckpoint(copy, name, replace=True))
    put(engine, "2")
    answer = await asked

    assert (404, "checkpoint_not_found") == (answer.status, answer.code)
