"""The settings of st8d: the one table of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from st8.config.values import (
    conceal_all,
    conceal_url,
    parse_audit_log,
    parse_directory,
    parse_file,
    parse_interval,
    parse_limit,
    parse_listen,
    parse_one_of,
    parse_place,
    parse_retention,
    parse_store,
    parse_switch,
    parse_token,
    parse_workers,
)
from st8.core.durations import parse_duration
from st8.core.findings import parse_head
from st8.core.ids import BranchName, Namespace
from st8.core.rates import parse_rate

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["MIGRATION", "SETTINGS", "VERIFICATION", "Setting"]


class Setting(NamedTuple):
    """One setting, as people write it.

    Attributes:
        name: The flag's, without dashes, and the file's.
        default: What holds when nobody says anything, as they would write it.
        metavar: What the help calls the value.
        help: One line.
        parse: Makes the value of its text; raises ValueError with a reason.
        many: It may be given several times.
        conceal: Returns what may be shown of a text, which may hold a secret.
        in_file: It may stand in the file.
        reloaded: SIGHUP brings a new value into force.
        needs: The setting without which this one would mean nothing.
        instead: The setting that takes the place of this one.
        switch: It is a flag without a value.
    """

    name: str
    default: str
    metavar: str
    help: str
    parse: Callable[[str], Any]
    many: bool = False
    conceal: Callable[[str], str] = str
    in_file: bool = True
    reloaded: bool = False
    needs: str = ""
    instead: str = ""
    switch: bool = False

    @property
    def variable(self) -> str:
        """Where the environment says it."""
        return "ST8D_" + self.name.upper().replace("-", "_")


SETTINGS: Final[tuple[Setting, ...]] = (
    Setting(
        "config",
        "",
        "FILE",
        "settings, YAML: the flags' names with their values",
        parse_file,
        in_file=False,
    ),
    Setting(
        "listen",
        ":8748",
        "ADDRESS",
        "host and port, or unix:PATH; may be repeated",
        parse_listen,
        many=True,
    ),
    Setting(
        "state-dir",
        ".st8d",
        "DIR",
        "where the state is kept",
        parse_directory,
        instead="store",
    ),
    Setting(
        "store",
        "",
        "URL",
        "instead of a state directory: postgresql://USER@HOST/DATABASE",
        parse_store,
        conceal=conceal_url,
    ),
    Setting(
        "workers",
        "1",
        "N",
        "processes that serve, on one machine and one store",
        parse_workers,
    ),
    Setting(
        "token",
        "",
        "TOKEN",
        "what clients must show; better given as a file or variable",
        parse_token,
        conceal=conceal_all,
        reloaded=True,
    ),
    Setting(
        "token-file",
        "",
        "FILE",
        "a file that holds the token",
        parse_file,
        reloaded=True,
    ),
    Setting(
        "auth-config",
        "",
        "FILE",
        "who may do what: tokens, certificates, JWTs, protected branches",
        parse_file,
        reloaded=True,
    ),
    Setting(
        "audit-log",
        "",
        "FILE",
        "who did what, JSON lines; - for standard output",
        parse_audit_log,
    ),
    Setting(
        "tls-cert",
        "",
        "FILE",
        "certificate chain, PEM; turns TLS on",
        parse_file,
        reloaded=True,
    ),
    Setting(
        "tls-key",
        "",
        "FILE",
        "the certificate's private key, PEM",
        parse_file,
        reloaded=True,
    ),
    Setting(
        "tls-client-ca",
        "",
        "FILE",
        "who may have signed clients' certificates, and what they revoked, PEM",
        parse_file,
        reloaded=True,
    ),
    Setting(
        "tls-client-auth",
        "required",
        "MODE",
        "clients' certificates: required or optional",
        parse_one_of("required", "optional"),
        reloaded=True,
        needs="tls-client-ca",
    ),
    Setting(
        "tls-min-version",
        "1.2",
        "VERSION",
        "the oldest TLS that is spoken: 1.2 or 1.3",
        parse_one_of("1.2", "1.3"),
        reloaded=True,
    ),
    Setting(
        "read-timeout", "30s", "DURATION", "the longest a request may take", parse_limit
    ),
    Setting(
        "write-timeout",
        "60s",
        "DURATION",
        "how long an answer waits for one that reads nothing",
        parse_limit,
    ),
    Setting(
        "idle-timeout",
        "120s",
        "DURATION",
        "how long a connection waits for its next request",
        parse_limit,
    ),
    Setting(
        "shutdown-timeout",
        "10s",
        "DURATION",
        "how long requests may go on after SIGTERM",
        parse_duration,
    ),
    Setting(
        "rate-limit",
        "0",
        "RATE",
        "requests a second of a token: RATE or RATE:BURST",
        parse_rate,
        reloaded=True,
    ),
    Setting(
        "gc-interval",
        "0",
        "AGE",
        "how often garbage is collected, as 12h or 1d; 0 is never",
        parse_interval,
        reloaded=True,
    ),
    Setting(
        "retention",
        "*:keep=10",
        "RULE",
        "PATTERN:keep=N,younger-than=AGE or PATTERN:never",
        parse_retention,
        many=True,
        reloaded=True,
    ),
    Setting(
        "log-format",
        "auto",
        "FORMAT",
        "text, json, or auto: text on a terminal, else json",
        parse_one_of("auto", "text", "json"),
    ),
    Setting(
        "log-level",
        "info",
        "LEVEL",
        "debug, info (requests too), warning or error",
        parse_one_of("debug", "info", "warning", "error"),
    ),
)

MIGRATION: Final[tuple[Setting, ...]] = (
    Setting("migrate-from", "", "STORE", "the store to read", parse_place),
    Setting("migrate-to", "", "STORE", "the empty store to fill", parse_place),
)
"""What st8d migrate alone is told; its flags are --from and --to."""

VERIFICATION: Final[tuple[Setting, ...]] = (
    Setting(
        "full",
        "",
        "",
        "read every object, and have the store check itself",
        parse_switch,
        switch=True,
    ),
    Setting("output", "text", "FORMAT", "text or json", parse_one_of("text", "json")),
    Setting(
        "heads",
        "",
        "",
        "print the head of each branch too, with --output json",
        parse_switch,
        switch=True,
    ),
    Setting(
        "expect-head",
        "",
        "NUMBER:DIGEST",
        "a revision that must be in the branch's history; may be repeated",
        parse_head,
        many=True,
    ),
    Setting("namespace", "default", "NAME", "whose branch that is", Namespace),
    Setting("branch", "main", "NAME", "which branch that is", BranchName),
    Setting(
        "expect-heads",
        "",
        "FILE",
        "the output of an earlier verification with --heads, all of which must be there",
        parse_file,
    ),
)
"""What st8d verify alone is told, by flags; beside them it takes those of the store."""
