"""What the answers of the API lead to, as OpenAPI links.

For people who read the description, and for tools that try the API in sequences.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["links_of"]


class _Link(NamedTuple):
    """A request that follows from an answer.

    Attributes:
        operation: The name of what is asked for.
        description: What it answers.
        query: Its query parameters, as runtime expressions.
        body: The fields of its body, likewise.
    """

    operation: str
    description: str
    query: Mapping[str, str] = {}
    body: Mapping[str, object] = {}


_REVISION: Final = "$response.body#/revision"
_NAME: Final = "$response.body#/name"
_NEXT: Final = "$response.body#/next"
_SCOPE: Final = "$request.body#/scope"
_NAMESPACE: Final = {"namespace": "$request.body#/scope/namespace"}
_WRITTEN: Final = {**_NAMESPACE, "branch": "$request.body#/scope/branch"}
_READ: Final = {
    "namespace": "$request.query.namespace",
    "branch": "$request.query.branch",
}

_WRITE: Final = {
    "state": _Link(
        "get", "The state of the revision.", {"revision": _REVISION, **_WRITTEN}
    ),
    "log": _Link("log", "How it came to be.", {"revision": _REVISION, **_WRITTEN}),
    "diff": _Link(
        "diff",
        "What was changed since.",
        body={"scope": _SCOPE, "from": {"revision": _REVISION}},
    ),
    "rollback": _Link(
        "rollback",
        "Back to it, once there are others.",
        body={"scope": _SCOPE, "revision_id": _REVISION},
    ),
    "checkpoint": _Link(
        "checkpoint",
        "Give it a name.",
        body={"scope": _SCOPE, "revision": _REVISION, "name": "known-good"},
    ),
}
_LINKS: Final[dict[str, dict[str, _Link]]] = {
    "apply": _WRITE,
    "rollback": _WRITE,
    "restore": _WRITE,
    "get": {
        "next": _Link(
            "get",
            "The next page of the same state.",
            {"after": _NEXT, "revision": _REVISION, **_READ},
        )
    },
    "log": {"next": _Link("log", "The next page.", {"after": _NEXT, **_READ})},
    "list_branches": {
        "next": _Link("list_branches", "The next page.", {"after": _NEXT, **_READ})
    },
    "create_branch": {
        "state": _Link("get", "Its state.", {"branch": _NAME, **_NAMESPACE}),
        "restore": _Link(
            "restore",
            "Promote what it has.",
            body={"scope": _SCOPE, "from_branch": _NAME},
        ),
        "delete": _Link(
            "delete_branch", "Delete it.", body={"name": _NAME, **_NAMESPACE}
        ),
    },
    "checkpoint": {
        "state": _Link("get", "The state it names.", {"checkpoint": _NAME, **_WRITTEN}),
        "rollback": _Link(
            "rollback", "Back to it.", body={"scope": _SCOPE, "checkpoint_name": _NAME}
        ),
        "delete": _Link(
            "delete_checkpoint", "Delete it.", body={"name": _NAME, **_NAMESPACE}
        ),
    },
    "list_checkpoints": {
        "next": _Link(
            "list_checkpoints",
            "The next page.",
            {"after": _NEXT, "namespace": _READ["namespace"]},
        )
    },
    "list_namespaces": {
        "next": _Link("list_namespaces", "The next page.", {"after": _NEXT})
    },
}


def links_of(operation: str) -> dict[str, Any]:
    """Return the links of an operation's answer, by name, as OpenAPI has them."""
    found: dict[str, Any] = {}
    for name, link in _LINKS.get(operation, {}).items():
        described: dict[str, Any] = {
            "operationId": link.operation,
            "description": link.description,
        }
        if link.query:
            described["parameters"] = dict(link.query)
        if link.body:
            described["requestBody"] = dict(link.body)
        found[name] = described
    return found
