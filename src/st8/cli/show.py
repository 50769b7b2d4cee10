"""``st8ctl show``: one revision with its changes, or a document as it was then."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, NamedTuple

import click

from st8.cli import output
from st8.cli.command import Command, command
from st8.cli.inputs import key_of
from st8.cli.pager import paged
from st8.cli.render import plain, record
from st8.cli.revisions import entry_page

if TYPE_CHECKING:
    from st8.cli.flags import Flags
    from st8.client import Client, LogEntry

__all__ = ["COMMAND", "Revision", "revision_of"]

_RELATIVE: Final = r"-(\d+)(:.*)?"
_BACK: Final = r"head~(\d+)"


class _Show(Command):
    """The command, which takes ``-1`` for a revision, not for a flag."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Write ``-1`` as ``head~1``, then let Click parse."""
        known = [
            re.sub(rf"\A{_RELATIVE}\Z", r"head~\1\2", arg, flags=re.DOTALL)
            for arg in args
        ]
        return super().parse_args(ctx, known)


class Revision(NamedTuple):
    """Which revision is meant: a number or a checkpoint; the head if neither."""

    number: int | None = None
    checkpoint: str | None = None


def revision_of(text: str) -> Revision:
    """Return the revision that ``text`` names: ``12``, ``head``, ``head~1``, a name.

    Raises:
        UsageError: It is empty, or 0.
    """
    if not text.strip("0"):
        raise click.UsageError(
            f"REV {text!r} is none; name a number from 1, -1, head or a checkpoint"
        )
    if text.lower() == "head":
        return Revision()
    if text.isascii() and text.isdigit():
        return Revision(int(text))
    back = re.fullmatch(_BACK, text, re.ASCII | re.IGNORECASE)
    if back:
        return Revision(-int(back[1]) or None)
    return Revision(checkpoint=text)


@command("show", cls=_Show)
@click.argument("what", metavar="[REV[:KEY]]", default="head")
def show(flags: Flags, what: str) -> None:
    """Show a revision: who, when, why, its digests, and its changes as a diff.

    REV is a number, -1 or head~1 for the one before the head, head, or the name of
    a checkpoint. REV:KEY writes the document KEY exactly as it was then.
    """
    name, colon, key = what.partition(":")
    if name == "checkpoint" and colon:  # for a name that reads as something else
        name, colon, key = key.partition(":")
        revision = Revision(checkpoint=name)
    else:
        revision = revision_of(name)
    with flags.connect() as client:
        if colon:
            content = client.get(
                key_of(key), revision=revision.number, checkpoint=revision.checkpoint
            )
            _show_document(flags, key_of(key), content)
        else:
            entry = _entry(client, revision)
            with paged(flags):
                record(flags, plain(entry), lambda: _page(entry))


def _show_document(flags: Flags, key: str, content: str) -> None:
    if flags.output == "text":
        output.write_bytes(content.encode())
    else:
        record(flags, {"key": key, "content": content}, str)


def _entry(client: Client, revision: Revision) -> LogEntry:
    """Return a revision with its changes and their contents."""
    page = client.log(
        1, revision=revision.number, checkpoint=revision.checkpoint, contents=True
    )
    return page.entries[0]


def _page(entry: LogEntry) -> str:
    from st8.cli.changes import patch

    diffs = "".join(patch(entry.changes, terminal=output.on_terminal()))
    return entry_page(entry) + diffs


COMMAND = show
