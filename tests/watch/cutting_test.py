"""The proxy passes on what comes, and breaks connections where it is told to."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from st8.testing.cutting import Cut, CuttingProxy, Way

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

SENT = bytes(range(256)) * 40


class Sender:
    """Sends the same to whoever connects, and notes what becomes of it."""

    def __init__(self) -> None:
        self.port = 0
        self.heard: asyncio.Queue[str] = asyncio.Queue()

    async def serve(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        """Send, and wait for the end of the client."""
        try:
            writer.write(SENT)
            await writer.drain()
            await reader.read()
            self.heard.put_nowait("end")
            writer.write(b"more")
            await writer.drain()
        except OSError:
            self.heard.put_nowait("reset")
        finally:
            writer.close()


@pytest.fixture
async def sender() -> AsyncIterator[Sender]:
    """A server that sends."""
    sender = Sender()
    async with await asyncio.start_server(sender.serve, "127.0.0.1", 0) as server:
        sender.port = server.sockets[0].getsockname()[1]
        yield sender


async def received(proxy: CuttingProxy, size: int) -> tuple[bytes, str]:
    """Return what comes through, at most so much, and how it ends."""
    reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
    data = b""
    try:
        while len(data) < size and (piece := await reader.read(size - len(data))):
            data += piece
        return data, "open" if len(data) == size else "end"
    except OSError:
        return data, "reset"
    finally:
        writer.close()


@pytest.mark.parametrize("pieces", [False, True])
async def test_all_passes(sender: Sender, pieces: bool) -> None:
    """Without a cut what comes out is what went in, however it is cut to pieces."""
    async with CuttingProxy(sender.port, lambda: Cut(pieces=pieces)) as proxy:
        assert (SENT, "open") == await received(proxy, len(SENT))
        assert len(SENT) == proxy.passed
        assert {} == proxy.cuts


@pytest.mark.parametrize("after", [1, 63, 64, 65, 10_000])
@pytest.mark.parametrize("way", ["close", "end"])
async def test_cut_after_so_many_bytes(sender: Sender, way: Way, after: int) -> None:
    """The client gets exactly those, and the end."""
    async with CuttingProxy(sender.port, lambda: Cut(after, way, pieces=True)) as proxy:
        assert (SENT[:after], "end") == await received(proxy, len(SENT))
        assert {way: 1} == proxy.cuts


async def test_a_reset_is_told_to_both(sender: Sender) -> None:
    """Neither side may take what it has for the end."""
    async with CuttingProxy(sender.port, lambda: Cut(100, "reset")) as proxy:
        _, end = await received(proxy, len(SENT))

        assert "reset" == end
        assert "reset" == await sender.heard.get()


async def test_half_an_end(sender: Sender) -> None:
    """The server is told that the client sends no more; what it sends still comes."""
    async with CuttingProxy(sender.port, lambda: Cut(100, "half")) as proxy:
        assert (SENT + b"more", "end") == await received(proxy, len(SENT) + 5)
        assert "end" == await sender.heard.get()


async def test_a_stall(sender: Sender) -> None:
    """Nothing comes any more, and nobody is told, until the client goes."""
    async with CuttingProxy(sender.port, lambda: Cut(100, "stall")) as proxy:
        assert (SENT[:100], "open") == await received(proxy, 100)
        assert await sender.heard.get() in {"end", "reset"}
