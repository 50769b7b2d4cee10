"""What ``st8ctl`` shows of checkpoints, branches and namespaces, and of rollbacks."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.transcripts.stage import Stage


@pytest.fixture(name="stage")
def filled(stage: Stage) -> Stage:
    """Two revisions."""
    fill(stage)
    return stage


def fill(stage: Stage) -> None:
    """Apply what there is to see."""
    stage.pipe("apply", "-v", "limits.yaml=requests: 100\n")
    stage.clock.advance(90)
    stage.pipe("apply", "-v", "limits.yaml=requests: 250\n", "-v", "new=1\n")


def test_checkpoints(stage: Stage) -> None:
    """Checkpoints are made, listed, shown and deleted."""
    assert (0, "Checkpoint good -> revision 2\n", "") == stage.pipe(
        "checkpoint", "good", "--description", "seen to work", "--author", "ops"
    )
    assert (
        0,
        """\
{
  "name": "before",
  "revision": 1,
  "branch": "main",
  "description": "",
  "created_at": "2026-01-01T00:01:30Z",
  "author": ""
}
""",
        "",
    ) == stage.pipe("checkpoint", "before", "--revision", "-1", "-o", "json")
    assert (
        0,
        """\
before revision=1 branch=main
good revision=2 branch=main description="seen to work"
""",
        "",
    ) == stage.pipe("checkpoint", "list")
    assert (
        0,
        """\
{
  "checkpoints": [
    {"name": "before", "revision": 1, "branch": "main", "description": "", "created_at": "2026-01-01T00:01:30Z", "author": ""},
    {"name": "good", "revision": 2, "branch": "main", "description": "seen to work", "created_at": "2026-01-01T00:01:30Z", "author": "ops"}
  ]
}
""",
        "",
    ) == stage.pipe("checkpoint", "list", "-o", "json")
    assert (
        0,
        """\
checkpoints:
- name: before
  revision: 1
  branch: main
  description: ''
  created_at: '2026-01-01T00:01:30Z'
  author: ''
- name: good
  revision: 2
  branch: main
  description: seen to work
  created_at: '2026-01-01T00:01:30Z'
  author: ops
""",
        "",
    ) == stage.pipe("checkpoint", "list", "-o", "yaml")
    assert (
        0,
        """\
checkpoint good
revision 2
branch   main
author   ops
date     2026-01-01T00:01:30Z

    seen to work
""",
        "",
    ) == stage.pipe("checkpoint", "show", "good")
    assert (
        0,
        """\
{
  "name": "good",
  "revision": 2,
  "branch": "main",
  "description": "seen to work",
  "created_at": "2026-01-01T00:01:30Z",
  "author": "ops"
}
""",
        "",
    ) == stage.pipe("checkpoint", "show", "good", "-o", "json")
    assert (
        0,
        """\
checkpoint before
revision 1
branch   main
date     2026-01-01T00:01:30Z
""",
        "",
    ) == stage.pipe("checkpoint", "show", "before")
    assert (
        4,
        "",
        """\
error: checkpoint 'good' already exists in namespace 'default' at revision 2; choose another name, or replace it explicitly
""",
    ) == stage.pipe("checkpoint", "good", "--revision", "1")
    assert (
        0,
        """\
name: good
revision: 1
branch: main
description: ''
created_at: '2026-01-01T00:01:30Z'
author: ''
""",
        "",
    ) == stage.pipe("checkpoint", "good", "--revision", "1", "--replace", "-o", "yaml")
    assert (0, "Deleted checkpoint good\n", "") == stage.pipe(
        "checkpoint", "delete", "good"
    )
    assert (
        0,
        """\
{
  "deleted": "before"
}
""",
        "",
    ) == stage.pipe("checkpoint", "delete", "before", "-o", "json")
    assert (
        0,
        """\
{
  "checkpoints": []
}
""",
        "",
    ) == stage.pipe("checkpoint", "list", "-o", "json")


def test_checkpoints_on_a_terminal(stage: Stage) -> None:
    """On a terminal they are shown in colour."""
    assert (0, "Checkpoint good -> revision 2\n") == stage.terminal(
        "checkpoint", "good", "--description", "seen to work"
    )
    assert (
        0,
        """\
