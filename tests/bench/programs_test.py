"""The benchmarks run, on sizes so small that their figures mean nothing."""

from __future__ import annotations

import gzip
import json
from typing import TYPE_CHECKING, Any

import pytest

from bench import backup, cli, collect, load, replay, scale, workers, wrk
from bench import postgres as on_postgres
from bench.measure import Report

if TYPE_CHECKING:
    from pathlib import Path

    from tests.postgres.server import PostgresServer


@pytest.fixture
def history(tmp_path: Path) -> Path:
    """Return a history of a few lines with every kind of change."""
    lines: list[dict[str, Any]] = [
        {"puts": {f"a/{n}.yaml": f"first: {n}\n" for n in range(30)}, "deletes": []},
        {"puts": {"a/1.yaml": "first: one\r\n"}, "deletes": ["a/2.yaml"]},
        {"puts": {"b/ü.yaml": "no newline"}, "deletes": []},
        {"puts": {}, "deletes": ["a/1.yaml"]},
        {"puts": {"a/1.yaml": "again: \U0001f512\n"}, "deletes": []},
    ]
    path = tmp_path / "history.jsonl.gz"
    with gzip.open(path, "wt", encoding="utf-8") as file:
        for n, line in enumerate(lines, 1):
            named = {"n": n, "time": "", "author": f"user-{n}", "message": f"line {n}"}
            file.write(json.dumps(named | line) + "\n")
    return path


def test_replay_compares_states_with_the_source(
    history: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A history goes through st8 and git, and comes out as it went in."""
    code = replay.main([str(history), "--checks", "5"])

    assert 0 == code
    assert "Replay of 5 commits" in capsys.readouterr().out


def test_a_history_is_backed_up_and_restored(
    history: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A history is the same in every store that it is restored into."""
    code = backup.main([str(history), "--documents", "0"])

    assert 0 == code
    assert "| revisions | 5 |" in capsys.readouterr().out


def test_replay_has_postgres_beside_sqlite(
    history: Path, tmp_path: Path, postgres: PostgresServer
) -> None:
    """A history goes through both stores, and comes out of both as it went in."""
    report = Report("Replay")

    replay.replay(list(replay.read_history(history)), tmp_path, 5, report, postgres)

    [_, columns, *_] = [row for row in report.parts[0].splitlines() if row]
    assert "|  | st8 over HTTP | st8 on PostgreSQL, over HTTP |" == columns


def test_replay_stops_at_a_state_that_differs(history: Path, tmp_path: Path) -> None:
    """A single byte that differs from the source ends the replay with an error."""
    lines = list(replay.read_history(history))
    wrong = replay.states_at(lines, {3, 5})
    wrong[3]["a/3.yaml"] += " "
    st8 = replay.St8(tmp_path / "state")
    try:
        st8.commit(lines)

        with pytest.raises(AssertionError, match="state 3 differs"):
            st8.check(wrong, 5)
    finally:
        st8.close()


@pytest.mark.slow
def test_scale_measures_every_row(tmp_path: Path) -> None:
    """Every size has a figure in every row, in st8, in git and through HTTP."""
    report = Report("Scaling")
    plan = scale.Plan((10, 1_000), (100, 200), (10,), (100, 20), 1, 1)

    scale.measure(plan, tmp_path, report)

    headings = [part.partition("\n")[0].split()[1] for part in report.parts]
    assert ["By", "By", "The", "git", "Through"] == headings
    assert all(bar.actual > 0 for bar in report.bars)


@pytest.mark.slow
def test_scale_has_postgres_beside_sqlite(
    postgres: PostgresServer, tmp_path: Path
) -> None:
    """Every size has a figure in every row, in SQLite and in PostgreSQL."""
    report = Report("Scaling")
    plan = scale.Plan((10, 1_000), (0, 0), (), (0, 0), 1, 1)

    scale.measure_beside(plan, tmp_path, postgres, report)

    columns = "|  | 10 | 1,000 | PostgreSQL, 10 | PostgreSQL, 1,000 |"
    assert [columns] * 2 == [part.splitlines()[2] for part in report.parts]
    assert all(bar.actual > 0 for bar in report.bars)


@pytest.mark.slow
@pytest.mark.skipif(not wrk.present(), reason="wrk makes the load")
def test_load_measures_every_server(tmp_path: Path) -> None:
    """st8d, the engine and bare uvicorn all answer, and none refuses a request."""
    report = Report("Load")

    load.measure(load.Plan((2,), 1, 1), tmp_path, report)

    rates = report.parts[0].splitlines()[4:]
    assert 11 == len(rates)
    assert all(int(row.split("|")[2].replace(",", "")) > 0 for row in rates)


@pytest.mark.slow
@pytest.mark.skipif(not wrk.present(), reason="wrk makes the load")
def test_workers_are_measured(tmp_path: Path) -> None:
    """One worker, two, and two daemons apart all answer, and none refuses a request."""
    report = Report("Workers")

    workers.measure(workers.Plan(2, 2, 1, 1), tmp_path, report)

    rates, costs = (part.splitlines()[4:] for part in report.parts)
    assert (4, 3) == (len(rates), len(costs))
    assert all(float(bar.actual) > 0 for bar in report.bars)


@pytest.mark.slow
@pytest.mark.skipif(not wrk.present(), reason="wrk makes the load")
def test_a_collection_is_measured(tmp_path: Path) -> None:
    """One writer and sixteen are measured alone and beside a collection."""
    report = Report("Collection")
    places = [tmp_path / "1", tmp_path / "16"]
    plan = collect.Plan(100, 200, 1, 1)
    for place in places:
        collect.make(place, plan)

    collect.measure(plan, places, report)

    assert 4 == len(report.parts[-1].splitlines()[4:])
    assert all(float(bar.actual) > 0 for bar in report.bars)


def test_command_line_is_measured(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """St8ctl reads and applies against a running daemon, a directory too."""
    report = Report("Command line")

    cli.measure(tmp_path, 1, report, files=20)
    report.print()

    printed = capsys.readouterr().out
    assert "st8ctl get / python3 -c pass" in printed
    assert "| `st8ctl apply -R DIR` |" in printed


def test_postgres_is_measured(postgres: PostgresServer, tmp_path: Path) -> None:
    """One daemon, two daemons, the embedded store and a bare UPDATE all commit."""
    report = Report("PostgreSQL")

    on_postgres.measure(on_postgres.Plan((1, 2), 0.1, 1), postgres, tmp_path, report)

    rows = [row.split("|")[1:4] for row in report.parts[0].splitlines()[4:]]
    assert 5 == len(rows)
    assert not any(row[2].strip().startswith("0 ") for row in rows)
