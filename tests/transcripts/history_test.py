"""What ``st8ctl log`` and ``st8ctl show`` show, in a pipe and on a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.transcripts.stage import Stage


@pytest.fixture(name="stage")
def filled(stage: Stage) -> Stage:
    """Two branches, four revisions, a checkpoint."""
    fill(stage)
    return stage


def fill(stage: Stage) -> None:
    """Apply what there is to see."""
    stage.pipe("apply", "-v", "limits.yaml=requests: 100\n", "-v", "web/old.txt=x\n")
    stage.clock.advance(90.25)
    stage.pipe("branch", "create", "release")
    stage.pipe(
        "apply", "-v", "limits.yaml=requests: 250\n", "-m", "more for web",
        "--author", "ops",
    )  # fmt: skip
    stage.clock.advance(3600)
    stage.pipe("--branch", "release", "apply", "--delete", "web/old.txt", "-y")
    stage.pipe("checkpoint", "good", "--description", "seen to work")
    stage.clock.advance(30)
    stage.pipe("rollback", "--revision", "1", "-m", "undo", "--author", "ops")


def test_log_in_a_pipe(stage: Stage) -> None:
    """One line a revision; JSON and YAML have all there is to know."""
    assert (
        0,
        """\
rev=4 parent=2 branch=main at=2026-01-01T01:02:00Z message="undo" changes=1 author="ops"
rev=2 parent=1 branch=main at=2026-01-01T00:01:30Z message="more for web" changes=1 author="ops"
rev=1 parent=0 branch=main at=2026-01-01T00:00:00Z message="apply" changes=2
""",
        "",
    ) == stage.pipe("log")
    assert (
        0,
        """\
{
  "entries": [
    {"revision": 4, "parent": 2, "message": "undo", "created_at": "2026-01-01T01:02:00.25Z", "branch": "main", "changes": [{"key": "limits.yaml", "type": "update"}], "author": "ops", "kind": "rollback", "digest": "31dc336a8332382233d51b324a3c09e5b823025070049dfa8946a4161c5a05cd", "root": "14cc8e3125d01f915e93a35474a38b2603f6affe277cd3acc45239ed9d0208a3", "parents": [2]}
  ]
}
""",
        "",
    ) == stage.pipe("log", "--limit", "1", "-o", "json")
    assert (
        0,
        """\
entries:
- revision: 4
  parent: 2
  message: undo
  created_at: '2026-01-01T01:02:00.25Z'
  branch: main
  changes:
  - key: limits.yaml
    type: update
  author: ops
  kind: rollback
  digest: 31dc336a8332382233d51b324a3c09e5b823025070049dfa8946a4161c5a05cd
  root: 14cc8e3125d01f915e93a35474a38b2603f6affe277cd3acc45239ed9d0208a3
  parents:
  - 2
""",
        "",
    ) == stage.pipe("log", "--limit", "1", "-o", "yaml")
    assert (
        0,
        """\
{
  "entries": []
}
""",
        "",
    ) == stage.pipe("log", "-o", "json", "--author", "nobody")
    assert (0, "entries: []\n", "") == stage.pipe(
        "log", "-o", "yaml", "--author", "nobody"
    )


def test_log_with_patches_in_a_pipe(stage: Stage) -> None:
    """Each revision with its diff, as `diff` writes it, or its contents."""
    assert (
        0,
        """\
rev=4 parent=2 branch=main at=2026-01-01T01:02:00Z message="undo" changes=1 author="ops"

--- limits.yaml
+++ limits.yaml
@@ -1 +1 @@
-requests: 250
+requests: 100

rev=2 parent=1 branch=main at=2026-01-01T00:01:30Z message="more for web" changes=1 author="ops"

--- limits.yaml
+++ limits.yaml
@@ -1 +1 @@
-requests: 100
+requests: 250

""",
        "",
    ) == stage.pipe("log", "-p", "--limit", "2")
    assert (
        0,
        """\
entries:
- revision: 1
  parent: 0
  message: apply
  created_at: '2026-01-01T00:00:00Z'
  branch: main
  changes:
  - key: limits.yaml
    type: create
    after: 'requests: 100

      '
  - key: web/old.txt
    type: create
    after: 'x

      '
  author: ''
  kind: apply
  digest: b89d3bc29235bfe23ee2c842bad4ca5d28b8fbdd4532a85449f71f6146fa4272
  root: 14cc8e3125d01f915e93a35474a38b2603f6affe277cd3acc45239ed9d0208a3
  parents: []
""",
        "",
    ) == stage.pipe("log", "-p", "-o", "yaml", "--", "web/")


def test_graph_in_a_pipe(stage: Stage) -> None:
    """All branches, and where they meet."""
    assert (
        0,
        """\
