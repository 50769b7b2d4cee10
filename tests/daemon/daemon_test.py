"""st8d as a process: it starts, says where, serves, stops, and keeps what it said."""

from __future__ import annotations

import json
import signal
import socket
import stat
import threading
import time
import urllib.error
import urllib.request
from typing import TYPE_CHECKING

import pytest

from st8 import __version__
from tests.daemon.process import Daemon, run

if TYPE_CHECKING:
    from pathlib import Path

HOST = b"Host: st8\r\n"


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """A state directory that is not there yet."""
    return tmp_path / "deep" / "state"


def apply(daemon: Daemon, content: str = "x") -> int:
    """Apply a document; return the revision."""
    body = json.dumps({"documents": [{"key": "a", "content": content}]}).encode()
    request = urllib.request.Request(daemon.url + "/v1/apply", body)  # noqa: S310
    with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310
        revision: int = json.load(answer)["revision"]
        return revision


def begin(wire: socket.socket, path: bytes, length: int) -> None:
    """Begin a request whose body is to come; it is in flight on return."""
    wire.sendall(
        b"POST %s HTTP/1.1\r\n%sContent-Length: %d\r\nExpect: 100-continue\r\n\r\n"
        % (path, HOST, length)
    )
    assert b"HTTP/1.1 100 Continue\r\n\r\n" == wire.recv(65536)


def test_ready_line(state: Path) -> None:
    """The line that says it is ready tells where it listens, and what it is."""
    with Daemon(state) as daemon:
        ready = daemon.events()[-1]

        assert f"127.0.0.1:{daemon.port}" == ready["address"]
        assert f"st8d listening on 127.0.0.1:{daemon.port}" == ready["event"]
        assert ("info", __version__) == (ready["level"], ready["version"])
        assert ready["store"].startswith("sqlite ")
        assert str(state) == ready["state_dir"]
        assert (False, "none") == (ready["tls"], ready["auth"])
        assert b"ok\n" == daemon.get("/readyz")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_stop_and_start(state: Path, number: signal.Signals) -> None:
    """A signal ends it with 0, and the next one serves what it stored."""
    with Daemon(state) as daemon:
        assert 1 == apply(daemon)
        daemon.signal(number)

        assert 0 == daemon.wait()
        assert "st8d stopped" == daemon.events()[-1]["event"]
    with Daemon(state) as daemon:
        assert {"a": "x"} == json.loads(daemon.get("/v1/state"))["objects"]
        assert 0 == daemon.stop()


def test_state_directory_is_private(state: Path) -> None:
    """Nobody else may look into a state directory that st8d made."""
    with Daemon(state) as daemon:
        apply(daemon)

        assert 0o700 == stat.S_IMODE(state.stat().st_mode)


def test_request_in_flight_is_finished(state: Path) -> None:
    """A request that has begun when the signal comes is answered and durable."""
    body = b'{"documents":[{"key":"a","content":"late"}]}'
    with Daemon(state) as daemon:
        with socket.create_connection(("127.0.0.1", daemon.port), 10) as wire:
            begin(wire, b"/v1/apply", len(body))
            wire.sendall(body[:10])
            daemon.signal()
            while not any("stops" in line for line in daemon.lines):
                time.sleep(0.01)
            wire.sendall(body[10:])
            answer = b"".join(iter(lambda: wire.recv(65536), b""))

        assert 0 == daemon.wait()
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert b"connection: close" in answer
    with Daemon(state) as daemon:
        assert {"a": "late"} == json.loads(daemon.get("/v1/state"))["objects"]


def test_nothing_is_accepted_while_it_stops(state: Path) -> None:
    """Idle connections are closed at the signal, and new ones are not taken."""
    with Daemon(state) as daemon:
        idle = socket.create_connection(("127.0.0.1", daemon.port), 10)
        busy = socket.create_connection(("127.0.0.1", daemon.port), 10)
        with idle, busy:
            begin(busy, b"/v1/diff", 2)
            daemon.signal()

            assert b"" == idle.recv(1)
            with pytest.raises(ConnectionRefusedError):
                socket.create_connection(("127.0.0.1", daemon.port), 10)
            busy.sendall(b"{}")
            assert busy.recv(65536).startswith(b"HTTP/1.1 200 ")
        assert 0 == daemon.wait()


