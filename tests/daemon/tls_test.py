"""TLS: spoken with the files that were given, with whom they vouch for, or not at all.

The cases are those of docs/guarantees.md; each goes over real sockets to a real st8d.
"""

from __future__ import annotations

import http.client
import json
import socket
import ssl
from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives import serialization

from st8 import Client
from st8.core.errors import Forbidden, InvalidValue, Refused, Unreachable
from tests.daemon.certificates import DAY, NOW, Authority, Pair
from tests.daemon.process import Daemon, run

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where certificates are."""
    return tmp_path_factory.mktemp("certificates")


@pytest.fixture(scope="module")
def servers(folder: Path) -> Authority:
    """Who signs certificates of daemons."""
    return Authority(folder, "servers")


@pytest.fixture(scope="module")
def clients(folder: Path) -> Authority:
    """Who signs certificates of clients."""
    return Authority(folder, "clients")


@pytest.fixture(scope="module")
def plain(servers: Authority, folder: Path) -> Iterator[Daemon]:
    """A daemon with a certificate."""
    with Daemon(folder / "plain", *servers.issue().flags()) as daemon:
        yield daemon


@pytest.fixture(scope="module")
def revoked(clients: Authority) -> Pair:
    """A client's certificate that was revoked."""
    return clients.issue("old.example")


@pytest.fixture(scope="module")
def mutual(
    servers: Authority, clients: Authority, revoked: Pair, folder: Path
) -> Iterator[Daemon]:
    """A daemon that wants certificates of its clients."""
    with Daemon(
        folder / "mutual",
        *servers.issue().flags(),
        *("--tls-client-ca", str(clients.revoke(revoked))),
    ) as daemon:
        yield daemon


def failure(daemon: Daemon, **options: object) -> str:
    """Return how a client's call fails, which has changed nothing."""
    with (
        Client(daemon.url, retries=0, **options) as client,  # type: ignore[arg-type]
        pytest.raises(Unreachable) as caught,
    ):
        client.apply({"k": "v"})
    return caught.value.detail.removeprefix(f"can't reach {daemon.url}: ")


# --- who the daemon is ----------------------------------------------------------


def test_right(plain: Daemon, servers: Authority) -> None:
    """A client that trusts the authority is served, on a kept connection."""
    with Client(plain.url, ca_file=servers.ca_file) as client:
        assert 1 == client.apply({"a": "b"}).revision
        assert "b" == client.get("a")

    (ready,) = [e for e in plain.events() if "listening" in e["event"]]
    assert ready["tls"] is True


def test_versions_and_ciphers(plain: Daemon, servers: Authority) -> None:
    """TLS 1.2 and 1.3 are spoken with ciphers that authenticate, and HTTP/1.1."""
    for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        context = ssl.create_default_context(cafile=servers.ca_file)
        context.maximum_version = version
        context.set_alpn_protocols(["h2", "http/1.1"])
        with (
            socket.create_connection(("127.0.0.1", plain.port), 10) as raw,
            context.wrap_socket(raw, server_hostname="localhost") as wire,
        ):
            cipher = wire.cipher()
            assert cipher is not None
            assert version.name == cipher[1].replace(".", "_")
            assert any(part in cipher[0] for part in ("GCM", "POLY1305"))
            assert "http/1.1" == wire.selected_alpn_protocol()


def test_wrong_authority(plain: Daemon, clients: Authority) -> None:
    """A client that trusts another authority refuses, and says what to name."""
    expected = (
        "its certificate is not trusted (unable to get local issuer certificate); name "
        "the file of the authority that signed it (ca file)"
    )

    assert expected == failure(plain, ca_file=clients.ca_file)
    assert expected == failure(plain)


@pytest.mark.parametrize(
    ("begin", "end", "expected"),
    [
        (NOW - 2 * DAY, NOW - DAY, "certificate has expired; have it renewed, and"),
        (NOW + DAY, NOW + 2 * DAY, "certificate is not yet valid; have it renewed,"),
    ],
    ids=["expired", "not yet valid"],
)
def test_certificate_of_another_time(
    servers: Authority, tmp_path: Path, begin: object, end: object, expected: str
) -> None:
    """A certificate of another time is refused, and st8d has warned of it."""
    pair = servers.issue(begin=begin, end=end)  # type: ignore[arg-type]
    with Daemon(tmp_path / "state", *pair.flags()) as daemon:
        assert failure(daemon, ca_file=servers.ca_file).startswith(expected)
        (warning,) = [e for e in daemon.events() if e["level"] == "warning"]

    assert warning["event"].startswith("tls-cert: the certificate ")
    assert ("expired at" in warning["event"]) == (begin < NOW)  # type: ignore[operator]


