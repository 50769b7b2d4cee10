"""``st8ctl restore-backup``: restore backups into a store without them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from st8.cli.command import command

if TYPE_CHECKING:
    from collections.abc import Sequence

    from st8.cli.flags import Flags
    from st8.client._results import BackupRestored
    from st8.core.backup import Summary

__all__ = ["COMMAND"]


@command("restore-backup")
@click.argument("files", metavar="FILE...", nargs=-1, required=True)
@click.option(
    "--check", is_flag=True, help="Only look whether it can be done; needs no daemon."
)
def restore_backup(flags: Flags, files: tuple[str, ...], check: bool) -> None:
    """Restore a backup, and those that stand on it, oldest first.

    All of its namespaces appear at once, or none does. It is refused if one of them is
    there already. With --check they are restored into a store that is thrown away, for
    which there must be room where temporary files are.
    """
    from st8.cli.backup_files import read_all, sizes, summary_of
    from st8.cli.progress import Flow
    from st8.cli.render import plain, record

    if flags.namespace:
        raise click.UsageError(
            "a backup is restored whole; to have one namespace of it, restore it into "
            "another store (--local --state-dir DIR), back that namespace up from there "
            "(st8ctl backup --namespace), and restore that"
        )
    total = sizes(files)
    with Flow("reading", total) as flow:
        _check_order(files, [summary_of(path, flow) for path in files])
    if check:
        from st8.cli.ending import in_order
        from st8.client._results import BackupRestored
        from st8.daemon import check_backup

        with in_order(), Flow("checking", total) as flow:
            pieces = read_all(files, flow)
            done = BackupRestored(*check_backup(lambda: next(pieces, b"")))
        record(flags, plain(done), lambda: f"{_text(done)} can be restored\n")
        return
    from st8.cli.connection import connect

    with connect(flags.settings()) as client, Flow("restoring", total) as flow:
        done = client.restore_backup(read_all(files, flow))
    record(flags, plain(done), lambda: f"restored {_text(done)}\n")


def _check_order(files: Sequence[str], summaries: Sequence[Summary]) -> None:
    """Return if each backup stands on the one before it, the first on none.

    Raises:
        InvalidInput: One does not.
    """
    from st8.core.errors import InvalidInput

    below = None
    for path, summary in zip(files, summaries, strict=True):
        base = None if summary.head is None else summary.head.base
        if base != below:
            if base is None:
                problem = "stands alone"
            elif below is None:
                problem = f"stands on another backup, with the digest {base.hex()}"
            else:
                problem = "does not stand on the one before it"
            raise InvalidInput(
                f"{path!r} {problem}; name a full backup first, then those that stand "
                "on it, oldest first"
            )
        below = summary.finish()


def _text(done: BackupRestored) -> str:
    return (
        f"{done.namespaces} namespace(s) with {done.branches} branch(es), "
        f"{done.checkpoints} checkpoint(s) and {done.revisions} revision(s)"
    )


COMMAND = restore_backup
