"""A watcher that trusts nothing: it keeps all that it was told, for the checker.

It reads the stream by itself, from the bytes of HTTP on, so that it shares no mistake
with the client. It goes away and comes back as chance has it, with the last id that
it was given.
"""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any, Final, Protocol
from urllib.parse import quote

from st8.testing.watch_checker import (
    Changed,
    Feed,
    Mark,
    Opened,
    Resynced,
    Seen,
    Told,
)

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Collection, Iterator
    from contextlib import AbstractAsyncContextManager
    from random import Random  # noqa: TID251 - seeded: a run can be had again

__all__ = ["Line", "Reader", "SocketLine", "Stream", "Watcher"]

_READ_BYTES: Final = 64 * 1024
_AGAIN_S: Final = 0.05
_OK: Final = 200


class Reader:
    """Takes a chunked body with events apart, however it comes in pieces."""

    def __init__(self) -> None:
        """Begin behind the head of the answer."""
        self._raw = bytearray()
        self._text = bytearray()
        self._left = 0  # of the chunk that has begun

    def feed(self, data: bytes) -> Iterator[dict[str, str]]:
        """Yield the fields of each event that is whole by now.

        Raises:
            ValueError: It is no chunked body.
        """
        self._raw += data
        while self._raw:
            if self._left > 2:  # noqa: PLR2004 - the line end behind the chunk
                piece = self._raw[: self._left - 2]
                self._text += piece
                self._left -= len(piece)
                del self._raw[: len(piece)]
            elif self._left:
                dropped = min(self._left, len(self._raw))
                self._left -= dropped
                del self._raw[:dropped]
            else:
                end = self._raw.find(b"\r\n")
                if end < 0:
                    break
                self._left = int(self._raw[:end], 16) + 2
                del self._raw[: end + 2]
        while (end := self._text.find(b"\n\n")) >= 0:
            block = self._text[:end].decode()
            del self._text[: end + 2]
            lines = (line.partition(": ") for line in block.split("\n"))
            yield {name: value for name, _, value in lines}


class Stream(Protocol):
    """An answer that comes in pieces.

    Attributes:
        status: How it was answered.
    """

    status: int

    async def read(self) -> bytes:
        """Return the next bytes of the chunked body; none at its end.

        Raises:
            OSError: The connection broke.
        """
        ...


class Line(Protocol):
    """How a watcher reaches a daemon."""

    def watch(self, target: str, last_id: str) -> AbstractAsyncContextManager[Stream]:
        """Return a block in which there is a stream; ``last_id`` may be empty.

        Raises:
            OSError: There is no connection, or it broke.
            EOFError: It ended before the answer began.
        """
        ...

    async def get(self, target: str) -> tuple[int, bytes]:
        """Return status and body of a read.

        Raises:
            OSError, EOFError: As above.
        """
        ...


class SocketLine:
    """A way to a daemon on this machine."""

    def __init__(self, port: int, state_port: int) -> None:
        """Watch through ``port``; read states at ``state_port``."""
        self._port = port
        self._state_port = state_port

    @asynccontextmanager
    async def watch(self, target: str, last_id: str) -> AsyncGenerator[_SocketStream]:
        """See :class:`Line`."""
        stream, writer = await asyncio.open_connection("127.0.0.1", self._port)
        try:
            last = f"Last-Event-ID: {last_id}\r\n" if last_id else ""
            head = f"GET {target} HTTP/1.1\r\nHost: st8\r\n{last}\r\n"
            writer.write(head.encode())
            answer = await stream.readuntil(b"\r\n\r\n")
            yield _SocketStream(int(answer.split(b" ", 2)[1]), stream)
        finally:
            writer.transport.abort()

    async def get(self, target: str) -> tuple[int, bytes]:
        """See :class:`Line`; on a connection of its own."""
        stream, writer = await asyncio.open_connection("127.0.0.1", self._state_port)
        try:
            writer.write(f"GET {target} HTTP/1.0\r\nHost: st8\r\n\r\n".encode())
            head = await stream.readuntil(b"\r\n\r\n")
            fields = dict(
                line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:] if line
            )
            body = await stream.readexactly(int(fields[b"content-length"]))
            return int(head.split(b" ", 2)[1]), body
        finally:
            writer.transport.abort()


class _SocketStream:
    def __init__(self, status: int, stream: asyncio.StreamReader) -> None:
        self.status = status
        self._stream = stream

    async def read(self) -> bytes:
        """See :class:`Stream`."""
        return await self._stream.read(_READ_BYTES)


