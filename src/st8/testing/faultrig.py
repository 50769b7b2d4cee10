"""Makes something go wrong at every failpoint of a daemon, and looks at what is left.

Writers write to a daemon without a pause. One after the other, each place of
:data:`st8.core.failpoints.NAMES` that the daemon comes to is armed with each
:class:`~st8.testing.armed.Action`: the process is killed there, the disk or the server
says that it fails or is full, half a write is made, somebody is slow, or all clients go
away. What then may be and what not is the oracle's business: what was acknowledged is
there, what was not is there once at most and whole, every digest holds. After an error
that does not stop writes for good the same daemon must take the next write; after one
that does it must take none.
"""

from __future__ import annotations

import signal
import threading
import time
from collections import Counter
from contextlib import closing
from dataclasses import dataclass, field
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException
from random import Random  # noqa: TID251 - seeded: a run can be had again
from typing import TYPE_CHECKING, Final
from urllib.parse import urlencode

from st8.core.errors import St8Error
from st8.core.failpoints import NAMES
from st8.core.ids import digest_of
from st8.testing.armed import DISK, PROGRAM, UNKNOWN, Action, Armed, ArmedDaemon
from st8.testing.child import call
from st8.testing.ledger import Ledger
from st8.testing.oracle import Oracle
from st8.testing.writers import Writer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

    from st8.core.ids import Digest
    from st8.core.ports import Store

__all__ = ["Outcome", "places", "run"]

_OPENING: Final = frozenset(
    {
        "sqlite.before_tables",
        "sqlite.after_tables",
        "sqlite.names_synced",
        "sqlite.before_log",
        "sqlite.after_log",
    }
)
"""Places that a daemon comes to once, as it starts."""
_BEFORE_WRITES: Final = frozenset(
    {
        "sqlite.after_begin",
        "sqlite.before_commit",
        "disk.before_log_write",
        "disk.before_file_write",
    }
)
"""Places that SQLite's next write follows, so that half of it can be made."""
_COLLECTING: Final = (
    "collect.",
    "sqlite.epoch",
    "sqlite.revisions_rem",
    "sqlite.objects_rem",
    "sqlite.shrunk",
    "sqlite.before_log_moved",
    "sqlite.log_moved",
    "postgres.before_epoch",
    "postgres.epoch",
    "postgres.revisions",
    "postgres.before_sweep",
    "postgres.after_sweep",
)
"""What the names of places begin with that only a collection comes to."""
_REDACTING: Final = (
    "redact.",
    "sqlite.redacted",
    "sqlite.erased",
    "postgres.redacted",
)
"""The same of redactions."""
_SECRETS: Final = "secrets"
"""The namespace that contents are redacted in; of it the ledger knows nothing."""
_FENCING: Final = ("sqlite.", "disk.before_log", "disk.after_log")
"""What the names of places begin with where an error stops all writes."""
_KEPT: Final = 5
_PATIENCE_S: Final = 60
_TO_REFUSE_S: Final = 3
_LOOK_AGAIN_S: Final = 0.01
LOOK_S = 1.0
"""How long to wait for somebody who comes to a place, until the daemon is looked at."""
_LOOKS: Final = 12
"""After how many restarts the store is looked at."""
_STATUSES: Final = (
    HTTPStatus.INTERNAL_SERVER_ERROR,
    HTTPStatus.SERVICE_UNAVAILABLE,
    HTTPStatus.INSUFFICIENT_STORAGE,
)
_HARMLESS: Final = (Action.SLEEP, Action.HOLD, Action.ENOSPC)
"""After these the daemon goes on, in most places."""


def places(store: str) -> list[str]:
    """Return the places of a daemon on ``sqlite`` or ``postgres``."""
    other = {"sqlite": "postgres.", "postgres": "sqlite."}[store]
    names = [name for name in NAMES if not name.startswith((other, "migrate."))]
    return [*names, *DISK] if store == "sqlite" else names


