"""The network of a simulated world: requests as ASGI has them, late, lost or cut off.

A request and its answer are an :class:`Exchange`, of messages that keep their order each
way, as on a connection of TCP. Where one is lost, the connection is of no more use, and
both ends hear of that a while later, or never: a client needs a limit of time.
"""

from __future__ import annotations

import asyncio
from collections import deque
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, Protocol

from st8.testing.sim import SECOND_NS, Crashed

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from st8.testing.sim import Host, World

    App = Callable[..., Awaitable[None]]

__all__ = ["App", "Exchange", "Network", "Server", "ask", "scope_of"]

_LATENCY_NS: Final = (50_000, 1_500_000)
_SLOW_NS_MAX: Final = 400_000_000
_LATE_NS_MAX: Final = 3 * SECOND_NS
_NOTICED_NS_MAX: Final = 2 * SECOND_NS
_SLOW: Final = 0.03
_LOSSES: Final = 0.12
_LATE: Final = 0.04
_SHORTEST: Final = 3
_LONGEST: Final = 24
_LATER: Final = 0.5
"""Which message is lost: one of so many, and how often of the larger number."""
_NEVER: Final = -1


class Server(Protocol):
    """Where requests go to."""

    name: str

    @property
    def host(self) -> Host | None:
        """What it runs on now; None while it is down."""
        ...

    @property
    def app(self) -> App:
        """What answers."""
        ...


class Network:
    """What is between clients and servers.

    Attributes:
        calm: Nothing is lost or late any more, if it is sent from now on.
        parted: Who can't reach whom: pairs of a client's and a server's name.
    """

    def __init__(self, world: World) -> None:
        """Make a network in ``world``."""
        self.calm = False
        self.parted: dict[tuple[str, str], None] = {}
        self.world = world
        self._open: dict[str, dict[Exchange, None]] = {}

    def open(
        self, client: Host, server: Server, scope: dict[str, Any], body: bytes
    ) -> Exchange:
        """Send a request."""
        exchange = Exchange(self, client, server, scope, body)
        exchange.begin()
        return exchange

    def down(self, server: str) -> None:
        """Cut what is open to a server that is gone."""
        for exchange in self._open.pop(server, {}):
            exchange.cut()

    def opened(self, exchange: Exchange, server: str) -> None:
        """Take note of an exchange that has reached its server."""
        self._open.setdefault(server, {})[exchange] = None

    def closed(self, exchange: Exchange, server: str) -> None:
        """Take note of its end."""
        self._open.get(server, {}).pop(exchange, None)

    def latency_ns(self) -> int:
        """Return how long the next message takes."""
        chance = self.world.chance
        if not self.calm and chance.random() < _SLOW:
            return chance.randrange(_SLOW_NS_MAX)
        return chance.randrange(*_LATENCY_NS)


