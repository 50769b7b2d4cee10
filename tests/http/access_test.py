"""The token, and the seam that policies will plug into."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from st8.core.errors import Forbidden
from st8.core.ids import Scope
from st8.http.access import OneToken, Principal
from st8.http.app import create_app
from st8.http.operations import EVERY_METHOD, OPERATIONS, Operation
from tests.http.asgi import TOKEN, Api

if TYPE_CHECKING:
    from collections.abc import Mapping

    from st8.http.plans import Reach

OPEN = {"/healthz", "/readyz"}


def ask(api: Api, operation: Operation, **headers: str) -> int:
    """Return the status of a bare request for an operation."""
    method = "GET" if operation.method == EVERY_METHOD else operation.method
    body: object = {} if operation.body is not None else None
    return api.call(method, operation.path, body, **headers).status


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda o: o.name)
def test_everything_but_the_probes_wants_the_token(
    guarded: Api, operation: Operation
) -> None:
    """Without the token nothing is answered but whether the daemon lives."""
    refused = 401 if operation.path not in OPEN else 200

    assert refused == ask(guarded, operation, authorization="")
    assert refused == ask(guarded, operation, authorization="Bearer wrong")
    assert 401 != ask(guarded, operation)
    assert (operation.verb == "open") == (operation.path in OPEN)


@pytest.mark.parametrize(
    ("authorization", "expected"),
    [
        (f"Bearer {TOKEN}", 200),
        (f"bearer {TOKEN}", 200),
        (f"BEARER   {TOKEN} ", 200),
        (TOKEN, 401),
        (f"Basic {TOKEN}", 401),
        (f"Bearer{TOKEN}", 401),
        (f"Bearer {TOKEN}x", 401),
        (f"Bearer {TOKEN[:-1]}", 401),
        (f"Bearer {TOKEN} {TOKEN}", 401),
        (f"Bearer {TOKEN.upper()}", 401),
        ("Bearer", 401),
        ("Bearer ", 401),
        ("", 401),
        ("Bearer \x80\xff", 401),
    ],
)
def test_only_the_token_opens(guarded: Api, authorization: str, expected: int) -> None:
    """The scheme is compared without case, the token to the letter."""
    answer = guarded.call("GET", "/v1/version", authorization=authorization)

    assert expected == answer.status
    if expected == 401:
        assert 'Bearer realm="st8"' == answer.headers["www-authenticate"]
        assert "unauthenticated" == answer.code
        assert TOKEN.encode() not in answer.body


def test_who_is_refused_learns_nothing_first(guarded: Api) -> None:
    """A request is not looked at before its token is."""
    for method, target, body in (
        ("POST", "/v1/apply", b"{"),
        ("GET", "/v1/state?nonsense=%ff", None),
        ("POST", "/v1/rollback", {"revision_id": 99}),
    ):
        assert 401 == guarded.call(method, target, body, authorization="").status


def test_no_copy_of_the_token_is_kept() -> None:
    """What remembers the token holds only its digest."""
    assert TOKEN not in repr(vars(OneToken(TOKEN)))


def test_an_empty_token_is_none() -> None:
    """No token, or an empty one, lets everybody in."""
    for token in (None, ""):
        api = Api(token=None)
        api.app.close()
        api.app = create_app(api.engine, token=token, version="1")

        assert 200 == api.get("/v1/state").status
        api.close()


class Recorder:
    """A policy that writes down what it is asked and allows one namespace."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, Reach | None]] = []

    def authenticate(
        self, _authorization: bytes | None, connection: Mapping[str, Any], /
    ) -> Principal:
        """Return whoever comes, by their address."""
        return Principal(connection["client"][0])

    def authorise(
        self, principal: Principal, operation: Operation, reach: Reach | None
    ) -> None:
        """Refuse what reaches beyond the namespace ``mine``."""
        assert "127.0.0.1" == principal.name
        self.asked.append((operation.name, reach))
        if reach is not None and reach.namespace != "mine":
            raise Forbidden(f"{operation.name} may not reach {reach.namespace!r}")


Place = tuple[str | None, str | None] | None

MINE = {"namespace": "mine", "branch": "b"}
ASKED: dict[str, tuple[str, str, object, list[Place]]] = {
    "apply": ("POST", "/v1/apply", {"scope": MINE, "deletes": ["a"]}, [("mine", "b")]),
    "get": ("GET", "/v1/state?namespace=mine&branch=b", None, [("mine", "b")]),
    "diff": (
        "POST",
        "/v1/diff",
        {"scope": MINE, "from": {"branch": "x"}, "to": {"branch": "y"}},
        [("mine", "b"), ("mine", "x"), ("mine", "y")],
    ),
    "rollback": ("POST", "/v1/rollback", {"scope": MINE}, [("mine", "b")]),
    "restore": (
        "POST",
        "/v1/restore",
        {"scope": MINE, "from_branch": "x"},
        [("mine", "b"), ("mine", "x")],
    ),
    "log": ("GET", "/v1/log?namespace=mine&branch=b", None, [("mine", "b")]),
    "list_branches": ("GET", "/v1/branches?namespace=mine", None, [("mine", None)]),
    "create_branch": (
        "POST",
        "/v1/branches",
        {"scope": MINE, "name": "new"},
        [("mine", "b"), ("mine", "new")],
    ),
    "delete_branch": (
        "DELETE",
        "/v1/branches",
        {"namespace": "mine", "name": "x"},
        [("mine", "x")],
    ),
    "list_checkpoints": (
        "GET",
        "/v1/checkpoints?namespace=mine",
        None,
        [("mine", None)],
    ),
    "checkpoint": (
        "POST",
        "/v1/checkpoints",
        {"scope": MINE, "name": "c"},
        [("mine", "b")],
    ),
    "delete_checkpoint": (
        "DELETE",
        "/v1/checkpoints",
        {"namespace": "mine", "name": "c"},
        [("mine", None)],
    ),
    "list_namespaces": ("GET", "/v1/namespaces", None, [(None, None)]),
    "gc": ("POST", "/v1/gc", {"namespace": "mine"}, [("mine", None)]),
    "version": ("GET", "/v1/version", None, [None]),
    "metrics": ("GET", "/metrics", None, [None]),
    "openapi": ("GET", "/openapi.json", None, [None]),
    "health": ("GET", "/healthz", None, []),
    "ready": ("GET", "/readyz", None, []),
}


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda o: o.name)
def test_a_policy_is_asked_for_all_that_is_reached(operation: Operation) -> None:
    """Each operation names every branch and namespace that it touches."""
    policy = Recorder()
    api = Api()
    api.app.close()
    api.app = create_app(api.engine, version="1", authoriser=policy)
    method, target, body, reaches = ASKED[operation.name]
    try:
        status = api.call(method, target, body).status
    finally:
        api.close()

    expected = [(operation.name, reach) for reach in reaches]
    assert expected == policy.asked
    assert (operation.name == "list_namespaces") == (status == 403)


def test_what_is_refused_is_not_done() -> None:
    """A policy that refuses one of the places refuses the whole request."""
    policy = Recorder()
    api = Api()
    api.apply({"a": "1"})
    api.app.close()
    api.app = create_app(api.engine, version="1", authoriser=policy)
    try:
        for target in ("/v1/state", "/v1/state"):
            assert 403 == api.get(target).status
        assert 403 == api.post("/v1/apply", {"deletes": ["a"]}).status
        assert 403 == api.post("/v1/gc", {}).status
        assert 1 == api.engine.state(Scope()).number
    finally:
        api.close()
