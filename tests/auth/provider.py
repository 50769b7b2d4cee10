"""An identity provider: keys, the document that publishes them, tokens."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from typing import TYPE_CHECKING, Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

if TYPE_CHECKING:
    from collections.abc import Mapping

    from st8.auth.policy import PolicyAuthoriser
    from tests.auth.policies import Policies

ISSUER = "https://login.internal"
AUDIENCE = "st8"
NOW_S = 1_767_225_600  # what the fake clock shows first

PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey


class IdentityProvider:
    """Signs tokens with keys that it names; the first one is ``one``."""

    def __init__(self) -> None:
        self.keys: dict[str, PrivateKey] = {
            "one": rsa.generate_private_key(65_537, 2_048)
        }

    def jwks(self, *kids: str, **more: object) -> dict[str, Any]:
        """Return the document that publishes these keys, or all of them."""
        listed = kids or tuple(self.keys)
        return {"keys": [as_jwk(self.keys[kid], kid=kid, **more) for kid in listed]}

    def token(
        self,
        claims: Mapping[str, object] | None = None,
        *,
        kid: str | None = "one",
        algorithm: str = "RS256",
        headers: Mapping[str, object] | None = None,
    ) -> str:
        """Return a token; ``claims`` beat the usual ones, and None leaves one out."""
        usual = {"iss": ISSUER, "aud": AUDIENCE, "sub": "anna", "exp": NOW_S + 600}
        payload = {
            name: value
            for name, value in {**usual, **(claims or {})}.items()
            if value is not None
        }
        named = {} if kid is None else {"kid": kid}
        data = json.dumps(payload).encode()
        return jwt.PyJWS().encode(
            data,
            self.keys[kid or "one"],
            algorithm=algorithm,
            headers={**named, **(headers or {})},
        )


def as_jwk(key: PrivateKey, **more: object) -> dict[str, Any]:
    """Return the public half of a key as a member of a JWKS document."""
    public = key.public_key()
    if isinstance(public, rsa.RSAPublicKey):
        member = RSAAlgorithm.to_jwk(public, as_dict=True)
    elif isinstance(public, ec.EllipticCurvePublicKey):
        member = ECAlgorithm.to_jwk(public, as_dict=True)
    else:
        member = OKPAlgorithm.to_jwk(public, as_dict=True)
    return {**member, **more}


def pem_of(key: PrivateKey) -> bytes:
    """Return the public half of a key as PEM."""
    return key.public_key().public_bytes(
        Encoding.PEM, PublicFormat.SubjectPublicKeyInfo
    )


def by_hand(header: object, payload: object, secret: bytes | None = None) -> str:
    """Return a token of any header and payload; with a secret, signed by HMAC."""
    parts = [_encoded(json.dumps(part).encode()) for part in (header, payload)]
    signed = ".".join(parts).encode()
    signature = (
        b"" if secret is None else hmac.new(secret, signed, hashlib.sha256).digest()
    )
    return ".".join([*parts, _encoded(signature)])


def _encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def publish(policies: Policies, document: object) -> None:
    """Write the file of keys."""
    text = json.dumps(document)
    (policies.folder / "keys.json").write_text(text, encoding="utf-8")


def load(
    policies: Policies,
    provider: IdentityProvider,
    text: str,
) -> PolicyAuthoriser:
    """Return the authoriser of a policy whose keys are those of ``provider``."""
    publish(policies, provider.jwks())
    return policies.load(text)
