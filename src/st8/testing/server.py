"""An in-process server: the real app behind the real guards, over a store in memory."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, NamedTuple

from st8.clock import SystemClock
from st8.daemon import serve_engine
from st8.engine.engine import Engine
from st8.store.memory import MemoryStore

if TYPE_CHECKING:
    from collections.abc import Generator

    from st8.core.ports import Clock, Store
    from st8.http.connections import GuardSettings

__all__ = ["RunningServer", "running_server"]


class RunningServer(NamedTuple):
    """A server that runs in a thread of this process.

    Attributes:
        url: Its base URL, without a slash at the end.
        engine: What it serves; it may be used directly beside the server.
    """

    url: str
    engine: Engine


@contextlib.contextmanager
def running_server(
    *,
    token: str | None = None,
    store: Store | None = None,
    clock: Clock | None = None,
    guards: GuardSettings | None = None,
) -> Generator[RunningServer]:
    """Serve a store until the block is left; it is closed then.

    Args:
        token: What clients must show; None lets everybody in.
        store: The store; a new one in memory by default.
        clock: Dates revisions; the machine's by default.
        guards: Limits of time and room; the daemon's own by default.
    """
    engine = Engine(store or MemoryStore(), clock or SystemClock())
    with (
        contextlib.closing(engine),
        serve_engine(engine, token=token, guards=guards) as url,
    ):
        yield RunningServer(url, engine)
