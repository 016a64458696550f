"""The fan: nvfancontrol's `cool` profile for Jetson Orin, and a rotor that takes time.

The table is that of the Jetson Linux developer guide (nvfancontrol.conf, TMARGIN ENABLED, polled
every two seconds): margin to 105 C, hysteresis, PWM, and the RPM it belongs to.
"""

from itertools import pairwise

from orin_telemetry.sim.thermal import FULL_SPEED_RPM

_PROFILE = (  # margin in K, hysteresis in K, PWM
    (0.0, 0.0, 255.0),
    (18.0, 9.0, 255.0),
    (30.0, 11.0, 202.0),
    (45.0, 11.0, 149.0),
    (60.0, 14.0, 88.0),
    (105.0, 0.0, 0.0),
)
GROUP_MAX_CELSIUS = 105.0
COOLING_LEVELS = (0, 66, 215, 255)  # cooling-levels of the pwm-fan node in p3737's device tree

_STEP = 10  # STEP_SIZE: the most that one poll changes
_SPIN_UP_S = 1.5
_STOP_S = 0.4  # a blocked rotor


def wanted_pwm(celsius: float) -> tuple[float, float]:
    """PWM 0..255 for the junction's temperature in C, and the hysteresis in K there."""
    margin = min(max(GROUP_MAX_CELSIUS - celsius, 0.0), 105.0)
    for (low, _, high_pwm), (high, hysteresis, low_pwm) in pairwise(_PROFILE):
        if margin <= high:
            share = (margin - low) / (high - low)
            return high_pwm + share * (low_pwm - high_pwm), hysteresis
    return 0.0, 0.0


class Fan:
    """PWM 0..255 and revolutions per minute."""

    def __init__(self) -> None:
        self.pwm = 88
        self.rpm = 1000.0

    def poll(self, celsius: float) -> None:
        """nvfancontrol's turn: up at once, down only once it is cooler by the hysteresis."""
        up, hysteresis = wanted_pwm(celsius)
        down, _ = wanted_pwm(celsius + hysteresis)
        wanted = round(up) if up > self.pwm else min(self.pwm, round(down))
        change = wanted - self.pwm
        self.pwm += max(-_STEP, min(_STEP, change))

    def step(self, seconds: float, turns: bool) -> None:
        """The rotor approaches the speed of its PWM, or stops where something holds it."""
        aim, lag = (self.pwm / 255 * FULL_SPEED_RPM, _SPIN_UP_S) if turns else (0.0, _STOP_S)
        self.rpm += (aim - self.rpm) * seconds / lag

    def level(self) -> int:
        """State of the pwm-fan cooling device: the highest level that the PWM reaches."""
        return sum(self.pwm >= level for level in COOLING_LEVELS[1:])
