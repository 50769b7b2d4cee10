"""The Dockerfile: what it says agrees with st8d, and what it runs works.

Where a Docker engine runs, the image is built and started. Elsewhere its commands
are run as they stand, with folders of the test's own in place of the image's.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
import urllib.request
from fnmatch import fnmatch
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from st8 import config
from tests.docs.shell import ROOT, free_port
from tests.packaging.dockerfile import DOCKERFILE
from tests.packaging.running import PROGRAMS, bare_environment, certify, started

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.postgres.server import PostgresServer

HEALTHCHECK = ROOT / "deploy" / "docker" / "healthcheck.py"
on_linux = pytest.mark.skipif(
    sys.platform != "linux", reason="the check reads /proc, as there is in a container"
)


# --- what it says -------------------------------------------------------------


def test_st8d_takes_its_command() -> None:
    """It is st8d without a flag, which listens on the port and writes to the volume."""
    settings = config.load([], {})

    assert ["st8d"] == DOCKERFILE.command()
    assert [] == DOCKERFILE.all("CMD")
    assert not settings.state_dir.is_absolute()
    assert DOCKERFILE.last("VOLUME") == DOCKERFILE.last("WORKDIR")
    assert (config.TcpAddress("", int(DOCKERFILE.last("EXPOSE"))),) == settings.listen


def test_it_can_speak_to_postgresql() -> None:
    """What the store in PostgreSQL needs is installed, and a variable chooses it."""
    _, *flags = DOCKERFILE.command()
    (installed,) = [run for run in DOCKERFILE.all("RUN") if "/opt/st8 uv sync" in run]
    url = "postgresql://st8@db/st8"

    assert "--extra postgres" in installed
    assert url == config.load(flags, {"ST8D_STORE": url}).store_url


def test_it_runs_as_nobody_of_importance() -> None:
    """The user is a number, not root, and owns the volume before it is one."""
    names = [one.name for one in DOCKERFILE.instructions]
    user, _, group = DOCKERFILE.last("USER").partition(":")
    (made,) = [run for run in DOCKERFILE.all("RUN", stage=1) if "/data" in run]

    assert int(user) > 0
    assert user == group
    assert f"install -d -o {user} -g {group} -m 0700 /data" in made
    assert names.index("USER") < names.index("VOLUME")
    assert "USER" not in [one.name for one in DOCKERFILE.instructions if one.stage == 0]


def test_nothing_of_the_build_is_in_the_image() -> None:
    """The image is Python, the environment of st8 and nothing else."""
    base, last = DOCKERFILE.all("FROM")

    assert f"{last} AS build" == base
    assert ["--from=build /opt/st8 /opt/st8"] == DOCKERFILE.all("COPY", stage=1)
    assert 1 == len(DOCKERFILE.all("RUN", stage=1))
    assert [] == DOCKERFILE.all("ADD")


def test_what_is_copied_is_sent_to_docker() -> None:
    """Every file that is copied is there and not left out by .dockerignore."""
    lines = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    rules = [line for line in lines if line and not line.startswith("#")]
    sources = [
        source.removeprefix("./")
        for copy in DOCKERFILE.all("COPY", stage=0)
        for source in copy.split()[:-1]
    ]

    assert "*" == rules[0]
    for source in sources:
        assert (ROOT / source).exists(), source
        assert any(
            source == rule[1:] or source.startswith(f"{rule[1:]}/")
            for rule in rules
            if rule.startswith("!")
        ), source
    for secret in (".git/config", ".st8d/st8.db", ".venv/bin/python"):
        kept = [fnmatch(secret, rule[1:]) for rule in rules if rule.startswith("!")]
        assert not any(kept), secret


def test_everything_installed_has_a_digest() -> None:
    """Pip asks for digests, uv takes the lock as it is, and nothing else installs."""
    commands = " && ".join(DOCKERFILE.all("RUN", stage=0)).split(" && ")
    for command in commands:
        if "pip install" in command:
            assert re.search(r"--require-hashes|--no-index --no-deps", command)
        if "uv sync" in command:
            assert "--frozen" in command
        if "uv build" in command:
            assert "--no-build-isolation" in command
        assert not re.search(r"\b(?:apt-get|curl|wget)\b", command)
    lock = tomllib.loads((ROOT / "uv.lock").read_text(encoding="utf-8"))
    for package in lock["package"]:
        assert all("hash" in wheel for wheel in package.get("wheels", ()))


# --- what it runs -------------------------------------------------------------


class Image:
    """Folders that stand for those of the image, made by the image's own commands."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.source = place / "src"
        self.source.mkdir()
        for one in DOCKERFILE.instructions:
            if one.stage == 0 and one.name == "RUN":
                self._run(one.text)
            elif one.stage == 0 and one.name == "COPY":
                *sources, target = one.text.split()
                for source in sources:
                    inside = target.startswith(".")
                    into = self.source / source if inside else Path(self.of(target))
                    self._copy(ROOT / source, into)

    def _copy(self, source: Path, target: Path) -> None:
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            ignore = shutil.ignore_patterns("__pycache__")
            shutil.copytree(source, target, ignore=ignore)
        else:
            shutil.copy(source, target)

    def of(self, text: str) -> str:
        """Return ``text`` with the folders of the image replaced."""
        return re.sub(r"(?<![\w.])/(opt|tmp|data)\b", rf"{self.place}/\1", text)

    def _run(self, command: str) -> None:
        # uv is here already, in this environment; the rest is run.
        command = re.sub(r" && pip install .*--require-hashes.*", "", command)
        (self.place / "tmp").mkdir(exist_ok=True)
        variables = dict(
            one.split("=", 1)
            for line in DOCKERFILE.all("ENV", stage=0)
            for one in line.split()
        )
        kept = {name: text for name, text in os.environ.items() if name[:3] != "ST8"}
        kept.pop("VIRTUAL_ENV", None)
        done = subprocess.run(
            ["sh", "-ec", self.of(command)],
            cwd=self.source,
            env=kept | bare_environment(variables),
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode and "Failed to fetch" in done.stderr:
            pytest.skip("the package index can't be reached")
        assert 0 == done.returncode, f"{command}\n{done.stdout}{done.stderr}"


@pytest.mark.slow
@on_linux
def test_its_commands_make_a_st8d_that_runs(
    tmp_path: Path, postgres: PostgresServer
) -> None:
    """Built as written, st8d starts as written, is found well, and then not.

    The state is in the volume, or where a variable says.
    """
    image = Image(tmp_path)
    requirement = (tmp_path / "tmp" / "uv.txt").read_text(encoding="utf-8")
    path = Path(image.of("/opt/st8/bin"))
    (program,) = DOCKERFILE.command()
    command = [str(path / program), "--listen=127.0.0.1:0"]
    folder = Path(image.of(DOCKERFILE.last("WORKDIR")))
    folder.mkdir()
    kept = {p.name for p in path.iterdir()}
    check = [str(path / "python"), image.of(DOCKERFILE.healthcheck()[1])]

    with started(command, {}, folder) as daemon:
        url = f"http://{daemon.address}"
        with urllib.request.urlopen(f"{url}/docs") as answer:  # noqa: S310 - our own
            assert b"<!doctype html>" in answer.read()
    assert (tmp_path / "data" / ".st8d" / "st8.db").exists()
    store = {"ST8D_STORE": postgres.tcp_url(postgres.new_schema())}
    with started(command, store, tmp_path):
        assert not (tmp_path / ".st8d").exists()
    assert re.match(r"uv==[\d.]+( --hash=sha256:[0-9a-f]{64})+$", requirement)
    assert {"st8d", "st8ctl", "python"} <= kept
    assert not kept & {"hatchling", "uv", "pytest"}
    assert (
        1
        == subprocess.run(
            [*check, str(daemon.process.pid)], capture_output=True, check=False
        ).returncode
    )


def _check(process: int, variables: Mapping[str, str]) -> int:
    """Return what the image's check says of a process."""
    done = subprocess.run(
        [sys.executable, str(HEALTHCHECK), str(process)],
        env=bare_environment(variables),
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode == 0) == (done.stderr == ""), done.stderr
    return done.returncode


TLS = ["--tls-cert=tls.crt", "--tls-key=tls.key"]
WAYS: dict[str, tuple[list[str], dict[str, str], str]] = {
    "flag": (["--listen=127.0.0.1:PORT"], {}, ""),
    "everywhere": (["--listen=0.0.0.0:PORT"], {"ST8D_TOKEN": "my-secret-token"}, ""),
    "variable": ([], {"ST8D_LISTEN": "127.0.0.1:PORT"}, ""),
    "file": (["--config=st8d.yaml"], {}, 'listen: ["127.0.0.1:PORT"]\n'),
    "unix": (["--listen=unix:st8d.sock"], {}, ""),
    "tls": (["--listen=127.0.0.1:PORT", *TLS], {}, ""),
    "mutual": (["--listen=127.0.0.1:PORT", *TLS, "--tls-client-ca=ca.crt"], {}, ""),
    "optional": (
        [
            "--listen=127.0.0.1:PORT",
            *TLS,
            "--tls-client-ca=ca.crt",
            "--tls-client-auth=optional",
            "--tls-min-version=1.3",
        ],
        {},
        "",
    ),
}


@on_linux
@pytest.mark.parametrize("way", WAYS)
def test_the_check_asks_where_st8d_listens(
    way: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever said where and how st8d listens, the check follows it."""
    monkeypatch.chdir(tmp_path)
    arguments, variables, text = WAYS[way]
    port = free_port()
    variables = {name: value.replace("PORT", port) for name, value in variables.items()}
    (tmp_path / "st8d.yaml").write_text(text.replace("PORT", port), encoding="utf-8")
    certify(tmp_path)
    flags = [argument.replace("PORT", port) for argument in arguments]
    command = [str(PROGRAMS / "st8d"), "--state-dir=state", *flags]
    with started(command, variables, tmp_path) as daemon:
        assert 0 == _check(daemon.process.pid, variables)
    assert 1 == _check(daemon.process.pid, variables)


@on_linux
def test_the_check_sees_that_st8d_is_not_there() -> None:
    """A process that is no st8d, or that can't be asked, is not well."""
    assert 1 == _check(os.getpid(), {})
    assert 1 == _check(2**22 + 1, {})


# --- with Docker ----------------------------------------------------------------


def _has_docker() -> bool:
    if shutil.which("docker") is None:
        return False
    return (
        0
        == subprocess.run(
            ["docker", "info"], check=False, capture_output=True
        ).returncode
    )


@pytest.mark.slow
@pytest.mark.skipif(not _has_docker(), reason="no Docker engine runs here")
def test_docker_builds_and_runs_it() -> None:
    """The image builds, and a container of it gets well with a read-only root."""

    def docker(*arguments: str) -> str:
        done = subprocess.run(
            ["docker", *arguments], cwd=ROOT, check=True, capture_output=True, text=True
        )
        return done.stdout.strip()

    image = docker("build", "--quiet", ".")
    container = docker("run", "--detach", "--read-only", image)
    try:
        check = ["exec", container, *DOCKERFILE.healthcheck()]
        logs = subprocess.Popen(
            ["docker", "logs", "--follow", container],
            stderr=subprocess.PIPE,
            text=True,
        )
        assert logs.stderr is not None
        assert any("st8d listening on" in line for line in logs.stderr)
        logs.kill()
        logs.communicate()
        docker(*check)
        (state,) = json.loads(docker("inspect", container))
        assert "65532:65532" == state["Config"]["User"]
    finally:
        docker("rm", "--force", "--volumes", container)
