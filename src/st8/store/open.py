"""Opens the store that a URL names."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from st8.core.errors import InvalidValue

if TYPE_CHECKING:
    from st8.core.ports import Store

__all__ = ["open_store"]


def open_store(url: str) -> Store:
    """Return the store at ``url``, opened.

    ``memory:`` is gone when the process ends; ``sqlite:DIRECTORY`` is the embedded
    store in a state directory, which is made if it is not there.

    Raises:
        InvalidValue: The URL names no store that st8 knows.
        St8Error: The store can't be opened; see the stores.
    """
    scheme, _, rest = url.partition(":")
    if scheme == "memory":
        from st8.store.memory import MemoryStore  # noqa: PLC0415 - only when asked for

        return MemoryStore()
    if scheme == "sqlite" and rest:
        from st8.store.sqlite import SqliteStore  # noqa: PLC0415 - only when asked for

        return SqliteStore(Path(rest))
    raise InvalidValue(
        "store", f"{url!r} is not a store; write sqlite:DIRECTORY or memory:"
    )
