"""What a store does while a disk is recorded, and what must be left of it.

Bursts of writes of several writers, which are one group commit each: applies,
rollbacks, restores, branches and checkpoints that are made, moved and deleted, dry
runs, retries with an idempotency key and writes that are refused; collections, between
whose steps writes go on; redactions; a store that is closed, or killed, and opened
again; and syncs that fail, after which it is closed or killed. All of it is decided by
chance alone, also what is committed together: the same seed does the same.
"""

from __future__ import annotations

import hashlib
import marshal
import threading
from collections.abc import Callable
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple, cast

import apsw

from st8.core import tree
from st8.core.documents import Document
from st8.core.errors import ContentInUse, NotFound, St8Error
from st8.core.ids import (
    Author,
    BranchName,
    CheckpointName,
    Digest,
    IdempotencyKey,
    Key,
    Message,
    Namespace,
    RevisionNumber,
    Scope,
    digest_prefix,
)
from st8.core.node import EMPTY, EMPTY_ROOT
from st8.core.ports import Store
from st8.core.revisions import Branch, Checkpoint, decode
from st8.engine.checked import CheckedStore
from st8.engine.engine import Engine
from st8.engine.objects import Objects
from st8.engine.requests import (
    Apply,
    CreateBranch,
    DeleteBranch,
    DeleteCheckpoint,
    PutCheckpoint,
    Redact,
    Reset,
    Selector,
)
from st8.engine.results import WriteResult
from st8.store.sqlite import FILE_NAME
from st8.testing.clock import FakeClock
from st8.testing.power_disk import Recorder, place

if TYPE_CHECKING:
    from collections.abc import Container, Generator, Iterable, Mapping, Sequence
    from contextlib import AbstractContextManager
    from random import Random  # noqa: TID251 - is handed one

    from st8.core.node import Node
    from st8.core.ports import Batch, CommitTimes, Raised, Shrunk, Swept
    from st8.core.redactions import Redaction
    from st8.core.revisions import Revision
    from st8.engine.requests import WriteRequest
    from st8.engine.writes import Written
    from st8.testing.power_disk import Image, Note

__all__ = [
    "STATE",
    "Found",
    "Need",
    "OpenStore",
    "Recording",
    "examine",
    "fingerprint",
    "record",
]

STATE: Final = "srv/state"
"""The state directory, below the root of the disk; the store makes both."""

# Names that would alias if they were ever joined with a slash.
_NAMESPACES: Final = ("rig", "rig/main", "rig/a/b")
_BRANCHES: Final = ("main", "main/x", "a/b")
_KEYS: Final = tuple(f"services/service-{number:02d}.yaml" for number in range(24))
_BURST_MAX: Final = 8
# Of the writes, the share of each kind.
_KINDS: Final = {
    "apply": 0.65,
    "again": 0.05,
    "rollback": 0.06,
    "restore": 0.06,
    "branch": 0.04,
    "checkpoint": 0.06,
    "delete": 0.08,
}
_MARKS: Final = 6
"""Names of checkpoints, so that they are often moved."""
_RECENT: Final = 20
"""How many revisions back something may begin, mostly not collected yet."""
_COLLECTIONS: Final = 0.06
_REDACTIONS: Final = 0.2
_REOPENINGS: Final = 0.06
_FAILING_SYNCS: Final = 0.04
_KILLS: Final = 0.5
"""Of what ends a store, the share of kills."""
_DELETES: Final = 0.2
_ODD: Final = 0.03
"""The share of applies that are large, of those that are refused, and of dry runs."""
_SWEPT_AT_ONCE: Final = 64
_SHRUNK_AT_ONCE: Final = 4
_KEPT: Final = 3
_TRACE: Final = 32
"""Bytes of a stored content by which it is known again."""
_TRACED: Final = (2 * _TRACE, 400)
"""How large a stored content has to be for that: not more than fits on one page."""
_LARGE: Final = 30_000
"""Bytes of a content that needs pages of its own, as it does not compress."""
_MAPPED: Final = 2**30
_PATIENCE_S: Final = 60.0
_SERVER_ERROR: Final = 500

OpenStore = Callable[[Path, str | None, int], Store]
"""Opens a store in a directory: by a VFS, and with how many pages to a checkpoint."""

At = tuple[str, str, str]
"""A kind, namespace and name; of a ``redaction`` no namespace, and the digest.

The kinds are ``revision``, ``branch``, ``checkpoint``, ``answer`` and ``redaction``.
"""


