"""Who sets the clocks: nvpmodel's limits, jetson_clocks' lock, devfreq, and thermal throttling.

Thermal throttling follows the kernel's step_wise governor (drivers/thermal/gov_step_wise.c): at
each poll of one second, a zone at its trip and still rising asks for one more step of its cooling
devices, and a zone below its trip and falling for one less. A device obeys the zone that asks most.
"""

from dataclasses import dataclass

from orin_telemetry.sim.silicon import CPU_KHZ, CPU_MIN_KHZ, EMC_HZ, GPU_HZ, PowerMode, highest

PASSIVE_CELSIUS = 99.0
CRITICAL_CELSIUS = 104.5
BOARD_CRITICAL_CELSIUS = 107.0
HOT_SURFACE_CELSIUS, HOT_SURFACE_HYSTERESIS = 70.0, 8.0

THROTTLED = ("cpu", "gpu", "cv0", "cv1", "cv2", "soc0", "soc1", "soc2")
GPU_STEPS = len(GPU_HZ) - 1
CPU_STEPS = len(CPU_KHZ) - 1

_BUSY = 0.7  # load that nvhost_podgov steers for


@dataclass(frozen=True)
class Clocks:
    """Present clocks and their limits: GPU and memory in Hz, CPU in kHz."""

    gpu_hz: int
    gpu_min_hz: int
    gpu_max_hz: int
    cpu_khz: int
    cpu_min_khz: int
    cpu_max_khz: int
    emc_hz: int


def clocks(
    mode: PowerMode, locked: bool, gpu_steps: int, cpu_steps: int, gpu: float, traffic: float
) -> Clocks:
    """The clocks for a demand of `gpu` (share of the GPU at its highest clock) and `traffic`.

    A cooling device's step is one clock down from the top of the table, as devfreq_cooling and
    cpufreq_cooling count. The governor of the CPU is `performance`.
    """
    gpu_max = highest(GPU_HZ, min(mode.gpu_hz, GPU_HZ[GPU_STEPS - gpu_steps]))
    gpu_min = gpu_max if locked else GPU_HZ[0]
    enough = [hz for hz in GPU_HZ if gpu_min <= hz <= gpu_max and gpu * GPU_HZ[-1] / hz <= _BUSY]
    cpu_max = highest(CPU_KHZ, min(mode.cpu_khz, CPU_KHZ[CPU_STEPS - cpu_steps]))
    wanted = EMC_HZ[-1] if locked else EMC_HZ[min(int(traffic * 4), 2)]
    return Clocks(
        gpu_hz=enough[0] if enough else gpu_max,
        gpu_min_hz=gpu_min,
        gpu_max_hz=gpu_max,
        cpu_khz=cpu_max,
        cpu_min_khz=min(CPU_MIN_KHZ, cpu_max),
        cpu_max_khz=cpu_max,
        emc_hz=min(wanted, mode.emc_hz),
    )


class Throttle:
    """The cooling devices' states as the zones' readings in C drive them."""

    def __init__(self) -> None:
        self.gpu_steps = 0
        self.cpu_steps = 0
        self.alerts = dict.fromkeys(THROTTLED, 0)
        self.hot_surface = 0
        self._asks = dict.fromkeys(THROTTLED, 0)
        self._hot = dict.fromkeys(THROTTLED, False)
        self._last: dict[str, float] = {}

    def poll(self, readings: dict[str, float]) -> None:
        """One poll of the zones; a zone without a reading asks for nothing."""
        for zone in THROTTLED:
            reading = readings.get(zone)
            if reading is None:
                self._asks[zone], self._hot[zone], self.alerts[zone] = 0, False, 0
                continue
            change = reading - self._last.get(zone, reading)
            if reading >= PASSIVE_CELSIUS and change >= 0:
                self._asks[zone] = min(self._asks[zone] + 1, CPU_STEPS)
                self.alerts[zone] = 1  # its one state
            elif reading < PASSIVE_CELSIUS and change <= 0:
                self._asks[zone] = max(self._asks[zone] - 1, 0)
                self.alerts[zone] = 0
            release = HOT_SURFACE_CELSIUS - HOT_SURFACE_HYSTERESIS * self._hot[zone]
            self._hot[zone] = reading >= release
        self._last = readings
        most = max(self._asks.values())
        self.gpu_steps = min(most, GPU_STEPS)
        self.cpu_steps = most
        self.hot_surface = int(any(self._hot.values()))
