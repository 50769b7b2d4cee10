"""Kills the daemon in the middle of its work, again and again, and looks at the rest.

Writers write without a pause over several namespaces and branches; after a random
while the daemon is killed as by ``kill -9``, now and then while it still starts;
then either the next daemon recovers, or the oracle opens the files first and judges
them by what the writers know. At the end it judges everything once more::

    python -m st8.testing.killrig --kills 200 --seed 42

The seed decides what is written, when each kill comes and who looks first; how the
machine interleaves the threads it can't decide, so the same seed is a rerun of the
same plan. After 500 kills another store is begun, with the next seed. Exit code 1 and
a list when anything is wrong; the state directory is then kept.

What a kill can't show: the kernel keeps what was written but not fsynced, so a store
that never syncs passes. That takes a loss of power, which is another rig's.
"""

from __future__ import annotations

import argparse
import contextlib
import secrets
import shutil
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from random import Random  # noqa: TID251 - seeded: a run can be had again
from typing import TYPE_CHECKING, Final

from st8.core.errors import St8Error
from st8.store.sqlite import SqliteStore
from st8.testing.child import ST8D, ChildDaemon
from st8.testing.ledger import Ledger
from st8.testing.oracle import Oracle
from st8.testing.writers import Writer

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["Outcome", "main", "run"]

_SHORTEST_S: Final = 0.020
_LONGEST_S: Final = 0.350
_START_S: Final = 0.5
"""How late a kill may come that hits a daemon while it starts."""
_STARTS_KILLED: Final = 0.1
_LOOKS: Final = 0.5
_KILLS_EACH: Final = 500
"""Kills of one store; each look reads all of its revisions."""


@dataclass
class Outcome:
    """What a run did and found.

    Attributes:
        seed: What to give to have it again; the first of several stores.
        kills: How often the daemon was killed, ``starts_killed`` while starting.
        acknowledged, refused: Writes that were answered.
        applied, unapplied: Writes without an answer, by what became of them.
        reads: Reads that were answered.
        revisions, objects: Records, and nodes and contents, that were hashed again.
        wrong: Everything that is not as it should be.
    """

    seed: int
    kills: int = 0
    starts_killed: int = 0
    acknowledged: int = 0
    refused: int = 0
    applied: int = 0
    unapplied: int = 0
    reads: int = 0
    revisions: int = 0
    objects: int = 0
    wrong: tuple[str, ...] = ()

    def add(self, other: Outcome) -> None:
        """Count in what was done to another store, with another seed."""
        for name in (
            "kills",
            "starts_killed",
            "acknowledged",
            "refused",
            "applied",
            "unapplied",
            "reads",
            "revisions",
            "objects",
        ):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.wrong += other.wrong

    def __str__(self) -> str:
        """Return it as a few lines of text."""
        unanswered = self.applied + self.unapplied
        lines = [
            f"{self.kills} kills, {self.starts_killed} of them while starting",
            f"{self.acknowledged} writes acknowledged, {self.refused} refused",
            f"{unanswered} never answered, {self.applied} of them made",
            f"{self.reads} reads",
            f"{self.revisions} revisions and {self.objects} objects hashed again",
            f"seed {self.seed}",
            *(f"WRONG: {sentence}" for sentence in self.wrong[:50]),
            f"{len(self.wrong)} wrong" if self.wrong else "nothing wrong",
        ]
        return "\n".join(lines)


def run(
    state_dir: Path,
    *,
    kills: int,
    seed: int,
    writers: int = 8,
    command: Sequence[str] = ST8D,
    say: Callable[[str], None] = lambda _: None,
) -> Outcome:
    """Kill a daemon ``kills`` times and return what came of it.

    Ends early at the first look that finds something wrong.

    Args:
        state_dir: Where the daemon lives; empty, or from a daemon before.
        kills: How often.
        seed: Decides what is done.
        writers: Clients that write at a time.
        command: What to run instead of st8d.
        say: Is told how far it is.
    """
    rig = _Rig(state_dir, seed, writers, command)
    for number in range(1, kills + 1):
        rig.kill()
        last = number == kills
        if (last or rig.chance.random() < _LOOKS) and rig.look(thorough=last):
            break
        if number % 20 == 0:
            say(f"{number} kills, {rig.oracle.revisions} revisions at the last look")
    return rig.outcome()


