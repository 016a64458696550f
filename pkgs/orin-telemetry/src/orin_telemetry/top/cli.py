"""jetson-top: a Jetson's clocks, temperatures, power and throttling in a terminal."""

import logging
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Annotated, NoReturn

import typer

from orin_core.cli import UserError, run
from orin_telemetry.kernel import Kernel
from orin_telemetry.sim.scenario import SCENARIOS
from orin_telemetry.stdout import printing
from orin_telemetry.top import once as report
from orin_telemetry.top.snapshot import Monitor
from orin_telemetry.top.source import Source, is_jetson, simulation
from orin_telemetry.top.state import State

SHORTEST_S, LONGEST_S = 0.25, 10.0  # a scrape answers anew after 0.2 s; energy bridges 10 s
_FALLBACK = "tour"
_NAMES = ", ".join(SCENARIOS)

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def top(
    sysfs: Annotated[
        Path | None, typer.Option("--path.sysfs", help="Where sysfs is mounted. [default: /sys]")
    ] = None,
    procfs: Annotated[
        Path | None, typer.Option("--path.procfs", help="Where procfs is mounted. [default: /proc]")
    ] = None,
    rootfs: Annotated[
        Path | None,
        typer.Option("--path.rootfs", help="Where the root file system is mounted. [default: /]"),
    ] = None,
    interval: Annotated[
        float,
        typer.Option(
            "--interval", help="Seconds between two readings.", min=SHORTEST_S, max=LONGEST_S
        ),
    ] = 1.0,
    simulate: Annotated[
        str | None, typer.Option("--simulate", help=f"Simulate a board: {_NAMES}.")
    ] = None,
    once: Annotated[
        bool, typer.Option("--once", help="Print one snapshot as Markdown tables and end.")
    ] = False,
) -> None:
    """Watch a Jetson: GPU, cores, memory, temperatures, power, fan, throttling.

    Needs neither a daemon nor root; root sees the engines' load and each process' GPU memory
    besides. Where there is no Jetson it simulates one. Into a pipe it prints a snapshot.

    Example: jetson-top --simulate thermal-runaway
    """
    # Failing sensors are shown on the screen, which log lines would only garble.
    logging.getLogger("orin_telemetry").addHandler(logging.NullHandler())
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _stop)
    with _source(simulate, sysfs, procfs, rootfs) as source:
        monitor = Monitor(source.scraper(), source.clock)
        # textual draws on stderr
        terminal = all(stream.isatty() for stream in (sys.stdin, sys.stdout, sys.stderr))
        if once or not terminal:
            monitor.sample()  # loads are differences
            time.sleep(interval)
            with printing():
                report.show(monitor.sample(), source.simulated)
            return
        from orin_telemetry.top.app import TopApp  # a third of a second that --once need not wait

        screen = TopApp(monitor, State(source.simulated, interval))
        if (mistake := screen.run()) is not None:
            raise mistake
        raise typer.Exit(screen.return_code or 0)


@contextmanager
def _source(
    scenario: str | None, sysfs: Path | None, procfs: Path | None, rootfs: Path | None
) -> Iterator[Source]:
    paths = {"--path.sysfs": sysfs, "--path.procfs": procfs, "--path.rootfs": rootfs}
    given = {option: path for option, path in paths.items() if path is not None}
    if scenario is not None and given:
        raise UserError(f"--simulate and {next(iter(given))}: name one of them")
    if scenario is not None and scenario not in SCENARIOS:
        raise UserError(f"--simulate {scenario!r}: no such scenario; there are {_NAMES}")
    for option, path in given.items():
        if not path.is_dir():
            raise UserError(f"{option} {path}: no such directory; name one that is mounted")
    kernel = Kernel(sysfs or Path("/sys"), procfs or Path("/proc"), rootfs or Path("/"))
    if scenario is None and (given or is_jetson(kernel)):
        yield Source(kernel, time.monotonic)
        return
    with simulation(scenario or _FALLBACK) as source:
        yield source


def _stop(number: int, frame: FrameType | None) -> NoReturn:
    raise SystemExit(0)


def main() -> None:
    """The console script."""
    run(app)


if __name__ == "__main__":
    main()
