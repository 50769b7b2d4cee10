"""The global flags: anywhere, against the configuration file, against each other."""

from __future__ import annotations

import ssl
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
            "error: no st8d named: use --server URL or --local, or set ST8_SERVER, or "
            f"server.url in {place}; see 'st8ctl get --help'\n"
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
        assert (
            "error: the token is not known; check the one that was sent, from --token\n"
        ) == err
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


def test_certificate(st8ctl: St8ctl, tmp_path: Path) -> None:
    """A daemon that asks for a certificate is shown one, by flag, variable or file."""
    certified = Certified(tmp_path, "127.0.0.1")
    certified.authority.configure_trust(certified.server)
    certified.server.verify_mode = ssl.CERT_REQUIRED
    ours = certified.authority.issue_cert("deploy.internal")
    cert, key = tmp_path / "me.pem", tmp_path / "me.key"
    cert.write_bytes(b"".join(blob.bytes() for blob in ours.cert_chain_pems))
    ours.private_key_pem.write_to_path(key)
    state = answer({"revision": 1, "objects": {"k": "v"}})
    with scripted(always(state), tls=certified.server) as server:
        base = ["--server", server.url, "--ca-file", str(certified.ca_file), "get", "k"]
        assert 0 != st8ctl.bare(*base).code
        shown = ["--cert", str(cert), "--key", str(key)]
        assert (0, "v", "") == st8ctl.bare(*base, *shown)
        st8ctl.configure(
            f"server: {{url: '{server.url}', ca_file: '{certified.ca_file}', "
            f"cert_file: '{cert}', key_file: '{key}'}}\n"
        )
        assert (0, "v", "") == st8ctl.bare("get", "k")


def test_socket(st8ctl: St8ctl) -> None:
    """A socket of this machine is an address too."""
    code, _, err = st8ctl.bare("--server", f"unix:{st8ctl.home}/no.sock", "get", "k")

    assert 6 == code
    assert f"can't reach unix:{st8ctl.home}/no.sock: " in err


def test_token_of_digits(st8ctl: St8ctl) -> None:
    """A token in the file is taken as it stands there, not as a number."""
    with running_server(token="0123") as server:
        st8ctl.configure(f"server:\n  url: {server.url}\n  token: 0123\n")

        assert 0 == st8ctl.bare("apply", "-v", "k=v").code


def test_environment(st8ctl: St8ctl, monkeypatch: pytest.MonkeyPatch) -> None:
    """Variables beat the file, flags beat variables; a blank one counts as none."""
    st8ctl.configure(
        "server:\n  url: http://127.0.0.1:9\ndefaults: {namespace: f, branch: f}\n"
    )
    monkeypatch.setenv("ST8_SERVER", st8ctl.url)
    monkeypatch.setenv("ST8_NAMESPACE", "v")
    monkeypatch.setenv("ST8_BRANCH", "v")
    for namespace, branch in (("v", "v"), ("g", "v"), ("g", "g")):
        st8ctl("apply", "-v", "k=x", "--namespace", namespace, "--branch", branch)
        st8ctl(
            "apply", "-v", f"k={namespace}/{branch}",
            "--namespace", namespace, "--branch", branch,
        )  # fmt: skip

    assert "v/v" == st8ctl.bare("get", "k").out
    assert "g/v" == st8ctl.bare("get", "k", "--namespace", "g").out
    assert "g/g" == st8ctl.bare("get", "k", "--namespace", "g", "--branch", "g").out
    monkeypatch.setenv("ST8_SERVER", "")
    assert 6 == st8ctl.bare("get", "k").code


def test_contexts(st8ctl: St8ctl, monkeypatch: pytest.MonkeyPatch) -> None:
    """The context that --context names beats variables; the current one does not."""
    st8ctl.configure(
        f"server: {{url: '{st8ctl.url}'}}\n"
        "defaults: {branch: top}\n"
        "current: a\n"
        "contexts:\n"
        "  a: {defaults: {namespace: a}}\n"
        "  b: {defaults: {namespace: b, branch: b}}\n"
    )
    for namespace, branch in (
        ("a", "top"),
        ("b", "b"),
        ("v", "top"),
        ("default", "top"),
    ):
        st8ctl(
            "apply", "-v", f"k={namespace}/{branch}",
            "--namespace", namespace, "--branch", branch,
        )  # fmt: skip

    assert "a/top" == st8ctl.bare("get", "k").out
    assert "b/b" == st8ctl.bare("get", "k", "--context", "b").out
    assert "default/top" == st8ctl.bare("get", "k", "--context", "default").out
    monkeypatch.setenv("ST8_NAMESPACE", "v")
    assert "v/top" == st8ctl.bare("get", "k").out
    assert "b/b" == st8ctl.bare("get", "k", "--context", "b").out
    monkeypatch.setenv("ST8_CONTEXT", "b")
    monkeypatch.setenv("ST8_BRANCH", "top")
    assert "v/top" == st8ctl.bare("get", "k").out
    monkeypatch.delenv("ST8_NAMESPACE")
    monkeypatch.delenv("ST8_BRANCH")
    assert "b/b" == st8ctl.bare("get", "k").out


