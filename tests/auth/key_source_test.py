"""Where keys come from: files and addresses, read anew, early, and in vain."""

from __future__ import annotations

import json
import logging
import ssl
import threading
from typing import TYPE_CHECKING

import pytest
import trustme
from cryptography.hazmat.primitives.asymmetric import rsa

from st8.auth.key_source import KeyPlace, KeySource, check_url, read_keys
from st8.auth.yaml_fields import FILE_BYTES_MAX
from st8.core.errors import InvalidInput
from st8.testing.clock import FakeClock
from tests.auth.key_server import KeyServer, until
from tests.auth.policies import refused, shown
from tests.auth.provider import IdentityProvider

if TYPE_CHECKING:
    from pathlib import Path

    from tests.auth.policies import Policies

NOT_KNOWN = (
    "the token is signed with a key that is not known; if the key is new, try again "
    "in a minute"
)
NO_KEYS = "the keys of the token's issuer could not be read yet, st8d's log says why"


def policy(url: str, more: str = "") -> str:
    """Return a policy with a provider whose keys are at ``url``."""
    return (
        "jwt:\n"
        f"  - {{issuer: 'https://login.internal', audience: st8, jwks_url: '{url}'"
        f"{more}}}\n"
    )


def rotated(provider: IdentityProvider) -> IdentityProvider:
    """Return the provider with one more key, named ``two``."""
    other = IdentityProvider()
    other.keys = {**provider.keys, "two": rsa.generate_private_key(65_537, 2_048)}
    return other


def at(url: str, ca_file: Path | None = None, refresh_s: float = 600.0) -> KeyPlace:
    """Return a place on the network."""
    return KeyPlace(None, url, ca_file, refresh_s)


def problem_of(place: KeyPlace) -> str:
    """Return why the keys of a place can't be read."""
    with pytest.raises(InvalidInput) as caught:
        read_keys(place)
    return caught.value.detail


def test_keys_are_there_at_the_start(
    policies: Policies, provider: IdentityProvider
) -> None:
    """Keys at an address are fetched before the policy is in force."""
    with KeyServer(provider.jwks()) as server:
        authoriser = policies.load(policy(f"http://127.0.0.1:{server.port}/keys?a=b"))

        assert "anna" == shown(authoriser, provider.token()).name
        assert "/keys?a=b" == server.next_asked()
        assert server.asked.empty()


def test_keys_that_are_not_there_yet(
    policies: Policies, provider: IdentityProvider, caplog: pytest.LogCaptureFixture
) -> None:
    """Where keys can't be fetched at the start, st8d starts, and says what is wrong."""
    with KeyServer(provider.jwks()) as server:
        server.status = 503
        authoriser = policies.load(policy(f"http://127.0.0.1:{server.port}/keys"))

        assert NO_KEYS == refused(authoriser, provider.token())
        (record,) = caplog.records
        assert (
            logging.WARNING,
            "the keys of an identity provider can't be read",
            f"can't read http://127.0.0.1:{server.port}/keys: the answer is 503, not 200",
        ) == (record.levelno, record.getMessage(), vars(record)["problem"])
        server.status = 200
        authoriser.reload()
        until(lambda: refused(authoriser, provider.token()) == "it is not")


def test_new_key_is_fetched_early(
    policies: Policies, provider: IdentityProvider
) -> None:
    """A token of a key that is not known has the keys fetched, once a minute at most."""
    with KeyServer(provider.jwks()) as server:
        authoriser = policies.load(policy(f"http://127.0.0.1:{server.port}/keys"))
        old = shown(authoriser, provider.token())
        assert old is shown(authoriser, provider.token())
        server.next_asked()
        other = rotated(provider)
        server.publish(other.jwks("two"))

        assert NOT_KNOWN == refused(authoriser, other.token(kid="two"))
        assert "/keys" == server.next_asked()
        until(lambda: refused(authoriser, other.token(kid="two")) == "it is not")
        assert NOT_KNOWN == refused(authoriser, provider.token())  # it was withdrawn
        server.publish(other.jwks())
        policies.clock.advance(59)
        for name in range(50):
            made_up = other.token(kid="one", headers={"kid": f"made up {name}"})
            assert NOT_KNOWN == refused(authoriser, made_up)
        assert server.asked.empty()
        policies.clock.advance(1)
        assert NOT_KNOWN == refused(authoriser, provider.token())
        assert "/keys" == server.next_asked()
        until(lambda: refused(authoriser, provider.token()) == "it is not")
        assert server.asked.empty()


