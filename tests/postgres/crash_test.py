"""PostgreSQL is stopped as if it had crashed, under load: what was answered is there."""

from __future__ import annotations

import os
import threading
from contextlib import ExitStack
from functools import partial
from random import Random

import pytest

from st8.engine.engine import Engine
from st8.store.postgres import PostgresStore
from st8.testing.clock import FakeClock
from tests.engine.acts import read_everything, scope
from tests.postgres.appliers import History, run_all
from tests.postgres.server import PostgresServer

pytestmark = pytest.mark.crash

_CRASHES = int(os.environ.get("ST8_POSTGRES_CRASHES", "4"))
_WRITES_BETWEEN = 25


def test_a_crash_of_the_server_loses_nothing() -> None:
    """Two daemons write while the server crashes again and again, and recovers.

    Every acknowledged write is there with its number; a write whose outcome was not
    known is there once or not at all; numbers have no gaps; one order explains all.
    """
    scopes = [scope("a", "x"), scope("a", "y"), scope("b")]
    history = History()
    server = PostgresServer()
    with ExitStack() as stack:
        stack.callback(server.close)
        engines = [Engine(PostgresStore(server.url()), FakeClock()) for _ in range(2)]
        for engine in engines:
            stack.callback(engine.close)
        done = threading.Event()

        def work(client: int, engine: Engine) -> None:
            chance = Random(client)
            turn = 0
            while not done.is_set():
                at = chance.choice(scopes)
                if not history.write(engine, at, f"{client}/{turn}"):
                    done.wait(0.01)  # and leave the server the processor
                history.read(engine, chance.choice(scopes))
                turn += 1

        def crash() -> None:
            try:
                for number in range(1, _CRASHES + 1):
                    history.wait_for(number * _WRITES_BETWEEN)
                    server.stop("immediate")
                    server.start()
                history.wait_for(history.acknowledged + _WRITES_BETWEEN)
            finally:
                done.set()

        clients = [engine for engine in engines for _ in range(2)]
        run_all([crash, *(partial(work, n, e) for n, e in enumerate(clients))])

        assert [] == history.settle(engines[0])
        assert [] == history.findings()
        assert read_everything(engines[0]) == read_everything(engines[1])
