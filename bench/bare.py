"""A bare uvicorn app that returns what it is told to: the yardstick for reads.

Nothing is routed, parsed, looked up or compared: it sends prepared messages, on
uvloop and httptools, without an access log. It prints the port that it listens on.
``load.py`` runs :func:`main` with a JSON file: path → [status, [[name, value], …],
body].
"""

from __future__ import annotations

import json
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import uvicorn

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    Send = Callable[[dict[str, Any]], Awaitable[None]]


def make_app(answers: dict[str, Any]) -> Callable[..., Awaitable[None]]:
    """Return an ASGI app that sends ``answers`` by path."""
    messages: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
        path: (
            {
                "type": "http.response.start",
                "status": status,
                "headers": [(name.encode(), value.encode()) for name, value in headers],
            },
            {"type": "http.response.body", "body": body.encode()},
        )
        for path, (status, headers, body) in answers.items()
    }

    async def app(scope: dict[str, Any], _receive: object, send: Send) -> None:
        start, body = messages[scope["path"]]
        await send(start)
        await send(body)

    return app


def main() -> None:
    """Serve until killed."""
    answers = json.loads(Path(sys.argv[1]).read_text("utf-8"))
    listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
    print(listener.getsockname()[1], flush=True)
    config = uvicorn.Config(
        make_app(answers),
        loop="uvloop",
        http="httptools",
        lifespan="off",
        access_log=False,
        log_level="warning",
        server_header=False,  # st8d's own is among the headers
    )
    uvicorn.Server(config).run(sockets=[listener])