def test_token_of_another_daemon(st8ctl: St8ctl) -> None:
    """A context with a daemon of its own is never sent the token of the top."""
    with running_server(token="s3cret") as server:
        st8ctl.configure(
            f"server: {{url: '{server.url}', token: s3cret}}\n"
            "contexts:\n"
            f"  other: {{server: {{url: '{server.url}'}}}}\n"
            "  same: {defaults: {branch: x}}\n"
        )

        assert 3 == st8ctl.bare("get", "k", "--context", "same").code
        assert (
            5,
            "",
            (
                "error: no token was given; give one with --token, ST8_TOKEN or "
                "server.token_file\n"
            ),
        ) == st8ctl.bare("get", "k", "--context", "other")


def test_token_file(st8ctl: St8ctl) -> None:
    """A token is read from the file that the configuration names."""
    with running_server(token="s3cret") as server:
        path = st8ctl.configure(
            f"server: {{url: '{server.url}', token_file: ~/token}}\n"
        )
        token = st8ctl.home / "token"
        origin = f"server.token_file in {path}"
        assert (
            7,
            "",
            (
                f"error: can't read the token file '{token}', named by {origin}: No "
                "such file or directory\n"
            ),
        ) == st8ctl.bare("get", "k")
        token.write_text(" \n")
        assert (
            7,
            "",
            f"error: the token file '{token}', named by {origin}, is empty\n",
        ) == st8ctl.bare("get", "k")
        token.write_text("wrong\n")
        assert (
            5,
            "",
            (
                "error: the token is not known; check the one that was sent, from "
                f"{origin}\n"
            ),
        ) == st8ctl.bare("get", "k")
        token.write_text("s3cret\n")
        assert 3 == st8ctl.bare("get", "k").code


def test_where_things_come_from(
    st8ctl: St8ctl, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An error about the address or the token says where it came from."""
    monkeypatch.setenv("ST8_SERVER", "http://127.0.0.1:9")
    assert "check the address (from ST8_SERVER), and that" in st8ctl.bare("get").err
    monkeypatch.delenv("ST8_SERVER")
    path = st8ctl.configure(
        "current: a\ncontexts: {a: {server: {url: 'http://127.0.0.1:9'}}}\n"
    )
    assert (
        f"check the address (from server.url of context 'a' in {path}), and that"
    ) in st8ctl.bare("get").err
    with running_server(token="s3cret") as server:
        monkeypatch.setenv("ST8_TOKEN", "0ther")
        assert (
            5,
            "",
            (
                "error: the token is not known; check the one that was sent, from "
                "ST8_TOKEN\n"
            ),
        ) == st8ctl.bare("--server", server.url, "get")


def test_private_key_beside_a_key(st8ctl: St8ctl) -> None:
    """Where --key is a document's key, the private key is --key-file."""
    for name in ("apply", "log"):
        _, out, _ = st8ctl.bare(name, "--help")
        assert 1 == out.count("--key ")
        assert "  --key-file FILE" in out
    for name in ("get", "status"):
        assert "--key, --key-file FILE" in st8ctl.bare(name, "--help").out
    st8ctl("apply", "-v", "k=v")
    assert 1 == st8ctl("log", "--key", "k").out.count("\n")
    code, _, err = st8ctl("--key", "no.pem", "get", "k")
    assert 7 == code
    assert err.startswith("error: ")


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


@pytest.mark.parametrize("flag", ["--namespace", "--branch"])
def test_empty_name(st8ctl: St8ctl, flag: str) -> None:
    """The empty variable of a script sends nothing to the default scope."""
    code, out, err = st8ctl("apply", "-v", "a=1", flag, "")

    assert (2, "") == (code, out)
    assert err.startswith(f"error: {flag}: '' is no name; leave the flag out; see ")
    assert 3 == st8ctl("get").code


@pytest.mark.parametrize("way", [["-o", "json"], ["-ojson"], ["-o=json"]])
def test_ways_to_ask_for_json(st8ctl: St8ctl, way: list[str]) -> None:
    """The format may follow its flag in any of the usual ways, in errors too."""
    assert '{\n  "namespaces": []\n}\n' == st8ctl(*way, "namespace", "list").out
    assert st8ctl(*way, "nosuch").err.startswith('{"error": ')


def test_address_that_can_not_be(st8ctl: St8ctl) -> None:
    """An address without a scheme is told how it is written."""
    assert (
        7,
        "",
        (
            "error: --server: '127.0.0.1:8748' is no http URL; write it like "
            "http://127.0.0.1:8748 or unix:/run/st8/st8d.sock\n"
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
