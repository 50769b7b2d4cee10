"""A backup put back: read as it comes, believed nothing, and seen when all of it is in.

Objects and revisions are written in small batches, the revisions into namespaces that
are not there yet (:mod:`~st8.engine.unfinished`). The last commit makes all of them
appear, with their branches and checkpoints: so they are there whole or not at all,
wherever it is broken off.

Every object is compared with its digest, every revision with what it follows and with
the rules by which one is made, every tree gone through, every pointer followed. What
gets in is what a store could have had, whoever wrote the stream.

Memory holds what is pointed at, and a bounded rest.
"""

from __future__ import annotations

from collections import OrderedDict
from contextlib import suppress
from typing import TYPE_CHECKING, Final, NamedTuple

from st8.core import backup as form
from st8.core.backup import Blocks, Counts, Head, Kind, NamespacePart, Records
from st8.core.errors import (
    BadBackup,
    ContentInUse,
    ContentRedacted,
    Corrupt,
    InvalidInput,
    NamespaceExists,
    OutcomeUnknown,
    Overtaken,
    St8Error,
    StorageFailed,
    StoreFenced,
)
from st8.core.ids import (
    Author,
    BranchName,
    Message,
    Namespace,
    RevisionNumber,
    Scope,
    digest_of,
)
from st8.core.node import EMPTY_ROOT
from st8.core.ports import Batch, Record, Stale
from st8.core.revisions import (
    TIME_NS_MAX,
    Branch,
    Checkpoint,
    Revision,
    decode,
    make_revision,
)
from st8.engine import unfinished
from st8.engine.frames import unpacked
from st8.engine.intake import Intake
from st8.engine.redact import Places, erase

if TYPE_CHECKING:
    from collections.abc import Callable

    from st8.core.ids import CheckpointName, Digest, Key
    from st8.core.ports import BranchAt, Store
    from st8.core.redactions import Redaction
    from st8.core.revisions import Link
    from st8.engine.commit import Committer
    from st8.engine.objects import Objects
    from st8.engine.refs import Refs

    Read = Callable[[], bytes]
    May = Callable[[Namespace], None]

__all__ = ["Restored", "restore_backup"]

_SAID_CHARACTERS: Final = 200
_OBJECTS_AT_ONCE: Final = 500
_BYTES_AT_ONCE: Final = 1024 * 1024
_REVISIONS_AT_ONCE: Final = 256
_REVISIONS_KEPT: Final = 4_096
_ATTEMPTS: Final = 16
"""How often the epoch is looked up anew when others collect in the same store."""

_BY_NO_RULE: Final = "it is not made by the rules"

_RANKS: Final = {
    Kind.HEAD: 0,
    Kind.NAMESPACE: 1,
    Kind.BRANCH: 2,
    Kind.CHECKPOINT: 3,
    Kind.OBJECT: 4,
    Kind.REVISION: 4,
    Kind.REDACTION: 4,
    Kind.END: 5,
}
"""In which order records come."""


class Restored(NamedTuple):
    """What a restore has put there.

    Attributes:
        backups: How many files, one on top of the other, it was made from.
        namespaces: How many.
        branches: How many.
        checkpoints: How many.
        revisions: How many.
        objects: Nodes and contents that came; some may have come twice.
    """

    backups: int
    namespaces: int
    branches: int
    checkpoints: int
    revisions: int
    objects: int


def restore_backup(
    store: Store,
    refs: Refs,
    objects: Objects,
    committer: Committer,
    read: Read,
    *,
    may: May,
) -> Restored:
    """Put back a backup, or a backup and those that stand on it, one after the other.

    Takes as long as the stream does; reads and writes of others go on. One thread.

    Args:
        store: Where it is put.
        refs: What is remembered of that store.
        objects: Its objects.
        committer: Whoever else writes to it here.
        read: Returns the next bytes of the stream, none at its end.
        may: Is told each namespace; raises if it may not be restored.

    Raises:
        BadBackup: The stream is not whole, or something in it is not right.
        NamespaceExists: There is something in one of its namespaces.
        Overtaken: A collection or another restore was begun meanwhile.
        OutcomeUnknown: It was all written, and may or may not be seen.
        St8Error: The store failed, and nothing was restored.
    """
    run = _Restore(store, refs, objects, committer, may)
    try:
        run.take(read)
        return run.finish()
    except Stale:
        run.give_up()
        raise Overtaken(
            "a garbage collection, a redaction or another restore was begun in the "
            "same store meanwhile: nothing was restored; begin the restore again"
        ) from None
    except OutcomeUnknown as error:
        if run.ends:
            raise  # what is written must stay as it is
        run.give_up()
        raise StorageFailed(
            "the store failed while the backup was written to it, before any of it "
            "could be seen: nothing was restored; begin the restore again"
        ) from error
    except StoreFenced:
        raise
    except BaseException:
        run.give_up()
        raise


