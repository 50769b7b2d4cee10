"""st8d with several workers: as one daemon, whichever of them answers."""

from __future__ import annotations

import json
import os
import re
import signal
import threading
import time
from contextlib import ExitStack, closing
from functools import partial
from typing import TYPE_CHECKING, Final, cast

import pytest

from st8 import Client, RevisionEvent
from st8.engine.engine import Engine
from st8.store.sqlite import SqliteStore
from st8.testing.clock import FakeClock
from tests.daemon.process import Daemon, run
from tests.daemon.worker_clients import Connected, one_of_each
from tests.engine.acts import SCOPE, apply, scope
from tests.postgres.appliers import History, mixed_work, run_all

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from st8.core.ids import Scope

PATIENCE_S: Final = 60
TWO: Final = ("--workers", "2")
ONE_TOKEN: Final = "a-token-of-before"
OTHER_TOKEN: Final = "a-token-of-after"


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """A state directory that is not there yet."""
    return tmp_path / "deep" / "state"


@pytest.fixture
def daemon(state: Path) -> Iterator[Daemon]:
    """A daemon with two workers."""
    with Daemon(state, *TWO) as started:
        yield started


@pytest.fixture
def both(daemon: Daemon) -> Iterator[list[Connected]]:
    """A connection to each of its workers."""
    with ExitStack() as stack:
        yield [stack.enter_context(one) for one in one_of_each(daemon)]


def settled(state: Path, history: History) -> list[str]:
    """Return what a store that is not served any more contradicts of a history."""
    engine = Engine(SqliteStore(state), FakeClock())
    with closing(engine):
        wrong = history.settle(engine)
    return wrong + [str(finding) for finding in history.findings()]


def wait_until(condition: Callable[[], bool]) -> None:
    """Return once ``condition`` holds."""
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def work_of(
    history: History, clients: list[Connected], scopes: list[Scope]
) -> list[Callable[[], None]]:
    """Return what each of ``clients`` does: mostly write, now and then read."""
    # Two are meant to share an engine, but a connection is for one.
    return mixed_work(history, cast("list[Engine]", clients), scopes, times=50)[::2]


def processes(daemon: Daemon) -> dict[int, int]:
    """Return the process of each worker, by its number."""
    return {e["worker"]: e["pid"] for e in daemon.wait_for("a worker is ready", 2)}


def test_ready_line(daemon: Daemon, state: Path) -> None:
    """It is ready once, when all workers are, and says how many there are."""
    [ready] = daemon.wait_for("st8d listening on")

    assert 2 == ready["workers"]
    assert daemon.process.pid == ready["pid"]
    assert ready["store"].startswith("sqlite ")
    assert "none" == ready["auth"]
    assert "worker" not in ready
    assert {1, 2} == set(processes(daemon))
    assert 0 == daemon.stop()
    assert "st8d stopped" == daemon.events()[-1]["event"]
    assert (state / "st8.db").exists()


def test_each_reads_what_the_other_has_written(both: list[Connected]) -> None:
    """What was answered at one worker, the next read at any of them has."""
    for number in range(1, 101):
        writer, reader = both[number % 2], both[1 - number % 2]
        apply(cast("Engine", writer), {"n": str(number)})

        assert (number, {"n": str(number)}) == reader.state(SCOPE)
        # And once more, from what it remembers.
        assert number == reader.state(SCOPE).number


@pytest.mark.parametrize(
    "scopes",
    [
        pytest.param([SCOPE], id="one branch"),
        pytest.param(
            [scope(f"n{n}", f"b{m}") for n in range(2) for m in range(2)],
            id="branches of namespaces",
        ),
    ],
)
def test_one_order_explains_what_clients_of_all_saw(
    daemon: Daemon, both: list[Connected], state: Path, scopes: list[Scope]
) -> None:
    """Writes of all workers have the numbers 1, 2, 3 … and are all there.

    What a client of one has been answered, clients of the others see; each read is
    what replaying the writes gives.
    """
    history = History()
    with ExitStack() as stack:
        more = [stack.enter_context(one) for one in one_of_each(daemon)]
        run_all(work_of(history, [*both, *more], scopes))
    assert 0 == daemon.stop()

    assert (0, []) == (history.refused, history.lost)
    assert [] == settled(state, history)


def test_a_watch_at_one_hears_of_writes_at_the_other(
    daemon: Daemon, both: list[Connected]
) -> None:
    """A watch has every revision once and in order, whoever has written it."""
    with Client(daemon.url) as client, closing(client.watch(after=0)) as watch:
        events = (event for event in watch if isinstance(event, RevisionEvent))
        for number in range(1, 31):
            apply(cast("Engine", both[number % 2]), {"n": str(number)})

            assert number == next(events).entry.revision


