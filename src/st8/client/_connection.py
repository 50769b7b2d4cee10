"""Connections to a daemon, kept open between exchanges.

This is the only module of the library that touches a socket. It sends a request
whole, reads the whole answer within a deadline, and says of a failure how far it
got. Answers are parsed by ``http.client``.
"""

from __future__ import annotations

import contextlib
import http.client
import io
import os
import select
import socket
import threading
from time import monotonic
from typing import TYPE_CHECKING, Final, cast

from st8.client import _tls
from st8.client._answers import Answer, NotUnderstood
from st8.client._retry import Failure, reason_of
from st8.core.errors import InvalidValue

if TYPE_CHECKING:
    import ssl
    from collections.abc import Generator, Iterable

    from st8.client._address import Address
    from st8.client._calls import Request
    from st8.client._retry import Stage

__all__ = ["ANSWER_BYTES_MAX", "Deadline", "Pool", "Stream", "fixed_headers"]

_CHUNK_BYTES: Final = 64 * 1024
_IDLE_MAX: Final = 8
"""Connections that are kept open when nobody uses them."""

ANSWER_BYTES_MAX: Final = 1 << 30
"""An answer is held in memory, and nothing that holds less than this is a state
worth reading in one piece."""


class Deadline:
    """When a call's time is over.

    Every wait on a socket is for what is left of it, so a daemon that sends one
    byte a second can't stretch a call.
    """

    def __init__(self, timeout_s: float | None) -> None:
        """Start a time of ``timeout_s`` seconds; None for no limit."""
        self._timeout_s = timeout_s
        self._end = None if timeout_s is None else monotonic() + timeout_s

    def left_s(self) -> float | None:
        """Return the seconds left, 0 or more; None for no limit."""
        return None if self._end is None else max(0.0, self._end - monotonic())

    def apply_to(self, sock: socket.socket) -> None:
        """Make ``sock`` wait no longer than what is left.

        Raises:
            TimeoutError: Nothing is left.
        """
        left_s = self.left_s()
        if left_s == 0.0:
            raise TimeoutError
        sock.settimeout(left_s)

    def failure(self, stage: Stage) -> Failure:
        """Return the failure of an attempt whose time was over at ``stage``."""
        return Failure(f"nothing within {self._timeout_s:g} s", stage, timed_out=True)


class _Reader(io.RawIOBase):
    """The receiving end of a socket; each read waits no longer than the deadline."""

    def __init__(self, sock: socket.socket, deadline: Deadline) -> None:
        super().__init__()
        self._sock = sock
        self.deadline = deadline
        self.received = False
        self.ended = False

    def readable(self) -> bool:
        """Return that it can be read."""
        return True

    def readinto(self, buffer: memoryview, /) -> int:  # type: ignore[override]
        """Receive into ``buffer``; return the number of bytes, 0 at the end."""
        self.deadline.apply_to(self._sock)
        count = self._sock.recv_into(buffer)
        self.received = self.received or count > 0
        self.ended = not count
        return count

    def makefile(self, _mode: str) -> io.BufferedReader:
        """Return itself with a buffer; ``http.client`` asks for it as of a socket."""
        return io.BufferedReader(self, _CHUNK_BYTES)


