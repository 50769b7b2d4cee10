"""A batch as one statement, so that a commit is one round trip and one fsync.

The statement first lets the one go first whose turn it is. It locks what all writers of
the same things lock in the same order: the row of the store, shared, and the rows of the
namespaces. Then it compares, and the rest is done only if the format and the epoch of the
store and the numbers of the namespaces are as expected. A branch or checkpoint is compared
where it is set; if one is not as expected the statement fails by a division by zero, which
undoes all of it.

It has one part for each kind of thing in the batch. A part takes arrays, one for each
column, so the text depends on the kinds alone and is planned once by each connection.

In READ COMMITTED the statement sees what was committed before it began, but a row that
it locks or changes is taken as it is when the lock is got, and its conditions are
looked at again. All that is compared here is compared on such rows.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from st8.store.postgres.schema import FORMAT
from st8.store.postgres.turns import NO_TURN
from st8.store.postgres.values import Bigints, Binaries, Texts
from st8.store.rows import seal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from st8.core.ids import Digest
    from st8.core.ports import Batch

__all__ = ["Commit", "commit_of"]

_ANSWERS_FORGOTTEN: Final = 64
"""Expired answers deleted by a commit that adds some."""

_PATIENCE_S: Final = 0.02
"""How long a commit lets the one go first whose turn it is."""

_AGREED: Final = "EXISTS (SELECT FROM agreed)"

_HEAD: Final = f"""
WITH collected AS MATERIALIZED (
  SELECT epoch FROM store WHERE epoch = $1::bigint AND format = {FORMAT} AND (
    SELECT CASE WHEN $8::bigint = {NO_TURN} THEN true
      WHEN pg_try_advisory_xact_lock_shared($8::bigint) THEN true
      ELSE length(pg_sleep({_PATIENCE_S})::text) = 0 END) FOR SHARE
), named AS MATERIALIZED (
  SELECT name, last_revision FROM namespaces
  WHERE name = ANY ($2::text[]) AND EXISTS (SELECT FROM collected)
  ORDER BY name FOR NO KEY UPDATE
), expected AS MATERIALIZED (
  SELECT * FROM unnest($4::text[], $5::bigint[], $6::bigint[], $7::bigint[])
    AS e (name, expected, last, seal)
), agreed AS MATERIALIZED (
  SELECT epoch FROM collected WHERE NOT EXISTS (
    SELECT FROM expected LEFT JOIN named USING (name)
    WHERE coalesce(last_revision, 0) <> expected)
), n1 AS (
  UPDATE namespaces n SET last_revision = e.last, seal = e.seal
  FROM expected e WHERE n.name = e.name AND n.name = ANY ($4::text[]) AND {_AGREED}
  RETURNING 1
)"""
_HEAD_VALUES: Final = 8

_TAIL: Final = f"""
SELECT {_AGREED},
  CASE WHEN {_AGREED} THEN 1 / (CASE WHEN {{counts}} = $3::bigint THEN 1 ELSE 0 END)
  -- Nothing is written, so there is nothing to wait for.
  ELSE length(set_config('synchronous_commit', 'off', true)) END,
  {{differing}}"""


class _Kind(NamedTuple):
    """A part of the statement: its text, and the types of the arrays it takes.

    In the text ``{rows}`` stands for the arrays as rows, ``{first}`` and ``{second}``
    for two of them, ``{last}`` for the parameter after them. ``counted`` parts return a
    row for each thing that was as expected.
    """

    text: str
    types: tuple[str, ...]
    counted: bool = False
    with_limit: bool = False

    def columns(self, rows: Iterable[Sequence[Any]]) -> list[Any]:
        """Return rows, at least one, as the arrays that it takes."""
        return _columns(self.types, rows)


_ARRAYS: Final[Mapping[str, Callable[[Iterable[Any]], object]]] = {
    "bigint": Bigints,
    "bytea": Binaries,
    "text": Texts,
}

_BRANCH: Final = "base, since, head, head_digest"
_BRANCH_TYPES: Final = ("bigint", "bigint", "bigint", "bytea")
_CHECKPOINT: Final = "revision, digest, branch, description, author, time_ns"
_CHECKPOINT_TYPES: Final = ("bigint", "bytea", "text", "text", "text", "bigint")


def _refs(
    table: str, columns: str, types: tuple[str, ...]
) -> tuple[_Kind, _Kind, _Kind]:
    """Return the parts that move, make and take away refs of a table."""
    names = columns.split(", ")
    at = ("text", "text")
    old = ", ".join(f"old_{name}" for name in names)
    expected = ", ".join(f"m.old_{name}" for name in names)
    stored = ", ".join(f"t.{name}" for name in names)
    assigned = ", ".join(f"{name} = m.{name}" for name in (*names, "seal"))
    # By the index, whatever the plan: the join alone may be planned as a scan while
    # the table is small, and the plan is kept when it has grown.
    where = (
        "t.namespace = ANY ({first}) AND t.name = ANY ({second}) "
        "AND t.namespace = m.namespace AND t.name = m.name "
        f"AND ({stored}) = ({expected}) AND {_AGREED} RETURNING 1"
    )
    new = f"{columns}, seal"
    return (
        _Kind(
            f"UPDATE {table} t SET {assigned} "
            f"FROM {{rows}} AS m (namespace, name, {old}, {new}) WHERE {where}",
            (*at, *types, *types, "bigint"),
            counted=True,
        ),
        _Kind(
            f"INSERT INTO {table} (namespace, name, {new}) "
            f"SELECT * FROM {{rows}} AS m WHERE {_AGREED} "
            "ON CONFLICT DO NOTHING RETURNING 1",
            (*at, *types, "bigint"),
            counted=True,
        ),
        _Kind(
            f"DELETE FROM {table} t USING {{rows}} "
            f"AS m (namespace, name, {old}) WHERE {where}",
            (*at, *types),
            counted=True,
        ),
    )


_MOVED_BRANCHES, _MADE_BRANCHES, _GONE_BRANCHES = _refs(
    "branches", _BRANCH, _BRANCH_TYPES
)
_MOVED_CHECKPOINTS, _MADE_CHECKPOINTS, _GONE_CHECKPOINTS = _refs(
    "checkpoints", _CHECKPOINT, _CHECKPOINT_TYPES
)

_MADE_NAMESPACES: Final = _Kind(
    "INSERT INTO namespaces (name, last_revision, seal) "
    f"SELECT name, last, seal FROM expected WHERE expected = 0 AND {_AGREED} "
    "AND name <> ALL (SELECT name FROM named) "
    "ORDER BY name ON CONFLICT DO NOTHING RETURNING 1",
    (),
    counted=True,
)
_OBJECTS: Final = _Kind(
    # Others that put the same ones wait here, all in the order of digests.
    "INSERT INTO objects (epoch, digest, data) "
    f"SELECT $1::bigint, digest, data FROM {{rows}} AS m (digest, data) WHERE {_AGREED} "
    "ON CONFLICT (digest) DO UPDATE SET epoch = EXCLUDED.epoch "
    "WHERE objects.epoch < EXCLUDED.epoch",
    ("bytea", "bytea"),
)
_DIFFERING: Final = (
    "(SELECT array_agg(o.digest) FROM objects o "
    "JOIN {rows} AS m (digest, data) USING (digest) WHERE o.data <> m.data)"
)
_REVISIONS: Final = _Kind(
    "INSERT INTO revisions (namespace, number, data, seal) "
    f"SELECT * FROM {{rows}} AS m WHERE {_AGREED}",
    ("text", "bigint", "bytea", "bigint"),
)
_ANSWERS: Final = _Kind(
    "INSERT INTO answers "
    "(namespace, key, request, revision, noop, expires_ns, seal) "
    f"SELECT * FROM {{rows}} AS m WHERE {_AGREED} "
    "ON CONFLICT (namespace, key) DO UPDATE SET request = EXCLUDED.request, "
    "revision = EXCLUDED.revision, noop = EXCLUDED.noop, "
    "expires_ns = EXCLUDED.expires_ns, seal = EXCLUDED.seal",
    ("text", "text", "bytea", "bigint", "bigint", "bigint", "bigint"),
)
_FORGOTTEN: Final = _Kind(
    # Not those that are set again: a statement changes a row once.
    "DELETE FROM answers WHERE (namespace, key) IN ("
    "SELECT namespace, key FROM answers a WHERE expires_ns < {last}::bigint "
    "AND NOT EXISTS (SELECT FROM {rows} AS m (namespace, key) "
    "WHERE m.namespace = a.namespace AND m.key = a.key) "
    f"AND {_AGREED} ORDER BY expires_ns "
    f"LIMIT {_ANSWERS_FORGOTTEN} + cardinality({{first}}) FOR UPDATE SKIP LOCKED)",
    ("text", "text"),
    with_limit=True,
)


class Commit(NamedTuple):
    """A statement that commits a batch, with its values.

    Its only row says whether all was as expected, nothing, and the digests of objects
    that are there with other bytes.
    """

    statement: bytes
    values: list[object]


def commit_of(batch: Batch, packed: Mapping[Digest, bytes], turn: int) -> Commit:
    """Return how a batch is committed.

    Args:
        batch: The batch.
        packed: Its objects, packed.
        turn: The lock of who goes first, or ``NO_TURN``; see :class:`Turns`.
    """
    parts: list[tuple[_Kind, list[Any]]] = []
    if any(not expected for expected, _ in batch.namespaces.values()):
        parts.append((_MADE_NAMESPACES, []))
    parts += _ref_parts(batch.branches, _MOVED_BRANCHES, _MADE_BRANCHES, _GONE_BRANCHES)
    parts += _ref_parts(
        batch.checkpoints, _MOVED_CHECKPOINTS, _MADE_CHECKPOINTS, _GONE_CHECKPOINTS
    )
    if packed:
        parts.append((_OBJECTS, _OBJECTS.columns(sorted(packed.items()))))
    if batch.revisions:
        rows = [
            (namespace, number, data, seal(namespace, number, data))
            for namespace, records in batch.revisions.items()
            for number, data in records
        ]
        parts.append((_REVISIONS, _REVISIONS.columns(rows)))
    if batch.answers:
        answers = [
            (*at, *answer, seal(*at, *answer)) for at, answer in batch.answers.items()
        ]
        parts += [
            (_ANSWERS, _ANSWERS.columns(answers)),
            (_FORGOTTEN, [*_FORGOTTEN.columns(batch.answers), batch.now_ns]),
        ]
    values = [value for _, arrays in parts for value in arrays]
    return Commit(
        _statement(tuple(kind for kind, _ in parts)),
        [*_head_values(batch), turn, *values],
    )


def _head_values(batch: Batch) -> list[object]:
    """Return what the head of the statement takes."""
    owners = {*batch.namespaces, *(at[0] for at in batch.branches)}
    owners.update(at[0] for at in batch.checkpoints)
    expected = [
        (name, expected, last, seal(name, last))
        for name, (expected, last) in batch.namespaces.items()
    ]
    things = len(expected) + len(batch.branches) + len(batch.checkpoints)
    return [
        batch.epoch,
        Texts(sorted(owners)),
        things,
        *_columns(("text", "bigint", "bigint", "bigint"), expected),
    ]


def _ref_parts(
    refs: Mapping[Any, tuple[Any, Any]],
    moved: _Kind,
    made: _Kind,
    gone: _Kind,
) -> list[tuple[_Kind, list[Any]]]:
    """Return the parts that set branches or checkpoints."""
    rows: dict[_Kind, list[tuple[Any, ...]]] = {}
    for (namespace, name), (expected, new) in refs.items():
        sealed = () if new is None else (*new[1:], seal(namespace, *new))
        if expected is None:
            rows.setdefault(made, []).append((namespace, name, *sealed))
        else:
            kind = gone if new is None else moved
            rows.setdefault(kind, []).append((namespace, name, *expected[1:], *sealed))
    return [(kind, kind.columns(some)) for kind, some in rows.items()]


def _columns(types: Sequence[str], rows: Iterable[Sequence[Any]]) -> list[Any]:
    """Return rows as arrays, one for each column."""
    columns = list(zip(*rows, strict=True)) or [()] * len(types)
    return [_ARRAYS[name](c) for name, c in zip(types, columns, strict=True)]


@lru_cache(maxsize=256)
def _statement(kinds: tuple[_Kind, ...]) -> bytes:
    """Return the text of a statement of these parts."""
    text = [_HEAD]
    counted = ["n1"]
    differing = "NULL"
    place = _HEAD_VALUES + 1
    for number, kind in enumerate(kinds, 2):
        arrays = [f"${place + i}::{name}[]" for i, name in enumerate(kind.types)]
        rows = f"unnest({', '.join(arrays)})"
        place += len(kind.types)
        first, second, *_ = (*arrays, "", "")
        body = kind.text.format(rows=rows, first=first, second=second, last=f"${place}")
        place += kind.with_limit
        text.append(f", n{number} AS (\n  {body})")
        if kind.counted:
            counted.append(f"n{number}")
        if kind is _OBJECTS:
            differing = _DIFFERING.format(rows=rows)
    counts = " + ".join(f"(SELECT count(*) FROM {name})" for name in counted)
    text.append(_TAIL.format(counts=counts, differing=differing))
    return "".join(text).encode()
