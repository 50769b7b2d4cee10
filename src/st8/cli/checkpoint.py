"""``st8ctl checkpoint``: name a revision; list and delete names."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from st8.cli import output
from st8.cli.command import Group, command

if TYPE_CHECKING:
    from st8.cli.flags import Flags

__all__ = ["COMMAND"]

COMMAND = Group(
    "checkpoint",
    help="Name the head revision: `st8ctl checkpoint NAME`. "
    "Names that are commands too are made with `create`.",
    default="create",
)


@command("create")
@click.argument("name")
@click.option("--description", metavar="TEXT", default="", help="What it is good for.")
@click.option("--author", metavar="NAME", default="", help="Who makes it.")
@click.option("--replace", is_flag=True, help="Move it if it exists.")
def create(
    flags: Flags, name: str, description: str, author: str, replace: bool
) -> None:
    """Name the head revision of the branch."""
    with flags.connect() as client:
        made = client.create_checkpoint(
            name, description=description, author=author, replace=replace
        )
    output.write(
        f"Checkpoint {output.escaped(made.name)} -> revision {made.revision}\n"
    )


@command("list")
def show(flags: Flags) -> None:
    """List the checkpoints of the namespace."""
    with flags.connect() as client:
        empty = True
        for found in client.checkpoints():
            empty = False
            about = (
                f" description={output.quoted(found.description)}"
                if found.description
                else ""
            )
            output.write(
                f"{output.escaped(found.name)} revision={found.revision} "
                f"branch={output.escaped(found.branch)}{about}\n"
            )
        if empty:
            # A namespace that nobody has used may be mistyped; this says so.
            next(client.branches(), None)


@command("delete")
@click.argument("name")
def delete(flags: Flags, name: str) -> None:
    """Delete a checkpoint; the revision that it names stays."""
    with flags.connect() as client:
        client.delete_checkpoint(name)
    output.write(f"Deleted checkpoint {output.escaped(name)}\n")


for subcommand in (create, show, delete):
    COMMAND.add_command(subcommand)
