"""What ``st8ctl config`` shows and asks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.transcripts.terminal import CTRL_C, CTRL_D

if TYPE_CHECKING:
    from pathlib import Path

    from tests.transcripts.stage import Stage


def place(stage: Stage) -> Path:
    """Return where the file is, or would be."""
    return stage.home / ".config" / "st8ctl" / "config.yaml"


def test_init_on_a_terminal(stage: Stage) -> None:
    """On a terminal it asks; what is typed for the token does not show."""
    code, text = stage.terminal(
        "config", "init", server="", columns=200,
        replies=[
            ("local [http://127.0.0.1:8748]: ", f"{stage.url}\n"),
            ("Token, not shown [none]: ", "s3cret\n"),
            ("Namespace [default]: ", "payments/prod\n"),
            ("Branch [main]: ", "\n"),
        ],
    )  # fmt: skip

    assert (
        0,
        (
            "URL of st8d, or local [http://127.0.0.1:8748]: URL\n"
            "Token, not shown [none]: \n"
            "Namespace [default]: payments/prod\n"
            "Branch [main]: \n"
            f"Made the file in {place(stage)}.\n"
        ),
    ) == (code, text)
    assert (
        f"server:\n  url: {stage.url}\n  token: s3cret\n"
        "defaults:\n  namespace: payments/prod\n"
    ) == place(stage).read_text()


def test_init_with_what_is_offered(stage: Stage) -> None:
    """Pressing return takes what is offered; what flags say is not asked."""
    code, _ = stage.terminal(
        "config", "init", "--context", "dev", "--branch", "x", server="",
        replies=[("8748]: ", "\n"), ("[none]: ", "\n"), ("Namespace [default]: ", "\n")],
    )  # fmt: skip

    assert 0 == code
    assert (
        "contexts:\n  dev:\n    defaults:\n      branch: x\n    server:\n"
        "      url: http://127.0.0.1:8748\ncurrent: dev\n"
    ) == place(stage).read_text()


def test_init_that_is_given_up(stage: Stage) -> None:
    """Ctrl-C and Ctrl-D end it; nothing is written."""
    for reply in (CTRL_C, CTRL_D):
        code, _ = stage.terminal("config", "init", server="", replies=[("]: ", reply)])
        assert 130 == code
        code, _ = stage.terminal(
            "config", "init", server="", replies=[("]: ", "\n"), ("[none]: ", reply)]
        )
        assert 130 == code
    assert not place(stage).exists()


def test_init_with_a_wrong_answer(stage: Stage) -> None:
    """An answer that can't be right ends it with the reason."""
    code, text = stage.terminal(
        "config", "init", server="", columns=200, replies=[("]: ", "nonsense\n")]
    )

    assert 7 == code
    assert text.splitlines()[-1].startswith("error: server.url: 'nonsense' is no http")
    assert not place(stage).exists()


def test_set_a_token_on_a_terminal(stage: Stage) -> None:
    """A token is asked for without showing it."""
    assert (
        0,
        f"Token, not shown [none]: \nSet server.token of the top in {place(stage)}.\n",
    ) == stage.terminal(
        "config", "set", "server.token", "-",
        server="", columns=200, replies=[("[none]: ", "s3cret\n")],
    )  # fmt: skip
    assert "server:\n  token: s3cret\n" == place(stage).read_text()


def test_contexts(stage: Stage) -> None:
    """A second daemon is added, used, changed and shown."""
    file = place(stage)
    assert (0, f"Made the file in {file}.\n", "") == stage.pipe("config", "init")
    assert (
        0,
        (
            f"Made context 'prod' in {file}; `st8ctl config use prod` makes it the "
            "current one.\n"
        ),
        "",
    ) == stage.pipe(
        "config", "init", "--context", "prod", "--server", "https://st8d.internal",
        "--token", "s3cret", server="",
    )  # fmt: skip
    assert (
        0,
        (
            "default server=URL namespace=default branch=main *\n"
            "prod server=https://st8d.internal namespace=default branch=main\n"
        ),
        "",
    ) == stage.pipe("config", "list", server="")
    assert (0, "Context prod counts now.\n", "") == stage.pipe(
        "config", "use", "prod", server=""
    )
    assert (
        0,
        f"Set defaults.namespace of context 'prod' in {file}.\n",
        "",
    ) == stage.pipe("config", "set", "defaults.namespace", "payments/prod", server="")
    view = (
        f"file: {file}\n"
        "context: prod\n"
        "server.url: https://st8d.internal  # context prod\n"
        "server.token: ***  # context prod\n"
        "server.dir: ~/.st8  # built in\n"
        "server.timeout: 30s  # built in\n"
        "defaults.namespace: payments/prod  # context prod\n"
        "defaults.branch: main  # built in\n"
    )
    assert (0, view, "") == stage.pipe("config", "view", server="")
    assert (0, view) == stage.terminal("config", "view", server="", columns=200)
    assert (0, "https://st8d.internal\n", "") == stage.pipe(
        "config", "get", "server.url", server=""
    )
    assert (
        0,
        "name: server.url\nvalue: https://st8d.internal\nfrom: context prod\n",
        "",
    ) == stage.pipe("config", "get", "server.url", "-o", "yaml", server="")
    assert (
        0,
        f"Removed defaults.namespace of context 'prod' in {file}.\n",
        "",
    ) == stage.pipe("config", "unset", "defaults.namespace", server="")
    assert (
        0,
        f'{{\n  "file": "{file}",\n  "context": "default"\n}}\n',
        "",
    ) == stage.pipe("config", "use", "default", "-o", "json", server="")


def test_what_can_not_be(stage: Stage) -> None:
    """What is mistyped is told the nearest name."""
    stage.pipe("config", "init", "--context", "prod")
    for args, code, message in (
        (["config", "use", "prd"], 7,
         "configuration file 'FILE' has no context 'prd'; did you mean 'prod'?"),
        (["log", "--context", "nowhere"], 7,
         ("configuration file 'FILE' has no context 'nowhere'; known are default, "
         "prod")),
        (["config", "set", "server.tokn", "x"], 2,
         ("there is no setting 'server.tokn'; did you mean 'server.token'?; see "
         "'st8ctl config set --help'")),
        (["config", "vew"], 2,
         ("'st8ctl config' has no command 'vew' (did you mean 'view'?); see 'st8ctl "
         "config --help'")),
        (["config", "get", "server.token"], 3,
         ("server.token is not set; set it with `st8ctl config set server.token "
         "VALUE`")),
    ):  # fmt: skip
        done = stage.pipe(*args, server="")
        assert (code, "", f"error: {message}\n") == (
            done.code,
            done.out,
            done.err.replace(str(place(stage)), "FILE"),
        )
