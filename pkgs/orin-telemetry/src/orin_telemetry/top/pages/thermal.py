"""Page 4: temperatures, trips and cooling."""

import re
from functools import partial

from orin_telemetry.collectors import cooling, nvme, thermal
from orin_telemetry.top import facts
from orin_telemetry.top.draw import (
    BAD,
    WARN,
    Cell,
    Line,
    bar,
    cells,
    ends,
    heading,
    headings,
    heat,
    table,
    text,
)
from orin_telemetry.top.pages import curves
from orin_telemetry.top.state import State
from orin_telemetry.top.units import number

_GRAPH = 2
_DEVICE = 24  # width of a cooling device
_ADDRESS = re.compile(r"[0-9a-f]{6,}\.")  # devfreq-17000000.gpu


def lines(state: State, width: int, height: int) -> list[Line]:
    """Every zone against its trips, the disks, and what the kernel holds back."""
    below = [*_zones(state, width), *_cooling(state, width)]
    return curves.heat_curve(state, width, max(height - len(below) - 1, _GRAPH)) + below


def _zones(state: State, width: int) -> list[Line]:
    view = state.snapshot.view
    rows: list[list[Cell]] = [headings("zone", "°C", "", "headroom", "throttles", "stops")]
    for zone in state.zones:
        celsius, limit = view.one(thermal.TEMPERATURE, zone), facts.limit(view, zone)
        off = view.one(thermal.AVAILABLE, zone) == 0
        rows.append(
            _row(
                zone,
                celsius,
                limit,
                facts.trip(view, zone, "passive"),
                facts.trip(view, zone, "critical"),
                "sensor is off" if off else "",
            )
        )
    for (device, sensor), celsius in view.all(nvme.TEMPERATURE).items():
        warns, stops = (view.one(nvme.LIMIT, device, sensor, level) for level in ("max", "crit"))
        limit = facts.nvme_limit(view, device, sensor)
        rows.append(_row(f"{device} {sensor}", celsius, limit, warns, stops))
    return table(rows, width, "lrfrrr")


def _row(
    name: str,
    celsius: float | None,
    limit: float | None,
    slows: float | None,
    stops: float | None,
    note: str = "",
) -> list[Cell]:
    style = heat(celsius, limit)
    left = None if celsius is None or limit is None else limit - celsius
    return [
        name,
        text(number(celsius, 1), style),
        bar(celsius / limit if celsius is not None and limit else None, style),
        note or number(left, 1, "K"),
        number(slows, 1),
        number(stops, 1),
    ]


def _cooling(state: State, width: int) -> list[Line]:
    view = state.snapshot.view
    items = [
        partial(_device, kind=kind, held=held, most=view.one(cooling.MAXIMUM, device, kind))
        for (device, kind), held in view.all(cooling.STATE).items()
        if not kind.endswith("-alert")
    ]
    units = facts.throttled(view)
    if units:
        alerts = text(f"throttling {' '.join(units)}", BAD)
    else:
        alerts = text("no part throttles" if units is not None else "no throttle alerts here")
    hot = text("hot surface" if view.one(cooling.HOT_SURFACE) else "", WARN)
    first = heading("Cooling", [alerts, hot], width, "step of all")
    return [first, *cells(items, width, max(1, (width + 2) // (_DEVICE + 2)))]


def _device(width: int, kind: str, held: float, most: float | None) -> Line:
    return ends(text(_ADDRESS.sub("", kind)), text(f"{held:.0f}/{number(most)}"), width)
