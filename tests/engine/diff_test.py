"""Diffs of any two states, and of documents against one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from st8.core import tree
from st8.core.documents import Document
from st8.core.errors import (
    BranchNotFound,
    CheckpointNotFound,
    InvalidValue,
    RevisionNotFound,
)
from st8.core.ids import Key
from st8.core.key_set import ALL_KEYS
from st8.core.node import EMPTY_ROOT
from st8.engine.engine import Engine
from st8.engine.objects import OverlaidObjects
from st8.engine.requests import HEAD, Overlay, Side
from st8.engine.state import State
from st8.store.memory import MemoryStore
from st8.testing.clock import FakeClock
from tests.engine.acts import (
    DEV,
    SCOPE,
    applied,
    apply,
    branch_names,
    changes,
    checkpoint,
    contents,
    diff,
    log_numbers,
    scope,
    selector,
)

if TYPE_CHECKING:
    from st8.testing.faulty import FaultyStore

STATES = st.dictionaries(
    st.text(st.sampled_from("ab/é"), min_size=1, max_size=3),
    st.sampled_from("xyz"),
    max_size=8,
)


def _documents(documents: dict[str, str]) -> tuple[Document, ...]:
    return tuple(Document(Key(key), content) for key, content in documents.items())


def _expected(
    before: dict[str, str], after: dict[str, str]
) -> list[tuple[str, str, str | None, str | None]]:
    types = {(True, True): "update", (False, True): "create", (True, False): "delete"}
    return [
        (key, types[key in before, key in after], before.get(key), after.get(key))
        for key in sorted(before.keys() | after.keys(), key=str.encode)
        if before.get(key) != after.get(key)
    ]


def test_one_update_goes_from_old_to_new(any_engine: Engine) -> None:
    """The diff of two revisions has each change with before and after."""
    applied(any_engine, "old", "new")
    found = any_engine.diff(SCOPE, Side(selector(1)), Side(HEAD))

    assert (1, 2) == (found.from_number, found.to_number)
    assert [("k", "update", "old", "new")] == changes(found.changes)
    assert [("k", "update", "new", "old")] == diff(any_engine, HEAD, selector(1))


def test_equal_states_have_no_changes(any_engine: Engine) -> None:
    """The diff of a state with itself, or an equal one, is empty."""
    applied(any_engine, "a", "b", "a")
    found = any_engine.diff(SCOPE, Side(selector(1)), Side(selector(3)))

    assert ([], False) == (changes(found.changes), bool(found.changes))
    assert found.from_root == found.to_root
    assert [] == diff(any_engine)


@given(first=STATES, second=STATES, laid=STATES, deleted=st.sets(st.sampled_from("ab")))
def test_any_diff_agrees_with_dictionaries(
    first: dict[str, str],
    second: dict[str, str],
    laid: dict[str, str],
    deleted: set[str],
) -> None:
    """Between any two states, documents laid over or alone, changes are exact."""
    engine = Engine(MemoryStore(), FakeClock())
    one, two = {**first, "k": "1"}, {**second, "k": "2"}
    apply(engine, one)
    apply(engine, two, sorted(one.keys() - two.keys()))
    assert _expected(one, two) == diff(engine, selector(1), selector(2))
    assert _expected(two, one) == diff(engine, selector(2), selector(1))
    deletes = deleted - laid.keys()
    over = {key: value for key, value in {**one, **laid}.items() if key not in deletes}
    side = Side(selector(1), _documents(laid), tuple(map(Key, sorted(deletes))))
    exact = Side(selector(1), _documents(laid), exact=True)

    for source, target, before, after in (
        (Side(HEAD), side, two, over),
        (side, Side(HEAD), over, two),
        (Side(HEAD), exact, two, laid),
        (exact, side, laid, over),
        (side, side, over, over),
    ):
        found = engine.diff(SCOPE, source, target)
        assert _expected(before, after) == changes(found.changes)
        keys = [change.key for change in found.changes.iter(contents=False)]
        assert [key for key, *_ in _expected(before, after)] == keys
    assert [2, 1] == log_numbers(engine)
    engine.close()


def test_what_is_laid_over_is_read_as_what_is_stored_is(engine: Engine) -> None:
    """A state that was only thought of has its documents, in order, and their contents."""
    apply(engine, {f"{n:03d}": f"{n}" for n in range(200)})
    laid = Overlay.of(_documents({"007": "new", "x": "more"}), [Key("008")])
    root = engine.state(SCOPE).root
    edit = tree.edit(engine._objects, root, laid.edits)
    over = OverlaidObjects(engine._objects, edit.nodes, laid.contents)
    found = State(over, None, edit.root, ALL_KEYS)
    wanted = {f"{n:03d}": f"{n}" for n in range(200)} | {"007": "new", "x": "more"}
    del wanted["008"]

    assert {key: text.encode() for key, text in wanted.items()} == dict(found.items())
    assert sorted(wanted) == list(found.keys())


def test_a_diff_writes_nothing(engine: Engine, store: FaultyStore) -> None:
    """A diff with documents leaves the store as it was, and makes no branch."""
    applied(engine, "1")
    before = store.calls["commit"]
    engine.diff(SCOPE, Side(HEAD), Side(HEAD, _documents({"k": "2", "n": "3"})))
    engine.diff(scope("empty"), Side(HEAD), Side(HEAD, _documents({"k": "2"})))

    assert before == store.calls["commit"]
    assert {"k": "1"} == contents(engine)
    assert [] == branch_names(engine, "empty")


def test_documents_against_nothing_are_all_creates(any_engine: Engine) -> None:
    """Against a scope that nothing was applied to, every document is created."""
    found = any_engine.diff(
        SCOPE, Side(HEAD), Side(HEAD, _documents({"b": "2", "a": "1"}))
    )

    assert (0, 0, EMPTY_ROOT) == (found.from_number, found.to_number, found.from_root)
    assert [("a", "create", None, "1"), ("b", "create", None, "2")] == changes(
        found.changes
    )


def test_exact_documents_delete_what_they_lack(any_engine: Engine) -> None:
    """With exact, what is not among the documents is deleted."""
    apply(any_engine, {"a": "1", "b": "2"})
    found = any_engine.diff(
        SCOPE, Side(), Side(HEAD, _documents({"a": "1"}), exact=True)
    )

    assert [("b", "delete", "2", None)] == changes(found.changes)
    nothing = any_engine.diff(SCOPE, Side(), Side(HEAD, exact=True))
    assert EMPTY_ROOT == nothing.to_root
    assert 2 == len(changes(nothing.changes))


def test_sides_may_be_on_different_branches(any_engine: Engine) -> None:
    """Two branches, a checkpoint and a time can be compared with each other."""
    applied(any_engine, "1", "2")
    checkpoint(any_engine, "cp", selector(1))
    applied(any_engine, "3", at=DEV)
    main = any_engine.state(SCOPE).revision
    assert main is not None

    assert [("k", "update", "2", "3")] == diff(
        any_engine, selector(branch="main"), selector(branch="dev")
    )
    assert [("k", "update", "1", "2")] == diff(
        any_engine, selector(checkpoint="cp"), selector(at_ns=main.time_ns)
    )


def test_what_a_side_names_must_be_there(any_engine: Engine) -> None:
    """An unknown revision, checkpoint or branch on any side is not found (B1)."""
    applied(any_engine, "1")
    for source, error in (
        (selector(9), RevisionNotFound),
        (selector(-9), RevisionNotFound),
        (selector(checkpoint="no"), CheckpointNotFound),
        (selector(branch="no"), BranchNotFound),
    ):
        with pytest.raises(error):
            any_engine.diff(SCOPE, Side(source), Side(HEAD))
        with pytest.raises(error):
            any_engine.diff(SCOPE, Side(HEAD), Side(source, _documents({"k": "2"})))


def test_a_side_is_checked_like_an_apply(any_engine: Engine) -> None:
    """A key both given and deleted on one side is refused."""
    side = Side(HEAD, _documents({"k": "1"}), (Key("k"),))

    with pytest.raises(InvalidValue):
        any_engine.diff(SCOPE, Side(HEAD), side)


def test_changes_can_be_read_in_part(any_engine: Engine) -> None:
    """After a key and under a prefix, only those changes are read."""
    apply(any_engine, {f"{folder}/{n}": "1" for folder in "ab" for n in range(5)})
    found = any_engine.diff(
        SCOPE, Side(selector(branch="main"), exact=True), Side(HEAD)
    )

    def keys(after: str | None = None, prefix: str = "") -> list[str]:
        return [c.key for c in found.changes.iter(after=after, prefix=prefix)]

    assert ["b/0", "b/1", "b/2", "b/3", "b/4"] == keys(prefix="b/")
    assert ["a/4", "b/0", "b/1", "b/2", "b/3", "b/4"] == keys("a/3")
    assert ["b/4"] == keys("b/3", "b/")
    assert [] == keys("b/4") == keys("c", "b/")
    assert ["b/0", "b/1", "b/2", "b/3", "b/4"] == keys("a/9", "b/")
