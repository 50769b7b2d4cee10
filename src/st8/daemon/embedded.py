"""st8d inside another process: quiet, on a loopback port of its own."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from typing import TYPE_CHECKING, Final

from st8.auth.access import ANYONE
from st8.auth.simple import Everybody, OneToken
from st8.clock import SystemClock
from st8.daemon.parts import make_app, make_server

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

    from st8.engine.engine import Engine
    from st8.http.connections import GuardSettings

__all__ = ["serve_engine", "serve_in_thread"]

_CLOSE_GRACE_S: Final = 5.0


@contextlib.contextmanager
def serve_in_thread(state_dir: Path, *, token: str | None = None) -> Generator[str]:
    """Serve the store in ``state_dir`` on a loopback port of its own.

    Yields the base URL. On leaving, requests in flight and queued writes are
    finished and the store is closed. Says nothing and takes no signals.

    Raises:
        St8Error: The store can't be opened.
    """
    from st8.engine.engine import Engine  # noqa: PLC0415 - start-up time
    from st8.store.sqlite import SqliteStore  # noqa: PLC0415 - start-up time

    with contextlib.closing(SqliteStore(state_dir)) as store:
        engine = Engine(store, SystemClock())
        with contextlib.closing(engine), serve_engine(engine, token=token) as url:
            yield url


@contextlib.contextmanager
def serve_engine(
    engine: Engine, *, token: str | None = None, guards: GuardSettings | None = None
) -> Generator[str]:
    """Serve ``engine``, which stays open, on a loopback port of its own.

    Yields the base URL, at which it can be reached already.
    """
    from st8.http.connections import GuardSettings  # noqa: PLC0415 - start-up time
    from st8.http.sockets import address_of, listen  # noqa: PLC0415 - start-up time

    listener = listen("127.0.0.1", 0)
    url = f"http://{address_of(listener)}"
    # Whoever has the token is whoever runs the process: nobody to be named.
    authoriser = Everybody() if token is None else OneToken(token, ANYONE)
    app = make_app(engine, authoriser=authoriser)
    server = make_server(app, [listener], guards or GuardSettings())
    loop = asyncio.new_event_loop()
    stopping = asyncio.Event()

    async def serve() -> None:
        await server.start()
        await stopping.wait()
        app.begin_shutdown()
        await server.stop(_CLOSE_GRACE_S)

    def run() -> None:
        with asyncio.Runner(loop_factory=lambda: loop) as runner:
            runner.run(serve())

    thread = threading.Thread(target=run, name="st8d", daemon=True)
    thread.start()
    try:
        yield url
    finally:
        with contextlib.suppress(RuntimeError):  # it ended by itself, and said why
            loop.call_soon_threadsafe(stopping.set)
        thread.join()
        app.close()
