"""``st8ctl token``, with ``new`` and ``hash``."""

from __future__ import annotations

import getpass
import io
import json
import re
import stat
import sys
from hashlib import sha256
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
import yaml

from st8.auth.policy_file import load_policy_authoriser
from st8.cli import token as command
from st8.clock import SystemClock
from st8.core.revisions import parse_time
from st8.testing.clock import SECOND_NS, FakeClock

if TYPE_CHECKING:
    from tests.cli.st8ctl import St8ctl

TOKEN = re.compile(r"st8_([0-9A-Za-z]{8})_([0-9A-Za-z]{43})")
DAY_NS = 86_400 * SECOND_NS


class Typed(NamedTuple):
    """A standard input that holds some bytes."""

    buffer: io.BytesIO
    terminal: bool = False

    def isatty(self) -> bool:
        """Return whether somebody types them."""
        return self.terminal


def given(monkeypatch: pytest.MonkeyPatch, data: bytes) -> None:
    """Put ``data`` on standard input."""
    monkeypatch.setattr(sys, "stdin", Typed(io.BytesIO(data)))


def without_chance(text: str) -> str:
    """Return ``text`` with every token and digest the same."""
    text = re.sub(r"[0-9a-f]{64}", "DIGEST", text)
    return re.sub(r"(st8|token)[_-][0-9A-Za-z_]{8,}", r"\1-ID", text)


def entry_of(st8ctl: St8ctl, *args: str) -> dict[str, Any]:
    """Return the entry that ``token new`` makes with ``args``."""
    ended = st8ctl.bare("token", "new", "-o", "json", *args)
    entry: dict[str, Any] = json.loads(ended.out)["entry"]
    return entry


def test_new(st8ctl: St8ctl) -> None:
    """The token is all that goes to standard output; its entry to standard error."""
    ended = st8ctl.bare(
        *("token", "new", "--name", "ci", "--expires", "2199-01-31"),
        *("--namespace", "payments/*", "--namespace", "prod", "--branch", "main"),
        *("--key-prefix", "app/", "--verb", "read", "--verb", "write"),
    )

    assert TOKEN.fullmatch(ended.out.removesuffix("\n"))
    assert 0 == ended.code
    assert (
        "the entry for the policy file, under tokens:\n"
        "  - name: ci\n"
        "    token_sha256: DIGEST\n"
        "    expires: '2199-01-31T00:00:00Z'\n"
        "    allow:\n"
        "      namespaces: [payments/*, prod]\n"
        "      branches: [main]\n"
        "      key_prefix: app/\n"
        "      verbs: [read, write]\n"
    ) == without_chance(ended.err)


def test_new_without_flags(st8ctl: St8ctl) -> None:
    """A token for nobody in particular may read everything, and says so."""
    ended = st8ctl.bare("token", "new")

    assert (
        "the entry for the policy file, under tokens:\n"
        "  - name: token-ID\n"
        "    token_sha256: DIGEST\n"
        "    allow:\n"
        "      namespaces: ['*']\n"
        "      branches: ['*']\n"
        "      verbs: [read]\n"
    ) == without_chance(ended.err)
    found = TOKEN.fullmatch(ended.out.strip())
    assert found is not None
    assert f"name: token-{found[1]}\n" in ended.err
    assert sha256(ended.out.strip().encode()).hexdigest() in ended.err


def test_tokens_differ(st8ctl: St8ctl) -> None:
    """No two tokens have anything in common but their form."""
    made = [TOKEN.match(st8ctl.bare("token", "new").out) for _ in range(20)]

    assert 20 == len({found[1] for found in made if found})
    assert 20 == len({found[2] for found in made if found})


@pytest.mark.parametrize("form", ["json", "yaml"])
def test_new_for_programs(st8ctl: St8ctl, form: str) -> None:
    """A program gets the token and the entry in one answer, and no notes."""
    ended = st8ctl.bare("token", "new", "--name", "ci", "-o", form)
    answer = yaml.safe_load(ended.out)  # which JSON is too

    assert (0, "") == (ended.code, ended.err)
    assert {
        "token": answer["token"],
        "entry": {
            "name": "ci",
            "token_sha256": sha256(answer["token"].encode()).hexdigest(),
            "allow": {"namespaces": ["*"], "branches": ["*"], "verbs": ["read"]},
        },
    } == answer


