"""The TLS context that st8d serves with."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING

from st8.core.errors import InvalidValue

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["server_context"]


def server_context(cert: Path, key: Path) -> ssl.SSLContext:
    """Return a context with the chain in ``cert`` and the private key in ``key``.

    TLS 1.2 is the oldest that is spoken.

    Raises:
        InvalidValue: A file can't be read, is not what it should be, or the key is
            not the certificate's.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    for field, path in (("tls-cert", cert), ("tls-key", key)):
        try:
            path.read_bytes()
        except OSError as error:
            raise InvalidValue(field, f"can't read {path}: {error.strerror}") from None
    try:
        # The empty passphrase, lest OpenSSL asks for one on the terminal.
        context.load_cert_chain(cert, key, password="")
    except ssl.SSLError as error:
        raise _explained(error, cert, key) from None
    return context


def _explained(error: ssl.SSLError, cert: Path, key: Path) -> InvalidValue:
    """Return what OpenSSL's reason means for the two files."""
    if error.reason == "KEY_VALUES_MISMATCH":
        return InvalidValue(
            "tls-key", f"the key in {key} is not that of the certificate in {cert}"
        )
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_verify_locations(cert)
    except ssl.SSLError:
        return InvalidValue("tls-cert", f"{cert} holds no certificate in PEM")
    return InvalidValue(
        "tls-key",
        f"{key} holds no private key in PEM, or one under a passphrase, which st8d "
        "does not take",
    )
