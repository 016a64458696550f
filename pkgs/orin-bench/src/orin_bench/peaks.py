"""Peak arithmetic rates of known devices, for the share that a benchmark reaches.

Dense matrix rates, without sparsity, in FLOP/s, float16 inputs with float32 sums; float32 is the
plain (not TF32) rate, because that is what tinygrad uses.
"""

# NVIDIA H200 datasheet: 989 TFLOP/s FP16 tensor (half its 1,979 with sparsity), 67 FP32.
H200 = {"float16": 989e12, "float32": 67e12}
# Jetson AGX Orin technical brief, 64GB module (p3701-0005): GPU 5.3 FP32 TFLOP/s, 170 sparse INT8
# TOP/s at 1.3 GHz; dense FP16 on tensor cores is a quarter of the latter.
AGX_ORIN_64GB = {"float16": 42.5e12, "float32": 5.3e12}


def peak(machine: dict[str, str], device: str, dtype: str) -> float | None:
    """The peak of `device` in FLOP/s, or None where it is not known; `machine` is `facts()`."""
    if device == "CPU":
        return None
    if "p3701-0005" in machine.get("compatible", ""):
        return AGX_ORIN_64GB.get(dtype)
    return H200.get(dtype) if machine.get("gpu") == "NVIDIA H200" else None
