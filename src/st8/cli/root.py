"""The command ``st8ctl`` itself: its subcommands, and how it ends.

Exit codes: 0 done; 1 a fault of st8, or corrupt data; 2 wrong usage; 3 not found;
4 conflict; 5 refused; 6 unreachable or unavailable; 7 invalid input or a limit;
8 it is not known whether it was done; 130 interrupted; 141 nobody reads the output.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Final

import click

from st8 import __version__
from st8.cli import output
from st8.cli.command import LazyGroup
from st8.cli.flags import Flags
from st8.core.errors import St8Error

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["ROOT", "run"]

_FAULT: Final = 1
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
        "checkpoint": ("st8.cli.checkpoint", "Name a revision; list and delete names."),
        "rollback": ("st8.cli.rollback", "Roll back to a revision or checkpoint."),
        "log": ("st8.cli.log", "Show the revision history."),
        "branch": ("st8.cli.branch", "List, create and delete branches."),
        "restore": ("st8.cli.restore", "Take over the state of a branch or revision."),
        "namespace": ("st8.cli.namespace", "List namespaces."),
        "gc": ("st8.cli.gc", "Remove old revisions."),
    },
    help="Version configuration and operational state: apply, diff, check, roll back.",
    epilog="Connect with --server URL or server.url in the configuration file; "
    "--local needs no daemon.",
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
    try:
        try:
            with ROOT.make_context("st8ctl", list(args), obj=Flags()) as ctx:
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
    except click.UsageError as error:
        code = error.exit_code
        output.complain(_with_help(error))
    except click.ClickException as error:
        code = error.exit_code
        output.complain(error.format_message())
    except St8Error as error:
        code = error.exit_code
        output.complain(error.detail)
    except Exception as error:  # noqa: BLE001 - the last place that can say anything
        code = _FAULT
        _report_fault(error)
    return code


def _with_help(error: click.UsageError) -> str:
    """Return the message of a wrong usage, and where to read on."""
    message = error.format_message().rstrip(".")
    if error.ctx is None:
        return message
    return f"{message}; see '{error.ctx.command_path} --help'"


def _report_fault(error: Exception) -> None:
    """Say what went wrong inside st8ctl, or with its output."""
    if isinstance(error, OSError):
        output.discard()
        output.complain(f"can't write the output: {error.strerror or error}")
        return
    import traceback

    traceback.print_exception(error, file=sys.stderr)
    output.complain(f"a fault of st8ctl itself: {type(error).__name__}: {error}")
