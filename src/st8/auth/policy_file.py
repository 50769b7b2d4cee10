"""The policy file: tokens, certificates, identity providers, protected branches.

docs/access-control.md is its reference. It is the original's file and more, read
strictly: what nobody would notice, a field that is spelt wrong, a token that is
there twice, is refused with its line.
"""

from __future__ import annotations

import hashlib
import re
from functools import partial
from typing import TYPE_CHECKING, Final

from st8.auth.access import Access, Principal, Protection
from st8.auth.certificates import KINDS, CertificateEntry, Kind
from st8.auth.policy import Policy, PolicyAuthoriser
from st8.auth.provider_fields import read_providers
from st8.auth.rule_fields import (
    read_globs,
    read_name,
    read_rate,
    read_rules,
    read_time,
)
from st8.auth.simple import ADMIN
from st8.auth.subjects import normal_subject
from st8.auth.tokens import TokenEntry
from st8.auth.yaml_fields import nearest, read_fields

if TYPE_CHECKING:
    from pathlib import Path

    from st8.auth.access import Method
    from st8.auth.identity_tokens import Provider
    from st8.auth.yaml_fields import Field
    from st8.core.ports import Clock

__all__ = ["load_policy_authoriser", "read_policy"]

_FILE: Final = ("tokens", "certificates", "jwt", "protected")
_ENTRY: Final = ("name", "expires", "speaks_for_others", "allow", "rate_limit")
_TOKEN: Final = (*_ENTRY, "token", "token_sha256")
_PROTECTED: Final = (
    "namespaces",
    "branches",
    "writers",
    "expect_revision",
    "rollback",
)
_SHA256: Final = re.compile(r"[0-9A-Fa-f]{64}")
_OF_NOTHING: Final = hashlib.sha256(b"").digest()


def load_policy_authoriser(
    path: Path, *, clock: Clock, admin_token: str | None = None
) -> PolicyAuthoriser:
    """Return the authoriser of the policy file at ``path``.

    Close it when it is no longer asked.

    Args:
        path: The file.
        clock: Tells what has expired.
        admin_token: The daemon's own token; whoever has it is ``admin``, may do
            everything and speaks for others. None for no such token.

    Raises:
        InvalidInput: The file can't be read, or something in it can't be right; says
            where.
    """
    digest = None if admin_token is None else _digest(admin_token)
    return PolicyAuthoriser(partial(read_policy, path, digest), clock)


def read_policy(path: Path, admin_digest: bytes | None = None) -> Policy:
    """Return what the policy file at ``path`` says.

    Args:
        path: The file.
        admin_digest: SHA-256 of the daemon's own token; None for no such token.

    Raises:
        InvalidInput: The file can't be read, or something in it can't be right.
    """
    fields = read_fields(path, "policy file").fields(_FILE)
    return _Reader(admin_digest).read(fields, path.parent)


