"""``st8ctl get``: documents as they are, or the keys of a state."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import click

from st8.cli import output
from st8.cli.command import command
from st8.cli.inputs import key_of
from st8.cli.options import only_one, pick_options

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from st8.cli.flags import Flags
    from st8.client import Client, StatePage

__all__ = ["COMMAND"]


@command("get")
@click.argument("names", metavar="[KEY]...", nargs=-1)
@pick_options
@click.option("--at", metavar="TIME", help="The state at that time, or 2h for ago.")
@click.option(
    "--prefix", metavar="TEXT", help="Every document whose key begins so; '' for all."
)
@click.option("--keys", "keys_only", is_flag=True, help="The keys alone.")
@click.option("--out", metavar="DIR", help="Write the documents as files into DIR.")
@click.option(
    "--force",
    is_flag=True,
    help="With --out: replace DIR and all that is in it, if that is files of "
    "documents alone.",
)
def get(
    flags: Flags,
    names: tuple[str, ...],
    revision: int | None,
    checkpoint: str | None,
    at: str | None,
    prefix: str | None,
    keys_only: bool,
    out: str | None,
    force: bool,
) -> None:
    """Write the document KEY exactly as it was applied, or list all keys.

    Nothing is added to a document, not even a newline. Several documents are
    written with a line before each that has its key. The state is the current one,
    unless an earlier one is picked.
    """
    only_one(revision=revision, checkpoint=checkpoint, at=at)
    _check_usage(names, prefix, out, keys_only=keys_only, force=force)
    if at is not None:
        from st8.cli.moments import moment

        at = moment(at, "--at")
    with flags.connect() as client:
        if len(names) == 1 and out is None and flags.output == "text":
            content = client.get(
                key_of(names[0]), revision=revision, checkpoint=checkpoint, at=at
            )
            output.write_bytes(content.encode())
            return
        view = _View(client, revision, checkpoint, at)
        keys = [key_of(name) for name in names]
        if out is not None:
            _write_out(flags, view, keys, prefix or "", out, force=force)
        elif keys:
            _show_documents(flags, *view.named(keys))
        elif prefix is not None and not keys_only:
            revision, documents = view.under(prefix)
            _show_documents(flags, revision, documents)
        else:
            _show_keys(flags, view, prefix or "")


def _check_usage(
    names: Sequence[str],
    prefix: str | None,
    out: str | None,
    *,
    keys_only: bool,
    force: bool,
) -> None:
    if names and prefix is not None:
        raise click.UsageError("KEY and --prefix can't be used together")
    if keys_only and (names or out is not None):
        other = "--out" if out is not None else "KEY"
        raise click.UsageError(f"--keys and {other} can't be used together")
    if force and out is None:
        raise click.UsageError("--force is for --out DIR")


class _View(NamedTuple):
    """A state, as it was picked.

    Attributes:
        client: Where it is read.
        revision: A number, or a negative one relative to the head.
        checkpoint: Or the name of a checkpoint.
        at: Or a time.
    """

    client: Client
    revision: int | None
    checkpoint: str | None
    at: str | None

    def key_pages(self, prefix: str, page_size: int = 10_000) -> Iterator[StatePage]:
        """Yield the keys under ``prefix``; there is always a first page."""
        return self.client.key_pages(
            prefix,
            revision=self.revision,
            checkpoint=self.checkpoint,
            at=self.at,
            page_size=page_size,
        )

    def number(self) -> int:
        """Return the number of its revision."""
        return next(self.key_pages("", 1)).revision

    def pinned(self) -> tuple[int, _View]:
        """Return the number of its revision, and what stays at it.

        A checkpoint is asked for by name again, as its revision may be of another
        branch; :meth:`check` finds out if it was moved.
        """
        number = self.number()
        if self.checkpoint is not None:
            return number, self
        return number, _View(self.client, number, None, None)

    def check(self, number: int) -> None:
        """Raise if what was read is no longer revision ``number``.

        Raises:
            Conflict: The checkpoint was moved.
        """
        if self.checkpoint is not None and self.number() != number:
            from st8.core.errors import Conflict

            raise Conflict(
                f"checkpoint {self.checkpoint!r} was moved meanwhile; read it again"
            )

    def named(self, keys: Sequence[str]) -> tuple[int, list[tuple[str, str]]]:
        """Return the number of the revision and these documents, in this order.

        Raises:
            NotFound: It has not all of them.
        """
        number, view = self.pinned()
        found = self.client.get_many(
            keys, revision=view.revision, checkpoint=view.checkpoint
        )
        self.check(number)
        missing = [key for key in keys if key not in found]
        if missing:
            from st8.core.errors import KeyNotFound, NotFound

            if len(missing) == 1:
                raise KeyNotFound(missing[0], number)
            listed = ", ".join(map(repr, missing))
            raise NotFound(f"keys not found at revision {number}: {listed}")
        return number, [(key, found[key]) for key in dict.fromkeys(keys)]

    def under(self, prefix: str) -> tuple[int, Iterator[tuple[str, str]]]:
        """Return the number of the revision, and what yields its documents."""
        number, view = self.pinned()
        return number, view.documents(number, prefix)

    def documents(self, number: int, prefix: str) -> Iterator[tuple[str, str]]:
        """Yield the documents under ``prefix``; of revision ``number``, as checked."""
        yield from self.client.documents(
            prefix, revision=self.revision, checkpoint=self.checkpoint
        )
        self.check(number)


def _show_documents(
    flags: Flags, revision: int, documents: Iterable[tuple[str, str]]
) -> None:
    """Write documents, each below its key; those of programs by their keys."""
    if flags.output != "text":
        from st8.cli.render import mapping

        mapping(flags, "documents", documents, head={"revision": revision})
        return
    line_open, separator = False, ""
    for key, content in documents:
        end = "\n" if line_open else ""
        output.write(f"{end}{separator}==> {output.escaped(key)} <==\n")
        output.write_bytes(content.encode())
        line_open, separator = bool(content) and not content.endswith("\n"), "\n"
    output.write("\n" if line_open else "")


def _show_keys(flags: Flags, view: _View, prefix: str) -> None:
    """Write the number of the revision and its keys."""
    pages = view.key_pages(prefix)
    if flags.output != "text":
        from st8.cli.render import listing

        first = next(pages)
        listing(
            flags,
            "keys",
            _keys(first, pages),
            value=str,
            text=str,
            head={"revision": first.revision},
        )
        return
    for number, page in enumerate(pages):
        head = "" if number else f"revision: {page.revision}\n"
        keys = "".join(f"{output.escaped(key)}\n" for key, _ in page.items)
        output.write(head + keys)


def _keys(first: StatePage, pages: Iterator[StatePage]) -> Iterator[str]:
    yield from (key for key, _ in first.items)
    for page in pages:
        yield from (key for key, _ in page.items)


def _write_out(
    flags: Flags,
    view: _View,
    keys: Sequence[str],
    prefix: str,
    directory: str,
    *,
    force: bool,
) -> None:
    """Write documents as files, all or none."""
    from st8.cli.folder import Folder
    from st8.cli.render import record

    if keys:
        revision, found = view.named(keys)
        documents: Iterable[tuple[str, str]] = found
        names = [key for key, _ in found]
    else:
        revision, pinned = view.pinned()
        names = [key for page in pinned.key_pages(prefix) for key, _ in page.items]
        documents = pinned.documents(revision, prefix)
    folder = Folder(directory, names, prefix, replace=force)
    folder.write(documents)
    record(
        flags,
        {"revision": revision, "directory": directory, "written": len(names)},
        lambda: (
            f"Wrote {len(names)} document(s) of revision {revision} to "
            f"{output.quoted(directory)}.\n"
        ),
    )


COMMAND = get
