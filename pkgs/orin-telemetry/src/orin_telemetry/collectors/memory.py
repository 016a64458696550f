"""Memory that CPU and GPU share, swap, compressed swap and contiguous memory."""

import os
import re
from pathlib import Path

from orin_telemetry.collectors.collector import Collector
from orin_telemetry.metric import Family, Reading

ZRAM = ("device",)

# /proc/meminfo's name of each, in KiB (Documentation/filesystems/proc.rst)
MEMINFO = {
    "MemTotal": Family(
        "jetson_memory_total_bytes", "Memory that CPU and GPU share, less firmware's."
    ),
    "MemFree": Family("jetson_memory_free_bytes", "Memory that nothing uses."),
    "MemAvailable": Family(
        "jetson_memory_available_bytes", "Memory that programs could get without swapping."
    ),
    "Cached": Family("jetson_memory_cached_bytes", "Memory that holds files."),
    "Buffers": Family("jetson_memory_buffers_bytes", "Memory that holds blocks of disks."),
    "SwapTotal": Family("jetson_swap_total_bytes", "Size of all swap, compressed included."),
    "SwapFree": Family("jetson_swap_free_bytes", "Swap that nothing uses."),
    "CmaTotal": Family(
        "jetson_cma_total_bytes", "Memory set aside for devices that need it contiguous."
    ),
    "CmaFree": Family("jetson_cma_free_bytes", "Contiguous memory that no device uses."),
}
# /proc/vmstat's name of each, in pages
VMSTAT = {
    "pswpin": Family("jetson_swap_in_bytes_total", "Bytes read back from swap.", kind="counter"),
    "pswpout": Family("jetson_swap_out_bytes_total", "Bytes written to swap.", kind="counter"),
}
DISKSIZE = Family("jetson_zram_disksize_bytes", "Size the compressed device offers.", ZRAM)
ORIGINAL = Family("jetson_zram_original_bytes", "Data it holds, before compression.", ZRAM)
COMPRESSED = Family("jetson_zram_compressed_bytes", "The same data, compressed.", ZRAM)
USED = Family("jetson_zram_used_bytes", "Memory it takes, with its own overhead.", ZRAM)

KIB = 1024
PAGE = os.sysconf("SC_PAGE_SIZE")
_PROC_BYTES = 1 << 16


class MemoryCollector(Collector):
    """/proc/meminfo, /proc/vmstat and the zram devices."""

    name = "memory"

    def discover(self, reading: Reading) -> None:
        """Find the zram devices that are set up."""
        self.zram: list[Path] = [
            entry
            for entry in reading.entries(self.kernel.sysfs / "block")
            if entry.name.startswith("zram") and reading.exists(entry / "mm_stat")
        ]

    def collect(self, reading: Reading) -> None:
        """Read them all. What a kernel does not count (CMA on a PC) is left out."""
        self._table(reading, self.kernel.procfs / "meminfo", MEMINFO, KIB)
        self._table(reading, self.kernel.procfs / "vmstat", VMSTAT, PAGE)
        for device in self.zram:
            size = reading.number(device / "disksize")
            if not size:
                continue  # not set up
            reading.add(DISKSIZE, size, device.name)
            if (text := reading.text(device / "mm_stat")) is None:
                continue
            # orig_data_size compr_data_size mem_used_total ... (Documentation/admin-guide/blockdev)
            sizes = text.split()[:3]
            if len(sizes) < 3 or not all(re.fullmatch(r"\d{1,19}", size) for size in sizes):
                reading.fail(device / "mm_stat", "not the sizes of a zram device")
                continue
            for family, bytes_ in zip((ORIGINAL, COMPRESSED, USED), sizes, strict=True):
                reading.add(family, int(bytes_), device.name)

    def _table(self, reading: Reading, path: Path, families: dict[str, Family], unit: int) -> None:
        text = reading.text(path, _PROC_BYTES)
        if text is None:
            return
        rows = dict(re.findall(r"^(\w+):? +(\d{1,19})\b", text, re.MULTILINE))
        if not families.keys() & rows.keys():
            reading.fail(path, "none of the expected rows")
        for name, family in families.items():
            if name in rows:
                reading.add(family, int(rows[name]) * unit)
