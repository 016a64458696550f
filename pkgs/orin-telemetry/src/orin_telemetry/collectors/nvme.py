"""Temperature of NVMe disks."""

import re
from dataclasses import dataclass
from pathlib import Path

from orin_telemetry.collectors.collector import Collector
from orin_telemetry.metric import Family, Reading

SENSOR = ("device", "sensor")
TEMPERATURE = Family("jetson_nvme_celsius", "Temperature of the disk.", SENSOR)
LIMIT = Family(
    "jetson_nvme_limit_celsius",
    "Temperature at which the disk warns (max) or protects itself (crit).",
    (*SENSOR, "level"),
)

MILLI = 1000
# The driver gives 65261.85 C, the highest the register holds, for a limit that is not set.
_HIGHEST_C = 1000.0


@dataclass(frozen=True)
class Sensor:
    """A sensor's file, its disk, its label and its limits by level."""

    file: Path
    device: str
    name: str
    limits: dict[str, float]


class NvmeCollector(Collector):
    """The hwmon device of each disk. Asking is a command to the disk, so it is asked seldom."""

    name = "nvme"
    lifetime_s = 10.0

    def discover(self, reading: Reading) -> None:
        """Find the sensors and their limits."""
        self.sensors: list[Sensor] = []
        for folder in reading.hwmon("nvme"):
            device = (folder / "device").resolve().name
            for file in reading.entries(folder):
                if not (match := re.fullmatch(r"(temp\d+)_input", file.name)):
                    continue
                label = folder / f"{match[1]}_label"
                name = reading.word(label) if reading.exists(label) else match[1]
                limits = {
                    level: celsius
                    for level in ("max", "crit")
                    if reading.exists(limit := folder / f"{match[1]}_{level}")
                    and (celsius := reading.number(limit, divide=MILLI, signed=True)) is not None
                    and celsius < _HIGHEST_C
                }
                self.sensors.append(Sensor(file, device, name or match[1], limits))

    def collect(self, reading: Reading) -> None:
        """Read the temperatures."""
        for sensor in self.sensors:
            celsius = reading.number(sensor.file, divide=MILLI, signed=True)
            reading.add(TEMPERATURE, celsius, sensor.device, sensor.name)
            for level, limit in sensor.limits.items():
                reading.add(LIMIT, limit, sensor.device, sensor.name, level)
