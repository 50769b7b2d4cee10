"""The reference pages say what is there, all of it and nothing else.

docs/http.md, docs/cli.md and docs/configuration.md are compared with the tables that
the programs themselves are made from.
"""

from __future__ import annotations

import inspect
import json
import re
import urllib.error
import urllib.request
from contextlib import closing
from typing import TYPE_CHECKING, Any

import click
import msgspec
import pytest

from st8 import Client, config
from st8.cli import config_file, root
from st8.cli.command import Group
from st8.cli.flags import GLOBAL_OPTIONS, VARIABLES
from st8.clock import SystemClock
from st8.config.migration import FLAGS
from st8.config.verification import VERIFY_FLAGS
from st8.core import errors, limits
from st8.daemon import serve_engine
from st8.engine import Engine
from st8.http import shapes, wire
from st8.http.operations import ALWAYS, EVERY_METHOD, OPERATIONS, Operation
from st8.store.memory import MemoryStore
from tests.docs.shell import ROOT, blocks_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

HTTP = ROOT / "docs" / "http.md"
CLI = ROOT / "docs" / "cli.md"
CONFIGURATION = ROOT / "docs" / "configuration.md"

_CODE = re.compile(r"`([^`\n]+)`")


def _sections(page: str, level: str) -> dict[str, str]:
    """Return the text below each heading of a level, up to the next heading."""
    parts = re.split(rf"^({level} .+)\n", page, flags=re.MULTILINE)
    return {
        title.removeprefix(f"{level} "): re.split(r"^#+ ", body, flags=re.MULTILINE)[0]
        for title, body in zip(parts[1::2], parts[2::2], strict=True)
    }


def _first_cells(text: str, head: str = "") -> list[str]:
    """Return the code in the first column of the tables that have this head."""
    found: list[str] = []
    for table in re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE):
        first, _, *rows = [line.split("|")[1] for line in table.splitlines()]
        if not head or first.strip() == head:
            found += [code for row in rows for code in _CODE.findall(row)]
    return found


def _fields(kind: type[msgspec.Struct]) -> list[str]:
    """Return the names of a struct's fields as they are written."""
    return [field.encode_name for field in msgspec.structs.fields(kind)]


# --- HTTP -----------------------------------------------------------------------


def _title(operation: Operation) -> str:
    method = "any" if operation.method == EVERY_METHOD else operation.method
    return f"{method} {operation.path}"


ROUTES = _sections(HTTP.read_text(encoding="utf-8"), "###")
PARTS: dict[str, type[msgspec.Struct]] = {
    "Scope": wire.ScopeBody,
    "Document": wire.DocumentBody,
    "Selector": wire.SelectorBody,
    "Change": shapes.ChangeInfo,
    "Log entry": shapes.LogEntry,
    "Branch": shapes.BranchInfo,
    "Checkpoint": shapes.CheckpointInfo,
    "Namespace": shapes.NamespaceInfo,
    "Place": shapes.Place,
    "Head": wire.HeadBody,
}


def test_page_has_every_route_and_no_other() -> None:
    """Each operation of the table has its section, and each section its operation."""
    expected = {_title(operation) for operation in OPERATIONS}

    assert sorted(expected) == sorted(set(ROUTES) - set(PARTS))


@pytest.mark.parametrize("operation", OPERATIONS, ids=_title)
def test_route_is_described_as_it_is(operation: Operation) -> None:
    """A route's section has its parameters, fields, headers and errors, and no other."""
    text = ROUTES[_title(operation)]
    body = [] if operation.body is None else _fields(operation.body)

    assert _fields(operation.query) == _first_cells(text, "parameter")
    assert body == _first_cells(text, "field")
    answer = _first_cells(text, "answer")
    if answer:
        assert not isinstance(operation.answer, str)
        assert _fields(operation.answer) == answer
    elif not isinstance(operation.answer, str):
        referred: dict[type[shapes.Shape], str] = {
            shapes.CheckpointInfo: "with a [Checkpoint](#checkpoint)",
            shapes.Result: "as [apply](#post-v1apply)",
            shapes.Nothing: "`{}`",
        }
        assert f"Answers {referred[operation.answer]}" in " ".join(text.split())
    assert operation.idempotent == ("header `Idempotency-Key`" in text)
    assert operation.conditional == ("header `If-None-Match`" in text)


