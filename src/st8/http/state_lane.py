"""The fast lane of ``GET /v1/state``: what was asked before is answered at once.

Most reads ask for the head of a branch, again and again, by the same query. For
these the lane remembers what a query means, and for a revision and a selection the
whole response, ready to send. What a query means never changes, and neither does a
revision, so nothing here ever has to be invalidated but for a redaction: only the head
is asked for each time, and the engine answers that from memory.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from st8.core.revisions import Revision
from st8.engine.cache import ByteCache
from st8.http.etag import matches, tag_of

if TYPE_CHECKING:
    from collections.abc import MutableMapping

    from st8.engine.engine import Engine
    from st8.http.plans import StatePlan

    Message = MutableMapping[str, Any]

__all__ = ["KeptReply", "StateLane"]

RESPONSES_BYTES: Final = 32 * 1024 * 1024
_QUERIES_KEPT: Final = 4_096
_QUERY_BYTES_MAX: Final = 1_024
_OVERHEAD_BYTES: Final = 2_048
_EMPTY: Final[Message] = {"type": "http.response.body", "body": b""}


class KeptReply:
    """A response that is ready to send, as the messages that ASGI wants.

    The messages are shared between requests; servers read them only.
    """

    __slots__ = ("body", "etag", "not_modified", "ok")

    def __init__(
        self,
        body: bytes,
        etag: bytes,
        headers: list[tuple[bytes, bytes]],
        not_modified_headers: list[tuple[bytes, bytes]],
    ) -> None:
        """Keep ``body`` under ``etag``; the headers lack only the length."""
        self.etag = etag
        self.ok: Message = {
            "type": "http.response.start",
            "status": 200,
            "headers": [*headers, (b"content-length", b"%d" % len(body))],
        }
        self.body: Message = {"type": "http.response.body", "body": body}
        self.not_modified: Message = {
            "type": "http.response.start",
            "status": 304,
            "headers": not_modified_headers,
        }

    def messages(self, *, head_only: bool) -> tuple[Message, Message]:
        """Return both messages of a 200 response."""
        return self.ok, _EMPTY if head_only else self.body


class StateLane:
    """Remembers queries and responses.

    :meth:`find` and :meth:`learn` are called on the event loop alone;
    :meth:`kept`, :meth:`keep` and :meth:`forget` on any thread.

    Attributes:
        responses: What is kept.
        forgotten: How often all of it was forgotten.
    """

    def __init__(self, engine: Engine, maximum_bytes: int = RESPONSES_BYTES) -> None:
        """Remember at most ``maximum_bytes`` of responses."""
        self._peek_head = engine.peek_head
        self._plans: dict[bytes, StatePlan] = {}
        self.responses: ByteCache[bytes, KeptReply] = ByteCache(maximum_bytes)
        self.forgotten = 0
        engine.on_redaction(self.forget)

    def plan(self, query: bytes) -> StatePlan | None:
        """Return what a query means, if it is known."""
        return self._plans.get(query)

    def find(
        self, plan: StatePlan, if_none_match: bytes | None
    ) -> tuple[Message, Message] | None:
        """Return the messages to send; None if the answer has to be made."""
        head = self._peek_head(plan.scope, plan.freshness)
        if not isinstance(head, Revision):
            return None
        kept = self.responses.get(head.digest + tag_of(plan.tag, plan.visible))
        if kept is None:
            return None
        if if_none_match is not None and (
            if_none_match == kept.etag or matches(if_none_match, kept.etag)
        ):
            return kept.not_modified, _EMPTY
        return kept.ok, kept.body

    def learn(self, query: bytes, plan: StatePlan) -> None:
        """Remember what a query means, if it always means the head of a branch."""
        once = plan.wait_s or plan.freshness.min_revision
        if not plan.selector.is_head or once or len(query) > _QUERY_BYTES_MAX:
            return
        if len(self._plans) >= _QUERIES_KEPT:
            del self._plans[next(iter(self._plans))]
        self._plans[query] = plan

    def kept(self, revision_digest: bytes, tag: bytes) -> KeptReply | None:
        """Return the response for a revision and a selection, if it is kept."""
        return self.responses.get(revision_digest + tag)

    def keep(
        self, revision_digest: bytes, tag: bytes, reply: KeptReply, since: int
    ) -> None:
        """Keep the response for a revision and a selection.

        ``since`` is what :attr:`forgotten` was before it was begun: what was read
        before something was redacted is not kept.
        """
        size = len(reply.body["body"]) + _OVERHEAD_BYTES
        self.responses.put(revision_digest + tag, reply, size)
        if since != self.forgotten:
            self.responses.clear()

    def forget(self) -> None:
        """Keep no response: what is in one may have been redacted."""
        self.forgotten += 1
        self.responses.clear()
