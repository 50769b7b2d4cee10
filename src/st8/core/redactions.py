"""Contents that were taken out of history, and the mark that stands in their place.

A redacted content is stored nowhere any more, under whatever key and in whatever
revision it stood. The digests that name it stay, so every history still verifies.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from st8.core.revisions import format_time

if TYPE_CHECKING:
    from st8.core.ids import Author, Digest, Key, Message, Namespace

__all__ = ["Redaction", "mark_of"]

_NS: Final = 1_000_000_000


class Redaction(NamedTuple):
    """That a content was redacted, and a place where it stood.

    A content has one of them for each place.

    Attributes:
        digest: The content's.
        namespace: In which namespace it stood.
        key: Under which key.
        author: Who redacted it; may be empty.
        reason: Why, in their words; may be empty.
        time_ns: When, in nanoseconds since 1970-01-01 UTC.
    """

    digest: Digest
    namespace: Namespace
    key: Key
    author: Author
    reason: Message
    time_ns: int


def mark_of(redaction: Redaction) -> bytes:
    """Return what is read in place of the content: one line that says who and when, to the second."""
    by = f" by {redaction.author}" if redaction.author else ""
    why = " ".join(redaction.reason.split())
    why = f": {why}" if why else ""
    when = format_time(redaction.time_ns // _NS * _NS)
    return f"[st8: redacted {when}{by}{why}]\n".encode()
