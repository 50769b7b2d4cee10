"""Where an identity provider's keys come from, read again on a schedule.

Every source has a thread that reads it, so no request ever waits for a file or the
network. What can't be read changes nothing: the keys that are there go on. A token
signed with a key that is not there may have the source read early, which brings in a
new key soon after the provider has begun to use it; once a minute at most, since
anybody can make up names of keys.
"""

from __future__ import annotations

import http.client
import logging
import ssl
import threading
import time
from contextlib import closing
from typing import TYPE_CHECKING, Final, NamedTuple
from urllib.parse import urlsplit

from st8.auth.key_ring import read_key_ring
from st8.auth.yaml_fields import FILE_BYTES_MAX, read_bounded
from st8.core.errors import InvalidInput

if TYPE_CHECKING:
    from pathlib import Path

    from st8.auth.key_ring import KeyRing
    from st8.core.ports import Clock

__all__ = ["KeyPlace", "KeySource", "check_url", "read_keys"]

_log = logging.getLogger("st8.auth")

_SOCKET_TIMEOUT_S: Final = 10.0
_ANSWER_SECONDS_MAX: Final = 30.0
_CHUNK_BYTES: Final = 64 * 1024
_EARLY_NS: Final = 60 * 1_000_000_000
_AFTER_FAILURE_S: Final = 30.0
_OK: Final = 200
_LOOPBACK: Final = frozenset({"127.0.0.1", "::1", "localhost"})


class KeyPlace(NamedTuple):
    """Where keys are.

    Attributes:
        file: A file, or None.
        url: An address, or empty.
        ca_file: Who may have signed the certificate there; None for the system's
            authorities.
        refresh_s: Seconds between two looks.
    """

    file: Path | None
    url: str
    ca_file: Path | None
    refresh_s: float

    @property
    def name(self) -> str:
        """What messages call it."""
        return self.url or f"the file of keys {str(self.file)!r}"


class KeySource:
    """The keys of one provider as they are now. Any thread may ask."""

    def __init__(
        self, place: KeyPlace, clock: Clock, data: bytes | None = None
    ) -> None:
        """Have the keys of the document ``data``, or none yet.

        Raises:
            InvalidInput: ``data`` holds no keys.
        """
        self.place = place
        self.ring: KeyRing | None = None
        self._clock = clock
        self._data = b""
        self._asked_ns: int | None = None
        self._look = threading.Event()
        self._looked = threading.Event()
        self._closed = False
        if data is not None:
            self._take(data)
            self._looked.set()

    def start(self) -> None:
        """Begin to look: now, where there are no keys yet."""
        threading.Thread(target=self._run, name="st8-keys", daemon=True).start()

    def wait(self) -> None:
        """Return once it was looked for keys, whether they are there or not."""
        self._looked.wait(_ANSWER_SECONDS_MAX)

    def close(self) -> None:
        """Stop looking; never blocks."""
        self._closed = True
        self._look.set()

    def look_again(self) -> None:
        """Look now, and not only when the schedule says so; never blocks."""
        self._look.set()

    def look_early(self) -> None:
        """Look now, unless that was asked for within the last minute."""
        now_ns = self._clock.now_ns()
        asked_ns = self._asked_ns
        if asked_ns is None or abs(now_ns - asked_ns) >= _EARLY_NS:
            self._asked_ns = now_ns
            self._look.set()

    def _run(self) -> None:
        if self.ring is not None:
            self._sleep(self.place.refresh_s)
        while not self._closed:
            done = self._renew()
            refresh_s = self.place.refresh_s
            self._sleep(refresh_s if done else min(refresh_s, _AFTER_FAILURE_S))

    def _sleep(self, seconds: float) -> None:
        """Return after some time, or when somebody asks to look."""
        self._look.wait(seconds)
        self._look.clear()

    def _renew(self) -> bool:
        """Take the keys that are there now; return whether that went well."""
        try:
            self._take(read_keys(self.place))
        except InvalidInput as error:
            _log.warning(
                "the keys of an identity provider can't be read%s",
                "" if self.ring is None else "; the ones that are known go on",
                extra={"place": self.place.name, "problem": error.detail},
            )
            return False
        finally:
            self._looked.set()
        return True

    def _take(self, data: bytes) -> None:
        """Use the keys in ``data`` from now on, if they are others."""
        if data == self._data:
            return
        try:
            ring = read_key_ring(data)
        except ValueError as error:
            raise InvalidInput(f"{self.place.name} {error}") from None
        self._data = data
        self.ring = ring


def read_keys(place: KeyPlace) -> bytes:
    """Return the document that is at ``place`` now. Blocks, at most 40 seconds.

    Raises:
        InvalidInput: It can't be read, or is too large.
    """
    if place.file is not None:
        return read_bounded(place.file, "the file of keys")
    try:
        return _fetch(place)
    except ssl.SSLError as error:
        problem = error.reason or "TLS failed"
    except OSError as error:
        problem = error.strerror or str(error) or type(error).__name__
    except (http.client.HTTPException, ValueError) as error:
        problem = str(error) or type(error).__name__
    raise InvalidInput(f"can't read {place.name}: {problem}")


def check_url(url: str) -> None:
    """Return if keys may be fetched from ``url``.

    Raises:
        ValueError: They may not: on the way, anybody could put in their own.
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        parts, host, port = urlsplit(""), None, None
    readable = url.isascii() and url.isprintable() and " " not in url
    if not (readable and host) or port == 0 or parts.username is not None:
        raise ValueError(
            "must be an address such as https://login.internal/jwks, without a password"
        )
    if parts.scheme != "https" and (parts.scheme != "http" or host not in _LOOPBACK):
        raise ValueError(
            "must begin with https://; http:// is taken on the loopback only"
        )


def _fetch(place: KeyPlace) -> bytes:
    """Return what is at a URL: asked directly, with no proxy and no redirect."""
    parts = urlsplit(place.url)
    host = parts.hostname or ""
    connection = (
        http.client.HTTPSConnection(
            host,
            parts.port,
            timeout=_SOCKET_TIMEOUT_S,
            context=ssl.create_default_context(cafile=place.ca_file),
        )
        if parts.scheme == "https"
        else http.client.HTTPConnection(host, parts.port, timeout=_SOCKET_TIMEOUT_S)
    )
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    with closing(connection):
        connection.request("GET", target, headers={"Accept": "application/json"})
        answer = connection.getresponse()
        if answer.status != _OK:
            raise OSError(f"the answer is {answer.status}, not {_OK}")
        return _read(answer)


def _read(answer: http.client.HTTPResponse) -> bytes:
    """Return a body that is neither too large nor too slow."""
    end_s = time.monotonic() + _ANSWER_SECONDS_MAX
    data = bytearray()
    while chunk := answer.read1(_CHUNK_BYTES):
        data += chunk
        if len(data) > FILE_BYTES_MAX:
            raise OSError(f"the answer is larger than {FILE_BYTES_MAX} bytes")
        if time.monotonic() > end_s:
            raise OSError(f"the answer takes more than {_ANSWER_SECONDS_MAX:g} s")
    return bytes(data)
