"""Requests whose end two readers could see in different places are refused."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.http_abuse.raw import HOST, Answer, Echo, Served, served

if TYPE_CHECKING:
    from collections.abc import Iterator

AMBIGUOUS = {
    "length-and-chunked": b"POST / HTTP/1.1\r\n"
    + HOST
    + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunked-and-length": b"POST / HTTP/1.1\r\n"
    + HOST
    + b"Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n",
    "two-lengths": b"POST / HTTP/1.1\r\n"
    + HOST
    + b"Content-Length: 3\r\nContent-Length: 4\r\n\r\nabc",
    "two-equal-lengths": b"POST / HTTP/1.1\r\n"
    + HOST
    + b"Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc",
    "a-list-of-lengths": b"POST / HTTP/1.1\r\n"
    + HOST
    + b"Content-Length: 3, 3\r\n\r\nabc",
    "signed-length": b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: +3\r\n\r\nabc",
    "negative-length": b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: -3\r\n\r\n",
    "hexadecimal-length": b"POST / HTTP/1.1\r\n"
    + HOST
    + b"Content-Length: 0x3\r\n\r\nabc",
    "endless-length": b"POST / HTTP/1.1\r\n"
    + HOST
    + b"Content-Length: 99999999999999999999\r\n\r\n",
    "coding-before-chunked": b"POST / HTTP/1.1\r\n"
    + HOST
    + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "coding-after-chunked": b"POST / HTTP/1.1\r\n"
    + HOST
    + b"Transfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n",
    "unknown-coding": b"POST / HTTP/1.1\r\n"
    + HOST
    + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "identity": b"POST / HTTP/1.1\r\n"
    + HOST
    + b"Transfer-Encoding: identity\r\n\r\nabc",
    "chunked-twice": b"POST / HTTP/1.1\r\n"
    + HOST
    + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "space-before-colon": b"POST / HTTP/1.1\r\n"
    + HOST
    + b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
    "chunked-in-1.0": b"POST / HTTP/1.0\r\n"
    + HOST
    + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "bare-lf": b"GET / HTTP/1.1\nHost: st8\n\n",
    "bare-lf-after-header": b"GET / HTTP/1.1\r\nHost: st8\nA: b\r\n\r\n",
    "bare-cr": b"GET / HTTP/1.1\rHost: st8\r\r",
    "obs-fold": b"GET / HTTP/1.1\r\n" + HOST + b"A: b\r\n c\r\n\r\n",
    "fold-of-first-line": b"GET / HTTP/1.1\r\n " + HOST + b"\r\n",
    "bare-lf-in-chunk": b"POST / HTTP/1.1\r\n"
    + HOST
    + b"Transfer-Encoding: chunked\r\n\r\n3\nabc\r\n0\r\n\r\n",
    "signed-chunk": b"POST / HTTP/1.1\r\n"
    + HOST
    + b"Transfer-Encoding: chunked\r\n\r\n+3\r\nabc\r\n0\r\n\r\n",
    "endless-chunk": b"POST / HTTP/1.1\r\n"
    + HOST
    + b"Transfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n",
    "chunk-too-long": b"POST / HTTP/1.1\r\n"
    + HOST
    + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabcd\r\n0\r\n\r\n",
    "length-in-trailer": b"POST / HTTP/1.1\r\n"
    + HOST
    + b"Transfer-Encoding: chunked\r\n\r\n0\r\nContent-Length: 5\r\n\r\n",
}

MALFORMED = {
    "no-host": b"GET / HTTP/1.1\r\n\r\n",
    "two-hosts": b"GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n",
    "two-hosts-in-1.0": b"GET / HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n",
    "host-of-two-words": b"GET / HTTP/1.1\r\nHost: a b\r\n\r\n",
    "host-with-path": b"GET / HTTP/1.1\r\nHost: a/b\r\n\r\n",
    "host-with-user": b"GET / HTTP/1.1\r\nHost: a@b\r\n\r\n",
    "nul-in-header": b"GET / HTTP/1.1\r\n" + HOST + b"A: \x00\r\n\r\n",
    "empty-header-name": b"GET / HTTP/1.1\r\n" + HOST + b": v\r\n\r\n",
    "not-ascii-in-target": b"GET /\xff HTTP/1.1\r\n" + HOST + b"\r\n",
    "fragment": b"GET /a#b HTTP/1.1\r\n" + HOST + b"\r\n",
    "target-without-slash": b"GET a HTTP/1.1\r\n" + HOST + b"\r\n",
    "unknown-method": b"FETCH / HTTP/1.1\r\n" + HOST + b"\r\n",
    "lower-case-method": b"get / HTTP/1.1\r\n" + HOST + b"\r\n",
    "http-0.9": b"GET /\r\n\r\n",
    "http-1.2": b"GET / HTTP/1.2\r\n" + HOST + b"\r\n",
    "http-2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "tls": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    "noise": bytes(range(256)),
    "connect": b"CONNECT a:443 HTTP/1.1\r\n" + HOST + b"\r\n",
    "websocket": b"GET / HTTP/1.1\r\n"
    + HOST
    + b"Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
    "expects-something-else": b"GET / HTTP/1.1\r\n" + HOST + b"Expect: tea\r\n\r\n",
}


@pytest.fixture(scope="module")
def server() -> Iterator[Served]:
    """One server for all rows: none of them may harm it."""
    with served(Echo()) as running:
        yield running


@pytest.mark.parametrize("request_bytes", AMBIGUOUS.values(), ids=AMBIGUOUS.keys())
def test_ambiguous_framing(request_bytes: bytes) -> None:
    """Each ambiguity is a 400 problem, and what follows it is not a request."""
    smuggled = b"GET /smuggled HTTP/1.1\r\n" + HOST + b"\r\n"

    answer, requests = _refused(request_bytes + smuggled)

    assert "close" == answer.headers["connection"]
    assert "GET /smuggled" not in requests


@pytest.mark.parametrize("request_bytes", MALFORMED.values(), ids=MALFORMED.keys())
def test_malformed(request_bytes: bytes) -> None:
    """Each malformed request is a 400 problem that never reaches the app."""
    _, requests = _refused(request_bytes)

    assert [] == requests


def _refused(sent: bytes) -> tuple[Answer, list[str]]:
    """Send what must be refused; its answer, and all that had reached the app.

    The server is asked once more and stopped before the app's list is read: the app
    of a request whose body turned out malformed may begin after the answer is sent.
    """
    with served(Echo()) as server:
        with server.wire() as wire:
            wire.send(sent)
            answer = wire.answer()
            assert answer is not None
            assert (400, "malformed_request") == (answer.status, answer.problem["code"])
            assert wire.ends()
        after = server.ask(b"GET /after HTTP/1.1\r\n" + HOST + b"\r\n")
    assert 200 == after.status
    assert "GET /after" == server.app.requests.pop()
    return answer, server.app.requests


@pytest.mark.parametrize("size", [1, 2, 7])
def test_refused_however_it_is_cut_up(server: Served, size: int) -> None:
    """An ambiguous request is refused too when it comes in small pieces."""
    request = AMBIGUOUS["length-and-chunked"]
    with server.wire() as wire:
        for start in range(0, len(request), size):
            wire.send(request[start : start + size])
        answer = wire.answer()

    assert answer is not None
    assert 400 == answer.status


def test_trailers_are_not_headers(server: Served) -> None:
    """A trailer is dropped: the app sees no header that came after the body."""
    answer = server.ask(
        b"POST / HTTP/1.1\r\n"
        + HOST
        + b"Transfer-Encoding: chunked\r\n\r\n3;a=b\r\nabc\r\n0\r\n"
        + b"Authorization: Bearer x\r\n\r\n"
    )

    assert b"POST / 3 host,transfer-encoding\n" == answer.body


def test_the_target_arrives_as_it_was_sent(server: Served) -> None:
    """Percent signs, dots and double slashes reach the app undecoded."""
    target = b"//a/..%2f%ff%00/./b"

    answer = server.ask(b"GET " + target + b"?c=%20 HTTP/1.1\r\n" + HOST + b"\r\n")

    assert b"GET " + target + b" 0 host\n" == answer.body


def test_absolute_target(server: Served) -> None:
    """A target with scheme and host, as proxies send it, is taken by its path."""
    answer = server.ask(b"GET http://st8:1/a?b HTTP/1.1\r\n" + HOST + b"\r\n")

    assert b"GET /a 0 host\n" == answer.body


def test_white_space_around_a_value_is_not_part_of_it(server: Served) -> None:
    """What stands around the value of a header does not count (RFC 9110, 5.5)."""
    answer = server.ask(
        b"POST / HTTP/1.1\r\nHost: \tst8 \t\r\nContent-Length: \t3 \t\r\n\r\nabc"
    )
    chunked = server.ask(
        b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked \r\n\r\n"
        b"3\r\nabc\r\n0\r\n\r\n"
    )

    assert b"POST / 3 host,content-length\n" == answer.body
    assert b"POST / 3 host,transfer-encoding\n" == chunked.body


def test_good_requests_work_after_all_that(server: Served) -> None:
    """The server still answers."""
    answer = server.ask(b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 3\r\n\r\nabc")

    assert (200, b"POST / 3 host,content-length\n") == (answer.status, answer.body)
