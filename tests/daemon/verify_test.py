"""st8d verify, as an operator runs it."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from st8.client import Client
from st8.clock import SystemClock
from st8.config import Finished, UsageError, load_verification
from st8.core.findings import as_fields, from_fields
from st8.engine.engine import Engine
from st8.store.open import open_store
from st8.store.schema import PAGE_BYTES
from st8.store.sqlite import FILE_NAME
from tests.daemon.process import _PLAIN, Daemon, run
from tests.engine.acts import applied, checkpoint, scope, selector
from tests.postgres.server import PASSWORD

if TYPE_CHECKING:
    from tests.postgres.server import PostgresServer

FULL = Path("/dev/full")
WHOLE = "no damage: 2 namespaces, 7 revisions, 2 branches, 1 checkpoint, 14 objects\n"


def fill(url: str) -> None:
    """Make a store with two namespaces."""
    with closing(Engine(open_store(url), SystemClock())) as engine:
        applied(engine, *map(str, range(5)))
        checkpoint(engine, "v1", selector(3), description="works")
        applied(engine, "a", "ü", at=scope("shop/prod"), name="limits/é.json")


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """A state directory that nobody has."""
    fill(f"sqlite:{tmp_path / 'state'}")
    return tmp_path / "state"


def change(directory: Path, sql: str, *values: object) -> None:
    """Change a row behind the daemon's back."""
    with closing(sqlite3.connect(directory / FILE_NAME)) as db:
        assert db.execute(sql, values).rowcount
        db.commit()


def lines_of(text: str) -> list[dict[str, Any]]:
    """Return the objects of JSON lines."""
    return [json.loads(line) for line in text.splitlines()]


# --- what it says ---------------------------------------------------------------


@pytest.mark.parametrize("full", [[], ["--full"], ["-full=true"]])
def test_a_whole_store(directory: Path, full: list[str]) -> None:
    """Of a store without damage it says what it has read, and exits with 0."""
    done = run("verify", "--state-dir", str(directory), *full)

    assert (0, WHOLE, "") == (done.returncode, done.stdout, done.stderr)


def test_a_store_in_postgresql(postgres: PostgresServer) -> None:
    """The same of PostgreSQL; what was left out is said, and no password."""
    url = postgres.tcp_url(postgres.new_schema())
    fill(url)
    variables = {"ST8D_STORE": url}
    done = run("verify", environment=variables)
    full = run("verify", "--full", environment=variables)

    assert (0, WHOLE, "") == (done.returncode, done.stdout, done.stderr)
    assert (0, "") == (full.returncode, full.stderr)
    assert full.stdout.startswith(WHOLE.rstrip() + "; tables and indexes were not loo")
    assert "does not have the extension amcheck" in full.stdout
    assert PASSWORD not in done.stdout + full.stdout


def test_a_damaged_store(directory: Path) -> None:
    """Findings are printed, a line each, and it exits with 1."""
    change(directory, "UPDATE branches SET head = 4 WHERE name = 'main' AND head = 5")
    change(directory, "UPDATE objects SET data = x'007A' WHERE data = x'0030'")
    quick = run("verify", "--state-dir", str(directory))
    full = run("verify", "--full", "--state-dir", str(directory))
    row = (
        "row_damaged: the branches of namespace 'default', 'main': a row of the store, "
        "of 'default', does not match its seal\n"
    )
    content = (
        "object_damaged: revision 1 of namespace 'default': object "
        "5feceb66ffc86f38d952786c6d696c79c2dbc239dd4e91b46729d73a27fb57e9, key 'k', "
        "does not match its digest\n"
    )
    counts = "2 namespaces, 7 revisions, 1 branch, 1 checkpoint, 14 objects\n"

    assert (1, "") == (quick.returncode, quick.stderr)
    assert row + "DAMAGED, 1 finding: " + counts == quick.stdout
    assert (1, "") == (full.returncode, full.stderr)
    assert row + content + "DAMAGED, 2 findings: " + counts == full.stdout


def test_json_lines(directory: Path) -> None:
    """With --output json each line is an object: findings, heads if asked for, a summary."""
    change(directory, "DELETE FROM revisions WHERE number = 5")
    done = run("verify", "--output", "json", "--heads", "--state-dir", str(directory))
    finding, head, summary = lines_of(done.stdout)

    assert (1, "") == (done.returncode, done.stderr)
    assert {
        "type": "finding",
        "code": "revision_missing",
        "detail": "branch 'main' of namespace 'default' names revision 5, which is "
        "missing",
        "namespace": "default",
        "revision": 5,
        "branch": "main",
    } == finding
    assert ("head", "shop/prod", "main", 2) == tuple(head.values())[:4]
    assert {
        "type": "summary",
        "findings": 1,
        "namespaces": 2,
        "revisions": 6,
        "branches": 2,
        "checkpoints": 1,
        "answers": 0,
        "objects": 12,
        "unneeded": 2,
        "unneeded_bytes": summary["unneeded_bytes"],
        "skipped": "",
    } == summary
    for fields in (finding, head, summary):
        assert fields == as_fields(from_fields(fields))


