"""Parts of the policy file that several entries have: names, times, rules."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, get_args

from st8.auth.access import Rule, Verb
from st8.auth.globs import Glob
from st8.auth.yaml_fields import nearest
from st8.core.durations import parse_duration
from st8.core.errors import InvalidInput
from st8.core.ids import Author, Key
from st8.core.rates import Rate, parse_rate
from st8.core.revisions import parse_time

if TYPE_CHECKING:
    from st8.auth.yaml_fields import Field

__all__ = [
    "read_duration",
    "read_globs",
    "read_name",
    "read_rate",
    "read_rules",
    "read_time",
]

_RULE: Final = ("namespaces", "branches", "key_prefix", "verbs")
_DATE: Final = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_VERBS: Final[dict[str, Verb]] = {verb: verb for verb in get_args(Verb)}


def read_name(field: Field) -> str:
    """Return a name that may stand as the author of a revision.

    Raises:
        InvalidInput: It may not.
    """
    text = field.text()
    if not text.strip() or text != text.strip():
        raise field.wrong(f"{field.name} is blank or has white space around it")
    try:
        return Author(text)
    except InvalidInput as error:
        raise field.wrong(error.detail) from None


def read_time(field: Field) -> int:
    """Return a time, or the first moment of a day, in nanoseconds since 1970 UTC.

    Raises:
        InvalidInput: It is neither.
    """
    text = field.text()
    if _DATE.fullmatch(text):
        text += "T00:00:00Z"
    try:
        return parse_time(text, field.name)
    except InvalidInput as error:
        raise field.wrong(f"{error.detail}, or a date") from None


def read_duration(field: Field, least: str, most: str) -> float:
    """Return the seconds of a duration from ``least`` to ``most``.

    Raises:
        InvalidInput: It is none, or lies beyond.
    """
    try:
        seconds = parse_duration(field.text())
    except ValueError as error:
        raise field.wrong(f"{field.name}: {error}") from None
    if not parse_duration(least) <= seconds <= parse_duration(most):
        raise field.wrong(f"{field.name} must be from {least} to {most}")
    return seconds


def read_rules(field: Field | None) -> tuple[Rule, ...]:
    """Return what ``allow`` allows: one rule or a list of them; absent, nothing.

    Raises:
        InvalidInput: It is something else.
    """
    if field is None:
        return ()
    return tuple(
        _read_rule(rule)
        for rule in (field.items("a rule of allow") if field.is_list else [field])
    )


def _read_rule(field: Field) -> Rule:
    fields = field.fields(_RULE)
    prefix = ""
    if "key_prefix" in fields:
        prefix = fields["key_prefix"].text()
        try:
            prefix = prefix and Key(prefix)
        except InvalidInput as error:
            raise fields["key_prefix"].wrong(f"key_prefix: {error.detail}") from None
    return Rule(
        read_globs(fields.get("namespaces")),
        read_globs(fields.get("branches")),
        prefix,
        _read_verbs(fields.get("verbs")),
    )


def read_globs(field: Field | None) -> tuple[Glob, ...]:
    """Return a list of patterns; absent, none.

    Raises:
        InvalidInput: One is no pattern.
    """
    if field is None:
        return ()
    globs: list[Glob] = []
    for text, item in field.texts():
        try:
            globs.append(Glob(text))
        except ValueError as error:
            raise item.wrong(str(error)) from None
    return tuple(globs)


def read_rate(field: Field | None) -> Rate | None:
    """Return how many requests may be sent; absent, None.

    Raises:
        InvalidInput: It is no rate.
    """
    if field is None:
        return None
    try:
        return parse_rate(field.text())
    except ValueError as error:
        raise field.wrong(str(error)) from None


def _read_verbs(field: Field | None) -> frozenset[Verb]:
    if field is None:
        return frozenset()
    verbs: set[Verb] = set()
    for text, item in field.texts():
        if text not in _VERBS:
            raise item.wrong(f"there is no verb {text!r}; {nearest(text, _VERBS)}")
        verbs.add(_VERBS[text])
    return frozenset(verbs)
