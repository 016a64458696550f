"""What the datasheets of known devices promise, for the share that a benchmark reaches.

Rates are dense, without sparsity, in operations per second, two for each multiply-accumulate.
float16 and bfloat16 are those of tensor cores with float32 sums; float32 is the plain rate, because
that is what tinygrad uses, and tf32 what PyTorch uses where it is allowed to.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Datasheet:
    """Peaks by dtype in operations per second, and the memory's bandwidth in bytes per second."""

    peaks: Mapping[str, float] = field(default_factory=dict)
    bandwidth: float | None = None


_HOPPER = {
    "float16": 989.4e12,
    "bfloat16": 989.4e12,
    "int8": 1979e12,
    "tf32": 494.7e12,
    "float32": 67e12,
}
# NVIDIA H200 datasheet, SXM: the arithmetic of the H100 SXM, 4.8 TB/s.
H200 = Datasheet(_HOPPER, 4.8e12)
# NVIDIA H100 datasheet and Hopper architecture whitepaper, SXM5: 989.4 TFLOP/s FP16 and BF16, 494.7
# TF32, 1,979 TOP/s INT8, all dense (half of what is listed with sparsity), 67 FP32; 3.35 TB/s.
H100_SXM = Datasheet(_HOPPER, 3.35e12)
# Jetson AGX Orin technical brief, 64GB module (p3701-0005): GPU 5.3 FP32 TFLOP/s, 170 sparse INT8
# TOP/s at 1.3 GHz; dense is half of that, FP16 half of dense INT8; Ampere's BF16 is as fast as FP16
# (GA10x whitepaper). 256 bits of LPDDR5 at 6,400 MT/s: 204.8 GB/s.
AGX_ORIN_64GB = Datasheet(
    {"float16": 42.5e12, "bfloat16": 42.5e12, "int8": 85e12, "float32": 5.3e12}, 204.8e9
)
UNKNOWN = Datasheet()

# By the name that nvidia-smi gives a GPU; H200 NVL, H100 PCIe and H100 NVL are slower.
_GPUS = {"NVIDIA H200": H200, "NVIDIA H100 80GB HBM3": H100_SXM}


def datasheet(machine: dict[str, str], device: str) -> Datasheet:
    """The datasheet of `device` (tinygrad's name), empty if not known; `machine` is `facts()`."""
    if device == "CPU":
        return UNKNOWN
    if "p3701-0005" in machine.get("compatible", ""):
        return AGX_ORIN_64GB
    return _GPUS.get(machine.get("gpu", ""), UNKNOWN)
