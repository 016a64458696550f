"""demo: three simulated boards, their metrics, and a Prometheus that raises the alarm."""

import signal
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Annotated, NoReturn

import typer

from orin_core import cli
from orin_core.cli import UserError
from orin_core.table import Table
from orin_demo.stack import Stack

# One board to watch, and two neighbours that make it a fleet.
BOARDS = {"orin-lab": "tour", "orin-dock": "llm-decode", "orin-roof": "brown-out"}
TOUR_S = 180  # the length of the scenario `tour`
_POLL_S = 1.0

_RULES = Path("modules/telemetry/rules")

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@dataclass
class Firing:
    """An alert of one board: what it says, and the seconds of the demo when it came and went."""

    severity: str
    summaries: list[str]  # one a zone, rail or unit
    since: float
    until: float | None = None

    def __str__(self) -> str:
        more = len(self.summaries) - 1
        return self.summaries[0] + (f" (and {more} more)" if more else "")


# by the alert's name and the board's
Firings = dict[tuple[str, str], Firing]


def _source_tree() -> Path | None:
    """The rules beside this file, where it lies in the project's own tree."""
    folders = (folder / _RULES for folder in Path(__file__).resolve().parents)
    return next((folder for folder in folders if folder.is_dir()), None)


@app.command()
def demo(
    duration: Annotated[
        float | None,
        typer.Option("--duration", min=1, help="End after so many seconds; else at Ctrl-C."),
    ] = None,
    rules: Annotated[
        Path | None, typer.Option("--rules", help="Folder with recording rules and alerts.")
    ] = None,
) -> None:
    """Watch a Jetson overheat, without a Jetson.

    Three simulated boards, an exporter each, and a real Prometheus with all recording rules and
    alerts. One board walks from idle through language model and training into throttling and out
    again within three minutes. Where Prometheus is missing, the exporters' pages remain.

    Example: demo --duration 120
    """
    folder = rules or _source_tree()
    if folder is None or not any(folder.glob("*.yml")):
        raise UserError(f"--rules {folder or ''}: no rules there; name Orinix' {_RULES}")
    signal.signal(signal.SIGTERM, _stop)
    _say("starting three simulated boards and their exporters")
    fired: Firings = {}
    started = time.monotonic()
    with Stack(BOARDS, folder) as stack:
        started = time.monotonic()
        _introduce(stack, duration)
        try:
            while duration is None or time.monotonic() - started < duration:
                stack.check()
                if stack.prometheus:
                    _watch(stack, fired, started)
                time.sleep(_POLL_S)
        finally:
            if stack.prometheus:
                _summarize(fired, time.monotonic() - started)
            _say("stopping")


def _introduce(stack: Stack, duration: float | None) -> None:
    for board, url in stack.exporters.items():
        print(f"{board:10} {url}/  ({BOARDS[board]})")
    if stack.prometheus:
        print(f"{'Prometheus':10} {stack.prometheus}/graph and {stack.prometheus}/alerts")
        print(f"orin-lab overheats within {TOUR_S} s. Alerts as they come:", flush=True)
    else:
        print(
            "No Prometheus here, so nothing keeps the metrics or raises alerts: see the pages"
            " above, or install it (Debian and Ubuntu: sudo apt install prometheus)",
            flush=True,
        )
    if duration is None:
        _say("Ctrl-C ends it")


def _watch(stack: Stack, fired: Firings, started: float) -> None:
    """Say which alerts began and ended since the last look, and keep them in `fired`."""
    now = time.monotonic() - started
    firing = _firing(stack, now)
    for key, new in firing.items():
        before = fired.get(key)
        if before is None or before.until is not None:
            print(f"{_clock(now)}  {new.severity:8}  {key[0]}: {new}", flush=True)
        if before is not None:
            new.since = before.since
        fired[key] = new
    for key, old in fired.items():
        if key not in firing and old.until is None:
            old.until = now
            print(f"{_clock(now)}  {'over':8}  {key[0]}: {old}", flush=True)


def _firing(stack: Stack, now: float) -> Firings:
    firing: Firings = {}
    for alert in stack.query("alerts")["alerts"]:
        if alert["state"] == "firing":
            labels = alert["labels"]
            key = (labels["alertname"], labels.get("instance", ""))
            new = firing.setdefault(key, Firing(labels["severity"], [], now))
            new.summaries.append(" ".join(alert["annotations"]["summary"].split()))
    return firing


def _summarize(fired: Firings, end: float) -> None:
    print()
    if not fired:
        print(f"No alert fired in {end:.0f} s.", flush=True)
        return
    table = Table({"alert": 25, "board": 9, "severity": 8, "first": 5, "last": 5})
    for (name, board), firing in sorted(fired.items(), key=lambda item: item[1].since):
        last = end if firing.until is None else firing.until
        table.row([name, board, firing.severity, _clock(firing.since), _clock(last)])


def _clock(seconds: float) -> str:
    return f"{int(seconds) // 60:02}:{int(seconds) % 60:02}"


def _say(line: str) -> None:
    print(f"demo: {line}", file=sys.stderr, flush=True)


def _stop(number: int, frame: FrameType | None) -> NoReturn:
    raise SystemExit(0)


def main() -> None:
    """The console script."""
    cli.run(app)


if __name__ == "__main__":
    main()
