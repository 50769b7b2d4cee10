"""Opens the store that a URL names."""

from __future__ import annotations

from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from st8.core.errors import InvalidValue, StorageFailed

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from st8.core.ports import Store

__all__ = ["Sharing", "open_store", "place_of"]

_POSTGRES: Final = ("postgresql", "postgres")


def open_store(url: str, *, make: bool = True, read_only: bool = False) -> Store:
    """Return the store at ``url``, opened.

    ``memory:`` is gone when the process ends; ``sqlite:DIRECTORY`` is the embedded
    store in a state directory, which is made if it is not there;
    ``postgresql://HOST/DATABASE`` is a store that many daemons share. With ``make``
    false, one that is not there is not made. With ``read_only`` nothing is changed, not
    a byte; a state directory that st8d has is refused.

    Raises:
        InvalidValue: The URL names no store that st8 knows.
        St8Error: The store can't be opened; see the stores.
    """
    scheme, _, rest = url.partition(":")
    if scheme == "memory" and not read_only:
        from st8.store.memory import MemoryStore  # noqa: PLC0415 - only when asked for

        return MemoryStore()
    if scheme == "sqlite" and rest:
        from st8.store.sqlite import SqliteStore  # noqa: PLC0415 - only when asked for

        return SqliteStore(Path(rest), make=make, read_only=read_only)
    if scheme in _POSTGRES:
        return _open_postgres(url, make=make, read_only=read_only)
    if scheme == "memory":
        raise InvalidValue("store", "memory: is empty, so there is nothing to read")
    raise _unknown(url)


class Sharing:
    """A store that several processes of one machine are to share.

    Make it in the process that forks them, open it in each of them by its number, and
    close it in the first when all have ended.
    """

    def __init__(self, url: str, number: int) -> None:
        """Prepare the store at ``url`` for processes 0 … ``number`` - 1.

        The embedded one needs somebody to hold its directory, and what its processes
        have in common; what has a server of its own needs nothing.

        Raises:
            InvalidValue: The URL names no store that st8 knows, or one that can't be
                shared.
            St8Error: It can't be had; see the stores.
        """
        scheme, _, rest = url.partition(":")
        if scheme == "memory":
            raise InvalidValue("store", "memory: can't be shared by several processes")
        self._resources = ExitStack()
        if scheme == "sqlite":
            from st8.store.directory import (  # noqa: PLC0415 - only when asked for
                hold_directory,
            )
            from st8.store.peers import Peers  # noqa: PLC0415 - see above
            from st8.store.sqlite import SqliteStore  # noqa: PLC0415 - see above

            peers = self._resources.enter_context(closing(Peers(number)))
            self._resources.enter_context(closing(hold_directory(Path(rest))))
            self.open: Callable[[int], Store] = lambda process: SqliteStore(
                Path(rest), peer=peers.peer(process)
            )
        else:
            place_of(url)
            self.open = lambda _: open_store(url)

    def close(self) -> None:
        """Let go of it."""
        self._resources.close()


def place_of(url: str) -> str:
    """Return where the store at ``url`` is, for people: absolute, without a password.

    Raises:
        InvalidValue: The URL names no store that st8 knows.
        StorageFailed: What it takes to read it is not installed.
    """
    scheme, _, rest = url.partition(":")
    if scheme == "memory":
        return "memory:"
    if scheme == "sqlite" and rest:
        return f"sqlite:{Path(rest).resolve()}"
    if scheme in _POSTGRES:
        with _psycopg_needed():
            from st8.store.postgres.address import (  # noqa: PLC0415 - only when asked
                read_address,
            )
        address = read_address(url)
        return f"{address.place}, schema {address.schema}"
    raise _unknown(url)


def _unknown(url: str) -> InvalidValue:
    # What is cut wrongly may show a password.
    shown = "the URL" if "@" in url else repr(url)
    return InvalidValue(
        "store",
        f"{shown} is not a store; write sqlite:DIRECTORY, "
        "postgresql://USER@HOST/DATABASE or memory:",
    )


def _open_postgres(url: str, *, make: bool, read_only: bool = False) -> Store:
    with _psycopg_needed():
        from st8.store.postgres import PostgresStore  # noqa: PLC0415 - only when asked
    return PostgresStore(url, make=make, read_only=read_only)


@contextmanager
def _psycopg_needed() -> Generator[None]:
    try:
        yield
    except ImportError as error:
        if (error.name or "psycopg").partition(".")[0] != "psycopg":
            raise
        raise StorageFailed(
            "a store in PostgreSQL needs psycopg, which is not installed; install it "
            "with pip install 'st8[postgres]'"
        ) from None
