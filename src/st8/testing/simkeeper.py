"""Who collects, backs up and redacts in a simulated world, and what must come of it.

A :class:`Keeper` is one more client, whose answers get lost like those of others. What a
collection has removed, and when what was redacted, the world knows by what its store was
told (:class:`~st8.testing.simstore.Shared`), whether the keeper was answered or not.

What was redacted is read as a mark that has its reason in it, and the reason names the
redaction. So :meth:`Keeper.received` can put the content back into whatever a client was
sent, for the other judges, who know what was written and not what was redacted.
"""

from __future__ import annotations

import asyncio
import json
import re
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlencode

from st8.core.errors import St8Error
from st8.core.findings import Finding
from st8.core.ids import RevisionNumber, Scope, digest_of
from st8.core.revisions import decode
from st8.engine.engine import Engine
from st8.store.memory import MemoryStore
from st8.testing.clock import FakeClock
from st8.testing.sim import SECOND_NS, Host
from st8.testing.simnet import ask

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Iterator, Sequence
    from random import Random  # noqa: TID251 - is handed one

    from st8.core.ids import Digest
    from st8.core.revisions import Revision
    from st8.testing.ledger import Attempt, Ledger
    from st8.testing.simnet import Network, Server
    from st8.testing.simstore import Shared

__all__ = ["KEPT", "Keeper"]

KEPT: Final = 3
"""The newest revisions of each branch that a collection keeps."""
_SHARES: Final = (2, 1, 3)
"""How often it collects, backs up and redacts."""
_READS: Final = 0.5
"""How often what is to be redacted is read before."""
_GAP_S: Final = 0.06
_PATIENCE_S: Final = (0.2, 1.0)
_HEARD_NS: Final = 2 * SECOND_NS
"""When all daemons have heard of a redaction, at the latest."""
_MARK: Final = re.compile(rb"\[st8: redacted [^\]]*: (keeper-\d+)\]\\n")


@dataclass(slots=True)
class _Redaction:
    """A redaction that was sent.

    Attributes:
        content: What was to be redacted, and ``sent`` as it stands in JSON.
        attempt: The write that it is of.
        server: Which daemon it was sent to.
        refused: It was answered that it is not done.
        done_ns: When it was answered that it is; None if it was not.
    """

    content: str
    sent: bytes
    attempt: Attempt
    server: Server
    refused: bool = False
    done_ns: int | None = None

    @property
    def digest(self) -> Digest:
        """The content's."""
        return digest_of(self.content.encode())


@dataclass(slots=True)
class _Backup:
    """A backup that came to its end.

    Attributes:
        data: Its bytes.
        least: How many revisions there were when it was asked for.
        most: And when it had come.
    """

    data: bytes
    least: int
    most: int


