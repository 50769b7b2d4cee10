"""What every command says when something is wrong, in each format and on a terminal.

The commands that read and write documents have their own transcripts; these are all
others that ask a daemon.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
import yaml

from st8.testing.server import running_server
from tests.client.scripted import always, problem, scripted
from tests.transcripts.stage import Piped

if TYPE_CHECKING:
    from tests.client.scripted import Wire
    from tests.transcripts.stage import Stage

READS = (
    ("log",),
    ("log", "--graph"),
    ("log", "--patch", "--", "a", "b"),
    ("show",),
    ("show", "1:a"),
    ("checkpoint", "list"),
    ("checkpoint", "show", "x"),
    ("branch",),
    ("namespace",),
    ("version",),
)
WRITES = (
    ("rollback", "--revision", "1"),
    ("restore", "--checkpoint", "x"),
    ("checkpoint", "x"),
    ("checkpoint", "delete", "x"),
    ("branch", "create", "x"),
    ("branch", "delete", "x"),
    ("gc",),
)
ALL = (*READS, *WRITES)
DOWN = "http://127.0.0.1:9"
DOWN_TEXT = (
    f"can't reach {DOWN}: connection refused; check the address, and that st8d runs "
    "there; `st8d` starts one, --local needs none"
)


def failed(code: int, detail: str) -> Piped:
    """Return how a command ends that has nothing to show."""
    return Piped(code, "", detail)


def check(stage: Stage, args: tuple[str, ...], expected: Piped, code: str) -> None:
    """Compare a failure in a pipe in all formats, and on a terminal.

    Args:
        stage: Where it is run.
        args: What is run.
        expected: How it ends as text; standard error without ``error: ``.
        code: The code that programs find.
    """
    exit_code, out, detail = expected
    assert (args, exit_code, out, f"error: {detail}\n") == (
        args,
        *stage.pipe(*args, server=""),
    )
    error = {"error": {"code": code, "detail": detail, "exit_code": exit_code}}
    for form, read in (("json", json.loads), ("yaml", yaml.safe_load)):
        done = stage.pipe("-o", form, *args, server="")
        assert (args, exit_code, error) == (args, done.code, read(done.err))


@pytest.mark.parametrize("args", ALL, ids=" ".join)
def test_daemon_down(stage: Stage, args: tuple[str, ...]) -> None:
    """A daemon that is down: exit code 6, its address, and how to start one."""
    check(stage, ("--server", DOWN, *args), failed(6, DOWN_TEXT), "unreachable")


@pytest.mark.parametrize("args", ALL, ids=" ".join)
def test_wrong_token(stage: Stage, args: tuple[str, ...]) -> None:
    """A wrong token: exit code 5, and where the token came from; never the token."""
    with running_server(token="r1ght") as server:
        check(
            stage,
            ("--server", server.url, "--token", "wr0ng", *args),
            failed(
                5, "the token is not known; check the one that was sent, from --token"
            ),
            "unauthenticated",
        )


@pytest.mark.parametrize("args", ALL, ids=" ".join)
def test_forbidden(stage: Stage, args: tuple[str, ...]) -> None:
    """A token that may not: exit code 5, and what the daemon says of it."""
    detail = "token 'ci' may not do this in namespace 'default'"
    with scripted(always(problem(403, "forbidden", detail))) as server:
        check(stage, ("--server", server.url, *args), failed(5, detail), "forbidden")


@pytest.mark.parametrize("args", ALL, ids=" ".join)
def test_bad_file(stage: Stage, args: tuple[str, ...]) -> None:
    """A configuration file that can't be right: exit code 7, its line, the remedy."""
    stage.write("bad.yaml", "server:\n  ulr: x\n")
    check(
        stage,
        ("--config", "bad.yaml", *args),
        failed(
            7,
            (
                "configuration file 'bad.yaml', line 2: server has no setting 'ulr'; "
                "did you mean 'url'?"
            ),
        ),
        "invalid",
    )


