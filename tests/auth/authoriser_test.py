"""Who asks, by the policy: tokens, their end, and a policy that is read anew."""

from __future__ import annotations

import hmac
import logging
import secrets
import threading
from hashlib import sha256
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from st8.auth import policy_file
from st8.auth.access import ANYONE, Access, Rule, Verb
from st8.auth.globs import Glob
from st8.auth.policy_file import read_policy
from st8.auth.tokens import TokenEntry, TokenTable
from st8.core.errors import InvalidInput, Unauthenticated
from st8.core.ids import BranchName, Namespace
from st8.testing.clock import FakeClock
from tests.auth.policies import NO_CONNECTION, refused, shown

if TYPE_CHECKING:
    from tests.auth.policies import Policies

ONE = """
tokens:
  - name: app
    token: secret
    allow: {namespaces: [prod], branches: [main], verbs: [read]}
"""


@pytest.mark.parametrize(
    "header", [b"Bearer secret", b"bearer secret", b"BEARER  secret ", b"bEaReR secret"]
)
def test_header(policies: Policies, header: bytes) -> None:
    """The scheme's case does not count, nor do blanks around the token."""
    assert "app" == policies.load(ONE).authenticate(header, NO_CONNECTION).name


@pytest.mark.parametrize(
    ("header", "problem"),
    [
        (None, "no token was given"),
        (b"", "the authorization is not of the scheme Bearer"),
        (b"Basic c2VjcmV0", "the authorization is not of the scheme Bearer"),
        (b"secret", "the authorization is not of the scheme Bearer"),
        (b"Bearer", "the token is not known"),
        (b"Bearer ", "the token is not known"),
        (b"Bearer secre", "the token is not known"),
        (b"Bearer secrets", "the token is not known"),
        (b"Bearer Secret", "the token is not known"),
        (b"Bearer \xff\x00", "the token is not known"),
        (b"Bearer a.b.c", "the token is not known"),
    ],
)
def test_nobody(policies: Policies, header: bytes | None, problem: str) -> None:
    """What is no known token is refused, and no name is told."""
    authoriser = policies.load(ONE)

    with pytest.raises(Unauthenticated) as caught:
        authoriser.authenticate(header, NO_CONNECTION)

    assert caught.value.detail.startswith(f"{problem}; ")
    assert "app" not in caught.value.detail


def test_token_ends(policies: Policies) -> None:
    """A token is refused from the moment on that the file says, and says so."""
    authoriser = policies.load("""
        tokens:
          - {name: a, token: a, expires: 2026-01-01T00:01:00+00:00}
          - {name: b, token: b, expires: 2026-01-02}
          - {name: c, token: c, expires: 2025-12-31T23:59:59.999Z}
        """)

    assert "the token expired at 2025-12-31T23:59:59.999Z" == refused(authoriser, "c")
    policies.clock.advance(59.999)
    assert "a" == shown(authoriser, "a").name
    policies.clock.advance(0.001)
    assert "the token expired at 2026-01-01T00:01:00Z" == refused(authoriser, "a")
    assert "b" == shown(authoriser, "b").name
    policies.clock.advance(24 * 3600)
    assert "the token expired at 2026-01-02T00:00:00Z" == refused(authoriser, "b")


def test_policy_is_read_anew(policies: Policies) -> None:
    """After a reload the new file counts, all of it."""
    authoriser = policies.load(ONE, admin_token="root")
    policies.write("tokens: [{name: other, token: new}]")

    assert "app" == shown(authoriser, "secret").name
    authoriser.reload()
    assert "the token is not known" == refused(authoriser, "secret")
    assert "other" == shown(authoriser, "new").name
    assert "admin" == shown(authoriser, "root").name


@pytest.mark.parametrize(
    "text",
    [
        "",
        "tokens: [{name: other, token: new}, {name: other, token: newer}]",
        (
            "tokens: [{name: other, token: new}]\njwt:\n  - {issuer: i, audience: a, "
            "jwks_file: missing}"
        ),
    ],
)
def test_bad_file_changes_nothing(policies: Policies, text: str) -> None:
    """A reload that fails says why, and the policy before goes on."""
    authoriser = policies.load(ONE)
    policies.write(text)

    with pytest.raises(InvalidInput):
        authoriser.reload()

    assert "app" == shown(authoriser, "secret").name
    assert "the token is not known" == refused(authoriser, "new")
    policies.path.unlink()
    with pytest.raises(InvalidInput, match="No such file or directory"):
        authoriser.reload()
    assert "app" == shown(authoriser, "secret").name


