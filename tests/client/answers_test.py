"""Reading answers: those of the Go daemon, those of this one, and anything else."""

from __future__ import annotations

import contextlib
import json
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from st8.client import _answers
from st8.client._answers import Answer, NotUnderstood
from st8.client._results import LogEntry, State, Written, moment_of
from st8.core.documents import Change
from st8.core.errors import CLASSES, St8Error
from st8.core.ids import Key

if TYPE_CHECKING:
    from collections.abc import Callable

READERS: list[Callable[[Answer], object]] = [
    _answers.branches,
    _answers.checkpoint,
    _answers.checkpoints,
    _answers.collected,
    _answers.created_branch,
    _answers.namespaces,
    _answers.nothing,
    _answers.server_version,
    _answers.state,
    lambda answer: _answers.diff(answer, contents=True),
    lambda answer: _answers.log_page(answer, contents=True),
    lambda answer: _answers.state_page(answer, contents=False),
    lambda answer: _answers.written(answer, contents=True),
]


def ok(body: object) -> Answer:
    """Return a 200 answer."""
    return Answer(200, {"content-type": "application/json"}, json.dumps(body).encode())


def test_empty_contents_of_the_go_daemon() -> None:
    """The Go daemon leaves empty contents out; they are empty, not absent."""
    body = {
        "revision": 2,
        "changes": [
            {"key": "a", "type": "create"},
            {"key": "b", "type": "update", "before": "x"},
            {"key": "c", "type": "delete"},
        ],
        "noop": False,
    }

    assert (
        Change(Key("a"), "create", None, ""),
        Change(Key("b"), "update", "x", ""),
        Change(Key("c"), "delete", "", None),
    ) == _answers.written(ok(body), contents=True).changes
    assert (
        Change(Key("a"), "create"),
        Change(Key("b"), "update"),
        Change(Key("c"), "delete"),
    ) == _answers.written(ok(body), contents=False).changes


def test_noop_of_the_go_daemon() -> None:
    """A no-op has null for changes, and lacks what this daemon adds."""
    body = {"revision": 1, "changes": None, "noop": True}

    assert Written(1, (), noop=True) == _answers.written(ok(body), contents=True)


def test_log_of_the_go_daemon() -> None:
    """An entry without author, kind and parents is an apply by nobody."""
    entry = {
        "id": 2,
        "parent_id": 1,
        "message": "m",
        "created_at": "2026-11-23T13:53:00.05Z",
        "branch": "main",
        "changes": None,
    }
    page = _answers.log_page(ok({"entries": [entry]}), contents=False)

    assert (
        LogEntry(2, 1, "m", "2026-11-23T13:53:00.05Z", "main", parents=(1,)),
    ) == page.entries
    assert (None, None) == (page.next, page.collected)


def test_key_that_is_no_longer_allowed() -> None:
    """A key that today's rules refuse is still shown, as an old daemon may have it."""
    body = {
        "revision": 1,
        "changes": [{"key": "../x", "type": "create"}],
        "noop": False,
    }

    assert "../x" == _answers.written(ok(body), contents=False).changes[0].key


def test_state() -> None:
    """A state has its documents in the order they came, and the answer's tag."""
    answer = ok({"revision": 3, "objects": {"b": "2", "a": "1"}, "count": 7})
    answer = answer._replace(headers={"etag": '"x"'})

    assert State(3, {"b": "2", "a": "1"}, 7, etag='"x"') == _answers.state(answer)
    assert ["b", "a"] == list(_answers.state(answer).documents)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | st.floats(allow_nan=False),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(
        st.sampled_from(
            [
                "revision", "objects", "keys", "changes", "noop", "entries", "id",
                "branches", "checkpoints", "namespaces", "name", "next", "type", "key",
                "detail", "code", "status", "limit", "pruned", "fields",
            ]
        )
        | st.text(max_size=3),
        inner,
        max_size=6,
    ),
    max_leaves=12,
)  # fmt: skip


@given(st.sampled_from(READERS), json_values)
def test_any_json(read: Callable[[Answer], object], body: object) -> None:
    """Whatever JSON comes with a 200, it is a result or not understood."""
    with contextlib.suppress(NotUnderstood):
        read(ok(body))


@given(
    st.sampled_from(READERS),
    st.integers(100, 599).filter(lambda status: status != 200),
    st.sampled_from(["application/problem+json", "text/plain", "text/html", ""]),
    st.binary(max_size=40) | json_values.map(lambda value: json.dumps(value).encode()),
)
def test_any_error(
    read: Callable[[Answer], object], status: int, kind: str, body: bytes
) -> None:
    """Whatever comes with another status raises an error with a sentence."""
    with pytest.raises((St8Error, NotUnderstood)) as raised:
        read(Answer(status, {"content-type": kind}, body))

    assert str(raised.value)


@pytest.mark.parametrize("code", sorted(CLASSES))
def test_every_code(code: str) -> None:
    """Every code gives its class back, with its facts as attributes."""
    problem = {"detail": "d", "code": code, "status": 418, "branch": "b", "keep": 3}
    body = json.dumps(problem).encode()
    error = _answers.error_of(
        Answer(418, {"content-type": "application/problem+json; charset=utf-8"}, body)
    )

    assert (CLASSES[code], "d") == (type(error), error.detail)
    assert {"branch": "b", "keep": 3} == error.fields


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-01-02T03:04:05Z", "2026-01-02T03:04:05+00:00"),
        ("2026-01-02T03:04:05.05Z", "2026-01-02T03:04:05.050000+00:00"),
        ("2026-01-02T03:04:05.123456789Z", "2026-01-02T03:04:05.123456+00:00"),
    ],
)
def test_moment(text: str, expected: str) -> None:
    """A time of the daemon becomes a datetime in UTC, cut to microseconds."""
    assert expected == moment_of(text).isoformat()


@pytest.mark.parametrize("text", ["", "now", "2026-01-02T03:04:05", "2026-01-02Z!"])
def test_no_moment(text: str) -> None:
    """What is no time of the daemon is refused."""
    with pytest.raises(ValueError, match=r"."):
        moment_of(text)
