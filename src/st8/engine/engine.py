"""The versioned store as one object: everything that can be asked and done."""

from __future__ import annotations

import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Final, TypeVar, cast

from st8.core import tree
from st8.core.errors import (
    CheckpointNotFound,
    Conflict,
    NotReached,
    St8Error,
    Unavailable,
)
from st8.core.failpoints import failpoint
from st8.core.ids import (
    DEFAULT_NAMESPACE,
    CheckpointName,
    Digest,
    Namespace,
    RevisionNumber,
    Scope,
)
from st8.core.key_set import ALL_KEYS, KeySet
from st8.core.node import EMPTY_ROOT
from st8.engine.backup import begin_backup
from st8.engine.claim import check_whole
from st8.engine.collect import GarbageCollection
from st8.engine.commit import Committer
from st8.engine.history import (
    ALL,
    LogFilter,
    LogPage,
    Resolved,
    check_limit,
    read_log,
    resolve,
)
from st8.engine.objects import Objects, ObjectSource, OverlaidObjects
from st8.engine.pace import SystemTimer
from st8.engine.redact import Search, erase
from st8.engine.refs import RecentRefs, Refs
from st8.engine.requests import (
    HEAD,
    NOW,
    THE_HEAD,
    Apply,
    CreateBranch,
    DeleteBranch,
    DeleteCheckpoint,
    Freshness,
    Overlay,
    PutCheckpoint,
    Redact,
    Reset,
    Selector,
    Side,
    WriteRequest,
)
from st8.engine.restoring import restore_backup
from st8.engine.results import (
    Collected,
    Diff,
    Explained,
    Page,
    Redacted,
    WriteResult,
)
from st8.engine.retention import KEEP_DEFAULT, Retention
from st8.engine.state import ChangeList, State
from st8.engine.stats import CollectionStats, EngineStats
from st8.engine.verify import verify
from st8.engine.watch import News, read_news

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Sequence

    from st8.core.findings import Event, Head
    from st8.core.ports import BranchAt, Clock, Store, Threads, Timer
    from st8.core.redactions import Redaction
    from st8.core.revisions import Branch, Checkpoint, NamespaceInfo, Revision
    from st8.engine.backup import Base
    from st8.engine.commit import Done, Listener
    from st8.engine.restoring import Restored
    from st8.engine.retention import Rules
    from st8.engine.writes import Written

__all__ = ["DEFAULT_CACHE_BYTES", "UNKNOWN", "Engine"]

DEFAULT_CACHE_BYTES: Final = 64 * 1024 * 1024

_ItemT = TypeVar("_ItemT", "NamespaceInfo", "Branch", "Checkpoint")


class _Unknown:
    """The type of :data:`UNKNOWN`."""


UNKNOWN: Final = _Unknown()
"""What :meth:`Engine.peek_head` says when only the store can tell."""


