"""TLS of both clients: whom to trust, what to show, and what a failure means.

No socket is touched here. The standard library's ``ssl`` loads slowly, so only who
speaks TLS loads it.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from st8.client._retry import Failure, reason_of
from st8.core.errors import InvalidValue

if TYPE_CHECKING:
    import ssl

__all__ = ["check", "context", "failure", "refused"]


def check(cert_file: str | None, key_file: str | None) -> None:
    """Check what a client is told to show.

    Raises:
        InvalidValue: There is a key alone.
    """
    if key_file is not None and cert_file is None:
        raise InvalidValue("key file", "is given without its certificate (cert file)")


def context(
    ca_file: str | None, cert_file: str | None, key_file: str | None
) -> ssl.SSLContext:
    """Return how TLS is spoken. The files are read.

    Args:
        ca_file: PEM file of the authorities that are trusted; the system's if None.
        cert_file: PEM file of the certificate chain to show; None for none.
        key_file: PEM file of its private key; None if ``cert_file`` has it.

    Raises:
        InvalidValue: A file can't be used.
    """
    import ssl  # noqa: PLC0415 - not everybody speaks TLS, and it loads slowly

    try:
        made = ssl.create_default_context(cafile=ca_file)
    except OSError as error:
        raise InvalidValue(
            "ca file", f"can't use {ca_file!r}: {reason_of(error)}"
        ) from error
    if cert_file is not None:
        _load_certificate(made, cert_file, key_file)
    return made


def _load_certificate(
    context: ssl.SSLContext, cert_file: str, key_file: str | None
) -> None:
    """Make ``context`` show a certificate.

    Raises:
        InvalidValue: A file can't be read, is not what it should be, or the key is
            not the certificate's.
    """
    for field, name in (("cert file", cert_file), ("key file", key_file)):
        if name is not None and not os.access(name, os.R_OK):
            why = "it can't be read" if os.path.exists(name) else "it is not there"  # noqa: PTH110
            raise InvalidValue(field, f"can't use {name!r}: {why}")
    try:
        # The empty passphrase, lest OpenSSL asks for one on the terminal.
        context.load_cert_chain(cert_file, key_file, password="")
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", None) or ""
        if reason == "KEY_VALUES_MISMATCH":
            problem = f"the key in {key_file or cert_file!r} is not the certificate's"
        else:
            problem = (
                f"{cert_file!r} has to hold a certificate in PEM, and "
                f"{key_file or cert_file!r} its key, not under a passphrase"
            )
        raise InvalidValue("cert file", problem) from None


def failure(error: OSError) -> Failure:
    """Return the failure of a handshake that ``error`` ended; another would fail too."""
    return Failure(_reason(error), "connect", hopeless=True, remedied=True)


def refused(error: OSError) -> Failure | None:
    """Return the failure if the daemon refused this client's certificate, else None."""
    text = _refusal(error)
    if text is None:
        return None
    return Failure(text, "connect", hopeless=True, remedied=True)


def _reason(error: OSError) -> str:
    """Return why there is no TLS connection, and what can be done."""
    import ssl  # noqa: PLC0415 - loaded already, if it was a matter of TLS

    if isinstance(error, ssl.SSLCertVerificationError):
        return _distrust(error.verify_code, error.verify_message)
    if isinstance(error, ssl.SSLError):
        refused = _refusal(error)
        if refused is not None:
            return refused
        if error.reason in {"UNEXPECTED_EOF_WHILE_READING", None}:
            return "the connection ended during TLS; does it speak TLS there?"
        reason = error.reason.replace("_", " ").lower()
        if error.reason in _OLD_TLS:
            return f"TLS failed ({reason}); no version of TLS is spoken on both sides"
        return f"TLS failed ({reason}); does it speak TLS there?"
    return f"{reason_of(error)} during TLS; does it speak TLS there?"


def _distrust(code: int, message: str) -> str:
    """Return what is wrong with the daemon's certificate, and what can be done."""
    if code in _DATES:
        return f"{message}; have it renewed, and compare the clocks of both machines"
    if code in _NAMES:
        return (
            f"its certificate is for another name ({message.rstrip('.')}); use a name "
            "that the certificate has"
        )
    return (
        f"its certificate is not trusted ({message}); name the file of the authority "
        "that signed it (ca file)"
    )


def _refusal(error: OSError) -> str | None:
    """Return how the daemon refused this client, None if it did not.

    It says so in an alert that ends the handshake, so it has read nothing.
    """
    reason = getattr(error, "reason", None) or ""
    what = _ALERTS.get(reason.partition("_ALERT_")[2])
    if what is None:
        return None
    return f"it {what}; name one that it takes (cert file, key file)"


_DATES: Final = (9, 10)
"""X509_V_ERR_CERT_NOT_YET_VALID and X509_V_ERR_CERT_HAS_EXPIRED."""

_NAMES: Final = (62, 64)
"""X509_V_ERR_HOSTNAME_MISMATCH and X509_V_ERR_IP_ADDRESS_MISMATCH."""

_OLD_TLS: Final = (
    "TLSV1_ALERT_PROTOCOL_VERSION",
    "UNSUPPORTED_PROTOCOL",
    "NO_PROTOCOLS_AVAILABLE",
)

_ALERTS: Final = {
    "CERTIFICATE_REQUIRED": "wants a client certificate",
    "HANDSHAKE_FAILURE": "would not agree on TLS, and may want a client certificate",
    "UNKNOWN_CA": "does not know who signed the client certificate",
    "BAD_CERTIFICATE": "refused the client certificate",
    "UNSUPPORTED_CERTIFICATE": "refused the kind of the client certificate",
    "CERTIFICATE_EXPIRED": "says that the client certificate is not of this time",
    "CERTIFICATE_REVOKED": "says that the client certificate was revoked",
    "CERTIFICATE_UNKNOWN": "refused the client certificate",
}
