"""Who asks, by the policy file: the authoriser that st8d serves with.

A policy is read as a whole, made ready and then put in the place of the one before
in one step, so that every request sees one policy and a file with a mistake changes
nothing.
"""

from __future__ import annotations

import hashlib
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from st8.auth.certificates import CertificateTable
from st8.auth.identity_tokens import IdentityTokens
from st8.auth.key_source import KeySource, read_keys
from st8.auth.simple import ADMIN, bearer_token
from st8.auth.tokens import TokenTable
from st8.core.errors import Unauthenticated

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from st8.auth.access import Principal, Protection
    from st8.auth.certificates import CertificateEntry
    from st8.auth.identity_tokens import Provider
    from st8.auth.key_source import KeyPlace
    from st8.auth.tokens import TokenEntry
    from st8.core.ports import Clock

__all__ = ["PEER_CERTIFICATE", "Policy", "PolicyAuthoriser"]

PEER_CERTIFICATE = "st8.peer_certificate"
"""Where the ASGI connection scope has a client's certificate."""


class Policy(NamedTuple):
    """What a policy file says.

    Attributes:
        tokens: The tokens.
        certificates: The client certificates, in the order of the file.
        providers: The identity providers.
        protections: What is asked of all who write.
    """

    tokens: tuple[TokenEntry, ...]
    certificates: tuple[CertificateEntry, ...]
    providers: tuple[Provider, ...]
    protections: tuple[Protection, ...]

    @property
    def names(self) -> frozenset[str]:
        """The names that tokens and certificates have."""
        return frozenset(
            principal.name
            for principal in (
                *(token.principal for token in self.tokens),
                *(certificate.principal for certificate in self.certificates),
            )
        )


class _InForce(NamedTuple):
    """A policy that is ready to be asked."""

    tokens: TokenTable
    certificates: CertificateTable
    identity_tokens: IdentityTokens
    sources: tuple[KeySource, ...]


class PolicyAuthoriser:
    """Tells who asks, by a policy that may be read anew at any time."""

    def __init__(self, read: Callable[[], Policy], clock: Clock) -> None:
        """Put the policy in force that ``read`` returns.

        Returns once every place of keys was looked at; one on the network that can't
        be reached is logged and asked again, and its tokens are refused meanwhile.

        Raises:
            InvalidInput: The policy, or a file of keys that it names, is not right.
        """
        self._read = read
        self._clock = clock
        self._policy = self._make_ready({})
        for source in self._policy.sources:
            source.start()
        for source in self._policy.sources:
            source.wait()

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"

    def reload(self) -> None:
        """Read the policy anew and put it in force; see :meth:`prepare`."""
        self.prepare()()

    def prepare(self) -> Callable[[], None]:
        """Read the policy anew; return what puts it in force, which can't fail.

        All of it or nothing; what is never put in force leaves nothing behind. Reads
        files and never waits for the network. Tokens of identity providers are
        verified anew.

        Raises:
            InvalidInput: Something in it is not right; nothing was changed.
        """
        before = {source.place: source for source in self._policy.sources}
        return partial(self._take, self._make_ready(before))

    def _take(self, policy: _InForce) -> None:
        """Put ``policy`` in force: look for its keys, and for no others."""
        before, self._policy = self._policy.sources, policy
        after = policy.sources
        for source in after:
            if source in before:
                source.look_again()
            else:
                source.start()
        for source in before:
            if source not in after:
                source.close()

    def close(self) -> None:
        """Stop looking for keys; never blocks."""
        for source in self._policy.sources:
            source.close()

    def authenticate(
        self, authorization: bytes | None, connection: Mapping[str, Any], /
    ) -> Principal:
        """Return who asks: by the header, or without one by the certificate.

        Raises:
            Unauthenticated: It can't be told, or what tells it has expired.
        """
        policy = self._policy
        if authorization is None:
            certificate = connection.get(PEER_CERTIFICATE)
            if certificate:
                return policy.certificates.principal(certificate, self._clock.now_ns())
        token = bearer_token(authorization)
        digest = hashlib.sha256(token).digest()
        found = policy.tokens.principal(digest, self._clock)
        if found is None:
            found = policy.identity_tokens.principal(token, digest)
        if found is None:
            raise Unauthenticated("the token is not known")
        return found

    def _make_ready(self, before: Mapping[KeyPlace, KeySource]) -> _InForce:
        """Return the policy as it is now, changing nothing.

        Its sources of keys on the network are those of ``before`` where it has them;
        files are read here.
        """
        policy = self._read()
        sources: dict[KeyPlace, KeySource] = {}
        for provider in policy.providers:
            place = provider.place
            if place.file is not None:
                sources[place] = KeySource(place, self._clock, read_keys(place))
            else:
                sources[place] = before.get(place) or KeySource(place, self._clock)
        return _InForce(
            TokenTable(policy.tokens),
            CertificateTable(policy.certificates),
            IdentityTokens(
                [(provider, sources[provider.place]) for provider in policy.providers],
                self._clock,
                taken=policy.names | {ADMIN.name},
                protections=policy.protections,
            ),
            tuple(sources.values()),
        )
