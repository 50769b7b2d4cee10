"""Opens the store that a URL names."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from st8.core.errors import InvalidValue, StorageFailed

if TYPE_CHECKING:
    from st8.core.ports import Store

__all__ = ["open_store"]


def open_store(url: str) -> Store:
    """Return the store at ``url``, opened.

    ``memory:`` is gone when the process ends; ``sqlite:DIRECTORY`` is the embedded
    store in a state directory, which is made if it is not there;
    ``postgresql://HOST/DATABASE`` is a store that many daemons share.

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
    if scheme in ("postgresql", "postgres"):
        return _open_postgres(url)
    # What is cut wrongly may show a password.
    shown = "the URL" if "@" in url else repr(url)
    raise InvalidValue(
        "store",
        f"{shown} is not a store; write sqlite:DIRECTORY, "
        "postgresql://USER@HOST/DATABASE or memory:",
    )


def _open_postgres(url: str) -> Store:
    try:
        from st8.store.postgres import PostgresStore  # noqa: PLC0415 - only when asked
    except ImportError as error:
        if (error.name or "psycopg").partition(".")[0] != "psycopg":
            raise
        raise StorageFailed(
            "a store in PostgreSQL needs psycopg, which is not installed; install it "
            "with pip install 'st8[postgres]'"
        ) from None
    return PostgresStore(url)
