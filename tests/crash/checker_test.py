"""The revision checker: it passes what is right and finds every planted error."""

from __future__ import annotations

from dataclasses import replace
from random import Random

import pytest

from st8.testing.checker import Fork, Operation, Read, Write, check

_KEYS = [f"key-{number}" for number in range(6)]


def _history(seed: int, operations: int = 400) -> tuple[list[Operation], list[Fork]]:
    """Return what clients of a right store might have seen.

    Each operation takes effect at a moment of its own, between its call and its
    return, so that operations overlap and yet have an order.
    """
    chance = Random(seed)
    made: list[Operation] = []
    forks: list[Fork] = []
    states: dict[str, dict[str, str]] = {"main": {}}
    heads = {"main": 0}
    at: dict[int, dict[str, str]] = {0: {}}
    last = 0
    for number in range(operations):
        moment = number * 1_000
        called = moment - chance.randrange(5_000)
        returned = moment + chance.randrange(1, 5_000)
        branch = chance.choice(list(states))
        name = f"operation {number}"
        kind = chance.random()
        if kind < 0.05 and last:
            base = chance.randint(1, last)
            fork = f"fork-{number}"
            forks.append(Fork("ns", fork, base))
            states[fork], heads[fork] = dict(at[base]), base
        elif kind < 0.5:
            state = dict(states[branch])
            made.append(
                Read("ns", branch, heads[branch], called, returned, state, name=name)
            )
        else:
            resets_to = chance.randint(1, last) if kind < 0.6 and last else None
            state = states[branch] if resets_to is None else dict(at[resets_to])
            edits: dict[str, str | None] = {
                key: chance.choice([None, f"{key} of {number}"])
                for key in chance.sample(_KEYS, chance.randint(1, 3))
            }
            for key, value in edits.items():
                state.pop(key, None)
                if value is not None:
                    state[key] = value
            last += 1
            states[branch], heads[branch], at[last] = state, last, dict(state)
            answered = returned if chance.random() < 0.95 else None
            made.append(
                Write("ns", branch, last, called, answered, edits, resets_to, name)
            )
    chance.shuffle(made)
    return made, forks


def _rules(operations: list[Operation], forks: list[Fork]) -> set[str]:
    return {finding.rule for finding in check(operations, forks)}


@pytest.mark.parametrize("seed", range(20))
def test_a_right_history_has_no_findings(seed: int) -> None:
    """Overlapping operations, lost answers, branches and resets are explained."""
    operations, forks = _history(seed)

    assert [] == check(operations, forks)


@pytest.mark.parametrize("seed", range(20))
def test_a_wrong_value_is_found(seed: int) -> None:
    """One key of one read that has another value is found."""
    operations, forks = _history(seed)
    at = _chosen(operations, seed, Read)
    read = operations[at]
    assert isinstance(read, Read)
    operations[at] = replace(read, state={**(read.state or {}), "key-0": "wrong"})

    assert {"read differs from replay"} == _rules(operations, forks)


@pytest.mark.parametrize("seed", range(20))
def test_a_stale_read_is_found(seed: int) -> None:
    """A read that returns an older state of its branch than was seen is found."""
    operations, forks = _history(seed)
    later = 10**9
    operations += [
        Write("ns", "other", _last(operations) + 1, later, later + 10, {"a": "1"}),
        Write("ns", "other", _last(operations) + 2, later + 20, later + 30, {"a": "2"}),
        Read("ns", "other", _last(operations) + 1, later + 40, later + 50, {"a": "1"}),
    ]

    assert {"read below what was seen"} == _rules(operations, forks)


@pytest.mark.parametrize("seed", range(20))
def test_a_number_given_twice_is_found(seed: int) -> None:
    """Two acknowledged writes with one revision are found."""
    operations, forks = _history(seed)
    later = 10**9
    operations.append(
        Write("ns", "other", _last(operations), later, later + 10, {"a": "1"})
    )

    assert "number given twice" in _rules(operations, forks)


@pytest.mark.parametrize("seed", range(20))
def test_a_lost_write_is_found(seed: int) -> None:
    """A write that is missing from the numbers is found."""
    operations, forks = _history(seed)
    lost = [
        each
        for each in operations
        if not isinstance(each, Write) or each.revision != _last(operations) // 2
    ]

    assert "number missing" in _rules(lost, forks)


@pytest.mark.parametrize("seed", range(20))
def test_writes_out_of_order_are_found(seed: int) -> None:
    """A write whose number is below what was seen before it began is found."""
    operations, forks = _history(seed)
    last = _last(operations)
    later = 10**9
    operations += [
        Write("ns", "other", last + 2, later, later + 10, {"a": "1"}),
        Write("ns", "other", last + 1, later + 20, later + 30, {"a": "2"}),
    ]

    assert {"write below what was seen"} == _rules(operations, forks)


def test_concurrent_writes_may_have_any_order() -> None:
    """The numbers of two writes that overlap say nothing about their calls."""
    operations: list[Operation] = [
        Write("ns", "main", 2, 0, 100, {"a": "1"}),
        Write("ns", "main", 1, 50, 150, {"a": "2"}),
        Read("ns", "main", 2, 200, 300, {"a": "1"}),
    ]

    assert [] == check(operations)


def test_a_read_from_the_future_is_found() -> None:
    """A read that has ended before the write it returns began is found."""
    operations: list[Operation] = [
        Read("ns", "main", 1, 0, 10, {"a": "1"}),
        Write("ns", "main", 1, 20, 30, {"a": "1"}),
    ]

    assert {"write below what was seen"} == _rules(operations, [])


def test_a_read_of_a_revision_nobody_wrote_is_found() -> None:
    """A read that was served from what a crash then took away is found."""
    operations: list[Operation] = [
        Write("ns", "main", 1, 0, 10, {"a": "1"}),
        Read("ns", "main", 2, 20, 30, {"a": "2"}),
    ]

    assert {"read of a revision nobody wrote"} == _rules(operations, [])


def test_an_old_revision_may_be_read_at_any_time() -> None:
    """A read that asks for a revision by number is not stale; its state must be."""
    operations: list[Operation] = [
        Write("ns", "main", 1, 0, 10, {"a": "1"}),
        Write("ns", "main", 2, 20, 30, {"a": "2"}),
        Read("ns", "main", 1, 40, 50, {"a": "1"}, at=1),
        Read("ns", "main", 1, 40, 50, {"a": "2"}, at=1),
    ]

    assert ["read differs from replay"] == [each.rule for each in check(operations)]


def test_namespaces_do_not_touch_each_other() -> None:
    """Each namespace has numbers, and a real time, of its own."""
    operations: list[Operation] = [
        Write("one", "main", 1, 0, 10, {"a": "1"}),
        Write("two", "main", 1, 20, 30, {"a": "2"}),
        Read("one", "main", 1, 40, 50, {"a": "1"}),
    ]

    assert [] == check(operations)


def test_a_fork_of_nothing_is_found() -> None:
    """A branch that begins at a revision nobody wrote can't be replayed."""
    operations: list[Operation] = [Write("ns", "fork", 1, 0, 10, {"a": "1"})]

    assert {"replay impossible"} == _rules(operations, [Fork("ns", "fork", 7)])


def _last(operations: list[Operation]) -> int:
    return max(each.revision for each in operations)


def _chosen(operations: list[Operation], seed: int, kind: type[Operation]) -> int:
    """Return where one operation of a kind is."""
    return Random(seed).choice(
        [at for at, each in enumerate(operations) if isinstance(each, kind)]
    )
