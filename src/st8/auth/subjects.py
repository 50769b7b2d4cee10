"""The subject of a certificate as one line, as RFC 4514 writes it.

``CN=deployer,O=Example``: the last part of the name comes first. The line that an
operator has written and the one that is made of a certificate are brought into the
same form, so that they are compared byte for byte and no character of a name can
pass for a separator.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["PeerName", "normal_subject", "subject_of"]

PeerName = tuple[tuple[tuple[str, str], ...], ...]
"""A name as :meth:`ssl.SSLObject.getpeercert` has it: parts of types with values."""

_SHORT: Final = {
    "commonname": "CN",
    "countryname": "C",
    "domaincomponent": "DC",
    "localityname": "L",
    "organizationname": "O",
    "organizationalunitname": "OU",
    "stateorprovincename": "ST",
    "streetaddress": "STREET",
    "userid": "UID",
}
_SPECIAL: Final = re.compile(r'[\\",+;<>=]|^[ #]| $|\x00')
_TOKEN: Final = re.compile(
    r"\\(?P<hex>[0-9A-Fa-f]{2}(?:\\[0-9A-Fa-f]{2})*)|\\(?P<escaped>[^0-9A-Fa-f])"
    r"|(?P<end>[,+])|(?P<plain>[^\\,+]+)",
    re.DOTALL,
)
_TYPE: Final = re.compile(r"[A-Za-z][A-Za-z0-9-]*|\d+(?:\.\d+)+")


def subject_of(name: PeerName) -> str:
    """Return the line of a certificate's name."""
    return _line(reversed(name))


def normal_subject(text: str) -> str:
    """Return a line that somebody wrote, in the form of :func:`subject_of`.

    Blanks around the separators and the case of types do not count.

    Raises:
        ValueError: It is no such line; says why.
    """
    parts: list[list[tuple[str, str]]] = [[]]
    for attribute, separator in _split(text):
        kind, equals, value = attribute
        if not equals or not _TYPE.fullmatch(kind):
            raise ValueError(f"{text!r} is not a subject such as CN=deployer,O=Example")
        parts[-1].append((kind, value))
        if separator == ",":
            parts.append([])
    return _line(tuple(part) for part in parts)


def _line(parts: Iterable[tuple[tuple[str, str], ...]]) -> str:
    return ",".join(
        "+".join(sorted(f"{_type(kind)}={_escaped(value)}" for kind, value in part))
        for part in parts
    )


def _type(kind: str) -> str:
    """Return the short form of a type's name."""
    return _SHORT.get(kind.lower(), kind.upper())


def _escaped(value: str) -> str:
    return _SPECIAL.sub(
        lambda match: "\\00" if match[0] == "\0" else "\\" + match[0], value
    )


def _split(text: str) -> Iterable[tuple[tuple[str, bool, str], str]]:
    """Yield type, whether a value follows it, value; and the separator after it."""
    raw = ""  # escapes kept, for the blanks around it
    at = 0
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            raise ValueError(f"{text!r} has a backslash that escapes nothing")
        at = match.end()
        if match["end"]:
            yield _attribute(raw), match["end"]
            raw = ""
        else:
            raw += match[0]
    yield _attribute(raw), ""


def _attribute(raw: str) -> tuple[str, bool, str]:
    """Return type, whether a value follows it, and the value without escapes."""
    kind, equals, value = raw.partition("=")
    value = value.lstrip(" ")
    bare = value.rstrip(" ")
    backslashes = len(bare) - len(bare.rstrip("\\"))
    if backslashes % 2 and bare != value:
        bare += " "  # an escaped one is part of the value
    return kind.strip(" "), bool(equals), _TOKEN.sub(_unescaped, bare)


def _unescaped(match: re.Match[str]) -> str:
    if match["hex"]:
        data = bytes.fromhex(match["hex"].replace("\\", ""))
        try:
            return data.decode("utf-8")
        except UnicodeDecodeError:
            raise ValueError(f"{match[0]!r} is not UTF-8") from None
    return match["escaped"] or match[0]
