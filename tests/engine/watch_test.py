"""Whoever follows a branch is told every revision once, in order, or to begin anew."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from st8.core.documents import Document
from st8.core.errors import St8Error
from st8.core.ids import BranchName, Key, RevisionNumber, Scope
from st8.engine.engine import Engine
from st8.engine.requests import Apply, CreateBranch, DeleteBranch, Reset, Selector
from st8.store.memory import MemoryStore
from st8.testing.clock import FakeClock

if TYPE_CHECKING:
    from st8.engine.state import ChangeList
    from st8.engine.watch import News

MAIN = Scope.parse("", "main")
DEV = Scope.parse("", "dev")


def put(engine: Engine, content: str, scope: Scope = MAIN) -> int:
    """Apply one document and return the head."""
    return engine.apply(Apply(scope, (Document(Key("a"), content),))).number


def news(
    engine: Engine, after: int, limit: int = 100, *, floor: bool = False
) -> tuple[list[int], int, bool, str | None]:
    """Return what main has had since, as numbers."""
    found = engine.news(MAIN, RevisionNumber(after), limit, floor=floor)
    return numbers(found), found.position, found.more, found.resync


def numbers(found: News) -> list[int]:
    """Return the numbers of its revisions."""
    return [revision.number for revision in found.revisions]


def test_what_follows_a_revision(any_engine: Engine) -> None:
    """From each position all that follows it, oldest first, and where that leads."""
    for number in range(1, 6):
        put(any_engine, str(number))

    assert ([1, 2, 3, 4, 5], 5, False, None) == news(any_engine, 0)
    assert ([4, 5], 5, False, None) == news(any_engine, 3)
    assert ([], 5, False, None) == news(any_engine, 5)


def test_in_pieces(any_engine: Engine) -> None:
    """With a limit the oldest come first, and it is told that there are more."""
    for number in range(1, 41):
        put(any_engine, str(number))
    position, found = 0, []
    more = True
    while more:
        some, position, more, resync = news(any_engine, position, 7)
        assert resync is None
        assert len(some) <= 7
        found += some

    assert list(range(1, 41)) == found


def test_revisions_of_other_branches_are_not_in_it(any_engine: Engine) -> None:
    """A branch has its own, and those of the branch it was made from."""
    put(any_engine, "1")
    any_engine.create_branch(CreateBranch(MAIN, BranchName("dev")))
    for content in ("2", "3"):
        put(any_engine, content)
        put(any_engine, content, DEV)

    assert ([1, 2, 4], 4, False, None) == news(any_engine, 0)
    assert [1, 3, 5] == numbers(any_engine.news(DEV, RevisionNumber(0)))


@pytest.mark.parametrize("after", [0, 1, 7])
def test_a_branch_that_is_not_there(any_engine: Engine, after: int) -> None:
    """It has nothing, and whatever is given for a start is waited for."""
    assert ([], after, False, None) == news(any_engine, after, floor=True)


def test_a_future_start_waits(any_engine: Engine) -> None:
    """Nothing up to the number is told, everything behind it is."""
    put(any_engine, "1")
    assert ([], 4, False, None) == news(any_engine, 4, floor=True)
    for content in ("2", "3"):
        put(any_engine, content, DEV)
    assert ([], 4, False, None) == news(any_engine, 4, floor=True)
    for content in ("4", "5", "6"):
        put(any_engine, content, DEV)
    assert ([], 4, False, None) == news(any_engine, 4, floor=True)
    put(any_engine, "7")
    assert ([7], 7, False, None) == news(any_engine, 4, floor=True)


def test_another_history(any_engine: Engine) -> None:
    """A position that the branch's history lacks is told to begin anew, at its head."""
    put(any_engine, "1")
    put(any_engine, "2", DEV)
    put(any_engine, "3")
    assert ([], 3, False, "history") == news(any_engine, 2)

    assert ([], 3, False, "history") == news(any_engine, 4)

    any_engine.delete_branch(DeleteBranch(MAIN))
    assert ([], 0, False, "history") == news(any_engine, 3)
    any_engine.create_branch(CreateBranch(DEV, BranchName("main")))
    assert ([], 2, False, "history") == news(any_engine, 3)
    assert ([], 2, False, None) == news(any_engine, 2)
    assert ([2], 2, False, None) == news(any_engine, 0)


def test_a_part_that_was_collected(any_engine: Engine) -> None:
    """Where something between is gone, nothing of it is told but that it is."""
    for number in range(1, 31):
        put(any_engine, str(number))
    any_engine.collect(5)

    assert ([], 30, False, "collected") == news(any_engine, 3)
    assert ([], 30, False, "collected") == news(any_engine, 0)
    assert ([29, 30], 30, False, None) == news(any_engine, 28)


ACTS = st.lists(
    st.one_of(
        st.tuples(st.just("put"), st.sampled_from([MAIN, DEV])),
        st.tuples(st.sampled_from(["branch", "delete", "back", "look"]), st.just(MAIN)),
        st.tuples(st.just("collect"), st.just(MAIN)),
    ),
    max_size=40,
)


class Follower:
    """Knows a number and a copy; reads the state only when it is told to."""

    def __init__(self) -> None:
        self.position = RevisionNumber(0)
        self.copy: dict[str, bytes] = {}

    def catch_up(self, engine: Engine, limit: int) -> None:
        """Take all that there is, in pieces."""
        more = True
        while more:
            found = engine.news(MAIN, self.position, limit)
            more = found.more
            if found.resync:
                selector = Selector(found.position) if found.position else Selector()
                self.copy = dict(engine.state(MAIN, selector).items())
            for revision in found.revisions:
                assert revision.number > self.position
                self._take(engine.changes(revision))
            self.position = found.position

    def _take(self, changes: ChangeList) -> None:
        for key, _, _, after in changes.iter():
            if after is None:
                del self.copy[key]
            else:
                self.copy[key] = after


def do(engine: Engine, act: str, scope: Scope, content: str) -> None:
    """Do what an act says."""
    if act == "put":
        put(engine, content, scope)
    elif act == "branch":
        engine.create_branch(CreateBranch(DEV, BranchName("main")))
    elif act == "delete":
        engine.delete_branch(DeleteBranch(MAIN))
    elif act == "back":
        engine.reset(Reset(MAIN, Selector(-1), "rollback"))
    elif act == "collect":
        engine.collect(2)


@given(ACTS, st.integers(1, 3))
@settings(max_examples=300, deadline=None)
def test_a_follower_has_the_state(acts: list[tuple[str, Scope]], limit: int) -> None:
    """Whatever happens, what a follower has put together is what the branch has."""
    follower = Follower()
    with contextlib.closing(Engine(MemoryStore(), FakeClock(tick_ns=1))) as engine:
        for turn, (act, scope) in enumerate([*acts, ("look", MAIN)]):
            if act != "look":
                with contextlib.suppress(St8Error):
                    do(engine, act, scope, str(turn))
                continue
            follower.catch_up(engine, limit)
            state = engine.state(MAIN)
            assert (state.number, dict(state.items())) == (
                follower.position,
                follower.copy,
            )
