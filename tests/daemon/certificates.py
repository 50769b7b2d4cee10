"""Authorities for tests, the certificates they sign, and what they revoke."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization

if TYPE_CHECKING:
    from pathlib import Path

    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

__all__ = ["Authority", "Pair"]

NOW = dt.datetime.now(dt.UTC)
DAY = dt.timedelta(days=1)


class Pair:
    """A certificate and its key.

    Attributes:
        cert: The file of the certificate.
        key: The file of the key.
    """

    def __init__(self, cert: Path, key: Path) -> None:
        self.cert = cert
        self.key = key

    def flags(self) -> list[str]:
        """Return the flags that make st8d serve with it."""
        return ["--tls-cert", str(self.cert), "--tls-key", str(self.key)]

    def become(self, other: Pair) -> None:
        """Have the files of ``other``, exchanged as certbot and others do it."""
        for own, new in ((self.cert, other.cert), (self.key, other.key)):
            beside = own.with_suffix(".new")
            beside.write_bytes(new.read_bytes())
            beside.chmod(0o600)
            beside.replace(own)


class Authority:
    """An authority.

    Attributes:
        ca_file: The file of its certificate.
    """

    def __init__(self, folder: Path, name: str) -> None:
        self._ca = trustme.CA(organization_name=name)
        self._folder = folder
        self._name = name
        self._count = 0
        self.ca_file = folder / f"{name}.pem"
        self._ca.cert_pem.write_to_path(self.ca_file)

    def issue(
        self,
        *names: str,
        common_name: str | None = None,
        begin: dt.datetime | None = None,
        end: dt.datetime | None = None,
    ) -> Pair:
        """Return a certificate for ``names``, 127.0.0.1 if there are none."""
        issued = self._ca.issue_cert(
            *(names or ("127.0.0.1", "localhost")),
            common_name=common_name,
            organization_name="Example",
            organization_unit_name="Unit",
            not_before=begin,
            not_after=end,
        )
        self._count += 1
        base = self._folder / f"{self._name}-{self._count}"
        pair = Pair(base.with_suffix(".cert"), base.with_suffix(".key"))
        issued.private_key_pem.write_to_path(pair.key)
        pair.key.chmod(0o600)
        for blob in issued.cert_chain_pems:
            blob.write_to_path(pair.cert, append=True)
        return pair

    def revoke(self, *pairs: Pair, end: dt.datetime = NOW + DAY) -> Path:
        """Return a file of the authority with a list that has ``pairs``."""
        authority = x509.load_pem_x509_certificate(self.ca_file.read_bytes())
        key: EllipticCurvePrivateKey = serialization.load_pem_private_key(  # type: ignore[assignment]
            self._ca.private_key_pem.bytes(), None
        )
        builder = (
            x509.CertificateRevocationListBuilder()
            .issuer_name(authority.subject)
            .last_update(NOW - 2 * DAY)
            .next_update(end)
        )
        for pair in pairs:
            one = x509.load_pem_x509_certificate(pair.cert.read_bytes())
            revoked = x509.RevokedCertificateBuilder().serial_number(one.serial_number)
            builder = builder.add_revoked_certificate(
                revoked.revocation_date(NOW - DAY).build()
            )
        crl = builder.sign(key, hashes.SHA256())
        path = self._folder / f"{self._name}-with-list.pem"
        path.write_bytes(
            self.ca_file.read_bytes() + crl.public_bytes(serialization.Encoding.PEM)
        )
        return path
