"""``st8ctl diff``: what applying files, or going back, would change."""

from __future__ import annotations

from typing import TYPE_CHECKING

from st8.cli import output
from st8.cli.command import command
from st8.cli.inputs import document_options, read_documents
from st8.cli.options import only_one, pick_options

if TYPE_CHECKING:
    from collections.abc import Iterable

    from st8.cli.flags import Flags
    from st8.client import Diff

__all__ = ["COMMAND"]


@command("diff")
@document_options
@pick_options
def diff(
    flags: Flags,
    files: tuple[str, ...],
    values: tuple[str, ...],
    deletes: tuple[str, ...],
    paths: tuple[str, ...],
    revision: int | None,
    checkpoint: str | None,
) -> None:
    """Show what would change, as unified diffs that `patch -p0` applies.

    With files and values: what applying them to the current state would change.
    With --revision or --checkpoint: what rolling back to it would. With both: what
    applying the files to that state would have changed.
    """
    from st8.client import Select

    only_one(revision=revision, checkpoint=checkpoint)
    documents, keys = read_documents((*files, *paths), values, deletes)
    picked = None
    if revision is not None or checkpoint is not None:
        picked = Select(revision, checkpoint)
    with flags.connect() as client:
        if documents or keys:
            pages = client.diff_pages(documents, deletes=keys, source=picked)
        else:
            pages = client.diff_pages(target=picked)
        _show(pages)


def _show(pages: Iterable[Diff]) -> None:
    from st8.core.unified import has_no_lines, unified_diff

    shown = lineless = False
    for page in pages:
        if page.changes and not shown:
            a, b = page.from_revision, page.to_revision
            output.write(f"Diff from revision {a} to {b}\n")
            shown = True
        for change in page.changes:
            before, after = change.before, change.after
            text = unified_diff(change.key, before, after, headed=lineless)
            lineless = has_no_lines(before, after)
            output.write_content(f"\n{text}")
    if not shown:
        output.write("No differences.\n")


COMMAND = diff