# --- expected heads -----------------------------------------------------------------


def test_a_store_that_was_put_back(directory: Path, tmp_path: Path) -> None:
    """An earlier copy is whole; whoever has kept the last output finds it out."""
    shutil.copytree(directory, tmp_path / "copy")
    with closing(Engine(open_store(f"sqlite:{directory}"), SystemClock())) as engine:
        applied(engine, *map(str, range(5)))
    noted = run("verify", "--heads", "--output=json", f"--state-dir={directory}")
    anchors = tmp_path / "heads.jsonl"
    anchors.write_text(noted.stdout)
    head = lines_of(noted.stdout)[0]
    one = f"--expect-head={head['revision']}:{head['digest']}"
    for flags in ([f"--expect-heads={anchors}"], [one]):
        later = run("verify", f"--state-dir={directory}", *flags)
        earlier = run("verify", f"--state-dir={tmp_path / 'copy'}", *flags)

        assert 0 == later.returncode, later.stdout + later.stderr
        assert 1 == earlier.returncode
        assert earlier.stdout.startswith(
            "head_unexpected: branch 'main' of namespace 'default' is at revision 5, and "
            "has been at 10: the store is an earlier one, or the branch was made anew\n"
        )
    elsewhere = run(
        "verify",
        f"--state-dir={directory}",
        one,
        "--namespace=shop/prod",
        "--branch=x/y",
    )
    assert (
        "head_unexpected: branch 'x/y' of namespace 'shop/prod' is not there"
        in elsewhere.stdout
    )


# --- what it does not do ------------------------------------------------------------


def test_a_store_in_use_is_not_read(directory: Path) -> None:
    """While st8d has the directory it is not verified; it says who has it."""
    with Daemon(directory) as daemon:
        done = run("verify", f"--state-dir={directory}")

        assert (2, "") == (done.returncode, done.stdout)
        assert (
            f"st8d: state directory {directory} is in use by process "
            f"{daemon.process.pid}; ask that one, or stop it first\n"
        ) == done.stderr


def test_not_a_byte_is_changed_of_what_a_killed_daemon_left(directory: Path) -> None:
    """What was committed before a kill is verified, and nothing is tidied up."""
    with Daemon(directory) as daemon:
        with Client(daemon.url) as client:
            client.apply({"k": "acknowledged"})
        daemon.process.kill()
        daemon.process.wait()

        def everything() -> dict[str, tuple[bytes, int]]:
            return {
                path.name: (path.read_bytes(), path.stat().st_mtime_ns)
                for path in directory.iterdir()
            }

        before = everything()
        done = run("verify", "--full", f"--state-dir={directory}")

        assert (0, "") == (done.returncode, done.stderr)
        assert "8 revisions" in done.stdout
        assert before[f"{FILE_NAME}-wal"][0]
        assert before == everything()


def test_what_is_not_there_is_not_made(tmp_path: Path) -> None:
    """A store that is not there can't be verified, and does not come to be."""
    done = run("verify", f"--state-dir={tmp_path / 'none'}")

    assert (2, "") == (done.returncode, done.stdout)
    assert f"st8d: there is no store in {tmp_path / 'none'}\n" == done.stderr
    assert not (tmp_path / "none").exists()


def test_a_newer_format_and_other_files_are_not_verified(directory: Path) -> None:
    """What a newer st8d wrote, and what is no store, is exit code 2."""
    change_pragma = "PRAGMA user_version = 999"
    with closing(sqlite3.connect(directory / FILE_NAME)) as db:
        db.execute(change_pragma)
    newer = run("verify", f"--state-dir={directory}")
    (directory / FILE_NAME).write_bytes(b"recipes" * 1000)
    other = run("verify", f"--state-dir={directory}")

    assert (2, "") == (newer.returncode, newer.stdout)
    assert "format 999 by a newer st8d" in newer.stderr
    assert (2, "") == (other.returncode, other.stdout)
    assert "file is not a database" in other.stderr


def test_a_pipe_that_nobody_reads(directory: Path) -> None:
    """If nobody reads what it prints, it has not verified anything for anybody."""
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(
        [sys.executable, "-m", "st8.daemon", "verify", f"--state-dir={directory}"],
        check=False,
        env=_PLAIN,
        stdout=write,
        stderr=subprocess.PIPE,
        text=True,
        timeout=60,
    )
    os.close(write)

    assert (2, "") == (done.returncode, done.stderr)


