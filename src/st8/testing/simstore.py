"""A store as the daemons of a simulated world have it: one for all, with places.

Each daemon has a :class:`Seat` at one store, which outlives them all. It comes to a
place before and after each call, so that a daemon can be left, or crash, between any two
of them. How they share it is one of :data:`Kind`.

What was ever written to it is remembered, also of what has been taken out since.
"""

from __future__ import annotations

from contextlib import contextmanager, nullcontext
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, get_args

from st8.core.errors import OutcomeUnknown, StorageFailed
from st8.core.ids import RevisionNumber, digest_of
from st8.core.ports import CommitTimes, Stale
from st8.core.revisions import decode
from st8.testing.sim import SECOND_NS, Turn

if TYPE_CHECKING:
    from collections.abc import (
        Callable,
        Collection,
        Generator,
        Iterable,
        Mapping,
        Sequence,
    )
    from contextlib import AbstractContextManager

    from st8.core.ids import Digest, Namespace
    from st8.core.ports import Batch, BranchAt, Heard, Raised, Store
    from st8.core.redactions import Redaction
    from st8.core.revisions import Revision
    from st8.testing.sim import Host, World

__all__ = ["KINDS", "Kind", "Seat", "Shared"]

Kind = Literal["alone", "workers", "apart"]
"""One daemon alone; workers, that take turns and can tell whether others have written;
daemons on a database, that can't, and lose the connection to it."""

KINDS: tuple[Kind, ...] = get_args(Kind)

_FAILS = 0.01
_DOUBTS = 0.04
_IN_FLIGHT_NS_MAX = SECOND_NS // 2
_HEARS_NS_MAX = 20_000_000
_HEARS_LATE_NS_MAX = SECOND_NS
_UNHEARD = 0.15
_PAGE = 10_000


class Shared:
    """What the daemons share.

    Attributes:
        store: The store behind it.
        kind: How they share it.
        calm: It does not fail any more, and everything is heard.
        writes: How many there were.
        turn: Whose turn it is to write.
        collector: Who collects; None if nobody does.
        made: Every revision that was ever committed, in that order.
        redacted: Contents, with how many revisions had been made when they were.
    """

    def __init__(
        self,
        world: World,
        store: Store,
        kind: Kind,
        reopen: Callable[[], Store] | None = None,
    ) -> None:
        """Share ``store``; one that is alone opens it anew each time it starts."""
        self.store = store
        self._open = reopen
        self.kind: Kind = kind
        self.calm = False
        self.writes = 0
        self.turn = Turn(world)
        self.collector: Seat | None = None
        self.made: list[Revision] = []
        self.redacted: dict[Digest, int] = {}
        self.world = world
        self._known: set[tuple[Namespace, RevisionNumber]] = set()
        self._locked = Turn(world)
        self._seats: list[Seat] = []

    def join(self, host: Host) -> Seat:
        """Return the seat of a daemon that starts; it opens the store, if it can be."""
        if self._open is not None:
            self.store.close()  # what was in memory of whoever has crashed
            self.store = self._open()
            self._look()
        self._seats = [seat for seat in self._seats if not seat.host.dead]
        self._seats.append(Seat(self, host))
        return self._seats[-1]

    def locked(self) -> AbstractContextManager[None]:
        """Return a block that nobody else writes in, where the store has a lock."""
        return nullcontext() if self._open is None else self._locked

    def commit(self, batch: Batch, by: Seat) -> CommitTimes:
        """Commit, and let the others hear of it, or not."""
        with self.locked():
            self.store.commit(batch)
        self.writes += 1
        self.world.note(f"write {self.writes} by {by.host.name}")
        for records in batch.revisions.values():
            self._learn(record.data for record in records)
        for seat in self._seats:
            if seat is not by:
                seat.hear_of(list(batch.branches))
        return CommitTimes(0.0, 0.0, by.moves())

    def commit_late(self, batch: Batch, by: Seat) -> None:
        """Commit what is on its way, though nobody waits for it any more."""
        try:
            self.commit(batch, by)
        except Stale:
            self.world.note(f"what {by.host.name} left on its way is stale")

    def raise_epoch(
        self, removed: Mapping[Namespace, Sequence[RevisionNumber]], expected: int
    ) -> Raised:
        """See :class:`~st8.core.ports.Store`."""
        with self.locked():
            raised = self.store.raise_epoch(removed, expected)
        self.writes += 1
        self.world.note(f"epoch {raised.epoch}, {raised.revisions} collected")
        return raised

    def redact(self, choose: Callable[[], Sequence[Redaction]], by: Seat) -> int:
        """See :class:`~st8.core.ports.Store`; nothing comes in between."""
        with self.locked(), self.world.undivided():
            epoch = self.store.redact(choose)
            self._learn_redactions()
        self.writes += 1
        self.world.note(f"epoch {epoch}, {len(self.redacted)} redacted")
        for seat in self._seats:
            if seat is not by:
                seat.hear_of(None)
        return epoch

    def was_redacted(self, content: str, made: int) -> bool:
        """Return whether a content was redacted when so many revisions were made."""
        if not self.redacted:
            return False
        return self.redacted.get(digest_of(content.encode()), made + 1) <= made

    def _look(self) -> None:
        """Learn what was committed by who did not live to say so."""
        for info in self.store.namespaces("", "", _PAGE):
            numbers = self.store.numbers(info.name, RevisionNumber(0), _PAGE)
            new = [
                number for number in numbers if (info.name, number) not in self._known
            ]
            records = self.store.revisions(info.name, new)
            self._learn(records[number] for number in new)
        self._learn_redactions()

    def _learn(self, records: Iterable[bytes]) -> None:
        for revision in map(decode, records):
            self._known.add((revision.scope.namespace, revision.number))
            self.made.append(revision)

    def _learn_redactions(self) -> None:
        for redaction in self.store.redactions():
            self.redacted.setdefault(redaction.digest, len(self.made))


