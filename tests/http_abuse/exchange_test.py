"""Keep-alive, pipelining, 100-continue, HTTP/1.0, upgrades: what st8d does is stated."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest
import uvloop

from st8.clock import SystemClock
from st8.core.ids import Scope
from st8.engine.engine import Engine
from st8.http.app import create_app
from st8.http.server import HttpServer
from st8.http.service import READ_THREADS
from st8.http.sockets import listen
from st8.store.memory import MemoryStore
from tests.http_abuse.raw import HOST, Echo, Served, Wire, served

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

    from st8.core.errors import St8Error

GET = b"GET / HTTP/1.1\r\n" + HOST + b"\r\n"
LONG_POLL = b"GET /v1/state?min_revision=1&wait=60s HTTP/1.1\r\n" + HOST + b"\r\n"
SLOW = b"GET /slow HTTP/1.1\r\n" + HOST + b"\r\n"


@pytest.fixture(
    params=[uvloop.new_event_loop, asyncio.new_event_loop],
    ids=["uvloop", "asyncio"],
)
def server(request: pytest.FixtureRequest) -> Iterator[Served]:
    """A server of the test's own, on each of the loops that it can run on."""
    with served(Echo(), loop_factory=request.param) as running:
        yield running


def test_pipelined_requests(server: Served) -> None:
    """Requests sent at once are answered one after the other, in order."""
    with server.wire() as wire:
        wire.send(
            b"".join(b"GET /%d HTTP/1.1\r\n" % n + HOST + b"\r\n" for n in range(50))
        )
        answers = [wire.answer() for _ in range(50)]

    expected = [b"GET /%d 0 host\n" % n for n in range(50)]
    assert expected == [answer.body for answer in answers if answer is not None]


def test_pipelined_bodies(server: Served) -> None:
    """Each of several requests sent at once gets its own body."""
    with server.wire() as wire:
        wire.send(
            b"".join(
                b"POST / HTTP/1.1\r\n%sContent-Length: %d\r\n\r\n%s"
                % (HOST, n, b"x" * n)
                for n in range(10)
            )
        )
        answers = [wire.answer() for _ in range(10)]

    expected = [b"POST / %d host,content-length\n" % n for n in range(10)]
    assert expected == [answer.body for answer in answers if answer is not None]


def test_pipeline_that_is_too_long(server: Served) -> None:
    """Beyond 64 waiting requests the connection is refused, after the answers."""
    with server.wire() as wire:
        wire.send(SLOW + GET * 10_000)
        time.sleep(0.1)
        server.app.go.set()
        answers = []
        while (answer := wire.answer()) is not None:
            answers.append(answer)

    assert [200] * 65 + [503] == [answer.status for answer in answers]
    assert "overloaded" == answers[-1].problem["code"]


def test_refusal_does_not_overtake(server: Served) -> None:
    """A refusal comes after the answers to the requests before it."""
    with server.wire() as wire:
        wire.send(SLOW + GET + b"broken\r\n\r\n")
        time.sleep(0.1)
        server.app.go.set()
        answers = [wire.answer() for _ in range(3)]

        assert [200, 200, 400] == [a.status for a in answers if a is not None]
        assert wire.ends()


def test_nothing_follows_close(server: Served) -> None:
    """What is sent behind "Connection: close" is not a request."""
    with server.wire() as wire:
        wire.send(GET[:-2] + b"Connection: close\r\n\r\n" + GET)
        answer = wire.answer()

        assert answer is not None
        assert (200, "close") == (answer.status, answer.headers["connection"])
        assert wire.ends()
    assert ["GET /"] == server.app.requests


