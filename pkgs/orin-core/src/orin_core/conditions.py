"""How the machine stands while it is measured: clocks, heat, power, throttling."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path
from typing import Literal

from orin_core import nvidia, sysfs
from orin_core.jetson import find_gpu, parse_modes

# Bits of NVML's clocks event reasons (nvml.h).
_IDLE, _OWNERS_SETTING = 0x1, 0x2
THROTTLING = {
    0x4: "software power cap",
    0x8: "hardware slowdown",
    0x10: "sync boost",
    0x20: "software thermal slowdown",
    0x40: "hardware thermal slowdown",
    0x80: "hardware power brake",
}
# Drivers from 535 on say event, older ones throttle; some know both.
_REASONS = ("clocks_event_reasons.active", "clocks_throttle_reasons.active")
# Microseconds since the driver was loaded; younger drivers have them.
_COUNTERS = {
    f"clocks_event_reasons_counters.{name}": THROTTLING[bit]
    for bit, name in {
        0x4: "sw_power_cap",
        0x10: "sync_boost",
        0x20: "sw_thermal_slowdown",
        0x40: "hw_thermal_slowdown",
        0x80: "hw_power_brake_slowdown",
    }.items()
}
# What raises each on AGX Orin (L4T's soctherm device tree).
_OVERCURRENT = {"oc1": "under-voltage", "oc2": "average current", "oc3": "instantaneous current"}

# NVIDIA's GPUs slow down between 83 and 93 C, an Orin at 99 C.
HOT_C = 83.0


@dataclass(frozen=True)
class Conditions:
    """One reading of how the machine stands; a value that it does not tell is None.

    `throttle_counts` are counters since the machine started: events on a Jetson, microseconds by
    nvidia-smi. `clocks_locked` is None where a lock would not show: on an idle GPU, and on one at
    its maximum.
    """

    gpu: Literal["jetson", "nvidia"] | None = None
    gpu_clock_hz: float | None = None
    gpu_clock_max_hz: float | None = None
    memory_clock_hz: float | None = None
    gpu_temperature_c: float | None = None
    cpu_clock_hz: float | None = None
    power_w: float | None = None
    clocks_locked: bool | None = None
    throttle_reasons: tuple[str, ...] = ()
    throttle_counts: Mapping[str, int] = field(default_factory=dict)
    power_mode: str | None = None
    cpu_governor: str | None = None

    def __str__(self) -> str:
        """What is known, in a line for people."""
        known = {
            "GPU {:.0f} MHz": _mega(self.gpu_clock_hz),
            "at most {:.0f} MHz": _mega(self.gpu_clock_max_hz),
            "memory {:.0f} MHz": _mega(self.memory_clock_hz),
            "{:.0f} C": self.gpu_temperature_c,
            "{:.0f} W": self.power_w,
            "CPU {:.0f} MHz": _mega(self.cpu_clock_hz),
            "governor {}": self.cpu_governor,
            "power mode {}": self.power_mode,
        }
        locked = {True: ["clocks locked"], False: ["clocks not locked"], None: []}
        said = [text.format(value) for text, value in known.items() if value is not None]
        return ", ".join([*said, *locked[self.clocks_locked]]) or "not told by this machine"


def read_conditions(root: Path = Path("/"), query: nvidia.Query = nvidia.query) -> Conditions:
    """How this machine stands now: from the kernel's files below `root`, and from nvidia-smi
    where the GPU is no Jetson's."""
    cpu = replace(Conditions(), cpu_clock_hz=_cpu_clock(root), cpu_governor=_governor(root / "sys"))
    if gpu := find_gpu(root / "sys"):
        return _jetson(cpu, gpu, root)
    return _nvidia(cpu, query)


def warnings(before: Conditions, after: Conditions) -> list[str]:
    """What makes a measurement between two readings doubtful, and the remedy."""
    found = []
    remedy = {
        "jetson": "`orin-tune pin` or orin.performance locks them",
        "nvidia": "`nvidia-smi -lgc MHZ` locks them",
    }.get(after.gpu or "")
    if False in (before.clocks_locked, after.clocks_locked):
        found.append(f"the GPU's clocks are not locked; {remedy}")
    elif after.clocks_locked is None and remedy:
        found.append(f"whether the GPU's clocks are locked is not told; {remedy}")
    counted = [
        name
        for name, count in after.throttle_counts.items()
        if count > before.throttle_counts.get(name, count)
    ]
    if reasons := dict.fromkeys([*before.throttle_reasons, *after.throttle_reasons, *counted]):
        found.append(
            f"the GPU was throttled ({', '.join(reasons)}); cool it better, raise its power limit"
            " or lock its clocks lower"
        )
    hottest = max(before.gpu_temperature_c or 0, after.gpu_temperature_c or 0)
    if hottest >= HOT_C:
        found.append(f"the GPU was at {hottest:.0f} C, about where it slows down; cool it better")
    if after.cpu_governor not in (None, "performance"):
        found.append(
            f"the CPU's governor is {after.cpu_governor}; orin.performance or"
            " `cpupower frequency-set -g performance` keeps its clock up"
        )
    return found


class Watch:
    """The conditions before something runs and after it, and the throttling in between.

    Throttling under load is gone from nvidia-smi's answer when the load is; a Jetson counts it.
    """

    def __init__(self, root: Path = Path("/"), query: nvidia.Query = nvidia.query) -> None:
        self._root, self._query = root, query
        self.before = read_conditions(root, query)
        known = (name for name in _REASONS if self.before.gpu == "nvidia" and query([name]))
        field = next(known, None)
        self._loop = nvidia.Loop(field) if field else None

    def stop(self) -> Conditions:
        """Read the conditions again, with every reason for throttling since the first reading."""
        seen = [_reasons(_bits(value)) for value in (self._loop.stop() if self._loop else [])]
        after = read_conditions(self._root, self._query)
        reasons = dict.fromkeys(chain(*seen, after.throttle_reasons))
        return replace(after, throttle_reasons=tuple(reasons))


