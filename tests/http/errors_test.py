"""Every error code that the API can answer is produced, with its status and shape."""

from __future__ import annotations

import logging
import os
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest

from st8.auth.access import ALLOW_ALL, Access, Principal, Protection
from st8.auth.globs import Glob
from st8.core import errors
from st8.core.errors import CLASSES, St8Error
from st8.core.ids import Namespace
from st8.core.ports import Stale
from st8.core.rates import Rate
from st8.engine import unfinished
from st8.engine.engine import Engine
from st8.http.app import create_app
from st8.http.audit import AuditLog
from st8.store.memory import MemoryStore
from st8.testing.faulty import FaultyStore
from tests.http.asgi import TOKEN, Api, subset

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from tests.http.asgi import Answer

ONE = {"documents": [{"key": "a", "content": "1"}]}
SECRET = {"documents": [{"key": "a", "content": "secret"}]}
TWO = {"documents": [{"key": "a", "content": "2"}]}

# Codes that no request of a client gets from the app.
ELSEWHERE = {
    # roots of the tree, which nobody raises
    *("error", "invalid", "refused", "not_found", "unavailable"),
    # the guards in front of the app
    *("header_limit_exceeded", "request_timeout"),
    # clients say these themselves
    *("nothing_applied", "unreachable", "timed_out"),
    # a daemon that does not start
    *("state_directory_in_use", "newer_format"),
}


class Fixture:
    """An app, its store, and a branch with two revisions."""

    def __init__(self) -> None:
        self.store = FaultyStore(MemoryStore())
        self.api = Api(self.store)

    def prepare(self) -> None:
        """Make what the cases below refer to."""
        self.api.post("/v1/apply", ONE)
        self.api.post("/v1/apply", TWO)
        self.api.post("/v1/checkpoints", {"name": "c", "revision": 1})
        self.api.post("/v1/branches", {"name": "dev"})


@pytest.fixture
def fixture() -> Iterator[Fixture]:
    """A prepared app over a store that can be told to fail."""
    made = Fixture()
    made.prepare()
    yield made
    made.api.close()


def failing(error: Exception, times: int = 1) -> Callable[[Fixture], Answer]:
    """Return a case: a write whose commit fails."""

    def run(fixture: Fixture) -> Answer:
        fixture.store.fail("commit", *([error] * times))
        return fixture.api.post("/v1/apply", ONE)

    return run


