"""Fills the disk of a daemon at any moment, and frees it again.

While it is full, reads go on, and writes answer 507 ``storage_full``, retryable and
with nothing done; once there is space the same daemon takes the next write. Now and
then the daemon is killed and started while the disk is full. In the end the oracle
looks for what was acknowledged.

Two ways to fill it: below SQLite, where every write after so many bytes finds no space;
and a small file system in memory of the daemon's own, which takes a kernel that lets a
user mount one.
"""

from __future__ import annotations

import shutil
import subprocess
import threading
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from http import HTTPStatus
from http.client import HTTPException
from random import Random  # noqa: TID251 - seeded: a run can be had again
from typing import TYPE_CHECKING, Any, Final, Protocol
from urllib.parse import urlencode

from st8.core.errors import St8Error
from st8.store.sqlite import SqliteStore
from st8.testing.armed import PROGRAM, Armed, ArmedDaemon
from st8.testing.child import call
from st8.testing.ledger import Attempt, Ledger
from st8.testing.oracle import Oracle
from st8.testing.writers import Writer

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

__all__ = ["Outcome", "can_mount", "run"]

_STATE: Final = "state"
_MOUNTED_BYTES: Final = 64 * 1024 * 1024
_LEFT_BYTES: Final = 200_000
"""How much a disk is filled up to, at most: some commits."""
_CONTENT: Final = 20_000
_WRITES_MAX: Final = 2_000
_RESTARTS: Final = 0.1
_MORE: Final = 3
_COLLECTIONS: Final = 10
_KEPT: Final = 5
_SCOPE: Final = ("full", "main")
_SCOPE_FIELDS: Final = {"namespace": _SCOPE[0], "branch": _SCOPE[1]}
_UNSHARE: Final = ("unshare", "--user", "--map-root-user", "--mount")


@dataclass
class Outcome:
    """What a run did and found.

    Attributes:
        seed: What to give to have it again.
        points: How often the disk was filled.
        refused: Writes that found no space.
        starts: How often a daemon was started, ``starts_full`` on a full disk.
        acknowledged: Writes that were.
        wrong: Everything that is not as it should be.
    """

    seed: int
    points: int = 0
    refused: int = 0
    starts: int = 0
    starts_full: int = 0
    acknowledged: int = 0
    wrong: list[str] = field(default_factory=list[str])

    def __str__(self) -> str:
        """Return it as a few lines of text."""
        lines = [
            f"{self.points} times full, {self.refused} writes found no space",
            f"{self.starts} starts, {self.starts_full} of them on a full disk",
            f"{self.acknowledged} writes acknowledged",
            f"seed {self.seed}",
            *(f"WRONG: {sentence}" for sentence in self.wrong[:30]),
            f"{len(self.wrong)} wrong" if self.wrong else "nothing wrong",
        ]
        return "\n".join(lines)


class _Space(Protocol):
    """The space that a daemon has."""

    def fill(self, leave: int) -> None:
        """Leave so many bytes."""
        ...

    def free(self) -> None:
        """Leave all."""
        ...

    def take_out(self) -> Path:
        """Return the state directory, to be looked at while no daemon runs."""
        ...


class _Written:
    """A disk that is full after so many bytes that SQLite writes."""

    def __init__(self, armed: Armed, folder: Path) -> None:
        self._board = armed.board
        self._state = folder / _STATE

    def fill(self, leave: int) -> None:
        self._board.space = leave

    def free(self) -> None:
        self._board.space = None

    def take_out(self) -> Path:
        return self._state


class _Mounted:
    """A file system in memory, with ballast."""

    def __init__(self, armed: Armed, folder: Path) -> None:
        self._armed = armed
        self._folder = folder

    def fill(self, leave: int) -> None:
        self._armed.ask({"fill": str(self._folder), "leave": leave})

    def free(self) -> None:
        self._armed.ask({"fill": str(self._folder), "leave": None})

    def take_out(self) -> Path:
        taken = self._folder.with_name("taken-out")
        state = str(self._folder / _STATE)
        self._armed.ask({"copy": state, "to": str(taken)})
        return taken


def can_mount() -> str | None:
    """Return None if a user may mount a file system in memory here, or why not."""
    if shutil.which(_UNSHARE[0]) is None:
        return "there is no unshare(1) here"
    mount = ["sh", "-c", "mount -t tmpfs tmpfs /mnt"]
    found = subprocess.run(  # noqa: S603 - programs of the system
        [*_UNSHARE, *mount], capture_output=True, text=True, check=False
    )
    return None if not found.returncode else found.stderr.strip() or "it is refused"


def run(folder: Path, *, points: int, seed: int, mounted: bool = False) -> Outcome:
    """Fill the disk of a daemon ``points`` times; return what came of it.

    Args:
        folder: For all files; empty.
        points: How often.
        seed: Decides when.
        mounted: Give the daemon a file system of its own; see :func:`can_mount`.
    """
    disk = folder / "disk"
    disk.mkdir()
    program: Sequence[str] = PROGRAM
    if mounted:
        mount = f'mount -t tmpfs -o size={_MOUNTED_BYTES} tmpfs "$0" && exec "$@"'
        program = (*_UNSHARE, "sh", "-c", mount, str(disk), *PROGRAM)
    with Armed(folder, program, disk=not mounted) as armed:
        space = (_Mounted if mounted else _Written)(armed, disk)
        rig = _Rig(armed, space, str(disk / _STATE), seed)
        rig.run(points)
    return rig.outcome


