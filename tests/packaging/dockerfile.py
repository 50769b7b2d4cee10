"""Reads the Dockerfile: its instructions, as Docker would take them."""

from __future__ import annotations

import json
import re
from typing import NamedTuple

from tests.docs.shell import ROOT

__all__ = ["DOCKERFILE", "Dockerfile", "Instruction"]


class Instruction(NamedTuple):
    """One instruction: its stage counted from 0, its name and what follows."""

    stage: int
    name: str
    text: str


class Dockerfile:
    """A Dockerfile.

    Attributes:
        instructions: All of them, in order.
    """

    def __init__(self, text: str) -> None:
        lines = [line for line in text.splitlines() if not line.startswith("#")]
        joined = re.sub(r"\\\n\s*", "", "\n".join(lines))
        self.instructions: list[Instruction] = []
        stage = -1
        for line in joined.splitlines():
            if not line.strip():
                continue
            name, _, rest = line.partition(" ")
            stage += name == "FROM"
            self.instructions.append(Instruction(stage, name, rest.strip()))

    def all(self, name: str, stage: int | None = None) -> list[str]:
        """Return what follows each instruction of a name, of a stage or of all."""
        return [
            one.text
            for one in self.instructions
            if one.name == name and stage in {None, one.stage}
        ]

    def last(self, name: str) -> str:
        """Return what follows the last instruction of a name, in the last stage."""
        return self.all(name, self.instructions[-1].stage)[-1]

    def command(self) -> list[str]:
        """Return what a container runs, before the arguments that it is given."""
        found: list[str] = json.loads(self.last("ENTRYPOINT"))
        return found

    def healthcheck(self) -> list[str]:
        """Return what tells whether a container is well."""
        found: list[str] = json.loads(self.last("HEALTHCHECK").partition("CMD ")[2])
        return found


DOCKERFILE = Dockerfile((ROOT / "Dockerfile").read_text(encoding="utf-8"))
