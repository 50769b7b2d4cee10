"""Where settings are said: file, variables and flags, all that is wrong told at once."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from st8.config import SETTINGS, Finished, Settings, TcpAddress, UsageError, load, show

if TYPE_CHECKING:
    from pathlib import Path


def written(folder: Path, text: str) -> list[str]:
    """Return the flags that name a file with ``text``."""
    path = folder / "st8d.yaml"
    path.write_text(text, encoding="utf-8")
    return ["--config", str(path)]


def problems(arguments: list[str], environment: dict[str, str]) -> tuple[str, ...]:
    """Return what is wrong."""
    with pytest.raises(UsageError) as caught:
        load(arguments, environment)
    return caught.value.problems


def test_precedence(tmp_path: Path) -> None:
    """A flag beats a variable, a variable the file, and the file the default."""
    file = written(tmp_path, "log-level: error\nlog-format: text\nread-timeout: 1s\n")
    environment = {"ST8D_LOG_LEVEL": "warning", "ST8D_LOG_FORMAT": "json"}
    settings = load([*file, "--log-level=debug"], environment)

    assert "debug" == settings.log_level
    assert "json" == settings.log_format
    assert 1.0 == settings.read_timeout_s
    assert 60.0 == settings.write_timeout_s


def test_file_named_by_a_variable(tmp_path: Path) -> None:
    """ST8D_CONFIG names the file where --config does not; no file is read unasked."""
    _, path = written(tmp_path, "log-level: error")

    assert "error" == load([], {"ST8D_CONFIG": path}).log_level
    assert "info" == load(["--config="], {"ST8D_CONFIG": path}).log_level


@pytest.mark.parametrize("text", ["", "# nothing\n", "---\n", "null\n", "{}\n"])
def test_empty_file(tmp_path: Path, text: str) -> None:
    """A file that says nothing is as none."""
    assert Settings() == load(written(tmp_path, text), {})


def test_values_are_the_text_that_stands_there(tmp_path: Path) -> None:
    """What YAML takes for a number is the text that somebody wrote."""
    file = written(tmp_path, "token: 0123\nread-timeout: 0\nstate-dir: 1.50\n")
    settings = load(file, {})

    assert "0123" == settings.token
    assert float("inf") == settings.read_timeout_s
    assert "1.50" == str(settings.state_dir)


@pytest.mark.parametrize(
    "text",
    [
        "listen: ':1 unix:/a,mode=0600'",
        "listen: [':1', 'unix:/a,mode=0600']",
        "listen:\n  - :1\n  - unix:/a,mode=0600\n",
    ],
)
def test_several_addresses(tmp_path: Path, text: str) -> None:
    """The file takes a list, a variable what blanks separate."""
    environment = {"ST8D_LISTEN": " :1  unix:/a,mode=0600\n"}
    expected = (TcpAddress("", 1), ("/a", 0o600))
    by_variable = load([], environment).listen

    assert expected == (by_variable[0], (str(by_variable[1][0]), by_variable[1][1]))
    if text.startswith("listen: '"):
        assert "has too many colons" in problems(written(tmp_path, text), {})[0]
    else:
        assert by_variable == load(written(tmp_path, text), {}).listen


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a: b", ", line 1: there is no setting a; st8d --help lists all"),
        (
            "\nstate_dir: x",
            (", line 2: there is no setting state_dir; did you mean state-dir?"),
        ),
        ("tls: {cert: x}", ", line 1: there is no setting tls; did you mean tls-"),
        ("config: x", ", line 1: config can't be said in the file; use the flag or"),
        ("token: a\ntoken: b", ", line 2: token is there twice"),
        ("token: [a]", ", line 1: token must be one text"),
        ("token: {a: b}", ", line 1: token must be one text"),
        ("listen: {a: b}", ", line 1: listen must be a text or a list of texts"),
        ("listen: [[':1']]", ", line 1: listen must be a text or a list of texts"),
        ("listen: []", ", line 1: listen is an empty list; leave it out for the d"),
        ("token:", ", line 1: token has no value; leave it out for the default"),
        ("token: ~", ", line 1: token has no value; leave it out for the default"),
        ("[a]: b", ", line 1: there is no setting ?; st8d --help lists all"),
        ("\n\nlog-level: loud", ", line 3: log-level: 'loud' is none of debug, "),
        ("a", ": it must hold names with values, such as state-dir: /srv/st8"),
        ("a: b: c", ", line 1: mapping values are not allowed here"),
        ("a: b\n---\nc: d", ", line 2: but found another document"),
        ("a: \x00", ": it is no YAML"),
        ("[" * 5000, ": it is no YAML"),
        ("tls-cert: a", ", line 1: tls-cert is given without tls-key; TLS needs both"),
    ],
)
def test_file_that_can_not_be_right(tmp_path: Path, text: str, expected: str) -> None:
    """What is wrong in a file is a sentence with its line and the remedy."""
    file = written(tmp_path, text)
    (problem,) = problems(file, {})

    assert problem.startswith(file[1] + expected)


def test_file_that_can_not_be_read(tmp_path: Path) -> None:
    """A file that is missing, a directory or too large is named."""
    large = written(tmp_path, "#" * 2_000_000)

    assert (f"{tmp_path}/no: it can't be read: No such file or directory",) == problems(
        ["--config", f"{tmp_path}/no"], {}
    )
    assert (f"{tmp_path}: it can't be read: Is a directory",) == problems(
        ["--config", str(tmp_path)], {}
    )
    assert (f"{large[1]}: it has more than 1048576 bytes",) == problems(large, {})


@given(st.binary(max_size=200))
def test_any_bytes_are_a_file_or_an_error(
    tmp_path_factory: pytest.TempPathFactory, data: bytes
) -> None:
    """Whatever a file holds, it is taken or refused with its name."""
    path = tmp_path_factory.getbasetemp() / "any.yaml"
    path.write_bytes(data)
    found: tuple[str, ...] = ()
    try:
        load(["--config", str(path)], {})
    except UsageError as error:
        found = error.problems

    assert [] == [problem for problem in found if not problem.startswith(str(path))]


NAMES = st.sampled_from([setting.name for setting in SETTINGS if setting.in_file])


@given(st.dictionaries(NAMES, st.text(st.characters())))
@example({setting.name: "" for setting in SETTINGS if setting.in_file})
@example({"store": ""})
def test_any_texts_are_settings_or_an_error(texts: dict[str, str]) -> None:
    """Whatever the values are, they are taken or refused with the flag's name."""
    found: tuple[str, ...] = ()
    try:
        load([f"--{name}={text}" for name, text in texts.items()], {})
    except UsageError as error:
        found = error.problems

    assert all("--" in problem for problem in found)


