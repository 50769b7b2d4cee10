"""The configuration file: where it is, and what is said of a wrong one."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from st8.cli.config_file import KNOWN, TOP, default_path, load
from st8.core.errors import InvalidInput

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.st8ctl import St8ctl


def test_all_settings(tmp_path: Path) -> None:
    """Every setting is read; comments, quotes and null are understood."""
    path = tmp_path / "config.yaml"
    path.write_text(
        "# comment\n"
        "server:\n"
        "  url: http://st8d.internal:8748 # comment\n"
        '  token: "0123 "\n'
        "  ca_file: /etc/ca.pem\n"
        "  cert_file: /etc/me.pem\n"
        "  key_file: /etc/me.key\n"
        "  dir: /srv/st8\n"
        "  timeout: 1m30s\n"
        "defaults: {namespace: payments/prod, branch: null}\n"
    )

    file = load(str(path))
    assert (str(path), TOP) == (file.path, file.current)
    assert {
        "server.url": "http://st8d.internal:8748",
        "server.token": "0123 ",
        "server.ca_file": "/etc/ca.pem",
        "server.cert_file": "/etc/me.pem",
        "server.key_file": "/etc/me.key",
        "server.dir": "/srv/st8",
        "server.timeout": "1m30s",
        "defaults.namespace": "payments/prod",
    } == file.settings()


@pytest.mark.parametrize(
    "text", ["", "# only a comment\n", "server:\n", "null\n", "---"]
)
def test_nothing_set(tmp_path: Path, text: str) -> None:
    """A file in which nothing is set sets nothing."""
    path = tmp_path / "config.yaml"
    path.write_text(text)

    assert {TOP: {}} == load(str(path)).contexts


def test_home(st8ctl: St8ctl) -> None:
    """``~`` in a path of the file is the home folder."""
    path = st8ctl.configure("server:\n  dir: ~/.st8\n  ca_file: ~/ca.pem\n")

    assert {
        "server.dir": str(st8ctl.home / ".st8"),
        "server.ca_file": str(st8ctl.home / "ca.pem"),
    } == load(None).settings()
    assert load(None) == load("~/.config/st8ctl/config.yaml")
    assert str(path) == default_path()


@pytest.mark.parametrize(
    ("platform", "environment", "expected"),
    [
        ("linux", {}, "{home}/.config/st8ctl/config.yaml"),
        ("linux", {"XDG_CONFIG_HOME": "/xdg"}, "/xdg/st8ctl/config.yaml"),
        ("linux", {"XDG_CONFIG_HOME": "rel"}, "{home}/.config/st8ctl/config.yaml"),
        ("linux", {"XDG_CONFIG_HOME": ""}, "{home}/.config/st8ctl/config.yaml"),
        ("darwin", {"XDG_CONFIG_HOME": "/xdg"},
         "{home}/Library/Application Support/st8ctl/config.yaml"),
        ("win32", {"APPDATA": "/roaming"}, "/roaming/st8ctl/config.yaml"),
    ],
)  # fmt: skip
def test_default_place(
    st8ctl: St8ctl,
    monkeypatch: pytest.MonkeyPatch,
    platform: str,
    environment: dict[str, str],
    expected: str,
) -> None:
    """The file is where the platform's custom wants it."""
    monkeypatch.setattr(sys, "platform", platform)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)

    assert expected.format(home=st8ctl.home) == default_path()


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("sever:\n  url: x\n",
         ", line 1: the file has no setting 'sever'; did you mean 'server'?"),
        ("server:\n  url: x\n  tokn: y\n",
         ", line 3: server has no setting 'tokn'; did you mean 'token'?"),
        ("server:\n  namespace: x\n",
         ", line 2: server has no setting 'namespace'; it belongs under 'defaults'"),
        ("url: x\n",
         ", line 1: the file has no setting 'url'; it belongs under 'server'"),
        ("server:\n  zzz: x\n",
         (", line 2: server has no setting 'zzz'; known are url, token, token_file, "
         "ca_file, cert_file, key_file, dir, timeout")),
        ("server:\n  url: a\n  url: b\n", ", line 3: 'url' is there twice"),
        ("server:\n  url: [a]\n", ", line 2: server.url must be a text"),
        ("server:\n  ? [a]\n  : b\n", ", line 2: server has no setting '?'; known"),
        ("- a\n", ", line 1: the file must hold names with values"),
        ("server: http://x\n", ", line 1: server must hold names with values"),
        ("current: prod\n", ", line 1: no context 'prod' is there; known are default"),
        ("contexts: {prod: {}}\ncurrent: prd\n",
         ", line 2: no context 'prd' is there; did you mean 'prod'?"),
        ("contexts: {default: {}}\n",
         (", line 1: context 'default' is what stands at the top of the file; choose "
         "another")),
        ("contexts: {' ': {}}\n", ", line 1: context ' ' is no name; choose another with"),
        ("contexts: {prod: {servers: {}}}\n",
         ", line 1: context 'prod' has no setting 'servers'; did you mean 'server'?"),
        ("contexts: [prod]\n", ", line 1: contexts must hold names with values"),
        ("server:\n  token: a\n  token_file: b\n",
         (", line 1: server.token and server.token_file can't be used together; remove "
         "one")),
        ("a: b: c\n", ", line 1: mapping values are not allowed"),
        ("server: {url: x\n", ", line 2: did not find expected"),
        ("a\0b", ": is no YAML"),
        ("[" * 100_000, ", line 1: is nested deeper than 32"),
        ("contexts: " + "{a: " * 100_000, ", line 1: is nested deeper than 32"),
        ("\tserver: x\n", ", line 1: found character that cannot start any token"),
        ("a: 1\n---\nb: 2\n", ", line 2: but found another document"),
    ],
)  # fmt: skip
def test_wrong_file(st8ctl: St8ctl, text: str, problem: str) -> None:
    """A wrong file is an error that names the file, the line and the remedy."""
    path = st8ctl.configure(text)
    code, out, err = st8ctl("get")

    assert (7, "") == (code, out)
    assert err.startswith(f"error: configuration file '{path}'{problem}")


