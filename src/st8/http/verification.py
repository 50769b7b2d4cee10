"""The stream of a verification: JSON lines, sent as it goes on.

A line is a finding, a head, how far it is, or in the end a summary; see
:mod:`st8.core.findings`. What keeps it from its end is a line too, of the type
``failed``. It runs on a thread of its own, a quarter of a second at a time, so something
is sent often enough for every proxy, and it ends when the client has gone.
"""

from __future__ import annotations

import asyncio
from time import monotonic
from typing import TYPE_CHECKING, Any, Final

from st8.core.errors import Conflict, ShuttingDown, St8Error
from st8.core.findings import Progress, as_fields
from st8.http.encoding import encode
from st8.http.problems import as_st8_error

if TYPE_CHECKING:
    from collections.abc import Generator

    from st8.core.findings import Event
    from st8.http.plans import VerifyPlan
    from st8.http.replies import Message, Receive, Send
    from st8.http.service import Service

__all__ = ["ONLY_ONE", "Verification"]

ONLY_ONE: Final = (
    "this daemon is verifying its store already; wait until that is done, or stop it"
)
_TURN_S: Final = 0.25


class Verification:
    """One verification for one client."""

    def __init__(self, service: Service, plan: VerifyPlan) -> None:
        """Begin when it is streamed."""
        self._service = service
        self._plan = plan

    async def stream(self, receive: Receive, send: Send) -> bool:
        """Verify, and send what is found, until it is done or the client has gone.

        Returns whether it was done.
        """
        service = self._service
        if service.verifying:
            await send(_body(_failed(Conflict(ONLY_ONE)), more=False))
            return False
        service.verifying = True
        lines = _lines(service, self._plan)
        gone = asyncio.ensure_future(_gone(receive))
        last = False
        try:
            while not last:
                some, last = await service.verify(_next, lines)
                if service.draining and not last:
                    some, last = some + _failed(ShuttingDown()), True
                if last:
                    service.verifying = False  # who has read all may ask again
                await send(_body(some, more=not last))
                if gone.done():
                    break
        finally:
            gone.cancel()
            if not last:
                # On its own thread, which may be at it still.
                service.end_verification(lines.close)
                service.verifying = False
        return last


def _next(lines: Generator[tuple[bytes, bool]]) -> tuple[bytes, bool]:
    return next(lines)


def _lines(service: Service, plan: VerifyPlan) -> Generator[tuple[bytes, bool]]:
    """Yield the lines of each quarter of a second, and whether they are the last.

    On a thread of its own.
    """
    engine = service.engine
    try:
        events = engine.verify(full=plan.full, heads=plan.heads, expected=plan.expected)
        waiting: list[Event] = []
        latest: Progress | None = None
        end_s = 0.0  # the first at once, so that the client hears that it goes on
        for event in events:
            if isinstance(event, Progress):
                latest = event
            else:
                waiting.append(event)
            if monotonic() >= end_s:
                # Progress first: nothing may follow the summary.
                yield _encoded([*([latest] if latest else []), *waiting]), False
                waiting, latest = [], None
                end_s = monotonic() + _TURN_S
        yield _encoded(waiting), True
    except GeneratorExit:
        raise
    except Exception as error:  # noqa: BLE001 - whatever it is, the client is told
        yield _failed(as_st8_error(error, "verifying the store")), True


def _encoded(events: list[Event]) -> bytes:
    return b"".join(encode(as_fields(event)) for event in events)


def _failed(error: St8Error) -> bytes:
    return encode({"type": "failed", **error.problem()})


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _body(data: bytes, *, more: bool) -> Message:
    found: dict[str, Any] = {"type": "http.response.body", "body": data}
    return {**found, "more_body": more}
