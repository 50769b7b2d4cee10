"""Who is let in: nobody is asked, one token, or a policy file; to be read anew."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from st8.auth.simple import Everybody, OneToken
from st8.config import parse_token
from st8.core.errors import InvalidValue

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from st8.auth.access import Authoriser, Principal
    from st8.auth.policy import PolicyAuthoriser
    from st8.config import Settings
    from st8.core.ports import Clock

__all__ = ["Gate", "Prepared", "read_token"]

_TOKEN_BYTES_MAX: Final = 64 * 1024


def read_token(settings: Settings) -> str | None:
    """Return the daemon's own token, None if it has none.

    Raises:
        InvalidValue: It can't be read from its file, or is not what it should be.
    """
    path = settings.token_file
    if path is None:
        return settings.token
    try:
        with path.open("rb") as file:
            data = file.read(_TOKEN_BYTES_MAX + 1)
    except OSError as error:
        raise InvalidValue(
            "token-file", f"can't read {path}: {error.strerror}"
        ) from None
    if len(data) > _TOKEN_BYTES_MAX:
        raise InvalidValue("token-file", f"{path} is too large to hold a token")
    # The line end that an editor or echo has put there is not meant.
    text = data.decode("utf-8", "replace").removesuffix("\n").removesuffix("\r")
    if not text:
        raise InvalidValue(
            "token-file", f"{path} is empty; write the token into it, or leave it out"
        )
    try:
        return parse_token(text)
    except ValueError as error:
        raise InvalidValue("token-file", f"{path}: {error}") from None


class Prepared(NamedTuple):
    """What could let in others than now; one of both is to be called.

    Attributes:
        take: Brings it into force; can't fail.
        drop: Stops what it has going on, where it will not be in force.
    """

    take: Callable[[], None]
    drop: Callable[[], None]


def _nothing() -> None:
    """Do nothing: nothing is going on."""


class Gate:
    """The authoriser of st8d; what it goes by can be exchanged while it is asked.

    Attributes:
        authenticate: Tells who asks; see :class:`st8.auth.access.Authoriser`.
        kind: ``none``, ``token`` or ``policy``.
    """

    def __init__(self, settings: Settings, token: str | None, clock: Clock) -> None:
        """Go by ``settings``, and by the daemon's own ``token``.

        Raises:
            InvalidInput: The policy file is not right.
        """
        self._clock = clock
        self._path: Path | None = None
        self._token: str | None = None
        self._policy: PolicyAuthoriser | None = None
        self.kind = "none"
        self.authenticate: Callable[[bytes | None, Mapping[str, Any]], Principal] = (
            Everybody().authenticate
        )
        self.prepare(settings, token).take()

    def __repr__(self) -> str:
        return f"Gate({self.kind!r})"

    def prepare(self, settings: Settings, token: str | None) -> Prepared:
        """Return what brings ``settings`` and ``token`` into force; nothing is yet.

        Raises:
            InvalidInput: The policy file is not right, or everybody would be let in
                where somebody was asked before; nothing was changed.
        """
        path = settings.auth_config
        if path is None:
            if token is None and self.kind != "none":
                raise InvalidValue(
                    "token",
                    "is gone, and so is the policy file, so that everybody would be "
                    "let in; if that is meant, restart st8d",
                )
            simple = Everybody() if token is None else OneToken(token)
            return Prepared(lambda: self._take(simple, path, token, None), _nothing)
        if self._policy is not None and (path, token) == (self._path, self._token):
            return Prepared(self._policy.prepare(), _nothing)
        from st8.auth.policy_file import (  # noqa: PLC0415 - loads cryptography
            load_policy_authoriser,
        )

        policy = load_policy_authoriser(path, clock=self._clock, admin_token=token)
        return Prepared(
            lambda: self._take(policy, path, token, policy), drop=policy.close
        )

    def close(self) -> None:
        """Stop what the policy has going on."""
        if self._policy is not None:
            self._policy.close()

    def _take(
        self,
        authoriser: Authoriser,
        path: Path | None,
        token: str | None,
        policy: PolicyAuthoriser | None,
    ) -> None:
        before, self._policy = self._policy, policy
        self._path, self._token = path, token
        self.kind = "policy" if policy else "none" if token is None else "token"
        self.authenticate = authoriser.authenticate
        if before is not None:
            before.close()
