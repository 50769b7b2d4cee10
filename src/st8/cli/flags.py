"""The global flags, and what they, the environment and the file come to together.

A flag beats a variable, a variable the configuration file, the file what is built
in. What the context says that ``--context`` names counts as the flag does: whoever
names a context on the line means it, whatever the environment has.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import click

from st8.core.errors import InvalidInput, InvalidValue

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from st8.cli.config_file import ConfigFile
    from st8.client import Client

__all__ = [
    "GLOBAL_OPTIONS",
    "SOURCES",
    "STATE_DIR",
    "TIMEOUT_TEXT",
    "VARIABLES",
    "Flags",
    "Found",
    "Settings",
    "global_options_beside",
]

STATE_DIR: Final = "~/.st8"
TIMEOUT_TEXT: Final = "30s"
_TIMEOUT_S: Final = 30.0
_LOCAL: Final = "local"
_TOKEN_BYTES_MAX: Final = 64 * 1024


SOURCES: Final[dict[str, tuple[str, str | None, str]]] = {
    "server": ("--server", "ST8_SERVER", "server.url"),
    "token": ("--token", "ST8_TOKEN", "server.token"),
    "ca_file": ("--ca-file", "ST8_CA_FILE", "server.ca_file"),
    "cert_file": ("--cert", "ST8_CERT", "server.cert_file"),
    "key_file": ("--key", "ST8_KEY", "server.key_file"),
    "state_dir": ("--state-dir", None, "server.dir"),
    "timeout": ("--timeout", None, "server.timeout"),
    "namespace": ("--namespace", "ST8_NAMESPACE", "defaults.namespace"),
    "branch": ("--branch", "ST8_BRANCH", "defaults.branch"),
}
"""Attribute of :class:`Flags` to where its value may come from: its flag, its variable
if it has one, and its name in the configuration file."""

_CONTEXT_VARIABLE: Final = "ST8_CONTEXT"

VARIABLES: Final = (
    *(variable for _, variable, _ in SOURCES.values() if variable),
    _CONTEXT_VARIABLE,
)
"""Every variable that says what the flags don't."""


class Found(NamedTuple):
    """A setting that is in force, and where it comes from, for people."""

    value: str
    origin: str


class Settings(NamedTuple):
    """What is in force.

    Attributes:
        url: Where the daemon is; None to run one inside the process.
        token: What it knows us by.
        ca_file: PEM file of the authorities that may have signed its certificate.
        cert_file: PEM file of the certificate that we show.
        key_file: PEM file of its private key; None if it is in ``cert_file``.
        state_dir: Where the daemon inside the process keeps its state.
        timeout_s: Seconds that one request may take; None for no limit.
        namespace: The namespace that commands are about; may be blank.
        branch: The branch that commands are about; may be blank.
    """

    url: str | None
    token: str | None
    ca_file: str | None
    cert_file: str | None
    key_file: str | None
    state_dir: str
    timeout_s: float | None
    namespace: str
    branch: str


class Flags:
    """The global flags as they were given; None where one was not.

    Attributes:
        origins: Once settings were asked for: where each comes from, for errors.
    """

    config: str | None = None
    context: str | None = None
    server: str | None = None
    token: str | None = None
    ca_file: str | None = None
    cert_file: str | None = None
    key_file: str | None = None
    timeout: str | None = None
    state_dir: str | None = None
    namespace: str | None = None
    branch: str | None = None
    local: bool = False
    no_pager: bool = False
    output: str = "text"

    def __init__(self) -> None:
        """Begin with none given."""
        self.origins: dict[str, str] = {}

    def file(self) -> ConfigFile:
        """Return what the configuration file holds.

        Raises:
            InvalidInput: It is wrong.
        """
        from st8.cli.config_file import load

        return load(self.config)

    def context_of(self, file: ConfigFile) -> str:
        """Return the name of the context that counts; it may not be there."""
        return self.context or os.environ.get(_CONTEXT_VARIABLE) or file.current

    def found(self, file: ConfigFile) -> dict[str, Found]:
        """Return what is set anywhere, by the names of :data:`SOURCES`.

        Raises:
            InvalidInput: There is no context of the name that is given.
        """
        context = self.context_of(file)
        in_file = file.settings(context)
        named = file.contexts[context] if self.context else {}
        settings: dict[str, Found] = {}
        for name, (flag, variable, setting) in SOURCES.items():
            given: str | None = getattr(self, name)
            environment = os.environ.get(variable, "") if variable else ""
            if name == "token" and "server.token_file" in in_file:
                setting = "server.token_file"  # noqa: PLW2901 - the other way to say it
            if given is not None:
                settings[name] = Found(given, flag)
            elif environment and setting not in named:
                settings[name] = Found(environment, str(variable))
            elif setting in in_file:
                origin = file.origin(setting, context)
                settings[name] = Found(in_file[setting], origin)
        if self.local:
            settings["server"] = Found(_LOCAL, "--local")
        self.origins = {name: origin for name, (_, origin) in settings.items()}
        return settings

    def settings(self) -> Settings:
        """Return what is in force.

        Raises:
            UsageError: Flags contradict each other, or no daemon is named.
            InvalidInput: The configuration file is wrong.
        """
        if self.local and self.server is not None:
            raise click.UsageError("--local and --server can't be used together")
        file = self.file()
        found = self.found(file)
        values = {name: value for name, (value, _) in found.items()}
        url = values.get("server", "").strip()
        if not url:
            raise click.UsageError(
                "no st8d named: use --server URL or --local, or set ST8_SERVER, or "
                f"server.url in {file.path}"
            )
        return Settings(
            url=None if url == _LOCAL else url,
            token=_token(found.get("token")),
            ca_file=values.get("ca_file") or None,
            cert_file=values.get("cert_file") or None,
            key_file=values.get("key_file") or None,
            state_dir=values.get("state_dir") or STATE_DIR,
            timeout_s=_timeout_s(found.get("timeout")),
            namespace=values.get("namespace", ""),
            branch=values.get("branch", ""),
        )

    def connect(self) -> AbstractContextManager[Client]:
        """Return the client that the flags name; entering it may start a daemon."""
        from st8.cli.connection import connect

        return connect(self.settings())