class _Rig:
    """The state of a run."""

    def __init__(
        self, state_dir: Path, seed: int, writers: int, command: Sequence[str]
    ) -> None:
        self.chance = Random(seed)  # noqa: S311 - not a secret
        self._state_dir = state_dir
        self._command = command
        self._ledger = Ledger()
        self.oracle = Oracle(self._ledger)
        self._writers = [
            Writer(
                f"writer-{number}",
                Random(f"{seed}/{number}"),  # noqa: S311 - not a secret
                self._ledger,
            )
            for number in range(writers)
        ]
        self._outcome = Outcome(seed)
        self._wrong: list[str] = []

    def kill(self) -> None:
        """Start the daemon, let the writers write, and kill it."""
        self._outcome.kills += 1
        if self.chance.random() < _STARTS_KILLED:
            self._outcome.starts_killed += 1
            with self._daemon(wait=False):
                time.sleep(self.chance.uniform(0, _START_S))
            return
        delay_s = self.chance.uniform(_SHORTEST_S, _LONGEST_S)
        try:
            daemon = self._daemon(wait=True)
        except RuntimeError as error:
            self._wrong.append(f"after {self._outcome.kills - 1} kills: {error}")
            return
        with daemon:
            for writer in self._writers:
                writer.start(daemon)
            time.sleep(delay_s)
        for writer in self._writers:
            writer.join()

    def _daemon(self, *, wait: bool) -> ChildDaemon:
        return ChildDaemon(self._state_dir, command=self._command, wait=wait)

    def look(self, *, thorough: bool) -> bool:
        """Judge what the daemon left; return whether anything is wrong."""
        with contextlib.ExitStack() as stack:
            try:
                store = SqliteStore(self._state_dir)
                stack.callback(store.close)
                self._wrong += self.oracle.look(store, thorough=thorough)
            except St8Error as error:
                self._wrong.append(f"the store can't be read: {error.detail}")
        if thorough and not self._wrong:
            self._wrong += self.oracle.explain()
        self._wrong += self._ledger.faults
        return bool(self._wrong)

    def outcome(self) -> Outcome:
        """Return what was done and found."""
        fates = [attempt.fate for attempt in self._ledger.attempts.values()]
        outcome = self._outcome
        outcome.acknowledged = fates.count("acknowledged")
        outcome.refused = fates.count("refused")
        outcome.applied = self.oracle.applied
        outcome.unapplied = self.oracle.unapplied
        outcome.reads = len(self._ledger.reads)
        outcome.revisions = self.oracle.revisions
        outcome.objects = self.oracle.objects
        outcome.wrong = tuple(self._wrong)
        return outcome


def main(arguments: Sequence[str] | None = None) -> int:
    """Run from the command line; return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m st8.testing.killrig",
        description="Kill st8d again and again, and look at what is left.",
    )
    parser.add_argument("--kills", type=int, default=10_000)
    parser.add_argument("--seed", type=int, help="what an earlier run printed")
    parser.add_argument("--writers", type=int, default=8)
    options = parser.parse_args(arguments)
    seed = secrets.randbelow(2**32) if options.seed is None else options.seed
    _print(f"seed {seed}")
    total = Outcome(seed)
    while total.kills < options.kills:
        folder = Path(tempfile.mkdtemp(prefix="st8-killrig-"))
        outcome = run(
            folder / "state",
            kills=min(_KILLS_EACH, options.kills - total.kills),
            seed=seed,
            writers=options.writers,
            say=_print,
        )
        total.add(outcome)
        if outcome.wrong:
            _print(f"{outcome}\nthe state directory is kept: {folder}")
            return 1
        shutil.rmtree(folder)
        seed += 1
        _print(f"{total.kills} kills in all, nothing wrong")
    _print(str(total))
    return 0


def _print(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
