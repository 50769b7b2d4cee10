"""A client that is slow, or says nothing at all, is cut off; the others are not."""

from __future__ import annotations

import contextlib
import dataclasses
import time
from typing import TYPE_CHECKING

import pytest

from tests.http_abuse.raw import HOST, QUICK, Echo, Served, Wire, served

if TYPE_CHECKING:
    from collections.abc import Iterator

GET = b"GET / HTTP/1.1\r\n" + HOST + b"\r\n"
POST = b"POST / HTTP/1.1\r\n" + HOST
# Where a test claims that nothing is cut, it must hold on a busy machine too.
PATIENT = dataclasses.replace(
    QUICK, read_timeout_s=30.0, write_timeout_s=4.0, idle_timeout_s=5.0
)


@pytest.fixture(scope="module")
def server() -> Iterator[Served]:
    """One server for all that may be cut at any time."""
    with served(Echo(), QUICK) as running:
        yield running


def drip(wire: Wire, data: bytes, pause_s: float) -> None:
    """Send ``data`` byte by byte, as long as the server listens."""
    with contextlib.suppress(ConnectionError):
        for byte in data:
            wire.send(bytes([byte]))
            time.sleep(pause_s)


def assert_too_slow(wire: Wire) -> None:
    """Assert that the answer is a 408 and the end."""
    answer = wire.answer()

    assert answer is not None
    assert (408, "request_timeout") == (answer.status, answer.problem["code"])
    assert answer.problem["retryable"] is True
    assert "close" == answer.headers["connection"]
    assert wire.ends()


def test_slow_headers(server: Served) -> None:
    """Headers that come a byte at a time are given up: slowloris."""
    with server.wire() as wire:
        drip(wire, GET[:-2] + b"A: " + b"x" * 20, 0.02)

        assert_too_slow(wire)


def test_headers_that_stop(server: Served) -> None:
    """Headers that stop in the middle are given up."""
    with server.wire() as wire:
        wire.send(GET[:-2])

        assert_too_slow(wire)


def test_blank_lines_are_no_excuse(server: Served) -> None:
    """Line ends before the request line start the clock too."""
    with server.wire() as wire:
        wire.send(b"\r\n")

        assert_too_slow(wire)


def test_slow_headers_of_a_later_request() -> None:
    """The clock runs anew for each request of a kept-alive connection."""
    with served(Echo(), PATIENT) as server, server.wire() as wire:
        for _ in range(3):
            wire.send(GET)
            answer = wire.answer()
            assert answer is not None
            assert 200 == answer.status
            time.sleep(QUICK.header_timeout_s / 2)
        wire.send(GET[:20])

        assert_too_slow(wire)


def test_silent_connection(server: Served) -> None:
    """A connection that never says anything is closed, and told nothing."""
    with server.wire() as wire:
        assert wire.ends()


def test_idle_connection() -> None:
    """A kept-alive connection outlives the header timeout and ends when idle."""
    with served(Echo(), PATIENT) as server, server.wire() as wire:
        wire.send(GET)
        wire.answer()
        time.sleep(QUICK.header_timeout_s * 2)
        wire.send(GET)
        answer = wire.answer()

        assert answer is not None
        assert 200 == answer.status
        assert wire.ends()


def test_body_that_stops() -> None:
    """A body that stops in the middle is slower than the least speed."""
    with served(Echo(), QUICK) as server:
        with server.wire() as wire:
            wire.send(POST + b"Content-Length: 100000\r\n\r\n" + b"x" * 100)

            assert_too_slow(wire)
        # The app is told after the client, or even begins only then.
        wait_until(lambda: server.app.disconnects == ["/"])


def test_slow_body(server: Served) -> None:
    """A body of less than 1 KiB a second is refused."""
    with server.wire() as wire:
        wire.send(POST + b"Content-Length: 1000\r\n\r\n")
        drip(wire, b"x" * 40, 0.02)

        assert_too_slow(wire)


def test_body_fast_enough_but_too_long() -> None:
    """A body at good speed is still bounded by the read timeout."""
    settings = dataclasses.replace(QUICK, read_timeout_s=0.8)
    with served(Echo(), settings) as server, server.wire() as wire:
        wire.send(POST + b"Content-Length: 100000000\r\n\r\n")
        with contextlib.suppress(ConnectionError):
            for _ in range(80):
                wire.send(b"x" * 1000)
                time.sleep(0.02)

        assert_too_slow(wire)


def test_body_that_takes_a_while() -> None:
    """A body of several pieces at more than 1 KiB a second is taken."""
    with served(Echo(), PATIENT) as server, server.wire() as wire:
        wire.send(POST + b"Content-Length: 100000\r\n\r\n" + b"x" * 10_000)
        for _ in range(9):
            time.sleep(0.1)
            wire.send(b"x" * 10_000)
        answer = wire.answer()

    assert answer is not None
    assert b"POST / 100000 host,content-length\n" == answer.body


def test_the_apps_time_is_not_the_clients() -> None:
    """A request that the app is slow to answer, or to read, is not timed out."""
    settings = dataclasses.replace(QUICK, read_timeout_s=30.0)
    with served(Echo(), settings) as server, server.wire() as wire:
        wire.send(POST[:5] + b"/slow" + POST[6:] + b"Content-Length: 200000\r\n\r\n")
        wire.send(b"x" * 100_000)
        time.sleep(QUICK.header_timeout_s + QUICK.body_grace_s + QUICK.idle_timeout_s)
        server.app.go.set()
        wire.send(b"x" * 100_000)
        answer = wire.answer()

    assert answer is not None
    assert b"POST /slow 200000 host,content-length\n" == answer.body


def test_answer_that_is_not_read() -> None:
    """A client that does not read its answer is cut, and the app let go."""
    with served(Echo(), QUICK) as server, server.wire(receive_bytes=4096) as wire:
        wire.send(b"GET /big HTTP/1.1\r\n" + HOST + b"\r\n")
        wait_until(lambda: server.app.requests == ["GET /big"])
        wait_until(lambda: server.server.requests_in_flight == 0)

        with pytest.raises((ConnectionError, ValueError)):
            wire.answer()


def test_answer_that_is_read_slowly() -> None:
    """A client that reads slowly but steadily gets all of it."""
    with served(Echo(), PATIENT) as server, server.wire(receive_bytes=65536) as wire:
        wire.send(b"GET /big HTTP/1.1\r\n" + HOST + b"\r\n")
        received = 0
        deadline = time.monotonic() + PATIENT.write_timeout_s * 1.5
        while time.monotonic() < deadline:
            received += len(wire.socket.recv(262_144))
            time.sleep(0.01)
        while not received > 64 * 1024 * 1024:
            part = wire.socket.recv(1 << 20)
            assert part
            received += len(part)


def test_thousand_slow_clients() -> None:
    """A thousand dripping connections are cut, and others served meanwhile."""
    settings = dataclasses.replace(QUICK, header_timeout_s=3.0)
    with served(Echo(), settings) as server, contextlib.ExitStack() as stack:
        slow: list[Wire] = []
        for _ in range(1000):
            slow.append(stack.enter_context(server.wire()))
            slow[-1].send(GET[:20])  # at once: who is silent is told nothing
        answers = [server.ask(GET).status for _ in range(20)]

        assert [200] * 20 == answers
        assert [408] * 1000 == [
            answer.status for wire in slow if (answer := wire.answer()) is not None
        ]
        assert 1000 == server.server.shared.refused["request_timeout"]


def wait_until(condition: object) -> None:
    """Return once ``condition`` is true; fail after a minute."""
    assert callable(condition)
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)