def test_wrong_name(servers: Authority, tmp_path: Path) -> None:
    """A certificate for another name is refused, and the name told."""
    with Daemon(tmp_path / "s", *servers.issue("elsewhere.example").flags()) as daemon:
        assert (
            "its certificate is for another name (IP address mismatch, certificate is "
            "not valid for '127.0.0.1'); use a name that the certificate has"
        ) == failure(daemon, ca_file=servers.ca_file)


# --- who the client is ----------------------------------------------------------


def test_right_client(mutual: Daemon, servers: Authority, clients: Authority) -> None:
    """A client with a certificate of the authority is served."""
    pair = clients.issue("app.example")
    with Client(
        mutual.url, ca_file=servers.ca_file, cert_file=pair.cert, key_file=pair.key
    ) as client:
        assert 1 == client.apply({"a": "b"}).revision


def test_certificate_and_key_in_one_file(
    mutual: Daemon, servers: Authority, clients: Authority, tmp_path: Path
) -> None:
    """A file that holds both needs no second one."""
    pair = clients.issue("app.example")
    both = tmp_path / "both.pem"
    both.write_bytes(pair.key.read_bytes() + pair.cert.read_bytes())
    with Client(mutual.url, ca_file=servers.ca_file, cert_file=both) as client:
        assert client.version()


def test_no_client_certificate(mutual: Daemon, servers: Authority) -> None:
    """A client without a certificate is told that it needs one."""
    assert (
        "it wants a client certificate; name one that it takes (cert file, key file)"
    ) == failure(mutual, ca_file=servers.ca_file)


def test_client_of_another_authority(mutual: Daemon, servers: Authority) -> None:
    """A client whose certificate somebody else signed is told so."""
    pair = servers.issue("app.example")

    assert (
        "it does not know who signed the client certificate; name one that it takes "
        "(cert file, key file)"
    ) == failure(
        mutual, ca_file=servers.ca_file, cert_file=pair.cert, key_file=pair.key
    )


def test_expired_client(mutual: Daemon, servers: Authority, clients: Authority) -> None:
    """A client whose certificate has expired is told so."""
    pair = clients.issue("app.example", begin=NOW - 2 * DAY, end=NOW - DAY)

    assert "it says that the client certificate is not of this time; " in failure(
        mutual, ca_file=servers.ca_file, cert_file=pair.cert, key_file=pair.key
    )


def test_revoked_client(mutual: Daemon, servers: Authority, revoked: Pair) -> None:
    """A client whose certificate was revoked is told so, and the log has it."""
    assert "it says that the client certificate was revoked; " in failure(
        mutual, ca_file=servers.ca_file, cert_file=revoked.cert, key_file=revoked.key
    )
    assert mutual.wait_for("a TLS handshake failed: certificate revoked")


def test_large_request_without_certificate(mutual: Daemon, servers: Authority) -> None:
    """A request that is larger than what fits underway has the same end."""
    with (
        Client(mutual.url, retries=0, ca_file=servers.ca_file) as client,
        pytest.raises(Unreachable, match="it wants a client certificate"),
    ):
        client.apply({"k": "v" * 3_000_000})


def test_tls_1_2_without_client_certificate(mutual: Daemon, servers: Authority) -> None:
    """Older clients are told in the handshake itself."""
    context = ssl.create_default_context(cafile=servers.ca_file)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with (
        socket.create_connection(("127.0.0.1", mutual.port), 10) as raw,
        pytest.raises(ssl.SSLError, match=r"(?i)alert handshake failure"),
    ):
        context.wrap_socket(raw, server_hostname="127.0.0.1")


