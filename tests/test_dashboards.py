"""The dashboards, read as Grafana reads them: layout, names, units, links and queries."""

import json
import re
from itertools import combinations
from pathlib import Path
from typing import Any

import dashboard_queries
import pytest
import yaml
from dashboard_queries import Dashboard, Query, panels, queries
from telemetry_support import exported, promtool

DASHBOARDS = dashboard_queries.dashboards()
RULES = Path(__file__).parent.parent / "modules" / "telemetry" / "rules" / "recording.yml"

#: What the exporter offers and no dashboard shows, and why.
NOT_SHOWN = {
    "jetson_cpu_frequency_available_max_hertz": "what a core could do; the present limit is shown",
    "jetson_cpu_frequency_min_hertz": "a lower limit of the clock holds nothing back",
    "jetson_engine_frequency_min_hertz": "a lower limit of the clock holds nothing back",
    "jetson_gpu_frequency_available_min_hertz": "what the GPU could do; the present limit is shown",
}

#: Names that other programs export: node_exporter, the Python client, Prometheus itself.
FOREIGN = re.compile(r"up|ALERTS|(node|process|prometheus|scrape)_\w+")

#: Panel types without a number, a query or a unit of their own.
WITHOUT_DATA = {"row", "text"}


def metrics(expr: str) -> set[str]:
    """The metric names in a PromQL expression: what is no label, function, keyword or number."""
    bare = re.sub(r'"(?:\\.|[^"\\])*"|\{[^}]*\}|\[[^\]]*\]', "", expr.replace('{"', "{"))
    bare = re.sub(r"\b(by|on|without|ignoring|group_left|group_right)\s*\([^)]*\)", "", bare)
    names = re.findall(r"(?<![\w.:])[a-zA-Z_:][\w:]*(?!\s*\()\b(?!\s*\()", bare)
    return set(names) - {"and", "or", "unless", "bool", "offset", "by", "on"}


def recorded() -> set[str]:
    groups = yaml.safe_load(RULES.read_text("utf-8"))["groups"]
    return {rule["record"] for group in groups for rule in group["rules"]}


def place(query: Query) -> str:
    return f"{query.dashboard} / {query.place} {query.ref}".rstrip()


@pytest.fixture(params=DASHBOARDS, ids=lambda name: str(name).removesuffix(".json"))
def dashboard(request: pytest.FixtureRequest) -> Dashboard:
    return DASHBOARDS[request.param]


@pytest.fixture
def data_panels(dashboard: Dashboard) -> list[dict[str, Any]]:
    return [panel for panel in panels(dashboard) if panel["type"] not in WITHOUT_DATA]


def test_there_are_seven() -> None:
    assert set(DASHBOARDS) == {
        "exporter.json",
        "fleet.json",
        "memory-engines.json",
        "mission-control.json",
        "power.json",
        "system.json",
        "thermals.json",
    }


@pytest.mark.parametrize("key", ["uid", "title"])
def test_uids_and_titles_are_unique(key: str) -> None:
    values = [dashboard[key] for dashboard in DASHBOARDS.values()]
    assert len(set(values)) == len(values)


@pytest.mark.parametrize("name", DASHBOARDS)
def test_no_key_is_given_twice_in_a_file(name: str) -> None:
    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        keys = [key for key, _ in pairs]
        assert len(set(keys)) == len(keys), keys
        return dict(pairs)

    json.loads((dashboard_queries.FOLDER / name).read_text("utf-8"), object_pairs_hook=unique)


def test_belongs_to_the_set(dashboard: Dashboard) -> None:
    assert dashboard["uid"].startswith("orinix-")
    assert dashboard["tags"] == ["orinix"]
    assert dashboard["refresh"] == "5s"
    assert dashboard["time"] == {"from": "now-15m", "to": "now"}
    assert [link["tags"] for link in dashboard["links"]] == [["orinix"]]
    assert {note["name"] for note in dashboard["annotations"]["list"]} == {"Power mode", "Alerts"}
    assert "id" not in dashboard, "an id is the database's"


def test_asks_for_data_source_and_board(dashboard: Dashboard) -> None:
    variables = {variable["name"]: variable for variable in dashboard["templating"]["list"]}
    assert variables["datasource"]["type"] == "datasource"
    assert variables["datasource"]["query"] == "prometheus"
    (board,) = variables.keys() & {"instance", "boards"}
    assert re.fullmatch(r"label_values\(\w+, instance\)", variables[board]["query"]["query"])
    assert variables[board].get("includeAll", False) == (board == "boards")


