"""Two engines on one database, called in turns, behave as the model of one."""

from __future__ import annotations

import time
from collections import deque
from typing import TYPE_CHECKING, ClassVar

import pytest
from hypothesis import Phase, settings

from st8.engine.engine import Engine
from st8.store.postgres import PostgresStore
from st8.testing.machine import Machine
from tests.engine.acts import contents, scope
from tests.engine.model_test import EngineDriver, selector_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from st8.core.ports import Store
    from st8.testing.model import At, Redacted
    from tests.postgres.server import PostgresServer

_EXAMPLES = max((settings.default.max_examples if settings.default else 60) // 4, 10)


class _InTurns(EngineDriver):
    """Asks two engines, each call the one that was not asked last."""

    def __init__(self, open_store: Callable[[], Store]) -> None:
        self._engines: deque[Engine] = deque()
        super().__init__(open_store, lambda: None)
        self._engine = self._open()

    def _open(self) -> Engine:
        """Return an engine that hears of what others do, as one of a daemon does."""
        engine = Engine(self._open_store(), self._clock)
        engine.on_move(lambda _: None)
        return engine

    @property
    def _engine(self) -> Engine:
        """The engine to ask now."""
        self._engines.rotate(1)
        return self._engines[0]

    @_engine.setter
    def _engine(self, engine: Engine) -> None:
        self._engines.append(engine)

    def reopen(self, *, kill: bool) -> None:  # noqa: ARG002 - it ends cleanly
        """Forget what one of them had in memory."""
        self._engines.popleft().close()
        self._engine = self._open()

    def redact(
        self,
        namespace: str,
        branch: str,
        key: str,
        at: At,
        *,
        reason: str,
        author: str,
        dry_run: bool,
    ) -> Redacted:
        """Redact, and wait until both read the same in its place."""
        found = super().redact(
            namespace, branch, key, at, reason=reason, author=author, dry_run=dry_run
        )
        while len({self._read(namespace, branch, at, key) for _ in range(2)}) > 1:
            time.sleep(0.001)
        return found

    def _read(self, namespace: str, branch: str, at: At, key: str) -> str:
        return contents(self._engine, scope(namespace, branch), selector_of(at))[key]

    def close(self) -> None:
        """End both."""
        for engine in self._engines:
            engine.close()


class PostgresMachine(Machine):
    """Two engines on one store in PostgreSQL."""

    server: ClassVar[PostgresServer]

    def open_driver(self) -> EngineDriver:
        """See :class:`~st8.testing.model.Machine`."""
        url = self.server.url(self.server.new_schema())
        return _InTurns(lambda: PostgresStore(url))


class TestTwoDaemonsOnPostgres(PostgresMachine.TestCase):  # type: ignore[valid-type, misc]
    """No history makes two engines on one store and the model of one differ."""

    settings: ClassVar[settings] = settings(
        max_examples=_EXAMPLES,
        stateful_step_count=40,
        phases=[Phase.explicit, Phase.reuse, Phase.generate],
    )

    @pytest.fixture(autouse=True)
    def _server(self, postgres: PostgresServer) -> None:
        """Give the machine a server."""
        PostgresMachine.server = postgres
