"""Backup and restore: the same store again, or nothing."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

from hypothesis import given, settings
from hypothesis import strategies as st

from st8.core.backup import Summary
from st8.engine.backup import Base
from st8.engine.engine import Engine
from st8.store.memory import MemoryStore
from st8.testing.clock import SECOND_NS, FakeClock
from tests.engine.histories import everything, make_history

if TYPE_CHECKING:
    from collections.abc import Callable

_SEEDS = st.lists(st.integers(0, 2**32), max_size=60)


def _clock() -> FakeClock:
    return FakeClock(tick_ns=SECOND_NS)


def reader(data: bytes, size: int = 65_536) -> Callable[[], bytes]:
    """Return what reads ``data`` piece by piece."""
    pieces = iter([data[at : at + size] for at in range(0, len(data), size)])
    return lambda: next(pieces, b"")


def base_of(data: bytes) -> Base:
    """Return a backup as the base of another one."""
    summary = Summary()
    summary.feed(data)
    return Base(
        summary.finish(), {part.name: part.newest for part in summary.namespaces}
    )


@settings(max_examples=40, deadline=None)
@given(seeds=_SEEDS, later=_SEEDS, size=st.sampled_from([1, 7, 1000, 65_536]))
def test_a_restored_store_is_the_same(
    seeds: list[int], later: list[int], size: int
) -> None:
    """What a backup was made of and what it was restored into can't be told apart.

    Nor can what a backup and another one on top of it were restored into.
    """
    source, full_target, target = MemoryStore(), MemoryStore(), MemoryStore()
    with (
        closing(Engine(source, _clock())) as engine,
        closing(Engine(full_target, _clock())) as first,
        closing(Engine(target, _clock())) as second,
    ):
        make_history(engine, seeds)
        before = everything(source, engine)
        full = b"".join(engine.backup())
        first.restore_backup(reader(full, size))

        assert before == everything(full_target, first)
        make_history(engine, later)
        increment = b"".join(engine.backup(base=base_of(full)))
        second.restore_backup(reader(full + increment, size))
        after = everything(source, engine)
        found = everything(target, second)
        for part in ("namespaces", "branches", "checkpoints"):
            assert after[part] == found[part]
        for kept, there in zip(after["revisions"], found["revisions"], strict=True):
            assert kept == {number: there[number] for number in kept}
        assert after["states"] == {
            name: found["states"][name] for name in after["states"]
        }
