"""The engine against the model, on both stores."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from hypothesis import Phase, settings

from st8.core.ids import Author, Key, Message, Namespace, RevisionNumber
from st8.engine.engine import Engine
from st8.engine.history import LogFilter
from st8.engine.requests import Redact
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
    News,
    Outcome,
    Pointer,
    Redacted,
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
    from st8.core.revisions import Revision
    from st8.engine.requests import Selector
    from st8.engine.state import ChangeList


def selector_of(at: At) -> Selector:
    """Return what the engine calls it."""
    return selector(
        at.revision, checkpoint=at.checkpoint, at_ns=at.time_ns, branch=at.branch
    )


def _entry(revision: Revision, changed: ChangeList) -> Entry:
    return Entry(
        revision.number,
        revision.parent_number,
        revision.scope.branch,
        revision.kind,
        revision.message,
        revision.author,
        changes(changed),
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
        self._engine = self._open()

    def _open(self) -> Engine:
        return Engine(self._open_store(), self._clock)

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
                selector_of(write.target),
                kind=write.kind,
                at=at,
                message=write.message,
                author=write.author,
                expect=write.expect,
                dry_run=write.dry_run,
                key=write.key,
            )
        return Outcome(
            result.number, result.noop, changes(result.changes), sorted(result.kept)
        )

    def state(self, namespace: str, branch: str, at: At) -> tuple[int, State]:
        """See :class:`~st8.testing.model.Driver`."""
        state = self._engine.state(scope(namespace, branch), selector_of(at))
        found = {key: content.decode() for key, content in state.items()}
        assert len(found) == state.count
        return state.number, found

    def diff(self, namespace: str, branch: str, source: At, target: At) -> Changes:
        """See :class:`~st8.testing.model.Driver`."""
        at = scope(namespace, branch)
        return diff(self._engine, selector_of(source), selector_of(target), at=at)

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
        entries = [_entry(revision, changed) for revision, changed in page.entries]
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
        made = branch(self._engine, name, selector_of(at), at=scope(namespace, branch_))
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
            selector_of(at),
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
        """See :class:`~st8.testing.model.Driver`."""
        found = self._engine.redact(
            Redact(
                scope(namespace, branch),
                Key(key),
                selector_of(at),
                Message(reason),
                Author(author),
                dry_run,
            )
        )
        return Redacted(
            found.digest.hex(), [(str(name), str(key)) for name, key in found.places]
        )

    def news(self, namespace: str, branch: str, after: int) -> News:
        """See :class:`~st8.testing.model.Driver`."""
        entries: list[Entry] = []
        while True:
            news = self._engine.news(
                scope(namespace, branch), RevisionNumber(after), limit=2
            )
            entries += [
                _entry(revision, self._engine.changes(revision))
                for revision in news.revisions
            ]
            if news.resync is not None:
                return News(entries, news.position, news.resync)
            after = news.position
            if not news.more:
                return News(entries)

    def reopen(self, *, kill: bool) -> None:  # noqa: ARG002 - see SqliteDriver
        """See :class:`~st8.testing.model.Driver`; forgets what was in memory."""
        store = self._engine._store
        if isinstance(store, MemoryStore):
            self._engine._committer.close()
            self._engine = Engine(store, self._clock)
        else:
            self._engine.close()
            self._engine = self._open()

    def close(self) -> None:
        """See :class:`~st8.testing.model.Driver`."""
        self._engine.close()
        self._done()


class SqliteDriver(EngineDriver):
    """Asks an engine on files, which can be left as a kill would leave them."""

    def __init__(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="st8-model-"))
        self._lives = 0
        super().__init__(
            lambda: SqliteStore(self._folder / str(self._lives)),
            lambda: shutil.rmtree(self._folder),
        )

    def reopen(self, *, kill: bool) -> None:
        """Go on in a copy of the files, made before they are closed, if ``kill``."""
        if kill:
            before = self._folder / str(self._lives)
            self._lives += 1
            shutil.copytree(before, self._folder / str(self._lives))
        super().reopen(kill=kill)


class MemoryMachine(Machine):
    """The engine on the store in memory."""

    def open_driver(self) -> EngineDriver:
        """See :class:`~st8.testing.model.Machine`."""
        return EngineDriver(MemoryStore, lambda: None)


class SqliteMachine(Machine):
    """The engine on the embedded store."""

    def open_driver(self) -> EngineDriver:
        """See :class:`~st8.testing.model.Machine`."""
        return SqliteDriver()


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
