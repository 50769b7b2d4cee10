"""The guides run as printed: every command, with the output that is shown.

A block in ``sh`` is run, where the one before it has left off. One in ``text`` behind
it is what it prints, times apart; a second one is what the program in the background
prints. A block is a file if the words before it end with its name and a colon. A
block that ends with ``st8d …`` or ``python …`` on a line of its own goes on in the
background; a st8d ends the one before that listened at the same place. A block in
``sql`` is run on a PostgreSQL with every right; what the page calls ``db.internal`` is
that server. What can't be run here, under the headings of ``NOT_RUN``, is held against
what it is about.
"""

from __future__ import annotations

import re
import shlex
import subprocess
from contextlib import closing
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import pytest
import trustme
import yaml

from st8 import config
from st8.core import limits
from st8.engine.engine import DEFAULT_CACHE_BYTES
from st8.http.state_lane import RESPONSES_BYTES
from st8.store.postgres.connections import CONNECTIONS_MAX
from tests.docs.shell import ROOT, Shell, free_port, on_loopback, without_times
from tests.packaging.dockerfile import DOCKERFILE
from tests.packaging.renderer import has_helm, render
from tests.postgres.server import PostgresServer

if TYPE_CHECKING:
    from collections.abc import Iterator

FOLDER = ROOT / "docs"
# The one with a test of its own.
GUIDES = sorted(set(FOLDER.glob("guide-*.md")) - {FOLDER / "guide-first-steps.md"})
NOT_RUN = {"Under systemd", "In a container", "In Kubernetes", "Prometheus and Grafana"}

_DAEMON = r"^st8d -[^|>&]*\Z"
_LISTEN = re.compile(r"--listen (\S+)")
_DATABASE = "db.internal"
_PROGRAM = r"\A(?:\w+=\S+ )?python \w+\.py\n\Z"


class Block(NamedTuple):
    """A fenced block: its heading, the words before it, its language and its text."""

    heading: str
    words: str
    language: str
    text: str

    @property
    def file(self) -> str | None:
        """The name of the file that it is, if the words before it give one."""
        found = re.search(
            r"`([^`\s]+\.[a-z]+)`(?: and the like)?:$", self.words.strip()
        )
        return None if found is None else found[1]


def blocks_of(page: Path) -> Iterator[Block]:
    """Yield the blocks of a page, in order."""
    heading = words = ""
    for match in re.finditer(
        r"^#+ (?P<heading>.+)\n"
        r"|^```(?P<language>\w*)\n(?P<text>(?:.*\n)*?)```\n"
        r"|^(?P<words>.*)\n",
        page.read_text(encoding="utf-8"),
        re.MULTILINE,
    ):
        if match["heading"]:
            heading, words = match["heading"], ""
        elif match["language"] is None:
            words += (match["words"] or "") + "\n"
        else:
            yield Block(heading, words, match["language"], match["text"])
            words = ""