class Engine:
    """The versioned store.

    Every method may be called from any thread. Reads block on the store at most,
    never on writes; what they return reads immutable objects and is never torn.
    A read that begins after a write was answered sees it.
    """

    def __init__(
        self,
        store: Store,
        clock: Clock,
        *,
        cache_bytes: int = DEFAULT_CACHE_BYTES,
        threads: Threads = ThreadPoolExecutor,
        timer: Timer | None = None,
    ) -> None:
        """Serve ``store``, which this engine closes in the end.

        Args:
            store: Where everything lives.
            clock: Dates revisions and checkpoints.
            cache_bytes: Memory for nodes and contents.
            threads: Makes the thread that commits.
            timer: Tells a collection how long its pieces take; the machine's if None.

        Raises:
            StorageFailed: The store is half a copy of another one; it stays open.
        """
        check_whole(store)
        self._store = store
        self._clock = clock
        self._refs = Refs(store)
        self._objects = Objects(store, cache_bytes)
        self._committer = Committer(store, clock, self._refs, self._objects, threads)
        self._timer = timer or SystemTimer()
        self._collecting = threading.Lock()
        self._restoring = threading.Lock()
        self._forgetters: list[Callable[[], None]] = []
        self._stopping = threading.Event()
        self._collections = CollectionStats()

    @property
    def exclusive(self) -> bool:
        """Whether every write to the store goes through this engine."""
        return self._store.exclusive

    def on_move(self, listener: Listener) -> None:
        """Call ``listener`` with branches that have moved, None if any may have.

        After each commit of this engine, on the committing thread, when it is durable
        and before it is answered; and soon after those of others that share the store,
        on a thread of its own. It must not block and must not raise.
        """
        self._committer.listeners.append(listener)
        if len(self._committer.listeners) == 1:
            self._store.hear(self._heard)

    def on_redaction(self, forget: Callable[[], None]) -> None:
        """Call ``forget`` when contents that were read may have been redacted.

        On any thread, when they can't be read any more; it must not block and must
        not raise. Whoever keeps what was made of contents gives it up then.
        """
        self._forgetters.append(forget)

    @property
    def redactions(self) -> int:
        """How many contents of documents were redacted, as far as was heard."""
        return self._objects.redactions.count

    def _forget_contents(self) -> None:
        self._objects.forget_contents()
        for forget in self._forgetters:
            forget()

    def _heard(self, branches: Collection[BranchAt] | None) -> None:
        """Take note of what others have moved."""
        if branches is None:
            self._forget_contents()
        self._refs.heard(branches)
        self._committer.heard(branches)
        scopes = None if branches is None else [Scope(*at) for at in branches]
        self._committer.tell(scopes)

    def last_revision(self, namespace: Namespace) -> RevisionNumber:
        """Return the newest number of a namespace; 0 where it has none."""
        return self._refs.last_revision(namespace)

    @property
    def store_name(self) -> str:
        """What the store is, with its version, for people."""
        return self._store.name

    # --- reads ---------------------------------------------------------------

    def peek_head(
        self, scope: Scope, freshness: Freshness = NOW
    ) -> Revision | _Unknown | None:
        """Return a branch's head without waiting, or UNKNOWN.

        None is a branch that is known not to exist.
        """
        known, branch = self._refs.peek_branch(scope, freshness.max_stale_s)
        if not known:
            return UNKNOWN
        if branch is None:
            return None
        revision = self._refs.peek_revision(scope.namespace, branch.head)
        if revision is None or revision.digest != branch.head_digest:
            return UNKNOWN
        return UNKNOWN if revision.number < freshness.min_revision else revision

    def state(
        self, scope: Scope, selector: Selector = HEAD, freshness: Freshness = NOW
    ) -> State:
        """Return the state that ``selector`` names.

        The head of a branch that nothing was applied to is the empty state with
        number 0.

        Raises:
            NotFound: What is named is not there; see :func:`history.resolve`.
            NotReached: It is older than ``freshness.min_revision``.
        """
        revision, visible = self._resolve(scope, selector, freshness)
        root = EMPTY_ROOT if revision is None else revision.root
        return State(self._objects.of(revision), revision, root, visible)

    def diff(
        self, scope: Scope, source: Side = THE_HEAD, target: Side = THE_HEAD
    ) -> Diff:
        """Return the difference from ``source`` to ``target``; writes nothing.

        Of the keys that may be seen on both sides.

        Raises:
            NotFound: What a side names is not there.
            InvalidInput: What is laid over a side can't be; see :meth:`Overlay.of`.
        """
        objects: ObjectSource = self._objects
        a, from_root, objects = self._side(scope, source, objects)
        b, to_root, objects = self._side(scope, target, objects)
        visible = a.visible & b.visible
        changes = ChangeList(objects, from_root, to_root, visible=visible)
        return Diff(_number(a.revision), _number(b.revision), changes)

    def log(
        self,
        scope: Scope,
        *,
        limit: int = 20,
        after: int | None = None,
        start: Selector = HEAD,
        wanted: LogFilter = ALL,
    ) -> LogPage:
        """Return a page of the log, newest first; see :func:`history.read_log`."""
        return read_log(
            self._refs,
            self._objects,
            scope,
            limit=limit,
            after=after,
            start=start,
            wanted=wanted,
        )

    def news(
        self,
        scope: Scope,
        after: RevisionNumber,
        limit: int = 100,
        *,
        floor: bool = False,
    ) -> News:
        """Return what a branch has had since a revision; see :mod:`watch`."""
        return read_news(self._refs, scope, after, limit, floor=floor)

    def changes(self, revision: Revision, visible: KeySet = ALL_KEYS) -> ChangeList:
        """Return what a revision changed, of the keys that may be seen."""
        source = self._objects.of(revision)
        return ChangeList(source, revision.parent_root, revision.root, visible=visible)

    def namespaces(
        self, *, prefix: str = "", after: str = "", limit: int = 1000
    ) -> Page[NamespaceInfo]:
        """Return a page of the namespaces.

        Raises:
            InvalidInput: ``limit`` is not that of a page.
        """
        check_limit(limit)
        return _page(self._store.namespaces(prefix, after, limit + 1), limit)

    def branches(
        self, namespace: Namespace, *, prefix: str = "", after: str = "", limit: int
    ) -> Page[Branch]:
        """Return a page of a namespace's branches; see :meth:`namespaces`."""
        check_limit(limit)
        return _page(self._store.branches(namespace, prefix, after, limit + 1), limit)

    def checkpoints(
        self, namespace: Namespace, *, prefix: str = "", after: str = "", limit: int
    ) -> Page[Checkpoint]:
        """Return a page of a namespace's checkpoints; see :meth:`namespaces`."""
        check_limit(limit)
        return _page(
            self._store.checkpoints(namespace, prefix, after, limit + 1), limit
        )

    def checkpoint(self, namespace: Namespace, name: CheckpointName) -> Checkpoint:
        """Return a checkpoint.

        Raises:
            CheckpointNotFound: It is not there.
        """
        found = self._refs.checkpoint(namespace, name)
        if found is None:
            raise CheckpointNotFound(namespace, name)
        return found

    # --- writes --------------------------------------------------------------

    def submit(self, request: WriteRequest, done: Done) -> None:
        """Queue a write for the next group commit; never blocks.

        ``done`` is called once, on the committing thread and in the order of the
        batch: with the answer when it is durable, or with the error that refused
        it. The answer is a WriteResult for Apply and Reset, the Branch or
        Checkpoint for what makes one, and None for what deletes one. ``done`` must
        not block, and must not raise.

        Raises:
            Unavailable: It can't be queued now, and was not.
        """
        self._committer.submit(request, done)

    def _do(self, request: WriteRequest) -> Written:
        """Submit a write and wait for its end."""
        future: Future[Written] = Future()

        def done(answer: Written | St8Error) -> None:
            if isinstance(answer, St8Error):
                future.set_exception(answer)
            else:
                future.set_result(answer)

        self.submit(request, done)
        return future.result()

    def apply(self, request: Apply) -> WriteResult:
        """Put and delete documents as one revision, and wait until it is durable.

        Raises:
            HeadMoved: The head is not ``expect_revision``.
            IdempotencyMismatch: The key was used for something else.
            Unavailable: It could not be done; see ``outcome``.
        """
        return cast("WriteResult", self._do(request))

    def reset(self, request: Reset) -> WriteResult:
        """Roll back or restore, and wait until it is durable.

        Raises:
            NotFound: The branch, or what is named, is not there.
            St8Error: See :meth:`apply`.
        """
        return cast("WriteResult", self._do(request))

    def create_branch(self, request: CreateBranch) -> Branch:
        """Make a branch, and wait until it is durable.

        Raises:
            BranchExists: There is one of this name.
            NotFound: What it should begin at is not there.
        """
        return cast("Branch", self._do(request))

    def delete_branch(self, request: DeleteBranch) -> None:
        """Take a branch away, and wait until that is durable.

        Raises:
            BranchNotFound: It is not there.
            HeadMoved: The head is not ``expect_revision``.
        """
        self._do(request)

    def put_checkpoint(self, request: PutCheckpoint) -> Checkpoint:
        """Name a revision, and wait until that is durable.

        Raises:
            CheckpointExists: It points elsewhere, and ``replace`` is not set.
            NotFound: What it should name is not there.
        """
        return cast("Checkpoint", self._do(request))

    def delete_checkpoint(self, request: DeleteCheckpoint) -> None:
        """Take a checkpoint away, and wait until that is durable.

        Raises:
            CheckpointNotFound: It is not there.
        """
        self._do(request)

    def collect(
        self,
        keep: int = KEEP_DEFAULT,
        namespace: Namespace | None = None,
        *,
        rules: Rules | None = None,
    ) -> Collected:
        """Remove old revisions and what only they used; see :mod:`collect`.

        Takes long on a large store; reads and writes go on meanwhile. A second
        collection waits for the first.

        Args:
            keep: So many of the newest revisions of each branch stay.
            namespace: Only of this one; None for all.
            rules: What stays instead, by namespace.

        Raises:
            NamespaceNotFound: Nothing was ever applied in ``namespace``.
            Unavailable: Another daemon collects in the same store.
            St8Error: See :meth:`GarbageCollection.run`.
        """
        begun_s = time.perf_counter()
        try:
            with self._collecting, self._store.collecting() as alone:
                _check_alone(alone=alone)
                done = self._collection(keep, namespace, rules).run()
        except BaseException:
            self._collections.failures += 1
            raise
        self._collections.add(done, time.perf_counter() - begun_s, self._clock.now_ns())
        return done

    def explain_collection(
        self,
        keep: int = KEEP_DEFAULT,
        namespace: Namespace | None = None,
        *,
        rules: Rules | None = None,
    ) -> Explained:
        """Tell what :meth:`collect` would do, and change nothing."""
        with self._collecting:
            return self._collection(keep, namespace, rules).explain()

    def _collection(
        self, keep: int, namespace: Namespace | None, rules: Rules | None
    ) -> GarbageCollection:
        retention = Retention(keep)
        retention.check()
        return GarbageCollection(
            self._store,
            self._refs,
            self._objects,
            self._committer,
            rules=rules or (lambda _: retention),
            only=namespace,
            now_ns=self._clock.now_ns(),
            stopping=self._stopping,
            timer=self._timer,
        )

    def collection_epoch(self) -> int:
        """Return a number that every collection counts up, whoever's it is."""
        return self._store.namespace(DEFAULT_NAMESPACE).epoch

    def stop_collecting(self) -> None:
        """End a collection that is going on, soon, and begin none any more."""
        self._stopping.set()

    def backup(
        self, namespace: Namespace | None = None, base: Base | None = None
    ) -> Iterator[bytes]:
        """Return the stream of a backup; see :func:`backup.begin_backup`."""
        return begin_backup(self._store, self._clock, namespace, base)

    def restore_backup(
        self,
        read: Callable[[], bytes],
        may: Callable[[Namespace], None] = lambda _: None,
    ) -> Restored:
        """Put back a backup; see :func:`restoring.restore_backup`.

        A collection here waits until it is done, and it waits for one.

        Raises:
            Conflict: Another one is being restored here.
        """
        if not self._restoring.acquire(blocking=False):
            raise Conflict(
                "another backup is being restored here; try again when that is done"
            )
        try:
            with self._collecting:
                done = restore_backup(
                    self._store,
                    self._refs,
                    self._objects,
                    self._committer,
                    read,
                    may=may,
                )
            self._forget_contents()
            return done
        finally:
            self._restoring.release()

    def redact(self, request: Redact) -> Redacted:
        """Take a content out of all revisions; see :mod:`redact`.

        Takes long on a large store; reads and writes go on meanwhile, but for a
        moment at its end. When it returns nobody reads the content any more, in this
        process; others that share the store, as soon as they hear of it.

        Raises:
            NotFound: The revision is not there, or has no such document.
            ContentInUse: The head of a branch has it.
            LimitExceeded: It stands in too many places to have leaked.
            St8Error: See :meth:`apply`, and what the request's guard raises.
        """
        search = Search(self._store, self._refs, self._objects, request)
        search.look()
        search.check()
        if request.dry_run:
            return search.result()

        def choose() -> list[Redaction]:
            search.look()
            search.check()
            return search.redactions(self._clock.now_ns())

        def work() -> None:
            try:
                epoch = self._store.redact(choose)
                failpoint("redact.committed")
                self._refs.forget_revisions(request.scope.namespace, (), epoch)
            finally:  # also where nobody knows what became of it
                self._forget_contents()

        failpoint("redact.before_turn")
        self._committer.between_batches(work).result()
        erase(self._store, self._committer)
        return search.result()

    def verify(
        self, *, full: bool = False, heads: bool = False, expected: Sequence[Head] = ()
    ) -> Iterator[Event]:
        """Verify the store while others use it; see :mod:`verify`. Asks no cache."""
        place = self._store.name
        return verify(self._store, place, full=full, heads=heads, expected=expected)

    # --- the daemon's side ---------------------------------------------------

    def ping(self) -> None:
        """Return if the store can serve.

        Raises:
            Unavailable: It can't.
        """
        self._store.ping()

    def stats(self) -> EngineStats:
        """Return the counters as they stand."""
        committer = self._committer
        caches = (self._objects.cached_nodes, self._objects.cached_contents)
        return EngineStats(
            commits=committer.commits,
            requests=committer.requests,
            stale=committer.stale,
            pending=committer.pending,
            batch_sizes=committer.batch_sizes,
            write_seconds=committer.write_seconds,
            sync_seconds=committer.sync_seconds,
            cache_hits=sum(cache.hits for cache in caches),
            cache_misses=sum(cache.misses for cache in caches),
            cache_bytes=sum(cache.size for cache in caches),
            collections=self._collections,
        )

    def close(self) -> None:
        """Refuse new writes, finish those that wait, and close the store."""
        self.stop_collecting()
        with self._collecting:  # what it does last needs the store
            self._committer.close()
        self._store.close()

    def _resolve(
        self, scope: Scope, selector: Selector, freshness: Freshness
    ) -> Resolved:
        """Return what ``selector`` names, as fresh as is asked for."""
        max_stale_s, wanted = freshness
        if max_stale_s:
            found = resolve(RecentRefs(self._refs, max_stale_s), scope, selector)
            if _number(found.revision) >= wanted:
                return found
        found = resolve(self._refs, scope, selector)
        if _number(found.revision) < wanted:
            raise NotReached(*scope, wanted)
        return found

    def _side(
        self, scope: Scope, side: Side, objects: ObjectSource
    ) -> tuple[Resolved, Digest, ObjectSource]:
        """Return what a side of a diff stands on, its root, and where to read it."""
        found = resolve(self._refs, scope, side.selector)
        root = EMPTY_ROOT if found.revision is None else found.revision.root
        objects = self._objects.of(found.revision, over=objects)
        if not side.documents and not side.deletes and not side.exact:
            return found, root, objects
        overlay = Overlay.of(side.documents, side.deletes)
        edit = tree.edit(objects, EMPTY_ROOT if side.exact else root, overlay.edits)
        laid = OverlaidObjects(objects, edit.nodes, overlay.contents)
        return found, edit.root, laid


def _number(revision: Revision | None) -> RevisionNumber:
    return RevisionNumber(0) if revision is None else revision.number


def _page(found: Sequence[_ItemT], limit: int) -> Page[_ItemT]:
    items = list(found[:limit])
    return Page(items, items[-1].name if len(found) > limit else None)


def _check_alone(*, alone: bool) -> None:
    """Raise unless this daemon is the only one that collects."""
    if not alone:
        raise Unavailable(
            "another daemon collects garbage in the same store; nothing was removed by "
            "this one. Try again when that is done"
        )
