"""What each operation sends."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

import pytest

from st8.client import Client, Select, _core
from st8.client._answers import Answer
from st8.client._selection import Filter, Pick
from st8.core import limits
from st8.core.documents import Document
from st8.core.errors import InvalidValue, LimitExceeded, St8Error
from st8.core.ids import Key, Scope

if TYPE_CHECKING:
    from collections.abc import Callable

    from st8.client._calls import Call

SCOPE = Scope.parse("payments/prod", "release/1")
WHERE = "namespace=payments%2Fprod&branch=release%2F1"
SENT = {"scope": {"namespace": "payments/prod", "branch": "release/1"}}
HEAD = Pick()
WRITE: dict[str, Any] = {
    "message": "",
    "author": "",
    "expect_revision": None,
    "dry_run": False,
    "contents": False,
    "idempotency_key": "k1",
}


def body_of(call: Call[Any]) -> dict[str, Any]:
    """Return the body that is sent."""
    assert call.request.body is not None
    body: dict[str, Any] = json.loads(call.request.body)
    return body


def test_apply() -> None:
    """An apply sends the documents, and only what was given beside them."""
    call = _core.apply(SCOPE, {"a": "1\r\n"}, deletes=(), **WRITE)

    assert ("POST", "/v1/apply") == call.request[:2]
    assert {
        "Content-Type": "application/json",
        "Idempotency-Key": "k1",
    } == call.request.headers
    assert {
        **SENT,
        "documents": [{"key": "a", "content": "1\r\n"}],
        "changes": "keys",
    } == body_of(call)
    assert "keyed" == call.effect


def test_apply_with_everything() -> None:
    """What is given is sent; an expected revision 0 is given, too."""
    call = _core.apply(
        SCOPE,
        [Document(Key("b"), "old"), Document(Key("a"), "1"), Document(Key("b"), "2")],
        deletes=["c"],
        message="why",
        author="who",
        expect_revision=0,
        dry_run=True,
        contents=True,
        idempotency_key="k1",
    )

    assert {
        **SENT,
        "documents": [{"key": "b", "content": "2"}, {"key": "a", "content": "1"}],
        "deletes": ["c"],
        "message": "why",
        "author": "who",
        "expect_revision": 0,
        "dry_run": True,
        "changes": "full",
    } == body_of(call)
    assert {"Content-Type": "application/json"} == call.request.headers
    assert "read" == call.effect


@pytest.mark.parametrize(
    ("kind", "target", "branch", "expected"),
    [
        ("rollback", Pick(3), None, {"revision_id": 3}),
        ("rollback", Pick(-1), None, {"revision_id": -1}),
        ("rollback", Pick(checkpoint="c"), None, {"checkpoint_name": "c"}),
        ("rollback", Pick(at="2026-01-01T00:00:00Z"), None, {"at": "2026-01-01T00:00:00Z"}),
        ("restore", Pick(3), None, {"from_revision": 3}),
        ("restore", Pick(3), "b", {"from_revision": 3, "from_branch": "b"}),
        ("restore", HEAD, "b", {"from_branch": "b"}),
        ("restore", Pick(checkpoint="c"), None, {"from_checkpoint": "c"}),
        ("restore", Pick(at="x"), None, {"from_at": "x"}),
    ],
)  # fmt: skip
def test_reset(
    kind: str, target: Pick, branch: str | None, expected: dict[str, object]
) -> None:
    """A rollback and a restore name their target in the fields of the Go daemon."""
    call = _core.reset(SCOPE, kind, target, branch=branch, **WRITE)

    assert (f"/v1/{kind}", "keyed") == (call.request.target, call.effect)
    assert {**SENT, **expected, "changes": "keys"} == body_of(call)


@pytest.mark.parametrize(
    ("call", "target"),
    [
        (_core.document(SCOPE, HEAD, "a b/ü?&"), "&key=a%20b%2F%C3%BC%3F%26"),
        (_core.document(SCOPE, Pick(-1), "k"), "&revision=-1&key=k"),
        (_core.document(SCOPE, Pick(0), "k"), "&key=k"),
        (_core.state(SCOPE, Pick(checkpoint="a/b"), ""), "&checkpoint=a%2Fb"),
        (_core.state(SCOPE, Pick(at="2026-01-01T00:00:00+01:00"), "p/"),
         "&at=2026-01-01T00%3A00%3A00%2B01%3A00&prefix=p%2F"),
        (_core.state_if_changed(SCOPE, "", ""), ""),
        (_core.documents(SCOPE, HEAD, "p", 5).first, "&prefix=p&limit=5"),
        (_core.key_pages(SCOPE, HEAD, "", 5).first, "&limit=5&contents=false"),
    ],
)  # fmt: skip
def test_reads_of_a_state(call: Call[Any], target: str) -> None:
    """Reads name scope, state and selection, and nothing that was not given."""
    assert ("GET", f"/v1/state?{WHERE}{target}", {}, None) == call.request
    assert "read" == call.effect


def test_etag() -> None:
    """A tag goes back as it came."""
    call = _core.state_if_changed(SCOPE, '"3-abc"', "")

    assert {"If-None-Match": '"3-abc"'} == call.request.headers


def test_log() -> None:
    """A log page carries its filters."""
    wanted = Filter("k", "", "me", "2026-01-01T00:00:00Z", None)
    walk = _core.log_pages(SCOPE, Pick(9), wanted, page_size=5, after=7, contents=False)

    assert (
        f"/v1/log?{WHERE}&revision=9&limit=5&after=7&key=k&author=me"
        "&since=2026-01-01T00%3A00%3A00Z&changes=keys"
    ) == walk.first.request.target


@pytest.mark.parametrize(
    ("source", "target", "expected"),
    [
        (Select(), Select(documents={"a": "1"}),
         {"documents": [{"key": "a", "content": "1"}]}),
        (Select(), Select(), {"from": {}, "to": {}}),
        (Select(), Select(3), {"from": {}, "to": {"revision": 3}}),
        (Select(checkpoint="c", branch="b"), Select(at="t"),
         {"from": {"checkpoint": "c", "branch": "b"}, "to": {"at": "t"}}),
        (Select(2), Select(2, documents={"a": "1"}, deletes=["b"]),
         {"from": {"revision": 2},
          "to": {"revision": 2, "documents": [{"key": "a", "content": "1"}],
                 "deletes": ["b"]}}),
        (Select(), Select(exact=True), {"from": {}, "to": {"exact": True}}),
    ],
)  # fmt: skip
def test_diff(source: Select, target: Select, expected: dict[str, object]) -> None:
    """A diff names its sides; documents alone go in the Go daemon's form."""
    call = _core.diff(SCOPE, source, target, contents=True)

    assert {**SENT, "changes": "full", **expected} == body_of(call)
    assert "read" == call.effect


