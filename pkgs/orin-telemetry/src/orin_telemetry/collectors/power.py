"""The power rails: volts, amperes, watts, limits, alarms, and the module's power."""

from orin_telemetry.collectors.collector import Collector
from orin_telemetry.kernel import Kernel
from orin_telemetry.meter import MILLI, Meter, total_watts
from orin_telemetry.metric import Family, Reading, exists

RAIL = ("rail",)
LEVEL = ("rail", "level")
VOLTS = Family("jetson_rail_volts", "Voltage of the rail where it is measured.", RAIL)
AMPERES = Family("jetson_rail_amperes", "Current of the rail.", RAIL)
WATTS = Family("jetson_rail_watts", "Power of the rail.", RAIL)
LIMIT = Family(
    "jetson_rail_limit_amperes",
    "Current at which the monitor warns: averaged (max) or at once (crit).",
    LEVEL,
)
ALARM = Family("jetson_rail_alarm", "Whether the current is above its limit.", LEVEL)
MODULE = Family(
    "jetson_module_power_watts",
    "Power of the module: measured, or on AGX Orin the sum of its input rails, an estimate.",
    ("method",),
)


class PowerCollector(Collector):
    """The rails' present values come from the meter; limits and alarms from the files."""

    name = "power"

    def __init__(self, kernel: Kernel, meter: Meter) -> None:
        super().__init__(kernel)
        self.meter = meter

    def discover(self, reading: Reading) -> None:
        """Find the rails and their limits."""
        self.meter.discover(reading)
        self.limits = [
            (reading.number(file, divide=MILLI, signed=True), rail.name, level)
            for rail in self.meter.rails
            for level, file in rail.limits.items()
            if exists(file)
        ]
        self.alarms = [
            (file, rail.name, level)
            for rail in self.meter.rails
            for level, file in rail.alarms.items()
            if exists(file)
        ]

    def collect(self, reading: Reading) -> None:
        """Read the alarms, and report the rest."""
        power = self.meter.sample(reading)
        for name, rail in power.items():
            reading.add(VOLTS, rail.volts, name)
            reading.add(AMPERES, rail.amperes, name)
            reading.add(WATTS, rail.watts, name)
        if total := total_watts(power):
            reading.add(MODULE, total[1], total[0])
        for amperes, name, level in self.limits:
            reading.add(LIMIT, amperes, name, level)
        for file, name, level in self.alarms:
            reading.add(ALARM, reading.number(file), name, level)
