"""A store as the daemons of a simulated world have it: one for all, with places.

Each daemon has a :class:`Seat` at one store, which outlives them all. It comes to a
place before and after each call, so that a daemon can be left, or crash, between any two
of them. How they share it is one of :data:`Kind`.
"""

from __future__ import annotations

from contextlib import nullcontext
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, get_args

from st8.core.errors import OutcomeUnknown, StorageFailed
from st8.core.ports import CommitTimes, Stale
from st8.testing.sim import SECOND_NS, Turn

if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from contextlib import AbstractContextManager

    from st8.core.ports import Batch, BranchAt, Heard, Store
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
_UNHEARD = 0.15


class Shared:
    """What the daemons share.

    Attributes:
        store: The store behind it.
        kind: How they share it.
        calm: It does not fail any more.
        commits: How many there were.
        turn: Whose turn it is to write.
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
        self.commits = 0
        self.turn = Turn(world)
        self.world = world
        self._seats: list[Seat] = []

    def join(self, host: Host) -> Seat:
        """Return the seat of a daemon that starts; it opens the store, if it can be."""
        if self._open is not None:
            self.store.close()  # what was in memory of whoever has crashed
            self.store = self._open()
        self._seats = [seat for seat in self._seats if not seat.host.dead]
        self._seats.append(Seat(self, host))
        return self._seats[-1]

    def commit(self, batch: Batch, by: Seat) -> CommitTimes:
        """Commit, and let the others hear of it, or not."""
        self.store.commit(batch)
        self.commits += 1
        self.world.note(f"commit {self.commits} by {by.host.name}")
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
        return self._shared.commits if self._shared.kind == "workers" else 0

    def turn(self) -> AbstractContextManager[None]:
        """See :class:`~st8.core.ports.Store`."""
        return self._shared.turn if self._shared.kind == "workers" else nullcontext()

    def hear(self, heard: Heard) -> None:
        """See :class:`~st8.core.ports.Store`."""
        self._heard = heard

    def hear_of(self, branches: Collection[BranchAt] | None) -> None:
        """Tell the daemon soon what another one has moved; or that any may have."""
        chance = self._world.chance
        if chance.random() < _UNHEARD:
            if self._shared.kind == "apart" and chance.random() < 0.5:  # noqa: PLR2004
                return
            branches = None
        heard = self._heard
        if heard is not None:
            listen = partial(
                self._world.thread, self.host, "hears", partial(heard, branches)
            )
            self._world.at(self._world.now_ns + chance.randrange(_HEARS_NS_MAX), listen)

    def commit(self, batch: Batch) -> CommitTimes:
        """See :class:`~st8.core.ports.Store`."""
        self._come("commit")
        if self._shared.kind == "apart" and not self._shared.calm:
            self._doubt(batch)
        times = self._shared.commit(batch, self)
        self._world.place("store: committed")
        return times

    def _doubt(self, batch: Batch) -> None:
        """Lose the connection in the middle of a commit, now and then."""
        chance = self._world.chance
        if chance.random() >= _DOUBTS:
            return
        drawn = chance.randrange(3)
        if drawn == 0:
            self._shared.commit(batch, self)
        elif drawn == 1:
            when_ns = self._world.now_ns + chance.randrange(_IN_FLIGHT_NS_MAX)
            self._world.at(when_ns, partial(self._shared.commit_late, batch, self))
        self._world.note(f"{self.host.name} loses the database in a commit ({drawn})")
        raise OutcomeUnknown("the connection was lost during a commit")

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
