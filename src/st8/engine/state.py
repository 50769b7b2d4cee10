"""States, and the changes between two of them, read lazily.

Whatever is here names a root first and then reads only immutable objects, so it is
never torn, however long the reading takes and whatever is committed meanwhile.
"""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Final, NamedTuple, TypeVar

from st8.core import tree
from st8.core.ids import Digest, Key, RevisionNumber
from st8.core.key_set import ALL_KEYS, KeySet, prefix_end
from st8.engine.objects import Objects, RevisionObjects

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from st8.core.documents import ChangeType
    from st8.core.revisions import Revision
    from st8.engine.objects import ObjectSource

__all__ = ["ChangeList", "RawChange", "State"]

_ItemT = TypeVar("_ItemT")

_BATCH_DOCUMENTS: Final = 128
_BATCH_BYTES: Final = 1024 * 1024


class RawChange(NamedTuple):
    """A change as bytes; see :class:`st8.core.documents.Change`."""

    key: str
    type: ChangeType
    before: bytes | None
    after: bytes | None


class State:
    """All documents of a branch at a revision, or those that may be seen.

    Attributes:
        number: The revision's number; 0 where nothing was ever applied.
        revision: The revision; None for number 0.
        root: The digest of the state tree's root.
        visible: The keys that may be seen; the others are as if not there.
    """

    def __init__(
        self,
        source: ObjectSource,
        revision: Revision | None,
        root: Digest,
        visible: KeySet = ALL_KEYS,
    ) -> None:
        """Make the state ``root``, read from ``source``."""
        self._source = source
        self.revision = revision
        self.number = RevisionNumber(0) if revision is None else revision.number
        self.root = root
        self.visible = visible

    @property
    def count(self) -> int:
        """The number of documents; O(1), and O(log n) where not all are visible."""
        return self.count_prefix("")

    def count_prefix(self, prefix: str) -> int:
        """Return the number of documents whose key begins with ``prefix``."""
        start = prefix.encode()
        return sum(
            tree.count(self._source, self.root, low, high)
            for low, high in self.visible.clip(start, prefix_end(start))
        )

    def get(self, key: Key) -> bytes | None:
        """Return the content of ``key``, or None; O(log n)."""
        digest = self._digest_of(key)
        return None if digest is None else self._source.contents([digest])[digest]

    def get_many(self, keys: Iterable[Key]) -> Iterator[tuple[Key, bytes]]:
        """Yield (key, content) of those keys that are there, in the order asked.

        Each once. About a mebibyte of contents is in memory at a time.
        """
        entries = (
            (key, digest)
            for key in dict.fromkeys(keys)
            if (digest := self._digest_of(key)) is not None
        )
        for (key, digest), contents in _along(self._source, entries, _content_of):
            yield key, contents[digest]

    def keys(self, prefix: str = "", after: str | None = None) -> Iterator[str]:
        """Yield keys in order: those with ``prefix`` that come after ``after``."""
        for key, _ in self._entries(prefix, after):
            yield key.decode()

    def items(
        self, prefix: str = "", after: str | None = None
    ) -> Iterator[tuple[str, bytes]]:
        """Yield (key, content) in order of keys; see :meth:`keys`.

        About a mebibyte of contents is in memory at a time.
        """
        entries = self._entries(prefix, after)
        for (key, digest), contents in _along(self._source, entries, _content_of):
            yield key.decode(), contents[digest]

    def _digest_of(self, key: Key) -> Digest | None:
        encoded = key.encode()
        if not self.visible.has(encoded):
            return None
        return tree.get(self._source, self.root, encoded)

    def _entries(
        self, prefix: str, after: str | None
    ) -> Iterator[tuple[bytes, Digest]]:
        first = prefix.encode()
        start = first if after is None else max(first, after.encode() + b"\0")
        for low, high in self.visible.clip(start, prefix_end(first)):
            yield from tree.items(self._source, self.root, low, high)


