"""A live state is the daemon's state, and stays whole when there is no daemon."""

from __future__ import annotations

import dataclasses
import json
import logging
import math
import random
import socket
import threading
from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlsplit

import msgspec
import pytest

from st8 import Client
from st8.client import LiveState
from st8.client._kept import Copy, read_copy, write_copy
from st8.core.errors import (
    InvalidValue,
    KeyNotFound,
    NothingApplied,
    TimedOut,
    Unauthenticated,
    Unavailable,
    Unreachable,
)
from st8.core.ids import Scope
from st8.store.sqlite import SqliteStore
from st8.testing.server import running_server
from tests.client.watch_test import EVERYTHING, pass_on

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from st8.core.documents import Change
    from st8.testing.server import RunningServer

PATIENCE_S = 60.0
NOWHERE = "http://127.0.0.1:1"


@pytest.fixture
def server() -> Iterator[RunningServer]:
    """A daemon that nothing was applied to."""
    with running_server() as running:
        yield running


@pytest.fixture
def client(server: RunningServer) -> Iterator[Client]:
    """Its client."""
    with Client(server.url) as client:
        yield client


def live_of(client: Client, prefix: str = "", file: Path | None = None) -> LiveState:
    """Return a live state that does not wait between its attempts for long."""
    return LiveState(
        client,
        client._transport,
        Scope(client._scope.namespace, client._scope.branch),
        prefix,
        file=file,
        jitter=lambda: 0.02,
    )


def until(live: LiveState, revision: int = 0) -> dict[str, str]:
    """Wait for a revision; return the documents."""
    live.wait(PATIENCE_S, revision=revision)
    return dict(live.documents)


def until_problem(live: LiveState, kind: type[Exception]) -> None:
    """Wait until it has a problem of that kind."""
    pause = threading.Event()
    while not isinstance(live.problem, kind):
        pause.wait(0.002)


# --- following ------------------------------------------------------------------------


def test_it_is_the_state(client: Client) -> None:
    """What is there, then each change: created, updated, deleted, rolled back."""
    client.apply({"a": "1", "b": "1"})
    with client.live() as live:
        assert {"a": "1", "b": "1"} == until(live)
        done = client.apply({"a": "2", "c": ""}, deletes=["b"])
        assert {"a": "2", "c": ""} == until(live, done.revision)
        assert ("2", "", None, "x") == (
            live["a"], live.get("c"), live.get("b"), live.get("b", "x")
        )  # fmt: skip
        assert "a" in live
        assert "b" not in live
        with pytest.raises(KeyNotFound, match="'b' not found at revision 2"):
            _ = live["b"]
        done = client.rollback(revision=1)
        assert {"a": "1", "b": "1"} == until(live, done.revision)
        assert done.revision == live.revision
        assert (True, None) == (live.connected, live.problem)
        assert 0 <= live.age_s < PATIENCE_S


def test_under_a_prefix(client: Client) -> None:
    """Only what is under it, and nothing of what is not."""
    client.apply({"app/a": "1", "sys/a": "1"})
    with client.live("app/") as live:
        until(live)
        client.apply({"sys/a": "2"})
        done = client.apply({"app/b": "1", "sys/b": "1"})
        assert {"app/a": "1", "app/b": "1"} == until(live, done.revision)


def test_a_mapping_of_one_revision(client: Client) -> None:
    """What was taken never changes, and can't be changed."""
    client.apply({"a": "1"})
    with client.live() as live:
        live.wait(PATIENCE_S)
        before: Any = live.documents
        until(live, client.apply({"a": "2"}).revision)
        assert {"a": "1"} == dict(before)
        with pytest.raises(TypeError):
            before["a"] = "3"


def test_it_is_never_torn(client: Client) -> None:
    """Documents that are applied together are seen together, at each moment."""
    client.apply({"a": "0", "b": "0"})
    torn: list[dict[str, str]] = []
    with client.live() as live:
        live.wait(PATIENCE_S)
        done = threading.Event()

        def look() -> None:
            while not done.is_set():
                seen = live.documents
                if seen["a"] != seen["b"]:
                    torn.append(dict(seen))

        reader = threading.Thread(target=look)
        reader.start()
        for number in range(100):
            client.apply({"a": str(number + 1), "b": str(number + 1)})
        until(live, 101)
        done.set()
        reader.join()

    assert [] == torn


def test_large_change(client: Client) -> None:
    """What does not fit into an event is read."""
    client.apply({"a": "1"})
    with client.live() as live:
        live.wait(PATIENCE_S)
        done = client.apply({f"k/{n:05}": "x" * 100 for n in range(10_000)})
        assert client.state().documents == until(live, done.revision)


