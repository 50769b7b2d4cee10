"""What clients ask for in query strings, and the plans it stands for."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct, field

from st8.core import limits
from st8.core.durations import parse_duration
from st8.core.errors import InvalidValue, LimitExceeded
from st8.core.ids import Author, CheckpointName, Key, RevisionNumber
from st8.core.revisions import parse_time
from st8.engine.history import LogFilter
from st8.engine.requests import Freshness, Selector
from st8.http.etag import selection_tag
from st8.http.fields import (
    AfterField,
    AtField,
    BranchField,
    ChangesField,
    CheckpointField,
    KeyField,
    LimitField,
    LogAfterField,
    LogLimitField,
    NamespaceField,
    PrefixField,
    RevisionField,
    StateLimitField,
)
from st8.http.json_body import decode
from st8.http.plans import (
    LOG_ENTRIES_DEFAULT,
    CheckpointsPlan,
    Feed,
    ListPlan,
    LogPlan,
    NoPlan,
    Plan,
    Reach,
    RestoreBackupPlan,
    Selection,
    StatePlan,
    WatchPlan,
    page_size,
)
from st8.http.wire import namespace_of, scope_of, selector_of

__all__ = [
    "BranchesQuery",
    "CheckpointsQuery",
    "LogQuery",
    "NamespacesQuery",
    "NoQuery",
    "Query",
    "RestoreBackupQuery",
    "StateQuery",
    "WatchQuery",
    "WatchScope",
]


class Query(Struct, forbid_unknown_fields=True):
    """The parameters of a query string."""

    def plan(self) -> Plan:
        """Return what to read.

        Raises:
            InvalidInput: A name or a number is not allowed.
        """
        raise NotImplementedError


class NoQuery(Query):
    """No parameters."""

    def plan(self) -> NoPlan:
        """Return that nothing is asked for but the operation."""
        return NoPlan()


class RestoreBackupQuery(Query):
    """No parameters; the body says all."""

    def plan(self) -> RestoreBackupPlan:
        """Return what to do."""
        return RestoreBackupPlan()


class StateQuery(Query):
    """Which state, and which of its documents."""

    namespace: NamespaceField = ""
    branch: BranchField = ""
    revision: RevisionField = 0
    checkpoint: CheckpointField = ""
    at: AtField = ""
    key: Annotated[
        list[KeyField],
        Meta(
            description="Only these documents; absent ones are left out.",
            extra_json_schema={"maxItems": limits.READ_KEYS.maximum},
        ),
    ] = field(default_factory=list[str])
    prefix: PrefixField = ""
    limit: StateLimitField = 0
    after: AfterField = ""
    contents: Annotated[
        bool, Meta(description="`false` answers `keys` instead of `objects`.")
    ] = True
    wait: Annotated[
        str,
        Meta(
            description="With `If-None-Match` or `min_revision`: how long to wait for "
            "something else, or for that revision, such as `30s`."
        ),
    ] = ""
    min_revision: Annotated[
        int,
        Meta(
            description="Only a head that is this revision or a later one: who was "
            "answered it by one daemon sees it at any other.",
            extra_json_schema={"minimum": 0},
        ),
    ] = 0
    max_stale: Annotated[
        str,
        Meta(
            description="What was the head at most so long ago will do, such as `2s`, "
            "if the daemon has it at hand; else it is the head as it is now."
        ),
    ] = ""

    def plan(self) -> StatePlan:
        """Return what to read."""
        scope = scope_of(self.namespace, self.branch)
        selector = selector_of(self.revision, self.checkpoint, self.at)
        if self.key and (self.prefix or self.limit or self.after):
            raise InvalidValue(
                "key", "can't be combined with prefix, limit or after; choose one"
            )
        if len(self.key) > limits.READ_KEYS.maximum:
            raise LimitExceeded(limits.READ_KEYS, "keys of one read", len(self.key))
        selection = Selection(
            tuple(sorted({Key(key) for key in self.key})),
            _bounded("prefix", self.prefix),
            _bounded("after", self.after),
            page_size(self.limit, 0, limits.STATE_PAGE_DOCUMENTS),
            self.contents,
        )
        return StatePlan(
            (Reach(*scope),),
            scope,
            selector,
            selection,
            selection_tag(selection),
            wait_s=_wait_s(self.wait),
            freshness=self._freshness(selector),
        )

    def _freshness(self, selector: Selector) -> Freshness:
        if self.min_revision < 0:
            raise InvalidValue("min_revision", "must not be negative")
        given = "min_revision" if self.min_revision else "max_stale"
        if not selector.is_head and (self.min_revision or self.max_stale):
            raise InvalidValue(
                given,
                "is about the head, and can't be combined with revision, checkpoint or "
                "at, which name what never changes; leave it out",
            )
        return Freshness(_seconds("max_stale", self.max_stale), self.min_revision)


class WatchScope(Struct, forbid_unknown_fields=True):
    """A branch to watch, as JSON."""

    namespace: str = ""
    branch: str = ""
    prefix: str = ""
    after: int | None = None


class WatchQuery(Query):
    """Which branches, and from where on."""

    namespace: NamespaceField = ""
    branch: BranchField = ""
    prefix: Annotated[
        str, Meta(description="Only revisions that changed a key under it.")
    ] = ""
    after: Annotated[
        int,
        Meta(
            description="The revision that is known: what follows it is told. 0 is "
            "before the first; not given, the head as it is.",
            ge=0,
        ),
    ] = -1
    contents: Annotated[
        bool, Meta(description="`true` tells what was before and what is after.")
    ] = False
    scope: Annotated[
        list[str],
        Meta(
            description="Instead of the above, several: each a JSON object with "
            "`namespace`, `branch`, `prefix` and `after`.",
            extra_json_schema={"maxItems": limits.WATCH_SCOPES.maximum},
        ),
    ] = field(default_factory=list[str])

    def plan(self) -> WatchPlan:
        """Return what to watch."""
        if self.scope:
            if self.namespace or self.branch or self.prefix or self.after != -1:
                raise InvalidValue(
                    "scope",
                    "can't be combined with namespace, branch, prefix or after; put "
                    "them into it",
                )
            asked = [decode(text.encode(), WatchScope, "scope") for text in self.scope]
        else:
            after = None if self.after == -1 else self.after
            asked = [WatchScope(self.namespace, self.branch, self.prefix, after)]
        if len(asked) > limits.WATCH_SCOPES.maximum:
            raise LimitExceeded(limits.WATCH_SCOPES, "scopes of a watch", len(asked))
        feeds = tuple(self._feed(one) for one in asked)
        if len({(feed.scope, feed.prefix) for feed in feeds}) < len(feeds):
            raise InvalidValue("scope", "is given twice; which is meant?")
        return WatchPlan(tuple(Reach(*feed.scope) for feed in feeds), feeds)

    def _feed(self, asked: WatchScope) -> Feed:
        after = asked.after
        if after is not None and after < 0:
            raise InvalidValue("after", f"{after} must not be negative")
        return Feed(
            scope_of(asked.namespace, asked.branch),
            _bounded("prefix", asked.prefix),
            None if after is None else RevisionNumber(after),
            contents=self.contents,
        )


class LogQuery(Query):
    """Which part of a branch's history."""

    namespace: NamespaceField = ""
    branch: BranchField = ""
    limit: LogLimitField = 0
    after: LogAfterField = 0
    key: Annotated[str, Meta(description="Only revisions that touched it.")] = ""
    prefix: Annotated[
        str, Meta(description="Only revisions that touched a key under it.")
    ] = ""
    author: Annotated[str, Meta(description="Only revisions by this author.")] = ""
    since: Annotated[
        str, Meta(description="Only revisions made at this RFC 3339 time or later.")
    ] = ""
    until: Annotated[
        str, Meta(description="Only revisions made at this RFC 3339 time or earlier.")
    ] = ""
    changes: ChangesField = "full"
    revision: RevisionField = 0
    checkpoint: CheckpointField = ""
    at: AtField = ""

    def plan(self) -> LogPlan:
        """Return what to read."""
        scope = scope_of(self.namespace, self.branch)
        if self.key and self.prefix:
            raise InvalidValue("key", "can't be combined with prefix; choose one")
        return LogPlan(
            (Reach(*scope),),
            scope,
            selector_of(self.revision, self.checkpoint, self.at),
            page_size(self.limit, LOG_ENTRIES_DEFAULT),
            self.after or None,
            LogFilter(
                Key(self.key) if self.key else None,
                _bounded("prefix", self.prefix) or None,
                Author(self.author) if self.author else None,
                parse_time(self.since, "since") if self.since else None,
                parse_time(self.until, "until") if self.until else None,
            ),
            self.changes,
        )