@pytest.mark.parametrize("operation", OPERATIONS, ids=_title)
def test_route_names_its_errors(operation: Operation) -> None:
    """What is said of all reads, of all writes and of the route are its errors."""
    problem = " ".join(
        _sections(HTTP.read_text(encoding="utf-8"), "##")["Problem"].split()
    )
    reads = set(_CODE.findall(_sentence(problem, "Every read ")))
    writes = reads | set(_CODE.findall(_sentence(problem, "Every write ")))
    _, _, listed = ROUTES[_title(operation)].partition("Errors: ")
    said = set(_CODE.findall(listed))
    if operation.path.startswith("/v1/") and operation.name not in {
        "version",
        "verify",
    }:
        said |= reads if operation.verb == "read" else writes

    assert {error.code for error in operation.errors} == said
    any_request = problem.partition("Any request ")[2].partition("Every read ")[0]
    assert {kind.code for kind in ALWAYS} <= set(_CODE.findall(any_request))
    others = {kind.code for kind in operation.all_errors()} - said
    assert others <= set(_CODE.findall(any_request))


def _sentence(text: str, start: str) -> str:
    """Return the sentence that begins so."""
    return text.partition(start)[2].partition(". ")[0]


@pytest.mark.parametrize("name", PARTS)
def test_parts_of_bodies_are_described_as_they_are(name: str) -> None:
    """Each part has its fields, and no other."""
    assert _fields(PARTS[name]) == _first_cells(ROUTES[name])


def test_problem_is_described_as_it_is() -> None:
    """The fields of a problem are those that every error has."""
    text = _sections(HTTP.read_text(encoding="utf-8"), "##")["Problem"]

    assert _fields(shapes.Problem) == _first_cells(text)
    assert list(errors.InternalError("x").problem()) == _first_cells(text)


def test_page_has_every_error() -> None:
    """Every code stands in the list, with its status, exit code and retryability."""
    text = _sections(HTTP.read_text(encoding="utf-8"), "##")["Errors"]
    actual = re.findall(
        r"^\| `(\w+)` \| (\d+) \| (\d+) \| (yes|no) \|", text, re.MULTILINE
    )

    assert [
        (
            code,
            str(kind.http_status),
            str(kind.exit_code),
            "yes" if kind.retryable else "no",
        )
        for code, kind in errors.CLASSES.items()
    ] == actual


def test_page_has_every_limit() -> None:
    """Every limit stands in the list, with its number and its reason."""
    text = _sections(HTTP.read_text(encoding="utf-8"), "##")["Limits"]

    assert [
        (limit.name, f"{limit.maximum:,}", limit.reason) for limit in limits.ALL
    ] == re.findall(r"^\| `(\w+)` \| ([\d,]+) \| (.+) \|$", text, re.MULTILINE)


@pytest.fixture
def url() -> Iterator[str]:
    """The address of a daemon that nothing was applied to."""
    engine = Engine(MemoryStore(), SystemClock())
    with closing(engine), serve_engine(engine) as address:
        yield address


def _exchange(url: str, text: str) -> Any:
    """Send a request as the page prints it; return the JSON of the answer."""
    first, _, body = text.partition("\n")
    method, _, target = first.partition(" ")
    request = urllib.request.Request(  # noqa: S310 - our own
        url + target, method=method, data=body.encode() or None
    )
    try:
        with urllib.request.urlopen(request) as answer:  # noqa: S310 - our own
            return json.loads(answer.read())
    except urllib.error.HTTPError as error:
        with error:
            return json.loads(error.read())


def _timeless(answer: dict[str, Any]) -> dict[str, Any]:
    """Return an answer without its time, and the digest that covers the time."""
    return {
        name: "" if name in {"created_at", "digest"} else value
        for name, value in answer.items()
    }


def test_exchanges_are_answered_as_printed(url: str) -> None:
    """The exchanges of the page have the answers it shows, times and digests apart."""
    answer: Any = None
    compared = 0
    for block in blocks_of(HTTP):
        if block.language == "http":
            answer = _exchange(url, block.text)
        elif block.language == "json":
            assert _timeless(json.loads(block.text)) == _timeless(answer)
            compared += 1

    assert 3 == compared


