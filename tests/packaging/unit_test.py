"""The systemd unit: systemd takes it, and what it starts does what it says."""

from __future__ import annotations

import re
import shlex
import shutil
import socket
import subprocess
import threading
import urllib.error
import urllib.request
from pathlib import Path
from queue import Queue
from typing import TYPE_CHECKING

import pytest
import yaml

from st8 import config
from tests.docs.shell import ROOT, free_port
from tests.packaging.running import PROGRAMS, bare_environment, started

if TYPE_CHECKING:
    from collections.abc import Iterator

FOLDER = ROOT / "deploy" / "systemd"
UNIT = FOLDER / "st8d.service"
needs_systemd = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="systemd-analyze is not here"
)


def _read(path: Path) -> dict[str, list[str]]:
    """Return what a unit says, by name; what is said twice is there twice."""
    found: dict[str, list[str]] = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        if re.match(r"[A-Z]\w+=", line):
            name, _, text = line.partition("=")
            found.setdefault(name, []).append(text)
    return found


SAYS = _read(UNIT)


def _seconds(text: str) -> float:
    return float(text.removesuffix("s"))


def _put(folder: Path, port: str) -> dict[str, str]:
    """Lay st8d's files below ``folder``; return what to replace in the unit."""
    replaced = {
        "/usr/bin/st8d": str(PROGRAMS / "st8d"),
        "/etc/st8d": str(folder / "etc"),
        "/var/lib/st8d": str(folder / "state"),
        '":8748"': f'"127.0.0.1:{port}"',
    }
    (folder / "etc").mkdir()
    (folder / "state").mkdir(mode=0o700)
    settings = (FOLDER / "st8d.yaml").read_text(encoding="utf-8")
    _write(folder / "etc" / "st8d.yaml", _replace(settings, replaced))
    _write(folder / "etc" / "token", "first-token\n")
    return replaced


def _write(path: Path, text: str) -> None:
    path.touch(mode=0o600)
    path.write_text(text, encoding="utf-8")


def _replace(text: str, replaced: dict[str, str]) -> str:
    for printed, usable in replaced.items():
        text = text.replace(printed, usable)
    return text


@needs_systemd
def test_systemd_takes_it(tmp_path: Path) -> None:
    """Every line is one that systemd knows, and nothing is amiss."""
    unit = tmp_path / "st8d.service"
    unit.write_text(
        UNIT.read_text(encoding="utf-8").replace("/usr/bin/st8d", "/bin/true"),
        encoding="utf-8",
    )
    done = subprocess.run(
        ["systemd-analyze", "verify", str(unit)],
        capture_output=True,
        text=True,
        check=False,
    )
    # What it says of other units of the machine is theirs.
    said = [line for line in done.stderr.splitlines() if "st8d" in line]

    assert [] == said


@needs_systemd
def test_it_is_well_confined() -> None:
    """What systemd counts as exposure, from 0 to 10, is below 2."""
    done = subprocess.run(
        ["systemd-analyze", "security", "--offline=yes", "--threshold=20", str(UNIT)],
        capture_output=True,
        text=True,
        check=False,
    )
    if "unrecognized option" in done.stderr:
        pytest.skip("this systemd can't judge a unit that is not installed")

    assert 0 == done.returncode, done.stdout + done.stderr


def test_folders_are_those_of_the_settings() -> None:
    """What the settings name lies in folders that systemd makes for st8d."""
    text = (FOLDER / "st8d.yaml").read_text(encoding="utf-8")
    settings = yaml.safe_load(text)
    made = {
        f"{parent}/{SAYS[name][0]}"
        for name, parent in {
            "ConfigurationDirectory": "/etc",
            "StateDirectory": "/var/lib",
            "RuntimeDirectory": "/run",
            "LogsDirectory": "/var/log",
        }.items()
    }
    named = {Path(path) for path in re.findall(r"/(?:etc|var|run)/[\w./-]+", text)}

    assert settings["state-dir"] in made
    assert ["0700"] == SAYS["StateDirectoryMode"]
    assert set() == {
        str(path)
        for path in named
        if str(path) not in made and str(path.parent) not in made
    }
    assert {"/usr/lib/sysusers.d/st8d.conf"} | {"/etc/st8d/st8d.yaml"} == {
        re.sub(r":.*", "", line.removeprefix("# "))
        for name in ("st8d.sysusers", "st8d.yaml")
        for line in (FOLDER / name).read_text(encoding="utf-8").splitlines()[:1]
    }


