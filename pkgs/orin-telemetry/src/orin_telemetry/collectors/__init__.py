"""One collector a file; this is the table of them."""

from orin_telemetry.collectors.actmon import ActmonCollector
from orin_telemetry.collectors.board import BoardCollector
from orin_telemetry.collectors.bpmp import BpmpCollector
from orin_telemetry.collectors.collector import Collector
from orin_telemetry.collectors.cooling import CoolingCollector
from orin_telemetry.collectors.cpu import CpuCollector
from orin_telemetry.collectors.emc import EmcCollector
from orin_telemetry.collectors.energy import EnergyCollector
from orin_telemetry.collectors.engines import EnginesCollector
from orin_telemetry.collectors.fan import FanCollector
from orin_telemetry.collectors.gpu import GpuCollector
from orin_telemetry.collectors.memory import MemoryCollector
from orin_telemetry.collectors.nvmap import NvmapCollector
from orin_telemetry.collectors.nvme import NvmeCollector
from orin_telemetry.collectors.overcurrent import OvercurrentCollector
from orin_telemetry.collectors.power import PowerCollector
from orin_telemetry.collectors.power_mode import PowerModeCollector
from orin_telemetry.collectors.thermal import ThermalCollector
from orin_telemetry.kernel import Kernel
from orin_telemetry.meter import Meter

#: what is in debugfs, which only root may read
PRIVILEGED = frozenset({"nvmap", "actmon", "bpmp"})


def make(kernel: Kernel, expected_mode: str | None = None, nvmap_top: int = 10) -> list[Collector]:
    """Every collector, for the files of `kernel`.

    `expected_mode` is the power mode that the board should have, by name; `nvmap_top` how many
    processes to list. Energy is only added up while somebody samples `EnergyCollector.meter`.
    """
    meter = Meter(kernel)
    return [
        BoardCollector(kernel),
        GpuCollector(kernel),
        CpuCollector(kernel),
        MemoryCollector(kernel),
        EmcCollector(kernel),
        EnginesCollector(kernel),
        ThermalCollector(kernel),
        CoolingCollector(kernel),
        PowerCollector(kernel, meter),
        EnergyCollector(kernel, meter),
        OvercurrentCollector(kernel),
        FanCollector(kernel),
        NvmeCollector(kernel),
        PowerModeCollector(kernel, expected_mode),
        NvmapCollector(kernel, nvmap_top),
        ActmonCollector(kernel),
        BpmpCollector(kernel),
    ]


NAMES = tuple(collector.name for collector in make(Kernel()))
