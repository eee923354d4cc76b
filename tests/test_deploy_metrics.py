"""The dashboard and the alerts ask for what the bot really shows."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest
import yaml
from prometheus_client.metrics import MetricWrapperBase

from bot import metrics
from bot.clock import Clock
from bot.exposition import Exposition
from bot.version import VERSION

DEPLOY = Path(__file__).parent.parent / "deploy"
SUFFIXES = {"counter": ("_total",), "histogram": ("_bucket", "_sum", "_count"), "gauge": ("",), "info": ("_info",)}
OF_PROMETHEUS = {"job", "instance", "le"}

SERIES = re.compile(r"\b(talkbot_\w+)(?:\{([^}]*)\})?")
MATCHER = re.compile(r'(\w+)\s*(?:=~|!~|!=|=)\s*"([^"]*)"')
GROUPING = re.compile(r"\b(?:by|without)\s*\(([^)]*)\)")


def shown() -> Iterator[MetricWrapperBase]:
    """Every metric of ours."""
    nobody = cast("Any", None)
    exposition = Exposition(jobs=nobody, updates=nobody, alarms=nobody, workers=[], health=nobody, clock=Clock())
    for holder in (metrics, exposition):
        yield from (thing for thing in vars(holder).values() if isinstance(thing, MetricWrapperBase))


METRICS = {
    name + suffix: metric
    for metric in shown()
    for family in metric.describe()
    for name in (family.name,)
    for suffix in SUFFIXES[family.type]
}
LABELS = {name: {*metric._labelnames, *OF_PROMETHEUS} for name, metric in METRICS.items()}
LABELS["talkbot_build_info"].add("version")


def rules() -> list[dict[str, Any]]:
    alerts = yaml.safe_load((DEPLOY / "prometheus" / "alerts.yml").read_text(encoding="utf-8"))
    return [rule for group in alerts["groups"] for rule in group["rules"]]


def dashboard() -> dict[str, Any]:
    board: dict[str, Any] = json.loads((DEPLOY / "grafana" / "dashboard.json").read_text(encoding="utf-8"))
    return board


def expressions() -> list[str]:
    panels = [target["expr"] for panel in dashboard()["panels"] for target in panel.get("targets", [])]
    return [*panels, *(rule["expr"] for rule in rules())]


@pytest.mark.parametrize("expression", expressions())
def test_what_is_asked_for_is_shown(expression: str) -> None:
    """Each name, each label, and each value of a label whose values are known from the start."""
    known = set(OF_PROMETHEUS)
    for name, matchers in SERIES.findall(expression):
        assert name in METRICS
        known |= LABELS[name]
        for label, wanted in MATCHER.findall(matchers):
            assert label in LABELS[name], label
            values = known_values(METRICS[name], label)
            assert not values or set(wanted.split("|")) <= values, wanted
    asked = {label.strip() for labels in GROUPING.findall(expression) for label in labels.split(",")}
    assert asked <= known


def known_values(metric: MetricWrapperBase, label: str) -> set[str]:
    """The values that were set up beforehand: only of metrics with this one label."""
    if metric._labelnames != (label,) or metric not in (metrics.CREATE_CALLS, metrics.CALLBACKS, metrics.DELIVERIES):
        return set()
    return {values[0] for values in metric._metrics}


def test_every_metric_is_on_the_dashboard() -> None:
    asked = {METRICS[name] for expression in expressions() for name, _ in SERIES.findall(expression)}

    assert asked == set(METRICS.values())


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: str(rule["alert"]))
def test_an_alert_says_what_is_wrong_and_where_to_read_on(rule: dict[str, Any]) -> None:
    kebab = re.sub(r"(?<=[a-z])(?=[A-Z])", "-", rule["alert"]).lower()

    assert set(rule["annotations"]) == {"summary", "description", "runbook"}
    assert rule["annotations"]["runbook"] == f"docs/operations.md#{kebab}"
    assert rule["labels"]["severity"] in {"critical", "warning"}


def test_the_dashboard_can_be_imported_anywhere() -> None:
    """It names no data source of its own, and no two panels lie upon each other."""
    board = dashboard()
    places = [panel["gridPos"] for panel in board["panels"]]

    assert {variable["type"] for variable in board["templating"]["list"]} == {"datasource", "query"}
    assert {panel["datasource"]["uid"] for panel in board["panels"] if "datasource" in panel} == {"${datasource}"}
    assert len({panel["id"] for panel in board["panels"]}) == len(board["panels"])
    taken = [
        (x, y) for at in places for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])
    ]
    assert len(set(taken)) == len(taken)
    assert max(x for x, _ in taken) < 24


def test_the_example_asks_our_path_with_a_token_and_loads_the_alerts() -> None:
    example = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yml").read_text(encoding="utf-8"))
    (job,) = example["scrape_configs"]

    assert (job["job_name"], job["metrics_path"], job["authorization"]["type"]) == ("talkbot", "/metrics", "Bearer")
    assert all((DEPLOY / "prometheus" / name).is_file() for name in example["rule_files"])


def test_the_alert_for_a_refused_account_knows_all_codes() -> None:
    (expression,) = (rule["expr"] for rule in rules() if rule["alert"] == "TalkbotAkoolRefuses")
    (codes,) = (wanted for label, wanted in MATCHER.findall(expression) if label == "code")

    assert set(codes.split("|")) == metrics.ACCOUNT_CODES


def test_the_version_is_the_projects() -> None:
    project = (DEPLOY.parent / "pyproject.toml").read_text(encoding="utf-8")

    assert f'version = "{VERSION}"' in project
