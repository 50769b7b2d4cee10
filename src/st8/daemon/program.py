"""The program ``st8d``: serves, checks its settings, prints them, moves or verifies."""

from __future__ import annotations

import logging
import os
import signal
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from st8.clock import SystemClock
from st8.core.errors import St8Error
from st8.daemon.parts import (
    bind_all,
    make_tls,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from st8.config import Command, Settings

__all__ = ["main"]

_log = logging.getLogger("st8d")


def main(argv: Sequence[str] | None = None) -> int:
    """Run st8d until a signal ends it; return its exit code.

    0: it served and stopped, or did what was asked for. 1: it could not, or a store
    that was verified is damaged. 2: its settings can't be right, or a store could not
    be verified.
    """
    from st8 import config  # noqa: PLC0415 - --local has no settings of st8d

    try:
        command, arguments = config.parse_command(
            sys.argv[1:] if argv is None else argv
        )
        return _obey(command, arguments)
    except config.Finished as text:
        sys.stdout.write(f"{text}\n")
        return 0
    except config.UsageError as error:
        return _complain(error.problems, 2)
    except St8Error as error:
        return _complain([error.detail], 1)
    except KeyboardInterrupt:
        return 128 + signal.SIGINT


def _obey(command: Command, arguments: Sequence[str]) -> int:
    """Do what the command says; return the exit code."""
    from st8 import config  # noqa: PLC0415 - see above

    if command == "config":
        sys.stdout.write(f"{config.show(arguments)}\n")
        return 0
    if command == "migrate":
        from st8.daemon.migrate import migrate  # noqa: PLC0415 - when asked for

        sys.stdout.write(f"{migrate(*config.load_migration(arguments))}\n")
        return 0
    if command == "verify":
        from st8.daemon.verify import verify_store  # noqa: PLC0415 - when asked for

        return verify_store(config.load_verification(arguments))
    settings = config.load(arguments)
    if command == "check-config":
        return _check(settings)
    own = os.getpid()
    return _run(settings, lambda: config.load(arguments, process=own))


def _complain(sentences: Sequence[str], code: int) -> int:
    """Say each of ``sentences`` on standard error; return ``code``."""
    sys.stderr.write("".join(f"st8d: {sentence}\n" for sentence in sentences))
    return code


# --- serving --------------------------------------------------------------------


def _run(settings: Settings, reread: Callable[[], Settings]) -> int:
    """Serve, with one process or several; return the exit code."""
    # Whoever has changed a file may say so while it is still being read.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)

    from st8.daemon.notify import Notifier  # noqa: PLC0415 - --local
    from st8.daemon.running import Lead  # noqa: PLC0415 - see above
    from st8.daemon.serving import Place, serve  # noqa: PLC0415 - see above
    from st8.store.open import open_store  # noqa: PLC0415 - see above

    if settings.workers > 1:
        from st8.daemon.workers import (  # noqa: PLC0415 - only when asked for
            serve_with_workers,
        )

        return serve_with_workers(settings, reread)

    def lead(_store_name: str, _kind: str) -> Lead:
        return Lead(Notifier(settings.systemd.notify_socket))

    place = Place(
        partial(bind_all, settings), partial(open_store, settings.store_url), lead
    )
    serve(settings, reread, place)
    _log.info("st8d stopped")
    return 0


# --- checking -------------------------------------------------------------------


def _check(settings: Settings) -> int:
    """Say whether st8d could start with ``settings``: all that is wrong with them.

    Nothing is bound, opened or made; the policy's keys are asked for where it names
    a URL.
    """
    from st8.daemon.serving import warnings_of  # noqa: PLC0415 - --local

    problems: list[str] = []

    def attempt(act: Callable[[], object]) -> None:
        try:
            act()
        except St8Error as error:
            problems.append(error.detail)

    attempt(lambda: make_tls(settings))
    attempt(lambda: _check_credentials(settings))
    attempt(lambda: _check_store(settings))
    problems += _places(settings)
    if problems:
        return _complain(problems, 1)
    for warning in warnings_of(settings):
        sys.stderr.write(f"st8d: warning: {warning}\n")
    sys.stdout.write("configuration is good\n")
    return 0


def _check_credentials(settings: Settings) -> None:
    """Read the token and the policy.

    Raises:
        InvalidInput: One of them is not right.
    """
    from st8.daemon.credentials import Gate, read_token  # noqa: PLC0415 - --local

    Gate(settings, read_token(settings), SystemClock()).close()


def _check_store(settings: Settings) -> None:
    """Read the URL of the store.

    Raises:
        InvalidValue: It is not right.
        StorageFailed: What such a store needs is not installed.
    """
    from st8.store.open import place_of  # noqa: PLC0415 - --local

    place_of(settings.store_url)


def _places(settings: Settings) -> list[str]:
    """Return which files could not be made where the settings want them."""
    found: list[str] = []
    audit = settings.audit_log
    if audit not in {None, "-"}:
        path = Path(str(audit))
        if path.is_dir() or not os.access(
            path if path.exists() else path.parent, os.W_OK
        ):
            found.append(f"audit-log: can't write {path}")
    directory = settings.state_dir
    if settings.store is None and directory.exists() and not directory.is_dir():
        found.append(f"state-dir: {directory} is no directory")
    return found
