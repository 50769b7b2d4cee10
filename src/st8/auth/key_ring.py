"""The public keys of an identity provider: what a JWKS document comes to.

A key is used only for the signatures that its own kind makes, whatever a token says
of its algorithm. Keys that are not for signatures, of unknown kinds or too weak are
left out, as RFC 7517 asks; a document with no key left is refused.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

import jwt
import msgspec
from cryptography.exceptions import UnsupportedAlgorithm

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["ALGORITHMS", "KEYS_MAX", "KeyRing", "PublicKey", "read_key_ring"]

ALGORITHMS: Final = (
    "RS256",
    "RS384",
    "RS512",
    "PS256",
    "PS384",
    "PS512",
    "ES256",
    "ES384",
    "ES512",
    "EdDSA",
)
"""Signatures that only the provider can make. ``none`` is no signature, and what
verifies one of the ``HS`` kind could make it too."""

KEYS_MAX: Final = 100
"""Of one provider; those who rotate daily have two or three."""

_RSA_BITS_MIN: Final = 2_048
_CURVES: Final = {"P-256": "ES256", "P-384": "ES384", "P-521": "ES512"}
_PUBLIC: Final = ("kty", "crv", "n", "e", "x", "y")


class PublicKey(NamedTuple):
    """A key, and what it may verify.

    Attributes:
        kid: Its name; None where it has none.
        algorithms: The signatures it may verify.
        key: The key, as the library takes it.
    """

    kid: str | None
    algorithms: frozenset[str]
    key: Any


class _Document(msgspec.Struct):
    keys: list[dict[str, Any]]


_decode: Final = msgspec.json.Decoder(_Document).decode


class KeyRing:
    """Keys by name. Immutable."""

    def __init__(self, keys: tuple[PublicKey, ...]) -> None:
        """Hold ``keys``."""
        self.keys = keys

    def find(self, kid: str | None, algorithm: str) -> PublicKey | None:
        """Return the key named ``kid`` that verifies ``algorithm``; None if not there.

        A token that names no key can mean only the one that there is.
        """
        fit = [key for key in self.keys if algorithm in key.algorithms]
        if kid is not None:
            fit = [key for key in fit if key.kid == kid]
            return fit[0] if fit else None
        return fit[0] if len(fit) == 1 else None


def read_key_ring(data: bytes) -> KeyRing:
    """Return the keys of a JWKS document.

    Raises:
        ValueError: It is none, or has no key that can be used; says why.
    """
    try:
        members = _decode(data).keys
    except (msgspec.MsgspecError, ValueError, RecursionError):
        raise ValueError("is no JSON with a list 'keys' of objects") from None
    if len(members) > KEYS_MAX:
        raise ValueError(f"has {len(members)} keys, where {KEYS_MAX} are allowed")
    found = map(_public_key, members)
    keys = tuple(key for key in found if key is not None)
    if not keys:
        raise ValueError(
            "has no key that verifies signatures: RSA of 2048 bits and more, EC on "
            "P-256, P-384 and P-521, Ed25519 and Ed448 do"
        )
    return KeyRing(keys)


def _public_key(member: Mapping[str, Any]) -> PublicKey | None:
    """Return the key of one member; None if it is not for us."""
    operations = member.get("key_ops", ["verify"])
    if member.get("use", "sig") != "sig" or (
        not isinstance(operations, list) or "verify" not in operations
    ):
        return None
    algorithms = _algorithms(member)
    if "alg" in member:
        algorithms = [name for name in algorithms if name == member["alg"]]
    if not algorithms:
        return None
    # Without its private half, should somebody have published that.
    public = {name: member[name] for name in _PUBLIC if name in member}
    try:
        key = jwt.PyJWK(public, algorithms[0]).key
    except (
        jwt.PyJWTError,
        UnsupportedAlgorithm,
        ValueError,
        TypeError,
        AttributeError,
        OverflowError,
    ):
        return None
    if member["kty"] == "RSA" and key.key_size < _RSA_BITS_MIN:
        return None
    kid = member.get("kid")
    return PublicKey(kid if isinstance(kid, str) else None, frozenset(algorithms), key)


def _algorithms(member: Mapping[str, Any]) -> list[str]:
    """Return the signatures that keys of this kind make."""
    kind, curve = member.get("kty"), member.get("crv")
    if kind == "RSA":
        return [name for name in ALGORITHMS if name[:2] in {"RS", "PS"}]
    if kind == "EC" and isinstance(curve, str) and curve in _CURVES:
        return [_CURVES[curve]]
    return ["EdDSA"] if kind == "OKP" else []