def test_token_into_a_file(st8ctl: St8ctl) -> None:
    """With --out-token the file has the token and standard output the entry."""
    ended = st8ctl.bare("token", "new", "--name", "ci", "--out-token", "ci.token")
    path = st8ctl.folder / "ci.token"
    token = path.read_text(encoding="ascii").removesuffix("\n")

    assert 0 == ended.code
    assert 0o600 == stat.S_IMODE(path.stat().st_mode)
    assert TOKEN.fullmatch(token)
    assert "wrote the token to ci.token; it is shown nowhere else\n" == ended.err
    assert ended.out.startswith("  - name: ci\n    token_sha256: ")
    assert sha256(token.encode()).hexdigest() in ended.out
    assert token not in ended.out + ended.err


def test_no_token_is_overwritten(st8ctl: St8ctl) -> None:
    """A file that is there stays as it is."""
    st8ctl.write("ci.token", "another")

    assert (
        7,
        "",
        "error: 'ci.token' is there already; name a new file, lest a token is lost\n",
    ) == st8ctl.bare("token", "new", "--out-token", "ci.token")
    assert b"another" == (st8ctl.folder / "ci.token").read_bytes()
    assert (
        7,
        "",
        "error: can't write 'no/ci.token': No such file or directory\n",
    ) == st8ctl.bare("token", "new", "--out-token", "no/ci.token")


def test_entry_is_one_of_a_policy_file(st8ctl: St8ctl) -> None:
    """What is printed makes a policy file under which the token is known."""
    made = st8ctl.bare(
        *("token", "new", "--name", "yes: 'no' # ünd", "--expires", "90d"),
        *("--namespace", "*", "--branch", "[a-z]*", "--verb", "admin"),
    )
    _, entry = made.err.split("\n", 1)
    path = st8ctl.folder / "policy.yaml"
    path.write_text(f"tokens:\n{entry}", encoding="utf-8")
    authoriser = load_policy_authoriser(path, clock=SystemClock())
    principal = authoriser.authenticate(b"Bearer " + made.out.strip().encode(), {})

    assert "yes: 'no' # ünd" == principal.name
    (rule,) = principal.access.rules
    assert frozenset({"admin"}) == rule.verbs
    assert rule.branches[0].matches("main")


