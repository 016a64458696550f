"""Which devices the kernels written here are for."""

from tinygrad import Device

GPUS = ("CUDA", "NV")
# The shape of the tensor cores' instruction, as tinygrad names it: N, M, K.
INSTRUCTION = (8, 16, 16)


def is_gpu(device: str | tuple[str, ...]) -> bool:
    """Whether `device` is one NVIDIA GPU, whose warps have 32 threads."""
    return isinstance(device, str) and device.split(":")[0] in GPUS


def has_tensor_cores(device: str | tuple[str, ...]) -> bool:
    """Whether `device` is an NVIDIA GPU that multiplies 16 by 8 by 16: Ampere and later."""
    if not is_gpu(device):
        return False
    return any(core.dims == INSTRUCTION for core in Device[device].renderer.tensor_cores)
