"""The facts of the machine that a result needs to be worth quoting."""

import platform
import shutil
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from orin_core import nvidia


def facts(root: Path = Path("/"), query: nvidia.Query = nvidia.query) -> dict[str, str]:
    """What this machine is, as text. A fact that this machine does not tell is left out.

    How it stands (clocks, power mode, heat) is `orin_core.conditions`.
    """
    known = {
        "machine": _text(root / "proc/device-tree/model"),
        "compatible": _text(root / "proc/device-tree/compatible").replace("\0", " "),
        "cpu": _cpu(root),
        "kernel": platform.release(),
        "l4t": _text(root / "etc/nv_tegra_release").partition("\n")[0],
        **_gpu(query),
        "python": platform.python_version(),
        "tinygrad": _version("tinygrad"),
        "torch": _version("torch"),
        "commit": _commit(),
    }
    return {name: value for name, value in known.items() if value}


def _text(path: Path) -> str:
    try:
        return path.read_text().strip("\0\n ")
    except OSError:
        return ""


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def _cpu(root: Path) -> str:
    lines = _text(root / "proc/cpuinfo").splitlines()
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.machine())


def _gpu(query: nvidia.Query) -> dict[str, str]:
    """Name, driver and power limit of the first NVIDIA GPU, where nvidia-smi tells them."""
    fields = {"gpu": "name", "driver": "driver_version", "power limit": "power.limit"}
    values = query(list(fields.values())) or []
    return {
        name: value
        for name, value in zip(fields, values, strict=bool(values))
        if not value.startswith("[")  # [N/A], [Not Supported]
    }


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
