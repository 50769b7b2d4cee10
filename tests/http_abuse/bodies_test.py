"""Bodies and parameters made to break a parser, against the whole API."""

from __future__ import annotations

import gzip
import json
from typing import TYPE_CHECKING

import pytest

from st8.core import limits
from st8.testing.server import running_server
from tests.http_abuse.raw import HOST, Answer, Wire

if TYPE_CHECKING:
    from collections.abc import Iterator


class Api:
    """The API, asked over a raw connection."""

    def __init__(self, port: int) -> None:
        """Ask the server on ``port``."""
        self.port = port

    def get(self, target: bytes) -> Answer:
        """Return the answer to a GET."""
        return self._ask(b"GET " + target + b" HTTP/1.1\r\n" + HOST + b"\r\n")

    def apply(self, body: bytes, headers: bytes = b"") -> Answer:
        """Return the answer to an apply with ``body``."""
        length = b"Content-Length: %d\r\n" % len(body)
        head = b"POST /v1/apply HTTP/1.1\r\n" + HOST + length + headers + b"\r\n"
        return self._ask(head + body)

    def _ask(self, data: bytes) -> Answer:
        with Wire(self.port) as wire:
            wire.send(data)
            answer = wire.answer()
            assert answer is not None
            return answer


@pytest.fixture(scope="module")
def api() -> Iterator[Api]:
    """One server for all rows: none of them may harm it."""
    with running_server() as server:
        yield Api(int(server.url.rpartition(":")[2]))


def document(key: bytes = b'"a"', content: bytes = b'"b"') -> bytes:
    """Return the body of an apply of one document, from JSON of its parts."""
    return b'{"documents":[{"key":%s,"content":%s}]}' % (key, content)


NOT_JSON = {
    "empty": b"",
    "cut off": document()[:-1],
    "trailing data": document() + b"{}",
    "not UTF-8": document(content=b'"\xff\xfe"'),
    "byte order mark": b"\xef\xbb\xbf" + document(),
    "duplicate key": b'{"message":"a","message":"b"}',
    "NaN": document(content=b"NaN"),
    "infinity": b'{"expect_revision":Infinity}',
    "lone surrogate": document(content=b'"\\ud800"'),
    "lone surrogate in a key": document(key=b'"\\udfff"'),
    "control character": document(content=b'"\x00"'),
    "single quotes": b"{'message':'a'}",
    "comment": b"/* */ {}",
    "10,000 deep arrays": b"[" * 10_000,
    "10,000 deep objects": b'{"a":' * 10_000,
    "65 deep": b'{"scope":' + b"[" * 65 + b"]" * 65 + b"}",
    "5,000 digits": b'{"expect_revision":' + b"9" * 5_000 + b"}",
    "65 bits": b'{"expect_revision":9223372036854775808}',
}


@pytest.mark.parametrize("body", NOT_JSON.values(), ids=NOT_JSON.keys())
def test_bodies_that_are_not_strict_json(api: Api, body: bytes) -> None:
    """Each is refused as malformed or beyond a limit, and nothing is applied."""
    answer = api.apply(body)

    assert answer.status in (400, 413)
    assert answer.problem["code"] in ("malformed_request", "limit_exceeded")
    assert 0 == json.loads(api.get(b"/v1/state").body)["revision"]


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"[" * 100_000, "invalid_value"),
        (b'{"a":' * 100_000, "unknown_field"),
        (b'{"scope":' * 100_000, "unknown_field"),
        (b'{"message":' + b"[" * 100_000, "invalid_value"),
    ],
    ids=["arrays", "objects", "scopes", "an array as a message"],
)
def test_long_bodies_that_are_too_deep(api: Api, body: bytes, code: str) -> None:
    """Each is refused at the first level that no request has."""
    answer = api.apply(body)

    assert (422, code) == (answer.status, answer.problem["code"])
    assert 0 == json.loads(api.get(b"/v1/state").body)["revision"]


@pytest.mark.parametrize(
    "key",
    [b"%ff%fe", b"..%2f", b"a/../b", b"./a", b"%00", b"a%0ab", b"%7f", b"", b"%C2%85"],
)
def test_keys_that_are_none(api: Api, key: bytes) -> None:
    """Keys that are not UTF-8, climb, or hold control characters are refused."""
    answer = api.get(b"/v1/state?key=" + key)

    assert answer.status in (400, 422)
    assert answer.problem["code"] in ("malformed_request", "invalid_value")


def test_long_key(api: Api) -> None:
    """A key beyond 1 KiB is refused by the name of its limit."""
    answer = api.apply(document(key=b'"' + b"k" * 1025 + b'"'))

    assert (413, "key_bytes_max") == (answer.status, answer.problem["limit"])


def test_body_beyond_its_limit(api: Api) -> None:
    """A body that says it is too large is refused before it is sent."""
    length = limits.BODY_BYTES.maximum + 1
    with Wire(api.port) as wire:
        wire.send(
            b"POST /v1/apply HTTP/1.1\r\n"
            + HOST
            + b"Content-Length: %d\r\n\r\n" % length
        )
        answer = wire.answer()

    assert answer is not None
    assert (413, "body_bytes_max") == (answer.status, answer.problem["limit"])


def test_chunked_body_beyond_its_limit(api: Api) -> None:
    """A body that does not say its length is refused once it is too large."""
    piece = b"%x\r\n%s\r\n" % (1 << 20, bytes(1 << 20))
    with Wire(api.port) as wire:
        wire.send(
            b"POST /v1/apply HTTP/1.1\r\n"
            + HOST
            + b"Transfer-Encoding: chunked\r\n\r\n"
        )
        for _ in range(21):
            wire.send(piece)
        answer = wire.answer()

    assert answer is not None
    assert (413, "body_bytes_max") == (answer.status, answer.problem["limit"])


def test_compressed_body(api: Api) -> None:
    """A compressed body is refused: a small one could be a large one."""
    answer = api.apply(gzip.compress(bytes(1_000_000)), b"Content-Encoding: gzip\r\n")

    assert answer.status == 415
    assert "content-encoding" in answer.problem["detail"]


def test_too_many_documents(api: Api) -> None:
    """An apply of more documents than are allowed is refused by its limit."""
    documents = [{"key": str(n), "content": ""} for n in range(10_001)]

    answer = api.apply(json.dumps({"documents": documents}).encode())

    assert (413, "apply_documents_max") == (answer.status, answer.problem["limit"])


def test_page_that_is_too_large(api: Api) -> None:
    """A page of a list beyond 1,000 entries is refused by its limit."""
    answer = api.get(b"/v1/namespaces?limit=1001")

    assert (413, "page_entries_max") == (answer.status, answer.problem["limit"])


def test_refusals_are_counted(api: Api) -> None:
    """What the guards refuse is in the metrics, like every other answer."""
    api.get(b"/#")

    text = api.get(b"/metrics").body.decode()
    assert 'st8_http_requests_total{method="other",route="other",status="400"}' in text
