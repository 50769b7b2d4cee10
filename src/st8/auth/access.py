"""What somebody may do, as values: rules, what they come to, and who has them.

A rule allows verbs on the keys under a path, on branches of namespaces that match
globs. Several rules allow what any of them allows. Verbs are independent: ``admin``
includes neither ``read`` nor ``write``. What no rule allows is refused.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple, Protocol

from st8.core.key_set import ALL_KEYS, KeySet

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from st8.core.ids import BranchName, Namespace
    from st8.core.rates import Rate

__all__ = [
    "ALLOW_ALL",
    "ANYONE",
    "Access",
    "Authoriser",
    "Matcher",
    "Method",
    "Principal",
    "Protection",
    "Rule",
    "Verb",
    "matches_any",
]

Verb = Literal["read", "write", "admin"]

Method = Literal["none", "token", "jwt", "certificate"]
"""How somebody showed who they are."""

_REMEMBERED: Final = 4_096


class Matcher(Protocol):
    """Matches names; :class:`st8.auth.globs.Glob` does."""

    def matches(self, name: str, /) -> bool:
        """Return whether ``name`` matches."""
        ...

    @property
    def matches_all(self) -> bool:
        """Whether every name matches."""
        ...


class Rule(NamedTuple):
    """One thing that is allowed.

    Attributes:
        namespaces: In a namespace that one of these matches.
        branches: On a branch that one of these matches.
        key_prefix: Keys at and under this path; see :meth:`KeySet.under`.
        verbs: What may be done.
    """

    namespaces: tuple[Matcher, ...]
    branches: tuple[Matcher, ...]
    key_prefix: str
    verbs: frozenset[Verb]


class Access:
    """What some rules come to. Immutable; may be asked from any thread."""

    def __init__(self, rules: Iterable[Rule], *, everything: bool = False) -> None:
        """Allow what any of ``rules`` allows, or everything."""
        self.rules = tuple(rules)
        self._everything = everything
        self._keys: dict[tuple[Verb, str, str], KeySet] = {}

    def keys(self, verb: Verb, namespace: Namespace, branch: BranchName) -> KeySet:
        """Return the keys that ``verb`` is allowed on; no key where it is not."""
        if self._everything:
            return ALL_KEYS
        place = (verb, namespace, branch)
        found = self._keys.get(place)
        if found is None:
            # Joined once: a union for each rule would cost its square.
            found = KeySet.of(
                part
                for rule in self.rules
                if verb in rule.verbs
                and matches_any(rule.namespaces, namespace)
                and matches_any(rule.branches, branch)
                for part in KeySet.under(rule.key_prefix).ranges
            )
            if len(self._keys) >= _REMEMBERED:
                self._keys.clear()
            self._keys[place] = found
        return found

    def somewhere(self, verb: Verb, namespace: Namespace | None = None) -> bool:
        """Return whether ``verb`` is allowed anywhere, or anywhere in a namespace."""
        return self._everything or any(
            verb in rule.verbs
            and rule.namespaces
            and rule.branches
            and (namespace is None or matches_any(rule.namespaces, namespace))
            for rule in self.rules
        )

    def everywhere(self, verb: Verb, namespace: Namespace | None = None) -> bool:
        """Return whether one rule allows ``verb`` on all keys of all branches.

        Of ``namespace``, or of every namespace.
        """
        return self._everything or any(
            verb in rule.verbs
            and not rule.key_prefix
            and any(glob.matches_all for glob in rule.branches)
            and (
                any(glob.matches_all for glob in rule.namespaces)
                if namespace is None
                else matches_any(rule.namespaces, namespace)
            )
            for rule in self.rules
        )


class Protection(NamedTuple):
    """What is asked of those who write to some branches, beyond that they may.

    Attributes:
        namespaces: In a namespace that one of these matches.
        branches: A branch that one of these matches.
        writers: Names of those who may write; nobody else may.
        expect_revision: A write has to say which head it expects.
        rollback: They may roll back directly.
    """

    namespaces: tuple[Matcher, ...]
    branches: tuple[Matcher, ...]
    writers: frozenset[str]
    expect_revision: bool
    rollback: bool

    def covers(self, namespace: str, branch: str) -> bool:
        """Return whether it is about this branch."""
        return matches_any(self.namespaces, namespace) and matches_any(
            self.branches, branch
        )


class Principal(NamedTuple):
    """Who asks.

    Attributes:
        name: What logs and revisions call them; empty where nobody has to say who
            they are.
        access: What they may.
        protections: What is asked of writers, of everybody alike.
        speaks_for_others: They may name another author than themselves.
        method: How they showed who they are.
        rate: How many requests they may send; None: as everybody.
    """

    name: str
    access: Access
    protections: tuple[Protection, ...] = ()
    speaks_for_others: bool = False
    method: Method = "none"
    rate: Rate | None = None


class Authoriser(Protocol):
    """Tells who asks. Called on the event loop: never blocks."""

    def authenticate(
        self, authorization: bytes | None, connection: Mapping[str, Any], /
    ) -> Principal:
        """Return who asks.

        Args:
            authorization: The header of that name; None if it is absent.
            connection: The ASGI connection scope. ``st8.peer_certificate`` in it is
                what :meth:`ssl.SSLObject.getpeercert` says of a client that showed
                a certificate that was checked.

        Raises:
            Unauthenticated: It can't be told.
        """
        ...


def matches_any(globs: Iterable[Matcher], name: str) -> bool:
    """Return whether one of ``globs`` matches ``name``."""
    return any(glob.matches(name) for glob in globs)


ALLOW_ALL: Final = Access((), everything=True)
ANYONE: Final = Principal("", ALLOW_ALL, speaks_for_others=True)