@dataclass(slots=True)
class Need:
    """What has to be found if the power is lost in a range of places.

    Attributes:
        at: What.
        value: What it has to be: a digest, or a number; None is absence.
        since: The first place: how much was noted when it was acknowledged.
        until: The first place where it need not be any more, since something was
            begun that takes it away; None: it always must.
    """

    at: At
    value: object
    since: int
    until: int | None = None


class Found(NamedTuple):
    """What a store holds, each thing of it found right.

    Attributes:
        values: Digests of revisions, bases of branches, numbers that checkpoints
            and answers to idempotency keys name, and which digests are redacted.
        last: The newest number of each namespace.
    """

    values: dict[At, object]
    last: dict[str, int]


@dataclass(slots=True)
class Recording:
    """What was done to a disk, and what must be found on it.

    Attributes:
        start: What was on it before.
        notes: What was done to it, in order.
        opened: How much of that was done when the store was open.
        contents: The fingerprints of the store: as it was opened, then after each
            transaction.
        begun, ended: How much was noted as each transaction began and ended.
        unknown: Between what a sync failed and nobody knew what became of a transaction.
        needs: What must be found.
        removed: How much was noted as the removal of a revision began.
        traces: Bytes that must be nowhere on the disk any more, and since when: of
            contents that were redacted.
        acknowledged, refused: Writes.
        wrong: What was not as it should be without any loss of power.
    """

    start: Image
    notes: list[Note]
    opened: int = 0
    contents: list[bytes] = field(default_factory=list[bytes])
    begun: list[int] = field(default_factory=list[int])
    ended: list[int] = field(default_factory=list[int])
    unknown: list[tuple[int, int]] = field(default_factory=list[tuple[int, int]])
    needs: list[Need] = field(default_factory=list[Need])
    removed: dict[tuple[str, int], int] = field(
        default_factory=dict[tuple[str, int], int]
    )
    traces: list[tuple[int, bytes]] = field(default_factory=list[tuple[int, bytes]])
    acknowledged: int = 0
    refused: int = 0
    wrong: list[str] = field(default_factory=list[str])


def fingerprint(directory: Path, *, check: bool = False) -> tuple[bytes, str]:
    """Return a digest of all rows of a store's file, and what SQLite finds damaged.

    The latter is empty where that is nothing, or is not to be checked.
    """
    path = str(directory / FILE_NAME)
    hasher = hashlib.sha256()
    try:
        connection: Any = apsw.Connection(path, flags=apsw.SQLITE_OPEN_READONLY)
        with closing(connection):
            connection.execute(f"PRAGMA mmap_size = {_MAPPED}")  # saves a third
            for (table,) in connection.execute(
                "SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name"
            ).fetchall():
                rows = connection.execute(f'SELECT * FROM "{table}"').fetchall()  # noqa: S608
                # Format 2 has no references, so equal rows are equal bytes.
                hasher.update(marshal.dumps((table, rows), 2))
            report: list[Any] = [("ok",)]
            if check:
                report = connection.execute("PRAGMA integrity_check").fetchall()
    except apsw.Error as error:
        return b"", str(error)
    return hasher.digest(), "" if report == [("ok",)] else repr(report[:3])


def examine(store: Store) -> Found:
    """Return what a store holds.

    Every record, node and content is hashed, every link and ref followed.

    Raises:
        Corrupt: Something is not what it should be, or is missing.
        StorageFailed: It can't be read.
    """
    checked = CheckedStore(store, "the store", "it is an image", bytes_at_once=2**24)
    values: dict[At, object] = {}
    last: dict[str, int] = {}
    seen: set[Digest] = set()
    for namespace, newest in checked.namespaces():
        last[namespace] = newest
        stored = checked.revisions(namespace, list(checked.numbers(namespace)))
        checked.check_chain(namespace, stored)
        for checkpoint in checked.checkpoints(namespace):
            checked.check_ref(namespace, checkpoint, stored)
            values["checkpoint", namespace, checkpoint.name] = checkpoint.revision
        for branch in checked.branches(namespace):
            if branch.head:
                checked.check_ref(namespace, branch, stored)
            values["branch", namespace, branch.name] = branch.base
        revisions = [one.revision for one in stored.values()]
        for revision in revisions:
            values["revision", namespace, str(revision.number)] = revision.digest
        for _ in checked.objects_of(revisions, seen):
            pass
    for (namespace, key), answer in checked.answers():
        values["answer", namespace, key] = answer.revision
    for redaction in checked.redactions():
        values["redaction", "", redaction.digest.hex()] = True
    return Found(values, last)