def test_a_collection_does_not_hold_it_up(state: Path) -> None:
    """A collection that is asked for while it stops is not begun, and says so."""
    with (
        Daemon(state) as daemon,
        socket.create_connection(("127.0.0.1", daemon.port), 10) as wire,
    ):
        begin(wire, b"/v1/gc", 2)
        daemon.signal()
        while not any("stops" in line for line in daemon.lines):
            time.sleep(0.01)
        wire.sendall(b"{}")
        answer = wire.recv(65536)

        assert answer.startswith(b"HTTP/1.1 503 ")
        assert b"shutting_down" in answer
        assert 0 == daemon.wait()


def test_request_that_never_ends_is_cut(state: Path) -> None:
    """What is not finished after the shutdown timeout is cut, and that is logged."""
    with (
        Daemon(state, "--shutdown-timeout", "200ms") as daemon,
        socket.create_connection(("127.0.0.1", daemon.port), 10) as wire,
    ):
        begin(wire, b"/v1/gc", 2)

        assert 0 == daemon.stop()
        assert b"shutting_down" in wire.recv(65536)
        assert any("were cut" in event["event"] for event in daemon.events())


def test_second_signal(state: Path) -> None:
    """A second signal ends it at once."""
    with (
        Daemon(state, "--shutdown-timeout", "1h") as daemon,
        socket.create_connection(("127.0.0.1", daemon.port), 10) as wire,
    ):
        begin(wire, b"/v1/gc", 2)
        daemon.signal()
        while not any("stops" in line for line in daemon.lines):
            time.sleep(0.01)
        daemon.signal()

        assert 1 == daemon.wait()


def test_state_directory_in_use(state: Path) -> None:
    """A second daemon on a state directory says which process has it."""
    with Daemon(state) as daemon:
        second = run("--listen", "127.0.0.1:0", "--state-dir", str(state))

        assert 1 == second.returncode
        assert str(daemon.process.pid) in second.stderr
        assert 1 == second.stderr.count("\n")
        assert b"ok\n" == daemon.get("/healthz")


def test_port_in_use(state: Path, tmp_path: Path) -> None:
    """A port that is taken is named, and the state directory let go."""
    with Daemon(state) as daemon:
        address = f"127.0.0.1:{daemon.port}"
        second = run("--listen", address, "--state-dir", str(tmp_path / "other"))

    assert 1 == second.returncode
    assert (
        f"st8d: can't listen on {address}: address already in use; "
        "choose another --listen\n"
    ) == second.stderr
    with Daemon(tmp_path / "other") as daemon:
        assert b"ok\n" == daemon.get("/healthz")


def test_unwritable_directory() -> None:
    """A directory that can't be made is one sentence that names it."""
    done = run("--listen", "127.0.0.1:0", "--state-dir", "/proc/st8")

    assert 1 == done.returncode
    assert 1 == done.stderr.count("\n")
    assert "/proc/st8" in done.stderr


def test_host_that_does_not_exist(state: Path) -> None:
    """A host that is none of this machine's is one sentence that names it."""
    done = run("--listen", "nowhere.invalid:0", "--state-dir", str(state))

    assert 1 == done.returncode
    assert 1 == done.stderr.count("\n")
    assert "nowhere.invalid:0" in done.stderr


def test_state_directory_that_is_a_file(tmp_path: Path) -> None:
    """A state directory that is a file is one sentence that names it."""
    path = tmp_path / "file"
    path.write_text("x", encoding="utf-8")
    done = run("--listen", "127.0.0.1:0", "--state-dir", str(path))

    assert 1 == done.returncode
    assert 1 == done.stderr.count("\n")
    assert str(path) in done.stderr


def test_store_of_a_newer_st8(state: Path) -> None:
    """A store that is no store of ours is refused in one sentence, and left alone."""
    state.mkdir(parents=True)
    (state / "st8.db").write_bytes(b"not a database" * 1000)
    done = run("--listen", "127.0.0.1:0", "--state-dir", str(state))

    assert 1 == done.returncode
    assert 1 == done.stderr.count("\n")
    assert b"not a database" * 1000 == (state / "st8.db").read_bytes()


