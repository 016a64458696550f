"""How much memory a device has left; what does not fit is refused in one line."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from ctypes import byref, c_size_t
from pathlib import Path

from orin_core import jetson, nvidia, sysfs
from orin_core.cli import UserError

# Where control groups are, their limit and what they use: of the second version, and of the first.
_GROUPS = {
    "": ("sys/fs/cgroup", "memory.max", "memory.current"),
    "memory": ("sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.usage_in_bytes"),
}


def available(
    device: str, root: Path = Path("/"), query: nvidia.Query = nvidia.query
) -> int | None:
    """Bytes that can still be allocated on `device` (tinygrad's name), or None where nothing tells.

    A Jetson's GPU shares the CPU's, of which CUDA calls free only what the kernel need not first
    take back from its caches. `root` is where /proc and /sys are.
    """
    if device == "CPU" or jetson.find_gpu(root / "sys"):
        return _host(root)
    return _cuda() if device == "CUDA" else _nvidia_smi(query)


def check_fits(what: str, needed: int, device: str, remedy: str) -> None:
    """Raise UserError, with the estimate and the `remedy`, if `needed` bytes are not available."""
    free = available(device)
    if free is not None and needed > free:
        raise UserError(
            f"{what} needs about {needed / 1e9:.1f} GB, and {device} has {free / 1e9:.1f} GB left; "
            + remedy
        )


@contextmanager
def fitting(what: str, remedy: str) -> Iterator[None]:
    """Turn what the devices of tinygrad raise when they are out of memory into a UserError."""
    try:
        yield
    except (MemoryError, OSError, RuntimeError) as error:
        words = next(iter(str(error).splitlines()), "out of memory")
        lacking = isinstance(error, MemoryError) or "out of memory" in words.lower()
        if not lacking and getattr(error, "errno", None) != errno.ENOMEM:
            raise
        raise UserError(f"{what} does not fit: {words}; {remedy}") from None


def _host(root: Path) -> int | None:
    """What the kernel could give, within the limits of the control groups that this process is in
    (a container's, or a systemd unit's MemoryMax)."""
    lines = _text(root / "proc/meminfo").splitlines()
    known = [int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:")]
    return min([*known, *_group_limits(root)], default=None)


def _group_limits(root: Path) -> list[int]:
    """What each control group from ours up to the root has left."""
    limits = []
    for line in _text(root / "proc/self/cgroup").splitlines():
        controllers, name = line.split(":", 2)[1:]
        if controllers not in _GROUPS:
            continue
        mount, limit_file, used_file = _GROUPS[controllers]
        group = Path(name.lstrip("/"))
        for folder in (group, *group.parents):
            place = root / mount / folder
            limit, used = _text(place / limit_file), _text(place / used_file)
            if limit.isdigit() and used.isdigit():
                limits.append(max(0, int(limit) - int(used) + _reclaimable(place)))
    return limits


def _reclaimable(group: Path) -> int:
    """Bytes of cached files that nobody used lately: the kernel drops them before it refuses."""
    lines = (line.split() for line in _text(group / "memory.stat").splitlines())
    return sum(int(line[1]) for line in lines if line[0] == "inactive_file")


def _cuda() -> int:
    """Of the device that tinygrad uses, which may be one of several."""
    from tinygrad import Device
    from tinygrad.runtime.autogen import cuda
    from tinygrad.runtime.ops_cuda import check

    check(cuda.cuCtxSetCurrent(Device["CUDA"].context))
    free, total = c_size_t(), c_size_t()
    check(cuda.cuMemGetInfo_v2(byref(free), byref(total)))
    return free.value


def _nvidia_smi(query: nvidia.Query) -> int | None:
    """Of the first GPU."""
    mebibytes = nvidia.number((query(["memory.free"]) or [""])[0])
    return None if mebibytes is None else int(mebibytes) << 20


def _text(path: Path) -> str:
    try:
        return sysfs.read(path).strip()
    except OSError:
        return ""