def test_scope_that_nothing_was_applied_to(client: Client) -> None:
    """It is not an empty state: there is nothing yet, until there is something."""
    with live_of(client) as live:
        until_problem(live, NothingApplied)
        with pytest.raises(Unavailable, match="nothing has been applied"):
            _ = live.documents
        with pytest.raises(TimedOut, match="nothing has been applied"):
            live.wait(0.01)
        client.apply({"a": "1"})
        assert {"a": "1"} == until(live)


def test_branch_that_is_taken_away(client: Client) -> None:
    """What was good stays, and what is made anew under the name is followed."""
    client.apply({"a": "1"})
    client.create_branch("dev")
    dev = client.scope(branch="dev")
    dev.apply({"a": "2"})
    with live_of(dev) as live:
        assert {"a": "2"} == until(live)
        client.delete_branch("dev")
        until_problem(live, Exception)
        assert {"a": "2"} == dict(live.documents)
        client.create_branch("dev")
        done = dev.apply({"b": "1"})
        assert {"a": "1", "b": "1"} == until(live, done.revision)
        assert None is live.problem


# --- without a daemon ---------------------------------------------------------------------


class Switch:
    """Passes connections on to a daemon that may be another one at any time.

    Attributes:
        url: Where it is.
        target: Where it leads to.
    """

    def __init__(self) -> None:
        self.target = "http://"
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._open: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def _accept(self) -> None:
        while True:
            try:
                ours, _ = self._listener.accept()
            except OSError:
                return
            thread = threading.Thread(target=self._serve, args=(ours,))
            self._threads.append(thread)
            thread.start()

    def _serve(self, ours: socket.socket) -> None:
        port = urlsplit(self.target).port
        with ours, suppress(OSError):
            if port is not None:
                with socket.create_connection(("127.0.0.1", port)) as theirs:
                    self._open += [ours, theirs]
                    pass_on(ours, theirs, EVERYTHING)

    def cut(self) -> None:
        """Break every open connection."""
        for sock in self._open:
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

    def leave(self) -> None:
        """Lead nowhere, from now on."""
        self.target = "http://"
        self.cut()

    def close(self) -> None:
        """End."""
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.cut()
        for thread in self._threads:
            thread.join(PATIENCE_S)


@contextmanager
def switching() -> Iterator[Switch]:
    """A switch that is closed at the end."""
    switch = Switch()
    try:
        yield switch
    finally:
        switch.close()


