"""``st8ctl redact``: take the content of a document out of all revisions."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from st8.cli import output
from st8.cli.command import command
from st8.cli.options import only_one, pick_options
from st8.cli.render import plain, record

if TYPE_CHECKING:
    from st8.cli.flags import Flags
    from st8.client import Client, Redacted

__all__ = ["COMMAND"]


@command("redact")
@click.argument("key")
@pick_options
@click.option(
    "--reason",
    metavar="TEXT",
    default="",
    help="Why; it stands in the mark that is left.",
)
@click.option("--author", metavar="NAME", default="", help="Who redacts it.")
@click.option("--dry-run", is_flag=True, help="Show where it stands; change nothing.")
@click.option("--yes", is_flag=True, help="Do not ask.")
def redact(
    flags: Flags,
    key: str,
    revision: int | None,
    checkpoint: str | None,
    reason: str,
    author: str,
    dry_run: bool,
    yes: bool,
) -> None:
    """Take the content that KEY has in a revision out of all revisions.

    For a secret that was stored by mistake: apply another content first, then redact
    the old one. It goes wherever it stands, under other keys and in other namespaces
    too, for good, and can't be stored again. A line that says who redacted it and
    when is read in its place. Histories still verify, and backups made later lack it.
    """
    from st8.cli.confirm import ask, can_ask

    only_one(revision=revision, checkpoint=checkpoint)
    if not revision and checkpoint is None:
        raise click.UsageError(
            "say in which revision the content stands: --revision N (-1 for the one "
            "before the head) or --checkpoint NAME"
        )
    asks = not dry_run and not yes
    if asks and not can_ask():
        raise click.UsageError(
            "a redaction can't be undone and there is no terminal to ask on; add --yes "
            "to redact, or --dry-run to see where the content stands"
        )
    settings = flags.settings()
    timeout_s = settings.timeout_s if flags.timeout else None

    def send(client: Client, *, dry_run: bool) -> Redacted:
        return client.redact(
            key,
            revision=revision,
            checkpoint=checkpoint,
            reason=reason,
            author=author,
            dry_run=dry_run,
            timeout_s=timeout_s,
        )

    with flags.connect() as client:
        if asks:
            output.write(_text(send(client, dry_run=True)))
            output.flush()
            if not ask("\nRedact it for good?"):
                raise click.Abort
        done = send(client, dry_run=dry_run)
    record(flags, plain(done), lambda: _text(done))


def _text(done: Redacted) -> str:
    """Return what was redacted, and where it stood."""
    verb = "Would redact" if done.dry_run else "Redacted"
    lines = [f"{verb} content {done.digest[:12]}, which stood in:\n"]
    lines += [
        f"  {output.escaped(place.key)}  in namespace {output.escaped(place.namespace)}"
        "\n"
        for place in done.places
    ]
    return "".join(lines)


COMMAND = redact
