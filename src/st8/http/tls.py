"""TLS as st8d speaks it: its context, its warnings, and who is at the other end."""

from __future__ import annotations

import logging
import re
import ssl
import stat
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from st8.core.errors import InvalidValue, MalformedRequest

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["certificate_warnings", "mode_warning", "peer_facts", "server_context"]

# What is left of TLS 1.2 are ciphers with forward secrecy that also authenticate;
# OpenSSL chooses those of TLS 1.3 itself.
_CIPHERS: Final = "@SECLEVEL=2:ECDHE+AESGCM:ECDHE+CHACHA20"
_VERSIONS: Final = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}
_PEM: Final = re.compile(
    rb"-----BEGIN (X509 CRL|(?:X509 |TRUSTED )?CERTIFICATE)-----.+?-----END \1-----",
    re.DOTALL,
)
_SOON: Final = timedelta(days=14)
_NS_PER_US: Final = 1_000
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_log = logging.getLogger("st8.http")


def server_context(
    cert: Path,
    key: Path,
    *,
    client_ca: Path | None = None,
    client_required: bool = True,
    min_version: str = "1.2",
) -> ssl.SSLContext:
    """Return a context with the chain in ``cert`` and the private key in ``key``.

    Args:
        cert: Certificate chain, PEM.
        key: Private key, PEM, not under a passphrase.
        client_ca: Who may have signed the certificates of clients, PEM; nobody is
            asked for one if None. Where the file has a list of revoked ones too,
            each authority in it needs its list.
        client_required: Whether a client without a certificate is turned away.
        min_version: The oldest TLS that is spoken, ``1.2`` or ``1.3``.

    Raises:
        InvalidValue: A file can't be read, is not what it should be, or the key is
            not the certificate's.
    """
    context = _Context(ssl.PROTOCOL_TLS_SERVER)
    context.sslobject_class = _Handshake
    context.minimum_version = _VERSIONS[min_version]
    context.set_ciphers(_CIPHERS)
    context.options |= ssl.OP_NO_RENEGOTIATION
    context.set_alpn_protocols(["http/1.1"])
    _read("tls-cert", cert)
    key_text = _read("tls-key", key)
    try:
        # The empty passphrase, lest OpenSSL asks for one on the terminal.
        context.load_cert_chain(cert, key, password="")
    except (ssl.SSLError, ValueError) as error:
        raise _explained(error, cert, key, key_text) from None
    if client_ca is not None:
        _load_client_ca(context, client_ca)
        context.verify_mode = (
            ssl.CERT_REQUIRED if client_required else ssl.CERT_OPTIONAL
        )
    return context


def _read(field: str, path: Path) -> bytes:
    """Return what is in a file."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise InvalidValue(field, f"can't read {path}: {error.strerror}") from None


def _explained(
    error: ssl.SSLError | ValueError, cert: Path, key: Path, key_text: bytes
) -> InvalidValue:
    """Return what OpenSSL's reason means for the two files."""
    reason = error.reason if isinstance(error, ssl.SSLError) else ""
    if reason == "KEY_VALUES_MISMATCH":
        return InvalidValue(
            "tls-key", f"the key in {key} is not that of the certificate in {cert}"
        )
    if reason in {"EE_KEY_TOO_SMALL", "CA_MD_TOO_WEAK", "CA_KEY_TOO_SMALL"}:
        return InvalidValue(
            "tls-cert",
            f"the certificate in {cert} is too weak "
            f"({reason.replace('_', ' ').lower()}); have a stronger one made",
        )
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_verify_locations(cert)
    except ssl.SSLError:
        return InvalidValue("tls-cert", f"{cert} holds no certificate in PEM")
    if b"ENCRYPTED" in key_text:
        return InvalidValue(
            "tls-key",
            f"the key in {key} is under a passphrase, which st8d does not take; write "
            "it without one (openssl pkey) into a file that only st8d can read",
        )
    return InvalidValue("tls-key", f"{key} holds no private key in PEM")


def _load_client_ca(context: ssl.SSLContext, path: Path) -> None:
    """Make ``context`` ask for certificates that the authorities in ``path`` signed."""
    text = _read("tls-client-ca", path)
    try:
        context.load_verify_locations(path)
    except ssl.SSLError:
        raise InvalidValue(
            "tls-client-ca", f"{path} holds no certificate in PEM"
        ) from None
    if not context.cert_store_stats()["x509"]:
        raise InvalidValue(
            "tls-client-ca", f"{path} holds no certificate, only a list of revoked ones"
        )
    if b"-----BEGIN X509 CRL-----" in text:
        context.verify_flags |= ssl.VERIFY_CRL_CHECK_LEAF


# --- handshakes ---------------------------------------------------------------


