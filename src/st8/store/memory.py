"""A store in memory: for tests, and the plainest reading of the contract."""

from __future__ import annotations

import threading
from bisect import bisect_right
from contextlib import nullcontext
from typing import TYPE_CHECKING, Protocol, TypeVar, final

from st8.core.errors import StorageFailed
from st8.core.ids import (
    BranchName,
    CheckpointName,
    Digest,
    IdempotencyKey,
    Key,
    Namespace,
    RevisionNumber,
    digest_prefix,
)
from st8.core.ports import (
    Answer,
    AnswerAt,
    Batch,
    CommitTimes,
    HeldObject,
    NamespaceState,
    Pointers,
    Raised,
    SelfCheck,
    Shrunk,
    Stale,
    Swept,
)
from st8.core.revisions import Branch, Checkpoint, NamespaceInfo

if TYPE_CHECKING:
    from collections.abc import (
        Callable,
        Container,
        Hashable,
        Iterable,
        Mapping,
        Sequence,
    )
    from contextlib import AbstractContextManager

    from st8.core.ports import Heard
    from st8.core.redactions import Redaction

__all__ = ["MemoryStore"]


class _Named(Protocol):
    @property
    def name(self) -> str: ...


_NamedT = TypeVar("_NamedT", bound=_Named)
_KeyT = TypeVar("_KeyT", bound="Hashable")
_ValueT = TypeVar("_ValueT")


