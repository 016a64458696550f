"""Page 2: every core."""

from orin_telemetry.collectors import cpu
from orin_telemetry.top import facts
from orin_telemetry.top.draw import Cell, Line, bar, headings, table
from orin_telemetry.top.pages import curves
from orin_telemetry.top.state import State
from orin_telemetry.top.units import clock, mhz, percent

_GRAPH = 3


def lines(state: State, width: int, height: int) -> list[Line]:
    """Load, clock, its limits and governor of each core, below the graph of their mean."""
    now, view = state.snapshot, state.snapshot.view
    governors = dict(view.all(cpu.GOVERNOR))
    rows: list[list[Cell]] = [headings("core", "load", "", "clock", "allowed", "of", "governor")]
    for (core,), online in view.all(cpu.ONLINE).items():
        load = facts.core_load(now, core) if online else None
        low, high = view.one(cpu.MINIMUM, core), view.one(cpu.MAXIMUM, core)
        rows.append(
            [
                core,
                bar(load),
                percent(load) if online else "offline",
                clock(view.one(cpu.FREQUENCY, core)),
                f"{mhz(low)} to {mhz(high)}" if online else "",
                clock(view.one(cpu.AVAILABLE_MAXIMUM, core)) if online else "",
                next((name for number, name in governors if number == core), ""),
            ]
        )
    cores = table(rows, width, "rfrrrrl")
    return curves.cpu_curve(state, width, max(height - len(cores) - 1, _GRAPH)) + cores
