"""``st8ctl token``: make a token for a policy file, or hash one. Asks no daemon.

A token is ``st8_<id>_<secret>``: what it is, a name that may be shown anywhere, and
256 bits of chance. The policy file has its SHA-256 alone, so whoever reads the file
learns no token, and a token that was lost can only be replaced.
"""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING, Any, Final

import click

from st8.cli import output
from st8.cli.command import Group, command
from st8.cli.render import record
from st8.core.errors import InvalidInput, InvalidValue

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from st8.cli.flags import Flags

__all__ = ["COMMAND"]

COMMAND = Group("token", help="Make a token for st8d's policy file, or hash one.")

_LETTERS: Final = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_ID_LETTERS: Final = 8
_SECRET_LETTERS: Final = 43  # 62^43 is just over 2^256
_TOKEN_BYTES_MAX: Final = 64 * 1024
_NS: Final = 1_000_000_000
_DAYS: Final = {"d": 1, "w": 7}
_DAY_S: Final = 86_400


@command("new")
@click.option("--name", metavar="NAME", help="Whose it is; token-ID if not given.")
@click.option(
    "--expires", metavar="WHEN", help="90d, 12h, 2027-01-31 or a time; never if absent."
)
@click.option(
    "--namespace",
    metavar="GLOB",
    multiple=True,
    help="Namespaces it may be used in; may be repeated.  [*]",
)
@click.option(
    "--branch",
    metavar="GLOB",
    multiple=True,
    help="Branches it may be used on; may be repeated.  [*]",
)
@click.option("--key-prefix", metavar="PREFIX", help="Keys it may be used on.")
@click.option(
    "--verb",
    metavar="VERB",
    multiple=True,
    type=click.Choice(["read", "write", "admin"]),
    help="What it may be used for: read, write, admin; may be repeated.  [read]",
)
@click.option(
    "--out-token", metavar="FILE", help="Write the token to a new file of mode 0600."
)
def new(
    flags: Flags,
    name: str | None,
    expires: str | None,
    namespace: tuple[str, ...],
    branch: tuple[str, ...],
    key_prefix: str | None,
    verb: tuple[str, ...],
    out_token: str | None,
) -> None:
    """Make a token, and its entry for the policy file.

    The token goes to standard output, once and nowhere else, and the entry to
    standard error. With --out-token the token goes to that file and the entry to
    standard output.
    """
    from st8.core.ids import Author, Key

    if name is not None and (not name or name != name.strip()):
        raise InvalidValue("--name", "is blank or has white space around it")
    token_id = _chance(_ID_LETTERS)
    entry: dict[str, Any] = {"name": str(Author(name or f"token-{token_id}"))}
    token = f"st8_{token_id}_{_chance(_SECRET_LETTERS)}"
    entry["token_sha256"] = _digest(token)
    if expires is not None:
        entry["expires"] = _end(expires)
    allow: dict[str, Any] = {
        "namespaces": list(namespace) or ["*"],
        "branches": list(branch) or ["*"],
    }
    if key_prefix:
        allow["key_prefix"] = str(Key(key_prefix))
    entry["allow"] = {**allow, "verbs": _once(verb) or ["read"]}
    if out_token is not None:
        _write_secret(out_token, token)
        output.note(f"wrote the token to {out_token}; it is shown nowhere else")
        record(flags, {"token_file": out_token, "entry": entry}, lambda: _listed(entry))
        return
    if flags.output == "text":
        output.note("the entry for the policy file, under tokens:")
        for line in _listed(entry).splitlines():
            output.note(line)
    record(flags, {"token": token, "entry": entry}, lambda: f"{token}\n")


@command("hash")
def hash_token(flags: Flags) -> None:
    """Hash a token that is given on standard input, for token_sha256."""
    if sys.stdin.isatty():
        from getpass import getpass

        token = getpass("token: ", stream=sys.stderr)
    else:
        data = sys.stdin.buffer.read(_TOKEN_BYTES_MAX + 1)
        if len(data) > _TOKEN_BYTES_MAX:
            raise InvalidInput("standard input is too long to be a token")
        token = data.decode("ascii", "replace")
        token = token.removesuffix("\n").removesuffix("\r")
    if not token or not all("!" <= letter <= "~" for letter in token):
        raise InvalidInput(
            "standard input is no token: one line of visible ASCII without blanks"
        )
    digest = _digest(token)
    record(flags, {"token_sha256": digest}, lambda: f"{digest}\n")


def _chance(letters: int) -> str:
    """Return that many letters and digits that nobody can guess."""
    import secrets

    return "".join(secrets.choice(_LETTERS) for _ in range(letters))


def _digest(token: str) -> str:
    import hashlib

    return hashlib.sha256(token.encode()).hexdigest()


def _once(items: Sequence[str]) -> list[str]:
    """Return the items, each once, in their order."""
    return list(dict.fromkeys(items))


def _end(text: str) -> str:
    """Return the time at which a token ends, as the policy file has it.

    Raises:
        InvalidValue: It is no time and no duration, or it has passed.
    """
    from st8.clock import SystemClock
    from st8.core.durations import parse_duration
    from st8.core.revisions import format_time, parse_time

    now_ns = SystemClock().now_ns()
    days = re.fullmatch(r"(\d{1,5})([dw])", text, re.ASCII)
    try:
        if days:
            seconds = float(int(days[1]) * _DAYS[days[2]] * _DAY_S)
        else:
            seconds = parse_duration(text)
    except ValueError:
        day = re.fullmatch(r"\d{4}-\d\d-\d\d", text, re.ASCII)
        try:
            end_ns = parse_time(f"{text}T00:00:00Z" if day else text, "--expires")
        except InvalidValue:
            raise InvalidValue(
                "--expires",
                f"{text!r} is no time; write it like 90d, 12h, 2027-01-31 or "
                "2027-01-31T12:00:00Z",
            ) from None
    else:
        end_ns = (now_ns // _NS + round(seconds)) * _NS
    if end_ns <= now_ns:
        raise InvalidValue("--expires", f"{text} has passed")
    return format_time(end_ns)


def _listed(entry: Mapping[str, Any]) -> str:
    """Return an entry as an item of the list ``tokens``."""
    import yaml

    text: str = yaml.safe_dump(
        [dict(entry)],
        sort_keys=False,
        allow_unicode=True,
        default_flow_style=None,
        width=_TOKEN_BYTES_MAX,
    )
    return "".join(f"  {line}\n" for line in text.splitlines())


def _write_secret(path: str, token: str) -> None:
    """Write a token into a file that is not there yet and only its owner may read.

    Raises:
        InvalidInput: The file is there, or can't be written.
    """
    import os

    made = os.O_WRONLY | os.O_CREAT | os.O_EXCL
    try:
        with open(os.open(path, made, 0o600), "w", encoding="ascii") as file:
            file.write(f"{token}\n")
    except FileExistsError:
        raise InvalidInput(
            f"{path!r} is there already; name a new file, lest a token is lost"
        ) from None
    except OSError as error:
        raise InvalidInput(f"can't write {path!r}: {error.strerror}") from None


for subcommand in (new, hash_token):
    COMMAND.add_command(subcommand)
