"""``st8ctl`` as a process: what only shows between processes and on terminals."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from st8.client import Client
from tests.client.scripted import scripted

if TYPE_CHECKING:
    from tests.cli.st8ctl import St8ctl
    from tests.client.scripted import Wire

PROGRAM = [sys.executable, "-c", "from st8.cli.main import main; main()"]


def run(*args: str) -> subprocess.CompletedProcess[bytes]:
    """Run st8ctl to its end."""
    return subprocess.run(
        [*PROGRAM, *args],
        capture_output=True,
        check=False,
        stdin=subprocess.DEVNULL,
        timeout=60,
    )


def test_ends(st8ctl: St8ctl) -> None:
    """Output and exit code get out of the process, whole."""
    content = "line\n" * 500_000
    st8ctl.write("big", content)
    st8ctl("apply", "big")

    done = run("--server", st8ctl.url, "get", "big")
    assert (0, b"") == (done.returncode, done.stderr)
    assert content.encode() == done.stdout
    done = run("--server", st8ctl.url, "get", "nothing")
    assert (3, b"") == (done.returncode, done.stdout)
    assert 0 == run("--version").returncode
    assert 2 == run("nonsense").returncode
    done = run("--server", "http://127.0.0.1:9", "status")
    assert (6, b"error: can't reach", b"server      http://127.0.0.1:9 ") == (
        done.returncode,
        done.stderr[:18],
        done.stdout[:31],
    )


def test_reader_that_goes_away(st8ctl: St8ctl) -> None:
    """`st8ctl get | head` ends without a word."""
    st8ctl.write("big", "line\n" * 500_000)
    st8ctl("apply", "big")
    for args in (["get", "big"], ["diff", "-v", "big="], ["log"]):
        with subprocess.Popen(
            [*PROGRAM, "--server", st8ctl.url, *args],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        ) as process:
            assert process.stdout is not None
            assert process.stderr is not None
            process.stdout.close()
            assert b"" == process.stderr.read()
            assert 141 == process.wait(60)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
def test_output_that_can_not_be_written(st8ctl: St8ctl) -> None:
    """A full disk under the output is an error, never a silent success."""
    st8ctl("apply", "-v", "k=v")
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [*PROGRAM, "--server", st8ctl.url, "get"],
            stdout=full,
            stderr=subprocess.PIPE,
            check=False,
            timeout=60,
        )

    assert (1, b"error: can't write the output: No space left on device\n") == (
        done.returncode,
        done.stderr,
    )


def test_interrupt() -> None:
    """Ctrl-C ends a command that waits, with 130 and nothing else to say."""
    asked = threading.Event()

    def wait(wire: Wire) -> None:
        wire.request()
        asked.set()
        wire.wait_for_close()

    with (
        scripted(wait) as server,
        subprocess.Popen(
            [*PROGRAM, "--server", server.url, "get"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        ) as process,
    ):
        assert asked.wait(30)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30)

    assert (130, b"", b"") == (process.returncode, out, err)


@pytest.mark.parametrize("args", [["backup", "b"], ["export", "--git", "repo"]])
def test_who_is_asked_to_end_leaves_nothing(args: list[str], tmp_path: Path) -> None:
    """What was half written is taken away; the process ends by the signal that came."""
    asked = threading.Event()

    def wait(wire: Wire) -> None:
        wire.request()
        asked.set()
        wire.wait_for_close()

    with (
        scripted(wait) as server,
        subprocess.Popen(
            [*PROGRAM, "--server", server.url, *args], cwd=tmp_path
        ) as process,
    ):
        assert asked.wait(30)
        begun = list(tmp_path.iterdir())
        process.terminate()
        code = process.wait(30)

    assert 1 == len(begun)
    assert -signal.SIGTERM == code
    assert [] == list(tmp_path.iterdir())


def test_who_is_asked_to_end_leaves_no_store_behind(st8ctl: St8ctl) -> None:
    """What a backup is restored into to look at it has all contents in clear."""
    st8ctl("apply", "-v", "k=secret")
    st8ctl("backup", "b")
    waits = (
        "from st8 import daemon\n"
        "from st8.cli.main import main\n"
        "check = daemon.check_backup\n"
        "def read():\n"
        "    print('reading', flush=True)\n"
        "    input()\n"
        "daemon.check_backup = lambda _: check(read)\n"
        "main()"
    )
    temporary = st8ctl.folder / "temporary"
    temporary.mkdir()
    with subprocess.Popen(
        [sys.executable, "-c", waits, "restore-backup", "--check", "b"],
        cwd=st8ctl.folder,
        env=os.environ | {"TMPDIR": str(temporary)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        assert b"reading\n" == process.stdout.readline()
        begun = list(temporary.iterdir())
        process.terminate()
        code = process.wait(30)

    assert 1 == len(begun)
    assert -signal.SIGTERM == code
    assert [] == list(temporary.iterdir())


def test_git_has_utf8_whatever_the_locale(st8ctl: St8ctl) -> None:
    """Names of files, branches and tags go there and back where all else is ASCII."""
    with Client(st8ctl.url, namespace="shop") as client:
        client.apply({"é": "1"}, message="ü")
        client.create_branch("ö/b")
        client.create_checkpoint("ß", description="ø")
    other = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    for args in (
        ["export", "--git", "repo", "--namespace", "shop"],
        ["import", "--git", "repo", "--namespace", "copy", "--all"],
    ):
        done = subprocess.run(
            [*PROGRAM, "--server", st8ctl.url, *args],
            capture_output=True,
            check=False,
            cwd=st8ctl.folder,
            env=os.environ | other,
            timeout=60,
        )
        assert (0, b"") == (done.returncode, done.stderr)

    with Client(st8ctl.url, namespace="copy") as copy:
        assert {"é": "1"} == dict(copy.scope(branch="ö/b").documents())
        assert ["ß"] == [point.name for point in copy.checkpoints()]


def on_terminal(*args: str) -> str:
    """Run st8ctl on a terminal of its own and return what that shows."""
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [*PROGRAM, *args], stdin=theirs, stdout=theirs, stderr=theirs
    ) as process:
        os.close(theirs)
        shown = b""
        try:
            while data := os.read(ours, 4096):
                shown += data
        except OSError:  # the way a terminal says that nobody writes any more
            pass
        process.wait(60)
    os.close(ours)
    return shown.decode().replace("\r\n", "\n")


def test_contents_on_a_terminal(
    st8ctl: St8ctl, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a terminal a diff can't drive it; in a pipe it is what `patch` needs."""
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("PAGER", "cat")
    st8ctl("apply", "-v", "k=\x1b[31m\tred\r\n")
    args = ["--server", st8ctl.url, "diff", "--delete", "k"]

    assert (
        "Diff from revision 1 to what is given\n\n--- k\n+++ /dev/null\n@@ -1 +0,0 @@\n"
        "-\\x1b[31m\tred\\r\n"
    ) == on_terminal(*args).replace("        ", "\t")
    assert b"\n-\x1b[31m\tred\r\n" in run(*args).stdout


