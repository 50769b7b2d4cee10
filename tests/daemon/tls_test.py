"""TLS: served with the files that were given, or not at all."""

from __future__ import annotations

import http.client
import socket
import ssl
from typing import TYPE_CHECKING

import pytest
import trustme
from cryptography.hazmat.primitives import serialization

from tests.daemon.process import Daemon, run

if TYPE_CHECKING:
    from pathlib import Path


class Files:
    """Certificate files, and the CA that signed them."""

    def __init__(self, directory: Path) -> None:
        """Make them in ``directory``."""
        self.ca = trustme.CA()
        issued = self.ca.issue_cert("127.0.0.1", "localhost")
        self.cert = directory / "cert.pem"
        self.key = directory / "key.pem"
        issued.private_key_pem.write_to_path(self.key)
        for blob in issued.cert_chain_pems:
            blob.write_to_path(self.cert, append=True)
        self.directory = directory

    def flags(self) -> list[str]:
        """Return the flags that name them."""
        return ["--tls-cert", str(self.cert), "--tls-key", str(self.key)]

    def trust(self) -> ssl.SSLContext:
        """Return a client's context that trusts the CA."""
        context = ssl.create_default_context()
        self.ca.configure_trust(context)
        return context


@pytest.fixture
def files(tmp_path: Path) -> Files:
    """A certificate for loopback."""
    return Files(tmp_path)


def test_https(files: Files, tmp_path: Path) -> None:
    """A client that trusts the CA is served over TLS 1.2 or newer, kept alive."""
    with Daemon(tmp_path / "state", *files.flags()) as daemon:
        connection = http.client.HTTPSConnection(
            "127.0.0.1", daemon.port, timeout=10, context=files.trust()
        )
        for _ in range(2):
            connection.request("GET", "/healthz")
            answer = connection.getresponse()
            assert (200, b"ok\n") == (answer.status, answer.read())
        assert isinstance(connection.sock, ssl.SSLSocket)
        assert connection.sock.version() in ("TLSv1.2", "TLSv1.3")
        connection.close()

        assert daemon.events()[0]["tls"] is True
        assert 0 == daemon.stop()


def test_stops_with_a_connection_open(files: Files, tmp_path: Path) -> None:
    """An idle TLS connection does not hold the daemon up."""
    with Daemon(tmp_path / "state", *files.flags()) as daemon:
        raw = socket.create_connection(("127.0.0.1", daemon.port), 10)
        with files.trust().wrap_socket(raw, server_hostname="127.0.0.1") as idle:
            daemon.signal()

            assert b"" == idle.recv(1)
            assert 0 == daemon.wait()


def test_client_of_another_ca(files: Files, tmp_path: Path) -> None:
    """A client that does not trust the certificate gets nothing; others go on."""
    with Daemon(tmp_path / "state", *files.flags()) as daemon:
        stranger = ssl.create_default_context()
        with (
            socket.create_connection(("127.0.0.1", daemon.port), 10) as raw,
            pytest.raises(ssl.SSLCertVerificationError),
        ):
            stranger.wrap_socket(raw, server_hostname="127.0.0.1")
        test = http.client.HTTPSConnection(
            "127.0.0.1", daemon.port, timeout=10, context=files.trust()
        )
        test.request("GET", "/healthz")
        assert 200 == test.getresponse().status
        test.close()
        assert 0 == daemon.stop()
        assert [] == [e for e in daemon.events() if e["level"] == "error"]


def test_plain_http_on_the_tls_port(files: Files, tmp_path: Path) -> None:
    """Plain HTTP gets no answer on the TLS port, and no traceback is logged."""
    with Daemon(tmp_path / "state", *files.flags()) as daemon:
        with socket.create_connection(("127.0.0.1", daemon.port), 10) as wire:
            wire.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
            assert b"HTTP" not in wire.recv(65536)
        assert 0 == daemon.stop()
        assert [] == [e for e in daemon.events() if e["level"] == "error"]


def test_old_tls(files: Files, tmp_path: Path) -> None:
    """TLS 1.1 is not spoken."""
    with Daemon(tmp_path / "state", *files.flags()) as daemon:
        context = files.trust()
        context.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
        with pytest.warns(DeprecationWarning, match="TLSv1_1"):
            context.maximum_version = ssl.TLSVersion.TLSv1_1
        context.set_ciphers("ALL:@SECLEVEL=0")
        with (
            socket.create_connection(("127.0.0.1", daemon.port), 10) as raw,
            pytest.raises((ssl.SSLError, ConnectionError)),
        ):
            context.wrap_socket(raw, server_hostname="127.0.0.1")


def refusal(files: Files) -> str:
    """Return the one sentence that st8d ends with."""
    done = run(
        *("--listen", "127.0.0.1:0", "--state-dir", str(files.directory / "state")),
        *files.flags(),
    )

    assert 1 == done.returncode
    assert 1 == done.stderr.count("\n")
    return done.stderr


def test_missing_file(files: Files) -> None:
    """A file that is not there is named."""
    files.cert.unlink()

    assert f"can't read {files.cert}: No such file" in refusal(files)


def test_key_of_another_certificate(files: Files) -> None:
    """A key that is another certificate's is named."""
    trustme.CA().issue_cert("x").private_key_pem.write_to_path(files.key)

    assert f"the key in {files.key} is not that of" in refusal(files)


def test_no_certificate(files: Files) -> None:
    """A file without a certificate is named."""
    files.cert.write_text("nothing", encoding="utf-8")

    assert f"{files.cert} holds no certificate in PEM" in refusal(files)


def test_no_key(files: Files) -> None:
    """A file without a key is named."""
    files.key.write_text("nothing", encoding="utf-8")

    assert f"{files.key} holds no private key in PEM" in refusal(files)


def test_key_under_a_passphrase(files: Files) -> None:
    """A key under a passphrase is refused, and nobody is asked for it."""
    key = serialization.load_pem_private_key(files.key.read_bytes(), None)
    files.key.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"secret"),
        )
    )

    assert f"{files.key} holds no private key in PEM, or one under" in refusal(files)