def test_an_outage(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The copy stays as it was, says that it grows old, and catches up."""
    caplog.set_level(logging.INFO, "st8.live")
    with switching() as switch, Client(switch.url) as client, ExitStack() as stack:
        daemon = stack.enter_context(ExitStack())
        _restart(daemon, switch, tmp_path).apply({"a": "1"})
        live = stack.enter_context(live_of(client))
        until(live)
        while not live.connected:
            threading.Event().wait(0.002)
        switch.leave()
        until_problem(live, Unreachable)
        assert {"a": "1"} == dict(live.documents)
        assert (False, 1) == (live.connected, live.revision)
        age_s = live.age_s
        assert live.age_s >= age_s
        daemon.close()
        last = _restart(daemon, switch, tmp_path).apply({"a": "2"})
        assert {"a": "2"} == until(live, last.revision)
        assert (True, None) == (live.connected, live.problem)

    told = [record.getMessage() for record in caplog.records]
    assert 1 == sum(text.endswith("going on with revision 1") for text in told)
    assert 1 == sum(text.endswith("connected again") for text in told)


def test_random_writes_restarts_and_collections(tmp_path: Path) -> None:
    """Whatever happens, it comes to be the daemon's state."""
    chance = random.Random(4)
    with switching() as switch, Client(switch.url) as client, ExitStack() as stack:
        daemon = stack.enter_context(ExitStack())
        writer = _restart(daemon, switch, tmp_path)
        writer.apply({"k0": "0"})
        live = stack.enter_context(live_of(client))
        part = stack.enter_context(live_of(client, "k1"))
        for step in range(120):
            what = chance.random()
            if what < 0.8:
                key, other = (f"k{chance.randrange(20)}" for _ in range(2))
                last = writer.apply(
                    {key: str(step)}, deletes=[] if other == key else [other]
                )
            elif what < 0.87:
                last = writer.rollback(revision=-1)
            elif what < 0.92:
                writer.gc(1)
            elif what < 0.96:
                switch.cut()
            else:
                switch.leave()
                daemon.close()
                writer = _restart(daemon, switch, tmp_path)
                for number in range(chance.randrange(4)):
                    last = writer.apply({f"k{number}": f"{step} back"})
                if chance.random() < 0.5:
                    writer.gc(1)
        last = writer.apply({"k1": "end", "k2": "end"})
        expected = writer.state().documents

        assert expected == until(live, last.revision)
        assert {k: v for k, v in expected.items() if k.startswith("k1")} == until(
            part, last.revision
        )
        switch.leave()


def _restart(daemon: ExitStack, switch: Switch, folder: Path) -> Client:
    """Start a daemon, to which the switch leads from now on; return its client."""
    url = daemon.enter_context(running_server(store=SqliteStore(folder))).url
    switch.target = url
    return daemon.enter_context(Client(url))


def test_daemon_that_was_restored_from_a_backup(tmp_path: Path) -> None:
    """A daemon that is behind is not taken for one where nothing has happened."""
    with switching() as switch, Client(switch.url) as client, ExitStack() as stack:
        with ExitStack() as daemon:
            writer = _restart(daemon, switch, tmp_path / "now")
            for number in range(5):
                writer.apply({"a": str(number)})
            live = stack.enter_context(live_of(client))
            assert {"a": "4"} == until(live, 5)
            switch.leave()
        with ExitStack() as daemon:
            writer = _restart(daemon, switch, tmp_path / "backup")
            writer.apply({"a": "0"})
            writer.apply({"a": "from the backup"})
            changed = threading.Event()
            live.on_change("a", lambda _: changed.set())
            while live["a"] != "from the backup":
                changed.wait(PATIENCE_S)
            assert 2 == live.revision
            last = writer.apply({"b": "1"})
            until(live, last.revision)
            assert "b" in live
            switch.leave()

    assert 3 == last.revision


def test_token_that_is_refused() -> None:
    """It says so, and goes on trying."""
    with (
        running_server(token="right") as server,
        Client(server.url, token="wrong") as client,
        live_of(client) as live,
    ):
        until_problem(live, Unauthenticated)
        with pytest.raises(TimedOut):
            live.wait(0.01)


# --- the file ---------------------------------------------------------------------------------


def test_start_without_a_daemon(tmp_path: Path, client: Client) -> None:
    """What was good last is there, and says that nobody has confirmed it."""
    file = tmp_path / "kept"
    client.apply({"a": "1", "é": "€\n\x00"})
    with client.live(file=file) as live:
        expected = until(live)
    with Client(NOWHERE) as nowhere, live_of(nowhere, file=file) as live:
        assert expected == until(live)
        until_problem(live, Unreachable)
        assert (1, False, math.inf) == (live.revision, live.connected, live.age_s)
    assert 0o600 == file.stat().st_mode & 0o777
    assert [file] == list(tmp_path.iterdir())


def test_start_from_the_file_with_a_daemon(tmp_path: Path, client: Client) -> None:
    """What was made since is told as changes of what the file had."""
    file = tmp_path / "kept"
    client.apply({"a": "1", "b": "1"})
    with client.live(file=file) as live:
        until(live)
    last = client.apply({"a": "2"}, deletes=["b"])
    told: list[tuple[Change, ...]] = []
    live = client.live(file=file)
    live.on_change("", told.append)
    with live:
        until(live, last.revision)

    assert [[("a", "update", "1", "2"), ("b", "delete", "1", None)]] == [
        [tuple(change) for change in changes] for changes in told
    ]


SCOPE = Scope.parse("a", "b")
COPY = Copy(7, {"k": "v", "é": ""}, 6, "d1")


def test_file_is_read_as_written(tmp_path: Path) -> None:
    """Documents, revision and digest; for the same scope and prefix only."""
    path = str(tmp_path / "kept")
    write_copy(path, SCOPE, "p", COPY)

    assert read_copy(path, SCOPE, "p") == COPY
    assert None is read_copy(path, Scope.parse("a", "c"), "p")
    assert None is read_copy(path, Scope.parse("x", "b"), "p")
    assert None is read_copy(path, SCOPE, "")
    assert None is read_copy(str(tmp_path / "other"), SCOPE, "p")
    assert None is read_copy(str(tmp_path), SCOPE, "p")


def test_damaged_file_is_none(tmp_path: Path) -> None:
    """Cut off anywhere, or with any byte changed, it is ignored."""
    path = tmp_path / "kept"
    write_copy(str(path), SCOPE, "p", COPY)
    whole = path.read_bytes()
    taken: list[int] = []
    for place in range(len(whole) - 1):
        for damaged in (
            whole[:place],
            whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :],
        ):
            path.write_bytes(damaged)
            if read_copy(str(path), SCOPE, "p") is not None:
                taken.append(place)

    assert [] == taken


