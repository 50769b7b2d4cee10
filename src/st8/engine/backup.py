"""A backup: a whole store, or a namespace of it, as one stream of bytes.

What can move is read in one moment, and then only what can't change. So the stream is
the store of that moment, while writes go on. Objects come before the revision that
needs them, and those that its parent's state shares are not sent again: memory holds a
few nodes, and what is pointed at, whatever the size of the store.

On top of another backup, its base, only what that one lacks is sent.
"""

from __future__ import annotations

import hashlib
from itertools import chain
from typing import TYPE_CHECKING, Final, NamedTuple

from st8.core import backup as form
from st8.core.backup import Counts, Head, Kind, NamespacePart
from st8.core.errors import (
    Corrupt,
    InvalidValue,
    NamespaceNotFound,
    OtherHistory,
    Overtaken,
    RevisionCollected,
)
from st8.core.ids import Digest, Namespace, RevisionNumber, digest_of
from st8.core.node import EMPTY_ROOT, encode
from st8.core.parts import Part, new_parts
from st8.core.revisions import Link, Revision, decode
from st8.engine.frames import compressed
from st8.engine.objects import ObjectMissing, Objects

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from st8.core.ports import Clock, Pointers, Store
    from st8.core.redactions import Redaction

__all__ = ["Base", "begin_backup", "stream_of"]

_NOTHING: Final = RevisionNumber(0)
_NO_LINK: Final = Link(_NOTHING, Digest(bytes(32)))
_BLOCK_BYTES: Final = 1024 * 1024
"""Bytes of records after which a block is closed."""
_REVISIONS_AT_ONCE: Final = 256
_PARTS_AT_ONCE: Final = 256
_CONTENT_BYTES_AT_ONCE: Final = 4 * 1024 * 1024
_CACHE_BYTES: Final = 16 * 1024 * 1024


class Base(NamedTuple):
    """The backup that another one is to stand on.

    Attributes:
        digest: The digest that it ends with.
        newest: Of each of its namespaces the revision by which it is known again;
            number 0 where there was none.
    """

    digest: Digest
    newest: Mapping[Namespace, Link]


def begin_backup(
    store: Store, clock: Clock, namespace: Namespace | None, base: Base | None
) -> Iterator[bytes]:
    """Return the stream of a backup, which is of the moment of this call.

    One thread at a time may go through it. It need not be gone through to its end; if
    it raises, what came of it is no backup.

    Args:
        store: What is backed up.
        clock: Dates it.
        namespace: The one that is; None for all.
        base: The backup that it shall stand on; None for one that stands alone.

    Raises:
        NamespaceNotFound: Nothing was ever applied in ``namespace``.
        OtherHistory: The base is not of what is in the store.
        InvalidValue: The base has namespaces that are not asked for.
        Corrupt: Something is damaged; also while the stream is gone through.
        Overtaken: A garbage collection removed what is to be in it; only while the
            stream is gone through.
    """
    # First: a collection that begins later shows by it.
    epoch = store.namespace(namespace or Namespace("default")).epoch
    pointers = store.pointers(namespace)
    if namespace is not None and not pointers.namespaces:
        raise NamespaceNotFound(namespace)
    parts = _namespace_parts(store, pointers, base)
    head = Head(clock.now_ns(), None if base is None else base.digest)
    return stream_of(_Backup(store, pointers, parts, epoch).records(head))


# --- what there is ----------------------------------------------------------------


def _namespace_parts(
    store: Store, pointers: Pointers, base: Base | None
) -> list[NamespacePart]:
    named: dict[Namespace, Link] = {}
    links = chain(
        ((of, branch.link) for of, branch in pointers.branches),
        ((of, checkpoint.link) for of, checkpoint in pointers.checkpoints),
    )
    for of, link in links:
        named[of] = max(named.get(of, _NO_LINK), link)
    known: Mapping[Namespace, Link] = {} if base is None else base.newest
    parts: list[NamespacePart] = []
    for name, last in pointers.namespaces:
        newest = _stored(store, name, last) or named.get(name, _NO_LINK)
        after = _after(store, name, known.get(name, _NO_LINK))
        parts.append(NamespacePart(name, last, newest, after))
    left_out = sorted(known.keys() - {part.name for part in parts})
    for name in left_out:
        if not store.namespace(name).last_revision:
            raise OtherHistory(name, known[name].number)
        raise InvalidValue(
            "base",
            f"it has namespace {name!r}, which is not asked for; back up every "
            "namespace, or take a base that has only the one",
        )
    return parts


def _stored(store: Store, namespace: Namespace, number: RevisionNumber) -> Link | None:
    """Return a revision that is there still, else None."""
    data = store.revisions(namespace, [number]).get(number)
    return None if data is None else decode(data).link