\x1b[33mcheckpoint good\x1b[0m
revision 2
branch   main
date     2026-01-01T00:01:30Z

    seen to work
""",
    ) == stage.terminal("checkpoint", "show", "good")
    assert (
        0,
        'good revision=2 branch=main description="seen to work"\n',
    ) == stage.terminal("checkpoint", "list")


def test_branches(stage: Stage) -> None:
    """Branches are made, listed and deleted."""
    assert (0, "Created branch release at revision 2.\n", "") == stage.pipe(
        "branch", "create", "release"
    )
    assert (
        0,
        """\
{
  "name": "old",
  "base": 1,
  "head": 1,
  "current": false,
  "head_digest": ""
}
""",
        "",
    ) == stage.pipe("branch", "create", "old", "--revision", "1", "-o", "json")
    assert (
        0,
        """\
main head=2 base=0 *
old head=1 base=1
release head=2 base=2
""",
        "",
    ) == stage.pipe("branch")
    assert (
        0,
        """\
{
  "branches": [
    {"name": "main", "base": 0, "head": 2, "current": true, "head_digest": "bc4acc18b8a4d7c339f418a8d9c5828c3de0b69ffefeb58553d8a1671f67d0fd"},
    {"name": "old", "base": 1, "head": 1, "current": false, "head_digest": "7c2c6e74bd99b69a31c60cf19a9aa99614650679ba2ec07806370e6f9696f76b"},
    {"name": "release", "base": 2, "head": 2, "current": false, "head_digest": "bc4acc18b8a4d7c339f418a8d9c5828c3de0b69ffefeb58553d8a1671f67d0fd"}
  ]
}
""",
        "",
    ) == stage.pipe("branch", "list", "-o", "json")
    assert (
        0,
        """\
branches:
- name: main
  base: 0
  head: 2
  current: false
  head_digest: bc4acc18b8a4d7c339f418a8d9c5828c3de0b69ffefeb58553d8a1671f67d0fd
- name: old
  base: 1
  head: 1
  current: true
  head_digest: 7c2c6e74bd99b69a31c60cf19a9aa99614650679ba2ec07806370e6f9696f76b
- name: release
  base: 2
  head: 2
  current: false
  head_digest: bc4acc18b8a4d7c339f418a8d9c5828c3de0b69ffefeb58553d8a1671f67d0fd
""",
        "",
    ) == stage.pipe("--branch", "old", "branch", "-o", "yaml")
    assert (0, "Deleted branch old\n", "") == stage.pipe("branch", "delete", "old")
    assert (0, "deleted: release\n", "") == stage.pipe(
        "branch", "delete", "release", "--expect-revision", "2", "-o", "yaml"
    )
    assert (0, "main head=2 base=0 *\n") == stage.terminal("branch")


def test_namespaces(stage: Stage) -> None:
    """Namespaces are listed."""
    stage.pipe("apply", "-v", "k=v", "--namespace", "payments/prod")
    assert (
        0,
        """\
default last_revision=2
payments/prod last_revision=1
""",
        "",
    ) == stage.pipe("namespace")
    assert (
        0,
        """\
{
  "namespaces": [
    {"name": "default", "last_revision": 2},
    {"name": "payments/prod", "last_revision": 1}
  ]
}
""",
        "",
    ) == stage.pipe("namespace", "list", "-o", "json")
    assert (
        0,
        """\
namespaces:
- name: default
  last_revision: 2
- name: payments/prod
  last_revision: 1
""",
        "",
    ) == stage.pipe("namespace", "-o", "yaml")
    assert (
        0,
        """\
default last_revision=2
payments/prod last_revision=1
""",
    ) == stage.terminal("namespace")


def test_rollback(stage: Stage) -> None:
    """A rollback says what it changes; where nothing would, it says so."""
    assert (
        0,
        """\
Would make 2 change(s); nothing was changed.
UPDATE limits.yaml
DELETE new
""",
        "",
    ) == stage.pipe("rollback", "--revision", "-1", "--dry-run")
    assert (
        0,
        """\
{
  "revision": 3,
  "changes": [
    {
      "key": "limits.yaml",
      "type": "update"
    },
    {
      "key": "new",
      "type": "delete"
    }
  ],
  "noop": false,
  "dry_run": false,
  "digest": "4a6c368da7f38c960862c7f62637639909de781d5ab5d35e31d014aec67e6df0",
  "root": "ae7ceb0b23502b90d388482a7e993da345bb0a32883d9c5be00d4887a1ddedba",
  "created_at": "2026-01-01T00:01:30Z",
  "kept": []
}
""",
        "",
    ) == stage.pipe("rollback", "--revision", "-1", "-o", "json")
    assert (0, "Already at requested state.\n", "") == stage.pipe(
        "rollback", "--revision", "1", "-m", "again"
    )
    assert (
        0,
        """\
revision: 3
changes: []
noop: true
dry_run: false
digest: 4a6c368da7f38c960862c7f62637639909de781d5ab5d35e31d014aec67e6df0
root: ae7ceb0b23502b90d388482a7e993da345bb0a32883d9c5be00d4887a1ddedba
created_at: '2026-01-01T00:01:30Z'
kept: []
""",
        "",
    ) == stage.pipe("rollback", "--revision", "1", "-o", "yaml")
    assert (
        0,
        """\
Rolled back at revision 4.
UPDATE limits.yaml
CREATE new
""",
    ) == stage.terminal("rollback", "--revision", "2", "-m", "on second thoughts")


def test_restore(stage: Stage) -> None:
    """A restore does too."""
    stage.pipe("branch", "create", "release", "--revision", "1")
    assert (
        0,
        """\
Restored into revision 3.
UPDATE limits.yaml
DELETE new
""",
        "",
    ) == stage.pipe("restore", "--from-branch", "release")
    assert (
        0,
        """\
{
  "revision": 3,
  "changes": [
    {
      "key": "limits.yaml",
      "type": "update"
    },
    {
      "key": "new",
      "type": "create"
    }
  ],
  "noop": false,
  "dry_run": true,
  "digest": "d057007d9ee39af1d87c3e17f38b3d3f34dd0f83a64f6d0a685961db910dd4fe",
  "root": "1f733f9f2c450294531ab60014d2985ac1d05e5ef85c7e4c68f4ead12eb35526",
  "created_at": "2026-01-01T00:01:30Z",
  "kept": []
}
""",
        "",
    ) == stage.pipe("restore", "--revision", "2", "--dry-run", "-o", "json")
    assert (
        0,
        """\
revision: 4
changes:
- key: limits.yaml
  type: update
- key: new
  type: create
noop: false
dry_run: false
digest: 08a5817265887fec35d7056517675aacadc9a7d1e95923baff6275cb10b0a20d
root: 1f733f9f2c450294531ab60014d2985ac1d05e5ef85c7e4c68f4ead12eb35526
created_at: '2026-01-01T00:01:30Z'
kept: []
""",
        "",
    ) == stage.pipe("restore", "--revision", "2", "-o", "yaml")
    assert (0, "Already at requested state.\n", "") == stage.pipe(
        "restore", "--revision", "2"
    )
    assert (
        0,
        """\
Restored into revision 5.
UPDATE limits.yaml
DELETE new
""",
    ) == stage.terminal("restore", "--from-branch", "release")


def test_gc(stage: Stage) -> None:
    """A collection says how much it removed."""
    assert (0, "pruned=1\n", "") == stage.pipe("gc", "--keep", "1")
    assert (
        0,
        """\
{
  "revisions": 0,
  "objects": 0,
  "size": 0
}
""",
        "",
    ) == stage.pipe("gc", "--keep", "1", "-o", "json")
    assert (
        0,
        """\
revisions: 0
objects: 0
size: 0
""",
        "",
    ) == stage.pipe("gc", "-o", "yaml")
    assert (0, "pruned=0\n") == stage.terminal("gc")


def test_gc_explains(stage: Stage) -> None:
    """A dry run tells what would go, and what stays and why, and changes nothing."""
    expected = """\
default (keep=1)
  stay: 1 (head 1)
  go: 1 (1)
"""
    piped = stage.pipe("gc", "--keep", "1", "--dry-run")
    assert (0, "") == (piped.code, piped.err)
    assert piped.out.startswith(expected)
    assert piped.out.endswith("; nothing was changed\n")
    assert (0, piped.out) == stage.terminal("gc", "--keep", "1", "--dry-run")
    told = json.loads(stage.pipe("gc", "--keep", "1", "--dry-run", "-o", "json").out)
    assert (1, True, [{"first": 1, "last": 1, "revisions": 1}]) == (
        told["revisions"],
        told["dry_run"],
        told["namespaces"][0]["ranges"],
    )
    assert (0, "pruned=1\n", "") == stage.pipe("gc", "--keep", "1")


def test_gc_by_age(stage: Stage) -> None:
    """With an age what is younger stays; what is no age is refused."""
    assert (0, "pruned=0\n", "") == stage.pipe(
        "gc", "--keep", "1", "--younger-than", "52w"
    )
    wrong = stage.pipe("gc", "--younger-than", "soon")
    assert 7 == wrong.code
    assert "--younger-than: 'soon' is not an age such as 12h, 30d or 2w" in wrong.err
