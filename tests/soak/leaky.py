"""st8d with a leak, to show that the soak finds it: ``python leaky.py --listen …``."""

from __future__ import annotations

import os
import sys
from typing import Any

from st8 import daemon
from st8.engine.engine import Engine


def leak() -> None:
    """Lose a descriptor with each diff."""
    diff = Engine.diff

    def leaking(self: Engine, *arguments: Any, **options: Any) -> Any:
        os.dup(2)
        return diff(self, *arguments, **options)

    Engine.diff = leaking  # type: ignore[method-assign]


if __name__ == "__main__":
    leak()
    sys.exit(daemon.main(sys.argv[1:]))
