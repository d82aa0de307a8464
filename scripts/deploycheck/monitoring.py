"""Rules and dashboard: each metric that they ask for is one that the program exposes."""

import json
import re
from collections.abc import Callable, Iterator
from typing import Any

import yaml

from scripts.deploycheck.program import DEPLOY, metrics

PROMETHEUS = DEPLOY / "prometheus"
DASHBOARD = DEPLOY / "grafana" / "hub.json"
_NAME = re.compile(r"\b((?:hub|process)[_:][a-z0-9_:]+)")
_STRING = re.compile(r'"(?:[^"\\]|\\.)*"')
WANTED = {
    "HubRequestErrors": "> 0.05",
    "HubHandlingSlow": "> 0.5",
    "HubTurnsSlow": "> 5",
    "HubProcessorFull": "> 0.8",
    "HubCacheCold": "< 0.5",
    "HubModelUnreliable": "< 0.995",
    "HubTurnsWait": "> 30",
    "HubDeadLetters": "> 0",
    "HubWorkerDied": "> 0",
}
"""What has to be noticed, and from where on."""


def rules(name: str) -> list[dict[str, Any]]:
    """The rules of a file, whatever their group."""
    found = yaml.safe_load((PROMETHEUS / name).read_text(encoding="utf-8"))
    return [rule for group in found["groups"] for rule in group["rules"]]


def recorded() -> set[str]:
    """Names that the recording rules make."""
    return {rule["record"] for rule in rules("recording.rules.yaml")}


def names(expression: str) -> set[str]:
    """The metrics that a query asks for."""
    return set(_NAME.findall(_STRING.sub('""', expression)))


def unknown(expression: str) -> set[str]:
    """Names in a query that nothing exposes or records."""
    return names(expression) - metrics() - recorded()


def alerting() -> Iterator[str]:
    """Alerts and recordings ask for what there is, and alerts say what to do."""
    for rule in rules("recording.rules.yaml"):
        for name in sorted(unknown(rule["expr"])):
            yield f"recording {rule['record']}: nothing exposes {name}"
    alerts = {rule["alert"]: rule for rule in rules("alerts.rules.yaml")}
    for title, rule in alerts.items():
        for name in sorted(unknown(rule["expr"])):
            yield f"alert {title}: nothing exposes {name}"
        if (
            rule["labels"].get("severity") not in {"page", "ticket"}
            or not {"summary", "action"} <= rule["annotations"].keys()
        ):
            yield f"alert {title}: it does not say how grave it is, or what to do"
    for title, limit in WANTED.items():
        if limit not in alerts.get(title, {"expr": ""})["expr"]:
            yield f"alert {title}: missing, or not at {limit}"
    tested = {test["name"] for test in yaml.safe_load((PROMETHEUS / "alerts.test.yaml").read_text())["tests"]}
    for title in sorted(alerts.keys() - tested):
        yield f"alert {title}: alerts.test.yaml does not try it"


def scraping() -> Iterator[str]:
    """The scrape configuration loads the rules and names the job that they name."""
    found = yaml.safe_load((PROMETHEUS / "prometheus.yaml").read_text(encoding="utf-8"))
    for name in found["rule_files"]:
        if not (PROMETHEUS / name).exists():
            yield f"prometheus.yaml: no file {name}"
    if "hub" not in {job["job_name"] for job in found["scrape_configs"]}:
        yield "prometheus.yaml: no job named hub"


def dashboard() -> Iterator[str]:
    """Each panel asks for what there is, and no two have one place."""
    found = json.loads(DASHBOARD.read_text(encoding="utf-8"))
    ids = [panel["id"] for panel in found["panels"]]
    if len(ids) != len(set(ids)):
        yield "hub.json: two panels have one id"
    taken: set[tuple[int, int]] = set()
    for panel in found["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        if cells & taken or place["x"] + place["w"] > 24:
            yield f"hub.json: {panel['title']} lies over another panel"
        taken |= cells
        for target in panel.get("targets", ()):
            for name in sorted(unknown(target["expr"])):
                yield f"hub.json: {panel['title']}: nothing exposes {name}"


CHECKS: tuple[Callable[[], Iterator[str]], ...] = (alerting, scraping, dashboard)
