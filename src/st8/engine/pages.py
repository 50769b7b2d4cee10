"""Whole lists of a store, read page by page as they are gone through."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeVar

from st8.core.errors import Corrupt
from st8.core.ids import Namespace, RevisionNumber

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from st8.core.ports import Answer, AnswerAt, Store
    from st8.core.revisions import Branch, Checkpoint, NamespaceInfo

__all__ = ["answers", "branches", "checkpoints", "namespaces", "numbers"]

_T = TypeVar("_T")

_PAGE: Final = 1_000
_NONE: Final = RevisionNumber(0)


def namespaces(store: Store) -> Iterator[NamespaceInfo]:
    """Yield every namespace, in byte order of their names."""
    return _all(lambda at: store.namespaces("", at, _PAGE), lambda one: one.name, "")


def numbers(
    store: Store, namespace: Namespace, after: RevisionNumber = _NONE
) -> Iterator[RevisionNumber]:
    """Yield the numbers of stored revisions of a namespace above ``after``, ascending."""
    return _all(lambda at: store.numbers(namespace, at, _PAGE), lambda one: one, after)


def branches(store: Store, namespace: Namespace) -> Iterator[Branch]:
    """Yield every branch of a namespace, in byte order of their names."""
    return _all(
        lambda at: store.branches(namespace, "", at, _PAGE), lambda one: one.name, ""
    )


def checkpoints(store: Store, namespace: Namespace) -> Iterator[Checkpoint]:
    """Yield every checkpoint of a namespace, in byte order of their names."""
    return _all(
        lambda at: store.checkpoints(namespace, "", at, _PAGE), lambda one: one.name, ""
    )


def answers(store: Store) -> Iterator[tuple[AnswerAt, Answer]]:
    """Yield every answer to an idempotency key, by namespace and key."""
    return _all(lambda at: store.answers(at, _PAGE), lambda one: one[0], ("", ""))


def _all(
    read: Callable[[Any], Sequence[_T]], place_of: Callable[[_T], Any], after: Any
) -> Iterator[_T]:
    """Yield all of a list, of which ``read`` returns the page behind a place.

    Raises:
        Corrupt: It goes back to where it was: an index is damaged.
    """
    while page := read(after):
        yield from page
        before, after = after, place_of(page[-1])
        if after <= before:
            raise Corrupt(
                "a list of the store does not ascend; run a verification and restore "
                "from a backup"
            )
