"""What goes wrong at any failpoint costs nothing that was acknowledged.

``make faults`` does each thing at each place 20 times. A failure prints the seed,
which plans the same again.
"""

from __future__ import annotations

import ast
import re
import secrets
import sys
from contextlib import closing
from pathlib import Path
from random import SystemRandom
from typing import TYPE_CHECKING

import pytest

from st8.core import failpoints
from st8.core.failpoints import NAMES, failpoint
from st8.engine.engine import Engine
from st8.store.postgres import PostgresStore
from st8.store.sqlite import SqliteStore
from st8.testing import faultrig
from st8.testing.armed import Action, Armed
from st8.testing.batches import dump
from st8.testing.child import call
from st8.testing.clock import FakeClock
from tests.docs.shell import ROOT
from tests.engine.acts import apply

if TYPE_CHECKING:
    from tests.postgres.server import PostgresServer

pytestmark = [
    pytest.mark.crash,
    pytest.mark.timeout(300),  # a hundred daemons, on a machine that does much else
]

_MUTANTS = Path(__file__).parent / "mutants.py"
_MIGRATING = [name for name in NAMES if name.startswith("migrate.")]


def test_the_names_are_those_of_the_source() -> None:
    """Every place in the source is named once, and every name is a place.

    At least twenty of them.
    """
    found = [
        str(node.args[0].value)
        for path in (ROOT / "src" / "st8").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id == "failpoint"
        and isinstance(node.args[0], ast.Constant)
    ]

    assert sorted(NAMES) == sorted(found)
    assert len(NAMES) >= 20


def test_nothing_but_tests_arms_them() -> None:
    """No module but of rigs arms a failpoint, so nobody outside of them can."""
    arming = [
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "src" / "st8").rglob("*.py")
        if re.search(r"failpoints\.arm\b|import .*\barm\b", path.read_text("utf-8"))
    ]

    rigs = ["src/st8/testing/armed.py", "src/st8/testing/sim.py"]
    assert rigs == sorted(arming)


def test_a_place_that_is_not_armed_does_nothing() -> None:
    """It calls nobody; once armed it tells its name, until it is disarmed."""
    reached: list[str] = []
    failpoint("write.durable")
    failpoints.arm(reached.append)
    try:
        failpoint("write.durable")
    finally:
        failpoints.arm(None)
    failpoint("write.durable")

    assert ["write.durable"] == reached


