"""Tells whether the st8d of this container answers; exits with 0 if it does.

It asks where st8d was told to listen, by flags, variables or file, over TLS if st8d
speaks TLS. Certificates are not judged: one that has expired is no reason to end the
daemon. Its argument is st8d's process id, 1 if there is none.
"""

from __future__ import annotations

import contextlib
import os
import socket
import ssl
import sys
from pathlib import Path

from st8.config import Settings, UnixAddress, UsageError, load

TIMEOUT_S = 4.0
_REQUEST = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
_EVERYWHERE = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - read


def settings_of(process: str) -> Settings:
    """Return what the st8d with this process id was told."""
    words = os.fsdecode(Path(f"/proc/{process}/cmdline").read_bytes()).split("\0")[:-1]
    names = [Path(word).name for word in words]
    return load(words[names.index("st8d") + 1 :])


def ask(settings: Settings) -> bool:
    """Return whether st8d answers that it is well."""
    address = settings.listen[0]
    if isinstance(address, UnixAddress):
        connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(TIMEOUT_S)
        connection.connect(str(address.path))
    else:
        host = _EVERYWHERE.get(address.host, address.host)
        connection = socket.create_connection((host, address.port), TIMEOUT_S)
    with contextlib.closing(connection):
        if settings.tls is None or isinstance(address, UnixAddress):
            return _is_well(connection)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        try:
            with context.wrap_socket(connection) as secured:
                return _is_well(secured)
        except ssl.SSLError:
            # It refuses who has no certificate, so it is there.
            if settings.tls.client_ca is not None and settings.tls.client_required:
                return True
            raise


def _is_well(connection: socket.socket) -> bool:
    connection.sendall(_REQUEST)
    with connection.makefile("rb") as answer:
        return answer.readline(1_024).split()[1:2] == [b"200"]


def main() -> int:
    """Ask, and return the exit code."""
    try:
        well = ask(settings_of(sys.argv[1] if len(sys.argv) > 1 else "1"))
    except (OSError, ValueError, IndexError, UsageError) as error:
        sys.stderr.write(f"st8d does not answer: {error}\n")
        return 1
    return 0 if well else 1


if __name__ == "__main__":
    sys.exit(main())
