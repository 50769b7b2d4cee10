"""Flags and variables of st8d: Go's rules, checked values, one table."""

from __future__ import annotations

from dataclasses import replace
from math import inf
from pathlib import Path
from typing import Any

import pytest

from st8 import config
from st8.config import (
    SETTINGS,
    Finished,
    RetentionRule,
    Settings,
    TcpAddress,
    TlsSettings,
    UnixAddress,
    UsageError,
    load,
)
from st8.core.rates import Rate

EVERY = {
    "listen": "[::1]:1",
    "state-dir": "dir",
    "workers": "4",
    "token": "t0ken",
    "auth-config": "policy",
    "audit-log": "-",
    "tls-cert": "cert",
    "tls-key": "key",
    "tls-client-ca": "ca",
    "tls-client-auth": "optional",
    "tls-min-version": "1.3",
    "read-timeout": "1s",
    "write-timeout": "1m30s",
    "idle-timeout": "0",
    "shutdown-timeout": "0",
    "rate-limit": "100:500",
    "gc-interval": "1d",
    "retention": "audit/*:keep=5,younger-than=2w",
    "log-format": "json",
    "log-level": "debug",
}


def test_defaults() -> None:
    """What holds when nobody says anything is what the table says."""
    assert Settings() == load([], {})


def test_every_setting(tmp_path: Path) -> None:
    """Every setting can be given as a flag, as a variable and in the file."""
    expected = Settings(
        listen=(TcpAddress("::1", 1),),
        state_dir=Path("dir"),
        workers=4,
        token="t0ken",
        token_from_flag=True,
        auth_config=Path("policy"),
        audit_log="-",
        tls=TlsSettings(
            Path("cert"),
            Path("key"),
            Path("ca"),
            client_required=False,
            min_version="1.3",
        ),
        read_timeout_s=1.0,
        write_timeout_s=90.0,
        idle_timeout_s=inf,
        shutdown_timeout_s=0.0,
        rate_limit=Rate(100.0, 500),
        retention=(RetentionRule("audit/*", 5, 14 * 86_400.0),),
        gc_interval_s=86_400.0,
        log_format="json",
        log_level="debug",
    )
    assert {s.name for s in SETTINGS} == {*EVERY, "config", "token-file", "store"}
    assert expected == load([f"--{name}={text}" for name, text in EVERY.items()], {})
    variables = {"ST8D_" + n.upper().replace("-", "_"): t for n, t in EVERY.items()}
    assert replace(expected, token_from_flag=False) == load([], variables)
    path = tmp_path / "st8d.yaml"
    path.write_text(
        "".join(f"{name}: '{text}'\n" for name, text in EVERY.items()), encoding="utf-8"
    )
    assert replace(expected, token_from_flag=False, token_config=path) == load(
        ["--config", str(path)], {}
    )


@pytest.mark.parametrize(
    "arguments",
    [
        ["--listen", ":1"],
        ["-listen", ":1"],
        ["--listen=:1"],
        ["-listen=:1"],
    ],
)
def test_forms_of_a_flag(arguments: list[str]) -> None:
    """One dash is two, and a value may follow in either way."""
    assert (TcpAddress("", 1),) == load(arguments, {}).listen


def test_flag_that_is_there_twice() -> None:
    """The last one wins; addresses to listen on join."""
    settings = load(["-log-level=debug", "--log-level", "error"], {})
    listen = load(["-listen", ":2", "--listen=unix:/a"], {}).listen

    assert "error" == settings.log_level
    assert (TcpAddress("", 2), UnixAddress(Path("/a"), 0o660)) == listen


def test_value_with_a_dash() -> None:
    """What follows a flag is its value, also when it begins with a dash."""
    assert "-listen" == load(["--token", "-listen"], {}).token


def test_flag_over_variable() -> None:
    """A flag wins over the variable, an empty one too; an empty variable is none."""
    environment = {"ST8D_TOKEN": "from-environment"}

    assert "from-environment" == load([], environment).token
    assert "from-flag" == load(["--token", "from-flag"], environment).token
    assert load(["--token="], environment).token is None
    assert load([], {"ST8D_TOKEN": ""}).token is None


