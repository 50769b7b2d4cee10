"""What a token of an identity provider says, and which rules that makes count."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, cast

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from st8.auth.access import Rule

__all__ = ["ClaimRule", "claim", "texts_of"]


class ClaimRule(NamedTuple):
    """What is allowed to those of whom claims say something.

    Attributes:
        claims: Names of claims, each with the texts of which it must have one.
            Without any, it counts for everybody.
        rules: What is allowed then.
        speaks_for_others: Whether they may name another author.
    """

    claims: tuple[tuple[str, frozenset[str]], ...]
    rules: tuple[Rule, ...]
    speaks_for_others: bool

    def counts(self, claims: Mapping[str, Any]) -> bool:
        """Return whether every claim is as it asks."""
        return all(
            not wanted.isdisjoint(texts_of(claim(claims, name)))
            for name, wanted in self.claims
        )


def claim(claims: Mapping[str, Any], name: str) -> Any:
    """Return the claim of that name; None if there is none.

    A name with dots is looked for as it is first, since names of claims may be URLs,
    and then as a path: ``realm.roles`` is ``roles`` in the object ``realm``.
    """
    if name in claims:
        return claims[name]
    value: Any = claims
    for part in name.split("."):
        if not isinstance(value, dict):
            return None
        value = cast("dict[str, Any]", value).get(part)
    return value


def texts_of(value: object) -> Iterator[str]:
    """Yield the texts that a claim has: one, or those of a list.

    A number and a truth value count as they are written in JSON; anything else has
    no text.
    """
    items = cast("list[object]", value) if isinstance(value, list) else [value]
    for item in items:
        if isinstance(item, str):
            yield item
        elif isinstance(item, bool):
            yield "true" if item else "false"
        elif isinstance(item, int):
            yield str(item)
