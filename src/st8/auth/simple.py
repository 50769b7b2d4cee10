"""Access control without a policy file: none at all, or one token for everything."""

from __future__ import annotations

import hashlib
import hmac
from typing import TYPE_CHECKING, Any, Final

from st8.auth.access import ALLOW_ALL, ANYONE, Principal
from st8.core.errors import Unauthenticated

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["ADMIN", "Everybody", "OneToken", "bearer_token"]

ADMIN: Final = Principal("admin", ALLOW_ALL, speaks_for_others=True, method="token")
"""Whoever has the daemon's own token."""


class Everybody:
    """Lets everybody do everything: a daemon without a token."""

    def authenticate(
        self, _authorization: bytes | None, _connection: Mapping[str, Any], /
    ) -> Principal:
        """Return that it does not matter who asks."""
        return ANYONE


class OneToken:
    """Lets those who know the token do everything.

    Digests are compared, in constant time, so neither the token nor its length
    shows in how long a refusal takes, and no copy of it stays in memory.
    """

    def __init__(self, token: str, principal: Principal = ADMIN) -> None:
        """Remember the digest of ``token``, and who has it."""
        self._digest = hashlib.sha256(token.encode()).digest()
        self._principal = principal

    def authenticate(
        self, authorization: bytes | None, _connection: Mapping[str, Any], /
    ) -> Principal:
        """Return the one who knows the token.

        Raises:
            Unauthenticated: The header is absent, of another scheme or wrong.
        """
        digest = hashlib.sha256(bearer_token(authorization)).digest()
        if not hmac.compare_digest(digest, self._digest):
            raise Unauthenticated("the token is not known")
        return self._principal


def bearer_token(authorization: bytes | None) -> bytes:
    """Return the token in a header ``Authorization: Bearer <token>``.

    Raises:
        Unauthenticated: There is none.
    """
    if authorization is None:
        raise Unauthenticated("no token was given")
    scheme, _, token = authorization.partition(b" ")
    if scheme.lower() != b"bearer":
        raise Unauthenticated("the authorization is not of the scheme Bearer")
    return token.strip()
