"""``st8ctl backup``: write a backup to a file."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from st8.cli.command import command

if TYPE_CHECKING:
    from st8.cli.flags import Flags
    from st8.core.backup import Summary

__all__ = ["COMMAND"]


@command("backup")
@click.argument("file", metavar="FILE")
@click.option("--base", metavar="FILE", help="Write only what this backup lacks.")
@click.option("--force", is_flag=True, help="Replace FILE if it is there.")
def backup(flags: Flags, file: str, base: str | None, force: bool) -> None:
    """Write a backup to FILE, while reads and writes go on; - is standard output.

    Of every namespace, unless the flag --namespace names one. It is of one moment, and
    has all contents in clear: only its owner may read the file. With --base it needs
    that backup, and those under it, to be restored. It takes as long as it takes.
    """
    from st8.cli.backup_files import (
        STDOUT,
        check_free,
        check_not_base,
        summary_of,
        write_whole,
    )
    from st8.cli.connection import connect
    from st8.cli.progress import Flow

    check_free(file, force=force)
    under: Summary | None = None
    if base is not None:
        check_not_base(file, base)
        with Flow("reading the base") as flow:
            under = summary_of(base, flow)
    with connect(flags.settings()) as client:
        pieces = client.backup(namespace=flags.namespace or None, base=under)
        summary = write_whole(pieces, file, force=force)
    _tell(flags, summary, file, to_stdout=file == STDOUT)


def _tell(flags: Flags, summary: Summary, file: str, *, to_stdout: bool) -> None:
    """Say what was written; beside the backup where that is standard output."""
    from st8.cli import output
    from st8.cli.render import record

    counts = summary.counts
    if counts is None:
        raise TypeError(summary)
    of = "the increment" if summary.head and summary.head.base else "the backup"
    text = (
        f"{of} has {counts.namespaces} namespace(s), {counts.revisions} revision(s) "
        f"and {counts.objects} object(s) in {summary.size} bytes"
    )
    if to_stdout:
        output.note(text)
        return
    base = summary.head.base if summary.head else None
    value: dict[str, object] = {
        "file": file,
        "digest": summary.finish().hex(),
        "base": None if base is None else base.hex(),
        **counts._asdict(),
        "bytes": summary.size,
    }
    record(flags, value, lambda: f"{file}: {text}\n")


COMMAND = backup
