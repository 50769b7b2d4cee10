"""What a failure of PostgreSQL means, told in a sentence with its remedy.

An error that the server reports has undone its statement: nothing was changed. Where
the connection goes there is no such report, and whoever was committing can't know.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import psycopg

from st8.core.errors import (
    Corrupt,
    InternalError,
    OutcomeUnknown,
    St8Error,
    StorageFailed,
    StorageFull,
)

if TYPE_CHECKING:
    from st8.store.postgres.address import Address

__all__ = [
    "committing",
    "connecting",
    "is_lost",
    "is_overtaken",
    "is_read_only",
    "running",
]

_DIVISION_BY_ZERO: Final = "22012"
"""How the commit statement says that an expectation does not hold."""
_SERIALIZATION_FAILURE: Final = "40001"
_DEADLOCK: Final = "40P01"
_UNIQUE_VIOLATION: Final = "23505"
_OVERTAKEN: Final = frozenset(
    (_DIVISION_BY_ZERO, _SERIALIZATION_FAILURE, _DEADLOCK, _UNIQUE_VIOLATION)
)

_DISK_FULL: Final = "53100"
_READ_ONLY: Final = "25006"
_DAMAGED: Final = frozenset(("XX001", "XX002"))
_MISTAKES: Final = ("22", "23", "42")
"""Classes of errors of what was asked: data, constraints, syntax and names."""
_SHUTDOWNS: Final = frozenset(("57P01", "57P02", "57P03", "57P05"))
_CONNECTION: Final = "08"

_REMEDIES: Final = {
    "25006": "connect to the primary; with several servers in the URL the one that "
    "takes writes is found",
    "42501": "grant the user of the URL what it lacks, best by making it the owner of "
    "the schema",
    # Of a schema that is closed to the user it says the same.
    "42P01": "see that nobody has dropped or renamed the schema, and that the user of "
    "the URL may use it",
    "53200": "give the server more memory, or lower its work_mem or max_connections",
    "53300": "raise max_connections, or put fewer daemons on the server",
    "55P03": "another session holds a lock for long; look at pg_locks",
    "57014": "the server is overloaded, or waits for a standby; look at "
    "pg_stat_activity",
}
"""By SQLSTATE."""

_CONNECTING: Final = (
    ("password authentication failed", "see that user and password are right"),
    ("no password supplied", "write the password in the URL, or use PGPASSFILE"),
    ("no pg_hba.conf entry", "allow this host and user in the server's pg_hba.conf"),
    ("too many ", "raise max_connections, or put fewer daemons on the server"),
    ("connection slots are reserved", "raise max_connections of the server"),
    ("starting up", "it will answer when it has recovered; try again"),
    ("shutting down", "start it again"),
    ("refused", "see that the server runs, and that host and port are right"),
    ("No such file or directory", "see that the server runs, and the socket's path"),
    ("timeout expired", "see that host and port are right and no firewall is between"),
    ("resolve host", "see that the host's name is right"),
    ("session is read-only", "see that one of the servers is the primary"),
    ("does not exist", "make it on the server with createuser or createdb"),
    ("certificate", "see sslmode, sslrootcert and sslcert of the URL"),
)
"""By a part of the text: libpq gives no SQLSTATE before a connection stands."""


def is_lost(error: psycopg.Error) -> bool:
    """Return whether the connection has gone, and with it what the server knew."""
    state = error.sqlstate
    if state is None:
        # Without a word of the server; but values are refused before they are sent.
        return not isinstance(error, psycopg.DataError | psycopg.ProgrammingError)
    return state in _SHUTDOWNS or state.startswith(_CONNECTION)


def is_overtaken(error: psycopg.Error) -> bool:
    """Return whether somebody else was faster: what was expected is not so."""
    return error.sqlstate in _OVERTAKEN


def is_read_only(error: psycopg.Error) -> bool:
    """Return whether this server takes no writes."""
    return error.sqlstate == _READ_ONLY


def connecting(error: psycopg.Error, address: Address) -> StorageFailed:
    """Return the error for a connection that could not be made."""
    text = address.conceal(_sentence(error))
    remedy = next((r for part, r in _CONNECTING if part in text), "try again")
    return StorageFailed(
        f"can't connect to {address.place}, as {address.user}: {text}; {remedy}"
    )


def running(error: psycopg.Error, address: Address) -> St8Error:
    """Return the error for a statement that failed; nothing was changed."""
    state = error.sqlstate or ""
    text = address.conceal(_sentence(error))
    if state == _DISK_FULL:
        return StorageFull(
            f"no space left on {address.place} ({text}); nothing was changed. Free "
            "some space and try again"
        )
    if state in _DAMAGED:
        return Corrupt(f"{address.place} found damage: {text}")
    remedy = _REMEDIES.get(state)
    if remedy is None and state.startswith(_MISTAKES):
        return InternalError(f"{address.place} refused a statement of st8: {text}")
    return StorageFailed(
        f"{address.place} failed: {text}; nothing was changed; {remedy or 'try again'}"
    )


def committing(error: psycopg.Error, address: Address) -> St8Error:
    """Return the error for a commit that was sent and failed."""
    if not is_lost(error):
        return running(error, address)
    return OutcomeUnknown(
        f"the connection to {address.place} was lost during a commit "
        f"({address.conceal(_sentence(error))}): it may or may not have been made. Look "
        "at the branch, or try again with the same idempotency key"
    )


def _sentence(error: psycopg.Error) -> str:
    """Return what the server or libpq said, as part of a sentence."""
    text = error.diag.message_primary or str(error) or type(error).__name__
    lines = text.strip().splitlines()
    line = lines[0] if lines else type(error).__name__
    for noise in ("connection failed: ", "FATAL:  ", "ERROR:  "):
        line = line.replace(noise, "")
    return line.rstrip(".")
