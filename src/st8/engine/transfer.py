"""A whole store copied into another one, and compared.

The source is only read. The target must be empty, or be a copy of the same source
that was left half done; while it is filled it bears a mark (:mod:`~st8.engine.claim`)
with which no engine serves it, and which goes when all was compared.

What refers to something is written after it: objects, then the revisions that need
them, then branches and checkpoints. So where a revision is there nothing below it is
looked for, and whoever begins again after any interruption goes on where it was. What
is there is made equal, not only filled up: a source that is shared may have moved on.

Then the target is read to the last object and compared with the source, and the source
is looked at once more. A copy that it has overtaken is mended and compared again.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol, TypeVar

from st8.core.errors import (
    Corrupt,
    InvalidValue,
    RevisionCollected,
    Unavailable,
)
from st8.core.failpoints import failpoint
from st8.core.ids import Digest, Namespace, RevisionNumber, digest_of
from st8.core.ports import Batch, Record, Stale
from st8.core.revisions import Branch, Checkpoint
from st8.engine import claim
from st8.engine.checked import CheckedStore, Stored

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from st8.core.ports import Answer, AnswerAt, Store
    from st8.core.revisions import NamespaceInfo

__all__ = ["Place", "Sizes", "Tell", "Transferred", "transfer"]

_T = TypeVar("_T")
_RefT = TypeVar("_RefT", Branch, Checkpoint)

_ROUNDS: Final = 5
"""How often a source that moves on is followed."""


class Place(NamedTuple):
    """A store, and where it is, for people; never with a password."""

    store: Store
    where: str


class Sizes(NamedTuple):
    """How much is done at once.

    Attributes:
        revisions: Of a namespace, in one commit.
        refs: Branches, checkpoints or answers in one commit.
        objects: In one commit, at most.
        object_bytes: After which an object is the last one of its commit.
    """

    revisions: int = 256
    refs: int = 500
    objects: int = 2_000
    object_bytes: int = 4 * 1024 * 1024


class Tell(Protocol):
    """Hears how far it is."""

    def __call__(self, doing: str, revisions: int, total: int, objects: int) -> None:
        """Hear what is being done, to how many revisions of how many, and objects."""
        ...


class Transferred(NamedTuple):
    """What the target has now, all of it compared.

    Attributes:
        namespaces: How many.
        revisions: How many.
        objects: Contents and nodes of trees.
        size: Bytes of objects and revisions, before they are packed.
    """

    namespaces: int
    revisions: int
    objects: int
    size: int


def transfer(
    source: Place, target: Place, tell: Tell, *, sizes: Sizes | None = None
) -> Transferred:
    """Copy ``source`` into ``target``; see the module.

    May take long. Whatever it raises, it may be begun again.

    Raises:
        InvalidValue: The target has something else already; it is left as it is.
        Corrupt: Something is damaged; says where. The target keeps its mark.
        Unavailable: Others kept writing to one of the two.
        StorageFailed: The source is half a copy itself, or a store failed.
    """
    try:
        return _Transfer(source, target, tell, sizes or Sizes()).run()
    except Stale:
        raise Unavailable(
            f"something else writes to {target.where}; stop the st8d that use it, and "
            "begin again: what was moved stays"
        ) from None


class _Overtaken(Exception):
    """The source has moved on, so the two differ."""


class _Transfer:
    """One run of :func:`transfer`; one thread."""

    def __init__(self, source: Place, target: Place, tell: Tell, sizes: Sizes) -> None:
        """Do nothing yet."""
        self._source = CheckedStore(
            *source, "restore it from a backup", bytes_at_once=sizes.object_bytes
        )
        self._target = CheckedStore(
            *target, "empty it and begin again", bytes_at_once=sizes.object_bytes
        )
        self._tell = tell
        self._sizes = sizes
        self._copied: set[Digest] = set()
        self._objects: dict[Digest, bytes] = {}
        self._object_bytes = 0
        self._revisions = 0
        self._total = 0
        self._epoch = 0
        self._wrote = False

    def run(self) -> Transferred:
        """Copy until nothing is left to copy and everything is equal."""
        self._begin()
        for _ in range(_ROUNDS):
            self._copy()
            failpoint("migrate.before_compare")
            done = self._compare()
            if done is not None and not self._copy():
                failpoint("migrate.before_release")
                claim.release(self._target.store, self._epoch)
                failpoint("migrate.after_release")
                return done
        raise Unavailable(
            f"{self._source.place} and {self._target.place} still differed after "
            f"{_ROUNDS} rounds: something writes to one of them; stop the st8d that "
            "use them, and begin again: what was moved stays"
        )

    # --- whether it may begin --------------------------------------------------

    def _begin(self) -> None:
        """Mark the target as a copy of the source, if it may become one."""
        source, target = self._source, self._target
        claim.check_whole(source.store)
        origin = claim.origin_of(target.store)
        if origin is None:
            if target.store.namespaces("", "", 1) or target.store.answers(("", ""), 1):
                raise InvalidValue(
                    "to",
                    f"{target.place} is not empty, and st8d does not overwrite what is "
                    "there; name an empty store, or one that is not there yet",
                )
        elif not self._is_earlier():
            raise InvalidValue(
                "to",
                f"{target.place} is a half-done migration of another store, from "
                f"{origin}; finish that one, or name an empty store",
            )
        # Whoever collected in the target meanwhile would take away what nothing names
        # yet; but then no commit of this epoch goes through.
        failpoint("migrate.before_claim")
        self._epoch = claim.claim(target.store, source.place)
        failpoint("migrate.after_claim")
        self._total = sum(
            1 for info in source.namespaces() for _ in source.numbers(info.name)
        )

    def _is_earlier(self) -> bool:
        """Return whether what the target has was in the source once.

        A revision vouches for all before it, so the newest that both have will do.
        """
        for namespace, last in self._target.namespaces():
            if self._source.store.namespace(namespace).last_revision < last:
                return False
            newest = deque(self._target.numbers(namespace), self._sizes.revisions)
            known = self._source.revisions(namespace, list(newest))
            stored = self._target.revisions(namespace, list(known))
            if any(one != known[number] for number, one in stored.items()):
                return False
        return True

    # --- copying ---------------------------------------------------------------

    def _copy(self) -> bool:
        """Make the target equal to the source; return whether it was not."""
        self._wrote = False
        self._revisions = 0
        self._copy_redactions()
        for namespace, _ in self._source.namespaces():
            self._copy_namespace(namespace)
        self._copy_answers()
        self._copied = set()  # comparing has a set of its own, as large
        return self._wrote

    def _copy_redactions(self) -> None:
        """Redact in the target what was redacted in the source."""
        known = set(self._target.redactions())
        missing = [one for one in self._source.redactions() if one not in known]
        if not missing:
            return
        epoch = self._target.store.redact(lambda: missing)
        if epoch != self._epoch + 1:
            raise Stale
        self._epoch = epoch
        self._wrote = True

    def _copy_namespace(self, namespace: Namespace) -> None:
        # Read first: what is made from now on may be copied, and need not be.
        last = self._source.store.namespace(namespace).last_revision
        missing: list[RevisionNumber] = []
        gone: list[RevisionNumber] = []
        for here, there in _pairs(
            self._source.numbers(namespace), self._target.numbers(namespace), int
        ):
            if here is None:
                gone += [there] if there is not None else []
            elif there is None:
                missing.append(here)
                if len(missing) == self._sizes.revisions:
                    self._copy_revisions(namespace, missing)
                    missing = []
            else:
                self._count("copying", 1)
        if missing:
            self._copy_revisions(namespace, missing)
        self._copy_last(namespace, last)
        self._copy_refs(
            namespace,
            self._source.branches(namespace),
            self._target.branches(namespace),
            lambda batch: batch.branches,
            lambda name: self._source.store.branch(namespace, name),
        )
        self._copy_refs(
            namespace,
            self._source.checkpoints(namespace),
            self._target.checkpoints(namespace),
            lambda batch: batch.checkpoints,
            lambda name: self._source.store.checkpoint(namespace, name),
        )
        self._remove(namespace, gone)

    def _copy_revisions(
        self, namespace: Namespace, numbers: list[RevisionNumber]
    ) -> None:
        """Copy some revisions and, before them, what they are made of."""
        stored = self._source.revisions(namespace, numbers)
        self._source.check_chain(namespace, stored)
        revisions = [one.revision for one in stored.values()]
        try:
            for piece in self._source.objects_of(revisions, self._copied):
                for digest, data in piece.items():
                    self._objects[digest] = data
                    self._object_bytes += len(data)
                    if (
                        self._object_bytes >= self._sizes.object_bytes
                        or len(self._objects) >= self._sizes.objects
                    ):
                        self._commit(namespace, {})
                self._count("copying", 0)
        except RevisionCollected:
            # A collection overtook it: what was walked is not all copied.
            self._copied = set()
            self._objects.clear()
            self._object_bytes = 0
            self._wrote = True
            return
        self._commit(namespace, stored)
        self._count("copying", len(stored))

    def _commit(
        self, namespace: Namespace, stored: dict[RevisionNumber, Stored]
    ) -> None:
        """Write the objects that wait, and revisions."""
        before = self._target.store.namespace(namespace).last_revision
        batch = Batch(self._epoch, 0, self._unless_there(self._objects))
        after = max(before, *stored) if stored else before
        batch.namespaces[namespace] = (before, after)
        if stored:
            batch.revisions[namespace] = [
                Record(number, data) for number, (data, _) in stored.items()
            ]
        self._objects = {}
        self._object_bytes = 0
        self._write(batch)

    def _unless_there(self, objects: dict[Digest, bytes]) -> dict[Digest, bytes]:
        """Return those objects that the target does not have, or has damaged."""
        try:
            there = self._target.store.objects(list(objects))
        except Corrupt:
            return objects
        return {
            digest: data
            for digest, data in objects.items()
            if digest not in there or digest_of(there[digest]) != digest
        }

    def _copy_last(self, namespace: Namespace, last: RevisionNumber) -> None:
        before = self._target.store.namespace(namespace).last_revision
        if before < last:
            batch = Batch(self._epoch, 0)
            batch.namespaces[namespace] = (before, last)
            self._write(batch)

    def _copy_refs(
        self,
        namespace: Namespace,
        here: Iterable[_RefT],
        there: Iterable[_RefT],
        part: Callable[[Batch], dict[Any, tuple[_RefT | None, _RefT | None]]],
        reread: Callable[[Any], _RefT | None],
    ) -> None:
        """Make branches or checkpoints equal: ``here`` in the source, ``there`` not."""
        differing = (
            pair for pair in _pairs(here, there, _name_of) if pair[0] != pair[1]
        )
        for some in _chunks(differing, self._sizes.refs):
            numbers = [new.link.number for new, _ in some if new is not None]
            stored = self._target.revisions(namespace, numbers)
            batch = Batch(self._epoch, 0)
            for new, old in some:
                if new is not None and not self._may_name(
                    namespace, new, stored, reread
                ):
                    self._wrote = True  # the next round will
                    continue
                part(batch)[namespace, _name_of(new or old)] = (old, new)
            if batch:
                self._write(batch)

    def _may_name(
        self,
        namespace: Namespace,
        ref: _RefT,
        stored: dict[RevisionNumber, Stored],
        reread: Callable[[Any], _RefT | None],
    ) -> bool:
        """Return whether a ref's revision is copied, False if it is too new for that.

        Raises:
            Corrupt: The source has no such revision.
        """
        number, digest = ref.link
        if number in stored and stored[number].revision.digest == digest:
            return True
        found = self._source.revisions(namespace, [number])
        if reread(ref.name) == ref:
            self._source.check_ref(namespace, ref, found)
        return False

    def _remove(self, namespace: Namespace, gone: list[RevisionNumber]) -> None:
        """Remove revisions that the source has not any more."""
        for start in range(0, len(gone), self._sizes.revisions):
            some = gone[start : start + self._sizes.revisions]
            raised = self._target.store.raise_epoch({namespace: some}, self._epoch)
            self._epoch = raised.epoch
            self._wrote = True

    def _copy_answers(self) -> None:
        """Copy answers; one that the source has forgotten has expired."""
        differing = (
            (at, new)
            for at, new, old in _answer_pairs(self._source, self._target)
            if new != old
        )
        for some in _chunks(differing, self._sizes.refs):
            batch = Batch(self._epoch, 0)
            for (namespace, key), answer in some:
                last = self._target.store.namespace(namespace).last_revision
                batch.namespaces[namespace] = (last, last)
                batch.answers[namespace, key] = answer
            self._write(batch)

    def _write(self, batch: Batch) -> None:
        failpoint("migrate.before_write")
        self._target.store.commit(batch)
        failpoint("migrate.after_write")
        self._wrote = True

    # --- comparing -------------------------------------------------------------

    def _compare(self) -> Transferred | None:
        """Read all of the target; return what it has, None if the source moved on.

        Raises:
            Corrupt: Something is damaged, or is not what the source has.
        """
        self._revisions = 0
        seen: set[Digest] = set()
        count = size = 0
        try:
            for here, there in _pairs(
                self._source.namespaces(), self._target.namespaces(), _name_of
            ):
                size += self._compare_namespace(_same(here, there).name, seen)
                count += 1
            for _, new, old in _answer_pairs(self._source, self._target):
                _same(new, old)
            _same(self._source.redactions(), self._target.redactions())
        except _Overtaken:
            return None
        return Transferred(count, self._revisions, len(seen), size)

    def _compare_namespace(self, namespace: Namespace, seen: set[Digest]) -> int:
        """Compare a namespace and return its bytes, but for objects that are seen.

        Raises:
            _Overtaken: The two differ in what may change.
            Corrupt: See :meth:`_compare`.
        """
        size = 0
        pairs = _pairs(
            self._source.numbers(namespace), self._target.numbers(namespace), int
        )
        for some in _chunks(pairs, self._sizes.revisions):
            numbers = [_same(here, there) for here, there in some]
            size += self._compare_revisions(namespace, numbers, seen)
        source, target = self._source, self._target
        self._compare_refs(
            namespace,
            _pairs(source.branches(namespace), target.branches(namespace), _name_of),
        )
        self._compare_refs(
            namespace,
            _pairs(
                source.checkpoints(namespace), target.checkpoints(namespace), _name_of
            ),
        )
        return size

    def _compare_revisions(
        self, namespace: Namespace, numbers: list[RevisionNumber], seen: set[Digest]
    ) -> int:
        """Compare some revisions, read all below them, and return the bytes."""
        expected = self._source.revisions(namespace, numbers)
        stored = self._target.revisions(namespace, numbers)
        if not expected.keys() == stored.keys() == set(numbers):
            raise _Overtaken
        for number, (data, _) in stored.items():
            if data != expected[number].data:
                raise Corrupt(
                    f"revision {number} of namespace {namespace!r} is one in "
                    f"{self._source.place} and another in {self._target.place}; "
                    "empty the latter and begin again"
                )
        self._target.check_chain(namespace, stored)
        size = sum(len(data) for data, _ in stored.values())
        revisions = [one.revision for one in stored.values()]
        for piece in self._target.objects_of(revisions, seen):
            size += sum(map(len, piece.values()))
            self._count("comparing", 0, len(seen))
        self._count("comparing", len(stored), len(seen))
        return size

    def _compare_refs(
        self, namespace: Namespace, pairs: Iterable[tuple[_RefT | None, _RefT | None]]
    ) -> None:
        for some in _chunks(pairs, self._sizes.refs):
            refs = [_same(here, there) for here, there in some]
            numbers = [ref.link.number for ref in refs]
            stored = self._target.revisions(namespace, numbers)
            for ref in refs:
                self._target.check_ref(namespace, ref, stored)

    def _count(self, doing: str, revisions: int, objects: int | None = None) -> None:
        self._revisions += revisions
        found = len(self._copied) if objects is None else objects
        self._tell(doing, self._revisions, self._total, found)


def _name_of(item: NamespaceInfo | Branch | Checkpoint | None) -> str:
    return "" if item is None else item.name


def _pairs(
    left: Iterable[_T], right: Iterable[_T], key: Callable[[_T], Any]
) -> Iterator[tuple[_T | None, _T | None]]:
    """Yield what two ordered lists have, side by side where the keys are equal."""
    lefts, rights = iter(left), iter(right)
    a, b = next(lefts, None), next(rights, None)
    while a is not None or b is not None:
        if b is None or (a is not None and key(a) < key(b)):
            yield a, None
            a = next(lefts, None)
        elif a is None or key(b) < key(a):
            yield None, b
            b = next(rights, None)
        else:
            yield a, b
            a, b = next(lefts, None), next(rights, None)


def _answer_pairs(
    source: CheckedStore, target: CheckedStore
) -> Iterator[tuple[AnswerAt, Answer, Answer | None]]:
    """Yield the answers of the source, each with what the target has."""
    for here, there in _pairs(source.answers(), target.answers(), lambda item: item[0]):
        if here is not None:
            yield (*here, None if there is None else there[1])


def _same(here: _T | None, there: _T | None) -> _T:
    """Return what both have.

    Raises:
        _Overtaken: They do not.
    """
    if here is None or here != there:
        raise _Overtaken
    return here


def _chunks(items: Iterable[_T], size: int) -> Iterator[list[_T]]:
    """Yield items, ``size`` at a time."""
    some: list[_T] = []
    for item in items:
        some.append(item)
        if len(some) == size:
            yield some
            some = []
    if some:
        yield some
