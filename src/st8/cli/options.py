"""Options that several commands share, each said once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["REVISION", "only_one", "pick_options", "write_options"]


class _Revision(click.ParamType):
    """The number of a revision, or how many before the head with a minus; never 0."""

    name = "revision"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> int:
        """Return the number.

        The daemon takes 0 for the head, as nothing said; who writes it means
        something else.
        """
        try:
            number = int(value)
        except ValueError:
            self.fail(f"{value!r} is no revision; write 12, or -1", param, ctx)
        if number == 0:
            self.fail("there is no revision 0; they begin with 1", param, ctx)
        return number


REVISION: Final = _Revision()
"""The type of an option that picks a revision."""

F = TypeVar("F", bound="Callable[..., None]")


def pick_options(function: F) -> F:
    """Add the options that pick a state."""
    for add in (
        click.option("--checkpoint", metavar="NAME", help="The state it names."),
        click.option(
            "--revision",
            metavar="N",
            type=REVISION,
            help="The state of revision N; -1 is the one before the head.",
        ),
    ):
        function = add(function)
    return function


def write_options(function: F) -> F:
    """Add the options of every command that makes a revision."""
    for add in (
        click.option(
            "--idempotency-key",
            metavar="KEY",
            help="Names this change: within a day it is done once, however often "
            "it is sent.",
        ),
        click.option(
            "--dry-run", is_flag=True, help="Show what would change; change nothing."
        ),
        click.option(
            "--expect-revision",
            metavar="N",
            type=click.IntRange(min=0),
            help="Do it only if the head is revision N; 0 for none yet.",
        ),
        click.option("--author", metavar="NAME", default="", help="Who makes it."),
        click.option(
            "-m", "--message", metavar="TEXT", default="", help="Why it is made."
        ),
    ):
        function = add(function)
    return function


def only_one(**given: object) -> None:
    """Check that at most one of the options is given.

    Raises:
        UsageError: Two are.
    """
    names = [f"--{n.replace('_', '-')}" for n, v in given.items() if v is not None]
    if len(names) > 1:
        raise click.UsageError(f"{names[0]} and {names[1]} can't be used together")
