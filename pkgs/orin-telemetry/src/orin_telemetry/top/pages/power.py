"""Page 3: power and energy."""

from orin_telemetry.collectors import energy, overcurrent, power
from orin_telemetry.top import facts
from orin_telemetry.top.draw import (
    BAD,
    PLAIN,
    Cell,
    Line,
    bar,
    heading,
    headings,
    share,
    table,
    text,
)
from orin_telemetry.top.pages import curves
from orin_telemetry.top.state import State
from orin_telemetry.top.units import energy as wh
from orin_telemetry.top.units import number, percent, yes

_GRAPH = 3


def lines(state: State, width: int, height: int) -> list[Line]:
    """Every rail with its limit and energy, and the over-current counters."""
    below = [*_rails(state, width), *_overcurrent(state, width)]
    return curves.power_curve(state, width, max(height - len(below) - 1, _GRAPH)) + below


def _rails(state: State, width: int) -> list[Line]:
    view = state.snapshot.view
    rows = [headings("rail", "alarm", "", "of limit", "W", "V", "A", "limit", "energy")]
    for rail in facts.rails(view):
        ratio = facts.rail_share(view, rail)
        raised = (level for level in ("crit", "max") if view.one(power.ALARM, rail, level))
        rows.append(
            [
                rail,
                text(next(raised, ""), BAD),
                bar(ratio, share(ratio)),
                text(percent(ratio), share(ratio)),
                number(view.one(power.WATTS, rail), 2),
                number(view.one(power.VOLTS, rail), 2),
                number(view.one(power.AMPERES, rail), 2),
                number(view.one(power.LIMIT, rail, "max"), 1, "A"),
                wh(view.one(energy.RAIL, rail)),
            ]
        )
    watts, estimated = facts.module_power(view)
    joules = wh(view.one(energy.MODULE))
    module: list[Cell] = ["module", "", bar(None), "", number(watts, 2), "", "", "", joules]
    pieces = [text("energy since this monitor started")]
    return [
        heading("Rails", pieces, width, "module is estimated" if estimated else ""),
        *table([*rows, module], width, "llfrrrrrr"),
    ]


def _overcurrent(state: State, width: int) -> list[Line]:
    now, view = state.snapshot, state.snapshot.view
    rows: list[list[Cell]] = [headings("event", "reason", "count", "a second", "slows down")]
    for oc, reason in view.all(overcurrent.EVENTS):
        rate = now.rate(overcurrent.EVENTS, oc, reason)
        rows.append(
            [
                oc,
                reason.replace("_", " "),
                number(view.one(overcurrent.EVENTS, oc, reason)),
                text(number(rate, 1), BAD if rate else PLAIN),
                yes(view.one(overcurrent.ENABLED, oc, reason)),
            ]
        )
    if len(rows) == 1:
        return []
    return [
        heading("Over-current", [text("since the board started")], width),
        *table(rows, width, "llrrl"),
    ]
