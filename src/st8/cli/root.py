"""The command ``st8ctl`` itself: its subcommands, and how it ends.

Exit codes: 0 done; 1 a fault of st8, corrupt data, or differences that were asked
for; 2 wrong usage; 3 not found; 4 conflict; 5 refused; 6 unreachable or unavailable;
7 invalid input or a limit; 8 it is not known whether it was done; 130 interrupted;
141 nobody reads the output.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import click

from st8 import __version__
from st8.cli import output
from st8.cli.command import LazyGroup
from st8.cli.flags import Flags

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["COMPLETE", "ROOT", "run"]

COMPLETE: Final = "__complete"
"""The command that the scripts of ``st8ctl completion`` ask; for nobody else."""

_INTERRUPTED: Final = 130
_NO_READER: Final = 141


def _show_version(ctx: click.Context, _param: click.Parameter, value: object) -> None:
    if value:
        output.write(f"st8ctl {__version__}\n")
        ctx.exit()


ROOT: Final = LazyGroup(
    "st8ctl",
    {
        "apply": ("st8.cli.apply", "Apply files and values to the state."),
        "get": ("st8.cli.get", "Read the current state or an earlier one."),
        "diff": ("st8.cli.diff", "Compare the state to files or an earlier state."),
        "edit": ("st8.cli.edit", "Change a document in an editor."),
        "log": ("st8.cli.log", "Show the revision history."),
        "show": ("st8.cli.show", "Show one revision, or a document as it was in it."),
        "watch": ("st8.cli.watch", "Show each revision as it is made; run a command."),
        "checkpoint": ("st8.cli.checkpoint", "Name a revision; list and delete names."),
        "rollback": ("st8.cli.rollback", "Roll back to a revision or checkpoint."),
        "branch": ("st8.cli.branch", "List, create and delete branches."),
        "restore": ("st8.cli.restore", "Take over the state of a branch or revision."),
        "namespace": ("st8.cli.namespace", "List namespaces."),
        "gc": ("st8.cli.gc", "Remove old revisions."),
        "backup": ("st8.cli.backup", "Write a backup to a file, while all goes on."),
        "restore-backup": (
            "st8.cli.restore_backup",
            "Restore backups into a store without them.",
        ),
        "redact": ("st8.cli.redact", "Take a leaked content out of all revisions."),
        "export": ("st8.cli.export", "Write the history as a git repository."),
        "import": ("st8.cli.import_git", "Replay a git history, commit by commit."),
        "verify": ("st8.cli.verify", "Read the whole store and tell what is damaged."),
        "status": ("st8.cli.status", "Show the daemon, the branch and what it holds."),
        "token": ("st8.cli.token", "Make a token for st8d's policy file, or hash one."),
        "config": ("st8.cli.config", "Show and change the settings and contexts."),
        "completion": ("st8.cli.completion", "Print what completes st8ctl in a shell."),
        "version": ("st8.cli.version", "Show the versions of st8ctl and st8d."),
    },
    help="Version configuration and operational state: apply, compare, roll back.",
    epilog="Connect with --server URL, ST8_SERVER, or a context of the configuration "
    "file (st8ctl config init); --local needs no daemon.\n\n"
    "Exit codes: 0 done; 1 a fault, corrupt data, or differences that were asked for; "
    "2 wrong usage; 3 not found; 4 conflict; 5 refused; 6 unreachable; 7 invalid or "
    "too large; 8 not known whether it was done; 130 interrupted; 141 nobody reads "
    "the output.",
    options=[
        click.Option(
            ["--version"],
            is_flag=True,
            is_eager=True,
            expose_value=False,
            help="Show the version and exit.",
            callback=_show_version,
        )
    ],
)


def run(args: Sequence[str]) -> int:
    """Run ``st8ctl`` with ``args`` and return its exit code; never raises.

    Data goes to standard output, everything else to standard error. When it
    returns, both are flushed.
    """
    if args and args[0] == COMPLETE:
        from st8.cli.completion import answer

        return answer(args[1:])
    flags = Flags()
    try:
        try:
            with ROOT.make_context("st8ctl", list(args), obj=flags) as ctx:
                ROOT.invoke(ctx)
        except click.exceptions.Exit as end:
            code = end.exit_code
        else:
            code = 0
        output.flush()
    except BrokenPipeError:
        output.discard()
        code = _NO_READER
    except (KeyboardInterrupt, click.Abort):
        output.discard()
        code = _INTERRUPTED
    except Exception as error:  # noqa: BLE001 - the last place that can say anything
        from st8.cli.failure import tell

        code = tell(error, flags, args)
    return code