def test_certificate_names_the_client(
    servers: Authority, clients: Authority, tmp_path: Path
) -> None:
    """The subject of a client's certificate is who asks; without one nobody may."""
    policy = tmp_path / "policy.yaml"
    policy.write_text(
        "certificates:\n"
        "  - name: deployer\n"
        '    subject: "CN=deployer,OU=Unit,O=Example"\n'
        "    allow: {namespaces: ['*'], branches: ['*'], verbs: [read, write]}\n",
        encoding="utf-8",
    )
    pair = clients.issue("deployer.example", common_name="deployer")
    other = clients.issue("other.example", common_name="other")
    with Daemon(
        tmp_path / "state",
        *servers.issue().flags(),
        *("--tls-client-ca", str(clients.ca_file), "--tls-client-auth", "optional"),
        *("--auth-config", str(policy), "--audit-log", str(tmp_path / "audit")),
    ) as daemon:
        assert "policy" == daemon.events()[-1]["auth"]
        with Client(
            daemon.url, ca_file=servers.ca_file, cert_file=pair.cert, key_file=pair.key
        ) as client:
            client.apply({"a": "b"})
            (entry, *_) = client.log().entries
            with pytest.raises(Forbidden):
                client.gc()
        for files in ({}, {"cert_file": other.cert, "key_file": other.key}):
            with (
                Client(daemon.url, ca_file=servers.ca_file, **files) as client,  # type: ignore[arg-type]
                pytest.raises(Refused),
            ):
                client.get("a")

    lines = (tmp_path / "audit").read_text(encoding="utf-8").splitlines()
    assert "deployer" == entry.author
    assert {"deployer", ""} == {json.loads(line)["who"] for line in lines}


def test_client_files_that_are_no_good(clients: Authority, tmp_path: Path) -> None:
    """A file that is missing or broken is named before anything is sent."""
    pair, other = clients.issue("a"), clients.issue("b")
    missing, broken = tmp_path / "missing.pem", tmp_path / "broken.pem"
    broken.write_text("nothing", encoding="utf-8")
    for cert, key, expected in (
        (missing, pair.key, f"cert file: can't use '{missing}': it is not there"),
        (pair.cert, missing, f"key file: can't use '{missing}': it is not there"),
        (broken, pair.key, f"cert file: '{broken}' has to hold a certificate"),
        (pair.cert, other.key, "cert file: the key in "),
        (pair.cert, None, f"cert file: '{pair.cert}' has to hold a certificate"),
    ):
        with (
            Client("https://127.0.0.1:1", cert_file=cert, key_file=key) as client,
            pytest.raises(InvalidValue) as caught,
        ):
            client.get("k")
        assert caught.value.detail.startswith(expected)
    with pytest.raises(InvalidValue, match="key file: is given without its cert"):
        Client("https://127.0.0.1:1", key_file=pair.key)


# --- who does not speak TLS, or an old one --------------------------------------


def test_plain_http_on_the_tls_port(plain: Daemon) -> None:
    """Plain HTTP is told to speak TLS, and no error is logged."""
    connection = http.client.HTTPConnection("127.0.0.1", plain.port, timeout=10)
    connection.request("GET", "/healthz")
    answer = connection.getresponse()
    detail = json.load(answer)["detail"]
    connection.close()

    assert 400 == answer.status
    assert "TLS is spoken here; begin the address with https://" in detail
    assert [] == [e for e in plain.events() if e["level"] == "error"]


def test_connection_that_says_nothing_useful(plain: Daemon) -> None:
    """What is neither TLS nor HTTP is turned away."""
    with socket.create_connection(("127.0.0.1", plain.port), 10) as wire:
        wire.sendall(b"\x00" * 64)
        wire.shutdown(socket.SHUT_WR)
        assert b"HTTP" not in b"".join(iter(lambda: wire.recv(65536), b""))


@pytest.mark.parametrize(
    ("flag", "version"),
    [("1.2", ssl.TLSVersion.TLSv1_1), ("1.3", ssl.TLSVersion.TLSv1_2)],
    ids=["1.1 by default", "1.2 where 1.3 is the least"],
)
def test_old_tls(
    servers: Authority, tmp_path: Path, flag: str, version: ssl.TLSVersion
) -> None:
    """A version older than the least is refused."""
    flags = [*servers.issue().flags(), "--tls-min-version", flag]
    with Daemon(tmp_path / "state", *flags) as daemon:
        context = ssl.create_default_context(cafile=servers.ca_file)
        context.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
        context.set_ciphers("ALL:@SECLEVEL=0")
        if version is ssl.TLSVersion.TLSv1_1:
            with pytest.warns(DeprecationWarning, match="TLSv1_1"):
                context.maximum_version = version
        else:
            context.maximum_version = version
        with (
            socket.create_connection(("127.0.0.1", daemon.port), 10) as raw,
            pytest.raises(ssl.SSLError, match=r"(?i)protocol.version"),
        ):
            context.wrap_socket(raw, server_hostname="127.0.0.1")


