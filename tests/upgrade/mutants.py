"""Bugs that the upgrade rig has to find."""

from __future__ import annotations

from typing import TYPE_CHECKING

from st8.store import schema

if TYPE_CHECKING:
    from st8.store.sql import Connection

__all__ = ["prepare_step_by_step"]


def prepare_step_by_step(writer: Connection) -> None:
    """Migrate an older file without a transaction around it."""
    [(found,)] = writer.execute("PRAGMA user_version").fetchall()
    for step in schema._STEPS[found:]:
        writer.execute(step)
    writer.execute(f"PRAGMA user_version = {schema.FORMAT}")
