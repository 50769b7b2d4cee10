"""SIGHUP: tokens, policy and certificates anew, all or nothing, and nobody notices."""

from __future__ import annotations

import contextlib
import json
import signal
import socket
import ssl
import threading
from typing import TYPE_CHECKING

import pytest

from st8 import Client
from st8.config import Settings
from st8.core.errors import St8Error, Unauthenticated, Unreachable
from st8.daemon.credentials import Gate
from tests.daemon.certificates import Authority
from tests.daemon.process import Daemon

if TYPE_CHECKING:
    from pathlib import Path

DONE = "st8d has reloaded"
FAILED = "nothing was reloaded"


def reload(daemon: Daemon, event: str = DONE) -> dict[str, str]:
    """Send SIGHUP and return the event that tells how it went."""
    count = sum(one["event"].startswith(event) for one in daemon.events())
    daemon.signal(signal.SIGHUP)
    return daemon.wait_for(event, count + 1)[-1]


def knows(daemon: Daemon, token: str, **options: object) -> bool:
    """Return whether the daemon lets somebody in with ``token``."""
    with Client(daemon.url, token=token, **options) as client:  # type: ignore[arg-type]
        try:
            list(client.namespaces())
        except Unauthenticated:
            return False
        return True


def peer(daemon: Daemon, authority: Authority) -> bytes | None:
    """Return the certificate that the daemon shows a new connection."""
    context = ssl.create_default_context(cafile=authority.ca_file)
    with (
        socket.create_connection(("127.0.0.1", daemon.port), 10) as raw,
        context.wrap_socket(raw, server_hostname="127.0.0.1") as wire,
    ):
        return wire.getpeercert(binary_form=True)


def test_token_file(tmp_path: Path) -> None:
    """The token of the file is the new one, and neither is ever logged."""
    path = tmp_path / "token"
    path.write_text("old-token-1\n", encoding="utf-8")
    with Daemon(tmp_path / "state", "--token-file", str(path)) as daemon:
        assert (True, False) == (knows(daemon, "old-token-1"), knows(daemon, "new-2"))
        path.write_text("new-token-2", encoding="utf-8")
        reload(daemon)
        assert not knows(daemon, "old-token-1")
        assert knows(daemon, "new-token-2")
        for secret in ("old-token-1", "new-token-2"):
            with pytest.raises(St8Error), Client(daemon.url, token=secret) as client:
                client.get(secret)
        assert 0 == daemon.stop()

    assert "old-token-1" not in "".join(daemon.lines)
    assert "new-token-2" not in "".join(daemon.lines)


def test_token_in_the_configuration_file(tmp_path: Path) -> None:
    """The file of settings is read anew too; what can't change is warned of."""
    path = tmp_path / "st8d.yaml"
    path.write_text("token: one-1\nidle-timeout: 60s\n", encoding="utf-8")
    with Daemon(tmp_path / "state", "--config", str(path)) as daemon:
        path.write_text("token: two-2\nidle-timeout: 60s\n", encoding="utf-8")
        reload(daemon)
        assert (False, True) == (knows(daemon, "one-1"), knows(daemon, "two-2"))
        assert [] == [e for e in daemon.events() if "restart st8d" in e["event"]]
        path.write_text("token: two-2\nidle-timeout: 9s\n", encoding="utf-8")
        reload(daemon)
        assert 1 == len([e for e in daemon.events() if "restart st8d" in e["event"]])


def test_policy(tmp_path: Path) -> None:
    """The policy file is read anew; with a new token of the daemon's own as well."""
    policy, token = tmp_path / "policy.yaml", tmp_path / "token"
    text = (
        "tokens: [{name: app, token: app-1, allow: "
        "{namespaces: ['*'], branches: ['*'], verbs: [read]}}]"
    )
    policy.write_text(text, encoding="utf-8")
    token.write_text("admin-1", encoding="utf-8")
    with Daemon(
        tmp_path / "state",
        *("--auth-config", str(policy), "--token-file", str(token)),
    ) as daemon:
        assert all(knows(daemon, known) for known in ("app-1", "admin-1"))
        policy.write_text(text.replace("app-1", "app-2"), encoding="utf-8")
        reload(daemon)
        assert all(knows(daemon, known) for known in ("app-2", "admin-1"))
        token.write_text("admin-2", encoding="utf-8")
        reload(daemon)
        assert all(knows(daemon, known) for known in ("app-2", "admin-2"))
        assert not any(knows(daemon, known) for known in ("app-1", "admin-1"))


def test_certificate(tmp_path: Path) -> None:
    """New connections get the new certificate, old ones go on."""
    authority = Authority(tmp_path, "ca")
    pair, fresh = authority.issue(), authority.issue()
    with (
        Daemon(tmp_path / "state", *pair.flags()) as daemon,
        Client(daemon.url, ca_file=authority.ca_file, retries=0) as client,
    ):
        before = peer(daemon, authority)
        client.apply({"a": "1"})
        pair.become(fresh)
        reload(daemon)
        assert before != peer(daemon, authority)
        assert "1" == client.get("a")
        assert 0 == daemon.stop()


