"""Git, as a program that is run in a repository."""

from __future__ import annotations

import os
import subprocess
from typing import IO, TYPE_CHECKING, Final, cast

from st8.core.errors import InvalidInput

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

__all__ = ["Blobs", "run", "start"]

# Whatever a configuration says: nothing else is run, and nothing is written otherwise.
_SETTINGS: Final = (
    *("-c", "core.fsmonitor=false"),
    *("-c", "core.hooksPath=/dev/null"),
    *("-c", "core.autocrlf=false"),
    *("-c", "core.attributesFile=/dev/null"),
)

# Nor is anything fetched, which a partial clone would be of itself, by a program that
# its settings name; a git that does not know the first variable heeds the second.
_ENVIRONMENT: Final = {
    "LC_ALL": "C",
    "GIT_ATTR_NOSYSTEM": "1",
    "GIT_NO_LAZY_FETCH": "1",
    "GIT_ALLOW_PROTOCOL": "none",
}

_SKIP_BYTES: Final = 1024 * 1024


def run(directory: str, *arguments: str, stdin: bytes = b"") -> bytes:
    """Run git in a directory and return what it prints.

    Raises:
        InvalidInput: It is not installed, or it fails; with what it says.
    """
    with start(directory, *arguments) as process:
        out, said = process.communicate(stdin)
    if process.returncode:
        raise failed(directory, arguments[0], said)
    return out


def start(directory: str, *arguments: str) -> subprocess.Popen[bytes]:
    """Start git in a directory, with pipes to it and from it.

    Raises:
        InvalidInput: It is not installed, or the directory is not there.
    """
    # What a hook, or a shell, has set is about another repository.
    environment = {k: v for k, v in os.environ.items() if not k.startswith("GIT_")}
    try:
        return subprocess.Popen(  # noqa: S603 - no shell; what is run is git
            [  # noqa: S607 - the user's
                "git",
                *_SETTINGS,
                "-C",
                directory,
                # Git has UTF-8 whatever the locale says.
                *(one.encode(errors="surrogateescape") for one in arguments),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment | _ENVIRONMENT,
        )
    except FileNotFoundError:
        raise InvalidInput(
            "this needs git, which is not installed: apt install git, or brew install "
            "git"
        ) from None


def failed(directory: str, command: str, said: bytes) -> InvalidInput:
    """Return the error that says what git said."""
    reason = said.decode(errors="replace").strip().splitlines() or ["it says no more"]
    return InvalidInput(f"git {command} failed in {directory!r}: {reason[-1]}")


class Blobs:
    """The objects of a repository by name, read one after the other."""

    def __init__(self, directory: str) -> None:
        """Begin to read.

        Raises:
            InvalidInput: See :func:`start`.
        """
        self._directory = directory
        self._process = start(directory, "cat-file", "--batch")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._process.communicate()

    def read(self, name: str, size_max: int | None = None) -> tuple[int, bytes]:
        """Return the size of an object and its bytes: none if there are too many.

        Raises:
            InvalidInput: The repository does not have it, or can't read it.
        """
        to, back = cast("IO[bytes]", self._process.stdin), self._process.stdout
        assert back is not None  # noqa: S101 - it was started with a pipe
        to.write(name.encode() + b"\n")
        to.flush()
        head = back.readline().split()
        if len(head) != 3:  # noqa: PLR2004 - name, kind and size
            raise InvalidInput(
                f"object {name} is missing in {self._directory!r}; if that is a partial "
                "clone, clone it without --filter"
            )
        size = rest = int(head[2])
        if size_max is None or size <= size_max:
            data = back.read(size)
            rest -= len(data)
        else:
            data = b""
            while skipped := back.read(min(rest, _SKIP_BYTES)):
                rest -= len(skipped)
        if rest or back.read(1) != b"\n":
            raise InvalidInput(f"object {name} is damaged in {self._directory!r}")
        return size, data
