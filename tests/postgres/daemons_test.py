"""Several st8d on one PostgreSQL act as one."""

from __future__ import annotations

import itertools
import threading
from contextlib import ExitStack, closing
from typing import TYPE_CHECKING, cast

import pytest

from st8 import Client, NotReached, RevisionEvent
from tests.daemon.process import Daemon, run
from tests.daemon.worker_clients import one_of_each
from tests.engine.acts import SCOPE, apply
from tests.postgres.server import PASSWORD

if TYPE_CHECKING:
    from collections.abc import Iterator

    from st8.engine.engine import Engine
    from tests.postgres.server import PostgresServer


@pytest.fixture
def url(postgres: PostgresServer) -> str:
    """The URL of a store of the test's own, with a password."""
    return postgres.tcp_url(postgres.new_schema())


@pytest.fixture
def two(url: str) -> Iterator[tuple[Client, Client]]:
    """The clients of two daemons on one store."""
    store = {"ST8D_STORE": url}
    with (
        Daemon(None, environment=store) as one,
        Daemon(None, environment=store) as other,
        Client(one.url) as a,
        Client(other.url) as b,
    ):
        yield a, b


def test_each_sees_what_the_other_has_written(two: tuple[Client, Client]) -> None:
    """Writes alternate between two daemons; each read shows the last one."""
    for number in range(1, 11):
        writer, reader = two[number % 2], two[1 - number % 2]

        assert number == writer.apply({"n": str(number)}).revision
        assert str(number) == reader.get("n")
        assert str(number) == reader.get("n", min_revision=number, max_stale_s=60)
    with pytest.raises(NotReached):
        two[0].state(min_revision=11)


def test_an_answer_is_given_once(two: tuple[Client, Client]) -> None:
    """What is tried again at another daemon, with its key, is done once."""
    a, b = two
    first = a.apply({"n": "1"}, idempotency_key="once")

    assert first == b.apply({"n": "1"}, idempotency_key="once")
    assert 1 == b.state().revision


def test_watchers_hear_of_each_others_writes(two: tuple[Client, Client]) -> None:
    """A watch at one daemon has every revision of the other, once and in order."""
    a, b = two
    with closing(b.watch(after=0)) as watch:
        events = (event for event in watch if isinstance(event, RevisionEvent))
        for number in range(1, 31):
            a.apply({"n": str(number)})

            assert number == next(events).entry.revision


def test_workers_on_one_store(url: str) -> None:
    """Workers of one daemon are to PostgreSQL as many daemons, and act as one."""
    store = {"ST8D_STORE": url, "ST8D_WORKERS": "2"}
    with Daemon(None, environment=store) as daemon, ExitStack() as stack:
        both = [stack.enter_context(one) for one in one_of_each(daemon)]
        for number in range(1, 11):
            apply(cast("Engine", both[number % 2]), {"n": str(number)})

            assert (number, {"n": str(number)}) == both[1 - number % 2].state(SCOPE)
        assert 0 == daemon.stop()


def test_a_watcher_goes_from_daemon_to_daemon(two: tuple[Client, Client]) -> None:
    """Whoever goes on at another daemon misses nothing and hears nothing twice."""
    last = 60

    def write(client: Client, key: str) -> None:
        for number in range(last // 2):
            client.apply({key: str(number)})

    threads = [
        threading.Thread(target=write, args=pair)
        for pair in zip(two, "ab", strict=True)
    ]
    for thread in threads:
        thread.start()
    told: list[int] = []
    for client in itertools.cycle(two):
        with closing(client.watch(after=told[-1] if told else 0)) as watch:
            while len(told) < last:
                event = next(watch)
                assert isinstance(event, RevisionEvent)
                told.append(event.entry.revision)
                if len(told) % 7 == 0:
                    break
        if len(told) == last:
            break
    for thread in threads:
        thread.join()

    assert list(range(1, last + 1)) == told


def test_settings_of_a_store(url: str, postgres: PostgresServer) -> None:
    """The store is named in log and settings, and its password nowhere."""
    with Daemon(None, "--store", url) as daemon:
        [ready] = daemon.wait_for("st8d listening on")
        lines = "".join(daemon.lines)

        assert 0 == daemon.stop()
    shown = run("config", environment={"ST8D_STORE": url})
    checked = run("check-config", environment={"ST8D_STORE": url})
    wrong = run("--store", postgres.tcp_url("x", password="wrong/one"))

    assert ready["store"].startswith("postgresql ")
    assert "the process list; ST8D_STORE is a better place" in lines
    assert (0, "configuration is good\n") == (checked.returncode, checked.stdout)
    assert "store: " in shown.stdout
    assert 1 == wrong.returncode
    assert wrong.stderr.startswith("st8d: ")
    for text in (lines, shown.stdout, shown.stderr, checked.stdout, wrong.stderr):
        assert PASSWORD not in text
        assert "a-secret" not in text
        assert "wrong" not in text


def test_a_server_that_is_away(postgres: PostgresServer) -> None:
    """St8d says where it has looked for PostgreSQL, and does not start."""
    url = f"postgresql://st8@127.0.0.1:1/{postgres.new_schema()}"

    ended = run("--store", url, "--listen", "127.0.0.1:0")

    assert 1 == ended.returncode
    assert "PostgreSQL at 127.0.0.1:1" in ended.stderr
    assert 1 == ended.stderr.count("\n")
