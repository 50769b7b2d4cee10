"""``st8ctl`` itself: help, unknown commands, and how every kind of error ends."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

import click
import pytest

from st8 import __version__
from st8.cli.command import LazyGroup, command
from st8.cli.flags import Flags
from st8.cli.root import ROOT
from st8.core.errors import CLASSES
from tests.client.scripted import always, problem, scripted

if TYPE_CHECKING:
    from tests.cli.st8ctl import St8ctl
    from tests.client.scripted import Wire


def test_help(st8ctl: St8ctl) -> None:
    """Without a command, and with --help, the commands are listed on stdout."""
    code, out, err = st8ctl.bare("--help")

    assert (0, "") == (code, err)
    assert (0, out, "") == st8ctl.bare()
    assert (0, out, "") == st8ctl.bare("help")
    assert (0, out, "") == st8ctl.bare("-h")
    lines = out.splitlines()
    assert "Usage: st8ctl [OPTIONS] COMMAND [ARGS]..." == lines[0]
    for name, (_, text) in ROOT.modules.items():
        assert any(line.split()[:1] == [name] and text in line for line in lines)
    assert "--namespace NAME" in out


def test_help_of_a_command(st8ctl: St8ctl) -> None:
    """Each command explains itself, asked in any of the usual ways."""
    _, out, _ = st8ctl.bare("get", "--help")

    assert "Usage: st8ctl get [OPTIONS] [KEY]..." == out.splitlines()[0]
    assert "--revision N" in out
    assert "Global flags:" in out
    assert (0, out, "") == st8ctl.bare("help", "get")
    assert (0, out, "") == st8ctl.bare("--help", "get")
    assert (0, out, "") == st8ctl.bare("--namespace", "x", "get", "-h")


def test_help_after_a_look() -> None:
    """Who only looks at a command, as completion does, takes no ``-h`` from it."""

    @command("look")
    def look(_flags: Flags) -> None:
        """Look."""

    looked = look.get_params(click.Context(ROOT))
    with look.make_context("look", [], obj=Flags()) as ctx:
        asked = look.get_params(ctx)

    assert ["-h", "--help"] == looked[-1].opts
    assert ["-h", "--help"] == asked[-1].opts


@pytest.mark.parametrize("name", ["checkpoint", "branch", "namespace"])
def test_help_of_a_group(st8ctl: St8ctl, name: str) -> None:
    """A group of commands lists them."""
    code, out, err = st8ctl.bare(name, "--help")

    assert (0, "") == (code, err)
    assert f"Usage: st8ctl {name} [OPTIONS] COMMAND [ARGS]..." == out.splitlines()[0]
    assert "  list " in out


def test_version(st8ctl: St8ctl) -> None:
    """The version is shown on stdout."""
    assert (0, f"st8ctl {__version__}\n", "") == st8ctl.bare("--version")


def test_table_of_commands() -> None:
    """Each name in the table is the command of that name, and begins as its help."""
    for name, (module, text) in ROOT.modules.items():
        command = import_module(module).COMMAND
        assert name == command.name
        assert text.endswith(".")


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["nonsense"], "'st8ctl' has no command 'nonsense'; see 'st8ctl --help'"),
        (["aply", "x"], "'st8ctl' has no command 'aply' (did you mean 'apply'?); see"),
        (
            ["get", "--nonsense"],
            "there is no flag '--nonsense'; see 'st8ctl get --help'",
        ),
        (["--nonsense", "get"], "there is no flag '--nonsense'; see"),
        (
            ["--tokn", "s3cret", "get"],
            "there is no flag '--tokn' (did you mean '--token'?); see",
        ),
        (["get", "--server"], "--server needs a value"),
        (["\x1b[31m"], "'st8ctl' has no command '\\x1b[31m'; see"),
        (["get", "--local=yes"], "--local takes no value"),
        (["get", "-o", "xml"], "--output: 'xml' is none of text, json, yaml; see"),
        (["log", "--after", "0"], "--after: 0 is no whole number from 1 on; see"),
        (["edit"], "KEY is missing; see 'st8ctl edit --help'"),
        (["completion"], "one of bash, zsh, fish is missing; see"),
        (["version", "x", "y"], "unexpected extra arguments (x y); see"),
    ],
)
def test_wrong_usage(st8ctl: St8ctl, args: list[str], message: str) -> None:
    """Wrong usage has exit code 2, one line, the nearest name, and no secret."""
    code, out, err = st8ctl.bare(*args)

    assert (2, "", 1) == (code, out, err.count("\n"))
    assert err.startswith(f"error: {message}")
    assert "s3cret" not in err


@pytest.mark.parametrize(
    "args",
    [
        ["get", "--revision", "0"],
        ["diff", "--revision", "0"],
        ["rollback", "--revision", "0"],
        ["restore", "--revision", "0"],
        ["checkpoint", "create", "--revision", "0", "c"],
        ["branch", "create", "--revision", "0", "b"],
        ["show", "0"],
    ],
)
def test_revision_0(st8ctl: St8ctl, args: list[str]) -> None:
    """There is no revision 0: it is an error, and never stands for the head."""
    st8ctl("apply", "-v", "a=1")

    code, out, err = st8ctl(*args)

    assert (2, "") == (code, out)
    assert "0" in err


@pytest.mark.parametrize("side", ["0", "-0", "00"])
def test_side_0(st8ctl: St8ctl, side: str) -> None:
    """No side of a comparison is revision 0."""
    st8ctl("apply", "-v", "a=1")

    code, out, err = st8ctl("diff", "--from", side)

    assert (7, "") == (code, out)
    assert err.startswith(f"error: --from: {side!r} is no state; write ")


def test_certificate_that_is_not_there(st8ctl: St8ctl) -> None:
    """What the library says of an argument is told of the flag that it came from."""
    to = ["--server", "https://127.0.0.1:9"]
    for flag in ("--ca-file", "--cert", "--key"):
        ended = st8ctl.bare("get", *to, flag, "/nowhere")
        assert (7, "") == ended[:2]
        assert ended.err.startswith(f"error: {flag}: ")


@pytest.mark.parametrize("code", sorted(CLASSES))
def test_every_error_of_the_daemon(st8ctl: St8ctl, code: str) -> None:
    """Whatever the daemon refuses, one sentence is on stderr and the code is its own."""
    cls = CLASSES[code]
    with scripted(always(problem(cls.http_status, code, "it is\x1b so"))) as server:
        for args in (["get", "k"], ["branch", "create", "b"]):
            ended = st8ctl.bare("--server", server.url, *args)
            assert (cls.exit_code, "") == ended[:2]
            assert ended.err.startswith("error: ")
            assert "it is\\x1b so" in ended.err
            assert 1 == ended.err.count("\n")


def test_unreachable(st8ctl: St8ctl) -> None:
    """A daemon that is down is named, with what to check."""
    assert (
        6,
        "",
        (
            "error: can't reach http://127.0.0.1:9: connection refused; check the "
            "address, and that st8d runs there; `st8d` starts one, --local needs none\n"
        ),
    ) == st8ctl.bare("--server", "http://127.0.0.1:9", "get")


def test_timeout(st8ctl: St8ctl) -> None:
    """A read that takes too long ends with 6, a write with 8: it may have been done."""

    def stay_silent(wire: Wire) -> None:
        wire.request()
        wire.wait_for_close()

    with scripted(stay_silent) as server:
        to = ["--server", server.url, "--timeout", "100ms"]
        assert (
            6,
            "",
            f"error: {server.url} did not answer get: nothing within 0.1 s\n",
        ) == st8ctl.bare(*to, "get", "k")
        code, out, err = st8ctl.bare(*to, "apply", "-v", "k=v")
        assert (8, "") == (code, out)
        assert "it is not known whether it was done" in err
        assert "or send it again with --idempotency-key " in err


def test_fault(st8ctl: St8ctl, monkeypatch: pytest.MonkeyPatch) -> None:
    """A fault of st8ctl itself has exit code 1 and leaves a trace to report."""
    monkeypatch.setattr("st8.cli.get.key_of", lambda _: 1 / 0)
    code, out, err = st8ctl("get", "k")

    assert (1, "") == (code, out)
    assert err.startswith("Traceback")
    assert err.endswith(
        "error: a fault of st8ctl itself: ZeroDivisionError: division by zero\n"
    )


def test_groups_are_lazy() -> None:
    """The commands are loaded by name, none before it is called."""
    assert isinstance(ROOT, LazyGroup)


def _commands() -> list[list[str]]:
    """Return the words of every command."""
    found: list[list[str]] = [[]]
    context = click.Context(ROOT)
    for name in ROOT.list_commands(context):
        command = ROOT.get_command(context, name)
        found.append([name])
        if isinstance(command, click.Group):
            found += [[name, sub] for sub in command.list_commands(context)]
    return found


@pytest.mark.parametrize("words", _commands(), ids=" ".join)
def test_help_reads_well(st8ctl: St8ctl, words: list[str]) -> None:
    """Help fits a page, breaks no flag over lines, and cuts no sentence short."""
    code, out, err = st8ctl.bare(*words, "--help")

    assert (0, "") == (code, err)
    usage, *lines = out.splitlines()
    assert usage.startswith("Usage: st8ctl")
    for line in lines:
        assert len(line) <= 100
        assert not line.endswith(("...", "-"))
        assert "[x>=" not in line
