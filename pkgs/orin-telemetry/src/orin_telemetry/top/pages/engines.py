"""Page 5: the GPU's and the engines' clocks, memory, and who holds it."""

from functools import partial

from rich.style import Style

from orin_telemetry.collectors import actmon, bpmp, emc, engines, gpu, memory, nvmap
from orin_telemetry.top import facts
from orin_telemetry.top.draw import (
    DIM,
    Cell,
    Line,
    bar,
    beside,
    cells,
    half,
    heading,
    headings,
    table,
    text,
)
from orin_telemetry.top.pages import usage
from orin_telemetry.top.state import State
from orin_telemetry.top.units import DASH, clock, gib, mhz, number, percent, traffic, yes

_ENGINE = 34


def lines(state: State, width: int, height: int) -> list[Line]:
    """The page; `height` does not change it."""
    each = half(width)
    both = beside(_gpu(state, each), _memory(state, each), width)
    return [*both, *_engines(state, width), *_clients(state, width)]


def _gpu(state: State, width: int) -> list[Line]:
    view = state.snapshot.view
    low, high = view.one(gpu.MINIMUM), view.one(gpu.MAXIMUM)
    locked = "  locked" if view.one(gpu.LOCKED) else ""
    units = view.all(gpu.POWERGATED)
    gated = ", ".join(f"{count:.0f} {unit}" for (_, unit), count in units.items() if count)
    delay = number(view.one(gpu.RAILGATE_DELAY), 1, "s")
    hertz, busy = view.one(emc.FREQUENCY), view.one(bpmp.UTILIZATION)
    emc_clock = f"{clock(hertz)}  busy {percent(busy)}"
    if hertz is None and not facts.asked(view, "bpmp"):
        emc_clock = f"{DASH}  needs root"
    rows: list[list[Cell]] = [
        ["load", percent(facts.gpu_load(view))],
        ["clock", f"{mhz(view.one(gpu.FREQUENCY))} of {clock(view.one(gpu.AVAILABLE_MAXIMUM))}"],
        ["allowed", f"{mhz(low)} to {clock(high)}{locked}"],
        ["governor", view.labels(gpu.GOVERNOR).get("governor", DASH)],
        ["powered", yes(view.one(gpu.POWERED))],
        ["railgating", f"{yes(view.one(gpu.RAILGATING))}  after {delay}"],
        ["switched off", gated or ("nothing" if units else DASH)],
        ["EMC cap", clock(view.one(emc.CAP))],
        ["EMC clock", emc_clock],
    ]
    return [heading("GPU", [], width), *table(rows, width, "ll")]


def _memory(state: State, width: int) -> list[Line]:
    now, view = state.snapshot, state.snapshot.view
    rows = usage.ram_and_swap(view)
    taken, size = facts.used(view, "CmaTotal", "CmaFree")
    ratio = taken / size if taken is not None and size else None
    rows.append(["CMA", bar(ratio), f"{gib(taken)} of {gib(size, 'GiB')}"])
    for (device,), held in view.all(memory.ORIGINAL).items():
        taken = view.one(memory.USED, device)
        ratio = taken / held if taken is not None and held else None
        rows.append([device, bar(ratio), f"{gib(held)} in {gib(taken, 'GiB')}"])
    rest: list[list[Cell]] = [
        ["free", gib(view.one(memory.MEMINFO["MemFree"]), "GiB")],
        ["cached", gib(view.one(memory.MEMINFO["Cached"]), "GiB")],
        ["swapped in", traffic(now.rate(memory.VMSTAT["pswpin"]))],
        ["swapped out", traffic(now.rate(memory.VMSTAT["pswpout"]))],
        ["nvmap", gib(view.one(nvmap.TOTAL), "GiB")],
    ]
    return [heading("Memory", [], width), *table(rows, width, "lfr"), *table(rest, width, "lr")]


def _engines(state: State, width: int) -> list[Line]:
    view = state.snapshot.view
    families = (engines.FREQUENCY, engines.ACTIVE, actmon.LOAD)
    names = dict.fromkeys(name for family in families for (name,) in view.all(family))
    known = facts.asked(view, "actmon")
    items = [
        partial(
            _engine,
            name=name,
            load=view.one(actmon.LOAD, name),
            hertz=view.one(engines.FREQUENCY, name),
            active=view.one(engines.ACTIVE, name),
            known=known,
        )
        for name in names
    ]
    first = heading("Engines", [], width, "load and clock" if known else "load needs root")
    return [first, *cells(items, width, max(1, (width + 2) // (_ENGINE + 2)))]


def _engine(
    width: int,
    name: str,
    load: float | None,
    hertz: float | None,
    active: float | None,
    known: bool,
) -> Line:
    state = {None: "", 0.0: "off", 1.0: "on"}[active]
    style: Style = DIM if active == 0 else Style()
    value = f"{percent(load) if known else '':>5} {clock(hertz):>9} {state:>3}"
    return [
        *text(f"{name:<7}", style),
        *bar(load)(max(width - 7 - len(value) - 1, 2)),
        *text(f" {value}", style),
    ]


def _clients(state: State, width: int) -> list[Line]:
    view = state.snapshot.view
    clients = view.all(nvmap.CLIENT)
    total = view.one(nvmap.TOTAL)
    if not facts.asked(view, "nvmap"):
        return [heading("GPU memory by process", [text("needs root")], width)]
    rows: list[list[Cell]] = [headings("process", "pid", "", "GPU memory")]
    rows += [
        [process, pid, bar(size / total if total else None), gib(size, "GiB")]
        for (process, pid), size in clients.items()
    ]
    return [heading("GPU memory by process", [], width), *table(rows, width, "lrfr")]
