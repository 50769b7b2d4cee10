"""Daemons whose failpoints a test can arm, forked from one that has all imported.

``python -m st8.testing.armed BOARD`` reads commands from standard input: each starts a
st8d, in a process that is forked, since importing takes most of a start. What is armed
stands on a board, a file that the test and all of them have in their memory, so that a
daemon can be armed at any time. Nothing but this program ever arms one.
"""

from __future__ import annotations

import errno
import json
import mmap
import os
import shutil
import signal
import socket
import struct
import subprocess
import sys
import time
import traceback
from contextlib import suppress
from enum import IntEnum
from http.client import HTTPConnection
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

import apsw

from st8.core import failpoints
from st8.testing.child import LISTENING
from st8.testing.failing_disk import FailingDisk

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = [
    "DISK",
    "NAMES",
    "PROGRAM",
    "UNKNOWN",
    "Action",
    "Armed",
    "ArmedDaemon",
    "Board",
    "main",
]

DISK: Final = (
    "disk.before_log_write",
    "disk.before_log_sync",
    "disk.after_log_sync",
    "disk.before_file_write",
    "disk.after_file_write",
    "disk.before_file_sync",
    "disk.after_file_sync",
)
"""Places below SQLite: of its log, and of its file, which only its checkpoints write."""

UNKNOWN: Final = (
    "sqlite.after_commit",
    "postgres.after_commit",
    *(name for name in DISK if "_sync" in name),
)
"""Places where no error says that nothing was changed, not even a lack of space.

SQLite takes a failed sync for an error of the disk, whatever the reason; and when a
server has answered, all that can still go wrong is the connection.
"""

PROGRAM: Final = (sys.executable, "-m", "st8.testing.armed")
"""The command of this program; it wants the board."""

NAMES: Final = (*failpoints.NAMES, *DISK)
_NUMBERS: Final = {name: number for number, name in enumerate(NAMES)}
_ENTRY: Final = struct.Struct("<II")  # what is armed, how often it was come to
_SPACE: Final = struct.Struct("<Q")
_SLEEP_S: Final = 0.02
_LOOK_S: Final = 0.002
_PATIENCE_S: Final = 60.0
_NEEDED: Final = (
    "st8.daemon.migrate",
    "st8.daemon.serving",
    "st8.store.open",
    "st8.store.postgres",
    "st8.store.sqlite",
)
"""What daemons load when they start."""
_PAGES: Final = 8
"""To a checkpoint of SQLite's log, so that they are often."""


class Action(IntEnum):
    """What happens to whoever comes to a place next.

    ``HOLD`` holds it up as long as the board says ``HELD``. ``SHORT`` is half a write, the next one that SQLite makes.
    """

    NOTHING = 0
    KILL = 1
    EIO = 2
    ENOSPC = 3
    SHORT = 4
    SLEEP = 5
    HOLD = 6
    HELD = 7


class Board:
    """What is armed, and how often each place was come to; shared by processes."""

    def __init__(self, path: Path) -> None:
        """Open the board in a file, which is made if it is not there."""
        self._space = _ENTRY.size * len(NAMES)
        size = self._space + _SPACE.size
        with path.open("a+b") as file:
            file.truncate(size)
            self._memory = mmap.mmap(file.fileno(), size)

    @property
    def space(self) -> int | None:
        """How many bytes more SQLite may write until the disk is full; None: any."""
        found: int = _SPACE.unpack_from(self._memory, self._space)[0]
        return found - 1 if found else None

    @space.setter
    def space(self, space: int | None) -> None:
        value = 0 if space is None else space + 1
        _SPACE.pack_into(self._memory, self._space, value)

    def action(self, name: str) -> Action:
        """Return what is armed at a place."""
        return Action(self._entry(name)[0])

    def hits(self, name: str) -> int:
        """Return how often a place was come to."""
        return self._entry(name)[1]

    def arm(self, name: str, action: Action) -> None:
        """Arm a place, for the next that comes to it."""
        self._put(name, action, self.hits(name))

    def reach(self, name: str) -> Action:
        """Note that somebody has come to a place; return what happens now."""
        action, hits = self._entry(name)
        left = Action.HELD if action == Action.HOLD else Action.NOTHING
        self._put(name, left, hits + 1)
        return Action(action)

    def wait(self, name: str, action: Action, wait_s: float = _PATIENCE_S) -> bool:
        """Wait while ``action`` is at a place; return whether that has an end."""
        deadline = time.monotonic() + wait_s
        while self.action(name) == action:
            if time.monotonic() > deadline:
                return False
            time.sleep(_LOOK_S)
        return True

    def _entry(self, name: str) -> tuple[int, int]:
        found = _ENTRY.unpack_from(self._memory, _NUMBERS[name] * _ENTRY.size)
        return found[0], found[1]

    def _put(self, name: str, action: int, hits: int) -> None:
        _ENTRY.pack_into(self._memory, _NUMBERS[name] * _ENTRY.size, action, hits)


