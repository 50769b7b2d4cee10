"""Client certificates: whose they are, by what TLS says of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from st8.auth.policy import PEER_CERTIFICATE
from st8.auth.subjects import normal_subject, subject_of
from st8.core.errors import Unauthenticated

if TYPE_CHECKING:
    from st8.auth.policy import PolicyAuthoriser
    from tests.auth.policies import Policies

POLICY = """
tokens:
  - {name: app, token: secret}
certificates:
  - name: deployer
    subject: CN=deployer,O=Example
    speaks_for_others: true
    allow: {namespaces: ["*"], branches: ["*"], verbs: [write]}
  - {name: web, dns: web.internal}
  - {name: mesh, uri: "spiffe://internal/ns/prod/sa/web"}
  - {name: batch, common_name: batch, expires: 2026-01-02}
"""


def certificate(
    *subject: tuple[str, str],
    names: tuple[tuple[str, str], ...] = (),
    not_after: str = "Jan  1 00:00:00 2030 GMT",
) -> dict[str, Any]:
    """Return what getpeercert() says of a certificate."""
    return {
        "subject": tuple((part,) for part in subject),
        "subjectAltName": names,
        "notAfter": not_after,
    }


def asks(authoriser: PolicyAuthoriser, peer: dict[str, Any] | None) -> str:
    """Return who shows a certificate, or why nobody does."""
    try:
        return authoriser.authenticate(None, {PEER_CERTIFICATE: peer}).name
    except Unauthenticated as error:
        return error.detail.partition("; send the header")[0]


DEPLOYER = certificate(("organizationName", "Example"), ("commonName", "deployer"))
NOT_KNOWN = "the client's certificate is not known"


@pytest.mark.parametrize(
    ("peer", "expected"),
    [
        (DEPLOYER, "deployer"),
        (certificate(names=(("DNS", "x"), ("DNS", "web.internal"))), "web"),
        (certificate(names=(("URI", "spiffe://internal/ns/prod/sa/web"),)), "mesh"),
        (certificate(("commonName", "batch")), "batch"),
        (certificate(("organizationName", "X"), ("commonName", "batch")), "batch"),
        (None, "no token was given"),
        ({}, "no token was given"),
        (certificate(), NOT_KNOWN),
        (certificate(("commonName", "deployer")), NOT_KNOWN),
        (
            certificate(("commonName", "deployer"), ("organizationName", "Example")),
            NOT_KNOWN,
        ),
        (certificate(("commonName", "deployer,O=Example")), NOT_KNOWN),
        (certificate(("commonName", "Batch")), NOT_KNOWN),
        (certificate(("commonName", "batch\0")), NOT_KNOWN),
        (certificate(("commonName", "x"), ("commonName", "batch")), NOT_KNOWN),
        (certificate(("commonName", "web.internal")), NOT_KNOWN),
        (certificate(names=(("DNS", "*.internal"),)), NOT_KNOWN),
        (certificate(names=(("email", "web.internal"),)), NOT_KNOWN),
        (certificate(names=(("DNS", "batch"), ("URI", "web.internal"))), NOT_KNOWN),
    ],
)
def test_certificate(
    policies: Policies, peer: dict[str, Any] | None, expected: str
) -> None:
    """A certificate is whose entry it fits as a whole, and of nobody else."""
    assert expected == asks(policies.load(POLICY), peer)


def test_what_an_owner_may(policies: Policies) -> None:
    """The entry of a certificate says what its owner may, as that of a token does."""
    deployer = policies.load(POLICY).authenticate(None, {PEER_CERTIFICATE: DEPLOYER})

    assert ("certificate", True) == (deployer.method, deployer.speaks_for_others)
    assert deployer.access.everywhere("write")
    assert not deployer.access.somewhere("read")


def test_header_beats_certificate(policies: Policies) -> None:
    """With a header the certificate does not count, not even if the token is wrong."""
    authoriser = policies.load(POLICY)
    connection = {PEER_CERTIFICATE: DEPLOYER}

    assert "app" == authoriser.authenticate(b"Bearer secret", connection).name
    with pytest.raises(Unauthenticated, match="the token is not known"):
        authoriser.authenticate(b"Bearer wrong", connection)


def test_first_entry_that_fits_counts(policies: Policies) -> None:
    """Of two entries that fit one certificate the first in the file counts."""
    peer = certificate(("commonName", "web"), names=(("DNS", "web.internal"),))
    entries = ("{name: a, common_name: web}", "{name: b, dns: web.internal}")

    for listed, expected in ((entries, "a"), (entries[::-1], "b")):
        authoriser = policies.load(f"certificates: [{', '.join(listed)}]")
        assert expected == asks(authoriser, peer)


def test_certificate_ends(policies: Policies) -> None:
    """A connection that outlives its certificate, or its entry, is refused."""
    authoriser = policies.load(POLICY)
    peer = certificate(("commonName", "batch"), not_after="Jan  1 00:01:00 2026 GMT")
    policies.clock.advance(59)

    assert "batch" == asks(authoriser, peer)
    policies.clock.advance(1)
    assert "the client's certificate expired at 2026-01-01T00:01:00Z" == asks(
        authoriser, peer
    )
    policies.clock.advance(24 * 3600)
    assert (
        "the entry of the client's certificate expired at 2026-01-02T00:00:00Z"
        == asks(authoriser, certificate(("commonName", "batch")))
    )


@pytest.mark.parametrize(
    ("entries", "expected"),
    [
        (
            "- {name: a}",
            (
                "line 2: an entry of certificates needs one of subject, common_name, "
                "dns, uri"
            ),
        ),
        (
            "- {name: a, dns: b, uri: c}",
            (
                "line 2: an entry of certificates needs one of subject, common_name, "
                "dns, uri"
            ),
        ),
        ("- {dns: b}", "line 2: an entry of certificates needs the field 'name'"),
        ("- {name: a, dns: ' '}", "line 2: dns must not be blank"),
        (
            "- {name: a, dns: b}\n  - {name: c, dns: b}",
            "line 3: the dns of this entry is there twice",
        ),
        (
            "- {name: a, dns: b}\n  - {name: a, dns: c}",
            "line 3: the name 'a' is there twice",
        ),
        (
            "- {name: a, subject: deployer}",
            "line 2: 'deployer' is not a subject such as CN=deployer,O=Example",
        ),
        (
            "- {name: a, subject: 'CN=a\\'}",
            "line 2: 'CN=a\\\\' has a backslash that escapes nothing",
        ),
        (
            "- {name: a, token: b}",
            (
                "line 2: an entry of certificates has no field 'token'; known are "
                "name, expires, speaks_for_others, allow, rate_limit, subject, common_name, dns, "
                "uri"
            ),
        ),
    ],
)
def test_refused_entries(policies: Policies, entries: str, expected: str) -> None:
    """An entry that can't be right is told with its line."""
    assert expected == policies.refusal(f"certificates:\n  {entries}")


