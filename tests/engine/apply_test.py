"""Apply: what it makes, what it leaves, what it refuses."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from st8.core.documents import Document
from st8.core.errors import HeadMoved, InvalidValue, LimitExceeded
from st8.core.ids import Key, digest_of
from st8.core.limits import APPLY_DOCUMENTS, CONTENT_BYTES
from st8.core.node import EMPTY_ROOT
from st8.engine.engine import Engine
from st8.engine.requests import Apply, Overlay
from st8.store.memory import MemoryStore
from st8.testing.clock import SECOND_NS, FakeClock
from tests.engine.acts import (
    DEV,
    SCOPE,
    applied,
    apply,
    apply_request,
    branch_names,
    changes,
    contents,
    diff,
    log_numbers,
    scope,
    selector,
)

if TYPE_CHECKING:
    from st8.testing.faulty import FaultyStore


def test_revisions_count_from_one(any_engine: Engine) -> None:
    """Each apply that changes something takes the next number."""
    numbers = [apply(any_engine, {"k": f"v{n}"}).number for n in range(1, 4)]

    assert [1, 2, 3] == numbers
    assert ["v1", "v2", "v3", "v3"] == [
        contents(any_engine, SCOPE, selector(n))["k"] for n in (1, 2, 3, None)
    ]


def test_what_is_not_mentioned_stays(any_engine: Engine) -> None:
    """An apply changes the documents that it names, and no others."""
    apply(any_engine, {"a": "1", "b": "2"})
    apply(any_engine, {"b": "3"})

    assert {"a": "1", "b": "3"} == contents(any_engine)


def test_an_apply_tells_what_it_changed(engine: Engine) -> None:
    """The answer has each change by key, with what was before and after."""
    apply(engine, {"b": "old", "d": "gone", "e": "same"})
    result = apply(engine, {"c": "new", "b": "new", "e": "same"}, ["d", "x"])

    assert not result.noop
    assert [
        ("b", "update", "old", "new"),
        ("c", "create", None, "new"),
        ("d", "delete", "gone", None),
    ] == changes(result.changes)
    assert changes(result.changes) == changes(result.changes)


def test_an_apply_answers_with_its_revision(engine: Engine, clock: FakeClock) -> None:
    """The answer's revision is the head, with message, author, time and kind."""
    clock.set(5 * SECOND_NS)
    result = apply(engine, {"k": "v"}, message=" why \n", author="Ops")
    revision = result.revision

    assert revision is not None
    assert (1, "apply", "why", "Ops", SCOPE, 5 * SECOND_NS, ()) == (
        revision.number,
        revision.kind,
        revision.message,
        revision.author,
        revision.scope,
        revision.time_ns,
        revision.parents,
    )
    assert revision == engine.state(SCOPE).revision
    assert result.root == revision.root == engine.state(SCOPE).root


@pytest.mark.parametrize("message", ["", " ", "\n\t "])
def test_a_blank_message_becomes_apply(engine: Engine, message: str) -> None:
    """An apply without a message says that it was one."""
    revision = apply(engine, {"k": "v"}, message=message).revision

    assert revision is not None
    assert "apply" == revision.message


def test_no_difference_makes_no_revision(any_engine: Engine) -> None:
    """An apply of what is there is a no-op that answers with the head."""
    first = apply(any_engine, {"k": "v"})
    result = apply(any_engine, {"k": "v"}, ["absent"])

    assert (1, True, first.revision, []) == (
        result.number,
        result.noop,
        result.revision,
        changes(result.changes),
    )
    assert [1] == log_numbers(any_engine)


def test_a_no_op_writes_nothing(engine: Engine, store: FaultyStore) -> None:
    """No batch reaches the store for an apply without effect."""
    apply(engine, {"k": "v"})
    apply(engine, {"k": "v"})

    assert 1 == store.calls["commit"]


def test_deleting_from_nothing_is_a_no_op(engine: Engine) -> None:
    """Deletes on a branch that does not exist do not make it."""
    result = apply(engine, {}, ["k"])

    assert (0, None, True, EMPTY_ROOT) == (
        result.number,
        result.revision,
        result.noop,
        result.root,
    )
    assert [] == branch_names(engine)


def test_a_state_may_become_empty(any_engine: Engine) -> None:
    """Deleting the last document makes a revision of the empty state."""
    apply(any_engine, {"k": "v"})
    result = apply(any_engine, {}, ["k"])

    assert (2, EMPTY_ROOT, {}) == (result.number, result.root, contents(any_engine))
    assert 0 == any_engine.state(SCOPE).count
    assert 3 == apply(any_engine, {"k": "v"}).number


def test_of_two_documents_with_one_key_the_last_counts(engine: Engine) -> None:
    """A key given twice has the later content."""
    documents = (Document(Key("k"), "first"), Document(Key("k"), "last"))
    result = engine.apply(Apply(SCOPE, documents))

    assert [("k", "create", None, "last")] == changes(result.changes)


