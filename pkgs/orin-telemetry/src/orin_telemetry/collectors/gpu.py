"""The GPU: clocks, load, power state, railgating."""

import re
from pathlib import Path

from orin_core.jetson import find_gpu
from orin_telemetry.collectors.collector import Collector
from orin_telemetry.metric import SWITCH, Family, Reading

GPU = ("gpu",)
FREQUENCY = Family("jetson_gpu_frequency_hertz", "Current clock of the GPU.", GPU)
MINIMUM = Family("jetson_gpu_frequency_min_hertz", "Lowest clock allowed at present.", GPU)
MAXIMUM = Family("jetson_gpu_frequency_max_hertz", "Highest clock allowed at present.", GPU)
AVAILABLE_MINIMUM = Family(
    "jetson_gpu_frequency_available_min_hertz", "Lowest clock of the hardware.", GPU
)
AVAILABLE_MAXIMUM = Family(
    "jetson_gpu_frequency_available_max_hertz", "Highest clock of the hardware.", GPU
)
LOCKED = Family(
    "jetson_gpu_clocks_locked", "Whether lowest and highest allowed clock are the same.", GPU
)
LOAD = Family("jetson_gpu_load_ratio", "Part of the time the GPU was busy, 0 to 1.", GPU)
POWERED = Family("jetson_gpu_powered", "Whether the GPU is powered on.", GPU)
RAILGATED = Family("jetson_gpu_railgated", "Whether the GPU's supply rail is gated off.", GPU)
RAILGATING = Family(
    "jetson_gpu_railgating_enabled", "Whether an idle GPU may have its supply gated off.", GPU
)
RAILGATE_DELAY = Family(
    "jetson_gpu_railgate_delay_seconds", "How long the GPU idles before its supply is gated.", GPU
)
POWERGATED = Family(
    "jetson_gpu_powergated_units",
    "Processing clusters (gpc) and pairs of multiprocessors (tpc) the power mode switched off.",
    ("gpu", "unit"),
)
GOVERNOR = Family("jetson_gpu_governor_info", "The devfreq governor.", ("gpu", "governor"))

OPTIONAL = (
    "load",
    "gpu_powered_on",
    "is_railgated",
    "railgate_enable",
    "railgate_delay",
    "gpc_pg_mask",
    "tpc_pg_mask",
)
YES_NO: dict[str, float | None] = {"yes": 1, "no": 0}
POWER: dict[str, float | None] = {"on": 1, "off": 0, "powering on": 0}


class GpuCollector(Collector):
    """The GPU's devfreq device. Thor has no `load`; its video clock domain is an engine."""

    name = "gpu"

    def discover(self, reading: Reading) -> None:
        """Find the GPU and what of it this driver has."""
        clocked = reading.entries(self.kernel.sysfs / "class/devfreq")
        self.gpu = find_gpu(self.kernel.sysfs) if clocked else None
        if self.gpu is None:
            return
        device = self.gpu / "device"
        self.files: dict[str, Path] = {
            name: device / name for name in OPTIONAL if reading.exists(device / name)
        }
        self.available: list[float] = []
        listed = reading.text(self.gpu / "available_frequencies")
        if listed is not None:
            words = listed.split()
            self.available = [int(word) for word in words if re.fullmatch("[0-9]{1,19}", word)]
            if not words or len(self.available) != len(words):
                reading.fail(self.gpu / "available_frequencies", "not a list of frequencies")

    def collect(self, reading: Reading) -> None:
        """Read the clocks, and the load only of a GPU that is on: asking wakes it."""
        if self.gpu is None:
            return
        gpu = self.gpu.name
        low = reading.number(self.gpu / "min_freq")
        high = reading.number(self.gpu / "max_freq")
        reading.add(FREQUENCY, reading.number(self.gpu / "cur_freq"), gpu)
        reading.add(MINIMUM, low, gpu)
        reading.add(MAXIMUM, high, gpu)
        if low is not None and high is not None:
            # Throttled down to its lowest clock, every GPU looks locked.
            throttled = bool(self.available) and high <= min(self.available)
            reading.add(LOCKED, low == high and not throttled, gpu)
        if self.available:
            reading.add(AVAILABLE_MINIMUM, min(self.available), gpu)
            reading.add(AVAILABLE_MAXIMUM, max(self.available), gpu)
        if (governor := reading.word(self.gpu / "governor")) is not None:
            reading.add(GOVERNOR, 1, gpu, governor)

        powered: float | None = 1
        if file := self.files.get("gpu_powered_on"):
            powered = reading.choice(file, POWER)
            reading.add(POWERED, powered, gpu)
        if file := self.files.get("load"):
            if powered:
                reading.add(LOAD, reading.number(file, divide=1000, highest=1000), gpu)
            elif powered == 0:
                reading.add(LOAD, 0, gpu)  # off is known to do nothing
        if file := self.files.get("is_railgated"):
            reading.add(RAILGATED, reading.choice(file, YES_NO), gpu)
        if file := self.files.get("railgate_enable"):
            reading.add(RAILGATING, reading.choice(file, SWITCH), gpu)
        if file := self.files.get("railgate_delay"):
            reading.add(RAILGATE_DELAY, reading.number(file, divide=1000), gpu)
        for unit in ("gpc", "tpc"):
            if file := self.files.get(f"{unit}_pg_mask"):
                mask = reading.mask(file)
                reading.add(POWERGATED, None if mask is None else mask.bit_count(), gpu, unit)
