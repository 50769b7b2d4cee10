"""From settings to a client: over the network, or to a daemon inside the process."""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

from st8.client import Client
from st8.client._retry import RETRIES

if TYPE_CHECKING:
    from collections.abc import Generator

    from st8.cli.flags import Settings

__all__ = ["connect", "make_client"]


@contextmanager
def connect(settings: Settings) -> Generator[Client]:
    """Yield the client that ``settings`` name.

    Where no daemon is named, one runs inside this process while the context lasts:
    the same HTTP API, on the loopback, with a token nobody else knows.

    Raises:
        St8Error: The settings can't be right, or the state directory is in use.
    """
    if settings.url is not None:
        with make_client(settings, settings.url) as client:
            yield client
        return
    from pathlib import Path

    from st8.daemon import serve_in_thread

    token = os.urandom(16).hex()
    state_dir = Path(os.path.expanduser(settings.state_dir))
    with (
        serve_in_thread(state_dir, token=token) as url,
        make_client(settings._replace(token=token), url) as client,
    ):
        yield client


def make_client(settings: Settings, url: str, *, retries: int = RETRIES) -> Client:
    """Return the client of the daemon at ``url``.

    Args:
        settings: What else is in force.
        url: Where it is.
        retries: How often a call that may be repeated is, at most.

    Raises:
        InvalidInput: The settings can't be right.
    """
    return Client(
        url,
        token=settings.token,
        namespace=settings.namespace,
        branch=settings.branch,
        timeout_s=settings.timeout_s,
        retries=retries,
        ca_file=settings.ca_file,
        cert_file=settings.cert_file,
        key_file=settings.key_file,
    )
