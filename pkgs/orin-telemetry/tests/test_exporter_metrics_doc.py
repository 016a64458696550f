"""docs/telemetry-metrics.md names every metric, and none that does not exist."""

import importlib
import pkgutil
import re
from collections.abc import Iterator
from pathlib import Path

from orin_telemetry import collectors, scrape
from orin_telemetry.metric import Family

REFERENCE = Path(__file__).parents[3] / "docs/telemetry-metrics.md"


def families() -> Iterator[Family]:
    """Every description of a metric that a module of the exporter holds."""
    modules = [scrape] + [
        importlib.import_module(f"{collectors.__name__}.{module.name}")
        for module in pkgutil.iter_modules(collectors.__path__)
    ]
    for module in modules:
        for value in vars(module).values():
            for item in value.values() if isinstance(value, dict) else [value]:
                if isinstance(item, Family):
                    yield item


def test_the_reference_is_complete_and_true() -> None:
    rows = re.findall(
        r"^\| `(jetson_\w+)` \| (.*?) \| (.*?) \|", REFERENCE.read_text(), re.MULTILINE
    )
    written = {name: (re.findall(r"`(\w+)`", labels), text) for name, labels, text in rows}
    assert len(rows) == len(written), "a metric twice"
    build_info = written.pop("jetson_exporter_build_info")
    assert build_info[0] == ["version", "python"]
    existing = {
        family.name: (list(family.labels), family.help.rstrip(".")) for family in families()
    }
    assert len(existing) > 60
    assert written == existing


def test_names_keep_to_the_rules() -> None:
    """Prometheus' naming: the unit at the end, counters end in _total, nothing else does."""
    for family in set(families()):
        assert re.fullmatch(r"jetson_[a-z0-9_]+[a-z]", family.name)
        assert (family.kind == "counter") == family.name.endswith("_total"), family.name
        assert family.help.endswith("."), family.name
        assert len(set(family.labels)) == len(family.labels)
        assert not {"instance", "job", "le", "quantile"} & set(family.labels)
    by_name: dict[str, Family] = {}
    for family in families():  # one metric, one description, whoever fills it
        assert by_name.setdefault(family.name, family) == family
