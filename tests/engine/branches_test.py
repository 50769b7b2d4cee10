"""Branches and checkpoints: pointers that are made, moved, listed and taken away."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from st8.core.errors import (
    BranchExists,
    BranchNotFound,
    CheckpointExists,
    CheckpointNotFound,
    HeadMoved,
    InvalidValue,
    LimitExceeded,
    RevisionNotFound,
)
from st8.core.ids import CheckpointName, Namespace
from st8.core.key_set import ALL_KEYS, NO_KEYS, KeySet
from st8.core.revisions import Branch, Checkpoint
from st8.engine.requests import PutCheckpoint, Selector
from st8.testing.clock import SECOND_NS
from tests.engine.acts import (
    DEV,
    SCOPE,
    applied,
    apply,
    branch,
    branch_names,
    checkpoint,
    contents,
    delete_branch,
    delete_checkpoint,
    diff,
    log_numbers,
    scope,
    selector,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from st8.core.ids import Scope
    from st8.engine.engine import Engine
    from st8.testing.clock import FakeClock
    from st8.testing.faulty import FaultyStore

DEFAULT = Namespace("default")


def _branch(engine: Engine, name: str) -> Branch:
    (found,) = engine.branches(DEFAULT, prefix=name, limit=1).items
    return found


def _checkpoints(engine: Engine, namespace: str = "default") -> list[Checkpoint]:
    return engine.checkpoints(Namespace(namespace), limit=1000).items


# --- branches --------------------------------------------------------------------------


def test_a_branch_is_a_pointer(any_engine: Engine) -> None:
    """A new branch has its source's state, makes no revision, and takes no number."""
    applied(any_engine, "1", "2")
    made = branch(any_engine, "dev")
    head = any_engine.state(SCOPE).revision
    assert head is not None

    assert ("dev", 2, 2, 2, head.digest) == made
    assert {"k": "2"} == contents(any_engine, DEV)
    assert [2, 1] == log_numbers(any_engine, DEV)
    assert 3 == apply(any_engine, {"k": "3"}, at=DEV).number


def test_a_branch_costs_one_row(engine: Engine, store: FaultyStore) -> None:
    """To branch 10,000 documents writes a pointer and no object (B20)."""
    apply(engine, {f"{n:05d}": f"{n}" for n in range(10_000)})
    branch(engine, "dev")
    batch = store.batches[-1]

    assert ({}, {}, {}) == (batch.objects, batch.revisions, batch.namespaces)
    assert [None] == [expected for expected, _ in batch.branches.values()]
    assert 10_000 == engine.state(DEV).count


def test_branches_go_their_own_ways(any_engine: Engine) -> None:
    """What is applied to one branch is not seen on another."""
    applied(any_engine, "base")
    branch(any_engine, "dev")
    applied(any_engine, "main")
    assert {"k": "base"} == contents(any_engine, DEV)

    applied(any_engine, "dev", at=DEV)
    assert {"k": "main"} == contents(any_engine)


def test_a_base_never_changes(any_engine: Engine) -> None:
    """Commits on a branch move its head and leave its base (B5)."""
    applied(any_engine, "1", "2")
    branch(any_engine, "dev", selector(1))
    applied(any_engine, "3", "4", at=DEV)

    assert (1, 4) == (_branch(any_engine, "dev").base, _branch(any_engine, "dev").head)
    assert (0, 2) == (
        _branch(any_engine, "main").base,
        _branch(any_engine, "main").head,
    )


@pytest.mark.parametrize(
    ("source", "content"),
    [
        (selector(1), "1"),
        (selector(-1), "2"),
        (selector(checkpoint="cp"), "2"),
        (selector(), "3"),
    ],
    ids=str,
)
def test_a_branch_begins_where_it_is_told(
    any_engine: Engine, source: Selector, content: str
) -> None:
    """A branch may begin at a head, a revision, a distance or a checkpoint."""
    applied(any_engine, "1", "2", "3")
    checkpoint(any_engine, "cp", selector(2))
    made = branch(any_engine, "dev", source)

    assert {"k": content} == contents(any_engine, DEV)
    assert made.base == made.head == int(content)


def test_a_branch_may_begin_at_a_time(any_engine: Engine, clock: FakeClock) -> None:
    """A branch may begin at the revision of a time."""
    clock.set(10 * SECOND_NS)
    applied(any_engine, "1", "2")
    branch(any_engine, "dev", selector(at_ns=10 * SECOND_NS))

    assert {"k": "1"} == contents(any_engine, DEV)


