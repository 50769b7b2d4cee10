"""A machine that makes up histories of calls and compares what comes of them.

It asks the same of a :class:`~st8.testing.model.Driver` and of the
:class:`~st8.testing.model.Model`. Whoever makes a driver, for the engine, for HTTP
or for a client, has the promises tested::

    class MyMachine(Machine):
        def open_driver(self) -> Driver: ...

    TestMine = MyMachine.TestCase
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, Literal, TypeVar

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from st8.core.errors import St8Error
from st8.testing.model import At, Driver, Model, ModelError, Outcome, State, Write

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from st8.testing.model import Redacted, Revision

__all__ = ["Machine"]

_ResultT = TypeVar("_ResultT")

_SERVER_FAULT = 500
_WHEN: Final = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ"

_NAMESPACES = st.sampled_from(["default", "a", "a/b"])
_BRANCHES = st.sampled_from(["main", "b/main", "dev"])
_CHECKPOINTS = st.sampled_from(["good", "main", "\U0010ffff"])
_KEYS = st.sampled_from(
    ["a", "a/b", "a/b/c", "ab", "b", "é", "\U0001f680", "z/1", "z/2"]
)
# Few, so that states repeat, and enough that some are not current anywhere.
_CONTENTS = st.one_of(
    st.sampled_from(["", "1", "2", "line\n", "line\nmore\n", "\u2028"]),
    st.integers(3, 60).map(str),
)
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
_AUTHORS = st.sampled_from(["", "Ops", "Deploy"])


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

    def askable(self, kind: str, at: At) -> At:  # noqa: ARG002 - for others
        """Return ``at``, or what is near it that the driver has a way to ask for.

        Args:
            kind: What is asked: the kind of a write, ``checkpoint`` or ``redact``.
            at: Which revision.
        """
        return at

    def teardown(self) -> None:
        """End the driver."""
        self.driver.close()

    def compare(
        self, expected: Callable[[], _ResultT], actual: Callable[[], _ResultT]
    ) -> _ResultT | None:
        """Ask both, and return what both answer; None when both refuse."""
        try:
            answer = expected()
        except ModelError as refusal:
            _expect_refusal(refusal, actual)
            return None
        _expect(answer, actual())
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
        made: list[Revision | None] = []

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
                _expect(True, time_ns >= (0 if parent is None else parent.time_ns))
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
        *,
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
        *,
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
                target=self.askable(kind, at),
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
        self,
        *,
        namespace: str,
        branch: str,
        name: str,
        at: At,
        words: str,
        replace: bool,
    ) -> None:
        """Name a revision."""
        at = self.askable("checkpoint", at)
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
        self.read(namespace=namespace, branch=branch, at=At(time_ns=max(0, time_ns)))

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
            after = self._read_page(namespace, branch, limit, after, key)
            if after is None:
                return
        raise AssertionError("a log without end")

    def _read_page(
        self,
        namespace: str,
        branch: str,
        limit: int,
        after: int | None,
        key: str | None,
    ) -> int | None:
        page = self.compare(
            lambda: self.model.log(namespace, branch, limit, after, key),
            lambda: self.driver.log(namespace, branch, limit, after, key),
        )
        return None if page is None else page.next

    @rule(keep=st.integers(1, 5))
    def collect(self, keep: int) -> None:
        """Collect garbage."""
        self.compare(
            lambda: self.model.collect(keep), lambda: self.driver.collect(keep)
        )
        self.compare_all()

    @rule(kill=st.booleans())
    def reopen(self, *, kill: bool) -> None:
        """Begin anew on what is stored."""
        self.driver.reopen(kill=kill)
        self.compare_all()

    @rule(
        namespace=_NAMESPACES,
        branch=_BRANCHES,
        key=_KEYS,
        at=_ATS,
        reason=_WORDS,
        author=_AUTHORS,
        dry_run=st.booleans(),
    )
    def redact(
        self,
        *,
        namespace: str,
        branch: str,
        key: str,
        at: At,
        reason: str,
        author: str,
        dry_run: bool,
    ) -> None:
        """Take a content out of all revisions."""
        at = self.askable("redact", at)
        found: Redacted | None = self.compare(
            lambda: self.model.redact(namespace, branch, key, at),
            lambda: self.driver.redact(
                namespace,
                branch,
                key,
                at,
                reason=reason,
                author=author,
                dry_run=dry_run,
            ),
        )
        if found is None or dry_run:
            return
        content = self.model.content(namespace, branch, key, at)
        if content not in self.model.marks:
            mark = self.driver.state(namespace, branch, at)[1][key]
            by = f" by {author}" if author else ""
            why = f": {' '.join(reason.split())}" if reason.strip() else ""
            pattern = rf"\[st8: redacted {_WHEN}{re.escape(by + why)}\]\n"
            if not re.fullmatch(pattern, mark):
                raise AssertionError(f"expected a mark, got {mark!r}")
            self.model.mark(content, mark)
        self.read(namespace=namespace, branch=branch, at=at)
        self.compare_all()

    @precondition(lambda self: self.model.documents())
    @rule(
        data=st.data(), reason=_WORDS, author=_AUTHORS, current=st.sampled_from("ynn")
    )
    def redact_what_is_there(
        self, data: st.DataObject, reason: str, author: str, current: str
    ) -> None:
        """Take a content out that some state has, mostly one that no head has."""
        documents = self.model.documents()
        if current == "n":
            documents = self.model.redactable() or documents
        namespace, branch, key, number = data.draw(st.sampled_from(documents))
        self.redact(
            namespace=namespace,
            branch=branch,
            key=key,
            at=At(number),
            reason=reason,
            author=author,
            dry_run=False,
        )

    @precondition(lambda self: self.model.redacted_revisions())
    @rule(data=st.data(), kind=st.sampled_from(["rollback", "restore", "branch"]))
    def go_to_what_was_redacted(
        self, data: st.DataObject, kind: Literal["rollback", "restore", "branch"]
    ) -> None:
        """Try to make a state current that had what was redacted."""
        namespace, branch, number = data.draw(
            st.sampled_from(self.model.redacted_revisions())
        )
        if kind == "branch":
            name = data.draw(_BRANCHES)
            self.create_branch(namespace, branch, name, At(number))
        else:
            self._write(Write(kind, namespace, branch, target=At(number)))

    @precondition(lambda self: self.model.marks)
    @rule(namespace=_NAMESPACES, branch=_BRANCHES, key=_KEYS, data=st.data())
    def apply_what_was_redacted(
        self, namespace: str, branch: str, key: str, data: st.DataObject
    ) -> None:
        """Try to bring a content back."""
        content = data.draw(st.sampled_from(sorted(self.model.marks)))
        self._write(Write("apply", namespace, branch, ((key, content),)))

    @precondition(lambda self: self.model.heads())
    @rule(data=st.data())
    def watch_a_head(self, data: st.DataObject) -> None:
        """Be told what has led to some head."""
        namespace, branch, head = data.draw(st.sampled_from(self.model.heads()))
        after = data.draw(st.integers(0, head - 1))
        self.watch(namespace=namespace, branch=branch, after=after)

    @rule(namespace=_NAMESPACES, branch=_BRANCHES, after=st.integers(0, 25))
    def watch(self, namespace: str, branch: str, after: int) -> None:
        """Be told what a branch has had since a revision, if there is anything."""
        expected = self.model.news(namespace, branch, after)
        if expected:
            actual = self.driver.news(namespace, branch, after)
            if actual not in expected:
                raise AssertionError(f"expected one of {expected!r}, got {actual!r}")

    # --- what holds after every step --------------------------------------------

    @invariant()
    def heads_agree(self) -> None:
        """Every head that a step touched is as the model says."""
        for namespace, branch in self.touched:
            self.read(namespace=namespace, branch=branch, at=At())
        self.touched.clear()

    @rule()
    def compare_all(self) -> None:
        """Compare all lists, heads and checkpoints."""
        spaces = self.model.spaces
        _expect(
            [(name, len(spaces[name].revisions)) for name in _sorted(spaces)],
            self.driver.namespaces(),
        )
        for namespace, space in spaces.items():
            _expect(
                [space.branches[name] for name in _sorted(space.branches)],
                self.driver.branches(namespace),
            )
            _expect(
                [space.checkpoints[name] for name in _sorted(space.checkpoints)],
                self.driver.checkpoints(namespace),
            )
            for branch in space.branches:
                self.read(namespace=namespace, branch=branch, at=At())
            for checkpoint in space.checkpoints:
                at = At(checkpoint=checkpoint)
                self.read(namespace=namespace, branch="main", at=at)


def _expect(expected: object, actual: object) -> None:
    if expected != actual:
        raise AssertionError(f"expected {expected!r}, got {actual!r}")


def _expect_refusal(refusal: ModelError, actual: Callable[[], object]) -> None:
    """Raise unless ``actual`` is refused with one of the codes that may be."""
    open_ended = "unspecified" in refusal.codes
    try:
        answer = actual()
    except St8Error as error:
        if open_ended and error.http_status < _SERVER_FAULT:
            return
        if error.code not in refusal.codes:
            raise AssertionError(f"expected {refusal}, got {error!r}") from error
    else:
        if not open_ended:
            raise AssertionError(f"expected {refusal}, got {answer!r}")


def _sorted(names: Iterable[str]) -> Sequence[str]:
    return sorted(names, key=str.encode)