# --- in the daemon ------------------------------------------------------------------


class _Disk(FailingDisk):
    """The disk of an armed daemon: its calls are places too."""

    def __init__(self, board: Board, reached: Callable[[str], None]) -> None:
        super().__init__(default=True)
        self._board = board
        self._reached = reached

    def take_space(self, size: int) -> None:
        """Take the space for a write, or say that there is none."""
        left = self._board.space
        if left is not None:
            if left < size:
                raise apsw.FullError("no space")
            self._board.space = left - size

    def before(self, kind: str, file: str) -> None:
        """Be at the place before a write or a sync."""
        place = {"wal": "log", "db": "file"}.get(file)
        if place is not None and f"disk.before_{place}_{kind}" in _NUMBERS:
            self._reached(f"disk.before_{place}_{kind}")
        super().before(kind, file)

    def after(self, kind: str, file: str) -> None:
        """Be at the place after a write or a sync."""
        place = {"wal": "log", "db": "file"}.get(file)
        if place is not None and f"disk.after_{place}_{kind}" in _NUMBERS:
            self._reached(f"disk.after_{place}_{kind}")


def _arm(board: Board, *, disk_too: bool) -> None:
    """Let this process do what the board says, and its disk, too."""

    def reached(name: str) -> None:
        action = board.reach(name)
        if action == Action.KILL:
            os.kill(os.getpid(), signal.SIGKILL)
        elif action in {Action.EIO, Action.ENOSPC}:
            raise _error(name, action)
        elif action == Action.SHORT and disk is not None:
            disk.shorten()
        elif action == Action.SLEEP:
            time.sleep(_SLEEP_S)
        elif action == Action.HOLD:
            board.wait(name, Action.HELD)

    disk = _Disk(board, reached) if disk_too else None
    failpoints.arm(reached)


def _error(name: str, action: Action) -> Exception:
    """Return the error as it comes from below a place."""
    part = name.partition(".")[0]
    full = action == Action.ENOSPC and name not in UNKNOWN
    if part in {"sqlite", "disk"} and name not in _WITHOUT_SQLITE:
        return apsw.FullError("no space") if full else apsw.IOError("disk I/O error")
    if part == "postgres":
        import psycopg  # noqa: PLC0415 - an extra

        if name in UNKNOWN:
            return psycopg.OperationalError("the connection is lost")
        return (psycopg.errors.DiskFull if full else psycopg.errors.IoError)("planted")
    number = errno.ENOSPC if full else errno.EIO
    return OSError(number, os.strerror(number))


_WITHOUT_SQLITE: Final = {
    "sqlite.before_log",
    "sqlite.after_log",
    "sqlite.names_synced",
}


