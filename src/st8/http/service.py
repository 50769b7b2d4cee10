"""What handlers work with: the engine, threads to wait on, and what is remembered.

The event loop never waits for the store. Reads run on a few threads of their own;
writes are handed to the engine's group commit, which answers in its own time.
"""

from __future__ import annotations

import asyncio
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeVar

from st8.core import limits
from st8.core.errors import Overloaded, St8Error
from st8.engine.retention import Retention
from st8.http.answers import Answers
from st8.http.encoding import encode
from st8.http.metrics import Metrics
from st8.http.openapi import document
from st8.http.page import make_page
from st8.http.rates import RateLimiter
from st8.http.replies import OpenReply, Reply, open_reply
from st8.http.state_lane import StateLane
from st8.http.watch import Hub

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from st8.core.ports import Threads
    from st8.engine.engine import Engine
    from st8.engine.requests import WriteRequest
    from st8.engine.retention import Rules
    from st8.engine.writes import Written
    from st8.http.incoming import Upload
    from st8.http.page import DocsPage

__all__ = ["Call", "Service"]

R = TypeVar("R")

READ_THREADS: Final = 4
"""More would only queue for the interpreter: reads are mostly computing."""


class Call(NamedTuple):
    """What a handler may need of a request beside its plan.

    Attributes:
        if_none_match: The header of that name; None if it is absent.
        check: Raises if the client may no longer do what it was allowed to; returns
            the plan by what is allowed now.
        waits: To be entered while it waits, as it was asked to.
        upload: The body, where an operation takes it as it comes.
    """

    if_none_match: bytes | None
    check: Callable[[], Any]
    waits: Callable[[], AbstractContextManager[None]]
    upload: Upload | None = None


class Service:
    """The engine as handlers see it.

    Attributes:
        engine: The versioned store.
        hub: Who watches.
        lane: What repeated reads of states are answered from.
        metrics: What is counted.
        answers: What large answers hold.
        rates: How many requests whoever asks may send.
        retention: What a collection keeps where nobody says otherwise.
        version: The version of the daemon.
        common_headers: Headers of every response.
        draining: True once the daemon is being stopped.
        verifying: True while the store is verified, for one client at a time.
    """

    def __init__(
        self, engine: Engine, version: str, threads: Threads = ThreadPoolExecutor
    ) -> None:
        """Serve ``engine``; wait on ``threads``."""
        self.engine = engine
        self.lane = StateLane(engine)
        self.hub = Hub(engine, self.run)
        self.answers = Answers()
        self.rates = RateLimiter()
        self.metrics = Metrics(engine, self.lane, self.hub, self.rates)
        self.retention: Rules = lambda _: Retention()
        self.version = version
        self.draining = False
        self.verifying = False
        self.common_headers: list[tuple[bytes, bytes]] = [
            (b"server", f"st8d/{version}".encode()),
            (b"x-content-type-options", b"nosniff"),
        ]
        self._answered: deque[tuple[asyncio.Future[Any], Written | St8Error]] = deque()
        self._waking = False
        self._readers = threads(READ_THREADS, "st8-read")
        self._collections = 0  # that run or wait
        self._collector = threads(1, "st8-collect")
        # One more, so that a second one is refused and does not wait.
        self._restorers = threads(2, "st8-restore")
        self._verifier = threads(1, "st8-verify")
        self._prober = threads(1, "st8-probe")

    @cached_property
    def openapi(self) -> bytes:
        """The description of the API, as JSON."""
        return encode(document(self.version))

    @cached_property
    def docs(self) -> DocsPage:
        """The description of the API, as a page."""
        return make_page(document(self.version))

    async def run(self, work: Callable[..., R], *args: Any) -> R:
        """Return what ``work`` returns, called on a reading thread."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._readers, partial(work, *args))

    async def open(self, make: Callable[..., Reply], *args: Any) -> OpenReply:
        """Return the reply that ``make`` makes, begun; on a reading thread.

        Raises:
            Overloaded: There is no room for it; it was not begun.
        """
        return await self.run(self._made, make, *args)

    async def finish(self, make: Callable[..., Reply], *args: Any) -> OpenReply:
        """Return a reply as :meth:`open` does, whether there is room or not.

        It tells what was done already.
        """
        return await self.run(self._begun, make, *args)

    def _made(self, make: Callable[..., Reply], *args: Any) -> OpenReply:
        self.answers.check()
        return self._begun(make, *args)

    def _begun(self, make: Callable[..., Reply], *args: Any) -> OpenReply:
        opened = open_reply(make(*args))
        if opened.rest is not None:
            opened.place = self.answers.place(len(opened.head))
        return opened

    async def write(self, request: WriteRequest) -> Any:
        """Return what the engine answers to a write, once it is durable.

        A request that is cancelled meanwhile does not take the write with it.
        """
        loop = asyncio.get_running_loop()
        target: asyncio.Future[Any] = loop.create_future()

        def done(answer: Written | St8Error) -> None:
            # A whole batch is answered at once, so the loop is woken once for it.
            self._answered.append((target, answer))
            if not self._waking:
                self._waking = True
                with suppress(RuntimeError):  # closed: nobody waits any more
                    loop.call_soon_threadsafe(self._settle)

        self.engine.submit(request, done)
        return await target

    def _settle(self) -> None:
        """Wake the requests whose writes have ended."""
        self._waking = False
        while self._answered:
            target, answer = self._answered.popleft()
            if target.cancelled():
                continue
            if isinstance(answer, St8Error):
                target.set_exception(answer)
            else:
                target.set_result(answer)

    async def collect(self, work: Callable[..., R], *args: Any) -> R:
        """Return what ``work`` returns; it may take long, and one runs at a time.

        Raises:
            Overloaded: Too many wait already, whether their clients do or not.
        """
        limit = limits.WAITING_COLLECTIONS
        if self._collections > limit.maximum:
            raise Overloaded(
                f"{limit.maximum} collections and redactions wait already "
                f"({limit.name}), so this one was not begun; try again when they are "
                "done"
            )
        loop = asyncio.get_running_loop()
        self._collections += 1
        try:
            return await loop.run_in_executor(self._collector, partial(work, *args))
        finally:
            self._collections -= 1

    async def restore(self, work: Callable[..., R], *args: Any) -> R:
        """Return what ``work`` returns; it may take as long as a client sends."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._restorers, partial(work, *args))

    async def verify(self, work: Callable[..., R], *args: Any) -> R:
        """Return what ``work`` returns, a part of a verification."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._verifier, partial(work, *args))

    def end_verification(self, close: Callable[[], None]) -> None:
        """Have a verification that was given up closed, after the part it is at."""
        with suppress(RuntimeError):  # no thread is left
            self._verifier.submit(close)

    async def probe(self, work: Callable[..., R], *args: Any) -> R:
        """Return what ``work`` returns, however busy the readers are."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._prober, partial(work, *args))

    def close(self) -> None:
        """Stop the threads, once the reads that were begun are done.

        A collection or a restore is not waited for: it may take long, and ends by
        itself when the engine is closed.
        """
        self._collector.shutdown(wait=False, cancel_futures=True)
        self._restorers.shutdown(wait=False, cancel_futures=True)
        self._verifier.shutdown(wait=False, cancel_futures=True)
        self._prober.shutdown(wait=False, cancel_futures=True)
        self._readers.shutdown(wait=True, cancel_futures=True)
        self.metrics.close()