def test_a_worker_that_is_killed_loses_nothing(daemon: Daemon, state: Path) -> None:
    """Others go on, another one takes its place, and what was answered is there."""
    history = History()

    def kill() -> None:
        for turn in range(1, 6):
            history.wait_for(turn * 20)
            victim = daemon.wait_for("a worker is ready", 1 + turn)[-1]
            os.kill(victim["pid"], signal.SIGKILL)
            [*_, ended] = daemon.wait_for("a worker has ended", turn)
            assert ("SIGKILL", victim["worker"]) == (ended["signal"], ended["worker"])
        daemon.wait_for("a worker is ready", 7)

    with ExitStack() as stack:
        clients = [stack.enter_context(Connected(daemon)) for _ in range(6)]
        stopped = threading.Event()

        def write(number: int) -> None:
            turn = 0
            while not stopped.is_set():
                turn += 1
                at = scope(f"n{turn % 2}")
                history.write(cast("Engine", clients[number]), at, f"{number}/{turn}")
                history.read(cast("Engine", clients[number]), at)

        def kill_and_stop() -> None:
            try:
                kill()
            finally:
                stopped.set()

        run_all([kill_and_stop, *(lambda n=n: write(n) for n in range(6))])
        for one in one_of_each(daemon):
            one.close()
    assert 0 == daemon.stop()

    assert history.acknowledged > 100
    assert [] == settled(state, history)


def test_workers_end_with_their_leader(daemon: Daemon, state: Path) -> None:
    """When the first process is killed the others end, and the store is free."""
    daemon.process.kill()
    # Its log has an end when the last of them has closed it.
    assert -signal.SIGKILL == daemon.wait()

    with Daemon(state, *TWO) as next_one:
        assert b"ok\n" == next_one.get("/readyz")


def test_requests_in_flight_are_finished(
    daemon: Daemon, both: list[Connected], state: Path
) -> None:
    """Requests that have begun at any worker are answered when it is told to stop."""
    halves: list[socket.socket] = []
    body = b'{"documents":[{"key":"a","content":"late"}]}'
    head = b"POST /v1/apply HTTP/1.1\r\nHost: st8\r\nExpect: 100-continue\r\n"
    for one in both:
        one.worker()
        wire = one._connection.sock
        wire.sendall(head + b"Content-Length: %d\r\n\r\n" % len(body))
        assert b"HTTP/1.1 100 Continue\r\n\r\n" == wire.recv(65536)
        halves.append(wire)
    daemon.signal()
    daemon.wait_for("st8d stops on a signal")
    for wire in halves:
        wire.sendall(body)
        answer = b"".join(iter(lambda: wire.recv(65536), b""))  # noqa: B023
        assert answer.startswith(b"HTTP/1.1 200 ")

    assert 0 == daemon.wait()
    with closing(SqliteStore(state)) as store:
        assert 1 == store.namespace(SCOPE.namespace).last_revision


def test_a_second_signal_ends_all(daemon: Daemon, both: list[Connected]) -> None:
    """Told twice, all of them end at once."""
    wire = both[0]._connection.sock
    wire.sendall(b"POST /v1/gc HTTP/1.1\r\nHost: st8\r\nContent-Length: 2\r\n")
    wire.sendall(b"Expect: 100-continue\r\n\r\n")
    assert wire.recv(65536).startswith(b"HTTP/1.1 100")
    daemon.signal()
    daemon.wait_for("st8d stops on a signal")
    daemon.signal()

    assert 1 == daemon.wait()


def test_all_reload(state: Path, tmp_path: Path) -> None:
    """After SIGHUP each worker asks for the new token, also one that comes later."""
    file = tmp_path / "token"
    file.write_text(ONE_TOKEN)
    file.chmod(0o600)
    with Daemon(state, *TWO, "--token-file", str(file)) as daemon, ExitStack() as stack:
        both = [stack.enter_context(one) for one in one_of_each(daemon, 2, ONE_TOKEN)]
        assert [200, 200] == [one.call("GET", "/v1/namespaces")[0] for one in both]
        file.write_text(OTHER_TOKEN)
        daemon.signal(signal.SIGHUP)
        reloaded = daemon.wait_for("st8d has reloaded", 2)

        assert {1, 2} == {event["worker"] for event in reloaded}
        assert [401, 401] == [one.call("GET", "/v1/namespaces")[0] for one in both]
        os.kill(processes(daemon)[1], signal.SIGKILL)
        daemon.wait_for("a worker is ready", 3)
        for one in one_of_each(daemon, 2, OTHER_TOKEN):
            assert 200 == one.call("GET", "/v1/namespaces")[0]
            one.close()
        assert 0 == daemon.stop()