def test_a_policy_that_is_only_prepared_is_not_in_force(policies: Policies) -> None:
    """What was read counts from when it is taken, and not before."""
    authoriser = policies.load(ONE)
    policies.write("tokens: [{name: other, token: new}]")
    take = authoriser.prepare()

    assert "app" == shown(authoriser, "secret").name
    assert "the token is not known" == refused(authoriser, "new")
    take()
    assert "other" == shown(authoriser, "new").name


def test_every_request_sees_one_policy(policies: Policies) -> None:
    """While the policy is read anew, no request sees parts of two."""
    texts = [
        f"tokens: [{{name: {name}, token: secret}}]\n"
        f"protected: [{{namespaces: ['*'], branches: ['*'], writers: [{name}]}}]"
        for name in ("one", "two")
    ]
    authoriser = policies.load(texts[0])

    def reload() -> None:
        for turn in range(100):
            policies.write(texts[turn % 2])
            authoriser.reload()

    thread = threading.Thread(target=reload)
    thread.start()
    seen: set[tuple[str, frozenset[str]]] = set()
    while thread.is_alive():
        principal = shown(authoriser, "secret")
        seen.add((principal.name, principal.protections[0].writers))
    thread.join()
    assert {name for name, _ in seen} <= {"one", "two"}
    assert {(name, frozenset({name})) for name, _ in seen} == seen


def test_every_token_takes_the_same_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """A token that nobody has is compared, once, with a digest, as a known one is."""
    compared: list[tuple[int, int]] = []
    compare = hmac.compare_digest

    def counting(one: bytes, other: bytes) -> bool:
        compared.append((len(one), len(other)))
        return compare(one, other)

    monkeypatch.setattr(hmac, "compare_digest", counting)
    known = sha256(b"secret").digest()
    table = TokenTable([TokenEntry(known, ANYONE, None)])

    assert ANYONE == table.principal(known, FakeClock())
    assert None is table.principal(sha256(b"other").digest(), FakeClock())
    assert None is TokenTable([]).principal(known, FakeClock())
    assert [(32, 32)] * 3 == compared


def test_secrets_are_kept_nowhere(
    policies: Policies, caplog: pytest.LogCaptureFixture
) -> None:
    """Of 1,000 tokens none is in a repr, an error or a line of the log."""
    caplog.set_level(logging.DEBUG)
    given = [secrets.token_urlsafe(24) for _ in range(1_000)]
    entries = "".join(
        f"  - {{name: n{at}, token: '{token}'}}\n" for at, token in enumerate(given)
    )
    authoriser = policies.load(f"tokens:\n{entries}", admin_token="root-secret")
    policy = read_policy(policies.path)
    said = [repr(authoriser), str(authoriser), repr(policy), str(vars(policy_file))]
    said += [str(vars(authoriser)), repr(authoriser._policy)]
    for token in given:
        said += [repr(shown(authoriser, token)), refused(authoriser, f"{token}x")]
    policies.write(f"tokens:\n{entries}  - {{name: n, token: '{given[0]}'}}\n")
    with pytest.raises(InvalidInput) as caught:
        authoriser.reload()
    said += [caught.value.detail, caplog.text]
    text = "\n".join(said)

    assert [] == [token for token in given if token in text]
    assert "root-secret" not in text


_RULES = st.builds(
    Rule,
    st.lists(st.sampled_from(["*", "a", "b*", "a/?"]).map(Glob), max_size=2).map(tuple),
    st.lists(st.sampled_from(["*", "main", "r/*"]).map(Glob), max_size=2).map(tuple),
    st.sampled_from(["", "app", "app/", "app/x", "b"]),
    st.frozensets(st.sampled_from(("read", "write", "admin"))),
)
_VERBS: tuple[Verb, ...] = ("read", "write", "admin")


@given(st.lists(_RULES, max_size=4), st.data())
def test_fewer_rules_never_allow_more(rules: list[Rule], data: st.DataObject) -> None:
    """What a part of the rules allows, all of them allow."""
    some = Access(
        data.draw(st.lists(st.sampled_from(rules), max_size=4)) if rules else []
    )
    every = Access(rules)

    for verb in _VERBS:
        assert every.somewhere(verb) or not some.somewhere(verb)
        assert every.everywhere(verb) or not some.everywhere(verb)
        for namespace in map(Namespace, ("a", "b1", "a/1", "c")):
            for branch in map(BranchName, ("main", "r/1", "x")):
                allowed = some.keys(verb, namespace, branch)
                assert allowed <= every.keys(verb, namespace, branch)
                assert not allowed or some.somewhere(verb, namespace)
