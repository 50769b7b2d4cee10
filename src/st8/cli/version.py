"""``st8ctl version``: which version this is, and which the daemon is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from st8 import __version__
from st8.cli import output
from st8.cli.command import command
from st8.cli.render import plain, record

if TYPE_CHECKING:
    from st8.cli.flags import Flags
    from st8.client import ServerVersion

__all__ = ["COMMAND"]


@command("version")
@click.option("--client", is_flag=True, help="That of st8ctl alone; asks no daemon.")
def version(flags: Flags, client: bool) -> None:
    """Show the versions of st8ctl and of the daemon."""
    found: ServerVersion | None = None
    if not client:
        with flags.connect() as daemon:
            found = daemon.version()
    value: dict[str, Any] = {"client": {"version": __version__}}
    if found is not None:
        value["server"] = plain(found)
    record(flags, value, lambda: _text(found))


def _text(found: ServerVersion | None) -> str:
    text = f"st8ctl {__version__}\n"
    if found is None:
        return text
    version, api, store = map(output.escaped, found)
    return f"{text}st8d {version} (API {api}, store {store})\n"


COMMAND = version
