"""The CPU cores: which are online, their clocks, the time they were busy."""

import os
import re
from pathlib import Path

from orin_telemetry.collectors.collector import Collector
from orin_telemetry.metric import Family, Reading

CPU = ("cpu",)
ONLINE = Family("jetson_cpu_online", "Whether the core is online.", CPU)
FREQUENCY = Family("jetson_cpu_frequency_hertz", "Current clock of the core.", CPU)
MINIMUM = Family("jetson_cpu_frequency_min_hertz", "Lowest clock allowed at present.", CPU)
MAXIMUM = Family("jetson_cpu_frequency_max_hertz", "Highest clock allowed at present.", CPU)
AVAILABLE_MAXIMUM = Family(
    "jetson_cpu_frequency_available_max_hertz", "Highest clock of the hardware.", CPU
)
BUSY = Family(
    "jetson_cpu_busy_seconds_total",
    "Time the core did anything but idle or wait for I/O.",
    CPU,
    "counter",
)
GOVERNOR = Family("jetson_cpu_governor_info", "The cpufreq governor.", ("cpu", "governor"))

KHZ = 1000
TICK_S = 1 / os.sysconf("SC_CLK_TCK")
_STAT_BYTES = 1 << 18  # one line a core, then one number an interrupt
# cpuN user nice system idle iowait irq softirq steal (Documentation/filesystems/proc.rst)
_TICKS = r" ([0-9]{1,19})"
_STAT = re.compile(
    rf"^cpu([0-9]{{1,3}}){_TICKS * 3} [0-9]+ [0-9]+{_TICKS * 3}(?![0-9])", re.MULTILINE
)


class Core:
    """A core's number as a label, and its files: joining paths is a fifth of a scrape's cost."""

    def __init__(self, name: str, cpufreq: Path) -> None:
        self.name, self.cpufreq = name, cpufreq
        self.maximum = cpufreq / "cpuinfo_max_freq"
        self.governor = cpufreq / "scaling_governor"
        self.clocks = (
            (FREQUENCY, cpufreq / "scaling_cur_freq"),
            (MINIMUM, cpufreq / "scaling_min_freq"),
            (MAXIMUM, cpufreq / "scaling_max_freq"),
        )


class CpuCollector(Collector):
    """Every core of the board; a core that the power mode took offline has no clocks."""

    name = "cpu"

    def discover(self, reading: Reading) -> None:
        """Find the cores; the highest clock of each is read once it is online."""
        folder = self.kernel.sysfs / "devices/system/cpu"
        self.online = folder / "online"
        self.cores = {
            core: Core(str(core), folder / f"cpu{core}" / "cpufreq")
            for core in sorted(_core_list(reading, folder / "present") or ())
        }
        self.highest: dict[str, float | None] = {}

    def collect(self, reading: Reading) -> None:
        """Read the clocks of the cores that are online, and everybody's time."""
        online = _core_list(reading, self.online)
        for number, core in self.cores.items():
            if online is None:
                break
            reading.add(ONLINE, number in online, core.name)
            if number not in online or not reading.exists(core.cpufreq):
                continue
            if core.name not in self.highest:
                self.highest[core.name] = reading.number(core.maximum, multiply=KHZ)
            reading.add(AVAILABLE_MAXIMUM, self.highest[core.name], core.name)
            for family, file in core.clocks:
                reading.add(family, reading.number(file, multiply=KHZ), core.name)
            if (governor := reading.word(core.governor)) is not None:
                reading.add(GOVERNOR, 1, core.name, governor)
        stat = self.kernel.procfs / "stat"
        if (text := reading.text(stat, _STAT_BYTES)) is not None:
            times = _STAT.findall(text)
            if not times:
                reading.fail(stat, "no line of a core")
            for core_name, *ticks in times:
                reading.add(BUSY, sum(map(int, ticks)) * TICK_S, core_name)


def _core_list(reading: Reading, path: Path) -> set[int] | None:
    """The kernel's list of cores: "0-3,6" is 0, 1, 2, 3, 6."""
    text = reading.text(path)
    if text is None:
        return None
    cores: set[int] = set()
    for part in text.strip().split(","):
        span = re.fullmatch(r"([0-9]{1,3})(?:-([0-9]{1,3}))?", part)
        if span is None:
            reading.fail(path, "not a list of cores")
            return None
        cores.update(range(int(span[1]), int(span[2] or span[1]) + 1))
    return cores