def test_a_branch_is_made_once(any_engine: Engine) -> None:
    """A second branch of one name is a conflict, and the first stays."""
    applied(any_engine, "1", "2")
    branch(any_engine, "dev", selector(1))
    with pytest.raises(BranchExists, match="'dev' already exists"):
        branch(any_engine, "dev")

    assert {"k": "1"} == contents(any_engine, DEV)
    with pytest.raises(BranchExists):
        branch(any_engine, "main")


@pytest.mark.parametrize(
    ("source", "error"),
    [
        (selector(9), RevisionNotFound),
        (selector(-9), RevisionNotFound),
        (selector(checkpoint="no"), CheckpointNotFound),
        (selector(branch="no"), BranchNotFound),
    ],
    ids=str,
)
def test_a_branch_needs_a_source_that_is_there(
    any_engine: Engine, source: Selector, error: type[Exception]
) -> None:
    """Where the source is not there, no branch is made (B1)."""
    applied(any_engine, "1")
    with pytest.raises(error):
        branch(any_engine, "dev", source)

    assert ["main"] == branch_names(any_engine)


def test_nothing_can_be_branched_from_nothing(any_engine: Engine) -> None:
    """A branch of a branch that is not there is not found, and takes no number."""
    with pytest.raises(BranchNotFound, match="'main' not found"):
        branch(any_engine, "dev")

    assert [] == branch_names(any_engine)
    assert [] == any_engine.namespaces().items
    assert 1 == apply(any_engine, {"k": "1"}).number


def test_a_deleted_branch_is_gone(any_engine: Engine) -> None:
    """After delete the branch is not there, and may be made again."""
    applied(any_engine, "1")
    branch(any_engine, "dev")
    applied(any_engine, "2", at=DEV)
    delete_branch(any_engine, "dev")

    assert ["main"] == branch_names(any_engine)
    assert 0 == any_engine.state(DEV).number
    with pytest.raises(BranchNotFound):
        delete_branch(any_engine, "dev")
    branch(any_engine, "dev")
    assert {"k": "1"} == contents(any_engine, DEV)


def test_a_deleted_branch_must_be_where_it_is_expected(any_engine: Engine) -> None:
    """A delete that expects another head is a conflict, and the branch stays."""
    applied(any_engine, "1", "2")
    with pytest.raises(HeadMoved):
        delete_branch(any_engine, "main", expect=1)

    assert {"k": "2"} == contents(any_engine)
    delete_branch(any_engine, "main", expect=2)
    assert [] == branch_names(any_engine)


def test_numbers_go_on_after_all_branches_are_deleted(any_engine: Engine) -> None:
    """A number that a deleted branch had is never given again."""
    applied(any_engine, "1", "2")
    delete_branch(any_engine, "main")
    result = apply(any_engine, {"k": "3"})

    assert 3 == result.number
    assert result.revision is not None
    assert () == result.revision.parents


def test_many_nested_branches_read_alike(any_engine: Engine) -> None:
    """A branch of a branch of a branch, a hundred deep, reads like any other."""
    applied(any_engine, "0")
    for depth in range(1, 101):
        at = scope(branch=f"b{depth - 1}" if depth > 1 else "main")
        branch(any_engine, f"b{depth}", at=at)
    applied(any_engine, "deep", at=scope(branch="b100"))

    assert {"k": "deep"} == contents(any_engine, scope(branch="b100"))
    assert {"k": "0"} == contents(any_engine, scope(branch="b99"))
    assert {"k": "0"} == contents(any_engine, scope(branch="b100"), selector(1))


# --- checkpoints -----------------------------------------------------------------------


def test_a_checkpoint_keeps_what_it_named(any_engine: Engine, clock: FakeClock) -> None:
    """A checkpoint has its revision's content after later changes, and its own data."""
    applied(any_engine, "1")
    clock.set(99 * SECOND_NS)
    made = checkpoint(any_engine, "good", description="it works", author="Ops")
    applied(any_engine, "2")
    head = any_engine.state(SCOPE, selector(1)).revision
    assert head is not None

    assert (
        Checkpoint(
            made.name,
            head.number,
            head.digest,
            SCOPE.branch,
            made.description,
            made.author,
            99 * SECOND_NS,
        )
        == made
    )
    assert ("good", "it works", "Ops") == (made.name, made.description, made.author)
    assert made == any_engine.checkpoint(DEFAULT, CheckpointName("good"))
    assert [made] == _checkpoints(any_engine)
    assert {"k": "1"} == contents(any_engine, SCOPE, selector(checkpoint="good"))


