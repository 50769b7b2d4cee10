"""The policy file: what it says, and every way in which it can be wrong."""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING

import pytest

from st8.auth.access import ALLOW_ALL
from st8.auth.globs import Glob
from st8.auth.policy_file import load_policy_authoriser, read_policy
from st8.auth.yaml_fields import FILE_BYTES_MAX
from st8.core.errors import InvalidInput
from st8.core.ids import BranchName, Namespace
from st8.core.rates import Rate
from tests.auth.policies import may, refused, shown

if TYPE_CHECKING:
    from tests.auth.policies import Policies

ORIGINAL = """
tokens:
  - token: "app-secret"
    name: app
    allow:
      namespaces: [prod, "staging-*"]    # globs
      branches: [main, "release/*"]      # globs
      key_prefix: app/
      verbs: [read, write, admin]        # any subset; verbs are independent
  - token: reader-secret
    name: reader
    allow:
      namespaces: ["*"]
      branches: ["*"]
      verbs: [read]
"""


def test_file_of_the_original_is_read(policies: Policies) -> None:
    """A policy file of the original daemon means what it meant there."""
    authoriser = policies.load(ORIGINAL)
    app = shown(authoriser, "app-secret")
    reader = shown(authoriser, "reader-secret")

    assert ("app", "token", False) == (app.name, app.method, app.speaks_for_others)
    assert "app/" == app.access.rules[0].key_prefix
    for namespace in ("prod", "staging-eu", "staging-us"):
        assert may(app.access, "write", namespace, "main", "app/config")
    for namespace in ("dev", "production"):
        assert not may(app.access, "write", namespace, "main", "app/config")
    for branch in ("main", "release/1.0", "release/2.3.1"):
        assert may(app.access, "read", "prod", branch, "app/nested/key")
    for branch in ("feature/foo", "dev"):
        assert not may(app.access, "read", "prod", branch, "app/nested/key")
    for key in ("other/key", "APP/config"):
        assert not may(app.access, "read", "prod", "main", key)
    assert "reader" == reader.name
    assert may(reader.access, "read", "any/thing", "at/all", "any/key")
    assert not may(reader.access, "write", "any/thing", "at/all", "any/key")


def test_own_token_of_the_daemon_may_do_everything(policies: Policies) -> None:
    """ST8D_TOKEN is an entry named admin with every verb, scope and key."""
    authoriser = policies.load(ORIGINAL, admin_token="root-secret")
    admin = shown(authoriser, "root-secret")

    assert ("admin", True) == (admin.name, admin.speaks_for_others)
    assert admin.access is ALLOW_ALL
    assert "app" == shown(authoriser, "app-secret").name


def test_token_may_be_given_by_its_digest(policies: Policies) -> None:
    """A token_sha256 stands for the token; a list of them while one is replaced."""
    old, new = (sha256(token).hexdigest() for token in (b"old", b"new"))
    authoriser = policies.load(f"""
        tokens:
          - name: one
            token_sha256: {sha256(b"one").hexdigest().upper()}
          - name: two
            token_sha256: [{old}, {new}]
        """)

    assert "one" == shown(authoriser, "one").name
    assert "two" == shown(authoriser, "old").name
    assert "two" == shown(authoriser, "new").name
    assert "the token is not known" == refused(authoriser, old)


def test_rate_limits(policies: Policies) -> None:
    """An entry may have a rate limit of its own, also none at all; else it is as all."""
    authoriser = policies.load("""
        tokens:
          - {name: one, token: one, rate_limit: 100}
          - {name: two, token: two, rate_limit: "0.5:20"}
          - {name: three, token: three, rate_limit: 0}
          - {name: four, token: four}
        """)
    found = [shown(authoriser, name).rate for name in ("one", "two", "three", "four")]

    assert [Rate(100.0, 100), Rate(0.5, 20), Rate(0.0, 1), None] == found


def test_rules_add_up(policies: Policies) -> None:
    """A list of rules allows what any of them allows, and nothing between them."""
    authoriser = policies.load("""
        tokens:
          - name: app
            token: secret
            speaks_for_others: true
            allow:
              - {namespaces: [prod], branches: [main], verbs: [read]}
              - {namespaces: [test], branches: ["*"], verbs: [read, write]}
              - namespaces: [prod]
                branches: [main]
                key_prefix: app
                verbs: [write]
        """)
    app = shown(authoriser, "secret")

    assert app.speaks_for_others
    assert may(app.access, "read", "prod", "main", "other")
    assert may(app.access, "write", "prod", "main", "app/key")
    assert not may(app.access, "write", "prod", "main", "apple")
    assert may(app.access, "write", "test", "any", "other")
    assert not may(app.access, "write", "prod", "any", "app/key")


