"""Connections to a daemon from an event loop, with httpx.

This is the only module that knows httpx, and it uses no more of it than its transport:
connections that send what they are given. Nothing is added to a request, no redirect
is followed, and neither the environment nor any file is read.
"""

from __future__ import annotations

import contextlib
import os
import socket
import ssl
from typing import TYPE_CHECKING, Final, cast

import anyio
import httpx

from st8.client import _connection, _tls
from st8.client._answers import Answer, NotUnderstood
from st8.client._connection import Deadline, fixed_headers
from st8.client._retry import Failure, reason_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Generator, Mapping

    from st8.client._address import Address
    from st8.client._calls import Request
    from st8.client._retry import Stage

__all__ = ["AsyncPool", "AsyncStream"]

_CONNECTIONS_MAX: Final = 64
"""Connections at a time; more exchanges than that wait for one another."""

_CHUNK_BYTES: Final = 64 * 1024

_CERTIFICATE_HINT: Final = (
    "; if the daemon wants a client certificate, name one (cert file, key file)"
)


class _Progress:
    """How far an exchange has got, as httpx tells it.

    Attributes:
        waiting: It is not its turn to have a connection.
        used: The connection had served before.
        securing: TLS was being agreed on.
        connected: The request is being sent.
        handed_over: All of it was given to the system, which may have sent it.
        answering: The head of the answer has come.
        broken: What broke the sending, if anything did.
        odd: What came could not be parsed.
        cause: What the system said when a step failed.
    """

    def __init__(self, request: Request) -> None:
        self.waiting = False
        self.used = True
        self.securing = False
        self.connected = False
        self.handed_over = False
        self.answering = False
        self.broken = False
        self.odd = False
        self.cause: OSError | None = None
        self._has_body = bool(request.body)

    async def trace(self, event: str, details: Mapping[str, object]) -> None:
        """Take note of an event of the transport."""
        step, _, phase = event.rpartition(".")
        if phase == "failed":
            self._note(step, details["exception"])
        elif step in {"connection.connect_tcp", "connection.connect_unix_socket"}:
            self.used = False
        elif step == "connection.start_tls":
            self.securing = True
        elif event == "http11.send_request_headers.started":
            self.connected = True
            self.handed_over = not self._has_body
        elif event == "http11.receive_response_headers.complete":
            self.answering = True

    def _note(self, step: str, error: object) -> None:
        # Before httpx takes the cause away from the error.
        self.broken = self.broken or step.startswith("http11.send_")
        if isinstance(error, BaseException):
            self.odd = error.__cause__ is not None
            self.cause = _system_error(error) or self.cause

    @property
    def stage(self) -> Stage:
        """How far the exchange got."""
        if not self.connected:
            return "connect"
        return "answer" if self.handed_over else "send"


class _Body(httpx.AsyncByteStream):
    """A request's body, in pieces, so that it is known when the last one is sent."""

    def __init__(self, data: bytes, progress: _Progress) -> None:
        self._data = data
        self._progress = progress
        self._sent = 0

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        piece = self._data[self._sent : self._sent + _CHUNK_BYTES]
        if not piece:
            raise StopAsyncIteration
        self._sent += len(piece)
        if self._sent == len(self._data):
            self._progress.handed_over = True
        return piece


