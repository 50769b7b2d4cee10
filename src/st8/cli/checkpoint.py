"""``st8ctl checkpoint``: name a revision; list, show and delete names."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from st8.cli import output
from st8.cli.command import Group, command
from st8.cli.options import REVISION
from st8.cli.render import listing, plain, record

if TYPE_CHECKING:
    from st8.cli.flags import Flags
    from st8.client import Checkpoint

__all__ = ["COMMAND"]

COMMAND = Group(
    "checkpoint",
    help="Name the head revision: `st8ctl checkpoint NAME`. "
    "Names that are commands too are made with `create`.",
    default="create",
)


@command("create")
@click.argument("name")
@click.option(
    "--revision",
    metavar="N",
    type=REVISION,
    help="Name revision N; -1 is the one before the head.",
)
@click.option("--description", metavar="TEXT", default="", help="What it is good for.")
@click.option("--author", metavar="NAME", default="", help="Who makes it.")
@click.option("--replace", is_flag=True, help="Move it if it exists.")
def create(
    flags: Flags,
    name: str,
    revision: int | None,
    description: str,
    author: str,
    replace: bool,
) -> None:
    """Name the head revision of the branch, or another one of it."""
    with flags.connect() as client:
        made = client.create_checkpoint(
            name,
            revision=revision,
            description=description,
            author=author,
            replace=replace,
        )
    record(
        flags,
        plain(made),
        lambda: f"Checkpoint {output.escaped(made.name)} -> revision {made.revision}\n",
    )


@command("list")
def list_all(flags: Flags) -> None:
    """List the checkpoints of the namespace."""
    with flags.connect() as client:
        count = listing(
            flags, "checkpoints", client.checkpoints(), value=plain, text=_line
        )
        if not count:
            # A namespace that nobody has used may be mistyped; this says so.
            next(client.branches(), None)


@command("show")
@click.argument("name")
def show(flags: Flags, name: str) -> None:
    """Show what a checkpoint names, by whom and what for."""
    with flags.connect() as client:
        found = client.checkpoint(name)
    record(flags, plain(found), lambda: _page(found))


@command("delete")
@click.argument("name")
def delete(flags: Flags, name: str) -> None:
    """Delete a checkpoint; the revision that it names stays."""
    with flags.connect() as client:
        client.delete_checkpoint(name)
    record(
        flags,
        {"deleted": name},
        lambda: f"Deleted checkpoint {output.escaped(name)}\n",
    )


def _line(found: Checkpoint) -> str:
    about = found.description
    description = f" description={output.quoted(about)}" if about else ""
    return (
        f"{output.escaped(found.name)} revision={found.revision} "
        f"branch={output.escaped(found.branch)}{description}\n"
    )


def _page(found: Checkpoint) -> str:
    rows = [
        ("revision", str(found.revision)),
        ("branch", output.escaped(found.branch)),
        ("author", output.escaped(found.author)),
        ("date", found.created_at),
    ]
    head = output.paint(f"checkpoint {output.escaped(found.name)}", "yellow")
    body = "".join(f"{name:<8} {value}\n" for name, value in rows if value)
    about = "".join(
        f"    {output.escaped(line)}".rstrip() + "\n"
        for line in found.description.splitlines()
    )
    return f"{head}\n{body}" + (f"\n{about}" if about else "")


for subcommand in (create, list_all, show, delete):
    COMMAND.add_command(subcommand)
