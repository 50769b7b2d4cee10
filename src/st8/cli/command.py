"""Commands whose global flags may stand anywhere, and groups that load when needed.

``st8ctl --namespace a get k``, ``st8ctl get --namespace a k`` and ``st8ctl get k
--namespace a`` are the same. Click wants a group's options before its subcommand's
name, so the arguments are put in that order first: the name, then everything else,
which the subcommand parses, as it knows the global flags too.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Final, cast

import click

from st8.cli import output
from st8.cli.flags import global_options_beside

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

__all__ = ["FLAGS_WITHOUT_VALUE", "Command", "Group", "LazyGroup", "command"]

FLAGS_WITHOUT_VALUE: Final = frozenset(
    {
        "-h",
        "--help",
        "--version",
        "--local",
        "--no-pager",
        "--dry-run",
        "--replace",
        "-R",
        "--recursive",
        "--hidden",
        "--prune",
        "--no-validate",
        "-y",
        "--yes",
        "--stat",
        "--name-only",
        "--exit-code",
        "--keys",
        "-p",
        "--patch",
        "--graph",
        "--client",
        "--force",
        "--show-secrets",
        "--contents",
        "--exec-fail",
        "--check",
        "--all",
        "--skip-unfit",
        "--full",
        "--heads",
    }
)
"""Every flag of every command that takes no value: a word behind any other flag is
its value, not the name of a subcommand. A test keeps it complete."""

_MISTYPED: Final = 0.8
"""How alike two words must be, of at most 1, for one to be the other mistyped."""

_RANGE: Final = "  [x>="
"""With it, Click ends the help of a flag that takes a number from something on."""

_HELP: Final = ("-h", "--help")

_SETTINGS: Final = {"help_option_names": list(_HELP), "max_content_width": 100}


class _WithGlobalFlags(click.Command):
    """A command that takes the global flags beside its own."""

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        """Return its own parameters, then the global flags, then ``--help``."""
        *own, help_option = super().get_params(ctx)
        return [*own, *_global_options(self), help_option]

    def get_help_option_names(self, ctx: click.Context) -> list[str]:
        """Return the names of the flag that shows the help.

        Click asks once, and keeps the answer for every later context: so it is the
        same in one that was made only to look, which has no settings.
        """
        del ctx
        return list(_HELP)

    def format_options(
        self, ctx: click.Context, formatter: click.HelpFormatter
    ) -> None:
        """Write its own options, and the global flags after them."""
        global_flags: list[click.Parameter] = list(_global_options(self))
        own = [p for p in self.get_params(ctx) if p not in global_flags]
        for title, params in (("Options", own), ("Global flags", global_flags)):
            records = [row for p in params if (row := p.get_help_record(ctx))]
            rows = [(name, text.partition(_RANGE)[0]) for name, text in records]
            if rows:
                with formatter.section(title):
                    formatter.write_dl(rows)


class Command(_WithGlobalFlags):
    """A command that does something."""


def command(
    name: str, cls: type[Command] = Command, **settings: object
) -> Callable[[Callable[..., None]], click.Command]:
    """Return the decorator that makes a function the command of that name.

    Its docstring is the help; its first argument are the :class:`Flags`.
    """
    decorate = click.command(
        name,
        cls=cls,
        context_settings=_SETTINGS,
        **settings,
    )

    def make(function: Callable[..., None]) -> click.Command:
        return decorate(click.pass_obj(function))

    return make


class Group(_WithGlobalFlags, click.Group):
    """A command made of subcommands, of which one may go without its name."""

    def __init__(
        self,
        name: str,
        *,
        help: str,  # noqa: A002 - Click's name for it
        default: str | None = None,
        strict: bool = False,
        options: Sequence[click.Option] = (),
        epilog: str | None = None,
    ) -> None:
        """Make the group.

        Args:
            name: Its name.
            help: What it is for.
            default: The subcommand meant when none is named; None to show the help.
            strict: A word that names no subcommand is an error; else it goes to
                the default one.
            options: Its own options, beside the global flags.
            epilog: Shown at the end of the help.
        """
        super().__init__(
            name=name,
            help=help,
            epilog=epilog,
            params=list(options),
            context_settings=dict(_SETTINGS),
            invoke_without_command=default is None,
            callback=None if default else _show_help,
        )
        self.default = default
        self.strict = strict or default is None

    def format_options(
        self, ctx: click.Context, formatter: click.HelpFormatter
    ) -> None:
        """Write the subcommands, then the options."""
        self.format_commands(ctx, formatter)
        super().format_options(ctx, formatter)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Put the name of the subcommand first, then let Click parse."""
        at = _first_word(args)
        known = at is not None and args[at] in self.list_commands(ctx)
        if at is not None and (known or self.strict):
            args = [args[at], *args[:at], *args[at + 1 :]]
        elif self.default and not set(_HELP).intersection(args):
            if at is not None:
                self._check_meant(ctx, args[at])
            args = [self.default, *args]
        return super().parse_args(ctx, args)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Return the subcommand; an unknown one is told the nearest name."""
        found = self.get_command(ctx, args[0])
        if found is None:
            raise click.UsageError(self._unknown(ctx, args[0]), ctx)
        return args[0], found, args[1:]

    def _check_meant(self, ctx: click.Context, word: str) -> None:
        """Check that a word for the default subcommand is no mistyped subcommand.

        Raises:
            UsageError: It is one letter or so away from one.
        """
        import difflib

        near = difflib.get_close_matches(word, self.list_commands(ctx), 1, _MISTYPED)
        if near:
            raise click.UsageError(
                f"{ctx.command_path!r} has no command {word!r} (did you mean "
                f"{near[0]!r}?); a name like that goes after {self.default!r}",
                ctx,
            )

    def _unknown(self, ctx: click.Context, name: str) -> str:
        import difflib

        near = difflib.get_close_matches(name, self.list_commands(ctx), n=1)
        hint = f" (did you mean {near[0]!r}?)" if near else ""
        return f"{ctx.command_path!r} has no command {name!r}{hint}"


class LazyGroup(Group):
    """A group whose subcommands are imported when they are called."""

    def __init__(
        self,
        name: str,
        modules: Mapping[str, tuple[str, str]],
        *,
        help: str,  # noqa: A002 - Click's name for it
        options: Sequence[click.Option] = (),
        epilog: str | None = None,
    ) -> None:
        """Make the group.

        Args:
            name: Its name.
            modules: Name of each subcommand, in the order of the help, to its
                module (whose ``COMMAND`` it is) and its line in the help.
            help: What it is for.
            options: Its own options, beside the global flags.
            epilog: Shown at the end of the help.
        """
        super().__init__(name, help=help, options=options, epilog=epilog)
        self.modules = modules

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of the subcommands, in the order of the help."""
        del ctx
        return list(self.modules)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Take ``help get`` for ``get --help``, then parse."""
        at = _first_word(args)
        if at is not None and args[at] == "help":
            args = [*args[:at], *args[at + 1 :], "--help"]
        return super().parse_args(ctx, args)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return a subcommand, imported now; None if there is none."""
        del ctx
        if cmd_name not in self.modules:
            return None
        module = import_module(self.modules[cmd_name][0])
        return cast("click.Command", module.COMMAND)

    def format_commands(
        self, ctx: click.Context, formatter: click.HelpFormatter
    ) -> None:
        """Write the subcommands without importing them."""
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl([(n, line) for n, (_, line) in self.modules.items()])


def _global_options(command: click.Command) -> list[click.Option]:
    """Return the global flags that a command takes."""
    return global_options_beside({name for p in command.params for name in p.opts})


def _first_word(args: Sequence[str]) -> int | None:
    """Return the place of the first argument that is neither a flag nor its value."""
    at = 0
    while at < len(args):
        arg = args[at]
        if arg == "--":
            return None
        if not arg.startswith("-") or arg == "-":
            return at
        # -fNAME and --file=NAME hold their value; -f and --file take the next word.
        attached = "=" in arg if arg.startswith("--") else len(arg) > len("-f")
        at += 1 if attached or arg in FLAGS_WITHOUT_VALUE else 2
    return None


@click.pass_context
def _show_help(ctx: click.Context) -> None:
    if ctx.invoked_subcommand is None:
        output.write(ctx.get_help() + "\n")
