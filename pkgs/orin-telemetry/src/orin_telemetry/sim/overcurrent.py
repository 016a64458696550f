"""Over-current: limits of the rails, their alarms, and soctherm's counters that skip clock pulses.

OC1 is under-voltage at the input, OC2 the average current, OC3 the instantaneous current. What
they skip is invisible in cur_freq. The INA3221 powers up with limits at the end of its range;
these are limits as an owner would set them, above what the board draws in training.
"""

from collections import deque

LIMITS_MA = {  # warning (max) and critical (crit)
    "VDD_GPU_SOC": (2100, 2400),
    "VDD_CPU_CV": (1400, 1800),
    "VIN_SYS_5V0": (3200, 4000),
    "VDDQ_VDD2_1V8AO": (2000, 2600),
}
OC = {"oc1": "under_voltage", "oc2": "average", "oc3": "instantaneous"}

_UNDER_VOLTS = 12.5
_AVERAGE_TICKS = 50
_LATCH_TICKS = 20
_SKIP_TICKS = 3
_PULSES_LEFT = 0.5


class OverCurrent:
    """Compares rails with limits once in every step of 0.1 s."""

    def __init__(self) -> None:
        self.events = dict.fromkeys(OC, 0)
        self._skip = 0
        self._latch = {(rail, level): 0 for rail in LIMITS_MA for level in ("max", "crit")}
        self._recent: deque[float] = deque(maxlen=_AVERAGE_TICKS)

    def step(self, volts: float, amperes: dict[str, float]) -> None:
        """`volts` at the board's input and the rails' true currents in A."""
        for rail, limits in LIMITS_MA.items():
            for level, limit in zip(("max", "crit"), limits, strict=True):
                left = self._latch[rail, level] - 1
                over = amperes[rail] * 1000 > limit
                self._latch[rail, level] = _LATCH_TICKS if over else max(left, 0)
        gpu = amperes["VDD_GPU_SOC"] * 1000
        limit, critical = LIMITS_MA["VDD_GPU_SOC"]
        self._recent.append(gpu)
        tripped = {
            "oc1": volts < _UNDER_VOLTS,
            "oc2": sum(self._recent) > limit * _AVERAGE_TICKS,
            "oc3": gpu > critical,
        }
        for name, over in tripped.items():
            self.events[name] += over
        self._skip = _SKIP_TICKS if any(tripped.values()) else max(self._skip - 1, 0)

    @property
    def pulses(self) -> float:
        """Share of clock pulses that reach the cores."""
        return _PULSES_LEFT if self._skip else 1.0

    def alarm(self, rail: str, level: str) -> bool:
        """Whether the rail passed its limit in the last two seconds, as the chip's latch holds."""
        return self._latch[rail, level] > 0
