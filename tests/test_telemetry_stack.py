"""Prometheus scrapes a board of every scenario: each rule and each dashboard query has data.

One run of some three minutes serves all tests here: rules take minutes of real time to come true.
"""

import os
import re
import shutil
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from dashboard_queries import MAY_BE_ABSENT, Query, queries

from orin_demo.stack import Stack
from orin_telemetry.sim.scenario import SCENARIOS

RULES = Path(__file__).parent.parent / "modules/telemetry/rules"
GROUPS = [
    rule
    for file in sorted(RULES.glob("*.yml"))
    for group in yaml.safe_load(file.read_text())["groups"]
    for rule in group["rules"]
]
GONE = "gone"  # a board whose exporter stops
DEADLINE_S = 300

#: the scenario made for each alert
FIRES_ON = {
    "JetsonTargetDown": GONE,
    "JetsonCollectorFailing": "sensor-loss",
    "JetsonSensorLost": "sensor-loss",
    "JetsonThrottling": "thermal-runaway",
    "JetsonThermalHeadroomLow": "thermal-runaway",
    "JetsonThermalShutdownNear": "thermal-runaway",
    "JetsonHotSurface": "thermal-runaway",
    "JetsonFanStalled": "fan-stall",
    "JetsonOverCurrent": "brown-out",
    "JetsonRailNearLimit": "brown-out",
    "JetsonRailAlarm": "brown-out",
    "JetsonSwapThrashing": "swap-thrash",
    "JetsonGpuStuckLow": "gpu-stuck",
    "JetsonClocksUnlocked": "mode-change",
    "JetsonPowerModeUnexpected": "mode-change",
}
#: boards that work hard and well
HEALTHY = {"idle", "llm-decode", "training"}


@dataclass
class Run:
    """The stack, still up, when its run began, and the alerts that have fired by name."""

    stack: Stack
    began: float
    fired: dict[str, set[str]]

    def ask(self, query: Query) -> list[dict[str, Any]]:
        """Prometheus' answer to a dashboard's query: at this moment, or over the whole run."""
        now = time.time()
        if query.instant:
            answer = self.stack.query("query", query=query.expr, time=str(now))
        else:
            answer = self.stack.query(
                "query_range", query=query.expr, start=str(self.began), end=str(now), step="15"
            )
        result = answer["result"]
        assert isinstance(result, list)
        return result


@pytest.fixture(scope="module")
def run() -> Iterator[Run]:
    for program in ("prometheus", "prometheus-node-exporter"):
        if not shutil.which(program):
            missing = f"{program} is not installed (Debian: sudo apt install {program})"
            pytest.fail(missing) if os.environ.get("CI") else pytest.skip(missing)
    boards = {scenario: scenario for scenario in SCENARIOS} | {GONE: "idle"}
    with Stack(boards, RULES) as stack:
        began = time.time()
        fired: dict[str, set[str]] = {name: set() for name in FIRES_ON}
        stopped = False
        while time.time() - began < DEADLINE_S:
            if not stopped and time.time() - began > 10:
                stack.processes.pop(f"{GONE}-exporter").terminate()
                stopped = True
            stack.check()
            for alert in stack.query("alerts")["alerts"]:
                if alert["state"] == "firing":
                    labels = alert["labels"]
                    fired.setdefault(labels["alertname"], set()).add(labels["instance"])
            if all(board in fired[name] for name, board in FIRES_ON.items()):
                break
            time.sleep(1)
        yield Run(stack, began, fired)


@pytest.mark.parametrize("name", [rule["alert"] for rule in GROUPS if "alert" in rule])
def test_the_alert_fires_on_the_board_made_for_it(run: Run, name: str) -> None:
    assert FIRES_ON[name] in run.fired[name]


def test_boards_that_work_well_raise_no_alarm(run: Run) -> None:
    alarms = {
        (name, board)
        for name, boards in run.fired.items()
        for board in boards & HEALTHY
        if name != "JetsonHotSurface"  # training may be warm to the touch
    }
    assert alarms == set()


@pytest.mark.parametrize("rule", [rule["record"] for rule in GROUPS if "record" in rule])
def test_the_recording_rule_has_data_of_every_board(run: Run, rule: str) -> None:
    boards = {
        sample["metric"]["instance"] for sample in run.stack.query("query", query=rule)["result"]
    }
    assert boards - {GONE} == SCENARIOS.keys()  # what it told lingers in averages


def test_no_rule_fails(run: Run) -> None:
    groups = run.stack.query("rules")["groups"]
    rules = [rule for group in groups for rule in group["rules"]]
    assert len(rules) == len(GROUPS)
    assert [(rule["name"], rule["lastError"]) for rule in rules if rule["health"] != "ok"] == []


@pytest.mark.parametrize(
    "query", queries(), ids=lambda query: f"{query.dashboard}: {query.place} {query.ref}"
)
def test_the_dashboards_query_has_data(run: Run, query: Query) -> None:
    if run.ask(query):
        return
    assert run.stack.node is not None
    with urllib.request.urlopen(f"{run.stack.node}/metrics") as answer:
        offered = set(re.findall(r"^# TYPE (\S+)", answer.read().decode(), re.MULTILINE))
    wanted = set(re.findall(r"\bnode_\w+", query.expr))
    lacking = {name for name in wanted - offered if name.startswith(tuple(MAY_BE_ABSENT))}
    assert lacking, f"no data: {query.expr}"
    pytest.skip(f"this machine's node_exporter offers no {', '.join(sorted(lacking))}")


def test_a_lost_sensor_is_absent_and_never_a_number(run: Run) -> None:
    lost = 'jetson_thermal_zone_celsius{instance="sensor-loss", zone="gpu"}'
    assert run.stack.query("query", query=lost)["result"] == []
    frozen = "jetson_thermal_zone_celsius <= 0 or jetson_rail_volts <= 0"
    over_run = {"start": str(run.began), "end": str(time.time()), "step": "1"}
    assert run.stack.query("query_range", query=frozen, **over_run)["result"] == []
