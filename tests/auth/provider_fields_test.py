"""The section ``jwt`` of the policy file: names that providers may give, mistakes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.auth.policies import refused, shown
from tests.auth.provider import IdentityProvider, load, publish

if TYPE_CHECKING:
    from tests.auth.policies import Policies

TWO = """
jwt:
  - {{issuer: a, audience: st8, jwks_file: keys.json, name_prefix: "{one}"}}
  - {{issuer: b, audience: st8, jwks_file: keys.json, name_prefix: "{two}"}}
"""


def test_names_of_two_issuers_differ(
    policies: Policies, provider: IdentityProvider
) -> None:
    """With several issuers, each puts its own words before the names it gives."""
    authoriser = load(policies, provider, TWO.format(one="a:", two="b:"))

    assert ["a:anna", "b:anna"] == [
        shown(authoriser, provider.token({"iss": issuer})).name for issuer in "ab"
    ]


@pytest.mark.parametrize(
    ("one", "two"), [("", ""), ("a:", ""), ("a", "ab"), ("a", "a")]
)
def test_names_of_two_issuers_must_differ(
    policies: Policies, one: str, two: str
) -> None:
    """Issuers that could give one name to two people are refused."""
    expected = (
        "line 4: the issuers 'a' and 'b' could give one name to two people; give each "
        "a name_prefix, of which none begins with the other"
    )

    assert expected == policies.refusal(TWO.format(one=one, two=two))


NAMES = """
tokens: [{name: "idp:ci", token: x}]
certificates: [{name: deployer, dns: y}]
jwt:
  - issuer: https://login.internal
    audience: st8
    jwks_file: keys.json
    name_prefix: "PREFIX"
    name_claim: names.preferred
protected:
  - {namespaces: ["*"], branches: [main], writers: ["idp:anna", deployer]}
"""


@pytest.mark.parametrize(
    ("prefix", "name"),
    [("idp:", "ci"), ("", "idp:ci"), ("", "deployer"), ("", "admin")],
)
def test_no_token_takes_the_name_of_an_entry(
    policies: Policies, provider: IdentityProvider, prefix: str, name: str
) -> None:
    """The names of tokens and certificates stay theirs, and that of ST8D_TOKEN."""
    authoriser = load(policies, provider, NAMES.replace("PREFIX", prefix))

    assert (
        "the token's claim 'names.preferred' is no name that may be used here"
        == refused(authoriser, provider.token({"names": {"preferred": name}}))
    )


def test_writer_of_a_provider(policies: Policies, provider: IdentityProvider) -> None:
    """A writer may be somebody of whom a provider vouches, prefix included."""
    authoriser = load(policies, provider, NAMES.replace("PREFIX", "idp:"))
    anna = shown(authoriser, provider.token({"names": {"preferred": "anna"}}))

    assert "idp:anna" == anna.name
    assert anna.name in anna.protections[0].writers


REFUSED = {
    "no issuer": (
        "{audience: a, jwks_file: keys.json}",
        "line 2: an entry of jwt needs the field 'issuer'",
    ),
    "no audience": (
        "{issuer: a, jwks_file: keys.json}",
        "line 2: an entry of jwt needs the field 'audience'",
    ),
    "empty audience": (
        "{issuer: a, audience: [], jwks_file: keys.json}",
        "line 2: audience must name one at least",
    ),
    "blank issuer": (
        "{issuer: '', audience: a, jwks_file: keys.json}",
        "line 2: issuer must not be empty",
    ),
    "no keys": (
        "{issuer: a, audience: b}",
        "line 2: an entry of jwt needs either jwks_file or jwks_url",
    ),
    "two places": (
        "{issuer: a, audience: b, jwks_file: x, jwks_url: 'https://x'}",
        "line 2: an entry of jwt needs either jwks_file or jwks_url",
    ),
    "plain http": (
        "{issuer: a, audience: b, jwks_url: 'http://login.internal/keys'}",
        (
            "line 2: jwks_url must begin with https://; http:// is taken on the "
            "loopback only"
        ),
    ),
    "password in an address": (
        "{issuer: a, audience: b, jwks_url: 'https://me:s3cret@login.internal'}",
        (
            "line 2: jwks_url must be an address such as https://login.internal/jwks, "
            "without a password"
        ),
    ),
    "authorities of a file": (
        "{issuer: a, audience: b, jwks_file: keys.json, jwks_ca_file: x}",
        "line 2: jwks_ca_file is for a jwks_url",
    ),
    "hmac": (
        "{issuer: a, audience: b, jwks_file: keys.json, algorithms: [RS256, HS256]}",
        (
            "line 2: the algorithm 'HS256' is not one that only the issuer can sign "
            "with; did you mean 'RS256'?"
        ),
    ),
    "none": (
        "{issuer: a, audience: b, jwks_file: keys.json, algorithms: [none]}",
        (
            "line 2: the algorithm 'none' is not one that only the issuer can sign "
            "with; known are RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384, "
            "ES512, EdDSA"
        ),
    ),
    "no algorithm": (
        "{issuer: a, audience: b, jwks_file: keys.json, algorithms: []}",
        "line 2: algorithms must name one at least",
    ),
    "hasty": (
        "{issuer: a, audience: b, jwks_file: keys.json, refresh: 1s}",
        "line 2: refresh must be from 10s to 24h",
    ),
    "no duration": (
        "{issuer: a, audience: b, jwks_file: keys.json, refresh: often}",
        "line 2: refresh: 'often' is not a duration such as 500ms, 30s or 1m30s",
    ),
    "long leeway": (
        "{issuer: a, audience: b, jwks_file: keys.json, leeway: 1h}",
        "line 2: leeway must be from 0s to 5m",
    ),
    "rule without allow": (
        "{issuer: a, audience: b, jwks_file: keys.json, rules: [{claims: {a: b}}]}",
        "line 2: a rule of jwt needs the field 'allow'",
    ),
    "claim that nothing equals": (
        (
            "{issuer: a, audience: b, jwks_file: keys.json, "
            "rules: [{claims: {a: []}, allow: {}}]}"
        ),
        "line 2: a must name one at least",
    ),
    "claims are a list": (
        (
            "{issuer: a, audience: b, jwks_file: keys.json, "
            "rules: [{claims: [a], allow: {}}]}"
        ),
        "line 2: claims must hold names with values",
    ),
    "issuer twice": (
        (
            "{issuer: a, audience: b, jwks_file: keys.json}\n"
            "  - {issuer: a, audience: c, jwks_file: keys.json}"
        ),
        "line 3: the issuer 'a' is there twice",
    ),
    "unknown field": (
        "{issuer: a, audience: b, jwks_uri: 'https://x'}",
        "line 2: an entry of jwt has no field 'jwks_uri'; did you mean 'jwks_url'?",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused_entries(policies: Policies, name: str) -> None:
    """An entry that can't be right, or would not be safe, is told with its line."""
    text, expected = REFUSED[name]

    assert expected == policies.refusal(f"jwt:\n  - {text}")


def test_writers_must_be_possible(
    policies: Policies, provider: IdentityProvider
) -> None:
    """A writer is an entry of the file, or a name that a provider can give."""
    text = """
        tokens: [{name: ci, token: x}]
        jwt:
          - {issuer: a, audience: b, jwks_file: keys.json, name_prefix: "idp:"}
        protected:
          - namespaces: ["*"]
            branches: [main]
            writers: [ci, "idp:anna", anna]
        """
    publish(policies, provider.jwks())

    assert "line 8: nobody is named 'anna'; known are ci" == policies.refusal(text)
