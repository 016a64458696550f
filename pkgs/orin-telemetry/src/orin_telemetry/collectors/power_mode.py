"""The power mode that nvpmodel set last."""

import re

from orin_core.jetson import Mode, parse_modes
from orin_telemetry.collectors.collector import Collector
from orin_telemetry.kernel import Kernel
from orin_telemetry.metric import Family, Reading

ID = Family("jetson_power_mode_id", "Number of the power mode; it differs between boards.")
INFO = Family("jetson_power_mode_info", "The power mode by name.", ("id", "mode"))
EXPECTED = Family(
    "jetson_power_mode_expected_id", "Number of the power mode the exporter was told to expect."
)

_CONF_BYTES = 1 << 18


class PowerModeCollector(Collector):
    """nvpmodel's record of the mode, named by its configuration file."""

    name = "power_mode"

    def __init__(self, kernel: Kernel, expected: str | None = None) -> None:
        super().__init__(kernel)
        self.expected = expected

    def discover(self, reading: Reading) -> None:
        """Read the names of this board's modes."""
        conf = self.kernel.below_root("etc/nvpmodel.conf")
        text = reading.text(conf, _CONF_BYTES) if reading.exists(conf) else None
        self.modes: list[Mode] = parse_modes(text or "")
        self.conf = conf

    def collect(self, reading: Reading) -> None:
        """Read the mode. nvpmodel writes its record when it first sets one."""
        if not self.modes:
            self.discover(reading)  # at the first boot nvpmodel.service makes the file
        if self.expected is not None:
            self._expect(reading, self.expected)
        status = self.kernel.below_root("var/lib/nvpmodel/status")
        if not reading.exists(status) or (text := reading.text(status)) is None:
            return
        match = re.search(r"^pmode:(\d{1,4})\b", text, re.MULTILINE)
        if match is None:
            reading.fail(status, "no line pmode:NUMBER")
            return
        number = int(match[1])
        name = next((mode.name for mode in self.modes if mode.id == number), "")
        reading.add(ID, number)
        reading.add(INFO, 1, str(number), name)

    def _expect(self, reading: Reading, expected: str) -> None:
        # nvpmodel.conf writes MODE_30W or 30W, depending on the release
        for mode in self.modes:
            if mode.name.upper().removeprefix("MODE_") == expected.upper().removeprefix("MODE_"):
                reading.add(EXPECTED, mode.id)
                return
        known = ", ".join(mode.name for mode in self.modes) or "none"
        reading.fail(self.conf, f"no power mode {expected!r}; it has {known}")
