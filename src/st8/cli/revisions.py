"""How a revision is shown: as a line of a log, and as a page of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from st8.cli import output

if TYPE_CHECKING:
    from st8.client import LogEntry

__all__ = ["entry_line", "entry_page", "seconds_of"]


def entry_line(entry: LogEntry, *, many: bool = False) -> str:
    """Return the line of a revision in the log.

    Args:
        entry: The revision.
        many: It lacks its changes, as they are too many.
    """
    changes = "many" if many else len(entry.changes)
    author = f" author={output.quoted(entry.author)}" if entry.author else ""
    return (
        f"{output.paint(f'rev={entry.revision}', 'yellow')} parent={entry.parent} "
        f"branch={output.escaped(entry.branch)} at={seconds_of(entry.created_at)} "
        f"message={output.quoted(entry.message)} changes={changes}{author}\n"
    )


def entry_page(entry: LogEntry) -> str:
    """Return all there is to say of a revision, but for its changes."""
    rows = [
        ("digest", entry.digest),
        ("state", entry.root),
        ("parent", ", ".join(map(str, entry.parents)) or str(entry.parent)),
        ("branch", output.escaped(entry.branch)),
        ("kind", entry.kind),
        ("author", output.escaped(entry.author)),
        ("date", entry.created_at),
        ("changes", str(len(entry.changes))),
    ]
    head = output.paint(f"revision {entry.revision}", "yellow")
    body = "".join(f"{name:<8} {value}\n" for name, value in rows if value)
    message = "".join(
        f"    {output.escaped(line)}".rstrip() + "\n"
        for line in entry.message.splitlines()
    )
    return f"{head}\n{body}\n{message}"


def seconds_of(created_at: str) -> str:
    """Return a time without what is less than a second."""
    return created_at.partition(".")[0].removesuffix("Z") + "Z"
