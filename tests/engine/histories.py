"""Random histories, and all that can be seen of a store, to compare two."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING, Any

from st8.core.errors import St8Error
from st8.engine import pages
from tests.engine.acts import (
    apply,
    branch,
    checkpoint,
    delete_branch,
    delete_checkpoint,
    read_everything,
    reset,
    scope,
    selector,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from st8.core.ids import Scope
    from st8.core.ports import Store
    from st8.engine.engine import Engine

_NAMESPACES = ("default", "a", "a/b")
_BRANCHES = ("main", "dev", "b/c")
_CHECKPOINTS = ("good", "main", "\U0010ffff")
_KEYS = [f"k/{n}" for n in range(60)] + ["é", "\U0001f680", "z"]


def make_history(engine: Engine, seeds: Iterable[int]) -> None:
    """Do something for each seed; what is refused is as good as anything."""
    for seed in seeds:
        chance = Random(seed)
        at = scope(chance.choice(_NAMESPACES), chance.choice(_BRANCHES))
        act = chance.choice(_ACTS)
        try:
            act(engine, at, chance)
        except St8Error:
            continue


def _put(engine: Engine, at: Scope, chance: Random) -> None:
    keys = chance.sample(_KEYS, chance.choice((1, 1, 2, 40)))
    documents = {key: chance.choice(("", "1", "line\n" * 40, key)) for key in keys}
    gone = chance.sample(_KEYS, chance.choice((0, 0, 2, 30)))
    apply(engine, documents, [k for k in gone if k not in documents], at=at)


def _go_back(engine: Engine, at: Scope, chance: Random) -> None:
    reset(engine, selector(chance.randint(1, 30)), at=at)


def _branch(engine: Engine, at: Scope, chance: Random) -> None:
    branch(engine, chance.choice(_BRANCHES), at=at)


def _delete_branch(engine: Engine, at: Scope, _chance: Random) -> None:
    delete_branch(engine, at.branch, namespace=at.namespace)


def _checkpoint(engine: Engine, at: Scope, chance: Random) -> None:
    name = chance.choice(_CHECKPOINTS)
    checkpoint(engine, name, at=at, replace=chance.random() < 1 / 2)


def _delete_checkpoint(engine: Engine, at: Scope, chance: Random) -> None:
    delete_checkpoint(engine, chance.choice(_CHECKPOINTS), at.namespace)


def _collect(engine: Engine, at: Scope, chance: Random) -> None:
    engine.collect(chance.randint(1, 4), chance.choice((None, at.namespace)))


_ACTS: list[Callable[[Engine, Scope, Random], None]] = [
    *([_put] * 12),
    *([_go_back] * 2),
    *([_branch] * 3),
    _delete_branch,
    *([_checkpoint] * 2),
    _delete_checkpoint,
    _collect,
]


def everything(store: Store, engine: Engine) -> dict[str, Any]:
    """Return all that can be seen of a store, record by record and state by state.

    Raises:
        Corrupt: Something that should be there is not.
    """
    infos = list(pages.namespaces(store))
    return {
        "namespaces": infos,
        "branches": [list(pages.branches(store, name)) for name, _ in infos],
        "checkpoints": [list(pages.checkpoints(store, name)) for name, _ in infos],
        "revisions": [
            dict(store.revisions(name, list(pages.numbers(store, name))))
            for name, _ in infos
        ],
        "states": read_everything(engine),
    }