def test_stops_with_a_connection_open(servers: Authority, tmp_path: Path) -> None:
    """An idle TLS connection does not hold the daemon up."""
    with Daemon(tmp_path / "state", *servers.issue().flags()) as daemon:
        context = ssl.create_default_context(cafile=servers.ca_file)
        raw = socket.create_connection(("127.0.0.1", daemon.port), 10)
        with context.wrap_socket(raw, server_hostname="127.0.0.1") as idle:
            daemon.signal()

            assert b"" == idle.recv(1)
            assert 0 == daemon.wait()


# --- files ------------------------------------------------------------------------


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o666])
def test_key_file_mode(servers: Authority, mode: int) -> None:
    """A key that others can read is warned of; it is for root to let a group."""
    pair = servers.issue()
    pair.key.chmod(mode)
    done = run("check-config", *pair.flags())
    of_root = pair.key.stat().st_uid == 0

    assert (0, "configuration is good\n") == (done.returncode, done.stdout)
    expected = (
        f"st8d: warning: tls-key: the key {pair.key} can be read or changed by others "
        f"(mode {mode:04o}); chmod 600 {pair.key}\n"
    )
    assert ("" if of_root and mode == 0o640 else expected) == done.stderr


def refusal(pair: Pair, folder: Path, *flags: str) -> str:
    """Return the one sentence that st8d ends with."""
    done = run(
        *("--listen", "127.0.0.1:0", "--state-dir", str(folder / "state")),
        *pair.flags(),
        *flags,
    )

    assert 1 == done.returncode
    assert 1 == done.stderr.count("\n")
    assert not (folder / "state").exists()
    return done.stderr


@pytest.fixture
def pair(servers: Authority) -> Pair:
    """A certificate to be spoilt."""
    return servers.issue()


def test_missing_file(pair: Pair, tmp_path: Path) -> None:
    """A file that is not there is named."""
    pair.cert.unlink()

    assert f"can't read {pair.cert}: No such file" in refusal(pair, tmp_path)


def test_key_of_another_certificate(
    pair: Pair, servers: Authority, tmp_path: Path
) -> None:
    """A key that is another certificate's is named."""
    pair.key = servers.issue().key

    assert f"the key in {pair.key} is not that of" in refusal(pair, tmp_path)


def test_no_certificate(pair: Pair, tmp_path: Path) -> None:
    """A file without a certificate is named."""
    pair.cert.write_text("nothing", encoding="utf-8")

    assert f"{pair.cert} holds no certificate in PEM" in refusal(pair, tmp_path)


def test_no_key(pair: Pair, tmp_path: Path) -> None:
    """A file without a key is named."""
    pair.key.write_text("nothing", encoding="utf-8")

    assert f"{pair.key} holds no private key in PEM" in refusal(pair, tmp_path)


def test_key_under_a_passphrase(pair: Pair, tmp_path: Path) -> None:
    """A key under a passphrase is refused, and nobody is asked for it."""
    key = serialization.load_pem_private_key(pair.key.read_bytes(), None)
    pair.key.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"secret"),
        )
    )

    assert f"the key in {pair.key} is under a passphrase" in refusal(pair, tmp_path)


def test_no_authority(pair: Pair, clients: Authority, tmp_path: Path) -> None:
    """A file of authorities that is missing, empty or a mere list is named."""
    missing = tmp_path / "missing.pem"
    mere = tmp_path / "list.pem"
    full = clients.revoke().read_bytes()
    mere.write_bytes(full[full.index(b"-----BEGIN X509 CRL") :])
    (tmp_path / "empty.pem").write_bytes(b"")
    for path, expected in (
        (missing, f"tls-client-ca: can't read {missing}: No such file"),
        (mere, f"tls-client-ca: {mere} holds no certificate, only a list"),
        (tmp_path / "empty.pem", "empty.pem holds no certificate in PEM"),
    ):
        assert expected in refusal(pair, tmp_path, "--tls-client-ca", str(path))


def test_list_that_is_old(pair: Pair, clients: Authority, tmp_path: Path) -> None:
    """A list of revoked certificates that has expired is warned of."""
    path = tmp_path / "old.pem"
    path.write_bytes(clients.revoke(end=NOW - DAY).read_bytes())
    done = run("check-config", *pair.flags(), "--tls-client-ca", str(path))

    assert 0 == done.returncode
    assert f"a list of revoked certificates in {path} expired at " in done.stderr
