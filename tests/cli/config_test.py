"""``st8ctl config``: the file, its contexts, and what is in force."""

from __future__ import annotations

import json
import stat
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.st8ctl import Ended, St8ctl

TWO = (
    "# ours\n"
    "server:\n"
    "  url: http://127.0.0.1:1 # dev\n"
    "  token: dev-token\n"
    "contexts:\n"
    "  prod:\n"
    "    server: {url: 'https://127.0.0.1:2', token: prod-token}\n"
    "    defaults: {namespace: payments/prod}\n"
)


def place(st8ctl: St8ctl) -> Path:
    """Return where the file is, or would be."""
    return st8ctl.home / ".config" / "st8ctl" / "config.yaml"


def succeed(ended: Ended) -> str:
    """Return the output of a command that must have gone well."""
    assert (0, "") == (ended.code, ended.err)
    return ended.out


def test_init(st8ctl: St8ctl) -> None:
    """In a pipe, the file is made of the flags; a command then needs none."""
    path = place(st8ctl)
    args = ["--namespace", "payments/prod", "--token", "0123", "--timeout", "5s"]

    assert f"Made the file in {path}.\n" == succeed(st8ctl("config", "init", *args))
    assert (
        f"server:\n  url: {st8ctl.url}\n  token: '0123'\n  timeout: 5s\n"
        "defaults:\n  namespace: payments/prod\n"
    ) == path.read_text()
    assert 0o600 == stat.S_IMODE(path.stat().st_mode)
    succeed(st8ctl.bare("apply", "-v", "k=v"))
    assert "v" == st8ctl.bare("get", "k", "--namespace", "payments/prod").out


def test_init_without_a_daemon(st8ctl: St8ctl) -> None:
    """Without knowing the daemon, nothing is made; --local is one too."""
    code, out, err = st8ctl.bare("config", "init")

    assert (2, "") == (code, out)
    assert err.startswith("error: say where st8d is: --server URL, or --local; see")
    assert not place(st8ctl).exists()
    succeed(st8ctl.bare("config", "init", "--local"))
    assert "server:\n  url: local\n" == place(st8ctl).read_text()


def test_init_where_a_file_is(st8ctl: St8ctl) -> None:
    """A file or context that is there is replaced only when asked to."""
    path = st8ctl.configure(TWO)
    code, _, err = st8ctl("config", "init")
    assert 7 == code
    assert err.startswith(f"error: configuration file '{path}' exists; name a new con")
    code, _, err = st8ctl("config", "init", "--context", "prod")
    assert (
        7,
        (
            f"error: configuration file '{path}' has a context 'prod'; replace it with "
            "--force\n"
        ),
    ) == (code, err)
    assert TWO == path.read_text()

    succeed(st8ctl("config", "init", "--context", "prod", "--force"))
    assert (
        TWO.partition("  prod:\n")[0]
        + f"  prod:\n    server:\n      url: {st8ctl.url}\n"
    ) == path.read_text()
    succeed(st8ctl("config", "init", "--force"))
    assert f"server:\n  url: {st8ctl.url}\n" == path.read_text()


def test_init_where_a_broken_file_is(st8ctl: St8ctl) -> None:
    """A file that is no good gets no context; --force replaces it whole."""
    path = st8ctl.configure("broken: [\n")
    for args in (["--context", "a"], ["--context", "a", "--force"]):
        code, _, err = st8ctl("config", "init", *args)
        assert 7 == code
        assert err.startswith(f"error: configuration file '{path}', line 2: ")
    succeed(st8ctl("config", "init", "--force"))
    assert f"server:\n  url: {st8ctl.url}\n" == path.read_text()


def test_init_of_a_context(st8ctl: St8ctl) -> None:
    """The first context is the current one; the next ones wait to be used."""
    args = ["config", "init", "--context"]
    assert f"Made context 'a' in {place(st8ctl)}.\n" == succeed(st8ctl(*args, "a"))
    assert (
        f"Made context 'b' in {place(st8ctl)}; `st8ctl config use b` makes it the "
        "current one.\n"
    ) == succeed(st8ctl(*args, "b", "--branch", "x"))

    assert (
        f"default server=none namespace=default branch=main\n"
        f"a server={st8ctl.url} namespace=default branch=main *\n"
        f"b server={st8ctl.url} namespace=default branch=x\n"
    ) == succeed(st8ctl.bare("config", "list"))