@pytest.mark.parametrize(
    ("source", "number"),
    [(selector(2), 2), (selector(-2), 1), (selector(checkpoint="cp"), 2)],
    ids=str,
)
def test_a_checkpoint_may_name_any_revision(
    any_engine: Engine, source: Selector, number: int
) -> None:
    """A checkpoint names the head unless another revision is given."""
    applied(any_engine, "1", "2", "3")
    checkpoint(any_engine, "cp", selector(2))

    assert number == checkpoint(any_engine, "new", source).revision
    assert 3 == checkpoint(any_engine, "head").revision


def test_a_checkpoint_tells_its_branch(any_engine: Engine) -> None:
    """A checkpoint knows the branch that it was made from."""
    applied(any_engine, "1")
    applied(any_engine, "2", at=DEV)

    assert "dev" == checkpoint(any_engine, "a", at=DEV).branch
    assert "dev" == checkpoint(any_engine, "b", selector(branch="dev")).branch
    assert "main" == checkpoint(any_engine, "c").branch


def test_a_checkpoint_is_not_overwritten(any_engine: Engine) -> None:
    """A checkpoint that points elsewhere is a conflict unless it is replaced (B11)."""
    applied(any_engine, "1")
    checkpoint(any_engine, "cp")
    applied(any_engine, "2")
    with pytest.raises(CheckpointExists, match=r"'cp' already exists.*revision 1"):
        checkpoint(any_engine, "cp")
    with pytest.raises(CheckpointExists):
        checkpoint(any_engine, "cp", selector(1), description="other words")
    assert {"k": "1"} == contents(any_engine, SCOPE, selector(checkpoint="cp"))

    assert 2 == checkpoint(any_engine, "cp", replace=True).revision
    assert {"k": "2"} == contents(any_engine, SCOPE, selector(checkpoint="cp"))


def test_the_same_checkpoint_again_is_fine(any_engine: Engine) -> None:
    """The same name, revision and words again give the checkpoint that is there."""
    applied(any_engine, "1")
    first = checkpoint(any_engine, "cp", description="words")

    assert first == checkpoint(any_engine, "cp", description="words")
    assert [first] == _checkpoints(any_engine)


@pytest.mark.parametrize(
    ("at", "sight", "asked"),
    [
        (SCOPE, NO_KEYS, False),  # of this branch itself
        (DEV, ALL_KEYS, False),
        (DEV, None, False),
        (DEV, NO_KEYS, True),
    ],
)
def test_the_same_checkpoint_of_a_hidden_branch_is_asked_for(
    engine: Engine, at: Scope, sight: KeySet | None, *, asked: bool
) -> None:
    """Whoever can't see the branch that a checkpoint is of is not told that it is."""
    applied(engine, "1")
    branch(engine, "dev")
    made = checkpoint(engine, "c")
    asked_of: list[str] = []
    again = PutCheckpoint(
        at,
        CheckpointName("c"),
        Selector(sight=None if sight is None else lambda _: sight),
        guard=asked_of.append,
    )
    if asked:
        with pytest.raises(CheckpointExists):
            engine.put_checkpoint(again)
    else:
        assert made == engine.put_checkpoint(again)
    assert ["main"] * asked == asked_of


def test_a_checkpoint_is_deleted_once(any_engine: Engine) -> None:
    """A deleted checkpoint is gone; deleting it again is not found (B11)."""
    applied(any_engine, "1")
    checkpoint(any_engine, "cp")
    delete_checkpoint(any_engine, "cp")

    assert [] == _checkpoints(any_engine)
    with pytest.raises(CheckpointNotFound):
        delete_checkpoint(any_engine, "cp")
    with pytest.raises(CheckpointNotFound):
        any_engine.checkpoint(DEFAULT, CheckpointName("cp"))
    with pytest.raises(CheckpointNotFound):
        contents(any_engine, SCOPE, selector(checkpoint="cp"))
    checkpoint(any_engine, "cp")


def test_nothing_has_no_checkpoint(any_engine: Engine) -> None:
    """A checkpoint of a branch that is not there is refused, and makes none (B9, B11)."""
    with pytest.raises(BranchNotFound):
        checkpoint(any_engine, "cp")
    applied(any_engine, "1")
    with pytest.raises(BranchNotFound):
        checkpoint(any_engine, "cp", at=scope(branch="mistyped"))

    assert [] == _checkpoints(any_engine)
    assert ["main"] == branch_names(any_engine)
    branch(any_engine, "mistyped")


