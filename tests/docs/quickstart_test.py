"""The original's quick start and workflows run as printed, line by line.

``tests/data/quickstart.txt`` has the lines of its README. They are run in local mode,
and against daemons without a token, with one, and with TLS. What is replaced, and
why: ``Shell.replace`` below.
"""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest
import trustme

from st8 import config
from tests.docs.shell import ROOT, Shell, free_port, on_loopback

if TYPE_CHECKING:
    from collections.abc import Iterator

GOOD = '{\n  "enabled": true,\n  "timeout": 30\n}\n'
BAD = GOOD.replace("30", "0")
TRIED = GOOD.replace("30", "60")


def _recorded() -> dict[str, str]:
    text = (ROOT / "tests" / "data" / "quickstart.txt").read_text(encoding="utf-8")
    parts = re.split(r"^== (.+)\n\n", text, flags=re.MULTILINE)[1:]
    return {
        title: body.rstrip("\n") + "\n"
        for title, body in zip(parts[::2], parts[1::2], strict=True)
    }


RECORDED = _recorded()


def _commands(title: str) -> list[str]:
    """Return the commands of a section: a line each, but for those that go on."""
    commands: list[str] = []
    end = ""
    for line in RECORDED[title].splitlines():
        if end:
            commands[-1] += f"\n{line}"
        elif line:
            commands.append(line)
        if "<<'EOF'" in line:
            end = "EOF"
        elif line.endswith("\\"):
            end = "\\"
        elif end in {line, "\\"}:
            end = ""
    return commands


class Mode(NamedTuple):
    """A way to run st8: which printed line starts the daemon, and what differs.

    Attributes:
        daemon: The number of the line under "Running st8d"; None for local mode.
        replace: Texts to replace in every command.
        settings: Lines that the configuration file has under ``server`` beside
            those that are printed.
    """

    daemon: int | None
    replace: dict[str, str]
    settings: str = ""


# Against a daemon the quick start's --local gives way to the configuration file,
# and with TLS the printed http:// becomes https://.
MODES = {
    "local": Mode(None, {}),
    "plain": Mode(0, {"--local ": ""}),
    "token": Mode(1, {"--local ": ""}),
    "tls": Mode(
        2,
        {"--local ": "", "http://": "https://", "/etc/st8d": "etc"},
        "  ca_file: ~/etc/ca.crt\n",
    ),
}


@pytest.fixture(params=MODES)
def mode(request: pytest.FixtureRequest) -> Mode:
    """Each way to run st8."""
    return MODES[request.param]


@pytest.fixture
def shell(mode: Mode, tmp_path: Path) -> Iterator[Shell]:
    """A shell in which st8ctl finds what the mode is about."""
    replace = on_loopback(free_port()) | mode.replace
    with Shell(tmp_path, replace) as shell:
        remote = mode.daemon is not None
        printed = RECORDED["Configuration: " + ("remote" if remote else "local")]
        if mode.settings:
            printed = printed.replace("server:\n", f"server:\n{mode.settings}")
        shell.write(".config/st8ctl/config.yaml", printed)
        if mode.settings:
            _make_certificate(tmp_path / "etc")
        if mode.daemon is not None:
            shell.start(_commands("Running st8d")[mode.daemon])
        yield shell
        if mode.daemon is not None:
            assert 0 == shell.stop()


def _make_certificate(folder: Path) -> None:
    folder.mkdir()
    authority = trustme.CA()
    certificate = authority.issue_cert("127.0.0.1")
    authority.cert_pem.write_to_path(str(folder / "ca.crt"))
    certificate.private_key_pem.write_to_path(str(folder / "server.key"))
    for number, blob in enumerate(certificate.cert_chain_pems):
        blob.write_to_path(str(folder / "server.crt"), append=number > 0)


def _check(shell: Shell, command: str, expected: str) -> None:
    """Run a command; it succeeds, says nothing else, and prints ``expected``."""
    done = shell.run(command)

    assert (0, "") == (done.code, done.errors), command
    assert re.fullmatch(expected, done.output), f"{command}\n{done.output}"


def _log_line(revision: int, parent: int, branch: str, message: str = "apply") -> str:
    return (
        rf"rev={revision} parent={parent} branch={branch} "
        rf'at=\d{{4}}-\d\d-\d\dT\d\d:\d\d:\d\dZ message="{message}" changes=1( author="admin")?\n'
    )


