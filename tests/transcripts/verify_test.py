"""What ``st8ctl verify`` shows, in a pipe and on a terminal."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml

from st8.core.ids import digest_of
from st8.store.memory import MemoryStore
from st8.testing.server import running_server

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.transcripts.stage import Stage
    from tests.transcripts.terminal import Shown

FULL = Path("/dev/full")
WHOLE = "no damage: 1 namespace, 2 revisions, 1 branch, 1 checkpoint, 5 objects\n"
DAMAGED = """\
object_missing: revision 1 of namespace 'default': object \
6b86b273ff34fce19d6b804eff5a3f5747ada4eaa22f1d49c01e52ddb7875b4b, key 'a', is missing
DAMAGED, 1 finding: 1 namespace, 2 revisions, 1 branch, 1 checkpoint, 5 objects
"""


_PROGRAM = "from st8.cli.main import main; main()"


@pytest.fixture
def store() -> MemoryStore:
    """The daemon's store, which a test may damage."""
    return MemoryStore()


@pytest.fixture
def applied(stage: Stage, store: MemoryStore) -> Iterator[Stage]:
    """Two revisions and a checkpoint, in that store."""
    with running_server(store=store, clock=stage.clock) as server:
        stage.url = server.url
        stage.pipe("apply", "-v", "a=1", "-v", "b=2")
        stage.pipe("apply", "-v", "a=3")
        stage.pipe("checkpoint", "good")
        yield stage


def on_screen(shown: Shown) -> tuple[int, str]:
    """Return what is left on a terminal when the line of the progress has gone."""
    line = r"\r\x1b\[K(verifying [a-z ]+ \d+( of \d+)?)?"
    return shown.code, re.sub(line, "", shown.text)


def test_a_whole_store(applied: Stage) -> None:
    """It says that there is no damage, and what it has read."""
    assert (0, WHOLE, "") == applied.pipe("verify")
    assert (0, WHOLE, "") == applied.pipe("verify", "--full")
    assert (0, WHOLE) == on_screen(applied.terminal("verify", "--full"))


def test_a_damaged_store(applied: Stage, store: MemoryStore) -> None:
    """Findings come before what was read, and it ends with 1."""
    del store._objects[digest_of(b"1")]

    assert (1, DAMAGED, "") == applied.pipe("verify")
    assert (1, DAMAGED) == on_screen(applied.terminal("verify", "--full", columns=300))


def test_json_lines(applied: Stage) -> None:
    """For programs each line is an object, and the heads can be expected again."""
    done = applied.pipe("verify", "--heads", "-o", "json")
    head, summary = map(json.loads, done.out.splitlines())
    assert ("head", 2) == (head["type"], head["revision"])
    assert ("summary", 0) == (summary["type"], summary["findings"])
    (applied.folder / "heads").write_text(done.out)
    one = f"{head['revision']}:{head['digest']}"
    for flags in (("--expect-heads", "heads"), ("--expect-head", one)):
        assert 0 == applied.pipe("verify", *flags).code
    elsewhere = applied.pipe("verify", "--expect-head", one, "--branch", "x")

    assert 1 == elsewhere.code
    assert elsewhere.out.startswith(
        "head_unexpected: branch 'x' of namespace 'default' is not there"
    )


@pytest.mark.parametrize(
    ("args", "problem"),
    [
        (("--ful",), "did you mean"),
        (
            ("--expect-head", "42"),
            "expect-head: '42' is not a head; write NUMBER:DIGEST",
        ),
        (("--expect-heads", "none"), "--expect-heads: none: No such file"),
        (("now",), "unexpected extra argument"),
    ],
)
def test_wrong_usage(applied: Stage, args: tuple[str, ...], problem: str) -> None:
    """What can't be right is told, with what would be."""
    done = applied.pipe("verify", *args)

    assert (2, "") == (done.code, done.out)
    assert problem in done.err


def test_a_daemon_that_is_not_there(applied: Stage) -> None:
    """Whatever keeps it from verifying, it ends with 2."""
    done = applied.pipe("verify", "--server", "http://127.0.0.1:9")

    assert (2, "") == (done.code, done.out)
    assert "127.0.0.1:9" in done.err


def test_yaml_documents(applied: Stage) -> None:
    """As YAML each finding, head and summary is a document, with the fields of JSON."""
    told = applied.pipe("verify", "--heads", "-o", "yaml")
    lines = applied.pipe("verify", "--heads", "-o", "json").out.splitlines()

    assert 0 == told.code
    assert list(map(json.loads, lines)) == list(yaml.safe_load_all(told.out))


@pytest.mark.skipif(not FULL.exists(), reason="has no full device")
def test_an_output_that_is_full(applied: Stage) -> None:
    """What can't be written is no damage: it ends with 2."""
    with FULL.open("wb") as full:
        done = subprocess.run(
            [sys.executable, "-c", _PROGRAM, "--server", applied.url, "verify"],
            check=False,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=60,
        )

    assert (2, "error: can't write the output: No space left on device\n") == (
        done.returncode,
        done.stderr,
    )
