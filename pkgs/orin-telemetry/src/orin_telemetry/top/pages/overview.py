"""Page 1: the board at a glance, all of it within 80 by 24."""

from collections.abc import Callable
from functools import partial

from rich.style import Style

from orin_telemetry.collectors import bpmp, cpu, emc, fan, nvme, power, thermal
from orin_telemetry.top import facts
from orin_telemetry.top.draw import (
    LOAD,
    PLAIN,
    Cell,
    Line,
    bar,
    beside,
    cells,
    half,
    heading,
    heat,
    pad,
    share,
    table,
    text,
)
from orin_telemetry.top.pages import curves, usage
from orin_telemetry.top.state import State
from orin_telemetry.top.units import clock, number, percent

_ROWS = 4  # of cores and of temperatures where there is room
_CELL = 22  # least width of a core or a temperature
_GRAPH = 3  # least height of a graph
_TALL = 7  # height at which a graph shares its place with another


def lines(state: State, width: int, height: int) -> list[Line]:
    """Load, power, cores, temperatures, memory and rails; the graphs take the room left."""
    each = half(width)
    cores = _cores(state, width)
    below = [
        *_temperatures(state, width),
        *beside(_memory(state, each), _rails(state, each), width),
    ]
    room = height - len(cores) - len(below) - 1
    title = heading("CPU", curves.cpu_pieces(state), width)
    pairs: list[list[Callable[[State, int, int], list[Line]]]]
    pairs = [[curves.gpu_curve, curves.power_curve]]
    if room >= 2 * _TALL:
        pairs.append([curves.cpu_curve, curves.heat_curve])
        title = heading("Cores", [], width)
    above: list[Line] = []
    for number_, pair in enumerate(pairs):
        rows = room // len(pairs) + (number_ < room % len(pairs))
        tall = max(rows - 1, _GRAPH)
        left, right = (curve(state, each, tall) for curve in pair)
        above += beside(left, right, width)
    return [*above, title, *cores, *below]


def _cores(state: State, width: int) -> list[Line]:
    now = state.snapshot
    items = [
        partial(
            _gauge,
            name=f"{core:>2}",
            ratio=facts.core_load(now, core) if online else None,
            value=percent(facts.core_load(now, core)) if online else "off",
            room=5,
        )
        for (core,), online in now.view.all(cpu.ONLINE).items()
    ]
    return cells(items, width, _columns(len(items), width))


def _columns(count: int, width: int) -> int:
    """So many that they fit into few rows, unless the cells became too narrow to read."""
    return max(1, min(-(-count // _ROWS), (width + 2) // (_CELL + 2)))


def _temperatures(state: State, width: int) -> list[Line]:
    view = state.snapshot.view
    items = [
        _temperature(zone, view.one(thermal.TEMPERATURE, zone), facts.limit(view, zone))
        for zone in state.zones
    ]
    disks: dict[str, Callable[[int], Line]] = {}
    for (device, sensor), now in view.all(nvme.TEMPERATURE).items():
        item = _temperature(device, now, facts.nvme_limit(view, device, sensor))
        disks.setdefault(device, item)  # the first, Composite, is the disk's own verdict
    items += disks.values()
    hottest, celsius = facts.hottest(view)
    hot = text(number(celsius, 1, "°C"), curves.heat_style(state))
    pieces = [hot, text(hottest)]
    first = heading("Temperatures", pieces, width, "°C of trip")
    return [first, *cells(items, width, _columns(len(items), width))]


def _temperature(name: str, celsius: float | None, limit: float | None) -> Callable[[int], Line]:
    return partial(
        _gauge,
        name=f"{name:<6}",
        ratio=celsius / limit if celsius is not None and limit else None,
        value=number(celsius, 1) + ("" if limit is None else f"/{round(limit, 1):g}"),
        room=11,  # 101.4/104.5
        style=heat(celsius, limit),
    )


def _gauge(
    width: int, name: str, ratio: float | None, value: str, room: int, style: Style = LOAD
) -> Line:
    shown = text(value, style if style != LOAD else PLAIN)
    middle = bar(ratio, style)(max(width - len(name) - room - 2, 2))
    return [*text(f"{name} "), *middle, *pad(shown, room + 1, right=True)]


def _memory(state: State, width: int) -> list[Line]:
    view = state.snapshot.view
    rows = usage.ram_and_swap(view)
    for (number_,), pwm in view.all(fan.PWM).items():
        rows.append(
            ["Fan", bar(pwm), f"{percent(pwm)}  {number(view.one(fan.SPEED, number_), 0, 'rpm')}"]
        )
    busy, hertz, cap = view.one(bpmp.UTILIZATION), view.one(emc.FREQUENCY), view.one(emc.CAP)
    if hertz is not None:
        rows.append(["EMC", bar(busy), f"{percent(busy)}  {clock(hertz)}"])
    elif cap is not None:
        rows.append(["EMC", bar(None), f"at most {clock(cap)}"])
    return [heading("Memory and fan", [], width), *table(rows, width, "lfr")]


def _rails(state: State, width: int) -> list[Line]:
    view = state.snapshot.view
    rows: list[list[Cell]] = []
    for rail in facts.rails(view):
        ratio = facts.rail_share(view, rail)
        watts = number(view.one(power.WATTS, rail), 1, "W")
        rows.append([rail, bar(ratio, share(ratio)), watts])
    return [heading("Rails", [], width, "of limit"), *table(rows, width, "lfr")]
