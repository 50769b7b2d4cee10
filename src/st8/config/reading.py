"""All sources brought together: a flag beats a variable, a variable the file."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple

from st8 import __version__
from st8.config.settings import Settings, Systemd, TlsSettings
from st8.config.sources import Said, from_file, from_flags, from_variables, nearest
from st8.config.table import SETTINGS
from st8.config.values import conceal_url

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from st8.config.settings import RetentionRule

__all__ = [
    "Command",
    "Finished",
    "Gathered",
    "UsageError",
    "gather",
    "load",
    "parse_command",
]

Command = Literal["serve", "check-config", "config", "migrate", "verify"]

_COMMANDS: Final[tuple[Command, ...]] = ("check-config", "config", "migrate", "verify")
_US_PER_S: Final = 1_000_000


class UsageError(Exception):
    """Settings that can't be right.

    Attributes:
        problems: What is wrong with them, a sentence each.
    """

    def __init__(self, *problems: str) -> None:
        """Take the sentences."""
        super().__init__("\n".join(problems))
        self.problems = problems


class Finished(Exception):
    """The flags asked for text alone; the message is that text."""


class Gathered(NamedTuple):
    """Every setting, with where it was said.

    Attributes:
        said: By name; the texts as they stand there.
        values: By name; what they mean. A tuple for what may be repeated.
    """

    said: dict[str, Said]
    values: dict[str, Any]


def parse_command(arguments: Sequence[str]) -> tuple[Command, list[str]]:
    """Return what st8d shall do, and the flags that follow.

    Raises:
        UsageError: There is no such command.
    """
    if not arguments or arguments[0].startswith("-"):
        return "serve", list(arguments)
    first = arguments[0]
    for command in _COMMANDS:
        if first == command:
            return command, list(arguments[1:])
    near = nearest(first, _COMMANDS)
    hint = f"did you mean st8d {near}?" if near else "st8d --help lists all"
    raise UsageError(f"st8d has no command {first!r}; {hint}")


def load(
    arguments: Sequence[str],
    environment: Mapping[str, str] | None = None,
    *,
    process: int | None = None,
) -> Settings:
    """Return what ``arguments``, ``environment`` (the process's own) and file say.

    What the service manager says counts if it is meant for ``process``; None is this
    one.

    Raises:
        UsageError: Something in them can't be right.
        Finished: They ask for help or the version.
    """
    variables = os.environ if environment is None else environment
    gathered = gather(arguments, variables)
    said, values = gathered
    systemd = _systemd(variables, os.getpid() if process is None else process)
    listen = values["listen"]
    if systemd.sockets and said["listen"].source == "default":
        listen = ()
    return Settings(
        listen=listen,
        state_dir=values["state-dir"],
        store=values["store"],
        store_from_flag=said["store"].source == "flag"
        and values["store"] is not None
        and conceal_url(values["store"]) != values["store"],
        workers=values["workers"],
        token=values["token"],
        token_file=values["token-file"],
        token_from_flag=bool(values["token"]) and said["token"].source == "flag",
        token_config=values["config"] if said["token"].source == "file" else None,
        auth_config=values["auth-config"],
        audit_log=values["audit-log"],
        tls=_tls(values),
        read_timeout_s=values["read-timeout"],
        write_timeout_s=values["write-timeout"],
        idle_timeout_s=values["idle-timeout"],
        shutdown_timeout_s=values["shutdown-timeout"],
        rate_limit=values["rate-limit"],
        retention=values["retention"],
        gc_interval_s=values["gc-interval"],
        log_format=values["log-format"],
        log_level=values["log-level"],
        log_colors=not variables.get("NO_COLOR"),
        systemd=systemd,
    )


def gather(
    arguments: Sequence[str], environment: Mapping[str, str] | None = None
) -> Gathered:
    """Return every setting, as its strongest source says it.

    Raises:
        UsageError: Something in them can't be right; tells all that is wrong.
        Finished: They ask for help or the version.
    """
    variables = os.environ if environment is None else environment
    problems: list[str] = []
    flags, asked = from_flags(arguments, problems)
    if asked is not None:
        raise Finished(f"st8d {__version__}" if asked == "version" else _help())
    said = {s.name: Said((s.default,), "default", "default") for s in SETTINGS}
    stronger = from_variables(variables, problems) | flags
    if "config" in stronger and (path := stronger["config"].texts[0]):
        said |= from_file(_parsed("config", stronger["config"], problems), problems)
        said["config"] = Said((path,), stronger["config"].source, "")
    said |= stronger
    values = {name: _parsed(name, one, problems) for name, one in said.items()}
    if not problems:
        problems += _contradictions(said, values)
    if problems:
        raise UsageError(*problems)
    return Gathered(said, values)


def _parsed(name: str, said: Said, problems: list[str]) -> Any:
    """Return the value, None if there is none; what is wrong joins ``problems``."""
    setting = next(setting for setting in SETTINGS if setting.name == name)
    values: list[Any] = []
    for text in said.texts:
        try:
            values.append(setting.parse(text))
        except ValueError as error:
            where = f"{said.place}: {name}" if said.source == "file" else said.place
            problems.append(f"{where}: {error}")
    if setting.many:
        return tuple(values)
    return values[0] if values else None


def _contradictions(said: dict[str, Said], values: dict[str, Any]) -> list[str]:
    """Return what can't be right together, though each for itself could be."""
    problems: list[str] = []

    def needs(name: str, other: str, why: str) -> None:
        if values[other] is None:
            one = said[name]
            where = f"{one.place}: " if one.source == "file" else ""
            problems.append(
                f"{where}{one.of(name)} is given without {one.of(other)}; {why}"
            )

    if values["tls-cert"] is not None:
        needs("tls-cert", "tls-key", "TLS needs both")
    if values["tls-key"] is not None:
        needs("tls-key", "tls-cert", "TLS needs both")
    if values["tls-client-ca"] is not None and not problems:
        needs("tls-client-ca", "tls-cert", "only TLS has certificates of clients")
    if said["tls-client-auth"].source != "default":
        needs("tls-client-auth", "tls-client-ca", "nobody would be asked for one")
    if values["store"] is not None and said["state-dir"].source != "default":
        problems.append(
            f"store ({said['store'].place}) and state-dir "
            f"({said['state-dir'].place}) are both given; leave one out"
        )
    if values["workers"] > 1 and (values["store"] or "").startswith("memory:"):
        problems.append(
            f"workers ({said['workers'].place}) is {values['workers']}, and what "
            "memory: keeps no other process can see; leave one out"
        )
    if values["token"] is not None and values["token-file"] is not None:
        problems.append(
            f"token ({said['token'].place}) and token-file "
            f"({said['token-file'].place}) are both given; leave one out"
        )
    return problems + _hidden_rules(said["retention"], values["retention"])


def _hidden_rules(said: Said, rules: tuple[RetentionRule, ...]) -> list[str]:
    """Return what is wrong with rules of which the first that matches holds."""
    patterns = [rule.pattern for rule in rules]
    return [
        f"retention ({said.place}) has {text!r} behind a rule that holds for all that "
        "it would; the first that matches holds"
        for place, text in enumerate(said.texts)
        if not {"*", patterns[place]}.isdisjoint(patterns[:place])
    ]


def _tls(values: dict[str, Any]) -> TlsSettings | None:
    if values["tls-cert"] is None:
        return None
    return TlsSettings(
        values["tls-cert"],
        values["tls-key"],
        values["tls-client-ca"],
        values["tls-client-auth"] == "required",
        values["tls-min-version"],
    )


def _systemd(variables: Mapping[str, str], own: int) -> Systemd:
    """Return what the service manager says; what is meant for another process not."""

    def number(name: str) -> int:
        text = variables.get(name, "")
        return int(text) if text.isascii() and text.isdigit() else 0

    watched = number("WATCHDOG_PID") in {0, own}
    watchdog_us = number("WATCHDOG_USEC") if watched else 0
    return Systemd(
        variables.get("NOTIFY_SOCKET", ""),
        watchdog_us / _US_PER_S if watchdog_us else None,
        number("LISTEN_FDS") if number("LISTEN_PID") == own else 0,
    )


def _help() -> str:
    """Return the help text."""
    lines = [
        "st8d keeps versioned state and serves it over HTTP.",
        "",
        "Usage: st8d [flags]",
        "       st8d check-config [flags]   say whether st8d could start so",
        "       st8d config [flags]         print the settings in force, as a file",
        "       st8d migrate --from STORE --to STORE",
        "                                   move a whole store to another place",
        "       st8d verify [flags]         tell what is damaged in a store",
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
        "Each flag has a variable, such as ST8D_STATE_DIR for --state-dir, and a line in",
        "the file of --config, such as state-dir: /var/lib/st8. A flag beats a variable,",
        "a variable the file, and the file the default.",
        "",
        "Durations are written as 500ms, 30s, 1m30s; a timeout of 0 is no limit, save",
        "that --shutdown-timeout 0 waits for nothing. SIGHUP reads tokens, policies,",
        "certificates and what a collection keeps anew. --token can be read in the",
        "process list by everyone on the machine: --token-file and ST8D_TOKEN are better",
        "places.",
    ]
    return "\n".join(lines)
