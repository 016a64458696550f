"""The external memory controller, as far as any user may see it."""

from orin_telemetry.collectors.collector import Collector
from orin_telemetry.metric import Family, Reading

CAP = Family(
    "jetson_emc_frequency_cap_hertz",
    "Highest memory clock the power mode allows; not the present clock.",
)
FREQUENCY = Family("jetson_emc_frequency_hertz", "Current clock of the memory.")


class EmcCollector(Collector):
    """nvpmodel's cap and, on Thor, the clock itself; elsewhere only root sees it (bpmp)."""

    name = "emc"

    def discover(self, reading: Reading) -> None:
        """Find the files of this release: r36's and r35's cap, Thor's devfreq device."""
        kernel = self.kernel.sysfs / "kernel"
        caps = (kernel / "nvpmodel_clk_cap/emc", kernel / "nvpmodel_emc_cap/emc_iso_cap")
        self.cap = next(filter(reading.exists, caps), None)
        clock = self.kernel.sysfs / "class/devfreq/bwmgr/cur_freq"
        self.clock = clock if reading.exists(clock) else None

    def collect(self, reading: Reading) -> None:
        """Read what there is."""
        if self.cap:
            reading.add(CAP, reading.number(self.cap))
        if self.clock:
            reading.add(FREQUENCY, reading.number(self.clock))
