"""Watts from load, clock, voltage and temperature, and amperes from a supply with resistance.

Dynamic power is activity x C x V^2 x f. Leakage grows with the voltage and exponentially with the
temperature. The constants give about 14 W idle and 50 W in training in MAXN, which is what owners
measure on an AGX Orin 64GB; NVIDIA gives 60 W as the module's limit.
"""

import math
from dataclasses import dataclass

from orin_telemetry.sim.silicon import (
    CORES,
    CPU_KHZ,
    EMC_HZ,
    GPU_HZ,
    TPC_COUNT,
    cpu_volts,
    gpu_volts,
)

_GPU_W = 23.0  # all of the GPU switching at the highest clock
_GPU_IDLE = 0.08  # share of it that the clock tree alone takes
_CPU_W = 15.0  # all cores
_CPU_IDLE = 0.05
_SOC_W, _SOC_TRAFFIC_W = 2.0, 4.0  # memory controller and the rest; with the bandwidth used up
_VIDEO_W = 1.2
_VISION_W = 4.0
_VDDQ_W, _VDDQ_TRAFFIC_W = 1.0, 5.0  # LPDDR5
_SYSTEM_W = 3.4  # what else hangs on the 5 V rail: PCIe, NVMe, USB, Ethernet
_CONVERTER = 0.9  # efficiency from the 5 V rail to VDDQ
_GPU_LEAK_W, _CPU_LEAK_W = 1.6, 0.9  # at 25 C and the highest voltage
_LEAK_E_FOLD_K = 60.0

RAILS = ("VDD_GPU_SOC", "VDD_CPU_CV", "VIN_SYS_5V0", "VDDQ_VDD2_1V8AO")
MODULE_RAILS = RAILS[:3]  # VDDQ hangs below the 5 V rail: counting it would count it twice
FROM_INPUT = RAILS[:2]  # measured where they draw on the carrier's input
SYSTEM_VOLTS = 5.0


@dataclass(frozen=True)
class Activity:
    """What runs, and at which clock: shares 0..1, clocks as the kernel has them."""

    gpu_powered: bool
    gpu_hz: int
    gpu: float
    tpcs: int
    cpu_khz: int
    cores: list[float]
    emc_hz: int
    traffic: float
    video: float
    vision: float


@dataclass(frozen=True)
class Watts:
    """Power by part of the die, of the memory and of all else on the 5 V rail."""

    gpu: float
    soc: float
    cpu: float
    cv: float
    memory: float
    system: float

    def rails(self) -> dict[str, float]:
        """Watts by INA3221 rail."""
        memory = self.memory / _CONVERTER
        return {
            "VDD_GPU_SOC": self.gpu + self.soc,
            "VDD_CPU_CV": self.cpu + self.cv,
            "VIN_SYS_5V0": self.system + memory,
            "VDDQ_VDD2_1V8AO": memory,
        }


def watts(activity: Activity, die_celsius: dict[str, float], pulses: float) -> Watts:
    """Power at these temperatures in C; `pulses` is the share of clock pulses not skipped."""
    a = activity
    gpu = 0.0
    if a.gpu_powered:
        volts = gpu_volts(a.gpu_hz) / gpu_volts(GPU_HZ[-1])
        switching = (_GPU_IDLE + (1 - _GPU_IDLE) * a.gpu) * a.tpcs / TPC_COUNT
        dynamic = _GPU_W * switching * volts**2 * a.gpu_hz / GPU_HZ[-1] * pulses
        gpu = dynamic + _GPU_LEAK_W * volts * _warmth(die_celsius["gpu"])
    volts = cpu_volts(a.cpu_khz) / cpu_volts(CPU_KHZ[-1])
    switching = sum(_CPU_IDLE + (1 - _CPU_IDLE) * core for core in a.cores) / CORES
    cpu = _CPU_W * switching * volts**2 * a.cpu_khz / CPU_KHZ[-1] * pulses
    cpu += _CPU_LEAK_W * volts * len(a.cores) / CORES * _warmth(die_celsius["cpu"])
    speed = a.emc_hz / EMC_HZ[-1]
    return Watts(
        gpu=gpu,
        soc=_SOC_W * (0.5 + 0.5 * speed) + _SOC_TRAFFIC_W * a.traffic + _VIDEO_W * a.video,
        cpu=cpu,
        cv=0.15 + _VISION_W * a.vision,
        memory=_VDDQ_W * (0.4 + 0.6 * speed) + _VDDQ_TRAFFIC_W * a.traffic,
        system=_SYSTEM_W,
    )


def _warmth(celsius: float) -> float:
    """Leakage relative to 25 C."""
    return math.exp((celsius - 25.0) / _LEAK_E_FOLD_K)


def input_volts(supply_volts: float, supply_ohms: float, load_watts: float) -> float:
    """Voltage at the board: v (supply - v) / ohms = load, at its stable solution.

    A supply asked for more than it can give sits at half its open-circuit voltage.
    """
    square = supply_volts**2 - 4 * supply_ohms * load_watts
    return (supply_volts + math.sqrt(max(square, 0.0))) / 2


def rail_volts(rail: str, at_input: float) -> float:
    """Voltage in V that the rail's channel of the INA3221 sees."""
    return at_input if rail in FROM_INPUT else SYSTEM_VOLTS
