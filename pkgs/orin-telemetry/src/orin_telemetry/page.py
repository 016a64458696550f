"""The exporter's page for people: the readings of this moment, without any script."""

from collections.abc import Sequence
from html import escape

from orin_telemetry.collectors import (
    actmon,
    board,
    bpmp,
    cooling,
    cpu,
    emc,
    energy,
    engines,
    fan,
    gpu,
    memory,
    nvmap,
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
:root { color-scheme: light dark; --good: #4f8a10; --warn: #c77700; --bad: #c9302c;
  --faint: color-mix(in srgb, CanvasText 62%, Canvas);
  --line: color-mix(in srgb, CanvasText 14%, Canvas);
  --card: color-mix(in srgb, CanvasText 3%, Canvas) }
@media (prefers-color-scheme: dark) { :root { --good: #76b900; --warn: #e3a008; --bad: #ff7b72 } }
* { box-sizing: border-box }
body { font: 15px/1.5 system-ui, sans-serif; margin: 0 auto; max-width: 84rem; padding: 1.5rem }
h1 { font-size: 1.6rem; line-height: 1.25; margin: 0 }
h2 { font-size: 1rem; margin: 0 0 .35rem }
header p { color: var(--faint); margin: .3rem 0 1.3rem }
a { color: inherit }
.tiles { display: grid; gap: 1rem; grid-template-columns: repeat(auto-fit, minmax(9rem, 1fr)) }
.tiles div, section { background: var(--card); border: 1px solid var(--line);
  border-radius: .6rem; padding: .85rem 1rem }
.tiles b { display: block; font-size: 1.55rem; font-variant-numeric: tabular-nums;
  line-height: 1.35; overflow-wrap: anywhere }
.tiles span, th { color: var(--faint); font-size: .87rem; font-weight: 400 }
main { columns: 23rem; column-gap: 1rem; margin-top: 1rem }
section { break-inside: avoid; margin-bottom: 1rem; overflow-x: auto }
table { border-collapse: collapse; width: 100% }
th, td { border-top: 1px solid var(--line); padding: .18rem 0 .18rem .7rem; text-align: right;
  white-space: nowrap }
th:first-child, td:first-child { padding-left: 0; text-align: left; white-space: normal }
tr:first-child > * { border-top: 0 }
td { font-size: .93rem; font-variant-numeric: tabular-nums }
meter { background: var(--line); border: 0; border-radius: .25rem; height: .5rem;
  vertical-align: .08em; width: 3.2rem }
meter::-webkit-meter-bar { background: var(--line); border: 0; border-radius: .25rem;
  height: .5rem }
meter::-webkit-meter-optimum-value { background: var(--good); border-radius: .25rem }
meter::-webkit-meter-suboptimum-value { background: var(--warn); border-radius: .25rem }
meter::-webkit-meter-even-less-good-value { background: var(--bad); border-radius: .25rem }
meter::-moz-meter-bar { background: var(--good); border-radius: .25rem }
meter:-moz-meter-sub-optimum::-moz-meter-bar { background: var(--warn) }
meter:-moz-meter-sub-sub-optimum::-moz-meter-bar { background: var(--bad) }
.bad { color: var(--bad); font-weight: 600 }
.failures { border-color: var(--bad); margin: 1rem 0 0 }
.failures p { margin: 0; overflow-wrap: anywhere }
@media (max-width: 30rem) { body { padding: 1rem } meter { width: 2.6rem }
  .tiles { gap: .7rem; grid-template-columns: 1fr 1fr } th, td { padding-left: .45rem } }
"""


class _Html(str):
    """A cell that is markup already; any other text is escaped."""

    __slots__ = ()


Cell = str | _Html


def render(view: View) -> str:
    """The whole page for one scrape."""
    facts = view.labels(board.INFO)
    model = facts.get("model") or (
        "This machine is no Jetson" if _no_jetson(view) else "Unknown board"
    )
    mode = view.labels(power_mode.INFO).get("mode")
    details = [
        facts.get("module"),
        facts.get("jetpack") and f"JetPack {facts['jetpack']}",
        facts.get("l4t") and f"L4T {facts['l4t']}",
        facts.get("kernel") and f"Linux {facts['kernel']}",
        mode and f"power mode {mode}",
    ]
    sections = (
        _temperatures,
        _power,
        _energy,
        _gpu,
        _memory,
        _cooling,
        _cpu,
        _engines,
        _collectors,
    )
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
{_failures(view)}<main>
{"".join(section(view) for section in sections)}</main>
</body>
</html>
"""


def _no_jetson(view: View) -> bool:
    """Whether the board collector answered, and found no Jetson's chip."""
    answered = view.one(SUCCESS, board.BoardCollector.name)
    return bool(answered) and not view.labels(board.INFO).get("soc")


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
            "Module power",
            _bold(view.one(power.MODULE), "W"),
            "an estimate" if method == "sum" else method or "not known",
        ),
        (
            "Hottest",
            _bold(zones[hottest] if hottest else None, "C"),
            hottest[0] if hottest else "no thermal zone",
        ),
        ("Headroom", _bold(min(headroom, default=None), "K"), "until it throttles"),
        ("Throttling", throttling, "by temperature"),
        ("Memory used", _bold(used, "B"), f"of {_value(total, 'B')}"),
    ]
    return "".join(
        f"<div><span>{name}</span>{value}<span>{escape(note)}</span></div>"
        for name, value, note in tiles
    )


def _temperatures(view: View) -> str:
    trips: dict[str, float] = {}
    for (zone, _, kind), trip in view.all(thermal.TRIP).items():
        if kind in ("passive", "critical"):
            trips[zone] = max(trip, trips.get(zone, 0))
    rows = []
    for (zone,), answers in view.all(thermal.AVAILABLE).items():
        celsius = view.one(thermal.TEMPERATURE, zone)
        rows.append(
            (
                zone,
                _value(celsius, "C") if answers else "silent",
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
    return _section("Temperatures", ("zone", "now", "to limit", "headroom"), rows)


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
    return _section("Power", ("rail", "voltage", "current", "power", "to limit"), rows)


def _energy(view: View) -> str:
    rows = [(rail, _value(joules, "J")) for (rail,), joules in view.all(energy.RAIL).items()]
    rows += [
        (f"module ({method})", _value(joules, "J"))
        for (method,), joules in view.all(energy.MODULE).items()
    ]
    return _section("Energy", ("rail", "since the exporter started"), rows)


def _gpu(view: View) -> str:
    rows = []
    for (name,), hertz in view.all(gpu.FREQUENCY).items():
        low, high = view.one(gpu.MINIMUM, name), view.one(gpu.MAXIMUM, name)
        rows += [
            ("device", name),
            ("load", _value(view.one(gpu.LOAD, name), "percent")),
            ("clock", _clock(hertz)),
            ("clock allowed", f"{_clock(low)} to {_clock(high)}"),
            ("clock of the hardware", f"up to {_clock(view.one(gpu.AVAILABLE_MAXIMUM, name))}"),
            ("clocks locked", _yes(view.one(gpu.LOCKED, name))),
            ("powered", _yes(view.one(gpu.POWERED, name))),
        ]
    return _section("GPU", (), rows)


def _cpu(view: View) -> str:
    rows: list[tuple[Cell, ...]] = []
    for (core,), online in view.all(cpu.ONLINE).items():
        hertz, highest = view.one(cpu.FREQUENCY, core), view.one(cpu.AVAILABLE_MAXIMUM, core)
        rows.append((core, _clock(hertz) if online else "offline", _bar(hertz, highest)))
    return _section("CPU", ("core", "clock", "of the highest"), rows)


def _memory(view: View) -> str:
    sizes = memory.MEMINFO
    rows = []
    for name, total, free in (
        ("memory", "MemTotal", "MemAvailable"),
        ("swap", "SwapTotal", "SwapFree"),
        ("contiguous (CMA)", "CmaTotal", "CmaFree"),
    ):
        all_, left = view.one(sizes[total]), view.one(sizes[free])
        if all_ and left is not None:
            rows.append((name, _value(all_ - left, "B"), f"of {_value(all_, 'B')}"))
    for (device,), taken in view.all(memory.USED).items():
        original = _value(view.one(memory.ORIGINAL, device), "B")
        rows.append((device, _value(taken, "B"), f"holds {original}"))
    if (hertz := view.one(emc.FREQUENCY)) is not None:
        rows.append(("clock", _clock(hertz), ""))
    if (cap := view.one(emc.CAP)) is not None:
        rows.append(("clock allowed", _clock(cap), ""))
    if (utilization := view.one(bpmp.UTILIZATION)) is not None:
        rows.append(("controller's load", _value(utilization, "percent"), ""))
    if (mapped := view.one(nvmap.TOTAL)) is not None:
        rows.append(("GPU and engines", _value(mapped, "B"), ""))
    rows += [
        (process, _value(size, "B"), f"process {pid}")
        for (process, pid), size in view.all(nvmap.CLIENT).items()
    ]
    return _section("Memory", ("", "used", ""), rows)


def _engines(view: View) -> str:
    names = dict.fromkeys(
        name
        for family in (engines.FREQUENCY, engines.ACTIVE, actmon.LOAD)
        for (name,) in view.all(family)
    )
    rows = [
        (
            name,
            _clock(view.one(engines.FREQUENCY, name)),
            _yes(view.one(engines.ACTIVE, name)),
            _value(view.one(actmon.LOAD, name), "percent"),
        )
        for name in names
    ]
    return _section("Engines", ("engine", "clock", "active", "load"), rows)


def _cooling(view: View) -> str:
    fans = dict.fromkeys(
        number for family in (fan.SPEED, fan.PWM) for (number,) in view.all(family)
    )
    rows = []
    for number in fans:
        rpm = view.one(fan.SPEED, number)
        duty = _value(view.one(fan.PWM, number), "percent")
        rows.append((f"fan {number}", NONE if rpm is None else f"{rpm:.0f} rpm", f"at {duty}"))
    rows += [
        (kind, f"{state:.0f}", f"of {_value(view.one(cooling.MAXIMUM, device, kind), '')}")
        for (device, kind), state in view.all(cooling.STATE).items()
        if not kind.endswith("-alert")
    ]
    rows += [
        (f"{oc} events, {reason.replace('_', ' ')}", f"{count:.0f}", "")
        for (oc, reason), count in view.all(overcurrent.EVENTS).items()
    ]
    return _section("Cooling and over-current", ("device", "state", ""), rows)


def _failures(view: View) -> str:
    lines = [
        f'<p><b class="bad">{escape(name)}</b> <code>{escape("; ".join(reasons[:5]))}</code></p>'
        for name, reasons in view.failures.items()
    ]
    if not lines:
        return ""
    return f'<section class="failures"><h2>What does not answer</h2>{"".join(lines)}</section>\n'


def _collectors(view: View) -> str:
    rows = []
    for (name,), success in view.all(SUCCESS).items():
        duration = view.one(DURATION, name) or 0
        verdict = "" if success else _Html('<b class="bad">failed</b>')
        rows.append((name, verdict, f"{1000 * duration:.1f} ms"))
    return _section("Collectors", ("collector", "", "took"), rows)


def _section(
    title: str,
    headings: tuple[str, ...],
    rows: Sequence[tuple[Cell, ...]],
) -> str:
    if not rows:
        return ""
    head = "".join(f"<th>{heading}</th>" for heading in headings)
    lines = [f"<tr>{head}</tr>"] if headings else []
    for first, *rest in rows:
        # A long name, such as VDDQ_VDD2_1V8AO, may break after an underscore.
        cells = [escape(first).replace("_", "_<wbr>")]
        cells += [cell if isinstance(cell, _Html) else escape(cell) for cell in rest]
        lines.append("<tr>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>")
    return f"<section><h2>{title}</h2><table>{''.join(lines)}</table></section>\n"


def _bold(value: float | None, unit: str) -> str:
    return f"<b>{_value(value, unit)}</b>"


def _meter(value: float | None, limit: float | None) -> Cell:
    """A bar of `value` against a `limit` that is bad to reach: yellow from 80 %, red from 95 %."""
    if not limit:
        return NONE
    return _bar(value, limit, f'low="{0.8 * limit:g}" high="{0.95 * limit:g}" optimum="0"')


def _bar(value: float | None, limit: float | None, levels: str = "") -> Cell:
    if value is None or not limit:
        return NONE
    share = f"{100 * value / limit:.0f} %"
    return _Html(
        f'<meter max="{limit:g}" {levels} value="{value:g}" title="{share}">{share}</meter>'
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
        case "B" if value < 2**30:
            return f"{value / 2**20:.0f} MiB"
        case "B":
            return f"{value / 2**30:.1f} GiB"
        case "C" | "K":
            return f"{value:.1f} {'°C' if unit == 'C' else 'K'}"
        case "J" if value < 1e6:
            return f"{value / 1e3:.1f} kJ"
        case "J":
            return f"{value / 1e6:.1f} MJ"
        case "V" | "A" | "W":
            return f"{value:.2f} {unit}"
        case _:
            return f"{value:.0f}"
