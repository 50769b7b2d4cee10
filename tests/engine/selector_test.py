"""Naming a revision: by number, distance, checkpoint, time and branch."""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING, Any

import pytest

from st8.core.errors import (
    BranchNotFound,
    CheckpointNotFound,
    InvalidValue,
    NoRevisionAt,
    NotFound,
    RevisionNotFound,
)
from st8.core.ids import CheckpointName
from st8.core.key_set import NO_KEYS, KeySet
from st8.core.node import EMPTY_ROOT
from st8.engine.requests import HEAD, Selector
from st8.testing.clock import SECOND_NS
from tests.engine.acts import (
    DEV,
    SCOPE,
    applied,
    apply,
    branch,
    branch_names,
    checkpoint,
    contents,
    delete_branch,
    reset,
    scope,
    selector,
)

if TYPE_CHECKING:
    from st8.engine.engine import Engine
    from st8.engine.requests import Selector as SelectorType
    from st8.engine.requests import Sight
    from st8.testing.clock import FakeClock


def _number(engine: Engine, source: SelectorType, branch_name: str = "main") -> int:
    return engine.state(scope(branch=branch_name), source).number


def test_nothing_applied_is_the_empty_state(any_engine: Engine) -> None:
    """The head of a branch that is not there is the empty state, number 0."""
    state = any_engine.state(SCOPE)

    assert (0, None, EMPTY_ROOT, 0, {}) == (
        state.number,
        state.revision,
        state.root,
        state.count,
        contents(any_engine),
    )
    assert 0 == any_engine.state(SCOPE, selector(0)).number


@pytest.mark.parametrize(
    "source",
    [
        selector(1),
        selector(-1),
        selector(at_ns=2**62),
        selector(branch="main"),
        selector(branch="other"),
    ],
    ids=str,
)
def test_nothing_applied_has_no_revisions(
    any_engine: Engine, source: SelectorType
) -> None:
    """Any other revision of a branch that is not there is not found (B1)."""
    with pytest.raises(BranchNotFound):
        any_engine.state(SCOPE, source)
    assert [] == branch_names(any_engine)


def test_numbers_name_revisions(any_engine: Engine) -> None:
    """A positive number names that revision, 0 and nothing name the head."""
    applied(any_engine, "1", "2", "3")

    assert [3, 3, 1, 2, 3] == [
        _number(any_engine, s)
        for s in (HEAD, selector(0), selector(1), selector(2), selector(3))
    ]


def test_negative_numbers_count_from_the_head(any_engine: Engine) -> None:
    """-1 is the revision before the head of the branch, whatever its number."""
    applied(any_engine, "1", "2")
    applied(any_engine, "x", at=DEV)
    applied(any_engine, "3")

    assert [4, 2, 1] == [_number(any_engine, selector(n)) for n in (0, -1, -2)]
    with pytest.raises(RevisionNotFound, match="has 3 in all"):
        any_engine.state(SCOPE, selector(-3))


@pytest.mark.parametrize("number", [4, 99, -3, -(2**63), 2**63 - 1, 2**63, 2**70])
def test_an_unknown_number_is_not_found(any_engine: Engine, number: int) -> None:
    """A number that was never given, or too far back, is not found (B1)."""
    applied(any_engine, "1", "2", "3")

    with pytest.raises(RevisionNotFound) as caught:
        any_engine.state(SCOPE, selector(number))
    assert number == caught.value.fields["revision"]


def test_a_revision_of_another_branch_is_not_found(any_engine: Engine) -> None:
    """A number that was given on a branch outside the history is not found (B1)."""
    applied(any_engine, "1", "2")
    applied(any_engine, "x", at=DEV)

    with pytest.raises(RevisionNotFound, match="made on branch 'dev'"):
        any_engine.state(SCOPE, selector(3))
    with pytest.raises(RevisionNotFound, match="made on branch 'main'"):
        any_engine.state(DEV, selector(1))


