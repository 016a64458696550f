"""The GPU and the engines behind host1x: devfreq entries and their devices."""

from orin_telemetry.sim.board import ENGINES, Board
from orin_telemetry.sim.files import BUS, Files
from orin_telemetry.sim.silicon import GPU_HZ

GPU = "17000000.gpu"
HOST1X = f"{BUS}/13e00000.host1x"
_CLOCKED = {
    "vic": "15340000.vic",
    "nvdec": "15480000.nvdec",
    "nvenc": "154c0000.nvenc",
    "nvjpg": "15380000.nvjpg",
    "nvjpg1": "15540000.nvjpg",
    "ofa": "15a50000.ofa",
}
_ACCELERATORS = ("15880000.nvdla0", "158c0000.nvdla1", "16000000.pva0")
_DEVICES = {
    GPU: f"{BUS}/{GPU}",
    **{name: f"{HOST1X}/{name}" for name in (*_CLOCKED.values(), *_ACCELERATORS)},
}


def _devfreq(name: str) -> str:
    return f"{_DEVICES[name]}/devfreq/{name}"


LINKS = {f"sys/bus/platform/devices/{name}": path for name, path in _DEVICES.items()}
for _name in (GPU, *_CLOCKED.values()):
    LINKS[f"sys/class/devfreq/{_name}"] = _devfreq(_name)
    LINKS[f"{_devfreq(_name)}/device"] = _DEVICES[_name]
    LINKS[f"{_DEVICES[_name]}/devfreq_dev"] = _devfreq(_name)


def files(board: Board) -> Files:
    """Clocks in Hz; the GPU's load in permille, 0 when it has no power."""
    yield from _gpu(board)
    for engine, name in _CLOCKED.items():
        active = board.engine_load[engine] > 0
        low, high = ENGINES[engine]
        path = _devfreq(name)
        yield f"{path}/cur_freq", f"{high if active else low}\n"
        yield f"{path}/min_freq", f"{low}\n"
        yield f"{path}/max_freq", f"{high}\n"
        yield f"{path}/available_frequencies", f"{low} {high}\n"
        yield f"{path}/governor", "wmark_active\n"
        yield f"{HOST1X}/{name}/power/runtime_status", _status(active)
        yield f"{HOST1X}/{name}/of_node/name", f"{name.partition('.')[2]}\0"
    for name in _ACCELERATORS:
        yield f"{HOST1X}/{name}/power/runtime_status", _status(board.cv_powered)


def _gpu(board: Board) -> Files:
    clocks, mode, powered = board.clocks, board.mode, board.gpu_powered
    path, device = _devfreq(GPU), _DEVICES[GPU]
    yield f"{path}/cur_freq", f"{clocks.gpu_hz}\n"
    yield f"{path}/min_freq", f"{clocks.gpu_min_hz}\n"
    yield f"{path}/max_freq", f"{clocks.gpu_max_hz}\n"
    yield f"{path}/available_frequencies", " ".join(map(str, GPU_HZ)) + "\n"
    yield f"{path}/governor", "nvhost_podgov\n"
    yield f"{path}/available_governors", "userspace performance nvhost_podgov\n"
    yield f"{path}/polling_interval", "25\n"
    yield f"{device}/load", f"{round(board.gpu_load * 1000) if powered else 0}\n"
    yield f"{device}/gpu_powered_on", "on\n" if powered else "off\n"
    yield f"{device}/is_railgated", "no\n" if powered else "yes\n"
    yield f"{device}/power/runtime_status", _status(powered)
    yield f"{device}/railgate_enable", "1\n"
    yield f"{device}/railgate_delay", "500\n"
    yield f"{device}/gpc_pg_mask", str(mode.gpc_pg_mask)  # without a newline, as nvgpu prints it
    yield f"{device}/tpc_pg_mask", f"{mode.tpc_pg_mask}\n"
    yield f"{device}/gpc_fs_mask", "0x3\n"
    yield f"{device}/tpc_fs_mask", "0xff\n"
    yield f"{device}/fbp_fs_mask", "0x3\n"
    yield f"{device}/enable_3d_scaling", "1\n"
    yield f"{device}/of_node/name", "gpu\0"
    yield f"{device}/of_node/compatible", "nvidia,ga10b\0"


def _status(active: bool) -> str:
    return "active\n" if active else "suspended\n"