@dataclass
class Outcome:
    """What a run did and found.

    Attributes:
        seed: What to give to have it again.
        actions: What was done at places, by its kind.
        hits: How often each place was come to.
        starts: How often a daemon was started.
        fenced: How often a daemon took no writes any more.
        acknowledged, refused: Writes that were answered.
        applied, unapplied: Writes without an answer, by what became of them.
        wrong: Everything that is not as it should be.
    """

    seed: int
    actions: Counter[str] = field(default_factory=Counter[str])
    hits: dict[str, int] = field(default_factory=dict[str, int])
    starts: int = 0
    fenced: int = 0
    acknowledged: int = 0
    refused: int = 0
    applied: int = 0
    unapplied: int = 0
    wrong: list[str] = field(default_factory=list[str])

    def __str__(self) -> str:
        """Return it as a few lines of text."""
        unanswered = self.applied + self.unapplied
        done = ", ".join(f"{n} {kind}" for kind, n in sorted(self.actions.items()))
        lines = [
            f"{len(self.hits)} places: {done}",
            f"{self.starts} starts; {self.fenced} times no writes were taken any more",
            f"{self.acknowledged} writes acknowledged, {self.refused} refused",
            f"{unanswered} never answered, {self.applied} of them made",
            f"seed {self.seed}",
            *(f"WRONG: {sentence}" for sentence in self.wrong[:30]),
            f"{len(self.wrong)} wrong" if self.wrong else "nothing wrong",
        ]
        return "\n".join(lines)


def run(
    folder: Path,
    flags: Sequence[str],
    open_store: Callable[[], Store],
    *,
    names: Iterable[str],
    seed: int,
    rounds: int = 1,
    writers: int = 3,
    command: Sequence[str] = PROGRAM,
) -> Outcome:
    """Make something go wrong at each of ``names``; return what came of it.

    Args:
        folder: For logs; empty.
        flags: The flags of st8d that name the store, which is empty.
        open_store: Opens the same store while no daemon runs.
        names: The places.
        seed: Decides what is written and in which order.
        rounds: How often each thing is done at each place.
        writers: Clients that write at a time.
        command: The program that forks daemons.
    """
    with Armed(folder, command) as starter:
        rig = _Rig(starter, flags, open_store, seed, writers)
        rig.run(list(names), rounds)
    return rig.outcome


