"""Memory of the GPU and the other engines by process, which only root may see."""

import re

from orin_telemetry.collectors.collector import Collector
from orin_telemetry.kernel import Kernel
from orin_telemetry.metric import Family, Reading

TOTAL = Family("jetson_nvmap_bytes", "Memory that programs allocated for the GPU and engines.")
CLIENT = Family(
    "jetson_nvmap_client_bytes",
    "The same by process, of those with the most.",
    ("process", "pid"),
)

KIB = 1024
_BYTES = 1 << 20  # one line a process
_ROW = re.compile(r"^user +(\S.*?) +(\d{1,10}) +(\d{1,15})K *$", re.MULTILINE)
_TOTAL = re.compile(r"^total +(\d{1,15})K *$", re.MULTILINE)


class NvmapCollector(Collector):
    """nvmap's table of clients in debugfs."""

    name = "nvmap"

    def __init__(self, kernel: Kernel, top: int = 10) -> None:
        super().__init__(kernel)
        self.top = top

    def discover(self, reading: Reading) -> None:
        """Nothing: the file has a fixed name."""

    def collect(self, reading: Reading) -> None:
        """Read the table, and keep its largest clients: a series a process would have no bound."""
        path = self.kernel.sysfs / "kernel/debug/nvmap/iovmm/clients"
        if (text := reading.text(path, _BYTES)) is None:
            return
        total = _TOTAL.search(text)
        if total is None:
            reading.fail(path, "no line total")
            return
        reading.add(TOTAL, int(total[1]) * KIB)
        sizes: dict[tuple[str, str], int] = {}
        for process, pid, size in _ROW.findall(text):
            # A process opens nvmap once for each of its libraries.
            sizes[process, pid] = sizes.get((process, pid), 0) + int(size) * KIB
        largest = sorted(sizes.items(), key=lambda client: -client[1])[: self.top]
        for (process, pid), size in largest:
            reading.add(CLIENT, size, process, pid)
