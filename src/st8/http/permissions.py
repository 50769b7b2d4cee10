"""Whether somebody may do what a plan says, and what of it they may see and touch.

One door for every way in: :func:`permit` is called with every plan of an operation
that needs a token, before anything is done. It refuses, or it returns the plan cut
down to what is allowed: reads and lists to the keys and branches that may be seen,
resets to the keys that may be written. What depends on where a checkpoint was made
is asked of the functions that it leaves in the plan, when the checkpoint is found.

A refusal says what was asked for and never what is there, so it is the same whether
that exists or not.
"""

from __future__ import annotations

from dataclasses import replace
from functools import singledispatch
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast

from st8.auth.access import ALLOW_ALL, ANYONE
from st8.core.errors import (
    CheckpointNotFound,
    ExpectationRequired,
    Forbidden,
)
from st8.core.ids import Author, Scope
from st8.core.key_set import ALL_KEYS, NO_KEYS, KeySet
from st8.engine.requests import (
    Apply,
    CreateBranch,
    DeleteBranch,
    DeleteCheckpoint,
    PutCheckpoint,
    Reset,
    Selector,
    Side,
)
from st8.http.plans import (
    BackupPlan,
    CheckpointsPlan,
    CollectPlan,
    DiffPlan,
    ListPlan,
    LogPlan,
    NoPlan,
    Plan,
    Reach,
    RedactPlan,
    RefPlan,
    RestoreBackupPlan,
    StatePlan,
    VerifyPlan,
    WatchPlan,
    WritePlan,
)

if TYPE_CHECKING:
    from st8.auth.access import Principal, Verb
    from st8.core.ids import BranchName, CheckpointName, Namespace
    from st8.engine.requests import Guard, Sight
    from st8.http.operations import Operation

__all__ = ["permit"]

P = TypeVar("P", bound=Plan)

_NO_REACH: Final = (Reach(),)


def permit(principal: Principal, operation: Operation, plan: P) -> P:
    """Return ``plan`` cut down to what ``principal`` may do.

    Raises:
        Forbidden: They may not do it.
        ExpectationRequired: They may, but have to say which head they expect.
    """
    verb = operation.verb
    if verb == "open" or principal is ANYONE:
        return plan
    if principal.access is not ALLOW_ALL:
        for reach in plan.reach or _NO_REACH:
            _check(principal, reach.verb or verb, reach)
    return cast("P", _cut(plan, principal))


def _check(principal: Principal, verb: Verb, reach: Reach) -> None:
    """Raise unless ``verb`` is allowed on something of what is reached."""
    access = principal.access
    namespace, branch = reach.namespace, reach.branch
    if namespace is None or branch is None:
        allowed = access.somewhere(verb, namespace)
    else:
        allowed = bool(access.keys(verb, namespace, branch))
    if not allowed:
        raise _refusal(principal, verb, reach)


def _refusal(principal: Principal, verb: str, reach: Reach) -> Forbidden:
    where = ""
    if reach.branch is not None:
        where = f" branch {reach.branch!r} of"
    if reach.namespace is not None:
        where += f" namespace {reach.namespace!r}"
    return _forbidden(principal, f"{_DOES[verb]}{where}")


def _forbidden(principal: Principal, what: str) -> Forbidden:
    return Forbidden(
        f"{principal.name!r} may not {what}; whoever keeps st8d's policy file can "
        "allow it"
    )


_DOES: Final = {"read": "read", "write": "write to", "admin": "administer"}


# --- what each plan is cut down to -------------------------------------------------


@singledispatch
def _cut(plan: Plan, principal: Principal) -> Plan:
    """Return ``plan`` cut down; a kind of plan that is not known is not allowed."""
    raise TypeError(f"no rule for {type(plan).__name__} of {principal.name!r}")


@_cut.register(NoPlan)
def _(plan: NoPlan, principal: Principal) -> Plan:
    del principal
    return plan


@_cut.register(StatePlan)
def _(plan: StatePlan, principal: Principal) -> Plan:
    sight = _sight(principal, plan.scope.namespace)
    if sight is None:
        return plan
    visible = sight(plan.scope.branch)
    return plan._replace(selector=_seen(plan.selector, sight), visible=visible)


@_cut.register(WatchPlan)
def _(plan: WatchPlan, principal: Principal) -> Plan:
    access = principal.access
    return plan._replace(
        feeds=tuple(
            feed._replace(visible=access.keys("read", *feed.scope))
            for feed in plan.feeds
        )
    )