def test_metrics_of_the_page_are_there(url: str) -> None:
    """The metrics of the page are those of the daemon, with their labels."""
    text = _sections(HTTP.read_text(encoding="utf-8"), "##")["Metrics"]
    expected: dict[str, set[str]] = {}
    for row in re.findall(r"^\| `st8_.*$", text, re.MULTILINE):
        names, labels = (_CODE.findall(cell) for cell in row.split("|")[1:3])
        expected |= {name: set(labels) for name in names}
    with Client(url) as client:
        client.apply({"a": "b"})
        client.state()
    with urllib.request.urlopen(f"{url}/metrics") as answer:  # noqa: S310 - our own
        lines = answer.read().decode().splitlines()
    actual: dict[str, set[str]] = {}
    for line in lines:
        match = re.match(r"(st8_\w+?)(?:_bucket|_sum|_count)?(?:\{(.*)\})? ", line)
        if match and not line.startswith("#"):
            labels = re.findall(r"(\w+)=", match[2] or "")
            actual.setdefault(match[1], set()).update(set(labels) - {"le"})

    assert expected == actual


# --- st8ctl ---------------------------------------------------------------------

COMMANDS = _sections(CLI.read_text(encoding="utf-8"), "##")


def _commands(command: click.Command, name: str) -> Iterator[tuple[str, click.Command]]:
    """Yield every command that does something, with its whole name."""
    if not isinstance(command, Group):
        yield name, command
        return
    context = click.Context(command, info_name=name)
    for sub in command.list_commands(context):
        found = command.get_command(context, sub)
        assert found is not None
        yield from _commands(found, f"{name} {sub}")


ALL_COMMANDS = dict(_commands(root.ROOT, "st8ctl"))


def test_page_has_every_command_and_no_other() -> None:
    """Each command has its section, and each section its command."""
    assert sorted(ALL_COMMANDS) == sorted(
        title for title in COMMANDS if title.startswith("st8ctl ")
    )


@pytest.mark.parametrize("name", ALL_COMMANDS)
def test_command_is_described_as_it_is(name: str) -> None:
    """A command's section has its flags and its arguments, and no other flag."""
    command = ALL_COMMANDS[name]
    own = [p for p in command.params if p not in GLOBAL_OPTIONS]
    text = COMMANDS[name]
    flags = [flag for p in own if isinstance(p, click.Option) for flag in p.opts]
    usage = re.search(r"^```text\n(.+)\n```$", text, re.MULTILINE)
    assert usage is not None
    arguments = [p.make_metavar() for p in own if isinstance(p, click.Argument)]

    assert flags == _first_cells(text, "flag")
    assert name == re.sub(r"\[(create|list)\]", r"\1", usage[1]).partition(" [")[0]
    assert [*name.split()[1:], "[flags]", *arguments] == re.sub(
        r"\[(create|list)\]", r"\1", usage[1]
    ).split()[1:]


def test_page_has_every_global_flag() -> None:
    """The flags that stand anywhere are listed, with their defaults."""
    text = COMMANDS["Where it talks to"]
    expected = [flag for option in GLOBAL_OPTIONS for flag in option.opts]

    assert expected == _first_cells(text, "flag")
    for option in GLOBAL_OPTIONS:
        default = re.search(r"\[(.+)\]", option.help or "")
        if default:
            start = f"| `{option.opts[0]}`"
            row = next(r for r in text.splitlines() if r.startswith(start))
            assert f"| `{default[1]}` |" in row


def test_page_has_every_exit_code() -> None:
    """The exit codes are those of the errors, of wrong usage and of signals."""
    listed = re.findall(r"^\| (\d+) \|", COMMANDS["What it prints"], re.MULTILINE)
    documented = re.findall(r"(\d+) [a-z]", inspect.getdoc(root) or "")
    known = {str(kind.exit_code) for kind in errors.CLASSES.values()}

    assert documented == listed
    assert set() == known - set(listed)


# --- settings -------------------------------------------------------------------

SETTINGS = _sections(CONFIGURATION.read_text(encoding="utf-8"), "##")