@final
class MemoryStore:
    """Keeps everything in dictionaries; gone when the process ends."""

    name: str = "memory"
    exclusive: bool = True

    def __init__(self) -> None:
        """Make an empty store."""
        self._lock = threading.RLock()  # who chooses what to redact reads
        self._open = True
        self._epoch = 1
        self._objects: dict[Digest, tuple[int, bytes]] = {}
        self._sweeping: list[Digest] = []
        self._listing: list[Digest] = []
        self._last: dict[Namespace, RevisionNumber] = {}
        self._revisions: dict[Namespace, dict[RevisionNumber, bytes]] = {}
        self._branches: dict[tuple[Namespace, BranchName], Branch] = {}
        self._checkpoints: dict[tuple[Namespace, CheckpointName], Checkpoint] = {}
        self._answers: dict[tuple[Namespace, IdempotencyKey], Answer] = {}
        self._redactions: dict[tuple[Digest, Namespace, Key], Redaction] = {}

    def moves(self) -> int:
        """See :class:`~st8.core.ports.Store`: there are no others."""
        return 0

    def turn(self) -> AbstractContextManager[None]:
        """See :class:`~st8.core.ports.Store`: there are no others."""
        return nullcontext()

    def hear(self, heard: Heard) -> None:
        """See :class:`~st8.core.ports.Store`: there are no others."""

    def objects(
        self, digests: Sequence[Digest], size_max: int | None = None
    ) -> dict[Digest, bytes]:
        """See :class:`~st8.core.ports.Store`."""
        self._check_open()
        found: dict[Digest, bytes] = {}
        size = 0
        for digest in digests:
            entry = self._objects.get(digest)
            if entry is not None:
                found[digest] = entry[1]
                size += len(entry[1])
                if size_max is not None and size > size_max:
                    break
        return found

    def namespace(self, name: Namespace) -> NamespaceState:
        """See :class:`~st8.core.ports.Store`."""
        self._check_open()
        with self._lock:
            return NamespaceState(self._last.get(name, RevisionNumber(0)), self._epoch)

    def namespaces(
        self, prefix: str, after: str, limit: int
    ) -> Sequence[NamespaceInfo]:
        """See :class:`~st8.core.ports.Store`."""
        self._check_open()
        with self._lock:
            infos = [
                NamespaceInfo(name, last) for name, last in self._last.items() if last
            ]
        return _page(infos, prefix, after, limit)

    def branch(self, namespace: Namespace, name: BranchName) -> Branch | None:
        """See :class:`~st8.core.ports.Store`."""
        self._check_open()
        return self._branches.get((namespace, name))

    def branches(
        self, namespace: Namespace, prefix: str, after: str, limit: int
    ) -> Sequence[Branch]:
        """See :class:`~st8.core.ports.Store`."""
        self._check_open()
        with self._lock:
            found = [b for (ns, _), b in self._branches.items() if ns == namespace]
        return _page(found, prefix, after, limit)

    def checkpoint(
        self, namespace: Namespace, name: CheckpointName
    ) -> Checkpoint | None:
        """See :class:`~st8.core.ports.Store`."""
        self._check_open()
        return self._checkpoints.get((namespace, name))

    def checkpoints(
        self, namespace: Namespace, prefix: str, after: str, limit: int
    ) -> Sequence[Checkpoint]:
        """See :class:`~st8.core.ports.Store`."""
        self._check_open()
        with self._lock:
            found = [c for (ns, _), c in self._checkpoints.items() if ns == namespace]
        return _page(found, prefix, after, limit)

    def revisions(
        self, namespace: Namespace, numbers: Sequence[RevisionNumber]
    ) -> Mapping[RevisionNumber, bytes]:
        """See :class:`~st8.core.ports.Store`."""
        self._check_open()
        records = self._revisions.get(namespace, {})
        found = ((number, records.get(number)) for number in numbers)
        return {number: data for number, data in found if data is not None}

    def numbers(
        self, namespace: Namespace, after: RevisionNumber, limit: int
    ) -> Sequence[RevisionNumber]:
        """See :class:`~st8.core.ports.Store`."""
        self._check_open()
        with self._lock:
            known = sorted(self._revisions.get(namespace, {}))
        start = bisect_right(known, after)
        return known[start : start + limit]

    def answer(self, namespace: Namespace, key: IdempotencyKey) -> Answer | None:
        """See :class:`~st8.core.ports.Store`."""
        self._check_open()
        return self._answers.get((namespace, key))

    def answers(
        self, after: tuple[str, str], limit: int
    ) -> Sequence[tuple[AnswerAt, Answer]]:
        """See :class:`~st8.core.ports.Store`."""
        self._check_open()
        with self._lock:
            found = [(at, a) for at, a in self._answers.items() if at > after]
        return sorted(found, key=lambda item: item[0])[:limit]

    def commit(self, batch: Batch) -> CommitTimes:
        """See :class:`~st8.core.ports.Store`."""
        self._check_open()
        with self._lock:
            if batch.epoch != self._epoch:
                raise Stale
            for name, (expected, _) in batch.namespaces.items():
                if self._last.get(name, 0) != expected:
                    raise Stale
            _compare(self._branches, batch.branches)
            _compare(self._checkpoints, batch.checkpoints)
            for digest, data in batch.objects.items():
                stored = self._objects.get(digest, (0, data))[1]
                self._objects[digest] = (batch.epoch, stored)
            for name, (_, new) in batch.namespaces.items():
                self._last[name] = new
            for name, records in batch.revisions.items():
                self._revisions.setdefault(name, {}).update(
                    {record.number: record.data for record in records}
                )
            _assign(self._branches, batch.branches)
            _assign(self._checkpoints, batch.checkpoints)
            if batch.answers:
                self._answers = {
                    key: answer
                    for key, answer in self._answers.items()
                    if answer.expires_ns >= batch.now_ns
                } | batch.answers
        return CommitTimes(0.0, 0.0, self.moves())

    def collecting(self) -> AbstractContextManager[bool]:
        """See :class:`~st8.core.ports.Store`: there are no others."""
        return nullcontext(enter_result=True)

    def raise_epoch(
        self, removed: Mapping[Namespace, Sequence[RevisionNumber]], expected: int
    ) -> Raised:
        """See :class:`~st8.core.ports.Store`."""
        self._check_open()
        with self._lock:
            if expected != self._epoch:
                raise Stale
            gone = 0
            for name, numbers in removed.items():
                records = self._revisions.get(name, {})
                chosen = records.keys() & set(numbers) - self._named(name)
                for number in chosen:
                    del records[number]
                gone += len(chosen)
            self._epoch += 1
            return Raised(self._epoch, gone)

    def _named(self, namespace: Namespace) -> set[RevisionNumber]:
        """Return the revisions that a branch or checkpoint names."""
        branches = [b for at, b in self._branches.items() if at[0] == namespace]
        return {
            *(branch.head for branch in branches),
            *(branch.base for branch in branches),
            *(c.revision for at, c in self._checkpoints.items() if at[0] == namespace),
        }

    def redactions(self) -> Sequence[Redaction]:
        """See :class:`~st8.core.ports.Store`."""
        self._check_open()
        with self._lock:
            return sorted(self._redactions.values())

    def redact(self, choose: Callable[[], Sequence[Redaction]]) -> int:
        """See :class:`~st8.core.ports.Store`."""
        self._check_open()
        with self._lock:
            for redaction in choose():
                self._redactions.setdefault(redaction[:3], redaction)
                self._objects.pop(redaction.digest, None)
            self._epoch += 1
            return self._epoch

    def sweep(
        self, marked: Container[int], epoch: int, after: int, limit: int
    ) -> Swept:
        """See :class:`~st8.core.ports.Store`."""
        return self._sweep(marked, epoch, after, limit, delete=True)

    def weigh(self, marked: Container[int], after: int, limit: int) -> Swept:
        """See :class:`~st8.core.ports.Store`."""
        return self._sweep(marked, self._epoch + 1, after, limit, delete=False)

    def shrink(self, limit: int) -> Shrunk:
        """See :class:`~st8.core.ports.Store`: there is no file."""
        del limit
        self._check_open()
        return Shrunk(0)

    def erase(self, position: int, limit: int) -> int:
        """See :class:`~st8.core.ports.Store`: there is no file."""
        del position, limit
        self._check_open()
        return 0

    def tidy(self) -> None:
        """See :class:`~st8.core.ports.Store`: nothing is put off."""
        self._check_open()

    def _sweep(
        self,
        marked: Container[int],
        epoch: int,
        after: int,
        limit: int,
        *,
        delete: bool,
    ) -> Swept:
        self._check_open()
        with self._lock:
            if after == 0:
                self._sweeping = list(self._objects)
            dead: list[Digest] = []
            size = 0
            for digest in self._sweeping[after : after + limit]:
                stamp, data = self._objects.get(digest, (epoch, b""))
                if stamp < epoch and digest_prefix(digest) not in marked:
                    dead.append(digest)
                    size += len(data)
            for digest in dead if delete else ():
                del self._objects[digest]
            position = after + limit
            if position >= len(self._sweeping):
                position = 0
            return Swept(position, len(dead), size)

    def held_objects(
        self, after: int, limit: int, size_max: int
    ) -> Sequence[HeldObject]:
        """See :class:`~st8.core.ports.Store`.

        A position counts objects that are there when the first page is read.
        """
        self._check_open()
        with self._lock:
            if after == 0:
                self._listing = list(self._objects)
            found: list[HeldObject] = []
            size = 0
            for position, digest in enumerate(self._listing[after:], after + 1):
                if len(found) == limit or (size_max and size > size_max):
                    break
                _, data = self._objects.get(digest, (0, None))
                if data is not None:
                    size += len(data)
                    kept = data if size_max else None
                    found.append(HeldObject(position, digest, len(data), kept))
            return found

    def check_itself(self) -> SelfCheck:
        """See :class:`~st8.core.ports.Store`: there is nothing below."""
        self._check_open()
        return SelfCheck(())

    def pointers(self, namespace: Namespace | None) -> Pointers:
        """See :class:`~st8.core.ports.Store`."""
        self._check_open()
        with self._lock:
            last = {
                name: last
                for name, last in self._last.items()
                if last and namespace in (None, name)
            }
            branches = [(at, b) for at, b in self._branches.items() if at[0] in last]
            points = [(at, c) for at, c in self._checkpoints.items() if at[0] in last]
        return Pointers(
            [NamespaceInfo(name, last[name]) for name in sorted(last)],
            [(at[0], branch) for at, branch in sorted(branches)],
            [(at[0], checkpoint) for at, checkpoint in sorted(points)],
        )

    def ping(self) -> None:
        """See :class:`~st8.core.ports.Store`."""
        self._check_open()

    def close(self) -> None:
        """See :class:`~st8.core.ports.Store`."""
        self._open = False

    def _check_open(self) -> None:
        if not self._open:
            raise StorageFailed("the store is closed")


def _page(
    found: Iterable[_NamedT], prefix: str, after: str, limit: int
) -> list[_NamedT]:
    """Return the page of a list: Python orders text as its UTF-8 bytes are."""
    matching = (
        item
        for item in found
        if item.name.startswith(prefix) and (not after or item.name > after)
    )
    return sorted(matching, key=lambda item: item.name)[:limit]


def _compare(
    stored: Mapping[_KeyT, _ValueT],
    changes: Mapping[_KeyT, tuple[_ValueT | None, _ValueT | None]],
) -> None:
    """Raise Stale where a ref is not as expected."""
    for key, (expected, _) in changes.items():
        if stored.get(key) != expected:
            raise Stale


def _assign(
    stored: dict[_KeyT, _ValueT],
    changes: Mapping[_KeyT, tuple[_ValueT | None, _ValueT | None]],
) -> None:
    """Set or take away refs."""
    for key, (_, new) in changes.items():
        if new is None:
            stored.pop(key, None)
        else:
            stored[key] = new