def record(
    root: Path, chance: Random, start: Image, bursts: int, open_store: OpenStore
) -> Recording:
    """Let a store work on a disk that is recorded, and return what was done.

    Args:
        root: An empty directory; what is left in it is of no use.
        chance: Decides what is done.
        start: What is on the disk at first.
        bursts: How many writes, in bursts.
        open_store: Opens the store.
    """
    place(start, root)
    recorder = Recorder(root)
    with recorder.watching():
        work = _Work(root / STATE, recorder, chance, start, open_store)
        work.run(bursts)
    return work.recording


class _Nothing:
    """Has no nodes but the empty one."""

    def node(self, digest: Digest) -> Node:
        assert digest == EMPTY_ROOT  # noqa: S101 - the editor asks for what it made
        return EMPTY

    def nodes(self, digests: Sequence[Digest]) -> Iterable[Node]:
        return map(self.node, digests)


class _Watched:
    """Passes everything on to a store, and tells of its transactions."""

    def __init__(self, store: Store, work: _Work) -> None:
        self._store = store
        self._work = work

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def turn(self) -> AbstractContextManager[None]:
        """Wait until a burst is whole."""
        if not self._work.gate.wait(_PATIENCE_S):
            raise TimeoutError("a burst was never whole")
        return self._store.turn()

    def commit(self, batch: Batch) -> CommitTimes:
        """Commit."""
        with self._work.transaction():
            return self._store.commit(batch)

    def raise_epoch(
        self, removed: Mapping[Namespace, Sequence[RevisionNumber]], expected: int
    ) -> Raised:
        """Note what begins to be removed."""
        with self._work.transaction(removed):
            return self._store.raise_epoch(removed, expected)

    def redact(self, choose: Callable[[], Sequence[Redaction]]) -> int:
        """Redact."""
        with self._work.transaction():
            return self._store.redact(choose)

    def sweep(
        self, marked: Container[int], epoch: int, after: int, limit: int
    ) -> Swept:
        """Write before every sweep, of as many objects each time."""
        del limit  # goes by how long the last one took
        self._work.burst()
        with self._work.transaction():
            return self._store.sweep(marked, epoch, after, _SWEPT_AT_ONCE)

    def shrink(self, limit: int) -> Shrunk:
        """Write before every time that space is given back."""
        del limit  # see sweep()
        self._work.burst()
        with self._work.transaction():
            return self._store.shrink(_SHRUNK_AT_ONCE)


