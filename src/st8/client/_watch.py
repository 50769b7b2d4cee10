"""The watch that blocks: connections, waiting, and going on after each loss."""

from __future__ import annotations

import threading
from collections import deque
from typing import TYPE_CHECKING

from st8.client._answers import NotUnderstood
from st8.client._events import SILENCE_S, Watching
from st8.client._retry import Failure
from st8.client._transport import chance
from st8.core.errors import St8Error

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType
    from typing import Self

    from st8.client._connection import Stream
    from st8.client._events import WatchEvent
    from st8.client._transport import Transport
    from st8.core.ids import Scope

__all__ = ["LOST", "Watch", "watch"]

LOST = (Failure, NotUnderstood, St8Error)
"""What a connection may end with."""


def watch(
    transport: Transport,
    scope: Scope,
    prefix: str,
    *,
    after: int | None,
    contents: bool,
) -> Watch:
    """Return a watch of ``scope``; see :meth:`st8.Client.watch`.

    Raises:
        InvalidValue: ``after`` is negative.
    """
    return Watch(
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


class Watch:
    """What happens to a branch, told as it happens: an iterator without an end.

    Each revision is told once and in order, and none is left out: where that can't
    be, because garbage collection has removed it or the branch was made anew, a
    :class:`ResyncEvent` says so. A connection that is lost is made anew, for as long
    as it takes, behind what was told; an error that another attempt can't mend is
    raised. For one thread, but :meth:`close` is for any. As a context manager it is
    closed at the end.

    Attributes:
        on_lost: Called with the reason each time that there is no connection, or
            none any more; another attempt follows.
        on_connected: Called each time that there is one.
    """

    def __init__(self, transport: Transport, watching: Watching) -> None:
        """Watch what ``watching`` says; nothing is connected before the first event."""
        self.on_lost: Callable[[St8Error], None] | None = None
        self.on_connected: Callable[[], None] | None = None
        self._transport = transport
        self._watching = watching
        self._stream: Stream | None = None
        self._told: deque[WatchEvent] = deque()
        self._problem: Exception | None = None
        self._closed = threading.Event()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()
        self._drop()

    def __del__(self) -> None:
        """Close the connection of a watch that nobody has any more."""
        self._drop()

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> WatchEvent:
        """Return the next event, once there is one.

        Raises:
            StopIteration: The watch was closed.
            St8Error: There will be no further events, and why.
        """
        while not self._told:
            if self._closed.is_set():
                self._drop()
                raise StopIteration
            self._step()
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

    def close(self) -> None:
        """End it: whoever waits for an event, in any thread, comes to the end."""
        self._closed.set()
        stream = self._stream
        if stream is not None:
            stream.interrupt()

    def _step(self) -> None:
        """Receive a piece of the stream, or do something about there being none."""
        problem, self._problem = self._problem, None
        if problem is not None:
            self._lost(problem)
            return
        try:
            if self._stream is None:
                self._stream = self._transport.stream(self._watching.call())
                if self.on_connected is not None:
                    self.on_connected()
                return
            data = self._stream.read(SILENCE_S)
            if not data:
                raise Failure("the stream ended", "answer")
            for event in self._watching.feed(data):
                self._told.append(event)
        except LOST as end:
            self._problem = end  # told once what came before it was

    def _lost(self, problem: Exception) -> None:
        """Wait for the next attempt.

        Raises:
            St8Error: There is to be none.
        """
        self._drop()
        if self._closed.is_set():
            return
        error = self._watching.error(problem)
        if self._watching.final(problem):
            self._closed.set()
            raise error from problem
        if self.on_lost is not None:
            self.on_lost(error)
        self._closed.wait(self._watching.delay_s())

    def _drop(self) -> None:
        """Close the connection."""
        stream, self._stream = self._stream, None
        if stream is not None:
            stream.close()