def test_lists_and_names() -> None:
    """Checkpoints, branches, namespaces, gc: each at its path with its fields."""
    at = datetime(2026, 1, 1, 1, tzinfo=timezone(timedelta(hours=1)))
    about: dict[str, Any] = {"description": "d", "author": "a", "replace": True}
    calls: list[Call[Any]] = [
        _core.create_checkpoint(SCOPE, "c", Pick.one_of(at=at), **about),
        _core.delete_checkpoint(SCOPE, "c/d"),
        _core.create_branch(SCOPE, "b", Pick(checkpoint="c")),
        _core.delete_branch(SCOPE, "b", 4),
        _core.gc(3, None, "n", dry_run=False),
        _core.gc(3, None, None, dry_run=False),
        _core.gc(None, 30 * 86_400, None, dry_run=True),
    ]

    assert [
        ("POST", "/v1/checkpoints", {**SENT, "name": "c", "at": "2026-01-01T00:00:00Z", **about}),
        ("DELETE", "/v1/checkpoints", {"namespace": "payments/prod", "name": "c/d"}),
        ("POST", "/v1/branches", {**SENT, "name": "b", "from_checkpoint": "c"}),
        ("DELETE", "/v1/branches", {"namespace": "payments/prod", "name": "b", "expect_revision": 4}),
        ("POST", "/v1/gc", {"keep": 3, "namespace": "n"}),
        ("POST", "/v1/gc", {"keep": 3}),
        ("POST", "/v1/gc", {"younger_than": "30d", "dry_run": True}),
    ] == [(*call.request[:2], body_of(call)) for call in calls]  # fmt: skip
    assert {"once"} == {call.effect for call in calls}
    assert [
        "/v1/checkpoints?namespace=payments%2Fprod&name=c",
        "/v1/checkpoints?namespace=payments%2Fprod&prefix=p",
        f"/v1/branches?{WHERE}",
        "/v1/namespaces",
        "/v1/version",
    ] == [
        _core.checkpoint(SCOPE, "c").request.target,
        _core.checkpoints(SCOPE, "p").first.request.target,
        _core.branches(SCOPE, "").first.request.target,
        _core.namespaces("").first.request.target,
        _core.version().request.target,
    ]