@_cut.register(DiffPlan)
def _(plan: DiffPlan, principal: Principal) -> Plan:
    sight = _sight(principal, plan.scope.namespace)
    if sight is None:
        return plan
    for side in (plan.source, plan.target):
        visible = sight(side.selector.branch or plan.scope.branch)
        keys = (*(document.key for document in side.documents), *side.deletes)
        for key in keys:
            if not visible.has(key.encode()):
                raise _forbidden(principal, f"read key {key!r}")
    return plan._replace(
        source=_seen_side(plan.source, sight), target=_seen_side(plan.target, sight)
    )


@_cut.register(LogPlan)
def _(plan: LogPlan, principal: Principal) -> Plan:
    sight = _sight(principal, plan.scope.namespace)
    return plan if sight is None else plan._replace(start=_seen(plan.start, sight))


@_cut.register(CheckpointsPlan)
def _(plan: CheckpointsPlan, principal: Principal) -> Plan:
    return plan._replace(sight=_sight(principal, plan.namespace))


@_cut.register(ListPlan)
def _(plan: ListPlan, principal: Principal) -> Plan:
    access, namespace = principal.access, plan.namespace
    if access is ALLOW_ALL:
        return plan

    def sees(name: Any) -> bool:
        if namespace is None:
            return access.somewhere("read", name)
        return bool(access.keys("read", namespace, name))

    return plan._replace(sees=sees)


@_cut.register(CollectPlan)
def _(plan: CollectPlan, principal: Principal) -> Plan:
    if not principal.access.everywhere("admin", plan.namespace):
        what = "collect garbage in every namespace; name one that it may administer"
        if plan.namespace is not None:
            what = f"collect garbage on every branch of namespace {plan.namespace!r}"
        raise _forbidden(principal, what)
    return plan


@_cut.register(BackupPlan)
def _(plan: BackupPlan, principal: Principal) -> Plan:
    place = "every namespace; name one that it may read and administer"
    if plan.namespace is not None:
        place = f"all of namespace {plan.namespace!r}, contents included"
    _check_everywhere(principal, "read", plan.namespace, f"back up {place}")
    return plan


@_cut.register(RestoreBackupPlan)
def _(plan: RestoreBackupPlan, principal: Principal) -> Plan:
    if principal.access is ALLOW_ALL:
        return plan

    def check(namespace: Namespace) -> None:
        what = f"restore a backup into all of namespace {namespace!r}"
        _check_everywhere(principal, "write", namespace, what)

    return plan._replace(check=check)


def _check_everywhere(
    principal: Principal, verb: Verb, namespace: Namespace | None, what: str
) -> None:
    """Raise unless both ``verb`` and ``admin`` are allowed on all of a namespace.

    Raises:
        Forbidden: One of them is not.
    """
    for needed in ("admin", verb):
        if not principal.access.everywhere(needed, namespace):
            raise _forbidden(principal, what)


@_cut.register(VerifyPlan)
def _(plan: VerifyPlan, principal: Principal) -> Plan:
    if not principal.access.everywhere("admin", None):
        raise _forbidden(
            principal, "verify the store, as that takes admin on all of every namespace"
        )
    return plan


@_cut.register(RedactPlan)
def _(plan: RedactPlan, principal: Principal) -> Plan:
    request = plan.request
    namespace = request.scope.namespace
    access = principal.access
    if not access.everywhere("admin", namespace):
        raise _forbidden(
            principal, f"redact on every branch of namespace {namespace!r}"
        )

    def guard(other: Namespace) -> None:
        if not access.everywhere("admin", other):
            raise _forbidden(
                principal,
                "redact a content that stands in namespaces which it may not administer",
            )

    author = _author(principal, request.author)
    request = replace(request, author=author, guard=guard)
    sight = _sight(principal, namespace)
    if sight is not None:
        request = replace(request, source=_seen(request.source, sight))
    return plan._replace(request=request)


@_cut.register(WritePlan)
def _(plan: WritePlan, principal: Principal) -> Plan:
    request = plan.request
    author = _author(principal, request.author)
    if not request.dry_run:
        _respect(principal, request.scope, request)
    if isinstance(request, Apply):
        request = request.by(author)
    else:
        guard = None if request.dry_run else _forward(principal, request.scope)
        request = replace(request, author=author, guard=guard)
    namespace, branch = request.scope
    sight = _sight(principal, namespace)
    if sight is None:
        return plan._replace(request=request)
    keys = principal.access.keys("write", namespace, branch)
    if isinstance(request, Apply):
        for key in request.overlay.edits:
            if not keys.has(key):
                raise _forbidden(principal, f"write key {key.decode()!r}")
    else:

        def source(name: BranchName) -> KeySet:
            # What the branch has had itself may come back to it unseen.
            return ALL_KEYS if name == branch else sight(name)

        request = replace(request, keys=keys, target=_seen(request.target, source))
    return plan._replace(request=request, shown=sight(branch))


