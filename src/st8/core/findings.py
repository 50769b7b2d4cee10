"""What a verification says: findings, heads, how far it is, and what was looked at.

As values that engine, daemon, client and command line share, as JSON and as text.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from st8.core.errors import InvalidInput, InvalidValue
from st8.core.ids import DIGEST_BYTES, BranchName, Digest, Namespace, RevisionNumber

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "Event",
    "Finding",
    "Head",
    "Progress",
    "Verified",
    "as_fields",
    "finding_text",
    "from_fields",
    "heads_in",
    "parse_head",
    "progress_text",
    "summary_text",
]

_DIGITS_MAX: Final = 19
_SHOWN_CHARACTERS: Final = 100


class Finding(NamedTuple):
    """Something that is damaged.

    Attributes:
        code: What kind of damage, for programs; never changes its meaning.
        detail: A sentence for people, without its full stop.
        namespace: Whose it is; None where that can't be told, as in all that follows.
        revision: The number of a revision that needs it.
        key: The key of a document that needs it, or of one close to it.
        branch: The branch that it is about.
        checkpoint: The checkpoint that it is about.
        object: The digest of the object, or how it begins, in hexadecimal.
    """

    code: str
    detail: str
    namespace: str | None = None
    revision: int | None = None
    key: str | None = None
    branch: str | None = None
    checkpoint: str | None = None
    object: str | None = None


class Head(NamedTuple):
    """A branch's head, or what it was once, as somebody noted elsewhere."""

    namespace: Namespace
    branch: BranchName
    revision: RevisionNumber
    digest: Digest


class Progress(NamedTuple):
    """How far it is.

    Attributes:
        doing: What is being looked at, in words.
        done: How many of them.
        total: Of how many; 0 where nobody knows.
    """

    doing: str
    done: int
    total: int = 0


class Verified(NamedTuple):
    """What was looked at; the last event.

    Attributes:
        findings: How much is damaged.
        namespaces: How many were looked at, as of all that follows.
        revisions: Records.
        branches: Pointers.
        checkpoints: Pointers.
        answers: Answers to idempotency keys.
        objects: Objects that revisions need.
        unneeded: Objects that nothing needs: until the next collection there may be
            some, and they do no harm.
        unneeded_bytes: What these take, packed.
        skipped: Why something that was asked for was not done; empty where all was.
    """

    findings: int = 0
    namespaces: int = 0
    revisions: int = 0
    branches: int = 0
    checkpoints: int = 0
    answers: int = 0
    objects: int = 0
    unneeded: int = 0
    unneeded_bytes: int = 0
    skipped: str = ""


Event = Finding | Head | Progress | Verified

_TYPES: Final[dict[str, type[Finding | Progress | Verified]]] = {
    "finding": Finding,
    "progress": Progress,
    "summary": Verified,
}
_NAMES: Final = {kind: name for name, kind in _TYPES.items()}


def as_fields(event: Event) -> dict[str, object]:
    """Return an event as the fields of a JSON object."""
    if isinstance(event, Head):
        return {"type": "head", **event._asdict(), "digest": event.digest.hex()}
    known = {
        name: value for name, value in event._asdict().items() if value is not None
    }
    return {"type": _NAMES[type(event)], **known}


def from_fields(fields: Mapping[str, Any]) -> Event:
    """Return the event of these fields; those that nobody knows are left out.

    Raises:
        ValueError: They are not those of an event.
    """
    try:
        if fields["type"] == "head":
            names = fields["namespace"], fields["branch"]
            if not all(isinstance(name, str) for name in names):
                raise TypeError(names)  # noqa: TRY301 - told below
            return Head(
                Namespace(names[0]),
                BranchName(names[1]),
                *parse_head(f"{fields['revision']}:{fields['digest']}"),
            )
        kind = _TYPES[fields["type"]]
        return kind(**{k: v for k, v in fields.items() if k in kind._fields})
    except (KeyError, TypeError, InvalidInput) as error:
        raise ValueError(f"not an event of a verification: {error}") from None


def parse_head(text: str) -> tuple[RevisionNumber, Digest]:
    """Return what ``NUMBER:DIGEST`` says, the digest in hexadecimal.

    Raises:
        InvalidValue: It is not written so.
    """
    number, colon, digits = text.partition(":")
    if colon and number.isascii() and number.isdigit() and len(number) < _DIGITS_MAX:
        try:
            digest = bytes.fromhex(digits)
        except ValueError:
            digest = b""
        if int(number) and len(digits) == 2 * DIGEST_BYTES == 2 * len(digest):
            return RevisionNumber(int(number)), Digest(digest)
    raise InvalidValue(
        "expect-head",
        f"{text[:_SHOWN_CHARACTERS]!r} is not a head; write NUMBER:DIGEST, such as 42: "
        "and the 64 hexadecimal digits of revision 42, as st8ctl log -o json has them",
    )


def heads_in(text: str) -> list[Head]:
    """Return the heads among JSON lines; lines of other types are passed over.

    Raises:
        ValueError: There are none, or a line is not of a verification.
    """
    import json  # noqa: PLC0415 - start-up time of st8ctl

    found: list[Head] = []
    lines = text.removesuffix("\n").split("\n")  # names may have other separators
    for number, line in enumerate(lines if text else (), 1):
        try:
            fields = json.loads(line)
            event = from_fields(fields) if fields["type"] == "head" else None
        except (ValueError, TypeError, KeyError, RecursionError):
            raise ValueError(
                f"line {number} is not of a verification with --heads as JSON"
            ) from None
        found += [event] if isinstance(event, Head) else []
    if not found:
        raise ValueError(
            "it has no heads; write it by a verification with --heads as JSON"
        )
    return found


def progress_text(progress: Progress) -> str:
    """Return how far it is, for a terminal."""
    total = f" of {progress.total:,}" if progress.total else ""
    return f"verifying {progress.doing} {progress.done:,}{total}"


def finding_text(finding: Finding) -> str:
    """Return a finding as a line for people."""
    return f"{finding.code}: {finding.detail}"


def summary_text(done: Verified) -> str:
    """Return a sentence that says what was looked at, and how it was."""
    looked = ", ".join(
        f"{count:,} {_counted(count, word, words)}"
        for count, word, words in (
            (done.namespaces, "namespace", "namespaces"),
            (done.revisions, "revision", "revisions"),
            (done.branches, "branch", "branches"),
            (done.checkpoints, "checkpoint", "checkpoints"),
            (done.objects, "object", "objects"),
        )
    )
    verdict = "no damage"
    if done.findings:
        verdict = f"DAMAGED, {done.findings:,} {_counted(done.findings, 'finding')}"
    text = f"{verdict}: {looked}"
    if done.unneeded:
        text += f"; {done.unneeded:,} more that nothing needs"
    return f"{text}; {done.skipped}" if done.skipped else text


def _counted(count: int, word: str, words: str = "") -> str:
    return word if count == 1 else words or f"{word}s"
