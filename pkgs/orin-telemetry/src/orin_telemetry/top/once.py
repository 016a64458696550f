"""One snapshot as Markdown tables, for scripts and pipes."""

from collections.abc import Sequence

from orin_core.table import Table
from orin_telemetry.collectors import (
    board,
    cpu,
    engines,
    fan,
    gpu,
    nvmap,
    nvme,
    power,
    power_mode,
    thermal,
)
from orin_telemetry.top import facts
from orin_telemetry.top.snapshot import Snapshot
from orin_telemetry.top.units import DASH, clock, gib, number, percent


def show(now: Snapshot, simulated: str) -> None:
    """Print it. A reading that failed is a dash; what the board lacks is left out."""
    view = now.view
    info = view.labels(board.INFO)
    print(f"# {info.get('model') or 'This machine is no Jetson'}\n")
    if simulated:
        print(f"SIMULATED, scenario {simulated}.\n")
    _board(now, info)
    _table(
        "CPU",
        ("core", "load", "clock"),
        [
            (
                core,
                percent(facts.core_load(now, core)) if online else "offline",
                clock(view.one(cpu.FREQUENCY, core)),
            )
            for (core,), online in view.all(cpu.ONLINE).items()
        ],
    )
    _table("Temperatures", ("zone", "now", "limit", "headroom"), _temperatures(now))
    _table("Rails", ("rail", "volts", "amperes", "watts", "of its limit"), _rails(now))
    _table(
        "Engines",
        ("engine", "clock"),
        [(name, clock(hertz)) for (name,), hertz in view.all(engines.FREQUENCY).items()],
    )
    _table(
        "GPU memory",
        ("process", "pid", "memory"),
        [(name, pid, gib(size, "GiB")) for (name, pid), size in view.all(nvmap.CLIENT).items()],
    )
    _table(
        "Failing collectors",
        ("collector", "reason"),
        [(name, why) for name, reasons in view.failures.items() for why in reasons],
    )


def _board(now: Snapshot, info: dict[str, str]) -> None:
    view = now.view
    mode = view.labels(power_mode.INFO)
    watts, estimated = facts.module_power(view)
    ram, swap = (
        facts.used(view, "MemTotal", "MemAvailable"),
        facts.used(view, "SwapTotal", "SwapFree"),
    )
    zone, kelvins = facts.headroom(view)
    calm = DASH if facts.throttled(view) is None else "none"
    rows = [
        ("module", info.get("module") or DASH),
        ("L4T", info.get("l4t") or DASH),
        ("kernel", info.get("kernel") or DASH),
        ("power mode", mode.get("mode") or mode.get("id", DASH)),
        ("alarms", "; ".join(facts.alarms(now)) or calm),
        ("to throttling", number(kelvins, 1, "K") + (f" ({zone})" if zone else "")),
        ("GPU load", percent(facts.gpu_load(view))),
        ("GPU clock", clock(view.one(gpu.FREQUENCY))),
        ("CPU load", percent(facts.cpu_load(now))),
        ("module power", number(watts, 1, "W") + (" (estimated)" if estimated else "")),
        ("memory used", f"{gib(ram[0], 'GiB')} of {gib(ram[1], 'GiB')}"),
        ("swap used", f"{gib(swap[0], 'GiB')} of {gib(swap[1], 'GiB')}"),
    ]
    for (fan_number,), rpm in view.all(fan.SPEED).items():
        rows.append((f"fan {fan_number}", f"{rpm:.0f} rpm"))
    _table("Board", ("reading", "value"), rows)


def _temperatures(now: Snapshot) -> list[tuple[str, ...]]:
    view = now.view
    found = [
        (zone, view.one(thermal.TEMPERATURE, zone), facts.limit(view, zone))
        for zone in facts.zones(view)
    ]
    for (device, sensor), celsius in view.all(nvme.TEMPERATURE).items():
        found.append((f"{device} {sensor}", celsius, facts.nvme_limit(view, device, sensor)))
    return [
        (
            name,
            number(celsius, 1, "°C"),
            number(limit, 1, "°C"),
            number(None if celsius is None or limit is None else limit - celsius, 1, "K"),
        )
        for name, celsius, limit in found
    ]


def _rails(now: Snapshot) -> list[tuple[str, ...]]:
    view = now.view
    return [
        (
            rail,
            number(view.one(power.VOLTS, rail), 2, "V"),
            number(view.one(power.AMPERES, rail), 2, "A"),
            number(view.one(power.WATTS, rail), 2, "W"),
            percent(facts.rail_share(view, rail)),
        )
        for rail in facts.rails(view)
    ]


def _table(title: str, columns: Sequence[str], rows: Sequence[tuple[str, ...]]) -> None:
    if not rows:
        return
    print(f"## {title}\n")
    widths = [max(len(row[at]) for row in rows) for at in range(len(columns))]
    table = Table(dict(zip(columns, widths, strict=True)))
    for row in rows:
        table.row(row)
    print()
