"""The parts that st8d is made of, each as the settings want it."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
from io import FileIO
from typing import TYPE_CHECKING, Any, Final

from st8 import __version__
from st8.clock import SystemClock
from st8.core import limits
from st8.core.errors import Unavailable

if TYPE_CHECKING:
    import socket
    import ssl

    from st8.auth.access import Authoriser
    from st8.config import Address, Settings
    from st8.engine.engine import Engine
    from st8.http.app import App
    from st8.http.audit import AuditLog
    from st8.http.connections import GuardSettings
    from st8.http.logs import AccessLog, Redactor
    from st8.http.server import HttpServer

__all__ = [
    "bind_all",
    "cannot_listen",
    "loop_factory",
    "make_app",
    "make_guards",
    "make_server",
    "make_tls",
    "open_audit_log",
    "start_logs",
    "tls_warnings",
]

_OWN_FILES: Final = 256  # what the store, logs and libraries have open, generously
_log = logging.getLogger("st8d")


def bind_all(settings: Settings, stack: contextlib.ExitStack) -> list[socket.socket]:
    """Return the sockets to listen on; ``stack`` closes them.

    Raises:
        Unavailable: One can't be had; says why.
    """
    from st8.http.sockets import handed_over  # noqa: PLC0415 - --local

    bound = handed_over(settings.systemd.sockets)
    for sock in bound:
        stack.callback(sock.close)
    return bound + [_bind(address, stack) for address in settings.listen]


def _bind(address: Address, stack: contextlib.ExitStack) -> socket.socket:
    """Return the socket of ``address``; ``stack`` closes it."""
    from st8.config import UnixAddress  # noqa: PLC0415 - --local has none
    from st8.http.sockets import bind_tcp, bind_unix  # noqa: PLC0415 - see above

    try:
        if isinstance(address, UnixAddress):
            sock, remove = bind_unix(*address)
            stack.callback(remove)
        else:
            sock = bind_tcp(*address)
    except OSError as error:
        raise cannot_listen(str(address), error) from None
    stack.callback(sock.close)
    return sock


def cannot_listen(address: str, error: OSError) -> Unavailable:
    """Return the error that says why nobody can be heard at ``address``."""
    number = error.errno or 0  # negative for names that can't be resolved
    reason = os.strerror(number) if number > 0 else error.strerror or str(error)
    return Unavailable(
        f"can't listen on {address}: {reason.lower()}; choose another --listen"
    )


def make_tls(settings: Settings) -> ssl.SSLContext | None:
    """Return the TLS context, or None for plain HTTP.

    Raises:
        InvalidValue: A file is not what it should be.
    """
    tls = settings.tls
    if tls is None:
        return None
    from st8.http.tls import server_context  # noqa: PLC0415 - --local

    return server_context(
        tls.cert,
        tls.key,
        client_ca=tls.client_ca,
        client_required=tls.client_required,
        min_version=tls.min_version,
    )


def tls_warnings(settings: Settings) -> list[str]:
    """Return what an operator should know of the files of :func:`make_tls`."""
    tls = settings.tls
    if tls is None:
        return []
    from st8.http.tls import certificate_warnings  # noqa: PLC0415 - --local

    now_ns = SystemClock().now_ns()
    return certificate_warnings(tls.cert, tls.key, tls.client_ca, now_ns)


def start_logs(
    settings: Settings, redactor: Redactor, worker: int | None = None
) -> AccessLog | None:
    """Send logs to standard error; return where requests are recorded.

    Those of a ``worker`` say its number.
    """
    from st8.http.logs import open_logs  # noqa: PLC0415 - --local is quiet

    terminal = sys.stderr.isatty()
    return open_logs(
        FileIO(sys.stderr.fileno(), "w", closefd=False),
        SystemClock(),
        as_json=settings.log_format == "json"
        or (settings.log_format == "auto" and not terminal),
        level=settings.log_level,
        colors=terminal and settings.log_colors,
        redactor=redactor,
        worker=worker,
    )


def open_audit_log(settings: Settings, stack: contextlib.ExitStack) -> AuditLog | None:
    """Return the audit log, which ``stack`` closes, or None if none is wanted.

    Raises:
        Unavailable: It can't be opened.
    """
    if settings.audit_log is None:
        return None
    from st8.http.audit import AuditLog  # noqa: PLC0415 - --local

    audit = AuditLog.open(settings.audit_log, SystemClock())
    return stack.enter_context(contextlib.closing(audit))


def make_guards(settings: Settings) -> GuardSettings:
    """Return the guards' limits, with as many connections as files allow."""
    import resource  # noqa: PLC0415 - --local has one client

    from st8.http.connections import GuardSettings  # noqa: PLC0415 - --local

    wanted = limits.CONNECTIONS.maximum + _OWN_FILES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    room = limits.CONNECTIONS.maximum
    if soft != resource.RLIM_INFINITY:
        room = max(16, min(room, soft - _OWN_FILES))
    if room < limits.CONNECTIONS.maximum:
        _log.warning(
            "the limit of open files (ulimit -n) leaves room for %d connections", room
        )
    return GuardSettings(
        read_timeout_s=settings.read_timeout_s,
        write_timeout_s=settings.write_timeout_s,
        idle_timeout_s=settings.idle_timeout_s,
        connections_max=room,
    )


def make_app(
    engine: Engine, *, authoriser: Authoriser, audit: AuditLog | None = None
) -> App:
    """Return the HTTP API over ``engine``."""
    from st8.http.app import create_app  # noqa: PLC0415 - start-up time

    return create_app(engine, version=__version__, authoriser=authoriser, audit=audit)


def make_server(
    app: App,
    listeners: list[socket.socket],
    guards: GuardSettings,
    *,
    tls: ssl.SSLContext | None = None,
    access: AccessLog | None = None,
) -> HttpServer:
    """Return the server of ``app``, not started; what it refuses is counted too."""
    from st8.http.metrics import OTHER  # noqa: PLC0415 - start-up time
    from st8.http.server import HttpServer  # noqa: PLC0415 - start-up time

    server = HttpServer(app, listeners, settings=guards, tls=tls, access=access)
    app.service.answers.watch(server.shared)
    meter = app.service.metrics.route(OTHER, OTHER)
    server.shared.on_refused = lambda error: meter.observe(error.http_status, 0.0)
    return server


def loop_factory() -> Any:
    """Return what makes the event loop: uvloop's where there is one."""
    try:
        import uvloop  # noqa: PLC0415 - not everywhere
    except ImportError:
        return None
    return uvloop.new_event_loop
