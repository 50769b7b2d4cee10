"""The same guards hold inside TLS, and for the handshake before it."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING

import pytest
import trustme

from tests.http_abuse.raw import HOST, Echo, Served, Wire, served

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

GET = b"GET / HTTP/1.1\r\n" + HOST


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    """A CA of our own."""
    return trustme.CA()


@pytest.fixture(scope="module")
def server(authority: trustme.CA) -> Iterator[Served]:
    """One server for all rows."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    with served(Echo(), tls=context) as running:
        yield running


@pytest.fixture
def connect(server: Served, authority: trustme.CA) -> Callable[[], Wire]:
    """Connects over TLS."""
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return lambda: Wire(server.port, tls=context)


def test_kept_alive(connect: Callable[[], Wire]) -> None:
    """Several requests pass over one connection."""
    with connect() as wire:
        for _ in range(3):
            wire.send(GET + b"\r\n")
            answer = wire.answer()
            assert answer is not None
            assert 200 == answer.status


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (GET, 408),
        (GET + b"A: " + b"x" * 1_000_000, 431),
        (GET + HOST + b"\r\n", 400),
        (b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 100000\r\n\r\nabc", 408),
    ],
    ids=["headers that stop", "large header", "two hosts", "body that stops"],
)
def test_refusals(
    connect: Callable[[], Wire], request_bytes: bytes, status: int
) -> None:
    """Each refusal can be read, and is followed by a proper end."""
    with connect() as wire:
        wire.send(request_bytes)
        answer = wire.answer()

        assert answer is not None
        assert (status, status) == (answer.status, answer.problem["status"])
        assert wire.ends()


def test_early_answer_to_a_large_body(connect: Callable[[], Wire]) -> None:
    """A client that is told 413 at once can read that."""
    with connect() as wire:
        wire.send(
            b"POST /early HTTP/1.1\r\n"
            + HOST
            + b"Content-Length: 5000000\r\nConnection: close\r\n\r\n"
            + bytes(5_000_000)
        )
        answer = wire.answer()

        assert answer is not None
        assert 413 == answer.status


def test_silent_handshake(server: Served) -> None:
    """A connection that never begins its handshake is closed."""
    with server.wire() as wire:
        assert wire.ends()
