"""A set of integers that takes eight bytes for each."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from st8.engine.integers import Integers

_INTEGERS = st.integers(-(2**63), 2**63 - 1)
_FEW = st.builds(lambda a, b: (a << 12) + b, st.integers(-20, 20), st.integers(0, 2))


@given(st.lists(st.lists(_FEW, max_size=60)), st.lists(_FEW), _INTEGERS)
def test_it_is_a_set(added: list[list[int]], asked: list[int], any_: int) -> None:
    """What was added is in it once, however often and in which order, and nothing else."""
    integers, expected = Integers(), set[int]()
    for some in added:
        integers.update(some)
        expected.update(some)
        assert [n in expected for n in asked] == [n in integers for n in asked]

    assert len(expected) == len(integers)
    assert [True] * len(expected) == [n in integers for n in expected]
    assert (any_ in expected) == (any_ in integers)


def test_what_waits_is_merged_on_the_way() -> None:
    """Of many integers of one part no more than half as many wait as are sorted."""
    integers = Integers(n << 12 for n in range(1_000))
    [waiting] = [part for part in integers._added if part is not None]
    [part] = [part for part in integers._sorted if part]

    assert len(part) + len(waiting) == 1_000
    assert len(waiting) <= len(part) // 2
    assert 8 == part.itemsize == waiting.itemsize
    assert 1_000 == len(integers)


def test_what_is_no_integer_is_not_in_it() -> None:
    """Anything may be asked for."""
    integers = Integers([1])

    assert [True, False, False] == [each in integers for each in (1, "1", None)]
