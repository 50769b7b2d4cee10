"""Who is let in: nobody is asked, one token, or a policy file; to be read anew."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

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

__all__ = ["Gate", "read_token"]

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
        self.prepare(settings, token)()

    def __repr__(self) -> str:
        return f"Gate({self.kind!r})"

    def prepare(self, settings: Settings, token: str | None) -> Callable[[], None]:
        """Return what brings ``settings`` and ``token`` into force, and can't fail.

        Where the policy file is the one that is in force already, it is read and in
        force on return: call this last.

        Raises:
            InvalidInput: The policy file is not right; nothing was changed.
        """
        path = settings.auth_config
        if path is None:
            simple = Everybody() if token is None else OneToken(token)
            return lambda: self._take(simple, path, token, None)
        if self._policy is not None and (path, token) == (self._path, self._token):
            self._policy.reload()
            return lambda: None
        from st8.auth.policy_file import (  # noqa: PLC0415 - loads cryptography
            load_policy_authoriser,
        )

        policy = load_policy_authoriser(path, clock=self._clock, admin_token=token)
        return lambda: self._take(policy, path, token, policy)

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