class Watcher:
    """One client that watches some branches.

    Attributes:
        name: Its name in findings.
        feeds: What it watches, each in a namespace of its own.
        seen: What it was told of each, in order.
        positions: How far it has come with each; None before it began.
        events: How many revisions it was told.
        opened: How often it has connected.
        faults: What was wrong by itself.
    """

    def __init__(
        self,
        name: str,
        feeds: tuple[Feed, ...],
        chance: Random,
        known: dict[str, Told],
        *,
        stay_s: float,
        after: int | None = None,
        floor: bool = False,
        outages: Collection[int] = (),
    ) -> None:
        """Watch ``feeds``.

        Args:
            name: Its name.
            feeds: What to watch.
            chance: Says when it goes and when it comes back.
            known: Text → what it says; shared, since many are told the same.
            stay_s: How long it stays on one connection, as a mean.
            after: Where it begins; None for the head as it is.
            floor: ``after`` lies in the future.
            outages: The statuses of errors by which a stream may end.
        """
        self.name = name
        self.feeds = feeds
        self.seen: list[list[Seen]] = [[] for _ in feeds]
        self.positions: list[int] | None = None
        self.events = 0
        self.opened = 0
        self.faults: list[str] = []
        self._chance = chance
        self._known = known
        self._stay_s = stay_s
        self._after = after
        self._floor = floor
        self._outages = outages
        self._last_id = ""
        self._calm = False

    def calm(self) -> None:
        """Stay from the next connection on."""
        self._calm = True

    async def run(self, line: Line) -> None:
        """Watch through ``line`` until cancelled."""
        while True:
            stay_s = None if self._calm else self._chance.expovariate(1 / self._stay_s)
            with suppress(OSError, EOFError, TimeoutError, _Again):
                async with asyncio.timeout(stay_s):
                    await self._connection(line)
            pause_s = self._chance.uniform(0, _AGAIN_S)
            await asyncio.sleep(pause_s)

    def _target(self) -> str:
        query = f"contents={str(self.feeds[0].contents).lower()}"
        after = {} if self._after is None else {"after": self._after}
        for feed in self.feeds:
            asked = {"namespace": feed.namespace, "branch": feed.branch, **after}
            scope = json.dumps({**asked, "prefix": feed.prefix})
            query += f"&scope={quote(scope)}"
        return f"/v1/watch?{query}"

    async def _connection(self, line: Line) -> None:
        """Take what one connection tells."""
        async with line.watch(self._target(), self._last_id) as stream:
            if stream.status != _OK:
                if stream.status < 500:  # noqa: PLR2004 - our mistake
                    self.faults.append(f"{self.name} was answered {stream.status}")
                return
            reader = Reader()
            while data := await stream.read():
                for fields in reader.feed(data):
                    await self._take(fields, line)

    async def _take(self, fields: dict[str, str], line: Line) -> None:
        """Take an event, or a comment with an id."""
        if "id" not in fields:
            if not self._is_outage(fields):
                self.faults.append(f"{self.name} was told {fields}")
            raise _Again
        ids = [int(number) for number in fields["id"].split(",")]
        name = fields.get("event")
        if name == "start":
            self._begin(ids)
        elif name is None:
            self._mark(ids, None)
        else:
            at = self._which(ids, fields["data"])
            self._mark(ids, at)
            if name == "revision":
                self.seen[at].append(self._told(fields["data"]))
                self.events += 1
        self.positions = ids
        self._last_id = fields["id"]
        if name == "resync":
            await self._read_anew(fields["data"], ids, line)

    def _is_outage(self, fields: dict[str, str]) -> bool:
        """Return whether an event says that the daemon's store does not answer."""
        return (
            fields.get("event") == "error"
            and json.loads(fields["data"])["status"] in self._outages
        )

    def _begin(self, ids: list[int]) -> None:
        self.opened += 1
        for at, position in enumerate(ids):
            asked = self.positions[at] if self.positions else self._after
            self.seen[at].append(Opened(position, asked, self._floor))

    def _which(self, ids: list[int], data: str) -> int:
        """Return which feed an event is of: its namespace tells."""
        if len(ids) == 1:
            return 0
        namespace = json.loads(data)["namespace"]
        return [feed.namespace for feed in self.feeds].index(namespace)

    def _mark(self, ids: list[int], told: int | None) -> None:
        """Keep what an id says of the feeds that the event is not of."""
        for at, (position, known) in enumerate(
            zip(ids, self.positions or ids, strict=True)
        ):
            if at != told and (position != known or told is None):
                self.seen[at].append(Mark(position))

    def _told(self, data: str) -> Told:
        told = self._known.get(data)
        if told is None:
            told = self._known[data] = _told(json.loads(data))
        return told

    async def _read_anew(self, data: str, ids: list[int], line: Line) -> None:
        """Read the state that a resync names; begin anew if it is gone already."""
        asked: dict[str, Any] = json.loads(data)
        at = self._which(ids, data)
        position = int(asked["revision"])
        noted = len(self.seen[at])
        self.seen[at].append(Resynced(position, asked["reason"], None))
        if not position:
            self.seen[at][noted] = Resynced(0, asked["reason"], {})
            return
        feed = self.feeds[at]
        target = (
            f"/v1/state?namespace={quote(feed.namespace, safe='')}"
            f"&branch={quote(feed.branch, safe='')}&revision={position}"
        )
        status, body = await line.get(target)
        if status != _OK:
            raise _Again
        documents = {
            key: content
            for key, content in json.loads(body)["objects"].items()
            if key.startswith(feed.prefix)
        }
        self.seen[at][noted] = Resynced(position, asked["reason"], documents)


class _Again(Exception):
    """This connection is of no more use."""


def _told(data: dict[str, Any]) -> Told:
    changes = data["changes"]
    return Told(
        data["id"],
        data["parent_id"],
        data["digest"],
        None
        if changes is None
        else tuple(
            Changed(one["key"], one["type"], one.get("before"), one.get("after"))
            for one in changes
        ),
    )
