"""``st8ctl export``: write the history of a namespace as a git repository."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from st8.cli import output
from st8.cli.command import command
from st8.cli.render import plain, record

if TYPE_CHECKING:
    from st8.cli.flags import Flags

__all__ = ["COMMAND"]


@command("export")
@click.option(
    "--git",
    "directory",
    metavar="DIR",
    required=True,
    help="Make a git repository of it in DIR, which is not there yet or empty.",
)
def export(flags: Flags, directory: str) -> None:
    """Write the history of the namespace as a git repository.

    A revision becomes a commit, with its author and time; a branch a branch; a
    checkpoint a tag. The files of the current branch are checked out. Git knows less
    of names and times: what it does not take in a name is written as % and two digits,
    and fractions of seconds are left out. Each commit says its revision and digest.
    """
    from st8.cli.git_export import export as write

    with flags.connect() as client:
        done = write(client, client.branch, directory)
    if done.note:
        output.note(done.note)
    record(
        flags,
        plain(done),
        lambda: (
            f"Exported {done.revisions:,} revision(s), {done.branches:,} branch(es) and "
            f"{done.checkpoints:,} checkpoint(s) to {done.directory}.\n"
        ),
    )


COMMAND = export
