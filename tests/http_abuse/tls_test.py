"""The same guards hold inside TLS, and for the handshake before it."""

from __future__ import annotations

import ssl
from asyncio import new_event_loop
from typing import TYPE_CHECKING, Any

import pytest
import trustme
import uvloop

from st8.http.tls import server_context
from tests.http_abuse.raw import HOST, Echo, Served, Wire, reply, served

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop
    from collections.abc import Callable, Iterator
    from pathlib import Path

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


# --- exchanged while it serves, on either loop ----------------------------------


class Facts:
    """An app that answers what TLS has told of the client."""

    async def __call__(self, scope: Any, _receive: Any, send: Any) -> None:
        """Answer the client's name and its certificate's serial number."""
        certificate = scope.get("st8.peer_certificate") or {}
        extensions = scope.get("extensions") or {}
        name = extensions.get("tls", {}).get("client_cert_name")
        text = f"{name} {certificate.get('serialNumber')}"
        await reply(send, 200, text.encode())


@pytest.mark.parametrize("loop_factory", [uvloop.new_event_loop, new_event_loop])
def test_client_certificate_and_exchange(
    loop_factory: Callable[[], AbstractEventLoop], tmp_path: Path
) -> None:
    """The app sees the client's certificate; a new context is for new connections."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")

    def context(*, client_ca: Path | None) -> ssl.SSLContext:
        issued = authority.issue_cert("127.0.0.1")
        (tmp_path / "cert.pem").write_bytes(issued.cert_chain_pems[0].bytes())
        issued.private_key_pem.write_to_path(tmp_path / "key.pem")
        return server_context(
            tmp_path / "cert.pem",
            tmp_path / "key.pem",
            client_ca=client_ca,
            client_required=False,
        )

    ours = ssl.create_default_context()
    authority.configure_trust(ours)
    issued = authority.issue_cert(
        "a.example",
        common_name="a, b",
        organization_name="O",
        organization_unit_name="U",
    )
    issued.configure_cert(ours)

    def ask(wire: Wire) -> str:
        wire.send(GET + b"\r\n")
        answer = wire.answer()
        assert answer is not None
        return answer.body.decode()

    first = context(client_ca=None)
    with served(Facts(), tls=first, loop_factory=loop_factory) as running:
        with Wire(running.port, tls=ours) as before:
            assert "None None" == ask(before)
            running.call(running.server.use_tls(context(client_ca=tmp_path / "ca.pem")))
            with Wire(running.port, tls=ours) as after:
                name, serial = ask(after).rsplit(" ", 1)
                assert r"CN=a\, b,OU=U,O=O" == name
                assert int(serial, 16) > 0
                assert f"{name} {serial}" == ask(after)
            assert "None None" == ask(before)
        running.call(running.server.use_tls(context(client_ca=None)))
        with Wire(running.port, tls=ours) as last:
            assert "None None" == ask(last)


@pytest.mark.parametrize("loop_factory", [uvloop.new_event_loop, new_event_loop])
def test_alert_reaches_the_client(
    loop_factory: Callable[[], AbstractEventLoop], tmp_path: Path
) -> None:
    """A client that is turned away in the handshake is told why, on either loop."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    issued = authority.issue_cert("127.0.0.1")
    issued.cert_chain_pems[0].write_to_path(tmp_path / "cert.pem")
    issued.private_key_pem.write_to_path(tmp_path / "key.pem")
    context = server_context(
        tmp_path / "cert.pem", tmp_path / "key.pem", client_ca=tmp_path / "ca.pem"
    )
    ours = ssl.create_default_context()
    authority.configure_trust(ours)
    with served(Facts(), tls=context, loop_factory=loop_factory) as running:
        with Wire(running.port, tls=ours) as wire:
            wire.send(GET + b"\r\n")
            with pytest.raises(ssl.SSLError, match=r"(?i)certificate.required"):
                wire.answer()
        answer = running.ask(GET + b"\r\n")
        assert (400, "TLS is spoken here; begin the address with https://") == (
            answer.status,
            answer.problem["detail"],
        )
