"""st8d: puts configuration, store, engine and HTTP together, and runs them.

Three ways in: :func:`main` is the program; :func:`serve_in_thread` and
:func:`serve_engine` are the same app behind the same guards inside another process,
for ``st8ctl --local`` and for tests.

What is opened is closed in the opposite order, whatever happens: first no request is
taken any more, then those in flight are finished, then the engine's queued writes,
then the store.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import signal
import sys
import threading
from io import FileIO
from typing import TYPE_CHECKING, Any, Final, NoReturn

from st8 import __version__
from st8.clock import SystemClock
from st8.core import limits
from st8.core.errors import St8Error, Unavailable

if TYPE_CHECKING:
    import socket
    from collections.abc import Generator, Sequence
    from pathlib import Path
    from types import FrameType

    from st8.config import Settings
    from st8.engine.engine import Engine
    from st8.http.app import App
    from st8.http.connections import GuardSettings
    from st8.http.logs import AccessLog
    from st8.http.server import HttpServer

__all__ = ["main", "serve_engine", "serve_in_thread"]

_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)
_OWN_FILES: Final = 256  # what the store, logs and libraries have open, generously
_CLOSE_GRACE_S: Final = 5.0
_log = logging.getLogger("st8d")


def main(argv: Sequence[str] | None = None) -> int:
    """Run st8d until a signal ends it; return its exit code.

    0: it served and stopped, or printed what was asked for. 1: it could not start.
    2: its flags or variables can't be right.
    """
    from st8 import config  # noqa: PLC0415 - --local has no flags of st8d

    try:
        settings = config.load(sys.argv[1:] if argv is None else argv)
    except config.Finished as text:
        sys.stdout.write(f"{text}\n")
        return 0
    except config.UsageError as error:
        return _complain(str(error), 2)
    try:
        return _run(settings)
    except St8Error as error:
        return _complain(error.detail, 1)
    except KeyboardInterrupt:
        return 128 + signal.SIGINT


def _complain(sentence: str, code: int) -> int:
    """Say ``sentence`` on standard error; return ``code``."""
    sys.stderr.write(f"st8d: {sentence}\n")
    return code


# --- the program ----------------------------------------------------------------


def _run(settings: Settings) -> int:
    """Open everything, serve, and close everything."""
    from st8.engine.engine import Engine  # noqa: PLC0415 - --local chooses its own
    from st8.store.open import open_store  # noqa: PLC0415 - see above

    with contextlib.ExitStack() as stack:
        tls = _tls(settings)
        store = stack.enter_context(
            contextlib.closing(open_store(f"sqlite:{settings.state_dir}"))
        )
        listener = stack.enter_context(_listen(settings))
        access = _open_logs(settings)
        engine = Engine(store, SystemClock())
        stack.callback(engine.close)
        app = _make_app(engine, settings.token)
        stack.callback(app.close)
        guards = _guards(settings)
        server = _make_server(app, listener, guards, tls=tls, access=access)
        daemon = _Daemon(settings, app, server, listener, store.name)
        stack.callback(daemon.watchdog.stop)
        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            runner.run(daemon.serve())
        # The loop's handlers are gone; what is left is to close.
        for number in _SIGNALS:
            signal.signal(number, _exit_at_once)
    _log.info("st8d stopped")
    return 0


class _Daemon:
    """st8d while it serves.

    Attributes:
        watchdog: Ends the process if stopping takes too long.
    """

    def __init__(
        self,
        settings: Settings,
        app: App,
        server: HttpServer,
        listener: socket.socket,
        store_name: str,
    ) -> None:
        self._settings = settings
        self._app = app
        self._server = server
        self._listener = listener
        self._store_name = store_name
        self._stopping = asyncio.Event()
        self.watchdog = _Watchdog(settings.shutdown_timeout_s + _CLOSE_GRACE_S)

    async def serve(self) -> None:
        """Serve until the first signal, then finish what is in flight."""
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(_on_loop_exception)
        for number in _SIGNALS:
            loop.add_signal_handler(number, self._stop, number)
        await self._server.start()
        self._announce()
        # What is there now stays: collections need not look at it again.
        gc.collect()
        gc.freeze()
        await self._stopping.wait()
        self._app.begin_shutdown()
        timeout_s = self._settings.shutdown_timeout_s
        if not await self._server.stop(timeout_s):
            _log.warning(
                "requests that took longer than --shutdown-timeout were cut",
                extra={"shutdown_timeout_s": timeout_s},
            )

    def _stop(self, number: int) -> None:
        """Begin to stop; at the second signal end at once."""
        if self._stopping.is_set():
            _exit_at_once()
        _log.info(
            "st8d stops on a signal",
            extra={
                "signal": signal.Signals(number).name,
                "requests": self._server.requests_in_flight,
                "connections": self._server.connections,
            },
        )
        self.watchdog.start()
        self._stopping.set()

    def _announce(self) -> None:
        """Log that st8d is ready, and what whoever started it should know."""
        from st8.http.server import address_of, is_loopback  # noqa: PLC0415 - --local

        settings = self._settings
        address = address_of(self._listener)
        if settings.token is None and not is_loopback(self._listener):
            _log.warning(
                "st8d listens beyond this machine without a token: whoever can reach "
                "it may read and change everything; set ST8D_TOKEN, or listen on "
                "127.0.0.1",
                extra={"address": address},
            )
        if settings.token is not None and settings.token_from_flag:
            _log.warning(
                "the token was given as a flag, which everyone on this machine can "
                "read in the process list; ST8D_TOKEN is a better place"
            )
        _log.info(
            "st8d listening on %s",
            address,
            extra={
                "address": address,
                "version": __version__,
                "store": self._store_name,
                "state_dir": str(settings.state_dir),
                "tls": settings.tls is not None,
                "auth": "none" if settings.token is None else "token",
                "pid": os.getpid(),
            },
        )


class _Watchdog:
    """Ends the process if closing takes too long; what is acknowledged is durable."""

    def __init__(self, timeout_s: float) -> None:
        self._timer = threading.Timer(timeout_s, self._bite)
        self._timer.daemon = True
        self._started = False

    def start(self) -> None:
        """Begin to count."""
        self._started = True
        self._timer.start()

    def stop(self) -> None:
        """Stop counting."""
        if self._started:
            self._timer.cancel()

    def _bite(self) -> NoReturn:
        _log.error("closing took too long; st8d ends at once, as after a crash")
        os._exit(1)


def _exit_at_once(_number: int = 0, _frame: FrameType | None = None) -> NoReturn:
    """End the process; what is acknowledged is durable."""
    _log.warning("a second signal: st8d ends at once, as after a crash")
    os._exit(1)


def _on_loop_exception(
    loop: asyncio.AbstractEventLoop, context: dict[str, Any]
) -> None:
    """Log what the loop caught; a client's bad handshake is no fault of ours."""
    import ssl  # noqa: PLC0415 - rarely needed

    error = context.get("exception")
    if isinstance(error, (ssl.SSLError, ConnectionError, TimeoutError)):
        _log.info("a connection failed: %s", error)
        return
    loop.default_exception_handler(context)


