"""What differs between two sides of a comparison besides the program."""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from orin_bench.compare.result_file import Result

GROUPS = ("machine", "settings", "conditions")
HARDWARE = ("machine", "compatible", "cpu", "gpu")  # of orin_core.machine.facts
COUNTERS = ("throttle_counts",)  # of the conditions; they count from the machine's start
TOLERANCE = 0.05  # of readings: clocks, temperatures and bandwidths are never twice the same
LONGEST = 80
PREFIXES = ((1e9, " G"), (1e6, " M"))
COPIES = "bytes/s of copies"


@dataclass(frozen=True)
class Difference:
    """A fact in which the sides differ, as text; "-" where a side does not tell it."""

    group: str
    name: str
    before: str
    after: str

    @property
    def warning(self) -> str | None:
        """What this difference says against the comparison."""
        values = f"{self.name} {self.before} before, {self.after} after"
        if self.group == "machine" and self.name in HARDWARE:
            return f"{values}: this compares machines as well"
        if self.group == "conditions" and self.name.startswith(COPIES):
            return f"{values}: the machine itself was not equally fast"
        return None


def differences(before: Sequence[Result], after: Sequence[Result]) -> list[Difference]:
    """The facts of machine, settings and conditions that are not the same on both sides."""
    sides = [[dict(_facts(run.header)) for run in side] for side in (before, after)]
    keys = dict.fromkeys(key for side in sides for facts in side for key in facts)
    found = []
    for key in sorted(keys, key=lambda key: GROUPS.index(key[0])):
        values = [[facts.get(key) for facts in side] for side in sides]
        if not _alike(key[0], *values):
            found.append(Difference(*key, *map(_text, values)))
    return found


def recorded_warnings(run: Result) -> list[str]:
    """What the benchmark itself found doubtful while it measured."""
    warnings = dict(_items(run.header.get("conditions"))).get("warnings")
    return [_text([warning]) for warning in warnings] if isinstance(warnings, list) else []


def _facts(header: Mapping[str, Any]) -> Iterator[tuple[tuple[str, str], Any]]:
    """Group and name of every fact, and its value."""
    for group in ("machine", "settings"):
        yield from (((group, name), value) for name, value in _items(header.get(group)))
    conditions = dict(_items(header.get("conditions")))
    for key, moment in (("before", "at start"), ("after", "at end")):
        for name, value in _items(conditions.get(key)):
            if name not in COUNTERS:
                yield ("conditions", f"{name} {moment}"), value
    rooflines = header.get("rooflines")
    for roofline in rooflines if isinstance(rooflines, list) else []:
        known = dict(_items(roofline))
        name = f"{COPIES} on {printable(known.get('device'))}"
        yield ("conditions", name), known.get("bandwidth")


def _items(value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        yield from ((printable(name), item) for name, item in value.items())


def _alike(group: str, before: list[Any], after: list[Any]) -> bool:
    numbers = [[v for v in side if _is_number(v)] for side in (before, after)]
    if group == "conditions" and numbers == [before, after]:
        means = [math.fsum(side) / len(side) for side in numbers]
        return math.isclose(*means, rel_tol=TOLERANCE)
    return {printable(v) for v in before} == {printable(v) for v in after}


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e18


def _text(values: list[Any]) -> str:
    """The values of one side's runs, each once."""
    text = ", ".join(dict.fromkeys("-" if v is None else printable(v) for v in values))
    return text if len(text) <= LONGEST else text[: LONGEST - 3] + "..."


def printable(value: Any) -> str:
    """`value` on one line of a table, with nothing in it that a terminal would obey."""
    if isinstance(value, float):
        power, prefix = next((p for p in PREFIXES if abs(value) >= p[0]), (1.0, ""))
        text = f"{value / power:.4g}{prefix}"
    else:
        text = value if isinstance(value, str) else json.dumps(value)
    return text if text.isprintable() else json.dumps(text)