class Seat:
    """The store as one daemon has it; calls that it does not know it passes on.

    Attributes:
        name, exclusive: See :class:`~st8.core.ports.Store`.
        host: Where the daemon runs.
    """

    def __init__(self, shared: Shared, host: Host) -> None:
        """Take a seat."""
        self.name = "simulated"
        self.exclusive = shared.kind == "alone"
        self.host = host
        self._shared = shared
        self._world = shared.world
        self._heard: Heard | None = None

    def moves(self) -> int | None:
        """See :class:`~st8.core.ports.Store`."""
        if self._shared.kind == "apart":
            return None
        return self._shared.writes if self._shared.kind == "workers" else 0

    def turn(self) -> AbstractContextManager[None]:
        """See :class:`~st8.core.ports.Store`."""
        return self._shared.turn if self._shared.kind == "workers" else nullcontext()

    def hear(self, heard: Heard) -> None:
        """See :class:`~st8.core.ports.Store`."""
        self._heard = heard

    def hear_of(self, branches: Collection[BranchAt] | None) -> None:
        """Tell the daemon soon what another one has moved; or that any may have."""
        chance = self._world.chance
        latest_ns = _HEARS_NS_MAX
        if not self._shared.calm and chance.random() < _UNHEARD:
            if branches is None:
                latest_ns = _HEARS_LATE_NS_MAX
            elif self._shared.kind == "apart" and chance.random() < 0.5:  # noqa: PLR2004
                return
            branches = None
        heard = self._heard
        if heard is not None:
            listen = partial(
                self._world.thread, self.host, "hears", partial(heard, branches)
            )
            self._world.at(self._world.now_ns + chance.randrange(latest_ns), listen)

    def commit(self, batch: Batch) -> CommitTimes:
        """See :class:`~st8.core.ports.Store`."""
        self._come("commit")
        self._doubt(
            partial(self._shared.commit, batch, self),
            partial(self._shared.commit_late, batch, self),
        )
        times = self._shared.commit(batch, self)
        self._world.place("store: committed")
        return times

    @contextmanager
    def collecting(self) -> Generator[bool]:
        """See :class:`~st8.core.ports.Store`."""
        self._come("collecting")
        before = self._shared.collector
        alone = before is None or before.host.dead
        if alone:
            self._shared.collector = self
        try:
            yield alone
        finally:
            if alone and self._shared.collector is self:
                self._shared.collector = None

    def raise_epoch(
        self, removed: Mapping[Namespace, Sequence[RevisionNumber]], expected: int
    ) -> Raised:
        """See :class:`~st8.core.ports.Store`."""
        self._come("raise_epoch")
        self._doubt(partial(self._shared.raise_epoch, removed, expected))
        raised = self._shared.raise_epoch(removed, expected)
        self._world.place("store: epoch raised")
        return raised

    def redact(self, choose: Callable[[], Sequence[Redaction]]) -> int:
        """See :class:`~st8.core.ports.Store`."""
        self._come("redact")
        self._doubt(partial(self._shared.redact, choose, self))
        epoch = self._shared.redact(choose, self)
        self._world.place("store: redacted")
        return epoch

    def sweep(self, *args: Any) -> Any:
        """See :class:`~st8.core.ports.Store`."""
        return self._untimed("sweep", *args)

    def shrink(self, *args: Any) -> Any:
        """See :class:`~st8.core.ports.Store`."""
        return self._untimed("shrink", *args)

    def tidy(self) -> None:
        """See :class:`~st8.core.ports.Store`."""
        self._come("tidy")
        with self._shared.locked():
            self._shared.store.tidy()

    def _untimed(self, name: str, *args: Any) -> Any:
        """Write as a collection does, of which it is not said how long it took."""
        self._come(name)
        with self._shared.locked():
            done = getattr(self._shared.store, name)(*args)
        self._shared.writes += 1
        self._world.place(f"store: {name} done")
        return done._replace(held_s=0.0)

    def _doubt(
        self, write: Callable[[], object], late: Callable[[], None] | None = None
    ) -> None:
        """Lose the connection in the middle of a write, now and then.

        Raises:
            OutcomeUnknown: It was done, or was not, or will be.
        """
        chance = self._world.chance
        if self._shared.kind != "apart" or self._shared.calm:
            return
        if chance.random() >= _DOUBTS:
            return
        drawn = chance.randrange(3)
        if drawn == 0:
            write()
        elif drawn == 1 and late is not None:
            when_ns = self._world.now_ns + chance.randrange(_IN_FLIGHT_NS_MAX)
            self._world.at(when_ns, late)
        self._world.note(f"{self.host.name} loses the database in a write ({drawn})")
        raise OutcomeUnknown("the connection was lost during a write")

    def _come(self, call: str) -> None:
        self._world.place(f"store: {call}")
        fails = self._shared.kind == "apart" and not self._shared.calm
        if fails and self._world.chance.random() < _FAILS:
            raise StorageFailed("the connection was lost")

    def __getattr__(self, name: str) -> Callable[..., Any]:
        """Return a call of the store, with a place before and behind it."""
        return partial(self._call, name)

    def _call(self, name: str, *args: Any, **options: Any) -> Any:
        self._come(name)
        answer = getattr(self._shared.store, name)(*args, **options)
        self._world.place(f"store: {name} done")
        return answer
