"""The tree of errors and what it says on the wire."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from st8.core import error, errors
from st8.core.errors import (
    CLASSES,
    HeadMoved,
    NotFound,
    St8Error,
    StorageFull,
    UnknownField,
)

EVERY = sorted(CLASSES.values(), key=lambda cls: cls.__name__)


def _subclasses(root: type[St8Error]) -> set[type[St8Error]]:
    return {root}.union(*(_subclasses(cls) for cls in root.__subclasses__()))


def test_every_class_has_its_own_code() -> None:
    """No two classes share a code, so a client can tell them apart."""
    modules = {errors.__name__, error.__name__}
    own = {cls for cls in _subclasses(St8Error) if cls.__module__ in modules}

    assert own == set(EVERY)


def test_the_drawn_tree_is_the_tree() -> None:
    """The tree in the module's docstring has every class, below its own base."""
    drawn: dict[str, str] = {}
    path: list[tuple[int, str]] = []
    for line in (errors.__doc__ or "").splitlines():
        found = re.match(r"    ([│├└─ ]*)([A-Z]\w*8?\w*)(?:  |$)", line)
        if found:
            while path and path[-1][0] >= len(found[1]):
                path.pop()
            drawn[found[2]] = path[-1][1] if path else "Exception"
            path.append((len(found[1]), found[2]))

    assert {
        cls.__name__: cls.__base__.__name__ for cls in EVERY if cls.__base__
    } == drawn


@pytest.mark.parametrize("cls", EVERY)
def test_every_class_says_what_it_is(cls: type[St8Error]) -> None:
    """Code, title, status, exit code and outcome are set, and fit each other."""
    assert re.fullmatch(r"[a-z][a-z0-9]*(_[a-z0-9]+)*", cls.code)
    assert cls.title[0].isupper()
    assert 400 <= cls.http_status <= 599
    assert 1 <= cls.exit_code <= 8
    assert cls.outcome in {"none", "unknown"}
    assert (cls.exit_code == 8) == (cls.outcome == "unknown")
    assert not cls.retryable or cls.http_status in {408, 429, 503, 507}


@pytest.mark.parametrize(
    ("exit_code", "codes"),
    [
        (
            1,
            [
                "corrupt",
                "error",
                "internal_error",
                "newer_format",
            ],
        ),
        (
            3,
            [
                "branch_not_found",
                "checkpoint_not_found",
                "key_not_found",
                "namespace_not_found",
                "no_revision_at",
                "not_found",
                "nothing_applied",
                "revision_collected",
                "revision_not_found",
                "route_not_found",
            ],
        ),
        (
            4,
            [
                "being_restored",
                "branch_exists",
                "checkpoint_exists",
                "conflict",
                "content_in_use",
                "content_redacted",
                "head_moved",
                "idempotency_mismatch",
                "namespace_exists",
                "other_history",
                "overtaken",
                "revision_not_reached",
            ],
        ),
        (
            5,
            [
                "expect_revision_required",
                "forbidden",
                "refused",
                "unauthenticated",
            ],
        ),
        (
            6,
            [
                "audit_unavailable",
                "overloaded",
                "rate_limited",
                "request_timeout",
                "shutting_down",
                "state_directory_in_use",
                "storage_failed",
                "storage_full",
                "store_fenced",
                "timed_out",
                "unavailable",
                "unreachable",
            ],
        ),
        (
            7,
            [
                "bad_backup",
                "header_limit_exceeded",
                "invalid",
                "invalid_value",
                "limit_exceeded",
                "malformed_request",
                "method_not_allowed",
                "unknown_field",
                "unsupported_media",
            ],
        ),
        (
            8,
            [
                "outcome_unknown",
            ],
        ),
    ],
)
def test_exit_codes_stay(exit_code: int, codes: list[str]) -> None:
    """Scripts go by them: what an error means to a script does not change."""
    found = sorted(cls.code for cls in EVERY if cls.exit_code == exit_code)

    assert codes == found


@pytest.mark.parametrize("cls", EVERY)
def test_every_class_is_rebuilt_from_its_problem(cls: type[St8Error]) -> None:
    """The problem of an error gives the same class, sentence and fields."""
    error = cls.__new__(cls)
    St8Error.__init__(error, "what was wrong", namespace="a/b", revision=7)
    rebuilt = St8Error.from_problem(error.problem())

    assert cls is type(rebuilt)
    assert ("what was wrong", error.fields) == (rebuilt.detail, rebuilt.fields)
    assert str(error) == str(rebuilt)


def test_a_problem_begins_with_its_sentence() -> None:
    """Detail comes first, since the Go client prints the body as it came."""
    problem = HeadMoved("a/b", "main", 3, 4).problem()

    assert [
        "detail",
        "code",
        "title",
        "status",
        "retryable",
        "outcome",
        "namespace",
        "branch",
        "expected",
        "actual",
    ] == list(problem)
    assert ("head_moved", 409, False, "none") == (
        problem["code"],
        problem["status"],
        problem["retryable"],
        problem["outcome"],
    )


@pytest.mark.parametrize(
    ("problem", "cls"),
    [
        ({"code": "from_the_future", "status": 404}, NotFound),
        ({"code": "from_the_future", "status": 507}, StorageFull),
        ({"code": "from_the_future", "status": 418}, St8Error),
        ({"code": 7, "status": "x"}, St8Error),
        ({}, St8Error),
    ],
)
def test_an_unknown_code_gives_the_class_of_its_status(
    problem: dict[str, object], cls: type[St8Error]
) -> None:
    """An old client still tells a missing key from a full disk."""
    rebuilt = St8Error.from_problem(problem)

    assert cls is type(rebuilt)
    assert "the server gave no detail" == rebuilt.detail


JSON = st.none() | st.booleans() | st.integers() | st.text(max_size=5)
FIELDS = st.sampled_from(
    [
        "detail",
        "code",
        "status",
        "self",
        "fields",
        "args",
        "problem",
        "retryable",
        "a-b",
    ]
) | st.text(max_size=8)


@given(problem=st.dictionaries(FIELDS, JSON, max_size=6))
def test_any_problem_gives_an_error(problem: dict[str, object]) -> None:
    """Whatever object a server sends, it becomes an error that can be shown."""
    rebuilt = St8Error.from_problem(problem)

    assert isinstance(rebuilt, St8Error)
    assert str(rebuilt) == rebuilt.detail
    assert rebuilt.detail == rebuilt.problem()["detail"]


@pytest.mark.parametrize(
    ("known", "said"),
    [
        (
            ["revision", "branch"],
            "the body has no field 'revison'; did you mean 'revision'?",
        ),
        (["b", "a"], "the body has no field 'revison'; known are a, b"),
        ([], "the body has no field 'revison'; it takes none"),
    ],
)
def test_an_unknown_field_is_told_with_what_is_known(
    known: list[str], said: str
) -> None:
    """The nearest name is offered, or else all that there are."""
    error = UnknownField("revison", "the body", known)

    assert said == error.detail
    assert {"field": "revison", "known": sorted(known)} == error.fields
