"""What ``st8ctl watch`` shows, in a pipe and on a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.transcripts.history_test import fill

if TYPE_CHECKING:
    from tests.transcripts.stage import Stage


def test_watch_in_a_pipe(stage: Stage) -> None:
    """Oldest first, one line each; JSON has all there is to know, on one line."""
    fill(stage)

    assert (
        0,
        """\
rev=1 parent=0 branch=main at=2026-01-01T00:00:00Z message="apply" changes=2
rev=2 parent=1 branch=main at=2026-01-01T00:01:30Z message="more for web" changes=1 author="ops"
rev=4 parent=2 branch=main at=2026-01-01T01:02:00Z message="undo" changes=1 author="ops"
""",
        "",
    ) == stage.pipe("watch", "--after", "0", "--limit", "3")
    assert (
        0,
        """\
{"event": "revision", "namespace": "default", "revision": 4, "parent": 2, "message": "undo", "created_at": "2026-01-01T01:02:00.25Z", "branch": "main", "changes": [{"key": "limits.yaml", "type": "update"}], "author": "ops", "kind": "rollback", "digest": "31dc336a8332382233d51b324a3c09e5b823025070049dfa8946a4161c5a05cd", "root": "14cc8e3125d01f915e93a35474a38b2603f6affe277cd3acc45239ed9d0208a3", "parents": [2], "changes_omitted": false}
""",
        "",
    ) == stage.pipe("watch", "--after", "2", "--limit", "1", "-o", "json")
    assert (
        0,
        """\
rev=4 parent=2 branch=main at=2026-01-01T01:02:00Z message="undo" changes=1 author="ops"

--- limits.yaml
+++ limits.yaml
@@ -1 +1 @@
-requests: 250
+requests: 100

""",
        "",
    ) == stage.pipe("watch", "--after", "2", "--limit", "1", "--patch")


def test_watch_on_a_terminal(stage: Stage) -> None:
    """The number is in colour; no pager comes between."""
    fill(stage)
    shown = stage.terminal("watch", "--after", "2", "--limit", "1")

    assert 0 == shown.code
    assert shown.text.startswith("\x1b[33mrev=4\x1b[0m parent=2 branch=main ")
