"""The HTTP protocol with its limits: how large a request may be, and how slow.

uvicorn's httptools protocol refuses ambiguous framing but bounds neither the
size nor the time of a request. This subclass does, on every connection::

    no request begun     closed after ``header_timeout_s`` (never used) or
                         ``idle_timeout_s`` (kept alive)
    headers arriving     408 after ``header_timeout_s``; 431 beyond the size,
                         count and target limits; 400 for bad Host or framing
    body arriving        408 after ``read_timeout_s`` for the whole request, but
                         for one that streams, or when slower than
                         ``body_bytes_per_s_min``
    answer not read      cut after ``write_timeout_s`` without progress

The hot path reads no clock and sets no timer: it moves ``_phase`` and counts
requests. The server calls :meth:`GuardedProtocol.check` on every connection
about ``sweep_s`` apart, and that one measures how long nothing has moved. So a
timeout strikes up to two sweeps late, never early.

A refusal never overtakes the answer to an earlier request of the connection, and
the connection is closed so that the refusal can be read although the client is
still sending (see :meth:`GuardedProtocol._hang_up`).
"""

from __future__ import annotations

import sys
import urllib.parse
from collections import deque
from typing import TYPE_CHECKING, Any, Final, cast

import httptools
from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from st8.core import limits
from st8.core.errors import (
    HeaderTooLarge,
    MalformedRequest,
    Overloaded,
    RequestTimeout,
    St8Error,
)
from st8.http.cycles import GuardedCycle, render_refusal
from st8.http.heads import (
    HEAD,
    Refusal,
    check_headers,
    check_sizes,
    check_upgrade,
    split_target,
    without_upgrade,
)
from st8.http.incoming import STREAMS, WAITS
from st8.http.tls import peer_facts

if TYPE_CHECKING:
    import asyncio

    from uvicorn.config import Config
    from uvicorn.server import ServerState

    from st8.http.connections import Connections

__all__ = ["GuardedProtocol"]

# What a connection is receiving.
_BETWEEN: Final = 0  # no byte of the next request has come
_HEADERS: Final = 1  # some, but not all of its request line and headers
_BODY: Final = 2  # all of those, but not all of its body

_HEADER_BYTES_MAX: Final = limits.HEADER_BYTES.maximum
_CHUNK_OVERHEAD_BYTES: Final = 32  # size line and line ends of an honest chunk
_DRAIN_STEP_BYTES: Final = 32 * 1024  # what counts as progress of a slow reader