def test_a_variable_that_links_carry_along_means_the_same_everywhere() -> None:
    """A link hands over values by name: "All" is none where one board is asked for."""
    kinds = {
        (variable["name"], variable.get("multi", False), variable.get("includeAll", False))
        for dashboard in DASHBOARDS.values()
        for variable in dashboard["templating"]["list"]
    }
    assert len(kinds) == len({name for name, *_ in kinds}), sorted(kinds)


def test_every_panel_explains_itself(data_panels: list[dict[str, Any]]) -> None:
    for panel in data_panels:
        assert panel["title"]
        assert panel["description"].endswith("."), panel["title"]
        assert panel["targets"], panel["title"]
        assert panel["fieldConfig"]["defaults"]["unit"], panel["title"]


def test_panels_are_told_apart_by_title_and_id(dashboard: Dashboard) -> None:
    for key in ("title", "id"):
        values = [panel[key] for panel in panels(dashboard)]
        assert len(set(values)) == len(values), key


def test_every_data_source_is_the_chosen_one(dashboard: Dashboard) -> None:
    chosen = {"type": "prometheus", "uid": "${datasource}"}
    sources = [panel["datasource"] for panel in panels(dashboard) if panel["type"] != "row"]
    sources += [note["datasource"] for note in dashboard["annotations"]["list"]]
    sources += [
        variable["datasource"]
        for variable in dashboard["templating"]["list"]
        if variable["type"] == "query"
    ]
    sources += [
        target["datasource"]
        for panel in panels(dashboard)
        for target in panel.get("targets", [])
        if "datasource" in target
    ]
    assert all(source == chosen for source in sources)


def test_panels_stay_on_the_grid_and_do_not_overlap(dashboard: Dashboard) -> None:
    def overlap(a: dict[str, int], b: dict[str, int]) -> bool:
        return (
            a["x"] < b["x"] + b["w"]
            and b["x"] < a["x"] + a["w"]
            and a["y"] < b["y"] + b["h"]
            and b["y"] < a["y"] + a["h"]
        )

    open_panels = dashboard["panels"]
    rows = [panel["panels"] for panel in open_panels if panel.get("panels")]
    for together in [open_panels, *rows]:
        for panel in together:
            grid = panel["gridPos"]
            assert grid["x"] >= 0
            assert grid["w"] > 0
            assert grid["x"] + grid["w"] <= 24, panel["title"]
        for one, other in combinations(together, 2):
            assert not overlap(one["gridPos"], other["gridPos"]), (one["title"], other["title"])


def test_overrides_and_transformations_name_queries_that_exist(
    data_panels: list[dict[str, Any]],
) -> None:
    for panel in data_panels:
        refs = {target["refId"] for target in panel["targets"]}
        assert len(refs) == len(panel["targets"]), panel["title"]
        for override in panel["fieldConfig"]["overrides"]:
            if override["matcher"]["id"] == "byFrameRefID":
                assert override["matcher"]["options"] in refs, panel["title"]
        for transformation in panel.get("transformations", []):
            options = transformation["options"]
            assert options.get("configRefId", "A") in refs, panel["title"]
            for name in options.get("renameByName", {}):
                if name.startswith("Value #"):
                    assert name.removeprefix("Value #") in refs, panel["title"]


def test_tables_style_columns_that_exist(data_panels: list[dict[str, Any]]) -> None:
    for panel in data_panels:
        if panel["type"] == "table":
            (organize,) = [t for t in panel["transformations"] if t["id"] == "organize"]
            columns = set(organize["options"]["renameByName"].values())
            styled = {o["matcher"]["options"] for o in panel["fieldConfig"]["overrides"]}
            assert styled <= columns, panel["title"]
            assert {sort["displayName"] for sort in panel["options"].get("sortBy", [])} <= columns


def test_a_number_of_now_is_asked_now(data_panels: list[dict[str, Any]]) -> None:
    """Over a range, a sensor that fell silent would still show its last value."""
    for panel in data_panels:
        if panel["type"] in {"stat", "gauge", "bargauge", "table"}:
            assert all(target.get("instant") for target in panel["targets"]), panel["title"]
            assert panel["fieldConfig"]["defaults"]["noValue"], panel["title"]