class BranchesQuery(Query):
    """Which branches; ``branch`` is the one that is marked as current."""

    namespace: NamespaceField = ""
    branch: BranchField = ""
    prefix: PrefixField = ""
    limit: LimitField = 0
    after: AfterField = ""

    def plan(self) -> ListPlan:
        """Return what to list."""
        namespace, branch = scope_of(self.namespace, self.branch)
        return ListPlan(
            (Reach(namespace),),
            namespace,
            branch,
            _bounded("prefix", self.prefix),
            _bounded("after", self.after),
            page_size(self.limit, limits.PAGE_ENTRIES.maximum),
        )


class CheckpointsQuery(Query):
    """Which checkpoints: the one of that name, or a page of all."""

    namespace: NamespaceField = ""
    name: Annotated[str, Meta(description="Only this one; 404 if there is none.")] = ""
    prefix: PrefixField = ""
    limit: LimitField = 0
    after: AfterField = ""

    def plan(self) -> CheckpointsPlan:
        """Return what to list."""
        namespace = namespace_of(self.namespace)
        if self.name and (self.prefix or self.limit or self.after):
            raise InvalidValue(
                "name", "can't be combined with prefix, limit or after; choose one"
            )
        return CheckpointsPlan(
            (Reach(namespace),),
            namespace,
            CheckpointName(self.name) if self.name else None,
            _bounded("prefix", self.prefix),
            _bounded("after", self.after),
            page_size(self.limit, limits.PAGE_ENTRIES.maximum),
        )


