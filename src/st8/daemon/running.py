"""st8d while it serves: signals, the watchdogs, and what it says of itself."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
import threading
from typing import TYPE_CHECKING, Any, Final, NamedTuple, NoReturn

from st8 import __version__
from st8.daemon.parts import cannot_listen
from st8.daemon.reloading import Reloadable, Reloader

if TYPE_CHECKING:
    import socket
    from types import FrameType

    from st8.config import Settings
    from st8.daemon.notify import Manager
    from st8.http.app import App

__all__ = ["CLOSE_GRACE_S", "Daemon", "Lead", "Serving", "announce", "watch_signals"]

CLOSE_GRACE_S: Final = 5.0
"""How long the store may take to close after the last request."""

_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)
_WATCHDOG_SHARE: Final = 0.5  # systemd's advice: twice as often as it expects it
_log = logging.getLogger("st8d")


class Lead(NamedTuple):
    """Who leads this process, and hears how it fares.

    Attributes:
        manager: Hears it.
        lifeline: A pipe that nobody writes to: its end is the word to stop, for a
            worker, whatever has become of the process that started it. None: this
            process leads itself, by signals.
    """

    manager: Manager
    lifeline: int | None = None


class Serving(NamedTuple):
    """What st8d serves with.

    Attributes:
        app: The HTTP API.
        listeners: Where.
        store_name: What the store is.
        parts: What can be reloaded; the server among them.
    """

    app: App
    listeners: list[socket.socket]
    store_name: str
    parts: Reloadable


class Daemon:
    """st8d while it serves.

    Attributes:
        watchdog: Ends the process if stopping takes too long.
    """

    def __init__(self, settings: Settings, serving: Serving, lead: Lead) -> None:
        """Serve ``serving`` by ``settings``, as ``lead`` says."""
        from st8.http.sockets import address_of  # noqa: PLC0415 - --local

        self._settings = settings
        self._serving = serving
        self._server = serving.parts.server
        self._addresses = ", ".join(map(address_of, serving.listeners))
        self._manager = lead.manager
        self._lifeline = lead.lifeline
        self._status = f"listening on {self._addresses}"
        self._reloader = Reloader(serving.parts, settings, self._manager, self._status)
        self._stopping = asyncio.Event()
        self.watchdog = _Watchdog(settings.shutdown_timeout_s + CLOSE_GRACE_S)

    async def serve(self) -> None:
        """Serve until it is told to stop, then finish what is in flight.

        Raises:
            Unavailable: A socket can't listen.
        """
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(_on_loop_exception)
        if self._lifeline is None:
            for number in _SIGNALS:
                loop.add_signal_handler(number, self._stop, number)
        else:
            # Ctrl-C is meant for the process that leads, though all get it.
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            loop.add_signal_handler(signal.SIGTERM, self._let_go)
            loop.add_reader(self._lifeline, self._let_go)
        loop.add_signal_handler(signal.SIGHUP, self._reloader.request)
        try:
            await self._server.start()
        except OSError as error:
            raise cannot_listen(self._addresses, error) from None
        if self._lifeline is None:
            announce(
                self._settings,
                self._serving.listeners,
                self._serving.parts.gate.kind,
                self._serving.store_name,
            )
        self._manager.ready(self._status)
        self._give_signs_of_life(loop)
        # What is there now stays: collections need not look at it again.
        gc.collect()
        gc.freeze()
        await self._stopping.wait()
        self._serving.app.begin_shutdown()
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
        self._begin_to_stop()

    def _let_go(self) -> None:
        """Begin to stop, as a worker: whoever leads it decides how long that takes."""
        if self._lifeline is not None:
            asyncio.get_running_loop().remove_reader(self._lifeline)
        if not self._stopping.is_set():
            self._begin_to_stop()

    def _begin_to_stop(self) -> None:
        self._manager.stopping()
        self.watchdog.start()
        self._stopping.set()

    def _give_signs_of_life(self, loop: asyncio.AbstractEventLoop) -> None:
        """Tell systemd's watchdog that the loop turns, and again in time."""
        interval_s = self._settings.systemd.watchdog_s
        if interval_s is not None:
            self._manager.alive()
            loop.call_later(
                interval_s * _WATCHDOG_SHARE, self._give_signs_of_life, loop
            )


def announce(
    settings: Settings, listeners: list[socket.socket], kind: str, store_name: str
) -> None:
    """Log that st8d is ready, and what whoever started it should know.

    ``kind`` is that of its :class:`~st8.daemon.credentials.Gate`.
    """
    from st8.http.sockets import address_of, is_loopback  # noqa: PLC0415 - --local

    open_to = [sock for sock in listeners if not is_loopback(sock)]
    certified = settings.tls is not None and (
        settings.tls.client_ca is not None and settings.tls.client_required
    )
    if kind == "none" and open_to and not certified:
        _log.warning(
            "st8d listens beyond this machine without a token: whoever can reach "
            "it may read and change everything; set ST8D_TOKEN, or listen on "
            "127.0.0.1",
            extra={"address": address_of(open_to[0])},
        )
    if settings.token_from_flag:
        _log.warning(
            "the token was given as a flag, which everyone on this machine can "
            "read in the process list; ST8D_TOKEN is a better place"
        )
    if settings.store_from_flag:
        _log.warning(
            "the password of the store was given as a flag, which everyone on this "
            "machine can read in the process list; ST8D_STORE is a better place"
        )
    addresses = ", ".join(map(address_of, listeners))
    facts: dict[str, object] = {
        "address": addresses,
        "version": __version__,
        "store": store_name,
        "state_dir": None if settings.store else str(settings.state_dir),
        "tls": settings.tls is not None,
        "auth": kind,
        "pid": os.getpid(),
    }
    if settings.workers > 1:
        facts["workers"] = settings.workers
    _log.info("st8d listening on %s", addresses, extra=facts)


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


def watch_signals() -> None:
    """Take signals while no loop does, which is when everything is closed."""
    for number in _SIGNALS:
        signal.signal(number, _exit_at_once)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)


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
