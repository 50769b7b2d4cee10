"""st8d migrate, as an operator runs it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from st8.client import Client
from st8.clock import SystemClock
from st8.config import Finished, Migration, UsageError, load_migration
from st8.engine.engine import Engine
from st8.store.open import open_store
from st8.store.sqlite import FILE_NAME
from tests.daemon.process import Daemon, run
from tests.engine.acts import applied, checkpoint, read_everything, scope
from tests.postgres.server import PASSWORD

if TYPE_CHECKING:
    from pathlib import Path

    from tests.postgres.server import PostgresServer


def fill(state_dir: Path, revisions: int = 5) -> dict[str, dict[str, str]]:
    """Make a store in a state directory; return all that it holds."""
    with closing(Engine(open_store(f"sqlite:{state_dir}"), SystemClock())) as engine:
        applied(engine, *map(str, range(revisions)))
        checkpoint(engine, "v1", description="works")
        applied(engine, "a", "ü", at=scope("shop/prod"), name="limits/é.json")
        return read_everything(engine)


def read(url: str) -> dict[str, dict[str, str]]:
    """Return all that a store holds."""
    with closing(Engine(open_store(url), SystemClock())) as engine:
        return read_everything(engine)


# --- moving ---------------------------------------------------------------------


def test_a_store_moves_to_postgresql_and_back(
    tmp_path: Path, postgres: PostgresServer
) -> None:
    """A store moves there and back by two commands, and is the same.

    It is served where it arrives. No password is printed.
    """
    expected = fill(tmp_path / "first")
    url = postgres.tcp_url(postgres.new_schema())
    variables = {"ST8D_MIGRATE_FROM": str(tmp_path / "first"), "ST8D_MIGRATE_TO": url}
    there = run("migrate", environment=variables)
    back = run(
        *("migrate", "--to", f"sqlite:{tmp_path}/second"),
        environment={"ST8D_MIGRATE_FROM": url},
    )

    assert (0, "") == (there.returncode, there.stderr)
    assert (0, "") == (back.returncode, back.stderr)
    assert there.stdout.startswith(
        "moved 2 namespace(s), 7 revision(s) and 14 object(s), "
    )
    assert f" bytes, from sqlite:{tmp_path}/first to PostgreSQL at " in there.stdout
    assert there.stdout.partition(", from ")[0] == back.stdout.partition(", from ")[0]
    assert PASSWORD not in there.stdout + back.stdout
    assert expected == read(f"sqlite:{tmp_path}/second") == read(url)
    with Daemon(tmp_path / "second") as daemon, Client(daemon.url) as client:
        assert "4" == client.get("k")
        assert 6 == client.apply({"k": "new"}).revision


def test_the_source_stays_as_it_is(tmp_path: Path) -> None:
    """What is read is not changed, byte for byte, and st8d can serve it afterwards."""
    fill(tmp_path / "first")
    before = (tmp_path / "first" / FILE_NAME).read_bytes()
    done = run("migrate", "-from", str(tmp_path / "first"), f"-to={tmp_path}/second")

    assert 0 == done.returncode, done.stderr
    assert before == (tmp_path / "first" / FILE_NAME).read_bytes()


_KILLED = """
import os, signal, sys
from st8.engine.transfer import Place, Sizes, transfer
from st8.store.open import open_store
from st8.testing.faulty import FaultyStore
source, url, commits = sys.argv[1:]
target = FaultyStore(open_store(url))
def die():
    os.kill(os.getpid(), signal.SIGKILL)
