"""Loads policy files for a test, and closes what it has loaded."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Any

from st8.auth.policy_file import load_policy_authoriser
from st8.core.errors import InvalidInput, Unauthenticated
from st8.core.ids import BranchName, Namespace

if TYPE_CHECKING:
    from pathlib import Path

    from st8.auth.access import Access, Principal, Verb
    from st8.auth.policy import PolicyAuthoriser
    from st8.testing.clock import FakeClock

NO_CONNECTION: dict[str, Any] = {}


class Policies:
    """A policy file that a test writes, and the authorisers made of it.

    Attributes:
        folder: Where the file is.
        path: The file.
        clock: The clock of the authorisers.
    """

    def __init__(self, folder: Path, clock: FakeClock) -> None:
        self.folder = folder
        self.path = folder / "policy.yaml"
        self.clock = clock
        self._made: list[PolicyAuthoriser] = []

    def write(self, text: str) -> None:
        """Write the file; ``text`` may be indented."""
        self.path.write_text(textwrap.dedent(text), encoding="utf-8")

    def load(self, text: str, *, admin_token: str | None = None) -> PolicyAuthoriser:
        """Write the file and return its authoriser."""
        self.write(text)
        made = load_policy_authoriser(
            self.path, clock=self.clock, admin_token=admin_token
        )
        self._made.append(made)
        return made

    def refusal(self, text: str, *, admin_token: str | None = None) -> str:
        """Return why the file is refused, without its name."""
        try:
            self.load(text, admin_token=admin_token)
        except InvalidInput as error:
            return error.detail.removeprefix(f"policy file {str(self.path)!r}, ")
        return "it is not"

    def close(self) -> None:
        """Close every authoriser."""
        for made in self._made:
            made.close()


def shown(authoriser: PolicyAuthoriser, token: str) -> Principal:
    """Return who has ``token``."""
    return authoriser.authenticate(b"Bearer " + token.encode(), NO_CONNECTION)


def refused(authoriser: PolicyAuthoriser, token: str) -> str:
    """Return why nobody has ``token``, without the remedy."""
    try:
        shown(authoriser, token)
    except Unauthenticated as error:
        return error.detail.partition("; send the header")[0]
    return "it is not"


def may(
    access: Access, verb: Verb, namespace: str, branch: str, key: str = "key"
) -> bool:
    """Return whether ``access`` allows it."""
    keys = access.keys(verb, Namespace(namespace), BranchName(branch))
    return keys.has(key.encode())