class _Work:
    """A store at work."""

    def __init__(
        self,
        directory: Path,
        recorder: Recorder,
        chance: Random,
        start: Image,
        open_store: OpenStore,
    ) -> None:
        self._directory = directory
        self._recorder = recorder
        self._chance = chance
        self._open_store = open_store
        self._clock = FakeClock(tick_ns=1_000_000)
        self._pages = chance.choice((4, 8, 16, 60))
        self._writes = 0
        self.gate = threading.Event()
        self.recording = Recording(start, recorder.notes)
        # What is known to be there.
        self._documents: dict[tuple[str, int], dict[bytes, Digest]] = {}
        self._revisions: dict[str, list[tuple[str, int]]] = {}
        self._refs: dict[At, Need] = {}
        self._keyed: list[Apply] = []
        self._gone: set[tuple[str, str]] = set()
        self._redacted: set[Digest] = set()
        self._failing = False
        self._engine = self._open()
        self.recording.opened = self._here
        self._begin_with_what_is_there()

    def run(self, bursts: int) -> None:
        """Do all of it, and close the store."""
        try:
            for _ in range(bursts):
                self._step()
        except St8Error as error:
            self._say(f"{type(error).__name__}: {error.detail}")
        finally:
            self._engine.close()

    def _step(self) -> None:
        chance = self._chance
        if not self._failing and chance.random() < _FAILING_SYNCS:
            self._failing = True
            self._recorder.sync_fails = chance.randint(1, 8)
        try:
            if chance.random() < _COLLECTIONS:
                self._engine.collect(_KEPT)
            if chance.random() < _REDACTIONS:
                self._redact()
            self.burst()
        except St8Error:
            if not self._failing:
                raise
        if self._has_failed or chance.random() < _REOPENINGS:
            self._reopen()

    @property
    def _has_failed(self) -> bool:
        """Whether a sync has failed since the store was opened."""
        return self._failing and not self._recorder.sync_fails

    def _reopen(self) -> None:
        """Close the store, or kill it, and open it again."""
        failed = self._has_failed
        self._recorder.dead = self._chance.random() < _KILLS
        self._engine.close()
        self._recorder.dead = False
        try:
            self._engine = self._open()
        except St8Error:
            if not self._failing:
                raise
            failed = True
            self._engine = self._open()
        if failed:
            self._failing = False
            self._learn_what_became_of_it()

    def _learn_what_became_of_it(self) -> None:
        """Take note of what is there now, where nobody was told."""
        if len(self.recording.begun) > len(self.recording.ended):
            self.recording.unknown.append((self.recording.begun[-1], self._here))
            self.end()
        self._take_up(examine(self._store))

    def _open(self) -> Engine:
        self._store: Store = self._open_store(
            self._directory, self._recorder.vfs, self._pages
        )
        return Engine(cast("Store", _Watched(self._store, self)), self._clock)

    def _begin_with_what_is_there(self) -> None:
        """Take note of what the store has as it is opened first."""
        self.recording.contents.append(fingerprint(self._directory)[0])
        found = examine(self._store)
        self._take_up(found)
        # The numbers that went before.
        present = {
            (n, int(name)) for kind, n, name in found.values if kind == "revision"
        }
        self.recording.removed.update(
            {
                (namespace, number): 0
                for namespace, last in found.last.items()
                for number in range(1, last + 1)
                if (namespace, number) not in present
            }
        )

    def _take_up(self, found: Found) -> None:
        """Know what is there, and need it from now on."""
        for at, value in found.values.items():
            self._need(at, value)
            kind, namespace, name = at
            if kind == "redaction":
                self._redacted.add(Digest(bytes.fromhex(name)))
            if kind == "revision" and (namespace, int(name)) not in self._documents:
                self._know(namespace, int(name))

    def _know(self, namespace: str, number: int) -> None:
        """Learn the documents of a revision from the store."""
        [data] = self._store.revisions(
            Namespace(namespace), [RevisionNumber(number)]
        ).values()
        revision = decode(data)
        documents = dict(tree.items(Objects(self._store, 0), revision.root))
        self._learn(revision, documents)

    def _learn(self, revision: Revision, documents: dict[bytes, Digest]) -> None:
        namespace, branch = revision.scope
        self._documents[namespace, revision.number] = documents
        self._may_use(namespace, branch, revision.number)

    def _may_use(self, namespace: str, branch: str, number: int) -> None:
        """Let what is written later be about a revision of a branch."""
        if (namespace, branch) not in self._gone:
            self._revisions.setdefault(namespace, []).append((branch, number))

    # --- redactions ------------------------------------------------------------

    def _redact(self) -> None:
        """Redact a content of some revision, unless a branch has it still."""
        namespace = Namespace(self._chance.choice(_NAMESPACES))
        known = [
            (branch, number)
            for branch, number in self._revisions.get(namespace, ())[-_RECENT:]
            if self._documents[namespace, number]
        ]
        if not known:
            return
        branch, number = self._chance.choice(known)
        [key, digest] = self._chance.choice(
            sorted(self._documents[namespace, number].items())
        )
        trace = self._trace(digest)
        request = Redact(
            Scope(namespace, BranchName(branch)),
            Key(key.decode()),
            Selector(revision=number),
            Message("it leaked"),
        )
        try:
            self._engine.redact(request)
        except (ContentInUse, NotFound):
            self.recording.refused += 1
            return
        self.recording.acknowledged += 1
        self._redacted.add(digest)
        self._need(("redaction", "", digest.hex()), value=True)
        if trace:
            self.recording.traces.append((self._here, trace))

    def _trace(self, digest: Digest) -> bytes:
        """Return some bytes of a content as it is stored; none if it has too few."""
        connection: Any = apsw.Connection(
            str(self._directory / FILE_NAME), flags=apsw.SQLITE_OPEN_READONLY
        )
        with closing(connection):
            rows = connection.execute(
                "SELECT data FROM objects WHERE prefix = ?", (digest_prefix(digest),)
            ).fetchall()
        if len(rows) != 1 or not _TRACED[0] <= len(rows[0][0]) <= _TRACED[1]:
            return b""
        [data] = rows[0]
        middle = len(data) // 2
        return bytes(data[middle - _TRACE // 2 : middle + _TRACE // 2])

    # --- transactions ----------------------------------------------------------

    @property
    def _here(self) -> int:
        return len(self._recorder.notes)

    @contextmanager
    def transaction(
        self, removed: Mapping[Namespace, Sequence[RevisionNumber]] | None = None
    ) -> Generator[None]:
        """Note that a transaction begins and ends, and what it removes.

        Of one that fails in between nobody knows what became of it.
        """
        recording = self.recording
        if len(recording.begun) == len(recording.ended):  # else all fail from now on
            recording.begun.append(self._here)
        for namespace, numbers in (removed or {}).items():
            for number in numbers:
                recording.removed.setdefault((namespace, number), self._here)
                self._no_more(("revision", namespace, str(number)))
        yield
        self.end()

    def end(self) -> None:
        """Note that a transaction has ended, and what the store holds now."""
        self.recording.ended.append(self._here)
        self.recording.contents.append(fingerprint(self._directory)[0])

    def _need(self, at: At, value: object) -> None:
        self._no_more(at)  # what the same commit has brought and taken away
        need = Need(at, value, self._here)
        self.recording.needs.append(need)
        self._refs[at] = need

    def _no_more(self, at: At) -> None:
        if at in self._refs:
            self._refs.pop(at).until = self._here

    # --- writes ------------------------------------------------------------------

    def burst(self) -> None:
        """Write what goes into one group commit, and wait until it is answered."""
        self.gate.clear()
        requests = [self._next() for _ in range(self._chance.randint(1, _BURST_MAX))]
        answered = threading.Semaphore(0)
        for request in requests:

            def done(
                answer: Written | St8Error, request: WriteRequest = request
            ) -> None:
                try:
                    self._answered(request, answer)
                except Exception as error:  # noqa: BLE001 - for the rig's own thread
                    self._say(f"{type(error).__name__}: {error}")
                finally:
                    answered.release()

            self._engine.submit(request, done)
        self.gate.set()
        for _ in requests:
            if not answered.acquire(timeout=_PATIENCE_S):
                raise TimeoutError("a write was never answered")

    def _say(self, sentence: str) -> None:
        self.recording.wrong.append(sentence)

    def _answered(self, request: WriteRequest, answer: Written | St8Error) -> None:
        """Note what must be found from now on."""
        if isinstance(answer, St8Error):
            self.recording.refused += 1
            whole = answer.outcome == "none" and answer.http_status < _SERVER_ERROR
            if not whole and not self._failing:
                self._say(f"{type(request).__name__}: {answer!r}")
            return
        self.recording.acknowledged += 1
        if isinstance(request, Apply | Reset) and isinstance(answer, WriteResult):
            self._revised(request, answer)
        elif isinstance(request, CreateBranch) and isinstance(answer, Branch):
            namespace = request.scope.namespace
            self._need(("branch", namespace, answer.name), answer.base)
            self._may_use(namespace, answer.name, answer.base)
        elif isinstance(request, DeleteBranch):
            namespace, branch = request.scope
            self._need(("branch", namespace, branch), None)
        elif isinstance(request, PutCheckpoint) and isinstance(answer, Checkpoint):
            at = ("checkpoint", request.scope.namespace, request.name)
            self._need(at, answer.revision)
        elif isinstance(request, DeleteCheckpoint):
            self._need(("checkpoint", request.namespace, request.name), None)

    def _revised(self, request: Apply | Reset, answer: WriteResult) -> None:
        namespace = request.scope.namespace
        key = request.idempotency_key
        if request.dry_run:
            return
        if key is not None:
            earlier = self._refs.get(("answer", namespace, key))
            if earlier is not None:
                if earlier.value != answer.number:
                    self._say(f"{key} was {earlier.value} and is {answer.number}")
                return
            self._need(("answer", namespace, key), answer.number)
            if isinstance(request, Apply):
                self._keyed.append(request)
        revision = answer.revision
        if answer.noop or revision is None:
            return
        self._need(("revision", namespace, str(answer.number)), revision.digest)
        documents = self._documents_of(request, revision)
        edited = tree.edit(_Nothing(), EMPTY_ROOT, documents)
        if (answer.root, revision.root) != (edited.root, edited.root):
            self._say(f"revision {answer.number} of {namespace} has other documents")
        self._learn(revision, documents)

    def _documents_of(
        self, request: Apply | Reset, revision: Revision
    ) -> dict[bytes, Digest]:
        """Return the documents that a revision ought to have."""
        namespace = request.scope.namespace
        before = self._documents.get((namespace, revision.parent_number), {})
        if isinstance(request, Reset):
            target = self._documents[namespace, cast("int", request.target.revision)]
            kept = {
                key for key in {*target, *before} if target.get(key) in self._redacted
            }
            return {
                **{key: digest for key, digest in target.items() if key not in kept},
                **{key: digest for key, digest in before.items() if key in kept},
            }
        documents = dict(before)
        for edited, digest in request.overlay.edits.items():
            if digest is None:
                documents.pop(edited, None)
            else:
                documents[edited] = digest
        return documents

    # --- what to write -----------------------------------------------------------

    def _next(self) -> WriteRequest:
        """Return the next write."""
        chance = self._chance
        self._writes += 1
        name = f"{self._here}-{self._writes}"
        namespace = Namespace(chance.choice(_NAMESPACES))
        known = self._revisions.get(namespace)
        [kind] = chance.choices(list(_KINDS), list(_KINDS.values()))
        if kind == "again" and self._keyed:
            return chance.choice(self._keyed)
        if kind == "delete" and (request := self._delete(namespace)) is not None:
            return request
        if not known or kind in {"apply", "again", "delete"}:
            return self._apply(name, namespace)
        return self._about(kind, name, namespace, *chance.choice(known[-_RECENT:]))

    def _about(
        self, kind: str, name: str, namespace: Namespace, branch: str, number: int
    ) -> WriteRequest:
        """Return a write of a kind that is about a revision of a branch."""
        chance = self._chance
        scope = Scope(namespace, BranchName(branch))
        source = Selector(revision=number)
        if kind == "branch":
            return CreateBranch(scope, BranchName(name), source)
        if kind == "checkpoint":
            checkpoint = CheckpointName(f"mark-{chance.randrange(_MARKS)}")
            self._no_more(("checkpoint", namespace, checkpoint))
            return PutCheckpoint(scope, checkpoint, source, replace=True)
        if kind == "rollback":
            return Reset(scope, source, "rollback", Message(name))
        source = Selector(revision=number, branch=scope.branch)
        scope = Scope(namespace, BranchName(chance.choice(_BRANCHES)))
        return Reset(scope, source, "restore", Message(name))

    def _delete(self, namespace: Namespace) -> WriteRequest | None:
        """Return what deletes a ref; None where there is none to be deleted."""
        refs = [
            need.at
            for need in self._refs.values()
            if need.at[1] == namespace
            and need.at[0] in {"branch", "checkpoint"}
            and need.value is not None
            and need.at[2] not in _BRANCHES
        ]
        if not refs:
            return None
        at = self._chance.choice(refs)
        self._no_more(at)
        if at[0] == "branch":
            self._gone.add((namespace, at[2]))
            known = self._revisions[namespace]
            known[:] = [each for each in known if each[0] != at[2]]
            return DeleteBranch(Scope(namespace, BranchName(at[2])))
        return DeleteCheckpoint(namespace, CheckpointName(at[2]))

    def _apply(self, name: str, namespace: Namespace) -> Apply:
        chance = self._chance
        branches = {branch for branch, _ in self._revisions.get(namespace, ())}
        documents: list[Document] = []
        deletes: list[Key] = []
        for key in chance.sample(_KEYS, chance.randint(1, 4)):
            if chance.random() < _DELETES:
                deletes.append(Key(key))
                continue
            size = _LARGE if chance.random() < _ODD else chance.randrange(200)
            filling = chance.randbytes(size // 2).hex()
            documents.append(Document(Key(key), f"written by {name}\n{filling}\n"))
        return Apply(
            Scope(
                namespace, BranchName(chance.choice([*_BRANCHES, *sorted(branches)]))
            ),
            tuple(documents),
            tuple(deletes),
            message=Message(name),
            author=Author(f"writer-{chance.randrange(_BURST_MAX)}"),
            expect_revision=9_999 if chance.random() < _ODD else None,
            dry_run=chance.random() < _ODD,
            idempotency_key=chance.choice((None, IdempotencyKey(name))),
        )
