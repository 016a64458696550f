"""jetson-sim: a virtual Jetson AGX Orin, a tree of sysfs and procfs files that lives."""

import shlex
import shutil
import signal
import sys
import threading
import time
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated

import typer

from orin_core.cli import UserError, run
from orin_telemetry.sim.board import Board
from orin_telemetry.sim.scenario import SCENARIOS
from orin_telemetry.sim.tree import Tree, temporary
from orin_telemetry.stdout import printing

_WRITE_S = 0.1  # seconds of real time between two writes
_LONGEST_STEP_S = 60.0  # simulated: some 50 ms of work, after which signals are heard
_PATIENCE_S = 2.0  # how far it may fall behind before it says so
_NAMES = ", ".join(SCENARIOS)

app = typer.Typer(add_completion=False)


def _scenario(name: str) -> str:
    if name not in SCENARIOS:
        raise UserError(f"no scenario {name!r}; there are {_NAMES}")
    return name


def _positive(value: float | None) -> float | None:
    if value is not None and not 0 < value < float("inf"):
        raise typer.BadParameter(f"{value:g} is not a positive number")
    return value


@app.command()
def simulate(
    directory: Annotated[
        Path | None,
        typer.Argument(help="Where the files go; without it, a temporary folder."),
    ] = None,
    scenario: Annotated[str, typer.Option("--scenario", help=f"One of {_NAMES}.")] = "tour",
    seed: Annotated[int, typer.Option("--seed", help="The same seed gives the same files.")] = 0,
    speed: Annotated[
        float,
        typer.Option("--speed", help="Simulated seconds in a second.", callback=_positive),
    ] = 1.0,
    duration: Annotated[
        float | None,
        typer.Option(
            "--duration",
            help="Simulated seconds after which to end; without it, at Ctrl-C.",
            callback=_positive,
        ),
    ] = None,
    list_: Annotated[bool, typer.Option("--list", help="Print the scenarios and end.")] = False,
) -> None:
    """A virtual Jetson AGX Orin 64GB: sysfs and procfs files that change as a board's would.

    Silent sensors are FIFOs: cat waits on them, as does node_exporter's thermal_zone collector.

    Example: jetson-sim --scenario thermal-runaway --speed 4
    """
    if list_:
        width = max(map(len, SCENARIOS))
        with printing():
            for name, story in SCENARIOS.items():
                print(f"{name:{width}}  {story.sentence}")
        return
    name = _scenario(scenario)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) != signal.SIG_IGN:  # as nohup sets it
            signal.signal(number, lambda *_: stop.set())
    place = temporary("jetson-sim") if directory is None else nullcontext(directory)
    with place as folder, Tree(folder) as tree:
        board = Board(name, seed)
        tree.write(board)
        with printing():
            _introduce(name, folder)
        try:
            _live(board, tree, speed, duration, stop)
        finally:
            if sys.stdout.isatty():
                with printing():
                    print()


def _introduce(name: str, folder: Path) -> None:
    paths = (("sysfs", folder / "sys"), ("procfs", folder / "proc"), ("rootfs", folder))
    options = " ".join(f"--path.{which} {shlex.quote(str(path))}" for which, path in paths)
    print(f"{name}: {SCENARIOS[name].sentence}\nWatch it with", flush=True)
    for command in ("jetson-exporter", "jetson-top"):
        print(f"  {command} {options}", flush=True)


def _live(
    board: Board, tree: Tree, speed: float, duration: float | None, stop: threading.Event
) -> None:
    """Step and write at the pace asked for until `duration`, a signal, or Ctrl-C."""
    asked = 0.0
    begun = time.monotonic()
    complained = False
    while not stop.is_set() and (duration is None or asked < duration):
        part = min(speed * _WRITE_S, _LONGEST_STEP_S)
        if duration is not None:
            part = min(part, duration - asked)
        asked += part
        board.step(part)
        tree.write(board)
        if sys.stdout.isatty():
            _status(board)
        late = time.monotonic() - begun - asked / speed
        if late < 0:
            stop.wait(-late)
        elif late > _PATIENCE_S:
            begun += late
            if not complained:
                complained = True
                print(
                    f"jetson-sim: cannot keep {speed:g} simulated seconds a second here; it goes on"
                    " as fast as it can",
                    file=sys.stderr,
                    flush=True,
                )


def _status(board: Board) -> None:
    zone, hottest = max(board.readings.items(), key=lambda item: item[1])
    units = ", ".join(unit for unit, alert in board.throttle.alerts.items() if alert)
    line = (
        f"{board.time:6.1f} s  GPU {board.gpu_load:4.0%} {board.clocks.gpu_hz / 1e6:6.1f} MHz "
        f"{board.module_watts:5.1f} W  {zone} {hottest / 1000:5.1f} C  "
        f"{'throttling ' + units if units else board.scene.caption}"
    )
    width = shutil.get_terminal_size().columns - 1  # in the last column some terminals wrap
    with printing():
        print(f"\r{line[:width]:{width}}", end="", flush=True)


def main() -> None:
    """Entry point of the console script."""
    run(app)


if __name__ == "__main__":
    main()