@given(st.lists(st.text(max_size=20), max_size=5))
def test_any_arguments_are_flags_or_an_error(arguments: list[str]) -> None:
    """Whatever stands on the command line, it is taken or refused."""
    with contextlib.suppress(UsageError, Finished):
        load(arguments, {})


@pytest.mark.parametrize("name", ["state-dir", "tls-cert", "audit-log", "listen"])
@pytest.mark.parametrize("path", [r"/a\0b", r"/a\ud800"])
def test_path_that_no_system_has(tmp_path: Path, name: str, path: str) -> None:
    """A path that could not even be asked for is refused with its line."""
    prefix = "unix:" if name == "listen" else ""
    found = problems(written(tmp_path, f'{name}: "{prefix}{path}"'), {})

    assert "has characters that no path can have" in found[0]


@pytest.mark.parametrize(
    ("variable", "expected"),
    [
        ("ST8D_TOKN", "there is no variable ST8D_TOKN; did you mean ST8D_TOKEN?"),
        ("ST8D_X", "there is no variable ST8D_X; st8d --help lists all"),
        ("ST8D_PORTAL", "there is no variable ST8D_PORTAL; st8d --help lists all"),
    ],
)
def test_unknown_variable(variable: str, expected: str) -> None:
    """A variable that would be passed over in silence is refused."""
    assert (expected,) == problems([], {variable: "1"})


def test_variables_of_kubernetes() -> None:
    """What Kubernetes tells every pod of a service named st8d is no mistake."""
    environment = {
        "ST8D_PORT": "tcp://10.0.0.1:8748",
        "ST8D_PORT_8748_TCP": "tcp://10.0.0.1:8748",
        "ST8D_PORT_8748_TCP_ADDR": "10.0.0.1",
        "ST8D_PORT_8748_TCP_PORT": "8748",
        "ST8D_PORT_8748_TCP_PROTO": "tcp",
        "ST8D_SERVICE_HOST": "10.0.0.1",
        "ST8D_SERVICE_PORT": "8748",
        "ST8D_SERVICE_PORT_HTTP": "8748",
        "ST8D_HEADLESS_SERVICE_HOST": "10.0.0.1",
        "ST8D_HEADLESS_PORT": "tcp://10.0.0.1:8748",
    }

    assert Settings() == load([], environment)


