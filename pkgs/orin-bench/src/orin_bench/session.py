"""A benchmark's run: what is printed and written of it."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from orin_bench.roofline import Roofline
from orin_core.conditions import Watch, warnings
from orin_core.machine import facts
from orin_core.result import write_json
from orin_core.table import Table
from orin_core.timing import Timing

SCHEMA = 1
# Of the machine's facts, those that people want to see above a table.
SHOWN = ("machine", "gpu", "cpu")
VERSIONS = {"driver": "driver", "l4t": "", "kernel": "Linux", "python": "Python"}
VERSIONS |= {"tinygrad": "tinygrad", "torch": "PyTorch", "commit": "commit"}


class Session:
    """Prints Markdown: the machine and its conditions, a table row by row, warnings at the end.

    `columns` maps each of the table's headings to the widest text expected in it; `settings` are
    the options that hold for all rows. `document` is what the file `json` holds after every row,
    whole. All figures in it are in SI units; the cells printed are the benchmark's.
    """

    def __init__(
        self,
        benchmark: str,
        columns: dict[str, int],
        *,
        json: Path | None,
        settings: dict[str, Any],
        rooflines: Sequence[Roofline],
    ) -> None:
        self._json, self._watch = json, Watch()
        before = self._watch.before
        self.document: dict[str, Any] = {
            "schema": SCHEMA,
            "benchmark": benchmark,
            "machine": facts(),
            "settings": settings,
            "rooflines": [asdict(roofline) for roofline in rooflines],
            "conditions": {"before": asdict(before), "after": None, "warnings": []},
            "rows": [],
        }
        print(f"# {benchmark}\n")
        print(f"- Machine: {_machine(self.document['machine'])}")
        print(f"- Settings: {', '.join(f'{name} {value}' for name, value in settings.items())}")
        print(f"- Conditions: {before}")
        for roofline in rooflines:
            print(f"- {roofline.device}: {roofline}")
        print()
        self._table = Table(columns)

    def add(
        self,
        case: dict[str, Any],
        engine: str,
        timing: Timing,
        cells: Sequence[str],
        **figures: Any,
    ) -> None:
        """Print a row's `cells`, and write what was measured with its `figures`.

        A row's identity is the benchmark, its `case` and its `engine`.
        """
        self._table.row(cells)
        self.document["rows"].append(
            {
                "case": case,
                "engine": engine,
                "median_seconds": timing.median,
                "p95_seconds": timing.p95,
                "spread": timing.spread,
                **figures,
                "seconds": timing.seconds,
            }
        )
        self._write()

    def close(self) -> None:
        """Read the conditions again; print and write what makes the figures doubtful."""
        after = self._watch.stop()
        found = warnings(self._watch.before, after)
        self.document["conditions"] |= {"after": asdict(after), "warnings": found}
        if found:
            print()
        for warning in found:
            print(f"- Warning: {warning}", flush=True)
        self._write()

    def _write(self) -> None:
        if self._json:
            write_json(self._json, self.document)


def _machine(facts: dict[str, str]) -> str:
    shown = [facts[name] for name in SHOWN if name in facts]
    versions = [f"{word} {facts[name]}".strip() for name, word in VERSIONS.items() if name in facts]
    return ", ".join([*shown, *versions])