class AsyncPool:
    """The connections of a client to its daemon.

    Each is a transport with one connection to itself: a larger one looks at all its
    connections and all who wait, for each exchange anew. Idle ones are used again, the
    last one first.
    """

    def __init__(
        self,
        address: Address,
        token: str | None,
        ca_file: str | None,
        cert_file: str | None,
        key_file: str | None,
    ) -> None:
        _tls.check(cert_file, key_file)
        self._address = address
        self._files = (ca_file, cert_file, key_file)
        self._url = address._replace(prefix="", path="").url
        lines = fixed_headers(address, token).splitlines()
        self._fixed = dict(_field(line) for line in lines)
        self._tls: ssl.SSLContext | None = None
        self._free: anyio.Semaphore | None = None
        self._idle: list[httpx.AsyncHTTPTransport] = []
        self._closed = False

    async def close(self) -> None:
        """Close every idle connection; those in use are closed after their answer."""
        self._closed = True
        idle, self._idle = self._idle, []
        for transport in idle:
            await _close(transport)

    async def exchange(self, request: Request, deadline: Deadline) -> Answer:
        """Send ``request`` and return the answer to it.

        Raises:
            Failure: There is no answer.
            NotUnderstood: What came is not HTTP.
            InvalidValue: A file for TLS can't be used.
        """
        progress = _Progress(request)
        self._free = free = self._free or anyio.Semaphore(_CONNECTIONS_MAX)
        with self._failures(progress, deadline):
            left_s = deadline.left_s()
            if left_s == 0.0:
                raise TimeoutError
            with anyio.fail_after(left_s):
                progress.waiting = True
                async with free:
                    return await self._exchange(request, progress)

    async def stream(self, request: Request, deadline: Deadline) -> AsyncStream:
        """Send ``request`` on a connection of its own; return once the head has come.

        Raises:
            Failure: It has not.
            NotUnderstood: What came is not HTTP.
            InvalidValue: A file for TLS can't be used.
        """
        if self._closed:
            raise RuntimeError("the client is closed")
        transport = self._new_transport()
        progress = _Progress(request)
        try:
            with (
                self._failures(progress, deadline),
                anyio.fail_after(deadline.left_s()),
            ):
                sent = self._encoded(request, progress)
                response = await transport.handle_async_request(sent)
        except BaseException:
            await _close(transport)
            raise
        return AsyncStream(transport, response)

    @contextlib.contextmanager
    def _failures(self, progress: _Progress, deadline: Deadline) -> Generator[None]:
        """Say of what goes wrong in an exchange how far it got."""
        try:
            yield
        except TimeoutError:
            if deadline.left_s() == 0.0 and progress.waiting:
                raise _crowded() from None
            raise deadline.failure(progress.stage) from None
        except (httpx.TransportError, OSError) as error:
            raise self._meaning(error, progress) from error

    async def _exchange(self, request: Request, progress: _Progress) -> Answer:
        progress.waiting = False
        transport = self._take()
        reusable = False
        try:
            sent = self._encoded(request, progress)
            answer = await _answer(await transport.handle_async_request(sent))
            reusable = not self._closed
            return answer
        finally:
            if reusable:
                self._idle.append(transport)
            else:
                await _close(transport)

    def _take(self) -> httpx.AsyncHTTPTransport:
        if self._closed:
            raise RuntimeError("the client is closed")
        return self._idle.pop() if self._idle else self._new_transport()

    def _new_transport(self) -> httpx.AsyncHTTPTransport:
        if self._tls is None:
            if self._address.secure:
                self._tls = _tls.context(*self._files)
            else:
                self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # not used
        return httpx.AsyncHTTPTransport(
            verify=self._tls,
            trust_env=False,
            http2=False,
            # The daemon closes connections that nobody uses.
            limits=httpx.Limits(
                max_connections=1, max_keepalive_connections=1, keepalive_expiry=None
            ),
            uds=self._address.path or None,
            retries=0,
        )

    def _encoded(self, request: Request, progress: _Progress) -> httpx.Request:
        return httpx.Request(
            request.method,
            self._url,
            headers={**self._fixed, **_encoded_fields(request)},
            stream=_Body(request.body or b"", progress),
            extensions={
                "trace": progress.trace,
                "target": f"{self._address.prefix}{request.target}".encode("ascii"),
            },
        )

    def _meaning(
        self, error: Exception, progress: _Progress
    ) -> Failure | NotUnderstood:
        """Return what ``error``, which ended an exchange, means."""
        cause = progress.cause
        if cause is None and isinstance(error, OSError):
            cause = error
        if progress.stage == "connect":
            return _no_connection(error, cause, securing=progress.securing)
        if progress.answering:
            return Failure("the answer broke off", "answer")
        if not progress.securing:
            return _no_head(error, cause, progress)
        refused = _tls.refused(cause) if cause is not None else None
        # The refusal is lost if the end of the connection is noticed before it.
        hint = "" if self._files[1] else _CERTIFICATE_HINT
        return refused or _no_head(error, cause, progress, hint)


class AsyncStream:
    """An answer whose body is read as it comes. Its connection ends with it.

    Attributes:
        head: The answer without its body.
    """

    def __init__(
        self, transport: httpx.AsyncHTTPTransport, response: httpx.Response
    ) -> None:
        """Go on after the head."""
        self._transport = transport
        self._response = response
        self._pieces = response.aiter_raw()
        self.head = _head(response)

    async def read(self, silence_s: float) -> bytes:
        """Return what comes next, ``b""`` at the end. If cancelled, it has ended.

        Args:
            silence_s: Wait so many seconds at most.

        Raises:
            Failure: The connection broke, or nothing came.
        """
        try:
            with anyio.fail_after(silence_s):
                return await anext(self._pieces, b"")
        except TimeoutError:
            raise Deadline(silence_s).failure("answer") from None
        except (httpx.TransportError, OSError) as error:
            raise Failure("the answer broke off", "answer") from error

    async def whole(self, deadline: Deadline) -> Answer:
        """Return the answer with all of its body, which comes to an end.

        Raises:
            Failure: It does not.
            NotUnderstood: It is larger than fits in memory.
        """
        try:
            with anyio.fail_after(deadline.left_s()):
                return await _answer(self._response)
        except TimeoutError:
            raise deadline.failure("answer") from None
        except (httpx.TransportError, OSError) as error:
            raise Failure("the answer broke off", "answer") from error

    async def close(self) -> None:
        """Close the connection."""
        # Reading is cancelled, as what is left half read makes event loops complain.
        with anyio.CancelScope(shield=True) as reading:
            reading.cancel()
            with contextlib.suppress(httpx.HTTPError, httpx.StreamError, OSError):
                async for _ in self._pieces:
                    pass
        with anyio.CancelScope(shield=True):
            await self._response.aclose()
        await _close(self._transport)


