"""tinygrad's emulator of an Orin's GPU, for kernels that would need one."""

import pytest
from tinygrad.helpers import DEV

from orin_nn import gpu

NAME, ARCHITECTURE = "PYTHON", "sm_87"


def emulated_gpu(monkeypatch: pytest.MonkeyPatch) -> str:
    """The emulator's name, which counts as a GPU until the test ends."""
    monkeypatch.setattr(DEV, "value", f"{NAME}::{ARCHITECTURE}")
    monkeypatch.setattr(gpu, "GPUS", (*gpu.GPUS, NAME))
    return NAME
