"""What PostgreSQL can say of its own tables and indexes: what pg_amcheck would.

With the extension ``amcheck``, where the database has it and lets this user call it.
It is never made here: a verification changes nothing. The server compares pages with
their checksums by itself, if it was set up with them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import psycopg
from psycopg.pq import TransactionStatus

from st8.core.limits import NAME_BYTES
from st8.core.ports import SelfCheck

if TYPE_CHECKING:
    from st8.store.postgres.connections import Session

__all__ = ["check_schema"]

_EXTENSION: Final = (
    b"SELECT n.nspname FROM pg_extension e JOIN pg_namespace n "
    b"ON n.oid = e.extnamespace WHERE e.extname = 'amcheck'"
)
_RELATIONS: Final = (
    b"SELECT c.oid::bigint, c.relname, c.relkind = 'i' FROM pg_class c "
    b"JOIN pg_namespace n ON n.oid = c.relnamespace LEFT JOIN pg_am a ON a.oid = c.relam "
    b"WHERE n.nspname = $1::name AND (c.relkind = 'r' OR "
    b"(c.relkind = 'i' AND a.amname = 'btree')) ORDER BY c.relname"
)
_OWNED: Final = ("answers", "branches", "checkpoints", "revisions")
_NAMED: Final = ("branches", "checkpoints", "namespaces")
_PROBLEMS_MAX: Final = 100


def check_schema(session: Session, schema: str) -> SelfCheck:
    """Return what is wrong with the tables of a store; may take long.

    ``session`` is changed for it, and good for nothing else afterwards.

    Raises:
        psycopg.Error: The server can't be asked.
    """
    problems: list[str] = []
    for setting in ("statement_timeout = 0", "enable_seqscan = on"):
        session.connection.execute(f"SET {setting}".encode())
    for table in _OWNED:
        [[count]] = session.rows(
            f"SELECT count(*) FROM {table} t WHERE NOT EXISTS "
            "(SELECT FROM namespaces n WHERE n.name = t.namespace)".encode()
        )
        if count:
            problems.append(
                f"{count} row(s) of {table} are of a namespace that is not there"
            )
    for table in _NAMED:
        [[count]] = session.rows(
            f"SELECT count(*) FROM {table} WHERE octet_length(name) "
            f"NOT BETWEEN 1 AND {NAME_BYTES.maximum}".encode()
        )
        if count:
            problems.append(f"{count} row(s) of {table} have a name that can't be")
    [[count]] = session.rows(b"SELECT count(*) FROM revisions WHERE number < 1")
    if count:
        problems.append(f"{count} row(s) of revisions have a number that can't be")
    [[count]] = session.rows(b"SELECT count(*) FROM store")
    if count != 1:
        problems.append(f"the table store has {count} rows and has to have one")
    skipped = ""
    found = session.rows(_EXTENSION)
    if found:
        skipped = _check_relations(session, schema, found[0][0], problems)
    else:
        skipped = (
            "tables and indexes were not looked at from inside, as the database does "
            "not have the extension amcheck; whoever administers it can run pg_amcheck"
        )
    return SelfCheck(problems, skipped)


def _check_relations(
    session: Session, schema: str, extension: str, problems: list[str]
) -> str:
    """Check each table and index; return why not, where that may not be done."""
    name = '"' + extension.replace('"', '""') + '"'
    for oid, relation, is_index in session.rows(_RELATIONS, (schema,)):
        if is_index:
            call = f"SELECT {name}.bt_index_check($1::bigint::oid::regclass, true)"
        else:
            call = (
                f"SELECT blkno, msg FROM {name}.verify_heapam("
                f"$1::bigint::oid::regclass) LIMIT {_PROBLEMS_MAX}"
            )
        try:
            rows = session.rows(call.encode(), (oid,))
        except psycopg.errors.InsufficientPrivilege:
            return (
                "tables and indexes were not looked at from inside, as this user may "
                "not call amcheck; whoever administers the database can run pg_amcheck"
            )
        except psycopg.Error as error:
            if session.connection.pgconn.transaction_status != TransactionStatus.IDLE:
                raise
            said = str(error).partition("\n")[0]
            problems.append(f"amcheck says of {relation}: {said}")
            continue
        if not is_index:
            problems += [
                f"amcheck says of {relation}, page {page}: {said}"
                for page, said in rows
            ]
    return ""
