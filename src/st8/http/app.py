"""The ASGI application: from a request to the operation that answers it.

A plain ASGI callable. A path and a method are looked up in two dictionaries; paths
are compared as they stand, so nothing is cleaned, redirected or guessed. Every
request passes the same stations: find the operation, authenticate, read and check,
authorise, carry out, deliver, count.
"""

from __future__ import annotations

from asyncio import CancelledError
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import partial
from time import perf_counter
from typing import TYPE_CHECKING, Any, Final, TypeVar

from st8.auth.access import ANYONE
from st8.auth.simple import Everybody, OneToken
from st8.core.errors import (
    AuditUnavailable,
    Forbidden,
    MalformedRequest,
    MethodNotAllowed,
    OutcomeUnknown,
    RouteNotFound,
)
from st8.core.failpoints import failpoint
from st8.http.incoming import READS, WAITS, ClientGone, Upload, header, read_body
from st8.http.json_body import decode
from st8.http.metrics import METHODS, OTHER
from st8.http.operations import EVERY_METHOD, OPERATIONS, Operation
from st8.http.permissions import permit
from st8.http.plans import StatePlan, WatchPlan
from st8.http.problems import as_st8_error, problem_reply
from st8.http.query_string import QueryParser
from st8.http.replies import Delivery, OpenReply
from st8.http.service import Call, Service

if TYPE_CHECKING:
    from collections.abc import Generator, MutableMapping

    from st8.auth.access import Authoriser
    from st8.core.errors import St8Error
    from st8.core.ports import Threads
    from st8.engine.engine import Engine
    from st8.http.audit import AuditLog
    from st8.http.metrics import RouteMeter
    from st8.http.plans import Plan
    from st8.http.replies import Message, Receive, Send
    from st8.http.wire import Body

    Scope = MutableMapping[str, Any]

__all__ = ["App", "Endpoint", "create_app"]

P = TypeVar("P", bound="Plan")

_DECODE_HERE_BYTES_MAX: Final = 64 * 1024
"""Longer bodies are decoded on a worker, so that the loop goes on meanwhile."""


_HARMLESS: Final = frozenset(("open", "read"))
_COUNTED: Final = "st8.counted"
_WAITED: Final = "st8.waited"
_UNCOUNTED: Final = "metrics"
"""Who looks at how st8d fares is let in when it is asked too much, as probes are."""


class Endpoint:
    """An operation under one method, with what is counted of it."""

    __slots__ = (
        "head_only",
        "lane",
        "meter",
        "operation",
        "query",
        "reads",
        "route_meter",
    )

    def __init__(self, operation: Operation, method: str, service: Service) -> None:
        """Prepare ``operation`` for requests with ``method``."""
        self.operation = operation
        self.head_only = method == "HEAD"
        self.reads = operation.verb in _HARMLESS
        self.lane = operation.conditional and not self.head_only
        self.query = QueryParser(
            operation.query, f"the query of {method} {operation.path}"
        )
        self.route_meter = service.metrics.route(operation.path, method)
        self.meter = service.metrics.operation(operation.name)