@pytest.mark.parametrize(
    "allow",
    [
        "",
        "allow:",
        "allow: {}",
        "allow: []",
        "allow: {namespaces: ['*'], branches: ['*']}",
        "allow: {namespaces: ['*'], branches: ['*'], verbs: []}",
        "allow: {namespaces: [], branches: ['*'], verbs: [read]}",
        "allow: {namespaces: ['*'], branches: [], verbs: [read]}",
    ],
)
def test_what_is_not_allowed_is_refused(policies: Policies, allow: str) -> None:
    """A token without rules, or with empty lists in them, is known and may nothing."""
    authoriser = policies.load(f"""
        tokens:
          - name: app
            token: secret
            {allow}
        """)
    access = shown(authoriser, "secret").access

    assert "app" == shown(authoriser, "secret").name
    assert not may(access, "read", "prod", "main")
    assert not access.somewhere("read")


def test_texts_are_taken_as_they_stand(policies: Policies) -> None:
    """Tokens and names that look like numbers or truth values are texts."""
    authoriser = policies.load("""
        tokens:
          - {name: 0123, token: 0042}
          - {name: yes, token: true}
          - {name: "2027-01-31", token: 1e3}
        """)

    assert ["0123", "yes", "2027-01-31"] == [
        shown(authoriser, token).name for token in ("0042", "true", "1e3")
    ]


def test_protected_branches(policies: Policies) -> None:
    """Protections are everybody's, the daemon's own token included."""
    authoriser = policies.load(
        """
        tokens:
          - {name: deploy, token: secret}
        protected:
          - namespaces: ["payments/*"]
            branches: [main]
            writers: [deploy, admin]
            expect_revision: true
            rollback: false
          - {namespaces: ["*"], branches: [frozen], writers: []}
        """,
        admin_token="root",
    )
    first, second = shown(authoriser, "secret").protections

    assert (Glob("payments/*"),) == first.namespaces
    assert {"deploy", "admin"} == first.writers
    assert (True, False) == (first.expect_revision, first.rollback)
    assert first.covers("payments/prod", "main")
    assert not first.covers("payments/prod", "dev")
    assert (frozenset(), False, True) == second[2:]
    assert (first, second) == shown(authoriser, "root").protections


