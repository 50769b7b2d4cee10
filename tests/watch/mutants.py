"""A daemon whose watches have a bug, to show that the rig finds it.

``python tests/watch/mutants.py BUG FLAGS…`` runs st8d with those flags.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from st8.daemon import main
from st8.engine.engine import Engine
from st8.http import watch

if TYPE_CHECKING:
    from collections.abc import Callable

    from st8.core.ids import RevisionNumber, Scope
    from st8.engine.watch import News


def lose_one() -> None:
    """Leave out every twentieth revision."""
    news = Engine.news

    def broken(
        self: Engine,
        scope: Scope,
        after: RevisionNumber,
        limit: int = 100,
        *,
        floor: bool = False,
    ) -> News:
        found = news(self, scope, after, limit, floor=floor)
        kept = [each for each in found.revisions if each.number % 20]
        return found._replace(revisions=kept)

    Engine.news = broken  # type: ignore[method-assign]


def resume_at_the_known() -> None:
    """Begin with the revision that is known, not behind it."""
    start_of = watch.Hub.start_of

    def broken(self: watch.Hub, feed: Any) -> tuple[Any, Any]:
        start, last = start_of(self, feed)
        return max(0, start - 1), last

    watch.Hub.start_of = broken  # type: ignore[method-assign]


def register_after_the_snapshot() -> None:
    """Tell where a watch begins, and hear of what moves only after that."""
    begin = watch.Watcher._begin

    async def broken(self: watch.Watcher) -> bytes:
        told = await begin(self)
        for at, feed in enumerate(self._feeds):
            now = feed._replace(after=None)
            self._positions[at], _ = await self._hub.run(self._hub.start_of, now)
        return told

    watch.Watcher._begin = broken  # type: ignore[method-assign]


def silent_gap() -> None:
    """Go on from the head where what lies between is gone, and say nothing."""
    news = Engine.news

    def broken(self: Engine, scope: Scope, *arguments: Any, **named: Any) -> News:
        found = news(self, scope, *arguments, **named)
        return found._replace(resync=None) if found.resync == "collected" else found

    Engine.news = broken  # type: ignore[method-assign]


BUGS: dict[str, Callable[[], None]] = {
    bug.__name__: bug
    for bug in (
        lose_one,
        resume_at_the_known,
        register_after_the_snapshot,
        silent_gap,
    )
}

if __name__ == "__main__":
    BUGS[sys.argv.pop(1)]()
    sys.exit(main())
