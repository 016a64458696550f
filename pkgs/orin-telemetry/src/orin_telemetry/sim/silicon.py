"""What the chip can do: clocks, voltages and power modes of a Jetson AGX Orin 64GB on L4T r36.

The clocks are those that `available_frequencies` and `scaling_available_frequencies` list. The
modes are those of nvpmodel_p3701_0005.conf, with NVIDIA's table of them in the Jetson Linux
developer guide ("Supported Modes and Power Efficiency").
"""

from dataclasses import dataclass

CORES = 12
CORES_PER_CLUSTER = 4

GPU_HZ = tuple(
    round(mhz * 1e6) for mhz in (306, 408, 510, 612, 714, 816, 918, 1020, 1122, 1224, 1300.5)
)
CPU_KHZ: tuple[int, ...] = (*range(115_200, 2_188_801, 76_800), 2_201_600)
CPU_MIN_KHZ = 729_600  # the minimum that every mode of nvpmodel.conf sets
EMC_HZ = (665_600_000, 2_133_000_000, 3_199_000_000)

GPC_COUNT = 2
TPC_COUNT = 8


@dataclass(frozen=True)
class PowerMode:
    """One mode of nvpmodel: how many cores and TPCs have power, and how fast they may run."""

    id: int
    name: str
    cores: int
    cpu_khz: int
    gpu_hz: int
    emc_hz: int
    gpc_pg_mask: int = 0
    tpc_pg_mask: int = 0

    @property
    def tpcs(self) -> int:
        return TPC_COUNT - self.tpc_pg_mask.bit_count()


MODES = (
    PowerMode(0, "MAXN", 12, CPU_KHZ[-1], GPU_HZ[-1], EMC_HZ[2]),
    PowerMode(1, "MODE_15W", 4, 1_113_600, GPU_HZ[1], EMC_HZ[1], 0b10, 0b1111_1000),
    PowerMode(2, "MODE_30W", 8, 1_728_000, GPU_HZ[3], EMC_HZ[2], 0b10, 0b1111_0000),
    PowerMode(3, "MODE_50W", 12, 1_497_600, GPU_HZ[5], EMC_HZ[2]),
)
DEFAULT_MODE_ID = 2  # the board is flashed with 30 W
MODE = {mode.name: mode for mode in MODES}


def gpu_volts(hz: int) -> float:
    """The GPU's voltage at `hz`. The ends of the line are typical of an 8 nm chip, not NVIDIA's."""
    return 0.62 + 0.33 * (hz - GPU_HZ[0]) / (GPU_HZ[-1] - GPU_HZ[0])


def cpu_volts(khz: int) -> float:
    """The voltage of a CPU cluster at `khz`; as `gpu_volts`."""
    return 0.60 + 0.40 * (khz - CPU_KHZ[0]) / (CPU_KHZ[-1] - CPU_KHZ[0])


def highest(clocks: tuple[int, ...], limit: int) -> int:
    """The highest of the ascending `clocks` that is at most `limit`, else the lowest."""
    return max((clock for clock in clocks if clock <= limit), default=clocks[0])
