"""How what went wrong is told: one sentence with the remedy, or one object.

With ``-o json`` or ``-o yaml`` standard error gets ``{"error": {"code", "detail",
"exit_code"}}``; ``code`` is the daemon's, or ``usage``, ``output`` or ``fault``.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Final

import click

from st8.cli import output
from st8.core.errors import (
    InvalidValue,
    OutcomeUnknown,
    St8Error,
    Unauthenticated,
    Unreachable,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from st8.cli.flags import Flags

__all__ = ["explained", "tell"]

_FAULT: Final = 1
_FORMATS: Final = ("json", "yaml")
_ARGUMENTS: Final = {
    "server url": "server",
    "ca file": "ca_file",
    "cert file": "cert_file",
    "key file": "key_file",
}
"""What the library calls its arguments, to the settings that they come from."""


def tell(error: Exception, flags: Flags, args: Sequence[str]) -> int:
    """Say on standard error what ended the command; return its exit code.

    What the command has written before is flushed first.

    Args:
        error: What was raised.
        flags: Those that were read until then.
        args: All arguments, for those that were not.
    """
    code, detail, exit_code = _told(error, flags)
    if code == "output":
        output.discard()
    else:
        _flush()
    if code == "fault":
        import traceback

        traceback.print_exception(error, file=sys.stderr)
    form = _format(flags, args)
    if form == "text":
        output.complain(detail)
    else:
        _write(form, {"code": code, "detail": detail, "exit_code": exit_code})
    return exit_code


def explained(error: St8Error, flags: Flags) -> str:
    """Return the sentence of an error, with what only st8ctl knows of the remedy."""
    if isinstance(error, Unauthenticated):
        problem = error.detail.partition("; send the header")[0]
        origin = flags.origins.get("token")
        if origin is None:
            return f"{problem}; give one with --token, ST8_TOKEN or server.token_file"
        return f"{problem}; check the one that was sent, from {origin}"
    if isinstance(error, OutcomeUnknown) and "idempotency_key" in error.fields:
        key = f"--idempotency-key {error.fields['idempotency_key']}"
        return error.detail.replace("the same idempotency key", key)
    if isinstance(error, InvalidValue):
        argument, _, problem = error.detail.partition(": ")
        origin = flags.origins.get(_ARGUMENTS.get(argument, ""))
        return _with_flags(f"{origin}: {problem}") if origin else error.detail
    if isinstance(error, Unreachable):
        check = "check the address, and that st8d runs there"
        origin = flags.origins.get("server", "--server")
        where = "" if origin.startswith("--") else f" (from {origin})"
        return _with_flags(error.detail).replace(
            check,
            f"check the address{where}, and that st8d runs there; `st8d` starts one, "
            "--local needs none",
        )
    return error.detail


def _with_flags(detail: str) -> str:
    """Return a sentence that names flags where the library names its arguments."""
    for remedy, flags in (
        ("(ca file)", "(--ca-file)"),
        ("(cert file)", "(--cert)"),
        ("(cert file, key file)", "(--cert, --key-file)"),
    ):
        detail = detail.replace(remedy, flags)
    return detail


def _told(error: Exception, flags: Flags) -> tuple[str, str, int]:
    """Return code, sentence and exit code of what was raised."""
    if isinstance(error, St8Error):
        return error.code, explained(error, flags), error.exit_code
    if isinstance(error, click.UsageError):
        return "usage", _with_help(error), error.exit_code
    if isinstance(error, click.ClickException):
        return "usage", error.format_message(), error.exit_code
    exit_code: int = getattr(error, "exit_code", _FAULT)
    if isinstance(error, OSError):
        return "output", f"can't write the output: {error.strerror or error}", exit_code
    kind = type(error).__name__
    return "fault", f"a fault of st8ctl itself: {kind}: {error}", exit_code


def _with_help(error: click.UsageError) -> str:
    """Return the message of a wrong usage, and where to read on."""
    message = _usage(error)
    if error.ctx is None:
        return message
    return f"{message}; see '{error.ctx.command_path} --help'"


def _usage(error: click.UsageError) -> str:
    """Return what was wrong on the line, in our words where they are Click's."""
    if isinstance(error, click.NoSuchOption):
        return _without_such_flag(error.option_name, error.possibilities or [])
    if isinstance(error, click.BadOptionUsage):
        takes = "takes no" if "does not take" in error.message else "needs a"
        return f"{error.option_name} {takes} value"
    if isinstance(error, click.BadParameter) and error.param is not None:
        return _bad_value(error, error.param)
    return error.format_message().rstrip(".").removeprefix("Got ")


def _bad_value(error: click.BadParameter, param: click.Parameter) -> str:
    """Return which flag or argument has no value, or one that can't be."""
    kind = param.type
    name = param.metavar or str(param.name).upper()
    if isinstance(param, click.Option):
        name = next((o for o in param.opts if o.startswith("--")), param.opts[0])
    if isinstance(error, click.MissingParameter):
        if isinstance(kind, click.Choice):
            name = f"one of {', '.join(kind.choices)}"
        return f"{name} is missing"
    problem = error.message.rstrip(".")
    value = problem.partition(" is not ")[0]
    if isinstance(kind, click.Choice):
        problem = f"{value} is none of {', '.join(kind.choices)}"
    elif isinstance(kind, click.IntRange):
        problem = f"{value} is no whole number from {kind.min} on"
    elif kind is click.INT:
        problem = f"{value} is no whole number"
    if isinstance(param, click.Argument):
        return problem
    return f"{name}: {problem}"


def _without_such_flag(name: str, near: Sequence[str]) -> str:
    """Return that there is no such flag, and the nearest there is."""
    import difflib

    best = difflib.get_close_matches(name, near, n=1)
    hint = f" (did you mean {best[0]!r}?)" if best else ""
    return f"there is no flag {name!r}{hint}"


def _format(flags: Flags, args: Sequence[str]) -> str:
    """Return how answers are wanted, also where the flags were not read to the end."""
    if flags.output != "text":
        return flags.output
    pairs = zip(args, [*args[1:], ""], strict=True)
    for first, second in pairs:
        if first in {"-o", "--output"} and second in _FORMATS:
            return second
        for form in _FORMATS:
            if first in {f"-o{form}", f"-o={form}", f"--output={form}"}:
                return form
    return "text"


def _write(form: str, error: dict[str, object]) -> None:
    if form == "json":
        import json

        text = json.dumps({"error": error}) + "\n"
    else:
        import yaml

        text = yaml.safe_dump({"error": error}, sort_keys=False, width=1_000_000)
    output.note_lines(text)


def _flush() -> None:
    """See that what was written is out, or give it up if nobody takes it."""
    try:
        output.flush()
    except (OSError, ValueError):
        output.discard()
