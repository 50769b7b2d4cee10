"""The URL of a store in PostgreSQL: what libpq is told, and what people are told."""

from __future__ import annotations

import re
from typing import Any, Final, NamedTuple

import psycopg
from psycopg.conninfo import conninfo_to_dict

from st8.core.errors import InvalidValue

__all__ = ["Address", "read_address"]

_SCHEMA: Final = "schema"
_SCHEMA_NAME: Final = re.compile(r"(?!pg_)[a-z_][a-z0-9_]{0,62}")
_PORTS: Final = re.compile(r"[0-9]*(,[0-9]*)*")

_DEFAULTS: Final[dict[str, Any]] = {
    "application_name": "st8d",
    "connect_timeout": 5,
    "gssencmode": "disable",
    # A peer that has gone without a word is noticed after half a minute.
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 4,
    "tcp_user_timeout": 30_000,
}
"""What a URL may say otherwise."""

_SETTINGS: Final[dict[str, str]] = {
    "client_min_messages": "warning",
    "default_transaction_isolation": "read committed",
    "idle_in_transaction_session_timeout": "1min",
    "lock_timeout": "10s",
    "statement_timeout": "30s",
    # All is found by an index, and what the planner knows of a young table is old.
    "enable_seqscan": "off",
    "jit": "off",
    "plan_cache_mode": "force_generic_plan",
}
"""What each session runs with, whatever the server's default is. It is set when a
connection stands: poolers let few settings pass in the request for one."""


class Address(NamedTuple):
    """Where a store is.

    Attributes:
        parameters: What libpq is told; has the password.
        settings: What each session then sets.
        schema: The schema that has the tables.
        place: Server and database, for people.
        user: Who connects, for people.
    """

    parameters: dict[str, Any]
    settings: dict[str, str]
    schema: str
    place: str
    user: str

    def conceal(self, text: str) -> str:
        """Return ``text`` without the password."""
        password = self.parameters.get("password")
        return text.replace(str(password), "***") if password else text


def read_address(url: str) -> Address:
    """Return what a URL says.

    It is a URL as libpq reads it, and ``schema`` is one parameter more.

    Raises:
        InvalidValue: It can't be read. What it says is not repeated: a URL that is
            cut wrongly shows its password in an odd place.
    """
    base, _, query = url.partition("?")
    schema = "st8"
    rest: list[str] = []
    for pair in filter(None, query.split("&")):
        name, _, value = pair.partition("=")
        if name == _SCHEMA:
            schema = value
        else:
            rest.append(pair)
    if not _SCHEMA_NAME.fullmatch(schema):
        raise InvalidValue(
            "store",
            f"the schema {schema!r} of the PostgreSQL URL is not one; write a name of "
            "lower-case letters, digits and _, at most 63, not beginning with pg_",
        )
    given = _read(base + ("?" if rest else "") + "&".join(rest))
    parameters = _DEFAULTS | {k: v for k, v in given.items() if v is not None}
    parameters["client_encoding"] = "UTF8"
    if "," in str(given.get("host") or ""):
        # Several servers, of which one is the primary at a time.
        parameters.setdefault("target_session_attrs", "read-write")
    host = given.get("host") or given.get("hostaddr") or "the local socket"
    port = f":{given['port']}" if given.get("port") else ""
    database = given.get("dbname") or given.get("user") or "the default database"
    return Address(
        parameters,
        _SETTINGS | {"search_path": f'"{schema}"'},
        schema,
        f"PostgreSQL at {host}{port}, database {database}",
        str(given.get("user") or "the default user"),
    )


def _read(url: str) -> dict[str, Any]:
    """Return the parameters of a URL; see :func:`read_address`."""
    try:
        given = conninfo_to_dict(url)
    except psycopg.Error:
        given = None
    # A password with a / in it ends the host, and what is before it is the port.
    if given is None or not _PORTS.fullmatch(str(given.get("port") or "")):
        raise InvalidValue(
            "store",
            "the PostgreSQL URL can't be read; write postgresql://USER:PASSWORD@HOST:"
            "PORT/DATABASE, in which a / : @ or % of a name or password is written "
            "as %2F %3A %40 %25",
        )
    return given
