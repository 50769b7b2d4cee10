"""What st8 promises, as plainly as it can be written.

:class:`Model` keeps every state as a dictionary and forgets nothing. What can't be
done is part of it: the model says with which error code. :mod:`st8.testing.machine`
compares it with something real, which it reaches through a :class:`Driver`.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from itertools import takewhile
from typing import TYPE_CHECKING, Literal, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = [
    "At",
    "Changes",
    "Driver",
    "Entry",
    "Log",
    "Mark",
    "Model",
    "ModelError",
    "News",
    "Outcome",
    "Pointer",
    "Redacted",
    "Revision",
    "Space",
    "State",
    "Write",
    "changes_between",
]

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
    kept: list[str] = []  # noqa: RUF012 - of a tuple, and never changed
    """Keys that were left as they were, since what would stand there was redacted."""


class Redacted(NamedTuple):
    """What a redaction found: the content's digest, and namespaces and keys."""

    digest: str
    places: list[tuple[str, str]]


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


class News(NamedTuple):
    """What a watcher is told: of revisions, or to read the state at ``resync``."""

    entries: list[Entry]
    resync: int | None = None
    reason: str | None = None


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

    def redact(
        self,
        namespace: str,
        branch: str,
        key: str,
        at: At,
        *,
        reason: str,
        author: str,
        dry_run: bool,
    ) -> Redacted:
        """Take what a document has in a revision out of all revisions."""
        ...

    def news(self, namespace: str, branch: str, after: int) -> News:
        """Return what a watcher is told who knows revision ``after``.

        Up to the head of the branch, which is another revision and not before it
        was made: there is something to tell.
        """
        ...

    def reopen(self, *, kill: bool) -> None:
        """End it and begin it anew on what it has stored, where that can be.

        Args:
            kill: Without an end: on what would be there after a kill -9.
        """
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
class Revision:
    """A revision, with its whole state.

    Attributes:
        time_ns: When it was made, as the driver told.
        gone: A collection has removed it.
    """

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
class Space:
    """A namespace."""

    revisions: dict[int, Revision] = field(default_factory=dict[int, Revision])
    branches: dict[str, Pointer] = field(default_factory=dict[str, Pointer])
    checkpoints: dict[str, Mark] = field(default_factory=dict[str, Mark])
    since: dict[str, int] = field(default_factory=dict[str, int])
    """The newest number when each branch was made: later ones of its name are its."""


