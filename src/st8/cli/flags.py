"""The global flags, and what they and the configuration file come to together.

A flag beats the file, the file beats what is built in.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import click

from st8.core.errors import InvalidValue

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from st8.client import Client

__all__ = ["GLOBAL_OPTIONS", "Flags", "Settings"]

STATE_DIR: Final = "~/.st8"
_TIMEOUT_S: Final = 30.0
_LOCAL: Final = "local"


class Settings(NamedTuple):
    """What is in force.

    Attributes:
        url: Where the daemon is; None to run one inside the process.
        token: What it knows us by.
        ca_file: PEM file of the authorities that may have signed its certificate.
        state_dir: Where the daemon inside the process keeps its state.
        timeout_s: Seconds that one request may take; None for no limit.
        namespace: The namespace that commands are about.
        branch: The branch that commands are about.
    """

    url: str | None
    token: str | None
    ca_file: str | None
    state_dir: str
    timeout_s: float | None
    namespace: str
    branch: str


class Flags:
    """The global flags as they were given; None where one was not."""

    config: str | None = None
    server: str | None = None
    token: str | None = None
    ca_file: str | None = None
    timeout: str | None = None
    state_dir: str | None = None
    namespace: str | None = None
    branch: str | None = None
    local: bool = False
    output: str = "text"

    def settings(self) -> Settings:
        """Return what is in force.

        Raises:
            UsageError: Flags contradict each other, or no daemon is named.
            InvalidInput: The configuration file is wrong.
        """
        from st8.cli.config_file import load

        if self.local and self.server is not None:
            raise click.UsageError("--local and --server can't be used together")
        path, file = load(self.config)
        url = file.get("server.url", "") if self.server is None else self.server
        url = _LOCAL if self.local else url.strip()
        if not url:
            raise click.UsageError(
                "no st8d named: use --server URL or --local, or set server.url in "
                f"{path}"
            )
        token = file.get("server.token") if self.token is None else self.token
        return Settings(
            url=None if url == _LOCAL else url,
            token=token or None,
            ca_file=self.ca_file or file.get("server.ca_file") or None,
            state_dir=self.state_dir or file.get("server.dir") or STATE_DIR,
            timeout_s=self._timeout_s(path, file.get("server.timeout")),
            namespace=self._either(self.namespace, file.get("defaults.namespace")),
            branch=self._either(self.branch, file.get("defaults.branch")),
        )

    def _timeout_s(self, path: str, in_file: str | None) -> float | None:
        """Return the seconds of the timeout; None for no limit."""
        text = in_file if self.timeout is None else self.timeout
        if text is None:
            return _TIMEOUT_S
        from st8.core.durations import parse_duration

        try:
            return parse_duration(text.strip()) or None
        except ValueError as error:
            where = f"server.timeout in {path}" if self.timeout is None else "--timeout"
            raise InvalidValue(where, str(error)) from None

    @staticmethod
    def _either(flag: str | None, file: str | None) -> str:
        return flag if flag is not None else file or ""

    def connect(self) -> AbstractContextManager[Client]:
        """Return the client that the flags name; entering it may start a daemon."""
        from st8.cli.connection import connect

        return connect(self.settings())


def _keep(ctx: click.Context, param: click.Parameter, value: object) -> None:
    """Keep a flag that was given."""
    if value is not None and value is not False and param.name:
        setattr(ctx.find_object(Flags), param.name, value)


def _flag(name: str, metavar: str, text: str) -> click.Option:
    return click.Option(
        [f"--{name}"], metavar=metavar, expose_value=False, callback=_keep, help=text
    )


GLOBAL_OPTIONS: Final[list[click.Option]] = [
    _flag("server", "URL", "Where st8d is, such as http://127.0.0.1:8748."),
    _flag("token", "TOKEN", "The token that st8d asks for."),
    _flag("ca-file", "FILE", "Who may have signed st8d's certificate (PEM)."),
    click.Option(
        ["--local"],
        is_flag=True,
        expose_value=False,
        callback=_keep,
        help="Run st8d inside this command.",
    ),
    _flag("state-dir", "DIR", f"Where --local keeps its state.  [{STATE_DIR}]"),
    _flag("namespace", "NAME", "The namespace.  [default]"),
    _flag("branch", "NAME", "The branch.  [main]"),
    _flag(
        "timeout", "DURATION", f"For each request; 0 for no limit.  [{_TIMEOUT_S:g}s]"
    ),
    _flag("config", "FILE", "The configuration file."),
    click.Option(
        ["-o", "--output"],
        metavar="FORMAT",
        type=click.Choice(["text", "json", "yaml"]),
        expose_value=False,
        callback=_keep,
        help="How answers are shown: text, json or yaml.  [text]",
    ),
]