def test_all_that_is_wrong_is_told(tmp_path: Path) -> None:
    """One run tells everything, from every source."""
    file = written(tmp_path, "nonsense: 1\nlog-level: loud\n")
    environment = {"ST8D_READ_TIMEOUT": "30", "ST8D_STATEDIR": "x"}
    found = problems([*file, "--listn=1", "--listen", "8748", "surplus"], environment)

    assert {
        "there is no flag --listn; did you mean --listen?",
        "st8d takes flags only, and 'surplus' is none",
        "there is no variable ST8D_STATEDIR; did you mean ST8D_STATE_DIR?",
        f"{file[1]}, line 1: there is no setting nonsense; st8d --help lists all",
        "--listen: '8748' has no port; write :8748, 127.0.0.1:8748 or unix:/path",
        (
            "ST8D_READ_TIMEOUT: '30' is not a duration such as 500ms, 30s or 1m30s; "
            "write 30s"
        ),
        f"{file[1]}, line 2: log-level: 'loud' is none of debug, info, warning, error",
    } == set(found)


@pytest.mark.parametrize(
    ("arguments", "environment", "expected"),
    [
        (
            ["--token=a", "--token-file=b"],
            {},
            (
                "token (--token) and token-file (--token-"
                "file) are both given; leave one out"
            ),
        ),
        (
            ["--token=a"],
            {"ST8D_TOKEN_FILE": "b"},
            (
                "token (--token) and token-file (ST8D_"
                "TOKEN_FILE) are both given; leave one out"
            ),
        ),
        (
            ["--tls-client-ca=a"],
            {},
            (
                "--tls-client-ca is given without --tls-cert; only "
                "TLS has certificates of clients"
            ),
        ),
        (
            [],
            {"ST8D_TLS_CLIENT_AUTH": "required"},
            (
                "ST8D_TLS_CLIENT_AUTH is given without"
                " ST8D_TLS_CLIENT_CA; nobody would be asked for one"
            ),
        ),
        (["--tls-min-version=1.1"], {}, "--tls-min-version: '1.1' is none of 1.2, 1.3"),
        (
            ["--token=***"],
            {},
            (
                "--token: *** stands for a secret that st8d config has "
                "masked; write the token"
            ),
        ),
        (
            ["--listen=unix:"],
            {},
            ("--listen: a socket needs a path; write unix:/run/st8/st8d.sock"),
        ),
        (
            ["--listen=unix:/a,mode=888"],
            {},
            ("--listen: 'mode=888' is no mode; write unix:/a,mode=0660"),
        ),
        (
            ["--listen=unix:/a,mod=1"],
            {},
            ("--listen: 'mod=1' is no mode; write unix:/a,mode=0660"),
        ),
    ],
)
def test_what_does_not_go_together(
    arguments: list[str], environment: dict[str, str], expected: str
) -> None:
    """Settings that contradict each other are refused, and both are named."""
    assert (expected,) == problems(arguments, environment)


def test_path_that_is_too_long_for_a_socket() -> None:
    """A socket's path has a limit that is told before anything is opened."""
    (problem,) = problems(["--listen", "unix:/" + "x" * 103], {})

    assert (
        "--listen: the path has 104 bytes, and that of a socket may have 103 at most; "
        "choose a shorter one"
    ) == problem


def test_service_manager() -> None:
    """What systemd says to another process is not for this one."""
    own = str(os.getpid())
    listening = {"LISTEN_FDS": "2", "LISTEN_PID": own}
    watched = {"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": own}
    settings = load([], {**listening, **watched, "NOTIFY_SOCKET": "@a"})

    assert ("@a", 30.0, 2) == (
        settings.systemd.notify_socket,
        settings.systemd.watchdog_s,
        settings.systemd.sockets,
    )
    assert () == settings.listen
    assert (TcpAddress("", 1),) == load(["--listen=:1"], listening).listen
    assert Settings() == load([], {**listening, "LISTEN_PID": "1"})
    assert Settings() == load([], {**watched, "WATCHDOG_PID": "1"})