def test_expect_continue(server: Served) -> None:
    """A client that asks is told to go on once the app wants the body."""
    with server.wire() as wire:
        wire.send(
            b"POST / HTTP/1.1\r\n"
            + HOST
            + b"Content-Length: 3\r\nExpect: 100-continue\r\n\r\n"
        )
        interim = wire.answer(head_only=True)
        wire.send(b"abc")
        final = wire.answer()
        wire.send(GET)
        following = wire.answer()

    assert interim is not None
    assert final is not None
    assert following is not None
    assert (100, 200, 200) == (interim.status, final.status, following.status)


def test_expect_continue_answered_at_once(server: Served) -> None:
    """A client that was answered without its body is not asked for it."""
    with server.wire() as wire:
        wire.send(
            b"POST /early HTTP/1.1\r\n"
            + HOST
            + b"Content-Length: 30000000\r\nExpect: 100-continue\r\n\r\n"
        )
        answer = wire.answer()

        assert answer is not None
        assert (413, "close") == (answer.status, answer.headers["connection"])
        assert wire.ends()


def test_http_1_0(server: Served) -> None:
    """HTTP/1.0 is answered, without Host too, and the connection closed."""
    with server.wire() as wire:
        wire.send(b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
        answer = wire.answer()

        assert answer is not None
        assert (200, "close") == (answer.status, answer.headers["connection"])
        assert wire.ends()


def test_http_1_0_has_no_chunks(server: Served) -> None:
    """An answer of unknown length ends with the connection in HTTP/1.0."""
    with server.wire() as wire:
        wire.send(b"GET /big HTTP/1.0\r\n\r\n")
        answer = wire.answer()

    assert answer is not None
    assert "transfer-encoding" not in answer.headers
    assert 64 * 1024 * 1024 == len(answer.body)


@pytest.mark.parametrize("size", [100, 100_000])
def test_upgrade_to_http_2_is_ignored(server: Served, size: int) -> None:
    """A client that offers h2c, as Java's does, is answered in HTTP/1.1."""
    request = (
        b"POST / HTTP/1.1\r\nConnection: Upgrade, HTTP2-Settings\r\n"
        + HOST
        + b"Content-Length: %d\r\nHTTP2-Settings: AAEAAEAAAAIAAAABAAMAAABkAAQB\r\n"
        % size
        + b"Upgrade: h2c\r\nUser-Agent: Java-http-client/17\r\n\r\n"
    )
    with server.wire() as wire:
        for _ in range(3):
            wire.send(request + b"x" * size)
            answer = wire.answer()

            assert answer is not None
            expected = b"POST / %d connection,host,content-length,user-agent\n" % size
            assert expected == answer.body


def test_end_of_sending(server: Served) -> None:
    """A client that ends its side after a whole request is still answered."""
    with server.wire() as wire:
        wire.send(SLOW)
        wire.socket.shutdown(socket.SHUT_WR)
        time.sleep(0.1)
        server.app.go.set()
        answer = wire.answer()

        assert answer is not None
        assert 200 == answer.status
        assert wire.ends()


def test_client_that_goes(server: Served) -> None:
    """A client that goes in the middle of its body is told to the app."""
    with server.wire() as wire:
        wire.send(b"POST /gone HTTP/1.1\r\n" + HOST + b"Content-Length: 9\r\n\r\nabc")
        wait_for_requests(server, 1)
    deadline = time.monotonic() + 60
    while not server.app.disconnects:
        assert time.monotonic() < deadline
        time.sleep(0.01)

    assert ["/gone"] == server.app.disconnects


@pytest.fixture
def daemon() -> Iterator[Served]:
    """A server of the API over an empty store."""
    with contextlib.closing(Engine(MemoryStore(), SystemClock())) as engine:
        app = create_app(engine, version="1")
        with contextlib.closing(app), served(app) as running:
            yield running


@pytest.mark.parametrize(
    "request_line",
    [
        b"GET /v1/state?min_revision=1&wait=60s HTTP/1.1\r\n",
        b"HEAD /v1/state?min_revision=1&wait=60s HTTP/1.1\r\n",
        b"GET /v1/log HTTP/1.1\r\n",
        b"POST /v1/diff HTTP/1.1\r\nContent-Length: 2\r\n",
    ],
    ids=["a long poll", "its head", "a read that is queued", "a diff that is queued"],
)
def test_a_read_is_given_up_with_its_client(
    daemon: Served, request_line: bytes
) -> None:
    """Nothing is left of reads whose clients have gone, though none could be done."""
    body = b"{}" if b"POST" in request_line else b""
    with contextlib.ExitStack() as threads:
        if b"wait" not in request_line:
            threads.enter_context(busy_readers(daemon))
        for _ in range(50):
            with daemon.wire() as wire:
                wire.send(request_line + HOST + b"\r\n" + body)
                wait_until(lambda: daemon.server.requests_in_flight)
                go_at_once(wire)
            wait_until(lambda: not daemon.server.requests_in_flight)


def test_a_long_poll_is_given_up_with_a_client_that_only_closes(daemon: Served) -> None:
    """As most do: their end comes as one of sending alone."""

    def waits() -> bool:
        topics = list(daemon.app.service.hub._topics.values())
        return any(one.wake._waiters for topic in topics for one in topic.watchers)

    with daemon.wire() as wire:
        wire.send(LONG_POLL)
        wait_until(waits)
    wait_until(lambda: not daemon.server.requests_in_flight)


WATCH = b"GET /v1/watch HTTP/1.1\r\n" + HOST + b"\r\n"


def test_a_watch_is_ended_by_its_client(daemon: Served) -> None:
    """That is how it ends, and no error is counted."""
    with daemon.wire() as wire:
        wire.send(WATCH)
        wire.answer(head_only=True)
        go_at_once(wire)
    wait_until(lambda: not daemon.server.requests_in_flight)

    metrics = daemon.ask(b"GET /metrics HTTP/1.1\r\n" + HOST + b"\r\n").body.decode()
    assert 'st8_operations_total{operation="watch",result="success"} 1.0' in metrics


def test_a_request_without_its_client_is_logged() -> None:
    """With what it was answered by then, once; 0 if it was not."""
    access = Recorder()
    with contextlib.ExitStack() as stack:
        engine = stack.enter_context(
            contextlib.closing(Engine(MemoryStore(), SystemClock()))
        )
        app = stack.enter_context(contextlib.closing(create_app(engine, version="1")))
        daemon = stack.enter_context(served(app, access=access))
        for request in (WATCH, LONG_POLL):
            with daemon.wire() as wire:
                wire.send(request)
                if request == WATCH:
                    wire.answer(head_only=True)
                wait_until(lambda: daemon.server.requests_in_flight)
                go_at_once(wire)
            wait_until(lambda: not daemon.server.requests_in_flight)

    assert [("/v1/watch", 200), ("/v1/state", 0)] == access.lines


def test_what_the_app_did_not_answer_itself_is_logged_with_its_code() -> None:
    """And with as many bytes as were sent."""
    access = Recorder()
    with served(Echo(), access=access) as server:
        answer = server.ask(b"GET /fault HTTP/1.1\r\n" + HOST + b"\r\n")

    assert [("/fault", 500)] == access.lines
    assert [("internal_error", len(answer.body))] == access.codes


class Recorder:
    """Notes what the log would have of each request."""

    now = staticmethod(time.perf_counter)

    def __init__(self) -> None:
        self.lines: list[tuple[str, int]] = []
        self.codes: list[tuple[str, int]] = []

    def answered(
        self, scope: Any, status: int, body_bytes: int, _started: float
    ) -> None:
        """Note an answer, and how long it was if it has a code."""
        self.lines.append((scope["path"], status))
        if "st8.code" in scope:
            self.codes.append((scope["st8.code"], body_bytes))

    def refused(self, _client: object, error: St8Error) -> None:
        """Fail, since nothing here is to be refused."""
        raise AssertionError(error)


def test_a_write_is_done_without_its_client(daemon: Served) -> None:
    """What was asked for whole is done, though whoever asked has gone."""

    def head() -> int:
        return int(daemon.app.service.engine.state(Scope()).number)

    body = b'{"documents":[{"key":"a","content":"1"}]}'
    with daemon.wire() as wire:
        wire.send(
            b"POST /v1/apply HTTP/1.1\r\n%sContent-Length: %d\r\n\r\n%s"
            % (HOST, len(body), body)
        )
        wait_until(lambda: daemon.server.requests_in_flight or head())
        go_at_once(wire)
    wait_until(head)

    assert 1 == head()


def go_at_once(wire: Wire) -> None:
    """Leave a connection so that the server hears of it, and not only of an end."""
    wire.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    wire.socket.close()


@contextlib.contextmanager
def busy_readers(daemon: Served) -> Generator[None]:
    """Have every reading thread wait."""
    end = threading.Event()
    for _ in range(READ_THREADS):
        asyncio.run_coroutine_threadsafe(daemon.app.service.run(end.wait), daemon.loop)
    try:
        yield
    finally:
        end.set()


def wait_until(holds: Callable[[], object]) -> None:
    """Return when something holds."""
    deadline = time.monotonic() + 30
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.001)


