"""What the processes that share an embedded store have in common, beside its file.

It is made before they are: a page of memory that all of them see, and a socket for
each, on which the others tell it which branches they have moved. It needs neither
names nor permissions, and is gone with the last of them.
"""

from __future__ import annotations

import json
import mmap
import socket
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, cast, final

from st8.core.ids import BranchName, Namespace

if TYPE_CHECKING:
    from collections.abc import Collection

    from st8.core.ports import BranchAt, Heard

__all__ = ["Peer", "Peers"]

_MESSAGE_BYTES: Final = 32 * 1024
"""Longer ones say that any branch may have moved; a socket holds several of these."""
_ANY: Final = b"null"
_WAKE: Final = b""
_FENCED_AT: Final = 8
"""Behind the number of moves, which is read in one piece."""
_MISSED_AT: Final = 9
"""Where the memory says that a process has missed something: a byte for each."""


@final
class Peers:
    """What a number of processes have in common.

    Make it, fork, and call :meth:`peer` in each child: it goes on with what is left
    by a process of the same number that has died.
    """

    def __init__(self, number: int) -> None:
        """Make it for processes 0 … ``number`` - 1."""
        self.memory = mmap.mmap(-1, mmap.PAGESIZE)
        self.moves = memoryview(self.memory)[:_FENCED_AT].cast("Q")
        self.pairs = [
            socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM) for _ in range(number)
        ]
        for _, tell in self.pairs:
            tell.setblocking(False)

    def peer(self, number: int) -> Peer:
        """Return what process ``number`` has to do with the others."""
        return Peer(self, number)

    def close(self) -> None:
        """Give back what this process has of it."""
        for pair in self.pairs:
            for sock in pair:
                sock.close()
        self.moves.release()
        self.memory.close()


@final
class Peer:
    """One of the processes; any thread may call."""

    def __init__(self, peers: Peers, number: int) -> None:
        """Be process ``number``."""
        self._memory = peers.memory
        self._moves = peers.moves
        self._pairs = peers.pairs
        self._number = number
        self._closing = False
        self._ear: threading.Thread | None = None

    @property
    def moves(self) -> int | None:
        """A number that no commit leaves as it was; None while there is one.

        And after a process died in one, until the next.
        """
        number = self._moves[0]
        return None if number & 1 else number

    def begin_to_move(self) -> None:
        """Note that a commit begins. One process at a time calls this."""
        self._moves[0] |= 1

    def end_moving(self) -> None:
        """Note that it has ended, well or not."""
        self._moves[0] = (self._moves[0] | 1) + 1

    @property
    def fenced(self) -> bool:
        """Whether a write has failed in one of them, so that none may write."""
        return bool(self._memory[_FENCED_AT])

    def fence(self) -> None:
        """Note that a write has failed; it stays so as long as this memory is there."""
        self._memory[_FENCED_AT] = 1

    def tell(self, branches: Collection[BranchAt] | None) -> None:
        """Tell the others that ``branches`` have moved; never waits or fails.

        None is that anything may have.
        """
        if branches is not None and not branches:
            return
        message = _ANY if branches is None else json.dumps(list(branches)).encode()
        if len(message) > _MESSAGE_BYTES:
            message = _ANY
        for number, (_, tell) in enumerate(self._pairs):
            if number == self._number:
                continue
            try:
                tell.send(message)
            except OSError:
                # It has much to read still, and looks here when it has read that.
                self._memory[_MISSED_AT + number] = 1

    def hear(self, heard: Heard) -> None:
        """Begin to listen; see :meth:`st8.core.ports.Store.hear`."""
        # A daemon thread: who forgets to close the store can end all the same.
        self._ear = threading.Thread(
            target=self._listen, args=(heard,), name="st8-peers", daemon=True
        )
        self._ear.start()

    def close(self) -> None:
        """Stop listening."""
        self._closing = True
        if self._ear is not None:
            with suppress(OSError):  # there is so much to read that it is awake
                self._pairs[self._number][1].send(_WAKE)
            self._ear.join()

    def _listen(self, heard: Heard) -> None:
        heard(None)  # what was told before is not known
        ear, _ = self._pairs[self._number]
        at = _MISSED_AT + self._number
        while True:
            message = ear.recv(_MESSAGE_BYTES)
            if self._closing:
                return
            if self._memory[at]:
                self._memory[at] = 0
                message = _ANY
            if message != _WAKE:
                heard(_read(message))


def _read(message: bytes) -> list[BranchAt] | None:
    branches = cast("list[Any] | None", json.loads(message))
    if branches is None:
        return None
    return [(Namespace(namespace), BranchName(name)) for namespace, name in branches]
