"""The graphs of the last minutes, each with its heading."""

from rich.style import Style

from orin_telemetry.collectors import cpu, gpu
from orin_telemetry.top import facts
from orin_telemetry.top.draw import (
    LOAD,
    Line,
    Scale,
    graph,
    graph_dots,
    heading,
    heat,
    text,
)
from orin_telemetry.top.state import State
from orin_telemetry.top.units import clock, mhz, number, percent, span

_SHARE = Scale(0, 100, "%")
_CELSIUS = Scale(20, 110, "°")  # room temperature, and above every trip of an Orin
_WATTS = (10, 20, 30, 40, 60, 80, 100, 150, 200)  # tops of the power graph


def gpu_curve(state: State, width: int, height: int) -> list[Line]:
    """Load of the GPU, with its clock."""
    view = state.snapshot.view
    hertz, most = view.one(gpu.FREQUENCY), view.one(gpu.AVAILABLE_MAXIMUM)
    if view.one(gpu.POWERED) == 0:
        now = "powered off"
    elif view.one(gpu.LOCKED):
        now = f"{clock(hertz)} locked"
    elif hertz is None and most is None:
        now = ""  # no GPU of a Jetson
    else:
        now = f"{mhz(hertz)} of {clock(most)}"
    pieces = [text(percent(facts.gpu_load(view)), LOAD), text(now)]
    return _curve(state, "GPU", pieces, "gpu", _SHARE, LOAD, width, height)


def cpu_curve(state: State, width: int, height: int) -> list[Line]:
    """Mean load of the cores."""
    return _curve(state, "CPU", cpu_pieces(state), "cpu", _SHARE, LOAD, width, height)


def cpu_pieces(state: State) -> list[Line]:
    """Mean load, the highest clock of a core, and how many are online."""
    view = state.snapshot.view
    online = view.all(cpu.ONLINE)
    count = f"{sum(map(bool, online.values()))} of {len(online)} online"
    return [
        text(percent(facts.cpu_load(state.snapshot)), LOAD),
        text(clock(max(view.all(cpu.FREQUENCY).values(), default=None))),
        text(count if online else ""),
    ]


def power_curve(state: State, width: int, height: int) -> list[Line]:
    """Power of the module."""
    watts, estimated = facts.module_power(state.snapshot.view)
    pieces = [text(number(watts, 1, "W"), LOAD), text("estimated" if estimated else "module")]
    values = state.history.dots("power", graph_dots(width))[0]
    most = max((value for value in values if value is not None), default=0.0)
    top = next((step for step in _WATTS if most <= step), most)
    return _curve(state, "Power", pieces, "power", Scale(0, top, "W"), LOAD, width, height)


def heat_curve(state: State, width: int, height: int) -> list[Line]:
    """The hottest zone, and what is left to throttling."""
    zone, celsius = facts.hottest(state.snapshot.view)
    style = heat_style(state)
    pieces = [text(number(celsius, 1, "°C"), style), text(zone), headroom(state)]
    return _curve(state, "Hottest", pieces, "heat", _CELSIUS, style, width, height)


def heat_style(state: State) -> Style:
    """The style of the hottest zone, by its own limit."""
    view = state.snapshot.view
    zone, celsius = facts.hottest(view)
    return heat(celsius, facts.limit(view, zone))


def headroom(state: State) -> Line:
    """What is left to throttling."""
    zone, kelvins = facts.headroom(state.snapshot.view)
    return text("" if kelvins is None else f"{kelvins:.1f} K to throttling ({zone})")


def _curve(
    state: State,
    name: str,
    pieces: list[Line],
    series: str,
    scale: Scale,
    style: Style,
    width: int,
    height: int,
) -> list[Line]:
    values, seconds = state.history.dots(series, graph_dots(width))
    note = span(seconds * len(values))
    return [heading(name, pieces, width, note), *graph(values, height, scale, style)]
