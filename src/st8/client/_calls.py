"""What an exchange is: a request to send and a way to read its answer; no I/O."""

from __future__ import annotations

import json
from collections.abc import Generator
from typing import TYPE_CHECKING, Generic, Literal, NamedTuple, TypeVar
from urllib.parse import quote, urlencode

from st8.core import limits
from st8.core.errors import InvalidValue, LimitExceeded
from st8.core.ids import IdempotencyKey

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from st8.client._answers import Answer

__all__ = ["Call", "Effect", "Request", "Steps", "Walk", "get", "send"]

T = TypeVar("T")
P = TypeVar("P")

Effect = Literal["read", "keyed", "once"]
"""What sending a request twice does: nothing, nothing more (it carries an
idempotency key), or perhaps something."""


class Request(NamedTuple):
    """What to send, credentials apart.

    Attributes:
        method: HTTP method.
        target: Path and query, encoded.
        headers: Header fields beside those that every request has.
        body: JSON, or None for no body.
    """

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes | None


class Call(NamedTuple, Generic[T]):
    """One exchange.

    Attributes:
        operation: What it does, in a word for error texts.
        effect: Whether it may be sent again when no answer came.
        request: What to send.
        read: Returns the result of an answer; raises the error that it stands
            for, or NotUnderstood.
    """

    operation: str
    effect: Effect
    request: Request
    read: Callable[[Answer], T]


class Walk(NamedTuple, Generic[P, T]):
    """A list that is read page by page, from one unchanging state.

    Attributes:
        first: Asks for the first page.
        items: Returns what a page holds.
        after: Returns the call for the page after this one, or None.
    """

    first: Call[P]
    items: Callable[[P], Iterable[T]]
    after: Callable[[P], Call[P] | None]


Steps = Generator[Call[P], P, T]
"""Calls that follow from each other: yields each, is sent its result, returns all."""


def get(
    operation: str,
    path: str,
    read: Callable[[Answer], T],
    parameters: Iterable[tuple[str, object]] = (),
    headers: Mapping[str, str] | None = None,
) -> Call[T]:
    """Return the call that reads ``path``; empty and None parameters are left out."""
    pairs = [
        (name, str(value))
        for name, value in parameters
        if value is not None and value != ""
    ]
    try:
        query = urlencode(pairs, quote_via=quote, safe="")
    except UnicodeEncodeError:
        raise InvalidValue("query", "has a lone surrogate; not valid UTF-8") from None
    target = f"{path}?{query}" if query else path
    return Call(operation, "read", Request("GET", target, headers or {}, None), read)


def send(
    operation: str,
    method: str,
    path: str,
    body: Mapping[str, object],
    read: Callable[[Answer], T],
    *,
    effect: Effect = "once",
    idempotency_key: str | None = None,
) -> Call[T]:
    """Return the call that sends ``body`` to ``path``; None fields are left out.

    Raises:
        InvalidValue: A text is not valid Unicode, or the key has odd characters.
        LimitExceeded: The body is larger than a daemon takes.
    """
    fields = {name: value for name, value in body.items() if value is not None}
    try:
        text = json.dumps(fields, ensure_ascii=False, separators=(",", ":"))
        data = text.encode()
    except UnicodeEncodeError:
        raise InvalidValue("request", "has a lone surrogate; not valid UTF-8") from None
    if len(data) > limits.BODY_BYTES.maximum:
        raise LimitExceeded(limits.BODY_BYTES, f"{operation} in bytes", len(data))
    headers = {"Content-Type": "application/json"}
    if idempotency_key is not None:
        headers["Idempotency-Key"] = IdempotencyKey(idempotency_key)
        effect = "keyed"
    return Call(operation, effect, Request(method, path, headers, data), read)
