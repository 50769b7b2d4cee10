"""What a verification says, as JSON and as text."""

from __future__ import annotations

import json
from typing import Any

import pytest

from st8.core.errors import InvalidValue
from st8.core.findings import (
    Event,
    Finding,
    Head,
    Progress,
    Verified,
    as_fields,
    finding_text,
    from_fields,
    heads_in,
    parse_head,
    progress_text,
    summary_text,
)
from st8.core.ids import BranchName, Digest, Namespace, RevisionNumber

_DIGEST = Digest(bytes(range(32)))
_HEAD = Head(Namespace("shop"), BranchName("main"), RevisionNumber(7), _DIGEST)
_HEAD_FIELDS = {
    "type": "head",
    "namespace": "shop",
    "branch": "main",
    "revision": 7,
    "digest": _DIGEST.hex(),
}


@pytest.mark.parametrize(
    ("event", "fields"),
    [
        (_HEAD, _HEAD_FIELDS),
        (
            Finding("node_damaged", "a node", key="k"),
            {"type": "finding", "code": "node_damaged", "detail": "a node", "key": "k"},
        ),
        (
            Progress("reading", 3),
            {"type": "progress", "doing": "reading", "done": 3, "total": 0},
        ),
    ],
)
def test_events_are_objects(event: Event, fields: dict[str, object]) -> None:
    """An event is a JSON object of what is known, and is read from it again."""
    assert fields == as_fields(event)
    assert event == from_fields({**fields, "another": 1})


def test_a_summary_has_all_its_counts() -> None:
    """A summary says also what there is none of; what is left out is none."""
    assert {"type": "summary", **Verified()._asdict()} == as_fields(Verified())
    assert Verified(0, 0, 0, 0, 0, 0, 0, 0, 0, "") == from_fields({"type": "summary"})


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"type": "other"},
        {"type": "finding"},
        {**_HEAD_FIELDS, "namespace": 1},
        {**_HEAD_FIELDS, "branch": 1},
        {**_HEAD_FIELDS, "branch": ""},
        {**_HEAD_FIELDS, "revision": "x"},
    ],
)
def test_no_events(fields: dict[str, Any]) -> None:
    """What is no event is refused."""
    with pytest.raises(ValueError, match="not an event of a verification: "):
        from_fields(fields)


@pytest.mark.parametrize("number", [1, 7, 10**17, 10**18 - 1])
def test_a_head_is_a_number_and_a_digest(number: int) -> None:
    """A head is written as its number, a colon and the digest."""
    assert (number, _DIGEST) == parse_head(f"{number}:{_DIGEST.hex()}")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "7",
        f"7{_DIGEST.hex()}",
        f":{_DIGEST.hex()}",
        f"0:{_DIGEST.hex()}",
        f"-1:{_DIGEST.hex()}",
        f"\u0667:{_DIGEST.hex()}",
        f"{10**18}:{_DIGEST.hex()}",
        f"7:{_DIGEST.hex()[:-2]}",
        f"7:{_DIGEST.hex()}00",
        f"7: {_DIGEST.hex()[:-1]}",
        f"7:{'x' * 64}",
    ],
)
def test_no_heads(text: str) -> None:
    """What is no head is refused, and told how to write one."""
    with pytest.raises(InvalidValue, match="write NUMBER:DIGEST") as caught:
        parse_head(text)

    assert "expect-head" == caught.value.field


def test_heads_stand_between_other_lines() -> None:
    """Of the lines of a verification the heads are taken."""
    lines = (Progress("reading", 1), _HEAD, Verified())
    text = "".join(f"{json.dumps(as_fields(event))}\n" for event in lines)

    assert [_HEAD] == heads_in(text)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "it has no heads"),
        ('{"type": "summary"}\n', "it has no heads"),
        ("x", "line 1 is not of a verification"),
        ('{"type": "summary"}\n{}\n', "line 2 is not of a verification"),
    ],
)
def test_a_text_without_heads(text: str, said: str) -> None:
    """What has no heads is refused, by the line that is at fault."""
    with pytest.raises(ValueError, match=said):
        heads_in(text)


def test_texts() -> None:
    """What people read: with thousands, one of each and many, and what was not done."""
    one = Verified(1, 1, 1, 1, 1, 1, 1)
    many = Verified(2_000, 2, 3_000, 4, 5, 6, 7_000, 8_000, 9, "not below")

    assert "verifying nodes 1,000 of 2,000" == progress_text(
        Progress("nodes", 1_000, 2_000)
    )
    assert "verifying nodes 5" == progress_text(Progress("nodes", 5))
    assert "code: what it is" == finding_text(Finding("code", "what it is"))
    assert (
        "no damage: 0 namespaces, 0 revisions, 0 branches, 0 checkpoints, 0 objects"
    ) == summary_text(Verified())
    assert (
        "DAMAGED, 1 finding: 1 namespace, 1 revision, 1 branch, 1 checkpoint, 1 object"
    ) == summary_text(one)
    assert (
        "DAMAGED, 2,000 findings: 2 namespaces, 3,000 revisions, 4 branches, "
        "5 checkpoints, 7,000 objects; 8,000 more that nothing needs; not below"
    ) == summary_text(many)
