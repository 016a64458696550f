"""The engines beside the GPU: video, JPEG, optical flow, vision and deep learning."""

import re
from dataclasses import dataclass
from pathlib import Path

from orin_telemetry.collectors.collector import Collector
from orin_telemetry.metric import Family, Reading

ENGINE = ("engine",)
FREQUENCY = Family("jetson_engine_frequency_hertz", "Current clock of the engine.", ENGINE)
MINIMUM = Family("jetson_engine_frequency_min_hertz", "Lowest clock allowed at present.", ENGINE)
MAXIMUM = Family("jetson_engine_frequency_max_hertz", "Highest clock allowed at present.", ENGINE)
ACTIVE = Family("jetson_engine_active", "Whether the engine is powered for work.", ENGINE)

CLOCKS = ((FREQUENCY, "cur_freq"), (MINIMUM, "min_freq"), (MAXIMUM, "max_freq"))

# "15340000.vic": the address, then the device tree's name; Thor's video clocks have a name alone.
_DEVICE = re.compile(r"[0-9a-f]+\.((?:vic|nvdec|nvenc|nvjpg|ofa|nvdla|pva)\d?)|gpu-(nvd)-\d+")

# Documentation/ABI/testing/sysfs-devices-power; what a driver does not say is left out
RUNTIME: dict[str, float | None] = {
    "active": 1,
    "resuming": 1,
    "suspending": 0,
    "suspended": 0,
    "unsupported": None,
    "error": None,
}


@dataclass(frozen=True)
class Engine:
    """An engine's name, the files of its clocks, and its runtime power state where it has one."""

    name: str
    clocks: list[tuple[Family, Path]]
    status: Path | None


class EnginesCollector(Collector):
    """Engines with a devfreq device have clocks; the accelerators (DLA, PVA) only a state."""

    name = "engines"

    def discover(self, reading: Reading) -> None:
        """Find them. Of engines with one name, the second by address is number 1, as L4T's.

        Xavier's device tree numbers its second ones itself: nvenc1.
        """
        self.engines: list[Engine] = []
        clocked = reading.entries(self.kernel.sysfs / "class/devfreq")
        devices = reading.entries(self.kernel.sysfs / "bus/platform/devices")
        names = {entry.name for entry in clocked}
        found: list[tuple[Path | None, Path]] = [(entry, entry / "device") for entry in clocked]
        found += [(None, entry) for entry in devices if entry.name not in names]
        seen: dict[str, int] = {}
        for devfreq, device in sorted(found, key=lambda pair: (pair[0] or pair[1]).name):
            match = _DEVICE.fullmatch((devfreq or device).name)
            if match is None:
                continue
            kind = match[1] or match[2]
            number = seen[kind] = seen.get(kind, -1) + 1
            status = device / "power/runtime_status"
            clocks = [(family, devfreq / file) for family, file in CLOCKS] if devfreq else []
            self.engines.append(
                Engine(
                    f"{kind}{number}" if number else kind,
                    clocks,
                    status if reading.exists(status) else None,
                )
            )

    def collect(self, reading: Reading) -> None:
        """Read clocks and states."""
        for engine in self.engines:
            if engine.status:
                reading.add(ACTIVE, reading.choice(engine.status, RUNTIME), engine.name)
            for family, file in engine.clocks:
                reading.add(family, reading.number(file), engine.name)