class ChangeList:
    """The changes from one state to another, in order of keys.

    Reading it walks the trees each time, so it costs nothing until it is read, and
    may be read again.

    Attributes:
        before: The root of the earlier state.
        after: The root of the later one.
        visible: The keys whose changes are in it.
    """

    def __init__(
        self,
        source: ObjectSource,
        before: Digest,
        after: Digest,
        known: Sequence[tree.Difference] | None = None,
        visible: KeySet = ALL_KEYS,
    ) -> None:
        """Make the list from root ``before`` to root ``after``.

        ``known`` are the differences, ascending, where they are known already;
        changes of keys that are not ``visible`` are left out.
        """
        self._source = source
        self.before = before
        self.after = after
        self._known = known
        self.visible = visible

    def __bool__(self) -> bool:
        """Return whether there is any change."""
        return self.before != self.after

    def is_at_hand(self, size: int) -> bool:
        """Return whether the list can be read at once, without the store.

        That is so when its contents have at most ``size`` bytes and are in memory,
        as they are after a small apply.
        """
        if self._known is None or not isinstance(
            self._source, Objects | RevisionObjects
        ):
            return False
        for _, before, after in self._known:
            for digest in (before, after):
                if digest is not None:
                    size -= self._source.bytes_at_hand(digest, size + 1)
            if size < 0:
                return False
        return True

    def differences(
        self, after: str | None = None, prefix: str = ""
    ) -> Iterator[tree.Difference]:
        """Yield keys and digests: those with ``prefix`` that come after ``after``."""
        first = prefix.encode()
        start = first if after is None else max(first, after.encode() + b"\0")
        for low, high in self.visible.clip(start, prefix_end(first)):
            if self._known is None:
                yield from tree.diff(self._source, self.before, self.after, low, high)
                continue
            for difference in self._known:
                if difference.key >= low and (high is None or difference.key < high):
                    yield difference

    def iter(
        self, *, contents: bool = True, after: str | None = None, prefix: str = ""
    ) -> Iterator[RawChange]:
        """Yield the changes; without ``contents``, before and after are None.

        About a mebibyte of contents is in memory at a time.
        """
        differences = self.differences(after, prefix)
        if not contents:
            for difference in differences:
                yield RawChange(
                    difference.key.decode(), _change_type(difference), None, None
                )
            return
        for difference, contents_of in _along(self._source, differences, _contents_of):
            key, before, after_digest = difference
            yield RawChange(
                key.decode(),
                _change_type(difference),
                None if before is None else contents_of[before],
                None if after_digest is None else contents_of[after_digest],
            )


def _along(
    source: ObjectSource,
    items: Iterator[_ItemT],
    wanted: Callable[[_ItemT], Sequence[Digest]],
) -> Iterator[tuple[_ItemT, Mapping[Digest, bytes]]]:
    """Yield items, each with the contents it wants, of which few are held at a time."""
    batch: list[_ItemT] = []
    while True:
        batch += islice(items, _BATCH_DOCUMENTS - len(batch))
        if not batch:
            return
        digests = dict.fromkeys(digest for item in batch for digest in wanted(item))
        contents = source.contents(digests, _BATCH_BYTES)
        done = 0
        for item in batch:
            if not all(digest in contents for digest in wanted(item)):
                break
            yield item, contents
            done += 1
        if not done:  # its two contents are larger than what is read at a time
            yield batch[0], source.contents(wanted(batch[0]))
            done = 1
        del batch[:done]


def _content_of(entry: tuple[object, Digest]) -> Sequence[Digest]:
    return (entry[1],)


def _contents_of(difference: tree.Difference) -> Sequence[Digest]:
    _, before, after = difference
    return [digest for digest in (before, after) if digest is not None]


def _change_type(difference: tree.Difference) -> ChangeType:
    if difference.before is None:
        return "create"
    return "delete" if difference.after is None else "update"
