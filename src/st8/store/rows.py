"""Rows that vouch for themselves.

Objects and revisions are found out by their digests when a bit of them flips. Refs
have none, so each row of theirs carries a seal: the first eight bytes of the SHA-256
of its values. It is no defence against a forger, who can seal too; the chain of
revision digests is. It is what keeps a damaged disk from being believed.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any, cast

from st8.core.ids import digest_prefix
from st8.core.ports import Answer, AnswerAt, DamagedRow
from st8.core.redactions import Redaction
from st8.core.revisions import NamespaceInfo

if TYPE_CHECKING:
    from collections.abc import Sequence

    from st8.core.ids import Namespace

__all__ = [
    "BRANCH",
    "CHECKPOINT",
    "answer_at",
    "asked_for",
    "namespace_at",
    "redaction_of",
    "seal",
    "unsealed",
]

BRANCH = (str, int, int, int, bytes)
CHECKPOINT = (str, int, bytes, str, str, str, int)


def seal(*values: str | int | bytes) -> int:
    """Return the seal of a row with these values.

    Each value is written as its length in bytes, a colon, and its bytes: text as
    UTF-8, an integer as decimal digits.
    """
    hasher = hashlib.sha256()
    for value in values:
        if isinstance(value, int):
            data = b"%d" % value
        else:
            data = value if isinstance(value, bytes) else value.encode()
        hasher.update(b"%d:" % len(data))
        hasher.update(data)
    return digest_prefix(hasher.digest())


def unsealed(row: Sequence[Any], owner: str, *types: type) -> Sequence[Any]:
    """Return a row without the seal at its end, which was made with ``owner``.

    Raises:
        DamagedRow: The seal is not that of the row, or a value has another type.
    """
    values = row[:-1]
    if tuple(map(type, values)) != types or seal(owner, *values) != row[-1]:
        raise DamagedRow(owner, _texts(values[:1]))
    return values


def asked_for(row: Sequence[Any], name: str, owner: str) -> Sequence[Any]:
    """Return a row that was asked for by its name, which it begins with.

    A damaged index can lead to another one, whole in itself.

    Raises:
        DamagedRow: It is of another name.
    """
    if row[0] != name:
        raise DamagedRow(owner, _texts(row[:1]))
    return row


def namespace_at(row: Sequence[Any]) -> NamespaceInfo:
    """Return the namespace of a row: its name, its newest number and its seal.

    Raises:
        DamagedRow: See :func:`unsealed`.
    """
    name, *sealed = row
    if not isinstance(name, str):
        raise DamagedRow(repr(name), ())
    try:
        last = unsealed(sealed, name, int)[0]
    except DamagedRow:
        raise DamagedRow(name, (name,)) from None
    return NamespaceInfo(cast("Namespace", name), last)


def _texts(values: Sequence[Any]) -> tuple[str, ...]:
    return tuple(values) if all(isinstance(value, str) for value in values) else ()


def answer_at(row: Sequence[Any]) -> tuple[AnswerAt, Answer]:
    """Return the answer of a row that its namespace stands before.

    Raises:
        DamagedRow: See :func:`unsealed`.
    """
    namespace, *sealed = row
    if not isinstance(namespace, str):
        raise DamagedRow(repr(namespace), ())
    try:
        key, request, revision, noop, expires_ns = unsealed(
            sealed, namespace, str, bytes, int, int, int
        )
    except DamagedRow:
        raise DamagedRow(namespace, _texts(row[:2])) from None
    return (cast("Namespace", namespace), key), Answer(
        request, revision, bool(noop), expires_ns
    )


def redaction_of(row: Sequence[Any]) -> Redaction:
    """Return the redaction of a row.

    Raises:
        DamagedRow: See :func:`unsealed`.
    """
    return Redaction(*unsealed(row, "redactions", bytes, str, str, str, str, int))
