"""What st8 promises, as plainly as it can be written, and a machine that compares.

:class:`Model` keeps every state as a dictionary and forgets nothing. A
:class:`Machine` makes up histories of calls, asks them of a :class:`Driver` and of
the model, and compares. Whoever makes a driver, for the engine, for HTTP or for a
client, has the promises tested::

    class MyMachine(Machine):
        def open_driver(self) -> Driver: ...

    TestMine = MyMachine.TestCase

Calls that can't be done are part of it: the model says with which error code.
"""

# ruff: noqa: S101 - a comparison is an assert

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, NamedTuple, Protocol, TypeVar

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

__all__ = [
    "At",
    "Driver",
    "Entry",
    "Machine",
    "Model",
    "ModelError",
    "Outcome",
    "Write",
]

_ResultT = TypeVar("_ResultT")

State = dict[str, str]
Changes = list[tuple[str, str, str | None, str | None]]
"""Key, type, before, after."""


class At(NamedTuple):
    """Names a revision of a branch; see :class:`st8.engine.requests.Selector`."""

    revision: int | None = None
    checkpoint: str | None = None
    time_ns: int | None = None
    branch: str | None = None


class Write(NamedTuple):
    """An apply, a rollback or a restore."""

    kind: Literal["apply", "rollback", "restore"]
    namespace: str
    branch: str
    puts: tuple[tuple[str, str], ...] = ()
    deletes: tuple[str, ...] = ()
    target: At = At()
    message: str = ""
    author: str = ""
    expect: int | None = None
    dry_run: bool = False
    key: str | None = None


class Outcome(NamedTuple):
    """The answer to a write."""

    number: int
    noop: bool
    changes: Changes


class Entry(NamedTuple):
    """A revision in a log."""

    number: int
    parent: int
    branch: str
    kind: str
    message: str
    author: str
    changes: Changes


class Log(NamedTuple):
    """A page of a log; see :class:`st8.engine.history.LogPage`."""

    entries: list[Entry]
    next: int | None
    collected: int | None


class Pointer(NamedTuple):
    """A branch."""

    name: str
    base: int
    head: int


class Mark(NamedTuple):
    """A checkpoint."""

    name: str
    revision: int
    branch: str
    description: str


class ModelError(Exception):
    """What was asked can't be done.

    Attributes:
        codes: The codes of the errors that may say so.
    """

    def __init__(self, *codes: str) -> None:
        """Expect one of ``codes``."""
        super().__init__(", ".join(codes))
        self.codes = codes


class Driver(Protocol):
    """Asks the thing that is tested. A refusal is an ``St8Error``."""

    def write(self, write: Write) -> Outcome:
        """Apply, roll back or restore."""
        ...

    def state(self, namespace: str, branch: str, at: At) -> tuple[int, State]:
        """Return number and documents of a state."""
        ...

    def diff(self, namespace: str, branch: str, source: At, target: At) -> Changes:
        """Return the changes between two states."""
        ...

    def log(
        self,
        namespace: str,
        branch: str,
        limit: int,
        after: int | None,
        key: str | None,
    ) -> Log:
        """Return a page of a log, of one key if it is given."""
        ...

    def time_of(self, namespace: str, branch: str) -> int:
        """Return when the head of a branch was made, in nanoseconds."""
        ...

    def branches(self, namespace: str) -> list[Pointer]:
        """Return all branches."""
        ...

    def checkpoints(self, namespace: str) -> list[Mark]:
        """Return all checkpoints."""
        ...

    def namespaces(self) -> list[tuple[str, int]]:
        """Return all namespaces with their newest numbers."""
        ...

    def create_branch(self, namespace: str, branch: str, name: str, at: At) -> Pointer:
        """Make a branch from a revision of ``branch``."""
        ...

    def delete_branch(self, namespace: str, name: str, expect: int | None) -> None:
        """Take a branch away."""
        ...

    def put_checkpoint(
        self,
        namespace: str,
        branch: str,
        name: str,
        at: At,
        description: str,
        *,
        replace: bool,
    ) -> Mark:
        """Name a revision."""
        ...

    def delete_checkpoint(self, namespace: str, name: str) -> None:
        """Take a checkpoint away."""
        ...

    def collect(self, keep: int) -> int:
        """Collect garbage in all namespaces; return how many revisions went."""
        ...

    def reopen(self) -> None:
        """End it and begin it anew on what it has stored, where that can be."""
        ...

    def close(self) -> None:
        """End it."""
        ...