@pytest.mark.parametrize("given", ["flag", "variable"])
def test_token(state: Path, given: str) -> None:
    """With a token every route but the probes needs it."""
    token = "tiger-in-the-tank-93"
    arguments = ["-token", token] if given == "flag" else []
    environment = {"ST8D_TOKEN": token} if given == "variable" else {}
    with Daemon(state, *arguments, environment=environment) as daemon:
        assert "token" == daemon.events()[-1]["auth"]
        assert b"ok\n" == daemon.get("/healthz")
        assert b"revision" in daemon.get("/v1/state", token=token)
        for path in ("/v1/state", "/metrics"):
            with pytest.raises(urllib.error.HTTPError) as refused:
                daemon.get(path)
            assert 401 == refused.value.code
            refused.value.close()
        warned = any("process list" in event["event"] for event in daemon.events())
        assert (given == "flag") == warned
        assert 0 == daemon.stop()
        assert token not in "".join(daemon.lines)


def test_open_to_the_network(state: Path) -> None:
    """Listening everywhere without a token is warned of, with the remedy."""
    with Daemon(state, listen=":0") as daemon:
        warnings = [e for e in daemon.events() if e["level"] == "warning"]

        assert "ST8D_TOKEN" in warnings[0]["event"]
        assert b"ok\n" == daemon.get("/healthz")


def test_listening_everywhere_takes_both_families(state: Path) -> None:
    """Without a host, IPv4 and IPv6 are served on the same port."""
    if not socket.has_dualstack_ipv6():
        pytest.skip("no IPv6")
    with Daemon(state, listen=":0") as daemon:
        for host in ("127.0.0.1", "::1"):
            with socket.create_connection((host, daemon.port), 10) as wire:
                wire.sendall(b"GET /healthz HTTP/1.1\r\n" + HOST + b"\r\n")
                assert wire.recv(65536).startswith(b"HTTP/1.1 200 ")


def test_load_while_it_stops(state: Path) -> None:
    """Writes that were acknowledged while it was stopping are all there."""
    acknowledged: list[int] = []

    def write(daemon: Daemon) -> None:
        while True:
            try:
                acknowledged.append(apply(daemon, f"{time.monotonic()}"))
            except OSError:
                return

    with Daemon(state) as daemon:
        writers = [threading.Thread(target=write, args=(daemon,)) for _ in range(4)]
        for writer in writers:
            writer.start()
        while len(acknowledged) < 20:
            time.sleep(0.01)
        assert 0 == daemon.stop()
        for writer in writers:
            writer.join()
    with Daemon(state) as daemon:
        last: int = json.loads(daemon.get("/v1/state"))["revision"]

    assert max(acknowledged) <= last
    assert len(acknowledged) == len(set(acknowledged))


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--listn", ":1"], "there is no flag --listn; did you mean --listen?"),
        (["serve"], "st8d has no command 'serve'; st8d --help lists all"),
        (
            ["check_config"],
            "st8d has no command 'check_config'; did you mean st8d check-config?",
        ),
        (["--tls-cert", "a"], "--tls-cert is given without --tls-key; TLS needs both"),
        (["--tls-key=a"], "--tls-key is given without --tls-cert; TLS needs both"),
    ],
)
def test_bad_flags(arguments: list[str], sentence: str) -> None:
    """A flag that can't be right is one sentence and exit code 2."""
    done = run(*arguments)

    assert (2, f"st8d: {sentence}\n") == (done.returncode, done.stderr)


def test_blank_token_variable() -> None:
    """A token of white space is refused rather than taken for none."""
    done = run(environment={"ST8D_TOKEN": " \n"})

    assert 2 == done.returncode
    assert "ST8D_TOKEN" in done.stderr


def test_version_and_help() -> None:
    """Both go to standard output and succeed."""
    assert (0, f"st8d {__version__}\n") == (
        (done := run("--version")).returncode,
        done.stdout,
    )
    assert "--state-dir" in run("-h").stdout
