"""Every field of every request takes every odd value, in turn, and none is a fault.

What generates values from a schema knows that an age is a text, and not what an age
looks like. So what texts and numbers of each kind can go wrong with is written down
here.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from http import HTTPStatus
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from urllib.parse import quote

import pytest

from st8.http.openapi import document
from tests.engine.acts import branch, checkpoint
from tests.http.asgi import VERSION, Api, connection

if TYPE_CHECKING:
    from collections.abc import Iterator

_TEXTS: Final = (
    "",
    " ",
    "*",
    "**",
    "[",
    "a/**/b",
    "/",
    "//",
    ".",
    "..",
    "\0",
    "\r\n",
    "\x7f",
    "\x85",
    "\u2028",
    "\ufeff",
    "\u202e",
    "e\u0301",
    "\U0001f600",
    "\U0010ffff",
    "a" * 300,
    "a" * 5_000,
    "ä" * 5_000,
    "0",
    "-0",
    "-1",
    "+1",
    "1_000",
    "\u0661",
    "1.5",
    "1e3",
    "1e400",
    "inf",
    "nan",
    "0x10",
    "9" * 30,
    "9" * 5_000,
    "-" + "9" * 5_000,
    "1ns",
    "0.0000000001ns",
    "9" * 400 + "s",
    "9" * 400 + "h",
    "1h" * 2_000,
    "999999w",
    "30d",
    "0001-01-01T00:00:00Z",
    "0000-00-00T00:00:00Z",
    "9999-12-31T23:59:59.999999999Z",
    "99999-12-31T23:59:59Z",
    "2026-02-30T00:00:00Z",
    "2026-01-01T24:00:00Z",
    "2026-01-01T23:59:60Z",
    "2026-01-01T00:00:00+99:99",
    "0001-01-01T00:00:00+23:59",
    "9999-12-31T23:59:59-23:59",
    "2026-01-01T00:00:00." + "1" * 400 + "Z",
    "2026-01-01",
    "now",
    "true",
    "null",
    "main@1",
    "@{1}",
    "HEAD~1",
    '"' + "0" * 64 + '"',
    "0" * 64,
    "sha256:" + "0" * 64,
)
_WHOLE: Final = (
    *(json.dumps(text) for text in _TEXTS),
    r'"\ud800"',
    r'"\udfff\ud800"',
    '"\xff"',
    *("0", "-0", "-1", "1", "1.0", "1.5", "1e3", "1e400", "-1e400", "1e-400"),
    *(str(2**bits + more) for bits in (31, 53, 63, 64) for more in (-1, 0, 1)),
    *(str(-(2**bits) - more) for bits in (31, 63) for more in (-1, 0, 1)),
    *("9" * 400, "9" * 5_000, "NaN", "Infinity"),
    *("null", "true", "false", "[]", "{}", "[[]]", '[""]', "[null]", '{"a":1}'),
    "[" * 900 + "]" * 900,
)
"""JSON, of which some is none."""

_BODIES: Final[dict[str, dict[str, Any]]] = {
    "POST /v1/apply": {"documents": [{"key": "a", "content": "new"}]},
    "POST /v1/diff": {"revision_id": 1},
    "POST /v1/rollback": {"revision_id": 1},
    "POST /v1/restore": {"from_revision": 1},
    "POST /v1/branches": {"name": "new"},
    "DELETE /v1/branches": {"name": "b"},
    "POST /v1/checkpoints": {"name": "new"},
    "DELETE /v1/checkpoints": {"name": "c"},
    "POST /v1/redact": {"key": "old", "revision": 1, "reason": "leaked"},
}
"""What requests say that need a body; all others may have an empty one."""
_HEADERS: Final = {
    "POST": ("idempotency-key", "content-type", "traceparent"),
    "GET": ("if-none-match", "accept", "accept-encoding"),
    "DELETE": ("content-type",),
}
_DEPTH: Final = 4
_REFUSAL_BYTES: Final = 2_000
"""More than any refusal of a short value has."""
_DOCUMENT: Final = document(VERSION)


class _Operation(NamedTuple):
    method: str
    path: str
    parameters: tuple[str, ...]
    body: dict[str, Any]
    fields: tuple[tuple[str | int, ...], ...]


def _operations() -> Iterator[_Operation]:
    for path, methods in _DOCUMENT["paths"].items():
        for method, described in methods.items():
            names = [
                parameter["name"]
                for parameter in described["parameters"]
                if parameter["in"] == "query"
            ]
            content = described.get("requestBody", {}).get("content", {})
            schema = content.get("application/json", {}).get("schema", {})
            body = _BODIES.get(f"{method.upper()} {path}", {})
            fields = tuple(_fields(schema))
            yield _Operation(method.upper(), path, tuple(names), body, fields)


def _resolved(schema: dict[str, Any]) -> dict[str, Any]:
    """Return what a schema that refers to another one, or to nothing, stands for."""
    for option in schema.get("anyOf", ()):
        if option != {"type": "null"}:
            return _resolved(option)
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return _resolved(_DOCUMENT["components"]["schemas"][name])
    return schema


def _fields(schema: dict[str, Any], depth: int = 0) -> Iterator[tuple[str | int, ...]]:
    """Yield the way to every field of a body, and to its parts."""
    found = _resolved(schema)
    if depth == _DEPTH:
        return
    for name, part in found.get("properties", {}).items():
        yield (name,)
        yield from ((name, *way) for way in _fields(part, depth + 1))
    if found.get("type") == "array":
        yield (0,)
        yield from ((0, *way) for way in _fields(found["items"], depth + 1))


def _with(body: dict[str, Any], way: tuple[str | int, ...], value: str) -> bytes:
    """Return a body as JSON whose field has a value, which is put in as it is."""
    whole: Any = json.loads(json.dumps(body))
    place = whole
    for step, after in pairwise(way):
        empty: Any = [{}] if after == 0 else {}
        if isinstance(step, str):
            place = place.setdefault(step, empty)
            if not isinstance(place, list | dict):
                return b"{}"
        else:
            place = place[step]
    place[way[-1]] = "the value"
    return json.dumps(whole).replace('"the value"', value).encode("latin-1", "replace")


def _call(api: Api, method: str, target: str, body: bytes, **headers: str) -> int:
    """Make a request; return its status, and of a watch not more than that."""
    if not target.startswith("/v1/watch"):
        return api.call(method, target, body, **headers).status
    return api.run(_begin(api, method, target))


async def _begin(api: Api, method: str, target: str) -> int:
    sent: list[Any] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        sent.append(message)
        await asyncio.sleep(0)

    await api.app(connection(method, target), receive, send)
    return int(sent[0]["status"])


def _prepare(api: Api) -> None:
    """Make a history, of which one key is no longer there."""
    api.apply({"old": "secret"})
    api.apply({"a": "1"}, deletes=["old"])
    api.apply({"a": "2"})
    branch(api.engine, "b")
    checkpoint(api.engine, "c")


_OPERATIONS: Final = tuple(_operations())


@pytest.mark.parametrize(
    "operation", _OPERATIONS, ids=[f"{each.method} {each.path}" for each in _OPERATIONS]
)
def test_no_value_is_a_fault(api: Api, operation: _Operation) -> None:
    """Whatever a field is, it is taken or refused."""
    _prepare(api)
    method, path, names = operation.method, operation.path, operation.parameters
    usual = json.dumps(operation.body).encode()
    asked = [
        *(
            (f"{path}?{name}={quote(text)}", usual, {})
            for name in names
            for text in _TEXTS
        ),
        *(
            (path, _with(operation.body, way, value), {})
            for way in operation.fields
            for value in _WHOLE
        ),
        *(
            (path, usual, {name: text})
            for name in (_HEADERS[method] if operation.fields or names else ())
            for text in _TEXTS
            if text.isascii() and text.isprintable()
        ),
    ]

    faults = [
        (status, target[:200], body[:200], headers)
        for target, body, headers in asked
        if (status := _call(api, method, target, body, **headers))
        >= HTTPStatus.INTERNAL_SERVER_ERROR
    ]

    assert [] == faults


@pytest.mark.parametrize(
    "operation", _OPERATIONS, ids=[f"{each.method} {each.path}" for each in _OPERATIONS]
)
def test_no_refusal_repeats_what_was_sent(api: Api, operation: _Operation) -> None:
    """However long a value is, what is said of it is short."""
    method, path, names = operation.method, operation.path, operation.parameters
    texts = ("a" * 70_000, "1h" * 35_000, "\1" * 12_000, "." * 70_000)
    usual = json.dumps(operation.body).encode()
    asked = [
        *((f"{path}?{name}={quote(text)}", usual) for name in names for text in texts),
        *((f"{path}?{quote(text)}=1", usual) for text in texts),
        *(
            (path, _with(operation.body, way, json.dumps(text)))
            for way in operation.fields
            for text in texts
        ),
    ]

    long: list[tuple[str, bytes, int]] = []
    for target, body in asked:
        answer = api.call(method, target, body)
        if answer.status != HTTPStatus.OK and len(answer.body) > _REFUSAL_BYTES:
            long.append((target[:200], body[:200], len(answer.body)))

    assert [] == long


def test_what_is_odd_is_odd_by_one_field_alone() -> None:
    """The requests that odd values are put into would be taken as they are."""
    refused: set[str] = set()
    for operation in _OPERATIONS:
        with contextlib.closing(Api()) as api:
            _prepare(api)
            body = json.dumps(operation.body).encode()
            if _call(api, operation.method, operation.path, body) != HTTPStatus.OK:
                refused.add(operation.path)

    assert {"/v1/restore-backup"} == refused  # which takes a stream