class GuardedProtocol(HttpToolsProtocol):
    """One connection, with limits."""

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        shared: Connections,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        """Make the protocol of a connection that is about to be accepted."""
        super().__init__(config, server_state, {}, loop)
        self.shared = shared
        self._phase = _BETWEEN
        self._requests = 0  # begun on this connection
        self._running: GuardedCycle | None = None  # the request being answered
        self._newest: GuardedCycle | None = None  # the one parsed last
        self._waiting: deque[GuardedCycle] = deque()  # behind the running one
        self._refusal: St8Error | None = None  # to be sent when its turn comes
        self._deaf = False  # what still arrives is dropped
        self._good_host = b""  # a Host value that was found well-formed
        self._upgraded = False  # the headers ask for another protocol
        self._peer: dict[str, Any] | None = None  # of a client with a certificate
        # Bytes: of the header phase; of the body; around a chunked body.
        self._head_bytes = 0
        self._head_mid_feed = False
        self._body_bytes = 0
        self._discarded_bytes = 0
        self._spare_bytes = 0
        # What the last sweep saw, and when it first saw that.
        self._checked_at = 0.0
        self._seen: tuple[int, int, bool] | None = None
        self._seen_at = 0.0
        self._request_seen = -1
        self._request_at = 0.0
        self.unsent_bytes = 0  # at that time
        self._write_at: float | None = None
        self._write_mark = 0
        self._linger_until: float | None = None

    # --- connection ---------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Accept the connection, or answer 503 when there are too many."""
        super().connection_made(cast("asyncio.Transport", transport))
        if self.scheme == "https":
            self._peer = peer_facts(transport)
        settings = self.shared.settings
        excess = len(self.connections) - settings.connections_max
        if excess <= 0:
            return
        if excess > settings.connections_max // 16 + 1:
            self._cut()
            return
        self._refuse(
            Overloaded(
                f"{settings.connections_max} connections are open, which is as many "
                "as this daemon takes (connections_max); try again, or reuse one"
            )
        )

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell every request of the connection that its client is gone."""
        self._deaf = True
        running = self._running
        if running is not None:
            running.record()
            running.leave()
        self._forget_waiting()
        super().connection_lost(exc)

    def eof_received(self) -> bool | None:  # type: ignore[override]
        """Take the client's end of sending.

        A request that has come whole is still answered, so ``printf | nc`` works, if
        it does not wait for something to happen; anything else ends the connection.
        """
        running = self._running
        if (
            running is None
            or running.response_started
            or WAITS in running.scope
            or self._phase != _BETWEEN
            or self.scheme == "https"
        ):
            return None
        running.keep_alive = False
        self._forget_waiting()
        self._deaf = True
        return True

    def shutdown(self) -> None:
        """Finish the request that is being answered, then close; idle ones now."""
        if self._linger_until is not None:
            self._linger_until = 0.0
        elif self._running is None:
            self.transport.close()
        else:
            self._forget_waiting()
            self._running.keep_alive = False

    def _forget_waiting(self) -> None:
        """Drop the requests that were not begun."""
        while self._waiting:
            self._waiting.pop().release()

    def resume_writing(self) -> None:
        """Take that most of a long answer has been read."""
        self._write_at = None
        super().resume_writing()

    # --- bytes in -----------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        """Feed what came to the parser and hold it to the limits."""
        if self._deaf:
            return
        phase = self._phase
        requests = self._requests
        body_bytes = self._body_bytes
        if phase == _HEADERS:
            self._head_bytes += len(data)
        else:
            # At most so many are of a request that begins in this read.
            self._head_bytes = len(data)
            if phase == _BETWEEN:
                self._phase = _HEADERS
        if not self._parse(data):
            return
        if self._phase == _HEADERS:
            self._count_head(phase, requests)
        elif phase == _BODY and self._phase == _BODY and requests == self._requests:
            self._count_framing(len(data) - (self._body_bytes - body_bytes))

    def _parse(self, data: bytes) -> bool:
        """Feed ``data`` to the parser; return False if it was refused."""
        try:
            while True:
                try:
                    self.parser.feed_data(data)
                except httptools.HttpParserUpgrade as exc:
                    data = self._without_upgrade(data[exc.args[0] :])
                else:
                    return True
        except httptools.HttpParserCallbackError as exc:
            cause = exc.__context__
            if isinstance(cause, Refusal):
                self._refuse(cause.error)
            else:
                self._refuse(MalformedRequest("the request target is not valid"))
        except httptools.HttpParserError as exc:
            self._refuse(MalformedRequest(f"not a valid HTTP/1.1 request: {exc}"))
        return False

    def _count_head(self, phase: int, requests: int) -> None:
        """Hold headers that are still arriving to their size."""
        begun = self._requests - requests
        if begun > 1 or (begun and phase != _BETWEEN):
            # It began behind another request in the same read, so it is not known
            # which bytes are its own: it is counted from the next read on, and
            # measured exactly when it is whole.
            self._head_bytes = 0
            self._head_mid_feed = True
        elif self._head_bytes > _HEADER_BYTES_MAX:
            self._refuse(HeaderTooLarge(limits.HEADER_BYTES, HEAD))

    def _count_framing(self, overhead_bytes: int) -> None:
        """Hold chunk extensions and trailers to a size: they are read and dropped."""
        self._spare_bytes -= overhead_bytes
        if self._spare_bytes < 0:
            self._refuse(
                HeaderTooLarge(limits.HEADER_BYTES, "chunk extensions and trailers")
            )

    def _without_upgrade(self, rest: bytes) -> bytes:
        """Return the request that offered another protocol without the offer.

        The parser takes no body behind such an offer, so a fresh one is fed the
        request again (RFC 9110, 7.8: a server may ignore it; Java's client makes
        one with every request). ``rest`` is what the parser has not read.
        """
        parser = self.parser
        head = without_upgrade(
            parser.get_method(), self.url, parser.get_http_version(), self.headers
        )
        self._make_parser()
        self._upgraded = False
        self._requests -= 1
        self._phase = _HEADERS
        self._head_bytes = 0
        return head + rest

    def _make_parser(self) -> None:
        """Start parsing at a request line."""
        self.parser = httptools.HttpRequestParser(self)
        # What follows "Connection: close" is dropped, not an error that would
        # overtake the answer.
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)

    # --- parser callbacks ---------------------------------------------------

    def on_message_begin(self) -> None:
        """Begin a request."""
        self._requests += 1
        self._phase = _HEADERS
        super().on_message_begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep a header without the white space around it; trailers are nobody's."""
        if self._phase == _HEADERS:
            self.headers.append((name.lower(), value.strip(b" \t")))

    def on_headers_complete(self) -> None:
        """Check the headers and hand the request to the app."""
        scope = self.scope
        version = self.parser.get_http_version()
        bytes_max = sys.maxsize if self._head_mid_feed else self._head_bytes
        check_sizes(self.url, self.headers, bytes_max)
        self.expect_100_continue, self._good_host = check_headers(
            self.headers, version, self._good_host
        )
        if self.parser.should_upgrade():
            check_upgrade(self.parser.get_method(), self.headers)
            self._upgraded = True  # see _without_upgrade
            return
        self._phase = _BODY
        self._head_mid_feed = False
        self._body_bytes = 0
        self._discarded_bytes = 0
        self._spare_bytes = _HEADER_BYTES_MAX
        if version != "1.1":
            scope["http_version"] = version
        scope["method"] = self.parser.get_method().decode("ascii")
        raw_path, query = split_target(self.url)
        path = raw_path.decode("ascii")
        scope["path"] = urllib.parse.unquote(path) if "%" in path else path
        scope["raw_path"] = raw_path
        scope["query_string"] = query
        if self._peer is not None:
            scope.update(self._peer)  # type: ignore[typeddict-item]
        cycle = GuardedCycle(
            self,
            expect_100_continue=self.expect_100_continue,
            keep_alive=version != "1.0" and self.parser.should_keep_alive(),
        )
        self.cycle = self._newest = cycle
        if self._running is None:
            self._run(cycle)
        else:
            self.flow.pause_reading()
            if len(self._waiting) >= self.shared.settings.pipelined_max:
                raise Refusal(
                    Overloaded(
                        f"more than {self.shared.settings.pipelined_max} requests wait "
                        "on this connection; read the answers first"
                    )
                )
            self._waiting.append(cycle)

    def on_chunk_header(self) -> None:
        """Allow the bytes that surround an honest chunk."""
        self._spare_bytes += _CHUNK_OVERHEAD_BYTES

    def on_body(self, body: bytes) -> None:
        """Hand a piece of the body to the app, or drop it when it has answered."""
        size = len(body)
        self._body_bytes += size
        cycle = self._newest
        if cycle is None or self._upgraded:
            return
        if cycle.response_complete:
            self._discarded_bytes += size
            if self._discarded_bytes > self.shared.settings.discard_bytes_max:
                self._cut()
            return
        cycle.body += body
        cycle.held_bytes += size
        shared = self.shared
        shared.held_bytes += size
        if shared.held_bytes > shared.settings.bodies_bytes_max:
            raise Refusal(
                Overloaded(
                    f"requests of more than {shared.settings.bodies_bytes_max} bytes "
                    "are arriving (bodies_bytes_max); try again"
                )
            )
        if len(cycle.body) > HIGH_WATER_LIMIT:
            self.flow.pause_reading()
        cycle.message_event.set()

    def on_message_complete(self) -> None:
        """Take the end of a request."""
        if self._upgraded:
            return
        self._phase = _BETWEEN
        cycle = self._newest
        if cycle is not None and not cycle.response_complete:
            cycle.more_body = False
            cycle.message_event.set()

    # --- answers ------------------------------------------------------------

    def _run(self, cycle: GuardedCycle) -> None:
        """Let the app answer ``cycle``."""
        self._running = cycle
        task = cycle.task = self.loop.create_task(cycle.run_asgi(self.shared.app))
        task.add_done_callback(self.tasks.discard)
        self.tasks.add(task)

    def on_response_complete(self) -> None:
        """Go on to the next request, the waiting refusal, or close."""
        cycle = self._running
        self._running = None
        self.server_state.total_requests += 1
        if cycle is None or self.transport.is_closing():
            return
        if not cycle.keep_alive:
            if self._phase == _BODY and cycle is self._newest:
                self._hang_up()
            else:
                self._deaf = True
                self.transport.close()
            return
        self.flow.resume_reading()
        if self._waiting:
            self._run(self._waiting.popleft())
        elif self._refusal is not None:
            self._send_refusal(self._refusal)

    def _refuse(self, error: St8Error) -> None:
        """Answer ``error`` when its turn comes, and take nothing more."""
        if self._linger_until is not None or self._refusal is not None:
            return
        self._deaf = True
        cycle = self._newest
        if self._phase == _BODY and cycle is not None:
            if cycle.response_complete:  # its answer is out already
                self._hang_up()
                return
            # The request at fault is the newest one, and the app may have it.
            cycle.leave()
            if self._running is cycle:
                self._running = None
                if cycle.response_started:
                    cycle.record()
                    self._cut()
                    return
            elif self._waiting and self._waiting[-1] is cycle:
                self._waiting.pop().release()
        if self._running is None:
            self._send_refusal(error)
        else:
            self._refusal = error

    def _send_refusal(self, error: St8Error) -> None:
        """Write ``error`` as the last answer of the connection."""
        self._refusal = None
        shared = self.shared
        shared.refused[error.code] += 1
        if shared.access is not None:
            shared.access.refused(self.client, error)
        if shared.on_refused is not None:
            shared.on_refused(error)
        self.transport.write(render_refusal(error, shared.date_line))
        self._hang_up()

    def _hang_up(self) -> None:
        """Close so that what was written can be read.

        Closing a socket that has unread input resets the connection, and the
        client would lose the answer. So only our side is ended; what still comes is
        dropped until the client closes or ``linger_s`` is over.
        """
        self._deaf = True
        self._linger_until = self.loop.time() + self.shared.settings.linger_s
        self.flow.resume_reading()
        if self.transport.can_write_eof():
            self.transport.write_eof()

    def _cut(self) -> None:
        """End the connection now, whatever was still to be said."""
        self._deaf = True
        if self._running is not None:
            self._running.disconnected = True
        self.transport.abort()

    # --- time ---------------------------------------------------------------

    def check(self, now: float) -> None:
        """End the connection if what it waits for has taken too long.

        ``now`` is the loop's time; the server calls this about ``sweep_s`` apart.
        """
        elapsed = now - self._checked_at
        self._checked_at = now
        self._check_write(now)
        if self._linger_until is not None:
            if now >= self._linger_until and self._write_at is None:
                # TLS says goodbye; it gives up by itself if nobody answers.
                if self.scheme == "https":
                    self.transport.close()
                else:
                    self.transport.abort()
            return
        if self._deaf or self.transport.is_closing():
            return
        if self._request_seen != self._requests:
            self._request_seen = self._requests
            self._request_at = now
        seen = (self._requests, self._phase, self._running is None)
        if seen != self._seen:
            self._seen = seen
            self._seen_at = now
        elif self._phase == _HEADERS:
            self._check_header_time(now)
        elif self._phase == _BODY:
            self._check_body_time(now, elapsed)
        elif self._running is None:
            self._check_idle_time(now)

    def _check_write(self, now: float) -> None:
        """Cut a client that does not read its answer."""
        waiting = self.unsent_bytes = self.transport.get_write_buffer_size()
        if not waiting:
            self._write_at = None
        elif self._write_at is None or self._write_mark - waiting >= _DRAIN_STEP_BYTES:
            self._write_at = now
            self._write_mark = waiting
        elif now - self._write_at > self.shared.settings.write_timeout_s:
            self.shared.refused["write_timeout"] += 1
            self._cut()
        else:
            self._write_mark = max(self._write_mark, waiting)

    def takes_nothing(self, now: float) -> bool:
        """Return whether its client has taken nothing of an answer since before."""
        return self._write_at is not None and self._write_at < now

    def cut_for_room(self) -> None:
        """Cut it off, since answers that nobody takes have used up their room."""
        self.shared.refused["unsent_bytes"] += 1
        self._cut()

    def _check_header_time(self, now: float) -> None:
        """Refuse headers that take too long."""
        limit = self.shared.settings.header_timeout_s
        if now - self._seen_at > limit:
            self._refuse(
                RequestTimeout(
                    f"the request's headers took more than {limit:g} seconds"
                )
            )

    def _check_body_time(self, now: float, elapsed: float) -> None:
        """Refuse a body that takes too long or comes too slowly."""
        cycle = self._newest
        if self.flow.read_paused or (
            cycle is not None and cycle.waiting_for_100_continue
        ):
            # It is the app that doesn't read: not the client's time.
            self._seen_at += elapsed
            self._request_at += elapsed
            return
        settings = self.shared.settings
        streams = cycle is not None and STREAMS in cycle.scope
        if now - self._request_at > settings.read_timeout_s and not streams:
            self._refuse(
                RequestTimeout(
                    f"the request took more than {settings.read_timeout_s:g} seconds "
                    "to arrive; st8d takes --read-timeout"
                )
            )
            return
        age = now - self._seen_at
        least = settings.body_bytes_per_s_min
        if age > settings.body_grace_s and self._body_bytes < least * age:
            self._refuse(
                RequestTimeout(
                    f"the request's body came more slowly than {least} bytes a second"
                )
            )

    def _check_idle_time(self, now: float) -> None:
        """Close a connection on which nothing comes; there is nobody to tell."""
        settings = self.shared.settings
        limit = settings.idle_timeout_s if self._requests else settings.header_timeout_s
        if now - self._seen_at > limit:
            self._deaf = True
            self.transport.close()
