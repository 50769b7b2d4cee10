"""Starts st8d by a command line that a file of deploy/ gives."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import trustme

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping, Sequence

__all__ = ["PROGRAMS", "Running", "bare_environment", "certify", "started"]

PROGRAMS = Path(sys.executable).parent


class Running(NamedTuple):
    """A st8d that listens.

    Attributes:
        process: It.
        address: The first address that it listens on.
    """

    process: subprocess.Popen[str]
    address: str


def bare_environment(variables: Mapping[str, str]) -> dict[str, str]:
    """Return ``variables`` with what a program needs to start."""
    return {"PATH": f"{PROGRAMS}{os.pathsep}{os.defpath}", **variables}


@contextmanager
def started(
    command: Sequence[str], variables: Mapping[str, str], folder: Path
) -> Generator[Running]:
    """Run st8d in ``folder`` once it listens, and end it as service managers do."""
    process = subprocess.Popen(
        command,
        cwd=folder,
        env=bare_environment(variables),
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    lines: list[str] = []
    try:
        for line in process.stderr:
            lines.append(line)
            found = re.search(r"st8d listening on ([^\s\"]+)", line)
            if found is not None:
                yield Running(process, found[1])
                break
        else:
            raise AssertionError("".join(lines))
        process.terminate()
        _, rest = process.communicate()
        assert 0 == process.returncode, "".join((*lines, rest))
    finally:
        if process.poll() is None:
            process.kill()
            process.communicate()


def certify(folder: Path) -> None:
    """Write tls.crt and tls.key for 127.0.0.1, and the ca.crt that signed them."""
    authority = trustme.CA()
    certificate = authority.issue_cert("127.0.0.1")
    authority.cert_pem.write_to_path(str(folder / "ca.crt"))
    (folder / "tls.key").touch(mode=0o600)
    certificate.private_key_pem.write_to_path(str(folder / "tls.key"))
    for number, blob in enumerate(certificate.cert_chain_pems):
        blob.write_to_path(str(folder / "tls.crt"), append=number > 0)
