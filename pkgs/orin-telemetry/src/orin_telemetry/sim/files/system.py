"""Who the board is, its power mode, its memory clock, and debugfs for the privileged."""

from orin_telemetry.sim.board import Board
from orin_telemetry.sim.files import Files
from orin_telemetry.sim.silicon import DEFAULT_MODE_ID, MODES

_KERNEL = "5.15.148-tegra"
_DEBUG = "sys/kernel/debug"
_ENGINE_MODULES = {"vic": 12, "nvdec": 5, "nvenc": 4, "nvjpg": 7, "nvjpg1": 8, "ofa": 6}

LINKS: dict[str, str] = {}

_NVPMODEL_CONF = "\n".join(
    [
        "# The power modes of the virtual Jetson AGX Orin 64GB.",
        "< PARAM TYPE=FILE NAME=CPU_ONLINE >",
        *(f"CORE_{core} /sys/devices/system/cpu/cpu{core}/online" for core in range(12)),
        "< PARAM TYPE=FILE NAME=TPC_POWER_GATING >",
        "TPC_PG_MASK /sys/devices/platform/bus@0/17000000.gpu/tpc_pg_mask",
        "< PARAM TYPE=CLOCK NAME=GPU >",
        "MAX_FREQ /sys/devices/platform/bus@0/17000000.gpu/devfreq_dev/max_freq",
        "< PARAM TYPE=CLOCK NAME=EMC >",
        "MAX_FREQ /sys/kernel/nvpmodel_clk_cap/emc",
        *(
            f"\n< POWER_MODEL ID={mode.id} NAME={mode.name} >\n"
            + "".join(f"CPU_ONLINE CORE_{core} {int(core < mode.cores)}\n" for core in range(12))
            + f"TPC_POWER_GATING TPC_PG_MASK {mode.tpc_pg_mask}\n"
            f"GPU MAX_FREQ {mode.gpu_hz}\nEMC MAX_FREQ {mode.emc_hz}"
            for mode in MODES
        ),
        f"\n< PM_CONFIG DEFAULT={DEFAULT_MODE_ID} >\n",
    ]
)


def files(board: Board) -> Files:
    """Clocks in Hz, loads in permille."""
    yield "proc/device-tree/model", "NVIDIA Jetson AGX Orin Developer Kit\0"
    yield "proc/device-tree/compatible", "nvidia,p3737-0000+p3701-0005\0nvidia,tegra234\0"
    yield "proc/sys/kernel/osrelease", f"{_KERNEL}\n"
    yield "proc/version", f"Linux version {_KERNEL} (jetson-sim) #1 SMP PREEMPT\n"
    yield (
        "etc/nv_tegra_release",
        "# R36 (release), REVISION: 4.4, GCID: 0, BOARD: generic, EABI: aarch64\n",
    )
    yield "etc/nvpmodel.conf", _NVPMODEL_CONF
    yield "var/lib/nvpmodel/status", f"pmode:{board.mode.id:04d}\n"
    yield "sys/kernel/nvpmodel_clk_cap/emc", f"{board.mode.emc_hz}\n"
    emc_hz = board.clocks.emc_hz
    yield f"{_DEBUG}/bpmp/debug/clk/emc/rate", f"{emc_hz}\n"
    # The traffic is a share of the highest clock's bandwidth; counts are in kHz of the present one.
    active = board.traffic * MODES[0].emc_hz / 1000
    yield f"{_DEBUG}/cactmon/mc_all", f"{round(active)}\n"
    for engine, number in _ENGINE_MODULES.items():
        load = round(board.engine_load[engine] * 1000)
        yield f"{_DEBUG}/tegra-host1x/actmon/{engine}/module{number}/usage", f"{load}\n"
