"""What ``st8ctl get`` shows, in a pipe and on a terminal, and writes as files."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import pytest
import yaml

from tests.client.scripted import answer, scripted

if TYPE_CHECKING:
    from pathlib import Path

    from tests.client.scripted import Wire
    from tests.transcripts.stage import Stage


@pytest.fixture
def applied(stage: Stage) -> Stage:
    """Two revisions an hour apart, and a checkpoint of the first."""
    stage.pipe("apply", "-v", "app/a=1\n", "-v", "app/b=no newline", "-v", "z=ü\n\n")
    stage.pipe("checkpoint", "good")
    stage.clock.advance(3600)
    stage.pipe("apply", "-v", "app/a=2\n", "-v", "empty=")
    return stage


def files(folder: Path) -> dict[str, str]:
    """Return the files of a folder."""
    return {
        str(path.relative_to(folder)): path.read_text()
        for path in sorted(folder.rglob("*"))
        if not path.is_dir()
    }


def test_one_document(applied: Stage) -> None:
    """One document is written as it is; programs get it with its revision."""
    assert (0, "2\n", "") == applied.pipe("get", "app/a")
    assert (0, "2\n") == applied.terminal("get", "app/a")
    assert (
        0,
        '{\n  "revision": 2,\n  "documents": {\n    "app/a": "2\\n"\n  }\n}\n',
        "",
    ) == applied.pipe("get", "app/a", "-o", "json")
    assert (
        0,
        "revision: 1\ndocuments:\n  app/b: no newline\n",
        "",
    ) == applied.pipe("get", "app/b", "-o", "yaml", "--checkpoint", "good")


@pytest.mark.parametrize(
    "picked",
    [
        ["--revision", "1"],
        ["--revision", "-1"],
        ["--checkpoint", "good"],
        ["--at", "2026-01-01T00:59:59Z"],
        ["--at", "2026-01-01"],
    ],
)
def test_at(applied: Stage, picked: list[str]) -> None:
    """A revision, a checkpoint or a time picks the state, for documents and keys."""
    assert (0, "1\n", "") == applied.pipe("get", "app/a", *picked)
    assert (0, "revision: 1\napp/a\napp/b\nz\n", "") == applied.pipe("get", *picked)
    assert (0, "==> app/a <==\n1\n\n==> app/b <==\nno newline\n", "") == applied.pipe(
        "get", "--prefix", "app/", *picked
    )
    assert {"revision": 1, "documents": {"z": "ü\n\n", "app/a": "1\n"}} == json.loads(
        applied.pipe("get", "z", "app/a", "-o", "json", *picked).out
    )


def test_several_documents(applied: Stage) -> None:
    """Several are written one after the other, each below a line with its key."""
    assert (
        0,
        "==> z <==\nü\n\n\n==> empty <==\n\n==> app/b <==\nno newline\n",
        "",
    ) == applied.pipe("get", "z", "empty", "./app/b", "z")
    assert (0, "==> app/a <==\n2\n\n==> app/b <==\nno newline\n") == (
        applied.terminal("get", "--prefix", "app")
    )
    expected = {
        "revision": 2,
        "documents": {"app/a": "2\n", "app/b": "no newline", "empty": "", "z": "ü\n\n"},
    }
    assert expected == json.loads(applied.pipe("get", "--prefix=", "-o", "json").out)
    assert expected == yaml.safe_load(applied.pipe("get", "--prefix=", "-oyaml").out)
    assert {"revision": 2, "documents": {}} == json.loads(
        applied.pipe("get", "--prefix", "none", "-o", "json").out
    )
    assert (0, "revision: 2\ndocuments: {}\n", "") == applied.pipe(
        "get", "--prefix", "none", "-o", "yaml"
    )


def test_keys(applied: Stage) -> None:
    """The keys alone, of everything or of a prefix."""
    assert (0, "revision: 2\napp/a\napp/b\n", "") == applied.pipe(
        "get", "--keys", "--prefix", "app"
    )
    assert (0, "revision: 2\napp/a\napp/b\nempty\nz\n") == applied.terminal("get")
    assert (
        0,
        '{\n  "revision": 2,\n  "keys": [\n    "app/a",\n    "app/b"\n  ]\n}\n',
        "",
    ) == applied.pipe("get", "--keys", "--prefix", "app", "-o", "json")
    assert (0, "revision: 2\nkeys:\n- app/a\n- app/b\n- empty\n- z\n", "") == (
        applied.pipe("get", "-o", "yaml")
    )


def test_what_is_not_there(applied: Stage) -> None:
    """What is missing is named."""
    assert (3, "", "error: key 'x' not found at revision 2\n") == applied.pipe(
        "get", "app/a", "x"
    )
    assert (3, "", "error: keys not found at revision 1: 'x', 'y'\n") == applied.pipe(
        "get", "x", "app/a", "y", "--checkpoint", "good"
    )
    assert (
        3,
        "",
        (
            '{"error": {"code": "key_not_found", "detail": "key \'x\' not found at '
            'revision 2", "exit_code": 3}}\n'
        ),
    ) == applied.pipe("get", "x", "-o", "json")
    assert (
        3,
        "",
        (
            "error: namespace 'default', branch 'main' had no revision at "
            "2025-12-31T00:00:00Z; its history starts later\n"
        ),
    ) == applied.pipe("get", "--at", "2025-12-31", "app/a")
    assert 7 == applied.pipe("get", "--at", "noon", "app/a").code
    assert (3, "error: key 'x' not found at revision 2\n") == applied.terminal(
        "get", "x"
    )


def test_out(applied: Stage) -> None:
    """Documents are written as files, byte for byte, with the modes that are said."""
    before = os.umask(0o022)
    try:
        assert (0, 'Wrote 4 document(s) of revision 2 to "all".\n', "") == applied.pipe(
            "get", "--out", "all"
        )
    finally:
        os.umask(before)
    folder = applied.folder
    assert {"app/a": "2\n", "app/b": "no newline", "empty": "", "z": "ü\n\n"} == files(
        folder / "all"
    )
    assert 0o644 == (folder / "all/z").stat().st_mode & 0o777
    assert 0o755 == (folder / "all/app").stat().st_mode & 0o777
    assert {"all"} == {path.name for path in folder.iterdir()}
    assert (0, "No differences.\n", "") == applied.pipe("diff", "--to", "dir:all")


def test_out_of_some(applied: Stage) -> None:
    """Of a prefix the part up to its last slash is left off, of named keys nothing."""
    (applied.folder / "empty").mkdir()

    assert (
        0,
        '{\n  "revision": 1,\n  "directory": "sub/app",\n  "written": 2\n}\n',
        "",
    ) == _in_sub(applied, "get", "--prefix", "app/", "--at", "2026-01-01", "-o", "json")
    assert {"a": "1\n", "b": "no newline"} == files(applied.folder / "sub/app")
    assert 0 == applied.pipe("get", "app/a", "z", "--out", "empty").code
    assert {"app/a": "2\n", "z": "ü\n\n"} == files(applied.folder / "empty")
    assert 0 == applied.pipe("get", "--prefix", "app/a", "--out", "one").code
    assert {"a": "2\n"} == files(applied.folder / "one")


def _in_sub(applied: Stage, *args: str) -> tuple[int, str, str]:
    (applied.folder / "sub").mkdir()
    return applied.pipe(*args, "--out", "sub/app")


def test_out_replaces(applied: Stage) -> None:
    """A directory that is not empty is replaced whole, but only if that is said."""
    out = applied.folder / "out"
    applied.write("out/old/file", "old")

    assert (
        7,
        "",
        (
            "error: the directory 'out' is not empty; name another one, or add --force to "
            "replace it and all that is in it\n"
        ),
    ) == applied.pipe("get", "z", "--out", "out")
    assert {"old/file": "old"} == files(out)
    assert 0 == applied.pipe("get", "z", "--out", "out/", "--force").code
    assert {"z": "ü\n\n"} == files(out)
    assert {"out"} == {path.name for path in applied.folder.iterdir()}


@pytest.mark.parametrize(
    ("key", "reason"),
    [
        ("/etc/x", "key '/etc/x' can't be a path below a directory; leave it out with"),
        (
            "app/a/deeper",
            "key 'app/a' can't be a file, as other keys begin with 'app/a/'",
        ),
        ("n" * 300, "key 'nnn"),
    ],
)
def test_keys_that_are_no_paths(applied: Stage, key: str, reason: str) -> None:
    """A key that can't be a path is an error before anything is written."""
    applied.pipe("apply", "-v", f"{key}=1")
    code, out, err = applied.pipe("get", "--out", "out")

    assert (7, "") == (code, out)
    assert err.startswith(f"error: {reason}")
    assert [] == list(applied.folder.iterdir())
    assert 0 == applied.pipe("get", "z", "--out", "out").code


def test_out_that_breaks_off(applied: Stage) -> None:
    """If the daemon goes away on the way, there is no directory, whole or in part."""

    def script(wire: Wire) -> None:
        for keys in (["a"], ["a", "b"]):
            wire.request()
            wire.send(answer({"revision": 1, "keys": keys}))
        wire.request()
        wire.send(answer({"revision": 1, "objects": {"a": "1"}, "next": "a"}))
        wire.request()

    with scripted(script, lambda wire: wire.close()) as server:
        ended = applied.pipe("get", "--out", "out", server=server.url)
        assert 4 <= len(server.requests)

    assert (6, "") == ended[:2]
    assert [] == list(applied.folder.iterdir())
