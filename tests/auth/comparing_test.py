"""No secret is compared in a way that takes longer the more of it is right."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

import st8

if TYPE_CHECKING:
    from collections.abc import Iterator

_SOURCE: Final = Path(st8.__file__).parent
_FILES: Final = sorted(
    path.relative_to(_SOURCE).as_posix()
    for folder in ("auth", "daemon", "http")
    for path in (_SOURCE / folder).rglob("*.py")
)
_SECRETS: Final = ("token", "secret", "password", "credential")
_HARMLESS: Final = {
    ("auth/identity_tokens.py", "token.count(b'.') != 2"),
    ("auth/policy_file.py", "digest == _OF_NOTHING"),
    ("daemon/credentials.py", "(path, token) == (self._path, self._token)"),
}
"""Of what nobody shows who asks for something."""


def _names(node: ast.expr) -> Iterator[str]:
    """Yield the names that an expression is made of."""
    for part in ast.walk(node):
        if isinstance(part, ast.Name):
            yield part.id
        elif isinstance(part, ast.Attribute):
            yield part.attr


def _comparisons(path: Path) -> Iterator[tuple[str, str]]:
    """Yield comparisons by ``==`` or ``!=``, and the names in them."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Compare) and any(
            isinstance(operator, ast.Eq | ast.NotEq) for operator in node.ops
        ):
            yield ast.unparse(node), " ".join(_names(node))


def test_it_looks_at_something() -> None:
    """The modules that know secrets are among those that are looked at."""
    assert {"auth/tokens.py", "auth/simple.py", "daemon/credentials.py"} <= set(_FILES)


@pytest.mark.parametrize("file", _FILES)
def test_secrets_are_not_compared_by_their_bytes(file: str) -> None:
    """Nothing called a token, secret or digest of one stands on a side of ``==``."""
    names = _SECRETS + (("digest",) if file.startswith("auth/") else ())
    found = [
        text
        for text, compared in _comparisons(_SOURCE / file)
        if any(name in compared.lower() for name in names)
        and (file, text) not in _HARMLESS
    ]

    assert [] == found
