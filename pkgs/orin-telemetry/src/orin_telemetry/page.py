"""The exporter's page for people: the readings of this moment, without any script."""

from html import escape

from orin_telemetry.collectors import (
    board,
    cooling,
    cpu,
    engines,
    fan,
    gpu,
    memory,
    nvme,
    overcurrent,
    power,
    power_mode,
    thermal,
)
from orin_telemetry.scrape import DURATION, SUCCESS
from orin_telemetry.view import View

REFRESH_S = 5
NONE = "\N{EN DASH}"

_STYLE = """
:root { color-scheme: light dark; --line: color-mix(in srgb, currentColor 18%, transparent) }
body { font: 15px/1.45 system-ui, sans-serif; margin: 0 auto; max-width: 72rem; padding: 1.5rem }
h1 { font-size: 1.5rem; margin: 0 } h2 { font-size: 1rem; margin: 0 0 .4rem }
header p { margin: .2rem 0 1.2rem; opacity: .75 }
.tiles, main { display: grid; gap: 1rem }
.tiles { grid-template-columns: repeat(auto-fit, minmax(10rem, 1fr)); margin-bottom: 1rem }
main { grid-template-columns: repeat(auto-fit, minmax(21rem, 1fr)); align-items: start }
.tiles div, section { border: 1px solid var(--line); border-radius: .5rem; padding: .8rem 1rem }
.tiles b { display: block; font-size: 1.5rem; font-variant-numeric: tabular-nums }
.tiles span, th { opacity: .75; font-weight: 400 }
table { border-collapse: collapse; width: 100% }
th, td { border-top: 1px solid var(--line); padding: .15rem 0 .15rem .8rem; text-align: right }
th:first-child, td:first-child { padding-left: 0; text-align: left }
td { font-variant-numeric: tabular-nums } tr:first-child th { border: 0 }
meter { width: 6rem } .bad { color: #c9302c; font-weight: 600 }
@media (prefers-color-scheme: dark) { .bad { color: #ff7b72 } }
code { overflow-wrap: anywhere }
"""