def test_a_content_that_comes_back_gives_the_same_root(engine: Engine) -> None:
    """After A, B and A again, the first and the third state are equal by digest."""
    applied(engine, "A", "B", "A")
    roots = [engine.state(SCOPE, selector(n)).root for n in (1, 2, 3)]

    assert roots[0] == roots[2] != roots[1]
    assert [] == diff(engine, selector(1), selector(3))


@given(
    steps=st.lists(
        st.tuples(
            st.dictionaries(
                st.text(st.sampled_from("ab/é"), min_size=1, max_size=3),
                st.text(max_size=3),
                max_size=4,
            ),
            st.sets(
                st.text(st.sampled_from("ab/é"), min_size=1, max_size=3), max_size=3
            ),
        ),
        max_size=8,
    )
)
@settings(suppress_health_check=[HealthCheck.too_slow])
def test_any_history_can_be_read_at_every_revision(
    steps: list[tuple[dict[str, str], set[str]]],
) -> None:
    """Whatever was applied, each revision keeps the state that it was made with."""
    engine = Engine(MemoryStore(), FakeClock())
    states: list[dict[str, str]] = [{}]
    for documents, deletes in steps:
        gone = sorted(deletes - documents.keys())
        both = {**states[-1], **documents}
        state = {key: value for key, value in both.items() if key not in gone}
        if not documents and not gone:
            continue
        if apply(engine, documents, gone).noop:
            assert states[-1] == state
        else:
            states.append(state)
    for number, state in enumerate(states[1:], 1):
        assert state == contents(engine, SCOPE, selector(number))
        assert len(state) == engine.state(SCOPE, selector(number)).count
    engine.close()


# --- expect_revision -----------------------------------------------------------------


def test_the_expected_head_lets_through(any_engine: Engine) -> None:
    """An apply that expects the head it finds is done; 0 expects no branch."""
    assert 1 == apply(any_engine, {"k": "1"}, expect=0).number
    assert 2 == apply(any_engine, {"k": "2"}, expect=1).number
    assert 3 == apply(any_engine, {"k": "1"}, expect=0, at=DEV).number


@pytest.mark.parametrize("expected", [0, 1, 3, -1, 2**63])
def test_an_unexpected_head_refuses(any_engine: Engine, expected: int) -> None:
    """An apply that expects another head is a conflict that names both (B8)."""
    applied(any_engine, "1", "2")
    with pytest.raises(HeadMoved) as caught:
        apply(any_engine, {"k": "3"}, expect=expected)

    assert {
        "namespace": "default",
        "branch": "main",
        "expected": expected,
        "actual": 2,
    } == caught.value.fields
    assert {"k": "2"} == contents(any_engine)


def test_a_no_op_too_must_meet_what_it_expects(engine: Engine) -> None:
    """An apply without effect is a conflict where the head has moved."""
    applied(engine, "1", "2")

    with pytest.raises(HeadMoved):
        apply(engine, {"k": "2"}, expect=1)


def test_the_head_of_another_branch_does_not_matter(engine: Engine) -> None:
    """What is expected is the head of the branch, not the newest number."""
    applied(engine, "1")
    applied(engine, "2", at=DEV)

    assert 3 == apply(engine, {"k": "3"}, expect=1).number


# --- dry_run -----------------------------------------------------------------------------


def test_a_dry_run_tells_and_changes_nothing(
    engine: Engine, store: FaultyStore
) -> None:
    """A dry run has the changes and root of the apply that it foretells."""
    apply(engine, {"a": "1", "b": "2"})
    before = store.calls["commit"]
    dry = apply(engine, {"a": "new", "c": "3"}, ["b"], dry_run=True)

    assert (1, True, False) == (dry.number, dry.dry_run, dry.noop)
    assert before == store.calls["commit"]
    assert {"a": "1", "b": "2"} == contents(engine)
    wet = apply(engine, {"a": "new", "c": "3"}, ["b"])
    assert (wet.root, changes(wet.changes)) == (dry.root, changes(dry.changes))
    assert 2 == wet.number


def test_a_dry_run_on_nothing_makes_no_branch(engine: Engine) -> None:
    """A dry run of a first apply tells its changes and leaves no branch."""
    dry = apply(engine, {"a": "1"}, dry_run=True)

    assert (0, None, True) == (dry.number, dry.revision, dry.dry_run)
    assert [("a", "create", None, "1")] == changes(dry.changes)
    assert [] == branch_names(engine)


def test_a_dry_run_must_meet_what_it_expects(engine: Engine) -> None:
    """A dry run is refused where the apply would be."""
    applied(engine, "1", "2")

    with pytest.raises(HeadMoved):
        apply(engine, {"k": "3"}, expect=1, dry_run=True)
    assert apply(engine, {"k": "2"}, dry_run=True).noop


# --- contents and limits -------------------------------------------------------------------


