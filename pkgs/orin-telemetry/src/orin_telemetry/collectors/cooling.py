"""Cooling devices: what the kernel holds back at present, and who raised the alarm."""

from dataclasses import dataclass
from pathlib import Path

from orin_telemetry.collectors.collector import Collector
from orin_telemetry.metric import Family, Reading

DEVICE = ("device", "type")
STATE = Family(
    "jetson_cooling_device_state", "Present state: 0 is no cooling, the maximum all of it.", DEVICE
)
MAXIMUM = Family("jetson_cooling_device_max_state", "Highest state of the device.", DEVICE)
THROTTLING = Family(
    "jetson_throttling", "Whether this part's temperature slows the board down.", ("unit",)
)
HOT_SURFACE = Family("jetson_hot_surface", "Whether the surface is too hot to touch.")

_ALERT = "-throttle-alert"


@dataclass(frozen=True)
class Device:
    """A cooling device's labels, the file of its state, and its highest state."""

    name: str
    kind: str
    state: Path
    highest: float | None


class CoolingCollector(Collector):
    """Every cooling device. L4T's alerts are devices too: state 1 is an alert."""

    name = "cooling"

    def discover(self, reading: Reading) -> None:
        """Find the devices."""
        self.devices: list[Device] = []
        for entry in reading.entries(self.kernel.sysfs / "class/thermal"):
            if entry.name.startswith("cooling_device") and (kind := reading.word(entry / "type")):
                highest = reading.number(entry / "max_state")
                self.devices.append(Device(entry.name, kind, entry / "cur_state", highest))

    def collect(self, reading: Reading) -> None:
        """Read the states."""
        alerts: dict[str, float] = {}
        for device in self.devices:
            state = reading.number(device.state)
            reading.add(STATE, state, device.name, device.kind)
            reading.add(MAXIMUM, device.highest, device.name, device.kind)
            if state is not None and device.kind.endswith("-alert"):
                alerts[device.kind] = max(alerts.get(device.kind, 0), state)
        for kind, state in alerts.items():
            if kind == "hot-surface-alert":
                reading.add(HOT_SURFACE, state > 0)
            elif kind.endswith(_ALERT):
                reading.add(THROTTLING, state > 0, kind.removesuffix(_ALERT))