def _jetson(cpu: Conditions, gpu: Path, root: Path) -> Conditions:
    low, high = (_number(gpu / f"{name}_freq") for name in ("min", "max"))
    return replace(
        cpu,
        gpu="jetson",
        gpu_clock_hz=_number(gpu / "cur_freq"),
        gpu_clock_max_hz=high,
        memory_clock_hz=_number(root / "sys/kernel/debug/bpmp/debug/clk/emc/rate"),
        gpu_temperature_c=_gpu_temperature(root / "sys/class/thermal"),
        clocks_locked=None if low is None or high is None else low == high,
        throttle_reasons=tuple(_thermal_alerts(root / "sys/class/thermal")),
        throttle_counts=dict(_overcurrent(root / "sys/class/hwmon")),
        power_mode=_power_mode(root),
    )


def _nvidia(cpu: Conditions, query: nvidia.Query) -> Conditions:
    fields = ("clocks.sm", "clocks.max.sm", "clocks.mem", "temperature.gpu", "power.draw")
    values = query(fields)
    if values is None:
        return cpu
    clock, highest, memory, celsius, watts = map(nvidia.number, values)
    bits = next((_bits(found[0]) for name in _REASONS if (found := query([name]))), None)
    counts = query(list(_COUNTERS)) or []
    return replace(
        cpu,
        gpu="nvidia",
        gpu_clock_hz=_hertz(clock),
        gpu_clock_max_hz=_hertz(highest),
        memory_clock_hz=_hertz(memory),
        gpu_temperature_c=celsius,
        power_w=watts,
        clocks_locked=_locked(bits, clock, highest),
        throttle_reasons=_reasons(bits),
        throttle_counts={
            name: int(count)
            for name, text in zip(_COUNTERS.values(), counts, strict=bool(counts))
            if (count := nvidia.number(text)) is not None
        },
    )


def _locked(bits: int | None, clock: float | None, highest: float | None) -> bool | None:
    if bits is None or clock is None or highest is None:
        return None
    if bits & _OWNERS_SETTING:
        return True
    return None if bits & _IDLE or clock >= highest else False


def _bits(value: str) -> int | None:
    """NVML's mask, as "0x0000000000000004"; None for "[N/A]" and the like."""
    return int(value, 16) if re.fullmatch("0x[0-9a-fA-F]+", value.strip()) else None


def _reasons(bits: int | None) -> tuple[str, ...]:
    return tuple(name for bit, name in THROTTLING.items() if (bits or 0) & bit)


def _hertz(mega: float | None) -> float | None:
    return None if mega is None else mega * 1e6


def _mega(hertz: float | None) -> float | None:
    return None if hertz is None else hertz / 1e6


def _cpu_clock(root: Path) -> float | None:
    """The highest of the cores' clocks at present; cpufreq's are in kHz."""
    policies = (root / "sys/devices/system/cpu/cpufreq").glob("policy*/scaling_cur_freq")
    if clocks := [khz * 1e3 for policy in policies if (khz := _number(policy)) is not None]:
        return max(clocks)
    found = re.findall(r"^cpu MHz\s*: ([0-9.]+)$", _text(root / "proc/cpuinfo"), re.MULTILINE)
    return max((float(mhz) * 1e6 for mhz in found), default=None)


def _governor(sys: Path) -> str | None:
    policies = (sys / "devices/system/cpu/cpufreq").glob("policy*/scaling_governor")
    names = {name for file in policies if re.fullmatch(r"[\w-]+", name := _text(file), re.ASCII)}
    return ", ".join(sorted(names)) or None


def _gpu_temperature(thermal: Path) -> float | None:
    # r36 says gpu-thermal, r35 GPU-therm; a GPU without power has a silent sensor.
    for zone in sorted(thermal.glob("thermal_zone*")):
        if _text(zone / "type").lower().startswith("gpu-therm"):
            milli = _number(zone / "temp")
            return None if milli is None else milli / 1000
    return None


def _thermal_alerts(thermal: Path) -> list[str]:
    """L4T's alerts are cooling devices; state 1 is an alert."""
    suffix = "-throttle-alert"
    devices = [
        (_text(file / "type"), _number(file / "cur_state"))
        for file in sorted(thermal.glob("cooling_device*"))
    ]
    return [f"{kind.removesuffix(suffix)} heat" for kind, on in devices if on and suffix in kind]


def _overcurrent(hwmon: Path) -> list[tuple[str, int]]:
    """Times that soctherm slowed the board down since it started, by cause."""
    counts = []
    for device in sorted(hwmon.glob("hwmon*")):
        if _text(device / "name") == "soctherm_oc":
            for oc, cause in _OVERCURRENT.items():
                count = _number(device / f"{oc}_event_cnt")
                counts += [] if count is None else [(cause, int(count))]
    return counts


def _power_mode(root: Path) -> str | None:
    """nvpmodel's record of the last mode it was given, by name where nvpmodel.conf has one."""
    record = re.search(r"^pmode:([0-9]{1,4})\b", _text(root / "var/lib/nvpmodel/status"), re.M)
    if record is None:
        return None
    number = int(record[1])
    modes = parse_modes(_text(root / "etc/nvpmodel.conf"))
    return next((mode.name for mode in modes if mode.id == number), f"id {number}")


def _number(path: Path) -> float | None:
    text = _text(path)
    return float(text) if re.fullmatch("-?[0-9]{1,19}", text) else None


def _text(path: Path) -> str:
    try:
        return sysfs.read(path).strip()
    except OSError:
        return ""
