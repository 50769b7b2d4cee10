"""``st8ctl export --git`` and ``st8ctl import --git``, with a real git."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
from random import Random
from typing import TYPE_CHECKING, Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from st8.cli.git_names import Names, path_of, ref_of, unescaped
from st8.client import Client
from tests.cli import git_history
from tests.cli.repository import commits_in, compare, compare_diffs, git, tree_of

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.st8ctl import St8ctl

# --- names ----------------------------------------------------------------------

_NAMES = st.lists(
    st.sampled_from([*"ab/.%~^:?*[\\@{- ", "lock", "HEAD", ".git", "git~1", "é"]),
    min_size=1,
    max_size=8,
).map("".join)


@given(_NAMES)
def test_every_name_is_taken_by_git(name: str) -> None:
    """What a name is written as is a branch to git, and is read back."""
    written = ref_of(name)
    done = subprocess.run(
        ["git", "check-ref-format", f"refs/heads/{written}"], check=False
    )

    assert 0 == done.returncode
    assert name == unescaped(written)
    assert name == unescaped(path_of(name))


@given(st.text("a/.é %", min_size=1, max_size=300))
def test_no_part_of_a_name_is_too_long(name: str) -> None:
    """Each part has room in a file system, with what git writes behind it."""
    for written in (ref_of(name), path_of(name)):
        assert [] == [part for part in written.split("/") if len(part.encode()) > 250]
        assert name == unescaped(written)


@given(st.lists(_NAMES, unique=True))
def test_no_name_is_a_directory_of_another(names: list[str]) -> None:
    """Names stay apart, and none goes on where another ends."""
    written = [path_of(name) for name in names]
    taken = Names(written)
    paths = [taken[name] for name in written]

    assert len(names) == len(set(paths))
    assert [] == [p for p in paths for q in paths if q.startswith(f"{p}/")]
    assert names == [unescaped(path) for path in paths]


# --- export ---------------------------------------------------------------------


_GITS: Final = (
    *(".git/config", ".GIT/x", ".g\u200cit", "c/.gitmodules", "GIT~1", "GITMOD~2"),
    *(".git ", ".git::$x", ".gitignore", ".github/x", ".gitattributes"),
)
"""What git would take for its own, and what only begins like it."""


def _history(st8ctl: St8ctl, seed: int) -> dict[int, dict[str, str]]:
    """Make a history with branches, rollbacks and checkpoints; return its states."""
    random = Random(seed)
    keys = ["a", "a/b", "a/b/c", "ключ/ñ.json", 'q"uo\\te', "%41", "x y", *_GITS]
    states: dict[int, dict[str, str]] = {}
    with Client(st8ctl.url, namespace="shop") as client:
        client.apply({"a": "1\n"}, message="first\n\nand more", author="Ops <o@x>")
        for number in range(70):
            st8ctl.clock.advance(random.randrange(100))
            branches = [branch.name for branch in client.branches()]
            there = client.scope(branch=random.choice(branches))
            act = random.random()
            if act < 0.1:
                there.create_branch(f"b/{number}" if number % 2 else f"b{number}")
            elif act < 0.2:
                there.create_checkpoint(f"good/{number}", description="it held")
            elif act < 0.3:
                there.rollback(-1, author="back") if there.log(2).next else None
            else:
                some = random.sample(keys, 5)
                there.apply(
                    {key: f"{random.random()}\n" * random.randrange(3) for key in some},
                    deletes=[key for key in random.sample(keys, 4) if key not in some],
                    message=f"change {number}",
                    author=random.choice(["", "ops", "Jo <jo@x>", "<"]),
                )
        for branch in client.branches():
            there = client.scope(branch=branch.name)
            for entry in there.history():
                states[entry.revision] = dict(there.documents(revision=entry.revision))
    return states


def test_git_and_st8_agree(st8ctl: St8ctl) -> None:
    """Every state, and at 50 revisions log and diff, are the same in both."""
    states = _history(st8ctl, 5)
    ended = st8ctl("export", "--git", "repo", "--namespace", "shop")
    repository = st8ctl.folder / "repo"
    commits = commits_in(repository)

    assert 0 == ended.code, ended.err
    assert "" == git(repository, "fsck", "--strict", "--full", "--no-progress")
    assert states.keys() == commits.keys()
    with Client(st8ctl.url, namespace="shop") as client:
        branches = list(client.branches())
        heads = dict(
            line.split()
            for line in git(
                repository,
                *("for-each-ref", "--format=%(refname:lstrip=2) %(objectname)"),
                "refs/heads",
            ).splitlines()
        )
        assert {unescaped(n): c for n, c in heads.items()} == {
            branch.name: commits[branch.head] for branch in branches
        }
        tags = git(repository, "tag", "--format=%(refname:lstrip=2) %(*objectname)")
        assert {
            (unescaped(name), commit)
            for name, commit in (line.split() for line in tags.splitlines())
        } == {(c.name, commits[c.revision]) for c in client.checkpoints()}
        some = Random(1).sample(sorted(states), min(50, len(states)))
        for number in some:
            compare(client, repository, number, commits, states[number])
        main = {entry.revision: commits[entry.revision] for entry in client.history()}
        compare_diffs(client, repository, main, list(main)[:10], Random(1))
    assert "" == git(repository, "status", "--porcelain", "--ignored")
    assert {".gitignore", ".github/x"} == set(_GITS) & {path_of(key) for key in _GITS}


def test_a_history_from_a_file(tmp_path: Path) -> None:
    """``script/git-history`` compares as much, of any history and from its file."""
    history = tmp_path / "history.jsonl.gz"
    with gzip.open(history, "wt", encoding="utf-8") as file:
        for number in range(1, 21):
            line = {
                "n": number,
                "time": f"2026-01-01T00:{number // 2:02}:00Z",
                "author": f"user-{number % 3}",
                "message": f"change {number}",
                "puts": {"a/é": f"{number}\n", f"a/{number}": "x"},
                "deletes": [f"a/{number - 1}"] if number > 1 else [],
            }
            file.write(f"{json.dumps(line)}\n")

    assert 0 == git_history.main([str(history), "--revisions", "5"])


def test_what_was_collected_is_the_beginning(st8ctl: St8ctl) -> None:
    """The oldest revision that is left has all its files, and no parent."""
    for number in range(6):
        st8ctl("apply", "-v", f"k{number}={number}", "-v", f"n={number}")
    st8ctl("gc", "--keep", "2")
    st8ctl("export", "--git", "repo")
    repository = st8ctl.folder / "repo"
    commits = commits_in(repository)

    assert {5, 6} == commits.keys()
    oldest = {f"k{number}": str(number) for number in range(5)} | {"n": "4"}
    assert oldest == tree_of(repository, commits[5])
    assert "" == git(repository, "fsck", "--strict")


def test_a_checkpoint_of_a_branch_that_is_gone(st8ctl: St8ctl) -> None:
    """What is left before it is written too, with all the files that it had."""
    st8ctl("apply", "-v", "a=1", "-v", "kept=1")
    st8ctl("branch", "create", "b")
    st8ctl.clock.advance(10 * 86_400)
    st8ctl("apply", "--branch", "b", "-v", "a=2", "-v", "new=1")
    st8ctl.write("c", "3")
    st8ctl("apply", "--branch", "b", "c", "-v", "a=3", "--delete", "new", "--yes")
    st8ctl("checkpoint", "create", "good", "--branch", "b")
    st8ctl("apply", "-v", "main=1")
    st8ctl("branch", "delete", "b")
    st8ctl("gc", "--keep", "1", "--younger-than", "5d")
    ended = st8ctl("export", "--git", "repo")
    assert 0 == ended.code, ended.err
    repository = st8ctl.folder / "repo"
    commits = commits_in(repository)

    assert {2, 3, 4} == commits.keys()
    assert {"a": "2", "kept": "1", "new": "1"} == tree_of(repository, commits[2])
    assert {"a": "3", "kept": "1", "c": "3"} == tree_of(repository, "good")
    assert commits[2] == git(repository, "rev-parse", "good~1").strip()


def test_a_namespace_that_is_not_there(st8ctl: St8ctl) -> None:
    """Nothing is made of it."""
    ended = st8ctl("export", "--git", "repo", "--namespace", "nope")

    assert 3 == ended.code
    assert [] == list(st8ctl.folder.iterdir())


def test_what_is_there_is_left_alone(st8ctl: St8ctl) -> None:
    """A directory that has something in it is not written into."""
    st8ctl("apply", "-v", "a=1")
    st8ctl.write("repo/mine", "mine")
    ended = st8ctl("export", "--git", "repo")

    assert (
        7,
        "",
        "error: 'repo' is there and not empty; name a directory that is not\n",
    ) == ended
    assert ["mine"] == [path.name for path in (st8ctl.folder / "repo").iterdir()]


def test_the_current_directory_is_not_replaced(st8ctl: St8ctl) -> None:
    """It is refused with the reason, before anything is read."""
    st8ctl("apply", "-v", "a=1")
    ended = st8ctl("export", "--git", ".")

    assert (
        7,
        "",
        "error: '.' is the current directory, which can't be replaced; name one in it\n",
    ) == ended


def test_a_link_to_an_empty_directory_is_followed(st8ctl: St8ctl) -> None:
    """The repository is where the link leads, and the link stays."""
    st8ctl("apply", "-v", "a=1")
    (st8ctl.folder / "there").mkdir()
    (st8ctl.folder / "link").symlink_to("there")
    ended = st8ctl("export", "--git", "link")

    assert 0 == ended.code, ended.err
    assert (st8ctl.folder / "link").is_symlink()
    assert "1" == (st8ctl.folder / "there" / "a").read_text()


def test_odd_names_and_contents_are_fit_for_git(st8ctl: St8ctl) -> None:
    """Names of any length, and what git would act upon: fsck, clone, checkout agree."""
    long = "e" * 255
    odd = {
        ".gitattributes": f"* eol=crlf {'x' * 3000}\n",
        "crlf": "a\r\nb\n",
        long: "1",
    }
    with Client(st8ctl.url, namespace="shop") as client:
        client.apply(odd | {f"{'~' * 200}/{'é' * 127}": "2"})
        client.create_branch(long)
        client.create_checkpoint(" ".join("a" * 128))
    ended = st8ctl("export", "--git", "repo", "--namespace", "shop")
    assert (0, "") == (ended.code, ended.err)
    repo = st8ctl.folder / "repo"

    git(repo, "fsck", "--strict")
    git(st8ctl.folder, "clone", "--quiet", "repo", "clone")
    assert "" == git(st8ctl.folder / "clone", "status", "--porcelain")
    assert "a\r\nb\n" == (st8ctl.folder / "clone" / "crlf").read_bytes().decode()
    git(st8ctl.folder / "clone", "config", "st8.names", "escaped")
    back = st8ctl("import", "--git", "clone", "--namespace", "copy")
    assert 0 == back.code, back.err
    with Client(st8ctl.url, namespace="shop") as shop:
        assert shop.state().root == shop.scope("copy").state().root


def test_what_somebody_set_for_all_repositories_changes_no_file(
    st8ctl: St8ctl, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Attributes of the user turn no line end, and hide no difference."""
    st8ctl.write("settings/git/attributes", "* text eol=crlf ident\n")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(st8ctl.folder / "settings"))
    st8ctl("apply", "-v", "a=1\n$Id$\n")
    ended = st8ctl("export", "--git", "repo")

    assert (0, "") == (ended.code, ended.err)
    assert b"1\n$Id$\n" == (st8ctl.folder / "repo" / "a").read_bytes()


