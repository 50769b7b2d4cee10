"""From the text of one setting to its value; ValueError says why it can't be."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Final

from st8.auth.globs import Glob
from st8.config.settings import Address, RetentionRule, TcpAddress, UnixAddress
from st8.core import limits
from st8.core.durations import parse_age, parse_duration

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = [
    "MASK",
    "conceal_all",
    "conceal_url",
    "parse_audit_log",
    "parse_directory",
    "parse_file",
    "parse_interval",
    "parse_limit",
    "parse_listen",
    "parse_one_of",
    "parse_place",
    "parse_retention",
    "parse_store",
    "parse_switch",
    "parse_token",
    "parse_workers",
]

MASK: Final = "***"
"""What stands for a secret where settings are shown."""

_PORT_MAX: Final = 65_535
_SOCKET_PATH_BYTES_MAX: Final = 103  # macOS takes no more, Linux 107
_SOCKET_MODE: Final = 0o660
_MODE_MAX: Final = 0o777
_UNIX: Final = "unix:"
_STORES: Final = ("sqlite", "postgresql", "postgres", "memory")
_PASSWORDS: Final = re.compile(r"((?:^|&)\w*password=)[^&]*")
_SCHEME: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")


def parse_listen(text: str) -> Address:
    """Return the address of ``:8748``, ``host:8748``, ``[::1]:8748``, ``unix:/path``.

    The latter may end in ``,mode=0600``; its mode is 0660 otherwise.
    """
    if text.startswith(_UNIX):
        return _parse_unix(text.removeprefix(_UNIX))
    host, colon, port = text.rpartition(":")
    if not colon:
        raise ValueError(
            f"{text!r} has no port; write :8748, 127.0.0.1:8748 or unix:/path"
        )
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        raise ValueError(f"{text!r} has too many colons; write [::1]:8748")
    if not (port.isascii() and port.isdigit()) or int(port[:6]) > _PORT_MAX:
        raise ValueError(f"{port!r} is not a port; it is a number up to {_PORT_MAX}")
    try:
        host.encode("idna")  # as the resolver will
    except UnicodeError:
        raise ValueError(f"{host!r} can't be the name of a host") from None
    if "\0" in host:
        raise ValueError(f"{host!r} can't be the name of a host")
    return TcpAddress(host, int(port))


def _parse_unix(text: str) -> UnixAddress:
    """Return the address of what follows ``unix:``."""
    path, comma, option = text.partition(",")
    path = path.removeprefix("//") if path.startswith("///") else path
    mode = _SOCKET_MODE
    if comma:
        name, _, digits = option.partition("=")
        octal = digits.isascii() and digits.isdigit() and not set(digits) & {"8", "9"}
        if name != "mode" or not octal or int(digits, 8) > _MODE_MAX:
            raise ValueError(f"{option!r} is no mode; write unix:{path},mode=0660")
        mode = int(digits, 8)
    if not path:
        raise ValueError("a socket needs a path; write unix:/run/st8/st8d.sock")
    size = len(_path_bytes(path))
    if size > _SOCKET_PATH_BYTES_MAX:
        raise ValueError(
            f"the path has {size} bytes, and that of a socket may have "
            f"{_SOCKET_PATH_BYTES_MAX} at most; choose a shorter one"
        )
    return UnixAddress(Path(path), mode)


def parse_limit(text: str) -> float:
    """Return a duration that bounds something; 0 bounds nothing."""
    return parse_duration(text) or float("inf")


def parse_interval(text: str) -> float:
    """Return how often something is done, a second at the least; 0 is never."""
    interval_s = parse_age(text)
    if 0 < interval_s < 1:
        raise ValueError(f"{text!r} is too often; the least is 1s, and 0 is never")
    return interval_s


def parse_retention(text: str) -> RetentionRule:
    """Return the rule of ``PATTERN:keep=N,younger-than=AGE`` or ``PATTERN:never``.

    Either of the two terms may be left out.
    """
    pattern, colon, terms = text.rpartition(":")
    if not colon or not pattern:
        raise ValueError(
            f"{text!r} is no rule; write 'payments/*:keep=100,younger-than=30d', or "
            "'audit:never'"
        )
    Glob(pattern)
    if terms == "never":
        return RetentionRule(pattern, 1, never=True)
    found: dict[str, str] = {}
    for term in terms.split(","):
        name, equals, value = term.partition("=")
        if name not in {"keep", "younger-than"} or not equals or name in found:
            raise ValueError(
                f"{term!r} in {text!r} is none of never, keep=N and younger-than=AGE, "
                "or is there twice"
            )
        found[name] = value
    keep = found.get("keep", "10")
    most = limits.GC_KEEP.maximum
    if not (keep.isascii() and keep.isdigit()) or not 1 <= int(keep[:12]) <= most:
        raise ValueError(
            f"keep={keep} in {text!r} is no number of revisions; it is from 1 to {most} "
            f"({limits.GC_KEEP.name})"
        )
    age_s = parse_age(found.get("younger-than", "0"))
    if age_s > limits.GC_YOUNGER_SECONDS.maximum:
        raise ValueError(
            f"younger-than in {text!r} is more than {limits.GC_YOUNGER_SECONDS.maximum} "
            f"seconds ({limits.GC_YOUNGER_SECONDS.name}); write never to keep all"
        )
    return RetentionRule(pattern, int(keep), age_s)


def parse_directory(text: str) -> Path:
    """Return a path that is not empty."""
    if not text:
        raise ValueError("a directory is needed")
    _path_bytes(text)
    return Path(text)


def parse_place(text: str) -> str:
    """Return the URL of a store; a path stands for the embedded store in it."""
    if not text:
        raise ValueError("a store is needed")
    if text.startswith("memory:"):
        raise ValueError("memory: is gone when the process ends; name another store")
    _path_bytes(text)
    return text if _SCHEME.match(text) else f"sqlite:{text}"


def parse_file(text: str) -> Path | None:
    """Return a path, None for the empty default."""
    _path_bytes(text)
    return Path(text) if text else None


def parse_store(text: str) -> str | None:
    """Return the URL of a store, None for the empty default.

    Only its beginning is looked at; the store itself reads the rest.
    """
    if not text:
        return None
    scheme, colon, rest = text.partition(":")
    if not colon or scheme not in _STORES or (scheme == "sqlite" and not rest):
        shown = "this" if "@" in text else repr(text)
        raise ValueError(
            f"{shown} is not a store; write postgresql://USER@HOST/DATABASE or "
            "sqlite:DIRECTORY"
        )
    if MASK in text and conceal_url(text) == text:
        raise ValueError(
            f"{MASK} stands for a secret that st8d config has masked; write the password"
        )
    _path_bytes(text)
    return text


def conceal_all(text: str) -> str:
    """Return what is shown of a secret; nothing of no secret."""
    return MASK if text else text


def conceal_url(text: str) -> str:
    """Return a URL without its passwords."""
    base, mark, query = text.partition("?")
    user, at, host = base.rpartition("@")
    if at:
        scheme, slashes, user = user.partition("//")
        name, colon, _ = user.partition(":")
        base = f"{scheme}{slashes}{name}{colon}{MASK if colon else ''}{at}{host}"
    return base + mark + _PASSWORDS.sub(rf"\1{MASK}", query)


def parse_audit_log(text: str) -> str | None:
    """Return a path or ``-``, None for the empty default."""
    _path_bytes(text)
    return text or None


def _path_bytes(text: str) -> bytes:
    """Return a path as the system has it."""
    try:
        data = os.fsencode(text)
    except UnicodeEncodeError:
        data = b"\0"
    if b"\0" in data:
        raise ValueError(f"{text!r} has characters that no path can have")
    return data


def parse_token(text: str) -> str | None:
    """Return a token that a client can send, None for the empty default.

    An empty token turns authentication off, as in the original. One of white space,
    or with white space around it, is a mistake (a variable that was not set, a
    file's line end) which no header could ever match: it is refused.
    """
    if not text:
        return None
    if text == MASK:
        raise ValueError(
            f"{MASK} stands for a secret that st8d config has masked; write the token"
        )
    if text != text.strip():
        raise ValueError("the token is blank or has white space around it")
    if not all("!" <= character <= "~" for character in text):
        raise ValueError("the token has characters that no HTTP header can carry")
    return text


def parse_workers(text: str) -> int:
    """Return a number of processes."""
    most = limits.WORKERS.maximum
    if not (text.isascii() and text.isdigit()) or not 1 <= int(text[:6]) <= most:
        raise ValueError(
            f"{text!r} is no number of workers; it is from 1 to {most} "
            f"({limits.WORKERS.name})"
        )
    return int(text)


def parse_one_of(*names: str) -> Callable[[str], str]:
    """Return a parser that takes one of ``names``."""

    def parse(text: str) -> str:
        if text not in names:
            raise ValueError(f"{text!r} is none of {', '.join(names)}")
        return text

    return parse


def parse_switch(text: str) -> bool:
    """Return whether a flag without a value is set; ``=false`` takes it back."""
    if text.lower() not in {"true", "false"}:
        raise ValueError(f"{text!r} is neither true nor false")
    return text.lower() == "true"