def _after(store: Store, namespace: Namespace, newest: Link) -> RevisionNumber:
    """Return up to which revision the base has what is there; 0 if it can't be told.

    Whoever has its newest revision has the same ones before it, since a revision
    vouches for those before it and numbers are given in order.

    Raises:
        OtherHistory: Its newest revision is not the one that was given this number.
    """
    if not newest.number:
        return _NOTHING
    stored = _stored(store, namespace, newest.number)
    if stored is None:
        if store.namespace(namespace).last_revision < newest.number:
            raise OtherHistory(namespace, newest.number)
        return _NOTHING  # collected: all of the namespace is sent again
    if stored != newest:
        raise OtherHistory(namespace, newest.number)
    return newest.number


# --- the records --------------------------------------------------------------------


class _Backup:
    """One backup; one thread at a time."""

    def __init__(
        self, store: Store, pointers: Pointers, parts: list[NamespacePart], epoch: int
    ) -> None:
        self._store = store
        self._pointers: Pointers | None = pointers
        self._parts = parts
        self._epoch = epoch
        # Of its own: each object is looked at once, and would push others out.
        self._objects = Objects(store, _CACHE_BYTES)
        self._object_count = 0
        self._revision_count = 0
        self._redacted: set[Digest] = set()
        self._redactions: set[Redaction] = set()

    def records(self, head: Head) -> Iterator[tuple[int, bytes]]:
        """Yield all records."""
        pointers = self._pointers
        if pointers is None:
            raise TypeError("a backup is gone through once")
        self._pointers = None  # what follows may take hours
        needed: dict[Namespace, set[RevisionNumber]] = {}
        for of, branch in pointers.branches:
            needed.setdefault(of, set()).update({branch.head, branch.base} - {0})
        for of, checkpoint in pointers.checkpoints:
            needed.setdefault(of, set()).add(checkpoint.revision)
        yield Kind.HEAD, form.encode_head(head)
        for part in self._parts:
            yield Kind.NAMESPACE, form.encode_namespace(part)
        for of, branch in pointers.branches:
            yield Kind.BRANCH, form.encode_branch(of, branch)
        for of, checkpoint in pointers.checkpoints:
            yield Kind.CHECKPOINT, form.encode_checkpoint(of, checkpoint)
        counts = len(self._parts), len(pointers.branches), len(pointers.checkpoints)
        del pointers
        yield from self._new_redactions()
        for part in self._parts:
            yield from self._namespace(part, needed.pop(part.name, set()))
        yield (
            Kind.END,
            form.encode_counts(
                Counts(
                    *counts,
                    self._object_count,
                    self._revision_count,
                    len(self._redactions),
                )
            ),
        )

    def _namespace(
        self, part: NamespacePart, needed: set[RevisionNumber]
    ) -> Iterator[tuple[int, bytes]]:
        """Yield the revisions of a namespace, each after its objects."""
        missing = {number for number in needed if number > part.after}
        after = part.after
        while after < part.last_revision:
            numbers = [
                number
                for number in self._store.numbers(part.name, after, _REVISIONS_AT_ONCE)
                if number <= part.last_revision
            ]
            if not numbers:
                break
            after = numbers[-1]
            passed_over: set[RevisionNumber] = set()
            for revision, data, orphan in self._revisions(part.name, numbers):
                alone = orphan or revision.parent_number in passed_over
                try:
                    yield from self._objects_of(revision, alone=alone)
                except RevisionCollected:
                    passed_over.add(revision.number)  # its objects harm nobody
                    continue
                self._revision_count += 1
                missing.discard(revision.number)
                yield Kind.REVISION, data
        if missing:
            raise self._lost(part.name, min(missing))

    def _revisions(
        self, namespace: Namespace, numbers: Sequence[RevisionNumber]
    ) -> list[tuple[Revision, bytes, bool]]:
        """Return those revisions that are there, and whether the parent is not.

        A parent that is there now was there when its number was passed, or when the
        base was made: so it is in the stream, or in the base.
        """
        found: list[tuple[Revision, bytes]] = []
        for number, data in sorted(self._store.revisions(namespace, numbers).items()):
            revision = decode(data)
            if (revision.scope.namespace, revision.number) != (namespace, number):
                raise Corrupt(
                    f"the record of revision {number} of namespace {namespace!r} is "
                    f"that of {revision.number} of {revision.scope.namespace!r}"
                )
            found.append((revision, data))
        wanted = {parent.number for one, _ in found for parent in one.parents}
        there = self._store.revisions(namespace, sorted(wanted))
        return [
            (one, data, any(parent.number not in there for parent in one.parents))
            for one, data in found
        ]

    def _objects_of(
        self, revision: Revision, *, alone: bool
    ) -> Iterator[tuple[int, bytes]]:
        """Yield what a revision's state is made of and its parent's is not.

        If it is ``alone``, what the parent's state is made of, too.

        Raises:
            RevisionCollected: It was removed meanwhile.
            Corrupt: Something of it is damaged.
        """
        source = self._objects.of(revision)
        before = revision.parent_root
        parts = new_parts(source, before, revision.root)
        if alone:
            parts = chain(new_parts(source, EMPTY_ROOT, before), parts)
        waiting: list[Part] = []
        for part in parts:
            waiting.append(part)
            if len(waiting) == _PARTS_AT_ONCE:
                yield from self._read(revision, waiting)
                waiting = []
        yield from self._read(revision, waiting)

    def _read(
        self, revision: Revision, parts: Sequence[Part]
    ) -> Iterator[tuple[int, bytes]]:
        """Yield objects as records, in their order; none of these parts twice.

        Redacted contents are left out, and what redacted them comes in their place if
        it did not come yet.
        """
        wanted = dict.fromkeys(
            digest
            for digest, node in parts
            if node is None and digest not in self._redacted
        )
        contents: dict[Digest, bytes] = {}
        for digest, node in dict(parts).items():
            if node is not None:
                data: bytes | None = encode(node)
            elif digest in wanted:
                if digest not in contents:
                    contents = self._contents(list(wanted))
                data = contents.get(digest)
                if data is None:
                    yield from self._new_redactions()
                    self._check_redacted(revision, digest)
                del wanted[digest]
            else:
                data = None
            if data is not None:
                self._object_count += 1
                yield Kind.OBJECT, data

    def _contents(self, digests: Sequence[Digest]) -> dict[Digest, bytes]:
        """Return contents, the first one that is there at least.

        Raises:
            Corrupt: One does not match its digest.
        """
        found = self._store.objects(digests, _CONTENT_BYTES_AT_ONCE)
        for digest, data in found.items():
            if digest_of(data) != digest:
                raise Corrupt(
                    f"object {digest.hex()} does not match its digest; run a "
                    "verification and restore from a backup",
                    object=digest.hex(),
                )
        return found

    def _new_redactions(self) -> Iterator[tuple[int, bytes]]:
        """Yield what was redacted until now in these namespaces, and did not come yet."""
        names = {part.name for part in self._parts}
        for redaction in self._store.redactions():
            if redaction.namespace in names and redaction not in self._redactions:
                self._redactions.add(redaction)
                self._redacted.add(redaction.digest)
                yield Kind.REDACTION, form.encode_redaction(redaction)

    def _check_redacted(self, revision: Revision, digest: Digest) -> None:
        """Return if a content is missing because it was redacted.

        Raises:
            RevisionCollected: It is missing because the revision was removed.
            ObjectMissing: It should be there.
        """
        if digest in self._redacted:
            return
        if not self._objects.is_stored(revision):
            raise RevisionCollected(revision.scope.namespace, revision.number)
        raise ObjectMissing(digest)

    def _lost(self, namespace: Namespace, number: RevisionNumber) -> Exception:
        """Return the error of a revision that is pointed at and was not there."""
        if self._store.namespace(namespace).epoch == self._epoch:
            return Corrupt(
                f"revision {number} of namespace {namespace!r}, which a branch or "
                "checkpoint names, is missing from the store"
            )
        return Overtaken(
            f"a garbage collection has removed revision {number} of namespace "
            f"{namespace!r} while it was backed up, which a branch or checkpoint named "
            "when that began; begin the backup again"
        )


# --- the blocks ---------------------------------------------------------------------


def stream_of(records: Iterable[tuple[int, bytes]]) -> Iterator[bytes]:
    """Yield the bytes of a backup that has these records."""
    hasher = hashlib.sha256()
    for data in chain([form.MAGIC], _packed(records), [bytes(4)]):
        hasher.update(data)
        yield data
    yield hasher.digest()


def _packed(records: Iterable[tuple[int, bytes]]) -> Iterator[bytes]:
    pending = bytearray()
    plain = True
    for kind, payload in records:
        if form.is_plain(kind) != plain or len(pending) >= _BLOCK_BYTES:
            yield from _block(pending, plain=plain)
            pending.clear()
            plain = form.is_plain(kind)
        pending += form.record(kind, payload)
    yield from _block(pending, plain=plain)


def _block(data: bytes | bytearray, *, plain: bool) -> Iterator[bytes]:
    for start in range(0, len(data), form.BLOCK_BYTES_MAX):
        some = bytes(data[start : start + form.BLOCK_BYTES_MAX])
        if plain:
            yield form.block(form.PLAIN, some)
        else:
            yield form.block(form.ZSTD, compressed(some))
