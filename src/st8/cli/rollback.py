"""``st8ctl rollback``: make an earlier state the current one, as a new revision."""

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


@command("rollback")
@pick_options
@write_options
def rollback(
    flags: Flags,
    revision: int | None,
    checkpoint: str | None,
    message: str,
    author: str,
    expect_revision: int | None,
    dry_run: bool,
    idempotency_key: str | None,
) -> None:
    """Roll the branch back to a revision or checkpoint.

    History is not rewritten: a new revision is made with the contents of the old
    one. Documents that it did not have are deleted.
    """
    only_one(revision=revision, checkpoint=checkpoint)
    if not revision and checkpoint is None:
        raise click.UsageError(
            "say where to: --revision N (-1 for the one before) or --checkpoint NAME"
        )
    with flags.connect() as client:
        done = client.rollback(
            revision,
            checkpoint=checkpoint,
            message=message,
            author=author,
            expect_revision=expect_revision,
            dry_run=dry_run,
            idempotency_key=idempotency_key,
        )
    record(flags, plain(done), lambda: output.reset_text("Rolled back at", done))


COMMAND = rollback