@pytest.mark.parametrize("args", ALL, ids=" ".join)
def test_disconnect_midway(stage: Stage, args: tuple[str, ...]) -> None:
    """An answer that breaks off: 6 for a read; 8 for a write, which may be done."""

    def break_off(wire: Wire) -> None:
        wire.request()
        wire.send(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n{")

    with scripted(break_off) as server:
        done = stage.pipe("-o", "json", *args, server=server.url)
        error = json.loads(done.err)["error"]
        if args in READS:
            assert (6, "unreachable") == (done.code, error["code"])
            assert error["detail"].startswith("lost URL during ")
        else:
            assert (8, "outcome_unknown") == (done.code, error["code"])
            assert "it is not known whether it was done" in error["detail"]
        assert done.code == error["exit_code"]


@pytest.mark.parametrize(
    "args", [a for a in ALL if a[0] not in {"namespace", "version", "gc"}], ids=" ".join
)
def test_not_found(stage: Stage, args: tuple[str, ...]) -> None:
    """A scope that nobody used: exit code 3, and the name that may be mistyped."""
    done = stage.pipe("--namespace", "paymnets", *args)

    assert 3 == done.code
    assert done.err.startswith("error: ")
    assert "'paymnets'" in done.err
    assert 1 == done.err.count("\n")


@pytest.mark.parametrize(
    ("args", "detail", "code"),
    [
        (("checkpoint", "good"),
         ("checkpoint 'good' already exists in namespace 'default' at revision 1; choose "
         "another name, or replace it explicitly"), "checkpoint_exists"),
        (("branch", "create", "main"),
         "branch 'main' already exists in namespace 'default'", "branch_exists"),
        (("branch", "delete", "main", "--expect-revision", "1"),
         ("the head of namespace 'default', branch 'main' is revision 2, not 1; look at "
         "what changed and try again"), "head_moved"),
        (("rollback", "--revision", "1", "--expect-revision", "1"),
         ("the head of namespace 'default', branch 'main' is revision 2, not 1; look at "
         "what changed and try again"), "head_moved"),
        (("restore", "--checkpoint", "good", "--expect-revision", "1"),
         ("the head of namespace 'default', branch 'main' is revision 2, not 1; look at "
         "what changed and try again"), "head_moved"),
    ],
)  # fmt: skip
def test_conflict(stage: Stage, args: tuple[str, ...], detail: str, code: str) -> None:
    """What is not as expected: exit code 4, and nothing is changed."""
    stage.pipe("apply", "-v", "a=1")
    stage.pipe("checkpoint", "good")
    stage.pipe("apply", "-v", "a=2")
    check(stage, ("--server", stage.url, *args), failed(4, detail), code)

    assert "2" == stage.pipe("get", "a").out


def test_on_a_terminal(stage: Stage) -> None:
    """On a terminal the same sentences are shown, without colours."""
    text = f"error: {DOWN_TEXT}\n".replace(DOWN, "URL")
    assert (6, text) == stage.terminal("log", server=DOWN, columns=200)
    assert (3, "error: checkpoint 'x' not found in namespace 'default'\n") == (
        stage.terminal("checkpoint", "show", "x")
    )
    assert (
        2,
        "error: 'st8ctl' has no command 'lgo' (did you mean 'log'?); see 'st8ctl --help'\n",
    ) == stage.terminal("lgo")


def test_usage_as_an_object(stage: Stage) -> None:
    """Wrong usage is an object too, wherever the format is asked for."""
    detail = (
        "there is no flag '--grph' (did you mean '--graph'?); see 'st8ctl log --help'"
    )
    error = {"error": {"code": "usage", "detail": detail, "exit_code": 2}}
    for args in (["log", "--grph", "-o", "json"], ["-ojson", "log", "--grph"],
                 ["--output=json", "log", "--grph"]):  # fmt: skip
        done = stage.pipe(*args)
        assert (2, "", error) == (done.code, done.out, json.loads(done.err))
    done = stage.pipe("log", "--grph", "--output", "yaml")
    assert (2, "", error) == (done.code, done.out, yaml.safe_load(done.err))
