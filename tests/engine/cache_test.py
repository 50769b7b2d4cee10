"""The cache of objects: bounded by bytes, and not emptied by one long scan."""

from __future__ import annotations

import threading
import tracemalloc
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from st8.core.ids import digest_of
from st8.core.node import Node, encode
from st8.core.tree import NewNode
from st8.engine.cache import ByteCache
from st8.engine.objects import Objects
from st8.store.memory import MemoryStore

_ACTIONS = st.lists(
    st.tuples(st.sampled_from(["get", "put"]), st.integers(0, 30), st.integers(1, 40)),
    max_size=120,
)


@given(actions=_ACTIONS, maximum=st.integers(0, 200))
def test_a_cache_gives_what_was_put_or_nothing(
    actions: list[tuple[str, int, int]], maximum: int
) -> None:
    """Whatever comes and goes, the answer is right or None, and the size bounded."""
    cache: ByteCache[int, str] = ByteCache(maximum)
    for action, key, cost in actions:
        if action == "put":
            cache.put(key, f"{key}", cost)
        else:
            assert cache.get(key) in (None, f"{key}")
        assert 0 <= cache.size <= maximum
    assert sum(action == "get" for action, *_ in actions) == cache.hits + cache.misses


def test_what_is_used_stays_through_a_scan() -> None:
    """Values that were asked for twice survive a scan of many others."""
    cache: ByteCache[int, int] = ByteCache(1_000)
    for key in range(10):
        cache.put(key, key, 10)
        cache.get(key)
    for key in range(1_000, 5_000):
        cache.put(key, key, 10)

    assert list(range(10)) == [cache.get(key) for key in range(10)]
    assert cache.size <= 1_000


def test_the_least_lately_used_goes_first() -> None:
    """Of the kept values those go that were not asked for the longest time."""
    cache: ByteCache[int, int] = ByteCache(400)
    for key in range(30):
        cache.put(key, key, 10)
        assert key == cache.get(key)
    cache.get(0)
    cache.put(30, 30, 10)
    cache.get(30)

    assert (0, None, 30) == (cache.get(0), cache.get(1), cache.get(30))


def test_a_value_that_is_too_large_is_not_kept() -> None:
    """One huge value does not push all others out."""
    cache: ByteCache[int, int] = ByteCache(100)
    cache.put(1, 1, 10)
    cache.put(2, 2, 26)

    assert (1, None, 10) == (cache.get(1), cache.get(2), cache.size)


def test_a_cache_of_nothing_keeps_nothing() -> None:
    """With no room every get is a miss."""
    cache: ByteCache[int, int] = ByteCache(0)
    cache.put(1, 1, 1)

    assert (None, 0, 0, 1) == (cache.get(1), cache.size, cache.hits, cache.misses)


def test_many_threads_may_use_it() -> None:
    """Under many threads the bound holds and no answer is another's."""
    cache: ByteCache[int, int] = ByteCache(500)
    failures: list[object] = []

    def use(seed: int) -> None:
        try:
            for number in range(4_000):
                key = (number * seed) % 97
                cache.put(key, key, 7)
                found = cache.get((key + number) % 97)
                if found not in (None, (key + number) % 97):
                    failures.append(found)
        except Exception as error:  # noqa: BLE001 - what is looked for
            failures.append(error)

    threads = [threading.Thread(target=use, args=(seed,)) for seed in (3, 5, 7, 11)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert [] == failures
    assert cache.size <= 500
    assert cache._new_bytes == 7 * len(cache._new)
    assert cache._kept_bytes == 7 * len(cache._kept)
    assert cache._costs.keys() == cache._new.keys() | cache._kept.keys()


def test_the_first_that_came_goes_first() -> None:
    """Of the values that were asked for once the oldest make room."""
    cache: ByteCache[int, int] = ByteCache(400)
    for key in range(11):  # a quarter of it is for them
        cache.put(key, key, 10)

    assert [None, *range(1, 11)] == [cache.get(key) for key in range(11)]
    assert 110 > cache.size


@pytest.mark.parametrize("size", [20, 100, 400])
def test_what_objects_cost_is_what_they_take(size: int) -> None:
    """Contents and nodes take as much memory as is counted of them, within a third."""
    chance = Random(1)
    objects = Objects(MemoryStore(), 1 << 30)
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        for _ in range(2_000):
            data = chance.randbytes(size)
            objects.add({}, {digest_of(data): data})
        contents = tracemalloc.get_traced_memory()[0] - before
        before += contents
        for number in range(500):
            keys = [b"services/%05d" % (number * 16 + key) for key in range(16)]
            node = Node(0, keys, chance.randbytes(32 * 16), None)
            objects.add({digest_of(encode(node)): NewNode(node, b"")}, {})
        nodes = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()

    assert 1 == pytest.approx(contents / objects.cached_contents.size, abs=0.33)
    assert 1 == pytest.approx(nodes / objects.cached_nodes.size, abs=0.33)