def test_output_is_utf8_whatever_the_encoding(st8ctl: St8ctl) -> None:
    """Keys and contents leave as UTF-8 where the terminal's encoding can't write them."""
    st8ctl("apply", "-v", "ü=é")
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    for args, expected in ((["get"], "revision: 1\nü\n"), (["get", "ü"], "é")):
        done = subprocess.run(
            [*PROGRAM, "--server", st8ctl.url, *args],
            capture_output=True,
            check=False,
            env=environment,
            timeout=60,
        )
        assert (expected.encode(), b"") == (done.stdout, done.stderr)


def test_what_a_command_loads() -> None:
    """Starting `st8ctl get` loads nothing of the daemon and nothing that is slow."""
    code = (
        "import sys\n"
        "from st8.cli.root import run\n"
        "run(['--server', 'http://127.0.0.1:9', 'get'])\n"
        "print(*sys.modules)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, check=True, timeout=60
    )
    loaded = set(done.stdout.decode().split())

    assert "st8.client" in loaded
    assert set() == loaded & {
        "apsw", "asyncio", "concurrent.futures", "dataclasses", "difflib",
        "importlib.metadata", "logging", "msgspec", "pathlib", "prometheus_client",
        "st8.cli.apply", "st8.core.node", "st8.core.revisions", "st8.core.tree",
        "st8.core.unified", "st8.daemon", "st8.engine", "st8.http", "st8.store",
        "subprocess", "tempfile", "uvicorn", "yaml",
    }  # fmt: skip


def test_help_loads_no_client() -> None:
    """Asking for help loads neither the client nor any command."""
    code = (
        "import sys\n"
        "from st8.cli.root import run\n"
        "run(['--help'])\n"
        "print(*sys.modules, file=sys.stderr)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, check=True, timeout=60
    )

    assert set() == set(done.stderr.decode().split()) & {
        "http.client", "json", "ssl", "st8.cli.get", "st8.client", "yaml",
    }  # fmt: skip
