"""Fans: what they are told and how fast they turn."""

from orin_telemetry.collectors.collector import Collector
from orin_telemetry.metric import Family, Reading

FAN = ("fan",)
SPEED = Family("jetson_fan_speed_rpm", "Revolutions a minute.", FAN)
PWM = Family("jetson_fan_pwm_ratio", "Duty cycle the fan is driven with, 0 to 1.", FAN)

_FULL = 255  # Documentation/hwmon/pwm-fan.rst


class FanCollector(Collector):
    """L4T has two drivers: one drives the fan, the other counts its turns."""

    name = "fan"

    def discover(self, reading: Reading) -> None:
        """Find both; the kernel's own pwm-fan driver has the speed in its own folder."""
        driven = reading.hwmon("pwmfan")
        self.pwm = [file for folder in driven if reading.exists(file := folder / "pwm1")]
        candidates = [folder / "rpm" for folder in reading.hwmon("pwm_tach")]
        candidates += [folder / "fan1_input" for folder in driven]
        self.speed = [file for file in candidates if reading.exists(file)]

    def collect(self, reading: Reading) -> None:
        """Read them; the first of each belong together."""
        for number, file in enumerate(self.pwm):
            reading.add(PWM, reading.number(file, divide=_FULL, highest=_FULL), str(number))
        for number, file in enumerate(self.speed):
            reading.add(SPEED, reading.number(file), str(number))
