"""A watcher that does not read harms itself alone."""

from __future__ import annotations

import contextlib
import re
import socket
import threading
from typing import TYPE_CHECKING
from urllib.parse import urlsplit
from urllib.request import urlopen

from st8.client import Client
from st8.http.connections import GuardSettings
from st8.testing.server import running_server
from tests.http.watch_test import told, watching

if TYPE_CHECKING:
    from collections.abc import Iterator

_CONTENT = "x" * 500_000
_EVENTS = 60
_LEFT_BYTES_MAX = 15_000_000
"""What the two ends of a connection and the daemon may hold of 60 MB for it."""


@contextlib.contextmanager
def sleeper(url: str) -> Iterator[socket.socket]:
    """Watch all contents and read none of it."""
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)
    sock.settimeout(60)
    with sock:
        sock.connect(("127.0.0.1", urlsplit(url).port))
        sock.sendall(b"GET /v1/watch?contents=true HTTP/1.1\r\nHost: st8\r\n\r\n")
        begun = b""
        while b"event: start" not in begun:
            begun += sock.recv(1)
        yield sock


def watchers(url: str) -> float:
    """Return how many streams are open."""
    with urlopen(f"{url}/metrics", timeout=60) as answer:  # noqa: S310 - our own
        found = re.search(rb"^st8_watchers (\S+)$", answer.read(), re.MULTILINE)
    assert found is not None
    return float(found[1])


def test_who_does_not_read_is_cut_off_alone() -> None:
    """The others are told everything; for it next to nothing is kept."""
    # One that reads may stand still for a moment, as the whole machine may.
    guards = GuardSettings(write_timeout_s=4.0, sweep_s=0.05)
    with (
        running_server(guards=guards) as server,
        Client(server.url) as client,
        sleeper(server.url) as silent,
        watching(server, "contents=true") as one,
        watching(server, "prefix=a") as other,
    ):
        one.take(1)
        other.take(1)
        for number in range(1, _EVENTS + 1):
            client.apply({"a": f"{number} {_CONTENT}"})
            assert [("revision", number)] == told(one.take(1))
        expected = [("revision", number) for number in range(1, _EVENTS + 1)]
        assert expected == told(other.take(_EVENTS))
        while watchers(server.url) > 2:
            threading.Event().wait(0.05)
        left = 0
        with contextlib.suppress(ConnectionError):
            while piece := silent.recv(65_536):
                left += len(piece)

    assert left < _LEFT_BYTES_MAX
