"""``st8ctl namespace``: list namespaces."""

from __future__ import annotations

from typing import TYPE_CHECKING

from st8.cli import output
from st8.cli.command import Group, command
from st8.cli.render import listing, plain

if TYPE_CHECKING:
    from st8.cli.flags import Flags

__all__ = ["COMMAND"]

COMMAND = Group("namespace", help="List the namespaces.", default="list", strict=True)


@command("list")
def show(flags: Flags) -> None:
    """List the namespaces that something was applied to."""
    with flags.connect() as client:
        listing(
            flags,
            "namespaces",
            client.namespaces(),
            value=plain,
            text=lambda found: (
                f"{output.escaped(found.name)} last_revision={found.last_revision}\n"
            ),
        )


COMMAND.add_command(show)
