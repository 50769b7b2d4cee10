"""Reads anew what may change while st8d serves: tokens, policy, certificates.

All of it or nothing: whatever is wrong, everything stays as it was and the log says
why. No connection ends and no request fails: each is judged by what was in force
when it was looked at.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from st8.config import UsageError
from st8.core.errors import St8Error
from st8.daemon.credentials import read_token
from st8.daemon.parts import make_tls, tls_warnings

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable

    from st8.config import Settings
    from st8.daemon.collecting import Retentions, Schedule
    from st8.daemon.credentials import Gate, Prepared
    from st8.daemon.notify import Manager
    from st8.http.audit import AuditLog
    from st8.http.logs import Redactor
    from st8.http.rates import RateLimiter
    from st8.http.server import HttpServer

__all__ = ["Reloadable", "Reloader", "mended"]

_log = logging.getLogger("st8d")


class Reloadable(NamedTuple):
    """What can be changed while it is in use.

    Attributes:
        reread: Returns the settings as they are written now.
        gate: Who is let in.
        server: Has the certificates.
        audit: Its file may have been renamed; None if there is none.
        redactor: Has to know the token.
        rates: How many requests may be sent.
        retentions: What a collection keeps.
        schedule: Collects; None where another worker does.
    """

    reread: Callable[[], Settings]
    gate: Gate
    server: HttpServer
    audit: AuditLog | None
    redactor: Redactor
    rates: RateLimiter
    retentions: Retentions
    schedule: Schedule | None


class _Prepared(NamedTuple):
    """What is ready to be brought into force."""

    settings: Settings
    tls: ssl.SSLContext | None
    credentials: Prepared


class Reloader:
    """Reloads when it is asked to, one time after the other."""

    def __init__(
        self, parts: Reloadable, settings: Settings, manager: Manager, status: str
    ) -> None:
        """Reload ``parts``, of which ``settings`` are in force.

        Tell ``manager`` so, and afterwards that st8d is ready, with ``status``.
        """
        self._parts = parts
        self._settings = settings
        self._manager = manager
        self._status = status
        self._again = False
        self._task: asyncio.Task[None] | None = None

    def request(self) -> None:
        """Reload soon; call it on the event loop."""
        if self._task is not None and not self._task.done():
            self._again = True
            return
        self._task = asyncio.get_running_loop().create_task(self._run())

    async def _run(self) -> None:
        self._again = True
        while self._again:
            self._again = False
            self._manager.reloading()
            await self._reload()
            self._manager.ready(self._status)

    async def _reload(self) -> None:
        """Reload once, and log how that went."""
        problem: str
        try:
            # In a thread, since reading files and keys takes its time.
            prepared = await asyncio.to_thread(self._prepare)
            if prepared.tls is not None:
                try:
                    await self._parts.server.use_tls(prepared.tls)
                except BaseException:
                    prepared.credentials.drop()
                    raise
        except OSError as error:
            problem = f"the certificates can't be exchanged: {error.strerror}"
        except UsageError as error:
            problem = " ".join(error.problems)
        except St8Error as error:
            problem = error.detail
        except Exception as error:  # noqa: BLE001 - st8d goes on as it was
            problem = str(error) or type(error).__name__
            _log.exception("reloading met something unforeseen")
        else:
            prepared.credentials.take()
            self._settings = prepared.settings
            self._parts.rates.rate = prepared.settings.rate_limit
            self._parts.retentions.take(prepared.settings)
            if self._parts.schedule is not None:
                self._parts.schedule.take(prepared.settings.gc_interval_s)
            _log.info("st8d has reloaded", extra={"auth": self._parts.gate.kind})
            return
        _log.error("nothing was reloaded, all is as it was: %s", problem)

    def _prepare(self) -> _Prepared:
        """Read everything; what can fail is done here."""
        parts = self._parts
        fresh = mended(self._settings, parts.reread())
        token = read_token(fresh)
        if token is not None:
            parts.redactor.add(token)
        tls = make_tls(fresh)
        warnings = tls_warnings(fresh)
        if parts.audit is not None:
            parts.audit.reopen()
        for warning in warnings:
            _log.warning(warning)
        # Last: what comes of it has to be taken or dropped.
        return _Prepared(fresh, tls, parts.gate.prepare(fresh, token))


def mended(old: Settings, fresh: Settings) -> Settings:
    """Return ``fresh`` with what can't change as in ``old``; say so if it would."""
    tls = fresh.tls if old.tls is not None and fresh.tls is not None else old.tls
    made = replace(
        old,
        token=fresh.token,
        token_file=fresh.token_file,
        token_from_flag=fresh.token_from_flag,
        token_config=fresh.token_config,
        auth_config=fresh.auth_config,
        rate_limit=fresh.rate_limit,
        retention=fresh.retention,
        gc_interval_s=fresh.gc_interval_s,
        tls=tls,
    )
    if made != fresh:
        _log.warning(
            "settings other than tokens, policies, certificates, rates and what is kept "
            "have changed; restart st8d to bring them into force"
        )
    return made