class _Handshake(ssl.SSLObject):
    """Tells the other side why its handshake failed, and the log.

    asyncio and uvloop drop what OpenSSL has to say last, so that a client whose
    certificate is refused would see the connection end and nothing else. Here a
    handshake that failed first says that it needs to read, for which the loop sends
    what there is to be sent, and fails when it is asked again.
    """

    outgoing: ssl.MemoryBIO | None = None
    failed: ssl.SSLError | None = None

    def do_handshake(self) -> None:
        """Go on with the handshake."""
        if self.failed is not None:
            raise self.failed
        try:
            super().do_handshake()
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            raise
        except ssl.SSLError as error:
            self.failed = error
            reason = getattr(error, "verify_message", "") or error.reason or str(error)
            _log.info("a TLS handshake failed: %s", reason.replace("_", " ").lower())
            if error.reason == "HTTP_REQUEST" and self.outgoing is not None:
                self.outgoing.write(_speak_tls())
            raise ssl.SSLWantReadError from None


class _Context(ssl.SSLContext):
    """Makes handshakes that know where they write to."""

    def wrap_bio(
        self,
        incoming: ssl.MemoryBIO,
        outgoing: ssl.MemoryBIO,
        server_side: bool = False,
        server_hostname: str | bytes | None = None,
        session: ssl.SSLSession | None = None,
    ) -> ssl.SSLObject:
        """Return the TLS side of a connection."""
        made = super().wrap_bio(
            incoming, outgoing, server_side, server_hostname, session
        )
        if isinstance(made, _Handshake):
            made.outgoing = outgoing
        return made


def _speak_tls() -> bytes:
    """Return the answer to a request that came without TLS."""
    from st8.http.cycles import render_refusal  # noqa: PLC0415 - loads uvicorn

    return render_refusal(
        MalformedRequest("TLS is spoken here; begin the address with https://"), b""
    )


def peer_facts(transport: asyncio.BaseTransport) -> dict[str, Any] | None:
    """Return what a connection's scope says of a client that showed a certificate."""
    tls = transport.get_extra_info("ssl_object")
    certificate = None if tls is None else tls.getpeercert()
    if not certificate:
        return None
    from st8.auth.subjects import subject_of  # noqa: PLC0415 - where it is needed

    name = subject_of(certificate.get("subject", ()))
    return {
        "st8.peer_certificate": certificate,
        "extensions": {"tls": {"client_cert_name": name}},
    }


# --- warnings -----------------------------------------------------------------


def mode_warning(what: str, path: Path) -> str | None:
    """Return a warning if others can read or change a file that holds a secret.

    A file of root's may be readable for a group, as PostgreSQL has it: that is how
    Kubernetes and systemd hand secrets over.
    """
    try:
        found = path.stat()
    except OSError:
        return None
    allowed = stat.S_IRWXU | (0 if found.st_uid else stat.S_IRGRP)
    mode = stat.S_IMODE(found.st_mode)
    if not mode & ~allowed:
        return None
    return (
        f"{what} {path} can be read or changed by others (mode {mode:04o}); "
        f"chmod 600 {path}"
    )


def certificate_warnings(
    cert: Path, key: Path, client_ca: Path | None, now_ns: int
) -> list[str]:
    """Return what an operator should know of files that :func:`server_context` took."""
    moment = _EPOCH + timedelta(microseconds=now_ns // _NS_PER_US)
    found = list(_dates("tls-cert", cert, moment))
    if client_ca is not None:
        found += _dates("tls-client-ca", client_ca, moment)
    warning = mode_warning("tls-key: the key", key)
    return [*found, warning] if warning else found


def _dates(field: str, path: Path, now: datetime) -> Iterator[str]:
    """Yield a sentence for each certificate or list that is not of this time."""
    from cryptography import x509  # noqa: PLC0415 - only TLS needs it

    for match in _PEM.finditer(path.read_bytes()):
        end: datetime | None
        try:
            if match[1] == b"X509 CRL":
                crl = x509.load_pem_x509_crl(match[0])
                what = f"a list of revoked certificates in {path}"
                begin, end = crl.last_update_utc, crl.next_update_utc
            else:
                one = x509.load_pem_x509_certificate(match[0])
                what = f"the certificate {one.subject.rfc4514_string()!r} in {path}"
                begin, end = one.not_valid_before_utc, one.not_valid_after_utc
        except ValueError:
            continue  # OpenSSL, which serves with it, is less strict
        if now < begin:
            yield f"{field}: {what} is not valid before {begin:%Y-%m-%dT%H:%M:%SZ}"
        elif end is not None and now >= end:
            yield f"{field}: {what} expired at {end:%Y-%m-%dT%H:%M:%SZ}; renew it"
        elif end is not None and match[1] != b"X509 CRL" and end - now < _SOON:
            yield f"{field}: {what} expires at {end:%Y-%m-%dT%H:%M:%SZ}; renew it"