class App:
    """The HTTP API over an engine.

    Attributes:
        service: The engine as handlers see it.
    """

    def __init__(
        self, service: Service, authoriser: Authoriser, audit: AuditLog | None = None
    ) -> None:
        """Answer with ``service`` whomever ``authoriser`` lets, as ``audit`` tells."""
        self.service = service
        self._authoriser = authoriser
        self._audit = audit
        self._routes: dict[str, dict[str, Endpoint]] = {}
        for operation in OPERATIONS:
            methods = self._routes.setdefault(operation.path, {})
            for method in _methods(operation):
                methods[method] = Endpoint(operation, method, service)

    def begin_shutdown(self) -> None:
        """Answer from now on that the daemon is not ready for more."""
        self.service.draining = True
        self.service.engine.stop_collecting()
        self.service.hub.close()

    def close(self) -> None:
        """Stop the threads that answered reads; call it when no request is open."""
        self.service.close()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one connection scope, as ASGI wants it."""
        if scope["type"] != "http":
            await _other(scope["type"], receive, send)
            return
        began = perf_counter()
        endpoint: Endpoint | None = None
        try:
            endpoint = self._find(scope)
            if endpoint.reads:
                scope[READS] = True
            if endpoint.lane:
                known = self._from_lane(endpoint, scope)
                if known is not None:
                    start, body = known
                    self._record(endpoint, scope, start["status"])
                    await send(start)
                    await send(body)
                    seconds = perf_counter() - began
                    endpoint.route_meter.observe(start["status"], seconds)
                    endpoint.meter.observe("success", seconds)
                    return
            opened = await self._answer(endpoint, scope, receive)
            reply = opened.reply
            self._record(endpoint, scope, reply.status, revision=reply.revision)
        except ClientGone:
            incomplete = MalformedRequest("its client left before it was whole")
            self._record_given_up(endpoint, scope, incomplete)
            return
        except CancelledError:
            unknown = OutcomeUnknown("the daemon stopped before it could answer")
            self._record_given_up(endpoint, scope, unknown)
            raise
        except Exception as error:  # noqa: BLE001 - whatever it is, it is answered
            opened = self._problem(error, endpoint, scope)
        delivery = Delivery(
            receive,
            send,
            run=self.service.run,
            common_headers=self.service.common_headers,
            head_only=scope["method"] == "HEAD",
            chunked=scope.get("http_version", "1.1") != "1.0",
        )
        await self._deliver(opened, endpoint, scope, delivery, began=began)

    def _find(self, scope: Scope) -> Endpoint:
        """Return the endpoint of a path and a method.

        Raises:
            RouteNotFound: No such path.
            MethodNotAllowed: The path does not take the method.
        """
        path: str = scope["path"]
        method: str = scope["method"]
        methods = self._routes.get(path)
        if methods is None:
            raise RouteNotFound(path)
        scope["st8.route"] = path
        endpoint = methods.get(method) or methods.get(EVERY_METHOD)
        if endpoint is None:
            raise MethodNotAllowed(method, path, methods)
        return endpoint

    def _from_lane(
        self, endpoint: Endpoint, scope: Scope
    ) -> tuple[Message, Message] | None:
        """Return the messages of an answer that is known already, or None.

        Asks for the same permissions as any other way.
        """
        plan = self.service.lane.plan(scope["query_string"])
        if plan is None:
            return None
        authorization: bytes | None = None
        if_none_match: bytes | None = None
        for name, value in scope["headers"]:
            if name == b"authorization":
                if authorization is not None:
                    return None
                authorization = value
            elif name == b"if-none-match":
                if if_none_match is not None:
                    return None
                if_none_match = value
            elif name == b"sec-fetch-site":
                return None
        self._identify(authorization, scope)
        self._count(scope)
        permitted = self._authorise(endpoint.operation, plan, scope)
        return self.service.lane.find(permitted, if_none_match)

    async def _answer(
        self, endpoint: Endpoint, scope: Scope, receive: Receive
    ) -> OpenReply:
        """Return the reply to a request that is not known already.

        Raises:
            St8Error: It is refused, can't be right, or fails.
            ClientGone: Nobody waits for it any more.
        """
        operation = endpoint.operation
        if operation.verb != "open":
            self._identify(header(scope, b"authorization"), scope)
            if operation.name != _UNCOUNTED:
                self._count(scope)
            if header(scope, b"sec-fetch-site") == b"cross-site":
                # A page of some other site, in the browser of somebody who can
                # reach a daemon that asks for no token.
                raise Forbidden("a page of another site may not use st8d")
        asked = await self._plan(endpoint, scope, receive)
        plan = self._authorise(operation, asked, scope)
        call = Call(
            _if_none_match(scope) if operation.conditional else None,
            partial(self._check, operation, asked, plan, scope),
            partial(_waiting, scope),
            None if operation.upload is None else Upload(scope, receive),
        )
        began = perf_counter()
        try:
            opened = await operation.handler(self.service, plan, call)
        except Exception:
            endpoint.meter.observe("error", _seconds_since(began, scope))
            raise
        opened.began = began
        return opened

    async def _plan(self, endpoint: Endpoint, scope: Scope, receive: Receive) -> Plan:
        """Return what the query or the body asks for."""
        operation = endpoint.operation
        query: bytes = scope["query_string"]
        asked = endpoint.query.parse(query)
        if operation.body is None:
            plan = asked.plan()
            if isinstance(plan, StatePlan):
                self.service.lane.learn(query, plan)
            elif isinstance(plan, WatchPlan):
                last = header(scope, b"last-event-id")
                if last:
                    plan = plan.resumed(last.decode("latin-1"))
            return plan
        body = await read_body(scope, receive)
        key = header(scope, b"idempotency-key") if operation.idempotent else None
        name = None if key is None else key.decode("latin-1")
        if len(body) <= _DECODE_HERE_BYTES_MAX:
            return _planned(operation.body, body, name)
        return await self.service.run(_planned, operation.body, body, name)

    def _identify(self, authorization: bytes | None, scope: Scope) -> None:
        """Note who asks.

        Raises:
            Unauthenticated: It can't be told.
            AuditUnavailable: What they do could not be recorded.
        """
        if self._audit is not None:
            # First, or refusals of whoever asks would pile up where it can't.
            self._audit.ensure()
        scope["st8.principal"] = self._authoriser.authenticate(authorization, scope)

    def _count(self, scope: Scope) -> None:
        """Count a request, once, for the limit of whoever asks.

        Raises:
            RateLimited: They have sent too many.
        """
        if _COUNTED not in scope:
            scope[_COUNTED] = True
            self.service.rates.take(scope["st8.principal"], scope, perf_counter())

    def _authorise(self, operation: Operation, plan: P, scope: Scope) -> P:
        """Return the plan cut down to what whoever asks may do; note what it is."""
        scope["st8.plan"] = plan
        for namespace, branch, verb in plan.reach:
            if verb is not None:  # a branch that is read beside
                continue
            if namespace is not None:
                scope["st8.namespace"] = namespace
            if branch is not None:
                scope["st8.branch"] = branch
            break
        permitted = permit(scope.get("st8.principal", ANYONE), operation, plan)
        scope["st8.plan"] = permitted
        return permitted

    def _check(
        self, operation: Operation, asked: Plan, allowed: Plan, scope: Scope
    ) -> Plan:
        """Return the plan as it is allowed now, if that is no more and no less.

        What is asked only when a checkpoint is found is asked by today's rules.

        Raises:
            Unauthenticated: The token has expired or was taken away.
            Forbidden: It may not do it any more, or something else.
        """
        self._identify(header(scope, b"authorization"), scope)
        permitted = permit(scope["st8.principal"], operation, asked)
        if permitted != allowed:
            raise Forbidden("what the token may see has changed; connect again")
        return permitted

    def _record(
        self,
        endpoint: Endpoint,
        scope: Scope,
        status: int,
        *,
        error: St8Error | None = None,
        revision: int | None = None,
    ) -> None:
        """Record in the audit log what was done or refused, if there is one.

        Raises:
            OutcomeUnknown: It was done, and can't be recorded.
            AuditUnavailable: It can't be recorded, and nothing was changed.
        """
        operation = endpoint.operation
        if self._audit is None or operation.verb == "open" or "st8.told" in scope:
            return
        scope["st8.told"] = True
        try:
            self._audit.record(
                operation,
                scope.get("st8.principal"),
                scope.get("st8.plan"),
                scope,
                status=status,
                error=error,
                revision=revision,
            )
        except AuditUnavailable as failure:
            if error is None and operation.verb != "read":
                raise OutcomeUnknown(
                    f"it was done, but {failure.detail.partition(', so')[0]}; look at "
                    "the state before you try again"
                ) from None
            raise

    def _record_given_up(
        self, endpoint: Endpoint | None, scope: Scope, error: St8Error
    ) -> None:
        """Record a request whose answer nobody will hear.

        A read was allowed, and nothing was told; of what changes something ``error``
        says what became of it.
        """
        if endpoint is not None and "st8.plan" in scope:
            with suppress(AuditUnavailable):
                self._record(
                    endpoint, scope, 0, error=None if endpoint.reads else error
                )

    def _problem(
        self, error: Exception, endpoint: Endpoint | None, scope: Scope
    ) -> OpenReply:
        """Return the reply that tells ``error``, and record it."""
        known = as_st8_error(error, f"{scope['method']} {scope['path']}")
        if endpoint is not None and not isinstance(known, AuditUnavailable):
            try:
                self._record(endpoint, scope, known.http_status, error=known)
            except AuditUnavailable as failure:
                known = failure if known.outcome == "none" else known
        scope["st8.code"] = known.code
        reply = problem_reply(known)
        if endpoint is not None and endpoint.operation.upload is not None:
            # What still comes may be without end, and is not waited for.
            reply.headers.append((b"connection", b"close"))
        return OpenReply(reply, reply.body, None)

    async def _deliver(
        self,
        opened: OpenReply,
        endpoint: Endpoint | None,
        scope: Scope,
        delivery: Delivery,
        *,
        began: float,
    ) -> None:
        """Send a reply and count it.

        Raises:
            Exception: The reply failed when part of it was sent. The server logs
                it and cuts the connection, so that the part is not taken for all.
        """
        reply = opened.reply
        if reply.stream is not None:
            scope.pop(READS, None)  # it hears that its client has gone, and ends
        try:
            failpoint("reply.before")
            await delivery.deliver(opened)
            failpoint("reply.after")
        finally:
            meter = endpoint.route_meter if endpoint else self._meter_of(scope)
            meter.observe(reply.status, _seconds_since(began, scope))
            if endpoint is not None and opened.began is not None:
                counted = endpoint.meter
                done = "noop" if reply.noop else "success"
                counted.observe(
                    done if delivery.complete else "error",
                    _seconds_since(opened.began, scope),
                )
                if reply.tally.changes:
                    counted.add_changes(reply.tally.changes)

    def _meter_of(self, scope: Scope) -> RouteMeter:
        """Return what counts a request that found no endpoint."""
        route: str = scope.get("st8.route", OTHER)
        return self.service.metrics.route(route, scope["method"])


def create_app(
    engine: Engine,
    *,
    token: str | None = None,
    version: str,
    authoriser: Authoriser | None = None,
    audit: AuditLog | None = None,
    threads: Threads = ThreadPoolExecutor,
) -> App:
    """Return the HTTP API over ``engine``.

    Args:
        engine: The versioned store; whoever made it closes it, after the app.
        token: What clients must know; None or empty lets everybody in.
        version: The version of the daemon.
        authoriser: Decides instead of ``token``.
        audit: Where it is recorded who did what; whoever opened it closes it.
        threads: Make those on which requests wait.
    """
    if authoriser is None:
        authoriser = OneToken(token) if token else Everybody()
    return App(Service(engine, version, threads), authoriser, audit)


def _methods(operation: Operation) -> tuple[str, ...]:
    """Return the methods that an operation answers to."""
    if operation.method == EVERY_METHOD:
        return (*METHODS, EVERY_METHOD)
    if operation.method == "GET":
        return ("GET", "HEAD")
    return (operation.method,)


def _planned(kind: type[Body], body: bytes, idempotency_key: str | None) -> Plan:
    return decode(body, kind).plan(idempotency_key)


@contextmanager
def _waiting(scope: Scope) -> Generator[None]:
    """Note that a request waits, and in the end how long it has."""
    began = perf_counter()
    scope[WAITS] = True
    try:
        yield
    finally:
        del scope[WAITS]
        scope[_WAITED] = scope.get(_WAITED, 0.0) + perf_counter() - began


def _seconds_since(began: float, scope: Scope) -> float:
    """Return how long a request has taken, without what it asked to wait."""
    waited: float = scope.get(_WAITED, 0.0)
    return perf_counter() - began - waited


def _if_none_match(scope: Scope) -> bytes | None:
    """Return the header, lists given in several lines joined."""
    values = [value for name, value in scope["headers"] if name == b"if-none-match"]
    return b", ".join(values) if values else None


async def _other(kind: str, receive: Receive, send: Send) -> None:
    """Answer what is not an HTTP request."""
    if kind != "lifespan":
        await send({"type": "websocket.close", "code": 1000})
        return
    while True:
        message = await receive()
        await send({"type": message["type"] + ".complete"})
        if message["type"] == "lifespan.shutdown":
            return
