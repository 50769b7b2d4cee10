"""``st8ctl completion``: what is offered, and real shells that ask for it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from st8.cli.completion import split_line
from st8.cli.flags import VARIABLES
from st8.cli.shell_scripts import SCRIPTS
from tests.client.scripted import scripted

if TYPE_CHECKING:
    from tests.cli.st8ctl import St8ctl
    from tests.client.scripted import Wire


@pytest.fixture
def filled(st8ctl: St8ctl, monkeypatch: pytest.MonkeyPatch) -> St8ctl:
    """Namespaces, branches, checkpoints and keys, some of them hard to quote."""
    st8ctl(
        "apply", "-v", "app/a b=1", "-v", "app/c:d=1", "-v", "x$(touch pwned)=1",
        "-v", "x'y=1", "-v", 'x`"\\|;&>é=1', "-v", "new=1",
    )  # fmt: skip
    st8ctl("checkpoint", "good")
    st8ctl("apply", "--delete", "new", "-y")
    st8ctl("branch", "create", "release/1")
    st8ctl("apply", "-v", "p=1", "--namespace", "payments/prod")
    st8ctl.configure("contexts: {prod: {}, staging: {}}\n")
    monkeypatch.setenv("ST8_SERVER", st8ctl.url)
    return st8ctl


def offered(st8ctl: St8ctl, *words: str) -> list[str]:
    """Return what is offered at the end of ``words``, the kind first."""
    code, out, err = st8ctl.bare("__complete", "zsh", *words)
    assert (0, "") == (code, err)
    return [line.partition("\t")[0] for line in out.splitlines()]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["sh"], ["show"]),
        (["help", "sh"], ["show"]),
        (["help", "config", "s"], ["set"]),
        (["checkpoint", ""], ["create", "list", "show", "delete"]),
        (["branch", "d"], ["delete"]),
        (["config", "u"], ["unset", "use"]),
        (["completion", ""], ["bash", "zsh", "fish"]),
        (["log", "--gr"], ["--graph"]),
        (["--namesp"], ["--namespace"]),
        (["-o", ""], ["text", "json", "yaml"]),
        (["get", "--output=j"], ["--output=json"]),
        (["get", "app/"], ["app/a b", "app/c:d"]),
        (["log", "--", "app/"], ["app/a b", "app/c:d"]),
        (["log", "app/c:d", "app/a"], ["app/a b"]),
        (["get", "ne"], []),
        (["get", "--revision", "1", "ne"], ["new"]),
        (["get", "--checkpoint=good", "ne"], ["new"]),
        (["--namespace", "payments/prod", "get", ""], ["p"]),
        (["get", "--namespace=payments/prod", ""], ["p"]),
        (["get", "--namespace", "nobody", ""], []),
        (["--namespace", "pay"], ["payments/prod"]),
        (["get", "--namespace=pay"], ["--namespace=payments/prod"]),
        (["--branch", ""], ["main", "release/1"]),
        (["restore", "--from-branch", "r"], ["release/1"]),
        (["branch", "delete", ""], ["main", "release/1"]),
        (["branch", "delete", "main", ""], []),
        (["branch", "create", ""], []),
        (["checkpoint", "delete", ""], ["good"]),
        (["rollback", "--checkpoint", "g"], ["good"]),
        (["show", ""], ["head", "good"]),
        (["show", "good:n"], ["good:new"]),
        (["show", "-1:n"], []),
        (["config", "get", "server.t"],
         ["server.token", "server.token_file", "server.timeout"]),
        (["config", "use", ""], ["default", "prod", "staging"]),
        (["--context", "s"], ["staging"]),
        (["status", ""], []),
        (["nonsense", ""], []),
        (["apply", "--author", ""], []),
    ],
)  # fmt: skip
def test_offered(filled: St8ctl, words: list[str], expected: list[str]) -> None:
    """Commands, flags, and names from the daemon that the line names."""
    actual = offered(filled, *words)

    assert ["plain", *expected] == [a for a in actual if a != "token"]


@pytest.mark.parametrize(
    ("words", "kind"),
    [
        (["apply", ""], "files"),
        (["apply", "-f", "x"], "files"),
        (["backup", ""], "files"),
        (["backup", "--base", ""], "files"),
        (["restore-backup", "a", ""], "files"),
        (["--ca-file", ""], "files"),
        (["--key", ""], "files"),
        (["--state-dir", ""], "dirs"),
        (["apply", "--", "-"], "files"),
    ],
)
def test_files(filled: St8ctl, words: list[str], kind: str) -> None:
    """Where a file or directory stands, the shell completes it."""
    assert [kind] == offered(filled, *words)


def test_explanations(filled: St8ctl) -> None:
    """Commands and flags come with what they are for."""
    _, out, _ = filled.bare("__complete", "fish", "vers")

    assert "plain\nversion\tShow the versions of st8ctl and st8d.\n" == out


def test_many_names(filled: St8ctl) -> None:
    """No more than a hundred names are offered."""
    values = [f"--value=many/{n:03}=1" for n in range(150)]
    assert 0 == filled("apply", *values).code

    assert ["plain", *(f"many/{n:03}" for n in range(100))] == offered(
        filled, "get", "many/"
    )


def test_silent_on_failure(st8ctl: St8ctl, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is wrong, nothing is offered and nothing is said."""

    def stay_silent(wire: Wire) -> None:
        wire.request()
        wire.wait_for_close()

    assert ["plain"] == offered(st8ctl, "get", "")  # no daemon is named
    assert ["plain"] == offered(st8ctl, "--local", "get", "")
    assert not (st8ctl.home / ".st8").exists()
    assert ["plain"] == offered(st8ctl, "--server", "http://127.0.0.1:9", "get", "")
    assert ["plain"] == offered(st8ctl, "--server", "nonsense", "get", "")
    assert ["plain"] == offered(st8ctl, "--config", "no.yaml", "get", "")
    with scripted(stay_silent) as server:
        monkeypatch.setattr("st8.cli.completion.PATIENCE_S", 0.1)
        assert ["plain"] == offered(st8ctl, "--server", server.url, "get", "")
    assert (0, "", "") == st8ctl.bare("__complete")
    assert (0, "", "") == st8ctl.bare("__complete", "zsh")
    st8ctl.configure("broken: [")
    assert (0, "", "") == st8ctl.bare("__complete", "zsh", "--context", "")


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("st8ctl get ", (["st8ctl", "get"], "", "")),
        ("st8ctl get a", (["st8ctl", "get"], "a", "")),
        ("st8ctl  get a\\ b", (["st8ctl", "get"], "a b", "")),
        ("st8ctl 'a b' \"c d", (["st8ctl", "a b"], "c d", '"')),
        ("st8ctl 'a", (["st8ctl"], "a", "'")),
        ("st8ctl ''", (["st8ctl"], "", "")),
        ("st8ctl '' ", (["st8ctl", ""], "", "")),
        ("st8ctl a'b'\"c\"d", (["st8ctl"], "abcd", "")),
        ("st8ctl a\\", (["st8ctl"], "a", "")),
        ("", ([], "", "")),
    ],
)
def test_words_of_a_line(line: str, expected: tuple[list[str], str, str]) -> None:
    """A line is cut into words as a shell does, its last one being unfinished."""
    assert expected == split_line(line)


