"""One process that serves: opens everything, serves, and closes everything."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import TYPE_CHECKING, NamedTuple

from st8.clock import SystemClock
from st8.daemon.collecting import Retentions, Schedule
from st8.daemon.credentials import Gate, read_token
from st8.daemon.parts import (
    loop_factory,
    make_app,
    make_guards,
    make_server,
    make_tls,
    open_audit_log,
    start_logs,
    tls_warnings,
)
from st8.daemon.reloading import Reloadable
from st8.daemon.running import Daemon, Serving, watch_signals
from st8.engine.engine import Engine
from st8.http.logs import Redactor
from st8.http.tls import mode_warning

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from st8.config import Settings
    from st8.core.ports import Store
    from st8.daemon.running import Lead
    from st8.http.board import Board

__all__ = ["Place", "serve", "warnings_of"]

_log = logging.getLogger("st8d")


class Place(NamedTuple):
    """Where a process serves, and as what.

    Attributes:
        bind: Returns the sockets to listen on; the stack closes them.
        open_store: Opens the store.
        lead: Returns who leads the process, which hears of a store by its name and
            of the kind of its gate.
        worker: Its number, if there are several.
        board: Where these put up what they count.
    """

    bind: Callable[[contextlib.ExitStack], list[socket.socket]]
    open_store: Callable[[], Store]
    lead: Callable[[str, str], Lead]
    worker: int | None = None
    board: Board | None = None


def serve(settings: Settings, reread: Callable[[], Settings], place: Place) -> None:
    """Open everything, serve until told to stop, and close everything.

    Raises:
        St8Error: It can't start; says why.
    """
    with contextlib.ExitStack() as stack:
        tls = make_tls(settings)
        token = read_token(settings)
        listeners = place.bind(stack)
        redactor = Redactor([token] if token else [])
        access = start_logs(settings, redactor, place.worker)
        audit = open_audit_log(settings, stack)
        gate = stack.enter_context(
            contextlib.closing(Gate(settings, token, SystemClock()))
        )
        store = stack.enter_context(contextlib.closing(place.open_store()))
        if place.worker in (None, 1):  # what one of them says is true of all
            for warning in warnings_of(settings):
                _log.warning(warning)
        engine = Engine(store, SystemClock())
        stack.callback(engine.close)
        retentions = Retentions(settings)
        app = make_app(engine, authoriser=gate, audit=audit)
        app.service.retention = retentions.of
        app.service.rates.rate = settings.rate_limit
        stack.callback(app.close)
        schedule = None
        if place.worker in (None, 1):  # one of them is enough
            schedule = Schedule(engine, retentions, settings.gc_interval_s)
            stack.callback(schedule.close)
        if place.worker is not None and place.board is not None:
            app.service.metrics.join(place.board, place.worker)
        guards = make_guards(settings)
        server = make_server(app, listeners, guards, tls=tls, access=access)
        parts = Reloadable(
            reread,
            gate,
            server,
            audit,
            redactor,
            app.service.rates,
            retentions,
            schedule,
        )
        serving = Serving(app, listeners, store.name, parts)
        daemon = Daemon(settings, serving, place.lead(store.name, gate.kind))
        stack.callback(daemon.watchdog.stop)
        with asyncio.Runner(loop_factory=loop_factory()) as runner:
            runner.run(daemon.serve())
        watch_signals()


def warnings_of(settings: Settings) -> list[str]:
    """Return what should be known of the files that are good enough to serve with."""
    found = tls_warnings(settings)
    secret = [("token-file:", settings.token_file)]
    secret += [("config: the file with the token", settings.token_config)]
    secret += [("auth-config: the policy file", settings.auth_config)]
    found += [
        warning
        for what, path in secret
        if path is not None and (warning := mode_warning(what, path))
    ]
    return found