def test_init_of_what_can_not_be(st8ctl: St8ctl) -> None:
    """A value that no command could start with is refused; nothing is written."""
    for args in (
        ["--server", "127.0.0.1"],
        ["--server", "http://x", "--timeout", "30"],
        ["--server", "http://x", "--namespace", "a\tb"],
        ["--server", "http://x", "--branch", " "],
        ["--server", "http://x", "--context", "default "],
        ["--server", "http://x", "--context", "a\nb"],
    ):
        assert (args, 7) == (args, st8ctl.bare("config", "init", *args).code)
    assert not place(st8ctl).exists()


def test_view(st8ctl: St8ctl, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is in force is shown with where it comes from; tokens are masked."""
    path = st8ctl.configure(TWO)
    monkeypatch.setenv("ST8_BRANCH", "draft")
    expected = (
        f"file: {path}\n"
        "context: default\n"
        "server.url: http://127.0.0.1:1  # the file\n"
        "server.token: ***  # the file\n"
        "server.dir: ~/.st8  # built in\n"
        "server.timeout: 1m  # --timeout\n"
        "defaults.namespace: default  # built in\n"
        "defaults.branch: draft  # ST8_BRANCH\n"
    )

    assert expected == succeed(st8ctl.bare("config", "view", "--timeout", "1m"))
    assert (
        "dev-token  # the file" in st8ctl.bare("config", "view", "--show-secrets").out
    )
    shown = succeed(st8ctl.bare("config", "view", "--context", "prod", "-o", "json"))
    assert "token" not in shown.replace("server.token", "")
    assert {
        "server.url": {"value": "https://127.0.0.1:2", "from": "context prod"},
        "server.token": {"value": "***", "from": "context prod"},
        "server.dir": {"value": "~/.st8", "from": "built in"},
        "server.timeout": {"value": "30s", "from": "built in"},
        "defaults.namespace": {"value": "payments/prod", "from": "context prod"},
        "defaults.branch": {"value": "draft", "from": "ST8_BRANCH"},
    } == json.loads(shown)["settings"]


def test_get(st8ctl: St8ctl) -> None:
    """One setting is written alone; one that is not set has exit code 3."""
    st8ctl.configure(TWO)

    assert "http://127.0.0.1:1\n" == succeed(st8ctl.bare("config", "get", "server.url"))
    assert "prod-token\n" == succeed(
        st8ctl.bare("config", "get", "server.token", "--context", "prod")
    )
    assert "30s\n" == succeed(st8ctl.bare("config", "get", "server.timeout"))
    assert (
        3,
        "",
        (
            "error: server.ca_file is not set; set it with `st8ctl config set "
            "server.ca_file VALUE`\n"
        ),
    ) == st8ctl.bare("config", "get", "server.ca_file")


def test_set(st8ctl: St8ctl) -> None:
    """A setting is changed in the context that counts; the rest stays as it is."""
    path = st8ctl.configure(TWO)
    assert f"Set server.url of the top in {path}.\n" == succeed(
        st8ctl.bare("config", "set", "server.url", "http://127.0.0.1:3")
    )
    assert f"Set defaults.branch of context 'prod' in {path}.\n" == succeed(
        st8ctl.bare("config", "set", "defaults.branch", "next", "--context", "prod")
    )

    assert (
        TWO.replace(":1 # dev", ":3 # dev").replace("prod}\n", "prod, branch: next}\n")
    ) == path.read_text()


def test_set_where_no_file_is(st8ctl: St8ctl) -> None:
    """Setting something makes the file, also one that --config names."""
    succeed(st8ctl.bare("config", "set", "server.url", "local"))
    succeed(
        st8ctl.bare("config", "set", "server.url", "local", "--config", "mine.yaml")
    )

    assert "server:\n  url: local\n" == place(st8ctl).read_text()
    assert "server:\n  url: local\n" == (st8ctl.folder / "mine.yaml").read_text()


def test_set_from_standard_input(
    st8ctl: St8ctl, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A token that is read with - never is an argument."""
    (st8ctl.folder / "token").write_text("s3cret\n")
    with (st8ctl.folder / "token").open() as file:
        monkeypatch.setattr("sys.stdin", file)
        succeed(st8ctl.bare("config", "set", "server.token", "-"))

    assert "server:\n  token: s3cret\n" == place(st8ctl).read_text()


@pytest.mark.parametrize(
    ("code", "args", "message"),
    [
        (2, ["server.ulr", "x"], "there is no setting 'server.ulr'; did you mean 'ser"),
        (
            2,
            ["zzz", "x"],
            "there is no setting 'zzz'; known are server.url, server.tok",
        ),
        (7, ["server.url", "x"], "server.url: 'x' is no http URL; write it like"),
        (7, ["server.timeout", "3"], "server.timeout: '3' is not a duration such as"),
        (7, ["server.token", ""], "server.token: must be a text of one line, and not"),
        (7, ["server.token", "a\nb"], "server.token: must be a text of one line"),
        (7, ["defaults.branch", "a "], "branch: 'a ' must not begin or end with whit"),
        (7, ["server.url", "local", "--context", "prd"], "configuration file "),
        (7, ["server.token_file", "x"], "configuration file "),
    ],
)
def test_set_what_can_not_be(
    st8ctl: St8ctl, code: int, args: list[str], message: str
) -> None:
    """What would be no good is told with the remedy, and the file stays as it is."""
    path = st8ctl.configure(TWO)
    actual, out, err = st8ctl.bare("config", "set", *args)

    assert (code, "") == (actual, out)
    assert err.startswith(f"error: {message}")
    assert TWO == path.read_text()


def test_contexts_that_are_not_there(st8ctl: St8ctl) -> None:
    """An unknown context is told the nearest, wherever it is named."""
    path = st8ctl.configure(TWO)
    expected = (
        7,
        "",
        (
            f"error: configuration file '{path}' has no context 'prd'; did you mean "
            "'prod'?\n"
        ),
    )

    assert expected == st8ctl.bare("config", "use", "prd")
    assert expected == st8ctl.bare("config", "view", "--context", "prd")
    assert expected == st8ctl.bare("config", "list", "--context", "prd")
    assert expected == st8ctl.bare("get", "--context", "prd")


def test_unset(st8ctl: St8ctl) -> None:
    """A setting is removed, and only it."""
    path = st8ctl.configure(TWO)
    assert f"Removed server.token of the top in {path}.\n" == succeed(
        st8ctl.bare("config", "unset", "server.token")
    )

    left = TWO.replace("  token: dev-token\n", "")
    assert left == path.read_text()

    assert f"server.token is not set in the top of {path}.\n" == succeed(
        st8ctl.bare("config", "unset", "server.token")
    )
    assert left == path.read_text()


def test_use_and_list(st8ctl: St8ctl, monkeypatch: pytest.MonkeyPatch) -> None:
    """A context is made the one that counts; the variable and the flag beat it."""
    path = st8ctl.configure(TWO)
    assert "Context prod counts now.\n" == succeed(st8ctl.bare("config", "use", "prod"))
    assert TWO + "current: prod\n" == path.read_text()
    prod = "prod server=https://127.0.0.1:2 namespace=payments/prod branch=main"
    assert [prod + " *"] == succeed(st8ctl.bare("config", "list")).splitlines()[1:]

    monkeypatch.setenv("ST8_CONTEXT", "default")
    assert [prod] == succeed(st8ctl.bare("config", "list")).splitlines()[1:]
    assert [
        {"name": "default", "current": False},
        {"name": "prod", "current": True},
    ] == [
        {"name": found["name"], "current": found["current"]}
        for found in json.loads(
            succeed(st8ctl.bare("config", "list", "--context", "prod", "-o", "json"))
        )["contexts"]
    ]
    assert "Context default counts now.\n" == succeed(
        st8ctl.bare("config", "use", "default")
    )
    assert TWO + "current: default\n" == path.read_text()
