"""``st8ctl watch``."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from tests.cli.process_test import PROGRAM
from tests.client.scripted import once, problem, scripted

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.st8ctl import St8ctl

HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n"
START = b'retry: 1\nid: 0\nevent: start\ndata: {"positions": []}\n\n'


def event(number: int, **more: object) -> bytes:
    """Return the event of a revision."""
    data = {
        "id": number,
        "parent_id": number - 1,
        "message": "m",
        "created_at": "2026-01-01T00:00:00Z",
        "branch": "main",
        "namespace": "default",
        "changes": [{"key": "k", "type": "update"}],
        **more,
    }
    text = json.dumps(data).encode()
    return b"id: %d\nevent: revision\ndata: %s\n\n" % (number, text)


def show(name: str) -> str:
    """Return a command that writes its input and what it is told into a file."""
    code = (
        "import os, sys; open(sys.argv[1], 'a').write(repr((sys.stdin.read(), "
        "sorted((k, v) for k, v in os.environ.items() if k.startswith('ST8_')))) + '\\n')"
    )
    return f'{sys.executable} -c "{code}" {name}'


def lines_of(path: Path) -> list[tuple[dict[str, Any], dict[str, str]]]:
    """Return what was written by :func:`show`."""
    found = [eval(line) for line in path.read_text().splitlines()]  # noqa: S307 - ours
    return [(json.loads(data), dict(variables)) for data, variables in found]


def test_lines(st8ctl: St8ctl) -> None:
    """One line a revision, as the log has it, and no more than were asked for."""
    st8ctl("apply", "-v", "a=1", "-m", "first")
    st8ctl("apply", "-v", "a=2", "-v", "b=1", "--author", "ops")
    st8ctl("apply", "-v", "a=3")

    done = st8ctl("watch", "--after", "0", "--limit", "2")
    log = st8ctl("log", "--after", "3").out.splitlines()

    assert (0, "") == (done.code, done.err)
    assert log[::-1] == done.out.splitlines()


def test_prefix_and_start(st8ctl: St8ctl) -> None:
    """Only what follows a revision, and only what touched a key under the prefix."""
    for key in ("app/a", "app/b", "sys/a", "app/c"):
        st8ctl("apply", "-v", f"{key}=1")

    done = st8ctl("watch", "--prefix", "app/", "--after", "1", "--limit", "2")

    assert ["rev=2", "rev=4"] == [line.split()[0] for line in done.out.splitlines()]


def test_patch(st8ctl: St8ctl) -> None:
    """With --patch each has its diff, as in the log."""
    st8ctl("apply", "-v", "a=1\n")
    done = st8ctl("watch", "--after", "0", "--limit", "1", "--patch")

    assert st8ctl("log", "--patch").out == done.out
    assert "\n+1\n" in done.out


def test_json_and_yaml(st8ctl: St8ctl) -> None:
    """JSON is an object a line, YAML a document each; with contents if asked for."""
    st8ctl("apply", "-v", "a=1")
    st8ctl("apply", "-v", "a=2")
    plain = st8ctl("watch", "--after", "0", "--limit", "2", "-o", "json").out
    full = st8ctl("watch", "--after", "1", "--limit", "1", "--contents", "-o", "json")
    documents = st8ctl("watch", "--after", "0", "--limit", "2", "-o", "yaml").out
    entries = json.loads(st8ctl("log", "-o", "json").out)["entries"]

    expected = [
        {
            "event": "revision",
            "namespace": "default",
            **entry,
            "changes_omitted": False,
        }
        for entry in reversed(entries)
    ]
    assert expected == [json.loads(line) for line in plain.splitlines()]
    assert expected == list(yaml.safe_load_all(documents))
    change = {"key": "a", "type": "update", "before": "1", "after": "2"}
    assert [change] == json.loads(full.out)["changes"]


def test_resync(st8ctl: St8ctl) -> None:
    """What can't be gone on from is said: on standard error, or as a line of JSON."""
    for number in range(30):
        st8ctl("apply", "-v", f"a={number}")
    st8ctl("gc", "--keep", "5")
    text = st8ctl("watch", "--after", "3", "--limit", "1")
    data = st8ctl("watch", "--after", "3", "--limit", "1", "-o", "json")

    assert (
        0,
        "",
        (
            "resync: garbage collection has removed what lies between; what follows goes "
            "on from revision 30\n"
        ),
    ) == text
    assert {
        "event": "resync",
        "namespace": "default",
        "branch": "main",
        "revision": 30,
        "reason": "collected",
    } == json.loads(data.out)
    assert "" == data.err


def test_changes_that_are_too_large(st8ctl: St8ctl) -> None:
    """They are many, and not none."""
    with scripted(once(HEAD + START + event(1, changes=None))) as server:
        done = st8ctl.bare("watch", "--server", server.url, "--limit", "1")

    assert ' message="m" changes=many\n' == done.out[-26:]


