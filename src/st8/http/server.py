"""Serves an ASGI app on listening sockets, through the guards, until told to stop.

uvicorn's own ``Server`` takes no time limit for the TLS handshake, wakes ten times
a second and needs tenths of a second to stop; this one is small because it serves
one app from one process and leaves signals to whoever runs it.
"""

from __future__ import annotations

import asyncio
import email.utils
import logging
import sys
from typing import TYPE_CHECKING, Any, Final, cast

from uvicorn.config import Config
from uvicorn.server import ServerState

from st8.http.connections import Connections, GuardSettings
from st8.http.guards import GuardedProtocol
from st8.http.sockets import BACKLOG, is_unix

if TYPE_CHECKING:
    import socket
    import ssl

    from st8.http.connections import AccessRecorder, AsgiApp

__all__ = ["HttpServer"]

_TLS_CLOSE_S: Final = 1.0
_STOP_POLL_S: Final = 0.005

# Python 3.13 would remove a socket's path when one of several servers on it ends.
_KEEP_PATH: Final[dict[str, Any]] = (
    {"cleanup_socket": False} if sys.version_info >= (3, 13) else {}
)
_log = logging.getLogger("st8.http")


class HttpServer:
    """The server of one app.

    Call :meth:`start` and :meth:`stop` in the loop that serves. ``shared.refused``
    counts, by code, the requests that never reached the app.
    """

    def __init__(
        self,
        app: AsgiApp,
        listeners: list[socket.socket],
        *,
        settings: GuardSettings | None = None,
        tls: ssl.SSLContext | None = None,
        access: AccessRecorder | None = None,
    ) -> None:
        """Take over ``listeners``: they are closed when the server stops.

        On those of this machine TLS is not spoken: their mode is who may connect,
        and nobody else hears what is said.
        """
        self.shared = Connections(app, settings or GuardSettings(), access)
        # Those of the network first, so that their servers are, too.
        self._listeners = sorted(listeners, key=is_unix)
        self._tls = tls
        self._config = Config(
            app,
            loop="none",
            http=GuardedProtocol,
            ws="none",
            lifespan="off",
            interface="asgi3",
            log_config=None,
            access_log=False,
            proxy_headers=False,
        )
        self._config.load()
        self._state = ServerState()
        self._servers: list[asyncio.Server] = []
        self._stopped = False
        self._sweeper: asyncio.TimerHandle | None = None
        self._dated_at = 0.0

    @property
    def connections(self) -> int:
        """How many connections are open."""
        return len(self._state.connections)

    @property
    def requests_in_flight(self) -> int:
        """How many requests the app is answering."""
        return len(self._state.tasks)

    async def start(self) -> None:
        """Accept connections from now on.

        Raises:
            OSError: A socket can't listen.
        """
        self._sweep(asyncio.get_running_loop())
        self._servers = await self._serve(self._listeners)

    async def use_tls(self, context: ssl.SSLContext) -> None:
        """Agree on TLS by ``context`` with whoever connects from now on.

        Connections that are open go on as they are. Nobody is turned away
        meanwhile: new listeners on the same sockets take over from the old ones.
        (A context that serves could be loaded with another certificate, but never
        be made to forget an authority or a session.)

        Raises:
            OSError: It can't be done; everything is as it was.
        """
        before, self._tls = self._tls, context
        secured = [sock for sock in self._listeners if not is_unix(sock)]
        try:
            fresh = await self._serve(secured)
        except BaseException:
            self._tls = before
            raise
        if self._stopped:
            for server in fresh:
                server.close()
            return
        old = self._servers[: len(secured)]
        self._servers[: len(secured)] = fresh
        await _close(old)

    async def _serve(self, listeners: list[socket.socket]) -> list[asyncio.Server]:
        """Accept on copies of ``listeners``; return what does, in their order."""
        loop = asyncio.get_running_loop()

        def accept() -> GuardedProtocol:
            return GuardedProtocol(self._config, self._state, self.shared, loop)

        handshake: dict[str, Any] = {}
        if self._tls is not None:
            # Else an attacker's silent handshakes would hold sockets for a minute
            # each, out of the guards' sight.
            limit = self.shared.settings.header_timeout_s
            handshake["ssl"] = self._tls
            handshake["ssl_handshake_timeout"] = limit
            handshake["ssl_shutdown_timeout"] = _TLS_CLOSE_S
        servers: list[asyncio.Server] = []
        try:
            for listener in listeners:
                if is_unix(listener):
                    server = await loop.create_unix_server(
                        accept, sock=listener.dup(), backlog=BACKLOG, **_KEEP_PATH
                    )
                else:
                    server = await loop.create_server(
                        accept, sock=listener.dup(), backlog=BACKLOG, **handshake
                    )
                servers.append(server)
        except BaseException:
            for server in servers:
                server.close()
            raise
        return servers

    async def stop(self, timeout_s: float) -> bool:
        """Accept nothing more, finish what is in flight, close every connection.

        What is not finished after ``timeout_s`` seconds is told so, if it has not
        begun to answer, and cut. Returns True if everything finished in time. Never
        takes more than about a second longer than ``timeout_s``.
        """
        loop = asyncio.get_running_loop()
        self._stopped = True
        await _close(self._servers)
        for listener in self._listeners:
            listener.close()
        # Whoever was accepted just now is among the connections then.
        await asyncio.sleep(_STOP_POLL_S)
        for connection in self._connections():
            connection.shutdown()
        in_time = await self._drained(loop.time() + timeout_s)
        if not in_time:
            for task in list(self._state.tasks):
                task.cancel()
            await self._finished(loop.time() + 0.5)
            for connection in self._connections():
                connection.transport.abort()
            await self._drained(loop.time() + 0.5)
        if self._sweeper is not None:
            self._sweeper.cancel()
        return in_time

    def _connections(self) -> list[GuardedProtocol]:
        """Return the open connections; a copy, since looking at one may end it."""
        return cast("list[GuardedProtocol]", list(self._state.connections))

    async def _drained(self, deadline: float) -> bool:
        """Wait until nothing is open; return False if that takes too long."""
        loop = asyncio.get_running_loop()
        while self._state.tasks or self._state.connections:
            if loop.time() >= deadline:
                return False
            await asyncio.sleep(_STOP_POLL_S)
        return True

    async def _finished(self, deadline: float) -> None:
        """Wait until no task is left and what they wrote is on its way."""
        loop = asyncio.get_running_loop()
        while self._state.tasks and loop.time() < deadline:  # noqa: ASYNC110 - brief
            await asyncio.sleep(_STOP_POLL_S)
        await asyncio.sleep(_STOP_POLL_S)

    def _sweep(self, loop: asyncio.AbstractEventLoop) -> None:
        """Look at every connection, and again later."""
        now = loop.time()
        if now - self._dated_at >= 1 or not self.shared.date_line:
            self._dated_at = now
            date = email.utils.formatdate(usegmt=True)
            self.shared.date_line = f"date: {date}\r\n".encode()
        unsent_bytes = 0
        for connection in self._connections():
            try:
                connection.check(now)
                unsent_bytes += connection.unsent_bytes
            except Exception:  # noqa: BLE001 - see below
                # One connection's fault must not end the guarding of all others.
                _log.exception("a connection could not be checked; it is cut")
                connection.transport.abort()
        self.shared.unsent_bytes = self._make_room(unsent_bytes, now)
        self._sweeper = loop.call_later(self.shared.settings.sweep_s, self._sweep, loop)

    def _make_room(self, unsent_bytes: int, now: float) -> int:
        """Cut off who takes nothing until few enough bytes wait; return how many do."""
        excess = unsent_bytes - self.shared.settings.unsent_bytes_max
        if excess <= 0:
            return unsent_bytes
        idle = [one for one in self._connections() if one.takes_nothing(now)]
        idle.sort(key=lambda connection: connection.unsent_bytes, reverse=True)
        for connection in idle:
            if excess <= 0:
                break
            excess -= connection.unsent_bytes
            connection.cut_for_room()
        return self.shared.settings.unsent_bytes_max + excess


async def _close(servers: list[asyncio.Server]) -> None:
    """Accept nothing more on ``servers``, and lose nobody whom they have accepted.

    asyncio accepts in one turn of the loop and makes the connection in the next; if
    its server is closed in between, the connection is dropped, and its socket left to
    the garbage collector. What waited for a timer runs after the connections that are
    to be made in its turn, and before anybody else is accepted.
    """
    await asyncio.sleep(_STOP_POLL_S)
    for server in servers:
        server.close()
