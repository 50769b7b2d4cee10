"""A proxy that breaks connections: after any byte, in any of the ways they break.

It passes bytes on in pieces of chance, so that nothing arrives as it was sent. Each
connection is broken as a :class:`Cut` says that was drawn for it.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from contextlib import suppress
from typing import TYPE_CHECKING, Final, Literal, NamedTuple, Self

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Cut", "CuttingProxy", "Way"]

Way = Literal["close", "reset", "end", "half", "stall"]
"""How a connection breaks: both sides are closed; both are reset; the client is told
the end, and the server is not; the server is told that the client sends no more; or
nothing passes any more, and nobody is told."""

_PIECE: Final = 16 * 1024
_SMALL: Final = 64
_RESET: Final = struct.pack("ii", 1, 0)


class Cut(NamedTuple):
    """When a connection breaks, and how.

    Attributes:
        after: How many bytes pass before, both ways together; None for never.
        way: How.
        pieces: True to pass on what comes in small pieces.
    """

    after: int | None = None
    way: Way = "close"
    pieces: bool = False


class CuttingProxy:
    """Stands between clients and a port of this machine.

    An asynchronous context manager; all of it runs on the event loop.

    Attributes:
        port: Where it listens.
        passed: How many bytes it has passed on.
        cuts: How many connections it has broken, by the way.
    """

    def __init__(self, target_port: int, draw: Callable[[], Cut]) -> None:
        """Pass on to ``target_port``; ``draw`` says how each connection breaks."""
        self.port = 0
        self.passed = 0
        self.cuts: dict[Way, int] = {}
        self._target_port = target_port
        self._draw = draw
        self._links: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> Self:
        """Listen on a free port."""
        self._server = await asyncio.start_server(self._accepted, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        """Listen no more, and end every connection."""
        if self._server is not None:
            self._server.close()
        await self.drop()

    async def drop(self) -> None:
        """End every connection that is open now."""
        links = list(self._links)
        for link in links:
            link.cancel()
        await asyncio.gather(*links, return_exceptions=True)

    def _accepted(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        link = asyncio.ensure_future(self._pass_on(reader, writer))
        self._links.add(link)

        def ended(link: asyncio.Task[None]) -> None:
            # Also of one that was dropped before it had begun.
            self._links.discard(link)
            writer.transport.abort()

        link.add_done_callback(ended)

    async def _pass_on(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        try:
            other = await asyncio.open_connection("127.0.0.1", self._target_port)
        except OSError:
            return
        await _Link(self, self._draw(), (reader, writer), other).run()


_Side = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class _Link:
    """A connection of a client, and its other half to the server."""

    def __init__(
        self, proxy: CuttingProxy, cut: Cut, client: _Side, server: _Side
    ) -> None:
        self._proxy = proxy
        self._cut = cut
        self._client = client
        self._server = server
        self._left = cut.after
        self._broken = asyncio.Event()

    async def run(self) -> None:
        """Pass on until a side ends or the cut comes; then nothing is open."""
        up = asyncio.ensure_future(self._pass(self._client[0], self._server[1]))
        down = asyncio.ensure_future(self._pass(self._server[0], self._client[1]))
        broken = asyncio.ensure_future(self._broken.wait())
        try:
            await asyncio.wait((up, down, broken), return_when=asyncio.FIRST_COMPLETED)
            if self._broken.is_set():
                ended = (up,) if self._cut.way == "half" else (up, down)
                for one in ended:
                    one.cancel()
                await asyncio.gather(*ended, return_exceptions=True)
                await self._break(down)
        finally:
            for task in (up, down, broken):
                task.cancel()
            await asyncio.gather(up, down, broken, return_exceptions=True)
            self._server[1].transport.abort()

    async def _pass(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        size = _SMALL if self._cut.pieces else _PIECE
        with suppress(OSError):
            while data := await reader.read(size):
                if self._left is not None and not self._broken.is_set():
                    # Of what goes on after the break nothing may be missing.
                    kept = data if self._cut.way == "half" else data[: self._left]
                    self._left = max(0, self._left - len(data))
                    data = kept
                self._proxy.passed += len(data)
                writer.write(data)
                await writer.drain()
                if self._left == 0 and not self._broken.is_set():
                    self._broken.set()
                    if self._cut.way != "half":
                        return

    async def _break(self, down: asyncio.Task[None]) -> None:
        way = self._cut.way
        self._proxy.cuts[way] = self._proxy.cuts.get(way, 0) + 1
        with suppress(OSError):
            if way == "reset":
                for _, writer in (self._client, self._server):
                    raw = writer.get_extra_info("socket")
                    raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            elif way == "half":
                self._server[1].write_eof()
                await down
            elif way == "end":
                self._client[1].write_eof()
                await _drop_all(self._client[0])
            elif way == "stall":
                await _drop_all(self._client[0])


async def _drop_all(reader: asyncio.StreamReader) -> None:
    """Read until the other side ends."""
    while await reader.read(_PIECE):
        pass
