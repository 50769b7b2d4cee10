"""What the connections of one server share: their limits, and who hears of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from st8.core import limits

if TYPE_CHECKING:
    from st8.core.errors import St8Error

__all__ = ["AccessRecorder", "AsgiApp", "Connections", "GuardSettings"]

AsgiApp = Callable[..., Awaitable[None]]


@dataclass(frozen=True, slots=True)
class GuardSettings:
    """How much time and room one connection gets; times in seconds, inf = none.

    Attributes:
        header_timeout_s: From a request's first byte to the end of its headers.
        read_timeout_s: From a request's first byte to the end of its body.
        write_timeout_s: How long an answer may wait for a client that reads
            nothing of it, or next to nothing.
        idle_timeout_s: How long a kept-alive connection may wait for a request.
        body_grace_s: How long a body may be slow before its speed is judged.
        body_bytes_per_s_min: The least average speed of a body after that.
        linger_s: How long a refused client may go on sending before it is cut.
        sweep_s: How often connections are looked at; bounds how late a timeout is.
        connections_max: Connections beyond this are answered 503 at once.
        pipelined_max: Requests that wait behind one that is being answered.
        discard_bytes_max: Body bytes that are read and dropped after the answer.
        bodies_bytes_max: Body bytes that all requests being answered may hold
            together; the one that passes it is answered 503.
        unsent_bytes_max: Bytes of answers that clients have not taken; beyond it those
            who take nothing are cut off.
    """

    header_timeout_s: float = limits.HEADER_SECONDS.maximum
    read_timeout_s: float = 30.0
    write_timeout_s: float = 60.0
    idle_timeout_s: float = 120.0
    body_grace_s: float = 5.0
    body_bytes_per_s_min: int = 1024
    linger_s: float = 2.0
    sweep_s: float = 0.5
    connections_max: int = limits.CONNECTIONS.maximum
    pipelined_max: int = limits.PIPELINED.maximum
    discard_bytes_max: int = limits.BODY_BYTES.maximum
    bodies_bytes_max: int = limits.BODIES_BYTES.maximum
    unsent_bytes_max: int = limits.UNSENT_BYTES.maximum


class AccessRecorder(Protocol):
    """What is told of every answer; see :class:`st8.http.logs.AccessLog`."""

    def now(self) -> float:
        """Return a moment in seconds, to be handed to :meth:`answered`."""
        ...

    def answered(
        self, scope: Any, status: int, body_bytes: int, started: float
    ) -> None:
        """Record one answer that the app gave, or until when the client stayed for it.

        The status is 0 if the client left before there was one.
        """
        ...

    def refused(self, client: tuple[str, int] | None, error: St8Error) -> None:
        """Record one refusal that never reached the app."""
        ...


@dataclass(slots=True)
class Connections:
    """What the connections of one server share.

    Attributes:
        app: Answers their requests.
        settings: Their limits.
        access: Told of every answer, or None.
        held_bytes: Body bytes of the requests that are being answered.
        unsent_bytes: Bytes of answers that clients have not taken: as the last sweep
            saw, and what large pieces have added since.
        date_line: The ``date`` header of answers, made anew every second.
        refused: How many requests were refused here, by error code.
        on_refused: Told of each of them, or None.
    """

    app: AsgiApp
    settings: GuardSettings
    access: AccessRecorder | None = None
    held_bytes: int = 0
    unsent_bytes: int = 0
    date_line: bytes = b""
    refused: Counter[str] = field(default_factory=Counter[str])
    on_refused: Callable[[St8Error], None] | None = None
