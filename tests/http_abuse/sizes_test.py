"""Headers, targets and framing have their limits, which answer by name."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import pytest

from st8.core import limits
from tests.http_abuse.raw import HOST, Answer, Echo, Served, served

if TYPE_CHECKING:
    from collections.abc import Iterator

    from st8.core.limits import Limit

GET = b"GET / HTTP/1.1\r\n" + HOST


@pytest.fixture(scope="module")
def server() -> Iterator[Served]:
    """One server for all rows."""
    with served(Echo()) as running:
        yield running


def assert_over(limit: Limit, answer: Answer) -> None:
    """Assert that the answer is a 431 that names ``limit``."""
    problem = answer.problem

    assert 431 == answer.status
    assert "header_limit_exceeded" == problem["code"]
    assert (limit.name, limit.maximum) == (problem["limit"], problem["maximum"])
    assert limit.name in problem["detail"]
    assert str(limit.maximum) in problem["detail"]
    assert "close" == answer.headers["connection"]


@pytest.mark.parametrize("size", [40_000, 1_048_576, 20_000_000])
def test_large_header(server: Served, size: int) -> None:
    """A header beyond 32 KiB is refused, and the refusal can be read."""
    answer = server.ask(GET + b"A: " + b"x" * size + b"\r\n\r\n")

    assert_over(limits.HEADER_BYTES, answer)


def test_header_that_never_ends(server: Served) -> None:
    """What has not ended after 32 KiB is refused without waiting for its end."""
    assert_over(limits.HEADER_BYTES, server.ask(GET + b"A: " + b"x" * 40_000))


def test_blank_lines_that_never_end(server: Served) -> None:
    """Line ends before a request count as its headers."""
    assert_over(limits.HEADER_BYTES, server.ask(b"\r\n" * 20_000))


def test_large_header_behind_another_request(server: Served) -> None:
    """A pipelined request's headers are measured like any other's."""
    with server.wire() as wire:
        wire.send(GET + b"\r\n" + GET + b"A: " + b"x" * 40_000 + b"\r\n\r\n")
        first, second = wire.answer(), wire.answer()

    assert first is not None
    assert second is not None
    assert 200 == first.status
    assert_over(limits.HEADER_BYTES, second)


def test_header_of_the_largest_size(server: Served) -> None:
    """Headers of just 32 KiB pass."""
    room = limits.HEADER_BYTES.maximum - len(GET) - len(b"A: \r\n\r\n")
    answer = server.ask(GET + b"A: " + b"x" * room + b"\r\n\r\n")

    assert 200 == answer.status


def test_large_body_in_one_piece_with_its_headers(server: Served) -> None:
    """Only headers count as headers, also when a body came along with them."""
    body = b"x" * 200_000
    length = str(len(body)).encode()
    answer = server.ask(
        b"POST / HTTP/1.1\r\n"
        + HOST
        + b"Content-Length: "
        + length
        + b"\r\n\r\n"
        + body
    )

    assert b"POST / 200000 host,content-length\n" == answer.body


@pytest.mark.parametrize("count", [100, 10_000])
def test_many_headers(server: Served, count: int) -> None:
    """One header more than 100 is refused."""
    answer = server.ask(GET + b"A:\r\n" * count + b"\r\n")

    assert_over(limits.HEADER_COUNT, answer)


def test_hundred_headers(server: Served) -> None:
    """100 headers pass."""
    assert 200 == server.ask(GET + b"A: b\r\n" * 99 + b"\r\n").status


def test_long_target(server: Served) -> None:
    """A target beyond 16 KiB is refused, one of just that passes."""
    room = limits.TARGET_BYTES.maximum

    within = server.ask(
        b"GET /" + b"a" * (room - 1) + b" HTTP/1.1\r\n" + HOST + b"\r\n"
    )
    beyond = server.ask(b"GET /" + b"a" * room + b" HTTP/1.1\r\n" + HOST + b"\r\n")

    assert 200 == within.status
    assert_over(limits.TARGET_BYTES, beyond)


@pytest.mark.parametrize(
    "filler",
    [b"3;" + b"x" * 600_000 + b"\r\nabc\r\n", b"0\r\nA: " + b"x" * 600_000],
    ids=["chunk extension", "trailer"],
)
def test_what_surrounds_chunks_is_bounded(server: Served, filler: bytes) -> None:
    """Chunk extensions and trailers, which nobody reads, can't go on for ever."""
    with server.wire() as wire:
        wire.send(b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n")
        wire.send(b"3\r\nabc\r\n")
        wire.send(filler)
        answer = wire.answer()

    assert answer is not None
    assert_over(limits.HEADER_BYTES, answer)


def test_small_chunks_pass(server: Served) -> None:
    """A body in chunks of one byte is as good as any."""
    with server.wire() as wire:
        wire.send(b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n")
        for _ in range(20):
            wire.send(b"1\r\nx\r\n" * 1000)
        wire.send(b"0\r\n\r\n")
        answer = wire.answer()

    assert answer is not None
    assert b"POST / 20000 host,transfer-encoding\n" == answer.body


def test_early_answer_to_a_large_body(server: Served) -> None:
    """A client that is told 413 at once can read that, and go on."""
    body = b"x" * 10_000_000
    length = str(len(body)).encode()
    with server.wire() as wire:
        wire.send(
            b"POST /early HTTP/1.1\r\n"
            + HOST
            + b"Content-Length: "
            + length
            + b"\r\n\r\n"
            + body
            + GET
            + b"\r\n"
        )
        early, following = wire.answer(), wire.answer()

    assert early is not None
    assert following is not None
    assert (413, 200) == (early.status, following.status)


def test_what_is_dropped_after_an_answer_is_bounded(server: Served) -> None:
    """A client that was answered can't go on sending that body for ever."""
    with server.wire() as wire:
        wire.send(
            b"POST /early HTTP/1.1\r\n" + HOST + b"Content-Length: 9999999999\r\n\r\n"
        )
        sent = 0
        with contextlib.suppress(ConnectionError):
            while sent < 200_000_000:
                wire.send(b"x" * 1_000_000)
                sent += 1_000_000

    assert sent < 200_000_000
