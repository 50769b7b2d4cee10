"""Who asks, and whether they may: the seam that policies plug into.

Every request passes :meth:`Authoriser.authenticate` and then, for each place that
it reaches, :meth:`Authoriser.authorise`, before anything is done. There is no other
way in.
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from st8.core.errors import Unauthenticated

if TYPE_CHECKING:
    from collections.abc import Mapping

    from st8.http.operations import Operation
    from st8.http.plans import Reach

__all__ = ["ANYONE", "Authoriser", "Everybody", "OneToken", "Principal"]


@dataclass(frozen=True, slots=True)
class Principal:
    """Who asks.

    Attributes:
        name: What logs call them; empty where nobody has to say who they are.
    """

    name: str


ANYONE = Principal("")


class Authoriser(Protocol):
    """Decides who asks and what they may. Called on the event loop: never blocks."""

    def authenticate(
        self, authorization: bytes | None, connection: Mapping[str, Any], /
    ) -> Principal:
        """Return who asks.

        Args:
            authorization: The header of that name; None if it is absent.
            connection: The ASGI connection scope, for what else can prove who
                asks, such as a client certificate.

        Raises:
            Unauthenticated: It can't be told.
        """
        ...

    def authorise(
        self, principal: Principal, operation: Operation, reach: Reach | None
    ) -> None:
        """Return if ``principal`` may do ``operation`` there.

        ``reach`` is None for what touches no namespace.

        Raises:
            Forbidden: They may not.
        """
        ...


class Everybody:
    """Lets everybody do everything: a daemon without a token."""

    def authenticate(
        self, _authorization: bytes | None, _connection: Mapping[str, Any], /
    ) -> Principal:
        """Return that it does not matter who asks."""
        return ANYONE

    def authorise(
        self, principal: Principal, operation: Operation, reach: Reach | None
    ) -> None:
        """Return: they may."""


class OneToken:
    """Lets those who know the token do everything.

    Digests are compared, in constant time, so neither the token nor its length
    shows in how long a refusal takes, and no copy of it stays in memory.
    """

    def __init__(self, token: str) -> None:
        """Remember the digest of ``token``."""
        self._digest = hashlib.sha256(token.encode()).digest()
        self._principal = Principal("token")

    def authenticate(
        self, authorization: bytes | None, _connection: Mapping[str, Any], /
    ) -> Principal:
        """Return the one who knows the token.

        Raises:
            Unauthenticated: The header is absent, of another scheme or wrong.
        """
        if authorization is None:
            raise Unauthenticated("no token was given")
        scheme, _, token = authorization.partition(b" ")
        if scheme.lower() != b"bearer":
            raise Unauthenticated("the authorization is not of the scheme Bearer")
        digest = hashlib.sha256(token.strip()).digest()
        if not hmac.compare_digest(digest, self._digest):
            raise Unauthenticated("the token is not known")
        return self._principal

    def authorise(
        self, principal: Principal, operation: Operation, reach: Reach | None
    ) -> None:
        """Return: whoever knows the token may do everything."""
