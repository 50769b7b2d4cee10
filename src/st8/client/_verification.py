"""A verification as the daemon streams it: what is asked, and how its lines are read."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final, cast

from st8.client import _answers
from st8.client._answers import Answer, NotUnderstood
from st8.client._calls import send
from st8.client._retry import Attempts, Failure
from st8.client._transport import chance
from st8.core.errors import St8Error
from st8.core.findings import Verified, from_fields

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Sequence

    from st8.client._async_transport import AsyncTransport
    from st8.client._calls import Call
    from st8.client._transport import Transport
    from st8.core.findings import Event, Head

__all__ = ["verify", "verify_async"]

_OK: Final = 200
_SILENCE_S: Final = 300.0
"""SQLite's own check of a large store says nothing while it runs."""


def _call(*, full: bool, heads: bool, expected: Sequence[Head]) -> Call[None]:
    expect = [head._asdict() | {"digest": head.digest.hex()} for head in expected]
    body = {
        "full": full or None,
        "heads": heads or None,
        "expect": expect or None,
    }
    return send("verify", "POST", "/v1/verify", body, _accept, effect="read")


def _accept(head: Answer) -> None:
    """Look at the head of the answer.

    Raises:
        St8Error: The daemon refuses.
        NotUnderstood: It is no stream of a verification.
    """
    if head.status != _OK:
        raise _answers.error_of(head)
    kind = head.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/x-ndjson":
        raise NotUnderstood(f"answered a verification with {kind[:80]!r}")


class _Lines:
    """Reads the lines of a stream.

    Attributes:
        done: The last one was read.
    """

    def __init__(self) -> None:
        self._rest = b""
        self.done = False

    def feed(self, data: bytes) -> Iterator[Event]:
        """Yield what ``data``, the next of the stream, completes; none at its end.

        Raises:
            St8Error: The verification has failed, and why.
            Failure: The stream ended before its last line.
            NotUnderstood: It is not what a daemon sends.
        """
        if not data:
            raise Failure("the answer broke off", "answer")
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            try:
                fields = cast("dict[str, Any]", json.loads(line))
                if fields["type"] == "failed":
                    raise St8Error.from_problem(fields)
                event = from_fields(fields)
            except (ValueError, KeyError, TypeError):
                raise NotUnderstood(
                    "sent a line that is none of a verification"
                ) from None
            yield event
            if isinstance(event, Verified):
                self.done = True
                return


def _told(call: Call[None], url: str, problem: Exception) -> St8Error:
    """Return how the end of a stream is told to people."""
    attempts = Attempts(cast("Call[object]", call), url, retries=0, jitter=chance)
    try:
        if isinstance(problem, Failure):
            attempts.after_failure(problem, None)
        elif isinstance(problem, NotUnderstood):
            attempts.after_odd_answer(problem, None)
    except St8Error as error:
        return error
    return problem if isinstance(problem, St8Error) else St8Error(str(problem))


def verify(
    transport: Transport, *, full: bool, heads: bool, expected: Sequence[Head]
) -> Iterator[Event]:
    """Yield what a daemon says; see :meth:`st8.Client.verify`."""
    call = _call(full=full, heads=heads, expected=expected)
    try:
        stream = transport.stream(call)
        try:
            lines = _Lines()
            while not lines.done:
                yield from lines.feed(stream.read(_SILENCE_S))
        finally:
            stream.close()
    except (Failure, NotUnderstood) as problem:
        raise _told(call, transport.url, problem) from problem


async def verify_async(
    transport: AsyncTransport, *, full: bool, heads: bool, expected: Sequence[Head]
) -> AsyncIterator[Event]:
    """Yield what a daemon says; see :meth:`st8.AsyncClient.verify`."""
    call = _call(full=full, heads=heads, expected=expected)
    try:
        stream = await transport.stream(call)
        try:
            lines = _Lines()
            while not lines.done:
                for event in lines.feed(await stream.read(_SILENCE_S)):
                    yield event
        finally:
            await stream.close()
    except (Failure, NotUnderstood) as problem:
        raise _told(call, transport.url, problem) from problem
