"""Whole lists of a store, which are read page by page."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from st8.core.errors import Corrupt
from st8.engine import pages
from st8.engine.engine import Engine
from st8.store.memory import MemoryStore
from st8.testing.clock import FakeClock
from tests.engine.acts import SCOPE, applied, apply, branch, checkpoint, scope

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from st8.core.ports import Store

NAMESPACE = SCOPE.namespace

LISTS: dict[str, Callable[[Store], Iterable[Any]]] = {
    "namespaces": pages.namespaces,
    "numbers": lambda store: pages.numbers(store, NAMESPACE),
    "branches": lambda store: pages.branches(store, NAMESPACE),
    "checkpoints": lambda store: pages.checkpoints(store, NAMESPACE),
    "answers": pages.answers,
}


@pytest.fixture
def store() -> MemoryStore:
    """A store with five of everything."""
    store = MemoryStore()
    engine = Engine(store, FakeClock())
    for number in range(5):
        apply(engine, {"k": f"{number}"}, key=f"key-{number}")
    for number in range(4):
        applied(engine, "1", at=scope(f"namespace {number}"))
        branch(engine, f"branch {number}")
        checkpoint(engine, f"checkpoint {number}")
    checkpoint(engine, "checkpoint 4")
    engine._committer.close()
    return store


@pytest.mark.parametrize("size", [1, 2, 5, 7])
@pytest.mark.parametrize("name", LISTS)
def test_a_list_is_whole_however_small_its_pages(
    store: MemoryStore, monkeypatch: pytest.MonkeyPatch, name: str, size: int
) -> None:
    """Pages of any size make up the same list, each item once and in order."""
    whole = list(LISTS[name](store))
    monkeypatch.setattr(pages, "_PAGE", size)

    assert whole == list(LISTS[name](store))
    assert 5 == len({str(item) for item in whole}) == len(whole)


def test_numbers_may_begin_anywhere(store: MemoryStore) -> None:
    """The numbers after one are those above it."""
    after = pages.numbers(store, NAMESPACE, list(pages.numbers(store, NAMESPACE))[2])

    assert [4, 5] == list(after)


class _Stuck:
    """A store whose list of numbers begins anew after its end, or stands still."""

    def __init__(self, numbers: Sequence[int]) -> None:
        self._numbers = numbers

    def numbers(self, *_: object) -> Sequence[int]:
        """Return the same page each time."""
        return self._numbers


@pytest.mark.parametrize("numbers", [[1, 2, 3], [3, 1], [1, 1], [1]])
def test_a_list_that_does_not_ascend_comes_to_an_end(numbers: Sequence[int]) -> None:
    """A list whose order is damaged is corrupt; it is not read for ever."""
    stuck: Any = _Stuck(numbers)
    found = pages.numbers(stuck, NAMESPACE)

    assert numbers == [next(found) for _ in numbers]
    with pytest.raises(Corrupt, match="does not ascend"):
        list(found)
