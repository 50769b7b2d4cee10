"""Tokens of identity providers: whom they are believed to be of, and when not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from st8.auth import identity_tokens
from st8.auth.identity_tokens import TOKEN_BYTES_MAX
from st8.core.errors import Unauthenticated
from tests.auth.policies import NO_CONNECTION, may, refused, shown
from tests.auth.provider import (
    NOW_S,
    IdentityProvider,
    as_jwk,
    by_hand,
    load,
    pem_of,
    publish,
)

if TYPE_CHECKING:
    from st8.auth.policy import PolicyAuthoriser
    from tests.auth.policies import Policies

POLICY = """
tokens:
  - {name: app, token: secret}
  - {name: ci, token: a.b.c}
jwt:
  - issuer: https://login.internal
    audience: st8
    jwks_file: keys.json
    rules:
      - claims: {groups: platform, env: [prod, stage]}
        allow: {namespaces: ["*"], branches: ["*"], verbs: [read, write]}
      - claims: {realm.roles: reader}
        allow: {namespaces: [prod], branches: [main], verbs: [read]}
      - claims: {realm.roles: release, "https://internal/trusted": true}
        allow: []
        speaks_for_others: true
"""


@pytest.fixture
def authoriser(policies: Policies, provider: IdentityProvider) -> PolicyAuthoriser:
    """The authoriser of the policy above."""
    return load(policies, provider, POLICY)


def test_right_token(policies: Policies, provider: IdentityProvider) -> None:
    """A token that is right is its subject's."""
    anna = shown(load(policies, provider, POLICY), provider.token())

    assert ("anna", "jwt", False) == (anna.name, anna.method, anna.speaks_for_others)
    assert () == anna.protections


def test_static_tokens_come_first(
    policies: Policies, provider: IdentityProvider
) -> None:
    """A token of the file may look like one of a provider."""
    authoriser = load(policies, provider, POLICY)

    assert "app" == shown(authoriser, "secret").name
    assert "ci" == shown(authoriser, "a.b.c").name
    assert "the token is not known" == refused(authoriser, "a.b")
    assert "the token is not known" == refused(authoriser, "a.b.c.d")


@pytest.mark.parametrize(
    ("claims", "reads", "writes", "speaks"),
    [
        ({}, [], [], False),
        ({"groups": "platform"}, [], [], False),
        ({"groups": "platform", "env": "test"}, [], [], False),
        ({"groups": "platforms", "env": "prod"}, [], [], False),
        ({"groups": ["x", "platform"], "env": "stage"}, ["prod", "b"], ["b"], False),
        ({"groups": {"platform": 1}, "env": "prod"}, [], [], False),
        ({"realm": {"roles": ["reader"]}}, ["prod"], [], False),
        ({"realm.roles": "reader"}, ["prod"], [], False),
        ({"realm": "reader"}, [], [], False),
        ({"realm": [{"roles": "reader"}]}, [], [], False),
        ({"realm": {"roles": "release"}}, [], [], False),
        (
            {"realm": {"roles": "release"}, "https://internal/trusted": True},
            [],
            [],
            True,
        ),
        (
            {"realm": {"roles": "release"}, "https://internal/trusted": [1, None]},
            [],
            [],
            False,
        ),
        (
            {
                "realm": {"roles": ["reader", "release"]},
                "https://internal/trusted": "true",
                "groups": ["platform"],
                "env": ["prod", "x"],
            },
            ["prod", "b"],
            ["b"],
            True,
        ),
    ],
)
def test_rules_by_claims(
    authoriser: PolicyAuthoriser,
    provider: IdentityProvider,
    *,
    claims: dict[str, Any],
    reads: list[str],
    writes: list[str],
    speaks: bool,
) -> None:
    """The rules whose every claim is there count, all together; else nothing does."""
    anna = shown(authoriser, provider.token(claims))
    names = ("prod", "b")

    assert reads == [n for n in names if may(anna.access, "read", n, "main")]
    assert writes == [n for n in ("b",) if may(anna.access, "write", n, "main")]
    assert speaks == anna.speaks_for_others


