"""Which devices tinygrad computes on.

tinygrad 0.13 refuses the older `NV=1`, `CUDA=1` and `CPU=1` that people still type: call `select`
before anything imports tinygrad, and the environment is put right first.
"""

import os
import sys
from pathlib import Path

from orin_core.cli import UserError

DEVICES = ("nv", "cuda", "cpu")


def select(option: str = "auto") -> list[str]:
    """The tinygrad names of the devices in `option`, each tried; the first becomes its default.

    `option` is `auto` or a comma-separated list of `nv`, `cuda` and `cpu`. `auto` takes what the
    environment asks for (`NV=1`, `CUDA=1`, `CPU=1` or `DEV=...` in tinygrad's full form), else the
    first that works of NV (on a Jetson), CUDA and CPU, and says on stderr which.

    Raises UserError for an unknown name and for a device that does not work here.
    """
    asked = _from_environment()
    names = [name.strip().lower() for name in option.split(",")]
    if names == ["auto"]:
        names = [asked] if asked else [_first_working()]
    for name in names:
        if name not in DEVICES:
            raise UserError(f"unknown device {name!r}: choose auto, {', '.join(DEVICES)}")
        if reason := _failure(name):
            raise UserError(f"device {name} does not work here: {reason}")
    if names[0] != asked:
        _make_default(names[0])
    return [name.upper() for name in dict.fromkeys(names)]


def _from_environment() -> str | None:
    """The device that the environment asks for; rewrites the forms that tinygrad refuses."""
    flags = [name for name in DEVICES if os.environ.pop(name.upper(), "0") not in ("0", "")]
    if len(flags) > 1:
        raise UserError(f"{' and '.join(f'{name.upper()}=1' for name in flags)}: set only one")
    if flags:
        os.environ["DEV"] = flags[0].upper()
    # tinygrad's form is interface+device:renderer:architecture, several joined by semicolons.
    first = os.environ.get("DEV", "").partition(";")[0]
    return first.rpartition("+")[2].partition(":")[0].lower() or None


def _first_working() -> str:
    reasons = []
    for name in DEVICES if is_jetson() else DEVICES[1:]:
        if reason := _failure(name):
            reasons.append(f"{name}: {reason}")
        else:
            print(f"device: {name}", file=sys.stderr)
            return name
    raise UserError("no device works here: " + "; ".join(reasons))


def is_jetson() -> bool:
    """Whether GPU and CPU are one chip of NVIDIA's, which share their memory."""
    compatible = Path("/proc/device-tree/compatible")
    return compatible.exists() and b"nvidia,tegra" in compatible.read_bytes()


def _failure(name: str) -> str | None:
    """Why device `name` cannot add two numbers, or None if it can."""
    try:
        from tinygrad import Tensor  # which reads the environment, and may refuse what is in it

        (Tensor([1.0], device=name.upper()) + 1.0).tolist()
    except FileNotFoundError as error:
        if error.filename == os.environ.get("CC", "clang"):
            return f"{error.filename} is missing: install it (Debian: apt install {error.filename})"
        return f"{error.filename} cannot be made: set HOME or XDG_CACHE_HOME"
    except Exception as error:  # every runtime raises what loading its driver happened to raise
        return next(iter(str(error).splitlines()), type(error).__name__)
    return None


def _make_default(name: str) -> None:
    from tinygrad.helpers import DEV

    os.environ["DEV"] = name.upper()  # for the processes that tinygrad's search starts
    DEV.value = name.upper()