async def _close(transport: httpx.AsyncHTTPTransport) -> None:
    with anyio.CancelScope(shield=True):
        await transport.aclose()


async def _answer(response: httpx.Response) -> Answer:
    """Return the whole answer, and end the exchange.

    Raises:
        NotUnderstood: It is larger than fits in memory.
    """
    chunks: list[bytes] = []
    size = 0
    try:
        # Reading is cancelled, as what is left half read makes event loops complain.
        with anyio.CancelScope() as reading:
            async for chunk in response.aiter_raw():
                size += len(chunk)
                if size > _connection.ANSWER_BYTES_MAX:
                    reading.cancel()
                else:
                    chunks.append(chunk)
    finally:
        await response.aclose()
    if reading.cancel_called:
        raise NotUnderstood(
            f"answered more than {_connection.ANSWER_BYTES_MAX} bytes; read it in pages"
        )
    return _head(response)._replace(body=b"".join(chunks))


def _head(response: httpx.Response) -> Answer:
    """Return an answer without its body."""
    headers = {name.lower(): value for name, value in response.headers.multi_items()}
    return Answer(response.status_code, headers, b"")


def _no_head(
    error: Exception, cause: OSError | None, progress: _Progress, hint: str = ""
) -> Failure | NotUnderstood:
    """Return the meaning of an answer that did not even begin."""
    if progress.broken and not progress.handed_over:
        why = reason_of(cause) if cause is not None else "the daemon closed it"
        problem = f"the connection broke while sending: {why}{hint}"
        return Failure(problem, "send", stale=progress.used)
    if isinstance(error, httpx.RemoteProtocolError) and progress.odd:
        return NotUnderstood("did not speak HTTP")
    if cause is None or isinstance(cause, ConnectionError):
        problem = f"the connection was closed without an answer{hint}"
        return Failure(problem, "answer", stale=progress.used)
    return Failure(reason_of(cause), "answer")


def _no_connection(
    error: Exception, cause: OSError | None, *, securing: bool
) -> Failure:
    """Return the failure of an exchange that found no connection."""
    if securing:
        return _tls.failure(cause or ConnectionError("the connection ended"))
    hopeless = isinstance(cause, socket.gaierror | PermissionError)
    reason = reason_of(cause) if cause is not None else str(error)
    return Failure(reason, "connect", hopeless=hopeless)


def _crowded() -> Failure:
    """Return the failure of an exchange that waited for others all its time."""
    problem = (
        f"all {_CONNECTIONS_MAX} connections of the client were in use; "
        "make fewer calls at a time"
    )
    return Failure(problem, "connect", timed_out=True, remedied=True)


def _system_error(error: BaseException) -> OSError | None:
    """Return the innermost error of the system that led to ``error``, None if none."""
    found: OSError | None = None
    at: BaseException | None = error
    while at is not None:
        if isinstance(at, BaseExceptionGroup):  # an attempt for each address
            group = cast("BaseExceptionGroup[BaseException]", at)
            at = group.exceptions[0]
            continue
        if isinstance(at, OSError):
            found = at
        at = at.__cause__
    if found is None or isinstance(found, ssl.SSLError | socket.gaierror):
        return found
    # Event loops have texts of their own.
    return OSError(found.errno, os.strerror(found.errno)) if found.errno else found


def _field(line: bytes) -> tuple[bytes, bytes]:
    name, _, value = line.partition(b": ")
    return name, value


def _encoded_fields(request: Request) -> dict[bytes, bytes]:
    """Return the header fields of ``request`` alone."""
    fields = dict(request.headers)
    if request.body is not None:
        fields["Content-Length"] = str(len(request.body))
    return {
        name.encode("ascii"): value.encode("ascii") for name, value in fields.items()
    }
