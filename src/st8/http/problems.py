"""Errors as RFC 9457 problems.

What st8 raises on purpose is told as it is. What it does not is a fault of its own:
it is logged with its traceback, and the client learns only that, since a message
made for nobody may hold anything. What whoever runs the daemon must hear of, a
store that fails or is corrupt, is logged too.
"""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING, Final

import msgspec

from st8.core.errors import (
    InternalError,
    MethodNotAllowed,
    Overloaded,
    RateLimited,
    ShuttingDown,
    St8Error,
    Unauthenticated,
)
from st8.http.replies import PROBLEM, Reply

if TYPE_CHECKING:
    from st8.http.replies import Headers

__all__ = ["as_st8_error", "encode_problem", "problem_reply"]

_LATER: Final = frozenset({429, 503})
_FAULTS: Final = frozenset({500, 503, 507})
_OF_THE_MOMENT: Final = (Overloaded, ShuttingDown)

_log = logging.getLogger("st8.http")


def as_st8_error(error: Exception, doing: str) -> St8Error:
    """Return ``error`` itself, or what may be told of it; faults are logged."""
    if isinstance(error, St8Error):
        if error.http_status in _FAULTS and not isinstance(error, _OF_THE_MOMENT):
            cause = error.__cause__
            _log.error("%s failed: %s", doing, error.detail, exc_info=cause)
        return error
    _log.error("unexpected error while answering %s", doing, exc_info=error)
    return InternalError("st8d ran into a fault of its own; its log has the details")


def problem_reply(error: St8Error) -> Reply:
    """Return the reply that tells ``error``."""
    headers: Headers = [PROBLEM]
    if isinstance(error, Unauthenticated):
        headers.append((b"www-authenticate", b'Bearer realm="st8"'))
    if isinstance(error, MethodNotAllowed):
        headers.append((b"allow", ", ".join(error.allowed).encode()))
    if error.http_status in _LATER and error.retryable:
        wait_s = error.retry_after if isinstance(error, RateLimited) else 1
        headers.append((b"retry-after", b"%d" % wait_s))
    return Reply(error.http_status, headers, encode_problem(error))


def encode_problem(error: St8Error) -> bytes:
    """Return the body that tells ``error``."""
    problem = error.problem()
    try:
        return msgspec.json.encode(problem, enc_hook=str) + b"\n"
    except UnicodeEncodeError:
        # Half a surrogate pair, from a path or a header; told as an escape.
        return json.dumps(problem).encode() + b"\n"
