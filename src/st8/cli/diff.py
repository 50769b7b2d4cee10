"""``st8ctl diff``: what applying files, or going back, would change."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import click

from st8.cli import output
from st8.cli.command import command
from st8.cli.inputs import document_options
from st8.cli.options import only_one, pick_options

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Unpack

    from st8.cli.flags import Flags
    from st8.cli.inputs import Given
    from st8.cli.selectors import Directory
    from st8.client import Client, Diff, Select
    from st8.core.documents import Change

__all__ = ["COMMAND"]

_DIFFERENT: Final = 1


@command("diff")
@document_options
@pick_options
@click.option("--from", "source", metavar="STATE", help="The earlier side.  [the head]")
@click.option(
    "--to",
    "target",
    metavar="STATE",
    help="The later side: 12, -1, head, checkpoint:NAME, branch:NAME, branch:NAME@12, "
    "at:TIME or dir:PATH.  [the head]",
)
@click.option("--stat", is_flag=True, help="Show how much of each document changed.")
@click.option("--name-only", is_flag=True, help="Show the keys alone.")
@click.option("--exit-code", is_flag=True, help="End with 1 if there are differences.")
def diff(
    flags: Flags,
    revision: int | None,
    checkpoint: str | None,
    source: str | None,
    target: str | None,
    stat: bool,
    name_only: bool,
    exit_code: bool,
    **given: Unpack[Given],
) -> None:
    """Show what would change, as unified diffs that `patch -p0` applies.

    With files, directories and values: what applying them to the current state would
    change. With --revision or --checkpoint: what rolling back to it would. With both:
    what applying the files to that state would have changed. With --from and --to: how
    any two states differ.
    """
    from st8.cli.inputs import size_remedy
    from st8.cli.pager import paged

    only_one(revision=revision, checkpoint=checkpoint, **{"from": source})
    only_one(revision=revision, checkpoint=checkpoint, to=target)
    only_one(stat=stat or None, name_only=name_only or None)
    picked = None if revision is None else str(revision)
    if checkpoint is not None:
        picked = f"checkpoint:{checkpoint}"
    if picked is not None:
        if _names_documents(given):
            source = picked
        else:
            target = picked
    with flags.connect() as client, size_remedy():
        differs = False
        sides = _sides(flags, client, given, source, target)
        pages = client.diff_pages(source=sides.earlier, target=sides.later)
        if flags.output != "text":
            differs = _show_value(flags, pages, stat=stat, name_only=name_only)
        else:
            with paged(flags):
                differs = _show_text(pages, sides, stat=stat, name_only=name_only)
    if exit_code and differs:
        raise click.exceptions.Exit(_DIFFERENT)


class _Sides(NamedTuple):
    """What is compared.

    Attributes:
        earlier: The one side.
        later: The other.
        earlier_name: What it is called; ``""`` for its revision alone.
        later_name: The same.
    """

    earlier: Select
    later: Select
    earlier_name: str
    later_name: str


def _names_documents(given: Given) -> bool:
    return bool(given["files"] or given["paths"] or given["values"] or given["deletes"])


def _sides(
    flags: Flags,
    client: Client,
    given: Given,
    source: str | None,
    target: str | None,
) -> _Sides:
    """Return what is compared.

    Raises:
        UsageError: What is given can't be.
    """
    from st8.cli.inputs import read_inputs
    from st8.cli.selectors import Directory, laid_over, side_of

    earlier = side_of(source or "head", "--from")
    later = side_of(target or "head", "--to")
    if isinstance(earlier, Directory):
        if isinstance(later, Directory):
            raise click.UsageError("two directories are compared by 'diff -r'")
        inputs = read_inputs(flags, _whole(given, earlier))
        pinned, overlaid = laid_over(client, later, inputs)
        return _Sides(overlaid, pinned, _name(earlier), _name(later))
    if isinstance(later, Directory):
        given, name = _whole(given, later), _name(later)
    elif not _names_documents(given):
        read_inputs(flags, given)  # a flag that needs a file says so
        return _Sides(earlier, later, _name(earlier), _name(later))
    elif target is not None:
        raise click.UsageError(
            "--to can't be used with files or values: they are the later side"
        )
    else:
        name = ""
    inputs = read_inputs(flags, given)
    name = name or ("these files" if inputs.only_files else "what is given")
    pinned, overlaid = laid_over(client, earlier, inputs)
    return _Sides(pinned, overlaid, _name(earlier), name)


def _whole(given: Given, directory: Directory) -> Given:
    """Return what reads a directory as a side of its own.

    Raises:
        UsageError: Documents are named beside it.
        InvalidInput: There is no such directory.
    """
    from st8.core.errors import InvalidInput

    if _names_documents(given):
        raise click.UsageError(
            "dir:PATH is a whole side; it can't be used with files or values"
        )
    if not os.path.isdir(directory.path):
        raise InvalidInput(f"there is no directory {directory.path!r}")
    return {**given, "paths": (directory.path,), "recursive": True, "prune": True}


def _name(side: Select | Directory) -> str:
    """Return what a side is called beside its revision; ``""`` for nothing."""
    from st8.cli.selectors import Directory

    if isinstance(side, Directory):
        return f"directory {output.quoted(side.path)}"
    return "" if side.branch is None else f"of branch {output.quoted(side.branch)}"


def _show_value(
    flags: Flags, pages: Iterator[Diff], *, stat: bool, name_only: bool
) -> bool:
    """Write the changes for programs; return whether there are any."""
    from st8.cli.changes import size_of
    from st8.cli.render import listing, plain

    def value(change: Change) -> Any:
        if name_only:
            return {"key": str(change.key), "type": change.type}
        return size_of(change).value() if stat else plain(change)

    first = next(pages)
    head = {"from_revision": first.from_revision, "to_revision": first.to_revision}
    changes = _changes(first, pages)
    count = listing(flags, "changes", changes, value=value, text=str, head=head)
    return count > 0


def _changes(first: Diff, pages: Iterator[Diff]) -> Iterator[Change]:
    yield from first.changes
    for page in pages:
        yield from page.changes


def _show_text(
    pages: Iterator[Diff], sides: _Sides, *, stat: bool, name_only: bool
) -> bool:
    """Write the changes for people; return whether there are any."""
    from st8.cli.changes import patch, size_of, size_table

    first = next(pages)
    changes = _changes(first, pages)
    if name_only:
        for change in changes:
            output.write(f"{output.escaped(change.key)}\n")
    elif not first.changes:
        output.write("No differences.\n")
    elif stat:
        output.write(size_table([size_of(change) for change in changes]))
    else:
        output.write(_headline(first, sides))
        for text in patch(changes, terminal=output.on_terminal()):
            output.write(text)
    return bool(first.changes)


def _headline(first: Diff, sides: _Sides) -> str:
    """Return what is compared in a line, which ``patch`` passes over."""

    def label(name: str, revision: int) -> str:
        if not name or name.startswith("of "):
            return f"revision {revision} {name}".rstrip()
        return name

    earlier = label(sides.earlier_name, first.from_revision)
    later = label(sides.later_name, first.to_revision)
    if not (sides.earlier_name or sides.later_name):
        later = str(first.to_revision)
    return f"Diff from {earlier} to {later}\n"


COMMAND = diff
