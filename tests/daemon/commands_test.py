"""st8d check-config and st8d config, as an operator runs them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.daemon.certificates import Authority
from tests.daemon.process import run

if TYPE_CHECKING:
    from pathlib import Path

POLICY = """
tokens:
  - name: app
    token: tiger-in-the-tank-93
    allow: {namespaces: ["*"], branches: ["*"], verbs: [read]}
"""


def test_good_configuration(tmp_path: Path) -> None:
    """Settings that st8d would start with are good, and nothing is made."""
    token = tmp_path / "token"
    token.write_text("s3cret-token\n", encoding="utf-8")
    token.chmod(0o600)
    policy = tmp_path / "policy.yaml"
    policy.write_text(POLICY, encoding="utf-8")
    policy.chmod(0o600)
    done = run(
        *("check-config", "--state-dir", str(tmp_path / "state")),
        *("--auth-config", str(policy), "--token-file", str(token)),
        *("--audit-log", str(tmp_path / "audit"), "--listen", "127.0.0.1:1"),
        *Authority(tmp_path, "ca").issue().flags(),
    )

    assert (0, "configuration is good\n", "") == (
        done.returncode,
        done.stdout,
        done.stderr,
    )
    assert not (tmp_path / "state").exists()
    assert not (tmp_path / "audit").exists()


def test_all_that_is_wrong_with_the_files(tmp_path: Path) -> None:
    """Each file that is no good has its sentence; the exit code is 1."""
    state = tmp_path / "state"
    state.write_text("x", encoding="utf-8")
    done = run(
        *("check-config", "--state-dir", str(state)),
        *("--token-file", str(tmp_path / "token")),
        *("--audit-log", str(tmp_path / "no" / "audit")),
        *("--tls-cert", str(tmp_path / "cert"), "--tls-key", str(tmp_path / "key")),
    )

    assert (1, "") == (done.returncode, done.stdout)
    assert [
        f"st8d: tls-cert: can't read {tmp_path}/cert: No such file or directory",
        f"st8d: token-file: can't read {tmp_path}/token: No such file or directory",
        f"st8d: audit-log: can't write {tmp_path}/no/audit",
        f"st8d: state-dir: {tmp_path}/state is no directory",
    ] == done.stderr.splitlines()


def test_policy_that_is_wrong(tmp_path: Path) -> None:
    """A policy file is read as st8d would, and its line named."""
    policy = tmp_path / "policy.yaml"
    policy.write_text(POLICY.replace("verbs", "verb"), encoding="utf-8")
    done = run("check-config", "--auth-config", str(policy))

    assert 1 == done.returncode
    assert "line 5" in done.stderr
    assert 1 == done.stderr.count("\n")


@pytest.mark.parametrize("command", [[], ["check-config"], ["config"]])
def test_settings_that_can_not_be_right(command: list[str]) -> None:
    """Settings that can't be right are told a line each, with exit code 2."""
    done = run(*command, "--listn=1", environment={"ST8D_TOKN": "a"})

    assert (2, "") == (done.returncode, done.stdout)
    assert [
        "st8d: there is no flag --listn; did you mean --listen?",
        "st8d: there is no variable ST8D_TOKN; did you mean ST8D_TOKEN?",
    ] == done.stderr.splitlines()


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"", "is empty; write the token into it, or leave it out"),
        (b"\n", "is empty; write the token into it, or leave it out"),
        (b" \n", ": the token is blank or has white space around it"),
        (b"a\nb\n", ": the token has characters that no HTTP header can carry"),
        (b"\xff\xfe", ": the token has characters that no HTTP header can carry"),
        (b"***\n", ": *** stands for a secret that st8d config has masked; write"),
        (b"x" * 70_000, "is too large to hold a token"),
    ],
    ids=["empty", "line", "blank", "two lines", "binary", "mask", "large"],
)
def test_token_file_that_is_no_good(tmp_path: Path, data: bytes, problem: str) -> None:
    """A token file without a token is refused, lest the daemon is open to all."""
    path = tmp_path / "token"
    path.write_bytes(data)
    done = run("check-config", "--token-file", str(path))

    assert 1 == done.returncode
    assert done.stderr.startswith(f"st8d: token-file: {path}")
    assert problem in done.stderr


@pytest.mark.parametrize(
    ("flag", "text", "warned"),
    [
        ("token-file", "s3cret\n", "token-file: {}"),
        ("config", "token: s3cret\n", "config: the file with the token {}"),
        ("auth-config", POLICY, "auth-config: the policy file {}"),
        ("config", "log-level: info\n", None),
    ],
)
def test_secret_that_others_can_read(
    tmp_path: Path, flag: str, text: str, warned: str | None
) -> None:
    """A file with a secret that everybody can read is warned of."""
    path = tmp_path / "file"
    path.write_text(text, encoding="utf-8")
    path.chmod(0o644)
    done = run("check-config", f"--{flag}", str(path))
    expected = (
        f"st8d: warning: {warned.format(path)} can be read or changed by others (mode "
        f"0644); chmod 600 {path}\n"
        if warned
        else ""
    )

    assert (0, "configuration is good\n") == (done.returncode, done.stdout)
    assert expected == done.stderr


def test_config(tmp_path: Path) -> None:
    """What is printed can be the file of the next start; secrets are not in it."""
    path = tmp_path / "st8d.yaml"
    done = run("config", "--listen", ":1", environment={"ST8D_TOKEN": "s3cret"})
    path.write_text(done.stdout.replace("***", "other"), encoding="utf-8")
    again = run("config", "--config", str(path))

    assert 0 == done.returncode
    assert "s3cret" not in done.stdout
    assert 'listen: ":1"  # --listen\n' in done.stdout
    assert 'token: "***"  # ST8D_TOKEN, masked\n' in done.stdout
    assert f'listen: ":1"  # {path}, line 1\n' in again.stdout


def test_help_of_a_command() -> None:
    """The commands have st8d's help."""
    assert run("--help").stdout == run("check-config", "--help").stdout
    assert "st8d check-config [flags]" in run("-h").stdout