# --- st8d config ------------------------------------------------------------------


def test_show(tmp_path: Path) -> None:
    """Each setting is shown with where it was said, and what is not set as a comment."""
    file = written(tmp_path, "log-level: debug\ntoken: s3cret\n")
    text = show(
        [*file, "--listen", ":1", "--listen=unix:/a"], {"ST8D_STATE_DIR": "a b"}
    )

    assert [
        "listen:  # --listen",
        '  - ":1"',
        '  - "unix:/a"',
        'state-dir: "a b"  # ST8D_STATE_DIR',
        "# store:  # default, not set",
        "workers: 1  # default",
        f'token: "***"  # {file[1]}, line 2, masked',
        "# token-file:  # default, not set",
    ] == text.splitlines()[:8]
    assert f"log-level: debug  # {file[1]}, line 1" == text.splitlines()[-1]
    assert "s3cret" not in text


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["--listen=:1", "--listen=[::1]:2", "--listen=unix:/a,mode=0600"],
        ["--audit-log=-", "--state-dir=~", "--token-file=no: #x", "--read-timeout=0"],
        ["--state-dir=\u00e9 'x\" \\", "--tls-cert=null", "--tls-key=1.2"],
        ["--store=postgresql://ops@db:5432/conf?schema=blue"],
    ],
)
def test_what_is_shown_is_a_file(tmp_path: Path, arguments: list[str]) -> None:
    """The output, read as the file, gives the same settings."""
    text = show(arguments, {})

    assert load(arguments, {}) == load(written(tmp_path, text), {})
    assert {s.name for s in SETTINGS} >= set(yaml.safe_load(text))


def test_masked_token_is_not_taken(tmp_path: Path) -> None:
    """The mask of a token does not become the token when it is read back."""
    file = written(tmp_path, show(["--token=s3cret"], {}))

    assert f"{file[1]}, line 5: token: *** stands for a secret" in problems(file, {})[0]


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://ops:s3cret@db/conf", "postgresql://ops:***@db/conf"),
        ("postgresql://ops:s3:c@r/e@t@db/conf", "postgresql://ops:***@db/conf"),
        (
            "postgres://db/conf?user=a&password=s3cret&sslpassword=s3cret",
            "postgres://db/conf?user=a&password=***&sslpassword=***",
        ),
        ("postgresql://ops@db/conf?schema=x", "postgresql://ops@db/conf?schema=x"),
        ("sqlite:/srv/a@b:c", "sqlite:/srv/a@b:c"),
        ("memory:", "memory:"),
    ],
)
def test_the_password_of_a_store_is_masked(
    tmp_path: Path, url: str, shown: str
) -> None:
    """The URL of a store is shown without its password, which no mask becomes."""
    text = show([f"--store={url}"], {})

    line = next(one for one in text.splitlines() if one.startswith("store:"))
    assert shown == yaml.safe_load(line)["store"]
    assert "s3" not in text
    if "***" in shown:
        file = written(tmp_path, text)
        assert "*** stands for a secret" in problems(file, {})[0]


@pytest.mark.parametrize("url", ["mysql://x", "/var/lib", "sqlite:", "u:s3cret@h"])
def test_a_url_of_no_store(url: str) -> None:
    """What names no store is refused with what would, and shows no password."""
    [problem] = problems([f"--store={url}"], {})

    assert "is not a store; write postgresql://USER@HOST/DATABASE or sqlite:" in problem
    assert "s3cret" not in problem


def test_a_store_takes_the_place_of_a_state_directory() -> None:
    """Both at once are refused: nobody can tell which is meant."""
    assert (
        "store (ST8D_STORE) and state-dir (--state-dir) are both given; leave one out",
    ) == problems(["--state-dir=a"], {"ST8D_STORE": "memory:"})
    assert "memory:" == load([], {"ST8D_STORE": "memory:"}).store_url
    assert "sqlite:a" == load(["--state-dir=a"], {}).store_url


def test_a_password_among_the_flags_is_noticed() -> None:
    """It is known whether every user of the machine can read the password."""
    url = "postgresql://ops:s3cret@db/conf"

    assert load([f"--store={url}"], {}).store_from_flag
    assert not load([], {"ST8D_STORE": url}).store_from_flag
    assert not load(["--store=postgresql://db/conf"], {}).store_from_flag
