"""Tokens of the policy file, found by the digest of what a client shows."""

from __future__ import annotations

import hmac
from typing import TYPE_CHECKING, NamedTuple

from st8.auth.access import ANYONE, Principal
from st8.core.errors import Unauthenticated
from st8.core.revisions import format_time

if TYPE_CHECKING:
    from collections.abc import Iterable

    from st8.core.ports import Clock

__all__ = ["TokenEntry", "TokenTable"]


class TokenEntry(NamedTuple):
    """One token.

    Attributes:
        digest: Its SHA-256; the token itself is nowhere kept.
        principal: Who has it.
        expires_ns: When it ends; None for never.
    """

    digest: bytes
    principal: Principal
    expires_ns: int | None


# No token has this digest; a token that is not known is compared with it, so that
# it takes the same steps as one that is.
_NOBODY = TokenEntry(bytes(32), ANYONE, None)


class TokenTable:
    """Finds who has a token. Immutable."""

    def __init__(self, entries: Iterable[TokenEntry]) -> None:
        """Remember ``entries``, of which no two have one digest."""
        self._entries = {entry.digest: entry for entry in entries}

    def principal(self, digest: bytes, clock: Clock) -> Principal | None:
        """Return who has the token of this SHA-256; None if nobody does.

        What time the look-up takes depends on digests alone, which nobody can
        choose, and the comparison takes the same time for all of them.

        Raises:
            Unauthenticated: It has expired.
        """
        entry = self._entries.get(digest, _NOBODY)
        if not hmac.compare_digest(entry.digest, digest):
            return None
        if entry.expires_ns is not None and clock.now_ns() >= entry.expires_ns:
            raise Unauthenticated(
                f"the token expired at {format_time(entry.expires_ns)}"
            )
        return entry.principal