@pytest.mark.parametrize(
    ("given", "least_ns"),
    [("90d", 90 * DAY_NS), ("2w", 14 * DAY_NS), ("12h", DAY_NS // 2), ("1s", 0)],
)
def test_expires_after_a_while(st8ctl: St8ctl, given: str, least_ns: int) -> None:
    """A duration is counted from now, in whole seconds."""
    before_ns = SystemClock().now_ns()
    entry = entry_of(st8ctl, "--expires", given)
    end_ns = parse_time(entry["expires"])

    assert 0 == end_ns % SECOND_NS
    assert before_ns + least_ns - SECOND_NS <= end_ns
    assert end_ns <= SystemClock().now_ns() + max(least_ns, SECOND_NS)


def test_expires_at_a_time(st8ctl: St8ctl, monkeypatch: pytest.MonkeyPatch) -> None:
    """A time stays the one that was given, in UTC; it must be to come."""
    monkeypatch.setattr("st8.clock.SystemClock", FakeClock)
    entry = entry_of(st8ctl, "--expires", "2026-01-31T12:00:00+02:00")

    assert "2026-01-31T10:00:00Z" == entry["expires"]
    assert "2026-01-01T00:01:30Z" == entry_of(st8ctl, "--expires", "1m30s")["expires"]
    for passed in ("2026-01-01", "2025-12-31T23:59:59Z", "0", "0d"):
        assert (7, "", f"error: --expires: {passed} has passed\n") == st8ctl.bare(
            "token", "new", "--expires", passed
        )


@pytest.mark.parametrize("given", ["", "soon", "90", "2027-02-30", "-1d", "1y"])
def test_expires_must_be_a_time(st8ctl: St8ctl, given: str) -> None:
    """What is no time is told, with what would be one."""
    assert (
        7,
        "",
        (
            f"error: --expires: {given!r} is no time; write it like 90d, 12h, "
            "2027-01-31 or 2027-01-31T12:00:00Z\n"
        ),
    ) == st8ctl.bare("token", "new", f"--expires={given}")


def test_settings_of_the_client_do_not_count(
    st8ctl: St8ctl, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The namespace that st8ctl would talk about is not what a token is for."""
    monkeypatch.setenv("ST8_NAMESPACE", "prod")
    monkeypatch.setenv("ST8_BRANCH", "dev")
    allow = entry_of(st8ctl)["allow"]

    assert (["*"], ["*"]) == (allow["namespaces"], allow["branches"])


def test_repeated_verbs_count_once(st8ctl: St8ctl) -> None:
    """A verb that is given twice stands there once."""
    entry = entry_of(st8ctl, "--verb", "write", "--verb", "read", "--verb", "write")

    assert ["write", "read"] == entry["allow"]["verbs"]


def test_wrong_usage_of_new(st8ctl: St8ctl) -> None:
    """What can't be in a policy file is refused."""
    assert 2 == st8ctl.bare("token", "new", "--verb", "delete").code
    assert 2 == st8ctl.bare("token", "new", "stray").code
    assert 2 == st8ctl.bare("token", "nwe").code
    assert 7 == st8ctl.bare("token", "new", "--name", "a\nb").code
    assert 7 == st8ctl.bare("token", "new", "--name", "").code
    assert 7 == st8ctl.bare("token", "new", "--name", " ci").code
    assert 7 == st8ctl.bare("token", "new", "--key-prefix", "../x").code


@pytest.mark.parametrize("end", [b"", b"\n", b"\r\n"])
def test_hash(st8ctl: St8ctl, monkeypatch: pytest.MonkeyPatch, end: bytes) -> None:
    """The digest is that of the token, without the line end behind it."""
    digest = sha256(b"secret").hexdigest()

    given(monkeypatch, b"secret" + end)
    assert (0, f"{digest}\n", "") == st8ctl.bare("token", "hash")
    given(monkeypatch, b"secret" + end)
    assert (0, f"token_sha256: {digest}\n", "") == st8ctl.bare(
        "token", "hash", "-o", "yaml"
    )
    given(monkeypatch, b"secret" + end)
    answer = json.loads(st8ctl.bare("token", "hash", "-o", "json").out)
    assert {"token_sha256": digest} == answer


@pytest.mark.parametrize(
    "data", [b"", b"\n", b"two words", b" secret", b"a\nb", b"\xe9"]
)
def test_hash_of_no_token(
    st8ctl: St8ctl, monkeypatch: pytest.MonkeyPatch, data: bytes
) -> None:
    """What no header could carry is not hashed."""
    given(monkeypatch, data)

    assert (
        7,
        "",
        (
            "error: standard input is no token: one line of visible ASCII without "
            "blanks\n"
        ),
    ) == st8ctl.bare("token", "hash")


def test_hash_on_a_terminal(st8ctl: St8ctl, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a terminal it asks, without showing what is typed."""
    prompts: list[str] = []

    def ask(prompt: str, stream: object) -> str:
        assert stream is sys.stderr
        prompts.append(prompt)
        return "secret"

    monkeypatch.setattr(sys, "stdin", Typed(io.BytesIO(), terminal=True))
    monkeypatch.setattr(getpass, "getpass", ask)

    assert f"{sha256(b'secret').hexdigest()}\n" == st8ctl.bare("token", "hash").out
    assert ["token: "] == prompts


def test_hash_of_a_file(st8ctl: St8ctl, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is too long to be a token is refused."""
    given(monkeypatch, b"x" * (command._TOKEN_BYTES_MAX + 1))

    assert (7, "", "error: standard input is too long to be a token\n") == (
        st8ctl.bare("token", "hash")
    )
