"""The fields that requests share: what each means, and what it may hold.

What OpenAPI says of their sizes is for readers and generators; it is the types of
``core`` that hold values to their limits, so that an error names the limit.
"""

from __future__ import annotations

from typing import Annotated, Any

from msgspec import Meta

from st8.core import limits
from st8.http.plans import LOG_ENTRIES_DEFAULT, Detail

__all__ = [
    "AfterField",
    "AtField",
    "AuthorField",
    "BranchField",
    "ChangesField",
    "CheckpointField",
    "ContentField",
    "DryRunField",
    "ExpectField",
    "KeyField",
    "LimitField",
    "LogAfterField",
    "LogLimitField",
    "MessageField",
    "NameField",
    "NamespaceField",
    "PrefixField",
    "RevisionField",
    "StateLimitField",
]


def _text(description: str, limit: limits.Limit, **schema: Any) -> Meta:
    """Return what is said of a text of so many bytes at most."""
    return Meta(
        description=f"{description} At most {limit.maximum} bytes of UTF-8.",
        extra_json_schema={"maxLength": limit.maximum, **schema},
    )


def _number(description: str, limit: limits.Limit) -> Meta:
    """Return what is said of a number of entries."""
    return Meta(
        description=f"{description} At most {limit.maximum}.",
        extra_json_schema={"minimum": 0, "maximum": limit.maximum},
    )


NamespaceField = Annotated[str, _text("Blank stands for `default`.", limits.NAME_BYTES)]
BranchField = Annotated[str, _text("Blank stands for `main`.", limits.NAME_BYTES)]
NameField = Annotated[
    str,
    _text(
        "Without control characters, and without white space around it.",
        limits.NAME_BYTES,
        minLength=1,
    ),
]
KeyField = Annotated[
    str,
    _text(
        "The path-like name of a document; without control characters, and without "
        "`.` or `..` as a segment.",
        limits.KEY_BYTES,
        minLength=1,
    ),
]
ContentField = Annotated[str, _text("Text, kept byte for byte.", limits.CONTENT_BYTES)]
RevisionField = Annotated[
    int,
    Meta(
        description="A revision's number, or a negative number relative to the head: "
        "-1 is the one before it. 0 stands for not given.",
    ),
]
CheckpointField = Annotated[
    str, _text("The revision that this checkpoint names.", limits.NAME_BYTES)
]
AtField = Annotated[
    str,
    Meta(
        description="The revision that was the head at this RFC 3339 time.",
        examples=["2026-01-31T12:00:00Z"],
    ),
]
MessageField = Annotated[
    str, _text("Why. Blank takes the name of the operation.", limits.MESSAGE_BYTES)
]
AuthorField = Annotated[str, _text("Who makes the change.", limits.AUTHOR_BYTES)]
ExpectField = Annotated[
    int,
    Meta(
        ge=0,
        description="Refuse with 409 unless the branch's head is this revision; 0 "
        "expects that nothing was applied yet.",
    ),
]
DryRunField = Annotated[
    bool, Meta(description="Answer what would be changed, and change nothing.")
]
ChangesField = Annotated[
    Detail,
    Meta(
        description="How much of the changes is answered: `full` with contents, `keys` "
        "without, or `none`."
    ),
]
PrefixField = Annotated[str, _text("Only names that begin with it.", limits.KEY_BYTES)]
AfterField = Annotated[
    str,
    _text("Go on behind this name: the `next` of the page before.", limits.KEY_BYTES),
]
LimitField = Annotated[
    int, _number("Entries of a page; 0 for as many as can be.", limits.PAGE_ENTRIES)
]
LogLimitField = Annotated[
    int,
    _number(
        f"Entries of a page; 0 for {LOG_ENTRIES_DEFAULT}.",
        limits.PAGE_ENTRIES,
    ),
]
LogAfterField = Annotated[
    int,
    Meta(
        ge=0,
        description="Only entries older than this revision: the `next` of the page "
        "before.",
    ),
]
StateLimitField = Annotated[
    int, _number("Documents of a page; 0 for all of them.", limits.STATE_PAGE_DOCUMENTS)
]