def test_one_name_for_a_token_and_a_certificate(policies: Policies) -> None:
    """Nobody can be two."""
    expected = "line 4: the name 'a' is there twice"
    text = "tokens:\n  - {name: a, token: b}\ncertificates:\n  - {name: a, dns: c}"

    assert expected == policies.refusal(text)


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("CN=deployer,O=Example", "CN=deployer,O=Example"),
        (" cn = deployer , o= Example ", "CN=deployer,O=Example"),
        ("commonName=a,countryName=DE", "CN=a,C=DE"),
        ("CN=a+OU=b,O=c", "CN=a+OU=b,O=c"),
        ("OU=b+CN=a,O=c", "CN=a+OU=b,O=c"),
        ("CN=a\\,b", "CN=a\\,b"),
        ("CN=a\\2Cb", "CN=a\\,b"),
        ("CN=M\\C3\\BCller", "CN=Müller"),
        ("CN=\\ a\\ ", "CN=\\ a\\ "),
        ("CN=a\\\\ ,O=b", "CN=a\\\\,O=b"),
        ("CN=\\#a", "CN=\\#a"),
        ("CN=a=b", "CN=a\\=b"),
        ("emailAddress=a@b", "EMAILADDRESS=a@b"),
        ("1.2.3.4=x", "1.2.3.4=x"),
        ("CN=", "CN="),
    ],
)
def test_normal_subject(written: str, expected: str) -> None:
    """A subject is brought into one form, however it is written."""
    assert expected == normal_subject(written)
    assert expected == normal_subject(expected)


@pytest.mark.parametrize(
    "written", ["", "a", "CN", "CN=a,", ",CN=a", "=a", "C N=a", "CN=a\\", "CN=\\ff"]
)
def test_what_is_no_subject(written: str) -> None:
    """What is no subject is an error."""
    with pytest.raises(ValueError, match=r"not|nothing"):
        normal_subject(written)


_NAMES = st.lists(
    st.lists(
        st.tuples(
            st.sampled_from(["commonName", "organizationName", "emailAddress"]),
            st.text('ab ,+"\\<>;=#é\0', max_size=5) | st.text(max_size=5),
        ),
        min_size=1,
        max_size=2,
    ).map(tuple),
    min_size=1,
    max_size=3,
).map(tuple)


@given(_NAMES, _NAMES)
def test_lines_tell_names_apart(
    one: tuple[tuple[tuple[str, str], ...], ...],
    other: tuple[tuple[tuple[str, str], ...], ...],
) -> None:
    """A line is read back as it was made; different names have different lines."""
    line = subject_of(one)
    same = [sorted(part) for part in one] == [sorted(part) for part in other]

    assert line == normal_subject(line)
    assert same == (line == subject_of(other))
