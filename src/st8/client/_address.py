"""Where a daemon is reached: its URL, taken apart and checked."""

from __future__ import annotations

from typing import NamedTuple
from urllib.parse import urlsplit

from st8.core.errors import InvalidValue

__all__ = ["Address"]

_DEFAULT_PORTS = {"http": 80, "https": 443}
_UNIX = "unix:"
_LABEL_BYTES_MAX = 63  # RFC 1035, 2.3.4
_EXAMPLE = "write it like http://127.0.0.1:8748 or unix:/run/st8/st8d.sock"


class Address(NamedTuple):
    """A daemon's address.

    Attributes:
        secure: TLS is spoken.
        host: Name or IP address, without brackets.
        port: TCP port.
        prefix: Path before ``/v1``, for a daemon behind a proxy; no trailing ``/``.
        path: Of a socket of this machine, which counts instead of host and port.
    """

    secure: bool
    host: str
    port: int
    prefix: str = ""
    path: str = ""

    @classmethod
    def parse(cls, url: str) -> Address:
        """Return the address that ``url`` names.

        Raises:
            InvalidValue: It is no http or https URL and no path after ``unix:``, or it
                holds more than an address: a password has no place in it, as it
                would show in errors.
        """
        if url.startswith(_UNIX):
            return cls._parse_unix(url)
        if "@" in url:
            raise InvalidValue(
                "server url", "must not hold a user name or password; use a token"
            )
        try:
            parts = urlsplit(url)
            host, port = parts.hostname, parts.port
        except ValueError:
            raise InvalidValue("server url", f"{url!r} is no URL; {_EXAMPLE}") from None
        if parts.scheme not in _DEFAULT_PORTS or not host:
            raise InvalidValue("server url", f"{url!r} is no http URL; {_EXAMPLE}")
        if parts.query or parts.fragment:
            raise InvalidValue("server url", f"{url!r} must end with its path")
        if not (host + parts.path).isascii() or any(map(str.isspace, url)):
            raise InvalidValue("server url", f"{url!r} must be ASCII without spaces")
        labels = host.removesuffix(".").split(".")
        if not all(0 < len(label) <= _LABEL_BYTES_MAX for label in labels):
            # The resolver would raise something that is no OSError.
            raise InvalidValue("server url", f"{host!r} is no host's name; {_EXAMPLE}")
        return cls(
            parts.scheme == "https",
            host,
            port or _DEFAULT_PORTS[parts.scheme],
            parts.path.rstrip("/"),
        )

    @classmethod
    def _parse_unix(cls, url: str) -> Address:
        path = url[len(_UNIX) :]
        if path.startswith("///"):
            path = path[2:]
        if path.startswith("//") or path.endswith("/") or not _is_path(path):
            raise InvalidValue("server url", f"{url!r} names no socket; {_EXAMPLE}")
        return cls(secure=False, host="localhost", port=80, path=path)

    @property
    def url(self) -> str:
        """The address as a URL, for people to read."""
        if self.path:
            return f"{_UNIX}{self.path}"
        scheme = "https" if self.secure else "http"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{scheme}://{host}:{self.port}{self.prefix}"


def _is_path(text: str) -> bool:
    """Return whether a socket's path can be so."""
    try:
        return bool(text) and b"\0" not in text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return False