class _File:
    """One backup of the stream, as far as it was read."""

    def __init__(self) -> None:
        self.blocks = Blocks()
        self.records = Records()
        self.rank = -1
        self.spaces: dict[Namespace, NamespacePart] = {}
        self.branches: dict[BranchAt, Branch] = {}
        self.checkpoints: dict[tuple[Namespace, CheckpointName], Checkpoint] = {}
        self.objects = 0
        self.revisions = 0
        self.redactions = 0
        self.claimed: Counts | None = None
        self.place: tuple[str, int] = ("", 0)


def _blocks_of(file: _File, data: bytes) -> list[tuple[int, bytes]]:
    """Return the blocks that are whole with some more bytes.

    Raises:
        BadBackup: They can't be so, or whoever made the stream broke it off. What that
            one says is nothing that this store has to say: it may be a lie.
    """
    try:
        return file.blocks.feed(data)
    except BadBackup:
        raise
    except St8Error as error:
        said = error.detail[:_SAID_CHARACTERS]
        raise BadBackup(f"it was broken off when it was made: {said}") from None


class _Restore:
    """One restore; one thread.

    Attributes:
        ends: Whether the last commit was begun.
    """

    def __init__(
        self,
        store: Store,
        refs: Refs,
        objects: Objects,
        committer: Committer,
        may: May,
    ) -> None:
        self.ends = False
        self._store = store
        self._refs = refs
        self._there = objects
        self._committer = committer
        self._may = may
        self._intake = Intake(store, self._write_if_full)
        self._redactions: dict[tuple[Digest, Namespace, Key], Redaction] = {}
        self._redacted_here: set[Digest] = set()
        self._to_be_redacted: set[Digest] = set()
        self._raise_epoch = unfinished.epoch_raiser(store, refs, committer)
        self._epoch = 0
        self._hidden: set[Namespace] = set()
        self._marked: set[Namespace] = set()
        self._file: _File | None = None
        self._done: _File | None = None
        self._digest: Digest | None = None
        self._backups = 0
        self._revisions = 0
        self._objects = 0
        self._records: dict[Namespace, list[Record]] = {}
        self._waiting = 0
        self._recent: OrderedDict[tuple[Namespace, int], Revision] = OrderedDict()

    # --- the stream ----------------------------------------------------------------

    def take(self, read: Read) -> None:
        """Read the stream to its end, and write what is in it, unseen."""
        while data := read():
            while data:
                data = self._feed(data)
        if self._file is not None or self._done is None:
            raise BadBackup("it ends too early")

    def _feed(self, data: bytes) -> bytes:
        """Take some bytes; return those that are of the next backup."""
        file = self._file
        if file is None:
            file = self._file = _File()
        for packing, packed in _blocks_of(file, data):
            plain = packing == form.PLAIN
            records = file.records.feed(unpacked(packing, packed), plain=plain)
            for kind, payload in records:
                self._record(file, kind, payload)
        if file.blocks.digest is None:
            return b""
        self._end(file)
        self._digest = file.blocks.digest
        self._done, self._file = file, None
        self._backups += 1
        return file.blocks.rest

    def _record(self, file: _File, kind: int, payload: bytes) -> None:
        rank = _RANKS[kind]
        if rank < file.rank or (file.rank < 0 and rank):
            raise BadBackup("its records are not in the order that they should be in")
        if file.rank <= _RANKS[Kind.NAMESPACE] < rank:
            self._claim(file)
        if rank == file.rank == _RANKS[Kind.HEAD]:
            raise BadBackup("it has two heads")
        file.rank = rank
        self._take(file, kind, payload)

    def _take(self, file: _File, kind: int, payload: bytes) -> None:
        if kind == Kind.HEAD:
            self._take_head(form.decode_head(payload))
        elif kind == Kind.NAMESPACE:
            self._take_namespace(file, form.decode_namespace(payload))
        elif kind == Kind.BRANCH:
            self._take_branch(file, *form.decode_branch(payload))
        elif kind == Kind.CHECKPOINT:
            self._take_checkpoint(file, *form.decode_checkpoint(payload))
        elif kind == Kind.OBJECT:
            file.objects += 1
            self._objects += 1
            self._take_object(payload)
        elif kind == Kind.REDACTION:
            file.redactions += 1
            self._take_redaction(file, form.decode_redaction(payload))
        elif kind == Kind.REVISION:
            file.revisions += 1
            self._take_revision(file, payload)
        else:
            file.claimed = form.decode_counts(payload)

    def _end(self, file: _File) -> None:
        """Look at a backup that is all there, but for what follows it."""
        if not file.records.ended or file.claimed is None:
            raise BadBackup("its last record is missing")
        counted = Counts(
            len(file.spaces),
            len(file.branches),
            len(file.checkpoints),
            file.objects,
            file.revisions,
            file.redactions,
        )
        if file.claimed != counted:
            raise BadBackup("it does not have as many records as it says")
        for (namespace, _), branch in file.branches.items():
            self._check_ref(namespace, branch)
            if branch.base and self._revision(namespace, branch.base) is None:
                raise BadBackup(
                    f"branch {branch.name!r} of namespace {namespace!r} was made from "
                    f"revision {branch.base}, which is missing"
                )
        for (namespace, _), checkpoint in file.checkpoints.items():
            self._check_ref(namespace, checkpoint)

    def _check_ref(self, namespace: Namespace, ref: Branch | Checkpoint) -> None:
        """Return if what a pointer names was taken.

        Raises:
            BadBackup: It was not.
        """
        found = self._revision(namespace, ref.link.number)
        if found is None or found.link != ref.link:
            kind = "branch" if isinstance(ref, Branch) else "checkpoint"
            raise BadBackup(
                f"{kind} {ref.name!r} of namespace {namespace!r} names revision "
                f"{ref.link.number}, which is missing or another one"
            )

    # --- what it says that there is ------------------------------------------------

    def _take_head(self, head: Head) -> None:
        if head.base == self._digest:
            return
        if head.base is None:
            raise BadBackup(
                "it stands alone, and follows another one; give a full backup first, "
                "then those that stand on it, oldest first"
            )
        raise BadBackup(
            f"it stands on the backup with the digest {head.base.hex()}, which "
            + ("is not the one before it" if self._digest else "was not given")
            + "; give a full backup first, then those that stand on it, oldest first"
        )

    def _take_namespace(self, file: _File, part: NamespacePart) -> None:
        self._may(part.name)
        if file.spaces and part.name <= next(reversed(file.spaces)):
            raise BadBackup("its namespaces do not ascend")
        before = None if self._done is None else self._done.spaces.get(part.name)
        if before is not None and before.last_revision > part.last_revision:
            raise BadBackup(f"namespace {part.name!r} goes back in it")
        file.spaces[part.name] = part

    def _take_branch(self, file: _File, namespace: Namespace, branch: Branch) -> None:
        at = namespace, branch.name
        if file.branches and at <= next(reversed(file.branches)):
            raise BadBackup("its branches do not ascend")
        last = self._last(file, namespace)
        if max(branch.since, branch.head) > last:
            raise BadBackup(f"branch {branch.name!r} of {namespace!r} is too far on")
        file.branches[at] = branch

    def _take_checkpoint(
        self, file: _File, namespace: Namespace, checkpoint: Checkpoint
    ) -> None:
        at = namespace, checkpoint.name
        if file.checkpoints and at <= next(reversed(file.checkpoints)):
            raise BadBackup("its checkpoints do not ascend")
        self._last(file, namespace)
        file.checkpoints[at] = checkpoint

    def _last(self, file: _File, namespace: Namespace) -> RevisionNumber:
        space = file.spaces.get(namespace)
        if space is None:
            raise BadBackup(f"it has something of namespace {namespace!r} unannounced")
        return space.last_revision

    def _take_redaction(self, file: _File, redaction: Redaction) -> None:
        self._last(file, redaction.namespace)
        self._redactions[redaction[:3]] = redaction
        self._intake.redacted.add(redaction.digest)

    def _take_object(self, data: bytes) -> None:
        """Take an object, unless it was redacted."""
        if self._redacted_here:
            digest = digest_of(data)
            if digest in self._redacted_here and digest not in self._intake.redacted:
                self._to_be_redacted.add(digest)
                self._intake.redacted.add(digest)
        self._intake.add(data)

    def _check_redacted(self) -> None:
        """Return if what was left out, as it was redacted here, is redacted there too.

        Raises:
            ContentRedacted: Here, and not where the backup was made.
        """
        for digest in self._to_be_redacted - {
            digest for digest, _, _ in self._redactions
        }:
            raise ContentRedacted(
                f"the backup has the content {digest.hex()}, which was redacted in "
                "this store and can't be stored again; restore it into another one"
            )

    # --- keeping the namespaces free -------------------------------------------------

    def _claim(self, file: _File) -> None:
        """Keep the namespaces of a backup free, and empty them of an earlier attempt."""
        if (
            self._done is not None
            and not self._done.spaces.keys() <= file.spaces.keys()
        ):
            raise BadBackup("it lacks a namespace that the backup under it has")
        new = [name for name in file.spaces if name not in self._hidden]
        first = not self._epoch
        if not new and not first:
            return
        for attempt in range(_ATTEMPTS):
            if first:
                self._epoch = self._store.namespace(unfinished.MARKS).epoch
            try:
                unfinished.mark(self._store, new, self._epoch)
                self._marked.update(new)
                self._epoch = self._raise_epoch({}, self._epoch)
                break
            except Stale:
                # Later than the first time, what was written may be gone.
                if not first or attempt == _ATTEMPTS - 1:
                    raise
        for name in new:
            if self._store.namespace(name).last_revision:
                raise NamespaceExists(name)
            self._hidden.add(name)
        for name in new:
            self._empty(name)
        self._redacted_here = {one.digest for one in self._store.redactions()}

    def _empty(self, namespace: Namespace) -> None:
        self._epoch = unfinished.remove_revisions(
            self._store, namespace, self._epoch, self._raise_epoch
        )

    def give_up(self) -> None:
        """Take away what was written, as far as that can be done now.

        What is left is seen by nobody, and goes with the next restore or collection.
        """
        try:
            for name in sorted(self._hidden):
                if self._store.namespace(name).last_revision:
                    return  # it is there: the last commit has been made
                self._empty(name)
            if self._marked:
                self._store.commit(unfinished.without_marks(self._marked, self._epoch))
        except (Stale, St8Error):
            return

    # --- revisions -------------------------------------------------------------------

    def _take_revision(self, file: _File, data: bytes) -> None:
        try:
            revision = decode(data)
        except Corrupt as error:
            raise BadBackup(error.detail) from None
        namespace, number = revision.scope.namespace, revision.number
        place = (namespace, number)
        if place <= file.place:
            raise BadBackup("its revisions do not ascend")
        file.place = place
        if number > self._last(file, namespace):
            raise BadBackup(f"{_where(revision)} is above the newest number")
        known = self._revision(namespace, number)
        if known is not None:
            if known != revision:
                raise BadBackup(f"{_where(revision)} is one here and another below it")
            return
        try:
            _check_texts(revision)
        except InvalidInput as error:
            raise BadBackup(f"{_where(revision)}: {error.detail}") from None
        try:
            self._check_descent(revision, data)
            if self._parent(revision) is None:
                self._intake.check_tree(EMPTY_ROOT, revision.parent_root)
            self._intake.check_tree(revision.parent_root, revision.root)
        except BadBackup as error:
            raise BadBackup(f"{_where(revision)}: {error.wrong}") from None
        self._remember(revision)
        self._records.setdefault(namespace, []).append(Record(number, data))
        self._waiting += 1
        self._revisions += 1
        self._write_if_full()

    def _check_descent(self, revision: Revision, data: bytes) -> None:
        """Return if a revision follows its parent by the rules.

        Raises:
            BadBackup: It does not.
        """
        if revision.parents[1:]:
            raise BadBackup("it has more than one parent")
        parent = self._parent(revision)
        if parent is None and revision.parents:
            self._check_orphan(revision)
            return
        skipped = None
        if parent is not None:
            named = revision.parents[0]
            if (parent.digest, parent.root) != (named.digest, named.root):
                raise BadBackup("its parent is another one")
            if parent.skip is not None:
                skipped = self._revision(*_at(revision, parent.skip))
                if skipped is None:
                    self._check_orphan(revision)
                    if (
                        revision.depth != parent.depth + 1
                        or revision.time_ns < parent.time_ns
                    ):
                        raise BadBackup(_BY_NO_RULE)
                    return
        # The shorter skip is that of a time when the longer one's was collected.
        if data not in [_made_after(revision, parent, s) for s in (skipped, None)]:
            raise BadBackup(_BY_NO_RULE)

    def _check_orphan(self, revision: Revision) -> None:
        """Look at a revision of which something before was collected."""
        skip = revision.skip
        known = None if skip is None else self._revision(*_at(revision, skip))
        if (
            skip is None
            or revision.parent_number >= revision.number
            or skip.number > revision.parent_number
            or (known is not None and known.link != skip)
            or not 1 < revision.depth <= revision.number
            or revision.time_ns > TIME_NS_MAX
        ):
            raise BadBackup(_BY_NO_RULE)

    def _parent(self, revision: Revision) -> Revision | None:
        if not revision.parents:
            return None
        return self._revision(revision.scope.namespace, revision.parents[0].number)

    def _revision(
        self, namespace: Namespace, number: RevisionNumber
    ) -> Revision | None:
        """Return a revision that was taken, or None."""
        found = self._recent.get((namespace, number))
        if found is not None or namespace not in self._hidden:
            return found
        for record in self._records.get(namespace, ()):
            if record.number == number:
                return decode(record.data)
        data = self._store.revisions(namespace, [number]).get(number)
        if data is None:
            return None
        found = decode(data)
        self._remember(found)
        return found

    def _remember(self, revision: Revision) -> None:
        self._recent[revision.scope.namespace, revision.number] = revision
        if len(self._recent) > _REVISIONS_KEPT:
            self._recent.popitem(last=False)

    # --- writing ---------------------------------------------------------------------

    def _write_if_full(self) -> None:
        intake = self._intake
        if (
            len(intake.pending) >= _OBJECTS_AT_ONCE
            or intake.pending_bytes >= _BYTES_AT_ONCE
            or self._waiting >= _REVISIONS_AT_ONCE
        ):
            self._write()

    def _write(self) -> None:
        """Write what waits, unseen."""
        batch = Batch(self._epoch, 0)
        batch.objects = self._intake.pending
        for namespace, records in self._records.items():
            batch.namespaces[namespace] = (RevisionNumber(0), RevisionNumber(0))
            batch.revisions[namespace] = records
        self._store.commit(batch)
        self._intake.written()
        self._records = {}
        self._waiting = 0

    def finish(self) -> Restored:
        """Make all of it appear, in one commit; it is durable on return.

        Raises:
            Stale: The epoch is another one.
            OutcomeUnknown: It can't be told whether it was done.
        """
        self._check_redacted()
        self._write()
        self._redact()
        file = self._done
        if file is None:
            raise TypeError("nothing was taken")
        batch = unfinished.without_marks(self._marked, self._epoch)
        for name, space in file.spaces.items():
            batch.namespaces[name] = (RevisionNumber(0), space.last_revision)
        for at, branch in file.branches.items():
            batch.branches[at] = (None, branch)
        for at_checkpoint, checkpoint in file.checkpoints.items():
            batch.checkpoints[at_checkpoint] = (None, checkpoint)
        self.ends = True
        self._committer.commit_aside(batch)
        return Restored(
            self._backups,
            len(file.spaces),
            len(file.branches),
            len(file.checkpoints),
            self._revisions,
            self._objects,
        )

    def _redact(self) -> None:
        """Redact here what was redacted where the backup was made.

        Raises:
            ContentInUse: It stands in what is here.
        """
        if not self._redactions:
            return

        def refuse(namespace: Namespace, key: bytes, digest: Digest) -> None:
            if not self._store.objects([digest]):
                return
            place = "in a revision here"
            with suppress(St8Error):  # whoever may not touch it hears no more of it
                self._may(namespace)
                place = f"under key {key.decode()!r} of namespace {namespace!r} here"
            raise ContentInUse(
                f"the content {digest.hex()} was redacted where the backup was made, "
                f"and stands {place}; redact it here first, or restore the backup into "
                "an empty store"
            )

        redacted = self._intake.redacted
        places = Places(self._store, self._refs, self._there, redacted, refuse)

        def look() -> None:
            # What is stored may be of this backup, or needed by nobody.
            if any(self._store.objects([digest]) for digest in redacted):
                places.look()

        def choose() -> list[Redaction]:
            look()  # while nobody commits
            return list(self._redactions.values())

        def work() -> None:
            epoch = self._store.redact(choose)
            self._refs.forget_revisions(unfinished.MARKS, (), epoch)
            if epoch != self._epoch + 1:
                raise Stale
            self._epoch = epoch

        look()
        self._committer.between_batches(work).result()
        erase(self._store, self._committer)


def _at(revision: Revision, link: Link) -> tuple[Namespace, RevisionNumber]:
    return revision.scope.namespace, link.number


def _made_after(
    revision: Revision, parent: Revision | None, parent_skip: Revision | None
) -> bytes:
    """Return the bytes of the revision as it would have been made."""
    _, data = make_revision(
        revision.number,
        revision.scope,
        parent,
        parent_skip,
        root=revision.root,
        kind=revision.kind,
        message=revision.message,
        author=revision.author,
        time_ns=revision.time_ns,
    )
    return data


def _check_texts(revision: Revision) -> None:
    Scope(Namespace(revision.scope.namespace), BranchName(revision.scope.branch))
    Author(revision.author)
    Message(revision.message)


def _where(revision: Revision) -> str:
    return f"revision {revision.number} of namespace {revision.scope.namespace!r}"