def test_a_checkpoint_belongs_to_its_namespace(any_engine: Engine) -> None:
    """Checkpoints of one name in two namespaces are two."""
    for owner in ("a", "b"):
        applied(any_engine, owner, at=scope(owner))
        checkpoint(any_engine, "cp", at=scope(owner))
    delete_checkpoint(any_engine, "cp", "a")

    assert [] == _checkpoints(any_engine, "a")
    assert {"k": "b"} == contents(any_engine, scope("b"), selector(checkpoint="cp"))


def test_a_checkpoint_writes_one_row(engine: Engine, store: FaultyStore) -> None:
    """To name a revision of 10,000 documents writes a pointer alone (B20)."""
    apply(engine, {f"{n:05d}": f"{n}" for n in range(10_000)})
    checkpoint(engine, "cp")
    batch = store.batches[-1]

    assert ({}, {}, {}, {}) == (
        batch.objects,
        batch.revisions,
        batch.namespaces,
        batch.branches,
    )


# --- lists and names ---------------------------------------------------------------------


def test_lists_are_paged(any_engine: Engine) -> None:
    """Namespaces, branches and checkpoints come a page at a time, in byte order."""
    names = ["a", "a/b", "ab", "b", "\uffff", "\U0001f680"]
    applied(any_engine, "1")
    for name in names:
        branch(any_engine, name)
        checkpoint(any_engine, name)
        applied(any_engine, "1", at=scope(name))

    def pages(kind: str, prefix: str = "") -> list[list[str]]:
        found: list[list[str]] = []
        after: str | None = ""
        while after is not None:
            if kind == "branches":
                page = any_engine.branches(DEFAULT, prefix=prefix, after=after, limit=2)
                found.append([item.name for item in page.items])
                after = page.next
            elif kind == "checkpoints":
                cps = any_engine.checkpoints(
                    DEFAULT, prefix=prefix, after=after, limit=2
                )
                found.append([item.name for item in cps.items])
                after = cps.next
            else:
                infos = any_engine.namespaces(prefix=prefix, after=after, limit=2)
                found.append([item.name for item in infos.items])
                after = infos.next
        return found

    assert [["a", "a/b"], ["ab", "b"], ["\uffff", "\U0001f680"]] == pages("checkpoints")
    with_main = [["a", "a/b"], ["ab", "b"], ["main", "\uffff"], ["\U0001f680"]]
    assert with_main == pages("branches")
    assert "default" in [name for page in pages("namespaces") for name in page]
    for kind in ("branches", "checkpoints", "namespaces"):
        assert [["a", "a/b"], ["ab"]] == pages(kind, "a")


def test_an_exact_page_is_the_last(any_engine: Engine) -> None:
    """A page that ends with the list has no cursor."""
    applied(any_engine, "1")
    branch(any_engine, "dev")

    assert any_engine.branches(DEFAULT, limit=2).next is None
    assert "dev" == any_engine.branches(DEFAULT, limit=1).next


@pytest.mark.parametrize(
    ("limit", "error"), [(0, InvalidValue), (-1, InvalidValue), (1001, LimitExceeded)]
)
def test_pages_are_bounded(
    any_engine: Engine, limit: int, error: type[Exception]
) -> None:
    """A page has at least one entry, and at most as many as its limit."""
    calls: list[Callable[[], object]] = [
        lambda: any_engine.namespaces(limit=limit),
        lambda: any_engine.branches(DEFAULT, limit=limit),
        lambda: any_engine.checkpoints(DEFAULT, limit=limit),
    ]
    for call in calls:
        with pytest.raises(error):
            call()


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (("a", "b/main"), ("a/b", "main")),
        (("a", "main"), ("a", "main/obj")),
        (("a/cp", "meta"), ("a", "cp")),
        (("a", "b"), ("a/b", "b")),
    ],
    ids=str,
)
def test_names_with_slashes_never_alias(
    any_engine: Engine, first: tuple[str, str], second: tuple[str, str]
) -> None:
    """Namespace a, branch b/main is not namespace a/b, branch main (B2, B3, B4)."""
    one, two = scope(*first), scope(*second)
    applied(any_engine, "one", at=one)

    assert (0, {}) == (any_engine.state(two).number, contents(any_engine, two))
    applied(any_engine, "two", at=two)
    assert {"k": "one"} == contents(any_engine, one)
    assert first[1] in branch_names(any_engine, first[0])
    assert second[1] in branch_names(any_engine, second[0])
    assert [("k", "update", "one", "two")] == (
        diff(any_engine, selector(branch=first[1]), selector(branch=second[1]), at=one)
        if first[0] == second[0]
        else [("k", "update", "one", "two")]
    )
