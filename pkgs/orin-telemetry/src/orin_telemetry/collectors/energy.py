"""Energy of each rail since the exporter started."""

from orin_telemetry.collectors.collector import Collector
from orin_telemetry.kernel import Kernel
from orin_telemetry.meter import Meter
from orin_telemetry.metric import Family, Reading

RAIL = Family(
    "jetson_energy_joules_total",
    "Energy of the rail, its power sampled every second.",
    ("rail",),
    "counter",
)
MODULE = Family(
    "jetson_module_energy_joules_total",
    "Energy of the module: measured, or on AGX Orin the sum of its input rails, an estimate.",
    ("method",),
    "counter",
)


class EnergyCollector(Collector):
    """What the meter added up."""

    name = "energy"

    def __init__(self, kernel: Kernel, meter: Meter) -> None:
        super().__init__(kernel)
        self.meter = meter

    def discover(self, reading: Reading) -> None:
        """Find the rails."""
        self.meter.discover(reading)

    def collect(self, reading: Reading) -> None:
        """Report the sums. A rail that stopped answering keeps what it had."""
        self.meter.sample(reading)
        # Copies: the sampler may be adding to them.
        for name, joules in self.meter.joules.copy().items():
            reading.add(RAIL, joules, name)
        for method, joules in self.meter.module_joules.copy().items():
            reading.add(MODULE, joules, method)