def changes_between(before: State, after: State) -> Changes:
    """Return what differs between two states, in the order of UTF-8."""
    types = {(True, True): "update", (False, True): "create", (True, False): "delete"}
    return [
        (key, types[key in before, key in after], before.get(key), after.get(key))
        for key in sorted(before.keys() | after.keys(), key=str.encode)
        if before.get(key) != after.get(key)
    ]


@dataclass
class _Revision:
    number: int
    parent: int
    branch: str
    kind: str
    message: str
    author: str
    state: State
    time_ns: int = 0
    gone: bool = False


@dataclass
class _Namespace:
    revisions: dict[int, _Revision] = field(default_factory=dict)
    branches: dict[str, Pointer] = field(default_factory=dict)
    checkpoints: dict[str, Mark] = field(default_factory=dict)
    answers: dict[str, tuple[Write, Outcome]] = field(default_factory=dict)


class Model:
    """Everything that was ever done, as dictionaries."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self.spaces: dict[str, _Namespace] = {}

    # --- finding ---------------------------------------------------------------

    def space(self, namespace: str) -> _Namespace:
        """Return a namespace; an empty one if it is not there."""
        return self.spaces.get(namespace, _Namespace())

    def history(self, space: _Namespace, head: int) -> list[_Revision]:
        """Return a revision and its ancestors, those that are gone too."""
        found: list[_Revision] = []
        while head:
            found.append(space.revisions[head])
            head = found[-1].parent
        return found

    def find(self, namespace: str, branch: str, at: At) -> _Revision | None:
        """Return the revision that ``at`` names; None for a head that is not there.

        Raises:
            ModelError: It is not there, or not any more.
        """
        space = self.space(namespace)
        if at.checkpoint is not None:
            mark = space.checkpoints.get(at.checkpoint)
            if mark is None:
                raise ModelError("checkpoint_not_found")
            return space.revisions[mark.revision]
        pointer = space.branches.get(at.branch or branch)
        is_head = at.time_ns is None and not at.revision
        if pointer is None:
            if is_head and at.branch is None:
                return None
            raise ModelError("branch_not_found")
        history = self.history(space, pointer.head)
        if is_head:
            return history[0]
        if at.time_ns is not None:
            return _first_of(history, lambda r: r.time_ns <= (at.time_ns or 0))
        number = at.revision or 0
        if number < 0:
            if -number >= len(history):
                raise ModelError("revision_not_found", "revision_collected")
            return _present(history[: -number + 1])
        return self._numbered(space, history, number)

    def _numbered(
        self, space: _Namespace, history: list[_Revision], number: int
    ) -> _Revision:
        found = space.revisions.get(number)
        if found is None:
            raise ModelError("revision_not_found")
        if found.gone:
            raise ModelError("revision_collected")
        if found not in history:
            # Beyond a hole nobody can tell any more what led where.
            hole = any(revision.gone for revision in history)
            raise ModelError("revision_not_found", *(["unspecified"] if hole else []))
        path = history[: history.index(found)]
        if any(revision.gone for revision in path):
            raise ModelError("unspecified")
        return found

    # --- writing ---------------------------------------------------------------

    def write(self, write: Write) -> tuple[Outcome, _Revision | None]:
        """Do a write; return its answer, and the revision if one was made.

        Raises:
            ModelError: It can't be done.
        """
        space = self.space(write.namespace)
        key = None if write.dry_run else write.key
        if key is not None and key in space.answers:
            asked, outcome = space.answers[key]
            if asked != write:
                raise ModelError("idempotency_mismatch")
            if space.revisions[outcome.number].gone:
                raise ModelError("unspecified")
            return outcome, None
        head = self.find(write.namespace, write.branch, At())
        number = 0 if head is None else head.number
        if write.expect not in (None, number):
            raise ModelError("head_moved")
        before = {} if head is None else head.state
        after = self._after(write, head)
        if before == after:
            outcome, made = Outcome(number, noop=True, changes=[]), None
        else:
            changes = changes_between(before, after)
            if write.dry_run:
                return Outcome(number, noop=False, changes=changes), None
            made = self._revise(write, number, after)
            outcome = Outcome(made.number, noop=False, changes=changes)
        if key is not None and outcome.number:
            self.space(write.namespace).answers[key] = (write, outcome)
        return outcome, made

    def _after(self, write: Write, head: _Revision | None) -> State:
        if write.kind == "apply":
            before = {} if head is None else head.state
            after = {**before, **dict(write.puts)}
            return {k: v for k, v in after.items() if k not in write.deletes}
        if head is None:
            raise ModelError("branch_not_found")
        target = self.find(write.namespace, write.branch, write.target)
        assert target is not None
        return target.state

    def _revise(self, write: Write, parent: int, state: State) -> _Revision:
        space = self.spaces.setdefault(write.namespace, _Namespace())
        number = len(space.revisions) + 1
        made = _Revision(
            number,
            parent,
            write.branch,
            write.kind,
            write.message.strip() or write.kind,
            write.author,
            state,
        )
        space.revisions[number] = made
        pointer = space.branches.get(write.branch)
        base = 0 if pointer is None else pointer.base
        space.branches[write.branch] = Pointer(write.branch, base, number)
        return made

    def create_branch(self, namespace: str, branch: str, name: str, at: At) -> Pointer:
        """Make a branch.

        Raises:
            ModelError: It can't be made.
        """
        source = self.find(namespace, branch, at)
        if source is None:
            raise ModelError("branch_not_found")
        space = self.space(namespace)
        if name in space.branches:
            raise ModelError("branch_exists")
        pointer = Pointer(name, source.number, source.number)
        space.branches[name] = pointer
        return pointer

    def delete_branch(self, namespace: str, name: str, expect: int | None) -> None:
        """Take a branch away.

        Raises:
            ModelError: It can't be taken away.
        """
        space = self.space(namespace)
        if name not in space.branches:
            raise ModelError("branch_not_found")
        if expect not in (None, space.branches[name].head):
            raise ModelError("head_moved")
        del space.branches[name]

    def put_checkpoint(
        self,
        namespace: str,
        branch: str,
        name: str,
        at: At,
        description: str,
        *,
        replace: bool,
    ) -> Mark:
        """Name a revision.

        Raises:
            ModelError: It can't be named so.
        """
        source = self.find(namespace, branch, at)
        if source is None:
            raise ModelError("branch_not_found")
        space = self.space(namespace)
        found = space.checkpoints.get(name)
        if found is not None:
            if (found.revision, found.description) == (source.number, description):
                return found
            if not replace:
                raise ModelError("checkpoint_exists")
        mark = Mark(name, source.number, at.branch or branch, description)
        space.checkpoints[name] = mark
        return mark

    def delete_checkpoint(self, namespace: str, name: str) -> None:
        """Take a checkpoint away.

        Raises:
            ModelError: It is not there.
        """
        if self.space(namespace).checkpoints.pop(name, None) is None:
            raise ModelError("checkpoint_not_found")

    def collect(self, keep: int) -> int:
        """Mark as gone what a collection removes, and return how many went."""
        count = 0
        for space in self.spaces.values():
            kept = {mark.revision for mark in space.checkpoints.values()}
            for pointer in space.branches.values():
                kept |= {pointer.base, pointer.head}
                for revision in self.history(space, pointer.head)[:keep]:
                    if revision.gone:
                        break
                    kept.add(revision.number)
            for revision in space.revisions.values():
                if revision.number not in kept and not revision.gone:
                    revision.gone = True
                    count += 1
        return count

    # --- reading ---------------------------------------------------------------

    def state(self, namespace: str, branch: str, at: At) -> tuple[int, State]:
        """Return number and documents of a state.

        Raises:
            ModelError: It is not there.
        """
        found = self.find(namespace, branch, at)
        return (0, {}) if found is None else (found.number, found.state)

    def diff(self, namespace: str, branch: str, source: At, target: At) -> Changes:
        """Return the changes between two states.

        Raises:
            ModelError: One is not there.
        """
        _, before = self.state(namespace, branch, source)
        _, after = self.state(namespace, branch, target)
        return changes_between(before, after)

    def log(
        self,
        namespace: str,
        branch: str,
        limit: int,
        after: int | None,
        key: str | None,
    ) -> Log:
        """Return a page of a log."""
        space = self.space(namespace)
        pointer = space.branches.get(branch)
        history = [] if pointer is None else self.history(space, pointer.head)
        entries: list[Entry] = []
        for revision in history:
            if revision.gone:
                return Log(entries, None, revision.number)
            if after is not None and revision.number >= after:
                continue
            entry = self._entry(space, revision)
            if key is None or key in {changed for changed, *_ in entry.changes}:
                entries.append(entry)
            if len(entries) == limit:
                more = revision.number if revision.parent else None
                return Log(entries, more, None)
        return Log(entries, None, None)

    def _entry(self, space: _Namespace, revision: _Revision) -> Entry:
        parent = space.revisions.get(revision.parent)
        return Entry(
            revision.number,
            revision.parent,
            revision.branch,
            revision.kind,
            revision.message,
            revision.author,
            changes_between({} if parent is None else parent.state, revision.state),
        )


def _present(path: list[_Revision]) -> _Revision:
    """Return the last of a path along parents, if none of it is gone."""
    if any(revision.gone for revision in path):
        raise ModelError("revision_collected")
    return path[-1]


def _first_of(
    history: list[_Revision], wanted: Callable[[_Revision], bool]
) -> _Revision:
    for index, revision in enumerate(history):
        if wanted(revision):
            return _present(history[: index + 1])
    if any(revision.gone for revision in history):
        raise ModelError("revision_collected")
    raise ModelError("no_revision_at")


# --- the machine ----------------------------------------------------------------------

_NAMESPACES = st.sampled_from(["default", "a", "a/b"])
_BRANCHES = st.sampled_from(["main", "b/main", "dev"])
_CHECKPOINTS = st.sampled_from(["good", "main", "\U0010ffff"])
_KEYS = st.sampled_from(
    ["a", "a/b", "a/b/c", "ab", "b", "é", "\U0001f680", "z/1", "z/2"]
)
_CONTENTS = st.sampled_from(["", "1", "2", "line\n", "line\nmore\n", "\u2028"])
_PUTS = st.dictionaries(_KEYS, _CONTENTS, max_size=4)
_DELETES = st.sets(_KEYS, max_size=2)
_ATS = st.one_of(
    st.just(At()),
    st.integers(-6, 25).map(At),
    _CHECKPOINTS.map(lambda name: At(checkpoint=name)),
    _BRANCHES.map(lambda name: At(branch=name)),
    st.tuples(st.integers(-4, 25), _BRANCHES).map(
        lambda two: At(two[0], branch=two[1])
    ),
)
_EXPECTS = st.sampled_from([None, None, None, "right", "wrong"])
_IDEMPOTENCY = st.sampled_from([None, None, "k1", "k2", "k3"])
_WORDS = st.sampled_from(["", "why", " two words \n"])
_AUTHORS = st.sampled_from(["", "Ana", "Bo"])


class Machine(RuleBasedStateMachine):
    """Asks a driver and a model the same, and compares each answer.

    After each step every head that was touched is compared; now and then all is.
    """

    def __init__(self) -> None:
        """Begin with nothing on both sides."""
        super().__init__()
        self.driver = self.open_driver()
        self.model = Model()
        self.asked: list[Write] = []
        self.touched: set[tuple[str, str]] = set()

    def open_driver(self) -> Driver:
        """Return a driver of something new and empty."""
        raise NotImplementedError

    def teardown(self) -> None:
        """End the driver."""
        self.driver.close()

    def compare(
        self, expected: Callable[[], _ResultT], actual: Callable[[], _ResultT]
    ) -> _ResultT | None:
        """Ask both, and return what both answer; None when both refuse."""
        from st8.core.errors import St8Error  # noqa: PLC0415 - not for who only reads

        try:
            answer = expected()
        except ModelError as refusal:
            try:
                got = actual()
            except St8Error as error:
                if "unspecified" not in refusal.codes:
                    assert error.code in refusal.codes, (error, refusal)
                else:
                    assert error.http_status < 500, (error, refusal)  # noqa: PLR2004
                return None
            assert "unspecified" in refusal.codes, (got, refusal)
            return None
        assert answer == actual()
        return answer

    # --- rules ---------------------------------------------------------------

    def _expected_head(
        self, namespace: str, branch: str, expect: str | None
    ) -> int | None:
        if expect is None:
            return None
        pointer = self.model.space(namespace).branches.get(branch)
        return (0 if pointer is None else pointer.head) + (expect == "wrong")

    def _write(self, write: Write) -> None:
        made: list[_Revision | None] = []

        def expected() -> Outcome:
            outcome, revision = self.model.write(write)
            made.append(revision)
            return outcome

        self.compare(expected, lambda: self.driver.write(write))
        for revision in made:
            if revision is not None:
                time_ns = self.driver.time_of(write.namespace, write.branch)
                parent = self.model.space(write.namespace).revisions.get(
                    revision.parent
                )
                assert time_ns >= (0 if parent is None else parent.time_ns)
                revision.time_ns = time_ns
        self.asked.append(write)
        self.touched.add((write.namespace, write.branch))

    @rule(
        namespace=_NAMESPACES,
        branch=_BRANCHES,
        puts=_PUTS,
        deletes=_DELETES,
        words=_WORDS,
        author=_AUTHORS,
        expect=_EXPECTS,
        dry_run=st.sampled_from([False, False, False, True]),
        key=_IDEMPOTENCY,
    )
    def apply(
        self,
        namespace: str,
        branch: str,
        puts: State,
        deletes: set[str],
        words: str,
        author: str,
        expect: str | None,
        dry_run: bool,
        key: str | None,
    ) -> None:
        """Put and delete documents."""
        gone = sorted(deletes - puts.keys())
        if not puts and not gone:
            puts = {"a": "1"}
        self._write(
            Write(
                "apply",
                namespace,
                branch,
                tuple(puts.items()),
                tuple(gone),
                message=words,
                author=author,
                expect=self._expected_head(namespace, branch, expect),
                dry_run=dry_run,
                key=key,
            )
        )

    @rule(
        kind=st.sampled_from(["rollback", "restore"]),
        namespace=_NAMESPACES,
        branch=_BRANCHES,
        at=_ATS,
        words=_WORDS,
        expect=_EXPECTS,
        dry_run=st.sampled_from([False, False, True]),
        key=_IDEMPOTENCY,
    )
    def reset(
        self,
        kind: Literal["rollback", "restore"],
        namespace: str,
        branch: str,
        at: At,
        words: str,
        expect: str | None,
        dry_run: bool,
        key: str | None,
    ) -> None:
        """Go back to another state."""
        self._write(
            Write(
                kind,
                namespace,
                branch,
                target=at,
                message=words,
                expect=self._expected_head(namespace, branch, expect),
                dry_run=dry_run,
                key=key,
            )
        )

    @precondition(lambda self: self.asked)
    @rule(back=st.integers(1, 5))
    def ask_again(self, back: int) -> None:
        """Send an earlier write again, as it was."""
        self._write(self.asked[-min(back, len(self.asked))])

    @rule(namespace=_NAMESPACES, branch=_BRANCHES, name=_BRANCHES, at=_ATS)
    def create_branch(self, namespace: str, branch: str, name: str, at: At) -> None:
        """Make a branch."""
        self.compare(
            lambda: self.model.create_branch(namespace, branch, name, at),
            lambda: self.driver.create_branch(namespace, branch, name, at),
        )
        self.touched.add((namespace, name))

    @rule(
        namespace=_NAMESPACES,
        name=_BRANCHES,
        expect=st.sampled_from([None, "right", "wrong"]),
    )
    def delete_branch(self, namespace: str, name: str, expect: str | None) -> None:
        """Take a branch away."""
        head = self._expected_head(namespace, name, expect)
        self.compare(
            lambda: self.model.delete_branch(namespace, name, head),
            lambda: self.driver.delete_branch(namespace, name, head),
        )
        self.touched.add((namespace, name))

    @rule(
        namespace=_NAMESPACES,
        branch=_BRANCHES,
        name=_CHECKPOINTS,
        at=_ATS,
        words=_WORDS,
        replace=st.booleans(),
    )
    def put_checkpoint(
        self, namespace: str, branch: str, name: str, at: At, words: str, replace: bool
    ) -> None:
        """Name a revision."""
        self.compare(
            lambda: self.model.put_checkpoint(
                namespace, branch, name, at, words, replace=replace
            ),
            lambda: self.driver.put_checkpoint(
                namespace, branch, name, at, words, replace=replace
            ),
        )

    @rule(namespace=_NAMESPACES, name=_CHECKPOINTS)
    def delete_checkpoint(self, namespace: str, name: str) -> None:
        """Take a checkpoint away."""
        self.compare(
            lambda: self.model.delete_checkpoint(namespace, name),
            lambda: self.driver.delete_checkpoint(namespace, name),
        )

    @rule(namespace=_NAMESPACES, branch=_BRANCHES, at=_ATS)
    def read(self, namespace: str, branch: str, at: At) -> None:
        """Read a state."""
        self.compare(
            lambda: self.model.state(namespace, branch, at),
            lambda: self.driver.state(namespace, branch, at),
        )

    @rule(namespace=_NAMESPACES, branch=_BRANCHES, data=st.data())
    def read_at_a_time(self, namespace: str, branch: str, data: st.DataObject) -> None:
        """Read a state at, or just before, the time of some revision."""
        revisions = self.model.space(namespace).revisions.values()
        times = sorted({revision.time_ns for revision in revisions} | {0})
        time_ns = data.draw(st.sampled_from(times)) - data.draw(st.integers(0, 1))
        self.read(namespace, branch, At(time_ns=max(0, time_ns)))

    @rule(namespace=_NAMESPACES, branch=_BRANCHES, before=_ATS, after=_ATS)
    def diff(self, namespace: str, branch: str, before: At, after: At) -> None:
        """Compare two states."""
        self.compare(
            lambda: self.model.diff(namespace, branch, before, after),
            lambda: self.driver.diff(namespace, branch, before, after),
        )

    @rule(
        namespace=_NAMESPACES,
        branch=_BRANCHES,
        limit=st.integers(1, 4),
        key=st.none() | _KEYS,
    )
    def read_log(
        self, namespace: str, branch: str, limit: int, key: str | None
    ) -> None:
        """Read a log to its end, page by page."""
        after: int | None = None
        for _ in range(100):
            page = self.compare(
                lambda after=after: self.model.log(
                    namespace, branch, limit, after, key
                ),
                lambda after=after: self.driver.log(
                    namespace, branch, limit, after, key
                ),
            )
            assert page is not None
            after = page.next
            if after is None:
                return
        raise AssertionError("a log without end")

    @rule(keep=st.integers(1, 5))
    def collect(self, keep: int) -> None:
        """Collect garbage."""
        self.compare(
            lambda: self.model.collect(keep), lambda: self.driver.collect(keep)
        )
        self.compare_all()

    @rule()
    def reopen(self) -> None:
        """Begin anew on what is stored."""
        self.driver.reopen()
        self.compare_all()

    # --- what holds after every step --------------------------------------------

    @invariant()
    def heads_agree(self) -> None:
        """Every head that a step touched is as the model says."""
        for namespace, branch in self.touched:
            self.read(namespace, branch, At())
        self.touched.clear()

    @rule()
    def compare_all(self) -> None:
        """Compare all lists, heads and checkpoints."""
        spaces = self.model.spaces
        assert [(name, len(spaces[name].revisions)) for name in _sorted(spaces)] == (
            self.driver.namespaces()
        )
        for namespace, space in spaces.items():
            assert [
                space.branches[name] for name in _sorted(space.branches)
            ] == self.driver.branches(namespace)
            assert [
                space.checkpoints[name] for name in _sorted(space.checkpoints)
            ] == self.driver.checkpoints(namespace)
            for branch in space.branches:
                self.read(namespace, branch, At())
            for checkpoint in space.checkpoints:
                self.read(namespace, "main", At(checkpoint=checkpoint))


def _sorted(names: Iterable[str]) -> Sequence[str]:
    return sorted(names, key=str.encode)
