"""An exact check of what clients saw: is there one order that explains all of it?

Deciding whether a concurrent history is linearizable is hard in general. Here it is
easy, because every answer carries a revision, and revisions are that order. What is
left to check, for each namespace, is

* *numbers*: the writes that were made have the numbers 1, 2, 3 …, each once;
* *real time*: when a write begins, every revision seen by then is below its own, so
  nothing was seen before it was written; a read does not return less than what was
  seen of its branch before it began;
* *replay*: making the writes again, in the order of their numbers, gives each read
  what it returned.

A client records what it did as :class:`Write`, :class:`Read` and :class:`Fork`;
times are of one clock that never goes back. A write whose answer was lost, but which
is found to have been made, has no return time; one that was not made is left out.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

__all__ = ["Finding", "Fork", "Operation", "Read", "Write", "check"]

Rule = Literal[
    "number given twice",
    "number missing",
    "write below what was seen",
    "read below what was seen",
    "read of a revision nobody wrote",
    "read differs from replay",
    "replay impossible",
]

_EMPTY: Final[Mapping[str, str]] = {}


@dataclass(frozen=True, slots=True)
class Write:
    """A write that was made.

    Attributes:
        namespace, branch: Where.
        revision: Its number.
        called_ns: When it began; a retry began with the first attempt.
        returned_ns: When it was answered; None if it never was.
        edits: Key → new value, or None where it was deleted.
        resets_to: The revision whose state it took over, before ``edits``.
        name: What to call it in a finding.
    """

    namespace: str
    branch: str
    revision: int
    called_ns: int
    returned_ns: int | None
    edits: Mapping[str, str | None] = field(default_factory=dict[str, str | None])
    resets_to: int | None = None
    name: str = ""


@dataclass(frozen=True, slots=True)
class Read:
    """A read, or a write that changed nothing.

    Attributes:
        namespace, branch: Where.
        revision: The revision it returned; 0 where nothing was there.
        called_ns: When it began.
        returned_ns: When it was answered.
        state: Key → value, as it was returned; None if that is not to be compared.
        at: The revision it asked for, or None for the head: an old revision may be
            below what was seen.
        name: What to call it in a finding.
    """

    namespace: str
    branch: str
    revision: int
    called_ns: int
    returned_ns: int
    state: Mapping[str, str] | None = None
    at: int | None = None
    name: str = ""


class Fork(NamedTuple):
    """A branch that was made from a revision."""

    namespace: str
    branch: str
    base: int


Operation = Write | Read


class Finding(NamedTuple):
    """One thing that no order explains.

    Attributes:
        rule: Which rule it breaks.
        namespace: Where.
        detail: What was found, in a sentence.
    """

    rule: Rule
    namespace: str
    detail: str


def check(operations: Iterable[Operation], forks: Iterable[Fork] = ()) -> list[Finding]:
    """Return everything in a history that no order explains; see the module.

    O(n log n) for n operations, and O(documents) for each branch and each revision
    that a reset or a fork goes back to.
    """
    by_namespace: defaultdict[str, list[Operation]] = defaultdict(list)
    for operation in operations:
        by_namespace[operation.namespace].append(operation)
    bases: defaultdict[str, dict[str, int]] = defaultdict(dict)
    for fork in forks:
        bases[fork.namespace][fork.branch] = fork.base
    findings: list[Finding] = []
    for namespace, some in sorted(by_namespace.items()):
        writes = sorted(
            (each for each in some if isinstance(each, Write)),
            key=lambda write: write.revision,
        )
        reads = [each for each in some if isinstance(each, Read)]
        findings += _check_numbers(namespace, writes)
        findings += _check_floor(namespace, some)
        findings += _check_known(namespace, writes, reads)
        findings += _check_replay(namespace, writes, reads, bases[namespace])
    return findings


def _check_numbers(namespace: str, writes: Sequence[Write]) -> Iterator[Finding]:
    """Find numbers that were given twice, or not at all."""
    last = 0
    name = ""
    for write in writes:
        if write.revision == last:
            detail = f"{write.revision} was given to {name!r} and to {write.name!r}"
            yield Finding("number given twice", namespace, detail)
        elif write.revision != last + 1:
            detail = f"{last} is followed by {write.revision} ({write.name!r})"
            yield Finding("number missing", namespace, detail)
        last = write.revision
        name = write.name


def _check_floor(namespace: str, operations: Sequence[Operation]) -> Iterator[Finding]:
    """Find operations that return less than what was seen before they began.

    Goes through all calls and returns in order of time. At the same nanosecond
    calls come first: the operations then count as concurrent.
    """
    events: list[tuple[int, int, Operation]] = []
    for operation in operations:
        events.append((operation.called_ns, 0, operation))
        if operation.returned_ns is not None:
            events.append((operation.returned_ns, 1, operation))
    events.sort(key=lambda event: event[:2])
    seen = 0
    seen_of: defaultdict[str, int] = defaultdict(int)
    for _, returns, operation in events:
        if returns:
            seen = max(seen, operation.revision)
            if not isinstance(operation, Read) or operation.at is None:
                of_branch = max(seen_of[operation.branch], operation.revision)
                seen_of[operation.branch] = of_branch
        elif isinstance(operation, Write):
            if operation.revision <= seen:
                yield Finding(
                    "write below what was seen",
                    namespace,
                    f"{operation.name!r} was given {operation.revision} when {seen} "
                    "had been seen already",
                )
        elif operation.at is None and operation.revision < seen_of[operation.branch]:
            yield Finding(
                "read below what was seen",
                namespace,
                f"{operation.name!r} returned {operation.revision} of branch "
                f"{operation.branch!r} when {seen_of[operation.branch]} had been "
                "seen already",
            )


def _check_known(
    namespace: str, writes: Iterable[Write], reads: Iterable[Read]
) -> Iterator[Finding]:
    """Find reads of revisions that were never written, or are gone."""
    written = {0} | {write.revision for write in writes}
    for read in reads:
        if read.revision not in written:
            detail = f"{read.name!r} returned {read.revision}"
            yield Finding("read of a revision nobody wrote", namespace, detail)


def _check_replay(
    namespace: str,
    writes: Sequence[Write],
    reads: Sequence[Read],
    bases: Mapping[str, int],
) -> Iterator[Finding]:
    """Make the writes again, and compare each read with what they give."""
    expecting: defaultdict[int, list[Read]] = defaultdict(list)
    for read in reads:
        expecting[read.revision].append(read)
    wanted = {write.resets_to for write in writes} | set(bases.values())
    kept: dict[int | None, Mapping[str, str]] = {0: _EMPTY}
    heads: dict[str, dict[str, str]] = {}
    yield from _compare(namespace, expecting[0], _EMPTY)
    for write in writes:
        state = heads.get(write.branch)
        if write.resets_to is not None or state is None:
            start = write.resets_to or bases.get(write.branch, 0)
            if start not in kept:
                detail = f"{write.name!r} starts from {start}, which nobody wrote"
                yield Finding("replay impossible", namespace, detail)
                continue
            state = heads[write.branch] = dict(kept[start])
        for key, value in write.edits.items():
            if value is None:
                state.pop(key, None)
            else:
                state[key] = value
        if write.revision in wanted:
            kept[write.revision] = dict(state)
        yield from _compare(namespace, expecting.get(write.revision, ()), state)


def _compare(
    namespace: str, reads: Iterable[Read], state: Mapping[str, str]
) -> Iterator[Finding]:
    for read in reads:
        if read.state is not None and read.state != state:
            keys = sorted(
                key
                for key in {*state, *read.state}
                if state.get(key) != read.state.get(key)
            )
            yield Finding(
                "read differs from replay",
                namespace,
                f"{read.name!r} of revision {read.revision} differs at {keys[:5]}",
            )
