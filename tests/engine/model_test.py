"""The engine against the model, on both stores."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from hypothesis import Phase, settings

from st8.core.ids import Key, Namespace
from st8.engine.engine import Engine
from st8.engine.history import LogFilter
from st8.store.memory import MemoryStore
from st8.store.sqlite import SqliteStore
from st8.testing.clock import SECOND_NS, FakeClock
from st8.testing.machine import Machine
from st8.testing.model import (
    At,
    Changes,
    Entry,
    Log,
    Mark,
    Outcome,
    Pointer,
    State,
    Write,
)
from tests.engine.acts import (
    apply,
    branch,
    changes,
    checkpoint,
    delete_branch,
    delete_checkpoint,
    diff,
    reset,
    scope,
    selector,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from st8.core.ports import Store
    from st8.engine.requests import Selector


def _selector(at: At) -> Selector:
    return selector(
        at.revision, checkpoint=at.checkpoint, at_ns=at.time_ns, branch=at.branch
    )


class EngineDriver:
    """Asks an engine."""

    def __init__(
        self, open_store: Callable[[], Store], done: Callable[[], None]
    ) -> None:
        """Open an engine on what ``open_store`` returns; ``done`` tidies up."""
        self._open_store = open_store
        self._done = done
        self._clock = FakeClock(tick_ns=SECOND_NS)
        self._engine = Engine(open_store(), self._clock)

    def write(self, write: Write) -> Outcome:
        """See :class:`~st8.testing.model.Driver`."""
        at = scope(write.namespace, write.branch)
        if write.kind == "apply":
            result = apply(
                self._engine,
                dict(write.puts),
                write.deletes,
                at=at,
                message=write.message,
                author=write.author,
                expect=write.expect,
                dry_run=write.dry_run,
                key=write.key,
            )
        else:
            result = reset(
                self._engine,
                _selector(write.target),
                kind=write.kind,
                at=at,
                message=write.message,
                author=write.author,
                expect=write.expect,
                dry_run=write.dry_run,
                key=write.key,
            )
        return Outcome(result.number, result.noop, changes(result.changes))

    def state(self, namespace: str, branch: str, at: At) -> tuple[int, State]:
        """See :class:`~st8.testing.model.Driver`."""
        state = self._engine.state(scope(namespace, branch), _selector(at))
        found = {key: content.decode() for key, content in state.items()}
        assert len(found) == state.count
        return state.number, found

    def diff(self, namespace: str, branch: str, source: At, target: At) -> Changes:
        """See :class:`~st8.testing.model.Driver`."""
        at = scope(namespace, branch)
        return diff(self._engine, _selector(source), _selector(target), at=at)

    def log(
        self,
        namespace: str,
        branch: str,
        limit: int,
        after: int | None,
        key: str | None,
    ) -> Log:
        """See :class:`~st8.testing.model.Driver`."""
        page = self._engine.log(
            scope(namespace, branch),
            limit=limit,
            after=after,
            wanted=LogFilter(key=None if key is None else Key(key)),
        )
        entries = [
            Entry(
                revision.number,
                revision.parent_number,
                revision.scope.branch,
                revision.kind,
                revision.message,
                revision.author,
                changes(changed),
            )
            for revision, changed in page.entries
        ]
        return Log(entries, page.next, page.collected)

    def time_of(self, namespace: str, branch: str) -> int:
        """See :class:`~st8.testing.model.Driver`."""
        revision = self._engine.state(scope(namespace, branch)).revision
        assert revision is not None
        return revision.time_ns

    def branches(self, namespace: str) -> list[Pointer]:
        """See :class:`~st8.testing.model.Driver`."""
        page = self._engine.branches(Namespace(namespace), limit=1000)
        return [Pointer(b.name, b.base, b.head) for b in page.items]

    def checkpoints(self, namespace: str) -> list[Mark]:
        """See :class:`~st8.testing.model.Driver`."""
        page = self._engine.checkpoints(Namespace(namespace), limit=1000)
        return [Mark(c.name, c.revision, c.branch, c.description) for c in page.items]

    def namespaces(self) -> list[tuple[str, int]]:
        """See :class:`~st8.testing.model.Driver`."""
        return [(i.name, i.last_revision) for i in self._engine.namespaces().items]

    def create_branch(self, namespace: str, branch_: str, name: str, at: At) -> Pointer:
        """See :class:`~st8.testing.model.Driver`."""
        made = branch(self._engine, name, _selector(at), at=scope(namespace, branch_))
        return Pointer(made.name, made.base, made.head)

    def delete_branch(self, namespace: str, name: str, expect: int | None) -> None:
        """See :class:`~st8.testing.model.Driver`."""
        delete_branch(self._engine, name, expect=expect, namespace=namespace)

    def put_checkpoint(
        self,
        namespace: str,
        branch: str,
        name: str,
        at: At,
        description: str,
        *,
        replace: bool,
    ) -> Mark:
        """See :class:`~st8.testing.model.Driver`."""
        made = checkpoint(
            self._engine,
            name,
            _selector(at),
            at=scope(namespace, branch),
            description=description,
            replace=replace,
        )
        return Mark(made.name, made.revision, made.branch, made.description)

    def delete_checkpoint(self, namespace: str, name: str) -> None:
        """See :class:`~st8.testing.model.Driver`."""
        delete_checkpoint(self._engine, name, namespace)

    def collect(self, keep: int) -> int:
        """See :class:`~st8.testing.model.Driver`."""
        return self._engine.collect(keep).revisions

    def reopen(self) -> None:
        """See :class:`~st8.testing.model.Driver`; forgets what was in memory."""
        store = self._engine._store
        if isinstance(store, MemoryStore):
            self._engine._committer.close()
            self._engine = Engine(store, self._clock)
        else:
            self._engine.close()
            self._engine = Engine(self._open_store(), self._clock)

    def close(self) -> None:
        """See :class:`~st8.testing.model.Driver`."""
        self._engine.close()
        self._done()


class MemoryMachine(Machine):
    """The engine on the store in memory."""

    def open_driver(self) -> EngineDriver:
        """See :class:`~st8.testing.model.Machine`."""
        return EngineDriver(MemoryStore, lambda: None)


class SqliteMachine(Machine):
    """The engine on the embedded store."""

    def open_driver(self) -> EngineDriver:
        """See :class:`~st8.testing.model.Machine`."""
        directory = Path(tempfile.mkdtemp(prefix="st8-model-"))
        return EngineDriver(
            lambda: SqliteStore(directory), lambda: shutil.rmtree(directory)
        )


EXAMPLES = settings.default.max_examples if settings.default else 60


class TestEngineOnMemory(MemoryMachine.TestCase):  # type: ignore[valid-type, misc]
    """No history makes engine and model differ."""

    settings: ClassVar[settings] = settings(
        max_examples=3 * EXAMPLES, stateful_step_count=40
    )


class TestEngineOnSqlite(SqliteMachine.TestCase):  # type: ignore[valid-type, misc]
    """No history makes engine and model differ, with reopening in between."""

    # What fails here fails on the other store too, where it is made small quickly.
    settings: ClassVar[settings] = settings(
        max_examples=EXAMPLES,
        stateful_step_count=40,
        phases=[Phase.explicit, Phase.reuse, Phase.generate],
    )
