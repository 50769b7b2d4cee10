"""Where a daemon is reached: its URL, taken apart and checked."""

from __future__ import annotations

from typing import NamedTuple
from urllib.parse import urlsplit

from st8.core.errors import InvalidValue

__all__ = ["Address"]

_DEFAULT_PORTS = {"http": 80, "https": 443}
_EXAMPLE = "write it like http://127.0.0.1:8748"


class Address(NamedTuple):
    """A daemon's address.

    Attributes:
        secure: TLS is spoken.
        host: Name or IP address, without brackets.
        port: TCP port.
        prefix: Path before ``/v1``, for a daemon behind a proxy; no trailing ``/``.
    """

    secure: bool
    host: str
    port: int
    prefix: str = ""

    @classmethod
    def parse(cls, url: str) -> Address:
        """Return the address that ``url`` names.

        Raises:
            InvalidValue: It is not an http or https URL, or it holds more than an
                address: a password has no place in it, as it would show in errors.
        """
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
        return cls(
            parts.scheme == "https",
            host,
            port or _DEFAULT_PORTS[parts.scheme],
            parts.path.rstrip("/"),
        )

    @property
    def url(self) -> str:
        """The address as a URL, for people to read."""
        scheme = "https" if self.secure else "http"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{scheme}://{host}:{self.port}{self.prefix}"
