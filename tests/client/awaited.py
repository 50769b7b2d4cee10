"""AsyncClient with the face of Client, so that one test can be made of both."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any, ClassVar, Self

from st8.client import AsyncClient
from st8.client._async_watch import AsyncWatch

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from anyio.from_thread import BlockingPortal

__all__ = ["Awaited", "AwaitedWatch"]


class Awaited:
    """A client whose calls are awaited in the event loop of ``portal``."""

    portal: ClassVar[BlockingPortal]

    def __init__(self, *args: Any, **options: Any) -> None:
        self._client = AsyncClient(*args, **options)

    @classmethod
    def of(cls, client: AsyncClient) -> Self:
        """Return ``client`` with another face."""
        made = object.__new__(cls)
        made._client = client
        return made

    def __repr__(self) -> str:
        return repr(self._client)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._client, name)
        return self._blocking(value) if callable(value) else value

    def _blocking(self, method: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **options: Any) -> Any:
            result = method(*args, **options)
            if inspect.iscoroutine(result):
                return self.portal.call(_awaited, result)
            if isinstance(result, AsyncClient):
                return self.of(result)
            if isinstance(result, AsyncWatch):
                return AwaitedWatch.of(result)
            return self._each(result)

        return call

    def _each(self, items: AsyncIterator[Any]) -> Iterator[Any]:
        while True:
            try:
                yield self.portal.call(anext, items)
            except StopAsyncIteration:
                return


async def _awaited(result: Any) -> Any:
    return await result


class AwaitedWatch:
    """A watch that is awaited in the same event loop."""

    _OWN = frozenset({"_watch"})

    def __init__(self, *args: Any) -> None:
        self._watch = AsyncWatch(*args)

    @classmethod
    def of(cls, watch: AsyncWatch) -> Self:
        """Return ``watch`` with another face."""
        made = object.__new__(cls)
        made._watch = watch
        return made

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Any:
        try:
            return Awaited.portal.call(self._watch.__anext__)
        except StopAsyncIteration:
            raise StopIteration from None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._watch, name)

    def __setattr__(self, name: str, value: object) -> None:
        if name in self._OWN:
            super().__setattr__(name, value)
        else:
            setattr(self._watch, name, value)

    def close(self) -> None:
        """End it."""
        Awaited.portal.call(self._watch.close)
