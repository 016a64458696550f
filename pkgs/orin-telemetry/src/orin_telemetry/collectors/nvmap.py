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
_SIZE = re.compile(r"([0-9]{1,15})K")
_PID = re.compile(r"[0-9]{1,10}")


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
        total = None
        sizes: dict[tuple[str, str], int] = {}
        for line in text.split("\n"):
            # "user", a name that may hold spaces, the process id, the size; "total" and the size
            words = line.split()
            if len(words) < 2 or (match := _SIZE.fullmatch(words[-1])) is None:
                continue
            if words[0] == "total" and len(words) == 2:
                total = int(match[1]) * KIB
            elif words[0] == "user" and len(words) > 3 and _PID.fullmatch(words[-2]):
                process, pid = _printable(" ".join(words[1:-2])), words[-2]
                # A process opens nvmap once for each of its libraries.
                sizes[process, pid] = sizes.get((process, pid), 0) + int(match[1]) * KIB
        if total is None:
            reading.fail(path, "no line total")
            return
        reading.add(TOTAL, total)
        largest = sorted(sizes.items(), key=lambda client: -client[1])[: self.top]
        for (process, pid), size in largest:
            reading.add(CLIENT, size, process, pid)


def _printable(name: str) -> str:
    """A process may call itself anything."""
    return "".join(character if character.isprintable() else "?" for character in name)