def render(view: View) -> str:
    """The whole page for one scrape."""
    facts = view.labels(board.INFO)
    model = facts.get("model") or "This machine is no Jetson"
    mode = view.labels(power_mode.INFO).get("mode")
    details = [
        facts.get("module"),
        facts.get("jetpack") and f"JetPack {facts['jetpack']}",
        facts.get("l4t") and f"L4T {facts['l4t']}",
        facts.get("kernel") and f"Linux {facts['kernel']}",
        mode and f"power mode {mode}",
    ]
    sections = (_temperatures, _power, _gpu, _cpu, _memory, _engines, _cooling, _collectors)
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<meta http-equiv="refresh" content="{REFRESH_S}">
<title>{escape(model)}: jetson-exporter</title>
<style>{_STYLE}</style>
</head>
<body>
<header>
<h1>{escape(model)}</h1>
<p>{escape(", ".join(filter(None, details)))}. Prometheus reads <a href="/metrics">/metrics</a>.</p>
</header>
<div class="tiles">{_tiles(view)}</div>
<main>
{"".join(section(view) for section in sections)}</main>
</body>
</html>
"""


def _tiles(view: View) -> str:
    zones = view.all(thermal.TEMPERATURE)
    hottest = max(zones, key=lambda zone: zones[zone], default=None)
    headroom = [
        kelvins for (_, kind), kelvins in view.all(thermal.HEADROOM).items() if kind == "passive"
    ]
    total, available = (
        view.one(memory.MEMINFO["MemTotal"]),
        view.one(memory.MEMINFO["MemAvailable"]),
    )
    used = total - available if total is not None and available is not None else None
    method = view.labels(power.MODULE).get("method")
    alerts = sorted(unit for (unit,), on in view.all(cooling.THROTTLING).items() if on)
    throttling = f'<b class="bad">{escape(", ".join(alerts))}</b>' if alerts else "<b>none</b>"
    if not view.all(cooling.THROTTLING):
        throttling = f"<b>{NONE}</b>"
    tiles = [
        ("GPU load", _bold(view.one(gpu.LOAD), "percent"), _clock(view.one(gpu.FREQUENCY))),
        (
            "Power" + (", estimated" if method == "sum" else ""),
            _bold(view.one(power.MODULE), "W"),
            "of the module",
        ),
        (
            "Hottest",
            _bold(zones[hottest] if hottest else None, "C"),
            hottest[0] if hottest else "no thermal zone",
        ),
        ("To throttling", _bold(min(headroom, default=None), "K"), "headroom"),
        ("Throttling", throttling, "by temperature"),
        ("Memory used", _bold(used, "B"), f"of {_value(total, 'B')}"),
    ]
    return "".join(
        f"<div><span>{name}</span>{value}<span>{escape(note)}</span></div>"
        for name, value, note in tiles
    )


def _temperatures(view: View) -> str:
    trips: dict[str, float] = {}
    for (zone, _, kind), celsius in view.all(thermal.TRIP).items():
        if kind in ("passive", "critical"):
            trips[zone] = max(celsius, trips.get(zone, 0))
    rows = []
    for (zone,), answers in view.all(thermal.AVAILABLE).items():
        celsius = view.one(thermal.TEMPERATURE, zone)
        rows.append(
            (
                zone,
                _value(celsius, "C") if answers else "off",
                _meter(celsius, trips.get(zone)),
                _value(view.one(thermal.HEADROOM, zone, "passive"), "K"),
            )
        )
    for (device, sensor), celsius in view.all(nvme.TEMPERATURE).items():
        limit = view.one(nvme.LIMIT, device, sensor, "max")
        left = None if limit is None else limit - celsius
        rows.append(
            (f"{device} {sensor}", _value(celsius, "C"), _meter(celsius, limit), _value(left, "K"))
        )
    return _section("Temperatures", ("zone", "now", "to its limit", "headroom"), rows)


def _power(view: View) -> str:
    rows = []
    for (rail,), watts in view.all(power.WATTS).items():
        amperes, limit = view.one(power.AMPERES, rail), view.one(power.LIMIT, rail, "max")
        rows.append(
            (
                rail,
                _value(view.one(power.VOLTS, rail), "V"),
                _value(amperes, "A"),
                _value(watts, "W"),
                _meter(amperes, limit),
            )
        )
    return _section("Power", ("rail", "voltage", "current", "power", "of its limit"), rows)


def _gpu(view: View) -> str:
    rows = []
    for (name,), hertz in view.all(gpu.FREQUENCY).items():
        low, high = view.one(gpu.MINIMUM, name), view.one(gpu.MAXIMUM, name)
        rows += [
            (f"{name} clock", _clock(hertz)),
            ("allowed", f"{_clock(low)} to {_clock(high)}"),
            ("clocks locked", _yes(view.one(gpu.LOCKED, name))),
            ("powered", _yes(view.one(gpu.POWERED, name))),
        ]
    return _section("GPU", (), rows)


def _cpu(view: View) -> str:
    rows = []
    for (core,), online in view.all(cpu.ONLINE).items():
        hertz, highest = view.one(cpu.FREQUENCY, core), view.one(cpu.AVAILABLE_MAXIMUM, core)
        rows.append((core, _clock(hertz) if online else "offline", _meter(hertz, highest)))
    return _section("CPU", ("core", "clock", "of the highest"), rows)


def _memory(view: View) -> str:
    swap, free = view.one(memory.MEMINFO["SwapTotal"]), view.one(memory.MEMINFO["SwapFree"])
    used = swap - free if swap is not None and free is not None else None
    rows = [("swap", _value(used, "B"), f"of {_value(swap, 'B')}")] if swap else []
    for (device,), taken in view.all(memory.USED).items():
        original = _value(view.one(memory.ORIGINAL, device), "B")
        rows.append((device, _value(taken, "B"), f"holds {original}"))
    for (number,), rpm in view.all(fan.SPEED).items():
        duty = _value(view.one(fan.PWM, number), "percent")
        rows.append((f"fan {number}", f"{rpm:.0f} rpm", f"driven at {duty}"))
    return _section("Swap and fan", (), rows)


def _engines(view: View) -> str:
    names = dict.fromkeys(
        name for family in (engines.FREQUENCY, engines.ACTIVE) for (name,) in view.all(family)
    )
    rows = [
        (name, _clock(view.one(engines.FREQUENCY, name)), _yes(view.one(engines.ACTIVE, name)))
        for name in names
    ]
    return _section("Engines", ("engine", "clock", "active"), rows)


def _cooling(view: View) -> str:
    rows = [
        (kind, f"{state:.0f}", _value(view.one(cooling.MAXIMUM, device, kind), ""))
        for (device, kind), state in view.all(cooling.STATE).items()
        if not kind.endswith("-alert")
    ]
    rows += [
        (f"{oc} events ({reason.replace('_', ' ')})", f"{count:.0f}", "")
        for (oc, reason), count in view.all(overcurrent.EVENTS).items()
    ]
    return _section("Cooling and over-current", ("device", "state", "of"), rows)


def _collectors(view: View) -> str:
    rows = []
    for (name,), success in view.all(SUCCESS).items():
        duration = view.one(DURATION, name) or 0
        rows.append((name, "" if success else "failed", f"{1000 * duration:.1f} ms"))
    failures = "".join(
        f'<p class="bad">{escape(name)}: <code>{escape("; ".join(lines[:5]))}</code></p>'
        for name, lines in view.failures.items()
    )
    return _section("Collectors", ("collector", "", "took"), rows, failures)


def _section(
    title: str,
    headings: tuple[str, ...],
    rows: list[tuple[str, ...]],
    more: str = "",
) -> str:
    if not rows:
        return ""
    head = "".join(f"<th>{heading}</th>" for heading in headings)
    body = "".join(
        "<tr>"
        + "".join(f"<td>{cell if cell.startswith('<meter') else escape(cell)}</td>" for cell in row)
        + "</tr>"
        for row in rows
    )
    return f"<section><h2>{title}</h2>{more}<table><tr>{head}</tr>{body}</table></section>\n"


def _bold(value: float | None, unit: str) -> str:
    return f"<b>{_value(value, unit)}</b>"


def _meter(value: float | None, limit: float | None) -> str:
    """A bar of `value` against `limit`, yellow from 80 % and red from 95 % of it."""
    if value is None or not limit:
        return NONE
    return (
        f'<meter max="{limit:g}" low="{0.8 * limit:g}" high="{0.95 * limit:g}" optimum="0"'
        f' value="{value:g}">{100 * value / limit:.0f} %</meter>'
    )


def _yes(value: float | None) -> str:
    return NONE if value is None else ("yes" if value else "no")


def _clock(hertz: float | None) -> str:
    return NONE if hertz is None else f"{hertz / 1e6:.0f} MHz"


def _value(value: float | None, unit: str) -> str:
    """`value` for people; a reading that failed is a dash and never 0."""
    if value is None:
        return NONE
    match unit:
        case "percent":
            return f"{100 * value:.0f} %"
        case "B":
            return f"{value / 2**30:.1f} GiB"
        case "C" | "K":
            return f"{value:.1f} {'°C' if unit == 'C' else 'K'}"
        case "V" | "A" | "W":
            return f"{value:.2f} {unit}"
        case _:
            return f"{value:.0f}"
