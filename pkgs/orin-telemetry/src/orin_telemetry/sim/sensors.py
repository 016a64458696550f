"""What sensors make of the truth: the steps of their converters, and noise of about one step."""

from random import Random

from orin_telemetry.sim.overcurrent import LIMITS_MA
from orin_telemetry.sim.power import rail_volts

# INA3221 (TI SBOS576): 8 mV a step of the bus voltage, 40 uV of the shunt's. The module's shunts
# have 2 mOhm (tegra234-p3701.dtsi), so one step is 20 mA.
BUS_MV = 8
SHUNT_UV = 40
SHUNT_UOHM = 2000
SHUNT_MA = SHUNT_UV * 1000 // SHUNT_UOHM

_ZONE_STEPS_PER_K = 32  # BPMP's readings, such as 49.968 C, are multiples of 1/32


def bus_mv(volts: float, random: Random) -> int:
    """Bus voltage in mV for V."""
    return round(volts * 1000 / BUS_MV + random.gauss(0, 0.4)) * BUS_MV


def shunt_ma(amperes: float, random: Random) -> int:
    """Current in mA for A, never negative."""
    return max(round(amperes * 1000 / SHUNT_MA + random.gauss(0, 0.5)), 0) * SHUNT_MA


def zone_mc(celsius: float, random: Random) -> int:
    """A thermal zone's m C for C."""
    steps = round(celsius * _ZONE_STEPS_PER_K + random.gauss(0, 0.7))
    return steps * 1000 // _ZONE_STEPS_PER_K


def nvme_mc(celsius: float) -> int:
    """The drive's m C for C. Its log has whole kelvins, and the kernel takes 273.15 off them."""
    return round(celsius + 273.15) * 1000 - 273_150


def rails(at_input: float, amperes: dict[str, float], random: Random) -> dict[str, tuple[int, int]]:
    """mV and mA by rail, for the voltage in V at the board's input and the currents in A."""
    return {
        rail: (bus_mv(rail_volts(rail, at_input), random), shunt_ma(amperes[rail], random))
        for rail in LIMITS_MA
    }