def test_equal_rules_are_one_access(
    policies: Policies, provider: IdentityProvider
) -> None:
    """People for whom the same rules count share what is worked out for them."""
    authoriser = load(policies, provider, POLICY)
    one, two = (
        shown(authoriser, provider.token({"sub": name, "realm": {"roles": "reader"}}))
        for name in ("anna", "bert")
    )

    assert one.access is two.access
    assert one.name != two.name


NOT_RIGHT = "the token's signature, or its form, is not right"
NOT_KNOWN_KEY = (
    "the token is signed with a key that is not known; if the key is new, try again "
    "in a minute"
)


@pytest.mark.parametrize(
    ("claims", "problem"),
    [
        ({"iss": "https://evil"}, "the token's issuer is not known"),
        ({"iss": "https://login.internal/"}, "the token's issuer is not known"),
        ({"iss": None}, "the token's issuer is not known"),
        ({"iss": ["https://login.internal"]}, "the token's issuer is not known"),
        ({"aud": "other"}, "the token is meant for another audience"),
        ({"aud": ["other", "st8x"]}, "the token is meant for another audience"),
        ({"aud": None}, "the token is meant for another audience"),
        ({"aud": []}, "the token is meant for another audience"),
        ({"aud": {"st8": 1}}, "the token is meant for another audience"),
        ({"exp": None}, "the token does not say when it expires"),
        ({"exp": "2030"}, "the token's claim 'exp' is no time"),
        ({"exp": True}, "the token's claim 'exp' is no time"),
        ({"exp": float("nan")}, "the token's claim 'exp' is no time"),
        ({"exp": float("inf")}, "the token's claim 'exp' is no time"),
        ({"exp": [NOW_S]}, "the token's claim 'exp' is no time"),
        ({"exp": NOW_S - 30}, "the token expired at 2025-12-31T23:59:30Z"),
        ({"exp": -1e300}, "the token expired at 1970-01-01T00:00:00Z"),
        ({"exp": 0}, "the token expired at 1970-01-01T00:00:00Z"),
        ({"nbf": NOW_S + 31}, "the token is not valid yet"),
        ({"nbf": "x"}, "the token's claim 'nbf' is no time"),
        ({"iat": NOW_S + 31}, "the token is not valid yet"),
        ({"sub": None}, "the token's claim 'sub' is no name that may be used here"),
        ({"sub": 5}, "the token's claim 'sub' is no name that may be used here"),
        ({"sub": " "}, "the token's claim 'sub' is no name that may be used here"),
        ({"sub": "anna "}, "the token's claim 'sub' is no name that may be used here"),
        ({"sub": "a\nb"}, "the token's claim 'sub' is no name that may be used here"),
        ({"sub": "\ud800"}, "the token's claim 'sub' is no name that may be used here"),
        (
            {"sub": "x" * 257},
            "the token's claim 'sub' is no name that may be used here",
        ),
        ({"sub": "app"}, "the token's claim 'sub' is no name that may be used here"),
        ({"sub": "admin"}, "the token's claim 'sub' is no name that may be used here"),
    ],
)
def test_wrong_claims(
    policies: Policies,
    provider: IdentityProvider,
    claims: dict[str, Any],
    problem: str,
) -> None:
    """A token that is signed well but says something wrong is refused, and told why."""
    assert problem == refused(load(policies, provider, POLICY), provider.token(claims))


@pytest.mark.parametrize(
    "claims",
    [
        {"aud": ["other", "st8"]},
        {"exp": NOW_S - 29},
        {"exp": NOW_S + 0.5},
        {"exp": 1e300},
        {"nbf": NOW_S + 30},
        {"iat": NOW_S + 30},
        {"nbf": None, "iat": NOW_S},
    ],
)
def test_claims_that_will_do(
    policies: Policies, provider: IdentityProvider, claims: dict[str, Any]
) -> None:
    """One audience of several is enough, and clocks may differ by half a minute."""
    assert (
        "anna" == shown(load(policies, provider, POLICY), provider.token(claims)).name
    )


