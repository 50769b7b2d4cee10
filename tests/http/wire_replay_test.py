"""The Go client's day, replayed.

``tests/data/wire-operator.jsonl`` is a recording of the Go st8ctl against the Go
st8d. Every request is sent to this daemon in order. Where the recording has a 200,
the answer must carry the same fields with the same values, times apart; where it
has a 400, ours has the right status, and a problem. What differs on purpose is
listed here and nowhere else.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from st8.store.sqlite import SqliteStore
from tests.http.asgi import Api, subset

if TYPE_CHECKING:
    from collections.abc import Iterator

RECORDING = Path(__file__).parent.parent / "data" / "wire-operator.jsonl"

# A branch takes no number of its own, so the three that step 32 to 34 make shift
# what comes after; and the head of such a branch is where it was made.
BRANCH_HEADS = {7: 1, 8: 2, 9: 6}
FIRST_BRANCH_STEP = 32
SHIFT = 3

# Refusals that the Go daemon answers with 400, and what they are here.
REFUSALS = {
    35: (409, "branch_exists"),
    49: (404, "checkpoint_not_found"),
    50: (404, "checkpoint_not_found"),
    51: (404, "branch_not_found"),
    52: (404, "checkpoint_not_found"),
    62: (404, "checkpoint_not_found"),
    74: (404, "revision_collected"),
    75: (404, "revision_collected"),
}
DELETED_AGAIN = 61  # a checkpoint that is not there: 404, where Go says 200
BRANCH_LOG = 37  # goes on into the history of the branch it was made from
COLLECTION = 71  # reaches namespaces with a slash, and so finds more
COLLECTED_LOG = 77  # ends where that collection began


def steps() -> list[dict[str, Any]]:
    """Return the steps of the recording."""
    lines = RECORDING.read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def renumbered(value: Any, name: str = "") -> Any:
    """Return what was recorded after step 32 with the numbers that are ours."""
    if isinstance(value, dict):
        return {
            field: renumbered(item, field)
            for field, item in value.items()
            if field != "created_at"
        }
    if isinstance(value, list):
        return [renumbered(item) for item in value]
    numbered = {"revision", "id", "parent_id", "head_revision", "from_revision"}
    if name in numbered and isinstance(value, int):
        if value in BRANCH_HEADS:
            return BRANCH_HEADS[value]
        return value - SHIFT if value > max(BRANCH_HEADS) else value
    return value


def expected_body(step: int, request: dict[str, Any], recorded: Any) -> Any:
    """Return what our answer must carry where the recording has ``recorded``."""
    ours = "payments/prod" in request["target"] + (request["body"] or "")
    ours = ours or "payments%2Fprod" in request["target"]
    if step < FIRST_BRANCH_STEP or not ours:
        body = renumbered_times(recorded)
    else:
        body = renumbered(recorded)
    if request["target"].startswith("/v1/branches?") and step > FIRST_BRANCH_STEP:
        for branch in body["branches"]:  # Go forgets the base with the first commit
            if branch["name"] == "migration-test":
                branch["base_revision"] = 1
    if step == BRANCH_LOG:
        entry = body["entries"][1]
        body["entries"][1] = {**entry, "message": "apply", "branch": "main"}
    if step == COLLECTION:
        body["pruned"] += 1
    if step == COLLECTED_LOG:
        kept = [entry for entry in body["entries"] if entry["id"] >= 4]
        body = {"entries": kept, "collected": 3}
    return body


def renumbered_times(value: Any) -> Any:
    """Return ``value`` without its times."""
    if isinstance(value, dict):
        return {k: renumbered_times(v) for k, v in value.items() if k != "created_at"}
    if isinstance(value, list):
        return [renumbered_times(item) for item in value]
    return value


@pytest.fixture
def state_dir(tmp_path: Path) -> Path:
    """Where the daemon of the recording keeps its state."""
    return tmp_path / "state"


def replay(state_dir: Path) -> Iterator[tuple[int, dict[str, Any], Any]]:
    """Yield each recorded exchange with our answer to it."""
    api = Api(SqliteStore(state_dir))
    try:
        for step in steps():
            if step.get("restart"):
                api.close()
                api = Api(SqliteStore(state_dir))
            for wire in step.get("wire", []):
                request = wire["request"]
                body = request["body"]
                answer = api.call(
                    request["method"],
                    request["target"],
                    body.encode() if body else None,
                    **{k.replace("-", "_"): v for k, v in request["headers"].items()},
                )
                yield step["step"], wire, answer
    finally:
        api.close()


def test_the_recorded_day_goes_as_it_went(state_dir: Path) -> None:
    """Every recorded request gets the recorded answer, or the corrected one."""
    wrong: list[str] = []
    exchanges = 0
    for step, wire, answer in replay(state_dir):
        exchanges += 1
        recorded = wire["response"]
        if step in REFUSALS or step == DELETED_AGAIN:
            status, code = REFUSALS.get(step, (404, "checkpoint_not_found"))
            actual = (answer.status, answer.json.get("code"))
            if (status, code) != actual:
                wrong.append(f"step {step}: {actual}")
            if next(iter(answer.json)) != "detail":
                wrong.append(f"step {step}: detail does not come first")
            continue
        expected = expected_body(step, wire["request"], json.loads(recorded["body"]))
        lacks = subset(expected, answer.json) if answer.status == 200 else ["refused"]
        wrong += [f"step {step}: {line}" for line in lacks]
        if answer.headers["content-type"] != recorded["headers"]["content-type"]:
            wrong.append(f"step {step}: {answer.headers['content-type']}")

    assert [] == wrong
    assert 69 == exchanges


def test_every_recorded_refusal_is_looked_at() -> None:
    """No 400 of the recording is left out of the table above."""
    actual = {
        step["step"]
        for step in steps()
        for wire in step.get("wire", [])
        if wire["response"]["status"] != 200
    }

    assert set(REFUSALS) == actual