def test_bars_of_events_count_each_once(data_panels: list[dict[str, Any]]) -> None:
    """Windows wider than the step between two points would overlap."""
    for panel in data_panels:
        for target in panel["targets"]:
            windows = set(re.findall(r"increase\([^\[]*\[([^\]]+)\]", target["expr"]))
            if windows and not target.get("instant"):
                assert windows <= {"$__interval", panel["interval"]}, panel["title"]


def test_links_lead_to_dashboards_that_exist() -> None:
    uids = {dashboard["uid"] for dashboard in DASHBOARDS.values()}
    linked = {
        uid
        for dashboard in DASHBOARDS.values()
        for uid in re.findall(r'"/d/([\w-]+)', json.dumps(dashboard))
    }
    assert "orinix-mission-control" in linked
    assert linked <= uids


def test_privileged_metrics_wait_in_a_closed_row() -> None:
    privileged = {
        "jetson_nvmap_bytes",
        "jetson_nvmap_client_bytes",
        "jetson_emc_frequency_hertz",
        "jetson_emc_utilization_ratio",
        "jetson_engine_load_ratio",
    }
    for dashboard in DASHBOARDS.values():
        for panel in dashboard["panels"]:
            used = {name for t in panel.get("targets", []) for name in metrics(t["expr"])}
            assert not used & privileged, panel["title"]
            if any(
                metrics(target["expr"]) & privileged
                for inner in panel.get("panels", [])
                for target in inner["targets"]
            ):
                assert panel["collapsed"]
                assert "--collector." in panel["title"]


@pytest.mark.parametrize(
    ("expr", "names"),
    [
        ('rate(a_total{x="b",y=~"c|d"}[1m]) / 2', {"a_total"}),
        ("1 - sum by (instance) (a) / on (instance) (b > 0)", {"a", "b"}),
        ('(a unless a offset 15s) and on (instance) max(b{c="}"})', {"a", "b"}),
        ("topk(5, instance:a:max) or vector(0)", {"instance:a:max"}),
    ],
)
def test_finds_the_metrics_of_an_expression(expr: str, names: set[str]) -> None:
    assert metrics(expr) == names


def test_every_metric_is_one_that_something_exports() -> None:
    known = exported() | recorded()
    unknown = {
        f"{place(query)}: {name}"
        for query in queries()
        for name in metrics(query.expr)
        if name not in known and not FOREIGN.fullmatch(name)
    }
    assert not unknown


def test_every_recording_rule_is_shown() -> None:
    shown = {name for query in queries() for name in metrics(query.expr)}
    assert recorded() <= shown


def test_everything_exported_is_shown_or_has_a_reason() -> None:
    rules = yaml.safe_load(RULES.read_text("utf-8"))["groups"]
    shown = {name for query in queries() for name in metrics(query.expr)}
    for group in rules:
        for rule in group["rules"]:
            if rule["record"] in shown:
                shown |= metrics(rule["expr"])
    assert exported() - shown == NOT_SHOWN.keys()


def test_every_exemption_is_of_a_metric_in_use() -> None:
    used = {name for query in queries() for name in metrics(query.expr)}
    for prefix in dashboard_queries.MAY_BE_ABSENT:
        assert any(name.startswith(prefix) for name in used), prefix


def test_every_variable_is_substituted() -> None:
    assert [place(query) for query in queries() if "$" in query.expr] == []


def test_prometheus_parses_every_query(tmp_path: Path) -> None:
    rules = [
        {"record": "query", "expr": query.expr, "labels": {"place": place(query)}}
        for query in dict.fromkeys(queries("board-1"))
    ]
    file = tmp_path / "queries.yml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "dashboards", "rules": rules}]}))
    found = promtool("check", "rules", "--lint=none", file)
    assert f"{len(rules)} rules found" in found


MODE_ID = 'jetson_power_mode_id{instance="a"}'
MODE_0 = 'jetson_power_mode_info{instance="a", id="0", mode="MAXN"}'
MODE_2 = 'jetson_power_mode_info{instance="a", id="2", mode="MODE_30W"}'
TO_MODE_2 = {'jetson_power_mode_info{instance="a", id="2", mode="MODE_30W"}': 1.0}
DEAD = {'up{job="jetson", instance="a"}': "1x40", 'up{job="jetson", instance="b"}': "1x9 stale"}


