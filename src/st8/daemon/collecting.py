"""Collects garbage on a schedule, by rules that can be read anew."""

from __future__ import annotations

import logging
import secrets
import threading
import time
from typing import TYPE_CHECKING, Final

from st8.auth.globs import Glob
from st8.core.errors import ShuttingDown, St8Error
from st8.engine.retention import Retention

if TYPE_CHECKING:
    from collections.abc import Callable

    from st8.config import Settings
    from st8.core.ids import Namespace
    from st8.engine.engine import Engine

__all__ = ["Retentions", "Schedule"]

_FIRST: Final = 0.1
"""The first collection comes after this part of the interval."""
_JITTER: Final = 0.1
"""Up to so much of the interval later, so that many daemons do not begin at once."""
_GRAINS: Final = 1_000
_log = logging.getLogger("st8d")


class Retentions:
    """What is kept of each namespace; any thread may ask."""

    def __init__(self, settings: Settings) -> None:
        """Go by ``settings``."""
        self._rules: list[tuple[Glob, Retention]] = []
        self.take(settings)

    def take(self, settings: Settings) -> None:
        """Go by ``settings`` from now on."""
        self._rules = [
            (
                Glob(rule.pattern),
                Retention(rule.keep, rule.younger_than_s, rule.never),
            )
            for rule in settings.retention
        ]

    def of(self, namespace: Namespace) -> Retention:
        """Return what holds for a namespace: the first rule that matches."""
        for glob, retention in self._rules:
            if glob.matches(namespace):
                return retention
        return Retention()


class Schedule:
    """A thread that collects every now and then.

    Where several daemons share a store each has its own; one that sees that another
    has collected since it last looked leaves it at that once.
    """

    def __init__(
        self,
        engine: Engine,
        rules: Retentions,
        interval_s: float,
        *,
        jitter: Callable[[], float] = lambda: secrets.randbelow(_GRAINS) / _GRAINS,
    ) -> None:
        """Collect in ``engine`` by ``rules``; 0 seconds is never.

        ``jitter`` returns a number from 0 to 1.
        """
        self._engine = engine
        self._rules = rules
        self._interval_s = interval_s
        self._jitter = jitter
        self._changed = threading.Condition()
        self._closing = False
        self._seen = -1
        self._left_out = False
        self._thread = threading.Thread(target=self._run, name="st8-schedule")
        self._thread.start()

    def take(self, interval_s: float) -> None:
        """Collect in another interval, which begins now."""
        with self._changed:
            if interval_s != self._interval_s:
                self._interval_s = interval_s
                self._changed.notify_all()

    def close(self) -> None:
        """Stop; a collection that is going on ends soon."""
        self._engine.stop_collecting()
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        self._thread.join()

    def _run(self) -> None:
        share = _FIRST
        while self._wait(share):
            share = 1.0
            try:
                self._collect()
            except ShuttingDown:
                return

    def _wait(self, share: float) -> bool:
        """Wait for a share of the interval; return whether to collect then."""
        with self._changed:
            begun_s = time.monotonic()
            interval_s = self._interval_s
            jitter = self._jitter()
            while not self._closing:
                if interval_s != self._interval_s:
                    interval_s, begun_s = self._interval_s, time.monotonic()
                if not interval_s:
                    self._changed.wait()
                    continue
                due_s = begun_s + interval_s * (share + _JITTER * jitter)
                left_s = due_s - time.monotonic()
                if left_s <= 0:
                    return True
                self._changed.wait(min(left_s, threading.TIMEOUT_MAX))
            return False

    def _collect(self) -> None:
        """Collect, and log how that went.

        Raises:
            ShuttingDown: It is time to stop.
        """
        begun_s = time.monotonic()
        try:
            if self._others_did():
                return
            done = self._engine.collect(rules=self._rules.of)
            self._seen = self._engine.collection_epoch()
        except ShuttingDown:
            raise
        except St8Error as error:
            _log.warning("garbage was not collected: %s", error.detail)
        except Exception:  # noqa: BLE001 - the next one may fare better
            _log.exception("collecting garbage met something unforeseen")
        else:
            _log.info(
                "garbage was collected",
                extra={
                    "revisions": done.revisions,
                    "objects": done.objects,
                    "bytes": done.size,
                    "seconds": round(time.monotonic() - begun_s, 3),
                },
            )

    def _others_did(self) -> bool:
        """Return whether somebody else has collected, and this is to be left out.

        Not twice in a row: it may have been a part of the store only.
        """
        if self._engine.exclusive:
            return False
        epoch = self._engine.collection_epoch()
        moved = self._seen not in (-1, epoch)
        self._seen = epoch
        self._left_out = moved and not self._left_out
        return self._left_out
