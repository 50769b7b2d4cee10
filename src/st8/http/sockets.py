"""Sockets to listen on: of the network, of this machine, and handed over.

They are bound and do not listen yet, so that a taken address is known before
anything else is opened, and nobody is accepted before everything is.
"""

from __future__ import annotations

import contextlib
import os
import socket
import stat
from typing import TYPE_CHECKING, Final

from st8.core.errors import Unavailable

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

__all__ = [
    "BACKLOG",
    "address_of",
    "bind_tcp",
    "bind_unix",
    "handed_over",
    "is_loopback",
    "is_unix",
    "listen",
]

BACKLOG: Final = 2048
_FIRST_HANDED_OVER: Final = 3  # systemd's SD_LISTEN_FDS_START


def listen(host: str, port: int) -> socket.socket:
    """Return a socket that listens already; see :func:`bind_tcp`."""
    bound = bind_tcp(host, port)
    bound.listen(BACKLOG)
    return bound


def bind_tcp(host: str, port: int) -> socket.socket:
    """Return a socket that is bound to ``host`` and ``port``.

    An empty host is every address of the machine, IPv4 and IPv6. A name that has
    several addresses gives the first IPv4 one. Port 0 takes a free port. Raises
    OSError; its message names the reason and not the address.
    """
    if not host:
        if socket.has_dualstack_ipv6():
            return _bound(socket.AF_INET6, ("", port), dualstack=True)
        return _bound(socket.AF_INET, ("", port))
    found = socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )
    family, _, _, _, address = min(found, key=lambda info: info[0] != socket.AF_INET)
    return _bound(family, address)


def _bound(
    family: int, address: tuple[object, ...], *, dualstack: bool = False
) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, not dualstack)
        sock.bind(address)
    except BaseException:
        sock.close()
        raise
    return sock


def bind_unix(path: Path, mode: int) -> tuple[socket.socket, Callable[[], None]]:
    """Return a socket at ``path`` that listens, for those whom ``mode`` lets.

    And what removes the path, if by then it is still this socket's.

    A socket that nobody listens on any more, as a daemon leaves it that was killed,
    is replaced. It listens at once, because that is how it is known not to be one
    of these; who connects waits until somebody accepts.

    Raises:
        Unavailable: Somebody listens there, or something else is at ``path``.
        OSError: It can't be made.
    """
    _remove_stale(path)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.bind(str(path))
        path.chmod(mode)  # before it listens, so that nobody slips in
        sock.listen(BACKLOG)
        own = path.lstat()
    except BaseException:
        sock.close()
        raise

    def remove() -> None:
        with contextlib.suppress(OSError):
            if os.path.samestat(own, path.lstat()):
                path.unlink()

    return sock, remove


def _remove_stale(path: Path) -> None:
    """Remove a socket that nobody listens on."""
    try:
        found = path.lstat()
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(found.st_mode):
        raise Unavailable(
            f"can't listen on unix:{path}: there is a file that is no socket; remove "
            "it, or choose another --listen"
        )
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            with contextlib.suppress(FileNotFoundError):
                path.unlink()
            return
        except FileNotFoundError:
            return
        except BlockingIOError:
            pass
    raise Unavailable(
        f"can't listen on unix:{path}: another process listens there; stop it, or "
        "choose another --listen"
    )


def handed_over(count: int) -> list[socket.socket]:
    """Return the sockets that the service manager has opened for this process.

    Raises:
        Unavailable: One of them is no listening stream socket.
    """
    found: list[socket.socket] = []
    for number in range(_FIRST_HANDED_OVER, _FIRST_HANDED_OVER + count):
        try:
            sock = socket.socket(fileno=number)
        except OSError as error:
            raise Unavailable(
                f"can't use the socket {number} of the service manager: "
                f"{error.strerror}; check LISTEN_FDS and the .socket unit"
            ) from None
        found.append(sock)
        sock.set_inheritable(False)
        listens = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
        if sock.type != socket.SOCK_STREAM or not listens:
            for one in found:
                one.close()
            raise Unavailable(
                f"the socket {number} of the service manager is none that listens; "
                "use ListenStream= with Accept=no"
            )
    return found


def address_of(listener: socket.socket) -> str:
    """Return ``host:port``, IPv6 in brackets, or ``unix:path``."""
    if is_unix(listener):
        path = listener.getsockname()
        return "unix:" + (path if isinstance(path, str) else f"@{path[1:].decode()}")
    host, port = listener.getsockname()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def is_unix(listener: socket.socket) -> bool:
    """Return True for a socket that has a path and no port."""
    return listener.family == socket.AF_UNIX


def is_loopback(listener: socket.socket) -> bool:
    """Return True if only this machine can reach the socket."""
    if is_unix(listener):
        return True
    host = str(listener.getsockname()[0])
    return host.startswith("127.") or host == "::1"