class _Connection:
    """One connection; one exchange at a time."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._used = False
        self.reusable = True

    def is_fresh(self) -> bool:
        """Return whether nothing has come in since the last answer.

        What comes without being asked for is the daemon closing the connection.
        """
        poll = select.poll()
        poll.register(self._sock, select.POLLIN)
        return not poll.poll(0)

    def close(self) -> None:
        """Close it; the daemon sees the end of the stream."""
        self._sock.close()

    def exchange(self, data: bytes, method: str, deadline: Deadline) -> Answer:
        """Send ``data`` and return the answer.

        Afterwards, ``reusable`` says whether there can be another exchange.

        Raises:
            Failure: There is no whole answer.
            NotUnderstood: What came is not HTTP.
        """
        self.reusable = False
        used, self._used = self._used, True
        try:
            deadline.apply_to(self._sock)
            self._sock.sendall(data)
        except TimeoutError:
            raise deadline.failure("send") from None
        except OSError as error:
            return self._answer_in_spite_of(error, method, deadline, used=used)
        return self._answer(method, deadline, used=used)

    def _answer_in_spite_of(
        self, error: OSError, method: str, deadline: Deadline, *, used: bool
    ) -> Answer:
        """Return the answer of a daemon that would not read the request to its end."""
        try:
            return self._answer(method, deadline, used=False)
        except (Failure, NotUnderstood) as end:
            if isinstance(end, Failure) and end.stage == "connect":
                raise
            problem = f"the connection broke while sending: {reason_of(error)}"
            raise Failure(problem, "send", stale=used) from error
        finally:
            self.reusable = False

    def _answer(self, method: str, deadline: Deadline, *, used: bool) -> Answer:
        reader = _Reader(self._sock, deadline)
        response = http.client.HTTPResponse(
            cast("socket.socket", reader), method=method
        )
        try:
            with _failures(reader, used=used):
                _begin(response, reader)
                body = _body(response)
                self.reusable = not response.will_close
        finally:
            response.close()
        return Answer(response.status, _headers(response), body)

    def upload(
        self, head: bytes, pieces: Iterable[bytes], method: str, patience_s: float
    ) -> Answer:
        """Send a request whose body is ``pieces``, in chunks, and return the answer.

        An answer that comes early ends the sending.

        Args:
            head: The request without its body.
            pieces: The body.
            method: The method of the request.
            patience_s: How long either side may be silent.

        Raises:
            Failure: There is no whole answer.
            NotUnderstood: What came is not HTTP.
        """
        self.reusable = False
        # A TLS connection has something to read from its beginning.
        can_look = not hasattr(self._sock, "pending")
        ended = b"0\r\n\r\n"
        deadline = Deadline(patience_s)
        try:
            self._sock.sendall(head)
            for piece in pieces:
                if can_look and not self.is_fresh():
                    break
                deadline = Deadline(patience_s)
                deadline.apply_to(self._sock)
                if piece:
                    self._sock.sendall(b"%x\r\n%b\r\n" % (len(piece), piece))
            else:
                self._sock.sendall(ended)
        except TimeoutError:
            raise deadline.failure("send") from None
        except OSError as error:
            return self._answer_in_spite_of(
                error, method, Deadline(patience_s), used=False
            )
        return self._answer(method, Deadline(patience_s), used=False)

    def stream(self, data: bytes, method: str, deadline: Deadline) -> Stream:
        """Send ``data`` and return the answer once its head has come.

        Raises:
            Failure: It has not.
            NotUnderstood: What came is not HTTP.
        """
        reader = _Reader(self._sock, deadline)
        with _failures(reader, used=False):
            deadline.apply_to(self._sock)
            self._sock.sendall(data)
            response = http.client.HTTPResponse(
                cast("socket.socket", reader), method=method
            )
            _begin(response, reader)
        return Stream(self._sock, reader, response)


class Stream:
    """An answer whose body is read as it comes. Its connection ends with it.

    Attributes:
        head: The answer without its body.
    """

    def __init__(
        self,
        sock: socket.socket,
        reader: _Reader,
        response: http.client.HTTPResponse,
    ) -> None:
        """Go on after the head."""
        self._sock = sock
        self._reader = reader
        self._response = response
        self.head = Answer(response.status, _headers(response), b"")

    def read(self, silence_s: float) -> bytes:
        """Return what comes next, ``b""`` at the end.

        Args:
            silence_s: Wait so many seconds at most.

        Raises:
            Failure: The connection broke, or nothing came.
            NotUnderstood: What came is not HTTP.
        """
        self._reader.deadline = Deadline(silence_s)
        with _failures(self._reader, used=False):
            data = self._response.read1(_CHUNK_BYTES)
            if not data and self._response.length:  # http.client does not look
                raise http.client.IncompleteRead(data, self._response.length)
            return data

    def whole(self, deadline: Deadline) -> Answer:
        """Return the answer with all of its body, which comes to an end.

        Raises:
            Failure: It does not.
            NotUnderstood: What came is not HTTP.
        """
        self._reader.deadline = deadline
        with _failures(self._reader, used=False):
            return self.head._replace(body=_body(self._response))

    def interrupt(self) -> None:
        """Make whoever reads it, in another thread, come to the end."""
        with contextlib.suppress(OSError):
            # Not a TLS socket's own way, which would pull the rug from under them.
            socket.socket.shutdown(self._sock, socket.SHUT_RDWR)

    def close(self) -> None:
        """Close the connection."""
        self._response.close()
        self._sock.close()


def _begin(response: http.client.HTTPResponse, reader: _Reader) -> None:
    """Read the head, all of it: ``http.client`` takes an end for that of the head.

    Raises:
        Failure: It broke off.
    """
    response.begin()
    if reader.ended:
        raise Failure("the answer broke off", "answer")


@contextlib.contextmanager
def _failures(reader: _Reader, *, used: bool) -> Generator[None]:
    """Say of what goes wrong while an answer is read how far it got.

    Args:
        reader: What reads it.
        used: The connection had an exchange before.

    Raises:
        Failure: There is no whole answer.
        NotUnderstood: What came is not HTTP.
    """
    try:
        yield
    except TimeoutError:
        raise reader.deadline.failure("answer") from None
    except http.client.IncompleteRead:
        raise Failure("the answer broke off", "answer") from None
    except ConnectionError as error:  # RemoteDisconnected is one, too
        if reader.received:
            raise Failure("the answer broke off", "answer") from error
        problem = "the connection was closed without an answer"
        raise Failure(problem, "answer", stale=used) from error
    except (http.client.HTTPException, ValueError):
        if reader.received and reader.ended:
            raise Failure("the answer broke off", "answer") from None
        raise NotUnderstood("did not speak HTTP") from None
    except OSError as error:
        refused = _tls.refused(error)
        if refused is not None and not reader.received:
            raise refused from error
        raise Failure(reason_of(error), "answer") from error


def _headers(response: http.client.HTTPResponse) -> dict[str, str]:
    return {name.lower(): value for name, value in response.getheaders()}


def _body(response: http.client.HTTPResponse) -> bytes:
    """Return the whole body.

    Raises:
        IncompleteRead: It ends before it should.
        NotUnderstood: It is larger than fits in memory.
    """
    expected = response.length  # None if its end is marked otherwise
    chunks: list[bytes] = []
    size = 0
    while chunk := response.read(_CHUNK_BYTES):
        chunks.append(chunk)
        size += len(chunk)
        if size > ANSWER_BYTES_MAX:
            raise NotUnderstood(
                f"answered more than {ANSWER_BYTES_MAX} bytes; read it in pages"
            )
    if expected is not None and size < expected:
        raise http.client.IncompleteRead(b"", expected - size)
    return b"".join(chunks)


class Pool:
    """The connections of a client to its daemon. Safe for use by many threads.

    Each exchange has a connection to itself; idle ones are kept and used again,
    the last one first. A forked child makes its own.
    """

    def __init__(
        self,
        address: Address,
        *,
        token: str | None,
        ca_file: str | None,
        cert_file: str | None = None,
        key_file: str | None = None,
    ) -> None:
        """Prepare; nothing is connected yet.

        Args:
            address: The daemon's.
            token: Sent with every request; must be fit for a header.
            ca_file: PEM file of the authorities that may have signed the daemon's
                certificate; the system's if None.
            cert_file: PEM file of the certificate chain to show; None for none.
            key_file: PEM file of its private key; None if ``cert_file`` has it.

        Raises:
            InvalidValue: The token can't be sent, or there is a key alone.
        """
        _tls.check(cert_file, key_file)
        self._address = address
        self._ca_file = ca_file
        self._cert_file = cert_file
        self._key_file = key_file
        self._fixed = fixed_headers(address, token)
        self._lock = threading.Lock()
        self._idle: list[_Connection] = []
        self._tls: ssl.SSLContext | None = None
        self._closed = False
        self._pid = os.getpid()

    def exchange(self, request: Request, deadline: Deadline) -> Answer:
        """Send ``request`` and return the answer to it.

        Raises:
            Failure: There is no answer.
            NotUnderstood: What came is not HTTP.
            InvalidValue: The file of authorities can't be read.
        """
        data = _encoded(request, self._address.prefix, self._fixed)
        connection = self._take() or self._connect(deadline)
        try:
            answer = connection.exchange(data, request.method, deadline)
        finally:
            self._give_back(connection)
        return answer

    def stream(self, request: Request, deadline: Deadline) -> Stream:
        """Send ``request`` over a connection of its own; return what comes back.

        Args:
            request: What to send.
            deadline: When the head of the answer is to be there.

        Raises:
            Failure: It is not.
            NotUnderstood: What came is not HTTP.
            InvalidValue: The file of authorities can't be read.
        """
        with self._lock:
            if self._closed:
                raise RuntimeError("the client is closed")
        data = _encoded(request, self._address.prefix, self._fixed)
        connection = self._connect(deadline)
        try:
            return connection.stream(data, request.method, deadline)
        except BaseException:
            connection.close()
            raise

    def upload(
        self, request: Request, pieces: Iterable[bytes], patience_s: float
    ) -> Answer:
        """Send ``request`` with a body of any length, over a connection of its own.

        Args:
            request: What to send; without a body.
            pieces: The body.
            patience_s: How long either side may be silent.

        Raises:
            Failure: There is no answer.
            NotUnderstood: What came is not HTTP.
            InvalidValue: The file of authorities can't be read.
        """
        head = _encoded(request, self._address.prefix, self._fixed)
        connection = self._connect(Deadline(patience_s))
        try:
            return connection.upload(head, pieces, request.method, patience_s)
        finally:
            connection.close()

    def close(self) -> None:
        """Close every idle connection; those in use are closed after their answer."""
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()

    def _take(self) -> _Connection | None:
        """Return an idle connection that the daemon has not closed."""
        while True:
            with self._lock:
                if self._closed:
                    raise RuntimeError("the client is closed")
                if self._pid != os.getpid():
                    self._idle, self._pid = [], os.getpid()
                if not self._idle:
                    return None
                connection = self._idle.pop()
            if connection.is_fresh():
                return connection
            connection.close()

    def _give_back(self, connection: _Connection) -> None:
        if connection.reusable:
            with self._lock:
                if not self._closed and len(self._idle) < _IDLE_MAX:
                    self._idle.append(connection)
                    return
        connection.close()

    def _connect(self, deadline: Deadline) -> _Connection:
        """Return a new connection; TLS is agreed on."""
        tls = self._tls_context() if self._address.secure else None
        left_s = deadline.left_s()
        try:
            if left_s == 0.0:
                raise TimeoutError  # noqa: TRY301 - joins the connection's own
            sock = _connected(self._address, left_s)
        except TimeoutError:
            raise deadline.failure("connect") from None
        except OSError as error:
            hopeless = isinstance(error, socket.gaierror | PermissionError)
            raise Failure(reason_of(error), "connect", hopeless=hopeless) from error
        try:
            if tls is not None:
                deadline.apply_to(sock)
                sock = tls.wrap_socket(sock, server_hostname=self._address.host)
        except TimeoutError:
            sock.close()
            raise deadline.failure("connect") from None
        except OSError as error:
            sock.close()
            raise _tls.failure(error) from error
        return _Connection(sock)

    def _tls_context(self) -> ssl.SSLContext:
        with self._lock:
            if self._tls is None:
                self._tls = _tls.context(self._ca_file, self._cert_file, self._key_file)
            return self._tls


def _connected(address: Address, timeout_s: float | None) -> socket.socket:
    """Return a socket that is connected to ``address``."""
    if address.path:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            sock.settimeout(timeout_s)
            sock.connect(address.path)
        except BaseException:
            sock.close()
            raise
        return sock
    sock = socket.create_connection((address.host, address.port), timeout_s)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


def fixed_headers(address: Address, token: str | None) -> bytes:
    """Return the header fields that every request has.

    Raises:
        InvalidValue: The token has characters that can't stand in a header.
    """
    default_port = 443 if address.secure else 80
    host = f"[{address.host}]" if ":" in address.host else address.host
    lines = [
        f"Host: {host}" + ("" if address.port == default_port else f":{address.port}"),
        "User-Agent: st8-python",
        "Accept: application/json",
    ]
    if token is not None:
        if not token or not all("!" <= char <= "~" for char in token):
            raise InvalidValue(
                "token", "must be printable ASCII without spaces, and not empty"
            )
        lines.append(f"Authorization: Bearer {token}")
    return "".join(f"{line}\r\n" for line in lines).encode("ascii")


def _encoded(request: Request, prefix: str, fixed: bytes) -> bytes:
    """Return the bytes of a request. Everything in its head was checked before."""
    head = [f"{request.method} {prefix}{request.target} HTTP/1.1\r\n"]
    head += _lines(request.headers.items())
    if request.body is not None:
        head += _lines([("Content-Length", str(len(request.body)))])
    first, rest = head[0], "".join(head[1:])
    parts = first.encode("ascii"), fixed, rest.encode("ascii"), b"\r\n"
    return b"".join(parts) + (request.body or b"")


def _lines(headers: Iterable[tuple[str, str]]) -> list[str]:
    return [f"{name}: {value}\r\n" for name, value in headers]