class Exchange:
    """A request and its answer; see the module. Made by :meth:`Network.open`."""

    def __init__(
        self,
        network: Network,
        client: Host,
        server: Server,
        scope: dict[str, Any],
        body: bytes,
    ) -> None:
        """Prepare to send a request."""
        self._network = network
        self._world = network.world
        self._client = client
        self._server = server
        self._scope = scope
        self._body: bytes | None = body
        self._label = f"{client.name}-{server.name}"
        self._lost_at = self._draw_loss()
        self._messages = 0
        self._down_ns = 0
        self._broken = False
        self._whole = False
        self._host: Host | None = None
        self._gone: asyncio.Event | None = None
        self._answering: asyncio.Task[None] | None = None
        self._came: deque[Mapping[str, Any] | None] = deque()
        self._comes = asyncio.Event()

    def _draw_loss(self) -> int:
        chance = self._world.chance
        if self._network.calm or chance.random() > _LOSSES:
            return _NEVER
        return chance.randrange(_LONGEST if chance.random() < _LATER else _SHORTEST)

    # --- the client's end ---------------------------------------------------------

    def begin(self) -> None:
        """Send the request."""
        late = not self._network.calm and self._world.chance.random() < _LATE
        delay_ns = self._world.chance.randrange(_LATE_NS_MAX) if late else 0
        self._world.note(f"{self._label} {self._scope['method']} {self._scope['path']}")
        if self._is_lost():
            self.cut()
            return
        delay_ns += self._network.latency_ns()
        self._world.at(self._world.now_ns + delay_ns, self._arrive)

    async def message(self) -> Mapping[str, Any]:
        """Return the next message of the answer.

        Raises:
            ConnectionResetError: There will be none.
        """
        while not self._came:
            self._comes.clear()
            await self._comes.wait()
        message = self._came.popleft()
        if message is None:
            raise ConnectionResetError
        return message

    def close(self) -> None:
        """Go away; the server hears of it, or not."""
        if not self._whole and not self._is_lost():
            when_ns = self._world.now_ns + self._network.latency_ns()
            self._world.at(when_ns, self._leave)

    def cut(self) -> None:
        """Break the connection; both ends notice it later."""
        if not self._broken:
            self._broken = True
            self._network.closed(self, self._server.name)
            drawn_ns = self._world.chance.randrange(_NOTICED_NS_MAX)
            when_ns = max(self._down_ns, self._world.now_ns + drawn_ns)
            self._world.at(when_ns, partial(self._come, None))
            self._world.at(when_ns, self._leave)

    def _come(self, message: Mapping[str, Any] | None) -> None:
        self._client.call_soon(self._take, message)

    def _take(self, message: Mapping[str, Any] | None) -> None:
        self._came.append(message)
        self._comes.set()

    def _is_lost(self) -> bool:
        """Return whether the next message is."""
        at = self._messages
        self._messages += 1
        parted = (self._client.name, self._server.name) in self._network.parted
        if (at != self._lost_at or self._network.calm) and not parted:
            return False
        self._world.note(f"{self._label} loses message {at}")
        return True

    # --- the server's end -----------------------------------------------------------

    def _arrive(self) -> None:
        host = self._server.host
        if host is None:
            self.cut()
            return
        self._host = host
        self._network.opened(self, self._server.name)
        host.call_soon(self._begin_answer, host)

    def _begin_answer(self, host: Host) -> None:
        self._gone = asyncio.Event()
        self._answering = host.create_task(self._answer(self._server.app))

    async def _answer(self, app: App) -> None:
        try:
            await app(self._scope, self._receive, self._send)
        except Exception as error:  # noqa: BLE001 - as a server does
            self._world.note(f"{self._label} fails: {type(error).__name__}")
        except Crashed:
            return
        if not self._whole:
            self.cut()
        self._network.closed(self, self._server.name)

    async def _receive(self) -> dict[str, Any]:
        if self._body is not None:
            body, self._body = self._body, None
            return {"type": "http.request", "body": body, "more_body": False}
        if self._gone is not None:
            await self._gone.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Mapping[str, Any]) -> None:
        last = message["type"] == "http.response.body" and not message.get("more_body")
        self._whole = self._whole or last
        if self._broken:
            return
        if self._is_lost():
            self.cut()
            return
        when_ns = self._world.now_ns + self._network.latency_ns()
        self._down_ns = max(when_ns, self._down_ns + 1)
        self._world.at(self._down_ns, partial(self._come, message))

    def _leave(self) -> None:
        if self._gone is not None and self._host is not None:
            self._host.call_soon(self._gone.set)


async def ask(  # noqa: PLR0917 - what a request is made of
    network: Network,
    client: Host,
    server: Server,
    method: str,
    target: str,
    body: bytes = b"",
    headers: Mapping[str, str] = MappingProxyType({}),
) -> tuple[int, bytes]:
    """Send a request from ``client``, and return status and body of its answer.

    Raises:
        ConnectionResetError: The connection broke.
    """
    exchange = network.open(
        client, server, scope_of(method, target, body, headers), body
    )
    try:
        start = await exchange.message()
        parts: list[bytes] = []
        more = True
        while more:
            message = await exchange.message()
            parts.append(message.get("body", b""))
            more = message.get("more_body", False)
        return start["status"], b"".join(parts)
    finally:
        exchange.close()


def scope_of(
    method: str, target: str, body: bytes, headers: Mapping[str, str]
) -> dict[str, Any]:
    """Return a request as ASGI has it."""
    path, _, query = target.partition("?")
    lines = [(name.lower().encode(), text.encode()) for name, text in headers.items()]
    return {
        "type": "http",
        "method": method,
        "path": path,
        "raw_path": path.encode(),
        "query_string": query.encode(),
        "headers": [*lines, (b"content-length", b"%d" % len(body))],
        "http_version": "1.1",
        "scheme": "http",
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 8748),
    }
