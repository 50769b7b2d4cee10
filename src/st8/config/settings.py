"""What is in force, as values that need no more checking."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, NamedTuple

from st8.core.rates import UNLIMITED, Rate

__all__ = [
    "Address",
    "LogFormat",
    "LogLevel",
    "RetentionRule",
    "Settings",
    "Systemd",
    "TcpAddress",
    "TlsSettings",
    "UnixAddress",
]

LogFormat = Literal["auto", "text", "json"]
LogLevel = Literal["debug", "info", "warning", "error"]


class TcpAddress(NamedTuple):
    """Where to listen on the network.

    Attributes:
        host: Name or IP address without brackets; empty for every address.
        port: 0 for a free one.
    """

    host: str
    port: int

    def __str__(self) -> str:
        """Return it as it is written in a flag."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


class UnixAddress(NamedTuple):
    """Where to listen on this machine.

    Attributes:
        path: The socket's.
        mode: Who may connect, as the bits of a file's mode.
    """

    path: Path
    mode: int

    def __str__(self) -> str:
        """Return it as it is written in a flag, without its mode."""
        return f"unix:{self.path}"


Address = TcpAddress | UnixAddress


@dataclass(frozen=True, slots=True)
class TlsSettings:
    """How TLS is spoken.

    Attributes:
        cert: The certificate chain.
        key: The certificate's private key.
        client_ca: Who may have signed the certificates of clients; None: nobody is
            asked for one.
        client_required: A client without a certificate is turned away.
        min_version: The oldest version that is spoken, ``1.2`` or ``1.3``.
    """

    cert: Path
    key: Path
    client_ca: Path | None = None
    client_required: bool = True
    min_version: str = "1.2"


@dataclass(frozen=True, slots=True)
class RetentionRule:
    """What a collection keeps of the namespaces that match a pattern.

    Attributes:
        pattern: See :class:`st8.auth.globs.Glob`.
        keep: So many of the newest revisions of each branch.
        younger_than_s: Whatever is younger.
        never: Everything.
    """

    pattern: str
    keep: int
    younger_than_s: float = 0.0
    never: bool = False


@dataclass(frozen=True, slots=True)
class Systemd:
    """What the service manager has said.

    Attributes:
        notify_socket: Where it wants to hear that st8d is ready; empty if not.
        watchdog_s: It expects a sign of life that often; None if not.
        sockets: How many listening sockets it has handed over.
    """

    notify_socket: str = ""
    watchdog_s: float | None = None
    sockets: int = 0


@dataclass(frozen=True, slots=True)
class Settings:
    """What is in force. Times in seconds; inf is no limit.

    Attributes:
        listen: Where to listen; nowhere if all sockets are the service manager's.
        state_dir: Where the embedded store is.
        store: The URL of another store, or None. Has its password.
        store_from_flag: True if every user of the machine can read that password.
        workers: How many processes serve.
        token: What a client must show, or None. Never printed.
        token_file: The file that has the token instead.
        token_from_flag: True if every user of the machine can read the token in
            the process list.
        token_config: The file of settings, if the token stands in it.
        auth_config: The file that says who may do what, or None.
        audit_log: The file of the audit log, ``-`` for standard output, or None.
        tls: None for plain HTTP.
        read_timeout_s: How long a request may take to arrive.
        write_timeout_s: How long an answer may wait for a client that reads
            nothing of it.
        idle_timeout_s: How long a connection is kept for a next request.
        shutdown_timeout_s: How long requests may go on after a signal.
        rate_limit: How many requests each token may send that has no rate of its own.
        retention: What a collection keeps; the first that matches holds.
        gc_interval_s: How often it collects by itself; 0 is never.
        log_format: ``auto`` is text on a terminal and JSON elsewhere.
        log_level: The least level that is logged.
        log_colors: Whether text on a terminal may be coloured.
        systemd: What the service manager has said.
    """

    listen: tuple[Address, ...] = (TcpAddress("", 8748),)
    state_dir: Path = Path(".st8d")
    store: str | None = field(default=None, repr=False)
    store_from_flag: bool = False
    workers: int = 1
    token: str | None = field(default=None, repr=False)
    token_file: Path | None = None
    token_from_flag: bool = False
    token_config: Path | None = None
    auth_config: Path | None = None
    audit_log: str | None = None
    tls: TlsSettings | None = None
    read_timeout_s: float = 30.0
    write_timeout_s: float = 60.0
    idle_timeout_s: float = 120.0
    shutdown_timeout_s: float = 10.0
    rate_limit: Rate = UNLIMITED
    retention: tuple[RetentionRule, ...] = (RetentionRule("*", 10),)
    gc_interval_s: float = 0.0
    log_format: LogFormat = "auto"
    log_level: LogLevel = "info"
    log_colors: bool = True
    systemd: Systemd = Systemd()

    @property
    def store_url(self) -> str:
        """The URL of the store, whichever it is. Has its password."""
        return self.store or f"sqlite:{self.state_dir}"
