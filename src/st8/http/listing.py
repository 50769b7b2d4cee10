"""Pages of lists of which not everything may be seen."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Protocol, TypeVar

from st8.core import limits
from st8.engine.results import Page

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["visible_page"]


class _Named(Protocol):
    @property
    def name(self) -> str: ...


T = TypeVar("T", bound=_Named)


class _Reader(Protocol[T]):
    def __call__(self, *, after: str, limit: int) -> Page[T]: ...


def visible_page(
    read: _Reader[T], after: str, limit: int, sees: Callable[[T], bool] | None
) -> Page[T]:
    """Return the page of those items behind ``after`` that ``sees`` lets through.

    It is full, or the last one, so its cursor is a name that may be seen; what is
    hidden between is read in memory for a page at a time.
    """
    if sees is None:
        return read(after=after, limit=limit)
    found = list(islice(filter(sees, _all(read, after)), limit + 1))
    if len(found) <= limit:
        return Page(found, None)
    return Page(found[:limit], found[limit - 1].name)


def _all(read: _Reader[T], after: str) -> Iterator[T]:
    while True:
        page = read(after=after, limit=limits.PAGE_ENTRIES.maximum)
        yield from page.items
        if page.next is None:
            return
        after = page.next