def test_the_history_of_a_branch_goes_on_into_its_source(any_engine: Engine) -> None:
    """Revisions before the fork belong to both branches, later ones to one."""
    applied(any_engine, "1", "2")
    branch(any_engine, "dev")
    applied(any_engine, "3")
    applied(any_engine, "4", at=DEV)

    assert {"k": "1"} == contents(any_engine, DEV, selector(1))
    assert {"k": "1"} == contents(any_engine, DEV, selector(-2))
    assert {"k": "4"} == contents(any_engine, DEV, selector(4))
    with pytest.raises(RevisionNotFound):
        any_engine.state(DEV, selector(3))
    with pytest.raises(RevisionNotFound):
        any_engine.state(SCOPE, selector(4))


def test_a_branch_made_anew_has_a_new_history(any_engine: Engine) -> None:
    """What was made on a deleted branch is not in the history of its successor."""
    applied(any_engine, "1")
    applied(any_engine, "2", "3", at=DEV)
    delete_branch(any_engine, "dev")
    applied(any_engine, "4", at=DEV)

    assert 4 == _number(any_engine, HEAD, "dev")
    for number in (2, 3):
        with pytest.raises(RevisionNotFound):
            any_engine.state(DEV, selector(number))
    with pytest.raises(RevisionNotFound):
        any_engine.state(DEV, selector(-1))


def test_a_branch_made_anew_elsewhere_forgets_what_was_beyond(
    any_engine: Engine,
) -> None:
    """A branch that is made again at an older revision lacks the later ones."""
    applied(any_engine, "1", "2", "3")
    branch(any_engine, "keep")
    delete_branch(any_engine, "main")
    branch(any_engine, "main", selector(1), at=scope(branch="keep"))
    applied(any_engine, "4")

    assert {"k": "1"} == contents(any_engine, SCOPE, selector(1))
    with pytest.raises(RevisionNotFound):
        any_engine.state(SCOPE, selector(3))
    with pytest.raises(RevisionNotFound):
        reset(any_engine, selector(2))


def test_far_revisions_are_found(any_engine: Engine) -> None:
    """In a long history every revision is found by number, distance and time."""
    for number in range(1, 201):
        applied(any_engine, f"{number}")
    branch(any_engine, "dev")
    for number in (1, 2, 77, 127, 128, 199, 200):
        revision = any_engine.state(SCOPE, selector(number)).revision
        assert revision is not None
        for source in (
            selector(number),
            selector(number - 200),
            selector(at_ns=revision.time_ns),
        ):
            assert {"k": f"{number}"} == contents(any_engine, DEV, source)


# --- checkpoints ----------------------------------------------------------------------


def test_a_checkpoint_names_its_revision(any_engine: Engine) -> None:
    """A checkpoint is found from every branch of its namespace, and no other."""
    applied(any_engine, "1")
    checkpoint(any_engine, "good")
    applied(any_engine, "2")
    applied(any_engine, "3", at=DEV)
    applied(any_engine, "4", at=scope("elsewhere"))

    assert {"k": "1"} == contents(any_engine, SCOPE, selector(checkpoint="good"))
    assert {"k": "1"} == contents(any_engine, DEV, selector(checkpoint="good"))
    with pytest.raises(CheckpointNotFound):
        any_engine.state(scope("elsewhere"), selector(checkpoint="good"))


def test_an_unknown_checkpoint_is_not_found(any_engine: Engine) -> None:
    """A checkpoint that is not there is an error that names it (B1)."""
    applied(any_engine, "1")

    with pytest.raises(CheckpointNotFound, match="'nope' not found"):
        any_engine.state(SCOPE, selector(checkpoint="nope"))
    with pytest.raises(CheckpointNotFound):
        any_engine.state(scope("empty"), selector(checkpoint="nope"))


def test_a_checkpoint_shows_what_may_be_seen_of_both_branches(
    any_engine: Engine,
) -> None:
    """Of the branch that is asked and of the one that it was made on."""
    apply(any_engine, {"a": "1", "b": "2", "c": "3"}, at=DEV)
    applied(any_engine, "4")
    checkpoint(any_engine, "made on dev", at=DEV)
    seen = {"main": KeySet.under("a") | KeySet.under("b"), "dev": KeySet.under("b")}

    def read(sight: Sight) -> dict[str, str]:
        source = Selector(checkpoint=CheckpointName("made on dev"), sight=sight)
        return contents(any_engine, SCOPE, source)

    assert {"b": "2"} == read(seen.__getitem__)
    for unseen in ("main", "dev"):
        some = {**seen, unseen: NO_KEYS}
        with pytest.raises(CheckpointNotFound):
            read(some.__getitem__)


