"""Tokens of identity providers (JWT): verified, and turned into who asks.

PyJWT checks form, signature, issuer and audience. Times are compared here, with the
clock that everything else has. Whatever a token says of where its key is (``jku``,
``jwk``, ``x5u``, ``x5c``) is not looked at: keys come from the policy file's place
alone.
"""

from __future__ import annotations

import math
import threading
from collections import OrderedDict
from typing import TYPE_CHECKING, Any, Final, NamedTuple, NoReturn

import jwt

from st8.auth.access import Access, Principal
from st8.auth.claims import claim
from st8.core.errors import InvalidInput, Unauthenticated
from st8.core.ids import Author
from st8.core.revisions import format_time

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from st8.auth.access import Protection
    from st8.auth.claims import ClaimRule
    from st8.auth.key_ring import KeyRing
    from st8.auth.key_source import KeyPlace, KeySource
    from st8.core.ports import Clock

__all__ = ["REMEMBERED_MAX", "TOKEN_BYTES_MAX", "IdentityTokens", "Provider"]

TOKEN_BYTES_MAX: Final = 16 * 1024
"""Half of what all headers may have; a user in two hundred groups fits."""

REMEMBERED_MAX: Final = 10_000
"""Verified tokens that need not be verified again; 500 bytes each."""

_SECOND_NS: Final = 1_000_000_000
_NOT_VERIFIED: Final = "the token's signature, or its form, is not right"


class Provider(NamedTuple):
    """An identity provider.

    Attributes:
        issuer: What its tokens have as ``iss``.
        audiences: Of which they must have one as ``aud``.
        place: Where its keys are.
        algorithms: The signatures that are taken.
        name_claim: The claim that says who it is.
        name_prefix: What is put before that.
        leeway_s: Seconds that its clock may differ from ours.
        rules: What is allowed to whom.
    """

    issuer: str
    audiences: tuple[str, ...]
    place: KeyPlace
    algorithms: tuple[str, ...]
    name_claim: str
    name_prefix: str
    leeway_s: float
    rules: tuple[ClaimRule, ...]


class _Remembered(NamedTuple):
    """A token that was verified with the keys of ``ring``."""

    principal: Principal
    ends_ns: int
    source: KeySource
    ring: KeyRing


class IdentityTokens:
    """Tells who has a token of one of the providers. Any thread may ask."""

    def __init__(
        self,
        providers: Iterable[tuple[Provider, KeySource]],
        clock: Clock,
        *,
        taken: Collection[str],
        protections: tuple[Protection, ...],
    ) -> None:
        """Take tokens of ``providers``, each with the source of its keys.

        Args:
            providers: No two with one issuer.
            clock: Tells which tokens have expired.
            taken: Names that no token may claim, as others have them.
            protections: What is asked of all who write.
        """
        self._providers = {
            provider.issuer: (provider, source) for provider, source in providers
        }
        self._clock = clock
        self._taken = frozenset(taken)
        self._protections = protections
        self._lock = threading.Lock()
        self._remembered: OrderedDict[bytes, _Remembered] = OrderedDict()
        self._accesses: dict[tuple[str, tuple[int, ...]], Access] = {}

    def principal(self, token: bytes, digest: bytes) -> Principal | None:
        """Return who has ``token``; None if it is not of this kind.

        Args:
            token: As the client showed it.
            digest: Its SHA-256.

        Raises:
            Unauthenticated: It is, and nobody is to be believed who shows it.
        """
        if not self._providers or token.count(b".") != 2:  # noqa: PLR2004 - of a JWT
            return None
        found = self._recall(digest)
        if found is not None:
            return found
        if len(token) > TOKEN_BYTES_MAX:
            raise Unauthenticated(f"the token is longer than {TOKEN_BYTES_MAX} bytes")
        remembered = self._verify(token)
        with self._lock:
            self._remembered[digest] = remembered
            if len(self._remembered) > REMEMBERED_MAX:
                self._remembered.popitem(last=False)
        return remembered.principal

    def _recall(self, digest: bytes) -> Principal | None:
        """Return who showed the token before; None if it must be verified."""
        with self._lock:
            found = self._remembered.get(digest)
            if found is None:
                return None
            if (
                found.source.ring is not found.ring
                or self._clock.now_ns() >= found.ends_ns
            ):
                del self._remembered[digest]
                return None
            self._remembered.move_to_end(digest)
        return found.principal

    def _verify(self, token: bytes) -> _Remembered:
        """Return who has ``token``, and until when."""
        try:
            said = jwt.decode_complete(token, options={"verify_signature": False})
        except (jwt.PyJWTError, ValueError, RecursionError):
            raise Unauthenticated("the token is not known") from None
        header, issuer = said["header"], said["payload"].get("iss")
        known = self._providers.get(issuer) if isinstance(issuer, str) else None
        if known is None:
            raise Unauthenticated("the token's issuer is not known")
        provider, source = known
        algorithm = header.get("alg")
        if not isinstance(algorithm, str) or algorithm not in provider.algorithms:
            raise Unauthenticated(
                "the token is signed in a way that is not taken; "
                f"{', '.join(provider.algorithms)} are"
            )
        ring, key = _find_key(source, header.get("kid"), algorithm)
        claims = _verified(token, key, algorithm, provider)
        ends_ns = _check_times(claims, self._clock.now_ns(), provider.leeway_s)
        return _Remembered(self._known(provider, claims), ends_ns, source, ring)

    def _known(self, provider: Provider, claims: Mapping[str, Any]) -> Principal:
        """Return who the claims are about, with what they may."""
        name = claim(claims, provider.name_claim)
        if not isinstance(name, str) or not name.strip():
            _refuse_name(provider)
        try:
            author = Author(provider.name_prefix + name)
        except InvalidInput:
            _refuse_name(provider)
        if author in self._taken or author != author.strip():
            _refuse_name(provider)
        counting = tuple(
            place for place, rule in enumerate(provider.rules) if rule.counts(claims)
        )
        return Principal(
            author,
            self._access(provider, counting),
            self._protections,
            any(provider.rules[place].speaks_for_others for place in counting),
            "jwt",
        )

    def _access(self, provider: Provider, counting: tuple[int, ...]) -> Access:
        """Return what these rules come to; the same for all whom they count for."""
        place = (provider.issuer, counting)
        found = self._accesses.get(place)
        if found is None:
            found = Access(rule for at in counting for rule in provider.rules[at].rules)
            if len(self._accesses) >= REMEMBERED_MAX:
                self._accesses.clear()
            self._accesses[place] = found
        return found


