"""Idempotency keys: one change, however often it is asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from st8.core.documents import Document
from st8.core.errors import (
    HeadMoved,
    IdempotencyMismatch,
    OutcomeUnknown,
    RevisionCollected,
    St8Error,
    StorageFull,
)
from st8.core.ids import (
    Author,
    BranchName,
    CheckpointName,
    Key,
    Message,
    Namespace,
    Scope,
)
from st8.core.key_set import KeySet
from st8.core.limits import IDEMPOTENCY_SECONDS
from st8.engine.engine import Engine
from st8.engine.requests import Apply, Reset, Selector
from st8.testing.clock import SECOND_NS, FakeClock
from tests.engine.acts import (
    DEV,
    SCOPE,
    applied,
    apply,
    apply_request,
    changes,
    contents,
    log_numbers,
    reset,
    scope,
    selector,
    submit,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from st8.engine.results import WriteResult
    from st8.testing.faulty import FaultyStore

DAY_S = IDEMPOTENCY_SECONDS.maximum


def _told(result: WriteResult) -> tuple[object, ...]:
    """Return all that an answer says."""
    return (
        result.number,
        result.revision,
        result.noop,
        result.dry_run,
        result.root,
        changes(result.changes),
    )


def test_a_retry_gets_the_same_answer(any_engine: Engine) -> None:
    """The same key and request give the answer of the first time, applied once."""
    applied(any_engine, "1")
    first = apply(any_engine, {"k": "2", "n": "new"}, key="key")
    retry = apply(any_engine, {"k": "2", "n": "new"}, key="key")

    assert _told(first) == _told(retry)
    assert [2, 1] == log_numbers(any_engine)


def test_a_retry_after_others_gets_the_same_answer(any_engine: Engine) -> None:
    """What others did meanwhile is neither undone nor seen in the answer."""
    first = apply(any_engine, {"k": "1"}, key="key", expect=0)
    applied(any_engine, "2", "3")
    retry = apply(any_engine, {"k": "1"}, key="key", expect=0)

    assert _told(first) == _told(retry)
    assert {"k": "3"} == contents(any_engine)


def test_a_retry_of_a_rollback_gets_the_same_answer(any_engine: Engine) -> None:
    """A rollback and a restore are done once for each key."""
    applied(any_engine, "1", "2")
    first = reset(any_engine, selector(-1), key="key")
    retry = reset(any_engine, selector(-1), key="key")

    assert _told(first) == _told(retry)
    assert {"k": "1"} == contents(any_engine)
    assert [3, 2, 1] == log_numbers(any_engine)


def test_a_retry_of_a_no_op_is_a_no_op(any_engine: Engine) -> None:
    """A no-op with a key stays one, also when it would change something by now."""
    applied(any_engine, "1")
    first = apply(any_engine, {"k": "1"}, key="key")
    assert first.noop
    applied(any_engine, "2")
    retry = apply(any_engine, {"k": "1"}, key="key")

    assert _told(first) == _told(retry)
    assert {"k": "2"} == contents(any_engine)


def test_a_retry_survives_reopening(open_sqlite: Callable[[], Engine]) -> None:
    """The answer to a key is as durable as what it answers."""
    first = apply(open_sqlite(), {"k": "1"}, key="key")
    applied(open_sqlite(), "2")
    told = _told(first)[:5]

    assert told == _told(apply(open_sqlite(), {"k": "1"}, key="key"))[:5]
    engine = open_sqlite()
    assert [2, 1] == log_numbers(engine)
    with pytest.raises(IdempotencyMismatch):
        apply(engine, {"k": "other"}, key="key")


BASE = apply_request({"k": "v"}, ["d"], message="m", author="a", expect=1, key="key")
OTHERS = [
    apply_request({"k": "w"}, ["d"], message="m", author="a", expect=1, key="key"),
    apply_request({"k": "v"}, [], message="m", author="a", expect=1, key="key"),
    apply_request({"k": "v"}, ["e"], message="m", author="a", expect=1, key="key"),
    apply_request({"k": "v", "d": ""}, message="m", author="a", expect=1, key="key"),
    apply_request({"k": "v"}, ["d"], message="x", author="a", expect=1, key="key"),
    apply_request({"k": "v"}, ["d"], message="m", author="x", expect=1, key="key"),
    apply_request({"k": "v"}, ["d"], message="m", author="a", expect=0, key="key"),
    apply_request({"k": "v"}, ["d"], message="m", author="a", key="key"),
    apply_request({"k": "v"}, ["d"], message="ma", author="", expect=1, key="key"),
    apply_request({"k": "v"}, ["d"], at=DEV, message="m", author="a", key="key"),
]


@pytest.mark.parametrize("other", OTHERS, ids=range(len(OTHERS)))
def test_another_request_with_the_key_is_a_conflict(
    any_engine: Engine, other: Apply
) -> None:
    """A key is for one request: the same in scope, documents, words and head."""
    apply(any_engine, {"d": "1"})
    any_engine.apply(BASE)
    with pytest.raises(IdempotencyMismatch, match="different request"):
        any_engine.apply(other)

    assert {"k": "v"} == contents(any_engine)


def _reset(**other: Any) -> Reset:
    fields: dict[str, Any] = {"scope": SCOPE, "target": Selector(1), "kind": "rollback"}
    return Reset(**{**fields, **other})


def test_no_two_requests_share_a_fingerprint() -> None:
    """Requests that differ in anything that counts have different fingerprints."""
    requests: list[Apply | Reset] = [
        BASE,
        *OTHERS,
        apply_request({"ab": "c"}),
        apply_request({"a": "bc"}),
        apply_request({"a": "b"}, ["c"]),
        apply_request({"c": "b"}, ["a"]),
        apply_request({}, ["a"], at=scope("a", "b")),
        apply_request({}, ["a"], at=scope("ab", "main")),
        apply_request({}, ["a", "b"]),
        apply_request({}, ["ab"]),
        _reset(),
        _reset(kind="restore"),
        _reset(target=Selector(2)),
        _reset(target=Selector(-1)),
        _reset(target=Selector(0)),
        _reset(target=Selector()),
        _reset(target=Selector(at_ns=1)),
        _reset(target=Selector(checkpoint=CheckpointName("1"))),
        _reset(target=Selector(branch=BranchName("1"))),
        _reset(target=Selector(1, branch=BranchName("1"))),
        _reset(message=Message("x")),
        _reset(author=Author("x")),
        _reset(expect_revision=1),
        _reset(scope=Scope(Namespace("x"))),
    ]
    prints = [request.fingerprint() for request in requests]

    assert len(prints) == len(set(prints))


def test_the_order_of_documents_is_no_difference() -> None:
    """The same documents in another order, or twice, are the same request."""
    a, b = Document(Key("a"), "1"), Document(Key("b"), "2")
    one, two, three = (Apply(SCOPE, d) for d in ((a, b), (b, a), (a, b, a)))

    assert one.fingerprint() == two.fingerprint() == three.fingerprint()


@pytest.mark.parametrize(
    ("request_", "digest"),
    [
        (
            Apply(
                Scope(Namespace("shop")),
                (Document(Key("a"), "1"),),
                (Key("b"),),
                Message("why"),
                Author("ann"),
                7,
            ),
            "18d2ca56013a9f9c8e5f3dc3dee30fde44fa5356b448962f4703d22c16c2aee3",
        ),
        (
            Reset(Scope(Namespace("shop")), Selector(3), "rollback"),
            "d589553c985e613414e53fe232d87812bfe704e3a10d3bea8630444169c76fd0",
        ),
        (
            Reset(
                Scope(Namespace("shop")),
                Selector(checkpoint=CheckpointName("good"), branch=BranchName("side")),
                "restore",
                Message("why"),
                Author("ann"),
                7,
                keys=KeySet.under("app"),
            ),
            "265bc5bbab4c12568d6b0425603670400d50698badd3a0fb45aa1465a1ba489b",
        ),
    ],
)
def test_a_fingerprint_stays(request_: Apply | Reset, digest: str) -> None:
    """Stores keep them: after an update of st8 a retry is still known for one."""
    assert digest == request_.fingerprint().hex()


def test_a_key_belongs_to_its_namespace(any_engine: Engine) -> None:
    """The same key in another namespace is another key."""
    apply(any_engine, {"k": "1"}, at=scope("a"), key="key")
    result = apply(any_engine, {"k": "2"}, at=scope("b"), key="key")

    assert (1, {"k": "2"}) == (result.number, contents(any_engine, scope("b")))


def test_a_key_expires_after_a_day(any_engine: Engine, clock: FakeClock) -> None:
    """A key is remembered for a day, to the second; then it is free."""
    clock.set(SECOND_NS)
    apply(any_engine, {"k": "1"}, key="key")
    clock.set((1 + DAY_S) * SECOND_NS)
    with pytest.raises(IdempotencyMismatch):
        apply(any_engine, {"k": "2"}, key="key")
    clock.set((1 + DAY_S) * SECOND_NS + 1)

    assert 2 == apply(any_engine, {"k": "2"}, key="key").number
    clock.set((1 + DAY_S) * SECOND_NS + 2)
    assert 2 == apply(any_engine, {"k": "2"}, key="key").number
    with pytest.raises(IdempotencyMismatch):
        apply(any_engine, {"k": "1"}, key="key")


def test_what_was_refused_leaves_its_key_free(any_engine: Engine) -> None:
    """A request that was refused may be corrected and sent with the same key."""
    applied(any_engine, "1")
    with pytest.raises(HeadMoved):
        apply(any_engine, {"k": "2"}, expect=9, key="key")
    with pytest.raises(St8Error):
        reset(any_engine, selector(9), key="key")

    assert 2 == apply(any_engine, {"k": "2"}, expect=1, key="key").number


def test_a_dry_run_leaves_its_key_free(any_engine: Engine) -> None:
    """A dry run is not remembered, and does not read what is."""
    dry = apply(any_engine, {"k": "1"}, dry_run=True, key="key")
    wet = apply(any_engine, {"k": "1"}, key="key")

    assert (True, False) == (dry.dry_run, wet.dry_run)
    assert 1 == wet.number
    again = apply(any_engine, {"k": "1"}, dry_run=True, key="key")
    assert (True, True) == (again.dry_run, again.noop)


def test_retries_in_one_batch_are_done_once(store: FaultyStore, engine: Engine) -> None:
    """The same request many times in one commit is one revision."""
    applied(engine, "1")
    with store.hold("commit") as gate:
        blocker = submit(engine, apply_request({"k": "0"}, at=scope("other")))
        gate.wait_until_reached()
        same = [submit(engine, apply_request({"k": "2"}, key="key")) for _ in range(10)]
        other = submit(engine, apply_request({"k": "3"}, key="key"))
        gate.open()
    results: list[Any] = [future.result() for future in same]

    assert blocker.result() is not None
    assert isinstance(other.exception(), IdempotencyMismatch)
    assert 1 == len({_told(result)[0] for result in results})
    assert all(_told(results[0]) == _told(result) for result in results)
    assert [2, 1] == log_numbers(engine)


@pytest.mark.parametrize("late", [False, True])
def test_an_unknown_outcome_is_settled_by_a_retry(
    store: FaultyStore, engine: Engine, *, late: bool
) -> None:
    """Whether a lost commit was done or not, its retry makes it done once."""
    store.exclusive = False  # heads are asked of the store each time
    applied(engine, "1")
    lost = OutcomeUnknown("connection lost in COMMIT")
    (store.fail_late if late else store.fail)("commit", lost)
    with pytest.raises(OutcomeUnknown):
        apply(engine, {"k": "2"}, key="key", expect=1)
    result = apply(engine, {"k": "2"}, key="key", expect=1)

    assert (2, False) == (result.number, result.noop)
    assert {"k": "2"} == contents(engine)
    assert [2, 1] == log_numbers(engine)


@pytest.mark.parametrize("expect", [None, 1], ids=["no-op", "head moved"])
def test_an_attempt_that_another_daemon_is_still_making_is_not_lost(
    store: FaultyStore, engine: Engine, *, expect: int | None
) -> None:
    """A retry that the first attempt overtakes in between is answered as that was.

    The retry has found no answer yet, and then a head that has all it would make, or
    is not the one that it expects any more.
    """
    store.exclusive = False
    applied(engine, "1")
    other = Engine(store, FakeClock())
    made: list[WriteResult] = []
    store.after(
        "answer",
        lambda: made.append(apply(other, {"k": "2"}, key="key", expect=expect)),
    )

    result = apply(engine, {"k": "2"}, key="key", expect=expect)

    assert (2, False) == (result.number, result.noop)
    assert _told(made[0]) == _told(result)
    assert [2, 1] == log_numbers(engine)
    other._committer.close()


def test_a_full_disk_leaves_the_key_free(store: FaultyStore, engine: Engine) -> None:
    """What failed for lack of space is done when it is tried again."""
    store.fail("commit", StorageFull("full"))
    with pytest.raises(StorageFull):
        apply(engine, {"k": "1"}, key="key")

    assert 1 == apply(engine, {"k": "1"}, key="key").number
    assert 1 == apply(engine, {"k": "1"}, key="key").number


def test_a_retry_after_a_collection_is_never_wrong(any_engine: Engine) -> None:
    """Where the revision was collected a retry says so, and changes nothing."""
    applied(any_engine, "0")
    first = apply(any_engine, {"k": "1"}, key="key")
    told = _told(first)
    applied(any_engine, "2", "3")
    any_engine.collect(keep=1)
    with pytest.raises(RevisionCollected) as caught:
        apply(any_engine, {"k": "1"}, key="key")

    assert told[0] == caught.value.fields["revision"]
    assert {"k": "3"} == contents(any_engine)


def test_a_delete_on_nothing_is_remembered_too(any_engine: Engine) -> None:
    """A no-op before there is any revision stays a no-op when it is retried."""
    assert apply(any_engine, {}, ["k"], key="key").noop
    applied(any_engine, "1")

    assert apply(any_engine, {}, ["k"], key="key").noop
    assert {"k": "1"} == contents(any_engine)
