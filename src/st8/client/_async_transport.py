"""Sends calls and awaits them: what Client's transport does, in an event loop."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Generic, TypeVar, cast

import anyio

from st8.client._address import Address
from st8.client._answers import NotUnderstood
from st8.client._async_connection import AsyncPool
from st8.client._connection import Deadline
from st8.client._retry import TIMEOUT_S, Attempts, Failure
from st8.client._transport import chance, retry_after_s_of
from st8.core.errors import InvalidValue, St8Error

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from typing import Self

    from st8.client._async_connection import AsyncStream
    from st8.client._calls import Call, Steps, Walk

__all__ = ["AsyncTransport"]

P = TypeVar("P")
T = TypeVar("T")

_OK: Final = 200


class AsyncTransport:
    """The way to one daemon. For use by many tasks of one event loop."""

    def __init__(
        self,
        url: str,
        *,
        token: str | None,
        timeout_s: float | None,
        retries: int,
        ca_file: str | None,
        cert_file: str | None = None,
        key_file: str | None = None,
    ) -> None:
        """Prepare; nothing is connected yet. See :class:`st8.AsyncClient`.

        Raises:
            InvalidInput: Something of it can't be right.
        """
        if timeout_s is not None and not timeout_s > 0:
            raise InvalidValue("timeout_s", "must be more than 0; None for no limit")
        if retries < 0:
            raise InvalidValue("retries", "must not be negative")
        self._address = Address.parse(url)
        self._pool = AsyncPool(self._address, token, ca_file, cert_file, key_file)
        self._timeout_s = timeout_s
        self._retries = retries

    @property
    def url(self) -> str:
        """The daemon's address."""
        return self._address.url

    async def close(self) -> None:
        """Close the connections; those in use are closed after their answer."""
        await self._pool.close()

    async def send(self, call: Call[T], deadline: Deadline | None = None) -> T:
        """Return the result of ``call``, repeated where that is safe.

        Args:
            call: What to do.
            deadline: When its time is over; by the client's timeout if None.

        Raises:
            St8Error: What the daemon answered, or why there is no answer.
        """
        deadline = deadline or Deadline(self._timeout_s)
        attempts = Attempts(
            cast("Call[object]", call), self.url, retries=self._retries, jitter=chance
        )
        while True:
            retry_after_s = 0.0
            try:
                answer = await self._pool.exchange(call.request, deadline)
                retry_after_s = retry_after_s_of(answer.headers)
                return call.read(answer)
            except Failure as failure:
                delay_s = attempts.after_failure(failure, deadline.left_s())
            except NotUnderstood as odd:
                delay_s = attempts.after_odd_answer(odd, deadline.left_s())
            except St8Error as error:
                delay_s = attempts.after_error(error, deadline.left_s(), retry_after_s)
            await anyio.sleep(delay_s)

    async def run(self, steps: Steps[P, T]) -> T:
        """Return what ``steps`` return, given the result of each call they yield."""
        try:
            call = next(steps)
            while True:
                call = steps.send(await self.send(call))
        except StopIteration as end:
            return cast("T", end.value)

    async def stream(self, call: Call[None]) -> AsyncStream:
        """Return the answer to ``call``, to be read as it comes; tries once.

        Raises:
            Failure: There is no answer.
            NotUnderstood: It is not one that a daemon gives.
            St8Error: What the daemon answered instead of a stream.
        """
        deadline = Deadline(TIMEOUT_S if self._timeout_s is None else self._timeout_s)
        stream = await self._pool.stream(call.request, deadline)
        try:
            ok = stream.head.status == _OK
            call.read(stream.head if ok else await stream.whole(deadline))
        except BaseException:
            await stream.close()
            raise
        return stream

    def each(self, walk: Walk[P, T]) -> AsyncIterator[T]:
        """Yield what the pages of ``walk`` hold; each is asked for when needed."""
        return _Items(self, walk)


class _Items(Generic[P, T]):
    """What the pages of a walk hold.

    It is no async generator, which an event loop would have to be asked to end: whoever
    has read enough just forgets it.
    """

    def __init__(self, transport: AsyncTransport, walk: Walk[P, T]) -> None:
        self._transport = transport
        self._walk = walk
        self._items: Iterator[T] = iter(())
        self._call: Call[P] | None = walk.first

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> T:
        while True:
            for item in self._items:
                return item
            call, self._call = self._call, None  # after an error there is no more
            if call is None:
                raise StopAsyncIteration
            page = await self._transport.send(call)
            self._items = iter(self._walk.items(page))
            self._call = self._walk.after(page)
