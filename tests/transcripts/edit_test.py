"""What ``st8ctl edit`` shows, and what becomes of the text."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.client.scripted import answer, scripted

if TYPE_CHECKING:
    from tests.client.scripted import Wire
    from tests.transcripts.stage import Stage

DIFF = """\
--- a.json
+++ a.json
@@ -1 +1 @@
-{"a": 1}
+{"a": 2}
"""
SED = 'new=$(sed "{}" "$2"); echo "$new" > "$2"'
_KEPT = re.compile(r"note: your text is kept in (\S+)\n")


@pytest.fixture
def applied(stage: Stage) -> Stage:
    """A document, and editors that change it."""
    stage.pipe("apply", "-v", 'a.json={"a": 1}\n')
    return stage


def editor(stage: Stage, name: str, script: str) -> dict[str, str]:
    """Return the environment in which a shell script is the editor."""
    path = stage.folder / name
    path.write_text(f"#!/bin/sh -e\n{script}\n")
    path.chmod(0o755)
    return {"EDITOR": f"'{path}' --wait"}


def kept(text: str) -> str:
    """Return the text that was kept, and remove it."""
    match = _KEPT.search(text)
    assert match is not None, text
    path = Path(match[1])
    content = path.read_text()
    path.unlink()
    path.parent.rmdir()
    return content


def test_change(applied: Stage) -> None:
    """What was changed is shown, applied, and said in every format."""
    env = editor(applied, "grow", SED.format("s/1/2/"))

    assert (0, "Applied 1 change(s) at revision 2.\nUPDATE a.json\n", DIFF) == (
        applied.pipe("edit", "./a.json", "-m", "why", "--author", "ops", env=env)
    )
    assert 'message="why" changes=1 author="ops"' in applied.pipe("log").out
    env = editor(applied, "shrink", SED.format("s/2/1/"))
    code, out, err = applied.pipe("edit", "a.json", "-o", "json", env=env)
    assert 0 == code
    assert out.startswith('{\n  "revision": 3,\n  "changes": [\n')
    assert err.startswith("--- a.json\n")
    env = editor(applied, "grow", SED.format("s/1/2/"))
    assert applied.pipe("edit", "a.json", "-o", "yaml", env=env).out.startswith(
        "revision: 4\nchanges:\n- key: a.json\n  type: update\nnoop: false\n"
    )


def test_on_a_terminal(applied: Stage) -> None:
    """The editor has the terminal; VISUAL comes before EDITOR."""
    visual = editor(applied, "grow", SED.format("s/1/$(head -n 1)/"))["EDITOR"]

    assert (
        0,
        "2\n" + DIFF + "Applied 1 change(s) at revision 2.\nUPDATE a.json\n",
    ) == applied.terminal(
        "edit",
        "a.json",
        replies=[("", "2\n")],
        env={"VISUAL": visual, "EDITOR": "false", "NO_COLOR": "1"},
    )


def test_new_document(applied: Stage) -> None:
    """A document that is not there begins empty; a branch may begin with it."""
    env = editor(applied, "write", 'test ! -s "$2"; echo x > "$2"')
    out = "Applied 1 change(s) at revision {}.\nCREATE n\n"
    err = "--- /dev/null\n+++ n\n@@ -0,0 +1 @@\n+x\n"

    assert (0, out.format(2), err) == applied.pipe("edit", "n", env=env)
    assert (0, out.format(1), err) == applied.pipe(
        "edit", "n", "--namespace", "new", env=env
    )


def test_no_change(applied: Stage) -> None:
    """Where nothing was changed nothing is applied, and nothing is left behind."""
    env = editor(applied, "look", 'echo "$2" > where; ls -l "$2" > mode')

    assert (0, "No changes. a.json stays as it is.\n", "") == applied.pipe(
        "edit", "a.json", env=env
    )
    path = Path((applied.folder / "where").read_text().strip())
    assert (".json", "-rw-------") == (
        path.suffix,
        (applied.folder / "mode").read_text()[:10],
    )
    assert not path.parent.exists()
    assert (0, "No changes. n stays as it is.\n", "") == applied.pipe(
        "edit", "n", env=env
    )
    assert '"noop": true' in applied.pipe("edit", "a.json", "-o", "json", env=env).out


def test_conflict(applied: Stage) -> None:
    """If the document was changed meanwhile it is a conflict, and the text is kept."""
    st8ctl = f"st8ctl --server {applied.url}"
    env = editor(
        applied, "slow", f'{st8ctl} apply -v a.json="[]" >&2; echo "[1]" > "$2"'
    )
    code, out, err = applied.pipe("edit", "a.json", env=env | _path())

    assert (4, "") == (code, out)
    assert err.endswith(
        "error: the head of namespace 'default', branch 'main' is revision 2, not 1; look "
        "at what changed and try again\n"
    )
    assert "[1]\n" == kept(err)
    assert (0, "[]", "") == applied.pipe("get", "a.json")


def _path() -> dict[str, str]:
    """Return the environment in which our st8ctl is found."""
    programs = Path(sys.executable).parent
    return {"PATH": f"{programs}{os.pathsep}{os.environ['PATH']}"}


def test_other_documents_may_change(applied: Stage) -> None:
    """If only others were changed meanwhile it is applied on top of that."""
    st8ctl = f"st8ctl --server {applied.url}"
    env = editor(applied, "slow", f"{st8ctl} apply -v other=1; " + SED.format("s/1/2/"))

    assert (0, "Applied 1 change(s) at revision 3.\nUPDATE a.json\n", DIFF) == (
        applied.pipe("edit", "a.json", env=env | _path())
    )


def test_text_that_does_not_parse(applied: Stage) -> None:
    """It is not applied, and is kept; --no-validate takes it."""
    env = editor(applied, "break", 'echo "{" > "$2"')
    code, out, err = applied.pipe("edit", "a.json", env=env)

    assert (7, "") == (code, out)
    assert err.endswith(
        "error: a.json:2:1: not JSON: expecting property name enclosed in double quotes "
        "(--no-validate takes it)\n"
    )
    assert "{\n" == kept(err)
    assert 0 == applied.pipe("edit", "a.json", "--no-validate", env=env).code
    assert (0, "{\n", "") == applied.pipe("get", "a.json")


def test_editor_again(applied: Stage) -> None:
    """On a terminal one may open the editor again, and mend it there."""
    mend = 'if grep -q 1 "$2"; then echo "{" > "$2"; else echo \'{"a": 2}\' > "$2"; fi'
    env = editor(applied, "mend", mend) | {"NO_COLOR": "1"}
    asked = (
        "error: a.json:2:1: not JSON: expecting property name enclosed in double quotes "
        "(--no-validate takes it)\nOpen the editor again? [Y/n] "
    )

    code, text = applied.terminal(
        "edit", "a.json", replies=[("[Y/n] ", "n\n")], env=env, columns=200
    )
    assert (130, asked + "n\n") == (code, _KEPT.sub("", text))
    assert "{\n" == kept(text)
    assert (
        0,
        asked + "\n" + DIFF + "Applied 1 change(s) at revision 2.\nUPDATE a.json\n",
    ) == applied.terminal(
        "edit", "a.json", replies=[("[Y/n] ", "\n")], env=env, columns=200
    )


def test_editor_that_fails(applied: Stage) -> None:
    """An editor that fails or is not there changes nothing."""
    assert (
        7,
        "",
        "error: the editor 'false' ended with exit code 1; nothing was changed\n",
    ) == applied.pipe("edit", "a.json", env={"EDITOR": "false"})
    assert (
        7,
        "",
        (
            "error: can't start the editor 'no-such-editor': No such file or directory; "
            "name another one in $VISUAL or $EDITOR\n"
        ),
    ) == applied.pipe("edit", "a.json", env={"EDITOR": "no-such-editor"})
    assert (
        7,
        "",
        (
            "error: can't start the editor \"'\": No closing quotation; name another one in "
            "$VISUAL or $EDITOR\n"
        ),
    ) == applied.pipe("edit", "a.json", env={"EDITOR": "'"})
    env = editor(applied, "half", 'echo half > "$2"; exit 3')
    assert "half\n" == kept(applied.pipe("edit", "a.json", env=env).err)


def test_daemon_that_went_away(applied: Stage) -> None:
    """If the daemon is of no use once the text is written, the text is kept."""

    def read_only(wire: Wire) -> None:
        wire.request()
        wire.send(answer({"revision": 1, "keys": ["k"]}))
        wire.request()
        wire.send(answer({"revision": 1, "objects": {"k": "old"}}))

    env = editor(applied, "write", 'echo new > "$2"')
    with scripted(read_only, lambda wire: wire.close()) as server:
        code, out, err = applied.pipe("edit", "k", env=env, server=server.url)

    assert (8, "") == (code, out)
    assert "it is not known whether it was done" in err
    assert "new\n" == kept(err)


def test_key_that_is_no_key(applied: Stage) -> None:
    """What can't be a key is told before any editor opens."""
    assert (
        7,
        "",
        "error: key: '../x' must not have '.' or '..' as a path segment\n",
    ) == applied.pipe("edit", "../x", env={"EDITOR": "false"})
