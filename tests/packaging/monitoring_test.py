"""Dashboard and alerts ask for metrics that a daemon has, by labels that it gives."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from typing import TYPE_CHECKING, Any, NamedTuple

import promql_parser
import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from st8.http.operations import OPERATIONS
from tests.docs.shell import ROOT
from tests.http.asgi import Api

if TYPE_CHECKING:
    from collections.abc import Iterator

DASHBOARD = json.loads((ROOT / "deploy/grafana/st8d.json").read_text(encoding="utf-8"))
ALERTS_FILE = ROOT / "deploy" / "prometheus" / "alerts.yaml"
ALERTS = yaml.safe_load(ALERTS_FILE.read_text(encoding="utf-8"))["groups"][0]["rules"]
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]

_OF_PROMETHEUS = {"job", "instance"}
"""Labels that Prometheus itself gives to all that it collects."""

Expression = Any


class Query(NamedTuple):
    """A query, and where it stands."""

    where: str
    text: str
    legend: str = ""

    def parsed(self) -> Expression:
        """Return its tree; Grafana's variables are made values."""
        text = self.text.replace("$__rate_interval", "5m")
        return promql_parser.parse(
            text.replace("$job", ".*").replace("$instance", ".*")
        )


QUERIES = [
    *(
        Query(panel["title"], target["expr"], target["legendFormat"])
        for panel in PANELS
        for target in panel["targets"]
    ),
    *(Query(alert["alert"], alert["expr"]) for alert in ALERTS),
]


def _walk(expression: Expression) -> Iterator[Expression]:
    """Yield every part of a query."""
    found: list[Expression] = []
    promql_parser.walk(expression, found.append)
    yield from found


@pytest.fixture(scope="module")
def samples() -> dict[str, set[str]]:
    """The names of all samples of a daemon that has read and written, with labels."""
    api = Api()
    try:
        api.apply({"a": "1"})
        api.state()
        api.get("/v1/state?revision=99")
        text = api.get("/metrics").body.decode()
    finally:
        api.close()
    found: dict[str, set[str]] = {"up": set()}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found.setdefault(sample.name, set()).update(sample.labels)
    # There is none in a process that has no /proc.
    for name in ("resident_memory_bytes", "cpu_seconds_total", "start_time_seconds"):
        found.setdefault(f"process_{name}", set())
    return found


@pytest.mark.parametrize("query", QUERIES, ids=lambda query: query.where)
def test_metrics_and_labels_are_there(
    query: Query, samples: dict[str, set[str]]
) -> None:
    """Each query is one, of metrics that exist, by labels that they have."""
    grouped: set[str] = set()
    labels: set[str] = set()
    for part in _walk(query.parsed()):
        if isinstance(part, promql_parser.VectorSelector):
            assert part.name in samples
            there = samples[part.name] | _OF_PROMETHEUS
            labels |= there
            for matcher in part.matchers.matchers:
                assert matcher.name in there, matcher.name
                _check_value(matcher.name, matcher.value)
        elif isinstance(part, promql_parser.AggregateExpr) and part.modifier:
            grouped |= set(part.modifier.labels)

    assert labels
    assert set() == grouped - labels
    shown = set(re.findall(r"{{(\w+)}}", query.legend))
    assert shown <= (grouped or labels)


def _check_value(label: str, value: str) -> None:
    """Check that a matcher can match what a daemon says."""
    known = {
        "route": {operation.path for operation in OPERATIONS},
        "operation": {operation.name for operation in OPERATIONS},
    }
    if label in known:
        assert set(value.split("|")) <= known[label]
    if label == "status":
        assert re.fullmatch(r"[45](?:\d\d|\.\.)(?:\|4\d\d)*", value)


@pytest.mark.parametrize("query", QUERIES, ids=lambda query: query.where)
def test_every_query_says_whose_metrics(query: Query) -> None:
    """No query mixes in what another job has under the same name."""
    for part in _walk(query.parsed()):
        if isinstance(part, promql_parser.VectorSelector):
            assert "job" in {matcher.name for matcher in part.matchers.matchers}


@pytest.mark.parametrize("query", QUERIES, ids=lambda query: query.where)
def test_quantiles_are_of_buckets(query: Query) -> None:
    """A quantile is taken of a histogram's buckets, by their bounds."""
    quantiles = query.text.count("histogram_quantile")
    buckets = re.findall(r"\w+_bucket\b", query.text)
    groups = re.findall(r"by \(([^)]*\ble\b[^)]*)\)", query.text)

    assert quantiles == len(buckets) == len(groups)


def test_every_metric_of_st8_is_shown(samples: dict[str, set[str]]) -> None:
    """No metric of st8 is missing from the dashboard."""
    text = json.dumps([panel["targets"] for panel in PANELS])
    names = {
        re.sub(r"_(?:bucket|sum|count|created)$", "", name)
        for name in samples
        if name.startswith("st8_")
    }

    assert set() == {name for name in names if name not in text}


def test_panels_do_not_overlap() -> None:
    """Each cell of the grid has one panel at most, and each panel its own number."""
    cells: list[tuple[int, int]] = []
    for panel in DASHBOARD["panels"]:
        grid = panel["gridPos"]
        assert grid["x"] + grid["w"] <= 24
        cells += [
            (grid["x"] + column, grid["y"] + line)
            for column in range(grid["w"])
            for line in range(grid["h"])
        ]
    numbers = [panel["id"] for panel in DASHBOARD["panels"]]

    assert len(set(cells)) == len(cells)
    assert len(set(numbers)) == len(numbers)


def test_variables_are_those_that_are_used() -> None:
    """Each variable of the dashboard is used, and each used one is there."""
    there = {one["name"] for one in DASHBOARD["templating"]["list"]}
    text = json.dumps(DASHBOARD["panels"])
    used = set(re.findall(r"\$\{?([a-z]\w*)", text))

    assert there == used


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert["alert"])
def test_alerts_say_what_to_do(alert: dict[str, Any]) -> None:
    """Each has a severity, a summary that names the daemon, and what it means."""
    labels = re.findall(r"\$labels\.(\w+)", json.dumps(alert["annotations"]))

    assert alert["labels"]["severity"] in {"warning", "critical"}
    assert ["instance"] == sorted(set(labels))
    assert alert["annotations"]["description"].endswith(".")
    assert alert["alert"].startswith("St8d")


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert["alert"])
def test_the_first_of_its_kind_alerts(alert: dict[str, Any]) -> None:
    """What a daemon counts only once it happens has no increase the first time."""
    api = Api()
    try:
        fresh = api.get("/metrics").body.decode()
    finally:
        api.close()
    for counted in re.findall(r'increase\((\w+{job="st8d", [^}]*})', alert["expr"]):
        series = counted.replace('job="st8d", ', "")
        assert f"{series} 0.0" in fresh or f"{counted} offset" in alert["expr"]


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not here")
def test_prometheus_takes_the_alerts() -> None:
    """Prometheus' own check finds nothing amiss."""
    subprocess.run(["promtool", "check", "rules", str(ALERTS_FILE)], check=True)