class Model:
    """Everything that was ever done, as dictionaries."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self.spaces: dict[str, Space] = {}
        self.answers: dict[tuple[str, str], tuple[Write, Outcome]] = {}
        self.marks: dict[str, str] = {}
        """What is read in place of each content that was redacted."""

    # --- finding ---------------------------------------------------------------

    def space(self, namespace: str) -> Space:
        """Return a namespace; an empty one if it is not there."""
        return self.spaces.get(namespace, Space())

    def history(self, space: Space, head: int) -> list[Revision]:
        """Return a revision and its ancestors, those that are gone too."""
        found: list[Revision] = []
        while head:
            found.append(space.revisions[head])
            head = found[-1].parent
        return found

    def find(self, namespace: str, branch: str, at: At) -> Revision | None:
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
                raise ModelError("revision_not_found")
            return _present(history[: -number + 1])
        return self._numbered(space, pointer, number)

    def _numbered(self, space: Space, pointer: Pointer, number: int) -> Revision:
        found = space.revisions.get(number)
        if found is None:
            raise ModelError("revision_not_found")
        if found.gone:
            raise ModelError("revision_collected")
        history = self.history(space, pointer.head)
        own = found.branch == pointer.name and number > space.since[pointer.name]
        if number < pointer.base:
            # The base is kept, so what is before it is looked for from there.
            history = self.history(space, pointer.base)
        elif found in history and (own or number == pointer.base):
            return found
        broken = any(r.gone and r.number > number for r in history)
        if found not in history:
            codes = ("revision_not_found", "revision_collected")
            raise ModelError(*codes[: 1 + (broken and number < pointer.base)])
        if broken:
            # Unless a skip leads over the hole, it can't be told whose it is.
            raise ModelError("unspecified", "revision_collected")
        return found

    # --- writing ---------------------------------------------------------------

    def write(self, write: Write) -> tuple[Outcome, Revision | None]:
        """Do a write; return its answer, and the revision if one was made.

        Raises:
            ModelError: It can't be done.
        """
        space = self.space(write.namespace)
        key = None if write.dry_run else write.key
        if key is not None and (write.namespace, key) in self.answers:
            asked, outcome = self.answers[write.namespace, key]
            if asked != write:
                raise ModelError("idempotency_mismatch")
            if outcome.number and space.revisions[outcome.number].gone:
                raise ModelError("revision_collected")
            return self._shown(outcome), None
        head = self.find(write.namespace, write.branch, At())
        number = 0 if head is None else head.number
        if write.expect not in (None, number):
            raise ModelError("head_moved")
        before = {} if head is None else head.state
        after, kept = self._after(write, head)
        if before == after:
            outcome, made = Outcome(number, noop=True, changes=[]), None
        else:
            changes = changes_between(before, after)
            if any(content in self.marks for *_, content in changes):
                raise ModelError("content_redacted")
            outcome, made = Outcome(number, noop=False, changes=changes), None
            if not write.dry_run:
                made = self._revise(write, number, after)
                outcome = outcome._replace(number=made.number)
        if key is not None:
            self.answers[write.namespace, key] = (write, outcome)
        return self._shown(outcome)._replace(kept=kept), made

    def _after(self, write: Write, head: Revision | None) -> tuple[State, list[str]]:
        """Return the next state, and the keys that are left out of a rollback."""
        before = {} if head is None else head.state
        if write.kind == "apply":
            after = {**before, **dict(write.puts)}
            return {k: v for k, v in after.items() if k not in write.deletes}, []
        if head is None:
            raise ModelError("branch_not_found")
        target = self.find(write.namespace, write.branch, write.target)
        if target is None:
            return before, []
        kept = self._redacted_keys(target.state)
        after = {k: v for k, v in target.state.items() if k not in kept}
        return {**after, **{k: before[k] for k in kept if k in before}}, kept

    def _redacted_keys(self, state: State) -> list[str]:
        return sorted(key for key, content in state.items() if content in self.marks)

    def _shown(self, outcome: Outcome) -> Outcome:
        return outcome._replace(changes=self._shown_changes(outcome.changes))

    def _shown_changes(self, changes: Changes) -> Changes:
        """Return changes with marks in place of what was redacted."""
        return [
            (key, kind, self._read(before), self._read(after))
            for key, kind, before, after in changes
        ]

    def _read(self, content: str | None) -> str | None:
        return None if content is None else self.marks.get(content, content)

    def _revise(self, write: Write, parent: int, state: State) -> Revision:
        space = self.spaces.setdefault(write.namespace, Space())
        number = len(space.revisions) + 1
        made = Revision(
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
        if pointer is None:
            space.since[write.branch] = number - 1
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
        if self._redacted_keys(source.state):
            raise ModelError("content_redacted")
        space = self.space(namespace)
        if name in space.branches:
            raise ModelError("branch_exists")
        pointer = Pointer(name, source.number, source.number)
        space.branches[name] = pointer
        space.since[name] = len(space.revisions)
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

    # --- redacting -------------------------------------------------------------

    def redact(self, namespace: str, branch: str, key: str, at: At) -> Redacted:
        """Return what a redaction finds; :meth:`mark` makes it so.

        Raises:
            ModelError: It can't be redacted.
        """
        content = self.content(namespace, branch, key, at)
        if content in self._current():
            raise ModelError("content_in_use")
        places = {
            (name, place)
            for name, space in self.spaces.items()
            for revision in space.revisions.values()
            if not revision.gone
            for number in (revision.number, revision.parent)
            if number
            for place, found in space.revisions[number].state.items()
            if found == content
        }
        digest = hashlib.sha256(content.encode()).hexdigest()
        return Redacted(digest, sorted(places, key=_bytes))

    def _current(self) -> set[str]:
        """Return the contents that the head of some branch has."""
        return {
            content
            for space in self.spaces.values()
            for pointer in space.branches.values()
            for content in space.revisions[pointer.head].state.values()
        }

    def heads(self) -> list[tuple[str, str, int]]:
        """Return every namespace, branch and its head."""
        return [
            (name, branch, pointer.head)
            for name, space in self.spaces.items()
            for branch, pointer in space.branches.items()
        ]

    def _reachable(self) -> list[tuple[str, str, Revision]]:
        """Return every revision that can be asked for by its number, with whose it is."""
        return [
            (name, branch, revision)
            for name, space in self.spaces.items()
            for branch, pointer in space.branches.items()
            for revision in takewhile(
                lambda revision: not revision.gone, self.history(space, pointer.head)
            )
        ]

    def documents(self) -> list[tuple[str, str, str, int]]:
        """Return namespace, branch, key and revision of every document there is."""
        return [
            (name, branch, key, revision.number)
            for name, branch, revision in self._reachable()
            for key in revision.state
        ]

    def redactable(self) -> list[tuple[str, str, str, int]]:
        """Return those of :meth:`documents` whose content no head has."""
        current = self._current()
        return [
            (name, branch, key, number)
            for name, branch, key, number in self.documents()
            if self.spaces[name].revisions[number].state[key] not in current
        ]

    def redacted_revisions(self) -> list[tuple[str, str, int]]:
        """Return namespace, branch and number of states with what was redacted."""
        return [
            (name, branch, revision.number)
            for name, branch, revision in self._reachable()
            if self._redacted_keys(revision.state)
        ]

    def content(self, namespace: str, branch: str, key: str, at: At) -> str:
        """Return what a document was applied with, whether it was redacted or not.

        Raises:
            ModelError: It is not there.
        """
        found = self.find(namespace, branch, at)
        if found is None or key not in found.state:
            raise ModelError("key_not_found")
        return found.state[key]

    def mark(self, content: str, mark: str) -> None:
        """Read ``mark`` in place of ``content`` from now on, as the driver told."""
        self.marks[content] = mark

    # --- reading ---------------------------------------------------------------

    def state(self, namespace: str, branch: str, at: At) -> tuple[int, State]:
        """Return number and documents of a state.

        Raises:
            ModelError: It is not there.
        """
        found = self.find(namespace, branch, at)
        if found is None:
            return 0, {}
        shown = {k: self.marks.get(v, v) for k, v in found.state.items()}
        return found.number, shown

    def diff(self, namespace: str, branch: str, source: At, target: At) -> Changes:
        """Return the changes between two states.

        Raises:
            ModelError: One is not there.
        """
        before = self.find(namespace, branch, source)
        after = self.find(namespace, branch, target)
        return self._shown_changes(
            changes_between(
                {} if before is None else before.state,
                {} if after is None else after.state,
            )
        )

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

    def news(self, namespace: str, branch: str, after: int) -> list[News]:
        """Return what a watcher who knows ``after`` may be told; one of these.

        Nothing, ``[]``, if there is nothing to tell yet.
        """
        space = self.space(namespace)
        pointer = space.branches.get(branch)
        head = 0 if pointer is None else pointer.head
        if after == head or after > len(space.revisions):
            return []
        if after > head:
            return [News([], head, "history")]
        history = self.history(space, head)
        wanted = [revision for revision in history if revision.number > after]
        known = after in {0, *(revision.number for revision in history)}
        lost = News([], head, "collected")
        if known and not any(
            r.gone for r in history if r.number > after or r.number == after
        ):
            return [News([self._entry(space, revision) for revision in wanted[::-1]])]
        if known:
            return [lost]
        other = News([], head, "history")
        # Where the way there is broken it may not be seen whose history it is.
        return [other, lost] if any(r.gone for r in history) else [other]

    def _entry(self, space: Space, revision: Revision) -> Entry:
        parent = space.revisions.get(revision.parent)
        changes = changes_between(
            {} if parent is None else parent.state, revision.state
        )
        return Entry(
            revision.number,
            revision.parent,
            revision.branch,
            revision.kind,
            revision.message,
            revision.author,
            self._shown_changes(changes),
        )


def _bytes(names: tuple[str, ...]) -> list[bytes]:
    return [name.encode() for name in names]


def _present(path: list[Revision]) -> Revision:
    """Return the last of a path along parents, if none of it is gone."""
    if any(revision.gone for revision in path):
        raise ModelError("revision_collected")
    return path[-1]


def _first_of(history: list[Revision], wanted: Callable[[Revision], bool]) -> Revision:
    for index, revision in enumerate(history):
        if wanted(revision):
            return _present(history[: index + 1])
    if any(revision.gone for revision in history):
        raise ModelError("revision_collected")
    raise ModelError("no_revision_at")
