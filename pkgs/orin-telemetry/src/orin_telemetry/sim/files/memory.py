"""Memory, swap and zram in procfs and sysfs, and nvmap's clients in debugfs."""

from orin_telemetry.sim.board import Board
from orin_telemetry.sim.files import Files
from orin_telemetry.sim.memory import CMA_TOTAL, TOTAL, ZRAM_SIZE

_DEBUG = "sys/kernel/debug/nvmap/iovmm/clients"
_DESKTOP_KIB = 92_160
_ALLOCATOR_OVERHEAD = 1.03  # what zsmalloc takes beyond the compressed data

LINKS: dict[str, str] = {"sys/block/zram0": "sys/devices/virtual/block/zram0"}


def files(board: Board) -> Files:
    """Sizes in KiB in procfs and nvmap, in bytes in zram's files."""
    memory = board.memory
    swapped = int(memory.swapped)
    rows = {
        "MemTotal": TOTAL,
        "MemFree": memory.free,
        "MemAvailable": memory.available,
        "Buffers": memory.buffers,
        "Cached": int(memory.cached),
        "SwapCached": 0,
        "SwapTotal": ZRAM_SIZE,
        "SwapFree": ZRAM_SIZE - swapped,
        "CmaTotal": CMA_TOTAL,
        "CmaFree": memory.cma_free,
    }
    lines = [f"{name + ':':<16}{size // 1024:>8} kB" for name, size in rows.items()]
    lines += ["HugePages_Total:       0", "HugePages_Free:        0", "Hugepagesize:       2048 kB"]
    yield "proc/meminfo", "\n".join(lines) + "\n"
    counts = {
        "nr_free_pages": memory.free // 4096,
        "pswpin": int(memory.swapped_in),
        "pswpout": int(memory.swapped_out),
        "pgfault": int(board.uptime * 900),
        "pgmajfault": 5120 + int(memory.swapped_in),
        "oom_kill": 0,
    }
    yield "proc/vmstat", "".join(f"{name} {count}\n" for name, count in counts.items())
    yield (
        "proc/swaps",
        (
            "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n"
            f"/dev/zram0                              partition\t{ZRAM_SIZE // 1024}\t"
            f"{swapped // 1024}\t5\n"
        ),
    )
    compressed = int(memory.compressed)
    used = int(compressed * _ALLOCATOR_OVERHEAD)
    zram = "sys/devices/virtual/block/zram0"
    yield f"{zram}/disksize", f"{ZRAM_SIZE}\n"
    yield f"{zram}/comp_algorithm", "lzo lzo-rle lz4 [zstd] \n"
    yield f"{zram}/mm_stat", f"{swapped:>8} {compressed:>8} {used:>8} 0 {used:>8} 0 0 0 0\n"
    yield _DEBUG, _clients(board)


def _clients(board: Board) -> str:
    clients = [("Xorg", 1412, _DESKTOP_KIB)]
    work = board.scene.work
    if work.process and work.process != "Xorg":
        held = min(board.memory.held, float(TOTAL)) * 0.8
        clients.append((work.process, 4242, int(held) // 1024))
    lines = [f"{'CLIENT':<18} {'PROCESS':>18} {'PID':>8} {'SIZE':>11}"]
    lines += [f"{'user':<18} {name:>18} {pid:>8} {kib:>10}K" for name, pid, kib in clients]
    total = sum(kib for _, _, kib in clients)
    return "\n".join([*lines, f"{'total':<18} {'':>18} {'':>8} {total:>10}K"]) + "\n"
