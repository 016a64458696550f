"""What several pages say about a board, out of the series."""

from orin_telemetry.collectors import (
    cooling,
    cpu,
    fan,
    gpu,
    memory,
    nvme,
    overcurrent,
    power,
    thermal,
)
from orin_telemetry.scrape import SUCCESS
from orin_telemetry.top.snapshot import Snapshot
from orin_telemetry.view import View

# The alert JetsonFanStalled's: slower than this though driven harder than that.
_STALLED_RPM, _STALLED_PWM = 100, 0.25


def asked(view: View, collector: str) -> bool:
    """Whether a collector runs at all; one for root alone does not where it finds nothing."""
    return (collector,) in view.all(SUCCESS)


def gpu_load(view: View) -> float | None:
    """Load of the GPU, 0..1."""
    return view.one(gpu.LOAD)


def core_load(now: Snapshot, core: str) -> float | None:
    """Share of the time since the scrape before that a core was busy, 0..1."""
    busy = now.rate(cpu.BUSY, core)
    return None if busy is None else min(busy, 1.0)


def cpu_load(now: Snapshot) -> float | None:
    """Mean load of the cores that are online, 0..1."""
    loads = [
        load
        for (core,), online in now.view.all(cpu.ONLINE).items()
        if online and (load := core_load(now, core)) is not None
    ]
    return sum(loads) / len(loads) if loads else None


def zones(view: View) -> list[str]:
    """Every thermal zone, whether it answers or not."""
    names = [zone for zone, _, _ in view.all(thermal.TRIP)]
    names += [zone for (zone,) in view.all(thermal.AVAILABLE)]
    return list(dict.fromkeys([*names, *(zone for (zone,) in view.all(thermal.TEMPERATURE))]))


def trip(view: View, zone: str, kind: str) -> float | None:
    """The zone's highest trip of a type in C: a lower one only warns of a hot surface."""
    return max(
        (celsius for (name, _, type_), celsius in view.all(thermal.TRIP).items()
         if name == zone and type_ == kind),
        default=None,
    )  # fmt: skip


def limit(view: View, zone: str) -> float | None:
    """The temperature in C at which the kernel acts on a zone first: slows down, or shuts down."""
    passive = trip(view, zone, "passive")
    return trip(view, zone, "critical") if passive is None else passive


def hottest(view: View) -> tuple[str, float | None]:
    """The hottest zone and its temperature in C; no name and None where none answers."""
    found = view.all(thermal.TEMPERATURE)
    if not found:
        return "", None
    (zone,) = max(found, key=lambda labels: found[labels])
    return zone, found[zone,]


def headroom(view: View) -> tuple[str, float | None]:
    """The zone nearest to throttling, and the kelvins left; no name and None where unknown."""
    left = {zone: k for (zone, kind), k in view.all(thermal.HEADROOM).items() if kind == "passive"}
    if not left:
        return "", None
    zone = min(left, key=lambda name: left[name])
    return zone, left[zone]


def nvme_limit(view: View, device: str, sensor: str) -> float | None:
    """Temperature in C at which a disk warns, else at which it protects itself."""
    warns = view.one(nvme.LIMIT, device, sensor, "max")
    return view.one(nvme.LIMIT, device, sensor, "crit") if warns is None else warns


def throttled(view: View) -> list[str] | None:
    """The parts whose temperature slows the board down; None where the kernel does not say."""
    alerts = view.all(cooling.THROTTLING)
    return [unit for (unit,), on in alerts.items() if on] if alerts else None


def alarms(now: Snapshot) -> list[str]:
    """What is wrong at this moment, in words, the gravest first."""
    view = now.view
    found = []
    if units := throttled(view):
        found.append(f"THROTTLING {' '.join(units)}")
    counters = view.all(overcurrent.EVENTS)
    if events := [oc for oc, reason in counters if now.rate(overcurrent.EVENTS, oc, reason)]:
        found.append(f"OVER-CURRENT {' '.join(events)}")
    if over := list(dict.fromkeys(rail for (rail, _), on in view.all(power.ALARM).items() if on)):
        found.append(f"RAIL ALARM {' '.join(over)}")
    for (number,), rpm in view.all(fan.SPEED).items():
        if rpm < _STALLED_RPM and (view.one(fan.PWM, number) or 0) > _STALLED_PWM:
            found.append(f"FAN {number} STALLED")
    return found


def rails(view: View) -> list[str]:
    """Every power rail, whether it answers or not."""
    names = [rail for rail, _ in view.all(power.LIMIT)]
    return list(dict.fromkeys([*names, *(rail for (rail,) in view.all(power.WATTS))]))


def rail_share(view: View, rail: str) -> float | None:
    """A rail's current relative to the limit at which its monitor warns."""
    amperes, most = view.one(power.AMPERES, rail), view.one(power.LIMIT, rail, "max")
    return amperes / most if amperes is not None and most else None


def module_power(view: View) -> tuple[float | None, bool]:
    """Power of the module in W, and whether it is an estimate, the sum of rails."""
    return view.one(power.MODULE), view.labels(power.MODULE).get("method") == "sum"


def used(view: View, total: str, free: str) -> tuple[float | None, float | None]:
    """Bytes in use and in all, of two rows of /proc/meminfo."""
    size, rest = view.one(memory.MEMINFO[total]), view.one(memory.MEMINFO[free])
    return (None if size is None or rest is None else size - rest), size