class _Rig:
    """The state of a run."""

    def __init__(self, armed: Armed, space: _Space, state: str, seed: int) -> None:
        self.outcome = Outcome(seed)
        self._armed = armed
        self._space = space
        self._state = state
        self._chance = Random(seed)  # noqa: S311 - not a secret
        self._ledger = Ledger(outages=[HTTPStatus.INSUFFICIENT_STORAGE])
        self._daemons: list[ArmedDaemon] = []
        self._count = 0
        self._newest: dict[str, str] = {}

    @property
    def _daemon(self) -> ArmedDaemon:
        return self._daemons[0]

    def run(self, points: int) -> None:
        """Do all of it."""
        done = threading.Event()
        writers = [
            Writer(
                f"writer-{number}",
                Random(f"{self.outcome.seed}/{number}"),  # noqa: S311 - not a secret
                self._ledger,
            )
            for number in range(2)
        ]
        self._start()
        for writer in writers:
            writer.roam(self._daemons, done)
        try:
            for number in range(points):
                self._point(f"point {number}")
                if self.outcome.wrong:
                    break
        except (OSError, HTTPException) as error:
            self._say(f"the daemon has gone: {error!r}\n{self._daemon.log()[-2000:]}")
        finally:
            done.set()
            self._daemon.kill()
            for writer in writers:
                writer.join()
        self._look()

    def _point(self, context: str) -> None:
        """Fill the disk, see what the daemon does, and free it."""
        self.outcome.points += 1
        self._space.fill(self._chance.randrange(_LEFT_BYTES))
        with ExitStack() as stack:
            writes = (self._write() for _ in range(_WRITES_MAX))
            refused = (each for each in writes if each[0] != HTTPStatus.OK)
            status, answer = next(refused, (int(HTTPStatus.OK), None))
            self._check_refusal(context, status, answer)
            self._check_read(context)
            for _ in range(_MORE):
                status, answer = self._write(small=True)
                if status != HTTPStatus.OK:
                    self._check_refusal(context, status, answer)
            if self._chance.random() < _RESTARTS:
                self._restart_full(context)
            stack.callback(self._space.free)
        status, answer = self._write()
        if status != HTTPStatus.OK:
            self._say(f"{context}: with space again: {status} {answer}")
        self._check_read(context)
        if self.outcome.points % _COLLECTIONS == 0:
            with closing(self._daemon.connect()) as connection:
                call(connection, "POST", "/v1/gc", {"keep": _KEPT})

    def _check_refusal(self, context: str, status: int, answer: Any) -> None:
        if status == HTTPStatus.OK:
            self._say(f"{context}: the disk was never full")
            return
        self.outcome.refused += 1
        expected = (HTTPStatus.INSUFFICIENT_STORAGE, "storage_full", True, "none")
        actual = (status, answer["code"], answer["retryable"], answer["outcome"])
        if actual != expected:
            self._say(f"{context}: a full disk is answered {status} {answer}")

    def _check_read(self, context: str) -> None:
        """Check that what was acknowledged last can be read."""
        if not self._newest:
            return
        with closing(self._daemon.connect()) as connection:
            target = f"/v1/state?{urlencode(_SCOPE_FIELDS)}"
            status, answer = call(connection, "GET", target)
        if status != HTTPStatus.OK or answer["objects"] != self._newest:
            self._say(f"{context}: a read is answered {status} {str(answer)[:200]}")

    def _write(self, *, small: bool = False) -> tuple[int, Any]:
        """Write one document, of a few that are there."""
        self._count += 1
        name = f"full-{self._count}"
        key = f"key-{self._count % 8}"
        filling = "" if small else self._chance.randbytes(_CONTENT).hex()
        edits = {key: f"{name} {filling}"}
        documents = [{"key": key, "content": edits[key]}]
        body = {"scope": _SCOPE_FIELDS, "documents": documents, "message": name}
        attempt = Attempt(name, "apply", *_SCOPE, body, edits)
        self._ledger.begin(attempt)
        headers = {"Idempotency-Key": name}
        with closing(self._daemon.connect()) as connection:
            status, answer = call(connection, "POST", "/v1/apply", body, headers)
        self._ledger.end(attempt, status, answer)
        if status == HTTPStatus.OK:
            self._newest.update(edits)
        return status, answer

    def _restart_full(self, context: str) -> None:
        """Kill the daemon and start it on the full disk, or else when there is space."""
        self._daemon.kill()
        self.outcome.starts_full += 1
        self.outcome.starts += 1
        self._daemons[:] = [self._armed.serve("--state-dir", self._state)]
        if self._daemon.is_up():
            self._check_read(context)
            return
        self._daemon.kill()
        if "st8d: " not in self._daemon.log():
            self._say(f"{context}: no start, and no reason: {self._daemon.log()}")
        self._space.free()
        self._start()

    def _start(self) -> None:
        self.outcome.starts += 1
        self._daemons[:] = [self._armed.serve("--state-dir", self._state)]
        if not self._daemon.is_up():
            raise RuntimeError(f"st8d does not start:\n{self._daemon.log()}")

    def _say(self, sentence: str) -> None:
        self.outcome.wrong.append(sentence)

    def _look(self) -> None:
        """Judge what is there while no daemon runs."""
        oracle = Oracle(self._ledger, kept=_KEPT)
        try:
            with closing(SqliteStore(self._space.take_out())) as store:
                self.outcome.wrong += oracle.look(store, thorough=True)
        except St8Error as error:
            self._say(f"the store can't be read: {error.detail}")
        self.outcome.wrong += self._ledger.faults
        fates = [attempt.fate for attempt in self._ledger.attempts.values()]
        self.outcome.acknowledged = fates.count("acknowledged")
