"""Carries out plans: one coroutine an operation, each a few lines over the engine."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

from msgspec import UNSET
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

from st8.core.errors import NamespaceNotFound, ShuttingDown
from st8.core.revisions import format_time
from st8.http import shapes
from st8.http.encoding import (
    diff_pieces,
    encode,
    log_pieces,
    result_pieces,
    state_pieces,
)
from st8.http.etag import etag_of, matches
from st8.http.replies import JSON, TEXT, OpenReply, Reply, open_reply
from st8.http.state_lane import KeptReply

if TYPE_CHECKING:
    from st8.core.revisions import Checkpoint
    from st8.engine.results import Collected, WriteResult
    from st8.http.plans import (
        CheckpointsPlan,
        CollectPlan,
        Detail,
        DiffPlan,
        ListPlan,
        LogPlan,
        NoPlan,
        RefPlan,
        StatePlan,
        WritePlan,
    )
    from st8.http.service import Call, Service

_CHANGES_HERE_BYTES: Final = 16 * 1024
"""Larger change lists are written by a worker, even if they are in memory."""

NO_CACHE = (b"cache-control", b"no-cache")
METRICS = (b"content-type", CONTENT_TYPE_PLAIN_0_0_4.encode())


# --- states -------------------------------------------------------------------


async def write_state(service: Service, plan: WritePlan, _call: Call) -> OpenReply:
    """Apply, roll back or restore."""
    result: WriteResult = await service.write(plan.request)
    if result.changes.is_at_hand(_CHANGES_HERE_BYTES):
        return open_reply(_result_reply(result, plan.changes))
    return await service.open(_result_reply, result, plan.changes)


def _result_reply(result: WriteResult, detail: Detail) -> Reply:
    reply = Reply(noop=result.noop)
    reply.pieces = partial(result_pieces, result, detail, reply.tally)
    return reply


async def get_state(service: Service, plan: StatePlan, call: Call) -> OpenReply:
    """Read a state, or answer that the client has it already."""
    return await service.open(_state_reply, service, plan, call)


def _state_reply(service: Service, plan: StatePlan, call: Call) -> Reply:
    state = service.engine.state(plan.scope, plan.selector)
    revision = state.revision
    etag = etag_of(revision, plan.scope, plan.tag)
    tags = [(b"etag", etag), NO_CACHE]
    if call.if_none_match is not None and matches(call.if_none_match, etag):
        return Reply(304, tags)
    reply = Reply(headers=[JSON, *tags])
    if revision is not None:
        digest = revision.digest
        kept = service.lane.kept(digest, plan.tag)
        if kept is not None:
            return Reply(kept=kept)

        def keep(body: bytes) -> None:
            common = service.common_headers
            made = KeptReply(body, etag, [JSON, *tags, *common], [*tags, *common])
            service.lane.keep(digest, plan.tag, made)

        reply.keep = keep
    reply.pieces = partial(state_pieces, state, plan.selection)
    return reply


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
    page = service.engine.branches(
        plan.namespace, prefix=plan.prefix, after=plan.after, limit=plan.limit
    )
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
    if plan.name is not None:
        found = [service.engine.checkpoint(plan.namespace, plan.name)]
        following = None
    else:
        page = service.engine.checkpoints(
            plan.namespace, prefix=plan.prefix, after=plan.after, limit=plan.limit
        )
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
    page = service.engine.namespaces(
        prefix=plan.prefix, after=plan.after, limit=plan.limit
    )
    infos = [
        shapes.NamespaceInfo(name=info.name, last_revision=info.last_revision)
        for info in page.items
    ]
    return _reply(shapes.Namespaces(namespaces=infos, next=page.next or UNSET))


# --- the daemon itself ----------------------------------------------------------


async def collect(service: Service, plan: CollectPlan, _call: Call) -> OpenReply:
    """Collect garbage."""
    collected = await service.collect(_collected, service, plan)
    return _done(
        shapes.Collected(pruned=collected.revisions, objects_deleted=collected.objects)
    )


def _collected(service: Service, plan: CollectPlan) -> Collected:
    name = plan.namespace
    if name is not None:
        # Of the names that begin with it, itself comes first.
        found = service.engine.namespaces(prefix=name, limit=1).items
        if not found or found[0].name != name:
            raise NamespaceNotFound(name)
    return service.engine.collect(plan.keep, name)


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


def _reply(answer: shapes.Shape) -> Reply:
    return Reply(body=encode(answer))


def _done(answer: shapes.Shape) -> OpenReply:
    return OpenReply(Reply(), encode(answer), None)