def _find_key(source: KeySource, kid: object, algorithm: str) -> tuple[KeyRing, Any]:
    """Return the key that a token names, and the ring it is on."""
    ring = source.ring
    if ring is None:
        raise Unauthenticated(
            "the keys of the token's issuer could not be read yet, st8d's log says why"
        )
    key = ring.find(kid if isinstance(kid, str) else None, algorithm)
    if key is None:
        source.look_early()
        raise Unauthenticated(
            "the token is signed with a key that is not known; if the key is new, try "
            "again in a minute"
        )
    return ring, key.key


def _verified(
    token: bytes, key: Any, algorithm: str, provider: Provider
) -> dict[str, Any]:
    """Return the claims of a token whose signature, issuer and audience are right."""
    try:
        return jwt.decode(
            token,
            key,
            algorithms=[algorithm],
            audience=provider.audiences,
            issuer=provider.issuer,
            options={
                "require": ["exp"],
                "verify_exp": False,
                "verify_nbf": False,
                "verify_iat": False,
                "verify_sub": False,
                "verify_jti": False,
            },
        )
    except (jwt.InvalidAudienceError, jwt.MissingRequiredClaimError) as error:
        missing = getattr(error, "claim", "aud")
        raise Unauthenticated(
            "the token does not say when it expires"
            if missing == "exp"
            else "the token is meant for another audience"
        ) from None
    except (jwt.PyJWTError, ValueError, TypeError, RecursionError):
        raise Unauthenticated(_NOT_VERIFIED) from None


def _check_times(claims: Mapping[str, Any], now_ns: int, leeway_s: float) -> int:
    """Return when a token ends, which is later than now.

    Raises:
        Unauthenticated: It has ended, or has not begun.
    """
    leeway_ns = round(leeway_s * _SECOND_NS)
    exp_ns = _time_ns(claims, "exp")
    if now_ns >= exp_ns + leeway_ns:
        raise Unauthenticated(f"the token expired at {format_time(max(exp_ns, 0))}")
    for name in ("nbf", "iat"):
        if claims.get(name) is not None and (
            _time_ns(claims, name) > now_ns + leeway_ns
        ):
            raise Unauthenticated("the token is not valid yet")
    return exp_ns + leeway_ns


def _time_ns(claims: Mapping[str, Any], name: str) -> int:
    """Return a claim that is a time, in nanoseconds."""
    seconds = claims.get(name)
    if isinstance(seconds, bool) or not isinstance(seconds, int | float):
        raise Unauthenticated(f"the token's claim {name!r} is no time")
    if isinstance(seconds, float) and not math.isfinite(seconds):
        raise Unauthenticated(f"the token's claim {name!r} is no time")
    return int(seconds) * _SECOND_NS


def _refuse_name(provider: Provider) -> NoReturn:
    raise Unauthenticated(
        f"the token's claim {provider.name_claim!r} is no name that may be used here"
    )
