"""``st8ctl log``: the revisions of a branch, newest first."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from st8.cli import output
from st8.cli.command import command
from st8.cli.inputs import key_of
from st8.cli.options import only_one

if TYPE_CHECKING:
    from st8.cli.flags import Flags
    from st8.client import LogEntry

__all__ = ["COMMAND"]


@command("log")
@click.option(
    "--limit",
    metavar="N",
    type=click.IntRange(min=1),
    default=20,
    help="At most N revisions.  [20]",
)
@click.option(
    "--after", metavar="N", type=int, help="Only those older than revision N."
)
@click.option("--key", metavar="KEY", help="Only those that touched this document.")
@click.option(
    "--prefix", metavar="TEXT", help="Only those that touched a key under it."
)
@click.option("--author", metavar="NAME", default="", help="Only those by NAME.")
@click.option(
    "--since", metavar="TIME", help="Only those made then (RFC 3339) or later."
)
@click.option("--until", metavar="TIME", help="Only those made before.")
def log(
    flags: Flags,
    limit: int,
    after: int | None,
    key: str | None,
    prefix: str | None,
    author: str,
    since: str | None,
    until: str | None,
) -> None:
    """Show the revisions of the branch, newest first, one a line."""
    only_one(key=key, prefix=prefix)
    with flags.connect() as client:
        page = client.log(
            limit,
            after=after,
            key=key_of(key) if key else "",
            prefix=prefix or "",
            author=author,
            since=since or None,
            until=until or None,
        )
    output.write("".join(map(_line, page.entries)))
    if page.collected is not None:
        output.note(
            f"revision {page.collected} and older were removed by garbage collection"
        )


def _line(entry: LogEntry) -> str:
    seconds = entry.created_at.partition(".")[0].removesuffix("Z") + "Z"
    author = f" author={output.quoted(entry.author)}" if entry.author else ""
    return (
        f"rev={entry.revision} parent={entry.parent} "
        f"branch={output.escaped(entry.branch)} at={seconds} "
        f"message={output.quoted(entry.message)} changes={len(entry.changes)}{author}\n"
    )


COMMAND = log