def test_token_that_was_verified_ends(
    policies: Policies, provider: IdentityProvider
) -> None:
    """A token that is shown again is not verified again, but it ends in time."""
    authoriser = load(policies, provider, POLICY)
    token = provider.token({"exp": NOW_S + 60})
    first = shown(authoriser, token)

    assert first is shown(authoriser, token)
    policies.clock.advance(89.999)
    assert first is shown(authoriser, token)
    policies.clock.advance(0.001)
    assert "the token expired at 2026-01-01T00:01:00Z" == refused(authoriser, token)


def test_remembered_tokens_are_bounded(
    policies: Policies, provider: IdentityProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is remembered of tokens has an end; the one not shown longest goes first."""
    monkeypatch.setattr(identity_tokens, "REMEMBERED_MAX", 2)
    authoriser = load(policies, provider, POLICY)
    one, two, three = (provider.token({"sub": name}) for name in ("a", "b", "c"))
    first, second = shown(authoriser, one), shown(authoriser, two)
    assert first is shown(authoriser, one)
    shown(authoriser, three)

    assert first is shown(authoriser, one)
    assert second is not shown(authoriser, two)


@pytest.mark.parametrize("algorithm", ["none", "HS256", "HS384", "HS512", "RS256x"])
def test_algorithms_that_are_not_taken(
    policies: Policies, provider: IdentityProvider, algorithm: str
) -> None:
    """A token that is not signed, or signed with what everybody knows, is refused."""
    authoriser = load(policies, provider, POLICY)
    payload = jwt.decode(provider.token(), options={"verify_signature": False})
    header = {"alg": algorithm, "typ": "JWT", "kid": "one"}
    refusals = {
        refused(authoriser, by_hand(header, payload, secret))
        for secret in (None, b"", pem_of(provider.keys["one"]))
    }

    assert {
        (
            "the token is signed in a way that is not taken; RS256, RS384, RS512, "
            "PS256, PS384, PS512, ES256, ES384, ES512, EdDSA are"
        )
    } == refusals


@pytest.mark.parametrize("algorithm", [None, 5, ["RS256"], {"a": 1}, "", "rs256"])
def test_odd_algorithms(
    policies: Policies, provider: IdentityProvider, algorithm: object
) -> None:
    """An algorithm that is no name of one is refused."""
    authoriser = load(policies, provider, POLICY)
    payload = jwt.decode(provider.token(), options={"verify_signature": False})
    token = by_hand({"alg": algorithm, "kid": "one"}, payload, b"x")

    assert refused(authoriser, token).startswith("the token is signed in a way")


def test_algorithms_of_the_policy(
    policies: Policies, provider: IdentityProvider
) -> None:
    """The file may take fewer algorithms than the keys could verify."""
    text = POLICY.replace("rules:", "algorithms: [PS256]\n    rules:")
    authoriser = load(policies, provider, text)

    assert "anna" == shown(authoriser, provider.token(algorithm="PS256")).name
    assert "the token is signed in a way that is not taken; PS256 are" == refused(
        authoriser, provider.token()
    )


@pytest.mark.parametrize(
    ("key", "algorithm"),
    [
        (ec.generate_private_key(ec.SECP256R1()), "ES256"),
        (ec.generate_private_key(ec.SECP384R1()), "ES384"),
        (ec.generate_private_key(ec.SECP521R1()), "ES512"),
        (ed25519.Ed25519PrivateKey.generate(), "EdDSA"),
    ],
    ids=["P-256", "P-384", "P-521", "Ed25519"],
)
def test_other_kinds_of_keys(
    policies: Policies, key: ec.EllipticCurvePrivateKey, algorithm: str
) -> None:
    """Keys on curves verify the signatures of their own kind."""
    provider = IdentityProvider()
    provider.keys["curve"] = key
    authoriser = load(policies, provider, POLICY)
    token = provider.token(kid="curve", algorithm=algorithm)
    crossed = jwt.decode_complete(token, options={"verify_signature": False})

    assert "anna" == shown(authoriser, token).name
    for other in {"ES256", "ES384", "RS256", "EdDSA"} - {algorithm}:
        header = {**crossed["header"], "alg": other}
        hand_made = by_hand(header, crossed["payload"], b"x")
        assert NOT_KNOWN_KEY == refused(authoriser, hand_made)


def test_signature_of_another_key(
    policies: Policies, provider: IdentityProvider
) -> None:
    """A token with the name of a known key that another one signed is refused."""
    evil = IdentityProvider()
    authoriser = load(policies, provider, POLICY)

    assert NOT_RIGHT == refused(authoriser, evil.token())
    head, payload, signature = provider.token().split(".")
    _, other, _ = provider.token({"sub": "bert"}).split(".")
    assert NOT_RIGHT == refused(authoriser, f"{head}.{other}.{signature}")
    assert NOT_RIGHT == refused(authoriser, f"{head}.{payload}.")
    assert "anna" == shown(authoriser, f"{head}.{payload}.{signature}").name


def test_places_of_keys_in_a_token_are_not_looked_at(
    policies: Policies, provider: IdentityProvider
) -> None:
    """A token can't bring its own key along, nor say where one is."""
    evil = IdentityProvider()
    authoriser = load(policies, provider, POLICY)
    own = as_jwk(evil.keys["one"])
    headers: list[dict[str, object]] = [
        {"jwk": own},
        {"jku": "http://127.0.0.1:9/keys.json"},
        {"x5u": "http://127.0.0.1:9/chain.pem"},
        {"x5c": ["MIIB"]},
    ]

    for header in headers:
        assert NOT_RIGHT == refused(authoriser, evil.token(headers=header))
        assert "anna" == shown(authoriser, provider.token(headers=header)).name


def test_names_of_keys(policies: Policies, provider: IdentityProvider) -> None:
    """A key is found by its name; without one, only if there is one key alone."""
    authoriser = load(policies, provider, POLICY)

    assert "anna" == shown(authoriser, provider.token(kid=None)).name
    named = provider.token(kid=None, headers={"kid": "two"})
    assert NOT_KNOWN_KEY == refused(authoriser, named)
    two = IdentityProvider()
    two.keys = {**provider.keys, "two": rsa.generate_private_key(65_537, 2_048)}
    publish(policies, two.jwks())
    authoriser.reload()
    assert NOT_KNOWN_KEY == refused(authoriser, provider.token(kid=None))
    assert "anna" == shown(authoriser, two.token(kid="two")).name


def test_keys_are_read_anew_with_the_policy(policies: Policies) -> None:
    """After a reload only keys that are in the file count, for all tokens."""
    provider = IdentityProvider()
    authoriser = load(policies, provider, POLICY)
    old = provider.token()
    assert "anna" == shown(authoriser, old).name
    provider.keys = {"new": rsa.generate_private_key(65_537, 2_048)}
    publish(policies, provider.jwks())
    authoriser.reload()

    assert NOT_KNOWN_KEY == refused(authoriser, old)
    assert "anna" == shown(authoriser, provider.token(kid="new")).name


def test_long_token_is_refused(policies: Policies, provider: IdentityProvider) -> None:
    """A token of more than 16 KiB is not looked at."""
    authoriser = load(policies, provider, POLICY)
    long = provider.token({"more": "x" * TOKEN_BYTES_MAX})
    large = provider.token({"groups": ["x" * 36] * 200})

    assert f"the token is longer than {TOKEN_BYTES_MAX} bytes" == refused(
        authoriser, long
    )
    assert "anna" == shown(authoriser, large).name


@pytest.mark.parametrize(
    "token",
    [
        "..",
        "a..",
        "e30.e30.",
        "e30.e30.e30",
        "W10.e30.",
        "bnVsbA.bnVsbA.bnVsbA",
        by_hand({"alg": "RS256", "kid": 5}, {"iss": "https://login.internal"}),
        by_hand({"alg": "RS256", "crit": ["x"]}, {"iss": "https://login.internal"}),
        by_hand({"alg": "RS256", "b64": False}, {"iss": "https://login.internal"}),
        by_hand({"alg": "RS256"}, []),
        by_hand({"alg": "RS256"}, "x"),
    ],
)
def test_what_is_no_token(
    policies: Policies, provider: IdentityProvider, token: str
) -> None:
    """What only looks like a token is one that nobody knows."""
    authoriser = load(policies, provider, POLICY)
    problem = refused(authoriser, token)

    assert problem in {"the token is not known", "the token's issuer is not known"}


def test_deeply_nested_token(policies: Policies, provider: IdentityProvider) -> None:
    """A token that is nested without end is refused, in its header and its payload."""
    authoriser = load(policies, provider, POLICY)
    deep = "[" * 5_000 + "]" * 5_000
    encoded = by_hand({}, {}).split(".")
    bottomless = jwt.utils.base64url_encode(deep.encode()).decode()

    for token in (
        f"{bottomless}.{encoded[1]}.",
        f"{encoded[0]}.{bottomless}.",
    ):
        assert "the token is not known" == refused(authoriser, token)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=8,
)
_CLAIMS = st.dictionaries(
    st.sampled_from(["iss", "aud", "exp", "nbf", "iat", "sub", "groups", "realm", "x"]),
    _JSON | st.sampled_from(["https://login.internal", "st8", NOW_S + 60]),
)
_HEADERS = st.dictionaries(
    st.sampled_from(["alg", "kid", "typ", "crit", "b64", "jwk", "zip"]),
    _JSON | st.sampled_from(["RS256", "ES256", "EdDSA", "none", "one"]),
)
_QUICK = settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None
)


