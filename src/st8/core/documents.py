"""Documents and the changes between two states."""

from __future__ import annotations

from typing import Literal, NamedTuple

from st8.core import limits
from st8.core.errors import LimitExceeded
from st8.core.ids import Key, utf8

__all__ = ["Change", "ChangeType", "Document", "content_bytes"]

ChangeType = Literal["create", "update", "delete"]


class Document(NamedTuple):
    """A key and its content, which st8 never reformats."""

    key: Key
    content: str


class Change(NamedTuple):
    """What happened to one document between two states.

    Attributes:
        key: Which document.
        type: ``create`` when only the later state has it, ``delete`` when only
            the earlier one has it, ``update`` when both do.
        before: Its content in the earlier state; None where it was absent, or
            where contents were not asked for.
        after: Its content in the later state, likewise.
    """

    key: Key
    type: ChangeType
    before: str | None = None
    after: str | None = None


def content_bytes(key: str, content: str) -> bytes:
    """Return the bytes of a document's content.

    Raises:
        InvalidValue: The content is not valid Unicode text.
        LimitExceeded: It is longer than ``content_bytes_max``.
    """
    data = utf8(content, f"content of {key!r}")
    if len(data) > limits.CONTENT_BYTES.maximum:
        raise LimitExceeded(
            limits.CONTENT_BYTES, f"content of {key!r} in bytes", len(data)
        )
    return data
