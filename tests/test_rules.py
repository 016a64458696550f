"""The rules of modules/telemetry/rules: what promtool says, and that nothing is left out."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from telemetry_support import exported, promtool

ROOT = Path(__file__).parent.parent
RULES = ROOT / "modules/telemetry/rules"
TESTS = sorted((RULES / "tests").glob("*.yml"))

EXPORTED = exported()


def rules(file: str) -> list[dict[str, Any]]:
    groups = yaml.safe_load((RULES / file).read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


ALERTS = {rule["alert"]: rule for rule in rules("alerts.yml")}
RECORDS = {rule["record"]: rule for rule in rules("recording.yml")}
EVERY = [*ALERTS.items(), *RECORDS.items()]


GROUPS = [group for file in TESTS for group in yaml.safe_load(file.read_text())["tests"]]


def cases(kind: str) -> list[dict[str, Any]]:
    """All cases of `kind`, alert_rule_test or promql_expr_test, of all test files."""
    return [case for group in GROUPS for case in group.get(kind, [])]


@pytest.mark.parametrize("file", ["recording.yml", "alerts.yml"])
def test_promtool_accepts_the_rules(file: str) -> None:
    found = promtool("check", "rules", "--lint-fatal", RULES / file)
    assert f"{len(rules(file))} rules found" in found


@pytest.mark.parametrize("file", TESTS, ids=lambda file: file.stem)
def test_rules_fire_and_record_as_their_tests_say(file: Path) -> None:
    assert "SUCCESS" in promtool("test", "rules", file)


@pytest.mark.parametrize("alert", ALERTS)
def test_an_alert_is_shown_to_fire_and_not_to_fire(alert: str) -> None:
    shown = [case for case in cases("alert_rule_test") if case["alertname"] == alert]
    assert {bool(case["exp_alerts"]) for case in shown} == {True, False}


@pytest.mark.parametrize("record", RECORDS)
def test_a_recording_rule_is_shown_with_its_value(record: str) -> None:
    shown = [case for case in cases("promql_expr_test") if record in case["expr"]]
    assert any(case["exp_samples"] for case in shown)


@pytest.mark.parametrize(("name", "rule"), EVERY)
def test_a_rule_asks_for_metrics_that_exist_and_of_one_job(name: str, rule: dict[str, Any]) -> None:
    expression = rule["expr"]
    selectors = re.findall(r"\b(\w+:jetson_[\w:]+|jetson_\w+|up)\b(\{job=)?", expression)
    assert selectors
    for metric, job in selectors:
        known = metric in RECORDS or (job and metric in EXPORTED | {"up"})
        assert known, metric


@pytest.mark.parametrize("alert", ALERTS)
def test_an_alert_says_how_bad_it_is_where_and_what_to_do(alert: str) -> None:
    rule = ALERTS[alert]
    assert rule["labels"]["severity"] in {"critical", "warning", "info"}
    summary, description = (rule["annotations"][key] for key in ("summary", "description"))
    assert summary.startswith("{{ $labels.instance }}: ")
    assert "\n" not in summary
    assert "$value" in description


def test_the_table_of_alerts_has_them_all_and_no_other() -> None:
    table = (ROOT / "docs/telemetry-alerts.md").read_text()
    rows = dict(re.findall(r"^\| `(\w+)` \| (\w+) \|", table, re.MULTILINE))
    assert rows == {name: rule["labels"]["severity"] for name, rule in ALERTS.items()}
