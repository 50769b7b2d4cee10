"""Where st8d listens: several addresses, sockets of this machine, handed-over ones."""

from __future__ import annotations

import os
import signal
import socket
import stat
import sys
from typing import TYPE_CHECKING

import pytest

from st8 import Client
from st8.core.errors import Unreachable
from tests.daemon.certificates import Authority
from tests.daemon.process import Daemon, run

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """The path of a socket."""
    return tmp_path / "st8d.sock"


def test_unix_socket(path: Path, tmp_path: Path) -> None:
    """A socket of this machine is served, for owner and group, and removed at the end."""
    with Daemon(tmp_path / "state", listen=f"unix:{path}") as daemon:
        assert 0o660 == stat.S_IMODE(path.stat().st_mode)
        assert f"unix:{path}" == daemon.url
        with Client(daemon.url) as client:
            client.apply({"a": "b"})
            assert "b" == client.get("a")
        assert [] == [e for e in daemon.events() if e["level"] == "warning"]
        assert 0 == daemon.stop()

    assert not path.exists()
    requests = [e for e in daemon.events() if e["event"] == "request"]
    assert ["unix", "unix"] == [e["remote"] for e in requests]


def test_mode_of_a_socket(path: Path, tmp_path: Path) -> None:
    """The mode that is asked for is that of the socket."""
    with Daemon(tmp_path / "state", listen=f"unix:{path},mode=0600"):
        assert 0o600 == stat.S_IMODE(path.stat().st_mode)


def test_several_addresses(path: Path, tmp_path: Path) -> None:
    """All addresses are served, and TLS only where others could listen in."""
    authority = Authority(tmp_path, "ca")
    with Daemon(
        tmp_path / "state",
        *("--listen", "[::1]:0", "--listen", f"unix:{path}"),
        *authority.issue("127.0.0.1", "::1").flags(),
    ) as daemon:
        (ready,) = daemon.wait_for("st8d listening on ")
        addresses = ready["address"].split(", ")
        assert f"unix:{path}" == addresses[2]
        for url in (f"https://{addresses[0]}", f"https://{addresses[1]}"):
            with Client(url, ca_file=authority.ca_file) as client:
                assert client.version()
        with Client(f"unix:{path}") as client:
            assert client.version()
        assert 0 == daemon.stop()


def test_socket_that_a_killed_daemon_left(path: Path, tmp_path: Path) -> None:
    """A socket that nobody listens on is replaced."""
    with Daemon(tmp_path / "state", listen=f"unix:{path}") as daemon:
        daemon.signal(signal.SIGKILL)
        daemon.wait()
        assert path.exists()
        with Client(daemon.url, retries=0) as client, pytest.raises(Unreachable):
            client.version()
    with (
        Daemon(tmp_path / "state", listen=f"unix:{path}") as daemon,
        Client(daemon.url) as client,
    ):
        assert client.version()


def test_socket_in_use(path: Path, tmp_path: Path) -> None:
    """A socket that somebody listens on is left alone."""
    with Daemon(tmp_path / "state", listen=f"unix:{path}") as daemon:
        second = run("--listen", f"unix:{path}", "--state-dir", str(tmp_path / "two"))

        assert (
            f"st8d: can't listen on unix:{path}: another process listens there; stop "
            "it, or choose another --listen\n"
        ) == second.stderr
        assert 1 == second.returncode
        assert not (tmp_path / "two").exists()
        with Client(daemon.url) as client:
            assert client.version()


def test_file_that_is_no_socket(path: Path, tmp_path: Path) -> None:
    """A file at the path is left alone."""
    path.write_text("precious", encoding="utf-8")
    done = run("--listen", f"unix:{path}", "--state-dir", str(tmp_path / "state"))

    assert 1 == done.returncode
    assert "there is a file that is no socket" in done.stderr
    assert "precious" == path.read_text(encoding="utf-8")


def test_folder_of_a_socket_that_is_not_there(tmp_path: Path) -> None:
    """A socket in a folder that does not exist is one sentence."""
    address = f"unix:{tmp_path}/no/st8d.sock"
    done = run("--listen", address, "--state-dir", str(tmp_path / "state"))

    assert (
        f"st8d: can't listen on {address}: no such file or directory; choose another "
        "--listen\n"
    ) == done.stderr


def test_socket_of_a_successor_is_not_removed(path: Path, tmp_path: Path) -> None:
    """A path that meanwhile is another's socket stays."""
    with Daemon(tmp_path / "state", listen=f"unix:{path}") as daemon:
        path.unlink()
        with socket.socket(socket.AF_UNIX) as successor:
            successor.bind(str(path))
            assert 0 == daemon.stop()
            assert path.exists()