def test_failure_keeps_the_keys(
    policies: Policies, provider: IdentityProvider, caplog: pytest.LogCaptureFixture
) -> None:
    """Keys that are known go on while their place can't be read or holds none."""
    with KeyServer(provider.jwks()) as server:
        authoriser = policies.load(policy(f"http://127.0.0.1:{server.port}/keys"))
        server.next_asked()
        for body in (b"", b'{"keys": []}', b"x" * (FILE_BYTES_MAX + 1)):
            server.body = body
            authoriser.reload()
            until(lambda: bool(caplog.records))

            assert "anna" == shown(authoriser, provider.token()).name
            assert caplog.text.count("; the ones that are known go on") == 1
            caplog.clear()


def test_source_outlives_a_reload(
    policies: Policies, provider: IdentityProvider
) -> None:
    """A reload keeps the keys of an address that is still in the file."""
    with KeyServer(provider.jwks()) as server:
        text = policy(f"http://127.0.0.1:{server.port}/keys")
        authoriser = policies.load(text)
        (source,) = authoriser._policy.sources
    authoriser.reload()

    assert [source] == list(authoriser._policy.sources)
    assert "anna" == shown(authoriser, provider.token()).name
    policies.write("tokens: []")
    authoriser.reload()
    assert [] == list(authoriser._policy.sources)
    assert source._closed


def test_file_is_read_on_schedule(tmp_path: Path, provider: IdentityProvider) -> None:
    """A file of keys is read again and again; a source that is closed stops."""
    path = tmp_path / "keys.json"
    path.write_text(json.dumps(provider.jwks()), encoding="utf-8")
    place = KeyPlace(path, "", None, 0.01)
    source = KeySource(place, FakeClock(), read_keys(place))
    before = source.ring
    source.start()
    source.wait()
    other = rotated(provider)
    path.write_text(json.dumps(other.jwks()), encoding="utf-8")
    until(lambda: source.ring is not before)
    after = source.ring
    assert after is not None
    assert ["one", "two"] == [key.kid for key in after.keys]

    path.unlink()
    source.close()
    until(lambda: not any(t.name == "st8-keys" for t in threading.enumerate()))
    assert source.ring is after


def test_same_document_changes_nothing(provider: IdentityProvider) -> None:
    """Keys that are read anew and are the same stay the same objects."""
    with KeyServer(provider.jwks()) as server:
        place = at(f"http://127.0.0.1:{server.port}/", refresh_s=0.01)
        source = KeySource(place, FakeClock())
        source.start()
        source.wait()
        ring = source.ring
        for _ in range(5):
            server.next_asked()
        source.close()

        assert ring is not None
        assert ring is source.ring


@pytest.mark.parametrize("status", [301, 302, 307, 404, 500])
def test_only_an_answer_of_200_will_do(status: int) -> None:
    """Redirects are not followed, and pages of errors are no keys."""
    with KeyServer({"keys": []}) as server:
        server.status = status
        server.headers = {"Location": f"http://127.0.0.1:{server.port}/other"}
        url = f"http://127.0.0.1:{server.port}/keys"

        assert f"can't read {url}: the answer is {status}, not 200" == problem_of(
            at(url)
        )
        assert "/keys" == server.next_asked()
        assert server.asked.empty()