def test_page_has_every_flag_of_the_daemon() -> None:
    """The flags of st8d are listed in order, each with its default and variable."""
    text = SETTINGS["st8d"]
    expected = [f"--{setting.name}" for setting in config.SETTINGS]

    assert [*expected, "--version", "--help"] == _first_cells(text, "flag")
    for setting in config.SETTINGS:
        default = f"`{setting.default}`" if setting.default else ""
        row = f"| `--{setting.name}` {setting.metavar} | {default} | "
        assert row.replace("|  |", "| |") + f"`{setting.variable}` | " in text


def test_page_has_every_flag_of_verify() -> None:
    """The flags of st8d verify are listed, each with its default and its help."""
    page = _sections(CONFIGURATION.read_text(encoding="utf-8"), "###")
    rows = [
        f"| `--{name}`{' ' * bool(s.metavar)}{s.metavar} | "
        f"{f'`{s.default}` ' if s.default else ''}| {s.help} |"
        for name, s in VERIFY_FLAGS.items()
    ]

    assert rows == re.findall(r"^\| `--.+$", page["Verify a store"], re.MULTILINE)


def test_page_has_every_flag_of_migrate() -> None:
    """The flags of st8d migrate are listed, each with its variable."""
    page = _sections(CONFIGURATION.read_text(encoding="utf-8"), "###")
    rows = re.findall(
        r"^\| `--(\S+)` STORE \| `(\w+)` \| (.+) \|$",
        page["Move a store"],
        re.MULTILINE,
    )

    assert [(name, s.variable, s.help) for name, s in FLAGS.items()] == rows


def test_page_has_every_other_variable_of_the_daemon() -> None:
    """The variables that st8d reads beside its settings are listed."""
    source = (ROOT / "src" / "st8" / "config" / "reading.py").read_text("utf-8")
    read = re.findall(r'(?:get|number)\("([A-Z_]+)"', source)

    assert sorted(read) == sorted(_first_cells(SETTINGS["st8d"], "other variable"))


def test_example_of_the_daemons_file_is_read(tmp_path: Path) -> None:
    """The example of the page is a file that st8d takes."""
    (block,) = [
        b
        for b in blocks_of(CONFIGURATION)
        if b.language == "yaml" and "state-dir:" in b.text
    ]
    path = tmp_path / "st8d.yaml"
    path.write_text(block.text, encoding="utf-8")
    settings = config.load(["--config", str(path)], {})

    assert [":8748", "unix:/run/st8/st8d.sock"] == [str(a) for a in settings.listen]


def test_page_has_every_setting_of_the_command_line() -> None:
    """The settings of st8ctl's file are listed, and those of the example are known."""
    expected = [
        f"{section}.{name}"
        for section, names in config_file.KNOWN.items()
        for name in names
    ]

    assert expected == _first_cells(SETTINGS["st8ctl"], "setting")


def test_example_of_the_file_is_read(tmp_path: Path) -> None:
    """The example of the page is a file that st8ctl takes, with every setting."""
    (block,) = [
        b
        for b in blocks_of(CONFIGURATION)
        if b.language == "yaml" and "defaults:" in b.text
    ]
    path = tmp_path / "config.yaml"
    path.write_text(block.text, encoding="utf-8")
    file = config_file.load(str(path))

    listed = _first_cells(SETTINGS["st8ctl"], "setting")
    assert ["default", "prod"] == list(file.contexts)
    assert [
        name
        for name in listed
        if name != "server.token"  # or token_file, not both
    ] == list(file.contexts["default"])


def test_page_has_every_variable_of_the_command_line() -> None:
    """The variables of st8ctl are listed."""
    text = _sections(CONFIGURATION.read_text(encoding="utf-8"), "###")
    listed = set(_first_cells(text["What beats what"], "variable"))

    assert set(VARIABLES) == {name for name in listed if name.startswith("ST8_")} - {
        "ST8_PAGER"
    }


def test_page_has_every_argument_of_the_client() -> None:
    """The arguments of the library's client are listed, each with its default."""
    text = SETTINGS["The library"]
    parameters = inspect.signature(Client).parameters.values()

    assert [p.name for p in parameters] == _first_cells(text, "argument")
    for parameter in parameters:
        if isinstance(parameter.default, int | float):
            assert f"| `{parameter.name}` | {parameter.default:g} |" in text
