"""Checks of a request's head: line and headers as the parser has split them.

httptools refuses what is not HTTP at all; these refuse what two readers could
understand differently, and what is too large.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

import httptools

from st8.core import limits
from st8.core.errors import HeaderTooLarge, MalformedRequest

if TYPE_CHECKING:
    from st8.core.errors import St8Error

    Headers = list[tuple[bytes, bytes]]

__all__ = [
    "HEAD",
    "Refusal",
    "check_headers",
    "check_sizes",
    "check_upgrade",
    "split_target",
    "without_upgrade",
]

HEAD: Final = "request line and headers"

_HOST: Final = re.compile(rb"[A-Za-z0-9._~%!$&'()*+,;=:\[\]-]*")
_LOOKED_AT: Final = frozenset((b"host", b"transfer-encoding", b"expect"))
_VERSIONS: Final = frozenset(("1.0", "1.1"))
_OFFERS: Final = frozenset((b"upgrade", b"http2-settings"))
_KEPT_TOKENS: Final = frozenset((b"close", b"keep-alive"))
_HEADER_BYTES_MAX: Final = limits.HEADER_BYTES.maximum
_HEADER_COUNT_MAX: Final = limits.HEADER_COUNT.maximum
_TARGET_BYTES_MAX: Final = limits.TARGET_BYTES.maximum


class Refusal(Exception):
    """Stops the parser inside a callback; carries the answer."""

    def __init__(self, error: St8Error) -> None:
        """Carry ``error``."""
        super().__init__(error)
        self.error = error


def check_sizes(target: bytes, headers: Headers, head_bytes: int) -> None:
    """Raise unless target and headers are within their limits.

    ``head_bytes`` is what they can be at most; they are measured only if that is
    too much.
    """
    if len(headers) > _HEADER_COUNT_MAX:
        raise Refusal(HeaderTooLarge(limits.HEADER_COUNT, "headers", len(headers)))
    if len(target) > _TARGET_BYTES_MAX:
        raise Refusal(
            HeaderTooLarge(limits.TARGET_BYTES, "request target", len(target))
        )
    if head_bytes > _HEADER_BYTES_MAX:
        size = len(target) + sum(len(n) + len(v) + 4 for n, v in headers)
        if size > _HEADER_BYTES_MAX:
            raise Refusal(HeaderTooLarge(limits.HEADER_BYTES, HEAD, size))


def check_headers(
    headers: Headers, version: str, known_host: bytes
) -> tuple[bool, bytes]:
    """Raise unless the headers are unambiguous.

    Returns whether the client waits for 100 Continue, and a host that is well-formed;
    ``known_host`` is one.
    """
    hosts = 0
    expects = False
    for name, value in headers:
        if name not in _LOOKED_AT:
            continue
        if name == b"host":
            hosts += 1
            if value != known_host:
                known_host = _checked_host(value)
        elif name == b"transfer-encoding":
            _check_coding(value, version)
        else:
            expects = _expects(value) and version == "1.1"
    if hosts != 1 and (hosts or version == "1.1"):
        raise Refusal(
            MalformedRequest(f"a request has one Host header; this has {hosts}")
        )
    if version not in _VERSIONS:
        raise Refusal(
            MalformedRequest(f"HTTP/{version} is not spoken here; use HTTP/1.1")
        )
    return expects, known_host


def check_upgrade(method: bytes, headers: Headers) -> None:
    """Raise when the client can't go on without the protocol that it asks for."""
    if method == b"CONNECT":
        raise Refusal(MalformedRequest("this is no proxy: CONNECT is not taken"))
    offers = b",".join(value for name, value in headers if name == b"upgrade")
    if b"websocket" in offers.lower():
        raise Refusal(MalformedRequest("WebSocket is not spoken here"))


def without_upgrade(
    method: bytes, target: bytes, version: str, headers: Headers
) -> bytes:
    """Return the head of a request without its offer of another protocol."""
    lines = [method, b" ", target, b" HTTP/", version.encode(), b"\r\n"]
    for name, value in headers:
        if name in _OFFERS:
            continue
        kept = value
        if name == b"connection":
            tokens = [token.strip().lower() for token in value.split(b",")]
            kept = b",".join(token for token in tokens if token in _KEPT_TOKENS)
        lines += (name, b": ", kept, b"\r\n")
    lines.append(b"\r\n")
    return b"".join(lines)


def _checked_host(value: bytes) -> bytes:
    """Return ``value`` if it could be a host."""
    if _HOST.fullmatch(value) is None:
        raise Refusal(MalformedRequest("the Host header is not a host and port"))
    return value


def split_target(target: bytes) -> tuple[bytes, bytes]:
    """Return the path and query of a request target, percent signs and all."""
    if target.startswith(b"/"):
        path, _, query = target.partition(b"?")
    elif target == b"*":
        path, query = target, b""
    else:
        url = httptools.parse_url(target)
        path, query = url.path or b"/", url.query or b""
    if b"#" in target:
        raise Refusal(MalformedRequest("a request target has no fragment ('#')"))
    return path, query


def _check_coding(value: bytes, version: str) -> None:
    """Raise unless a Transfer-Encoding leaves no doubt where the body ends."""
    if value.lower() != b"chunked" or version != "1.1":
        raise Refusal(
            MalformedRequest("the only Transfer-Encoding is chunked, in HTTP/1.1")
        )


def _expects(value: bytes) -> bool:
    """Return True for the one expectation there is, raise for any other."""
    if value.lower() != b"100-continue":
        raise Refusal(MalformedRequest("the only expectation known is 100-continue"))
    return True