def _a_third_of(places: list[str]) -> list[str]:
    """Return other places each time: ``script/faults`` goes to all of them."""
    return SystemRandom().sample(places, len(places) // 3)


def test_nothing_goes_wrong_at_any_place_of_sqlite(tmp_path: Path) -> None:
    """At each place, each action: nothing acknowledged is lost, nothing half done.

    A daemon that only met a lack of space, a slow thread or clients that went away
    takes the next write; one whose disk failed takes none until it is started anew.
    """
    directory = tmp_path / "state"
    names = _a_third_of(faultrig.places("sqlite"))

    outcome = faultrig.run(
        tmp_path,
        ["--state-dir", str(directory)],
        lambda: SqliteStore(directory),
        names=names,
        seed=secrets.randbelow(2**32),
    )

    assert [] == outcome.wrong, str(outcome)
    assert set(names) <= outcome.hits.keys()
    assert len(names) == outcome.actions["KILL"] == outcome.actions["EIO"]


def test_a_place_is_come_to_while_the_daemon_is_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A daemon that dies as it is asked how it is has died of what was armed."""
    directory = tmp_path / "state"
    monkeypatch.setattr(faultrig, "LOOK_S", 0.003)

    outcome = faultrig.run(
        tmp_path,
        ["--state-dir", str(directory)],
        lambda: SqliteStore(directory),
        names=["sqlite.after_begin", "sqlite.before_commit", "write.durable"],
        seed=1,
    )

    assert [] == outcome.wrong, str(outcome)
    assert outcome.actions["KILL"] == 3


def test_nothing_goes_wrong_at_any_place_of_postgresql(
    tmp_path: Path, postgres: PostgresServer
) -> None:
    """The same, of a daemon whose store is in PostgreSQL."""
    url = postgres.url(postgres.new_schema())
    names = _a_third_of(faultrig.places("postgres"))

    outcome = faultrig.run(
        tmp_path,
        ["--store", url],
        lambda: PostgresStore(url),
        names=names,
        seed=secrets.randbelow(2**32),
    )

    assert [] == outcome.wrong, str(outcome)
    assert set(names) <= outcome.hits.keys()
    assert len(names) == outcome.actions["KILL"] == outcome.actions["EIO"]


def test_a_fault_after_a_write_does_not_undo_it(tmp_path: Path) -> None:
    """What fails when a reply is made has an unknown outcome, unless it was a read."""
    body = {"documents": [{"key": "k", "content": "v"}]}
    with Armed(tmp_path) as armed:
        daemon = armed.serve("--state-dir", str(tmp_path / "state"))
        assert daemon.is_up(), daemon.log()
        with closing(daemon.connect()) as connection:
            armed.board.arm("reply.before", Action.EIO)
            write = call(connection, "POST", "/v1/apply", body)
            armed.board.arm("reply.before", Action.EIO)
            read = call(connection, "GET", "/v1/state")
            _, state = call(connection, "GET", "/v1/state")
        daemon.kill()

    assert [(503, "unknown"), (500, "none")] == [
        (status, answer["outcome"]) for status, answer in (write, read)
    ]
    assert {"k": "v"} == state["objects"]


@pytest.mark.parametrize(
    "action", [Action.KILL, Action.EIO, Action.ENOSPC, Action.SLEEP]
)
def test_a_migration_goes_on_from_any_place(tmp_path: Path, action: Action) -> None:
    """Whatever befalls it at any of its places, the same command finishes it."""
    source = SqliteStore(tmp_path / "source")
    with closing(Engine(source, FakeClock())) as engine:
        for number in range(5):
            apply(engine, {f"key-{number}": "content"}, key=f"{number}")
        expected = dump(source)

    with Armed(tmp_path) as armed:
        for name in _MIGRATING:
            target = tmp_path / name
            arguments = ["migrate", "--from", f"sqlite://{tmp_path / 'source'}"]
            arguments += ["--to", f"sqlite://{target}"]
            armed.board.arm(name, action)
            first = armed.run(*arguments)
            code = first.wait()
            if action == Action.KILL:
                assert -9 == code, (name, first.log())
            elif action == Action.SLEEP:
                assert 0 == code, (name, first.log())
            if code and name != "migrate.after_release":
                again = armed.run(*arguments)
                assert 0 == again.wait(), (name, again.log())
            assert armed.board.hits(name), name
            with closing(SqliteStore(target)) as store:
                assert expected == dump(store), name


@pytest.mark.parametrize(
    ("bug", "names", "finding"),
    [
        (
            "commit_in_two_parts",
            ["sqlite.after_commit"],
            "missing",
        ),
        (
            "go_on_after_an_error",
            ["disk.before_log_sync", "sqlite.before_commit"],
            "takes writes after an error",
        ),
    ],
)
def test_the_rig_finds_a_planted_bug(
    bug: str, names: list[str], finding: str, tmp_path: Path
) -> None:
    """A daemon that commits in two parts, or tries again after a failed sync."""
    directory = tmp_path / "state"

    outcome = faultrig.run(
        tmp_path,
        ["--state-dir", str(directory)],
        lambda: SqliteStore(directory),
        names=names,
        rounds=10,
        seed=secrets.randbelow(2**32),
        command=(sys.executable, str(_MUTANTS), bug, "--armed"),
    )

    assert re.search(finding, "\n".join(outcome.wrong)), str(outcome)
