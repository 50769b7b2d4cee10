"""What st8d is told: flags and environment, as one checked value.

The flags follow the rules of Go's ``flag`` package, which the original daemon has:
``-name`` and ``--name`` are the same, a value comes after ``=`` or as the next
argument, even when it begins with a dash, and the last of several wins. A flag wins
over its variable in the environment.

:data:`SETTINGS` is the table that parsing, help and documentation come from.
"""

from __future__ import annotations

import difflib
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple

from st8 import __version__
from st8.core.durations import parse_duration

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

__all__ = [
    "SETTINGS",
    "Finished",
    "Setting",
    "Settings",
    "UsageError",
    "load",
    "parse_listen",
]

LogFormat = Literal["auto", "text", "json"]
LogLevel = Literal["debug", "info", "warning", "error"]

_PORT_MAX: Final = 65_535


class UsageError(Exception):
    """A flag or variable that can't be right; the message is one sentence."""


class Finished(Exception):
    """The flags asked for text alone; the message is that text."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What is in force. Times in seconds; inf is no limit.

    Attributes:
        listen: Host, empty for every address, and port, 0 for a free one.
        state_dir: Where the embedded store is.
        token: What a client must show, or None for anyone. Never printed.
        token_from_flag: True if every user of the machine can read the token in
            the process list.
        tls: Certificate and key files, or None for plain HTTP.
        read_timeout_s: How long a request may take to arrive.
        write_timeout_s: How long an answer may wait for a client that reads
            nothing of it.
        idle_timeout_s: How long a connection is kept for a next request.
        shutdown_timeout_s: How long requests may go on after a signal.
        log_format: ``auto`` is text on a terminal and JSON elsewhere.
        log_level: The least level that is logged.
        log_colors: Whether text on a terminal may be coloured.
    """

    listen: tuple[str, int] = ("", 8748)
    state_dir: Path = Path(".st8d")
    token: str | None = field(default=None, repr=False)
    token_from_flag: bool = False
    tls: tuple[Path, Path] | None = None
    read_timeout_s: float = 30.0
    write_timeout_s: float = 60.0
    idle_timeout_s: float = 120.0
    shutdown_timeout_s: float = 10.0
    log_format: LogFormat = "auto"
    log_level: LogLevel = "info"
    log_colors: bool = True


class Setting(NamedTuple):
    """One setting, as people write it.

    Attributes:
        name: The flag's, without dashes.
        default: What holds when nobody says anything, as they would write it.
        metavar: What the help calls the value.
        help: One line.
        parse: Makes the value of its text; raises ValueError with a reason.
        variable: Where the environment says it, if it may.
    """

    name: str
    default: str
    metavar: str
    help: str
    parse: Callable[[str], Any]
    variable: str = ""


def load(
    arguments: Sequence[str], environment: Mapping[str, str] | None = None
) -> Settings:
    """Return what ``arguments`` and ``environment`` (the process's own) say.

    Raises:
        UsageError: Something in them can't be right.
        Finished: They ask for help or the version.
    """
    variables = os.environ if environment is None else environment
    flags = dict(_read_flags(arguments))
    values: dict[str, Any] = {}
    for setting in SETTINGS:
        text = flags.get(setting.name)
        source = f"--{setting.name}"
        if text is None and setting.variable and variables.get(setting.variable):
            text, source = variables[setting.variable], setting.variable
        if text is None:
            text = setting.default
        try:
            values[setting.name] = setting.parse(text)
        except ValueError as error:
            raise UsageError(f"{source}: {error}") from None
    cert, key = values["tls-cert"], values["tls-key"]
    if (cert is None) != (key is None):
        given, missing = ("cert", "key") if key is None else ("key", "cert")
        raise UsageError(
            f"--tls-{given} is given without --tls-{missing}; TLS needs both"
        )
    return Settings(
        listen=values["listen"],
        state_dir=values["state-dir"],
        token=values["token"],
        token_from_flag="token" in flags,
        tls=None if cert is None or key is None else (cert, key),
        read_timeout_s=values["read-timeout"],
        write_timeout_s=values["write-timeout"],
        idle_timeout_s=values["idle-timeout"],
        shutdown_timeout_s=values["shutdown-timeout"],
        log_format=values["log-format"],
        log_level=values["log-level"],
        log_colors=not variables.get("NO_COLOR"),
    )


