"""Reading a state: one key, several, a prefix, page by page, all."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from st8.core.ids import Key
from st8.engine.engine import UNKNOWN, Engine
from st8.store.memory import MemoryStore
from st8.testing.clock import FakeClock
from tests.engine.acts import SCOPE, applied, apply, scope, selector

if TYPE_CHECKING:
    from collections.abc import Sequence

    from st8.core.ids import Digest
    from st8.testing.faulty import FaultyStore

KEYS = st.text(
    st.sampled_from(["a", "b", "/", "é", "\uffff", "\U0001f680"]), max_size=4
)


def _engine(documents: dict[str, str]) -> Engine:
    engine = Engine(MemoryStore(), FakeClock())
    if documents:
        apply(engine, documents)
    return engine


def test_one_key_is_read(any_engine: Engine) -> None:
    """Get gives the content of a key, or None where it is absent."""
    apply(any_engine, {"a": "1", "a/b": "2"})
    state = any_engine.state(SCOPE)

    assert (b"1", b"2", None) == tuple(map(state.get, map(Key, ("a", "a/b", "a/"))))


def test_several_keys_are_read_in_the_order_asked(any_engine: Engine) -> None:
    """Get_many gives those that are there, in the order asked, each once."""
    apply(any_engine, {"a": "1", "b": "2", "c": "1"})
    asked = [Key(key) for key in ("c", "x", "a", "c")]

    assert [("c", b"1"), ("a", b"1")] == list(any_engine.state(SCOPE).get_many(asked))


@given(
    documents=st.dictionaries(KEYS.filter(bool), st.text(max_size=3), max_size=12),
    prefix=KEYS,
    after=st.none() | KEYS,
)
def test_any_part_of_a_state_can_be_listed(
    documents: dict[str, str], prefix: str, after: str | None
) -> None:
    """Items and keys under a prefix and after a key are those of a dictionary."""
    engine = _engine(documents)
    state = engine.state(SCOPE)
    wanted = [
        (key, content.encode())
        for key, content in sorted(documents.items(), key=lambda kv: kv[0].encode())
        if key.startswith(prefix) and (after is None or key.encode() > after.encode())
    ]

    assert wanted == list(state.items(prefix, after))
    assert [key for key, _ in wanted] == list(state.keys(prefix, after))
    assert len(documents) == state.count
    assert sum(key.startswith(prefix) for key in documents) == state.count_prefix(
        prefix
    )
    engine.close()


@pytest.mark.parametrize("size", [1, 3, 100])
def test_pages_make_up_the_state(any_engine: Engine, size: int) -> None:
    """Reading on after the last key of a page gives each document once."""
    documents = {f"d/{n:03d}": f"{n}" for n in range(50)}
    apply(any_engine, documents)
    state = any_engine.state(SCOPE)
    found: dict[str, bytes] = {}
    after: str | None = None
    while page := [
        item for item, _ in zip(state.items("d/", after), range(size), strict=False)
    ]:
        found.update(page)
        after = page[-1][0]

    assert {key: value.encode() for key, value in documents.items()} == found


def test_a_state_that_is_being_read_does_not_change(any_engine: Engine) -> None:
    """What is committed while a state is read is not seen in it (B10)."""
    apply(any_engine, {f"{n:03d}": "old" for n in range(300)})
    state = any_engine.state(SCOPE)
    items = state.items()
    first = [next(items) for _ in range(10)]
    apply(any_engine, {f"{n:03d}": "new" for n in range(300)})
    apply(any_engine, {"000": "x"}, [f"{n:03d}" for n in range(1, 300)])

    assert {b"old"} == {content for _, content in [*first, *items]}
    assert 300 == state.count


def test_one_key_costs_one_path(store: FaultyStore, engine: Engine) -> None:
    """Reading one of 10,000 documents reads a handful of objects (B20)."""
    apply(engine, {f"d/{n:05d}": f"{n}" for n in range(10_000)})
    cold = Engine(store, FakeClock(), cache_bytes=0)
    store.calls.clear()

    assert b"4321" == cold.state(SCOPE).get(Key("d/04321"))
    assert store.calls["objects"] <= 6
    cold._committer.close()


def test_a_state_at_an_old_revision_costs_what_the_head_does(
    store: FaultyStore, engine: Engine
) -> None:
    """The first of many revisions is read with as many calls as the last (B20)."""
    apply(engine, {f"d/{n:04d}": f"{n}" for n in range(1_000)})
    applied(engine, *(f"{n}" for n in range(200)), name="d/0500")
    calls: list[int] = []
    for source in (selector(201), selector(1)):
        cold = Engine(store, FakeClock(), cache_bytes=0)
        store.calls.clear()
        assert cold.state(SCOPE, source).get(Key("d/0007")) == b"7"
        calls.append(store.calls["objects"])
        # The record of the revision; the head's, and a walk of O(log n) to it.
        assert store.calls["revisions"] <= 20
        cold._committer.close()

    assert calls[0] == calls[1]


class _WeighedStore:
    """Weighs what one call reads."""

    def __init__(self, store: FaultyStore) -> None:
        self.heaviest = 0
        self._objects = store.objects

    def objects(
        self, digests: Sequence[Digest], size_max: int | None = None
    ) -> dict[Digest, bytes]:
        """Note the weight."""
        found = self._objects(digests, size_max)
        self.heaviest = max(self.heaviest, sum(map(len, found.values())))
        return found


def test_a_big_state_is_not_held_in_memory(
    store: FaultyStore, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Contents are read about a mebibyte at a time, also when small come first."""
    documents = {f"{n:03d}": f"{n}" for n in range(100)}
    documents |= {f"{n:03d}": f"{n}" * 100_000 for n in range(100, 160)}
    apply(engine, documents)
    cold = Engine(store, FakeClock(), cache_bytes=0)
    weighed = _WeighedStore(store)
    monkeypatch.setattr(store, "objects", weighed.objects)

    state = cold.state(SCOPE)
    assert 160 == sum(1 for _ in state.items())
    assert 160 == sum(1 for _ in state.get_many(map(Key, documents)))
    assert weighed.heaviest < 4 * 1024 * 1024
    cold._committer.close()


# --- peek_head ----------------------------------------------------------------------------


def test_a_head_can_be_peeked_at(engine: Engine, store: FaultyStore) -> None:
    """After a write its head is known without the store."""
    revision = apply(engine, {"k": "v"}).revision
    store.calls.clear()

    assert revision == engine.peek_head(SCOPE)
    assert 0 == store.calls.total()


def test_an_unknown_head_is_not_guessed(engine: Engine) -> None:
    """Of a branch that nobody asked for, only the store can tell; then it is known."""
    assert UNKNOWN is engine.peek_head(scope("a"))
    engine.state(scope("a"))

    assert engine.peek_head(scope("a")) is None
    revision = apply(engine, {"k": "v"}, at=scope("a")).revision
    assert revision == engine.peek_head(scope("a"))


def test_heads_of_a_shared_store_are_not_remembered(store: FaultyStore) -> None:
    """Where others may write too, every head is asked of the store."""
    store.exclusive = False
    one, two = Engine(store, FakeClock()), Engine(store, FakeClock())
    apply(one, {"k": "1"})

    assert b"1" == two.state(SCOPE).get(Key("k"))
    apply(one, {"k": "2"})
    assert b"2" == two.state(SCOPE).get(Key("k"))
    assert UNKNOWN is two.peek_head(SCOPE)
    one._committer.close()
    two._committer.close()