@pytest.mark.parametrize(
    ("title", "name", "series", "at", "answer"),
    [
        pytest.param(
            "Fleet",
            "Power mode",
            {MODE_ID: "0x9 2x30", MODE_0: "1x9 stale", MODE_2: "_x10 1x30"},
            "2m30s",
            TO_MODE_2,
            id="a mode set at once",
        ),
        pytest.param(
            "Fleet",
            "Power mode",
            {MODE_ID: "0x9 stale _x11 2x30", MODE_0: "1x9 stale", MODE_2: "_x22 1x30"},
            "5m30s",
            TO_MODE_2,
            id="a mode set by a reboot",
        ),
        pytest.param(
            "Fleet",
            "Power mode",
            {MODE_ID: "0x9 stale _x11 0x30", MODE_0: "1x9 stale _x11 1x30"},
            "5m30s",
            {},
            id="a reboot in the same mode",
        ),
        pytest.param(
            "Fleet",
            "Power mode",
            {MODE_ID: "0x9 2x30", MODE_0: "1x9 stale", MODE_2: "_x10 1x30"},
            "2m45s",
            {},
            id="one mark for one change",
        ),
        pytest.param(
            "Fleet", "Boards answering A", DEAD, "10m", {"{}": 1.0}, id="a dead board answers not"
        ),
        pytest.param(
            "Fleet", "Boards answering B", DEAD, "10m", {"{}": 2.0}, id="a dead board is known"
        ),
        pytest.param(
            "Fleet",
            "Boards A",
            DEAD,
            "10m",
            {'{instance="a"}': 1.0, '{instance="b"}': 0.0},
            id="a dead board stays in the table",
        ),
        pytest.param(
            "Exporter and collector health",
            "Exporter CPU A",
            {
                'process_cpu_seconds_total{job="jetson", instance="a"}': "0+0.06x40",
                'process_cpu_seconds_total{job="jetson", instance="b"}': "0+0.03x40",
            },
            "10m",
            {"{}": 0.004},
            id="two thrifty exporters are no busy one",
        ),
        pytest.param(
            "Power and energy",
            "Over-current events over time A",
            {'jetson_overcurrent_events_total{instance="a", oc="oc1"}': "0x9 3x30"},
            "3m",
            {'{instance="a", oc="oc1"}': 3.0},
            id="events of this minute",
        ),
        pytest.param(
            "Power and energy",
            "Over-current events over time A",
            {'jetson_overcurrent_events_total{instance="a", oc="oc1"}': "0x9 3x30"},
            "4m",
            {'{instance="a", oc="oc1"}': 0.0},
            id="not counted again",
        ),
        pytest.param(
            "Thermals and throttling",
            "Hottest NVMe sensor B",
            {
                'jetson_nvme_celsius{instance="a", sensor="c"}': "60x40",
                'jetson_nvme_celsius{instance="a", sensor="1"}': "70x40",
                'jetson_nvme_limit_celsius{instance="a", sensor="c", level="max"}': "82x40",
                'jetson_nvme_limit_celsius{instance="a", sensor="1", level="max"}': "95x40",
                'jetson_nvme_limit_celsius{instance="a", sensor="c", level="crit"}': "65x40",
            },
            "5m",
            {"{}": 22.0},
            id="headroom of the sensor nearest its own limit",
        ),
    ],
)
def test_a_query_answers_as_it_should(
    tmp_path: Path, title: str, name: str, series: dict[str, str], at: str, answer: dict[str, float]
) -> None:
    (expr,) = (query.expr for query in queries() if place(query) == f"{title} / {name}")
    case = {
        "expr": f"round({expr}, 0.001)" if "rate(" in expr else expr,
        "eval_time": at,
        "exp_samples": [{"labels": labels, "value": value} for labels, value in answer.items()],
    }
    inputs = [{"series": labels, "values": values} for labels, values in series.items()]
    group = {"interval": "15s", "input_series": inputs, "promql_expr_test": [case]}
    file = tmp_path / "test.yml"
    file.write_text(yaml.safe_dump({"evaluation_interval": "15s", "tests": [group]}))
    assert "SUCCESS" in promtool("test", "rules", file)
