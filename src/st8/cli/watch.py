"""``st8ctl watch``: what happens to the branch, told as it happens."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Final

import click

from st8.cli import output
from st8.cli.command import command
from st8.cli.render import one_of_many, plain
from st8.cli.revisions import entry_line

if TYPE_CHECKING:
    from collections.abc import Sequence

    from st8.cli.flags import Flags
    from st8.client import ResyncEvent, RevisionEvent, Watch, WatchEvent
    from st8.core.errors import St8Error

__all__ = ["COMMAND"]

_VARIABLE_BYTES_MAX: Final = 100_000
"""What the keys may take in the environment; Linux refuses a variable of 128 KiB."""


@command("watch")
@click.option(
    "--prefix", metavar="TEXT", default="", help="Only changes of keys under it."
)
@click.option(
    "--after",
    metavar="N",
    type=click.IntRange(min=0),
    help="Begin with what follows revision N; 0 for all there is.",
)
@click.option(
    "--contents", is_flag=True, help="Tell JSON and CMD what was before and is after."
)
@click.option("-p", "--patch", is_flag=True, help="Show what each changed, as `diff`.")
@click.option(
    "--exec",
    "program",
    metavar="CMD",
    help="Run CMD for each, one after the other, with ST8_REVISION, ST8_NAMESPACE, ST8_BRANCH and ST8_KEYS; its input is the JSON.",
)
@click.option("--exec-fail", is_flag=True, help="End when CMD fails.")
@click.option(
    "--limit", metavar="N", type=click.IntRange(min=1), help="End after N of them."
)
def watch(
    flags: Flags,
    prefix: str,
    after: int | None,
    contents: bool,
    patch: bool,
    program: str | None,
    exec_fail: bool,
    limit: int | None,
) -> None:
    """Show each revision of the branch as it is made, one a line, until interrupted.

    It reconnects by itself, and leaves none out. Where that can't be (garbage
    collection, a branch made anew) it says so: a resync.
    """
    if exec_fail and program is None:
        raise click.UsageError("--exec-fail is of use with --exec alone")
    runner = None if program is None else _Runner(program, fails=exec_fail)
    with (
        flags.connect() as client,
        client.watch(prefix, after=after, contents=contents or patch) as events,
    ):
        _tell_of_losses(flags, events)
        for count, event in enumerate(events, 1):
            _show(flags, event, patch=patch)
            output.flush()
            if runner is not None:
                runner.run(event, client.branch)
            if count == limit:
                break


def _tell_of_losses(flags: Flags, events: Watch) -> None:
    """Have each loss of the connection told once, and its end."""
    lost = False

    def on_lost(error: St8Error) -> None:
        nonlocal lost
        if not lost:
            from st8.cli.failure import explained

            output.note(f"{explained(error, flags)}; trying again until it is there")
        lost = True

    def on_connected() -> None:
        nonlocal lost
        if lost:
            output.note("connected again")
        lost = False

    events.on_lost, events.on_connected = on_lost, on_connected


def _show(flags: Flags, event: WatchEvent, *, patch: bool) -> None:
    revision = _revision_of(event)
    if flags.output == "text" and revision is None:
        output.note(_resync_text(event))
    else:
        one_of_many(
            flags,
            _value(event),
            lambda: "" if revision is None else _text(revision, patch=patch),
        )


def _revision_of(event: WatchEvent) -> RevisionEvent | None:
    """Return ``event`` if it is a revision; its class is not loaded for that."""
    found: Any = event
    return found if hasattr(event, "entry") else None


def _resync_text(event: ResyncEvent | RevisionEvent) -> str:
    found: Any = event
    why = (
        "garbage collection has removed what lies between"
        if found.reason == "collected"
        else "the branch was deleted or made anew"
    )
    return f"resync: {why}; what follows goes on from revision {found.revision}"


def _text(event: RevisionEvent, *, patch: bool) -> str:
    line = entry_line(event.entry, many=event.changes_omitted)
    if not patch:
        return line
    from st8.cli.changes import patch as diffs

    return line + "".join(
        [*diffs(event.entry.changes, terminal=output.on_terminal()), "\n"]
    )


def _value(event: WatchEvent) -> dict[str, Any]:
    """Return an event as programs get it."""
    revision = _revision_of(event)
    if revision is None:
        return {"event": "resync", **plain(event)}
    return {
        "event": "revision",
        "namespace": revision.namespace,
        **plain(revision.entry),
        "changes_omitted": revision.changes_omitted,
    }


class _Runner:
    """Runs a command for each event."""

    def __init__(self, command: str, *, fails: bool) -> None:
        """Take ``command`` apart as a shell would, which is not used.

        Raises:
            UsageError: It is empty, not well formed, or there is no such program.
        """
        import shlex
        import shutil

        try:
            self._words: Sequence[str] = shlex.split(command)
        except ValueError as error:
            raise click.UsageError(f"--exec {command!r}: {error}") from None
        if not self._words:
            raise click.UsageError("--exec is empty; name a program and its arguments")
        if shutil.which(self._words[0]) is None:
            raise click.UsageError(
                f"--exec: there is no program {self._words[0]!r}; it is run without a "
                "shell, so use `sh -c '...'` for what only a shell knows"
            )
        self._fails = fails

    def run(self, event: WatchEvent, branch: str) -> None:
        """Run it to its end, for an event of ``branch``, and tell of its failure.

        Raises:
            InvalidInput: It failed, and that ends the watch.
        """
        import json
        import subprocess

        value = _value(event)
        try:
            code = subprocess.run(  # noqa: S603 - what the user wants to have run
                self._words,
                check=False,
                env=_environment(value, branch),
                input=json.dumps(value, ensure_ascii=False).encode(
                    "utf-8", "backslashreplace"
                )
                + b"\n",
            ).returncode
            why = f"ended with exit code {code}" if code else ""
        except OSError as error:
            why = f"can't be run: {error.strerror or error}"
        if not why:
            return
        problem = f"--exec {self._words[0]!r} for revision {value['revision']} {why}"
        if self._fails:
            from st8.core.errors import InvalidInput

            raise InvalidInput(f"{problem}; --exec-fail ends the watch")
        output.note(f"{problem}; going on")


def _environment(value: dict[str, Any], branch: str) -> dict[str, str]:
    """Return our environment with what happened.

    ``branch`` is the one that is watched; a revision may have been made on another,
    which that was made from.
    """
    environment = {
        **os.environ,
        "ST8_EVENT": value["event"],
        "ST8_REVISION": str(value["revision"]),
        "ST8_NAMESPACE": value["namespace"],
        "ST8_BRANCH": branch,
        "ST8_KEYS": "",
    }
    keys = "\n".join(change["key"] for change in value.get("changes", ()))
    too_many = len(os.fsencode(keys)) > _VARIABLE_BYTES_MAX
    if too_many or value.get("changes_omitted"):
        del environment["ST8_KEYS"]  # a part of them would be taken for all
    else:
        environment["ST8_KEYS"] = keys
    return environment


COMMAND = watch