# --- times ------------------------------------------------------------------------------


def test_a_time_names_the_newest_revision_until_then(
    any_engine: Engine, clock: FakeClock
) -> None:
    """A time gives the newest revision that is not younger."""
    for number in (10, 20, 30):
        clock.set(number * SECOND_NS)
        applied(any_engine, f"{number}")

    wanted = {10: 1, 11: 1, 19: 1, 20: 2, 29: 2, 30: 3, 1000: 3}
    assert wanted == {
        time: _number(any_engine, selector(at_ns=time * SECOND_NS)) for time in wanted
    }
    assert 1 == _number(any_engine, selector(at_ns=20 * SECOND_NS - 1))


def test_a_time_before_the_first_revision_is_not_found(
    any_engine: Engine, clock: FakeClock
) -> None:
    """A time at which the branch did not exist is an error that names it."""
    clock.set(10 * SECOND_NS)
    applied(any_engine, "1")

    with pytest.raises(NoRevisionAt, match="1970-01-01T00:00:09Z"):
        any_engine.state(SCOPE, selector(at_ns=9 * SECOND_NS))


def test_time_does_not_run_backwards(any_engine: Engine, clock: FakeClock) -> None:
    """With a clock that was set back, the order of times is that of revisions."""
    for time, number in ((30, 1), (10, 2), (40, 3)):
        clock.set(time * SECOND_NS)
        applied(any_engine, f"{number}")

    assert 2 == _number(any_engine, selector(at_ns=30 * SECOND_NS))
    assert 3 == _number(any_engine, selector(at_ns=40 * SECOND_NS))
    with pytest.raises(NoRevisionAt):
        any_engine.state(SCOPE, selector(at_ns=29 * SECOND_NS))


# --- branches, and bad selectors --------------------------------------------------------


def test_a_selector_may_name_a_branch(any_engine: Engine) -> None:
    """With a branch, head, number and time are those of that branch."""
    applied(any_engine, "1", "2")
    applied(any_engine, "x", "y", at=DEV)

    assert 4 == _number(any_engine, selector(branch="dev"))
    assert 3 == _number(any_engine, selector(3, branch="dev"))
    assert 3 == _number(any_engine, selector(-1, branch="dev"))
    assert 2 == _number(any_engine, selector(branch="main"), "dev")
    with pytest.raises(RevisionNotFound):
        any_engine.state(SCOPE, selector(1, branch="dev"))


@pytest.mark.parametrize(
    "source", [selector(branch="x"), selector(1, branch="x"), selector(-1, branch="x")]
)
def test_an_unknown_branch_is_not_found(
    any_engine: Engine, source: SelectorType
) -> None:
    """A branch that is named must be there."""
    applied(any_engine, "1")

    with pytest.raises(BranchNotFound, match="'x' not found"):
        any_engine.state(SCOPE, source)


@pytest.mark.parametrize(
    "two",
    list(combinations([("revision", 1), ("checkpoint", "c"), ("at_ns", 5)], 2)),
    ids=str,
)
def test_two_ways_at_once_are_refused(two: tuple[tuple[str, Any], ...]) -> None:
    """A selector that names a revision in two ways is an invalid value."""
    first, second = (name.removesuffix("_ns") for name, _ in two)
    said = f"^{second}: can't be combined with {first}; give one of them"
    with pytest.raises(InvalidValue, match=said) as caught:
        Selector(**dict(two))

    assert second == caught.value.field


def test_every_lookup_error_is_not_found() -> None:
    """Whatever is not there, one class catches it."""
    for error in (BranchNotFound, CheckpointNotFound, RevisionNotFound, NoRevisionAt):
        assert issubclass(error, NotFound)
