"""``st8ctl restore``: take over the state of a branch, a revision or a checkpoint."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from st8.cli import output
from st8.cli.command import command
from st8.cli.options import only_one, pick_options, write_options
from st8.cli.render import plain, record

if TYPE_CHECKING:
    from st8.cli.flags import Flags

__all__ = ["COMMAND"]


@command("restore")
@click.option("--from-branch", metavar="NAME", help="The state of this branch.")
@pick_options
@write_options
def restore(
    flags: Flags,
    from_branch: str | None,
    revision: int | None,
    checkpoint: str | None,
    message: str,
    author: str,
    expect_revision: int | None,
    dry_run: bool,
    idempotency_key: str | None,
) -> None:
    """Take over the state of another branch, a revision or a checkpoint.

    A new revision is made on this branch. With --from-branch, --revision is one of
    that branch.
    """
    only_one(revision=revision, checkpoint=checkpoint)
    only_one(from_branch=from_branch, checkpoint=checkpoint)
    if from_branch is None and not revision and checkpoint is None:
        raise click.UsageError(
            "say from where: --from-branch NAME, --revision N or --checkpoint NAME"
        )
    with flags.connect() as client:
        done = client.restore(
            branch=from_branch,
            revision=revision,
            checkpoint=checkpoint,
            message=message,
            author=author,
            expect_revision=expect_revision,
            dry_run=dry_run,
            idempotency_key=idempotency_key,
        )
    record(flags, plain(done), lambda: output.reset_text("Restored into", done))


COMMAND = restore