def test_file_that_can_not_be_written(
    tmp_path: Path, client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    """It is said in the log; the copy itself is not harmed."""
    client.apply({"a": "1"})
    with live_of(client, file=tmp_path / "no" / "kept") as live:
        assert {"a": "1"} == until(live)
    told = [r.getMessage()[:11] for r in caplog.records if r.name == "st8.live"]
    assert ["can't write"] == told


# --- callbacks ------------------------------------------------------------------------------


def test_callbacks_by_key_and_prefix(
    client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    """Each is told of what it is about, in order; what it raises harms nobody."""
    client.apply({"app/a": "0"})
    told: list[tuple[str, list[str]]] = []

    def tell(name: str) -> Any:
        return lambda changes: told.append((name, [c.key for c in changes]))

    with client.live() as live:
        live.wait(PATIENCE_S)
        live.on_change("app/a", lambda _: 1 // 0)
        live.on_change("app/a", tell("key"))
        live.on_change("app/", tell("prefix"))
        live.on_change("app", tell("no such key"))
        end = live.on_change("", tell("all"))
        until(live, client.apply({"app/a": "1", "b": "1"}).revision)
        end()
        last = client.apply({"app/b": "1"})
        seen = threading.Event()
        live.on_change("c", lambda _: seen.set())
        client.apply({"c": "1"})
        assert seen.wait(PATIENCE_S)

    assert last.revision == 3
    assert [
        ("key", ["app/a"]),
        ("prefix", ["app/a"]),
        ("all", ["app/a", "b"]),
        ("prefix", ["app/b"]),
    ] == told
    assert 1 == sum("'app/a' at revision 2 failed" in m for m in caplog.messages)


def test_callback_that_closes(client: Client) -> None:
    """A callback may close what calls it."""
    client.apply({"a": "1"})
    closed = threading.Event()
    live = client.live()

    def close(_: object) -> None:
        live.close()
        closed.set()

    live.on_change("a", close)
    live.start()
    assert closed.wait(PATIENCE_S)
    live.close()
    with pytest.raises(RuntimeError, match="started once"):
        live.start()


# --- typed ----------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Pool:
    """A part of limits."""

    size: int
    name: str | None = None


@dataclasses.dataclass
class Limits:
    """What a document may hold."""

    rps: int
    ratio: float = 1.0
    mode: Literal["on", "off"] = "on"
    pools: list[Pool] = dataclasses.field(default_factory=list)
    labels: dict[str, str] = dataclasses.field(default_factory=dict)
    pair: tuple[int, str] = (0, "")
    anything: Any = None


class Struct(msgspec.Struct):
    """The same for msgspec."""

    rps: int


def test_typed_documents(client: Client) -> None:
    """A dataclass, a struct, a function; the same value until the document changes."""
    document = {
        "rps": 5,
        "ratio": 2,
        "mode": "off",
        "pools": [{"size": 1}, {"size": 2, "name": "x"}],
        "labels": {"a": "b"},
        "pair": [1, "x"],
        "anything": [None],
        "newer": True,
    }
    client.apply({"l": json.dumps(document)})
    with client.live() as live:
        live.wait(PATIENCE_S)
        first = live.load("l", Limits)
        assert first is live.load("l", Limits)
        assert (
            Limits(5, 2.0, "off", [Pool(1), Pool(2, "x")], {"a": "b"}, (1, "x"), [None])
            == first
        )
        assert 5 == live.load("l", Struct).rps
        assert document == live.load("l", dict)
        done = client.apply({"l": '{"rps": 6}'})
        live.wait(PATIENCE_S, revision=done.revision)
        assert Limits(6) == live.load("l", Limits)
        for number in range(1_200):
            assert 6 + number == live.load("l", lambda v, n=number: v["rps"] + n)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("{", "is no Limits"),
        ("[]", "it must be an object"),
        ("{}", "rps is missing"),
        ('{"rps": true}', "rps must be int"),
        ('{"rps": 1.0}', "rps must be int"),
        ('{"rps": 1, "ratio": "1"}', "ratio must be float"),
        ('{"rps": 1, "mode": "no"}', "mode must be 'on' or 'off'"),
        ('{"rps": 1, "pools": {}}', "pools must be a list"),
        ('{"rps": 1, "pools": [{}]}', r"pools\[0\].size is missing"),
        ('{"rps": 1, "pools": [{"size": 1, "name": 2}]}', "name must be str; or"),
        ('{"rps": 1, "labels": {"a": 1}}', r"labels\['a'\] must be str"),
        ('{"rps": 1, "labels": []}', "labels must be an object"),
        ('{"rps": 1, "pair": [1]}', "pair must be a list of 2"),
    ],
)
def test_documents_that_do_not_fit(client: Client, content: str, problem: str) -> None:
    """It is said what is wrong, and where; the text is there still."""
    client.apply({"l": content})
    with client.live() as live:
        live.wait(PATIENCE_S)
        with pytest.raises(InvalidValue, match=problem):
            live.load("l", Limits)
        assert content == live["l"]


def test_msgspec_says_what_does_not_fit(client: Client) -> None:
    """Its errors are InvalidValue, too."""
    client.apply({"l": '{"rps": "x"}'})
    with client.live() as live:
        live.wait(PATIENCE_S)
        with pytest.raises(InvalidValue, match="is no Struct"):
            live.load("l", Struct)
