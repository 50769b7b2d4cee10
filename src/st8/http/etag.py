"""Strong entity tags, and what If-None-Match says about them (RFC 9110, 13.1.2)."""

from __future__ import annotations

import re
from hashlib import sha256
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from st8.core.ids import Scope
    from st8.core.key_set import KeySet
    from st8.core.revisions import Revision
    from st8.http.plans import Selection

__all__ = ["etag_of", "matches", "selection_tag", "tag_of"]

_FORMAT: Final = b"state/1"
"""Changes when the same selection of the same revision is written differently."""

_TAG_BYTES: Final = 16
_TAG = re.compile(rb'\s*(?:W/)?("[\x21\x23-\x7e\x80-\xff]*")\s*(?:,|$)')


def selection_tag(selection: Selection) -> bytes:
    """Return a short digest of ``selection``; no other selection has it."""
    return sha256(repr(tuple(selection)).encode()).digest()[:_TAG_BYTES]


def tag_of(tag: bytes, visible: KeySet) -> bytes:
    """Return the tag of a selection for those who see ``visible`` keys only."""
    if visible.is_all:
        return tag
    return sha256(tag + repr(visible.ranges).encode()).digest()[:_TAG_BYTES]


def etag_of(
    revision: Revision | None, scope: Scope, tag: bytes, redactions: int
) -> bytes:
    """Return the entity tag of a selection of a state.

    A revision's digest covers its namespace, number and state. Where there is no
    revision the scope takes its place: two empty scopes are two resources. Another
    number of redactions may be another text of the same state.
    """
    if revision is None:
        subject = b"empty" + repr(tuple(scope)).encode()
    else:
        subject = b"revision" + revision.digest
    if redactions:
        subject += b"redactions%d" % redactions
    digest = sha256(_FORMAT + tag + subject).digest()[:_TAG_BYTES]
    return b'"%s"' % digest.hex().encode()


def matches(if_none_match: bytes, etag: bytes) -> bool:
    """Return whether a header names ``etag``, by the weak comparison it asks for.

    A header that can't be read names nothing, so the body is sent.
    """
    if if_none_match.strip() == b"*":
        return True
    at = 0
    found = False
    while at < len(if_none_match):
        match = _TAG.match(if_none_match, at)
        if match is None:
            return False
        found = found or match[1] == etag
        at = match.end()
    return found
