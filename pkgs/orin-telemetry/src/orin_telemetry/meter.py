"""The power rails: INA3221 monitors read at most once a second, and their power over time."""

import errno
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from orin_telemetry.kernel import Kernel
from orin_telemetry.metric import Reading

MILLI = 1000
PERIOD_S = 1.0
# A shade below the period, so that a sampler whose sleep ended early still reads.
FRESH_S = 0.95 * PERIOD_S
LEVELS = ("max", "crit")
SUM_CHANNEL = 4  # Documentation/hwmon/ina3221.rst: curr4 is the sum of the others
# A longer pause, such as a suspended board, is not bridged: nobody knows what it drew.
_LONGEST_GAP_S = 10.0
# Reading all rails takes some 15 ms; whoever waits longer for another's reading waits in vain.
_WAIT_S = 0.1
_OFF = (errno.ENODATA,)  # the driver's answer for a channel that is switched off

# What makes up the module's power. AGX Orin has no rail for all of it: VDDQ hangs below VIN_SYS_5V0
# and would count twice, and what the carrier board takes is in none of these.
TOTALS: tuple[tuple[str, frozenset[str]], ...] = (
    ("measured", frozenset({"VDD_IN"})),
    ("sum", frozenset({"VDD_GPU_SOC", "VDD_CPU_CV", "VIN_SYS_5V0"})),
)


class Rail:
    """A rail's label and the files of its INA3221 channel; the sum of channels has no voltage."""

    def __init__(self, name: str, folder: Path, channel: int) -> None:
        self.name = name
        self.volts = folder / f"in{channel}_input" if channel < SUM_CHANNEL else None
        self.amperes = folder / f"curr{channel}_input"
        self.limits = {level: folder / f"curr{channel}_{level}" for level in LEVELS}
        self.alarm = folder / f"curr{channel}_crit_alarm"
        self.shunt = folder / f"shunt{channel if channel < SUM_CHANNEL else 1}_resistor"


@dataclass(frozen=True)
class Power:
    """A rail at one moment, in volts and amperes; None is what did not answer."""

    volts: float | None
    amperes: float | None

    @property
    def watts(self) -> float | None:
        """What the rail delivers, if both are known."""
        if self.volts is None or self.amperes is None:
            return None
        return self.volts * self.amperes


class Meter:
    """Reads the rails for whoever asks, at most once a second, and adds up their energy.

    A register of an INA3221 takes half a millisecond on the I2C bus, so a scrape and the sampler
    share what was read. Energy is the trapezoidal rule over the samples.
    """

    def __init__(self, kernel: Kernel, clock: Callable[[], float] = time.monotonic) -> None:
        self.rails: list[Rail] = []
        self.joules: dict[str, float] = {}  # by rail
        self.module_joules: dict[str, float] = {}  # by method
        self._kernel = kernel
        self._clock = clock
        self._lock = threading.Lock()
        self._reading = Reading(kernel)  # of whoever has the lock
        self._time: float | None = None
        self._power: dict[str, Power] = {}
        self._failures: list[str] = []

    def discover(self, reading: Reading) -> None:
        """Find the channels of every INA3221 by their labels."""
        rails: dict[str, Rail] = {}
        for folder in reading.hwmon("ina3221"):
            channels: list[str] = []
            for channel in range(1, SUM_CHANNEL):  # in4 and on are shunts, in7 their sum
                label = folder / f"in{channel}_label"
                if not reading.exists(label) or (name := reading.word(label)) in (None, "NC"):
                    continue
                if name in rails:
                    name = f"{name} ({folder.name} channel {channel})"
                rails[name] = Rail(name, folder, channel)
                channels.append(name)
            total = Rail("+".join(channels), folder, SUM_CHANNEL)
            # L4T sets the AGX Orin's limit on the sum (nvpower.sh).
            if len(channels) > 1 and reading.exists(total.amperes):
                rails[total.name] = total
        self.rails = list(rails.values())
        for name in self.joules.keys() - rails.keys():
            del self.joules[name]

    def sample(self, reading: Reading) -> dict[str, Power]:
        """Each rail's power, at most a second old; nothing while another read hangs on the bus.

        What was wrong with the files becomes failures of `reading`.
        """
        if not self._lock.acquire(timeout=_WAIT_S):
            reading.fail(self._reading.path or Path("ina3221"), "no answer")
            return {}
        try:
            self._reading = reading
            return self._sample(reading)
        finally:
            self._lock.release()

    def _sample(self, reading: Reading) -> dict[str, Power]:
        now = self._clock()
        if self._time is not None and now - self._time < FRESH_S:
            reading.failures.extend(self._failures)
            return self._power
        before = len(reading.failures)
        power = {
            rail.name: Power(
                reading.number(rail.volts, divide=MILLI, off=_OFF) if rail.volts else None,
                # A rail without load may read a few milliamperes below zero.
                reading.number(rail.amperes, divide=MILLI, off=_OFF, signed=True),
            )
            for rail in self.rails
        }
        self._add_energy(power, now)
        self._time, self._power = now, power
        self._failures = reading.failures[before:]
        return power

    def start(self) -> None:
        """Sample every second in the background from now on."""
        threading.Thread(target=self._run, name="energy sampler", daemon=True).start()

    def _run(self) -> None:
        while True:
            self.sample(Reading(self._kernel))  # its failures reach the next scrape
            time.sleep(PERIOD_S)

    def _add_energy(self, power: dict[str, Power], now: float) -> None:
        gap = now - self._time if self._time is not None else 0.0
        if gap > _LONGEST_GAP_S:
            gap = 0.0
        _integrate(self.joules, _rail_watts(self._power), _rail_watts(power), gap)
        _integrate(self.module_joules, total_watts(self._power), total_watts(power), gap)


def _integrate(
    joules: dict[str, float], before: dict[str, float], after: dict[str, float], gap: float
) -> None:
    for name, value in after.items():
        more = (before[name] + value) / 2 * gap if name in before else 0.0
        joules[name] = joules.get(name, 0.0) + max(0.0, more)  # a counter


def _rail_watts(power: dict[str, Power]) -> dict[str, float]:
    return {name: rail.watts for name, rail in power.items() if rail.watts is not None}


def total_watts(power: dict[str, Power]) -> dict[str, float]:
    """Watts of the whole module by the method that gives them, if a known sum's rails answered."""
    watts = _rail_watts(power)
    for method, rails in TOTALS:
        if rails <= watts.keys():
            return {method: sum(watts[rail] for rail in rails)}
    return {}