def test_a_start_that_fails_says_so_once(state: Path) -> None:
    """What keeps the workers from starting is one sentence, and the exit code 1."""
    state.mkdir(parents=True)
    (state / "st8.db").write_bytes(b"no database" * 1000)

    ended = run("--state-dir", str(state), "--listen", "127.0.0.1:0", *TWO)

    assert (1, 1) == (ended.returncode, ended.stderr.count("st8d: "))


def test_the_directory_is_in_use(daemon: Daemon, state: Path) -> None:
    """A second daemon on a state directory says which process leads the first."""
    second = run("--listen", "127.0.0.1:0", "--state-dir", str(state), *TWO)

    assert 1 == second.returncode
    assert str(daemon.process.pid) in second.stderr
    assert 1 == second.stderr.count("\n")


def test_the_audit_log_has_every_record(state: Path, tmp_path: Path) -> None:
    """All workers write whole lines into one file."""
    path = tmp_path / "audit.log"
    with Daemon(state, *TWO, "--audit-log", str(path)) as daemon, ExitStack() as stack:
        both = [stack.enter_context(one) for one in one_of_each(daemon)]
        history = History()
        run_all(work_of(history, both, [SCOPE]))
        assert 0 == daemon.stop()

    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert 100 == len(lines)
    assert {"allowed"} == {line["outcome"] for line in lines}


def test_metrics_are_the_sum(daemon: Daemon, both: list[Connected]) -> None:
    """Whichever worker is asked tells of all, also of one that was killed since."""
    for number in range(6):
        apply(cast("Engine", both[number % 2]), {"n": str(number)})

    def commits() -> float:
        text = daemon.get("/metrics").decode()
        assert {"1", "2"} == set(
            re.findall(r'^process_cpu_seconds_total{worker="(\d)"}', text, re.MULTILINE)
        )
        [found] = re.findall(r"^st8_store_commits_total (\S+)$", text, re.MULTILINE)
        return float(found)

    wait_until(lambda: commits() == 6)
    os.kill(processes(daemon)[1], signal.SIGKILL)
    daemon.wait_for("a worker is ready", 3)
    for one in one_of_each(daemon):
        with one:
            apply(cast("Engine", one), {"n": f"of {one.worker()}"})
            assert commits() >= 6

    wait_until(lambda: commits() == 8)


def test_two_collect_while_both_write(
    daemon: Daemon, both: list[Connected], state: Path
) -> None:
    """Collections at two workers among the writes of both take nothing that is kept."""
    history = History()

    def collect(client: Connected) -> None:
        for _ in range(8):
            status, answer = client.call("POST", "/v1/gc", {"keep": 1000})
            # One of them collects at a time.
            assert (status, answer.get("code")) in {(200, None), (503, "unavailable")}

    with ExitStack() as stack:
        collectors = [stack.enter_context(one) for one in one_of_each(daemon)]
        run_all(
            [
                *work_of(history, both, [SCOPE]),
                *(partial(collect, client) for client in collectors),
            ]
        )
    assert 0 == daemon.stop()

    assert (0, []) == (history.refused, history.lost)
    assert [] == settled(state, history)


def test_sockets_of_the_machine(state: Path, tmp_path: Path) -> None:
    """Workers share a socket with a path, which outlives each and goes with st8d."""
    path = tmp_path / "st8d.sock"
    listen = f"unix:{path}"
    with Daemon(state, *TWO, listen=listen) as daemon, Client(daemon.url) as client:
        client.apply({"n": "1"})
        for turn, worker in enumerate((1, 2)):
            os.kill(processes(daemon)[worker], signal.SIGKILL)
            daemon.wait_for("a worker is ready", 3 + turn)

            assert path.exists()
            assert "1" == client.get("n")
        os.kill(processes(daemon)[1], signal.SIGTERM)
        daemon.wait_for("a worker is ready", 5)
        assert path.exists()
        assert "1" == client.get("n")
        assert 0 == daemon.stop()
    assert not path.exists()


def test_a_worker_that_cannot_start_again_is_tried_until_it_can(
    state: Path, tmp_path: Path
) -> None:
    """Where files can't be right, those that run go on, and a new one waits for them."""
    file = tmp_path / "token"
    file.write_text(ONE_TOKEN)
    file.chmod(0o600)
    with Daemon(state, *TWO, "--token-file", str(file)) as daemon:
        file.write_text("")
        os.kill(processes(daemon)[2], signal.SIGKILL)
        daemon.wait_for("a worker can't start: token-file", 2)
        assert b"ok\n" == daemon.get("/readyz", token=ONE_TOKEN)
        file.write_text(OTHER_TOKEN)
        daemon.wait_for("a worker is ready", 3)

        assert 0 == daemon.stop()
