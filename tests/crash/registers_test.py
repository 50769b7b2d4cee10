"""The search for an order that explains what was seen of one document."""

from __future__ import annotations

import itertools
from math import inf
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from st8.testing.registers import Access, explains


def write(value: str, called: float, returned: float = inf) -> Access:
    """Return a write."""
    return Access(value, True, called, returned)


def read(value: str | None, called: float, returned: float) -> Access:
    """Return a read."""
    return Access(value, False, called, returned)


@pytest.mark.parametrize(
    ("claim", "accesses"),
    [
        ("nothing happened", []),
        ("absence before the first write", [read(None, 0, 1), write("a", 2, 3)]),
        ("a write that is seen after it", [write("a", 0, 1), read("a", 2, 3)]),
        ("a write may be seen while it runs", [write("a", 0, 9), read("a", 2, 3)]),
        ("or not yet", [write("a", 0, 9), read(None, 2, 3)]),
        ("a lost write may be seen late", [write("a", 0), read("a", 8, 9)]),
        ("or never", [write("a", 0), read(None, 8, 9)]),
        (
            "two that overlap have any order",
            [write("a", 0, 9), write("b", 0, 9), read("a", 10, 11), read("a", 12, 13)],
        ),
        ("what touches overlaps", [write("a", 0, 1), read(None, 1, 2)]),
    ],
)
def test_what_one_copy_can_show(claim: str, accesses: list[Access]) -> None:
    """Each of these has an order."""
    assert explains(accesses), claim


@pytest.mark.parametrize(
    ("claim", "accesses"),
    [
        ("a value that nobody wrote", [read("a", 0, 1)]),
        ("a write that was lost", [write("a", 0, 1), read(None, 2, 3)]),
        ("a read before the write", [read("a", 0, 1), write("a", 2, 3)]),
        (
            "a stale read",
            [write("a", 0, 1), write("b", 2, 3), read("a", 4, 5)],
        ),
        (
            "two readers that see another order",
            [
                write("a", 0, 9),
                write("b", 0, 9),
                read("a", 10, 11),
                read("b", 12, 13),
            ],
        ),
        (
            "a lost write that is seen and taken back",
            [write("a", 0), read("a", 2, 3), read(None, 4, 5)],
        ),
    ],
)
def test_what_one_copy_cannot_show(claim: str, accesses: list[Access]) -> None:
    """Each of these has none."""
    assert not explains(accesses), claim


_TIMES = st.integers(0, 12)
_ACCESSES = st.builds(
    lambda value, writes, called, length: Access(
        value, writes, called, inf if length > 5 and writes else called + length
    ),
    st.sampled_from("ab"),
    st.booleans(),
    _TIMES,
    st.integers(0, 6),
)


@given(st.lists(_ACCESSES, max_size=6))
def test_it_finds_what_trying_all_orders_finds(accesses: list[Access]) -> None:
    """The search agrees with the definition."""

    def holds(order: tuple[Access, ...]) -> bool:
        value = None
        for place, access in enumerate(order):
            if any(later.returned < access.called for later in order[place + 1 :]):
                return False
            if access.writes:
                value = access.value
            elif access.value != value:
                return False
        return True

    expected = any(map(holds, itertools.permutations(accesses)))

    assert expected == explains(accesses)


def test_a_long_history() -> None:
    """A thousand accesses by eight clients take their order in no time."""
    chance = Random(1)
    clocks = [0.0] * 8
    accesses: list[Access] = []
    moments: list[tuple[float, int]] = []
    for number in range(1000):
        client = number % 8
        called = clocks[client] + chance.random()
        moment = called + chance.random()
        clocks[client] = moment + chance.random()
        moments.append((moment, number))
        accesses.append(Access(f"{number}", number % 3 == 0, called, clocks[client]))
    value = None
    for _, number in sorted(moments):
        if accesses[number].writes:
            value = accesses[number].value
        else:
            accesses[number] = accesses[number]._replace(value=value)
    assert explains(accesses)

    late = max(range(1000), key=lambda n: accesses[n].called)
    accesses[late] = Access("0", False, accesses[late].called, accesses[late].returned)

    assert not explains(accesses)
