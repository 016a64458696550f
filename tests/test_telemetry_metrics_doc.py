"""docs/telemetry-metrics.md names every metric, and none that does not exist."""

import re
from pathlib import Path

from telemetry_support import families

from orin_telemetry.metric import Family

REFERENCE = Path(__file__).parent.parent / "docs/telemetry-metrics.md"


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
