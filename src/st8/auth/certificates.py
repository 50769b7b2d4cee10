"""Client certificates: which entry of the policy a certificate is.

TLS has checked it against the authority; here only what it says of its owner counts,
compared as a whole and never as a pattern. One of several entries that fit the same
certificate is the first in the file.
"""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple

from st8.auth.subjects import subject_of
from st8.core.errors import Unauthenticated
from st8.core.revisions import format_time

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from st8.auth.access import Principal

__all__ = ["KINDS", "CertificateEntry", "CertificateTable", "Kind"]

Kind = Literal["subject", "common_name", "dns", "uri"]

KINDS: Final[tuple[Kind, ...]] = ("subject", "common_name", "dns", "uri")

_SECOND_NS: Final = 1_000_000_000


class CertificateEntry(NamedTuple):
    """One entry of the file.

    Attributes:
        kind: What of the certificate is looked at.
        value: What must stand there.
        principal: Who it is.
        expires_ns: When the entry ends; None for never.
    """

    kind: Kind
    value: str
    principal: Principal
    expires_ns: int | None


class CertificateTable:
    """Finds who showed a certificate. Immutable."""

    def __init__(self, entries: Iterable[CertificateEntry]) -> None:
        """Remember ``entries``, of which no two are alike."""
        self._entries = {
            (entry.kind, entry.value): (place, entry)
            for place, entry in enumerate(entries)
        }
        self._kinds = {kind for kind, _ in self._entries}

    def principal(self, certificate: Mapping[str, Any], now_ns: int) -> Principal:
        """Return who showed ``certificate``.

        A connection may outlive its certificate, so the time is looked at here too.

        Args:
            certificate: What :meth:`ssl.SSLObject.getpeercert` says of it.
            now_ns: The time.

        Raises:
            Unauthenticated: Nobody that is known, or not any more.
        """
        not_after = certificate.get("notAfter")
        if isinstance(not_after, str):
            end_ns = ssl.cert_time_to_seconds(not_after) * _SECOND_NS
            if now_ns >= end_ns:
                raise Unauthenticated(
                    f"the client's certificate expired at {format_time(end_ns)}"
                )
        found = [
            self._entries[said]
            for said in self._said(certificate)
            if said in self._entries
        ]
        if not found:
            raise Unauthenticated("the client's certificate is not known")
        _, entry = min(found, key=lambda placed: placed[0])
        if entry.expires_ns is not None and now_ns >= entry.expires_ns:
            raise Unauthenticated(
                "the entry of the client's certificate expired at "
                f"{format_time(entry.expires_ns)}"
            )
        return entry.principal

    def _said(self, certificate: Mapping[str, Any]) -> Iterator[tuple[Kind, str]]:
        """Yield what a certificate says of its owner, as far as an entry asks."""
        subject = certificate.get("subject", ())
        if subject and "subject" in self._kinds:
            yield "subject", subject_of(subject)
        names = [value for part in subject for t, value in part if t == "commonName"]
        if len(names) == 1:  # which of two would be the owner's?
            yield "common_name", names[0]
        for kind, value in certificate.get("subjectAltName", ()):
            if kind == "DNS":
                yield "dns", value
            elif kind == "URI":
                yield "uri", value
