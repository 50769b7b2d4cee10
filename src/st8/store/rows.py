"""Rows that vouch for themselves.

Objects and revisions are found out by their digests when a bit of them flips. Refs
have none, so each row of theirs carries a seal: the first eight bytes of the SHA-256
of its values. It is no defence against a forger, who can seal too; the chain of
revision digests is. It is what keeps a damaged disk from being believed.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

from st8.core.errors import Corrupt
from st8.core.ids import digest_prefix
from st8.core.ports import Answer, AnswerAt
from st8.core.redactions import Redaction

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["BRANCH", "CHECKPOINT", "answer_at", "redaction_of", "seal", "unsealed"]

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
        Corrupt: The seal is not that of the row, or a value has another type.
    """
    values = row[:-1]
    if tuple(map(type, values)) != types or seal(owner, *values) != row[-1]:
        raise Corrupt(f"a row of the store, of {owner!r}, does not match its seal")
    return values


def answer_at(row: Sequence[Any]) -> tuple[AnswerAt, Answer]:
    """Return the answer of a row that its namespace stands before.

    Raises:
        Corrupt: See :func:`unsealed`.
    """
    namespace, *sealed = row
    key, request, revision, noop, expires_ns = unsealed(
        sealed, namespace, str, bytes, int, int, int
    )
    return (namespace, key), Answer(request, revision, bool(noop), expires_ns)


def redaction_of(row: Sequence[Any]) -> Redaction:
    """Return the redaction of a row.

    Raises:
        Corrupt: See :func:`unsealed`.
    """
    return Redaction(*unsealed(row, "redactions", bytes, str, str, str, str, int))
