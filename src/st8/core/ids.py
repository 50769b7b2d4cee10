"""Names and numbers that can't be wrong once they exist.

Every identifier is a type of its own and is validated when it is made, so a
function that is handed a :class:`Key` never asks whether it is one. Names are
compared byte for byte and are never joined with each other: ``/`` is an ordinary
character in all of them.
"""

from __future__ import annotations

import hashlib
import re
from typing import Final, NamedTuple, NewType, Self

from st8.core import limits
from st8.core.errors import InvalidValue, LimitExceeded

__all__ = [
    "DEFAULT_BRANCH",
    "DEFAULT_NAMESPACE",
    "DIGEST_BYTES",
    "PREFIX_BYTES",
    "Author",
    "BranchName",
    "CheckpointName",
    "Description",
    "Digest",
    "IdempotencyKey",
    "Key",
    "Message",
    "Namespace",
    "Reason",
    "RevisionNumber",
    "Scope",
    "digest_of",
    "digest_prefix",
    "utf8",
]

Digest = NewType("Digest", bytes)
"""32 bytes of SHA-256. Changes with every bit of what it names."""

RevisionNumber = NewType("RevisionNumber", int)
"""Counts 1, 2, 3 … in a namespace; 0 stands for "no revision yet". Never reused."""

DIGEST_BYTES: Final = 32

PREFIX_BYTES: Final = 8
"""How much of a digest stores find an object by, at least."""

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_NOT_BLANK = re.compile(r"[^\s]|[\x1c-\x1f]")
"""Python takes four separators for white space that nobody else does."""
_DOT_SEGMENT = re.compile(r"(?:^|/)\.{1,2}(?:/|$)")
_PRINTABLE_ASCII = re.compile(r"[\x21-\x7e]+")


def digest_of(data: bytes) -> Digest:
    """Return the SHA-256 of ``data``."""
    return Digest(hashlib.sha256(data).digest())


def digest_prefix(digest: bytes) -> int:
    """Return the first eight bytes of a digest, as a signed integer.

    Enough to find an object by, where the object itself is compared afterwards.
    """
    return int.from_bytes(digest[:PREFIX_BYTES], "big", signed=True)


def utf8(value: str, field: str) -> bytes:
    """Return ``value`` as UTF-8.

    Raises:
        InvalidValue: It holds a lone surrogate, which no UTF-8 can carry.
    """
    try:
        return value.encode()
    except UnicodeEncodeError as error:
        raise InvalidValue(
            field, f"has a lone surrogate at character {error.start}; not valid UTF-8"
        ) from None


class _Text(str):
    """A string that was checked when it was made."""

    __slots__ = ()

    field = "text"
    limit = limits.NAME_BYTES

    def __new__(cls, value: str) -> Self:
        """Check ``value`` and keep it unchanged.

        Raises:
            InvalidValue: It is empty or has characters that are not allowed.
            LimitExceeded: It is longer than its limit, in UTF-8 bytes.
        """
        size = len(utf8(value, cls.field))
        if size > cls.limit.maximum:
            raise LimitExceeded(cls.limit, f"{cls.field} of {size} bytes", size)
        cls.check(value)
        return super().__new__(cls, value)

    @classmethod
    def check(cls, value: str) -> None:
        """Raise if ``value`` is not allowed; its length is checked already."""


class _Name(_Text):
    """A namespace, branch or checkpoint."""

    __slots__ = ()

    @classmethod
    def check(cls, value: str) -> None:
        """Refuse what nobody could type or tell apart on a screen."""
        if not value:
            raise InvalidValue(cls.field, "must not be empty")
        if value != value.strip():
            raise InvalidValue(
                cls.field, f"{value!r} must not begin or end with white space"
            )
        if _CONTROL.search(value):
            raise InvalidValue(
                cls.field, f"{value!r} must not contain control characters"
            )


class Namespace(_Name):
    """The owner of a history. Never changes; comes to be with its first revision."""

    __slots__ = ()
    field = "namespace"


class BranchName(_Name):
    """The name of a movable pointer in a namespace."""

    __slots__ = ()
    field = "branch"


class CheckpointName(_Name):
    """The name that somebody gave a revision."""

    __slots__ = ()
    field = "checkpoint"


class Key(_Text):
    """The path-like name of a document within a state."""

    __slots__ = ()
    field = "key"
    limit = limits.KEY_BYTES

    @classmethod
    def check(cls, value: str) -> None:
        """Refuse what can't be typed, or names the same file in two ways."""
        if not value:
            raise InvalidValue(cls.field, "must not be empty")
        if _CONTROL.search(value):
            raise InvalidValue(
                cls.field, f"{value!r} must not contain control characters"
            )
        if _DOT_SEGMENT.search(value):
            raise InvalidValue(
                cls.field, f"{value!r} must not have '.' or '..' as a path segment"
            )


class Author(_Text):
    """Who made a revision, in their own words; may be empty."""

    __slots__ = ()
    field = "author"
    limit = limits.AUTHOR_BYTES

    @classmethod
    def check(cls, value: str) -> None:
        """Refuse what would break a line of a log."""
        if _CONTROL.search(value):
            raise InvalidValue(
                cls.field, f"{value!r} must not contain control characters"
            )


class Message(_Text):
    """Why a revision was made, or what a checkpoint is good for; may be empty."""

    __slots__ = ()
    field = "message"
    limit = limits.MESSAGE_BYTES

    @classmethod
    def check(cls, value: str) -> None:
        """Refuse NUL, which half the tools that show messages can't carry."""
        if "\0" in value:
            raise InvalidValue(cls.field, "must not contain NUL")


class Description(Message):
    """The message of a checkpoint."""

    __slots__ = ()
    field = "description"


class Reason(Message):
    """The message of a redaction."""

    __slots__ = ()
    field = "reason"


class IdempotencyKey(_Text):
    """A name that a client gives one change, so that it is made only once."""

    __slots__ = ()
    field = "Idempotency-Key"
    limit = limits.IDEMPOTENCY_KEY_BYTES

    @classmethod
    def check(cls, value: str) -> None:
        """Refuse what can't stand in an HTTP header."""
        if not _PRINTABLE_ASCII.fullmatch(value):
            raise InvalidValue(
                cls.field, "must be printable ASCII without spaces, and not empty"
            )


DEFAULT_NAMESPACE: Final = Namespace("default")
DEFAULT_BRANCH: Final = BranchName("main")


class Scope(NamedTuple):
    """A namespace and a branch in it: what nearly every operation is about."""

    namespace: Namespace = DEFAULT_NAMESPACE
    branch: BranchName = DEFAULT_BRANCH

    @classmethod
    def parse(cls, namespace: str = "", branch: str = "") -> Scope:
        """Return the scope of these names; a blank one takes its default.

        Raises:
            InvalidValue: A name has characters that are not allowed.
            LimitExceeded: A name is too long.
        """
        return cls(
            Namespace(namespace) if _NOT_BLANK.search(namespace) else DEFAULT_NAMESPACE,
            BranchName(branch) if _NOT_BLANK.search(branch) else DEFAULT_BRANCH,
        )