def _token(found: Found | None) -> str | None:
    """Return the token, read from its file if it is in one; None if there is none.

    Raises:
        InvalidInput: The file can't be read, or holds none.
    """
    if found is None or not found.origin.startswith("server.token_file"):
        return found.value or None if found else None
    try:
        with open(found.value, "rb") as file:
            token = file.read(_TOKEN_BYTES_MAX).decode("ascii", "replace").strip()
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise InvalidInput(
            f"can't read the token file {found.value!r}, named by {found.origin}: "
            f"{reason}"
        ) from None
    if not token:
        raise InvalidInput(
            f"the token file {found.value!r}, named by {found.origin}, is empty"
        )
    return token


def _timeout_s(found: Found | None) -> float | None:
    """Return the seconds of the timeout; None for no limit."""
    if found is None:
        return _TIMEOUT_S
    from st8.core.durations import parse_duration

    try:
        return parse_duration(found.value.strip()) or None
    except ValueError as error:
        raise InvalidValue(found.origin, str(error)) from None


def _keep(ctx: click.Context, param: click.Parameter, value: object) -> None:
    """Keep a flag that was given."""
    if value is not None and value is not False and param.name:
        setattr(ctx.find_object(Flags), param.name, value)


def _keep_name(ctx: click.Context, param: click.Parameter, value: object) -> None:
    """Keep the name of a scope, unless it is the empty value of a shell's variable."""
    if value == "":
        raise click.BadParameter("'' is no name; leave the flag out", ctx, param)
    _keep(ctx, param, value)


class _Format(click.Choice):
    """How answers are shown; ``-o=json`` is ``-o json``."""

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> Any:
        """Return the format."""
        return super().convert(str(value).removeprefix("="), param, ctx)


def _flag(names: list[str], metavar: str, text: str) -> click.Option:
    return click.Option(
        names, metavar=metavar, expose_value=False, callback=_keep, help=text
    )


def _named(names: list[str], text: str) -> click.Option:
    return click.Option(
        names, metavar="NAME", expose_value=False, callback=_keep_name, help=text
    )


def _switch(names: list[str], text: str) -> click.Option:
    return click.Option(
        names, is_flag=True, expose_value=False, callback=_keep, help=text
    )


GLOBAL_OPTIONS: Final[list[click.Option]] = [
    _flag(["--server"], "URL", "Where st8d is: http://HOST:PORT, or unix:PATH."),
    _flag(["--token"], "TOKEN", "The token that st8d asks for; better ST8_TOKEN."),
    _flag(["--ca-file"], "FILE", "Who may have signed st8d's certificate (PEM)."),
    _flag(
        ["cert_file", "--cert", "--cert-file"],
        "FILE",
        "The certificate to show to st8d (PEM).",
    ),
    _flag(["key_file", "--key", "--key-file"], "FILE", "Its private key (PEM)."),
    _switch(["--local"], "Run st8d inside this command."),
    _flag(["--state-dir"], "DIR", f"Where --local keeps its state.  [{STATE_DIR}]"),
    _named(["--namespace"], "The namespace.  [default]"),
    _named(["--branch"], "The branch.  [main]"),
    _flag(
        ["--timeout"],
        "DURATION",
        f"For each request; 0 for no limit.  [{TIMEOUT_TEXT}]",
    ),
    _flag(["--config"], "FILE", "The configuration file."),
    _flag(["--context"], "NAME", "The context of the configuration file."),
    click.Option(
        ["-o", "--output"],
        metavar="FORMAT",
        type=_Format(["text", "json", "yaml"]),
        expose_value=False,
        callback=_keep,
        help="How answers are shown: text, json or yaml.  [text]",
    ),
    _switch(["--no-pager"], "Show long answers without a pager."),
]

_ALONE: Final = {
    "--key": _flag(["key_file", "--key-file"], "FILE", "Its private key (PEM).")
}
"""What is left of a global flag where a command has a flag of that name itself."""


def global_options_beside(own: set[str]) -> list[click.Option]:
    """Return the global flags of a command that has the flags ``own``.

    In ``apply`` and ``log``, ``--key`` is a document's key, so the private key is
    named by ``--key-file`` alone; in ``token new``, ``--namespace`` and ``--branch``
    are its own.
    """
    return [
        next((_ALONE[n] for n in option.opts if n in own & _ALONE.keys()), option)
        for option in GLOBAL_OPTIONS
        if not own.issuperset(option.opts)
    ]
