"""``st8ctl log``: the revisions of a branch, or of all of them, newest first."""

from __future__ import annotations

from heapq import merge
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import click

from st8.cli import output
from st8.cli.command import command
from st8.cli.inputs import key_of
from st8.cli.options import only_one
from st8.cli.pager import paged
from st8.cli.render import listing, plain
from st8.cli.revisions import entry_line, seconds_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from st8.cli.flags import Flags
    from st8.client import Client, LogEntry

__all__ = ["COMMAND"]

_PAGE: Final = 500
_PAGE_WITH_CONTENTS: Final = 10
"""Contents are held in memory page by page, and a document may have 4 MiB."""

_LABELS_MAX: Final = 10_000


@command("log")
@click.argument("keys", metavar="[KEY]...", nargs=-1)
@click.option("-p", "--patch", is_flag=True, help="Show what each changed, as `diff`.")
@click.option("--graph", is_flag=True, help="Show all branches and how they belong.")
@click.option(
    "--limit",
    metavar="N",
    type=click.IntRange(min=1),
    default=20,
    help="At most N revisions.  [20]",
)
@click.option(
    "--after",
    metavar="N",
    type=click.IntRange(min=1),
    help="Only those older than revision N.",
)
@click.option("--key", metavar="KEY", help="Only those that touched this document.")
@click.option(
    "--prefix", metavar="TEXT", help="Only those that touched a key that begins so."
)
@click.option("--author", metavar="NAME", default="", help="Only those by NAME.")
@click.option(
    "--since",
    metavar="TIME",
    help="Only those made then or later: 2026-01-31T12:00:00Z, 2026-01-31, or 2h for two hours ago.",
)
@click.option("--until", metavar="TIME", help="Only those made then or earlier.")
def log(
    flags: Flags,
    keys: tuple[str, ...],
    patch: bool,
    graph: bool,
    limit: int,
    after: int | None,
    key: str | None,
    prefix: str | None,
    author: str,
    since: str | None,
    until: str | None,
) -> None:
    """Show the revisions of the branch, newest first, one a line.

    With KEYs, those that touched one of them: `st8ctl log -- app/db.yaml`; a KEY
    that ends in / stands for all under it.
    """
    only_one(key=key, prefix=prefix)
    if keys and (key is not None or prefix is not None):
        raise click.UsageError("KEY can't be used together with --key or --prefix")
    wanted = _Wanted(_subjects(keys, key, prefix), author, *_times(since, until))
    if graph and (after is not None or wanted != _Wanted((_EVERYTHING,))):
        raise click.UsageError(
            "--graph shows all branches as they are; of the filters it takes --limit"
        )
    with flags.connect() as client:
        source = _Source(client, limit, contents=patch)
        if graph:
            shown = _show_graph(flags, source, patch=patch)
        else:
            entries = source.read(wanted, after)
            with paged(flags):
                shown = _show(flags, entries, patch=patch)
        if source.collected:
            output.note(
                f"revision {source.collected} and older were removed by garbage "
                "collection"
            )
    if keys and not shown:
        output.note("no revision touched these keys; a branch is named by --branch")


class _Subject(NamedTuple):
    """What a revision must have touched: a document, or what is under a prefix."""

    key: str = ""
    prefix: str = ""


_EVERYTHING: Final = _Subject()


class _Wanted(NamedTuple):
    """Which revisions are wanted: those that touched any of the subjects, and more."""

    subjects: tuple[_Subject, ...]
    author: str = ""
    since: str | None = None
    until: str | None = None


def _subjects(
    keys: tuple[str, ...], key: str | None, prefix: str | None
) -> tuple[_Subject, ...]:
    if not keys:
        return (_Subject(key_of(key) if key else "", prefix or ""),)
    return tuple(
        _Subject(prefix=key_of(name) + "/") if name.endswith("/") else
        _Subject(key=key_of(name))
        for name in keys
    )  # fmt: skip


def _times(since: str | None, until: str | None) -> tuple[str | None, str | None]:
    """Return the times as the daemon takes them."""
    if not since and not until:
        return None, None
    from st8.cli.moments import moment

    return (
        moment(since, "--since") if since else None,
        moment(until, "--until", end=True) if until else None,
    )