target.after("commit", *[lambda: None] * int(commits), die)
transfer(
    Place(open_store(source, make=False), source),
    Place(target, url),
    lambda *_: None,
    sizes=Sizes(revisions=2, refs=1, objects=3, object_bytes=100),
)
"""


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
@pytest.mark.parametrize("commits", [0, 3, 6])
def test_a_killed_migration_goes_on(
    tmp_path: Path, request: pytest.FixtureRequest, kind: str, commits: int
) -> None:
    """Killed in the middle it leaves what st8d refuses to serve, and can go on from."""
    expected = fill(tmp_path / "first")
    url = f"sqlite:{tmp_path / 'second'}"
    if kind == "postgres":
        server: PostgresServer = request.getfixturevalue("postgres")
        url = server.url(server.new_schema())
    source = f"sqlite:{tmp_path / 'first'}"
    killed = subprocess.run(
        [sys.executable, "-c", _KILLED, source, url, str(commits)],
        check=False,
        timeout=60,
    )
    assert -signal.SIGKILL == killed.returncode
    if kind == "sqlite":
        served = run("--listen", "127.0.0.1:0", "--state-dir", str(tmp_path / "second"))
        assert 1 == served.returncode
        assert (
            f"st8d: the store is a half-done migration from {source} and is not "
            "served; finish it with the same st8d migrate, or take another store\n"
        ) in served.stderr
    done = run("migrate", "--from", source, "--to", url)

    assert (0, "") == (done.returncode, done.stderr)
    assert expected == read(url)


# --- refused --------------------------------------------------------------------


def test_a_source_that_is_served_is_refused(tmp_path: Path) -> None:
    """A state directory that st8d has can't be moved meanwhile; nothing is made."""
    fill(tmp_path / "first")
    with Daemon(tmp_path / "first") as daemon:
        done = run(
            "migrate", "--from", str(tmp_path / "first"), "--to", f"{tmp_path}/second"
        )
        assert (1, "") == (done.returncode, done.stdout)
        assert str(daemon.process.pid) in done.stderr
    assert not (tmp_path / "second").exists()


def test_a_target_that_is_not_empty_is_refused(tmp_path: Path) -> None:
    """What is there is not overwritten; the error names the place."""
    fill(tmp_path / "first")
    before = fill(tmp_path / "second")
    done = run("migrate", "--from", f"{tmp_path}/first", "--to", f"{tmp_path}/second")

    assert (1, "") == (done.returncode, done.stdout)
    assert (
        f"st8d: to: sqlite:{tmp_path}/second is not empty, and st8d does not overwrite "
        "what is there; name an empty store, or one that is not there yet\n"
    ) == done.stderr
    assert before == read(f"sqlite:{tmp_path}/second")


def test_a_source_that_is_not_there_is_not_made(
    tmp_path: Path, postgres: PostgresServer
) -> None:
    """A typo in the source makes no store, neither there nor where it should go."""
    schema = postgres.new_schema()
    from_nowhere = run("migrate", "--from", f"{tmp_path}/a", "--to", f"{tmp_path}/b")
    from_no_schema = run(
        "migrate", "--from", postgres.url(schema), "--to", f"{tmp_path}/b"
    )

    assert 1 == from_nowhere.returncode == from_no_schema.returncode
    assert f"st8d: there is no store in {tmp_path}/a\n" == from_nowhere.stderr
    assert f"has no st8 store in schema {schema}; write" in from_no_schema.stderr
    assert [] == list(tmp_path.iterdir())
    assert [] == postgres.run(
        f"SELECT 1 FROM pg_namespace WHERE nspname = '{schema}'"  # noqa: S608 - ours
    )


def test_a_damaged_source_is_named(tmp_path: Path) -> None:
    """Damage is told with what it hits; the exit code is 1 and nothing is done."""
    fill(tmp_path / "first")
    path = tmp_path / "first" / FILE_NAME
    data = path.read_bytes()
    place = data.rindex("limits/é.json".encode())
    path.write_bytes(data[:place] + b"L" + data[place + 1 :])
    done = run("migrate", "--from", f"{tmp_path}/first", "--to", f"{tmp_path}/second")

    assert (1, "") == (done.returncode, done.stdout)
    assert f"st8d: sqlite:{tmp_path}/first is damaged: revision " in done.stderr
    assert " of namespace 'shop/prod': object " in done.stderr
    with pytest.raises(AssertionError, match="half-done migration"):
        Daemon(tmp_path / "second")


