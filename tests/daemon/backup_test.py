"""Backups between daemons as people run them: killed, with workers, behind TLS."""

from __future__ import annotations

import os
import signal
import time
from contextlib import ExitStack, closing
from typing import TYPE_CHECKING

import pytest

from st8 import Client
from st8.clock import SystemClock
from st8.core.errors import RequestTimeout, St8Error, Unauthenticated
from st8.daemon import serve_engine
from st8.engine.engine import Engine
from st8.http.connections import GuardSettings
from st8.store.memory import MemoryStore
from st8.store.sqlite import SqliteStore
from st8.testing.clock import FakeClock
from tests.daemon.certificates import Authority
from tests.daemon.process import Daemon
from tests.daemon.worker_clients import one_of_each
from tests.engine.acts import apply, scope
from tests.engine.backups import backup, leftovers, reader
from tests.engine.histories import everything, make_history

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PIECE = 64 * 1024


@pytest.fixture(scope="module")
def source() -> Iterator[tuple[MemoryStore, Engine]]:
    """A store whose backup has some MiB."""
    store = MemoryStore()
    with closing(Engine(store, FakeClock())) as engine:
        make_history(engine, range(60))
        for n in range(20):
            documents = {f"{n}/{m}": os.urandom(50_000).hex() for m in range(3)}
            apply(engine, documents, at=scope("large"))
        yield store, engine


@pytest.fixture(scope="module")
def data(source: tuple[MemoryStore, Engine]) -> bytes:
    """That backup."""
    return backup(source[1])


def pieces_of(data: bytes) -> Iterator[bytes]:
    """Yield the bytes of a backup, a piece at a time."""
    for at in range(0, len(data), PIECE):
        yield data[at : at + PIECE]


def test_a_restore_that_is_killed_leaves_nothing_to_be_seen(
    source: tuple[MemoryStore, Engine], data: bytes, tmp_path: Path
) -> None:
    """After kill -9 in the midst of it nothing is there, and it can be begun again."""
    with Daemon(tmp_path) as daemon:

        def killing() -> Iterator[bytes]:
            yield from pieces_of(data[:-PIECE])
            # What was sent is being written by now, some of it is there.
            daemon.signal(signal.SIGKILL)
            daemon.wait()
            yield data[-PIECE:]

        with Client(daemon.url) as client, pytest.raises(St8Error):
            client.restore_backup(killing())
    with Daemon(tmp_path) as daemon, Client(daemon.url) as client:
        assert [] == list(client.namespaces())
        client.restore_backup(pieces_of(data))
        client.gc()
    store = SqliteStore(tmp_path)
    with closing(Engine(store, FakeClock())) as engine:
        engine_source = source[1]
        for name in ("large", *(i.name for i in engine_source.namespaces().items)):
            at = scope(name)
            assert engine_source.state(at).root == engine.state(at).root
        assert [] == [left for left in leftovers(store, []) if "mark" in left]


def test_workers_tls_and_tokens(
    source: tuple[MemoryStore, Engine], data: bytes, tmp_path: Path
) -> None:
    """What came through one worker is there on the other, and the same at the end."""
    authority = Authority(tmp_path, "servers")
    (tmp_path / "token").write_text("open-sesame\n", encoding="ascii")
    flags = ["--token-file", str(tmp_path / "token"), *authority.issue().flags()]
    with (
        Daemon(tmp_path / "tls", *flags) as secure,
        Daemon(tmp_path / "workers", "--workers", "2") as shared,
        Client(secure.url, token="open-sesame", ca_file=authority.ca_file) as first,
        Client(secure.url, token="wrong", ca_file=authority.ca_file) as stranger,
        Client(shared.url, namespace="large") as second,
        ExitStack() as stack,
    ):
        both = [stack.enter_context(one) for one in one_of_each(shared)]
        assert [200, 200] == [one.call("GET", "/v1/namespaces")[0] for one in both]
        first.restore_backup(pieces_of(data))
        second.restore_backup(first.backup())
        assert both[0].call("GET", "/v1/log?namespace=large") == both[1].call(
            "GET", "/v1/log?namespace=large"
        )
        last = b"".join(second.backup())
        assert 21 == second.apply({"new": "1"}).revision
        with pytest.raises(Unauthenticated):
            b"".join(stranger.backup())
        with pytest.raises(Unauthenticated):
            stranger.restore_backup(pieces_of(data))
    target = MemoryStore()
    with closing(Engine(target, FakeClock())) as engine:
        engine.restore_backup(reader(last))
        assert everything(*source) == everything(target, engine)


def _served(guards: GuardSettings) -> tuple[Engine, ExitStack, str]:
    stack = ExitStack()
    engine = stack.enter_context(closing(Engine(MemoryStore(), SystemClock())))
    return engine, stack, stack.enter_context(serve_engine(engine, guards=guards))


def test_a_restore_is_held_to_no_size_and_no_time(
    source: tuple[MemoryStore, Engine], data: bytes
) -> None:
    """It may be larger than bodies are, and take longer than requests do."""
    guards = GuardSettings(
        read_timeout_s=0.1, sweep_s=0.02, bodies_bytes_max=20 * PIECE
    )
    engine, stack, url = _served(guards)

    def slowly() -> Iterator[bytes]:
        for piece in pieces_of(data):
            time.sleep(0.01)
            yield piece

    assert len(data) > guards.bodies_bytes_max
    with stack, Client(url) as client:
        client.restore_backup(slowly())
        assert source[1].state(scope("large")).root == engine.state(scope("large")).root


def test_a_restore_that_hardly_comes_is_ended(data: bytes) -> None:
    """The least pace of bodies holds for it, too; nothing of it stays."""
    guards = GuardSettings(body_grace_s=0.05, sweep_s=0.02, body_bytes_per_s_min=10**9)
    engine, stack, url = _served(guards)

    def slowly() -> Iterator[bytes]:
        for piece in pieces_of(data):
            yield piece
            time.sleep(0.05)

    with stack, Client(url) as client:
        with pytest.raises(RequestTimeout, match="more slowly"):
            client.restore_backup(slowly())
        assert [] == list(client.namespaces())
        engine.restore_backup(reader(data))
