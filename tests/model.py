"""The long form of the model tests: many examples of many steps, on every driver.

Run as ``script/model``. A seed makes the same examples again, as long as neither the
machine in ``testing/machine.py`` nor hypothesis changes.
"""

from __future__ import annotations

import argparse
import contextlib
import secrets
import sys
import time
import traceback
from typing import TYPE_CHECKING, Final

import hypothesis
from anyio.from_thread import start_blocking_portal
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.client.awaited import Awaited
from tests.client.model_test import AsyncClientMachine, ClientMachine
from tests.engine.model_test import MemoryMachine, SqliteMachine
from tests.postgres.model_test import PostgresMachine
from tests.postgres.server import PostgresServer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from st8.testing.machine import Machine

__all__ = ["main", "run"]

_MACHINES: Final[dict[str, type[Machine]]] = {
    "memory": MemoryMachine,
    "sqlite": SqliteMachine,
    "postgres": PostgresMachine,
    "client": ClientMachine,
    "async-client": AsyncClientMachine,
}


def run(name: str, *, examples: int, steps: int, seed: int) -> str:
    """Run so many examples on a driver; return what was done, in one line.

    Raises:
        AssertionError: The driver and the model differ.
    """
    done = {"examples": 0, "steps": 0}
    base = _MACHINES[name]

    class Counted(base):  # type: ignore[valid-type, misc]
        def __init__(self) -> None:
            super().__init__()
            done["examples"] += 1

        def check_invariants(self, *arguments: object, **options: object) -> None:
            super().check_invariants(*arguments, **options)
            done["steps"] += 1

    begun = time.monotonic()
    with contextlib.ExitStack() as stack:
        if name == "postgres":
            server = stack.enter_context(contextlib.closing(PostgresServer()))
            PostgresMachine.server = server
        if name == "async-client":
            Awaited.portal = stack.enter_context(start_blocking_portal())
        run_state_machine_as_test(
            hypothesis.seed(seed)(Counted),
            settings=settings(
                max_examples=examples,
                stateful_step_count=steps,
                deadline=None,
                database=None,
                print_blob=False,
                suppress_health_check=list(HealthCheck),
            ),
        )
    seconds = time.monotonic() - begun
    return (
        f"{name}: {done['examples']:,} examples, {done['steps']:,} steps, "
        f"no difference, in {seconds:.0f} s"
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run from the command line; return 1 if anything differed."""
    parser = argparse.ArgumentParser(
        prog="script/model", description="Compare st8 with a model of it."
    )
    parser.add_argument("--examples", type=int, default=20_000, help="on each driver")
    parser.add_argument("--steps", type=int, default=100, help="in each, at most")
    parser.add_argument("--seed", type=int, default=secrets.randbelow(2**32))
    parser.add_argument("--driver", choices=_MACHINES, action="append")
    told = parser.parse_args(arguments)
    _print(f"seed {told.seed}")
    differ = 0
    for name in told.driver or _MACHINES:
        try:
            _print(run(name, examples=told.examples, steps=told.steps, seed=told.seed))
        except AssertionError:
            differ = 1
            _print(f"{name}: DIFFERENCE\n{traceback.format_exc()}")
    _print("something differs" if differ else "nothing differs")
    return differ


def _print(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