@given(st.text(max_size=30))
def test_any_line(line: str) -> None:
    """Whatever is typed, it comes to words."""
    words, _, quote = split_line(line)

    assert quote in {"", "'", '"'}
    assert all(isinstance(word, str) for word in words)


@pytest.mark.parametrize("shell", SCRIPTS)
def test_script(st8ctl: St8ctl, shell: str) -> None:
    """The script is printed; the shell, where there is one, has no objection to it."""
    code, out, err = st8ctl.bare("completion", shell)

    assert (0, "") == (code, err)
    assert SCRIPTS[shell] == out
    if shutil.which(shell):
        done = subprocess.run(
            [shell, "-n"], input=out, capture_output=True, text=True, check=False
        )
        assert (0, "") == (done.returncode, done.stderr)


def test_shells_that_there_are(st8ctl: St8ctl) -> None:
    """Another shell is refused with the names of those that there are."""
    code, _, err = st8ctl.bare("completion", "csh")

    assert 2 == code
    assert "'csh' is none of bash, zsh, fish; see" in err


# --- real shells ------------------------------------------------------------------


def ask(st8ctl: St8ctl, *command: str) -> list[str]:
    """Run a shell that finds st8ctl, and return the lines it writes."""
    program = st8ctl.home / "bin" / "st8ctl"
    if not program.exists():
        program.parent.mkdir()
        program.write_text(
            f'#!/bin/sh\nexec {sys.executable} -c "from st8.cli.main import main; main()"'
            ' "$@"\n'
        )
        program.chmod(0o755)
    variables = {k: v for k, v in os.environ.items() if k not in VARIABLES}
    done = subprocess.run(
        command,
        env=variables
        | {
            "HOME": str(st8ctl.home),
            "PATH": f"{program.parent}:{os.environ['PATH']}",
            "ST8_SERVER": st8ctl.url,
        },
        cwd=st8ctl.folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (0, "") == (done.returncode, done.stderr)
    return done.stdout.splitlines()


_BASH = """
source <(st8ctl completion bash)
COMP_LINE=$1
COMP_POINT=${#COMP_LINE}
compopt() { echo "compopt $*"; }
_st8ctl st8ctl "" ""
for word in "${COMPREPLY[@]}"; do echo "$word"; done
"""


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash")
@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("st8ctl check", ["checkpoint"]),
        ("st8ctl get app/", ["app/a\\ b", "app/c:d"]),
        ("st8ctl get app/c:", ["d"]),
        ("st8ctl get 'app/a", ["app/a b"]),
        ("st8ctl get --namespace=pay", ["payments/prod"]),
        ("st8ctl get --namespace=", ["default", "payments/prod"]),
        ("st8ctl show good:n", ["new"]),
        ("st8ctl apply ", ["compopt -o default"]),
        ("st8ctl --state-dir ", ["compopt -o dirnames"]),
        ("st8ctl get x",
         ["x\\$\\(touch\\ pwned\\)", "x\\'y", 'x\\`\\"\\\\\\|\\;\\&\\>é']),
        ('st8ctl get "x', ["x'y"]),
    ],
)  # fmt: skip
def test_bash(filled: St8ctl, line: str, expected: list[str]) -> None:
    """Bash is offered whole words, quoted so that none of a key is ever run."""
    assert expected == ask(filled, "bash", "--norc", "-c", _BASH, "bash", line)
    assert not Path(filled.folder, "pwned").exists()


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash")
def test_what_bash_offers_is_one_word(filled: St8ctl) -> None:
    """What bash puts on the line is read as the key, and as nothing else."""
    words = ask(filled, "bash", "--norc", "-c", _BASH, "bash", "st8ctl get ")
    lines = [f"st8ctl get {word}" for word in words]

    assert ["1"] * 5 == ask(filled, "bash", "-c", "\necho;".join([*lines, "echo"]))[:5]
    assert not Path(filled.folder, "pwned").exists()


