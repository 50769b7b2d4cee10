"""Rollback and restore: a new revision with an older state, or nothing at all."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import pytest

from st8.core.errors import (
    BranchNotFound,
    CheckpointNotFound,
    HeadMoved,
    NoRevisionAt,
    RevisionCollected,
    RevisionNotFound,
)
from st8.engine.requests import HEAD, Reset, Selector
from tests.engine.acts import (
    DEV,
    SCOPE,
    applied,
    apply,
    branch,
    branch_names,
    changes,
    checkpoint,
    contents,
    log_numbers,
    reset,
    scope,
    selector,
)

if TYPE_CHECKING:
    from st8.engine.engine import Engine
    from st8.testing.faulty import FaultyStore

Kind = Literal["rollback", "restore"]
KINDS: tuple[Kind, Kind] = ("rollback", "restore")


@pytest.mark.parametrize("kind", KINDS)
def test_an_older_state_becomes_a_new_revision(any_engine: Engine, kind: Kind) -> None:
    """The state is as it was, under a higher number, and history stays."""
    apply(any_engine, {"a": "1", "b": "1"})
    apply(any_engine, {"a": "2", "c": "2"}, ["b"])
    result = reset(any_engine, selector(1), kind=kind)

    assert (3, False) == (result.number, result.noop)
    assert {"a": "1", "b": "1"} == contents(any_engine)
    assert [
        ("a", "update", "2", "1"),
        ("b", "create", None, "1"),
        ("c", "delete", "2", None),
    ] == changes(result.changes)
    assert [3, 2, 1] == log_numbers(any_engine)
    assert {"a": "2", "c": "2"} == contents(any_engine, SCOPE, selector(2))
    assert result.revision is not None
    assert (kind, kind, 2) == (
        result.revision.kind,
        result.revision.message,
        result.revision.parent_number,
    )


def test_a_rollback_says_who_and_why(any_engine: Engine) -> None:
    """Message and author of a rollback are kept, the message trimmed."""
    applied(any_engine, "1", "2")
    revision = reset(
        any_engine, selector(1), message=" broke prod ", author="Bo"
    ).revision

    assert revision is not None
    assert ("broke prod", "Bo") == (revision.message, revision.author)


def test_a_rollback_to_a_checkpoint_is_no_no_op(any_engine: Engine) -> None:
    """A checkpoint of any branch can be rolled back to."""
    applied(any_engine, "1", at=DEV)
    checkpoint(any_engine, "good", at=DEV)
    applied(any_engine, "2")
    result = reset(any_engine, selector(checkpoint="good"))

    assert (3, False) == (result.number, result.noop)
    assert {"k": "1"} == contents(any_engine)


def test_a_restore_takes_the_state_of_another_branch(any_engine: Engine) -> None:
    """A restore from a branch takes its head, or a revision of its history."""
    applied(any_engine, "1")
    branch(any_engine, "dev")
    applied(any_engine, "2", "3", at=DEV)
    reset(any_engine, selector(branch="dev"), kind="restore")
    assert {"k": "3"} == contents(any_engine)

    reset(any_engine, selector(2, branch="dev"), kind="restore")
    assert {"k": "2"} == contents(any_engine)
    reset(any_engine, selector(-1, branch="main"), kind="restore", at=DEV)
    assert {"k": "3"} == contents(any_engine, DEV)


def test_a_rollback_can_itself_be_rolled_back(any_engine: Engine) -> None:
    """The state before a rollback is one rollback away."""
    applied(any_engine, "1", "2")
    reset(any_engine, selector(1))
    reset(any_engine, selector(-1))

    assert {"k": "2"} == contents(any_engine)
    assert [4, 3, 2, 1] == log_numbers(any_engine)


@pytest.mark.parametrize(
    "target",
    [HEAD, selector(0), selector(3), selector(1), selector(branch="main")],
    ids=str,
)
def test_the_same_state_is_a_no_op(any_engine: Engine, target: Selector) -> None:
    """A rollback to the head, or to an equal state, makes no revision."""
    applied(any_engine, "A", "B", "A")
    result = reset(any_engine, target)

    assert (3, True, []) == (result.number, result.noop, changes(result.changes))
    assert [3, 2, 1] == log_numbers(any_engine)


def test_a_rollback_costs_a_record(engine: Engine, store: FaultyStore) -> None:
    """To roll back 10,000 documents writes a record and a pointer, no object (B20)."""
    apply(engine, {f"{n:05d}": "old" for n in range(10_000)})
    apply(engine, {f"{n:05d}": "new" for n in range(10_000)})
    store.calls.clear()
    reset(engine, selector(1))
    batch = store.batches[-1]

    assert ({}, 1, 1) == (batch.objects, len(batch.revisions), len(batch.branches))
    assert 0 == store.calls["objects"]


# --- what is not there ------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("target", "error"),
    [
        (selector(99), RevisionNotFound),
        (selector(3), RevisionNotFound),  # of another branch
        (selector(-5), RevisionNotFound),
        (selector(checkpoint="no"), CheckpointNotFound),
        (selector(branch="no"), BranchNotFound),
        (selector(at_ns=1), NoRevisionAt),
    ],
    ids=str,
)
def test_an_unknown_target_changes_nothing(
    any_engine: Engine, kind: Kind, target: Selector, error: type[Exception]
) -> None:
    """An unknown target is an error and never the empty state (B1)."""
    applied(any_engine, "1", "2")
    applied(any_engine, "x", at=DEV)
    with pytest.raises(error):
        reset(any_engine, target, kind=kind)

    assert {"k": "2"} == contents(any_engine)
    assert [2, 1] == log_numbers(any_engine)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "target",
    [HEAD, selector(1), selector(checkpoint="cp"), selector(branch="main")],
    ids=str,
)
def test_a_mistyped_branch_is_not_made(
    any_engine: Engine, kind: Kind, target: Selector
) -> None:
    """On a branch that is not there, neither is done, and none is made (B9)."""
    applied(any_engine, "1")
    checkpoint(any_engine, "cp")
    with pytest.raises(BranchNotFound, match="'mian'"):
        reset(any_engine, target, kind=kind, at=scope(branch="mian"))

    assert ["main"] == branch_names(any_engine)
    assert 2 == apply(any_engine, {"k": "2"}).number
    branch(any_engine, "mian")


def test_a_collected_target_changes_nothing(any_engine: Engine) -> None:
    """A revision that was collected is its own error, never the empty state (B7)."""
    applied(any_engine, *map(str, range(5)))
    any_engine.collect(keep=2)
    for target in (selector(1), selector(-3)):
        with pytest.raises(RevisionCollected) as caught:
            reset(any_engine, target)
        assert "default" == caught.value.fields["namespace"]

    assert {"k": "4"} == contents(any_engine)
    assert [5, 4] == log_numbers(any_engine)
    with pytest.raises(RevisionCollected):
        branch(any_engine, "dev", selector(1))
    with pytest.raises(RevisionCollected):
        checkpoint(any_engine, "cp", selector(1))
    assert ["main"] == branch_names(any_engine)


# --- expectations ---------------------------------------------------------------------------


def test_an_unexpected_head_refuses(any_engine: Engine) -> None:
    """A rollback that expects another head is a conflict."""
    applied(any_engine, "1", "2")
    with pytest.raises(HeadMoved):
        reset(any_engine, selector(1), expect=1)
    with pytest.raises(HeadMoved):
        reset(any_engine, selector(1), expect=0)

    assert {"k": "2"} == contents(any_engine)
    assert 3 == reset(any_engine, selector(1), expect=2).number


def test_a_dry_run_tells_and_changes_nothing(
    engine: Engine, store: FaultyStore
) -> None:
    """A dry run of a rollback has its changes and root, and writes nothing."""
    applied(engine, "1", "2")
    before = store.calls["commit"]
    dry = reset(engine, selector(1), dry_run=True)

    assert (2, True, False) == (dry.number, dry.dry_run, dry.noop)
    assert before == store.calls["commit"]
    assert {"k": "2"} == contents(engine)
    wet = reset(engine, selector(1))
    assert (wet.root, changes(wet.changes)) == (dry.root, changes(dry.changes))
    with pytest.raises(RevisionNotFound):
        reset(engine, selector(99), dry_run=True)


@pytest.mark.parametrize(
    ("target", "asked"),
    [
        (Selector(2), True),
        (Selector(3), False),
        (Selector(4, branch=DEV.branch), False),
    ],
)
def test_going_back_is_asked_for(
    engine: Engine, target: Selector, *, asked: bool
) -> None:
    """The guard is asked where a state of this branch's past would come back.

    Not where the state is the same, nor where it is that of another branch.
    """
    applied(engine, "1", "2", "3")
    branch(engine, "dev")
    apply(engine, {"k": "4"}, at=DEV)
    asked_of: list[str] = []
    engine.reset(Reset(SCOPE, target, "restore", guard=asked_of.append))

    assert ["main"] * asked == asked_of
