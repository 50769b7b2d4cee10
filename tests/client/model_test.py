"""Both clients, and the daemon that they ask, against the model."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, ClassVar

import pytest
from anyio.from_thread import start_blocking_portal
from hypothesis import Phase, settings

from st8.client import Client, Select
from st8.client._events import ResyncEvent
from st8.client._results import moment_of
from st8.core.errors import BranchNotFound, NothingApplied
from st8.core.revisions import format_time
from st8.store.memory import MemoryStore
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
from st8.testing.server import running_server
from tests.client.awaited import Awaited

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from anyio.from_thread import BlockingPortal

    from st8.core.documents import Change
    from st8.testing.server import RunningServer

_EXAMPLES = max((settings.default.max_examples if settings.default else 60) // 10, 5)


def _pick(at: At) -> dict[str, Any]:
    """Return what the clients call it, but for the branch."""
    if at.time_ns is not None:
        return {"at": format_time(at.time_ns)}
    if at.checkpoint is not None:
        return {"checkpoint": at.checkpoint}
    return {"revision": at.revision} if at.revision else {}


def _changes(changes: Iterable[Change]) -> Changes:
    return [(c.key, c.type, c.before, c.after) for c in changes]


def _entry(entry: Any) -> Entry:
    return Entry(
        entry.revision,
        entry.parent,
        entry.branch,
        entry.kind,
        entry.message,
        entry.author,
        _changes(entry.changes),
    )


class ClientDriver:
    """Asks a daemon through a client; the store is in memory.

    Clients say of what is empty that nothing was applied: a name may be mistyped.
    The model has no names that are.
    """

    def __init__(self, connect: Callable[[str], Any]) -> None:
        """Start a daemon; ``connect`` makes a client of its URL."""
        self._connect = connect
        self._clock = FakeClock(tick_ns=SECOND_NS)
        self._store = MemoryStore()
        self._running = ExitStack()
        self._start()

    def _start(self) -> None:
        server: RunningServer = self._running.enter_context(
            running_server(store=self._store, clock=self._clock)
        )
        self._client = self._running.enter_context(self._connect(server.url))

    def _of(self, namespace: str, branch: str, at: At | None = None) -> Any:
        return self._client.scope(namespace, (at and at.branch) or branch)

    def write(self, write: Write) -> Outcome:
        """See :class:`~st8.testing.model.Driver`."""
        client = self._of(write.namespace, write.branch)
        options: dict[str, Any] = {
            "message": write.message,
            "author": write.author,
            "expect_revision": write.expect,
            "dry_run": write.dry_run,
            "contents": True,
            "idempotency_key": write.key,
        }
        if write.kind == "apply":
            done = client.apply(dict(write.puts), deletes=write.deletes, **options)
        elif write.kind == "rollback":
            done = client.rollback(**_pick(write.target), **options)
        else:
            branch = write.target.branch
            done = client.restore(branch=branch, **_pick(write.target), **options)
        changes = _changes(done.changes)
        return Outcome(done.revision, done.noop, changes, sorted(done.kept))

    def state(self, namespace: str, branch: str, at: At) -> tuple[int, State]:
        """See :class:`~st8.testing.model.Driver`."""
        try:
            state = self._of(namespace, branch, at).state(**_pick(at))
        except NothingApplied:
            if at.branch is not None:
                raise BranchNotFound(namespace, at.branch) from None
            return 0, {}
        assert len(state.documents) == state.total
        return state.revision, state.documents

    def diff(self, namespace: str, branch: str, source: At, target: At) -> Changes:
        """See :class:`~st8.testing.model.Driver`."""
        sides = [Select(**_pick(at), branch=at.branch) for at in (source, target)]
        try:
            found = self._of(namespace, branch).diff(source=sides[0], target=sides[1])
        except NothingApplied:
            return []
        return _changes(found.changes)

    def log(
        self,
        namespace: str,
        branch: str,
        limit: int,
        after: int | None,
        key: str | None,
    ) -> Log:
        """See :class:`~st8.testing.model.Driver`."""
        try:
            page = self._of(namespace, branch).log(
                limit, after=after, key=key or "", contents=True
            )
        except NothingApplied:
            return Log([], None, None)
        return Log([_entry(entry) for entry in page.entries], page.next, page.collected)

    def time_of(self, namespace: str, branch: str) -> int:
        """See :class:`~st8.testing.model.Driver`; the clock shows whole seconds."""
        entry = self._of(namespace, branch).log(1).entries[0]
        return round(moment_of(entry.created_at).timestamp()) * SECOND_NS

    def branches(self, namespace: str) -> list[Pointer]:
        """See :class:`~st8.testing.model.Driver`."""
        try:
            found = list(self._of(namespace, "").branches())
        except NothingApplied:
            return []
        return [Pointer(b.name, b.base, b.head) for b in found]

    def checkpoints(self, namespace: str) -> list[Mark]:
        """See :class:`~st8.testing.model.Driver`."""
        found = self._of(namespace, "").checkpoints()
        return [Mark(c.name, c.revision, c.branch, c.description) for c in found]

    def namespaces(self) -> list[tuple[str, int]]:
        """See :class:`~st8.testing.model.Driver`."""
        return [tuple(info) for info in self._client.namespaces()]

    def create_branch(self, namespace: str, branch: str, name: str, at: At) -> Pointer:
        """See :class:`~st8.testing.model.Driver`."""
        made = self._of(namespace, branch, at).create_branch(name, **_pick(at))
        return Pointer(made.name, made.base, made.head)

    def delete_branch(self, namespace: str, name: str, expect: int | None) -> None:
        """See :class:`~st8.testing.model.Driver`."""
        self._of(namespace, "").delete_branch(name, expect_revision=expect)

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
        made = self._of(namespace, branch, at).create_checkpoint(
            name, **_pick(at), description=description, replace=replace
        )
        return Mark(made.name, made.revision, made.branch, made.description)

    def delete_checkpoint(self, namespace: str, name: str) -> None:
        """See :class:`~st8.testing.model.Driver`."""
        self._of(namespace, "").delete_checkpoint(name)

    def collect(self, keep: int) -> int:
        """See :class:`~st8.testing.model.Driver`."""
        revisions: int = self._client.gc(keep).revisions
        return revisions

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
        found = self._of(namespace, branch, at).redact(
            key, **_pick(at), reason=reason, author=author, dry_run=dry_run
        )
        return Redacted(found.digest, [tuple(place) for place in found.places])

    def news(self, namespace: str, branch: str, after: int) -> News:
        """See :class:`~st8.testing.model.Driver`; the last one is of the head."""
        head, _ = self.state(namespace, branch, At())
        entries: list[Entry] = []
        client = self._of(namespace, branch)
        with client.watch(after=after, contents=True) as watch:
            for event in watch:
                if isinstance(event, ResyncEvent):
                    return News(entries, event.revision, event.reason)
                assert not event.changes_omitted
                entries.append(_entry(event.entry))
                if event.entry.revision == head:
                    break
        return News(entries)

    def reopen(self, *, kill: bool) -> None:  # noqa: ARG002 - nothing is on disk
        """Start another daemon on the same store, which is in memory."""
        self._running.close()
        self._store._open = True
        self._start()

    def close(self) -> None:
        """See :class:`~st8.testing.model.Driver`."""
        self._running.close()


class ClientMachine(Machine):
    """A daemon, through the client that blocks."""

    def askable(self, kind: str, at: At) -> At:
        """See :class:`~st8.testing.machine.Machine`."""
        if kind == "checkpoint":
            return at._replace(checkpoint=None)
        if kind == "rollback":
            at = at._replace(branch=None)
        if kind in {"rollback", "redact"} and not _pick(at):
            return at._replace(revision=-1)
        if kind == "restore" and not _pick(at) and at.branch is None:
            return At(branch="main")
        return at

    def open_driver(self) -> ClientDriver:
        """See :class:`~st8.testing.machine.Machine`."""
        return ClientDriver(Client)


class AsyncClientMachine(ClientMachine):
    """A daemon, through the client that is awaited."""

    def open_driver(self) -> ClientDriver:
        """See :class:`~st8.testing.machine.Machine`."""
        return ClientDriver(Awaited)


SETTINGS = settings(
    max_examples=_EXAMPLES,
    stateful_step_count=40,
    # What fails here and not in the engine is rare: making it small can wait.
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
)


class TestClient(ClientMachine.TestCase):  # type: ignore[valid-type, misc]
    """No history makes what a client is told and the model differ."""

    settings: ClassVar[settings] = SETTINGS


class TestAsyncClient(AsyncClientMachine.TestCase):  # type: ignore[valid-type, misc]
    """No history makes what a client that is awaited is told and the model differ."""

    settings: ClassVar[settings] = SETTINGS

    @pytest.fixture(autouse=True)
    def _portal(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[BlockingPortal]:
        """Give the clients an event loop."""
        with start_blocking_portal() as portal:
            monkeypatch.setattr(Awaited, "portal", portal, raising=False)
            yield portal