REFUSED = {
    "unknown section": (
        "token:\n  - {name: a, token: b}",
        "line 1: the file has no field 'token'; did you mean 'tokens'?",
    ),
    "unknown field": (
        "tokens:\n  - name: a\n    token: b\n    expire: 2027-01-01",
        "line 4: an entry of tokens has no field 'expire'; did you mean 'expires'?",
    ),
    "unknown field of a rule": (
        "tokens:\n  - name: a\n    token: b\n    allow:\n      namespace: [x]",
        "line 5: allow has no field 'namespace'; did you mean 'namespaces'?",
    ),
    "field twice": (
        "tokens:\n  - name: a\n    token: b\n    name: c",
        "line 4: an entry of tokens has 'name' twice",
    ),
    "section twice": ("tokens: []\ntokens: []", "line 2: the file has 'tokens' twice"),
    "no name": (
        "tokens:\n  - token: b",
        "line 2: an entry of tokens needs the field 'name'",
    ),
    "null name": (
        "tokens:\n  - token: b\n    name:",
        "line 2: an entry of tokens needs the field 'name'",
    ),
    "blank name": (
        "tokens:\n  - token: b\n    name: ' '",
        "line 3: name is blank or has white space around it",
    ),
    "name with a line end": (
        'tokens:\n  - token: b\n    name: "a\\nb"',
        "line 3: author: 'a\\nb' must not contain control characters",
    ),
    "no token": (
        "tokens:\n  - name: a",
        "line 2: an entry of tokens needs either token or token_sha256",
    ),
    "empty token": (
        "tokens:\n  - name: a\n    token:",
        "line 2: an entry of tokens needs either token or token_sha256",
    ),
    "blank token": (
        "tokens:\n  - name: a\n    token: '  '",
        "line 3: the token is blank or has white space around it",
    ),
    "token with a line end": (
        'tokens:\n  - name: a\n    token: "s3cret\\n"',
        "line 3: the token is blank or has white space around it",
    ),
    "token that no header carries": (
        "tokens:\n  - name: a\n    token: s3crét",
        "line 3: the token has characters that no HTTP header can carry",
    ),
    "two kinds of token": (
        f"tokens:\n  - name: a\n    token: b\n    token_sha256: {'0' * 64}",
        "line 2: an entry of tokens needs either token or token_sha256",
    ),
    "digest too short": (
        "tokens:\n  - name: a\n    token_sha256: 00ff",
        (
            "line 3: token_sha256 must be 64 hexadecimal digits, as 'st8ctl token hash' "
            "prints them"
        ),
    ),
    "no digest": (
        "tokens:\n  - name: a\n    token_sha256: []",
        "line 3: token_sha256 must name one at least",
    ),
    "digest of nothing": (
        f"tokens:\n  - name: a\n    token_sha256: {sha256(b'').hexdigest()}",
        "line 3: token_sha256 is that of an empty token",
    ),
    "name twice": (
        "tokens:\n  - {name: a, token: b}\n  - {name: a, token: c}",
        "line 3: the name 'a' is there twice",
    ),
    "token twice": (
        "tokens:\n  - {name: a, token: b}\n  - {name: c, token: b}",
        "line 3: this token is there twice, or is that of ST8D_TOKEN",
    ),
    "token and its digest": (
        (
            "tokens:\n  - {name: a, token: b}\n  - name: c\n    token_sha256:\n"
            f"      - {sha256(b'b').hexdigest()}"
        ),
        "line 5: this token is there twice, or is that of ST8D_TOKEN",
    ),
    "token of the daemon": (
        "tokens:\n  - {name: a, token: root-secret}",
        "line 2: this token is there twice, or is that of ST8D_TOKEN",
    ),
    "name of the daemon's token": (
        "tokens:\n  - {name: admin, token: b}",
        "line 2: the name 'admin' is the one of ST8D_TOKEN",
    ),
    "unknown verb": (
        (
            "tokens:\n  - name: a\n    token: b\n    allow:\n      verbs:\n"
            "        - read\n        - wriet"
        ),
        "line 7: there is no verb 'wriet'; did you mean 'write'?",
    ),
    "no verb at all": (
        "tokens:\n  - name: a\n    token: b\n    allow: {verbs: ['*']}",
        "line 4: there is no verb '*'; known are read, write, admin",
    ),
    "text for a list": (
        "tokens:\n  - name: a\n    token: b\n    allow: {namespaces: prod}",
        "line 4: namespaces must be a list",
    ),
    "list in a list": (
        "tokens:\n  - name: a\n    token: b\n    allow: {branches: [[main]]}",
        "line 4: an item of branches must be a text",
    ),
    "null in a list": (
        "tokens:\n  - name: a\n    token: b\n    allow: {branches: [~]}",
        "line 4: an item of branches must be a text",
    ),
    "bad pattern": (
        (
            "tokens:\n  - name: a\n    token: b\n    allow:\n      branches:\n"
            "        - 'release/[0-9'"
        ),
        "line 6: the pattern 'release/[0-9' has a [ without its ]",
    ),
    "prefix that no key has": (
        "tokens:\n  - name: a\n    token: b\n    allow: {key_prefix: ../x}",
        "line 4: key_prefix: key: '../x' must not have '.' or '..' as a path segment",
    ),
    "prefix that is a list": (
        "tokens:\n  - name: a\n    token: b\n    allow: {key_prefix: [x]}",
        "line 4: key_prefix must be a text",
    ),
    "allow is a text": (
        "tokens:\n  - name: a\n    token: b\n    allow: everything",
        "line 4: allow must hold names with values",
    ),
    "flag that is none": (
        "tokens:\n  - name: a\n    token: b\n    speaks_for_others: yes",
        "line 4: speaks_for_others must be true or false",
    ),
    "flag that is a text": (
        "tokens:\n  - name: a\n    token: b\n    speaks_for_others: 'true'",
        "line 4: speaks_for_others must be true or false",
    ),
    "no time": (
        "tokens:\n  - name: a\n    token: b\n    expires: next year",
        (
            "line 4: expires: 'next year' is not an RFC 3339 time such as "
            "2026-01-31T12:00:00Z, or a date"
        ),
    ),
    "no rate": (
        "tokens:\n  - name: a\n    token: b\n    rate_limit: fast",
        (
            "line 4: 'fast' is no rate; write 100 for a hundred requests a second, "
            "100:500 for so many and five hundred at once, or 0 for no limit"
        ),
    ),
    "no such day": (
        "tokens:\n  - name: a\n    token: b\n    expires: 2027-02-30",
        (
            "line 4: expires: '2027-02-30T00:00:00Z' is not an RFC 3339 time such as "
            "2026-01-31T12:00:00Z, or a date"
        ),
    ),
    "tokens is a mapping": ("tokens: {name: a}", "line 1: tokens must be a list"),
    "entry is a text": (
        "tokens:\n  - s3cret",
        "line 2: an entry of tokens must hold names with values",
    ),
    "file is a list": ("- tokens", "line 1: the file must hold names with values"),
    "name is a list": (
        "? [tokens]\n: []",
        "line 1: a name must be a text",
    ),
    "merged mapping": (
        "tokens:\n  - &a {name: a, token: b}\n  - <<: *a\n    name: c",
        (
            "line 3: an entry of tokens has no field '<<'; known are name, expires, "
            "speaks_for_others, allow, rate_limit, token, token_sha256"
        ),
    ),
    "protection without writers": (
        "protected:\n  - {namespaces: [a], branches: [b]}",
        "line 2: an entry of protected needs the field 'writers'",
    ),
    "unknown writer": (
        (
            "tokens:\n  - {name: deploy, token: b}\nprotected:\n  - namespaces: [a]\n"
            "    branches: [b]\n    writers: [deplyo]"
        ),
        "line 6: nobody is named 'deplyo'; did you mean 'deploy'?",
    ),
    "bad pattern of a protection": (
        "protected:\n  - {namespaces: ['['], branches: [b], writers: []}",
        "line 2: the pattern '[' has a [ without its ]",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_can_not_be_right_is_refused(policies: Policies, name: str) -> None:
    """A mistake is told with its line, and never with a secret."""
    text, expected = REFUSED[name]

    assert expected == policies.refusal(text, admin_token="root-secret")
    assert "s3cr" not in expected


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"", "is empty"),
        (b"# nothing\n", "is empty"),
        (b"~", "is empty"),
        (b"tokens: [", "is no YAML: did not find expected node content"),
        (b"a: b: c", "is no YAML: mapping values are not allowed in this context"),
        (b"\xff\xfe\xff", "is no YAML in UTF-8"),
        (b"tokens: \x00", "is no YAML in UTF-8"),
        (b"a: 1\n---\nb: 2", "is no YAML: but found another document"),
        (b"[" * 100_000, "line 1: is nested deeper than 32"),
        (b"{a: " * 100_000, "line 1: is nested deeper than 32"),
        (b"- " * 100_000, "line 1: is nested deeper than 32"),
    ],
)
def test_what_is_no_yaml_is_refused(
    policies: Policies, data: bytes, problem: str
) -> None:
    """A file that is empty or no YAML is an error, with its line where there is one."""
    policies.path.write_bytes(data)

    with pytest.raises(InvalidInput) as caught:
        read_policy(policies.path)

    assert problem in caught.value.detail
    assert str(policies.path) in caught.value.detail


