"""The heaviest requests that a daemon allows, all at once.

Applies of the largest body, reads and diffs of a state of large documents by clients
that take little or nothing of the answer, and watchers that take nothing. Every answer
is kept, so that what was acknowledged can be looked for afterwards.
"""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from st8.core import limits

if TYPE_CHECKING:
    from collections.abc import Coroutine

__all__ = ["Heavy", "Seen"]

_CONTENT_BYTES: Final = limits.CONTENT_BYTES.maximum - 64
_DOCUMENTS: Final = 4
"""Of the largest content in one apply: as many as a body has room for."""
_HEAD_BYTES_MAX: Final = 64 * 1024
_PADDING: Final = b"\\u0001" + b"x" * (_CONTENT_BYTES // 2)


@dataclass
class Seen:
    """What the clients saw.

    Attributes:
        acknowledged: Revisions that were acknowledged, with the number that the
            document bears in each, by namespace.
        statuses: How many answers there were, by kind of request and status; 0 where
            the connection ended without one.
        wrong: Answers that should not have been given.
    """

    acknowledged: dict[str, dict[int, int]] = field(
        default_factory=dict[str, dict[int, int]]
    )
    statuses: dict[tuple[str, int], int] = field(
        default_factory=dict[tuple[str, int], int]
    )
    wrong: list[str] = field(default_factory=list[str])

    def note(self, kind: str, status: int) -> None:
        """Count an answer."""
        at = (kind, status)
        self.statuses[at] = self.statuses.get(at, 0) + 1

    def count(self, kind: str, status: int) -> int:
        """Return how many answers of a kind had a status."""
        return self.statuses.get((kind, status), 0)


class Heavy:
    """Clients of one daemon, on an event loop of the caller's."""

    def __init__(self, host: str, port: int) -> None:
        """Prepare clients of the daemon at ``host`` and ``port``."""
        self._at = (host, port)
        self._marks = 0
        self.seen = Seen()

    async def load(self, namespace: str = "big") -> None:
        """Make two states that are read: as large as one apply can."""
        for _ in range(2):
            status, answer = await self._apply(namespace)
            assert status == 200, answer  # noqa: S101, PLR2004 - part of a test

    async def run(
        self, *, writers: int, readers: int, diffs: int, watchers: int, seconds: float
    ) -> Seen:
        """Ask all at once, each again and again, for some time."""
        loop = asyncio.get_running_loop()
        until = loop.time() + seconds
        works: list[Coroutine[Any, Any, None]] = [
            *(self._write(f"w{n}", until) for n in range(writers)),
            *(self._read("read", _get(), until, taken=n % 2) for n in range(readers)),
            *(self._read("diff", _diff(), until, taken=n % 2) for n in range(diffs)),
            *(self._read("watch", _watch(), until, taken=0) for _ in range(watchers)),
        ]
        await asyncio.gather(*works)
        return self.seen

    async def _write(self, namespace: str, until: float) -> None:
        """Apply the largest body until it is over."""
        loop = asyncio.get_running_loop()
        while loop.time() < until:
            status, answer = 0, b""
            with suppress(OSError, EOFError, ValueError):
                status, answer = await self._apply(namespace)
            self.seen.note("write", status)
            code = json.loads(answer)["code"] if status >= 400 else ""  # noqa: PLR2004
            if code not in {"", "overloaded"}:
                self.seen.wrong.append(f"an apply was answered {status}: {answer!r}")
            if status != 200:  # noqa: PLR2004
                await asyncio.sleep(0.05)

    async def _apply(self, namespace: str) -> tuple[int, bytes]:
        """Apply one body of the largest size; note what was acknowledged."""
        self._marks += 1
        mark = self._marks
        parts: list[bytes] = [
            b'{"scope":{"namespace":"%b"},"changes":"none","documents":['
            % namespace.encode()
        ]
        for number in range(_DOCUMENTS):
            parts.append(
                b'%b{"key":"%d","content":"%012d' % (b"," * bool(number), number, mark)
            )
            parts += [_PADDING, _PADDING[6:], b'"}']
        parts.append(b"]}")
        size = sum(map(len, parts))
        head = (
            b"POST /v1/apply HTTP/1.1\r\nhost: st8\r\nconnection: close\r\n"
            b"content-length: %d\r\n\r\n" % size
        )
        reader, writer = await asyncio.open_connection(*self._at)
        try:
            # An answer may come before all is sent.
            answering = asyncio.ensure_future(_answer(reader))
            with suppress(OSError):
                for part in (head, *parts):
                    writer.write(part)
                    await writer.drain()
                    if answering.done():
                        break
            status, answer = await asyncio.wait_for(answering, 120)
        finally:
            writer.transport.abort()
        if status == 200:  # noqa: PLR2004
            number = json.loads(answer)["revision"]
            self.seen.acknowledged.setdefault(namespace, {})[number] = mark
        return status, answer

    async def _read(self, kind: str, request: bytes, until: float, taken: int) -> None:
        """Ask for a large answer and take a little of it, or nothing, until it is over."""
        loop = asyncio.get_running_loop()
        while (left := until - loop.time()) > 0:
            status = 0
            with suppress(OSError, EOFError):
                reader, writer = await asyncio.open_connection(*self._at, limit=1)
                try:
                    writer.write(request)
                    async with asyncio.timeout_at(until):
                        status = int((await reader.read(12))[9:12] or b"0")
                        if status == 200 and not taken:  # noqa: PLR2004
                            await asyncio.sleep(left)
                        await _take_slowly(reader)
                except TimeoutError:
                    pass
                finally:
                    writer.transport.abort()
            self.seen.note(kind, status)
            if status not in {0, 200, 503}:
                self.seen.wrong.append(f"a {kind} was answered {status}")
            await asyncio.sleep(0.05)


async def _take_slowly(reader: asyncio.StreamReader) -> None:
    """Read to the end, a little at a time."""
    more = b"more"
    while more:
        more = await reader.read(_HEAD_BYTES_MAX)
        await asyncio.sleep(0.01)


async def _answer(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    """Return the status and the body of an answer that ends with its connection."""
    text = await reader.read(_HEAD_BYTES_MAX)
    while more := await reader.read(_HEAD_BYTES_MAX):
        text += more
    head, _, body = text.partition(b"\r\n\r\n")
    return int(head[9:12] or b"0"), body


def _get() -> bytes:
    return b"GET /v1/state?namespace=big HTTP/1.1\r\nhost: st8\r\n\r\n"


def _diff() -> bytes:
    body = (
        b'{"scope":{"namespace":"big"},"from":{"revision":1},"to":{"revision":2},'
        b'"changes":"full"}'
    )
    return b"POST /v1/diff HTTP/1.1\r\nhost: st8\r\ncontent-length: %d\r\n\r\n%b" % (
        len(body),
        body,
    )


def _watch() -> bytes:
    return b"GET /v1/watch?namespace=w0 HTTP/1.1\r\nhost: st8\r\n\r\n"