def test_pipelining_client_that_goes(server: Served) -> None:
    """Nothing is left of a client that goes while its requests wait."""
    with server.wire() as wire:
        wire.send(SLOW + b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 9\r\n\r\n")
        wait_for_requests(server, 1)
    server.app.go.set()
    deadline = time.monotonic() + 60
    while server.server.requests_in_flight or server.server.connections:
        assert time.monotonic() < deadline
        time.sleep(0.01)

    assert "GET /slow" == server.app.requests[0]


def test_fault_of_the_app(server: Served, caplog: pytest.LogCaptureFixture) -> None:
    """What the app fails with is logged, and not told to the client."""
    with server.wire() as wire:
        wire.send(b"GET /fault HTTP/1.1\r\n" + HOST + b"\r\n")
        answer = wire.answer()

    assert answer is not None
    assert (500, "internal_error") == (answer.status, answer.problem["code"])
    assert b"secret" not in answer.body
    assert "a secret of the app" in caplog.text


def test_requests_that_outlast_the_server() -> None:
    """What is cut off at the end is told what is known: a write may have happened."""
    app = Echo()
    with contextlib.ExitStack() as wires:
        with served(app) as server:
            read, write = (wires.enter_context(server.wire()) for _ in range(2))
            read.send(SLOW)
            write.send(b"POST" + SLOW[3:-2] + b"Content-Length: 0\r\n\r\n")
            wait_for_requests(server, 2)
        of_read, of_write = read.answer(), write.answer()

    assert of_read is not None
    assert of_write is not None
    assert ("shutting_down", "none") == (
        of_read.problem["code"],
        of_read.problem["outcome"],
    )
    assert ("outcome_unknown", "unknown") == (
        of_write.problem["code"],
        of_write.problem["outcome"],
    )


async def test_accepted_at_the_last_moment() -> None:
    """Whoever the server has accepted when it stops is answered."""
    listener = listen("127.0.0.1", 0)
    server = HttpServer(Echo(), [listener])
    await server.start()
    with socket.create_connection(listener.getsockname(), 60) as client:
        client.sendall(GET)
        await asyncio.sleep(0)
        await asyncio.sleep(0)  # it is accepted, and no connection was made of it yet
        assert await server.stop(30)
        answer = client.recv(65_536)

    assert answer.startswith(b"HTTP/1.1 200 ")


def wait_for_requests(server: Served, count: int) -> None:
    """Return once ``count`` requests have reached the app."""
    deadline = time.monotonic() + 60
    while len(server.app.requests) < count:
        assert time.monotonic() < deadline
        time.sleep(0.01)
