"""``st8ctl namespace``: list namespaces."""

from __future__ import annotations

from typing import TYPE_CHECKING

from st8.cli import output
from st8.cli.command import Group, command

if TYPE_CHECKING:
    from st8.cli.flags import Flags

__all__ = ["COMMAND"]

COMMAND = Group("namespace", help="List the namespaces.", default="list", strict=True)


@command("list")
def show(flags: Flags) -> None:
    """List the namespaces that something was applied to."""
    with flags.connect() as client:
        for found in client.namespaces():
            output.write(
                f"{output.escaped(found.name)} last_revision={found.last_revision}\n"
            )


COMMAND.add_command(show)