* 4 2026-01-01T01:02:00Z (main) undo
| * 3 2026-01-01T01:01:30Z (release) apply
* | 2 2026-01-01T00:01:30Z (checkpoint good) more for web
|/
* 1 2026-01-01T00:00:00Z apply
""",
        "",
    ) == stage.pipe("log", "--graph")
    assert (
        0,
        """\
{
  "entries": [
    {"revision": 4, "parent": 2, "message": "undo", "created_at": "2026-01-01T01:02:00.25Z", "branch": "main", "changes": [{"key": "limits.yaml", "type": "update"}], "author": "ops", "kind": "rollback", "digest": "31dc336a8332382233d51b324a3c09e5b823025070049dfa8946a4161c5a05cd", "root": "14cc8e3125d01f915e93a35474a38b2603f6affe277cd3acc45239ed9d0208a3", "parents": [2], "branches": ["main"], "checkpoints": []}
  ]
}
""",
        "",
    ) == stage.pipe("log", "--graph", "--limit", "1", "-o", "json")


def test_log_on_a_terminal(stage: Stage) -> None:
    """On a terminal numbers are in colour, and diffs are; NO_COLOR turns it off."""
    assert (
        0,
        """\
\x1b[33mrev=4\x1b[0m parent=2 branch=main at=2026-01-01T01:02:00Z message="undo" changes=1 author="ops"
\x1b[33mrev=2\x1b[0m parent=1 branch=main at=2026-01-01T00:01:30Z message="more for web" changes=1 author="ops"
\x1b[33mrev=1\x1b[0m parent=0 branch=main at=2026-01-01T00:00:00Z message="apply" changes=2
""",
    ) == stage.terminal("log", "--no-pager", columns=120)
    assert (
        0,
        """\
rev=4 parent=2 branch=main at=2026-01-01T01:02:00Z message="undo" changes=1 author="ops"
rev=2 parent=1 branch=main at=2026-01-01T00:01:30Z message="more for web" changes=1 author="ops"
rev=1 parent=0 branch=main at=2026-01-01T00:00:00Z message="apply" changes=2
""",
    ) == stage.terminal("log", "--no-pager", columns=120, env={"NO_COLOR": "1"})
    assert (
        0,
        """\
\x1b[33mrev=4\x1b[0m parent=2 branch=main at=2026-01-01T01:02:00Z message="undo" changes=1 author="ops"

\x1b[1m--- limits.yaml\x1b[0m
\x1b[1m+++ limits.yaml\x1b[0m
\x1b[36m@@ -1 +1 @@\x1b[0m
\x1b[31m-requests: 250\x1b[0m
\x1b[32m+requests: 100\x1b[0m

""",
    ) == stage.terminal("log", "--no-pager", "-p", "--limit", "1", columns=120)
    assert (
        0,
        """\
* \x1b[33m4\x1b[0m 2026-01-01T01:02:00Z \x1b[32m(main)\x1b[0m undo
| * \x1b[33m3\x1b[0m 2026-01-01T01:01:30Z \x1b[32m(release)\x1b[0m apply
* | \x1b[33m2\x1b[0m 2026-01-01T00:01:30Z \x1b[32m(checkpoint good)\x1b[0m more for web
|/
* \x1b[33m1\x1b[0m 2026-01-01T00:00:00Z apply
""",
    ) == stage.terminal("log", "--no-pager", "--graph", columns=120)
    assert (
        0,
        """\
entries:
- revision: 4
  parent: 2
  message: undo
  created_at: '2026-01-01T01:02:00.25Z'
  branch: main
  changes:
  - key: limits.yaml
    type: update
  author: ops
  kind: rollback
  digest: 31dc336a8332382233d51b324a3c09e5b823025070049dfa8946a4161c5a05cd
  root: 14cc8e3125d01f915e93a35474a38b2603f6affe277cd3acc45239ed9d0208a3
  parents:
  - 2
""",
    ) == stage.terminal("log", "--no-pager", "--limit", "1", "-o", "yaml", columns=120)


def test_log_through_a_pager(stage: Stage) -> None:
    """What is more than a screen can be paged; the pager gets what would be shown."""
    assert (
        0,
        """\
> \x1b[33mrev=4\x1b[0m parent=2 branch=main at=2026-01-01T01:02:00Z message="undo" changes=1 author="ops"
> \x1b[33mrev=2\x1b[0m parent=1 branch=main at=2026-01-01T00:01:30Z message="more for web" changes=1 author="ops"
> \x1b[33mrev=1\x1b[0m parent=0 branch=main at=2026-01-01T00:00:00Z message="apply" changes=2
""",
    ) == stage.terminal("log", columns=120, env={"PAGER": "sed 's/^/> /'"})
    assert (
        0,
        """\
> \x1b[33mrevision 4\x1b[0m
> digest   31dc336a8332382233d51b324a3c09e5b823025070049dfa8946a4161c5a05cd
> state    14cc8e3125d01f915e93a35474a38b2603f6affe277cd3acc45239ed9d0208a3
> parent   2
> branch   main
> kind     rollback
> author   ops
> date     2026-01-01T01:02:00.25Z
> changes  1
>\x20
>     undo
>\x20
> \x1b[1m--- limits.yaml\x1b[0m
> \x1b[1m+++ limits.yaml\x1b[0m
> \x1b[36m@@ -1 +1 @@\x1b[0m
> \x1b[31m-requests: 250\x1b[0m
> \x1b[32m+requests: 100\x1b[0m
""",
    ) == stage.terminal(
        "show", columns=120, env={"ST8_PAGER": "sed 's/^/> /'", "PAGER": "false"}
    )
    assert (
        0,
        """\
\x1b[33mrev=4\x1b[0m parent=2 branch=main at=2026-01-01T01:02:00Z message="undo" changes=1 author="ops"
""",
    ) == stage.terminal("log", columns=120, env={"PAGER": "head -n 1"})
    assert (
        0,
        """\
\x1b[33mrev=4\x1b[0m parent=2 branch=main at=2026-01-01T01:02:00Z message="undo" changes=1 author="ops"
""",
    ) == stage.terminal("log", "--limit", "1", columns=120, env={"PAGER": "cat"})
    assert (
        0,
        """\
\x1b[33mrev=4\x1b[0m parent=2 branch=main at=2026-01-01T01:02:00Z message="undo" changes=1 author="ops"
""",
    ) == stage.terminal("log", "--limit", "1", columns=120, env={"PAGER": ""})
    assert (
        0,
        """\
\x1b[33mrev=4\x1b[0m parent=2 branch=main at=2026-01-01T01:02:00Z message="undo" changes=1 author="ops"
""",
    ) == stage.terminal(
        "log", "--limit", "1", columns=120, env={"PAGER": "/nowhere/less -R"}
    )
    assert (
        0,
        """\
rev=4 parent=2 branch=main at=2026-01-01T01:02:00Z message="undo" changes=1 author="ops"
""",
    ) == stage.terminal("log", "--limit", "1", columns=120, env={"TERM": "dumb"})
    assert (
        0,
        """\
\x1b[33mrev=4\x1b[0m parent=2 branch=main at=2026-01-01T01:02:00Z message="undo" changes=1 author="ops"
""",
    ) == stage.terminal("log", "--limit", "1", columns=120, env={"PAGER": "'"})
    assert (
        0,
        """\
\x1b[33mrev=4\x1b[0m parent=2 branch=main at=2026-01-01T01:02:00Z message="undo" changes=1 author="ops"
the pager 'sh' ended with 3
""",
    ) == stage.terminal(
        "log", "--limit", "1", columns=120, env={"PAGER": "sh -c 'cat; exit 3'"}
    )
    assert (
        0,
        """\
rev=4 parent=2 branch=main at=2026-01-01T01:02:00Z message="undo" changes=1 author="ops"
""",
        "",
    ) == stage.pipe("log", "--limit", "1", env={"PAGER": "sed 's/^/> /'"})


def test_show_in_a_pipe(stage: Stage) -> None:
    """A revision with who, when, why and what; or a document as it was in it."""
    assert (
        0,
        """\
revision 4
digest   31dc336a8332382233d51b324a3c09e5b823025070049dfa8946a4161c5a05cd
state    14cc8e3125d01f915e93a35474a38b2603f6affe277cd3acc45239ed9d0208a3
parent   2
branch   main
kind     rollback
author   ops
date     2026-01-01T01:02:00.25Z
changes  1

    undo

--- limits.yaml
+++ limits.yaml
@@ -1 +1 @@
-requests: 250
+requests: 100
""",
        "",
    ) == stage.pipe("show")
    assert (
        0,
        """\
{
  "revision": 2,
  "parent": 1,
  "message": "more for web",
  "created_at": "2026-01-01T00:01:30.25Z",
  "branch": "main",
  "changes": [
    {
      "key": "limits.yaml",
      "type": "update",
      "before": "requests: 100\\n",
      "after": "requests: 250\\n"
    }
  ],
  "author": "ops",
  "kind": "apply",
  "digest": "a72ae2f8d8efd50ca48895d866441a9427866ca4b0291fa454bf780290913ff9",
  "root": "976ea0dd87d729ed09de9e5c1445023bdac26a9637e74e454f6ad4bb5d81e32d",
  "parents": [
    1
  ]
}
""",
        "",
    ) == stage.pipe("show", "2", "-o", "json")
    assert (
        0,
        """\
revision: 2
parent: 1
message: more for web
created_at: '2026-01-01T00:01:30.25Z'
branch: main
changes:
- key: limits.yaml
  type: update
  before: 'requests: 100

    '
  after: 'requests: 250

    '
author: ops
kind: apply
digest: a72ae2f8d8efd50ca48895d866441a9427866ca4b0291fa454bf780290913ff9
root: 976ea0dd87d729ed09de9e5c1445023bdac26a9637e74e454f6ad4bb5d81e32d
parents:
- 1
""",
        "",
    ) == stage.pipe("show", "-1", "-o", "yaml")
    assert (0, "requests: 250\n", "") == stage.pipe("show", "2:limits.yaml")
    assert (
        0,
        """\
{
  "key": "limits.yaml",
  "content": "requests: 250\\n"
}
""",
        "",
    ) == stage.pipe("show", "good:limits.yaml", "-o", "json")
    assert (
        0,
        """\
key: limits.yaml
content: 'requests: 250

  '
""",
        "",
    ) == stage.pipe("show", "good:limits.yaml", "-o", "yaml")


def test_show_on_a_terminal(stage: Stage) -> None:
    """On a terminal a revision is in colour; a document is as it is."""
    assert (
        0,
        """\
\x1b[33mrevision 2\x1b[0m
digest   a72ae2f8d8efd50ca48895d866441a9427866ca4b0291fa454bf780290913ff9
state    976ea0dd87d729ed09de9e5c1445023bdac26a9637e74e454f6ad4bb5d81e32d
parent   1
branch   main
kind     apply
author   ops
date     2026-01-01T00:01:30.25Z
changes  1

    more for web

\x1b[1m--- limits.yaml\x1b[0m
\x1b[1m+++ limits.yaml\x1b[0m
\x1b[36m@@ -1 +1 @@\x1b[0m
\x1b[31m-requests: 100\x1b[0m
\x1b[32m+requests: 250\x1b[0m
""",
    ) == stage.terminal("show", "2", "--no-pager", columns=120)
    assert (0, "requests: 250\n") == stage.terminal("show", "2:limits.yaml")


def test_a_log_that_was_collected(stage: Stage) -> None:
    """Where garbage collection cut the history, a note on standard error says so."""
    stage.pipe("checkpoint", "delete", "good")
    stage.pipe("branch", "delete", "release")
    assert (
        0,
        """\
{
  "revisions": 3,
  "objects": 1,
  "size": 49
}
""",
        "",
    ) == stage.pipe("gc", "--keep", "1", "-o", "json")
    assert (
        0,
        """\
rev=4 parent=2 branch=main at=2026-01-01T01:02:00Z message="undo" changes=1 author="ops"
""",
        "revision 2 and older were removed by garbage collection\n",
    ) == stage.pipe("log")
    assert (
        0,
        """\
{
  "entries": []
}
""",
        "revision 2 and older were removed by garbage collection\n",
    ) == stage.pipe("log", "-o", "json", "--author", "nobody")
    assert (
        0,
        "* 4 2026-01-01T01:02:00Z (main) undo\n",
        "revision 2 and older were removed by garbage collection\n",
    ) == stage.pipe("log", "--graph")
    assert (
        3,
        "",
        """\
error: revision 2 of namespace 'default' was removed by garbage collection; checkpoints and the newest revisions are kept
""",
    ) == stage.pipe("show", "2")
    assert (0, "requests: 100\n", "") == stage.pipe("show", "4:limits.yaml")
    assert (
        0,
        """\
\x1b[33mrev=4\x1b[0m parent=2 branch=main at=2026-01-01T01:02:00Z message="undo" changes=1 author="ops"
revision 2 and older were removed by garbage collection
""",
    ) == stage.terminal("log", "--no-pager", columns=100)


@pytest.mark.parametrize(
    "command",
    [
        ("get", "--revision"),
        ("get", "limits.yaml", "--revision"),
        ("diff", "--revision"),
        ("show",),
        ("checkpoint", "create", "c", "--revision"),
        ("branch", "create", "b", "--revision"),
        ("rollback", "--revision"),
        ("restore", "--revision"),
    ],
    ids=" ".join,
)
def test_every_command_tells_collected_from_unknown(
    stage: Stage, command: tuple[str, ...]
) -> None:
    """A revision that was removed is told apart from one that never was."""
    stage.pipe("checkpoint", "delete", "good")
    stage.pipe("branch", "delete", "release")
    assert (0, "pruned=3\n", "") == stage.pipe("gc", "--keep", "1")

    gone = stage.pipe(*command, "2")
    assert (3, "", True) == (
        gone.code,
        gone.out,
        "error: revision 2 of namespace 'default' was removed by garbage collection"
        in gone.err,
    )
    never = stage.pipe(*command, "77")
    assert (3, "", True) == (
        never.code,
        never.out,
        "error: revision 77 not found in namespace 'default'" in never.err,
    )
