"""Over-current events: throttling that no clock shows."""

import re
from pathlib import Path

from orin_telemetry.collectors.collector import Collector
from orin_telemetry.metric import SWITCH, Family, Reading

LABELS = ("oc", "reason")
EVENTS = Family(
    "jetson_overcurrent_events_total",
    "Times the power management chip slowed the board down since it started.",
    LABELS,
    "counter",
)
ENABLED = Family(
    "jetson_overcurrent_throttle_enabled", "Whether such an event slows the board down.", LABELS
)

# What raises each on AGX Orin (L4T's soctherm device tree)
REASONS = {"oc1": "under_voltage", "oc2": "average", "oc3": "instantaneous"}


class OvercurrentCollector(Collector):
    """The counters of SOC_THERM."""

    name = "overcurrent"

    def discover(self, reading: Reading) -> None:
        """Find the counters."""
        self.counters: dict[str, Path] = {}
        for folder in reading.hwmon("soctherm_oc"):
            for entry in reading.entries(folder):
                if match := re.fullmatch(r"(oc\d+)_event_cnt", entry.name):
                    self.counters[match[1]] = entry

    def collect(self, reading: Reading) -> None:
        """Read them."""
        for name, file in self.counters.items():
            reason = REASONS.get(name, "unknown")
            reading.add(EVENTS, reading.number(file), name, reason)
            switch = file.with_name(f"{name}_throt_en")
            if reading.exists(switch):
                reading.add(ENABLED, reading.choice(switch, SWITCH), name, reason)
