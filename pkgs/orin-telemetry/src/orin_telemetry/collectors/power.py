"""The power rails: volts, amperes, watts, limits, alarms, and the module's power."""

from pathlib import Path

from orin_telemetry.collectors.collector import Collector
from orin_telemetry.kernel import Kernel
from orin_telemetry.meter import FRESH_S, MILLI, Meter, Rail, total_watts
from orin_telemetry.metric import SWITCH, Family, Reading

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
ALARM = Family(
    "jetson_rail_alarm",
    "Whether the current is above its limit; crit is the monitor's flag, which reading clears.",
    LEVEL,
)
MODULE = Family(
    "jetson_module_power_watts",
    "Power of the module: measured, or on AGX Orin the sum of its input rails, an estimate.",
    ("method",),
)

MICRO = 1_000_000
# 0x7ff8, what the limit registers hold after a reset: 163.8 mV across the shunt (TI SBOS576)
FULL_SCALE_V = 0.1638


class PowerCollector(Collector):
    """The rails' present values come from the meter; limits and alarms from the files."""

    name = "power"
    lifetime_s = FRESH_S  # no register of a monitor more than once a second

    def __init__(self, kernel: Kernel, meter: Meter) -> None:
        super().__init__(kernel)
        self.meter = meter

    def discover(self, reading: Reading) -> None:
        """Find the rails and their limits."""
        self.meter.discover(reading)
        self.limits = [
            (rail.name, level, amperes)
            for rail in self.meter.rails
            for level, file in rail.limits.items()
            if reading.exists(file) and (amperes := _limit(reading, rail, file)) is not None
        ]
        self.alarms = [
            (rail.name, rail.alarm) for rail in self.meter.rails if reading.exists(rail.alarm)
        ]

    def collect(self, reading: Reading) -> None:
        """Read the alarms, and report the rest."""
        power = self.meter.sample(reading)
        for name, rail in power.items():
            reading.add(VOLTS, rail.volts, name)
            reading.add(AMPERES, rail.amperes, name)
            reading.add(WATTS, rail.watts, name)
        for method, watts in total_watts(power).items():
            reading.add(MODULE, watts, method)
        for name, level, limit in self.limits:
            reading.add(LIMIT, limit, name, level)
            # The monitor's own flag would be seen on one channel alone: all flags share a register
            # that reading clears, and the average they compare takes half a second.
            amperes = power[name].amperes if name in power else None
            if level == "max" and amperes is not None:
                reading.add(ALARM, amperes > limit, name, level)
        for name, file in self.alarms:
            reading.add(ALARM, reading.choice(file, SWITCH), name, "crit")


def _limit(reading: Reading, rail: Rail, file: Path) -> float | None:
    """The limit in amperes; None where it was never set and the register holds its highest."""
    amperes = reading.number(file, divide=MILLI, signed=True)
    if amperes is None or not reading.exists(rail.shunt):
        return amperes
    ohms = reading.number(rail.shunt, divide=MICRO)
    return None if ohms is None or amperes * ohms >= FULL_SCALE_V else amperes