# --- its parts ------------------------------------------------------------------


def _tls(settings: Settings) -> Any:
    """Return the TLS context, or None for plain HTTP."""
    if settings.tls is None:
        return None
    from st8.http.tls import server_context  # noqa: PLC0415 - imports OpenSSL

    return server_context(*settings.tls)


def _listen(settings: Settings) -> socket.socket:
    """Return the listening socket."""
    from st8.http.server import listen  # noqa: PLC0415 - --local

    host, port = settings.listen
    try:
        return listen(host, port)
    except OSError as error:
        number = error.errno or 0  # negative for names that can't be resolved
        reason = os.strerror(number) if number > 0 else error.strerror or str(error)
        raise Unavailable(
            f"can't listen on {host}:{port}: {reason.lower()}; choose another --listen"
        ) from None


def _open_logs(settings: Settings) -> AccessLog | None:
    """Send logs to standard error; return where requests are recorded."""
    from st8.http.logs import open_logs  # noqa: PLC0415 - --local is quiet

    terminal = sys.stderr.isatty()
    return open_logs(
        FileIO(sys.stderr.fileno(), "w", closefd=False),
        SystemClock(),
        as_json=settings.log_format == "json"
        or (settings.log_format == "auto" and not terminal),
        level=settings.log_level,
        colors=terminal and settings.log_colors,
        secrets=[settings.token] if settings.token else (),
    )


def _guards(settings: Settings) -> GuardSettings:
    """Return the guards' limits, with as many connections as files allow."""
    import resource  # noqa: PLC0415 - --local has one client

    from st8.http.connections import GuardSettings  # noqa: PLC0415 - --local

    wanted = limits.CONNECTIONS.maximum + _OWN_FILES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    room = limits.CONNECTIONS.maximum
    if soft != resource.RLIM_INFINITY:
        room = max(16, min(room, soft - _OWN_FILES))
    if room < limits.CONNECTIONS.maximum:
        _log.warning(
            "the limit of open files (ulimit -n) leaves room for %d connections", room
        )
    return GuardSettings(
        read_timeout_s=settings.read_timeout_s,
        write_timeout_s=settings.write_timeout_s,
        idle_timeout_s=settings.idle_timeout_s,
        connections_max=room,
    )


def _make_app(engine: Engine, token: str | None) -> App:
    """Return the HTTP API over ``engine``."""
    from st8.http.app import create_app  # noqa: PLC0415 - start-up time

    return create_app(engine, token=token, version=__version__)


def _make_server(
    app: App,
    listener: socket.socket,
    guards: GuardSettings,
    *,
    tls: Any = None,
    access: AccessLog | None = None,
) -> HttpServer:
    """Return the server of ``app``, not started; what it refuses is counted too."""
    from st8.http.metrics import OTHER  # noqa: PLC0415 - start-up time
    from st8.http.server import HttpServer  # noqa: PLC0415 - start-up time

    server = HttpServer(app, [listener], settings=guards, tls=tls, access=access)
    meter = app.service.metrics.route(OTHER, OTHER)
    server.shared.on_refused = lambda error: meter.observe(error.http_status, 0.0)
    return server


def _loop_factory() -> Any:
    """Return what makes the event loop: uvloop's where there is one."""
    try:
        import uvloop  # noqa: PLC0415 - not everywhere
    except ImportError:
        return None
    return uvloop.new_event_loop


# --- inside another process -----------------------------------------------------


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
    from st8.http.server import address_of, listen  # noqa: PLC0415 - start-up time

    listener = listen("127.0.0.1", 0)
    url = f"http://{address_of(listener)}"
    app = _make_app(engine, token)
    server = _make_server(app, listener, guards or GuardSettings())
    loop = asyncio.new_event_loop()
    stopping = asyncio.Event()

    async def serve() -> None:
        await server.start()
        await stopping.wait()
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


if __name__ == "__main__":
    sys.exit(main())