def test_streams_go_on(tmp_path: Path) -> None:
    """A long answer over TLS that has begun comes whole across a reload."""
    authority = Authority(tmp_path, "ca")
    pair = authority.issue()
    documents = {f"k{i}": "x" * 60_000 for i in range(200)}
    with Daemon(tmp_path / "state", *pair.flags()) as daemon:
        with Client(daemon.url, ca_file=authority.ca_file) as client:
            client.apply(documents)
        context = ssl.create_default_context(cafile=authority.ca_file)
        raw = socket.create_connection(("127.0.0.1", daemon.port), 30)
        with context.wrap_socket(raw, server_hostname="127.0.0.1") as wire:
            wire.sendall(
                b"GET /v1/state HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
            )
            begun = wire.recv(1)
            for _ in range(3):
                pair.become(authority.issue())
                reload(daemon)
            answer = begun + b"".join(iter(lambda: wire.recv(1 << 16), b""))
        assert answer.startswith(b"HTTP/1.1 200 ")
        assert 200 * 60_000 < len(answer)
        assert b'"k199"' in answer
        assert 0 == daemon.stop()


def test_client_authority(tmp_path: Path) -> None:
    """An authority of clients that is gone is gone; so is who was revoked."""
    servers = Authority(tmp_path, "servers")
    one, two = Authority(tmp_path, "one"), Authority(tmp_path, "two")
    trusted = tmp_path / "trusted.pem"
    trusted.write_bytes(one.ca_file.read_bytes())
    clients = {"one": one.issue("a"), "two": two.issue("b"), "three": two.issue("c")}

    def served(name: str) -> bool:
        pair = clients[name]
        with Client(
            daemon.url,
            retries=0,
            ca_file=servers.ca_file,
            cert_file=pair.cert,
            key_file=pair.key,
        ) as client:
            try:
                client.version()
            except Unreachable:
                return False
            return True

    def all_served() -> list[str]:
        return [name for name in clients if served(name)]

    with Daemon(
        tmp_path / "state",
        *servers.issue().flags(),
        *("--tls-client-ca", str(trusted)),
    ) as daemon:
        assert ["one"] == all_served()
        trusted.write_bytes(two.ca_file.read_bytes())
        reload(daemon)
        assert ["two", "three"] == all_served()
        trusted.write_bytes(two.revoke(clients["three"]).read_bytes())
        reload(daemon)
        assert ["two"] == all_served()


def test_session_does_not_outlive_its_authority(tmp_path: Path) -> None:
    """A client that was trusted can't resume a session once it is not any more."""
    servers = Authority(tmp_path, "servers")
    one, two = Authority(tmp_path, "one"), Authority(tmp_path, "two")
    trusted = tmp_path / "trusted.pem"
    trusted.write_bytes(one.ca_file.read_bytes())
    pair = one.issue("a")
    with Daemon(
        tmp_path / "state",
        *servers.issue().flags(),
        *("--tls-client-ca", str(trusted)),
    ) as daemon:
        context = ssl.create_default_context(cafile=servers.ca_file)
        context.load_cert_chain(pair.cert, pair.key)

        def ask(session: ssl.SSLSession | None) -> tuple[bool, ssl.SSLSession | None]:
            raw = socket.create_connection(("127.0.0.1", daemon.port), 10)
            with context.wrap_socket(
                raw, server_hostname="127.0.0.1", session=session
            ) as wire:
                wire.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
                assert wire.recv(1024)
                return bool(wire.session_reused), wire.session

        _, session = ask(None)
        assert ask(session)[0]
        trusted.write_bytes(two.ca_file.read_bytes())
        reload(daemon)
        with pytest.raises((ssl.SSLError, ConnectionError)):
            ask(session)


def test_nothing_changes_if_anything_is_wrong(tmp_path: Path) -> None:
    """Whichever file is wrong, all stays as it was, and the log says which."""
    authority = Authority(tmp_path, "ca")
    pair = authority.issue()
    token, policy = tmp_path / "token", tmp_path / "policy.yaml"
    token.write_text("own-token-1", encoding="utf-8")
    good_policy = "tokens: []\n"
    policy.write_text(good_policy, encoding="utf-8")
    good_key = pair.key.read_bytes()
    options = {"ca_file": authority.ca_file}
    with Daemon(
        tmp_path / "state",
        *pair.flags(),
        *("--token-file", str(token), "--auth-config", str(policy)),
    ) as daemon:
        before = peer(daemon, authority)

        def unchanged(reason: str) -> None:
            failed = reload(daemon, FAILED)
            assert "error" == failed["level"]
            assert reason in failed["event"]
            assert knows(daemon, "own-token-1", **options)
            assert not knows(daemon, "own-token-2", **options)
            assert before == peer(daemon, authority)

        token.write_text("own-token-2", encoding="utf-8")
        policy.write_text("tokens: [{nam: x}]\n", encoding="utf-8")
        unchanged("'nam'")
        policy.write_text(good_policy, encoding="utf-8")
        pair.key.write_bytes(authority.issue().key.read_bytes())
        unchanged("is not that of the certificate")
        pair.key.write_bytes(good_key)
        token.write_text("", encoding="utf-8")
        unchanged(f"token-file: {token} is empty")
        token.write_text("own-token-2", encoding="utf-8")
        reload(daemon)
        assert knows(daemon, "own-token-2", **options)


