"""A live state beside a real st8d that is killed, cut off and put back to a copy."""

from __future__ import annotations

import itertools
import shutil
import socket
import threading
from contextlib import ExitStack, suppress
from time import monotonic
from typing import TYPE_CHECKING, Final, Self

import pytest

from st8 import Client
from st8.testing.child import ChildDaemon, free_port
from tests.client.live_test import PATIENCE_S, live_of, until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from st8.client import LiveState

_PIECE: Final = 65_536
_LOOK_S: Final = 0.001


class Line:
    """Passes bytes to a port and back; while it is held, nothing, and ends nothing."""

    def __init__(self, target_port: int) -> None:
        self._target = ("127.0.0.1", target_port)
        self._passing = threading.Event()
        self._passing.set()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._open: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def hold(self) -> None:
        """Pass nothing on, neither way."""
        self._passing.clear()

    def resume(self) -> None:
        """Pass on what has gathered, and what comes."""
        self._passing.set()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.resume()
        for each in (self._listener, *self._open):
            _end(each)
        for thread in list(self._threads):
            thread.join(PATIENCE_S)
        for each in (self._listener, *self._open):
            each.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                ours, _ = self._listener.accept()
                try:
                    theirs = socket.create_connection(self._target)
                except OSError:  # the daemon is not there just now
                    ours.close()
                    continue
                self._open += [ours, theirs]
                for pair in ((ours, theirs), (theirs, ours)):
                    thread = threading.Thread(target=self._pass, args=pair)
                    self._threads.append(thread)
                    thread.start()

    def _pass(self, source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(_PIECE):
                self._passing.wait()
                target.sendall(data)
        _end(source)
        _end(target)


def _end(some: socket.socket) -> None:
    with suppress(OSError):
        some.shutdown(socket.SHUT_RDWR)


class Watched:
    """Looks at a live state all the time, and keeps what should never be seen."""

    def __init__(self, live: LiveState) -> None:
        self._live = live
        self._done = threading.Event()
        self.looks = 0
        self.wrong: list[dict[str, str]] = []
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        while not self._done.is_set():
            self._done.wait(_LOOK_S)
            documents = dict(self._live.documents)
            self.looks += 1
            if documents.keys() != {"a", "b"} or documents["a"] != documents["b"]:
                self.wrong.append(documents)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()


class Rig:
    """A live state that looks at a daemon through a line, and what it is told by.

    Two documents are always applied together, and somebody looks all the time.

    Attributes:
        port: Where the daemon is to be.
        line: What the live state looks through.
        writer: A client beside the line.
        live: The live state, once there was a first revision.
    """

    def __init__(self, state: Path, stack: ExitStack) -> None:
        self.port = free_port()
        self._counter = itertools.count()
        self.line = stack.enter_context(Line(self.port))
        self.writer = stack.enter_context(Client(f"http://127.0.0.1:{self.port}"))
        reader = stack.enter_context(Client(self.line.url))
        with ChildDaemon(state, port=self.port) as daemon:
            first = self.apply()
            self.live = stack.enter_context(live_of(reader))
            until(self.live, first)
            self.watched = stack.enter_context(Watched(self.live))
            assert 0 == daemon.stop()

    def apply(self) -> int:
        """Apply both documents; return the revision."""
        value = f"{next(self._counter)}"
        return self.writer.apply({"a": value, "b": value}).revision


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """The state directory of the daemon."""
    return tmp_path / "state"


@pytest.fixture
def rig(state: Path) -> Iterator[Rig]:
    """A live state that has seen a first revision, of a daemon that has ended."""
    with ExitStack() as stack:
        made = Rig(state, stack)
        yield made
    assert [] == made.watched.wrong
    assert made.watched.looks


def test_a_daemon_that_is_killed(rig: Rig, state: Path) -> None:
    """Each time, after each restart, what was acknowledged comes to be there."""
    for _ in range(3):
        with ChildDaemon(state, port=rig.port) as daemon:
            last = [rig.apply() for _ in range(5)][-1]
            daemon.kill()
        with ChildDaemon(state, port=rig.port):
            until(rig.live, last)


def test_a_daemon_that_is_cut_off(rig: Rig, state: Path) -> None:
    """What can't be heard of makes no live state current; it is heard of at last."""
    with ChildDaemon(state, port=rig.port):
        before = rig.apply()
        until(rig.live, before)
        rig.line.hold()
        missed = [rig.apply() for _ in range(5)][-1]
        since_s = monotonic()

        assert before == rig.live.revision
        now_s = monotonic()
        assert now_s - rig.live.age_s <= since_s
        rig.line.resume()
        until(rig.live, missed)


def test_a_daemon_that_is_put_back_to_a_copy(
    rig: Rig, state: Path, tmp_path: Path
) -> None:
    """A daemon with less than was seen is followed, back and on."""
    shutil.copytree(state, tmp_path / "backup")
    with ChildDaemon(state, port=rig.port) as daemon:
        until(rig.live, [rig.apply() for _ in range(5)][-1])
        assert 0 == daemon.stop()
    shutil.rmtree(state)
    shutil.copytree(tmp_path / "backup", state)
    with ChildDaemon(state, port=rig.port):
        restored = rig.apply()
        expected = rig.writer.state().documents
        changed = threading.Event()
        rig.live.on_change("a", lambda _: changed.set())
        while dict(rig.live.documents) != expected:
            changed.wait(_LOOK_S)

        assert restored == rig.live.revision