@pytest.mark.skipif(not FULL.exists(), reason="has no full device")
def test_an_output_that_is_full(directory: Path) -> None:
    """What can't be written is told, and is not taken for damage."""
    with FULL.open("wb") as full:
        done = subprocess.run(
            [sys.executable, "-m", "st8.daemon", "verify", f"--state-dir={directory}"],
            check=False,
            env=_PLAIN,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=60,
        )

    assert 2 == done.returncode
    assert "st8d: can't write the output: No space left on device\n" == done.stderr


@pytest.mark.parametrize("value", ["NULL", "7", "'text'"])
def test_an_object_without_bytes_is_damage(directory: Path, value: str) -> None:
    """As a file that was cut off within a page may have it; also without --full."""
    with closing(sqlite3.connect(directory / FILE_NAME)) as db:
        db.execute("PRAGMA writable_schema = ON")
        db.execute(
            "UPDATE sqlite_master SET sql = replace(sql, 'data BLOB NOT', 'data')"
        )
        db.commit()
    change(directory, f"UPDATE objects SET data = {value} WHERE data = x'0030'")  # noqa: S608
    for flags in ((), ("--full",)):
        done = run("verify", "--state-dir", str(directory), *flags)

        assert (1, "") == (done.returncode, done.stderr)
        assert "revision 1 of namespace 'default': object 5feceb66ff" in done.stdout


def test_a_file_that_was_cut_off(directory: Path) -> None:
    """After whatever page: damage or not verified, without a fault, and unchanged."""
    whole = (directory / FILE_NAME).read_bytes()
    for size in range(0, len(whole), PAGE_BYTES):
        (directory / FILE_NAME).write_bytes(whole[:size])
        done = run("verify", "--state-dir", str(directory))

        assert done.returncode in {1, 2}, size
        assert "Traceback" not in done.stderr
        assert whole[:size] == (directory / FILE_NAME).read_bytes()


# --- its flags ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["--ful"], "there is no flag --ful; did you mean --full?"),
        (["--full=maybe"], "--full: 'maybe' is neither true nor false"),
        (["--output", "xml"], "--output: 'xml' is"),
        (["--expect-head", "42"], "--expect-head: '42' is not a head; write NUMBER:DI"),
        (["--expect-head", "0:" + "00" * 32], "is not a head"),
        (["--expect-head", "1:" + "0g" * 32], "is not a head"),
        (["--namespace", ""], "--namespace: must not be empty"),
        (["--expect-heads", "/none"], "--expect-heads: /none: No such"),
        (["--state-dir=a", "--store=memory:"], "are both given; leave one out"),
        (["now"], "takes flags only, and 'now' is none"),
    ],
)
def test_wrong_flags(arguments: list[str], problem: str) -> None:
    """What can't be right is told, with what would be."""
    with pytest.raises(UsageError) as caught:
        load_verification(arguments, {})

    assert problem in str(caught.value)
    assert 2 == run("verify", *arguments).returncode


HEAD = f'"type": "head", "branch": "b", "revision": 1, "digest": "{"00" * 32}"'


@pytest.mark.parametrize(
    "text",
    [
        *("", "{}", "no JSON", '{"type": "head"}', "[1]", "null", '{"type": []}'),
        f'{{{HEAD}, "namespace": 5}}',
        f'{{{HEAD}, "namespace": "{"a" * 300}"}}',
    ],
)
def test_a_file_without_heads(tmp_path: Path, text: str) -> None:
    """A file that is not the output of a verification is refused, with its line."""
    path = tmp_path / "heads"
    path.write_text(text)
    with pytest.raises(UsageError, match=f"--expect-heads: {path}"):
        load_verification([f"--expect-heads={path}"], {})


def test_heads_with_any_name(tmp_path: Path) -> None:
    """A name may hold what Python takes for the end of a line."""
    head = from_fields(json.loads(f'{{{HEAD}, "namespace": "a\u2028b"}}'))
    path = tmp_path / "heads"
    path.write_text(json.dumps(as_fields(head), ensure_ascii=False) + "\n", "utf-8")

    assert (head,) == load_verification([f"--expect-heads={path}"], {}).expected


def test_help_and_version() -> None:
    """The help names every flag and the exit codes."""
    for flag, beginning in (("--help", "st8d verify reads"), ("--version", "st8d ")):
        with pytest.raises(Finished, match=beginning) as caught:
            load_verification([flag], {})
        if flag == "--help":
            assert "Exit codes: 0 no damage" in str(caught.value)
            assert "--expect-head NUMBER:DIGEST" in str(caught.value)


def test_memory_has_nothing_to_read() -> None:
    """A store in memory can't be verified from outside."""
    done = run("verify", "--store=memory:")

    assert (2, "") == (done.returncode, done.stdout)
    assert "memory: is empty" in done.stderr
