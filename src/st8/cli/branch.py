"""``st8ctl branch``: list, create and delete branches."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from st8.cli import output
from st8.cli.command import Group, command
from st8.cli.options import only_one, pick_options
from st8.cli.render import listing, plain, record

if TYPE_CHECKING:
    from st8.cli.flags import Flags
    from st8.client import Branch

__all__ = ["COMMAND"]

COMMAND = Group(
    "branch", help="List the branches of the namespace.", default="list", strict=True
)


@command("list")
def show(flags: Flags) -> None:
    """List the branches of the namespace; a star marks the current one."""
    with flags.connect() as client:
        listing(flags, "branches", client.branches(), value=plain, text=_line)


def _line(found: Branch) -> str:
    star = " *" if found.current else ""
    return f"{output.escaped(found.name)} head={found.head} base={found.base}{star}\n"


@command("create")
@click.argument("name")
@pick_options
def create(
    flags: Flags, name: str, revision: int | None, checkpoint: str | None
) -> None:
    """Create a branch that starts at the head of the current one.

    Or at a revision of it, or at a checkpoint.
    """
    only_one(revision=revision, checkpoint=checkpoint)
    with flags.connect() as client:
        made = client.create_branch(name, revision=revision, checkpoint=checkpoint)
    record(
        flags,
        plain(made),
        lambda: (
            f"Created branch {output.escaped(made.name)} at revision {made.head}.\n"
        ),
    )


@command("delete")
@click.argument("name")
@click.option(
    "--expect-revision",
    metavar="N",
    type=click.IntRange(min=0),
    help="Do it only if its head is revision N.",
)
def delete(flags: Flags, name: str, expect_revision: int | None) -> None:
    """Delete a branch; checkpoints keep what they name.

    The current branch is deleted only with --expect-revision.
    """
    with flags.connect() as client:
        if name == client.branch and expect_revision is None:
            raise click.UsageError(
                f"{name!r} is the current branch; say which head it is to have "
                "with --expect-revision N, or pick another with --branch"
            )
        client.delete_branch(name, expect_revision=expect_revision)
    record(flags, {"deleted": name}, lambda: f"Deleted branch {output.escaped(name)}\n")


for subcommand in (show, create, delete):
    COMMAND.add_command(subcommand)
