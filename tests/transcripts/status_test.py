"""What ``st8ctl status`` and ``st8ctl version`` show."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import pytest
import yaml

from st8 import __version__
from st8.testing.server import running_server
from tests.client.scripted import always, answer, problem, scripted

if TYPE_CHECKING:
    from tests.client.scripted import Wire
    from tests.transcripts.stage import Stage

DOWN = "http://127.0.0.1:9"


def shown(text: str) -> str:
    """Return a status without its latency, and this version as VERSION."""
    return re.sub(r"\b[0-9.]+ ms", "LATENCY", text).replace(__version__, "VERSION")


@pytest.fixture
def applied(stage: Stage) -> Stage:
    """Two revisions, a branch, a checkpoint, two namespaces."""
    stage.pipe("apply", "-v", "a=1", "-v", "b=1")
    stage.pipe("apply", "-v", "a=2", "-m", "longer\ntimeout", "--author", "ops")
    stage.pipe("branch", "create", "release")
    stage.pipe("checkpoint", "good")
    stage.pipe("apply", "-v", "k=v", "--namespace", "payments/prod")
    return stage


STATUS = """\
server      URL (from --server)
reachable   yes, in LATENCY
version     st8d VERSION (API v1, store memory), st8ctl VERSION
namespace   default
branch      main
head        revision 2, 2026-01-01T00:00:00Z by ops: "longer\\ntimeout", digest DIGEST
documents   2
branches    2
checkpoints 1
namespaces  2
"""


def test_status(applied: Stage) -> None:
    """All is shown at a glance, in a pipe and on a terminal."""
    code, out, err = applied.pipe("status")
    assert (0, "") == (code, err)
    assert STATUS == re.sub(r"digest [0-9a-f]{12}", "digest DIGEST", shown(out))
    terminal = applied.terminal("status", columns=120)
    assert (0, shown(out)) == (terminal.code, shown(terminal.text))


@pytest.mark.parametrize("form", ["json", "yaml"])
def test_status_for_programs(applied: Stage, form: str) -> None:
    """Programs get the same, with the whole head."""
    code, out, err = applied.pipe("status", "-o", form)
    found = json.loads(out) if form == "json" else yaml.safe_load(out)

    assert (0, "") == (code, err)
    assert found.pop("latency_ms") > 0
    head = found.pop("head")
    assert {
        "server": "URL",
        "server_from": "--server",
        "reachable": True,
        "client_version": __version__,
        "namespace": "default",
        "branch": "main",
        "server_version": __version__,
        "api": "v1",
        "store": "memory",
        "documents": 2,
        "branches": 2,
        "checkpoints": 1,
        "namespaces": 2,
    } == found
    assert (2, "ops", 1, 64) == (
        head["revision"],
        head["author"],
        head["changes"],
        len(head["digest"]),
    )


def test_nothing_applied(stage: Stage) -> None:
    """A scope that nothing was applied to is no error: the daemon is well."""
    code, out, err = stage.pipe("status", "--branch", "mian")

    assert (0, "") == (code, err)
    assert [
        "branch      mian",
        "head        none yet: nothing was applied",
        "documents   0",
        "branches    0",
        "checkpoints 0",
        "namespaces  0",
    ] == out.splitlines()[4:]


def test_daemon_down(stage: Stage) -> None:
    """Of a daemon that is down is shown what is known; the exit code is 6."""
    error = (
        "can't reach URL: connection refused; check the address (from ST8_SERVER), and "
        "that st8d runs there; `st8d` starts one, --local needs none"
    )
    variables = {"ST8_SERVER": DOWN, "ST8_NAMESPACE": "payments/prod"}
    known = (
        "server      URL (from ST8_SERVER)\n"
        "reachable   no\n"
        "version     st8ctl VERSION\n"
        "namespace   payments/prod\n"
        "branch      main\n"
    )
    code, out, err = stage.pipe("status", server="", env=variables)
    assert (6, known, f"error: {error}\n") == (
        code,
        shown(out).replace(DOWN, "URL"),
        err.replace(DOWN, "URL"),
    )
    terminal = stage.terminal("status", server="", env=variables, columns=200)
    assert (6, f"{known}error: {error}\n") == (
        terminal.code,
        shown(terminal.text).replace(DOWN, "URL"),
    )
    done = stage.pipe("status", "-o", "json", server="", env=variables)
    assert (6, False, "unreachable") == (
        done.code,
        json.loads(done.out)["reachable"],
        json.loads(done.err)["error"]["code"],
    )


def test_refused(stage: Stage) -> None:
    """A daemon that refuses the token is reachable; the exit code is 5."""
    with running_server(token="r1ght") as server:
        code, out, err = stage.pipe("status", "--token", "wr0ng", server=server.url)

    assert (5, "reachable   yes, but it refuses us") == (code, out.splitlines()[1])
    assert (
        "error: the token is not known; check the one that was sent, from --token\n"
    ) == err


def test_what_the_token_may_not_see(stage: Stage) -> None:
    """What is hidden from the token is said to be; the rest is shown."""
    version = answer({"version": "1", "api": "v1", "store": "x"})
    hidden = problem(403, "forbidden", "not for you")

    def partly(wire: Wire) -> None:
        while True:
            wire.send(version if "version" in wire.request().target else hidden)

    with scripted(partly) as server:
        code, out, err = stage.pipe("status", server=server.url)

    assert (0, "") == (code, err)
    assert [
        "head        none yet: nothing was applied",
        "documents   not to be seen",
        "branches    not to be seen",
        "checkpoints not to be seen",
        "namespaces  not to be seen",
    ] == out.splitlines()[5:]


def test_daemon_that_goes_away(stage: Stage) -> None:
    """A daemon that breaks off midway: what was learnt is shown, and the error."""
    version = answer({"version": "1", "api": "v1", "store": "x"})

    def go_away(wire: Wire) -> None:
        while "version" in wire.request().target:
            wire.send(version)
        wire.reset()

    with scripted(go_away) as server:
        code, out, err = stage.pipe("status", server=server.url)

    assert 6 == code
    assert "version     st8d 1 (API v1, store x), st8ctl VERSION" in shown(out)
    assert err.startswith("error: lost URL during log: ")


def test_version(stage: Stage) -> None:
    """Both versions are shown, or that of st8ctl alone."""
    both = f"st8ctl {__version__}\nst8d {__version__} (API v1, store memory)\n"
    server = {"version": __version__, "api": "v1", "store": "memory"}
    client = {"version": __version__}

    assert (0, both, "") == stage.pipe("version")
    assert (0, both) == stage.terminal("version")
    assert {"client": client, "server": server} == json.loads(
        stage.pipe("version", "-o", "json").out
    )
    assert {"client": client, "server": server} == yaml.safe_load(
        stage.pipe("version", "-o", "yaml").out
    )
    assert (0, f"st8ctl {__version__}\n", "") == stage.pipe(
        "version", "--client", server=DOWN
    )
    assert (0, f"client:\n  version: {__version__}\n", "") == stage.pipe(
        "version", "--client", "-o", "yaml", server=""
    )


def test_version_of_an_answer_that_is_none(stage: Stage) -> None:
    """What answers without being a daemon is told apart from one."""
    with scripted(always(answer(raw=b"<html>"))) as server:
        code, out, err = stage.pipe("version", server=server.url)

    assert (6, "") == (code, out)
    assert err.startswith("error: URL ")
