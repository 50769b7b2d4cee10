"""Carries out plans: one coroutine an operation, each a few lines over the engine."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from msgspec import UNSET
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

from st8.core.errors import (
    CheckpointNotFound,
    Conflict,
    NotReached,
    OutcomeUnknown,
    ShuttingDown,
)
from st8.core.revisions import format_time
from st8.http import shapes
from st8.http.encoding import (
    diff_pieces,
    encode,
    log_pieces,
    result_pieces,
    state_pieces,
)
from st8.http.etag import etag_of, matches, tag_of
from st8.http.listing import visible_page
from st8.http.problems import as_st8_error
from st8.http.replies import JSON, TEXT, OpenReply, Reply, open_reply
from st8.http.state_lane import KeptReply
from st8.http.verification import ONLY_ONE, Verification
from st8.http.watch import Moves, Watcher

if TYPE_CHECKING:
    from collections.abc import Callable

    from st8.core.ids import Namespace
    from st8.core.revisions import Branch, Checkpoint, NamespaceInfo
    from st8.engine.results import Collected, Share, WriteResult
    from st8.engine.retention import Retention, Rules
    from st8.http.plans import (
        CheckpointsPlan,
        CollectPlan,
        DiffPlan,
        ListPlan,
        LogPlan,
        NoPlan,
        RedactPlan,
        RefPlan,
        StatePlan,
        VerifyPlan,
        WatchPlan,
        WritePlan,
    )
    from st8.http.service import Call, Service

_CHANGES_HERE_BYTES: Final = 16 * 1024
"""Larger change lists are written by a worker, even if they are in memory."""

_NOT_MODIFIED: Final = 304
NO_CACHE = (b"cache-control", b"no-cache")
EVENTS = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),  # nginx would keep events back
]
LINES = [
    (b"content-type", b"application/x-ndjson"),
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),
]
METRICS = (b"content-type", CONTENT_TYPE_PLAIN_0_0_4.encode())


# --- states -------------------------------------------------------------------


async def write_state(service: Service, plan: WritePlan, _call: Call) -> OpenReply:
    """Apply, roll back or restore.

    Raises:
        OutcomeUnknown: It was done, and what it has changed can't be read.
        Overloaded: There is no room for its answer; nothing was done.
    """
    service.answers.check()  # before: what is done is told
    result: WriteResult = await service.write(plan.request)
    try:
        if result.changes.is_at_hand(_CHANGES_HERE_BYTES):
            return open_reply(_result_reply(result, plan))
        return await service.finish(_result_reply, result, plan)
    except Exception as error:
        if result.noop or result.dry_run:
            raise
        known = as_st8_error(error, "reading what a write has changed")
        raise OutcomeUnknown(
            f"it was done, as revision {result.number}, but what it has changed can't "
            f"be read: {known.detail}. Look at the branch, or try again with the same "
            "idempotency key"
        ) from error


def _result_reply(result: WriteResult, plan: WritePlan) -> Reply:
    reply = Reply(noop=result.noop, revision=result.number)
    reply.pieces = partial(result_pieces, result, plan, reply.tally)
    return reply


async def get_state(service: Service, plan: StatePlan, call: Call) -> OpenReply:
    """Read a state, or answer that the client has it already.

    With a time to wait, the second is answered when that is over, and so is that a
    revision is not there yet.
    """
    if not plan.wait_s:
        return await service.open(_state_reply, service, plan, call)
    deadline = asyncio.get_running_loop().time() + plan.wait_s
    with Moves(service.hub, plan.scope) as moved:
        over = False
        while True:
            moved.clear()
            try:
                opened = await service.open(_state_reply, service, plan, call)
                if opened.reply.status != _NOT_MODIFIED or over:
                    return opened
            except NotReached:
                if over:
                    raise
            try:
                with call.waits():
                    async with asyncio.timeout_at(deadline):
                        await moved.wait()
            except TimeoutError:
                over = True
            over = over or service.hub.closing
            plan = call.check()


def _state_reply(service: Service, plan: StatePlan, call: Call) -> Reply:
    since = service.lane.forgotten
    state = service.engine.state(plan.scope, plan.selector, plan.freshness)
    revision = state.revision
    tag = tag_of(plan.tag, state.visible)
    etag = etag_of(revision, plan.scope, tag, service.engine.redactions)
    tags = [(b"etag", etag), NO_CACHE]
    if call.if_none_match is not None and matches(call.if_none_match, etag):
        return Reply(304, tags)
    reply = Reply(headers=[JSON, *tags])
    if revision is not None:
        digest = revision.digest
        kept = service.lane.kept(digest, tag)
        if kept is not None:
            return Reply(kept=kept)

        def keep(body: bytes) -> None:
            common = service.common_headers
            made = KeptReply(body, etag, [JSON, *tags, *common], [*tags, *common])
            service.lane.keep(digest, tag, made, since)

        reply.keep = keep
    reply.pieces = partial(state_pieces, state, plan.selection)
    return reply


async def watch(service: Service, plan: WatchPlan, call: Call) -> OpenReply:
    """Stream what happens to branches."""
    watcher = Watcher(service.hub, plan.feeds, call.check)
    return OpenReply(Reply(headers=EVENTS, stream=watcher.stream), b"", None)


async def diff(service: Service, plan: DiffPlan, _call: Call) -> OpenReply:
    """Compare two states."""
    return await service.open(_diff_reply, service, plan)


def _diff_reply(service: Service, plan: DiffPlan) -> Reply:
    found = service.engine.diff(plan.scope, plan.source, plan.target)
    reply = Reply()
    reply.pieces = partial(diff_pieces, found, plan, reply.tally)
    return reply


async def log(service: Service, plan: LogPlan, _call: Call) -> OpenReply:
    """Read a page of history."""
    return await service.open(_log_reply, service, plan)


def _log_reply(service: Service, plan: LogPlan) -> Reply:
    page = service.engine.log(
        plan.scope,
        limit=plan.limit,
        after=plan.after,
        start=plan.start,
        wanted=plan.wanted,
    )
    reply = Reply()
    reply.pieces = partial(log_pieces, page, plan.changes, reply.tally)
    return reply


# --- refs ---------------------------------------------------------------------


async def list_branches(service: Service, plan: ListPlan, _call: Call) -> OpenReply:
    """List branches."""
    return await service.open(_branches_reply, service, plan)


def _branches_reply(service: Service, plan: ListPlan) -> Reply:
    if plan.namespace is None:
        raise TypeError(plan)
    read = partial(service.engine.branches, plan.namespace, prefix=plan.prefix)
    page = visible_page(read, plan.after, plan.limit, _sees_name(plan))
    branches = [
        shapes.BranchInfo(
            name=branch.name,
            base_revision=branch.base,
            head_revision=branch.head,
            current=branch.name == plan.branch,
            head_digest=branch.head_digest.hex(),
        )
        for branch in page.items
    ]
    return _reply(shapes.Branches(branches=branches, next=page.next or UNSET))


def _sees_name(plan: ListPlan) -> Callable[[Branch | NamespaceInfo], bool] | None:
    sees = plan.sees
    return None if sees is None else (lambda item: sees(item.name))


async def create_branch(service: Service, plan: RefPlan, _call: Call) -> OpenReply:
    """Create a branch."""
    branch = await service.write(plan.request)
    return _done(
        shapes.BranchCreated(
            name=branch.name, base_revision=branch.base, head_revision=branch.head
        )
    )


async def list_checkpoints(
    service: Service, plan: CheckpointsPlan, _call: Call
) -> OpenReply:
    """List checkpoints, or show one."""
    return await service.open(_checkpoints_reply, service, plan)


def _checkpoints_reply(service: Service, plan: CheckpointsPlan) -> Reply:
    sight = plan.sight
    if plan.name is not None:
        found = [service.engine.checkpoint(plan.namespace, plan.name)]
        following = None
        if sight is not None and not sight(found[0].branch):
            raise CheckpointNotFound(plan.namespace, plan.name)
    else:
        read = partial(service.engine.checkpoints, plan.namespace, prefix=plan.prefix)

        def sees(checkpoint: Checkpoint) -> bool:
            return sight is None or bool(sight(checkpoint.branch))

        page = visible_page(read, plan.after, plan.limit, sees if sight else None)
        found, following = page.items, page.next
    infos = [_checkpoint_info(checkpoint) for checkpoint in found]
    return _reply(shapes.Checkpoints(checkpoints=infos, next=following or UNSET))


async def put_checkpoint(service: Service, plan: RefPlan, _call: Call) -> OpenReply:
    """Create or move a checkpoint."""
    return _done(_checkpoint_info(await service.write(plan.request)))


def _checkpoint_info(checkpoint: Checkpoint) -> shapes.CheckpointInfo:
    return shapes.CheckpointInfo(
        name=checkpoint.name,
        revision_id=checkpoint.revision,
        branch=checkpoint.branch,
        description=checkpoint.description,
        created_at=format_time(checkpoint.time_ns),
        author=checkpoint.author,
    )


async def delete_ref(service: Service, plan: RefPlan, _call: Call) -> OpenReply:
    """Delete a branch or a checkpoint."""
    await service.write(plan.request)
    return _done(shapes.Nothing())


async def list_namespaces(service: Service, plan: ListPlan, _call: Call) -> OpenReply:
    """List namespaces."""
    return await service.open(_namespaces_reply, service, plan)


def _namespaces_reply(service: Service, plan: ListPlan) -> Reply:
    read = partial(service.engine.namespaces, prefix=plan.prefix)
    page = visible_page(read, plan.after, plan.limit, _sees_name(plan))
    infos = [
        shapes.NamespaceInfo(name=info.name, last_revision=info.last_revision)
        for info in page.items
    ]
    return _reply(shapes.Namespaces(namespaces=infos, next=page.next or UNSET))


# --- the daemon itself ----------------------------------------------------------


async def collect(service: Service, plan: CollectPlan, _call: Call) -> OpenReply:
    """Collect garbage."""
    return _done(await service.collect(_collected, service, plan))


def _collected(service: Service, plan: CollectPlan) -> shapes.Collected:
    rules = _rules(service.retention, plan.retention)
    if not plan.dry_run:
        done = service.engine.collect(namespace=plan.namespace, rules=rules)
        return _collected_shape(done)
    explained = service.engine.explain_collection(namespace=plan.namespace, rules=rules)
    return _collected_shape(
        explained.collected,
        dry_run=True,
        namespaces=[_share_shape(share) for share in explained.shares],
        namespaces_all=explained.shares_all,
    )


def _rules(rules: Rules, given: Retention | None) -> Rules:
    """Return ``rules``, with what is ``given`` instead unless nothing ever goes."""
    if given is None:
        return rules

    def rule(namespace: Namespace) -> Retention:
        retention = rules(namespace)
        return retention if retention.never else given

    return rule


def _collected_shape(done: Collected, **more: Any) -> shapes.Collected:
    return shapes.Collected(
        pruned=done.revisions,
        objects_deleted=done.objects,
        bytes_freed=done.size,
        **more,
    )


def _share_shape(share: Share) -> shapes.CollectedShare:
    return shapes.CollectedShare(
        namespace=share.namespace,
        retention=share.retention.text,
        pruned=share.revisions,
        kept=share.kept,
        ranges=[shapes.CollectedRange(*stretch) for stretch in share.stretches],
        ranges_all=share.stretches_all,
    )


async def redact(service: Service, plan: RedactPlan, _call: Call) -> OpenReply:
    """Redact a content."""
    redacted = await service.collect(service.engine.redact, plan.request)
    places = [
        shapes.Place(namespace=namespace, key=key) for namespace, key in redacted.places
    ]
    return _done(
        shapes.Redacted(
            digest=redacted.digest.hex(), places=places, dry_run=redacted.dry_run
        )
    )


async def verify(service: Service, plan: VerifyPlan, _call: Call) -> OpenReply:
    """Verify the store, and stream what is found.

    Raises:
        Conflict: It is verified already.
    """
    if service.verifying:
        raise Conflict(ONLY_ONE)
    verification = Verification(service, plan)
    return OpenReply(Reply(headers=LINES, stream=verification.stream), b"", None)


async def version(service: Service, _plan: NoPlan, _call: Call) -> OpenReply:
    """Tell what answers."""
    return _done(
        shapes.Version(
            version=service.version, api="v1", store=service.engine.store_name
        )
    )


async def health(_service: Service, _plan: NoPlan, _call: Call) -> OpenReply:
    """Tell that the process runs."""
    return OpenReply(Reply(headers=[TEXT]), b"ok\n", None)


async def ready(service: Service, _plan: NoPlan, _call: Call) -> OpenReply:
    """Tell that the store can serve."""
    if service.draining:
        raise ShuttingDown
    await service.probe(service.engine.ping)
    return OpenReply(Reply(headers=[TEXT]), b"ok\n", None)


async def metrics(service: Service, _plan: NoPlan, _call: Call) -> OpenReply:
    """Tell the metrics."""
    text = await service.probe(service.metrics.text)
    return OpenReply(Reply(headers=[METRICS]), text, None)


async def openapi(service: Service, _plan: NoPlan, _call: Call) -> OpenReply:
    """Describe the API."""
    return OpenReply(Reply(), service.openapi, None)


async def docs(service: Service, _plan: NoPlan, _call: Call) -> OpenReply:
    """Describe the API to people."""
    page = service.docs
    return OpenReply(Reply(headers=page.headers), page.body, None)


def _reply(answer: shapes.Shape) -> Reply:
    return Reply(body=encode(answer))


def _done(answer: shapes.Shape) -> OpenReply:
    return OpenReply(Reply(), encode(answer), None)
