"""Connections to a daemon, kept open between exchanges.

This is the only module of the library that touches a socket. It sends a request
whole, reads the whole answer within a deadline, and says of a failure how far it
got. Answers are parsed by ``http.client``.
"""

from __future__ import annotations

import http.client
import io
import os
import select
import socket
import threading
from time import monotonic
from typing import TYPE_CHECKING, Final, cast

from st8.client._answers import Answer, NotUnderstood
from st8.client._retry import Failure
from st8.core.errors import InvalidValue

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterable

    from st8.client._address import Address
    from st8.client._calls import Request
    from st8.client._retry import Stage

__all__ = ["Deadline", "Pool"]

_CHUNK_BYTES: Final = 64 * 1024
_IDLE_MAX: Final = 8
"""Connections that are kept open when nobody uses them."""

_ANSWER_BYTES_MAX: Final = 1 << 30
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
        self._deadline = deadline
        self.received = False

    def readable(self) -> bool:
        """Return that it can be read."""
        return True

    def readinto(self, buffer: memoryview, /) -> int:  # type: ignore[override]
        """Receive into ``buffer``; return the number of bytes, 0 at the end."""
        self._deadline.apply_to(self._sock)
        count = self._sock.recv_into(buffer)
        self.received = self.received or count > 0
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
            problem = f"the connection broke while sending: {_reason(error)}"
            raise Failure(problem, "send", stale=used) from error
        finally:
            self.reusable = False

    def _answer(self, method: str, deadline: Deadline, *, used: bool) -> Answer:
        reader = _Reader(self._sock, deadline)
        response = http.client.HTTPResponse(
            cast("socket.socket", reader), method=method
        )
        try:
            response.begin()
            body = _body(response)
            self.reusable = not response.will_close
        except TimeoutError:
            raise deadline.failure("answer") from None
        except http.client.IncompleteRead:
            raise Failure("the answer broke off", "answer") from None
        except ConnectionError as error:  # RemoteDisconnected is one, too
            if reader.received:
                raise Failure("the answer broke off", "answer") from error
            problem = "the connection was closed without an answer"
            raise Failure(problem, "answer", stale=used) from error
        except (http.client.HTTPException, ValueError):
            raise NotUnderstood("did not speak HTTP") from None
        except OSError as error:
            refused = _refused_certificate(error)
            if refused is not None and not reader.received:
                raise _refusal(refused) from error
            raise Failure(_reason(error), "answer") from error
        finally:
            response.close()
        headers = {name.lower(): value for name, value in response.getheaders()}
        return Answer(response.status, headers, body)


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
        if size > _ANSWER_BYTES_MAX:
            raise NotUnderstood(
                f"answered more than {_ANSWER_BYTES_MAX} bytes; read it in pages"
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
        if key_file is not None and cert_file is None:
            raise InvalidValue(
                "key file", "is given without its certificate (cert file)"
            )
        self._address = address
        self._ca_file = ca_file
        self._cert_file = cert_file
        self._key_file = key_file
        self._fixed = _fixed_headers(address, token)
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
            raise Failure(_reason(error), "connect", hopeless=hopeless) from error
        try:
            if tls is not None:
                deadline.apply_to(sock)
                sock = tls.wrap_socket(sock, server_hostname=self._address.host)
        except TimeoutError:
            sock.close()
            raise deadline.failure("connect") from None
        except OSError as error:
            sock.close()
            raise _refusal(_tls_reason(error)) from error
        return _Connection(sock)

    def _tls_context(self) -> ssl.SSLContext:
        import ssl  # noqa: PLC0415 - not everybody speaks TLS, and it loads slowly

        with self._lock:
            if self._tls is None:
                try:
                    context = ssl.create_default_context(cafile=self._ca_file)
                except OSError as error:
                    raise InvalidValue(
                        "ca file", f"can't use {self._ca_file!r}: {_reason(error)}"
                    ) from error
                if self._cert_file is not None:
                    _load_certificate(context, self._cert_file, self._key_file)
                self._tls = context
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


def _load_certificate(
    context: ssl.SSLContext, cert_file: str, key_file: str | None
) -> None:
    """Make ``context`` show a certificate.

    Raises:
        InvalidValue: A file can't be read, is not what it should be, or the key is
            not the certificate's.
    """
    for field, name in (("cert file", cert_file), ("key file", key_file)):
        if name is not None and not os.access(name, os.R_OK):
            why = "it can't be read" if os.path.exists(name) else "it is not there"  # noqa: PTH110
            raise InvalidValue(field, f"can't use {name!r}: {why}")
    try:
        # The empty passphrase, lest OpenSSL asks for one on the terminal.
        context.load_cert_chain(cert_file, key_file, password="")
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", None) or ""
        if reason == "KEY_VALUES_MISMATCH":
            problem = f"the key in {key_file or cert_file!r} is not the certificate's"
        else:
            problem = (
                f"{cert_file!r} has to hold a certificate in PEM, and "
                f"{key_file or cert_file!r} its key, not under a passphrase"
            )
        raise InvalidValue("cert file", problem) from None


def _fixed_headers(address: Address, token: str | None) -> bytes:
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


def _reason(error: OSError) -> str:
    """Return what the system says of ``error``, as part of a sentence."""
    text = error.strerror or str(error) or type(error).__name__
    return text[:1].lower() + text[1:]


def _refusal(reason: str) -> Failure:
    """Return the failure of a handshake that would fail again."""
    return Failure(reason, "connect", hopeless=True, remedied=True)


def _tls_reason(error: OSError) -> str:
    """Return why there is no TLS connection, and what can be done."""
    import ssl  # noqa: PLC0415 - loaded already, if it was a matter of TLS

    if isinstance(error, ssl.SSLCertVerificationError):
        return _distrust(error.verify_code, error.verify_message)
    if isinstance(error, ssl.SSLError):
        refused = _refused_certificate(error)
        if refused is not None:
            return refused
        if error.reason in {"UNEXPECTED_EOF_WHILE_READING", None}:
            return "the connection ended during TLS; does it speak TLS there?"
        reason = error.reason.replace("_", " ").lower()
        if error.reason in _OLD_TLS:
            return f"TLS failed ({reason}); no version of TLS is spoken on both sides"
        return f"TLS failed ({reason}); does it speak TLS there?"
    return f"{_reason(error)} during TLS; does it speak TLS there?"


def _distrust(code: int, message: str) -> str:
    """Return what is wrong with the daemon's certificate, and what can be done."""
    if code in _DATES:
        return f"{message}; have it renewed, and compare the clocks of both machines"
    if code in _NAMES:
        return (
            f"its certificate is for another name ({message.rstrip('.')}); use a name "
            "that the certificate has"
        )
    return (
        f"its certificate is not trusted ({message}); name the file of the authority "
        "that signed it (ca file)"
    )


def _refused_certificate(error: OSError) -> str | None:
    """Return how the daemon refused this client, None if it did not.

    It says so in an alert that ends the handshake, so it has read nothing.
    """
    reason = getattr(error, "reason", None) or ""
    what = _ALERTS.get(reason.partition("_ALERT_")[2])
    if what is None:
        return None
    return f"it {what}; name one that it takes (cert file, key file)"


_DATES: Final = (9, 10)
"""X509_V_ERR_CERT_NOT_YET_VALID and X509_V_ERR_CERT_HAS_EXPIRED."""

_NAMES: Final = (62, 64)
"""X509_V_ERR_HOSTNAME_MISMATCH and X509_V_ERR_IP_ADDRESS_MISMATCH."""

_OLD_TLS: Final = (
    "TLSV1_ALERT_PROTOCOL_VERSION",
    "UNSUPPORTED_PROTOCOL",
    "NO_PROTOCOLS_AVAILABLE",
)

_ALERTS: Final = {
    "CERTIFICATE_REQUIRED": "wants a client certificate",
    "HANDSHAKE_FAILURE": "would not agree on TLS, and may want a client certificate",
    "UNKNOWN_CA": "does not know who signed the client certificate",
    "BAD_CERTIFICATE": "refused the client certificate",
    "UNSUPPORTED_CERTIFICATE": "refused the kind of the client certificate",
    "CERTIFICATE_EXPIRED": "says that the client certificate is not of this time",
    "CERTIFICATE_REVOKED": "says that the client certificate was revoked",
    "CERTIFICATE_UNKNOWN": "refused the client certificate",
}
