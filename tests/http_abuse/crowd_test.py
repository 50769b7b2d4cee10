"""More connections than a daemon takes are told so, and the others are not harmed."""

from __future__ import annotations

import contextlib
import dataclasses
import time

from tests.http_abuse.raw import CALM, HOST, Echo, Served, served

GET = b"GET / HTTP/1.1\r\n" + HOST + b"\r\n"
FEW = dataclasses.replace(CALM, connections_max=16)


def test_connection_too_many() -> None:
    """The connection beyond the limit is answered 503; the open ones work on."""
    with served(Echo(), FEW) as server, contextlib.ExitStack() as stack:
        wires = [stack.enter_context(server.wire()) for _ in range(16)]
        for wire in wires:
            wire.send(GET)
        statuses = [answer.status for w in wires if (answer := w.answer()) is not None]
        beyond = server.ask(GET)
        for wire in wires:
            wire.send(GET)
        statuses += [answer.status for w in wires if (answer := w.answer()) is not None]

    assert [200] * 32 == statuses
    assert (503, "overloaded") == (beyond.status, beyond.problem["code"])
    assert "connections_max" in beyond.problem["detail"]
    assert "1" == beyond.headers["retry-after"]


def test_room_again() -> None:
    """A place that becomes free can be taken at once."""
    with served(Echo(), FEW) as server:
        with contextlib.ExitStack() as stack:
            wires = [stack.enter_context(server.wire()) for _ in range(16)]
            for wire in wires:
                wire.send(GET)
                wire.answer()
            assert 503 == server.ask(GET).status
        deadline = time.monotonic() + 60
        while server.server.connections:
            assert time.monotonic() < deadline
            time.sleep(0.01)

        assert 200 == server.ask(GET).status


def test_crowd_that_does_not_go_away() -> None:
    """Connections far beyond the limit are cut without a word: they cost nothing."""
    with served(Echo(), FEW) as server, contextlib.ExitStack() as stack:
        for _ in range(200):
            stack.enter_context(server.wire())
        time.sleep(0.1)

        assert server.server.connections <= 16 + 2


def test_bodies_that_are_too_many() -> None:
    """All bodies together have a limit; the one beyond is told so, and its room free."""
    settings = dataclasses.replace(CALM, bodies_bytes_max=1_000_000)
    half = b"x" * 600_000
    post = b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 600001\r\n\r\n" + half
    with served(Echo(), settings) as server:
        for _ in range(3):
            with server.wire() as first, server.wire() as second:
                first.send(post)
                wait_until_held(server, len(half))
                second.send(post)
                refused = second.answer()
                first.send(b"x")
                taken = first.answer()

            assert refused is not None
            assert taken is not None
            assert (200, 503) == (taken.status, refused.status)
            assert "bodies_bytes_max" in refused.problem["detail"]
            wait_until_held(server, 0)


def test_who_takes_nothing_is_cut_when_there_is_no_room() -> None:
    """Beyond the room for what clients leave, those who take nothing are cut off.

    Who takes what it is sent, and who is idle, is not.
    """
    settings = dataclasses.replace(CALM, write_timeout_s=60, unsent_bytes_max=200_000)
    big = b"GET /large HTTP/1.1\r\n" + HOST + b"\r\n"
    with served(Echo(), settings) as server, contextlib.ExitStack() as stack:
        idle = stack.enter_context(server.wire())
        idle.send(GET)
        assert idle.answer() is not None
        stuck = [stack.enter_context(server.wire(receive_bytes=4096)) for _ in range(5)]
        for wire in stuck:
            wire.send(big)
        deadline = time.monotonic() + 60
        while server.server.shared.refused["unsent_bytes"] < 3:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        taker = stack.enter_context(server.wire())
        taker.send(big)
        answer = taker.answer()
        idle.send(GET)

        assert answer is not None
        assert 8 * 1024 * 1024 == len(answer.body)
        assert idle.answer() is not None


def wait_until_held(server: Served, count: int) -> None:
    """Return once the server holds ``count`` bytes of bodies."""
    deadline = time.monotonic() + 60
    while server.server.shared.held_bytes != count:
        assert time.monotonic() < deadline
        time.sleep(0.01)
