"""Reads what a client sends: the headers that matter, and a body of bounded size."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from st8.core import limits
from st8.core.errors import LimitExceeded, MalformedRequest, UnsupportedMedia

if TYPE_CHECKING:
    from collections.abc import Mapping, MutableMapping

    from st8.http.replies import Receive

__all__ = ["READS", "STREAMS", "WAITS", "ClientGone", "Upload", "header", "read_body"]

STREAMS: Final = "st8.streams"
"""Set in the scope of a request whose body may be of any length and take any time."""

READS: Final = "st8.reads"
"""Set in the scope of a request that changes nothing: without its client it is given
up, and nobody misses it."""

WAITS: Final = "st8.waits"
"""Set in the scope of a request while it waits for something to happen: who ends even
their own side then has gone."""

_IDENTITY: Final = frozenset((b"", b"identity"))
_LENGTH_DIGITS_MAX: Final = 18


class ClientGone(Exception):
    """The client went away before its request was whole; nobody waits."""


def header(scope: Mapping[str, Any], name: bytes) -> bytes | None:
    """Return the value of a header that may be given once; None if it is absent.

    Raises:
        MalformedRequest: It is given more than once.
    """
    found: bytes | None = None
    for other, value in scope["headers"]:
        if other == name:
            if found is not None:
                raise MalformedRequest(
                    f"the header {name.decode()} is given more than once"
                )
            found = value
    return found


async def read_body(scope: Mapping[str, Any], receive: Receive) -> bytes:
    """Return the body of a request.

    Raises:
        LimitExceeded: It is longer than ``body_bytes_max``; if it says so itself,
            nothing of it was read.
        UnsupportedMedia: It is compressed.
        ClientGone: It ended before it was whole.
    """
    _check_encoding(scope)
    maximum = limits.BODY_BYTES.maximum
    declared = header(scope, b"content-length")
    if declared is not None:
        _check_length(declared, maximum)
    parts: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGone
        part: bytes = message.get("body", b"")
        if part:
            size += len(part)
            if size > maximum:
                raise LimitExceeded(limits.BODY_BYTES, "the body in bytes")
            parts.append(part)
        if not message.get("more_body", False):
            return parts[0] if len(parts) == 1 else b"".join(parts)


class Upload:
    """A body that is taken as it comes, and never held whole."""

    def __init__(self, scope: MutableMapping[str, Any], receive: Receive) -> None:
        """Take the body of the request; what limits others lets it pass from now on.

        Raises:
            UnsupportedMedia: It is compressed.
        """
        _check_encoding(scope)
        scope[STREAMS] = True
        self._receive = receive
        self._more = True

    async def next(self) -> bytes:
        """Return the next bytes, none at the end.

        Raises:
            ClientGone: It ended before it was whole.
        """
        while self._more:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                raise ClientGone
            self._more = message.get("more_body", False)
            part: bytes = message.get("body", b"")
            if part:
                return part
        return b""


def _check_encoding(scope: Mapping[str, Any]) -> None:
    encoding = header(scope, b"content-encoding")
    if encoding is not None and encoding.strip().lower() not in _IDENTITY:
        raise UnsupportedMedia(
            "the body has a content-encoding; send it as it is, without compression"
        )


def _check_length(declared: bytes, maximum: int) -> None:
    if not declared.isdigit():
        raise MalformedRequest("the content-length is not a number")
    if len(declared) > _LENGTH_DIGITS_MAX:
        raise LimitExceeded(limits.BODY_BYTES, "the body in bytes")
    if int(declared) > maximum:
        raise LimitExceeded(limits.BODY_BYTES, "the body in bytes", int(declared))