class NamespacesQuery(Query):
    """Which namespaces."""

    prefix: PrefixField = ""
    limit: LimitField = 0
    after: AfterField = ""

    def plan(self) -> ListPlan:
        """Return what to list."""
        return ListPlan(
            (Reach(),),
            None,
            None,
            _bounded("prefix", self.prefix),
            _bounded("after", self.after),
            page_size(self.limit, limits.PAGE_ENTRIES.maximum),
        )


def _seconds(field: str, text: str) -> float:
    """Return the seconds of a duration; none where there is no text."""
    try:
        return parse_duration(text) if text else 0.0
    except ValueError as error:
        raise InvalidValue(field, str(error)) from None


def _wait_s(text: str) -> float:
    """Return the seconds of a duration that may be waited."""
    seconds = _seconds("wait", text)
    if seconds > limits.WAIT_SECONDS.maximum:
        raise LimitExceeded(limits.WAIT_SECONDS, f"wait of {text}", round(seconds))
    return seconds


def _bounded(field: str, text: str) -> str:
    """Return a prefix or cursor, which no key could be longer than."""
    size = len(text.encode())
    if size > limits.KEY_BYTES.maximum:
        raise LimitExceeded(limits.KEY_BYTES, f"{field} of {size} bytes", size)
    return text
