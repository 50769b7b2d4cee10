"""``st8ctl apply``: put documents, and delete some, as one revision."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from st8.cli import output
from st8.cli.command import command
from st8.cli.inputs import document_options, read_documents
from st8.cli.options import write_options

if TYPE_CHECKING:
    from st8.cli.flags import Flags

__all__ = ["COMMAND"]


@command("apply")
@document_options
@write_options
def apply(
    flags: Flags,
    files: tuple[str, ...],
    values: tuple[str, ...],
    deletes: tuple[str, ...],
    paths: tuple[str, ...],
    message: str,
    author: str,
    expect_revision: int | None,
    dry_run: bool,
) -> None:
    """Apply files and values to the state, as one revision.

    The path of a file becomes its key. Documents that are not named stay as they
    are. Contents are stored byte for byte.
    """
    if not (files or paths or values or deletes):
        raise click.UsageError(
            "give at least one FILE, --value KEY=VALUE or --delete KEY"
        )
    documents, keys = read_documents((*files, *paths), values, deletes)
    with flags.connect() as client:
        done = client.apply(
            documents,
            deletes=keys,
            message=message,
            author=author,
            expect_revision=expect_revision,
            dry_run=dry_run,
        )
    if done.noop:
        output.write(f"No changes. Head stays at revision {done.revision}.\n")
        return
    count = f"{len(done.changes)} change(s)"
    output.write(
        (
            f"Would apply {count}; nothing was changed.\n"
            if dry_run
            else f"Applied {count} at revision {done.revision}.\n"
        )
        + output.change_lines(done.changes)
    )


COMMAND = apply