@pytest.mark.parametrize(
    "content",
    [
        "",
        "\n",
        "no newline",
        "\r\n\t ",
        "\0",
        "\ufeff{}",
        '{"b":1.0,  "a": 1e400, "a": 12345678901234567890}',
        "<>&\u2028\u2029",
        "\U0001f680" * 100,
        "x" * 100_000,
    ],
    ids=lambda content: ascii(content[:20]),
)
def test_content_is_kept_byte_for_byte(any_engine: Engine, content: str) -> None:
    """What goes in comes out, and its digest is the SHA-256 of it (B13)."""
    apply(any_engine, {"k": content})
    state = any_engine.state(SCOPE)

    assert content.encode() == state.get(Key("k"))
    assert any_engine._objects.contents([digest_of(content.encode())])


def test_an_empty_content_is_a_document(any_engine: Engine) -> None:
    """An empty document is there; a deleted one is not."""
    apply(any_engine, {"empty": "", "gone": "x"})
    result = apply(any_engine, {}, ["gone"])

    assert {"empty": ""} == contents(any_engine)
    assert [("gone", "delete", "x", None)] == changes(result.changes)
    result = apply(any_engine, {"empty": "now full"})
    assert [("empty", "update", "", "now full")] == changes(result.changes)


def test_nothing_to_apply_is_refused() -> None:
    """An apply without documents and deletes is an invalid value."""
    with pytest.raises(InvalidValue, match="at least one document"):
        Apply(SCOPE)


def test_a_key_both_put_and_deleted_is_refused() -> None:
    """An apply can't both put and delete one key."""
    with pytest.raises(InvalidValue, match="'k' is also among the documents"):
        apply_request({"k": "v"}, ["k"])


def test_too_many_documents_are_refused() -> None:
    """Puts and deletes together have a limit, which is named."""
    half = APPLY_DOCUMENTS.maximum // 2
    documents = {f"d{n}": "" for n in range(half)}
    deletes = [f"x{n}" for n in range(half)]

    assert 2 * half == len(apply_request(documents, deletes).overlay.edits)
    with pytest.raises(LimitExceeded, match="apply_documents_max is 10000"):
        apply_request(documents, [*deletes, "one more"])


def test_too_long_a_content_is_refused() -> None:
    """A content has a limit in bytes, which is named with the key."""
    with pytest.raises(LimitExceeded, match=r"content of 'big'.*content_bytes_max"):
        apply_request({"big": "x" * (CONTENT_BYTES.maximum + 1)})


def test_the_largest_content_is_kept(any_engine: Engine) -> None:
    """A content as long as its limit is stored and read."""
    content = "é" * (CONTENT_BYTES.maximum // 2)
    apply(any_engine, {"big": content})

    assert content.encode() == any_engine.state(SCOPE).get(Key("big"))


def test_ten_thousand_documents_go_in_one_apply(any_engine: Engine) -> None:
    """The largest apply is one revision, and its whole state can be read."""
    documents = {f"services/{n:05d}": f"content {n}" for n in range(10_000)}
    result = apply(any_engine, documents)

    assert 1 == result.number
    assert documents == contents(any_engine)
    assert 10_000 == sum(1 for _ in result.changes.iter(contents=False))


def test_an_overlay_weighs_its_keys_and_contents() -> None:
    """The size of an overlay is the bytes of its keys and contents."""
    overlay = Overlay.of([Document(Key("é"), "abc")], [Key("xy")])

    assert 2 + 3 + 2 == overlay.size
    assert {"é".encode(): digest_of(b"abc"), b"xy": None} == overlay.edits


# --- namespaces --------------------------------------------------------------------------------


def test_namespaces_count_for_themselves(any_engine: Engine) -> None:
    """Each namespace has its own numbers and states."""
    apply(any_engine, {"k": "a"}, at=scope("a"))
    apply(any_engine, {"k": "b"}, at=scope("b"))

    assert {"k": "a"} == contents(any_engine, scope("a"))
    assert {"k": "b"} == contents(any_engine, scope("b"))
    assert [("a", 1), ("b", 1)] == [tuple(i) for i in any_engine.namespaces().items]


def test_changes_of_a_small_apply_are_at_hand(
    store: FaultyStore, engine: Engine
) -> None:
    """What a small apply changed is told without the store, as is that it is small."""
    done = apply(engine, {"a": "12345", "b": "1"})
    store.calls.clear()

    assert done.changes.is_at_hand(6)
    assert not done.changes.is_at_hand(5)
    assert 2 == len(changes(done.changes))
    assert not engine.diff(SCOPE).changes.is_at_hand(10**6)
    assert 0 == store.calls["objects"]


def test_branches_share_the_numbers_of_their_namespace(any_engine: Engine) -> None:
    """Branches of one namespace take numbers from one count, without gaps."""
    numbers = [
        apply(any_engine, {"k": f"{n}"}, at=where).number
        for n, where in enumerate([SCOPE, DEV, DEV, SCOPE])
    ]

    assert [1, 2, 3, 4] == numbers
    assert [4, 1] == log_numbers(any_engine)
    assert [3, 2] == log_numbers(any_engine, DEV)
