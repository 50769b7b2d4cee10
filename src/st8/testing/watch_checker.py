"""An exact check of what watchers were told: nine rules over what was stored.

Deciding needs no search, because a revision has one parent, so that what a watcher
was told can be compared with the chain that leads to it:

* *filter*: only what was asked for, with contents only if they were asked for;
* *ordered*: numbers rise;
* *unique*: no number is told twice;
* *atomic*: a revision is told whole, in one event, and as it was stored;
* *bookmarkable*: behind an id that was given nothing is told that is not newer;
* *resumable*: what is told first on a connection follows what was known before it,
  and a watcher is told to read anew only where it has to be;
* *reliable*: what follows is all that follows;
* *is-create*: what is told to be created, updated or deleted was;
* *previous value*: what is told to have been before was.

Where a watcher was told to read the state anew, the rules hold before it and behind
it, and what it read must be that state.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

__all__ = [
    "Changed",
    "Feed",
    "Finding",
    "Made",
    "Mark",
    "Opened",
    "Past",
    "Resynced",
    "Seen",
    "Told",
    "check",
]

Rule = Literal[
    "filter",
    "ordered",
    "unique",
    "atomic",
    "bookmarkable",
    "resumable",
    "reliable",
    "is-create",
    "previous value",
]


class Changed(NamedTuple):
    """A change of a document; contents are None where they were not told."""

    key: str
    type: str
    before: str | None = None
    after: str | None = None


class Made(NamedTuple):
    """A revision as it was stored.

    Attributes:
        number: Its number; ``parent`` is that of the one before it, 0 for none.
        digest: What it is known by.
        changes: All of them, with contents, by key.
    """

    number: int
    parent: int
    digest: str
    changes: Mapping[str, Changed]


class Feed(NamedTuple):
    """What is watched: a branch, as a watcher asks for it."""

    namespace: str
    branch: str
    prefix: str = ""
    contents: bool = False


class Opened(NamedTuple):
    """A connection began.

    Attributes:
        position: Where the stream says that it begins.
        asked: What was asked for; None for the head as it is.
        floor: The number was given before the namespace had come to it.
    """

    position: int
    asked: int | None
    floor: bool = False


class Told(NamedTuple):
    """A revision was told; its changes may be left out where they are too large."""

    number: int
    parent: int
    digest: str
    changes: tuple[Changed, ...] | None


class Mark(NamedTuple):
    """An id was given: up to here nothing is missing."""

    position: int


class Resynced(NamedTuple):
    """The watcher had to read the state anew, and did so.

    Attributes:
        position: The revision; 0 for the empty state.
        reason: Why, as it was told.
        documents: What it read; None if it was told anew before it could read.
    """

    position: int
    reason: str
    documents: Mapping[str, str] | None


Seen = Opened | Told | Mark | Resynced


class Finding(NamedTuple):
    """One thing that a watcher was told wrongly, or not told.

    Attributes:
        rule: Which rule it breaks.
        watcher: Who.
        detail: What was found, in a sentence.
    """

    rule: Rule
    watcher: str
    detail: str


class Past:
    """What was stored in one namespace, and what its branches pointed at.

    Attributes:
        kept: How many of the newest revisions of each branch every collection kept;
            0 if there was none.
    """

    def __init__(self, *, kept: int = 0) -> None:
        """Begin with nothing."""
        self.kept = kept
        self._made: dict[int, Made] = {}
        self._states: dict[int, Mapping[str, str]] = {0: {}}
        self._heads: dict[str, set[int]] = {}
        self._last: dict[str, int] = {}

    def __len__(self) -> int:
        """Return how many revisions there are."""
        return len(self._made)

    def add(
        self,
        branch: str,
        number: int,
        parent: int,
        digest: str,
        edits: Mapping[str, str | None],
    ) -> None:
        """Add the next revision: what it set, and what it deleted (None)."""
        before = self._states[parent]
        after = dict(before)
        changes: dict[str, Changed] = {}
        for key, content in edits.items():
            old = before.get(key)
            if old == content:
                continue
            kind = "create" if old is None else "update"
            kind = "delete" if content is None else kind
            changes[key] = Changed(key, kind, old, content)
            if content is None:
                del after[key]
            else:
                after[key] = content
        self._made[number] = Made(number, parent, digest, changes)
        self._states[number] = after
        self.move(branch, number)

    def move(self, branch: str, head: int) -> None:
        """Add that a branch was made at, or moved to, a revision; 0 for taken away."""
        self._heads.setdefault(branch, {0}).add(head)
        self._last[branch] = head

    def made(self, number: int) -> Made | None:
        """Return a revision."""
        return self._made.get(number)

    def state(self, number: int) -> Mapping[str, str]:
        """Return the documents at a revision."""
        return self._states[number]

    def was_head(self, branch: str, number: int) -> bool:
        """Return whether a branch ever pointed at a revision; 0 is no branch."""
        return number == 0 or number in self._heads.get(branch, ())

    def head(self, branch: str) -> int:
        """Return what a branch points at, at the end."""
        return self._last.get(branch, 0)

    def chain(self, number: int, after: int) -> Iterator[Made]:
        """Yield a revision and what led to it, newest first, as far as ``after``."""
        while number > after:
            made = self._made[number]
            yield made
            number = made.parent

    def follows(self, number: int, after: int) -> bool:
        """Return whether ``after`` is what ``number`` came from; 0 always is."""
        for made in self.chain(number, after):
            number = made.parent
        return number == after

    def pending(self, feed: Feed, position: int) -> list[int]:
        """Return the revisions that a watcher at ``position`` still has to be told."""
        chain = self.chain(self.head(feed.branch), position)
        return [made.number for made in chain if _matches(made, feed)][::-1]


def check(
    past: Past, feed: Feed, seen: Iterable[Seen], watcher: str = ""
) -> list[Finding]:
    """Return everything that a watcher was told wrongly, or was not told.

    It had the time to be told everything: what is missing at the end is missing.
    O(n + m) for n events and the m revisions that they tell of or leave out.
    """
    follower = _Follower(past, feed, watcher)
    for each in seen:
        follower.take(each)
    follower.finish()
    return follower.findings


class _Follower:
    """Goes along with a watcher.

    Attributes:
        findings: What was found.
    """

    def __init__(self, past: Past, feed: Feed, watcher: str) -> None:
        self.findings: list[Finding] = []
        self._past = past
        self._feed = feed
        self._watcher = watcher
        self._position: int | None = None
        self._floor = False
        self._mark = 0
        self._fresh = True  # nothing was told yet on this connection
        self._piece: set[int] = set()  # told since the state was last read

    def take(self, seen: Seen) -> None:
        """Take what came next."""
        if isinstance(seen, Opened):
            self._open(seen)
        elif isinstance(seen, Told):
            self._tell(seen)
        elif isinstance(seen, Mark):
            self._advance(seen.position)
        else:
            self._resync(seen)

    def finish(self) -> None:
        """Look for what the watcher was not told."""
        if self._position is None:
            return
        missing = self._past.pending(self._feed, self._position)
        if missing:
            self._find("reliable", f"{missing[:5]} are missing at the end")

    def _find(self, rule: Rule, detail: str) -> None:
        where = f"{self._feed.namespace}/{self._feed.branch}"
        self.findings.append(Finding(rule, self._watcher, f"{where}: {detail}"))

    def _open(self, seen: Opened) -> None:
        self._fresh = True
        known = seen.asked if self._position is None else self._position
        if known is not None and seen.position != known:
            self._find(
                "resumable", f"{known} was known, but it began at {seen.position}"
            )
        if self._position is None:
            self._floor = seen.floor
            if seen.asked is None and not self._past.was_head(
                self._feed.branch, seen.position
            ):
                self._find("resumable", f"it began at {seen.position}, never a head")
        self._position = self._mark = seen.position

    def _advance(self, position: int) -> None:
        """Take an id that stands for the position alone."""
        known = self._position or 0
        if position < known:
            self._find("bookmarkable", f"the id {position} came after {known}")
            return
        missing = self._missing(position)
        if missing:
            self._find("bookmarkable", f"the id {position} leaves out {missing[:5]}")
        self._position = self._mark = position

    def _missing(self, end: int) -> list[int]:
        """Return what should have been told on the way from the position to ``end``.

        And note if that way does not exist.
        """
        position = self._position or 0
        if position == end:
            return []
        if self._past.made(end) is None:
            self._find("atomic", f"nobody wrote {end}")
            return []
        chain = list(self._past.chain(end, position))
        reached = chain[-1].parent
        if reached != position and not self._floor:
            rule: Rule = "resumable" if self._fresh else "reliable"
            self._find(rule, f"{end} does not come from {position}")
        return [made.number for made in chain[1:] if _matches(made, self._feed)][::-1]

    def _tell(self, told: Told) -> None:
        position = self._position or 0
        number = told.number
        if number <= position:
            self._find(self._why_old(number), f"{number} came after {position}")
        elif missing := self._missing(number):
            rule: Rule = "resumable" if self._fresh else "reliable"
            self._find(rule, f"{number} came after {position}, without {missing[:5]}")
        self._compare(told)
        self._piece.add(number)
        self._position = max(position, number)
        self._floor = self._fresh = False

    def _why_old(self, number: int) -> Rule:
        """Return what is wrong with a number that is not above the position."""
        if self._fresh:
            return "resumable"
        if number in self._piece:
            return "unique"
        return "bookmarkable" if number <= self._mark else "ordered"

    def _compare(self, told: Told) -> None:
        """Compare what was told of a revision with what was stored."""
        made = self._past.made(told.number)
        if made is None:
            return
        if (told.parent, told.digest) != (made.parent, made.digest):
            self._find("atomic", f"{told.number} has another parent or digest")
        if told.changes is None:
            return
        prefix = self._feed.prefix
        if prefix and not told.changes:
            self._find("filter", f"{told.number} changes nothing under {prefix!r}")
        wanted = {key for key in made.changes if key.startswith(prefix)}
        keys = [change.key for change in told.changes]
        if any(not key.startswith(prefix) for key in keys):
            self._find("filter", f"{told.number} has keys outside of {prefix!r}")
        if keys != sorted(wanted, key=str.encode):
            self._find("atomic", f"{told.number} has {keys}, not {sorted(wanted)}")
        for change in told.changes:
            stored = made.changes.get(change.key)
            if stored is not None:
                self._compare_change(told.number, change, stored)

    def _compare_change(self, number: int, told: Changed, made: Changed) -> None:
        where = f"{told.key!r} at {number}"
        if told.type != made.type:
            self._find("is-create", f"{where} is {told.type}, not {made.type}")
        if not self._feed.contents:
            if told.before is not None or told.after is not None:
                self._find("filter", f"{where} has contents that nobody asked for")
            return
        if told.before != made.before:
            self._find("previous value", f"{where} has another content before")
        if told.after != made.after:
            self._find("atomic", f"{where} has another content after")

    def _resync(self, seen: Resynced) -> None:
        position = self._position or 0
        past = self._past
        if not past.was_head(self._feed.branch, seen.position):
            self._find("resumable", f"{seen.position}, to be read anew, was no head")
        elif self._is_needless(position, seen):
            self._find(
                "resumable",
                f"{seen.position} was to be read anew after {position} "
                f"({seen.reason}), for nothing",
            )
        if seen.documents is not None and past.was_head(
            self._feed.branch, seen.position
        ):
            prefix = self._feed.prefix
            state = past.state(seen.position)
            if seen.documents != {
                key: content for key, content in state.items() if key.startswith(prefix)
            }:
                self._find("atomic", f"the state at {seen.position} is another one")
        self._position = self._mark = seen.position
        self._piece.clear()
        self._floor = self._fresh = False

    def _is_needless(self, position: int, seen: Resynced) -> bool:
        """Return whether what lacks could have been told."""
        if not self._past.follows(seen.position, position):
            return False
        if self._feed.prefix and seen.reason == "history":
            return False  # it may have come further, past what is not under the prefix
        lacking = sum(1 for _ in self._past.chain(seen.position, position))
        kept = self._past.kept
        return seen.reason != "collected" or not kept or lacking < kept


def _matches(made: Made, feed: Feed) -> bool:
    """Return whether a revision is to be told on a feed."""
    return not feed.prefix or any(key.startswith(feed.prefix) for key in made.changes)