def test_large_answer_is_refused() -> None:
    """An answer of more than 1 MiB is not read to its end."""
    with KeyServer({}) as server:
        server.body = b"x" * (FILE_BYTES_MAX + 1)
        url = f"http://127.0.0.1:{server.port}/"

        assert f"can't read {url}: the answer is larger than 1048576 bytes" == (
            problem_of(at(url))
        )


def test_nobody_listens() -> None:
    """An address that nobody listens at is told with the reason."""
    with KeyServer({}) as server:
        url = f"http://127.0.0.1:{server.port}/"

    assert f"can't read {url}: Connection refused" == problem_of(at(url))


def test_keys_over_tls(
    policies: Policies, provider: IdentityProvider, tmp_path: Path
) -> None:
    """Over TLS the certificate counts, by the authorities that the file names."""
    authority, stranger = trustme.CA(), trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    stranger.cert_pem.write_to_path(tmp_path / "stranger.pem")
    with KeyServer(provider.jwks(), context) as server:
        url = f"https://127.0.0.1:{server.port}/keys"
        authoriser = policies.load(policy(url, ", jwks_ca_file: ca.pem"))

        assert "anna" == shown(authoriser, provider.token()).name
        for ca_file in (None, tmp_path / "stranger.pem"):
            assert f"can't read {url}: CERTIFICATE_VERIFY_FAILED" == problem_of(
                at(url, ca_file)
            )


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (None, "jwks_ca_file: can't read {path}: No such file or directory"),
        ("", "jwks_ca_file: {path} has no certificate"),
        ("no certificate", "jwks_ca_file: {path} has no certificate"),
    ],
)
def test_authorities_are_looked_at_first(
    policies: Policies, content: str | None, problem: str
) -> None:
    """A file of authorities that has none is refused with its line."""
    path = policies.folder / "ca.pem"
    if content is not None:
        path.write_text(content, encoding="utf-8")
    text = policy("https://login.internal/keys", ", jwks_ca_file: ca.pem")

    assert f"line 2: {problem.format(path=repr(str(path)))}" == policies.refusal(text)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (None, "can't read the file of keys {path}: No such file or directory"),
        ("{}", "the file of keys {path} is no JSON with a list 'keys' of objects"),
        ("x" * (FILE_BYTES_MAX + 1), "the file of keys {path} is larger than 1048576"),
    ],
)
def test_file_of_keys_must_be_right(
    policies: Policies, content: str | None, problem: str
) -> None:
    """A file of keys that can't be used is an error, at the start and at a reload."""
    path = policies.folder / "keys.json"
    if content is not None:
        path.write_text(content, encoding="utf-8")
    text = "jwt: [{issuer: a, audience: b, jwks_file: keys.json}]"

    assert policies.refusal(text).startswith(problem.format(path=repr(str(path))))


@pytest.mark.parametrize(
    "url",
    [
        "https://login.internal/keys",
        "https://login.internal:8443/keys?v=1",
        "https://[2001:db8::1]/keys",
        "http://127.0.0.1:8080/keys",
        "http://localhost/keys",
        "http://[::1]:1/keys",
    ],
)
def test_addresses_that_are_taken(url: str) -> None:
    """TLS anywhere, and plain HTTP within the machine."""
    check_url(url)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "login.internal/keys",
        "https://",
        "https:///keys",
        "http://login.internal/keys",
        "http://127.0.0.1.evil/keys",
        "http://127.0.0.1@evil/keys",
        "https://user:password@login.internal/keys",
        "https://login.internal:99999/keys",
        "https://login.internal:0/keys",
        "https://login.internal/a b",
        "https://login.internal/\n",
        "https://lögin/keys",
        "file:///etc/keys.json",
        "ftp://127.0.0.1/keys",
        "https://[::1/keys",
    ],
)
def test_addresses_that_are_refused(url: str) -> None:
    """On the way to anything else somebody could put in keys of their own."""
    with pytest.raises(ValueError, match="https:"):
        check_url(url)