def _read_flags(arguments: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yield name and text of each flag."""
    known = {setting.name for setting in SETTINGS}
    rest = iter(arguments)
    for argument in rest:
        if not argument.startswith("-") or argument in {"-", "--"}:
            raise UsageError(f"st8d takes flags only, and {argument!r} is none")
        dashes = 2 if argument.startswith("--") else 1
        name, equals, text = argument[dashes:].partition("=")
        if name in {"help", "h"}:
            raise Finished(_help())
        if name == "version":
            raise Finished(f"st8d {__version__}")
        if name not in known:
            raise UsageError(_unknown_flag(name, known))
        if not equals:
            following = next(rest, None)
            if following is None:
                raise UsageError(f"--{name} needs a value")
            text = following
        yield name, text


def _unknown_flag(name: str, known: set[str]) -> str:
    """Return a sentence that names the flag that was probably meant."""
    near = difflib.get_close_matches(name, known | {"help", "version"}, n=1)
    hint = f"did you mean --{near[0]}?" if near else "st8d --help lists all"
    return f"there is no flag --{name}; {hint}"


def _help() -> str:
    """Return the help text."""
    lines = [
        "st8d keeps versioned state and serves it over HTTP.",
        "",
        "Usage: st8d [flags]",
        "",
    ]
    heads = [f"--{s.name} {s.metavar}" for s in SETTINGS] + ["--version", "--help"]
    texts = [
        s.help + (f" (default {s.default})" if s.default else "") for s in SETTINGS
    ]
    texts += ["print the version", "print this"]
    width = max(len(head) for head in heads)
    lines += [
        f"  {head:<{width}}  {text}" for head, text in zip(heads, texts, strict=True)
    ]
    lines += [
        "",
        "Durations are written as 500ms, 30s, 1m30s; a timeout of 0 is no limit, save",
        "that --shutdown-timeout 0 waits for nothing. The variable ST8D_TOKEN is a",
        "better place for the token than --token, which everyone on the machine can",
        "read in the process list.",
    ]
    return "\n".join(lines)


# --- values -------------------------------------------------------------------


def parse_listen(text: str) -> tuple[str, int]:
    """Return host and port of ``:8748``, ``host:8748`` or ``[::1]:8748``."""
    host, colon, port = text.rpartition(":")
    if not colon:
        raise ValueError(f"{text!r} has no port; write :8748 or 127.0.0.1:8748")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        raise ValueError(f"{text!r} has too many colons; write [::1]:8748")
    if not (port.isascii() and port.isdigit()) or int(port) > _PORT_MAX:
        raise ValueError(f"{port!r} is not a port; it is a number up to {_PORT_MAX}")
    return host, int(port)


def _limit(text: str) -> float:
    """Return a duration that bounds something; 0 bounds nothing."""
    return parse_duration(text) or float("inf")


def _directory(text: str) -> Path:
    """Return a path that is not empty."""
    if not text:
        raise ValueError("a directory is needed")
    return Path(text)


def _file(text: str) -> Path | None:
    """Return a path, None for the empty default."""
    return Path(text) if text else None


def _token(text: str) -> str | None:
    """Return a token that a client can send, None for the empty default.

    An empty token turns authentication off, as in the original. One of white space,
    or with white space around it, is a mistake (a variable that was not set, a
    file's line end) which no header could ever match: it is refused.
    """
    if not text:
        return None
    if text != text.strip():
        raise ValueError("the token is blank or has white space around it")
    if not all("!" <= character <= "~" for character in text):
        raise ValueError("the token has characters that no HTTP header can carry")
    return text


def _one_of(*names: str) -> Callable[[str], str]:
    """Return a parser that takes one of ``names``."""

    def parse(text: str) -> str:
        if text not in names:
            raise ValueError(f"{text!r} is none of {', '.join(names)}")
        return text

    return parse


SETTINGS: Final[tuple[Setting, ...]] = (
    Setting(
        "listen",
        ":8748",
        "ADDRESS",
        "host and port to listen on; without a host, every address",
        parse_listen,
    ),
    Setting("state-dir", ".st8d", "DIR", "where the state is kept", _directory),
    Setting(
        "token",
        "",
        "TOKEN",
        "what clients must show; better given as ST8D_TOKEN",
        _token,
        "ST8D_TOKEN",
    ),
    Setting("tls-cert", "", "FILE", "certificate chain, PEM; turns TLS on", _file),
    Setting("tls-key", "", "FILE", "the certificate's private key, PEM", _file),
    Setting(
        "read-timeout", "30s", "DURATION", "the longest a request may take", _limit
    ),
    Setting(
        "write-timeout",
        "60s",
        "DURATION",
        "the longest an answer waits for a client that does not read",
        _limit,
    ),
    Setting(
        "idle-timeout",
        "120s",
        "DURATION",
        "how long a connection waits for its next request",
        _limit,
    ),
    Setting(
        "shutdown-timeout",
        "10s",
        "DURATION",
        "how long requests may go on after SIGTERM",
        parse_duration,
    ),
    Setting(
        "log-format",
        "auto",
        "FORMAT",
        "text, json, or auto: text on a terminal, else json",
        _one_of("auto", "text", "json"),
    ),
    Setting(
        "log-level",
        "info",
        "LEVEL",
        "debug, info, warning or error; requests are logged at info",
        _one_of("debug", "info", "warning", "error"),
    ),
)