def test_every_setting_of_the_file_is_one(tmp_path: Path) -> None:
    """St8d takes the file, and with every commented line too."""
    text = (FOLDER / "st8d.yaml").read_text(encoding="utf-8")
    for name, content in {
        "plain": text,
        "all": re.sub(r"^# ([\w-]+: )", r"\1", text, flags=re.MULTILINE),
    }.items():
        path = tmp_path / f"{name}.yaml"
        path.write_text(content, encoding="utf-8")
        settings = config.load([f"--config={path}"], {})
        assert Path("/etc/st8d/token") == settings.token_file
        assert (name == "all") == (settings.tls is not None)
        assert (name == "all") == (settings.auth_config is not None)
        assert (name == "all") == (settings.audit_log is not None)


def test_it_is_the_user_that_sysusers_makes() -> None:
    """The unit's user and group are made by the file beside it."""
    (line,) = [
        line
        for line in (FOLDER / "st8d.sysusers").read_text(encoding="utf-8").splitlines()
        if not line.startswith("#")
    ]

    assert ["u", *SAYS["User"]] == line.split()[:2]
    assert SAYS["User"] == SAYS["Group"]
    assert line.endswith(SAYS["WorkingDirectory"][0])


def test_stopping_has_the_time_that_it_needs() -> None:
    """Systemd waits longer than st8d lets requests go on, and 5 s to close."""
    settings = config.load([], {})

    assert _seconds(SAYS["TimeoutStopSec"][0]) > settings.shutdown_timeout_s + 5
    assert ["2"] == SAYS["RestartPreventExitStatus"]


@pytest.fixture
def notices(tmp_path: Path) -> Iterator[Queue[str]]:
    """What st8d says of itself, taken off its socket at once, as systemd does.

    The kernel keeps ten messages for who does not; what is beyond them is lost.
    """
    heard: Queue[str] = Queue()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))

        def hear() -> None:
            while said := manager.recv(4_096):
                heard.put(said.decode())

        thread = threading.Thread(target=hear)
        thread.start()
        yield heard
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as last:
            last.sendto(b"", str(tmp_path / "notify"))
        thread.join()


def _until(notices: Queue[str], wanted: str) -> list[str]:
    """Return what st8d says up to ``wanted``."""
    said: list[str] = []
    while wanted not in said:
        said += notices.get(timeout=60).splitlines()
    return said


def test_its_commands_run_st8d(tmp_path: Path, notices: Queue[str]) -> None:
    """Checked, started, ready, watched, reloaded and stopped as the unit says."""
    port = free_port()
    replaced = _put(tmp_path, port)
    (before,) = (shlex.split(_replace(text, replaced)) for text in SAYS["ExecStartPre"])
    (command,) = (shlex.split(_replace(text, replaced)) for text in SAYS["ExecStart"])
    variables = {
        "NOTIFY_SOCKET": str(tmp_path / "notify"),
        "WATCHDOG_USEC": "200000",
    }
    subprocess.run(before, check=True, capture_output=True, env=bare_environment({}))

    with started(command, variables, tmp_path) as daemon:
        _until(notices, "READY=1")
        _until(notices, "WATCHDOG=1")
        assert _is_let_in(port, "first-token")

        _write(tmp_path / "etc" / "token", "second-token\n")
        for text in SAYS["ExecReload"]:
            line = _replace(text, replaced | {"$MAINPID": str(daemon.process.pid)})
            words = shlex.split(line)
            subprocess.run(words, check=True, capture_output=True)
        said = _until(notices, "RELOADING=1")
        if "READY=1" not in said[said.index("RELOADING=1") :]:
            _until(notices, "READY=1")
        assert _is_let_in(port, "second-token")
        assert not _is_let_in(port, "first-token")
    _until(notices, "STOPPING=1")
    assert (tmp_path / "state" / "st8.db").exists()


def test_a_bad_file_does_not_start(tmp_path: Path) -> None:
    """What can't be right is said before st8d is started, with the file's name."""
    replaced = _put(tmp_path, free_port())
    _write(tmp_path / "etc" / "st8d.yaml", "state-dri: /nowhere\n")
    (before,) = (shlex.split(_replace(text, replaced)) for text in SAYS["ExecStartPre"])
    done = subprocess.run(
        before, check=False, capture_output=True, text=True, env=bare_environment({})
    )

    assert 2 == done.returncode
    assert "st8d.yaml" in done.stderr
    assert "state-dir" in done.stderr


def _is_let_in(port: str, token: str) -> bool:
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/v1/version",
        headers={"Authorization": f"Bearer {token}"},
    )
    try:
        with urllib.request.urlopen(request):  # noqa: S310 - our own
            return True
    except urllib.error.HTTPError as error:
        with error:
            return error.code != 401
