"""What st8d is told: flags, variables, a file and defaults, as one checked value.

:data:`SETTINGS` is the table that flags, variables, the file's keys, the help, the
documentation and ``st8d config`` come from. This package and the command line are
the only parts of st8 that read the environment.
"""

from __future__ import annotations

from st8.config.migration import Migration, load_migration
from st8.config.reading import Command, Finished, UsageError, load, parse_command
from st8.config.settings import (
    Address,
    RetentionRule,
    Settings,
    Systemd,
    TcpAddress,
    TlsSettings,
    UnixAddress,
)
from st8.config.showing import show
from st8.config.table import SETTINGS, Setting
from st8.config.values import parse_listen, parse_token
from st8.config.verification import Verification, load_verification

__all__ = [
    "SETTINGS",
    "Address",
    "Command",
    "Finished",
    "Migration",
    "RetentionRule",
    "Setting",
    "Settings",
    "Systemd",
    "TcpAddress",
    "TlsSettings",
    "UnixAddress",
    "UsageError",
    "Verification",
    "load",
    "load_migration",
    "load_verification",
    "parse_command",
    "parse_listen",
    "parse_token",
    "show",
]
