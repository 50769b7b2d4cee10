"""Replies: made on a worker thread, delivered on the event loop.

Every answer goes one way, small or large. Its pieces are made by a worker until it
ends or passes ``STREAM_FROM_BYTES``. One that ends is sent with its length; the
others are sent chunk by chunk, each made only when the one before has left, so that
an answer of any size holds one chunk of memory and no thread while it waits for a
slow reader. How slow it may be is for the server to say.

An error before the first chunk becomes a problem. One after it can't be told any
more: the response is left unfinished, at which the server drops the connection, so
that nobody takes a part for the whole.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from st8.http.encoding import Tally

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, MutableMapping

    from st8.http.answers import Place
    from st8.http.state_lane import KeptReply

    Message = MutableMapping[str, Any]
    Receive = Callable[[], Awaitable[Message]]
    Send = Callable[[Message], Awaitable[None]]
    Headers = list[tuple[bytes, bytes]]
    Run = Callable[..., Awaitable[Any]]
    Stream = Callable[[Receive, Send], Awaitable[bool]]

__all__ = [
    "JSON",
    "PROBLEM",
    "STREAM_FROM_BYTES",
    "TEXT",
    "Delivery",
    "Headers",
    "Message",
    "OpenReply",
    "Receive",
    "Reply",
    "Send",
    "open_reply",
]

JSON: Final = (b"content-type", b"application/json")
PROBLEM: Final = (b"content-type", b"application/problem+json")
TEXT: Final = (b"content-type", b"text/plain; charset=utf-8")

STREAM_FROM_BYTES: Final = 64 * 1024
_KEEP_BYTES_MAX: Final = 1024 * 1024


@dataclass(slots=True)
class Reply:
    """What is answered.

    Attributes:
        status: The HTTP status.
        headers: Beside the ones that every response has.
        body: All of it, where it is known.
        pieces: Makes it otherwise; each call begins anew.
        stream: Writes the body itself, for as long as the client stays; returns
            whether it came to its end.
        kept: A reply that was sent before and goes out as it is.
        keep: Is given the body once all of it was made, if it is not too large.
        noop: True for a write that changed nothing.
        revision: The head after a write.
        tally: Counts the changes while they are written.
    """

    status: int = 200
    headers: Headers = field(default_factory=lambda: [JSON])
    body: bytes = b""
    pieces: Callable[[], Iterator[bytes]] | None = None
    stream: Stream | None = None
    kept: KeptReply | None = None
    keep: Callable[[bytes], None] | None = None
    noop: bool = False
    revision: int | None = None
    tally: Tally = field(default_factory=Tally)


@dataclass(slots=True)
class OpenReply:
    """A reply with its beginning.

    Attributes:
        reply: The reply.
        head: The first bytes of the body.
        rest: Makes the others; None if there are none.
        began: When the operation was begun, by ``perf_counter``; None for a
            problem, which is counted where it happened.
        place: Counts it among the open answers, for as long as it is there.
    """

    reply: Reply
    head: bytes
    rest: Iterator[bytes] | None
    began: float | None = None
    place: Place | None = None


def open_reply(reply: Reply) -> OpenReply:
    """Return ``reply`` with the beginning of its body. Blocks on the store."""
    if reply.pieces is None:
        return OpenReply(reply, reply.body, None)
    pieces = reply.pieces()
    head, done = _chunk(pieces)
    if done and reply.keep is not None:
        reply.keep(head)
    return OpenReply(reply, head, None if done else pieces)


def _chunk(pieces: Iterator[bytes]) -> tuple[bytes, bool]:
    """Return the next bytes, and whether they are the last."""
    parts: list[bytes] = []
    size = 0
    for piece in pieces:
        parts.append(piece)
        size += len(piece)
        if size > STREAM_FROM_BYTES:
            return b"".join(parts), False
    return b"".join(parts), True


def _length(pieces: Iterator[bytes]) -> int:
    return sum(map(len, pieces))


class Delivery:
    """Sends one reply to one client.

    Attributes:
        complete: True once the whole reply was handed to the server.
    """

    def __init__(
        self,
        receive: Receive,
        send: Send,
        *,
        run: Run,
        common_headers: Headers,
        head_only: bool,
        chunked: bool,
    ) -> None:
        """Deliver over ``receive`` and ``send``.

        Args:
            receive: The ASGI callable that tells of a client that has gone.
            send: The ASGI callable.
            run: Runs a function on a worker thread.
            common_headers: Headers of every response.
            head_only: Send no body: the method was HEAD.
            chunked: False for a client that can't read chunks (HTTP/1.0).
        """
        self._receive = receive
        self._send = send
        self._run = run
        self._common_headers = common_headers
        self._head_only = head_only
        self._chunked = chunked
        self.complete = False

    async def deliver(self, opened: OpenReply) -> None:
        """Send a reply; on return it is complete or can't be completed.

        Raises:
            Exception: The pieces failed; the caller logs it and leaves the
                response unfinished.
        """
        reply = opened.reply
        if reply.kept is not None:
            start, body = reply.kept.messages(head_only=self._head_only)
            await self._send(start)
            await self._send(body)
            self.complete = True
        elif reply.stream is not None and not self._head_only:
            await self._start(reply, None)
            self.complete = await reply.stream(self._receive, self._send)
        elif self._head_only and (reply.stream is not None or opened.rest is not None):
            await self._start(reply, None)  # nobody knows how long it would be
            await self._end(b"")
        elif opened.rest is None:
            await self._whole(reply, opened.head)
        else:
            head, opened.head = opened.head, b""
            await self._stream(reply, head, opened.rest, opened.place)

    async def _whole(self, reply: Reply, body: bytes) -> None:
        await self._start(reply, len(body))
        await self._end(b"" if self._head_only else body)

    async def _stream(
        self,
        reply: Reply,
        head: bytes,
        rest: Iterator[bytes],
        place: Place | None,
    ) -> None:
        length: int | None = None
        if not self._chunked and reply.pieces is not None:
            # Measured by making it twice: what it is made from does not change.
            told = reply.tally.changes
            length = await self._run(_length, reply.pieces())
            reply.tally.changes = told
        await self._start(reply, length)
        gone = asyncio.ensure_future(self._gone())
        try:
            await self._pump(reply, head, rest, gone, place)
        finally:
            gone.cancel()

    async def _gone(self) -> None:
        """Return once the client is gone; a body that nobody read is dropped."""
        while (await self._receive())["type"] != "http.disconnect":
            pass

    async def _pump(
        self,
        reply: Reply,
        head: bytes,
        rest: Iterator[bytes],
        gone: asyncio.Future[None],
        place: Place | None,
    ) -> None:
        made: bytearray | None = None if reply.keep is None else bytearray(head)
        chunk, done = head, False
        while not done:
            await self._send(_body(chunk, more=True))
            chunk = b""  # whoever is slow shall hold it once
            if gone.done():
                return
            chunk, done = await self._run(_chunk, rest)
            if place is not None:
                place.hold(len(chunk))
            if made is not None:
                made.extend(chunk)
                if len(made) > _KEEP_BYTES_MAX:
                    made = None
        await self._end(chunk)
        if made is not None and reply.keep is not None:
            reply.keep(bytes(made))

    async def _start(self, reply: Reply, length: int | None) -> None:
        headers = [*reply.headers, *self._common_headers]
        if length is not None and reply.status != 304:  # noqa: PLR2004 - Not Modified
            headers.append((b"content-length", b"%d" % length))
        await self._send(
            {"type": "http.response.start", "status": reply.status, "headers": headers}
        )

    async def _end(self, body: bytes) -> None:
        await self._send(_body(body, more=False))
        self.complete = True


def _body(chunk: bytes, *, more: bool) -> Message:
    return {"type": "http.response.body", "body": chunk, "more_body": more}
