"""Documents of keys: which keys are taken, and for what."""

from __future__ import annotations

import json
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from hypothesis import given
from hypothesis import strategies as st
from jwt.algorithms import RSAAlgorithm

from st8.auth.key_ring import KEYS_MAX, KeyRing, read_key_ring
from tests.auth.provider import as_jwk

RSA = rsa.generate_private_key(65_537, 2_048)
WEAK = rsa.generate_private_key(65_537, 1_024)  # noqa: S505 - weak on purpose
EC = ec.generate_private_key(ec.SECP256R1())
ED = ed25519.Ed25519PrivateKey.generate()
RSA_ALGORITHMS = ["PS256", "PS384", "PS512", "RS256", "RS384", "RS512"]


def ring_of(*members: object) -> KeyRing:
    """Return the ring of these members, and of one key that will always do."""
    good = as_jwk(EC, kid="good")
    return read_key_ring(json.dumps({"keys": [*members, good], "more": 1}).encode())


@pytest.mark.parametrize(
    ("member", "algorithms"),
    [
        (as_jwk(RSA), RSA_ALGORITHMS),
        (as_jwk(RSA, use="sig", key_ops=["verify"], x5c=["x"]), RSA_ALGORITHMS),
        (as_jwk(RSA, alg="RS256"), ["RS256"]),
        (as_jwk(EC), ["ES256"]),
        (as_jwk(ec.generate_private_key(ec.SECP384R1())), ["ES384"]),
        (as_jwk(ec.generate_private_key(ec.SECP521R1())), ["ES512"]),
        (as_jwk(ED), ["EdDSA"]),
        (
            RSAAlgorithm.to_jwk(RSA, as_dict=True) | {"key_ops": ["verify"]},
            RSA_ALGORITHMS,
        ),
    ],
)
def test_keys_that_are_taken(member: dict[str, Any], algorithms: list[str]) -> None:
    """A key verifies the signatures of its kind, or the one that it says."""
    key, _ = ring_of({**member, "kid": "x"}).keys

    assert ("x", algorithms) == (key.kid, sorted(key.algorithms))
    assert not hasattr(key.key, "sign")


@pytest.mark.parametrize(
    "member",
    [
        {},
        {"kty": "oct", "k": "c2VjcmV0", "kid": "x"},
        {"kty": "oct", "k": "c2VjcmV0", "alg": "HS256"},
        {"kty": "RSA"},
        {"kty": "RSA", "n": "AQAB", "e": "AQAB"},
        {"kty": "RSA", "n": "!", "e": "AQAB"},
        {"kty": "RSA", "n": 5, "e": None},
        {"kty": ["RSA"]},
        {"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA"},
        {"kty": "EC", "crv": ["P-256"]},
        {"kty": "EC", "crv": "secp256k1"},
        {"kty": "OKP", "crv": "X25519", "x": "AA"},
        {"kty": "quantum"},
        as_jwk(WEAK),
        as_jwk(RSA, use="enc"),
        as_jwk(RSA, key_ops=["encrypt"]),
        as_jwk(RSA, key_ops="verify"),
        as_jwk(RSA, alg="HS256"),
        as_jwk(RSA, alg="none"),
        as_jwk(RSA, alg="ES256"),
        as_jwk(RSA, alg=["RS256"]),
        as_jwk(EC, alg="RS256"),
        as_jwk(EC, crv="P-384"),
        as_jwk(EC, kty="RSA"),
    ],
)
def test_keys_that_are_left_out(member: dict[str, Any]) -> None:
    """A key that is weak, of another kind or for something else is not used."""
    assert ["good"] == [key.kid for key in ring_of(member).keys]


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"", "is no JSON with a list 'keys' of objects"),
        (b"[]", "is no JSON with a list 'keys' of objects"),
        (b"{}", "is no JSON with a list 'keys' of objects"),
        (b'{"keys": {}}', "is no JSON with a list 'keys' of objects"),
        (b'{"keys": [1]}', "is no JSON with a list 'keys' of objects"),
        (b'{"keys": ' + b"[" * 100_000, "is no JSON with a list 'keys' of objects"),
        (b"\xff", "is no JSON with a list 'keys' of objects"),
        (b'{"keys": []}', "has no key that verifies signatures"),
        (b'{"keys": [{"kty": "oct", "k": "AA"}]}', "has no key that verifies"),
        (
            json.dumps({"keys": [{}] * (KEYS_MAX + 1)}).encode(),
            "has 101 keys, where 100 are allowed",
        ),
    ],
)
def test_documents_that_are_refused(data: bytes, problem: str) -> None:
    """A document without a key that can be used is an error."""
    with pytest.raises(ValueError, match="key") as caught:
        read_key_ring(data)

    assert str(caught.value).startswith(problem)


def test_keys_are_found_by_name_and_kind() -> None:
    """A name may be given to two kinds of keys; without a name one key must be alone."""
    ring = ring_of(as_jwk(RSA, kid="a"), as_jwk(ED, kid="a"), as_jwk(RSA, kid="b"))

    def kind(kid: str | None, algorithm: str) -> str | None:
        found = ring.find(kid, algorithm)
        return found and type(found.key).__name__

    assert "RSAPublicKey" == kind("a", "RS256")
    assert "Ed25519PublicKey" == kind("a", "EdDSA")
    assert "Ed25519PublicKey" == kind(None, "EdDSA")
    assert None is kind(None, "RS256")
    assert None is kind("b", "EdDSA")
    assert None is kind("c", "RS256")
    assert None is kind("a", "HS256")


_VALUES = (
    st.none() | st.integers() | st.text(max_size=6) | st.lists(st.text(), max_size=2)
)
_MEMBERS = st.dictionaries(
    st.sampled_from(["kty", "crv", "n", "e", "x", "y", "d", "k", "alg", "use", "kid"]),
    _VALUES
    | st.sampled_from(
        ["RSA", "EC", "OKP", "P-256", "Ed25519", "AQAB", "RS256", "ES256"]
    ),
)


@given(st.lists(_MEMBERS, max_size=3), st.binary(max_size=20))
def test_any_document_is_read_or_refused(
    members: list[dict[str, object]], more: bytes
) -> None:
    """No document does anything but give keys or a ValueError."""
    for data in (json.dumps({"keys": members}).encode(), more):
        try:
            ring = read_key_ring(data)
        except ValueError:
            continue
        assert ring.keys