@pytest.mark.skipif(shutil.which("fish") is None, reason="there is no fish")
@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("st8ctl check", ["checkpoint\tName a revision; list and delete names."]),
        ("st8ctl get app/", ["app/a b", "app/c:d"]),
        ("st8ctl get 'app/a", ["app/a b"]),
        ("st8ctl get --namespace pay", ["payments/prod"]),
        ("st8ctl --namespace payments/prod get ", ["p"]),
        ("st8ctl show good:n", ["good:new"]),
    ],
)
def test_fish(filled: St8ctl, line: str, expected: list[str]) -> None:
    """Fish is offered names with explanations."""
    script = 'st8ctl completion fish | source; complete --do-complete "$argv[1]"'

    assert expected == ask(filled, "fish", "--no-config", "-c", script, line)
    assert not Path(filled.folder, "pwned").exists()


_ZSH = """
compdef() { : }
source <(st8ctl completion zsh)
compadd() { print -rl -- ${(P)5} }
_files() { print files $* }
words=("${@[1,-2]}" "${@[-1]}")
CURRENT=${#words}
PREFIX=${words[-1]}
_st8ctl || true
"""


@pytest.mark.skipif(shutil.which("zsh") is None, reason="there is no zsh")
@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["check"], ["checkpoint"]),
        (["get", "app/"], ["app/a b", "app/c:d"]),
        (["get", "app/a\\ "], ["app/a b"]),
        (["get", "--namespace=pay"], ["--namespace=payments/prod"]),
        (["--namespace", "payments/prod", "get", ""], ["p"]),
        (["show", "good:n"], ["good:new"]),
        (["apply", ""], ["files"]),
        (["--state-dir", ""], ["files -/"]),
        (["get", "nothing"], []),
    ],
)
def test_zsh(filled: St8ctl, words: list[str], expected: list[str]) -> None:
    """Zsh is offered names, which it quotes itself."""
    args = ["zsh", "-f", "-c", _ZSH, "zsh", "st8ctl", *words]

    assert expected == ask(filled, *args)
    assert not Path(filled.folder, "pwned").exists()
