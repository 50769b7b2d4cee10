"""``st8ctl gc``: remove old revisions."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from st8.cli.command import command
from st8.cli.render import plain, record

if TYPE_CHECKING:
    from st8.cli.flags import Flags

__all__ = ["COMMAND"]


@command("gc")
@click.option(
    "--keep",
    metavar="N",
    type=click.IntRange(min=1),
    default=10,
    help="Keep the newest N revisions of each branch.  [10]",
)
def gc(flags: Flags, keep: int) -> None:
    """Remove old revisions and what only they needed.

    Of every namespace, unless the flag --namespace names one. Checkpoints, branch
    heads and bases are kept always. It takes as long as it takes, unless --timeout
    is given.
    """
    from st8.cli.connection import connect

    settings = flags.settings()
    with connect(settings) as client:
        done = client.gc(
            keep,
            namespace=flags.namespace or None,
            timeout_s=settings.timeout_s if flags.timeout else None,
        )
    record(flags, plain(done), lambda: f"pruned={done.revisions}\n")


COMMAND = gc
