"""An example of every operation, as the page shows it.

A test sends them in this order to a daemon whose namespace ``shop/prod`` has one
revision, ``limits.json`` = 100, and compares the answers. In these, text that ends
in … stands for any text that begins so, and a time for any time.
"""

from __future__ import annotations

from typing import Final, NamedTuple

__all__ = ["EXAMPLES", "Example"]


class Example(NamedTuple):
    """A request and its answer.

    Attributes:
        target: The path with its query.
        body: The JSON that is sent; empty for none.
        answer: What comes back: JSON or text.
        flags: What curl is told beside.
    """

    target: str
    body: str = ""
    answer: str = ""
    flags: str = ""

    def curl(self, method: str) -> str:
        """Return the command that sends it, for a shell."""
        lines = [f'curl {self.flags}"$ST8_SERVER{self.target}"']
        if method == "DELETE":
            lines[0] = f"curl -X DELETE{lines[0].removeprefix('curl')}"
        lines.append('-H "Authorization: Bearer $ST8_TOKEN"')
        if self.body:
            lines.append(f"-d '{self.body}'")
        return " \\\n  ".join(lines)


EXAMPLES: Final[dict[str, Example]] = {
    "apply": Example(
        "/v1/apply",
        """{
    "scope": {"namespace": "shop/prod"},
    "documents": [
      {"key": "limits.json", "content": "200"}
    ],
    "message": "twice as much",
    "expect_revision": 1
  }""",
        """{
  "revision": 2,
  "changes": [
    {
      "key": "limits.json",
      "type": "update",
      "before": "100",
      "after": "200"
    }
  ],
  "noop": false,
  "digest": "5f1c…",
  "root": "9483…",
  "created_at": "2026-01-31T12:00:00.123456Z",
  "dry_run": false
}""",
    ),
    "get": Example(
        "/v1/state?namespace=shop/prod&prefix=limits",
        answer="""{
  "revision": 2,
  "digest": "5f1c…",
  "root": "9483…",
  "count": 1,
  "objects": {"limits.json": "200"}
}""",
    ),
    "watch": Example(
        "/v1/watch?namespace=shop/prod&after=1",
        answer="""retry: 2618
id: 1
event: start
data: {"positions":[{"namespace":"shop/prod","branch":"main","revision":1}]}

id: 2
event: revision
data: {"scope":{"namespace":"shop/prod","branch":"main"},"namespace":"shop/prod",…""",
        flags="-N ",
    ),
    "diff": Example(
        "/v1/diff",
        """{
    "scope": {"namespace": "shop/prod"},
    "from": {"revision": 1},
    "to": {"revision": 2}
  }""",
        """{
  "from_revision": 1,
  "to_revision": 2,
  "changes": [
    {
      "key": "limits.json",
      "type": "update",
      "before": "100",
      "after": "200"
    }
  ],
  "from_root": "008d…",
  "to_root": "9483…"
}""",
    ),
    "checkpoint": Example(
        "/v1/checkpoints",
        """{
    "scope": {"namespace": "shop/prod"},
    "name": "before-sale",
    "revision": 1,
    "description": "known to be good"
  }""",
        """{
  "name": "before-sale",
  "revision_id": 1,
  "branch": "main",
  "description": "known to be good",
  "created_at": "2026-01-31T12:00:00.123456Z",
  "author": ""
}""",
    ),
    "list_checkpoints": Example(
        "/v1/checkpoints?namespace=shop/prod",
        answer="""{
  "checkpoints": [
    {
      "name": "before-sale",
      "revision_id": 1,
      "branch": "main",
      "description": "known to be good",
      "created_at": "2026-01-31T12:00:00.123456Z",
      "author": ""
    }
  ]
}""",
    ),
    "rollback": Example(
        "/v1/rollback",
        """{
    "scope": {"namespace": "shop/prod"},
    "checkpoint_name": "before-sale",
    "message": "too much"
  }""",
        """{
  "revision": 3,
  "changes": [
    {
      "key": "limits.json",
      "type": "update",
      "before": "200",
      "after": "100"
    }
  ],
  "noop": false,
  "digest": "ce20…",
  "root": "008d…",
  "created_at": "2026-01-31T12:00:00.123456Z",
  "dry_run": false
}""",
    ),
    "delete_checkpoint": Example(
        "/v1/checkpoints",
        """{
    "namespace": "shop/prod",
    "name": "before-sale"
  }""",
        "{}",
    ),
    "create_branch": Example(
        "/v1/branches",
        """{
    "scope": {"namespace": "shop/prod"},
    "name": "trial",
    "from_revision": 2
  }""",
        """{
  "name": "trial",
  "base_revision": 2,
  "head_revision": 2
}""",
    ),
    "list_branches": Example(
        "/v1/branches?namespace=shop/prod",
        answer="""{
  "branches": [
    {
      "name": "main",
      "base_revision": 0,
      "head_revision": 3,
      "current": true,
      "head_digest": "ce20…"
    },
    {
      "name": "trial",
      "base_revision": 2,
      "head_revision": 2,
      "current": false,
      "head_digest": "5f1c…"
    }
  ]
}""",
    ),
    "restore": Example(
        "/v1/restore",
        """{
    "scope": {"namespace": "shop/prod"},
    "from_branch": "trial",
    "changes": "keys"
  }""",
        """{
  "revision": 4,
  "changes": [
    {"key": "limits.json", "type": "update"}
  ],
  "noop": false,
  "digest": "a77b…",
  "root": "9483…",
  "created_at": "2026-01-31T12:00:00.123456Z",
  "dry_run": false
}""",
    ),
    "delete_branch": Example(
        "/v1/branches",
        """{
    "namespace": "shop/prod",
    "name": "trial"
  }""",
        "{}",
    ),
    "log": Example(
        "/v1/log?namespace=shop/prod&limit=1&changes=none",
        answer="""{
  "entries": [
    {
      "id": 4,
      "parent_id": 3,
      "message": "restore",
      "created_at": "2026-01-31T12:00:00.123456Z",
      "branch": "main",
      "changes": [],
      "author": "",
      "kind": "restore",
      "digest": "a77b…",
      "root": "9483…",
      "parents": [3]
    }
  ],
  "next": 4
}""",
    ),
    "list_namespaces": Example(
        "/v1/namespaces",
        answer="""{
  "namespaces": [
    {"name": "shop/prod", "last_revision": 4}
  ]
}""",
    ),
    "gc": Example(
        "/v1/gc",
        '{"namespace": "shop/prod", "keep": 100}',
        '{"pruned": 0, "objects_deleted": 0, "bytes_freed": 0}',
    ),
    "backup": Example(
        "/v1/backup",
        '{"namespace": "shop/prod"}',
        "(the bytes of the backup)",
        flags="-o shop.backup ",
    ),
    "restore_backup": Example(
        "/v1/restore-backup",
        answer="""{
  "backups": 1,
  "namespaces": 1,
  "branches": 1,
  "checkpoints": 0,
  "revisions": 4,
  "objects": 9
}""",
        flags="-X POST --data-binary @shop.backup ",
    ),
    "redact": Example(
        "/v1/redact",
        """{
    "scope": {"namespace": "shop/prod"},
    "key": "limits.json",
    "revision": -1,
    "reason": "an example"
  }""",
        """{
  "digest": "ad57…",
  "places": [
    {"namespace": "shop/prod", "key": "limits.json"}
  ],
  "dry_run": false
}""",
    ),
    "verify": Example(
        "/v1/verify",
        '{"full": true}',
        '{"type":"progress",…}',
    ),
    "version": Example(
        "/v1/version",
        answer='{"version": "…", "api": "v1", "store": "…"}',
    ),
    "health": Example("/healthz", answer="ok"),
    "ready": Example("/readyz", answer="ok"),
    "metrics": Example("/metrics", answer="# HELP st8_http_requests_total …"),
    "openapi": Example("/openapi.json", answer='{"openapi":"3.1.0",…'),
    "docs": Example("/docs", answer="<!doctype html>…"),
}