def test_no_state_directory_where_nobody_listens(tmp_path: Path) -> None:
    """A port that is taken leaves no empty state directory behind."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        done = run("--listen", address, "--state-dir", str(tmp_path / "state"))

    assert 1 == done.returncode
    assert "address already in use" in done.stderr
    assert not (tmp_path / "state").exists()


# --- the service manager --------------------------------------------------------

_AS_SYSTEMD = (
    "import os, sys; os.environ |= {'LISTEN_PID': str(os.getpid()), 'LISTEN_FDS': '1'};"
    "os.dup2(int(sys.argv[1]), 3); os.set_inheritable(3, True);"
    "os.execv(sys.argv[2], sys.argv[2:])"
)


def test_socket_activation(tmp_path: Path) -> None:
    """A socket that systemd has opened is served, and no other."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        number = listener.fileno()
        with Daemon(
            tmp_path / "state",
            listen="",
            pass_fds=(number,),
            wrapper=(sys.executable, "-c", _AS_SYSTEMD, str(number)),
        ) as daemon:
            assert listener.getsockname()[1] == daemon.port
            assert b"ok\n" == daemon.get("/healthz")
            assert 0 == daemon.stop()


def test_handed_over_file_that_is_no_socket(tmp_path: Path) -> None:
    """Something else than a listening socket is refused in one sentence."""
    for kind in ("pipe", "socket"):
        near, far = os.pipe() if kind == "pipe" else map(_detached, socket.socketpair())
        wrapper = (sys.executable, "-c", _AS_SYSTEMD, str(near))
        with pytest.raises(AssertionError, match="of the service manager"):
            Daemon(tmp_path / "state", listen="", pass_fds=(near,), wrapper=wrapper)
        os.close(near)
        os.close(far)


def _detached(sock: socket.socket) -> int:
    return sock.detach()


class Manager:
    """The end of systemd's socket for messages."""

    def __init__(self, address: str) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.settimeout(30)
        self._socket.bind(address.replace("@", "\0", 1))

    def message(self) -> dict[str, str]:
        """Return the next message."""
        lines = self._socket.recv(4096).decode().splitlines()
        return dict(line.split("=", 1) for line in lines)

    def close(self) -> None:
        """Stop listening."""
        self._socket.close()


@pytest.mark.parametrize("workers", ["1", "2"])
@pytest.mark.parametrize("abstract", [False, True])
def test_readiness(tmp_path: Path, workers: str, *, abstract: bool) -> None:
    """Systemd hears when st8d is ready, reloads and stops, once for all workers."""
    if abstract and sys.platform != "linux":
        pytest.skip("only Linux has abstract sockets")
    address = f"@{tmp_path}" if abstract else str(tmp_path / "notify")
    manager = Manager(address)
    environment = {"NOTIFY_SOCKET": address, "ST8D_WORKERS": workers}
    with Daemon(tmp_path / "state", environment=environment) as daemon:
        status = f"listening on 127.0.0.1:{daemon.port}"
        assert {"READY": "1", "STATUS": status} == manager.message()
        daemon.signal(signal.SIGHUP)
        reloading = manager.message()
        assert int(reloading.pop("MONOTONIC_USEC")) > 0
        assert {"RELOADING": "1"} == reloading
        assert {"READY": "1", "STATUS": status} == manager.message()
        daemon.signal()
        assert "1" == manager.message()["STOPPING"]
        assert 0 == daemon.wait()
    manager.close()


@pytest.mark.parametrize("workers", ["1", "2"])
def test_watchdog(tmp_path: Path, workers: str) -> None:
    """Systemd's watchdog gets its signs of life."""
    manager = Manager(str(tmp_path / "notify"))
    environment = {
        "NOTIFY_SOCKET": f"{tmp_path}/notify",
        "WATCHDOG_USEC": "100000",
        "ST8D_WORKERS": workers,
    }
    with Daemon(tmp_path / "state", environment=environment) as daemon:
        assert "READY" in manager.message()
        assert [{"WATCHDOG": "1"}] * 3 == [manager.message() for _ in range(3)]
        assert 0 == daemon.stop()
    manager.close()


def test_nobody_listens_to_what_is_notified(tmp_path: Path) -> None:
    """A service manager that is gone is no reason to fail."""
    environment = {"NOTIFY_SOCKET": f"{tmp_path}/nobody"}
    with Daemon(tmp_path / "state", environment=environment) as daemon:
        assert b"ok\n" == daemon.get("/healthz")
        assert 0 == daemon.stop()