class Keeper:
    """One client; see the module.

    Attributes:
        redacted: What may have been redacted, by digest.
        collected: Revisions that were answered to be collected.
        faults: What was wrong by itself.
    """

    def __init__(
        self,
        network: Network,
        servers: Sequence[Server],
        shared: Shared,
        ledger: Ledger,
        *,
        chance: Random,
        counts: Counter[str],
    ) -> None:
        """Keep what ``shared`` has, by way of ``servers``; count what is done."""
        self.host = Host(network.world, "keeper")
        self.redacted: dict[Digest, str] = {}
        self.collected: set[tuple[str, int]] = set()
        self.faults: list[str] = []
        self._network = network
        self._servers = servers
        self._shared = shared
        self._ledger = ledger
        self._chance = chance
        self._counts = counts
        self._redactions: dict[bytes, _Redaction] = {}
        self._backups: list[_Backup] = []

    async def work(self) -> None:
        """Collect, back up and redact, until it is cancelled."""
        deeds = (self._collect, self._back_up, self._redact)
        while True:
            await asyncio.sleep(self._chance.expovariate(1 / _GAP_S))
            with suppress(OSError, TimeoutError):
                [deed] = self._chance.choices(deeds, _SHARES)
                await deed()

    def received(self, server: Server, asked_ns: int, text: bytes) -> bytes:
        """Return what a client was sent, with the contents that were redacted.

        It is a fault if it has one that was redacted for all when it was asked for.
        """
        for one in self._redactions.values():
            if one.done_ns is not None and one.sent in text:
                heard_ns = 0 if server is one.server else _HEARD_NS
                if asked_ns >= one.done_ns + heard_ns:
                    self._fault(f"{one.attempt.name}: served after it was redacted")
        return _MARK.sub(self._put_back, text)

    def noticed(self, answer: Any) -> bool:
        """Return whether an answer says that a revision was collected; note which."""
        if answer.get("code") != "revision_collected":
            return False
        self.collected.add((answer["namespace"], answer["revision"]))
        return True

    def _put_back(self, mark: re.Match[bytes]) -> bytes:
        one = self._redactions.get(mark[1])
        return mark[0] if one is None else one.sent[1:-1]

    def _fault(self, text: str) -> None:
        self._network.world.note(text)
        self.faults.append(text)

    # --- what it does -----------------------------------------------------------------

    async def _collect(self) -> None:
        body = {"keep": KEPT}
        status, answer = await self._post(self._server(), "/v1/gc", body)
        self._count("collections", status, answer)

    async def _back_up(self) -> None:
        least = len(self._shared.made)
        status, answer = await self._post(self._server(), "/v1/backup", {})
        self._count("backups", status, answer)
        if status == HTTPStatus.OK:
            self._backups.append(_Backup(answer, least, len(self._shared.made)))

    async def _redact(self) -> None:
        some = list(self._overwritten())
        if not some:
            return
        attempt, key, content = self._chance.choice(some)
        server = self._server()
        if self._chance.random() < _READS:
            await self._read(attempt, server)
        name = f"keeper-{len(self._redactions) + 1}"
        sent = json.dumps(content).encode()
        one = _Redaction(content, sent, attempt, server)
        self._redactions[name.encode()] = one
        self.redacted[one.digest] = content
        body = {
            "scope": {"namespace": attempt.namespace, "branch": attempt.branch},
            "key": key,
            "revision": attempt.answer["revision"],
            "reason": name,
        }
        status, answer = await self._post(server, "/v1/redact", body)
        self._count("redactions", status, answer)
        if status == HTTPStatus.OK:
            one.done_ns = self._network.world.now_ns
            await self._read(attempt, server)
        else:
            known = json.loads(answer)
            one.refused = known["outcome"] == "none"
            self.noticed(known)

    def _overwritten(self) -> Iterator[tuple[Attempt, str, str]]:
        """Yield writes with a key and a content that their branch has no more."""
        last: dict[tuple[str, str, str], int] = {}
        for attempt in reversed(self._ledger.attempts.values()):
            if attempt.kind != "apply" or attempt.fate != "acknowledged":
                continue
            number = attempt.answer["revision"]
            for key, content in attempt.edits.items():
                at = (attempt.namespace, attempt.branch, key)
                newest = last.setdefault(at, number)
                if content is not None and number < newest:
                    yield attempt, key, content

    async def _read(self, attempt: Attempt, server: Server) -> bytes:
        """Read the state that a write made; return nothing where it was collected."""
        revision = attempt.answer["revision"]
        scope = {"namespace": attempt.namespace, "branch": attempt.branch}
        query = urlencode({**scope, "revision": revision})
        asked_ns = self._network.world.now_ns
        status, text = await self._ask(server, "GET", f"/v1/state?{query}")
        self.received(server, asked_ns, text)
        if status != HTTPStatus.OK:
            known = json.loads(text)
            if not self.noticed(known) and status != HTTPStatus.SERVICE_UNAVAILABLE:
                self._fault(f"a read of {revision} was answered {status}: {known}")
            return b""
        return text

    async def _post(
        self, server: Server, route: str, body: dict[str, Any]
    ) -> tuple[int, bytes]:
        return await self._ask(server, "POST", route, json.dumps(body).encode())

    async def _ask(
        self, server: Server, method: str, target: str, body: bytes = b""
    ) -> tuple[int, bytes]:
        async with asyncio.timeout(self._chance.uniform(*_PATIENCE_S)):
            status, text = await ask(
                self._network, self.host, server, method, target, body
            )
        self._network.world.note(f"keeper {target} {status}")
        return status, text

    def _server(self) -> Server:
        return self._chance.choice(self._servers)

    def _count(self, deed: str, status: int, answer: bytes) -> None:
        self._counts[deed] += status == HTTPStatus.OK
        if status not in {
            HTTPStatus.OK,
            HTTPStatus.CONFLICT,
            HTTPStatus.NOT_FOUND,
            HTTPStatus.SERVICE_UNAVAILABLE,
        }:
            self._fault(f"{deed}: answered {status}: {answer.decode()}")

    # --- the verdict --------------------------------------------------------------------

    def gone(self) -> list[Revision]:
        """Return the revisions that were made and are not there any more."""
        store = self._shared.store
        return [
            revision
            for revision in self._shared.made
            if not store.revisions(revision.scope.namespace, [revision.number])
        ]

    async def look(self) -> None:
        """Read, of every daemon, what was redacted or was to be; in a calm world."""
        for one in self._redactions.values():
            out = one.digest in self._shared.redacted
            if out and one.done_ns is None:
                one.done_ns = 0  # nobody was told, and nobody may read it
            for server in self._servers:
                text = await self._read(one.attempt, server)
                if not out and text and one.sent not in text:
                    self._fault(f"{one.attempt.name}: is not served, nor redacted")

    def judge(self) -> Iterator[str]:
        """Yield what is wrong with what was done; no world must be running."""
        yield from self.faults
        store = self._shared.store
        made = {(one.scope.namespace, one.number) for one in self._shared.made}
        gone = {(one.scope.namespace, one.number) for one in self.gone()}
        for at in sorted(self.collected):
            if at in made and at not in gone:
                yield f"{at} was answered to be collected, and is there"
        for digest in dict.fromkeys(one.digest for one in store.redactions()):
            ones = [one for one in self._redactions.values() if one.digest == digest]
            if not ones or all(one.refused for one in ones):
                yield f"{digest.hex()} was redacted, which nobody wanted"
        for name, one in self._redactions.items():
            there = bool(store.objects([one.digest]))
            if one.done_ns is not None and (
                there or one.digest not in self._shared.redacted
            ):
                yield f"{name.decode()}: answered as done, and is not"
        for number, backup in enumerate(self._backups):
            for sentence in self._restore(backup):
                yield f"backup {number}: {sentence}"

    def _restore(self, backup: _Backup) -> Iterator[str]:
        """Restore a backup into an empty store, and compare it."""
        store = MemoryStore()
        engine = Engine(store, FakeClock())
        pieces = iter([backup.data])
        try:
            engine.restore_backup(partial(next, pieces, b""))
            for event in engine.verify(full=True):
                if isinstance(event, Finding):
                    yield event.detail
            yield from self._compare(store, backup)
        except St8Error as error:
            yield f"can't be restored: {error.detail}"
        finally:
            engine.close()

    def _compare(self, store: MemoryStore, backup: _Backup) -> Iterator[str]:
        """Compare what was restored with what was made up to one moment."""
        made = self._shared.made
        last = {
            info.name: info.last_revision for info in store.pointers(None).namespaces
        }
        inside = [one for one in made if one.number <= last.get(one.scope.namespace, 0)]
        if inside != made[: len(inside)]:
            yield "is not of one moment"
        if not backup.least <= len(inside) <= backup.most:
            yield f"has {len(inside)} of {backup.least} to {backup.most} revisions"
        heads = {one.scope: one.number for one in inside}
        for namespace, branch in store.pointers(None).branches:
            if branch.head != heads.pop(Scope(namespace, branch.name), branch.base):
                yield f"branch {branch.name!r} is at {branch.head}"
        if heads:
            yield f"lacks branches {list(heads)}"
        gone = {(one.scope.namespace, one.number) for one in self.gone()}
        for one in inside:
            at = one.scope.namespace, one.number
            data = store.revisions(at[0], [RevisionNumber(at[1])]).get(one.number)
            if data is None and at not in gone:
                yield f"lacks revision {at}"
            if data is not None and decode(data) != one:
                yield f"has another revision {at}"
