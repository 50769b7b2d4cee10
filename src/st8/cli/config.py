"""``st8ctl config``: what is set, where, and how to change it."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any, Final

import click

from st8.cli import output
from st8.cli.command import Group, command
from st8.cli.config_file import KNOWN, TOP, context_problem, nearest
from st8.cli.flags import SOURCES, STATE_DIR, TIMEOUT_TEXT, Found
from st8.cli.render import listing, record
from st8.core.errors import InvalidInput, InvalidValue, NotFound

if TYPE_CHECKING:
    from collections.abc import Mapping

    from st8.cli.config_file import ConfigFile
    from st8.cli.flags import Flags

__all__ = ["COMMAND", "SETTINGS"]

COMMAND = Group(
    "config",
    help="Show and change the settings in the configuration file. They stand at its "
    "top, or in named contexts, of which --context picks one. Changes keep comments.",
)

SETTINGS: Final = tuple(
    f"{section}.{name}" for section, names in KNOWN.items() for name in names
)
_BUILT_IN: Final = {
    "server.dir": STATE_DIR,
    "server.timeout": TIMEOUT_TEXT,
    "defaults.namespace": "default",
    "defaults.branch": "main",
}
_MASK: Final = "***"
_SECRET: Final = "server.token"  # noqa: S105 - the name of the setting
_URL: Final = "http://127.0.0.1:8748"
_ASKED: Final = {
    "server.url": (f"URL of st8d, or local [{_URL}]: ", _URL),
    _SECRET: ("Token, not shown [none]: ", ""),
    "defaults.namespace": ("Namespace [default]: ", ""),
    "defaults.branch": ("Branch [main]: ", ""),
}


@command("init")
@click.option("--force", is_flag=True, help="Replace what is there.")
def init(flags: Flags, force: bool) -> None:
    """Make the configuration file, or with --context a context in it.

    On a terminal it asks. Elsewhere --server says where st8d is, and what the
    other global flags say is kept too.
    """
    from st8.cli.config_edit import put, read_text, remove, save

    path = _path(flags)
    context = flags.context or TOP
    if context != TOP and context_problem(context):
        raise InvalidInput(context_problem(context))
    text = "" if context == TOP and force else read_text(path)
    _check_free(path, text, context, force=force)
    made = _asked(flags) if _somebody_is_there() else _given(flags)
    is_new = not text.strip() or context == TOP
    text = remove(text, ["contexts", context])
    for setting, value in made.items():
        text = put(text, _place(context, setting), _checked(setting, value))
    if is_new and context != TOP:
        text = put(text, ["current"], context)
    save(path, text)
    what = "the file" if context == TOP else f"context {context!r}"
    hint = "" if is_new else f"; `st8ctl config use {context}` makes it the current one"
    _done(flags, f"Made {what} in {path}{hint}", path, context)


@command("view")
@click.option("--show-secrets", is_flag=True, help="Show tokens as they are.")
def view(flags: Flags, show_secrets: bool) -> None:
    """Show what is in force, and where each setting comes from."""
    file = flags.file()
    context = flags.context_of(file)
    settings = _in_force(flags, file)
    if not show_secrets and _SECRET in settings:
        settings[_SECRET] = settings[_SECRET]._replace(value=_MASK)
    value = {
        "file": file.path,
        "context": context,
        "settings": {
            name: {"value": found.value, "from": found.origin}
            for name, found in settings.items()
        },
    }

    def text() -> str:
        head = f"file: {file.path}\ncontext: {context}\n"
        return head + "".join(
            f"{name}: {found.value}  # {found.origin}\n"
            for name, found in settings.items()
        )

    record(flags, value, lambda: _lines_escaped(text()))


@command("get")
@click.argument("setting")
def get(flags: Flags, setting: str) -> None:
    """Write one setting that is in force, such as server.url."""
    _known(setting)
    found = _in_force(flags, flags.file()).get(setting)
    if found is None:
        raise NotFound(
            f"{setting} is not set; set it with `st8ctl config set {setting} VALUE`"
        )
    record(
        flags,
        {"name": setting, "value": found.value, "from": found.origin},
        lambda: f"{output.escaped(found.value)}\n",
    )


@command("set")
@click.argument("setting")
@click.argument("value")
def set_value(flags: Flags, setting: str, value: str) -> None:
    """Set a setting.

    It is set in the context that counts, or in the one that --context names. With - for VALUE it is read from standard input, so that a token stays out of
    the process list and the shell's history.
    """
    from st8.cli.config_edit import put, read_text, save

    _known(setting)
    path, context = _target(flags)
    if value == "-":
        value = _typed_secret(setting)
    text = put(read_text(path), _place(context, setting), _checked(setting, value))
    save(path, text)
    _done(flags, f"Set {setting} of {_called(context)} in {path}", path, context)


@command("unset")
@click.argument("setting")
def unset(flags: Flags, setting: str) -> None:
    """Remove a setting.

    It is removed from the context that counts, or from the one that --context names.
    """
    from st8.cli.config_edit import read_text, remove, save

    _known(setting)
    path, context = _target(flags)
    text = read_text(path)
    left = remove(text, _place(context, setting))
    if left == text:
        what = f"{setting} is not set in {_called(context)} of {path}"
    else:
        save(path, left)
        what = f"Removed {setting} of {_called(context)} in {path}"
    _done(flags, what, path, context)


@command("use")
@click.argument("context")
def use(flags: Flags, context: str) -> None:
    """Make a context the one that counts if none is named."""
    from st8.cli.config_edit import put, read_text, save

    file = flags.file()
    file.settings(context)
    save(file.path, put(read_text(file.path), ["current"], context))
    _done(flags, f"Context {context} counts now", file.path, context)


@command("list")
def list_all(flags: Flags) -> None:
    """List the contexts; a star marks the one that counts."""
    file = flags.file()
    counts = flags.context_of(file)
    file.settings(counts)

    def value(name: str) -> dict[str, Any]:
        settings = file.settings(name)
        return {
            "name": name,
            "current": name == counts,
            "server": settings.get("server.url"),
            "namespace": settings.get("defaults.namespace", "default"),
            "branch": settings.get("defaults.branch", "main"),
        }

    def text(name: str) -> str:
        found = value(name)
        star = " *" if found["current"] else ""
        server = found["server"] or "none"
        line = (
            f"{name} server={server} namespace={found['namespace']} "
            f"branch={found['branch']}{star}"
        )
        return f"{output.escaped(line)}\n"

    listing(flags, "contexts", file.contexts, value=value, text=text)


def _check_free(path: str, text: str, context: str, *, force: bool) -> None:
    """Check that a context may be made in the file at ``path``.

    Raises:
        InvalidInput: It is there, or the file is no good.
    """
    if not text.strip():
        return
    if context == TOP:
        raise InvalidInput(
            f"configuration file {path!r} exists; name a new context with --context, "
            "change a setting with `st8ctl config set`, or replace the file with --force"
        )
    if context in _parsed(path, text).contexts and not force:
        raise InvalidInput(
            f"configuration file {path!r} has a context {context!r}; replace it with "
            "--force"
        )


def _in_force(flags: Flags, file: ConfigFile) -> dict[str, Found]:
    """Return the settings in force by their names in the file, in its order."""
    context = flags.context_of(file)
    by_name: dict[str, Found] = {}
    for source, found in flags.found(file).items():
        in_file = found.origin.startswith("server.token_file ")
        by_name["server.token_file" if in_file else SOURCES[source][2]] = found
    settings: dict[str, Found] = {}
    for name in SETTINGS:
        if name in by_name:
            settings[name] = _shortly(file, context, name, by_name[name])
        elif name in _BUILT_IN:
            settings[name] = Found(_BUILT_IN[name], "built in")
    return settings


def _shortly(file: ConfigFile, context: str, name: str, found: Found) -> Found:
    """Return a setting whose origin does not repeat the path of the file."""
    if not found.origin.endswith(file.path):
        return found
    own = context != TOP and name in file.contexts[context]
    return found._replace(origin=f"context {context}" if own else "the file")


def _path(flags: Flags) -> str:
    from st8.cli.config_file import default_path

    return default_path() if flags.config is None else os.path.expanduser(flags.config)


def _target(flags: Flags) -> tuple[str, str]:
    """Return the path of the file and the context to change; both are good."""
    path = _path(flags)
    file = flags.file() if flags.config is None or os.path.exists(path) else None
    if file is None:
        file = _parsed(path, "")
    context = flags.context_of(file)
    file.settings(context)
    return path, context


def _parsed(path: str, text: str) -> ConfigFile:
    from st8.cli.config_file import parse

    return parse(path, text.encode())


def _place(context: str, setting: str) -> list[str]:
    """Return the names that lead to a setting of a context."""
    place = setting.split(".")
    return place if context == TOP else ["contexts", context, *place]


def _known(setting: str) -> None:
    """Check that there is such a setting.

    Raises:
        UsageError: There is none.
    """
    if setting not in SETTINGS:
        raise click.UsageError(
            f"there is no setting {setting!r}; {nearest(setting, SETTINGS)}"
        )


def _checked(setting: str, value: str) -> str:
    """Return a value that st8ctl can start with.

    Raises:
        InvalidInput: It can't be right.
    """
    if not value.isprintable() or not value.strip():
        raise InvalidValue(setting, "must be a text of one line, and not empty")
    if setting == "server.url" and value != "local":
        from st8.client._address import Address

        try:
            Address.parse(value)
        except InvalidValue as error:
            problem = error.detail.removeprefix(f"{error.field}: ")
            raise InvalidValue(setting, problem) from None
    if setting == "server.timeout":
        from st8.core.durations import parse_duration

        try:
            parse_duration(value)
        except ValueError as error:
            raise InvalidValue(setting, str(error)) from None
    if setting.startswith("defaults."):
        from st8.core.ids import Scope

        Scope.parse(value, "") if setting.endswith("namespace") else Scope.parse(
            "", value
        )
    return value


def _somebody_is_there() -> bool:
    from st8.cli.confirm import can_ask

    return can_ask()


def _given(flags: Flags) -> dict[str, str]:
    """Return the settings that the flags name.

    Raises:
        UsageError: They do not say where the daemon is.
    """
    made = {
        setting: value
        for name, (_, _, setting) in SOURCES.items()
        if (value := getattr(flags, name))
    }
    if flags.local:
        made["server.url"] = "local"
    if "server.url" not in made:
        raise click.UsageError("say where st8d is: --server URL, or --local")
    return made


def _asked(flags: Flags) -> dict[str, str]:
    """Return the settings that the flags name, and what is answered for the rest."""
    made = {
        setting: value
        for name, (_, _, setting) in SOURCES.items()
        if (value := getattr(flags, name))
    }
    for setting, (question, default) in _ASKED.items():
        if setting in made:
            continue
        answer = _typed_secret(setting) if setting == _SECRET else _typed(question)
        if answer or default:
            made[setting] = _checked(setting, answer or default)
    return made


def _typed(question: str) -> str:
    """Return what is answered, without the white space around it."""
    sys.stderr.write(question)
    sys.stderr.flush()
    answer = sys.stdin.readline()
    if not answer:
        raise click.Abort
    return answer.strip()


def _typed_secret(setting: str) -> str:
    """Return a value from standard input; on a terminal it does not show."""
    question = _ASKED[setting][0] if setting in _ASKED else f"{setting}: "
    if not sys.stdin.isatty():
        return sys.stdin.readline().strip()
    if setting != _SECRET:
        return _typed(question)
    import getpass

    try:
        return getpass.getpass(question).strip()
    except EOFError:
        raise click.Abort from None


def _called(context: str) -> str:
    return "the top" if context == TOP else f"context {context!r}"


def _done(flags: Flags, text: str, path: str, context: str) -> None:
    value: Mapping[str, str] = {"file": path, "context": context}
    record(flags, value, lambda: f"{output.escaped(text)}.\n")


def _lines_escaped(text: str) -> str:
    return "".join(f"{output.escaped(line)}\n" for line in text.splitlines())


for subcommand in (init, view, get, set_value, unset, use, list_all):
    COMMAND.add_command(subcommand)