@_QUICK
@given(token=st.binary(max_size=80) | st.text("ab.=-_eyJ09{}", max_size=60))
def test_garbage_is_refused(authoriser: PolicyAuthoriser, token: bytes | str) -> None:
    """Whatever is shown, it is refused in the one way that there is."""
    data = token if isinstance(token, bytes) else token.encode()

    for shape in (data, data + b".", b"e30." + data + b".e30", b"e30.e30." + data):
        with pytest.raises(Unauthenticated):
            authoriser.authenticate(b"Bearer x" + shape, NO_CONNECTION)


@_QUICK
@given(header=_HEADERS, payload=_CLAIMS, secret=st.none() | st.binary(max_size=20))
def test_forged_tokens_are_refused(
    authoriser: PolicyAuthoriser,
    header: dict[str, object],
    payload: dict[str, object],
    secret: bytes | None,
) -> None:
    """No header and no claims make up for a signature that is not the provider's."""
    token = by_hand(header, payload, secret)

    with pytest.raises(Unauthenticated):
        shown(authoriser, token)


@_QUICK
@given(place=st.floats(0, 1, exclude_max=True), other=st.sampled_from("AQz09-_.="))
def test_changed_tokens_are_refused(
    authoriser: PolicyAuthoriser, provider: IdentityProvider, place: float, other: str
) -> None:
    """A token of which one character was changed is refused."""
    token = provider.token()
    at = int(place * len(token))
    changed = token[:at] + other + token[at + 1 :]

    assert (changed == token) == (refused(authoriser, changed) == "it is not")


@_QUICK
@given(claims=_CLAIMS)
def test_odd_claims_do_no_harm(
    authoriser: PolicyAuthoriser, provider: IdentityProvider, claims: dict[str, object]
) -> None:
    """Claims of any form, signed well, make somebody with a name or are refused."""
    try:
        anna = shown(authoriser, provider.token(claims))
    except Unauthenticated:
        return

    assert anna.name
    assert anna.name not in {"app", "ci", "admin"}
