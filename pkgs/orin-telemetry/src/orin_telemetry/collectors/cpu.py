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


class Policy:
    """The clocks that some cores share, read once for all of them."""

    def __init__(self, folder: Path) -> None:
        self.governor = folder / "scaling_governor"
        self.clocks = (
            (FREQUENCY, folder / "scaling_cur_freq"),
            (MINIMUM, folder / "scaling_min_freq"),
            (MAXIMUM, folder / "scaling_max_freq"),
            (AVAILABLE_MAXIMUM, folder / "cpuinfo_max_freq"),
        )

    def collect(self, reading: Reading, cores: list[str]) -> None:
        """Read them for the `cores` that are online."""
        for family, file in self.clocks:
            hertz = reading.number(file, multiply=KHZ)
            for core in cores:
                reading.add(family, hertz, core)
        if (governor := reading.word(self.governor)) is not None:
            for core in cores:
                reading.add(GOVERNOR, 1, core, governor)


class CpuCollector(Collector):
    """Every core of the board; a core that the power mode took offline has no clocks."""

    name = "cpu"

    def discover(self, reading: Reading) -> None:
        """Find the cores; the policy of each once it is online."""
        self.folder = self.kernel.sysfs / "devices/system/cpu"
        self.online = self.folder / "online"
        self.cores = sorted(_core_list(reading, self.folder / "present") or ())
        self.policies: dict[Path, Policy] = {}
        self.policy_of: dict[int, Path] = {}

    def collect(self, reading: Reading) -> None:
        """Read the clocks of the cores that are online, and everybody's time."""
        online = _core_list(reading, self.online)
        together: dict[Path, list[str]] = {}
        if online is not None:
            for core in self.cores:
                reading.add(ONLINE, core in online, str(core))
                if core in online and (policy := self._policy(reading, core)):
                    together.setdefault(policy, []).append(str(core))
        for policy, cores in together.items():
            self.policies[policy].collect(reading, cores)
        stat = self.kernel.procfs / "stat"
        if (text := reading.text(stat, _STAT_BYTES)) is not None:
            times = _STAT.findall(text)
            if not times:
                reading.fail(stat, "no line of a core")
            for core_name, *ticks in times:
                reading.add(BUSY, sum(map(int, ticks)) * TICK_S, core_name)

    def _policy(self, reading: Reading, core: int) -> Path | None:
        """Where the core's clocks are; None for one that cannot change them."""
        if core not in self.policy_of:
            cpufreq = self.folder / f"cpu{core}" / "cpufreq"
            if not reading.exists(cpufreq):
                return None
            policy = cpufreq.resolve()
            self.policy_of[core] = policy
            self.policies.setdefault(policy, Policy(policy))
        return self.policy_of[core]


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