def test_secrets_do_not_show(st8ctl: St8ctl) -> None:
    """What is wrong beside a token is told without the token."""
    st8ctl.configure("server:\n  token: s3cret\n  url: [s3cret]\n")

    assert "s3cret" not in st8ctl("get").err


def test_file_that_is_not_there(st8ctl: St8ctl) -> None:
    """The default file need not exist; one that is named must."""
    assert 3 == st8ctl("get").code
    assert (7, "", "error: configuration file 'no.yaml' not found\n") == st8ctl(
        "get", "--config", "no.yaml"
    )
    assert (7, f"error: can't read configuration file '{st8ctl.folder}': Is a dir") == (
        (ended := st8ctl("get", f"--config={st8ctl.folder}")).code,
        ended.err[
            : len(f"error: can't read configuration file '{st8ctl.folder}': Is a dir")
        ],
    )


def test_file_that_is_named(st8ctl: St8ctl) -> None:
    """A file that is named is read instead of the default one."""
    st8ctl.configure("broken: [\n")
    st8ctl.write("mine.yaml", f"server: {{url: '{st8ctl.url}'}}\n")

    assert 3 == st8ctl.bare("get", "--config", "mine.yaml").code


@given(st.text(max_size=60) | st.binary(max_size=60))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_file(tmp_path: Path, text: str | bytes) -> None:
    """Whatever the file holds, it is settings or an error with a sentence."""
    path = tmp_path / "any.yaml"
    path.write_bytes(text.encode("utf-8", "replace") if isinstance(text, str) else text)
    try:
        found = load(str(path)).settings()
    except InvalidInput as error:
        assert error.detail.startswith("configuration file ")  # noqa: PT017
    else:
        assert {f"{s}.{n}" for s, names in KNOWN.items() for n in names} >= set(found)