def test_what_is_only_prepared_lets_nobody_in(tmp_path: Path) -> None:
    """Credentials count from when they are taken; what is dropped leaves no thread."""

    class AnyClock:
        def now_ns(self) -> int:
            return 1

    policy = tmp_path / "policy.yaml"
    keys = "{issuer: i, audience: a, jwks_url: 'http://127.0.0.1:1/keys'}"
    policy.write_text("tokens: [{name: a, token: one-1}]", encoding="utf-8")
    settings = Settings(auth_config=policy)
    with contextlib.closing(Gate(settings, None, AnyClock())) as gate:

        def names(*tokens: str) -> list[str]:
            found: list[str] = []
            for token in tokens:
                with contextlib.suppress(Unauthenticated):
                    header = f"Bearer {token}".encode()
                    found.append(gate.authenticate(header, {}).name)
            return found

        text = f"tokens: [{{name: b, token: two-2}}]\njwt: [{keys}]"
        policy.write_text(text, encoding="utf-8")
        dropped = [gate.prepare(settings, None), gate.prepare(settings, "own-3")]
        assert ["a"] == names("one-1", "two-2", "own-3")
        for prepared in dropped:
            prepared.drop()
        while any(one.name == "st8-keys" for one in threading.enumerate()):
            threading.Event().wait(0.001)
        gate.prepare(settings, "own-3").take()
        assert ["b", "admin"] == names("one-1", "two-2", "own-3")


def test_a_daemon_is_not_opened_to_all_while_it_serves(tmp_path: Path) -> None:
    """A token that has gone from the settings is more likely a mistake than meant."""
    path = tmp_path / "st8d.yaml"
    path.write_text("token: one-1\n", encoding="utf-8")
    with Daemon(tmp_path / "state", "--config", str(path)) as daemon:
        path.write_text("idle-timeout: 60s\n", encoding="utf-8")
        assert "everybody would be let in" in reload(daemon, FAILED)["event"]
        assert (False, True) == (knows(daemon, "x-1"), knows(daemon, "one-1"))


def test_audit_log_is_opened_anew(tmp_path: Path) -> None:
    """After logrotate has moved the audit log, lines go to a new file."""
    audit = tmp_path / "audit.log"
    moved = tmp_path / "audit.log.1"
    with (
        Daemon(tmp_path / "state", "--audit-log", str(audit)) as daemon,
        Client(daemon.url) as client,
    ):
        client.apply({"a": "1"})
        audit.rename(moved)
        client.apply({"a": "2"})
        reload(daemon)
        client.apply({"a": "3"})

    def revisions(path: Path) -> list[int]:
        lines = path.read_text(encoding="utf-8").splitlines()
        return [json.loads(line)["revision"] for line in lines]

    assert ([1, 2], [3]) == (revisions(moved), revisions(audit))


def test_reload_during_load(tmp_path: Path) -> None:
    """Twenty reloads with new certificates and tokens fail no request."""
    authority = Authority(tmp_path, "ca")
    pair = authority.issue()
    policy = tmp_path / "policy.yaml"
    entry = (
        "  - {name: n%d, token: token-%d, allow: {namespaces: ['*'], branches: ['*'],"
        " verbs: [read, write]}}\n"
    )
    policy.write_text("tokens:\n" + entry % (0, 0), encoding="utf-8")
    stop = threading.Event()
    failures: list[str] = []
    counts = [0] * 5

    def work(number: int) -> None:
        try:
            while not stop.is_set():
                # The last one connects anew for every request.
                with Client(
                    daemon.url,
                    token="token-0",
                    ca_file=authority.ca_file,
                    branch=f"b{number}",
                    retries=0,
                ) as client:
                    for _ in range(1 if number == 4 else 1_000_000):
                        if stop.is_set():
                            break
                        if number % 2:
                            client.apply({"k": str(counts[number])})
                        else:
                            list(client.namespaces())
                        counts[number] += 1
        except St8Error as error:
            failures.append(error.detail)

    with Daemon(
        tmp_path / "state", *pair.flags(), "--auth-config", str(policy)
    ) as daemon:
        workers = [threading.Thread(target=work, args=(n,)) for n in range(5)]
        for worker in workers:
            worker.start()
        shown: set[bytes | None] = set()
        try:
            for turn in range(1, 21):
                pair.become(authority.issue())
                policy.write_text(
                    "tokens:\n" + entry % (0, 0) + entry % (turn, turn),
                    encoding="utf-8",
                )
                reload(daemon)
                assert knows(daemon, f"token-{turn}", ca_file=authority.ca_file)
                shown.add(peer(daemon, authority))
        finally:
            stop.set()
            for worker in workers:
                worker.join()
        assert 0 == daemon.stop()

    assert [] == failures
    assert 20 == len(shown)
    assert all(counts)