def test_token_is_never_shown() -> None:
    """Settings that are printed keep the token to themselves."""
    assert "s3cret" not in repr(load(["--token=s3cret"], {}))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (":8748", ("", 8748)),
        ("127.0.0.1:0", ("127.0.0.1", 0)),
        ("localhost:65535", ("localhost", 65535)),
        ("[::]:1", ("::", 1)),
        ("[fe80::1%eth0]:1", ("fe80::1%eth0", 1)),
    ],
)
def test_listen(text: str, expected: tuple[str, int]) -> None:
    """An address is host and port as Go writes them."""
    assert expected == config.parse_listen(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "8748",
        "host",
        "::1:8748",
        "host:",
        "host:65536",
        "host:-1",
        "h:²",
        "a..b:1",
        "a\0:1",
    ],
)
def test_bad_listen(text: str) -> None:
    """An address that is none is refused with what is wrong with it."""
    with pytest.raises(UsageError, match="--listen: "):
        load(["--listen", text], {})


@pytest.mark.parametrize("text", ["", "30", "-1s", "1s "])
def test_bad_duration(text: str) -> None:
    """A duration that is none is refused with an example."""
    with pytest.raises(UsageError, match=r"--read-timeout: .*30s"):
        load([f"--read-timeout={text}"], {})


@pytest.mark.parametrize("text", ["", "0", "-1", "65", "2.0", "two", "²", "9" * 99])
def test_bad_workers(text: str) -> None:
    """A number of workers that can't be is refused with those that can."""
    with pytest.raises(UsageError, match=r"--workers: .* from 1 to 64 \(workers_max\)"):
        load([f"--workers={text}"], {})


def test_workers_that_could_not_see_the_store() -> None:
    """What memory keeps can't be shared, and one worker does not share it."""
    with pytest.raises(
        UsageError, match=r"workers \(--workers\) is 2, and what memory:"
    ):
        load(["--workers=2", "--store=memory:"], {})

    assert 1 == load(["--workers=1", "--store=memory:"], {}).workers


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--listn=1"], "there is no flag --listn; did you mean --listen?"),
        (["--qqq"], "there is no flag --qqq; st8d --help lists all"),
        (["-"], "st8d takes flags only, and '-' is none"),
        (["--"], "st8d takes flags only, and '--' is none"),
        (["--state-dir"], "--state-dir needs a value"),
        (["--state-dir="], "--state-dir: a directory is needed"),
        (["--log-level=loud"], "--log-level: 'loud' is none of "),
        (["--token", "a b"], "--token: the token has characters "),
        (["--token", " a"], "--token: the token is blank or has white space "),
    ],
)
def test_usage_errors(arguments: list[str], sentence: str) -> None:
    """What can't be right is one sentence that names it."""
    with pytest.raises(UsageError) as caught:
        load(arguments, {})

    assert str(caught.value).startswith(sentence)


@pytest.mark.parametrize("argument", ["-h", "--h", "-help", "--help"])
def test_help(argument: str) -> None:
    """The help lists every setting with its default."""
    with pytest.raises(Finished) as caught:
        load(["--listen", ":1", argument], {})

    text = str(caught.value)
    assert [] == [s.name for s in SETTINGS if f"--{s.name} {s.metavar}" not in text]
    assert [] == [s.name for s in SETTINGS if s.default and s.default not in text]


def test_defaults_in_the_table_are_the_dataclasss() -> None:
    """The two places that say a default say the same."""
    parsed: dict[str, Any] = {s.name: s.parse(s.default) for s in SETTINGS}
    settings = Settings()

    assert settings.listen == (parsed["listen"],)
    assert settings.state_dir == parsed["state-dir"]
    assert settings.read_timeout_s == parsed["read-timeout"]
    assert settings.write_timeout_s == parsed["write-timeout"]
    assert settings.idle_timeout_s == parsed["idle-timeout"]
    assert settings.shutdown_timeout_s == parsed["shutdown-timeout"]


def test_help_is_no_wider_than_a_page() -> None:
    """No line of the help is longer than a hundred columns."""
    with pytest.raises(Finished) as caught:
        load(["--help"], {})

    assert [] == [line for line in str(caught.value).splitlines() if len(line) > 100]