class _Reader:
    """Reads one file; knows the names and tokens that it has met."""

    def __init__(self, admin_digest: bytes | None) -> None:
        self._names: set[str] = set()
        self._digests: set[bytes] = set()
        self._admin = admin_digest
        if admin_digest is not None:
            self._names.add(ADMIN.name)
            self._digests.add(admin_digest)

    def read(self, fields: dict[str, Field], folder: Path) -> Policy:
        """Return the policy of the sections ``fields``."""
        protected = (
            fields["protected"].items("an entry of protected")
            if "protected" in fields
            else []
        )
        protections = tuple(_read_protection(item) for item in protected)
        tokens: list[TokenEntry] = []
        if self._admin is not None:
            admin = ADMIN._replace(protections=protections)
            tokens.append(TokenEntry(self._admin, admin, None))
        if "tokens" in fields:
            for item in fields["tokens"].items("an entry of tokens"):
                tokens += self._read_tokens(item, protections)
        certificates: dict[tuple[Kind, str], CertificateEntry] = {}
        if "certificates" in fields:
            for item in fields["certificates"].items("an entry of certificates"):
                entry = self._read_certificate(item, protections)
                if (entry.kind, entry.value) in certificates:
                    raise item.wrong(f"the {entry.kind} of this entry is there twice")
                certificates[entry.kind, entry.value] = entry
        providers = read_providers(fields["jwt"], folder) if "jwt" in fields else ()
        for item in protected:
            self._check_writers(item, providers)
        return Policy(
            tuple(tokens), tuple(certificates.values()), providers, protections
        )

    def _read_tokens(
        self, item: Field, protections: tuple[Protection, ...]
    ) -> list[TokenEntry]:
        """Return an entry of ``tokens``, once for each of its tokens."""
        fields = item.fields(_TOKEN, required=("name",))
        if ("token" in fields) == ("token_sha256" in fields):
            raise item.wrong("an entry of tokens needs either token or token_sha256")
        if "token" in fields:
            digests = [(_digest(_read_token(fields["token"])), fields["token"])]
        else:
            digests = _read_digests(fields["token_sha256"])
        for digest, field in digests:
            if digest in self._digests:
                raise field.wrong("this token is there twice, or is that of ST8D_TOKEN")
            self._digests.add(digest)
        principal = self._read_principal(fields, "token", protections)
        expires_ns = read_time(fields["expires"]) if "expires" in fields else None
        return [TokenEntry(digest, principal, expires_ns) for digest, _ in digests]

    def _read_certificate(
        self, item: Field, protections: tuple[Protection, ...]
    ) -> CertificateEntry:
        """Return an entry of ``certificates``."""
        fields = item.fields((*_ENTRY, *KINDS), required=("name",))
        given: list[Kind] = [kind for kind in KINDS if kind in fields]
        if len(given) != 1:
            raise item.wrong(
                f"an entry of certificates needs one of {', '.join(KINDS)}"
            )
        (kind,) = given
        value = fields[kind].text()
        if not value.strip():
            raise fields[kind].wrong(f"{kind} must not be blank")
        if kind == "subject":
            try:
                value = normal_subject(value)
            except ValueError as error:
                raise fields[kind].wrong(str(error)) from None
        return CertificateEntry(
            kind,
            value,
            self._read_principal(fields, "certificate", protections),
            read_time(fields["expires"]) if "expires" in fields else None,
        )

    def _read_principal(
        self,
        fields: dict[str, Field],
        method: Method,
        protections: tuple[Protection, ...],
    ) -> Principal:
        """Return who an entry is about, under a name that nobody else has."""
        name = read_name(fields["name"])
        if name in self._names:
            reason = (
                "is the one of ST8D_TOKEN"
                if self._admin is not None and name == ADMIN.name
                else "is there twice"
            )
            raise fields["name"].wrong(f"the name {name!r} {reason}")
        self._names.add(name)
        return Principal(
            name,
            Access(read_rules(fields.get("allow"))),
            protections,
            "speaks_for_others" in fields and fields["speaks_for_others"].flag(),
            method,
            read_rate(fields.get("rate_limit")),
        )

    def _check_writers(self, item: Field, providers: tuple[Provider, ...]) -> None:
        """Refuse a writer that nobody can be."""
        for name, writer in item.fields(_PROTECTED)["writers"].texts():
            possible = name in self._names or any(
                name.startswith(provider.name_prefix) for provider in providers
            )
            if not possible:
                raise writer.wrong(
                    f"nobody is named {name!r}; {nearest(name, sorted(self._names))}"
                )


def _read_protection(item: Field) -> Protection:
    """Return an entry of ``protected``."""
    fields = item.fields(_PROTECTED, required=("namespaces", "branches", "writers"))
    expect = fields.get("expect_revision")
    rollback = fields.get("rollback")
    return Protection(
        read_globs(fields["namespaces"]),
        read_globs(fields["branches"]),
        frozenset(name for name, _ in fields["writers"].texts()),
        expect is not None and expect.flag(),
        rollback is None or rollback.flag(),
    )


def _read_token(field: Field) -> str:
    """Return a token that a header can carry; no error repeats it."""
    text = field.text()
    if not text.strip() or text != text.strip():
        raise field.wrong("the token is blank or has white space around it")
    if not all("!" <= character <= "~" for character in text):
        raise field.wrong("the token has characters that no HTTP header can carry")
    return text


def _read_digests(field: Field) -> list[tuple[bytes, Field]]:
    """Return one digest, or a list of them."""
    found: list[tuple[bytes, Field]] = []
    for item in field.items("an item of token_sha256") if field.is_list else [field]:
        text = item.text()
        if not _SHA256.fullmatch(text):
            raise item.wrong(
                "token_sha256 must be 64 hexadecimal digits, as 'st8ctl token hash' "
                "prints them"
            )
        digest = bytes.fromhex(text)
        if digest == _OF_NOTHING:
            raise item.wrong("token_sha256 is that of an empty token")
        found.append((digest, item))
    if not found:
        raise field.wrong("token_sha256 must name one at least")
    return found


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()