def test_without_git_it_says_how_to_get_it(
    st8ctl: St8ctl, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A machine without git is told what to install, and nothing is left behind."""
    st8ctl("apply", "-v", "a=1")
    monkeypatch.setenv("PATH", str(st8ctl.home))
    ended = st8ctl("export", "--git", "repo")

    assert 7 == ended.code
    assert "needs git, which is not installed: apt install git" in ended.err
    assert [] == list(st8ctl.folder.iterdir())


# --- import ---------------------------------------------------------------------


def _commit(repository: Path, message: str, **files: str | None) -> str:
    """Commit files, None to delete; dots in names are written as two underscores."""
    for name, content in files.items():
        path = repository / name.replace("__", "/")
        if content is None:
            path.unlink()
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content)
    git(repository, "add", "--all")
    git(repository, "commit", "--quiet", "--allow-empty", "-m", message)
    return git(repository, "rev-parse", "HEAD").strip()


@pytest.fixture
def repository(st8ctl: St8ctl) -> Path:
    """A repository with three commits and a merge."""
    made = st8ctl.folder / "src"
    made.mkdir()
    git(made, "init", "--quiet", "-b", "main")
    _commit(made, "first", conf__a="1", conf__b="1", readme="r")
    _commit(made, "second\n\nwith a body", conf__a="2", conf__b=None)
    git(made, "switch", "--quiet", "-c", "side")
    _commit(made, "beside", conf__c="3")
    git(made, "tag", "-a", "v1", "-m", "it held")
    git(made, "switch", "--quiet", "main")
    _commit(made, "docs", readme="more")
    git(made, "merge", "--quiet", "--no-ff", "-m", "merged", "side")
    return made


def _log(st8ctl: St8ctl, *flags: str) -> list[tuple[int, str, str]]:
    entries: list[dict[str, Any]] = json.loads(st8ctl("log", *flags, "-o", "json").out)[
        "entries"
    ]
    return [
        (
            entry["revision"],
            entry["message"].partition("\n\nGit-Commit")[0],
            entry["author"],
        )
        for entry in entries
    ]


OPS = "Ops <ops@example.com>"


def test_a_history_is_replayed(st8ctl: St8ctl, repository: Path) -> None:
    """Each commit of the first parents is a revision, with author and message."""
    ended = st8ctl("import", "--git", "src")

    assert (
        0,
        "Imported 4 commit(s) as 4 revision(s) on 1 branch(es), and 0 checkpoint(s).\n",
        "",
    ) == ended
    assert [
        (4, "merged", OPS),
        (3, "docs", OPS),
        (2, "second\n\nwith a body", OPS),
        (1, "first", OPS),
    ] == _log(st8ctl)
    assert "2" == st8ctl("get", "conf/a").out
    assert "3" == st8ctl("get", "conf/c").out
    assert 3 == st8ctl("get", "conf/b").code
    tip = git(repository, "rev-parse", "HEAD").strip()
    assert f"Git-Commit: {tip}" in st8ctl("show").out


@pytest.mark.parametrize("path", ["conf/", "./conf", "conf//."])
def test_a_directory_of_it_is_replayed(
    st8ctl: St8ctl, repository: Path, path: str
) -> None:
    """With PATH keys begin there, and commits that do not touch it are left out."""
    del repository
    ended = st8ctl("import", "--git", "src", path)

    assert 0 == ended.code, ended.err
    assert ["merged", "second\n\nwith a body", "first"] == [
        m for _, m, _ in _log(st8ctl)
    ]
    assert "2" == st8ctl("get", "a").out
    assert 3 == st8ctl("get", "readme").code


def test_a_directory_that_a_merge_brought(st8ctl: St8ctl, repository: Path) -> None:
    """What a merge brings as the first of PATH is imported with the merge."""
    git(repository, "switch", "--quiet", "--orphan", "other")
    _commit(repository, "elsewhere", sub__a="1", sub__b="1")
    git(repository, "switch", "--quiet", "main")
    _commit(repository, "before", readme="even more")
    git(
        repository,
        *("merge", "--quiet", "--allow-unrelated-histories", "-m", "brought", "other"),
    )
    _commit(repository, "after", sub__a="2")
    ended = st8ctl("import", "--git", "src", "sub")

    assert ended.out.startswith("Imported 2 commit(s) as 2 revision(s)")
    assert ["after", "brought"] == [message for _, message, _ in _log(st8ctl)]
    assert "1" == st8ctl("get", "b").out


def test_it_goes_on_where_it_was(st8ctl: St8ctl, repository: Path) -> None:
    """A second import makes nothing anew, and takes what has come since."""
    st8ctl("import", "--git", "src")
    again = st8ctl("import", "--git", "src")
    _commit(repository, "later", conf__a="9")
    later = st8ctl("import", "--git", "src")

    assert again.out.startswith("Imported 0 commit(s) as 0 revision(s)")
    assert later.out.startswith("Imported 1 commit(s) as 1 revision(s)")
    assert "9" == st8ctl("get", "conf/a").out


def test_another_history_is_not_mixed_in(st8ctl: St8ctl, repository: Path) -> None:
    """A branch with revisions of its own is left as it is."""
    del repository
    st8ctl("apply", "-v", "own=1")
    ended = st8ctl("import", "--git", "src")

    assert 4 == ended.code
    assert "revision 1 of branch 'main' is not of the history" in ended.err
    assert 1 == len(_log(st8ctl))


def test_branches_and_tags(st8ctl: St8ctl, repository: Path) -> None:
    """With --all every branch is there, with its tip's files, and tags are checkpoints."""
    ended = st8ctl("import", "--git", "src", "--all")

    assert (
        0,
        "Imported 5 commit(s) as 5 revision(s) on 2 branch(es), and 1 checkpoint(s).\n",
        "",
    ) == ended
    assert "3" == st8ctl("get", "conf/c", "--checkpoint", "v1").out
    assert ["beside", "second\n\nwith a body", "first"] == [
        m for _, m, _ in _log(st8ctl, "--branch", "side")
    ]
    assert git(repository, "show", "side:readme") == (
        st8ctl("get", "readme", "--branch", "side").out
    )


def _marks(st8ctl: St8ctl, *flags: str) -> dict[str, int]:
    """Return what each checkpoint of a namespace names."""
    out = st8ctl("checkpoint", "list", *flags, "-o", "json").out
    return {
        point["name"]: point["revision"] for point in json.loads(out)["checkpoints"]
    }


def _heads(st8ctl: St8ctl, *flags: str) -> dict[str, int]:
    """Return the head of each branch of a namespace."""
    out = st8ctl("branch", "list", *flags, "-o", "json").out
    return {branch["name"]: branch["head"] for branch in json.loads(out)["branches"]}


def test_commits_that_change_nothing(st8ctl: St8ctl) -> None:
    """What names one names the state it has; where that is nothing, it is left out."""
    made = st8ctl.folder / "src"
    made.mkdir()
    git(made, "init", "--quiet", "-b", "main")
    _commit(made, "Initial commit")
    git(made, "branch", "bare")
    git(made, "tag", "v0")
    nothing = st8ctl("import", "--git", "src", "--all")
    _commit(made, "first", a="1")
    _commit(made, "empty")
    git(made, "branch", "release")
    git(made, "tag", "v1")
    _commit(made, "second", a="2")
    first = st8ctl("import", "--git", "src", "--all")
    git(made, "tag", "late", "v1")
    again = st8ctl("import", "--git", "src", "--all")

    assert 0 == nothing.code, nothing.err
    assert "1 tag(s) of commits that were not imported" in first.err
    assert (0, 0) == (first.code, again.code), first.err + again.err
    assert {"main": 2, "release": 1} == _heads(st8ctl)
    assert {"v1": 1, "late": 1} == _marks(st8ctl)
    git(made, "switch", "--quiet", "bare")
    _commit(made, "of its own", b="1")
    grown = st8ctl("import", "--git", "src", "--all")

    assert 0 == grown.code, grown.err
    assert "1" == st8ctl("get", "b", "--branch", "bare").out
    assert 3 == st8ctl("get", "a", "--branch", "bare").code


def test_a_tag_that_was_moved(st8ctl: St8ctl, repository: Path) -> None:
    """Its checkpoint stays, and that is said when all others are there."""
    git(repository, "tag", "floating")
    st8ctl("import", "--git", "src", "--all")
    git(repository, "tag", "--force", "floating", "HEAD~1")
    git(repository, "tag", "later")
    ended = st8ctl("import", "--git", "src", "--all")
    marks = _marks(st8ctl)

    assert 4 == ended.code
    assert "checkpoint 'floating' already exists" in ended.err
    assert "its tag names another commit now" in ended.err
    assert marks["floating"] == marks["later"]
    st8ctl("checkpoint", "delete", "floating")
    assert 0 == st8ctl("import", "--git", "src", "--all").code
    assert _marks(st8ctl)["floating"] < marks["later"]


@pytest.mark.parametrize("within", ["home", "elsewhere"])
def test_a_work_tree_somewhere_else(
    st8ctl: St8ctl, repository: Path, within: str
) -> None:
    """What is named is imported, not the repository that the work tree is in."""
    home = st8ctl.folder / "home"
    home.mkdir()
    git(home, "clone", "--quiet", "--bare", str(repository), f"../{within}/dots")
    git(home, "init", "--quiet", "-b", "main")
    _commit(home, "of another", other="1")
    dots = f"{within}/dots"
    git(st8ctl.folder / dots, "config", "core.bare", "false")
    git(st8ctl.folder / dots, "config", "core.worktree", str(home))
    ended = st8ctl("import", "--git", dots)
    of_path = st8ctl("import", "--git", dots, "conf", "--namespace", "conf")

    assert (0, 0) == (ended.code, of_path.code), ended.err + of_path.err
    assert ["merged", "docs", "second\n\nwith a body", "first"] == [
        message for _, message, _ in _log(st8ctl)
    ]
    assert "3" == st8ctl("get", "c", "--namespace", "conf").out
    assert 7 == st8ctl("import", "--git", dots, "conf/a", "--namespace", "no").code


def test_what_does_not_touch_the_path(st8ctl: St8ctl, repository: Path) -> None:
    """A tag of a directory is what it had then; a branch without it is left out."""
    git(repository, "tag", "docs", "HEAD~1")
    git(repository, "switch", "--quiet", "--orphan", "pages")
    _commit(repository, "elsewhere", html="<p>")
    git(repository, "tag", "p1")
    git(repository, "switch", "--quiet", "main")
    ended = st8ctl("import", "--git", "src", "conf", "--all")

    assert 0 == ended.code, ended.err
    assert "1 tag(s) of commits that were not imported" in ended.err
    assert ["main", "side"] == list(_heads(st8ctl))
    assert "2" == st8ctl("get", "a", "--checkpoint", "docs").out
    assert 3 == st8ctl("get", "c", "--checkpoint", "docs").code
    none = st8ctl("import", "--git", "src", "nowhere", "--all", "--namespace", "x")
    assert 7 == none.code


def test_a_path_that_is_a_file(st8ctl: St8ctl, repository: Path) -> None:
    """It is refused, where nothing of it would be imported and that look like success."""
    del repository
    ended = st8ctl("import", "--git", "src", "conf/a")

    assert (7, "", "error: 'conf/a' is a file; name the directory that it is in\n") == (
        ended
    )


def test_what_was_collected_is_not_taken_for_another(
    st8ctl: St8ctl, repository: Path
) -> None:
    """A tag of a commit whose revision is gone is left out, and that is said."""
    st8ctl("import", "--git", "src")
    st8ctl("gc", "--keep", "1")
    git(repository, "tag", "old", "HEAD~2")
    git(repository, "branch", "--delete", "--force", "side")
    git(repository, "tag", "--delete", "v1")
    ended = st8ctl("import", "--git", "src", "--all")

    assert 0 == ended.code, ended.err
    assert "1 tag(s) of commits that were not imported" in ended.err
    assert {} == _marks(st8ctl)


def test_a_file_of_any_size_is_left_out(st8ctl: St8ctl, repository: Path) -> None:
    """What is too large is named with its size, and what comes after it is read."""
    (repository / "huge").write_bytes(bytes(9_000_001))
    _commit(repository, "too much", later="1")
    stopped = st8ctl("import", "--git", "src")
    ended = st8ctl("import", "--git", "src", "--skip-unfit")

    assert "can't be a document: it has 9,000,001 bytes" in stopped.err
    assert "left out 1 file(s) that can't be documents\n" == ended.err
    assert "1" == st8ctl("get", "later").out


def test_names_that_hold_a_line_separator(st8ctl: St8ctl, repository: Path) -> None:
    """A branch whose name has what Python takes for the end of a line is one branch."""
    git(repository, "branch", "a\u2028b")
    ended = st8ctl("import", "--git", "src", "--all")

    assert 0 == ended.code, ended.err
    assert "2" == st8ctl("get", "conf/a", "--branch", "a\u2028b").out


@pytest.mark.parametrize("kind", ["branch", "tag"])
def test_a_name_that_is_not_utf8(st8ctl: St8ctl, repository: Path, kind: str) -> None:
    """It is named with the remedy, before anything is imported."""
    git(repository, kind, os.fsdecode(b"odd\xff"))
    ended = st8ctl("import", "--git", "src", "--all")
    remedy = "rename it, or import without --all what is checked out"

    assert (
        7,
        "",
        f"error: the name of {kind} 'odd\ufffd' is not UTF-8; {remedy}\n",
    ) == ended
    assert 3 == st8ctl("log").code


@pytest.mark.parametrize("encoding", ["idna", "hex", "no-such", "utf-16"])
def test_a_commit_in_an_odd_encoding(
    st8ctl: St8ctl, repository: Path, encoding: str
) -> None:
    """Whatever a commit says of its encoding, it is imported; UTF-8 is what is left."""
    tree = git(repository, "rev-parse", "HEAD:conf").strip()
    who = "Ops <ops@example.com> 1 +0000"
    raw = (
        f"tree {tree}\nauthor {who}\ncommitter {who}\nencoding {encoding}\n\nxn--a..\n"
    )
    (st8ctl.folder / "raw").write_text(raw, encoding="utf-8")
    name = git(repository, "hash-object", "-t", "commit", "-w", "../raw").strip()
    git(repository, "update-ref", "HEAD", name)
    ended = st8ctl("import", "--git", "src")

    assert 0 == ended.code, ended.err
    assert [(1, OPS)] == [(number, author) for number, _, author in _log(st8ctl)]


@pytest.mark.parametrize("field", ["", "author\n", "author \n", "author <>\n"])
def test_a_commit_of_nobody(st8ctl: St8ctl, repository: Path, field: str) -> None:
    """What a damaged or odd commit does not say of its author is left empty."""
    tree = git(repository, "rev-parse", "HEAD:conf").strip()
    raw = f"tree {tree}\n{field}committer Ops <ops@example.com> 1 +0000\n\nodd\n"
    (st8ctl.folder / "raw").write_text(raw, encoding="utf-8")
    name = git(
        repository, *("hash-object", "--literally", "-t", "commit", "-w", "../raw")
    ).strip()
    (repository / ".git" / "HEAD").write_text(f"{name}\n", encoding="utf-8")
    ended = st8ctl("import", "--git", "src")

    assert 0 == ended.code, ended.err
    assert [1] == [number for number, _, _ in _log(st8ctl)]


def test_nothing_that_a_repository_names_is_run(
    st8ctl: St8ctl, repository: Path
) -> None:
    """What a partial clone lacks is not fetched, as its settings say by what."""
    ran = st8ctl.folder / "ran"
    name = git(repository, "rev-parse", "HEAD:readme").strip()
    (repository / ".git" / "objects" / name[:2] / name[2:]).unlink()
    for setting, value in (
        ("core.repositoryFormatVersion", "1"),
        ("extensions.partialClone", "origin"),
        ("remote.origin.promisor", "true"),
        ("remote.origin.url", str(repository)),
        ("remote.origin.uploadpack", f"touch {ran}; git-upload-pack"),
        ("protocol.allow", "always"),
        ("protocol.file.allow", "always"),
    ):
        git(repository, "config", setting, value)
    ended = st8ctl("import", "--git", "src")

    assert not ran.exists()
    assert 7 == ended.code
    assert f"object {name} is missing" in ended.err
    assert "clone it without --filter" in ended.err


def test_what_can_not_be_a_document_is_named(st8ctl: St8ctl, repository: Path) -> None:
    """It stops with the file and commit; --skip-unfit goes on, and counts them."""
    _commit(repository, "fine", conf__x="1")
    (repository / "conf" / "x").write_bytes(b"\xff\xfe")
    (repository / "link").symlink_to("readme")
    bad = _commit(repository, "unfit")
    stopped = st8ctl("import", "--git", "src")

    assert 7 == stopped.code
    assert f"'conf/x' of commit {bad[:12]} can't be a document: it is not UTF-8" in (
        stopped.err
    )
    assert "1" == st8ctl("get", "conf/x").out
    done = st8ctl("import", "--git", "src", "--skip-unfit")
    assert 0 == done.code
    assert "left out 2 file(s) that can't be documents\n" == done.err
    assert 3 == st8ctl("get", "conf/x").code


@pytest.mark.parametrize(
    ("message", "gap"),
    [
        ("fix: a subject is none", "\n\n"),
        ("subject\n\nNote: a body\nwith more", "\n\n"),
        ("subject\n\nbody\n\nReviewed-By: ops\nFixes: 7", "\n"),
    ],
)
def test_trailers_are_one_block(
    st8ctl: St8ctl, repository: Path, message: str, gap: str
) -> None:
    """Ours stands beside those that end the message, as git expects."""
    tip = _commit(repository, message, a="1")
    st8ctl("import", "--git", "src")
    [entry] = json.loads(st8ctl("log", "--limit", "1", "-o", "json").out)["entries"]

    assert f"{message}{gap}Git-Commit: {tip}" == entry["message"]


def test_there_and_back(st8ctl: St8ctl) -> None:
    """What was exported and imported has the same states on all branches."""
    _history(st8ctl, 7)
    st8ctl("export", "--git", "repo", "--namespace", "shop")
    ended = st8ctl("import", "--git", "repo", "--all", "--namespace", "copy")

    assert 0 == ended.code, ended.err
    with Client(st8ctl.url, namespace="shop") as shop:
        copy = shop.scope("copy")
        for branch in shop.branches():
            one, other = shop.scope(branch=branch.name), copy.scope(branch=branch.name)
            assert one.state().root == other.state().root
        for point in shop.checkpoints():
            assert (
                shop.state(checkpoint=point.name).root
                == copy.state(checkpoint=point.name).root
            )


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--git", "."], "git rev-parse failed in '.': fatal: not a git repository"),
        (["--git", "nope"], "git rev-parse failed in 'nope': "),
        ([], "--git"),
    ],
)
def test_what_is_no_repository(st8ctl: St8ctl, args: list[str], message: str) -> None:
    """It is said by git's own words, and nothing is applied."""
    ended = st8ctl("import", *args)

    assert ended.code in {2, 7}
    assert message in ended.err
