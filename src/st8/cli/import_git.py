"""``st8ctl import``: replay a git history into a namespace."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from st8.cli import output
from st8.cli.command import command
from st8.cli.render import plain, record

if TYPE_CHECKING:
    from st8.cli.flags import Flags

__all__ = ["COMMAND"]


@command("import")
@click.option(
    "--git",
    "directory",
    metavar="DIR",
    required=True,
    help="The repository, or a directory of it.",
)
@click.option(
    "--all",
    "every",
    is_flag=True,
    help="Every branch, and tags as checkpoints; else what is checked out, onto the "
    "current branch.",
)
@click.option(
    "--skip-unfit",
    is_flag=True,
    help="Leave out files that can't be documents: links, submodules, what is too "
    "large or not UTF-8 text.",
)
@click.argument("path", default="")
def import_(
    flags: Flags, directory: str, every: bool, skip_unfit: bool, path: str
) -> None:
    """Replay a git history into the namespace, commit by commit.

    With PATH, what is in that directory of the repository. Each commit becomes a
    revision with its author and message, which also says which commit it was: so an
    import that was broken off, or whose repository has grown, goes on behind what is
    there. First parents are followed, so a merge is one revision.
    """
    from st8.cli.git_import import Importer

    with flags.connect() as client:
        importer = Importer(client, directory, path, leave_out=skip_unfit)
        done = importer.run(client.branch, every=every)
    if done.left_out:
        output.note(f"left out {done.left_out:,} file(s) that can't be documents")
    if done.tags_left_out:
        output.note(
            f"left out {done.tags_left_out:,} tag(s) of commits that were not imported"
        )
    record(
        flags,
        plain(done),
        lambda: (
            f"Imported {done.commits:,} commit(s) as {done.revisions:,} revision(s) "
            f"on {done.branches:,} branch(es), and {done.checkpoints:,} checkpoint(s).\n"
        ),
    )


COMMAND = import_
