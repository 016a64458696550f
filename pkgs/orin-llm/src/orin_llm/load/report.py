"""What is printed and written of a run: the tables, and a file that bench-report compares."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from orin_core.conditions import Watch, warnings
from orin_core.machine import facts
from orin_core.result import write_json
from orin_core.table import Table
from orin_core.timing import Timing
from orin_llm.load.doubts import doubts
from orin_llm.load.figures import PERCENTILES, Figures, summary
from orin_llm.load.server import Server

SCHEMA = 1  # of the benchmarks' files
BENCHMARK = "bench-llm"

# The samples that are times of requests, as a reader calls them. Those of `itl` are too many to
# keep, and their summary is.
KEPT = {"time to first token": "ttft", "time per output token": "tpot", "end to end": "e2el"}
SHOWN = {**KEPT, "inter-token latency": "itl"}
THROUGHPUT = "time over tokens of all streams"


class Report:
    """Prints Markdown: the machine, throughput row by row, at the end latencies and warnings.

    `document` is what the file `json` holds after every row, whole: rows of times in seconds for
    every server, load and figure, and besides them `loads`, with everything that is no time.
    """

    def __init__(
        self,
        command: str,
        servers: Sequence[Server],
        settings: dict[str, Any],
        load: str,
        json: Path | None,
    ) -> None:
        self._json, self._watch, self._load = json, Watch(), load
        self._name = max(len(server.name) for server in servers)
        self._wanted = settings.get("prompt tokens"), settings["output tokens"]
        self._notes: dict[tuple[str, str], list[str]] = {}  # of a server and a doubt, its loads
        before = self._watch.before
        self.document: dict[str, Any] = {
            "schema": SCHEMA,
            "benchmark": BENCHMARK,
            "machine": facts(),
            "settings": settings,
            "servers": [asdict(server) for server in servers],
            "conditions": {"before": asdict(before), "after": None, "warnings": []},
            "loads": [],
            "rows": [],
        }
        machine = self.document["machine"]
        print(f"# {command}\n")
        print(f"- Machine: {', '.join(filter(None, map(machine.get, ('machine', 'gpu', 'cpu'))))}")
        for server in servers:
            print(f"- {server.name}: {server.model} at {server.url}")
        print(f"- Settings: {', '.join(f'{name} {value}' for name, value in settings.items())}")
        print(f"- Conditions: {before}\n")
        columns = {
            "server": self._name,
            load: 0,
            "requests": 0,
            "prompt tokens": 0,
            "output tokens": 0,
            "requests/s": 0,
            "output tok/s": 0,
            "total tok/s": 0,
            "client CPU": 0,
            "client lag ms": 0,
            "errors": 20,
        }
        self._table = Table(columns)

    @property
    def empty(self) -> bool:
        return not self.document["loads"]

    def add(self, server: Server, case: dict[str, float], made: Figures) -> None:
        """Print the throughput of `server` under the load `case`, and write all of its figures."""
        errors = [f"{number} {kind}" for kind, number in made.errors.items()]
        per_request = [
            f"{tokens / made.requests:.1f}" if made.requests else "-"
            for tokens in (made.prompt_tokens, made.output_tokens)
        ]
        self._table.row(
            [
                server.name,
                f"{case[self._load]:g}",
                str(made.requests),
                *per_request,
                f"{made.requests_per_second:.2f}",
                f"{made.output_per_second:.1f}",
                f"{made.total_per_second:.1f}",
                f"{made.overhead.busy:.0%}",
                f"{1e3 * made.overhead.lag:.1f}",
                ", ".join(errors) or "none",
            ]
        )
        summaries = {name: summary(getattr(made, field)) for name, field in SHOWN.items()}
        self.document["loads"].append(
            {
                "server": server.name,
                **case,
                "requests": made.requests,
                "errors": dict(made.errors),
                "seconds": made.seconds,
                "prompt_tokens": made.prompt_tokens,
                "output_tokens": made.output_tokens,
                "chunks": made.chunks,
                "requests_per_second": made.requests_per_second,
                "output_tokens_per_second": made.output_per_second,
                "total_tokens_per_second": made.total_per_second,
                "client_cpu": made.overhead.busy,
                "client_lag_seconds": made.overhead.lag,
                "latencies": summaries,
            }
        )
        samples = {name: getattr(made, field) for name, field in KEPT.items()}
        for name, seconds in {**samples, THROUGHPUT: made.token_seconds}.items():
            self._add_row(case | {"figure": name}, server.name, seconds)
        for doubt in doubts(made, *self._wanted):
            self._notes.setdefault((server.name, doubt), []).append(f"{case[self._load]:g}")
        self._write()

    def _add_row(self, case: dict[str, Any], engine: str, seconds: list[float]) -> None:
        if not seconds:
            return
        timing = Timing(seconds)
        self.document["rows"].append(
            {
                "case": case,
                "engine": engine,
                "median_seconds": timing.median,
                "p95_seconds": timing.p95,
                "spread": timing.spread,
                "seconds": seconds,
            }
        )

    def close(self) -> None:
        """Print the latencies, side by side for each load; then what makes them doubtful."""
        self._print_latencies()
        after = self._watch.stop()
        notes = [
            f"{server} at {self._load} {', '.join(loads)}: {doubt}"
            for (server, doubt), loads in self._notes.items()
        ]
        found = [*notes, *warnings(self._watch.before, after)]
        self.document["conditions"] |= {"after": asdict(after), "warnings": found}
        if found:
            print()
        for warning in found:
            print(f"- Warning: {warning}", flush=True)
        self._write()

    def _print_latencies(self) -> None:
        loads = [entry for entry in self.document["loads"] if any(entry["latencies"].values())]
        if not loads:
            return
        print()
        heads = ["mean", *(f"p{percent}" for percent in PERCENTILES)]
        table = Table(
            {"figure": max(map(len, SHOWN)), self._load: 0, "server": self._name}
            | {f"{head} ms": 10 for head in heads}
        )
        for name in SHOWN:
            for entry in loads:
                if figures := entry["latencies"][name]:
                    cells = [f"{1e3 * figures[head]:.2f}" for head in heads]
                    table.row([name, f"{entry[self._load]:g}", entry["server"], *cells])

    def _write(self) -> None:
        if self._json:
            write_json(self._json, self.document)