def test_command_for_each(st8ctl: St8ctl) -> None:
    """It has what happened as variables and as JSON, one after the other."""
    st8ctl("apply", "-v", "a=1", "-v", "b=1")
    st8ctl("branch", "create", "dev")
    st8ctl("--branch", "dev", "apply", "-v", "a=2")
    arguments = ["--branch", "dev", "watch", "--after", "0", "--limit", "2"]
    done = st8ctl(*arguments, "--exec", show("seen"), "-o", "json")
    seen = lines_of(st8ctl.folder / "seen")

    assert (0, "") == (done.code, done.err)
    assert [json.loads(line) for line in done.out.splitlines()] == [d for d, _ in seen]
    assert [
        {
            "ST8_EVENT": "revision",
            "ST8_REVISION": revision,
            "ST8_NAMESPACE": "default",
            "ST8_BRANCH": "dev",
            "ST8_KEYS": keys,
        }
        for revision, keys in (("1", "a\nb"), ("2", "a"))
    ] == [variables for _, variables in seen]


def test_keys_that_are_too_many(st8ctl: St8ctl) -> None:
    """Where they don't fit into a variable there is none; the JSON has them."""
    changes = [{"key": f"{n:0200}", "type": "create"} for n in range(1_000)]
    with scripted(
        once(HEAD + START + event(1, changes=changes) + event(2, changes=None))
    ) as server:
        arguments = ["watch", "--server", server.url, "--limit", "2"]
        done = st8ctl.bare(*arguments, "--exec", show("seen"))
    seen = lines_of(st8ctl.folder / "seen")

    assert 0 == done.code
    assert [1_000, 0] == [len(data["changes"]) for data, _ in seen]
    assert [False, False] == ["ST8_KEYS" in variables for _, variables in seen]


def test_command_that_fails(st8ctl: St8ctl) -> None:
    """It is told, and ends the watch with --exec-fail alone."""
    st8ctl("apply", "-v", "a=1")
    st8ctl("apply", "-v", "a=2")
    arguments = ["watch", "--after", "0", "--limit", "2", "--exec", "sh -c 'exit 3'"]
    going_on = st8ctl(*arguments)
    ending = st8ctl(*arguments, "--exec-fail")

    assert (0, 2) == (going_on.code, len(going_on.out.splitlines()))
    assert (
        "--exec 'sh' for revision 1 ended with exit code 3; going on\n"
        "--exec 'sh' for revision 2 ended with exit code 3; going on\n"
    ) == going_on.err
    assert (
        7,
        1,
        (
            "error: --exec 'sh' for revision 1 ended with exit code 3; --exec-fail ends the "
            "watch\n"
        ),
    ) == (ending.code, len(ending.out.splitlines()), ending.err)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--exec", ""], "--exec is empty"),
        (["--exec", "'x"], "No closing quotation"),
        (["--exec", "no-such-program x"], "there is no program 'no-such-program'"),
        (["--exec-fail"], "with --exec alone"),
        (["--limit", "0"], "--limit"),
        (["--after", "-1"], "--after"),
    ],
)
def test_wrong_usage(st8ctl: St8ctl, arguments: list[str], said: str) -> None:
    """It is said before anything is asked."""
    done = st8ctl("watch", *arguments)

    assert (2, "") == (done.code, done.out)
    assert said in done.err


def test_connection_that_is_lost(st8ctl: St8ctl) -> None:
    """It is told once, and once more when there is one again."""
    with scripted(
        once(HEAD + START + event(1)),
        once(b""),
        once(problem(503, "overloaded")),
        once(HEAD + START + event(2)),
    ) as server:
        done = st8ctl.bare("watch", "--server", server.url, "--limit", "2")
        url = server.url

    assert (0, 2) == (done.code, len(done.out.splitlines()))
    assert (
        f"lost {url} during watch: the stream ended; trying again until it is there\n"
        "connected again\n"
    ) == done.err


def test_watch_that_is_refused(st8ctl: St8ctl) -> None:
    """What another attempt can't mend ends it, with its exit code."""
    with scripted(once(problem(403, "forbidden", "you may not"))) as server:
        done = st8ctl.bare("watch", "--server", server.url, "-o", "json")

    assert (5, "") == (done.code, done.out)
    error = {"code": "forbidden", "detail": "you may not", "exit_code": 5}
    assert {"error": error} == json.loads(done.err)


def test_interrupt(st8ctl: St8ctl) -> None:
    """Ctrl-C ends it with 130; what came before it is out."""
    st8ctl("apply", "-v", "a=1")
    with subprocess.Popen(
        [*PROGRAM, "--server", st8ctl.url, "watch", "--after", "0"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith(b"rev=1 ")
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)

    assert (130, b"", b"") == (process.returncode, out, err)


def test_reader_that_goes_away(st8ctl: St8ctl) -> None:
    """`st8ctl watch | head -1` ends with the next revision."""
    st8ctl("apply", "-v", "a=1")
    with subprocess.Popen(
        [*PROGRAM, "--server", st8ctl.url, "watch", "--after", "0"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        st8ctl("apply", "-v", "a=2")
        assert b"" == process.stderr.read()
        assert 141 == process.wait(60)