@_cut.register(RefPlan)
def _(plan: RefPlan, principal: Principal) -> Plan:
    request = plan.request
    match request:
        case CreateBranch():
            return plan._replace(request=_branch(principal, request))
        case DeleteBranch(scope):
            _respect(principal, scope, request)
            if not principal.access.keys("write", *scope).is_all:
                raise _forbidden(
                    principal, f"delete branch {scope.branch!r} with all its keys"
                )
            return plan
        case PutCheckpoint(scope):
            _respect(principal, scope, None)
            guard = _guard(principal, scope.namespace, request.name)
            author = _author(principal, request.author)
            request = replace(request, author=author, guard=guard)
            sight = _sight(principal, scope.namespace)
            if sight is not None:
                request = replace(request, source=_seen(request.source, sight))
            return plan._replace(request=request)
        case DeleteCheckpoint(namespace, name):
            guard = _guard(principal, namespace, name, may_see=True)
            return plan._replace(request=replace(request, guard=guard))


def _branch(principal: Principal, request: CreateBranch) -> CreateBranch:
    """Return a branch creation that shows nobody more than they saw before."""
    namespace, branch = request.scope
    name = request.name
    _respect(principal, request.scope._replace(branch=name), None)
    sight = _sight(principal, namespace)
    if sight is None:
        return request
    new = sight(name)

    def source(branch: BranchName) -> KeySet:
        seen = sight(branch)
        return seen if new <= seen else NO_KEYS

    if not source(branch):
        raise _forbidden(
            principal,
            f"read all keys of branch {branch!r} that it may read on branch {name!r}",
        )
    return replace(request, source=_seen(request.source, source))


# --- what they have in common ------------------------------------------------------


def _sight(principal: Principal, namespace: Namespace) -> Sight | None:
    """Return what may be read of branches; None for everything."""
    access = principal.access
    if access is ALLOW_ALL:
        return None
    return lambda branch: access.keys("read", namespace, branch)


def _seen(selector: Selector, sight: Sight) -> Selector:
    return replace(selector, sight=sight)


def _seen_side(side: Side, sight: Sight) -> Side:
    return replace(side, selector=_seen(side.selector, sight))


def _author(principal: Principal, author: Author) -> Author:
    """Return who a change is by: whoever asks, or whom they may speak for.

    Raises:
        Forbidden: They named somebody else, and may not.
    """
    if not author:
        return Author(principal.name)
    if author == principal.name or principal.speaks_for_others:
        return author
    raise _forbidden(
        principal, "name another author; leave 'author' out or speak for others"
    )


def _respect(
    principal: Principal,
    scope: Scope,
    request: Apply | Reset | DeleteBranch | None,
) -> None:
    """Raise unless what protects the branch lets ``principal`` write to it.

    Raises:
        Forbidden: Only others may, or not in this way.
        ExpectationRequired: The request does not say which head it expects.
    """
    for protection in principal.protections:
        if not protection.covers(*scope):
            continue
        place = f"protected branch {scope.branch!r} of namespace {scope.namespace!r}"
        if principal.name not in protection.writers:
            raise _forbidden(principal, f"write to {place}")
        if request is None:
            continue
        if protection.expect_revision and request.expect_revision is None:
            raise ExpectationRequired(*scope)
        if protection.rollback:
            continue
        if isinstance(request, DeleteBranch):
            # It could be made anew, at an earlier revision.
            raise _forbidden(principal, f"delete {place}, which may not go back")
        if isinstance(request, Reset) and request.target.branch in (None, scope.branch):
            raise _forbidden(principal, f"roll back {place} directly")


def _forward(principal: Principal, scope: Scope) -> Guard | None:
    """Return what refuses to restore what the branch has had; None if it may be.

    Another branch or a checkpoint may be another name for it.
    """
    for protection in principal.protections:
        if protection.covers(*scope) and not protection.rollback:
            break
    else:
        return None

    def guard(branch: BranchName) -> None:
        raise _forbidden(
            principal,
            f"roll back protected branch {branch!r} of namespace {scope.namespace!r} "
            "directly",
        )

    return guard


def _guard(
    principal: Principal,
    namespace: Namespace,
    name: CheckpointName,
    *,
    may_see: bool = False,
) -> Guard | None:
    """Return what looks at the branch of a checkpoint that would be taken away.

    ``may_see``: one on a branch that can't be seen is as if not there. A name that
    is to be given can't be hidden: it is told that it is taken.
    """
    access = principal.access
    if access is ALLOW_ALL and not principal.protections:
        return None

    def guard(branch: BranchName) -> None:
        if access.keys("write", namespace, branch):
            _respect(principal, Scope(namespace, branch), None)
        elif may_see and not access.keys("read", namespace, branch):
            raise CheckpointNotFound(namespace, name)
        else:
            raise _forbidden(principal, f"move or delete checkpoint {name!r}")

    return guard
