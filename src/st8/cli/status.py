"""``st8ctl status``: where the daemon is, how it is, and what the branch holds."""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING, Any, Final

from st8 import __version__
from st8.cli import output
from st8.cli.command import command
from st8.cli.render import plain, record
from st8.core.errors import NotFound, Refused, St8Error, Unavailable
from st8.core.ids import DEFAULT_BRANCH, DEFAULT_NAMESPACE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from st8.cli.flags import Flags
    from st8.client import Client

__all__ = ["COMMAND"]

_ROUNDS: Final = 3
_BEYOND_ALL_KEYS: Final = "\U0010ffff"
"""The whole state's number of documents comes with any part of it; so, with none."""


@command("status")
def status(flags: Flags) -> None:
    """Show the daemon, the branch, its head, and how much there is.

    The latency is the best of three round trips. Where the daemon can't be reached,
    what is known without it is shown, and the exit code is 6.
    """
    settings = flags.settings()
    value: dict[str, Any] = {
        "server": settings.url or "local",
        "server_from": flags.origins["server"],
        "reachable": False,
        "client_version": __version__,
        "namespace": str(settings.namespace.strip() or DEFAULT_NAMESPACE),
        "branch": str(settings.branch.strip() or DEFAULT_BRANCH),
    }
    failure: St8Error | None = None
    try:
        with flags.connect() as client:
            value |= _about_daemon(client)
            value |= _about_scope(client)
    except Unavailable as error:
        failure = error
    except Refused as error:
        value["reachable"] = True
        failure = error
    record(flags, value, lambda: _text(value))
    if failure is not None:
        raise failure


def _about_daemon(client: Client) -> dict[str, Any]:
    """Return what the daemon says of itself, and how fast."""
    version = client.version()
    latency_s = min(_timed(client.version) for _ in range(_ROUNDS))
    return {
        "reachable": True,
        "latency_ms": round(latency_s * 1_000, 2),
        "server_version": version.version,
        "api": version.api,
        "store": version.store,
    }


def _about_scope(client: Client) -> dict[str, Any]:
    """Return the head of the branch and how much there is; None for what is hidden."""
    head: dict[str, Any] | None = None
    documents: int | None = 0
    try:
        entry = client.log(1).entries[0]
        head = {**plain(entry), "changes": len(entry.changes)}
        state = client.state(prefix=_BEYOND_ALL_KEYS, revision=entry.revision)
        documents = state.total
    except NotFound:
        pass
    except Refused:
        documents = None
    return {
        "head": head,
        "documents": documents,
        "branches": _count(client.branches),
        "checkpoints": _count(client.checkpoints),
        "namespaces": _count(client.namespaces),
    }


def _count(list_all: Callable[[], Iterable[object]]) -> int | None:
    """Return how many there are; None where the token may not know."""
    try:
        return sum(1 for _ in list_all())
    except NotFound:
        return 0
    except Refused:
        return None


def _timed(call: Callable[[], object]) -> float:
    """Return the seconds that ``call`` takes."""
    start_s = monotonic()
    call()
    return monotonic() - start_s


def _text(value: dict[str, Any]) -> str:
    rows = [("server", f"{value['server']} (from {value['server_from']})")]
    if "latency_ms" in value:
        rows += [
            ("reachable", f"yes, in {value['latency_ms']} ms"),
            ("version", f"{_daemon(value)}, st8ctl {value['client_version']}"),
        ]
    else:
        reachable = "yes, but it refuses us" if value["reachable"] else "no"
        rows += [
            ("reachable", reachable),
            ("version", f"st8ctl {value['client_version']}"),
        ]
    rows += [("namespace", value["namespace"]), ("branch", value["branch"])]
    if "documents" in value:
        rows.append(("head", _head(value["head"])))
        rows += [
            (name, "not to be seen" if value[name] is None else str(value[name]))
            for name in ("documents", "branches", "checkpoints", "namespaces")
        ]
    return "".join(f"{name:<11} {output.escaped(text)}\n" for name, text in rows)


def _daemon(value: dict[str, Any]) -> str:
    return (
        f"st8d {value['server_version']} (API {value['api']}, store {value['store']})"
    )


def _head(head: dict[str, Any] | None) -> str:
    """Return the head in one line."""
    if head is None:
        return "none yet: nothing was applied"
    author = f" by {head['author']}" if head["author"] else ""
    message = output.quoted(head["message"])
    digest = f", digest {head['digest'][:12]}" if head["digest"] else ""
    return (
        f"revision {head['revision']}, {head['created_at']}{author}: {message}{digest}"
    )


COMMAND = status
