"""The one token of a daemon without a policy file."""

from __future__ import annotations

import pytest

from st8.auth.simple import OneToken
from st8.http.app import create_app
from st8.http.operations import EVERY_METHOD, OPERATIONS, Operation
from tests.http.asgi import TOKEN, Api

OPEN = {"/healthz", "/readyz", "/openapi.json", "/docs"}


def ask(api: Api, operation: Operation, **headers: str) -> int:
    """Return the status of a bare request for an operation."""
    method = "GET" if operation.method == EVERY_METHOD else operation.method
    if operation.resumable:
        method = "HEAD"  # GET would not end
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
