"""Bodies are read within bounds, headers without guessing."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from st8.core import limits
from tests.http.asgi import Api, connection, exchange

if TYPE_CHECKING:
    from collections.abc import Iterable

DOCUMENT = b'{"documents":[{"key":"a","content":"1"}]}'


def send_parts(
    api: Api, parts: list[bytes], headers: Iterable[tuple[bytes, bytes]] = ()
) -> tuple[int, Any, int]:
    """Return status, headers and body of an apply whose body comes in parts.

    The last number is how many parts were taken.
    """
    taken = 0
    sent: list[Any] = []

    async def receive() -> dict[str, Any]:
        nonlocal taken
        if taken == len(parts):
            await asyncio.Event().wait()
        taken += 1
        more = taken < len(parts)
        return {"type": "http.request", "body": parts[taken - 1], "more_body": more}

    async def send(message: Any) -> None:
        sent.append(message)
        await asyncio.sleep(0)

    async def ask() -> None:
        await api.app(connection("POST", "/v1/apply", headers), receive, send)

    api.run(ask())
    return sent[0]["status"], sent[1]["body"], taken


def test_a_body_may_come_in_parts(api: Api) -> None:
    """A body is what its parts are together, cut anywhere."""
    for cut in range(len(DOCUMENT) + 1):
        status, _, _ = send_parts(api, [DOCUMENT[:cut], b"", DOCUMENT[cut:]])

        assert 200 == status


def test_a_body_that_says_it_is_too_long_is_not_read(api: Api) -> None:
    """The length of a body is looked at before the body is."""
    length = b"%d" % (limits.BODY_BYTES.maximum + 1)

    status, body, taken = send_parts(api, [DOCUMENT], [(b"content-length", length)])

    assert (413, 0) == (status, taken)
    assert b'"limit":"body_bytes_max","maximum":20971520' in body
    assert b'"actual":20971521' in body


def test_a_body_that_turns_out_too_long_is_left(api: Api) -> None:
    """A body that does not say how long it is, is read no further than the limit."""
    part = b" " * 1_048_576

    status, body, taken = send_parts(api, [part] * 40)

    assert (413, 21) == (status, taken)
    assert b"body_bytes_max" in body


def test_a_body_of_the_largest_size_is_taken(api: Api) -> None:
    """The limit itself is allowed."""
    body = DOCUMENT.ljust(limits.BODY_BYTES.maximum)

    status, _, _ = send_parts(api, [body])

    assert 200 == status


@pytest.mark.parametrize("length", [b"ten", b"-1", b"1.0", b"", b"0x10"])
def test_a_length_is_a_number(api: Api, length: bytes) -> None:
    """A length that is none is refused."""
    status, _, taken = send_parts(api, [DOCUMENT], [(b"content-length", length)])

    assert (400, 0) == (status, taken)


@pytest.mark.parametrize("encoding", ["gzip", "br", "deflate, gzip", "identity, gzip"])
def test_compressed_bodies_are_refused(api: Api, encoding: str) -> None:
    """A body is never inflated, so none can be a bomb."""
    answer = api.post("/v1/apply", b"\x1f\x8b", content_encoding=encoding)

    assert (415, "unsupported_media") == (answer.status, answer.code)
    assert "content-encoding" in answer.json["detail"]


@pytest.mark.parametrize("encoding", ["identity", " Identity ", ""])
def test_uncompressed_bodies_may_say_so(api: Api, encoding: str) -> None:
    """``identity`` is no compression."""
    assert 200 == api.post("/v1/apply", DOCUMENT, content_encoding=encoding).status


@pytest.mark.parametrize(
    ("name", "path"),
    [
        (b"authorization", "/v1/state"),
        (b"idempotency-key", "/v1/apply"),
        (b"content-encoding", "/v1/apply"),
    ],
)
def test_headers_that_can_mean_one_thing_come_once(
    guarded: Api, name: bytes, path: str
) -> None:
    """Two values of a header that has one are refused, not chosen from."""
    value = b"Bearer open-sesame" if name == b"authorization" else b"identity"
    headers = [(name, value), (name, value)]
    if name != b"authorization":
        headers.append((b"authorization", b"Bearer open-sesame"))
    method = "GET" if path == "/v1/state" else "POST"
    for _ in range(2):
        answer = guarded.run(exchange(guarded.app, method, path, [DOCUMENT], headers))

        assert (400, "malformed_request") == (answer.status, answer.code)


@pytest.mark.parametrize("key", ["", "a b", "ä", "a\tb", "\x7f"])
def test_an_idempotency_key_is_printable(api: Api, key: str) -> None:
    """A key that no header should carry is refused."""
    answer = api.run(
        exchange(
            api.app,
            "POST",
            "/v1/apply",
            [DOCUMENT],
            [(b"idempotency-key", key.encode("latin-1"))],
        )
    )

    assert (422, "Idempotency-Key") == (answer.status, answer.json["field"])


def test_who_goes_away_before_the_end_is_not_answered(api: Api) -> None:
    """A request that never became whole does nothing and gets nothing."""
    sent: list[Any] = []
    messages: list[dict[str, Any]] = [
        {"type": "http.request", "body": DOCUMENT, "more_body": True},
        {"type": "http.disconnect"},
    ]

    async def receive() -> dict[str, Any]:
        return messages.pop(0)

    async def send(message: Any) -> None:
        sent.append(message)

    async def ask() -> None:
        await api.app(connection("POST", "/v1/apply"), receive, send)

    api.run(ask())

    assert [] == sent
    assert 0 == api.state()["revision"]


def test_a_large_apply_is_decoded_beside_the_loop(api: Api) -> None:
    """While a large body is decoded, others are answered."""
    listed = [b'{"key":"k%d","content":"%s"}' % (n, b"x" * 900) for n in range(9_000)]
    body = b'{"documents":[' + b",".join(listed) + b"]}"

    async def both() -> tuple[int, int]:
        apply = asyncio.ensure_future(exchange(api.app, "POST", "/v1/apply", [body]))
        answered = 0
        while not apply.done():
            await exchange(api.app, "GET", "/healthz")
            await asyncio.sleep(0)
            answered += 1
        return apply.result().status, answered

    status, answered = api.run(both())

    assert 200 == status
    assert answered > 3


def test_other_protocols_are_told_off() -> None:
    """A websocket is closed; the lifespan protocol is followed."""
    api = Api()
    sent: list[Any] = []
    messages = [{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}]

    async def receive() -> dict[str, Any]:
        return messages.pop(0)

    async def send(message: Any) -> None:
        sent.append(message["type"])

    async def ask() -> None:
        await api.app({"type": "lifespan"}, receive, send)
        await api.app({"type": "websocket"}, receive, send)

    api.run(ask())
    api.close()

    assert [
        "lifespan.startup.complete",
        "lifespan.shutdown.complete",
        "websocket.close",
    ] == sent
