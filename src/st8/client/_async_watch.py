"""The watch that is awaited: as :class:`st8.client._watch.Watch`, in an event loop."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

import anyio

from st8.client._events import SILENCE_S, Watching
from st8.client._retry import Failure
from st8.client._transport import chance
from st8.client._watch import LOST

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType
    from typing import Self

    from st8.client._async_connection import AsyncStream
    from st8.client._async_transport import AsyncTransport
    from st8.client._events import WatchEvent
    from st8.core.errors import St8Error
    from st8.core.ids import Scope

__all__ = ["AsyncWatch", "watch"]


def watch(
    transport: AsyncTransport,
    scope: Scope,
    prefix: str,
    *,
    after: int | None,
    contents: bool,
) -> AsyncWatch:
    """Return a watch of ``scope``; see :meth:`st8.Client.watch`.

    Raises:
        InvalidValue: ``after`` is negative.
    """
    return AsyncWatch(
        transport,
        Watching(
            scope,
            transport.url,
            prefix,
            after=after,
            contents=contents,
            jitter=chance,
        ),
    )


class AsyncWatch:
    """What happens to a branch, told as it happens: an iterator without an end.

    It tells what :class:`st8.client._watch.Watch` tells, and goes on after a loss in
    the same way. It is for one task, but :meth:`close` is for any. If waiting for an
    event is cancelled, the connection ends, and the next event is asked for on a new
    one: none is missed. As an asynchronous context manager it is closed at the end;
    otherwise whoever stops reading has to close it.

    Attributes:
        on_lost: Called with the reason each time that there is no connection, or
            none any more; another attempt follows.
        on_connected: Called each time that there is one.
    """

    def __init__(self, transport: AsyncTransport, watching: Watching) -> None:
        """Watch what ``watching`` says; nothing is connected before the first event."""
        self.on_lost: Callable[[St8Error], None] | None = None
        self.on_connected: Callable[[], None] | None = None
        self._transport = transport
        self._watching = watching
        self._stream: AsyncStream | None = None
        self._told: deque[WatchEvent] = deque()
        self._problem: Exception | None = None
        self._waiting: anyio.CancelScope | None = None
        self._closed = False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> WatchEvent:
        """Return the next event, once there is one.

        Raises:
            StopAsyncIteration: The watch was closed.
            St8Error: There will be no further events, and why.
        """
        while not self._told:
            if self._closed:
                await self._drop()
                raise StopAsyncIteration
            with anyio.CancelScope() as waiting:
                self._waiting = waiting
                try:
                    await self._step()
                finally:
                    self._waiting = None
        return self._told.popleft()

    @property
    def revision(self) -> int | None:
        """The newest revision up to which everything was received.

        None before the first connection.
        """
        return self._watching.revision

    @property
    def connected(self) -> bool:
        """Whether there is a connection."""
        return self._stream is not None

    async def close(self) -> None:
        """End it: whoever waits for an event comes to the end."""
        self._closed = True
        if self._waiting is None:
            await self._drop()
        else:
            self._waiting.cancel()

    async def _step(self) -> None:
        """Receive a piece of the stream, or do something about there being none."""
        problem, self._problem = self._problem, None
        if problem is not None:
            await self._lost(problem)
            return
        try:
            if self._stream is None:
                self._stream = await self._transport.stream(self._watching.call())
                if self.on_connected is not None:
                    self.on_connected()
                return
            await self._read(self._stream)
        except LOST as end:
            self._problem = end  # told once what came before it was
        except BaseException:  # cancelled: what is half read can't be gone on with
            await self._drop()
            raise

    async def _read(self, stream: AsyncStream) -> None:
        data = await stream.read(SILENCE_S)
        if not data:
            raise Failure("the stream ended", "answer")
        for event in self._watching.feed(data):
            self._told.append(event)

    async def _lost(self, problem: Exception) -> None:
        """Wait for the next attempt.

        Raises:
            St8Error: There is to be none.
        """
        await self._drop()
        error = self._watching.error(problem)
        if self._watching.final(problem):
            self._closed = True
            raise error from problem
        if self.on_lost is not None:
            self.on_lost(error)
        await anyio.sleep(self._watching.delay_s())

    async def _drop(self) -> None:
        """Close the connection."""
        stream, self._stream = self._stream, None
        if stream is not None:
            await stream.close()
