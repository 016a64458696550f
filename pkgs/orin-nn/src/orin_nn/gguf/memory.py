"""How much memory a device has left, and whether a model fits."""

import shutil
import subprocess
from ctypes import byref, c_size_t
from pathlib import Path

from orin_core import jetson, sysfs
from orin_core.cli import UserError
from orin_nn.gguf.model import Model
from orin_nn.gguf.size import memory_needed

# Where control groups are, their limit and what they use: of the second version, and of the first.
_GROUPS = {
    "": ("sys/fs/cgroup", "memory.max", "memory.current"),
    "memory": ("sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.usage_in_bytes"),
}


def check_fits(model: Model, device: str, context: int, batch: int = 1) -> None:
    """Raise UserError, with the estimate, if `model` needs more memory than `device` has left.

    `device` is one of tinygrad's: CPU, CUDA or NV. One that does not tell its memory passes.
    """
    needed, free = memory_needed(model, context, batch), available_memory(device)
    if free is not None and needed > free:
        raise UserError(
            f"{model.name}: needs about {needed / 1e9:.1f} GB on {device} with a context of "
            f"{context}, and {free / 1e9:.1f} GB are free: choose a smaller model, quantization "
            "or context"
        )


def available_memory(device: str, root: Path = Path("/")) -> int | None:
    """Bytes that can still be allocated on `device`, or None where nothing tells.

    A Jetson's GPU has the same memory as its CPU. `root` is where /proc and /sys are.
    """
    if device == "CPU" or jetson.find_gpu(root / "sys"):
        return _host(root)
    return _cuda() if device == "CUDA" else _nvidia_smi()


def _host(root: Path) -> int | None:
    """What the kernel could give, within the limits of the control groups that this process is in
    (a container's, or a systemd unit's MemoryMax)."""
    lines = _read(root / "proc/meminfo").splitlines()
    known = [int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:")]
    return min([*known, *_group_limits(root)], default=None)


def _group_limits(root: Path) -> list[int]:
    """What each control group from ours up to the root has left."""
    limits = []
    for line in _read(root / "proc/self/cgroup").splitlines():
        controllers, name = line.split(":", 2)[1:]
        if controllers not in _GROUPS:
            continue
        mount, limit_file, used_file = _GROUPS[controllers]
        group = Path(name.lstrip("/"))
        for folder in (group, *group.parents):
            place = root / mount / folder
            limit, used = _read(place / limit_file), _read(place / used_file)
            if limit.isdigit() and used.isdigit():
                limits.append(max(0, int(limit) - int(used) + _reclaimable(place)))
    return limits


def _reclaimable(group: Path) -> int:
    """Bytes of cached files that nobody used lately: the kernel drops them before it refuses."""
    lines = (line.split() for line in _read(group / "memory.stat").splitlines())
    return sum(int(line[1]) for line in lines if line[0] == "inactive_file")


def _read(path: Path) -> str:
    try:
        return sysfs.read(path).strip()
    except OSError:
        return ""


def _cuda() -> int | None:
    """Of the device that tinygrad uses, which may be one of several."""
    from tinygrad import Device
    from tinygrad.runtime.autogen import cuda

    Device["CUDA"]  # makes the context that the question is about
    free, total = c_size_t(), c_size_t()
    failed = cuda.cuMemGetInfo_v2(byref(free), byref(total))
    return None if failed else free.value


def _nvidia_smi() -> int | None:
    """Of the first GPU."""
    if shutil.which("nvidia-smi") is None:
        return None
    query = ["nvidia-smi", "--query-gpu=memory.free", "--format=csv,noheader,nounits"]
    done = subprocess.run(query, capture_output=True, text=True, check=False)
    first = done.stdout.partition("\n")[0].strip()
    return int(first) << 20 if done.returncode == 0 and first.isdigit() else None