@pytest.mark.parametrize(
    "text", ["tokens:\n  - token: *s3cret", "tokens:\n  - token: !s3cret!x y"]
)
def test_a_secret_that_is_no_yaml_is_not_repeated(
    policies: Policies, text: str
) -> None:
    """A token that YAML takes for something of its own is not in the error."""
    problem = policies.refusal(text)

    assert problem.startswith("line 2: is no YAML")
    assert "s3cret" not in problem


def test_large_file_is_refused(policies: Policies) -> None:
    """A file of more than 1 MiB is not read."""
    policies.path.write_bytes(b"#" * (FILE_BYTES_MAX + 1))

    with pytest.raises(InvalidInput, match="is larger than 1048576 bytes"):
        read_policy(policies.path)


def test_missing_file_is_an_error(policies: Policies) -> None:
    """A file that is not there is told by its name."""
    with pytest.raises(InvalidInput) as caught:
        load_policy_authoriser(policies.path, clock=policies.clock)

    assert (
        f"can't read policy file {str(policies.path)!r}: No such file or directory"
        == caught.value.detail
    )


def test_many_rules_through_one_anchor(policies: Policies) -> None:
    """An anchor may be used for rules that several entries share."""
    authoriser = policies.load("""
        tokens:
          - name: one
            token: a
            allow: &read {namespaces: ["*"], branches: ["*"], verbs: [read]}
          - name: two
            token: b
            allow: *read
        """)

    for token in ("a", "b"):
        access = shown(authoriser, token).access
        assert access.keys("read", Namespace("x"), BranchName("y")).is_all
