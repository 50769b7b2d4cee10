"""Where a store is shared, commits are prepared from guesses that they prove."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import pytest

from st8.core.errors import HeadMoved, IdempotencyMismatch
from st8.engine.engine import Engine
from st8.store.memory import MemoryStore
from st8.testing.clock import FakeClock
from st8.testing.faulty import FaultyStore
from tests.engine.acts import (
    DEV,
    SCOPE,
    apply,
    branch,
    checkpoint,
    contents,
    delete_branch,
    log_numbers,
    reset,
    selector,
)

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def shared() -> FaultyStore:
    """A store that several daemons have open."""
    store = FaultyStore(MemoryStore())
    store.exclusive = False
    return store


@pytest.fixture
def here(shared: FaultyStore) -> Iterator[Engine]:
    """A daemon on the shared store, which knows what its commit has left."""
    engine = Engine(shared, FakeClock())
    apply(engine, {"a": "1", "b": "1"})
    yield engine
    engine._committer.close()


@pytest.fixture
def other(shared: FaultyStore) -> Iterator[Engine]:
    """Another daemon on the shared store."""
    engine = Engine(shared, FakeClock())
    yield engine
    engine._committer.close()


def test_a_commit_of_one_that_writes_alone_is_all_that_the_store_is_asked(
    here: Engine, shared: FaultyStore
) -> None:
    """Whoever writes alone reads nothing before a commit; with a key, the key."""
    shared.calls.clear()
    apply(here, {"a": "2"})
    apply(here, {"a": "3"}, expect=2)
    assert Counter(commit=2) == shared.calls

    apply(here, {"a": "4"}, key="k")
    assert Counter(commit=3, answer=1) == shared.calls


def test_a_guess_that_is_wrong_loses_nothing(here: Engine, other: Engine) -> None:
    """What another has applied meanwhile is kept, and has its number."""
    apply(other, {"b": "2"})

    assert 3 == apply(here, {"a": "2"}).number
    assert {"a": "2", "b": "2"} == contents(other)
    assert [3, 2, 1] == log_numbers(here)


def test_an_expected_head_is_that_of_the_store(here: Engine, other: Engine) -> None:
    """Neither a refusal nor a success is by what the head was."""
    apply(other, {"b": "2"})

    assert 3 == apply(here, {"a": "2"}, expect=2).number
    apply(other, {"b": "3"})
    with pytest.raises(HeadMoved):
        apply(here, {"a": "3"}, expect=3)


def test_whether_anything_changes_is_by_the_store(here: Engine, other: Engine) -> None:
    """What would change nothing in the guessed state may do so in the one there is."""
    apply(other, {"a": "2"})

    result = apply(here, {"a": "1"})

    assert (3, False) == (result.number, result.noop)


def test_what_another_has_applied_is_no_change(here: Engine, other: Engine) -> None:
    """What would be a change of the guessed state is none where it is there already."""
    apply(other, {"a": "2"})

    result = apply(here, {"a": "2"})

    assert (2, True) == (result.number, result.noop)


def test_a_key_is_looked_up(here: Engine, other: Engine) -> None:
    """What another daemon has done with a key is not done again, nor is another."""
    apply(other, {"a": "2"}, key="k")

    assert 2 == apply(here, {"a": "2"}, key="k").number
    with pytest.raises(IdempotencyMismatch):
        apply(here, {"a": "3"}, key="k")
    assert [2, 1] == log_numbers(here)


def test_what_a_commit_does_not_compare_is_read(here: Engine, other: Engine) -> None:
    """Branches, checkpoints, resets and dry runs are of the head that there is."""
    apply(other, {"a": "2"})

    assert 2 == apply(here, {"a": "2"}, dry_run=True).number
    assert 2 == branch(here, "dev").head
    assert 2 == checkpoint(here, "c").revision
    apply(other, {"a": "3"})
    assert {"a": "2", "b": "1"} == contents(here, source=selector(revision=-1))
    reset(here, selector(revision=-1))
    assert {"a": "2", "b": "1"} == contents(other)


def test_a_branch_that_another_has_taken_away_is_made_anew(
    here: Engine, other: Engine
) -> None:
    """A remembered branch that is gone is not written behind."""
    branch(here, "dev")
    apply(here, {"a": "dev"}, at=DEV)
    delete_branch(other, "dev")

    assert 3 == apply(here, {"a": "new"}, at=DEV).number
    assert {"a": "new"} == contents(other, DEV)


def test_what_another_has_collected_is_not_built_on(
    here: Engine, other: Engine
) -> None:
    """A commit after a collection of another daemon has all of its objects."""
    apply(here, {"a": "2"})
    apply(other, {"a": "3"})
    apply(other, {"b": "4"})
    other.collect(keep=1)

    apply(here, {"a": "2"})

    assert {"a": "2", "b": "4"} == contents(other)


def test_after_a_wrong_guess_the_store_is_read_for_a_while(
    here: Engine, other: Engine, shared: FaultyStore
) -> None:
    """Of daemons that write by turns none fails at each of its commits."""
    for version in range(2, 12):
        apply(other, {"b": f"{version}"})
        apply(here, {"a": f"{version}"})

    assert shared.calls["commit"] <= 21 + 2
    assert list(range(21, 0, -1)) == log_numbers(here)


def test_who_hears_of_others_does_not_guess(
    here: Engine, other: Engine, shared: FaultyStore
) -> None:
    """A branch that is heard of is read before the next commit, which then succeeds."""
    apply(other, {"b": "2"})
    here._heard([SCOPE])
    shared.calls.clear()

    apply(here, {"a": "2"})

    assert 1 == shared.calls["commit"]
