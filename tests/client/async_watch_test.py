"""A watch that is awaited: what differs from the one that blocks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio
import pytest

from st8.client import AsyncClient
from st8.client._async_watch import AsyncWatch
from st8.client._events import Watching
from st8.core.ids import Scope
from st8.testing.server import running_server
from tests.client.transport_test import free_port
from tests.client.watch_test import EVERYTHING, numbers, proxy

if TYPE_CHECKING:
    from st8.client import WatchEvent
    from st8.core.errors import St8Error

both_loops = pytest.mark.parametrize("loop", ["asyncio", "trio"])

_STEP = 23  # bytes; prime, so that the cuts fall anywhere in a line


def at_once(client: AsyncClient, after: int | None = None) -> AsyncWatch:
    """Return a watch that does not wait between its attempts."""
    scope, url = Scope.parse("", ""), client._transport.url
    watching = Watching(scope, url, after=after, jitter=lambda: 0.0)
    return AsyncWatch(client._transport, watching)


async def take(watch: AsyncWatch, count: int) -> list[WatchEvent]:
    """Return the next events."""
    return [await anext(watch) for _ in range(count)]


@both_loops
def test_cut_at_any_byte(loop: str) -> None:
    """Wherever a stream breaks off, nothing is lost and nothing comes twice."""

    async def main() -> None:
        async with AsyncClient(server.url) as direct:
            await direct.apply({"a": "1"})
            await direct.apply({"a": "2"})
        async with AsyncClient(between.url) as client:
            for cut in range(0, 1_000, _STEP):
                between.served, between.budget = 0, [cut, EVERYTHING]
                async with at_once(client, after=0) as watch:
                    assert [1, 2] == numbers(await take(watch, 2)), cut
                    assert between.served <= 2

    with running_server() as server, proxy(server.url) as between:
        anyio.run(main, backend=loop)


@both_loops
def test_cancelled_while_it_waits(loop: str) -> None:
    """Waiting for an event can be cancelled and taken up again; none is missed."""

    async def main() -> list[WatchEvent]:
        async with AsyncClient(server.url) as client, client.watch(after=0) as watch:
            await client.apply({"a": "1"})
            events = await take(watch, 1)
            with anyio.CancelScope() as waiting:
                waiting.cancel()
                await anext(watch)
            assert waiting.cancelled_caught
            assert not watch.connected
            await client.apply({"a": "2"})
            return events + await take(watch, 1)

    with running_server() as server:
        assert [1, 2] == numbers(anyio.run(main, backend=loop))


@both_loops
def test_end_from_another_task(loop: str) -> None:
    """Closing brings a task that waits for an event to the end."""

    async def main() -> list[int]:
        seen: list[int] = []

        async with AsyncClient(server.url) as client, client.watch(after=0) as watch:

            async def follow() -> None:
                async for event in watch:
                    seen.extend(numbers([event]))
                    followed.set()

            followed = anyio.Event()
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(follow)
                await client.apply({"a": "1"})
                await followed.wait()
                await watch.close()
            assert not watch.connected
        return seen

    with running_server() as server:
        assert [1] == anyio.run(main, backend=loop)


@both_loops
def test_end_while_it_waits_to_try_again(loop: str) -> None:
    """Closing ends the wait for the next attempt; no text has the token in it."""
    lost: list[St8Error] = []

    async def main() -> None:
        url = f"http://127.0.0.1:{free_port()}"
        async with AsyncClient(url, token="s3cret") as client:
            watching = Watching(Scope.parse("", ""), url, jitter=lambda: 1e6)
            watch = AsyncWatch(client._transport, watching)
            away = anyio.Event()

            def tell(error: St8Error) -> None:
                lost.append(error)
                away.set()

            async def follow() -> None:
                assert [] == [event async for event in watch]

            watch.on_lost = tell
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(follow)
                await away.wait()
                await watch.close()

    anyio.run(main, backend=loop)

    assert 1 == len(lost)
    assert "s3cret" not in f"{lost[0]!r} {lost[0].fields} {lost[0].__cause__!r}"