def test_quick_start_and_workflows_run_as_printed(shell: Shell, mode: Mode) -> None:
    """Every line succeeds and does what the page around it says."""
    shell.write("config.json", "left over\n")
    outputs = {
        "cat": "",
        "apply": r"Applied 1 change\(s\) at revision 1\.\nCREATE config\.json\n",
        "log": _log_line(1, 0, "main"),
        "checkpoint": r"Checkpoint before-change -> revision 1\n",
        "get": r"revision: 1\nconfig\.json\n",
        "get config.json": re.escape(GOOD),
    }
    for command in _commands("Quick Start"):
        _, _, words = command.partition("payments/prod ")
        name = words if words in outputs else (words or command).split()[0]
        _check(shell, command, outputs.pop(name))
    assert {} == outputs

    if mode.daemon is not None:
        again = (
            r"No changes\. Head stays at revision 1\.\n",
            _log_line(1, 0, "main"),
            r"Checkpoint before-change -> revision 1\n",
        )
        commands = _commands("Then point the CLI at it")
        for command, expected in zip(commands, again, strict=True):
            _check(shell, command, expected)

    _run_workflows(shell)


def _run_workflows(shell: Shell) -> None:
    """Run the workflows, with the edits that they talk about."""
    edits = {0: BAD, 5: TRIED}
    diff = (
        r"Diff from revision 1 to these files\n\n--- config\.json\n\+\+\+ config\.json\n"
        r"@@ -1,4 \+1,4 @@\n(?: .*\n)+-  \"timeout\": 30\n\+  \"timeout\": 0\n \}\n"
    )
    expected = (
        diff,
        r"Applied 1 change\(s\) at revision 2\.\nUPDATE config\.json\n",
        r"Rolled back at revision 3\.\nUPDATE config\.json\n",
        r"Already at requested state\.\n",
        r"Created branch migration-test at revision 1\.\n",
        r"Applied 1 change\(s\) at revision 4\.\nUPDATE config\.json\n",
        _log_line(4, 1, "migration-test") + _log_line(1, 0, "main"),
        r"Restored into revision 5\.\nUPDATE config\.json\n",
    )
    commands = _commands("Common Workflows")
    for number, (command, output) in enumerate(zip(commands, expected, strict=True)):
        if number in edits:
            shell.write("config.json", edits[number])
        _check(shell, command, output)
    get = "st8ctl --namespace payments/prod get config.json"
    for revision, content in {1: GOOD, 2: BAD, 3: GOOD, 4: TRIED, 5: TRIED}.items():
        branch = " --branch migration-test" if revision == 4 else ""
        _check(shell, f"{get} --revision {revision}{branch}", re.escape(content))


def test_rollback_makes_a_new_revision(tmp_path: Path) -> None:
    """The example of how rollback works: revision 3 has the contents of revision 1."""
    with Shell(tmp_path) as shell:
        shell.write(".config/st8ctl/config.yaml", "server:\n  url: local\n")
        for revision, content in enumerate((GOOD, BAD), 1):
            shell.write("config.json", content)
            _check(
                shell,
                "st8ctl apply -f config.json",
                rf"Applied 1 change\(s\) at revision {revision}\.\n.*\n",
            )
        (command,) = _commands("How Rollback Works")
        _check(shell, command, r"Rolled back at revision 3\.\nUPDATE config\.json\n")
        _check(shell, "st8ctl get config.json --revision 3", re.escape(GOOD))
        _check(shell, "st8ctl get config.json --revision 2", re.escape(BAD))
        _check(
            shell,
            "st8ctl log",
            _log_line(3, 2, "main", "rollback")
            + _log_line(2, 1, "main")
            + _log_line(1, 0, "main"),
        )


@pytest.mark.parametrize("number", range(3))
def test_daemon_lines_mean_what_they_say(number: int) -> None:
    """The printed st8d lines, port and paths included, are taken as they are."""
    command = _commands("Running st8d")[number].replace("\\\n", "")
    settings = config.load(shlex.split(command)[1:], {})

    assert (("", 8748),) == settings.listen
    assert Path(".st8d") == settings.state_dir
    assert (None, "my-secret-token", None)[number] == settings.token
    certificate = config.TlsSettings(
        Path("/etc/st8d/server.crt"), Path("/etc/st8d/server.key")
    )
    assert (None, None, certificate)[number] == settings.tls


@pytest.mark.parametrize("line", RECORDED["Command Summary"].splitlines())
def test_every_command_of_the_summary_is_there(line: str, tmp_path: Path) -> None:
    """Each command of the summary has a help of its own, with the flags named."""
    name, _, text = line.partition("  ")
    done = Shell(tmp_path).run(f"st8ctl {name} --help")

    assert (0, "") == (done.code, done.errors)
    assert done.output.startswith(f"Usage: st8ctl {name} ")
    for flag in re.findall(r"--\w+", text):
        assert f"{flag} N" in done.output
    if "default 10" in text:
        assert "[10]" in done.output
