"""Tells the service manager how st8d fares: systemd's sd_notify protocol."""

from __future__ import annotations

import contextlib
import socket
import time
from typing import Final, Protocol

__all__ = ["Manager", "Notifier"]

_NS_PER_US: Final = 1_000


class Manager(Protocol):
    """Whoever has started this process, and hears how it fares."""

    def ready(self, status: str) -> None:
        """Hear that requests are answered, and in words how things are."""
        ...

    def reloading(self) -> None:
        """Hear that what may change is read anew; :meth:`ready` is to follow."""
        ...

    def stopping(self) -> None:
        """Hear that no new request is taken."""
        ...

    def alive(self) -> None:
        """Hear that the loop turns."""
        ...


class Notifier:
    """Sends states to the socket that systemd named; to nobody if it named none.

    What can't be sent is lost, and st8d goes on: whoever waits for it has a time
    limit of its own.
    """

    def __init__(self, path: str) -> None:
        """Send to the socket at ``path``, with ``@`` before an abstract one."""
        self._path = f"\0{path[1:]}" if path.startswith("@") else path

    def ready(self, status: str) -> None:
        """Say that requests are answered, and in words how things are."""
        self._send("READY=1", f"STATUS={status}")

    def reloading(self) -> None:
        """Say that what may change is read anew; :meth:`ready` is to follow."""
        now_us = time.monotonic_ns() // _NS_PER_US
        self._send("RELOADING=1", f"MONOTONIC_USEC={now_us}")

    def stopping(self) -> None:
        """Say that no new request is taken."""
        self._send("STOPPING=1", "STATUS=finishing requests")

    def alive(self) -> None:
        """Give a sign of life."""
        self._send("WATCHDOG=1")

    def _send(self, *lines: str) -> None:
        if not self._path:
            return
        with (
            contextlib.suppress(OSError, ValueError),
            socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock,
        ):
            sock.setblocking(False)
            sock.sendto("\n".join(lines).encode(), self._path)
