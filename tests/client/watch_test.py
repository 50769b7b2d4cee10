"""A watch tells every revision once and in order, whatever becomes of connections."""

from __future__ import annotations

import contextlib
import select
import socket
import threading
import time
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

from st8 import Client
from st8.client._events import ResyncEvent, RevisionEvent, Watching
from st8.client._watch import Watch
from st8.core.errors import (
    Forbidden,
    InvalidValue,
    Unauthenticated,
    Unavailable,
    Unreachable,
)
from st8.core.ids import Scope
from st8.store.sqlite import SqliteStore
from st8.testing.server import running_server
from tests.client.scripted import answer, once, problem, scripted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from st8.client import WatchEvent
    from st8.core.errors import St8Error
    from st8.testing.server import RunningServer
    from tests.client.scripted import Wire

EVERYTHING = 1 << 40


class Proxy:
    """Stands between a client and a daemon, and cuts connections.

    Attributes:
        url: Where it is.
        target: Where it leads to; empty for nowhere.
        budget: Bytes that each connection passes back, in turn; the last one counts
            for all that follow.
        served: How many connections there were.
    """

    def __init__(self, target: str) -> None:
        self.target = target
        self.budget = [EVERYTHING]
        self.served = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._open: list[socket.socket] = []
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        """Serve one connection after the other."""
        while True:
            try:
                ours, _ = self._listener.accept()
            except OSError:
                return
            budget = self.budget[min(self.served, len(self.budget) - 1)]
            self.served += 1
            port = urlsplit(self.target).port
            with ours, contextlib.suppress(OSError):
                if port is not None:
                    with socket.create_connection(("127.0.0.1", port)) as theirs:
                        self._open = [ours, theirs]
                        pass_on(ours, theirs, budget)

    def cut(self) -> None:
        """Break the open connection."""
        for sock in self._open:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """End."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.cut()
        self._thread.join(20)


def pass_on(ours: socket.socket, theirs: socket.socket, budget: int) -> None:
    """Pass bytes on in both directions until one ends, or ``budget`` is used up."""
    while budget:
        ready, _, _ = select.select([ours, theirs], [], [])
        if ours in ready:
            data = ours.recv(65_536)
            if not data:
                return
            theirs.sendall(data)
        if theirs in ready:
            data = theirs.recv(min(65_536, budget))
            if not data:
                return
            ours.sendall(data)
            budget -= len(data)


@contextlib.contextmanager
def proxy(target: str) -> Iterator[Proxy]:
    """A proxy before ``target`` that ends with the block."""
    running = Proxy(target)
    try:
        yield running
    finally:
        running.close()


@pytest.fixture
def server() -> Iterator[RunningServer]:
    """A daemon that nothing was applied to."""
    with running_server() as running:
        yield running


def at_once(client: Client, after: int | None = None) -> Watch:
    """Return a watch that does not wait between its attempts."""
    scope = Scope.parse("", "")
    url = client._transport.url
    return Watch(
        client._transport, Watching(scope, url, after=after, jitter=lambda: 0.0)
    )


def take(watch: Watch, count: int) -> list[WatchEvent]:
    """Return the next events."""
    return [next(watch) for _ in range(count)]


def numbers(events: list[WatchEvent]) -> list[int]:
    """Return the revision of each event; a resync counts negative."""
    return [
        event.entry.revision if isinstance(event, RevisionEvent) else -event.revision
        for event in events
    ]


def test_each_revision_in_order(server: RunningServer) -> None:
    """From the first one, then as they are made, with what the log says of them."""
    with Client(server.url) as client, client.watch(after=0) as watch:
        client.apply({"a": "1", "b": "1"}, message="first", author="ops")
        client.apply({"a": "2"})
        events = take(watch, 2)
        client.rollback(revision=1)
        events += take(watch, 1)
        entries = client.log().entries
        revision, connected = watch.revision, watch.connected

    assert (3, True) == (revision, connected)
    assert list(reversed(entries)) == [
        event.entry for event in events if isinstance(event, RevisionEvent)
    ]


def test_under_a_prefix_with_contents(server: RunningServer) -> None:
    """Only what touched a key under it, with what was before and is after."""
    with (
        Client(server.url) as client,
        client.watch("app/", after=0, contents=True) as watch,
    ):
        client.apply({"sys/a": "1"})
        client.apply({"app/a": "1", "sys/a": "2"})
        client.apply({"app/a": ""})
        first, second = take(watch, 2)

    assert isinstance(first, RevisionEvent)
    assert isinstance(second, RevisionEvent)
    assert [("app/a", "create", None, "1")] == [tuple(c) for c in first.entry.changes]
    assert [("app/a", "update", "1", "")] == [tuple(c) for c in second.entry.changes]


def test_beginning_at_the_head(server: RunningServer) -> None:
    """Without ``after`` it begins with what is made after the first event was asked for."""
    with Client(server.url) as client, at_once(client) as watch:
        client.apply({"a": "1"})
        connected = threading.Event()
        watch.on_connected = connected.set
        told: list[int] = []
        thread = threading.Thread(target=lambda: told.extend(numbers(take(watch, 1))))
        thread.start()
        assert connected.wait(20)
        while watch.revision is None:
            time.sleep(0.001)
        client.apply({"a": "2"})
        thread.join(20)

    assert [2] == told


def test_cut_at_every_byte(server: RunningServer) -> None:
    """Wherever a stream breaks off, nothing is lost and nothing comes twice."""
    with Client(server.url) as direct, proxy(server.url) as between:
        direct.apply({"a": "1"})
        direct.apply({"a": "2"})
        with Client(between.url) as client:
            size = _bytes_of(server, 2)
            for cut in range(size):
                between.served, between.budget = 0, [cut, EVERYTHING]
                with at_once(client, after=0) as watch:
                    assert [1, 2] == numbers(take(watch, 2)), cut
                    assert between.served <= 2


def _bytes_of(server: RunningServer, revisions: int) -> int:
    """Return how many bytes a stream takes that tells of so many revisions."""
    port = urlsplit(server.url).port
    with socket.create_connection(("127.0.0.1", port or 0)) as sock:
        sock.sendall(b"GET /v1/watch?after=0 HTTP/1.1\r\nHost: x\r\n\r\n")
        data = b""
        while data.count(b"event: revision") < revisions or not data.endswith(
            b"\n\n\r\n"
        ):
            data += sock.recv(65_536)
    return len(data)


def test_cut_again_and_again(server: RunningServer) -> None:
    """A stream that breaks off after a few hundred bytes each time gets there."""
    with Client(server.url) as direct, proxy(server.url) as between:
        for content in range(30):
            direct.apply({"a": str(content)})
        between.budget = [700 + 37 * number for number in range(60)]
        with Client(between.url) as client, at_once(client, after=0) as watch:
            assert list(range(1, 31)) == numbers(take(watch, 30))
        assert between.served > 5


def test_daemon_that_is_restarted(tmp_path: Path) -> None:
    """What is applied while a client is away is told when it is back, on any port."""
    lost: list[str] = []
    with contextlib.ExitStack() as stack:
        with running_server(store=SqliteStore(tmp_path)) as first:
            between = stack.enter_context(proxy(first.url))
            watch = stack.enter_context(
                at_once(stack.enter_context(Client(between.url)), after=0)
            )
            watch.on_lost = lambda error: lost.append(type(error).__name__)
            with Client(first.url) as writer:
                writer.apply({"a": "1"})
            told = take(watch, 1)
        with running_server(store=SqliteStore(tmp_path)) as second:
            with Client(second.url) as writer:
                writer.apply({"a": "2"})
                writer.apply({"a": "3"})
            between.target = second.url
            told += take(watch, 2)
            assert watch.connected

    assert [1, 2, 3] == numbers(told)
    assert {"Unreachable"} == set(lost)


def test_history_that_is_gone(server: RunningServer) -> None:
    """What was collected, and a branch that was made anew, is told as a resync."""
    with Client(server.url) as client:
        for content in range(30):
            client.apply({"a": str(content)})
        client.gc(5)
        with client.watch(after=3) as watch:
            resync = next(watch)
            client.apply({"a": "more"})
            assert [-30, 31] == numbers([resync, *take(watch, 1)])

    assert ResyncEvent("default", "main", 30, "collected") == resync


def test_large_change(server: RunningServer) -> None:
    """A revision whose changes are too large for an event says so."""
    with Client(server.url) as client, client.watch(after=0, contents=True) as watch:
        client.apply({f"key/{number:05}": "x" * 100 for number in range(10_000)})
        event = next(watch)

    assert isinstance(event, RevisionEvent)
    assert (True, ()) == (event.changes_omitted, event.entry.changes)


# --- errors ---------------------------------------------------------------------------


def test_token_that_is_refused() -> None:
    """It is raised, and the watch is over."""
    with (
        running_server(token="right") as server,
        Client(server.url, token="wrong") as client,
        client.watch() as watch,
    ):
        with pytest.raises(Unauthenticated):
            next(watch)
        assert [] == list(watch)


def test_what_can_not_be_asked(server: RunningServer) -> None:
    """A negative start is refused before anything is sent."""
    with Client(server.url) as client, pytest.raises(InvalidValue):
        client.watch(after=-1)


def test_page_of_a_portal() -> None:
    """A 200 that is no stream is no daemon."""
    with (
        scripted(once(answer({}))) as server,
        Client(server.url) as client,
        pytest.raises(Unavailable, match="is this a st8 daemon"),
    ):
        next(at_once(client))


def test_name_that_is_not_there() -> None:
    """A host that does not exist is raised; it would not at the next attempt."""
    with Client("http://host.invalid:1") as client, pytest.raises(Unreachable):
        next(at_once(client))


HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n"
START = b'id: 0\nevent: start\ndata: {"positions": []}\n\n'
EVENT = (
    b'id: 1\nevent: revision\ndata: {"id": 1, "parent_id": 0, "changes": [], '
    b'"namespace": "default"}\n\n'
)
FORBIDDEN = (
    b'event: error\ndata: {"code": "forbidden", "status": 403, "detail": "no"}\n\n'
)


def _says(*pieces: bytes) -> Callable[[Wire], None]:
    """Return the script that answers a request with these bytes and closes."""
    return once(b"".join(pieces))


def test_error_within_a_stream() -> None:
    """What was told before it is told, then it is raised."""
    with (
        scripted(_says(HEAD, START, EVENT, FORBIDDEN)) as server,
        Client(server.url) as client,
        client.watch() as watch,
    ):
        assert [1] == numbers(take(watch, 1))
        with pytest.raises(Forbidden, match="no"):
            next(watch)


@pytest.mark.parametrize(
    "first",
    [
        _says(),
        _says(b"HTTP/1.1 200 OK\r\n"),
        _says(problem(503, "overloaded")),
        _says(answer(status=502)),
        _says(HEAD, START, b"data: \xff\n\n"),
        _says(HEAD, START, b"event: revision\ndata: nonsense\n\n"),
        _says(HEAD, START, b"data: %s\n" % (b"x" * 1_000) * 9_000),
        _says(
            HEAD.replace(b"\r\n\r\n", b"\r\ntransfer-encoding: chunked\r\n\r\nz\r\n")
        ),
        lambda wire: wire.reset(),
    ],
)
def test_what_passes(first: Callable[[Wire], None]) -> None:
    """After anything that may be right the next time, there is a next time."""
    lost: list[St8Error] = []
    with (
        scripted(first, _says(HEAD, START, EVENT)) as server,
        Client(server.url) as client,
        at_once(client) as watch,
    ):
        watch.on_lost = lost.append
        assert [1] == numbers(take(watch, 1))

    assert 1 == len(lost)


def test_end_from_another_thread(server: RunningServer) -> None:
    """Whoever waits for an event comes to the end when the watch is closed."""
    with Client(server.url) as client:
        client.apply({"a": "1"})
        watch = client.watch(after=0)
        next(watch)
        threading.Timer(0.05, watch.close).start()

        assert [] == list(watch)
        assert not watch.connected


def test_end_while_it_waits_to_try_again() -> None:
    """Closing ends the wait for the next attempt, too."""
    with Client("http://127.0.0.1:1") as client:
        scope = Scope.parse("", "")
        watching = Watching(scope, client._transport.url, jitter=lambda: 1e6)
        watch = Watch(client._transport, watching)
        watch.on_lost = lambda _: watch.close()

        assert [] == list(watch)


def test_client_that_is_closed(server: RunningServer) -> None:
    """A watch of a client that was closed is a fault of the program."""
    client = Client(server.url)
    client.close()
    with pytest.raises(RuntimeError, match="the client is closed"):
        next(client.watch())


def test_secrets_are_not_shown() -> None:
    """No text of an error has the token in it."""
    lost: list[St8Error] = []
    with Client("http://127.0.0.1:1", token="s3cret") as client:
        watch = at_once(client)

        def stop(error: St8Error) -> None:
            lost.append(error)
            watch.close()

        watch.on_lost = stop
        assert [] == list(watch)

    assert "s3cret" not in repr(lost) + repr(watch)
