"""The part of an apsw connection that the store uses, with types, and a condition.

apsw's own hints name a buffer type that type checkers can't follow.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

__all__ = ["Connection", "Cursor", "Value", "page_of_names"]

_LAST_CHARACTER: Final = "\U0010ffff"
_FIRST_SURROGATE: Final = 0xD800
_LAST_SURROGATE: Final = 0xDFFF

Value = object
"""What SQLite takes: text, integer, bytes, or an array of apsw's."""


class Cursor(Protocol):
    """The rows of a statement."""

    def __iter__(self) -> Iterator[tuple[Any, ...]]:
        """Yield the rows."""
        ...

    def fetchall(self) -> list[tuple[Any, ...]]:
        """Return all rows."""
        ...


class Connection(Protocol):
    """A connection to SQLite."""

    @property
    def in_transaction(self) -> bool:
        """Whether a transaction is open."""
        ...

    @property
    def filename(self) -> str:
        """The file."""
        ...

    def execute(self, statements: str, bindings: Sequence[Value] = ...) -> Cursor:
        """Run one or more statements."""
        ...

    def executemany(
        self, statements: str, sequenceofbindings: Iterable[Sequence[Value]]
    ) -> Cursor:
        """Run a statement for each of the bindings."""
        ...

    def set_wal_hook(self, hook: Callable[[Connection, str, int], int], /) -> None:
        """Call after each commit with the pages that the log has now."""
        ...

    def config(self, op: int, value: int) -> int:
        """Set an option of the connection; return what it is now."""
        ...

    def changes(self) -> int:
        """Return how many rows the last statement changed."""
        ...

    def close(self) -> None:
        """Close it."""
        ...


def page_of_names(prefix: str, after: str) -> tuple[str, list[str]]:
    """Return the condition, and its values, of a page of names."""
    conditions, values = ["name >= ?", "name > ?"], [prefix, after]
    # The first name after all that have the prefix: its last character counted up.
    stem = prefix.rstrip(_LAST_CHARACTER)
    if stem:
        following = ord(stem[-1]) + 1
        if following == _FIRST_SURROGATE:
            following = _LAST_SURROGATE + 1
        conditions.append("name < ?")
        values.append(stem[:-1] + chr(following))
    return " AND ".join(conditions), values
