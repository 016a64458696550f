"""Thermal zones: temperatures, trip points, and how far away these are."""

import errno
import re
from dataclasses import dataclass
from pathlib import Path

from orin_telemetry.collectors.collector import Collector
from orin_telemetry.metric import Family, Reading

ZONE = ("zone",)
TEMPERATURE = Family("jetson_thermal_zone_celsius", "Temperature of the zone.", ZONE)
AVAILABLE = Family(
    "jetson_thermal_zone_available",
    "Whether the zone's sensor answers; that of a part without power does not.",
    ZONE,
)
TRIP = Family(
    "jetson_thermal_trip_celsius",
    "Temperature at which the kernel acts: slows down (passive) or shuts down (critical).",
    ("zone", "trip", "type"),
)
HEADROOM = Family(
    "jetson_thermal_headroom_celsius",
    "Kelvins left to the trip point that throttles (passive) or shuts down (critical).",
    ("zone", "type"),
)

MILLI = 1000
OFF = (errno.EAGAIN,)  # BPMP's answer for the sensor of a part without power
# Xavier's power chip has a comparator, no sensor: the zone says 100 C (or 50) whatever happens.
_DUMMY = "PMIC-Die"
_SUFFIX = re.compile(r"-thermal$|-therm$|_tegra$")
# Older kernels answer -256000 for it instead; nothing on a board is colder than -100 C.
_COLDEST_C = -100.0


@dataclass(frozen=True)
class Zone:
    """A zone's temperature file, its name in labels and its trips as (number, type, celsius)."""

    temp: Path
    name: str
    trips: list[tuple[str, str, float]]
    complete: bool  # whether every trip could be read


class ThermalCollector(Collector):
    """Every zone of class/thermal, whatever its number."""

    name = "thermal"

    def discover(self, reading: Reading) -> None:
        """Find the zones and their trip points."""
        self.zones: list[Zone] = []
        names: set[str] = set()
        for entry in reading.entries(self.kernel.sysfs / "class/thermal"):
            if not entry.name.startswith("thermal_zone"):
                continue
            if (kind := reading.word(entry / "type")) in (None, _DUMMY):
                continue
            # r36 says cpu-thermal, r35 CPU-therm: one name, so that dashboards need not care
            name = _SUFFIX.sub("", kind.lower())
            if name in names:
                name = f"{name}-{entry.name.removeprefix('thermal_zone')}"
            names.add(name)
            failures = len(reading.failures)
            trips = _trips(reading, entry)
            complete = len(reading.failures) == failures
            self.zones.append(Zone(entry / "temp", name, trips, complete))

    def collect(self, reading: Reading) -> None:
        """Read the temperatures; a zone that is off has its trips and nothing else."""
        for zone in self.zones:
            failures = len(reading.failures)
            celsius = reading.number(zone.temp, divide=MILLI, off=OFF, signed=True)
            if celsius is not None and celsius < _COLDEST_C:
                celsius = None
            if len(reading.failures) == failures:
                reading.add(AVAILABLE, celsius is not None, zone.name)
            reading.add(TEMPERATURE, celsius, zone.name)
            for number, kind, trip in zone.trips:
                reading.add(TRIP, trip, zone.name, number, kind)
            if celsius is None or not zone.complete:  # the highest trip may be the unknown one
                continue
            for kind in ("passive", "critical"):
                # A lower passive trip only warns of a hot surface; the highest one throttles.
                if points := [trip for _, type_, trip in zone.trips if type_ == kind]:
                    reading.add(HEADROOM, max(points) - celsius, zone.name, kind)


def _trips(reading: Reading, zone: Path) -> list[tuple[str, str, float]]:
    trips = []
    number = 0
    while reading.exists(zone / f"trip_point_{number}_type"):
        kind = reading.word(zone / f"trip_point_{number}_type")
        celsius = reading.number(zone / f"trip_point_{number}_temp", divide=MILLI, signed=True)
        # A trip that is not in use is below zero or, written by a driver, at the end of the range.
        if kind is not None and celsius is not None and 0 < celsius < 1000:
            trips.append((str(number), kind, celsius))
        number += 1
    return trips