# --- usage ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "environment", "expected"),
    [
        (
            [],
            {},
            [
                (
                    "--from is missing; name the store to read by it, or in "
                    "ST8D_MIGRATE_FROM"
                ),
                (
                    "--to is missing; name the empty store to fill by it, or in "
                    "ST8D_MIGRATE_TO"
                ),
            ],
        ),
        (
            ["--form", "a", "--to", "b"],
            {"ST8D_MIGRATE_FORM": "a"},
            [
                "there is no flag --form; did you mean --from?",
                (
                    "there is no variable ST8D_MIGRATE_FORM; did you mean "
                    "ST8D_MIGRATE_FROM?"
                ),
                (
                    "--from is missing; name the store to read by it, or in "
                    "ST8D_MIGRATE_FROM"
                ),
            ],
        ),
        (
            ["--from=", "--to", "memory:"],
            {},
            [
                "--from: a store is needed",
                "--to: memory: is gone when the process ends; name another store",
            ],
        ),
        (
            ["a", "b", "--from", "a", "--to"],
            {"ST8D_MIGRATE_TO": "memory:"},
            [
                "st8d takes flags only, and 'a' is none",
                "st8d takes flags only, and 'b' is none",
                "--to needs a value",
                (
                    "ST8D_MIGRATE_TO: memory: is gone when the process ends; name another "
                    "store"
                ),
            ],
        ),
        (
            ["--from", "a", "--to", "b", "--state-dir", "c"],
            {},
            ["there is no flag --state-dir; st8d --help lists all"],
        ),
    ],
    ids=["nothing", "typos", "bad", "words", "other flags"],
)
def test_what_can_not_be_right_is_told(
    arguments: list[str], environment: dict[str, str], expected: list[str]
) -> None:
    """Every mistake has its sentence."""
    with pytest.raises(UsageError) as caught:
        load_migration(arguments, environment)

    assert expected == list(caught.value.problems)


def test_a_path_stands_for_the_embedded_store() -> None:
    """What has no scheme is a state directory; a flag beats its variable."""
    variables = {"ST8D_MIGRATE_FROM": "x", "ST8D_MIGRATE_TO": "postgresql://h/d"}

    assert Migration("sqlite:/var/lib/st8", "postgresql://h/d") == load_migration(
        ["--from", "/var/lib/st8"], variables
    )
    assert Migration("sqlite:./a:b", "sqlite:c") == load_migration(
        ["--from", "./a:b", "--to", "sqlite:c"], {}
    )


def test_help_is_its_own() -> None:
    """The command tells its flags and its variables."""
    with pytest.raises(Finished) as caught:
        load_migration(["--help"], {})

    assert "  --from STORE  the store to read\n" in str(caught.value)
    assert "ST8D_MIGRATE_FROM and ST8D_MIGRATE_TO" in str(caught.value)


@pytest.mark.parametrize(
    ("source", "target", "expected"),
    [
        ("{0}", "sqlite:{0}/../a", "--from and --to are the same store, sqlite:{0}"),
        (
            "postgresql://u:one@h/d",
            "postgresql://u:two@h/d",
            "--from and --to are the same store, PostgreSQL at h, database d, schema st8",
        ),
        (
            "{0}",
            "mysql://u:secret@h/d",
            (
                "--to: the URL is not a store; write sqlite:DIRECTORY, "
                "postgresql://USER@HOST/DATABASE or memory:"
            ),
        ),
    ],
)
def test_places_that_can_not_be_right(
    tmp_path: Path, source: str, target: str, expected: str
) -> None:
    """The same store twice and what is no store are usage errors; nothing is made."""
    place = str(tmp_path / "a")
    done = run("migrate", "--from", source.format(place), "--to", target.format(place))

    assert (2, "") == (done.returncode, done.stdout)
    assert f"st8d: {expected.format(place)}\n" == done.stderr
    assert [] == list(tmp_path.iterdir())


def test_the_daemon_knows_whose_variables_they_are(tmp_path: Path) -> None:
    """The variables of migrate are no mistake where st8d serves."""
    done = run(
        *("check-config", "--state-dir", str(tmp_path)),
        environment={"ST8D_MIGRATE_FROM": "a", "ST8D_MIGRATE_TO": "b"},
    )

    assert (0, "") == (done.returncode, done.stderr)


def test_a_terminal_sees_how_far_it_is(tmp_path: Path) -> None:
    """On a terminal a line tells how far it is, and is gone at the end."""
    fill(tmp_path / "first")
    controller, terminal = os.openpty()
    done = subprocess.run(
        [
            *(sys.executable, "-m", "st8.daemon", "migrate"),
            *("--from", str(tmp_path / "first"), "--to", str(tmp_path / "second")),
        ],
        stdout=subprocess.PIPE,
        stderr=terminal,
        check=True,
        text=True,
        timeout=60,
    )
    os.close(terminal)
    shown = os.read(controller, 10_000).decode()
    os.close(controller)

    assert done.stdout.startswith("moved 2 namespace(s)")
    assert "\x1b[Kcopying revisions 0 of 7, " in shown
    assert shown.endswith("\r\x1b[K")