def test_many_keys_take_several_requests() -> None:
    """Keys that fit no request line are asked for in several, none longer than it."""
    keys = [f"{n:04}" + "ü" * 300 for n in range(50)]
    walk = _core.document_batches(SCOPE, HEAD, keys)
    answered = Answer(
        200, {}, json.dumps({"revision": 8, "objects": {"k": "v"}}).encode()
    )
    targets: list[str] = []
    call: Call[Any] | None = walk.first
    while call is not None:
        targets.append(call.request.target)
        call = walk.after(call.read(answered))

    assert len(targets) > 3
    assert max(map(len, targets)) < limits.TARGET_BYTES.maximum
    assert 50 == sum(target.count("&key=") for target in targets)
    assert ["&revision=8&" in target for target in targets] == (
        [False] + [True] * (len(targets) - 1)
    )


CLIENT = Client("http://127.0.0.1:1", timeout_s=0.1, retries=0)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: CLIENT.get("k", revision=1, checkpoint="c"),
         "revision: can't be combined with checkpoint; choose one"),
        (lambda: CLIENT.get("a/../b"), "key: 'a/../b' must not have '.' or '..'"),
        (lambda: CLIENT.get(""), "key: must not be empty"),
        (CLIENT.rollback, "revision: a rollback needs a target"),
        (lambda: CLIENT.rollback(0), "revision: a rollback needs a target"),
        (CLIENT.restore, "revision: a restore needs a target"),
        (lambda: CLIENT.restore(branch=""), "branch: must not be empty"),
        (lambda: CLIENT.create_checkpoint(" "), "checkpoint: "),
        (lambda: CLIENT.create_branch(""), "branch: must not be empty"),
        (lambda: CLIENT.gc(0), "keep: must be at least 1"),
        (lambda: CLIENT.log(0), "limit: must be at least 1"),
        (lambda: CLIENT.log(since=datetime(2026, 1, 1)), "since: must have a time zone"),  # noqa: DTZ001
        (lambda: CLIENT.apply({"k": "\ud800"}), "content of 'k': has a lone surrogate"),
        (lambda: CLIENT.apply({"k": "v"}, message="\ud800"), "message: has a lone"),
        (lambda: CLIENT.apply({"k": "v"}, idempotency_key="a b"), "Idempotency-Key: "),
        (lambda: CLIENT.diff({"k": "v"}, target=Select(1)), "target: can't be combined"),
        (lambda: CLIENT.diff({"k": "v"}, source=Select(exact=True)), "source: must be"),
        (lambda: CLIENT.scope("a\nb"), "namespace: 'a\\nb' must not contain control"),
        (lambda: CLIENT.state_if_changed("a\r\nb"), "etag: must be one that a daemon"),
        (lambda: CLIENT.state(prefix="\ud800"), "query: has a lone surrogate"),
    ],
)  # fmt: skip
def test_what_can_not_be_right(call: Callable[[], object], message: str) -> None:
    """What no daemon would take is refused before anything is sent."""
    with pytest.raises(InvalidValue) as raised:
        call()

    assert raised.value.detail.startswith(message)


def test_limits() -> None:
    """Contents and requests that are too large are refused, and the limit is named."""
    for documents, name in (
        ({"k": "x" * (limits.CONTENT_BYTES.maximum + 1)}, "content_bytes_max"),
        ({f"k{n}": "x" * 4_000_000 for n in range(6)}, "body_bytes_max"),
        ({"k" * 1025: ""}, "key_bytes_max"),
    ):
        with pytest.raises(LimitExceeded) as raised:
            CLIENT.apply(documents)
        assert name == raised.value.limit


@pytest.mark.parametrize(
    "call",
    [
        lambda: CLIENT.get_many("key"),
        lambda: CLIENT.apply({}, deletes="key"),
        lambda: CLIENT.diff(deletes="key"),
    ],
)
def test_one_text_for_several_keys(call: Callable[[], object]) -> None:
    """A text where several keys are meant is not taken for keys of one character."""
    with pytest.raises(TypeError, match="expected several keys, got the one text"):
        call()


def test_times() -> None:
    """A datetime is sent in UTC, to the microsecond."""
    moment = datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=UTC)

    assert "2026-01-02T03:04:05.000006Z" == Pick.one_of(at=moment).at


def test_no_keys_no_request() -> None:
    """Asking for no documents needs no daemon."""
    assert {} == CLIENT.get_many([])


def test_errors_are_of_one_tree() -> None:
    """What the library raises is a St8Error, also where no daemon is."""
    with pytest.raises(St8Error):
        CLIENT.version()