class _Rig:
    """The state of a run."""

    def __init__(
        self,
        armed: Armed,
        flags: Sequence[str],
        open_store: Callable[[], Store],
        seed: int,
        writers: int,
    ) -> None:
        self.outcome = Outcome(seed)
        self._armed = armed
        self._board = armed.board
        self._flags = flags
        self._open_store = open_store
        self._chance = Random(seed)  # noqa: S311 - not a secret
        self._ledger = Ledger(outages=_STATUSES)
        self._oracle = Oracle(self._ledger, kept=_KEPT)
        self._daemons: list[ArmedDaemon] = []
        self._since_look = 0
        self._redactions = 0
        self._shown: dict[Digest, bool] = {}
        self._done = threading.Event()
        self._writers = [
            Writer(
                f"writer-{number}",
                Random(f"{seed}/{number}"),  # noqa: S311 - not a secret
                self._ledger,
            )
            for number in range(writers)
        ]

    @property
    def _daemon(self) -> ArmedDaemon:
        return self._daemons[0]

    def run(self, names: list[str], rounds: int) -> None:
        """Do all of it."""
        self._start()
        for writer in self._writers:
            writer.roam(self._daemons, self._done)
        try:
            for _ in range(rounds):
                self._round(names)
                self._daemon.kill()
                self._look()
                self._start()
                if self.outcome.wrong:
                    break
        finally:
            self._done.set()
            self._daemon.kill()
            for writer in self._writers:
                writer.join()
        self._look()
        outcome = self.outcome
        outcome.hits = {name: self._board.hits(name) for name in names}
        outcome.wrong += [
            f"{name}: never reached" for name, hits in outcome.hits.items() if not hits
        ]
        outcome.wrong += self._ledger.faults
        fates = [attempt.fate for attempt in self._ledger.attempts.values()]
        outcome.acknowledged = fates.count("acknowledged")
        outcome.refused = fates.count("refused")
        outcome.applied = self._oracle.applied
        outcome.unapplied = self._oracle.unapplied

    def _round(self, names: list[str]) -> None:
        """Do each thing at each place once."""
        running = [name for name in names if name not in _OPENING]
        self._chance.shuffle(running)
        # First what a daemon survives, then what may stop its writes, then kills.
        for name in running:
            self._do_no_harm(name)
        for name in running:
            for action in _lasting(name):
                self._fail(name, action)
        for name in running:
            if self._do(name, Action.KILL) and self._daemon.wait() != -signal.SIGKILL:
                self._say(f"{name}: was not killed")
            self._restart()
        for name in (name for name in names if name in _OPENING):
            for action in (Action.SLEEP, *_lasting(name), Action.ENOSPC, Action.KILL):
                self._board.arm(name, action)
                self._restart()
                self._note(name, action)

    def _do_no_harm(self, name: str) -> None:
        """Do what a daemon goes on after."""
        for action in _HARMLESS:
            if action in _lasting(name):
                continue
            self._do(name, action)
            if not self._is_writing():
                self._say(f"{name}: takes no writes after {action.name}")
                self._restart()

    def _fail(self, name: str, action: Action) -> None:
        """Do what stops the writes of a daemon, in most places."""
        self._do(name, action)
        must_stop = action == Action.EIO and name.startswith(_FENCING)
        if self._stops(patience_s=_TO_REFUSE_S if must_stop else 0):
            self.outcome.fenced += 1
            self._try_to_write(name)
            self._restart()
        elif must_stop:
            self._say(f"{name}: takes writes after an error")

    def _stops(self, patience_s: float) -> bool:
        """Return whether the daemon says, within a time, that it takes no writes."""
        deadline = time.monotonic() + patience_s
        while self._is_writing():
            if time.monotonic() >= deadline:
                return False
            time.sleep(_LOOK_AGAIN_S)
        return True

    def _do(self, name: str, action: Action) -> bool:
        """Arm a place, and wait until it has happened; return whether it has."""
        self._board.arm(name, action)
        helper = None
        if name.startswith((*_COLLECTING, *_REDACTING)):
            asks = self._redact if name.startswith(_REDACTING) else self._collect
            helper = threading.Thread(target=self._ask, args=(name, action, asks))
            helper.start()
        reached = self._wait(name, action)
        if self._board.action(name) == Action.HELD:
            self._daemon.drop_clients()
            self._board.arm(name, Action.NOTHING)
        if helper is not None:
            helper.join()
        if not reached:
            self._say(f"{name}: nobody came to it to {action.name}")
            self._board.arm(name, Action.NOTHING)
        self._note(name, action)
        return reached

    def _wait(self, name: str, action: Action) -> bool:
        """Wait until somebody has come to a place that is armed; return whether."""
        for _ in range(int(_PATIENCE_S / LOOK_S)):
            if self._board.wait(name, action, LOOK_S):
                return True
            if not self._is_writing() and self._board.action(name) == action:
                # Half a write is made when there is one, which may have been only now.
                self.outcome.fenced += 1
                self._daemon.kill()
                self._board.arm(name, action)  # it may have come to it as it died
                self._restart()
        return False

    def _note(self, name: str, action: Action) -> None:
        if self._board.action(name) == Action.NOTHING:
            self.outcome.actions[action.name] += 1

    def _say(self, sentence: str) -> None:
        self.outcome.wrong.append(sentence)

    def _ask(
        self, name: str, action: Action, asks: Callable[[HTTPConnection], None]
    ) -> None:
        """Ask for something until somebody has come to a place that is armed."""
        while self._board.action(name) == action:
            try:
                with closing(self._daemon.connect()) as connection:
                    asks(connection)
            except (OSError, HTTPException):
                continue

    def _collect(self, connection: HTTPConnection) -> None:
        """Collect garbage."""
        call(connection, "POST", "/v1/gc", {"keep": _KEPT})

    def _redact(self, connection: HTTPConnection) -> None:
        """Redact a content, which no other one is like."""
        self._redactions += 1
        content = f"secret {self._redactions}\n"
        scope = {"namespace": _SECRETS, "branch": "main"}
        revisions: list[int] = []
        for text in (content, "none\n"):
            body = {"scope": scope, "documents": [{"key": "key", "content": text}]}
            status, answer = call(connection, "POST", "/v1/apply", body)
            if status != HTTPStatus.OK:
                return
            revisions.append(answer["revision"])
        done, _ = call(
            connection,
            "POST",
            "/v1/redact",
            {"scope": scope, "key": "key", "revision": revisions[0], "reason": "no"},
        )
        # Whatever became of it: what a reader is shown then stays so.
        query = urlencode({"namespace": _SECRETS, "revision": revisions[0]})
        status, answer = call(connection, "GET", f"/v1/state?{query}")
        if status == HTTPStatus.OK:
            shown = answer["objects"]["key"] == content
            self._shown[digest_of(content.encode())] = shown
            if shown and done == HTTPStatus.OK:
                self._say("a content that was redacted is shown")

    def _is_writing(self) -> bool:
        """Return whether the daemon says that it takes writes."""
        for _ in range(3):  # what is armed elsewhere may cut the connection
            try:
                with closing(self._daemon.connect()) as connection:
                    connection.request("GET", "/readyz")
                    return connection.getresponse().status == HTTPStatus.OK
            except (OSError, HTTPException):
                continue
        return False

    def _try_to_write(self, name: str) -> None:
        """Check that a daemon that says so takes no writes."""
        body = {"documents": [{"key": "k", "content": "v"}], "message": "never"}
        try:
            with closing(self._daemon.connect()) as connection:
                status, answer = call(connection, "POST", "/v1/apply", body)
        except (OSError, HTTPException):
            return  # if it was made all the same, nobody has sent it: the oracle says so
        if (status, answer["outcome"]) != (HTTPStatus.SERVICE_UNAVAILABLE, "none"):
            self._say(f"{name}: takes writes after it said no: {status} {answer}")

    def _restart(self) -> None:
        """Kill the daemon, look at the store now and then, and start another one."""
        self._daemon.kill()
        self._since_look += 1
        if self._since_look >= _LOOKS:
            self._look()
        self._start()

    def _start(self) -> None:
        """Start a daemon, once more if a place that is armed stops it."""
        for _ in range(2):
            self.outcome.starts += 1
            self._daemons[:] = [self._armed.serve(*self._flags)]
            if self._daemon.is_up():
                return
            self._daemon.kill()
        raise RuntimeError(f"st8d does not start again:\n{self._daemon.log()}")

    def _look(self) -> None:
        """Judge what is there while no daemon runs."""
        self._since_look = 0
        try:
            with closing(self._open_store()) as store:
                self.outcome.wrong += self._oracle.look(
                    store, thorough=True, aside={_SECRETS}
                )
                redacted = {one.digest for one in store.redactions()}
                stored = store.objects(list(self._shown)).keys()
                self.outcome.wrong += [
                    f"content {digest.hex()} was shown or not, and is not so any more"
                    for digest, shown in self._shown.items()
                    if (digest in redacted) == shown or (digest in stored) > shown
                ]
        except St8Error as error:
            self._say(f"the store can't be read: {error.detail}")


def _lasting(name: str) -> list[Action]:
    """Return what may stop the writes of a daemon."""
    if name in UNKNOWN:
        return [Action.EIO, Action.ENOSPC]
    return [Action.EIO, Action.SHORT] if name in _BEFORE_WRITES else [Action.EIO]