class _Source:
    """Reads revisions, a page at a time.

    Attributes:
        collected: The newest revision that was met and is gone; 0 for none.
    """

    def __init__(self, client: Client, limit: int, *, contents: bool) -> None:
        self.client = client
        self.collected = 0
        self.limit = limit
        self._contents = contents

    def read(self, wanted: _Wanted, after: int | None) -> Iterator[LogEntry]:
        """Yield the revisions of the branch that are wanted, newest first."""
        found = [
            self._pages(self.client, wanted, subject, after=after)
            for subject in wanted.subjects
        ]
        if len(found) == 1:
            return islice(found[0], self.limit)
        return islice(_each_once(merge(*found, key=_age)), self.limit)

    def read_from(self, branch: str, head: int) -> Iterator[LogEntry]:
        """Yield the revisions of a branch from ``head`` on."""
        client = self.client.scope(branch=branch)
        return self._pages(client, _Wanted(()), _EVERYTHING, start=head)

    def _pages(
        self,
        client: Client,
        wanted: _Wanted,
        subject: _Subject,
        *,
        after: int | None = None,
        start: int | None = None,
    ) -> Iterator[LogEntry]:
        size = _PAGE_WITH_CONTENTS if self._contents else _PAGE
        while True:
            page = client.log(
                min(size, self.limit),
                after=after,
                key=subject.key,
                prefix=subject.prefix,
                author=wanted.author,
                since=wanted.since,
                until=wanted.until,
                revision=start,
                contents=self._contents,
            )
            yield from page.entries
            after = page.next
            if page.collected is not None:
                self.collected = max(self.collected, page.collected)
            if after is None:
                return


def _age(entry: LogEntry) -> int:
    """Return what sorts the newest first."""
    return -entry.revision


def _each_once(entries: Iterable[LogEntry]) -> Iterator[LogEntry]:
    """Yield sorted entries without those that are there twice."""
    last = None
    for entry in entries:
        if entry.revision != last:
            yield entry
        last = entry.revision


def _show(flags: Flags, entries: Iterable[LogEntry], *, patch: bool) -> int:
    return listing(
        flags,
        "entries",
        entries,
        value=plain,
        text=_with_patch if patch else entry_line,
    )


def _with_patch(entry: LogEntry) -> str:
    """Return the line of a revision, and its diff below it."""
    from st8.cli.changes import patch

    diffs = "".join(patch(entry.changes, terminal=output.on_terminal()))
    return f"{entry_line(entry)}{diffs}\n"


def _show_graph(flags: Flags, source: _Source, *, patch: bool) -> int:
    from st8.cli.graph import Lanes, merge_logs

    heads = [(branch.name, branch.head) for branch in source.client.branches()]
    branches, checkpoints = (
        _names(heads),
        _names(
            (found.name, found.revision)
            for found in islice(source.client.checkpoints(), _LABELS_MAX)
        ),
    )
    lanes = Lanes()

    def row(entry: LogEntry) -> str:
        names = branches.get(entry.revision, []) + [
            f"checkpoint {name}" for name in checkpoints.get(entry.revision, [])
        ]
        before, own = lanes.rows(entry.revision, entry.parent)
        lines = [*before, own + _graph_line(entry, names)]
        if patch:
            left = lanes.beside()
            lines += [
                f"{left}{line}".rstrip(" ")
                for line in _with_patch(entry).split("\n")[1:-1]
            ]
        return "\n".join(lines) + "\n"

    def value(entry: LogEntry) -> dict[str, Any]:
        return {
            **plain(entry),
            "branches": branches.get(entry.revision, []),
            "checkpoints": checkpoints.get(entry.revision, []),
        }

    entries = islice(merge_logs(heads, source.read_from), source.limit)
    with paged(flags):
        return listing(flags, "entries", entries, value=value, text=row)


def _names(pairs: Iterable[tuple[str, int]]) -> dict[int, list[str]]:
    """Return the names that each revision has."""
    names: dict[int, list[str]] = {}
    for name, revision in pairs:
        names.setdefault(revision, []).append(name)
    return names


def _graph_line(entry: LogEntry, labels: list[str]) -> str:
    number = output.paint(str(entry.revision), "yellow")
    names = output.escaped(", ".join(labels))
    label = " " + output.paint(f"({names})", "green") if names else ""
    message = output.escaped(entry.message.partition("\n")[0])
    return f"{number} {seconds_of(entry.created_at)}{label} {message}"


COMMAND = log
