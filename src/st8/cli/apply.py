"""``st8ctl apply``: put documents, and delete some, as one revision."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import click

from st8.cli import output
from st8.cli.command import command
from st8.cli.inputs import document_options
from st8.cli.options import write_options

if TYPE_CHECKING:
    from collections.abc import Collection
    from typing import TypedDict, Unpack

    from st8.cli.flags import Flags
    from st8.cli.inputs import Given, Inputs
    from st8.client import Client, Written

    class How(TypedDict):
        """What the options of every write were given."""

        message: str
        author: str
        expect_revision: int | None
        dry_run: bool
        idempotency_key: str | None


__all__ = ["COMMAND"]

_TRIES: Final = 5
"""How often pruning begins anew because the head has moved."""


@command("apply")
@document_options
@click.option(
    "-y", "--yes", is_flag=True, help="Delete without asking; needed in a pipe."
)
@write_options
def apply(
    flags: Flags,
    yes: bool,
    message: str,
    author: str,
    expect_revision: int | None,
    dry_run: bool,
    idempotency_key: str | None,
    **given: Unpack[Given],
) -> None:
    """Apply files, directories and values to the state, as one revision.

    The path of a file becomes its key; with -R, its path below the directory.
    Documents that are not named stay as they are. Contents are stored byte for byte.

    Before anything is deleted, the difference is shown and you are asked; what was
    shown is what is applied, or nothing.
    """
    from st8.cli.confirm import can_ask
    from st8.cli.inputs import read_inputs, size_remedy

    if not (given["files"] or given["paths"] or given["values"] or given["deletes"]):
        raise click.UsageError(
            "give at least one FILE, --value KEY=VALUE or --delete KEY"
        )
    asks = bool(given["deletes"] or given["prune"]) and not (yes or dry_run)
    if asks and (given["key"] is not None or not can_ask()):
        raise click.UsageError(
            "this may delete documents and there is no terminal to ask on; add --yes "
            "to delete them, or --dry-run to see them"
        )
    if idempotency_key is not None and (asks or given["prune"]):
        raise click.UsageError(
            "--idempotency-key names one and the same change, and what --prune deletes, "
            "or what you are asked about, depends on what is there; leave it out, or "
            "name what to delete with --delete and --yes"
        )
    inputs = read_inputs(flags, given)
    how: How = {
        "message": message,
        "author": author,
        "expect_revision": expect_revision,
        "dry_run": dry_run,
        "idempotency_key": idempotency_key,
    }
    with flags.connect() as client, size_remedy():
        if asks:
            done = _after_asking(client, inputs, how)
        elif inputs.pruned is not None:
            done = _pruning(client, inputs, how)
        else:
            done = _send(client, inputs, inputs.deletes, how)
    _show(flags, done)


def _send(
    client: Client, inputs: Inputs, deletes: Collection[str], how: How
) -> Written:
    from st8.cli.progress import Progress

    documents = inputs.documents
    with Progress(f"sending {len(documents):,} documents", len(documents)):
        return client.apply(documents, deletes=deletes, **how)


def _pruning(client: Client, inputs: Inputs, how: How) -> Written:
    """Apply and delete what is lacking, of one and the same state.

    If the head moves meanwhile, it is done anew with what is there now, unless a
    certain head was expected.
    """
    from st8.core.errors import HeadMoved

    for tries_left in reversed(range(_TRIES)):
        revision, deletes = _deletes(client, inputs, how["expect_revision"])
        try:
            return _send(client, inputs, deletes, {**how, "expect_revision": revision})
        except HeadMoved:
            if not tries_left or how["expect_revision"] is not None:
                raise
    raise AssertionError


def _after_asking(client: Client, inputs: Inputs, how: How) -> Written:
    """Show what would change, ask if something would be deleted, and apply that.

    Raises:
        Abort: The answer was no.
        HeadMoved: Somebody else made a revision meanwhile.
    """
    from st8.cli.changes import patch
    from st8.cli.confirm import ask
    from st8.client import Select

    source = None
    deletes: Collection[str] = inputs.deletes
    if inputs.pruned is not None:
        revision, deletes = _deletes(client, inputs, how["expect_revision"])
        source = Select(revision=revision) if revision else None
    found = client.diff(inputs.documents, deletes=deletes, source=source)
    _check_head(client, how["expect_revision"], found.from_revision)
    gone = sum(change.type == "delete" for change in found.changes)
    if gone:
        for text in patch(found.changes, terminal=True):
            output.note_lines(text)
        if not ask(f"\nDelete {gone} document(s)?"):
            output.note("Nothing was changed.")
            raise click.Abort
    return _send(
        client, inputs, deletes, {**how, "expect_revision": found.from_revision}
    )


def _deletes(
    client: Client, inputs: Inputs, expected: int | None
) -> tuple[int, list[str]]:
    """Return the head's revision, 0 for none, and what of it is to be deleted."""
    from st8.core.errors import NothingApplied

    revision = 0
    keys: list[str] = []
    prefix = "" if inputs.pruned is None else inputs.pruned.prefix
    try:
        for page in client.key_pages(prefix):
            revision = page.revision
            keys.extend(key for key, _ in page.items)
    except NothingApplied:
        pass  # nothing to delete; the first apply makes the branch
    _check_head(client, expected, revision)
    return revision, inputs.to_delete(keys)


def _check_head(client: Client, expected: int | None, actual: int) -> None:
    from st8.core.errors import HeadMoved

    if expected is not None and actual != expected:
        raise HeadMoved(client.namespace, client.branch, expected, actual)


def _show(flags: Flags, done: Written) -> None:
    from st8.cli.render import plain, record

    record(flags, plain(done), lambda: _text(done))


def _text(done: Written) -> str:
    """Return what was done: a sentence and the changes."""
    if done.noop:
        return f"No changes. Head stays at revision {done.revision}.\n"
    count = f"{len(done.changes)} change(s)"
    head = (
        f"Would apply {count}; nothing was changed.\n"
        if done.dry_run
        else f"Applied {count} at revision {done.revision}.\n"
    )
    return head + output.change_lines(done.changes)


COMMAND = apply
