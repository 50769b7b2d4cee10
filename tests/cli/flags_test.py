"""The global flags: anywhere, against the configuration file, against each other."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click
import pytest

from st8.cli.command import FLAGS_WITHOUT_VALUE
from st8.cli.root import ROOT
from st8.testing.server import running_server
from tests.client.certified import Certified
from tests.client.scripted import always, answer, scripted

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.cli.st8ctl import St8ctl


def commands(group: click.Group, ctx: click.Context) -> Iterator[click.Command]:
    """Yield every command below ``group``, and itself."""
    yield group
    for name in group.list_commands(ctx):
        found = group.get_command(ctx, name)
        assert found is not None
        if isinstance(found, click.Group):
            yield from commands(found, ctx)
        else:
            yield found


@pytest.mark.parametrize(
    "order",
    [
        ["--namespace", "n", "--branch=b", "get", "k"],
        ["get", "k", "--namespace=n", "--branch", "b"],
        ["get", "--namespace", "n", "k", "--branch", "b"],
        ["--branch", "b", "get", "--namespace", "n", "--", "k"],
        ["--namespace", "x", "get", "k", "--namespace", "n", "--branch", "b"],
    ],
)
def test_anywhere(st8ctl: St8ctl, order: list[str]) -> None:
    """Global flags stand before, behind or between; the last of two counts."""
    st8ctl("apply", "-v", "k=v", "--namespace", "n", "--branch", "b")

    assert (0, "v", "") == st8ctl(*order)


@pytest.mark.parametrize(
    "order",
    [
        ["--namespace", "n", "branch", "create", "x"],
        ["branch", "--namespace", "n", "create", "x"],
        ["branch", "create", "--namespace", "n", "x"],
        ["branch", "create", "x", "--namespace", "n"],
        ["--revision", "1", "branch", "--namespace", "n", "create", "x"],
    ],
)
def test_anywhere_around_subcommands(st8ctl: St8ctl, order: list[str]) -> None:
    """So do they around the name of a subcommand."""
    st8ctl("apply", "-v", "k=v", "--namespace", "n")

    assert (0, "Created branch x at revision 1.\n", "") == st8ctl(*order)


def test_words_that_look_like_commands(st8ctl: St8ctl) -> None:
    """The value of a flag is never taken for a command."""
    assert 0 == st8ctl("--namespace", "get", "apply", "-v", "apply=1").code
    assert (0, "1", "") == st8ctl("--namespace", "get", "get", "apply")


def test_flags_without_value_are_known() -> None:
    """Every flag that takes no value is listed, so that words behind it are words."""
    with ROOT.make_context("st8ctl", []) as ctx:
        actual = {
            name
            for command in commands(ROOT, ctx)
            for param in command.get_params(ctx)
            if isinstance(param, click.Option) and param.is_flag
            for name in param.opts
        }

    assert actual == FLAGS_WITHOUT_VALUE


def test_no_daemon_named(st8ctl: St8ctl) -> None:
    """Without a daemon there is nothing to talk to; the three ways out are named."""
    place = st8ctl.home / ".config" / "st8ctl" / "config.yaml"
    expected = (
        2,
        "",
        (
            "error: no st8d named: use --server URL or --local, or set server.url in "
            f"{place}; see 'st8ctl get --help'\n"
        ),
    )

    assert expected == st8ctl.bare("get")
    assert expected == st8ctl.bare("get", "--server", " ")


def test_file(st8ctl: St8ctl) -> None:
    """The configuration file gives what flags don't; flags beat it."""
    st8ctl.configure(
        f"server:\n  url: ' {st8ctl.url} '\n"
        "defaults:\n  namespace: payments/prod\n  branch: draft\n"
    )
    st8ctl.bare("apply", "-v", "k=file")
    st8ctl.bare("apply", "-v", "k=flag", "--namespace", "other")

    assert "file" == st8ctl.bare("get", "k").out
    assert (
        "file"
        == st8ctl("get", "k", "--namespace", "payments/prod", "--branch", "draft").out
    )
    assert "flag" == st8ctl("get", "k", "--namespace", "other").out
    assert 6 == st8ctl.bare("get", "k", "--server", "http://127.0.0.1:9").code


def test_token(st8ctl: St8ctl) -> None:
    """A token comes from the file or the flag; no error shows it."""
    with running_server(token="s3cret") as server:
        st8ctl.configure(f"server:\n  url: {server.url}\n  token: s3cret\n")
        assert 0 == st8ctl.bare("apply", "-v", "k=v").code
        code, out, err = st8ctl.bare("get", "k", "--token", "0ther")
        assert (5, "") == (code, out)
        assert "--token or server.token" in err
        assert "0ther" not in err
        assert 5 == st8ctl.bare("get", "k", "--token", "").code
    code, _, err = st8ctl.bare("get", "k", "--token", "a\nb")
    assert (
        7,
        "error: token: must be printable ASCII without spaces, and not empty\n",
    ) == (
        code,
        err,
    )


def test_authority(st8ctl: St8ctl, tmp_path: Path) -> None:
    """A daemon with TLS is trusted if its authority is named, by flag or file."""
    certified = Certified(tmp_path, "127.0.0.1")
    state = answer({"revision": 1, "objects": {"k": "v"}})
    with scripted(always(state), tls=certified.server) as server:
        code, out, err = st8ctl.bare("--server", server.url, "get", "k")
        assert (6, "") == (code, out)
        assert "certificate is not trusted" in err
        assert (0, "v", "") == st8ctl.bare(
            "--server", server.url, "get", "k", "--ca-file", str(certified.ca_file)
        )
        st8ctl.configure(
            f"server: {{url: '{server.url}', ca_file: '{certified.ca_file}'}}\n"
        )
        assert (0, "v", "") == st8ctl.bare("get", "k")


def test_token_of_digits(st8ctl: St8ctl) -> None:
    """A token in the file is taken as it stands there, not as a number."""
    with running_server(token="0123") as server:
        st8ctl.configure(f"server:\n  url: {server.url}\n  token: 0123\n")

        assert 0 == st8ctl.bare("apply", "-v", "k=v").code


def test_local_and_server(st8ctl: St8ctl) -> None:
    """--local and --server contradict each other."""
    assert (
        2,
        "",
        (
            "error: --local and --server can't be used together; see 'st8ctl get "
            "--help'\n"
        ),
    ) == st8ctl("get", "--local")


def test_address_that_can_not_be(st8ctl: St8ctl) -> None:
    """An address without a scheme is told how it is written."""
    assert (
        7,
        "",
        (
            "error: server url: '127.0.0.1:8748' is no http URL; write it like "
            "http://127.0.0.1:8748\n"
        ),
    ) == st8ctl.bare("get", "--server", "127.0.0.1:8748")


def test_timeout(st8ctl: St8ctl) -> None:
    """A timeout without a unit is told what to write, and where."""
    assert (
        7,
        "",
        (
            "error: --timeout: '30' is not a duration such as 500ms, 30s or 1m30s; "
            "write 30s\n"
        ),
    ) == st8ctl("get", "--timeout", "30")
    path = st8ctl.configure("server:\n  timeout: soon\n")
    code, _, err = st8ctl("get")
    assert 7 == code
    assert err.startswith(f"error: server.timeout in {path}: 'soon' is not a duration")
    assert 3 == st8ctl("get", "--timeout", "0").code
