"""The CPU: which cores are online, their clocks, and the time they spent."""

from orin_telemetry.sim.board import Board
from orin_telemetry.sim.files import Files
from orin_telemetry.sim.silicon import CORES, CORES_PER_CLUSTER, CPU_KHZ

_ROOT = "sys/devices/system/cpu"
_USER_HZ = 100
_BOOT_TIME = 1_750_000_000  # any fixed moment: the tree depends on scenario and seed alone

POLICIES = range(0, CORES, CORES_PER_CLUSTER)
LINKS = {
    f"{_ROOT}/cpu{core}/cpufreq": f"{_ROOT}/cpufreq/policy{core - core % CORES_PER_CLUSTER}"
    for core in range(CORES)
}


def files(board: Board) -> Files:
    """Clocks in kHz, times in hundredths of a second. A cluster whose cores are all offline keeps
    its clocks, for no core."""
    online = board.mode.cores
    yield f"{_ROOT}/online", f"0-{online - 1}\n"
    yield f"{_ROOT}/offline", f"{online}-{CORES - 1}\n" if online < CORES else "\n"
    yield f"{_ROOT}/possible", f"0-{CORES - 1}\n"
    yield f"{_ROOT}/present", f"0-{CORES - 1}\n"
    for core in range(CORES):
        yield f"{_ROOT}/cpu{core}/online", f"{int(core < online)}\n"
    clocks = board.clocks
    for first in POLICIES:
        path = f"{_ROOT}/cpufreq/policy{first}"
        cores = range(first, first + CORES_PER_CLUSTER)
        yield f"{path}/scaling_cur_freq", f"{clocks.cpu_khz}\n"
        yield f"{path}/scaling_min_freq", f"{clocks.cpu_min_khz}\n"
        yield f"{path}/scaling_max_freq", f"{clocks.cpu_max_khz}\n"
        yield f"{path}/cpuinfo_min_freq", f"{CPU_KHZ[0]}\n"
        yield f"{path}/cpuinfo_max_freq", f"{CPU_KHZ[-1]}\n"
        yield f"{path}/scaling_available_frequencies", " ".join(map(str, CPU_KHZ)) + " \n"
        yield f"{path}/scaling_governor", "performance\n"
        yield f"{path}/scaling_available_governors", "userspace powersave performance schedutil \n"
        yield f"{path}/scaling_setspeed", "<unsupported>\n"
        yield f"{path}/scaling_driver", "tegra194\n"
        yield f"{path}/related_cpus", " ".join(map(str, cores)) + "\n"
        yield f"{path}/affected_cpus", " ".join(str(core) for core in cores if core < online) + "\n"
    yield "proc/stat", _stat(board)
    load = f"{board.load_average:.2f}"
    yield "proc/loadavg", f"{load} {load} {load} {round(sum(board.core_load)) + 1}/842 4242\n"
    idle = sum(board.idle_seconds)
    yield "proc/uptime", f"{board.uptime:.2f} {idle:.2f}\n"


def _stat(board: Board) -> str:
    rows = []
    for core in range(CORES):
        busy = int(board.busy_seconds[core] * _USER_HZ)
        system = busy // 8
        idle = int(board.idle_seconds[core] * _USER_HZ)
        waited = int(board.waited_seconds[core] * _USER_HZ)
        rows.append((busy - system, 0, system, idle, waited, 0, 0, 0, 0, 0))
    lines = ["cpu  " + " ".join(str(sum(column)) for column in zip(*rows, strict=True))]
    lines += [
        f"cpu{core} " + " ".join(map(str, row))
        for core, row in enumerate(rows)
        if core < board.mode.cores
    ]
    switches = int(board.uptime * 4000)
    lines += [f"intr {switches // 2}", f"ctxt {switches}", f"btime {_BOOT_TIME}"]
    lines += ["processes 18230", f"procs_running {round(sum(board.core_load)) + 1}"]
    return "\n".join([*lines, "procs_blocked 0"]) + "\n"