def _become(command: dict[str, Any], board: Board) -> int:
    """Be st8d; return its exit code."""
    from st8 import daemon  # noqa: PLC0415 - it is there since the program began
    from st8.store.sqlite import SqliteStore  # noqa: PLC0415 - see above

    null = os.open(os.devnull, os.O_RDWR)
    file = os.open(command["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    for number, handle in enumerate((null, null, file)):
        os.dup2(handle, number)
    defaults: dict[str, Any] = SqliteStore.__init__.__kwdefaults__ or {}
    defaults["checkpoint_pages"] = _PAGES
    _arm(board, disk_too=command["disk"])
    return daemon.main(command["arguments"])


def _serve(board: Board) -> None:
    """Fork a daemon for each command; end them all when there are no more."""
    for module in _NEEDED:
        import_module(module)
    running: set[int] = set()
    for line in sys.stdin:
        command = json.loads(line)
        answer: int | None
        if "fill" in command:
            answer = _fill(Path(command["fill"]), command["leave"])
        elif "copy" in command:
            shutil.copytree(command["copy"], command["to"], dirs_exist_ok=True)
            answer = 0
        elif "process" in command:
            answer = _exit_code(command["process"])
            if answer is not None:
                running.discard(command["process"])
        else:
            answer = os.fork()
            if not answer:
                code = 1
                try:
                    code = _become(command, board)
                except BaseException:  # noqa: BLE001 - it ends here
                    traceback.print_exc()
                finally:
                    sys.stderr.flush()
                    os._exit(code)
            running.add(answer)
        sys.stdout.write(f"{json.dumps(answer)}\n")
        sys.stdout.flush()
    for process in running:
        os.kill(process, signal.SIGKILL)


def _fill(folder: Path, leave: int | None) -> int:
    """Fill the file system of a folder up to so many bytes; None: empty it again."""
    ballast = folder / "ballast"
    ballast.unlink(missing_ok=True)
    while leave is not None:
        found = os.statvfs(folder)
        size = max(1, found.f_bavail * found.f_frsize - leave)
        with suppress(OSError), ballast.open("wb") as file:  # what is left gets less
            os.posix_fallocate(file.fileno(), 0, size)
            break
    return 0


def _exit_code(process: int) -> int | None:
    """Return the exit code of a child, negative for a signal; None while it runs."""
    found, status = os.waitpid(process, os.WNOHANG)
    return os.waitstatus_to_exitcode(status) if found else None


# --- in the test --------------------------------------------------------------------


class Armed:
    """Starts daemons that can be armed. A context manager; one thread."""

    def __init__(
        self, folder: Path, command: Sequence[str] = PROGRAM, *, disk: bool = True
    ) -> None:
        """Keep the board and the logs in ``folder``; run ``command`` to fork daemons.

        Without ``disk`` SQLite uses the system's VFS, and the disk has no places.
        """
        self._disk = disk
        self.board = Board(folder / "board")
        self._folder = folder
        self._logs = 0
        self._program = subprocess.Popen(  # noqa: S603 - this very module
            [*command, str(folder / "board")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def run(self, *arguments: str) -> ArmedDaemon:
        """Start st8d with arguments, and do not wait for it."""
        self._logs += 1
        log = self._folder / f"log-{self._logs}"
        process = self.ask(
            {"arguments": arguments, "log": str(log), "disk": self._disk}
        )
        if process is None:
            raise RuntimeError("no daemon was forked")
        return ArmedDaemon(self, process, log)

    def serve(self, *arguments: str) -> ArmedDaemon:
        """Start st8d on a free port, and do not wait until it is ready."""
        return self.run("--listen", "127.0.0.1:0", *arguments)

    def ask(self, command: dict[str, Any]) -> int | None:
        """Return the answer of the program that forks."""
        stdin, stdout = self._program.stdin, self._program.stdout
        if stdin is None or stdout is None:
            raise RuntimeError("the program of armed daemons has no pipes")
        stdin.write(f"{json.dumps(command)}\n")
        stdin.flush()
        answer: int | None = json.loads(stdout.readline())
        return answer

    def __enter__(self) -> Self:
        """Return it."""
        return self

    def __exit__(self, *_: object) -> None:
        """End all daemons."""
        self._program.communicate(timeout=_PATIENCE_S)


class ArmedDaemon:
    """A daemon that can be armed.

    Attributes:
        process: Its number.
        exit_code: What it has ended with, negative for a signal, as far as was asked.
    """

    def __init__(self, armed: Armed, process: int, log: Path) -> None:
        """Know a daemon that was started."""
        self.process = process
        self.exit_code: int | None = None
        self._armed = armed
        self._log = log
        self._port = 0
        self._connections: list[HTTPConnection] = []

    def log(self) -> str:
        """Return what it has logged so far."""
        return self._log.read_text(errors="replace") if self._log.exists() else ""

    def is_up(self) -> bool:
        """Wait until it listens; return whether it does, and has not ended before."""
        deadline = time.monotonic() + _PATIENCE_S
        while time.monotonic() < deadline:
            found = LISTENING.search(self.log().encode())
            if found is not None:
                self._port = int(found[1])
                return not self.has_ended()
            if self.has_ended():
                return False
            time.sleep(_LOOK_S)
        return False

    def has_ended(self) -> bool:
        """Return whether it has ended."""
        if self.exit_code is None:
            self.exit_code = self._armed.ask({"process": self.process})
        return self.exit_code is not None

    def wait(self) -> int:
        """Return its exit code, once it has ended; raise TimeoutError if it does not."""
        deadline = time.monotonic() + _PATIENCE_S
        while not self.has_ended():
            if time.monotonic() > deadline:
                raise TimeoutError(f"st8d does not end:\n{self.log()}")
            time.sleep(_LOOK_S)
        return self.exit_code or 0

    def kill(self) -> int:
        """Kill it, if it still runs, and return its exit code."""
        if self.exit_code is None:
            os.kill(self.process, signal.SIGKILL)
        return self.wait()

    def connect(self, timeout_s: float = _PATIENCE_S) -> HTTPConnection:
        """Return a keep-alive connection to it; connects when first used."""
        connection = HTTPConnection("127.0.0.1", self._port, timeout=timeout_s)
        self._connections.append(connection)
        return connection

    def drop_clients(self) -> None:
        """Cut all connections, as clients that go away."""
        connections, self._connections = self._connections, []
        for connection in connections:
            sock: socket.socket | None = connection.sock
            if sock is not None:
                try:
                    sock.shutdown(socket.SHUT_RDWR)
                except OSError:
                    continue  # it has gone already


def main(board: str) -> None:
    """Run the program, with the file of the board."""
    _serve(Board(Path(board)))


if __name__ == "__main__":
    main(sys.argv[1])