class Reader:
    """Somebody who does what a guide says, in one shell."""

    def __init__(self, shell: Shell, server: PostgresServer | None = None) -> None:
        self.shell = shell
        self._server = server
        self._folder = shell.home
        self._printed: str | None = None  # None: it has been compared
        self._program: subprocess.Popen[str] | None = None
        self._daemons: dict[str, int] = {}  # process ids by where they listen

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        self._end_program()
        if kind is None:
            for pid in self._daemons.values():
                assert 0 == self.shell.stop(pid)

    def read(self, block: Block) -> None:
        """Do what a block says, or compare it with what was printed."""
        if block.language == "text":
            self._compare(block.text)
        elif block.file is not None:
            self._write(block.file, block.text)
        elif block.language == "sql":
            assert self._server is not None
            self._server.run(*block.text.split(";\n")[:-1])
        elif block.language != "sh":
            raise AssertionError(f"a block in {block.language!r} that is no file")
        elif re.search(_DAEMON, block.text.replace("\\\n", ""), re.MULTILINE):
            self._start(block.text)
        elif re.search(_PROGRAM, block.text):
            self._start_program(block.text)
        else:
            self._run(block.text)

    def _compare(self, text: str) -> None:
        expected = self.shell.as_run(text)
        if self._printed is None:
            assert self._program is not None
            assert self._program.stdout is not None
            lines = expected.splitlines()
            assert lines == [
                self._program.stdout.readline().rstrip("\n") for _ in lines
            ]
            return
        # A block ends with a newline, even if what it shows does not.
        actual = self._printed.removesuffix("\n") + "\n"
        assert without_times(expected) == without_times(actual)
        self._printed = None

    def _write(self, name: str, text: str) -> None:
        base = self.shell.home if name.startswith("~/") else self._folder
        path = base / self.shell.as_run(name).removeprefix("~/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o600)
        path.write_text(self.shell.as_run(text), encoding="utf-8")

    def _start(self, text: str) -> None:
        found = _LISTEN.search(text)
        listen = "" if found is None else found[1]
        before = self._daemons.pop(listen, None)
        if before is not None:
            assert 0 == self.shell.stop(before)
        self._daemons[listen] = self.shell.start(text)
        self._printed = ""

    def _start_program(self, text: str) -> None:
        self._end_program()
        self._program = subprocess.Popen(
            ["sh", "-ec", f"exec env {self.shell.as_run(text)}"],
            cwd=self._folder,
            env=self.shell._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._printed = None

    def _end_program(self) -> None:
        if self._program is not None:
            self._program.kill()
            self._program.communicate()
        self._program = None

    def _run(self, text: str) -> None:
        place = self.shell.home / ".place"
        script = f'cd "{self._folder}"\n{text}\npwd > "{place}"\n'
        done = self.shell.run(script)
        assert 0 == done.code, f"{text}\n{done.output}{done.errors}"
        self._folder = self._folder / place.read_text(encoding="utf-8").strip()
        self._printed = done.output


@pytest.fixture
def database(guide: Path) -> Iterator[PostgresServer | None]:
    """A PostgreSQL of the guide's own, if the guide speaks of one."""
    if _DATABASE not in guide.read_text(encoding="utf-8"):
        yield None
        return
    with closing(PostgresServer()) as server:
        yield server


@pytest.mark.timeout(120)
@pytest.mark.parametrize("guide", GUIDES, ids=lambda guide: guide.name)
def test_guide_runs_as_printed(
    guide: Path, tmp_path: Path, database: PostgresServer | None
) -> None:
    """Every command of the guide succeeds and prints what the guide shows."""
    port = free_port()
    replace = on_loopback(port) | {
        '":8748"': f'"127.0.0.1:{port}"',
        "127.0.0.1:8749": f"127.0.0.1:{free_port()}",
        "/etc/st8d": str(tmp_path / "etc"),
        "/var/lib/st8d": str(tmp_path / "state"),
        "/var/log/st8d": str(tmp_path / "log"),
    }
    (tmp_path / "log").mkdir()
    _certify(tmp_path / "etc")
    blocks = [block for block in blocks_of(guide) if block.heading not in NOT_RUN]
    assert blocks
    if database is not None:
        replace[_DATABASE] = f"127.0.0.1:{database.port}"
    with Shell(tmp_path, replace) as shell, Reader(shell, database) as reader:
        for block in blocks:
            reader.read(block)


def _certify(folder: Path) -> None:
    """Lay down what the guides take from whoever signs certificates."""
    folder.mkdir()
    authority = trustme.CA()
    server = authority.issue_cert("127.0.0.1")
    client = authority.issue_cert(common_name="deployer")
    authority.cert_pem.write_to_path(str(folder / "ca.crt"))
    for name, certificate in {"server": server, "client": client}.items():
        (folder / f"{name}.key").touch(mode=0o600)
        certificate.private_key_pem.write_to_path(str(folder / f"{name}.key"))
        for number, blob in enumerate(certificate.cert_chain_pems):
            blob.write_to_path(str(folder / f"{name}.crt"), append=number > 0)


# --- the workflow ---------------------------------------------------------------


def _workflow() -> dict[Any, Any]:
    (block,) = [
        block
        for block in blocks_of(FOLDER / "guide-ci-cd.md")
        if block.file is not None and "workflows" in block.file
    ]
    found: dict[Any, Any] = yaml.safe_load(block.text)
    return found


def test_workflow_runs_the_scripts_of_the_guide() -> None:
    """Each step runs a script that the guide has, with as many arguments as it takes."""
    blocks = list(blocks_of(FOLDER / "guide-ci-cd.md"))
    scripts = {block.file: block.text for block in blocks if block.language == "sh"}
    jobs = _workflow()["jobs"]

    for name, job in jobs.items():
        checkout, run = job["steps"]
        assert checkout["uses"].startswith("actions/checkout@")
        program, script, *arguments = run["run"].split()
        assert "$ST8CTL" == program
        taken = re.findall(r"\w+=\$(\d)", scripts[script])
        assert len(arguments) == len(taken), name
        assert all(
            f'"${variable}"' in arguments
            for variable in job["env"]
            if variable != "ST8_TOKEN"
        )


def test_workflow_passes_what_st8ctl_reads() -> None:
    """Every variable that the container is given is set, and st8ctl reads it."""
    workflow = _workflow()
    passed = set(re.findall(r"--env (\w+)", workflow["env"]["ST8CTL"]))
    configuration = (FOLDER / "configuration.md").read_text(encoding="utf-8")

    for job in workflow["jobs"].values():
        assert set() == passed - set(workflow["env"]) - set(job["env"])
    for name in passed:
        assert f"`{name}`" in configuration


def test_workflow_runs_one_job_an_event() -> None:
    """Pull requests show, pushes apply, with a token each, one at a time."""
    workflow = _workflow()
    jobs = workflow["jobs"]
    tokens = {job["env"]["ST8_TOKEN"] for job in jobs.values()}

    assert {"pull_request", "push"} == set(workflow[True])  # YAML 1.1 reads "on" so
    assert {"diff", "apply"} == set(jobs)
    assert 2 == len(tokens)
    assert workflow["concurrency"]["cancel-in-progress"] is False
    for job in jobs.values():
        assert all("github.event" not in step.get("run", "") for step in job["steps"])


# --- what can't be run here -------------------------------------------------------


def _commands(heading: str, guide: str = "production") -> list[list[str]]:
    """Return the commands under a heading of a guide, as words."""
    texts = [
        block.text
        for block in blocks_of(FOLDER / f"guide-{guide}.md")
        if (block.heading, block.language) == (heading, "sh")
    ]
    assert texts
    joined = "".join(texts).replace("\\\n", "")
    return [shlex.split(line) for line in joined.splitlines()]


def test_what_is_installed_is_there() -> None:
    """Each file of this project that the guide installs exists, as what it is."""
    installed = {
        Path(words[-1]): words[-2]
        for words in _commands("Under systemd")
        if words[0] == "install" and words[-2].startswith("deploy/")
    }

    assert all((ROOT / source).is_file() for source in installed.values())
    for target, source in installed.items():
        text = (ROOT / source).read_text(encoding="utf-8")
        # The first line of a file that has a place of its own says where that is.
        assert str(target) in text.splitlines()[0] or target.suffix == ".service"


def test_owners_are_those_of_the_unit() -> None:
    """Secrets are given to the user whom the unit runs as."""
    unit = (ROOT / "deploy/systemd/st8d.service").read_text(encoding="utf-8")
    given = [words for words in _commands("Under systemd") if "-o" in words]

    assert given
    for words in given:
        assert f"\nUser={words[words.index('-o') + 1]}\n" in unit
        assert f"\nGroup={words[words.index('-g') + 1]}\n" in unit


def test_container_is_run_with_flags_of_st8d() -> None:
    """What stands behind the image is what st8d takes, on the image's volume."""
    build, run, _ = _commands("In a container")
    image = build[build.index("--tag") + 1]
    settings = config.load(run[run.index(image) + 1 :], {})
    volumes = [
        words[1].split(":")[1] for words in pairwise(run) if words[0] == "--volume"
    ]

    assert not settings.state_dir.is_absolute()
    assert {DOCKERFILE.last("WORKDIR"), "/etc/st8d"} == set(volumes)
    assert settings.tls is not None
    assert Path("/etc/st8d/policy.yaml") == settings.auth_config
    assert "-" == settings.audit_log
    assert f"--publish {DOCKERFILE.last('EXPOSE')}:8748" in " ".join(run)


def _rendered_of(guide: str) -> dict[str, dict[str, Any]]:
    """Return what the chart makes of the values that a guide sets, by kind."""
    commands = _commands("In Kubernetes", guide)
    (install,) = [words for words in commands if words[0] == "helm"]
    values: dict[str, Any] = {}
    for words in pairwise(install):
        if words[0] == "--set":
            path, _, text = words[1].partition("=")
            *folders, last = path.split(".")
            inner = values
            for folder in folders:
                inner = inner.setdefault(folder, {})
            number = int(text) if text.isdigit() else text
            inner[last] = True if text == "true" else number
    return {document["kind"]: document for document in render(values)}


@pytest.mark.skipif(not has_helm(), reason="neither helm-python-sdk nor helm is here")
def test_chart_takes_the_values_of_the_guide() -> None:
    """What the guide sets are values of the chart, and come to what it says."""
    kinds = _rendered_of("production")
    created = [words[4] for words in _commands("In Kubernetes") if words[1] == "create"]
    volumes = kinds["StatefulSet"]["spec"]["template"]["spec"]["volumes"]

    assert {"NetworkPolicy", "PersistentVolumeClaim", "Service"} <= set(kinds)
    assert created == [
        volume["secret"]["secretName"] for volume in volumes if "secret" in volume
    ]


def test_prometheus_and_the_alerts_speak_of_one_job() -> None:
    """The job of the guide is the one that the alerts ask for."""
    (block,) = [
        block
        for block in blocks_of(FOLDER / "guide-production.md")
        if block.heading == "Prometheus and Grafana"
    ]
    (job,) = yaml.safe_load(block.text)["scrape_configs"]
    rules = (ROOT / "deploy/prometheus/alerts.yaml").read_text(encoding="utf-8")

    assert {job["job_name"]} == set(re.findall(r'job="(\w+)"', rules))


def test_sizes_are_those_of_the_code() -> None:
    """The numbers of the guide about memory and connections are those in force."""
    text = (FOLDER / "guide-production.md").read_text(encoding="utf-8")
    mib = 1024 * 1024
    caches = (DEFAULT_CACHE_BYTES + RESPONSES_BYTES) // mib
    unit = (ROOT / "deploy/systemd/st8d.service").read_text(encoding="utf-8")
    (files,) = re.findall(r"^LimitNOFILE=(\d+)$", unit, re.MULTILINE)

    assert f"up to {caches} MiB of caches" in text
    assert f"{limits.BODY_BYTES.maximum // mib} MiB, the largest" in text
    assert f"Up to {limits.CONNECTIONS.maximum:,} connections" in text
    assert int(files) > limits.CONNECTIONS.maximum


# --- scaling ----------------------------------------------------------------------

SCALING = (FOLDER / "guide-scaling.md").read_text(encoding="utf-8")


def _section(heading: str) -> str:
    """Return the text below a heading of the guide, up to the next one."""
    _, _, rest = SCALING.partition(f"# {heading}\n")
    return re.split(r"^#+ ", rest, maxsplit=1, flags=re.MULTILINE)[0]


def test_figures_are_those_that_were_measured() -> None:
    """Each ratio of the guide is the one of bench/RESULTS.md, on the machine named."""
    results = (ROOT / "bench" / "RESULTS.md").read_text(encoding="utf-8")
    text = _section("How far one daemon goes")
    ratios = re.findall(
        r"^\| (.+ / .+|.+ an fsync) \| ([\d.]+) \|$", text, re.MULTILINE
    )
    figures = re.findall(r"[\d.]+ (?:KiB|MiB|GiB|cores)", text)

    assert ratios
    assert [] == [one for one in ratios if "| {} | {} | ".format(*one) not in results]
    assert [] == [one for one in figures if one not in results]


def test_limits_are_those_in_force() -> None:
    """Each limit of the guide has the number that st8d holds to."""
    known = {limit.name: f"{limit.maximum:,}" for limit in limits.ALL}
    listed = re.findall(r"^\| `(\w+_max)` \| ([\d,]+) \|", SCALING, re.MULTILINE)

    assert listed
    assert listed == [(name, known[name]) for name, _ in listed]


def test_connections_to_postgresql_are_as_many_as_said() -> None:
    """A daemon has no more connections than the guide says."""
    assert f"up to {CONNECTIONS_MAX + 1} connections" in SCALING


def test_the_proxy_lets_pass_what_st8d_does() -> None:
    """What nginx is told leaves room for the longest wait, head and body."""
    (block,) = [
        block
        for block in blocks_of(FOLDER / "guide-scaling.md")
        if block.file == "st8d.conf"
    ]
    mib, kib = 1024 * 1024, 1024
    settings = dict(re.findall(r"^ *(\w+) +(.+?);", block.text, re.MULTILINE))

    assert limits.WAIT_SECONDS.maximum < int(settings["proxy_read_timeout"][:-1])
    assert limits.BODY_BYTES.maximum == int(settings["client_max_body_size"][:-1]) * mib
    _, size = settings["large_client_header_buffers"].split()
    assert limits.HEADER_BYTES.maximum == int(size[:-1]) * kib
    assert "off" == settings["proxy_buffering"]
    assert "1.1" == settings["proxy_http_version"]


@pytest.mark.skipif(not has_helm(), reason="neither helm-python-sdk nor helm is here")
def test_chart_makes_as_many_pods_as_the_scaling_guide_says() -> None:
    """What the guide sets gives pods that take the URL from the Secret that it makes."""
    kinds = _rendered_of("scaling")
    ((*_, name, secret),) = [
        words
        for words in _commands("In Kubernetes", "scaling")
        if words[0] == "kubectl"
    ]
    deployment = kinds["Deployment"]["spec"]
    (container,) = deployment["template"]["spec"]["containers"]
    (store,) = [one for one in container["env"] if one["name"] == "ST8D_STORE"]

    assert 2 == deployment["replicas"]
    assert "PodDisruptionBudget" in kinds
    assert {"name": name, "key": secret.split("=")[1]} == store["valueFrom"][
        "secretKeyRef"
    ]
