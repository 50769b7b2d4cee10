"""Sets of keys behave as sets of keys."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from st8.core.key_set import ALL_KEYS, NO_KEYS, KeySet

NAMES = st.text("ab/c", max_size=5)
SETS = st.lists(
    st.tuples(NAMES.map(str.encode), st.none() | NAMES.map(str.encode)), max_size=4
).map(KeySet.of)
KEYS = NAMES.map(str.encode)


@pytest.mark.parametrize(
    ("path", "inside", "outside"),
    [
        ("app/", ["app/", "app/a", "app/b/c"], ["app", "app0", "ap", "APP/a", "other"]),
        (
            "app",
            ["app", "app/", "app/a"],
            ["apple", "app\0", "app-a", "app0", "ap", "b"],
        ),
        ("a/b", ["a/b", "a/b/c"], ["a/bc", "a/b-", "a", "a/c"]),
        ("", ["", "a", "\U0010ffff"], []),
        ("é", ["é", "é/a"], ["e", "éa"]),
    ],
)
def test_under_a_path(path: str, inside: list[str], outside: list[str]) -> None:
    """A path has itself and what is under it, never what only begins like it."""
    keys = KeySet.under(path)

    assert [True] * len(inside) == [keys.has(key.encode()) for key in inside]
    assert [False] * len(outside) == [keys.has(key.encode()) for key in outside]


@given(SETS, SETS, KEYS)
def test_union_and_intersection(a: KeySet, b: KeySet, key: bytes) -> None:
    """A key is in both or in one exactly when the parts say so."""
    assert (a.has(key) or b.has(key)) == (a | b).has(key)
    assert (a.has(key) and b.has(key)) == (a & b).has(key)


@given(SETS, SETS)
def test_laws(a: KeySet, b: KeySet) -> None:
    """Order does not matter, all and nothing are neutral, subsets are told."""
    assert a | b == b | a
    assert a & b == b & a
    assert a & ALL_KEYS == a == a | NO_KEYS
    assert ALL_KEYS | a == ALL_KEYS
    assert a & NO_KEYS == NO_KEYS
    assert a & b <= a <= a | b
    assert (a <= b) == (a | b == b)
    assert bool(a) == (a != NO_KEYS)
    assert a.is_all == (a == ALL_KEYS)


def test_all_is_all() -> None:
    """All keys are all, and none are not."""
    assert [True, False] == [ALL_KEYS.is_all, NO_KEYS.is_all]


@given(SETS)
def test_ranges_are_apart_and_ascending(a: KeySet) -> None:
    """No range is empty and no two touch, so equal sets are equal values."""
    for (start, end), (following, _) in zip(a.ranges, a.ranges[1:], strict=False):
        assert end is not None
        assert start < end < following


@given(SETS, KEYS, st.none() | KEYS, KEYS)
@example(KeySet.of([(b"a", b"b")]), b"b", None, b"b")
def test_clip(a: KeySet, start: bytes, end: bytes | None, key: bytes) -> None:
    """What a set has of a range is what is in both, and no range of it is empty."""
    clipped = KeySet.of(a.clip(start, end))
    wanted = a.has(key) and start <= key and (end is None or key < end)

    assert wanted == clipped.has(key)
    assert clipped.ranges == tuple(a.clip(start, end))