@pytest.mark.parametrize("error", [errors.StorageFailed("gone"), ValueError("a fault")])
def test_what_was_done_is_never_said_to_be_undone(
    fixture: Fixture, error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    """A write whose changes can't be read any more was done all the same."""
    caplog.set_level(logging.CRITICAL, "st8")
    api, store = fixture.api, fixture.store
    api.app.close()
    api.engine = Engine(store, api.clock, cache_bytes=0)
    api.app = create_app(api.engine, version="1")
    store.after("commit", lambda: store.fail("objects", error))

    answer = api.post("/v1/apply", {"documents": [{"key": "a", "content": "new"}]})

    assert (503, "outcome_unknown") == (answer.status, answer.code)
    assert "unknown" == answer.json["outcome"]
    assert "it was done, as revision 3, but" in answer.json["detail"]
    assert 3 == api.get("/v1/state").json["revision"]


def test_what_was_not_done_is_not_said_to_be_unknown(fixture: Fixture) -> None:
    """A dry run whose changes can't be read has changed nothing."""
    api, store = fixture.api, fixture.store
    api.app.close()
    api.engine = Engine(store, api.clock, cache_bytes=0)
    api.app = create_app(api.engine, version="1")
    tried = {"documents": [{"key": "a", "content": "new"}], "dry_run": True}
    before = store.calls["objects"]
    api.post("/v1/apply", tried)
    reads = store.calls["objects"] - before
    store.before("objects", *[lambda: None] * (reads - 1))
    store.fail("objects", errors.StorageFailed("gone"))

    answer = api.post("/v1/apply", tried)

    assert ("storage_failed", "none") == (answer.code, answer.json["outcome"])


def collected(fixture: Fixture) -> Answer:
    """Ask for a revision that was collected."""
    for n in range(3):
        fixture.api.apply({"a": f"later {n}"})
    fixture.api.post("/v1/gc", {"keep": 1})
    return fixture.api.get("/v1/state?revision=3")


def corrupted(fixture: Fixture) -> Answer:
    """Read through a store that misses an object."""
    fixture.store.fail("objects", errors.Corrupt("object 00 is missing", object="00"))
    fixture.api.engine = Engine(fixture.store, fixture.api.clock)
    fixture.api.app.close()
    fixture.api.app = create_app(fixture.api.engine, version="1")
    return fixture.api.get("/v1/state?revision=1")


def broken(fixture: Fixture) -> Answer:
    """Read through a store that has a fault."""
    fixture.store.fail("checkpoints", RuntimeError("a secret"))
    return fixture.api.get("/v1/checkpoints")


OTHER_BASE = {
    "digest": "00" * 32,
    "namespaces": [{"namespace": "default", "revision": 1, "digest": "11" * 32}],
}
"""A backup that was made elsewhere, as the base of another one."""


def restored_over(fixture: Fixture) -> Answer:
    """Restore what is there."""
    return fixture.api.post("/v1/restore-backup", fixture.api.post("/v1/backup").body)


def _elsewhere() -> bytes:
    """Return a backup of a namespace that is not there."""
    with closing(Api()) as other:
        other.apply({"a": "1"}, scope={"namespace": "restored"})
        return other.post("/v1/backup").body


def kept_free(fixture: Fixture) -> Answer:
    """Write to what a restore keeps free."""
    name = Namespace("restored")
    unfinished.mark(fixture.store, [name], fixture.store.namespace(name).epoch)
    return fixture.api.post("/v1/apply", {**ONE, "scope": {"namespace": name}})


def overtaken(fixture: Fixture) -> Answer:
    """Restore while others collect."""
    fixture.store.before("commit", lambda: None)
    fixture.store.fail("commit", Stale())
    return fixture.api.post("/v1/restore-backup", _elsewhere())


def mismatch(fixture: Fixture) -> Answer:
    """Use an idempotency key for two things."""
    fixture.api.post("/v1/apply", ONE, idempotency_key="k")
    return fixture.api.post("/v1/apply", TWO, idempotency_key="k")


def limited(fixture: Fixture) -> Answer:
    """Ask once more than is allowed."""
    fixture.api.app.service.rates.rate = Rate(1 / 60, 1)
    assert 200 == fixture.api.get("/v1/version").status
    return fixture.api.get("/v1/version")


def stopped(fixture: Fixture) -> Answer:
    """Ask a daemon that is being stopped whether it is ready."""
    fixture.api.app.begin_shutdown()
    return fixture.api.get("/readyz")


def forbidden(fixture: Fixture) -> Answer:
    """Ask for what a policy does not allow."""

    class Nobody:
        def authenticate(
            self, _authorization: bytes | None, _connection: Mapping[str, Any], /
        ) -> Principal:
            return Principal("nobody", Access(()))

    fixture.api.serve(Nobody())
    return fixture.api.get("/v1/state")


def redacted(fixture: Fixture) -> Answer:
    """Apply what was redacted."""
    fixture.api.delete("/v1/branches", {"name": "dev"})
    fixture.api.apply({"a": "secret"})
    fixture.api.apply({"a": "new"})
    fixture.api.post("/v1/redact", {"key": "a", "revision": -1})
    return fixture.api.post("/v1/apply", SECRET)


def expectation(fixture: Fixture) -> Answer:
    """Write to a protected branch without saying which head is expected."""

    class Careful:
        def authenticate(
            self, _authorization: bytes | None, _connection: Mapping[str, Any], /
        ) -> Principal:
            every = (Glob("*"),)
            names = frozenset(["release"])
            protected = Protection(every, every, names, True, True)
            return Principal("release", ALLOW_ALL, (protected,))

    fixture.api.serve(Careful())
    return fixture.api.post("/v1/apply", ONE)


def unrecorded(fixture: Fixture) -> Answer:
    """Ask a daemon that can't write its audit log."""
    audit = AuditLog("-", fixture.api.clock)
    os.close(audit._file)
    audit._file = os.open(os.devnull, os.O_RDONLY)
    fixture.api.serve(audit=audit)
    try:
        return fixture.api.get("/v1/state")
    finally:
        audit.close()


def unauthenticated(fixture: Fixture) -> Answer:
    """Come without a token."""
    fixture.api.app.close()
    fixture.api.app = create_app(fixture.api.engine, version="1", token=TOKEN)
    return fixture.api.get("/v1/state")


def get(target: str) -> Callable[[Fixture], Answer]:
    """Return a case: a GET."""
    return lambda fixture: fixture.api.get(target)


def post(route: str, body: object, **headers: str) -> Callable[[Fixture], Answer]:
    """Return a case: a POST."""
    return lambda fixture: fixture.api.post(f"/v1/{route}", body, **headers)


PRODUCED: dict[str, tuple[int, Callable[[Fixture], Answer]]] = {
    "malformed_request": (400, post("apply", b"{")),
    "unsupported_media": (415, post("apply", b"", content_encoding="gzip")),
    "invalid_value": (422, post("apply", {})),
    "unknown_field": (422, get("/v1/state?brnch=dev")),
    "limit_exceeded": (413, get("/v1/log?limit=1001")),
    "unauthenticated": (401, unauthenticated),
    "forbidden": (403, forbidden),
    "expect_revision_required": (428, expectation),
    "audit_unavailable": (503, unrecorded),
    "route_not_found": (404, get("/v1/states")),
    "method_not_allowed": (405, get("/v1/apply")),
    "namespace_not_found": (404, post("gc", {"namespace": "defaul"})),
    "branch_not_found": (404, post("rollback", {"scope": {"branch": "x"}})),
    "checkpoint_not_found": (404, get("/v1/state?checkpoint=x")),
    "revision_not_found": (404, post("restore", {"from_revision": 9})),
    "no_revision_at": (404, get("/v1/state?at=2020-01-01T00:00:00Z")),
    "revision_collected": (404, collected),
    "conflict": (409, failing(Stale(), times=16)),
    "head_moved": (409, post("apply", {**ONE, "expect_revision": 1})),
    "revision_not_reached": (412, get("/v1/state?min_revision=9")),
    "branch_exists": (409, post("branches", {"name": "dev"})),
    "checkpoint_exists": (409, post("checkpoints", {"name": "c"})),
    "content_in_use": (409, post("redact", {"key": "a", "revision": 2})),
    "content_redacted": (409, redacted),
    "key_not_found": (404, post("redact", {"key": "b", "revision": 1})),
    "bad_backup": (422, post("restore-backup", b"no backup")),
    "namespace_exists": (409, restored_over),
    "being_restored": (409, kept_free),
    "other_history": (409, post("backup", {"base": OTHER_BASE})),
    "overtaken": (409, overtaken),
    "idempotency_mismatch": (409, mismatch),
    "overloaded": (503, failing(errors.Overloaded("too much waits"))),
    "rate_limited": (429, limited),
    "shutting_down": (503, stopped),
    "outcome_unknown": (503, failing(errors.OutcomeUnknown("it may be written"))),
    "storage_full": (507, failing(errors.StorageFull("no space left"))),
    "storage_failed": (503, failing(errors.StorageFailed("the disk said no"))),
    "store_fenced": (503, failing(errors.StoreFenced("fsync: EIO"))),
    "corrupt": (500, corrupted),
    "internal_error": (500, broken),
}


@pytest.mark.parametrize("code", PRODUCED)
def test_every_code_is_produced(
    fixture: Fixture, code: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A problem has the status and the facts of its class; ``detail`` leads."""
    caplog.set_level(logging.CRITICAL, "st8")
    status, case = PRODUCED[code]

    answer = case(fixture)

    kind = CLASSES[code]
    assert (status, code) == (answer.status, answer.code)
    assert "application/problem+json" == answer.headers["content-type"]
    assert "detail" == next(iter(answer.json))
    assert [] == subset(
        {
            "title": kind.title,
            "status": kind.http_status,
            "retryable": kind.retryable,
            "outcome": kind.outcome,
        },
        answer.json,
    )
    assert len(answer.json["detail"]) > 10
    rebuilt = St8Error.from_problem(answer.json)
    assert (kind, answer.json["detail"]) == (type(rebuilt), rebuilt.detail)


def test_no_code_is_forgotten() -> None:
    """Each code of the tree is produced here, or said to come from elsewhere."""
    assert set(CLASSES) == set(PRODUCED) | ELSEWHERE
    assert set() == set(PRODUCED) & ELSEWHERE


@pytest.mark.parametrize(
    ("code", "name", "value"),
    [
        ("unauthenticated", "www-authenticate", 'Bearer realm="st8"'),
        ("method_not_allowed", "allow", "POST"),
        ("storage_failed", "retry-after", "1"),
        ("overloaded", "retry-after", "1"),
        ("store_fenced", "retry-after", None),
        ("storage_full", "retry-after", None),
        ("head_moved", "retry-after", None),
    ],
)
def test_headers_say_what_to_do(
    fixture: Fixture, code: str, name: str, value: str | None
) -> None:
    """Where a header tells clients what to do next, it is there."""
    assert value == PRODUCED[code][1](fixture).headers.get(name)


def test_what_is_unexpected_is_logged_once_and_not_told(
    fixture: Fixture, caplog: pytest.LogCaptureFixture
) -> None:
    """A fault of st8 is in the log with its traceback; the client hears none of it."""
    fixture.store.fail("checkpoints", RuntimeError("a secret"))

    answer = fixture.api.get("/v1/checkpoints")

    assert (500, "internal_error") == (answer.status, answer.code)
    assert b"secret" not in answer.body
    (record,) = [r for r in caplog.records if r.name == "st8.http"]
    assert "GET /v1/checkpoints" in record.getMessage()
    assert record.exc_info is not None
    assert "a secret" in str(record.exc_info[1])


@pytest.mark.parametrize(
    ("code", "logged"),
    [
        ("storage_failed", "the disk said no"),
        ("store_fenced", "fsync: EIO"),
        ("corrupt", "object 00 is missing"),
        ("internal_error", "answering GET /v1/checkpoints"),
        ("overloaded", None),
        ("head_moved", None),
        ("unknown_field", None),
    ],
)
def test_whoever_runs_the_daemon_hears_of_its_faults(
    fixture: Fixture, code: str, logged: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    """What clients can do nothing about is in the log; their own mistakes are not."""
    PRODUCED[code][1](fixture)

    records = [r.getMessage() for r in caplog.records if r.name == "st8.http"]
    assert (0 if logged is None else 1) == len(records)
    assert logged is None or logged in records[0]


def test_what_is_refused_changes_nothing(fixture: Fixture) -> None:
    """After each refusal the store is as it was, and goes on."""
    before = fixture.api.state()
    bodies: tuple[object, ...] = (
        {"documents": [{"key": "x", "content": "1"}, {"key": "../y", "content": "2"}]},
        {"documents": [{"key": "x", "content": "1"}], "expect_revision": 1},
        {"documents": [{"key": "x", "content": "1"}], "deletes": ["x"]},
        {"documents": [{"key": "x", "content": "1"}], "messag": ""},
    )

    for body in bodies:
        assert fixture.api.post("/v1/apply", body).status >= 400
    for route, target in (
        ("rollback", {"scope": {"branch": "new"}, "revision_id": 1}),
        ("restore", {"from_branch": "new"}),
        ("branches", {"name": "new", "from_revision": 99}),
        ("checkpoints", {"name": "new", "scope": {"branch": "new"}}),
    ):
        assert fixture.api.post(f"/v1/{route}", target).status == 404

    assert before == fixture.api.state()
    branches = fixture.api.get("/v1/branches").json["branches"]
    assert ["dev", "main"] == [branch["name"] for branch in branches]
    assert 3 == fixture.api.apply({"a": "3"})["revision"]
