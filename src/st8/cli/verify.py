"""``st8ctl verify``: have the daemon read its whole store."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import click

from st8.cli import output
from st8.cli.command import command
from st8.cli.render import one_of_many, plain

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from st8.cli.flags import Flags
    from st8.core.findings import Event, Head

__all__ = ["COMMAND"]

_DAMAGED: Final = 1
_NOT_VERIFIED: Final = 2


@command("verify")
@click.option(
    "--full", is_flag=True, help="Read every object, and have the store check itself."
)
@click.option(
    "--heads", is_flag=True, help="Print the head of each branch too, with -o json."
)
@click.option(
    "--expect-head",
    metavar="NUMBER:DIGEST",
    multiple=True,
    help="A revision that must be in the branch's history; may be repeated.",
)
@click.option(
    "--expect-heads",
    metavar="FILE",
    help="The output of an earlier verification with --heads -o json.",
)
def verify(
    flags: Flags,
    full: bool,
    heads: bool,
    expect_head: tuple[str, ...],
    expect_heads: str | None,
) -> None:
    """Have the daemon read its whole store and tell what is damaged.

    It is about all namespaces: all revisions, branches, checkpoints and trees are
    read, and contents need only be there, unless --full is given. Reads and writes go
    on meanwhile. With --namespace and --branch it is said whose head is expected.

    A store that was replaced by an earlier copy of itself is whole. Who has noted a
    head elsewhere can tell by --expect-head or --expect-heads. Exit codes: 0 no damage,
    1 damage was found, 2 it could not be verified.
    """
    expected = _expected(flags, expect_head, expect_heads)
    try:
        with flags.connect() as client:
            damaged = _print(
                flags, client.verify(full=full, heads=heads, expected=expected)
            )
    except BrokenPipeError:
        raise
    except Exception as error:
        error.__dict__["exit_code"] = _NOT_VERIFIED  # whatever it is elsewhere
        raise
    if damaged:
        raise click.exceptions.Exit(_DAMAGED)


def _print(flags: Flags, events: Iterator[Event]) -> bool:
    """Print what is said; return whether anything is damaged."""
    from functools import partial

    from st8.core.findings import (
        Finding,
        Progress,
        Verified,
        as_fields,
        finding_text,
        progress_text,
        summary_text,
    )
    from st8.progress import ProgressLine

    line = ProgressLine()
    damaged = False
    try:
        for event in events:
            if isinstance(event, Progress):
                line.show(progress_text(event))
                continue
            line.clear()
            damaged = damaged or isinstance(event, Finding)
            text = ""
            if isinstance(event, Finding):
                text = output.escaped(finding_text(event)) + "\n"
            elif isinstance(event, Verified):
                text = summary_text(event) + "\n"
            one_of_many(flags, plain(as_fields(event)), partial(str, text))
            output.flush()
    finally:
        line.clear()
    return damaged


def _expected(flags: Flags, given: Sequence[str], path: str | None) -> list[Head]:
    """Return the heads that are to be expected.

    Raises:
        UsageError: Something of them can't be right.
    """
    if not given and path is None:
        return []
    from st8.core.errors import InvalidInput
    from st8.core.findings import Head, heads_in, parse_head
    from st8.core.ids import Scope

    try:
        settings = flags.settings()
        scope = Scope.parse(settings.namespace, settings.branch)
        found = [Head(*scope, *parse_head(text)) for text in given]
    except InvalidInput as error:
        raise click.UsageError(f"--{error.detail}") from None
    if path is not None:
        try:
            with open(path, encoding="utf-8") as file:
                found += heads_in(file.read())
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise click.UsageError(f"--expect-heads: {path}: {reason}") from None
    return found


COMMAND = verify
