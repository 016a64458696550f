"""The facts of the machine that a result needs to be worth quoting."""

import platform
import shutil
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path


def facts() -> dict[str, str]:
    """What this machine is, as text. A fact that this machine does not tell is left out."""
    known = {
        "machine": _text("/proc/device-tree/model"),
        "compatible": _text("/proc/device-tree/compatible").replace("\0", " "),
        "cpu": _cpu(),
        "kernel": platform.release(),
        "l4t": _text("/etc/nv_tegra_release").partition("\n")[0],
        "nvpmodel": _text("/var/lib/nvpmodel/status").replace("\n", " "),
        **_gpu(),
        "python": platform.python_version(),
        "tinygrad": _version("tinygrad"),
        "torch": _version("torch"),
        "commit": _commit(),
    }
    return {name: value for name, value in known.items() if value}


def _text(path: str) -> str:
    try:
        return Path(path).read_text().strip("\0\n ")
    except OSError:
        return ""


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def _cpu() -> str:
    lines = _text("/proc/cpuinfo").splitlines()
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.machine())


def _gpu() -> dict[str, str]:
    """Name, driver and clocks of the first NVIDIA GPU, by nvidia-smi where it is installed."""
    fields = {
        "gpu": "name",
        "driver": "driver_version",
        "gpu clock": "clocks.sm",
        "memory clock": "clocks.mem",
        "power limit": "power.limit",
    }
    query = ["--query-gpu=" + ",".join(fields.values()), "--format=csv,noheader"]
    values = _output("nvidia-smi", *query).partition("\n")[0].split(", ")
    return dict(zip(fields, values, strict=True)) if len(values) == len(fields) else {}


def _commit() -> str:
    """The commit this file belongs to, not that of a repository whose .venv it is installed in."""
    git = "git", "-C", str(Path(__file__).parent)
    tracked = _output(*git, "ls-files", Path(__file__).name)
    return _output(*git, "describe", "--always", "--dirty") if tracked else ""


def _output(program: str, *arguments: str) -> str:
    """What `program` prints, or nothing where it is missing or fails."""
    if shutil.which(program) is None:
        return ""
    done = subprocess.run([program, *arguments], capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else ""
