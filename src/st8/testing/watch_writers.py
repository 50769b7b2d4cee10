"""Writers for watchers to watch, and the past that they know of.

What was stored is known from the answers to those who wrote it: each write is sent,
with one idempotency key, until it is answered, whatever becomes of the daemon
meanwhile. Keys have owners and so have branches that are taken away, so nobody's
revision depends on when another's comes.
"""

from __future__ import annotations

import threading
import time
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from urllib.parse import urlencode

from st8.testing.child import call
from st8.testing.watch_checker import Past

if TYPE_CHECKING:
    from collections.abc import Mapping
    from random import Random  # noqa: TID251 - seeded: a run can be had again

__all__ = ["Author", "Deeds"]

_AREAS: Final = ("app/", "sys/")
_KEYS: Final = 4
_OWN_BRANCH: Final = 0.25
_TAKEN_AWAY: Final = 0.04
_DELETES: Final = 0.15
_AGAIN_S: Final = 0.02
_PATIENCE_S: Final = 120.0


class _Deed(NamedTuple):
    """A revision that was made, or where a branch began or ended."""

    branch: str
    life: int
    number: int  # the revision; where a branch begins or ends, what it points at
    digest: str
    edits: Mapping[str, str | None] | None


class Deeds:
    """What was done to one namespace. Any thread may add to it.

    Attributes:
        faults: Answers that should not be.
        revisions: How many were made.
    """

    def __init__(self) -> None:
        """Begin with nothing."""
        self.faults: list[str] = []
        self.revisions = 0
        self._deeds: list[_Deed] = []
        self._lock = threading.Lock()

    def revision(
        self,
        branch: str,
        life: int,
        answer: Mapping[str, Any],
        edits: Mapping[str, str | None],
    ) -> None:
        """Add a revision that was made in a life of a branch."""
        deed = _Deed(branch, life, answer["revision"], answer["digest"], edits)
        with self._lock:
            self._deeds.append(deed)
            self.revisions += 1

    def life(self, branch: str, life: int, head: int) -> None:
        """Add that a branch was made at ``head``, or taken away (0)."""
        with self._lock:
            self._deeds.append(_Deed(branch, life, head, "", None))

    def past(self, kept: int) -> Past:
        """Return all of it, to check by."""
        past = Past(kept=kept)
        heads: dict[tuple[str, int], int] = {}
        made: list[_Deed] = []
        for deed in self._deeds:
            if deed.edits is None:
                heads[deed.branch, deed.life] = deed.number
            else:
                made.append(deed)
        last = dict(heads)
        for deed in sorted(made, key=lambda deed: deed.number):
            assert deed.edits is not None  # noqa: S101 - see above
            life = deed.branch, deed.life
            parent = last.get(life, 0)
            past.add(deed.branch, deed.number, parent, deed.digest, deed.edits)
            last[life] = deed.number
        for (branch, _), head in heads.items():
            past.move(branch, head)
        for (branch, _), head in sorted(last.items()):
            past.move(branch, head)
        return past


class Author:
    """A thread that writes to ``main`` and to a branch of its own."""

    def __init__(
        self, name: str, namespace: str, deeds: Deeds, port: int, chance: Random
    ) -> None:
        """Write as ``name``; ``chance`` decides what."""
        self.branch = f"of-{name}"
        self._name = name
        self._namespace = namespace
        self._deeds = deeds
        self._port = port
        self._chance = chance
        self._connection: HTTPConnection | None = None
        self._count = 0
        self._life = 0
        self._lives = False  # the branch is there
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name)

    def start(self) -> None:
        """Write from now on."""
        self._thread.start()

    def stop(self) -> None:
        """Return once what was begun is settled."""
        self._ending.set()
        self._thread.join()

    def _run(self) -> None:
        try:
            while not self._ending.is_set():
                self._step()
        except Exception as error:  # noqa: BLE001 - told by whoever judges
            self._deeds.faults.append(f"{self._name}: {error!r}")
        finally:
            if self._connection is not None:
                self._connection.close()

    def _step(self) -> None:
        if self._chance.random() >= _OWN_BRANCH:
            self._apply("main", 0)
            return
        if self._lives and self._chance.random() < _TAKEN_AWAY / _OWN_BRANCH:
            self._take_away()
        if not self._lives:
            self._life += 1
            if self._chance.random() < 0.5:  # noqa: PLR2004 - or by the first apply
                self._fork()
            self._lives = True
        self._apply(self.branch, self._life)

    def _apply(self, branch: str, life: int) -> None:
        """Set one document to what it never was, and others."""
        self._count += 1
        area = self._chance.choice(_AREAS)
        edits: dict[str, str | None] = {}
        for key in self._chance.sample(range(_KEYS), self._chance.randint(1, 3)):
            path = f"{self._chance.choice((area, area, *_AREAS))}{self._name}/{key}"
            content = f"{self._name} {self._count} {key}"
            gone = edits and self._chance.random() < _DELETES
            edits[path] = None if gone else content
        body = {
            "scope": {"namespace": self._namespace, "branch": branch},
            "documents": [
                {"key": key, "content": content}
                for key, content in edits.items()
                if content is not None
            ],
            "deletes": [key for key, content in edits.items() if content is None],
            "changes": "none",
        }
        status, answer = self._settle("POST", "/v1/apply", body)
        if status == HTTPStatus.OK:
            self._deeds.revision(branch, life, answer, edits)
        else:
            self._deeds.faults.append(f"an apply was answered {status}: {answer}")

    def _take_away(self) -> None:
        body = {"namespace": self._namespace, "name": self.branch}
        status, answer = self._settle("DELETE", "/v1/branches", body)
        if status not in {HTTPStatus.OK, HTTPStatus.NOT_FOUND}:  # it may be a retry
            self._deeds.faults.append(f"a delete was answered {status}: {answer}")
        self._deeds.life(self.branch, self._life + 1, 0)
        self._life += 1
        self._lives = False

    def _fork(self) -> None:
        scope = {"namespace": self._namespace, "branch": "main"}
        body = {"scope": scope, "name": self.branch}
        status, answer = self._settle("POST", "/v1/branches", body)
        if status == HTTPStatus.NOT_FOUND:
            return  # main is not there yet
        query = urlencode({"namespace": self._namespace, "prefix": self.branch})
        found, listed = self._settle("GET", f"/v1/branches?{query}")
        heads = [
            one["head_revision"]
            for one in listed["branches"]
            if one["name"] == self.branch
        ]
        if found != HTTPStatus.OK or len(heads) != 1:
            self._deeds.faults.append(f"a branch was answered {status}: {answer}")
            return
        self._deeds.life(self.branch, self._life, heads[0])

    def _settle(
        self, method: str, target: str, body: object = None
    ) -> tuple[int, dict[str, Any]]:
        """Return the answer to a request, which is sent until there is one."""
        self._count += 1
        headers = {"Idempotency-Key": f"{self._name}-{self._count}"}
        answer: dict[str, Any]
        deadline = time.monotonic() + _PATIENCE_S
        while time.monotonic() < deadline:
            if self._connection is None:
                self._connection = HTTPConnection("127.0.0.1", self._port, timeout=30)
            try:
                status, answer = call(self._connection, method, target, body, headers)
            except (OSError, HTTPException):
                status, answer = 0, {}
            if 0 < status < HTTPStatus.INTERNAL_SERVER_ERROR:
                return status, answer
            self._connection.close()
            self._connection = None
            time.sleep(_AGAIN_S)
        raise TimeoutError(f"{method} {target} was not answered")
