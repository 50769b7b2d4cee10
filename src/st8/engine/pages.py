"""Whole lists of a store, read page by page as they are gone through."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from st8.core.ids import Namespace, RevisionNumber

if TYPE_CHECKING:
    from collections.abc import Iterator

    from st8.core.ports import Answer, AnswerAt, Store
    from st8.core.revisions import Branch, Checkpoint, NamespaceInfo

__all__ = ["answers", "branches", "checkpoints", "namespaces", "numbers"]

_PAGE: Final = 1_000
_NONE: Final = RevisionNumber(0)


def namespaces(store: Store) -> Iterator[NamespaceInfo]:
    """Yield every namespace, in byte order of their names."""
    after = ""
    while page := store.namespaces("", after, _PAGE):
        yield from page
        after = page[-1].name


def numbers(
    store: Store, namespace: Namespace, after: RevisionNumber = _NONE
) -> Iterator[RevisionNumber]:
    """Yield the numbers of stored revisions of a namespace above ``after``, ascending."""
    while page := store.numbers(namespace, after, _PAGE):
        yield from page
        after = page[-1]


def branches(store: Store, namespace: Namespace) -> Iterator[Branch]:
    """Yield every branch of a namespace, in byte order of their names."""
    after = ""
    while page := store.branches(namespace, "", after, _PAGE):
        yield from page
        after = page[-1].name


def checkpoints(store: Store, namespace: Namespace) -> Iterator[Checkpoint]:
    """Yield every checkpoint of a namespace, in byte order of their names."""
    after = ""
    while page := store.checkpoints(namespace, "", after, _PAGE):
        yield from page
        after = page[-1].name


def answers(store: Store) -> Iterator[tuple[AnswerAt, Answer]]:
    """Yield every answer to an idempotency key, by namespace and key."""
    after: tuple[str, str] = ("", "")
    while page := store.answers(after, _PAGE):
        yield from page
        after = page[-1][0]
