"""One request and its answer, as the app sees them (an ASGI connection scope).

uvicorn's cycle, with three differences: the head of an answer leaves together with
the first piece of its body (one write, one TLS record; ASGI allows it), failures
are answered as problems like every other error, and the access log is told.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any, Final

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, RequestResponseCycle

from st8.core.errors import (
    InternalError,
    OutcomeUnknown,
    Overloaded,
    ShuttingDown,
    St8Error,
    Unavailable,
)
from st8.http.incoming import READS, STREAMS
from st8.http.problems import encode_problem

if TYPE_CHECKING:
    from st8.http.connections import AsgiApp
    from st8.http.guards import GuardedProtocol

__all__ = ["GuardedCycle", "render_refusal"]

_JOIN_BYTES_MAX: Final = 64 * 1024  # larger bodies are written by themselves
_BODILESS: Final = frozenset((204, 304))
# What says where an answer ends is written by this layer alone.
_FRAMING: Final = frozenset((b"content-length", b"transfer-encoding", b"connection"))
_SAFE: Final = frozenset(("GET", "HEAD", "OPTIONS"))
_log = logging.getLogger("st8.http")


def render_refusal(error: St8Error, date_line: bytes) -> bytes:
    """Return the whole answer for ``error``; it says that the connection closes."""
    body = encode_problem(error)
    return b"".join(
        (
            STATUS_LINE[error.http_status],
            date_line,
            b"content-type: application/problem+json\r\ncontent-length: ",
            str(len(body)).encode(),
            b"\r\nconnection: close\r\n",
            b"retry-after: 1\r\n" if isinstance(error, Unavailable) else b"",
            b"\r\n",
            body,
        )
    )


class GuardedCycle(RequestResponseCycle):
    """The request that a connection has parsed and the answer it is given.

    Attributes:
        status: The status of the answer, 0 before there is one.
        sent_bytes: Bytes of the answer's body so far.
        held_bytes: Bytes of the request's body that count as held.
        task: Lets the app answer; None before it has begun.
    """

    def __init__(
        self, owner: GuardedProtocol, *, expect_100_continue: bool, keep_alive: bool
    ) -> None:
        """Make the cycle of the request whose headers ``owner`` has read."""
        # Not super().__init__: it would take as long as the rest of the request.
        self.scope = owner.scope
        self.transport = owner.transport
        self.flow = owner.flow
        self.logger = owner.logger
        self.message_event = asyncio.Event()
        self.on_response = owner.on_response_complete
        self.disconnected = False
        self.keep_alive = keep_alive
        self.waiting_for_100_continue = expect_100_continue
        self.body = bytearray()
        self.more_body = True
        self.response_started = False
        self.response_complete = False
        self.chunked_encoding = None
        self.expected_content_length = 0
        self.status = 0
        self.sent_bytes = 0
        self.held_bytes = 0
        self.task: asyncio.Task[None] | None = None
        self._shared = owner.shared
        self._head: bytes | None = None  # not written yet
        self._bodiless = False
        access = owner.shared.access
        self._started = access.now() if access is not None else 0.0

    async def run_asgi(self, app: AsgiApp) -> None:
        """Let ``app`` answer; answer in its place when it fails."""
        failure: St8Error | None = None
        try:
            await app(self.scope, self.receive, self.send)
        except asyncio.CancelledError:
            failure = self._cut_short()
        except Overloaded as error:  # in the middle of an answer
            failure = error
        except Exception:  # noqa: BLE001 - whatever it is, the daemon goes on
            _log.exception(
                "the app failed",
                extra={"method": self.scope["method"], "path": self.scope["path"]},
            )
            failure = self._fault()
        else:
            if not self.response_complete and not self.disconnected:
                _log.error(
                    "the app returned without an answer",
                    extra={"method": self.scope["method"], "path": self.scope["path"]},
                )
                failure = self._fault()
        if failure is not None and not self.response_complete:
            self._fail(failure)
        self.on_response = _done
        if self.held_bytes:
            self.release()

    def leave(self) -> None:
        """Take note that the client has gone; give up a request that only reads.

        It would wait, or be computed, for nobody, and clients that come and go could
        have any number of them. What may change something goes on to its end.
        """
        self.disconnected = True
        self.message_event.set()
        if self.task is not None and READS in self.scope:
            self.task.cancel()

    def release(self) -> None:
        """Count the request's body as held no longer."""
        self._shared.held_bytes -= self.held_bytes
        self.held_bytes = 0

    async def receive(self) -> Any:
        """Give what has come; of a body that streams it does not count as held then."""
        message: Any = await super().receive()
        if self.held_bytes and self.scope.get(STREAMS):
            self.release()
        return message

    @property
    def _may_be_done(self) -> bool:
        """Whether the request may have changed something."""
        return not self.more_body and self.scope["method"] not in _SAFE

    def _fault(self) -> St8Error:
        """Return what a client is told of a fault; the log has the rest."""
        if not self._may_be_done:
            return InternalError("st8d failed on this request; its log says more")
        return OutcomeUnknown(
            "st8d failed on this request, which may or may not have been done; its log "
            "says more. Look at the state, or try again with the same idempotency key"
        )

    def _cut_short(self) -> St8Error:
        """Return what a client is told whose request took longer than the daemon."""
        if not self._may_be_done:
            return ShuttingDown()
        return OutcomeUnknown(
            "the daemon is shutting down and did not wait for the end of this; it may "
            "or may not have been done"
        )

    def _fail(self, error: St8Error) -> None:
        """Answer ``error``, or cut an answer that has begun: it must not look whole."""
        if self.disconnected:
            return
        if self.response_started and self._head is None:
            self.transport.abort()
            return
        self.response_started = True
        self.status = error.http_status
        scope: Any = self.scope
        scope["st8.code"] = error.code
        self.keep_alive = False
        answer = render_refusal(error, self._shared.date_line)
        head_bytes = answer.index(b"\r\n\r\n") + 4
        if scope["method"] == "HEAD":
            answer = answer[:head_bytes]
        self.sent_bytes = len(answer) - head_bytes
        self.transport.write(answer)
        self._complete()

    async def send(self, message: Any) -> None:
        """Take a piece of the answer; waits while the client does not read."""
        if self.flow.write_paused and not self.disconnected:
            await self.flow.drain()
        if self.disconnected:
            return
        kind = message["type"]
        if kind == "http.response.start" and not self.response_started:
            self._start_answer(message)
        elif (
            kind == "http.response.body"
            and self.response_started
            and not self.response_complete
        ):
            self._send_body(
                message.get("body", b""), more_body=message.get("more_body", False)
            )
        else:
            msg = f"unexpected ASGI message {kind!r}"
            raise RuntimeError(msg)

    def _start_answer(self, message: Any) -> None:
        """Build the head of the answer; it is written with the first body piece."""
        status: int = message["status"]
        if self.waiting_for_100_continue:
            # The client was never told to send its body and may or may not do so:
            # what follows can't be told from a next request.
            self.waiting_for_100_continue = False
            self.keep_alive = False
        length: int | None = None
        fields: list[bytes] = []
        for raw_name, value in message.get("headers", ()):
            name = raw_name.lower()
            if name not in _FRAMING:
                fields += (name, b": ", value, b"\r\n")
            elif name == b"content-length":
                length = int(value)
            elif name == b"connection" and b"close" in value.lower():
                self.keep_alive = False
        joined = b"".join(fields)
        lines = len(fields) // 4
        if joined.count(b"\n") != lines or joined.count(b"\r") != lines:
            msg = "a response header holds a line end"
            raise RuntimeError(msg)
        framing = self._frame(status, length)
        self.response_started = True
        self.status = status
        self._head = b"".join(
            (STATUS_LINE[status], self._shared.date_line, joined, framing)
        )

    def _frame(self, status: int, length: int | None) -> bytes:
        """Decide where the answer ends; return the headers that say so."""
        self._bodiless = self.scope["method"] == "HEAD" or status in _BODILESS
        self.chunked_encoding = False
        framing = b""
        if length is not None:
            framing = b"content-length: %d\r\n" % length
            self.expected_content_length = 0 if self._bodiless else length
        elif not self._bodiless:
            if self.scope["http_version"] == "1.1":
                self.chunked_encoding = True
                framing = b"transfer-encoding: chunked\r\n"
            else:  # HTTP/1.0 has no chunks: the end of the connection is the end
                self.chunked_encoding = None
        if not self.keep_alive:
            framing += b"connection: close\r\n"
        return framing + b"\r\n"

    def _send_body(self, body: bytes, *, more_body: bool) -> None:
        """Write a piece of the body, the head before it if it is the first."""
        if self._bodiless:
            body = b""
        elif self.chunked_encoding is False:
            self._count_down(len(body), more_body=more_body)
        self.sent_bytes += len(body)
        head = self._head or b""
        self._head = None
        tail = b""
        if self.chunked_encoding:
            if body:
                head += b"%x\r\n" % len(body)
                tail = b"\r\n"
            if not more_body:
                tail += b"0\r\n\r\n"
        if len(body) <= _JOIN_BYTES_MAX:
            joined = b"".join((head, body, tail))
            if joined:
                self.transport.write(joined)
        else:
            self.transport.writelines(part for part in (head, body, tail) if part)
            self._shared.unsent_bytes += self.transport.get_write_buffer_size()
        if not more_body:
            self._complete()

    def _count_down(self, body_bytes: int, *, more_body: bool) -> None:
        """Hold the body to the length that the head has promised."""
        left = self.expected_content_length - body_bytes
        if left < 0 or (left and not more_body):
            msg = "the answer is not as long as its content-length"
            raise RuntimeError(msg)
        self.expected_content_length = left

    def _complete(self) -> None:
        """Close the books on the answer and tell the connection."""
        self.response_complete = True
        self.message_event.set()
        try:
            self.record()
        finally:
            self.on_response()

    def record(self) -> None:
        """Tell the log what became of the request, once."""
        access = self._shared.access
        if access is not None:
            access.answered(self.scope, self.status, self.sent_bytes, self._started)


def _done() -> None:
    """Stand in for a callback that has been made."""
