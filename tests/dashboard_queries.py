"""The queries of the dashboards, as Grafana would send them to Prometheus."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, NamedTuple

Dashboard = dict[str, Any]

FOLDER = Path(__file__).parent.parent / "modules" / "telemetry" / "dashboards"

#: Grafana computes these from the panel's width and the range; short ones suit a short recording.
INTERVALS = {"__rate_interval": "1m", "__range": "15m", "__interval": "15s"}

#: Metrics that a healthy machine may lack, and why. A query of one answers without data there.
MAY_BE_ABSENT = {
    "node_pressure_": "the kernel was built without pressure stall information",
    "node_disk_": "a virtual machine or container may have no disk of its own",
    "node_filesystem_": "node_exporter leaves out a container's overlay filesystem",
}


class Query(NamedTuple):
    """One expression of a dashboard.

    `place` is the title of the panel or annotation, or the name of the variable; `ref` is the
    panel's refId, else empty. An instant query is asked at one moment. All others, annotations
    among them, are asked over a range and have data where any moment of it has.
    """

    dashboard: str
    place: str
    ref: str
    expr: str
    kind: Literal["panel", "annotation", "variable"]
    instant: bool


def dashboards() -> dict[str, Dashboard]:
    """Every dashboard by its file's name."""
    return {
        path.name: json.loads(path.read_text("utf-8")) for path in sorted(FOLDER.glob("*.json"))
    }


def panels(dashboard: Dashboard) -> Iterator[dict[str, Any]]:
    """All panels, rows and the panels inside collapsed rows included."""
    for panel in dashboard["panels"]:
        yield panel
        yield from panel.get("panels", [])


def queries(instance: str = ".+") -> list[Query]:
    """All queries, with every variable substituted; `instance` is a regular expression."""
    return [
        query
        for dashboard in dashboards().values()
        for query in _queries(
            dashboard, _variables(dashboard) | {"instance": instance, "boards": instance}
        )
    ]


def _variables(dashboard: Dashboard) -> dict[str, str]:
    chosen = {
        variable["name"]: variable["query"] if variable["type"] == "textbox" else ".+"
        for variable in dashboard["templating"]["list"]
    }
    return chosen | INTERVALS


def _queries(dashboard: Dashboard, values: dict[str, str]) -> Iterator[Query]:
    title = dashboard["title"]
    for variable in dashboard["templating"]["list"]:
        if variable["type"] == "query":
            metric = re.fullmatch(r"label_values\((.+), \w+\)", variable["query"]["query"])
            assert metric, (
                f"{title}: variable {variable['name']} is not label_values(metric, label)"
            )
            expr = _substitute(metric[1], values)
            yield Query(title, variable["name"], "", expr, "variable", False)
    for annotation in dashboard["annotations"]["list"]:
        expr = _substitute(annotation["expr"], values)
        yield Query(title, annotation["name"], "", expr, "annotation", False)
    for panel in panels(dashboard):
        least = {"__interval": panel["interval"]} if "interval" in panel else {}
        for target in panel.get("targets", []):
            expr = _substitute(target["expr"], values | least)
            instant = target.get("instant", False)
            yield Query(title, panel["title"], target["refId"], expr, "panel", instant)


def _substitute(expr: str, values: dict[str, str]) -> str:
    """`expr` with each $name replaced; a name without a value is a KeyError."""
    return re.sub(r"\$(\w+)", lambda name: values[name[1]], expr)
