"""Load of the video and vision engines, which only root may see."""

from pathlib import Path

from orin_telemetry.collectors.collector import Collector
from orin_telemetry.metric import Family, Reading

LOAD = Family(
    "jetson_engine_load_ratio", "Part of the time the engine was busy, 0 to 1.", ("engine",)
)


class ActmonCollector(Collector):
    """The activity monitors of host1x in debugfs, in thousandths."""

    name = "actmon"

    def discover(self, reading: Reading) -> None:
        """Find them."""
        folder = self.kernel.sysfs / "kernel/debug/tegra-host1x/actmon"
        self.usage: dict[str, Path] = {}
        for engine in reading.entries(folder):
            for module in reading.entries(engine):
                if reading.exists(usage := module / "usage"):
                    self.usage.setdefault(engine.name, usage)
        if not self.usage:
            reading.fail(folder, "no activity monitor; needs root and a host1x driver with one")

    def collect(self, reading: Reading) -> None:
        """Read them."""
        for engine, usage in self.usage.items():
            reading.add(LOAD, reading.number(usage, divide=1000, highest=1000), engine)
