"""The table of limits."""

from __future__ import annotations

import re

import pytest

from st8.core import limits
from st8.core.errors import LimitExceeded


def test_every_limit_has_its_own_name() -> None:
    """No two limits share a name, and ALL has every one of the module."""
    names = [limit.name for limit in limits.ALL]
    expected = {v.name for v in vars(limits).values() if isinstance(v, limits.Limit)}

    assert sorted(set(names)) == sorted(names)
    assert expected == set(names)


@pytest.mark.parametrize("limit", limits.ALL, ids=lambda limit: limit.name)
def test_every_limit_says_why(limit: limits.Limit) -> None:
    """A limit is a positive number, is named with its unit, and has a reason."""
    assert limit.maximum > 0
    assert re.fullmatch(r"[a-z]+(_[a-z]+)*_max", limit.name)
    assert re.fullmatch(r"[A-Z].{10,}\.", limit.reason, re.DOTALL)
    assert limit.name.removesuffix("_max").upper() in vars(limits)


def test_no_two_limits_have_one_reason() -> None:
    """A reason is a limit's own."""
    reasons = [limit.reason for limit in limits.ALL]

    assert sorted(set(reasons)) == sorted(reasons)


@pytest.mark.parametrize("limit", limits.ALL, ids=lambda limit: limit.name)
def test_a_limit_answers_with_its_name_and_number(limit: limits.Limit) -> None:
    """The error of a limit that is passed names it, in the sentence and as fields."""
    error = LimitExceeded(limit, "what came", limit.maximum + 1)

    assert limit.name in error.detail
    assert str(limit.maximum) in error.detail
    assert {
        "limit": limit.name,
        "maximum": limit.maximum,
        "actual": limit.maximum + 1,
    } == error.fields
