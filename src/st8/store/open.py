"""Opens the store that a URL names."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from st8.core.errors import InvalidValue, StorageFailed

if TYPE_CHECKING:
    from collections.abc import Callable

    from st8.core.ports import Store

__all__ = ["check_url", "open_store"]


def open_store(url: str) -> Store:
    """Return the store at ``url``, opened.

    ``memory:`` is gone when the process ends; ``sqlite:DIRECTORY`` is the embedded
    store in a state directory, which is made if it is not there;
    ``postgresql://HOST/DATABASE`` is a store that many daemons share.

    Raises:
        InvalidValue: The URL names no store that st8 knows.
        St8Error: The store can't be opened; see the stores.
    """
    return _opener(url)()


def check_url(url: str) -> None:
    """Return if ``url`` can be that of a store; opens and asks nothing.

    Raises:
        InvalidValue: It can't.
        StorageFailed: What such a store needs is not installed.
    """
    _opener(url)


def _opener(url: str) -> Callable[[], Store]:
    """Return what opens the store at ``url``; see :func:`check_url`."""
    scheme, _, rest = url.partition(":")
    if scheme == "memory":
        from st8.store.memory import MemoryStore  # noqa: PLC0415 - only when asked for

        return MemoryStore
    if scheme == "sqlite" and rest:
        from st8.store.sqlite import SqliteStore  # noqa: PLC0415 - only when asked for

        return partial(SqliteStore, Path(rest))
    if scheme in ("postgresql", "postgres"):
        return _postgres_opener(url)
    # What is cut wrongly may show a password.
    shown = "the URL" if "@" in url else repr(url)
    raise InvalidValue(
        "store",
        f"{shown} is not a store; write sqlite:DIRECTORY, "
        "postgresql://USER@HOST/DATABASE or memory:",
    )


def _postgres_opener(url: str) -> Callable[[], Store]:
    try:
        from st8.store.postgres import (  # noqa: PLC0415 - only when asked for
            PostgresStore,
            read_address,
        )
    except ImportError as error:
        if (error.name or "psycopg").partition(".")[0] != "psycopg":
            raise
        raise StorageFailed(
            "a store in PostgreSQL needs psycopg, which is not installed; install it "
            "with pip install 'st8[postgres]'"
        ) from None
    read_address(url)
    return partial(PostgresStore, url)
