"""Clock and load of the memory, which only root may see."""

from orin_telemetry.collectors.collector import Collector
from orin_telemetry.collectors.emc import FREQUENCY
from orin_telemetry.metric import Family, Reading

UTILIZATION = Family(
    "jetson_emc_utilization_ratio",
    "Part of the memory controller's cycles that moved data, 0 to 1; an estimate on Orin.",
)


class BpmpCollector(Collector):
    """What the boot and power management processor tells in debugfs."""

    name = "bpmp"

    def discover(self, reading: Reading) -> None:
        """Nothing: the files have fixed names."""

    def collect(self, reading: Reading) -> None:
        """Read the clock and the count of active cycles."""
        debug = self.kernel.sysfs / "kernel/debug"
        hertz = reading.number(debug / "bpmp/debug/clk/emc/rate")
        reading.add(FREQUENCY, hertz)
        # Active cycles a millisecond, so kHz: cactmon's scale on the T234 is not documented.
        active = reading.number(debug / "cactmon/mc_all", multiply=1000)
        if hertz and active is not None:
            reading.add(UTILIZATION, min(active / hertz, 1.0))
