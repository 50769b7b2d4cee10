"""``st8ctl namespace``, with ``list``."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.cli.st8ctl import St8ctl


def test_list(st8ctl: St8ctl) -> None:
    """Namespaces are listed with their last revision; none is an empty list."""
    assert (0, "", "") == st8ctl("namespace", "list")
    st8ctl("--namespace", "payments/prod", "apply", "-v", "a=1")
    st8ctl("--namespace", "payments/prod", "apply", "-v", "a=2")
    st8ctl("apply", "-v", "a=1")

    listed = "default last_revision=1\npayments/prod last_revision=2\n"
    assert (0, listed, "") == st8ctl("namespace", "list")
    assert (0, listed, "") == st8ctl("namespace")


def test_wrong_usage(st8ctl: St8ctl) -> None:
    """A stray word is told."""
    assert (
        2,
        "",
        (
            "error: 'st8ctl namespace' has no command 'lst' (did you mean 'list'?); see "
            "'st8ctl namespace --help'\n"
        ),
    ) == st8ctl("namespace", "lst")
